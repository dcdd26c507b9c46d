package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"golang.org/x/sync/errgroup"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// roundBytes is how much is read before it is delivered; deliveryBytes
	// how much of it goes into one delivery, lanes how many run at once.
	roundBytes    = 8 << 20
	deliveryBytes = 2 << 20
	lanes         = 3
	minBackoff    = 20 * time.Millisecond
	maxBackoff    = time.Second
	// sinkTimeout bounds the questions to the sink, deliveryTimeout one
	// delivery.
	sinkTimeout     = 5 * time.Second
	deliveryTimeout = 2 * time.Minute
	// refusals is how often a payload is offered before it is set aside.
	refusals = 3
)

// A forwarder delivers the log. Only its own goroutine touches it.
type forwarder struct {
	*Spool
	file   *os.File
	reader *wlog.LiveReader
	index  int // of the segment that is read
	live   *wlog.LiveReaderMetrics
	// damaged is the last segment that was found to be, kept when
	// housekeeping was last done.
	damaged int
	kept    time.Time
}

func (s *Spool) forward(ctx context.Context) {
	defer close(s.forwarded)
	f := &forwarder{Spool: s, index: -1, damaged: -1, live: wlog.NewLiveReaderMetrics(nil)}
	defer f.close()
	tick := time.NewTicker(s.pace.housekeeping)
	defer tick.Stop()
	for ctx.Err() == nil {
		progress := f.round(ctx)
		if time.Since(f.kept) >= s.pace.housekeeping {
			f.kept = time.Now()
			f.housekeep(ctx)
		}
		if progress {
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-tick.C:
		}
	}
}

func (f *forwarder) close() {
	if f.file != nil {
		_ = f.file.Close() // it was only read
	}
	f.file, f.reader, f.index = nil, nil, -1
}

// round reads and delivers some records of one segment, and reports whether
// there was anything to do.
func (f *forwarder) round(ctx context.Context) bool {
	f.mu.Lock()
	var g *segment
	for _, each := range f.segments {
		if each.index == f.at.segment {
			g = each
		}
	}
	closed := g != nil && g.closed // before reading: then its end is the end
	f.mu.Unlock()
	if g == nil || g.done {
		return false
	}
	if err := f.open(g.index); err != nil {
		f.cfg.Logger.Error("the spool cannot be read", "spool", f.cfg.Name, "err", err)
		return false
	}
	deliveries, size, err := f.read()
	if len(deliveries) > 0 && !f.deliver(ctx, deliveries) {
		// The context ended. Whoever opens the spool next begins again.
		f.close()
		return false
	}
	end := errors.Is(err, io.EOF)
	if err != nil && !end {
		// What follows in this segment cannot be read. At the end of the last
		// run's segment that was never acknowledged; elsewhere the disk lost it.
		if f.damaged != g.index {
			f.cfg.Logger.Error("a segment of the spool is damaged, its rest is skipped",
				"spool", f.cfg.Name, "segment", g.index, "offset", f.reader.Offset(), "err", err)
			f.metrics.damaged.Inc()
			f.damaged = g.index
		}
		end = closed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case end && closed:
		g.done = true
		f.at = position{g.index, g.size}
		for _, next := range f.segments {
			if next.index > g.index {
				f.at = position{segment: next.index}
				break
			}
		}
	default:
		f.at.offset = f.reader.Offset()
	}
	close(f.caughtUp)
	f.caughtUp = make(chan struct{})
	return size > 0 || end && closed
}

func (f *forwarder) open(index int) error {
	if f.index == index {
		return nil
	}
	f.close()
	file, err := os.Open(wlog.SegmentName(f.cfg.Dir, index))
	if err != nil {
		return err
	}
	f.file, f.index = file, index
	f.reader = wlog.NewLiveReader(f.cfg.Logger, f.live, file)
	return nil
}

// read returns what there is to deliver, joined by tenant. err is io.EOF at
// the end of what is written.
func (f *forwarder) read() (deliveries []Record, size int, err error) {
	open := make(map[telemetry.TenantID]int)
	for size < roundBytes {
		if !f.reader.Next() {
			return deliveries, size, f.reader.Err()
		}
		r, err := decode(f.reader.Record())
		if err != nil {
			return deliveries, size, err
		}
		size += len(r.Payload)
		i, ok := open[r.Tenant]
		if !ok || len(deliveries[i].Payload)+len(r.Payload) > deliveryBytes {
			i = len(deliveries)
			open[r.Tenant] = i
			deliveries = append(deliveries, Record{Tenant: r.Tenant})
		}
		// A copy: the reader uses its buffer again.
		deliveries[i].Payload = append(deliveries[i].Payload, r.Payload...)
	}
	return deliveries, size, nil
}

