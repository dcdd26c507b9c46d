package spool

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/orielhq/oriel/internal/telemetry"
)

// commit writes what is appended until the channel is closed: everything that
// waits goes out in one group with one sync.
func (s *Spool) commit(wal *wlog.WL) {
	defer close(s.committed)
	tick := time.NewTicker(s.pace.segmentAge / 4)
	defer tick.Stop()
	var group []*appending
	for open := true; open; {
		group = group[:0]
		select {
		case a, ok := <-s.in:
			if !ok {
				open = false
				break
			}
			group = append(group, a)
			for size := a.bytes; size < groupBytes && len(s.in) > 0; {
				next, ok := <-s.in
				if !ok {
					open = false
					break
				}
				group = append(group, next)
				size += next.bytes
			}
		case <-tick.C:
		}
		if len(group) > 0 {
			wal = s.write(wal, group)
		}
		if s.full() {
			wal = s.cut(wal)
		}
	}
	if wal != nil {
		if err := wal.Close(); err != nil {
			s.cfg.Logger.Error("the spool could not be closed", "spool", s.cfg.Name, "err", err)
		}
	}
	s.measure(true)
	s.wake()
}

// write logs and syncs a group and answers its senders. After a failure the
// segment may end in half a record, and what would follow it could not be
// read: the log goes on in another one.
func (s *Spool) write(wal *wlog.WL, group []*appending) *wlog.WL {
	err := s.writeGroup(wal, group)
	if err != nil {
		s.cfg.Logger.Error("the spool could not be written", "spool", s.cfg.Name, "err", err)
		err = fmt.Errorf("%w: the spool cannot be written", telemetry.ErrUnavailable)
	}
	for _, a := range group {
		a.done <- err
	}
	if err == nil {
		return wal
	}
	return s.reopen(wal)
}

func (s *Spool) writeGroup(wal *wlog.WL, group []*appending) error {
	if wal == nil {
		return errors.New("it is not open")
	}
	records := make([][]byte, 0, len(group))
	for _, a := range group {
		records = append(records, a.records...)
	}
	if err := wal.Log(records...); err != nil {
		return err
	}
	start := time.Now()
	if err := wal.Sync(); err != nil {
		return err
	}
	s.metrics.syncs.Observe(time.Since(start).Seconds())
	s.metrics.appended.Add(float64(len(records)))
	s.measure(false)
	s.wake()
	return nil
}

// reopen returns a log with a new segment, nil where that fails too; the next
// group tries again.
func (s *Spool) reopen(wal *wlog.WL) *wlog.WL {
	if wal != nil {
		_ = wal.Close() // it has failed before
	}
	s.measure(false)
	wal, err := s.openLog()
	if err != nil {
		s.cfg.Logger.Error("the spool could not be opened again", "spool", s.cfg.Name, "err", err)
		return nil
	}
	return wal
}

// measure notes how large the current segment is.
func (s *Spool) measure(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segments[len(s.segments)-1]
	if info, err := os.Stat(wlog.SegmentName(s.cfg.Dir, g.index)); err == nil {
		if g.size == 0 && info.Size() > 0 {
			g.opened = time.Now()
		}
		s.bytes += info.Size() - g.size
		g.size = info.Size()
	}
	g.closed = g.closed || closed
}

// full tells whether the current segment shall end.
func (s *Spool) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segments[len(s.segments)-1]
	return g.size >= segmentBytes || g.size > 0 && time.Since(g.opened) >= s.pace.segmentAge
}

// cut ends the current segment. The time is the machine's, as the engine's.
func (s *Spool) cut(wal *wlog.WL) *wlog.WL {
	if wal == nil {
		return s.reopen(nil)
	}
	index, err := wal.NextSegmentSync()
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		s.cfg.Logger.Error("the spool could not begin a new segment", "spool", s.cfg.Name, "err", err)
		return s.reopen(wal)
	}
	s.measure(true)
	s.mu.Lock()
	s.segments = append(s.segments, &segment{index: index})
	s.mu.Unlock()
	s.wake()
	return wal
}