// deliver returns true when all were delivered or set aside, false when ctx
// ended before.
func (f *forwarder) deliver(ctx context.Context, deliveries []Record) bool {
	var g errgroup.Group
	g.SetLimit(lanes)
	for _, d := range deliveries {
		g.Go(func() error { return f.deliverOne(ctx, d) })
	}
	return g.Wait() == nil
}

func (f *forwarder) deliverOne(ctx context.Context, d Record) error {
	backoff, failing, refused := minBackoff, false, 0
	for {
		attempt, cancel := context.WithTimeout(ctx, deliveryTimeout)
		instance, err := f.cfg.Sink.Deliver(attempt, d.Tenant, d.Payload)
		cancel()
		if err == nil {
			f.took(instance)
			f.metrics.delivered.Add(float64(len(d.Payload)))
			return nil
		}
		if errors.Is(err, telemetry.ErrRefused) {
			if refused++; refused == refusals {
				return f.setAside(d, err)
			}
		}
		if !failing {
			f.cfg.Logger.Warn("the engine takes no records now, they wait in the spool", "spool", f.cfg.Name, "err", err)
			failing = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// setAside keeps a payload that the engine never takes out of the way of
// others.
func (f *forwarder) setAside(d Record, cause error) error {
	f.metrics.setAside.Inc()
	dir := filepath.Join(f.cfg.Dir, refusedName)
	name := filepath.Join(dir, fmt.Sprintf("%d-%d.payload", time.Now().UnixNano(), d.Tenant))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(name, d.Payload, 0o600)
	}
	f.cfg.Logger.Error("the engine refuses records, they are set aside", "spool", f.cfg.Name, "file", name, "bytes", len(d.Payload), "cause", cause, "err", err)
	return nil
}

// took notes which engine has what was delivered. Another one than before
// does not have what the one before may have lost: everything that is kept is
// delivered again.
func (s *Spool) took(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = s.stale || s.instance != nil && *s.instance != instance
	// Another variable each time: what the pointer shows never changes, so who
	// has read it needs the lock no more.
	s.instance = &instance
}

// housekeep delivers again after a restart of the engine, and drops segments
// that it has surely written.
func (f *forwarder) housekeep(ctx context.Context) {
	ask, cancel := context.WithTimeout(ctx, sinkTimeout)
	defer cancel()
	now := time.Now()
	var done []*segment
	flush := false
	f.mu.Lock()
	known, held := f.instance != nil, f.bytes
	for _, g := range f.segments {
		if g.done {
			done = append(done, g)
			flush = flush || g.flushed.IsZero()
		}
	}
	f.mu.Unlock()
	if known && held > 0 {
		// Also while there is nothing to drop: records of a segment that is
		// still written to were delivered as well.
		instance, err := f.cfg.Sink.Instance(ask)
		if err != nil {
			return
		}
		f.took(instance)
	}
	if f.rewind() {
		return
	}
	if flush {
		if err := f.cfg.Sink.Flush(ask); err != nil {
			return
		}
	}
	flushed := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(done) > 0 && done[0] == f.segments[0] && !done[0].flushed.IsZero() && now.Sub(done[0].flushed) >= f.cfg.Settle {
		if err := os.Remove(wlog.SegmentName(f.cfg.Dir, done[0].index)); err != nil && !errors.Is(err, os.ErrNotExist) {
			f.cfg.Logger.Error("a segment of the spool cannot be deleted", "spool", f.cfg.Name, "err", err)
			return
		}
		f.bytes -= done[0].size
		f.segments, done = f.segments[1:], done[1:]
	}
	if f.bytes == 0 {
		f.instance = nil // nobody has anything that we keep
	}
	for _, g := range done {
		if g.flushed.IsZero() {
			g.flushed = flushed
		}
	}
}

// rewind goes back to the oldest segment where that is needed.
func (f *forwarder) rewind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stale {
		return false
	}
	f.stale = false
	for _, g := range f.segments {
		g.done, g.flushed = false, time.Time{}
	}
	f.at = position{segment: f.segments[0].index}
	f.close()
	f.metrics.replays.Inc()
	f.cfg.Logger.Warn("the engine was restarted, what it may not have written is delivered again", "spool", f.cfg.Name, "bytes", f.bytes)
	f.wake()
	return true
}
