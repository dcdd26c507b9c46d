// Package spool keeps what was accepted until an engine has surely written
// it, so that nothing acknowledged is lost when a process is killed.
//
// A record passes Append → one goroutine that writes groups of records to
// Prometheus' write-ahead log and syncs each group once → the answer; a second
// goroutine reads the log and delivers it to a [Sink]. The log is a row of
// segment files; one is deleted when all of it was delivered, the sink was
// flushed, and the same instance of the engine has lived on for long enough to
// write it to disk. When another instance answers, everything still kept is
// delivered again. Records may therefore arrive twice or out of order.
//
// Package spool knows no signals and no engines, and never looks into a
// payload.
package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/orielhq/oriel/internal/telemetry"
)

// pace is how often a spool does what is not asked of it.
type pace struct {
	// segmentAge is when a segment that holds anything ends.
	segmentAge time.Duration
	// housekeeping is how often segments are looked at.
	housekeeping time.Duration
}

var usualPace = pace{segmentAge: 2 * time.Second, housekeeping: 500 * time.Millisecond}

const (
	// segmentBytes is when a segment ends. Small ones are dropped soon and
	// delivered again quickly.
	segmentBytes = 32 << 20
	// hardSegmentBytes is what the log itself would cut at. It is never
	// reached: the log does not wait for such a cut's sync.
	hardSegmentBytes = 512 << 20
	// groupBytes bounds the payloads that are synced together.
	groupBytes = 32 << 20
	// maxPayloadBytes bounds one payload.
	maxPayloadBytes = 64 << 20
	// minMaxBytes is below what a spool needs to work at all.
	minMaxBytes = 4 * segmentBytes
	// queued is how many Appends may wait for the next group.
	queued = 1024
	// fullRetry is when a sender may try again after the spool was full.
	fullRetry = 5 * time.Second

	lockName    = "lock"
	refusedName = "refused"
)

// A Record is a payload for a tenant.
type Record struct {
	Tenant  telemetry.TenantID
	Payload []byte
}

// A Sink is where records go. Implementations are safe for concurrent use.
type Sink interface {
	// Deliver hands over payloads of one tenant, joined together, and returns
	// when the engine has them in memory at least. instance names the process
	// that took them, "" where that is not known. After telemetry.ErrRefused
	// they are set aside, after any other error tried again.
	Deliver(ctx context.Context, tenant telemetry.TenantID, payload []byte) (instance string, err error)
	// Instance returns the process that answers now, "" where not known.
	Instance(ctx context.Context) (string, error)
	// Flush begins the writing of everything delivered before it.
	Flush(ctx context.Context) error
}

// Config has what a Spool needs. All but Check and Registerer is required.
type Config struct {
	// Name is the signal's, for logs and metrics.
	Name string
	// Dir is the folder of the log; one process at a time.
	Dir  string
	Sink Sink
	// MaxBytes bounds the log on disk; 128 MiB at least.
	MaxBytes int64
	// Settle is how long after a flush the engine may take to write.
	Settle time.Duration
	// Check refuses new records, with an *telemetry.OverloadError; nil never.
	Check      func() error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Spool is an open log with its deliverer. It is safe for concurrent use.
type Spool struct {
	cfg     Config
	pace    pace
	metrics *metrics
	lock    *os.File
	in      chan *appending
	kick    chan struct{} // something was written, or a segment ended
	// committed ends with the committing goroutine, forwarded with the other.
	committed, forwarded chan struct{}
	stopForward          context.CancelFunc

	sending sync.RWMutex // held to read while sending to in, to write to close it
	stopped bool         // guarded by sending

	mu       sync.Mutex // guards the rest
	segments []*segment // oldest first; the last is written to until stopped
	bytes    int64      // of all segments
	at       position   // everything before it was delivered
	instance *string    // of the engine that has what was delivered
	stale    bool       // another engine answered since
	caughtUp chan struct{}
}

// A segment is one file of the log.
type segment struct {
	index int
	size  int64
	// closed: nothing more is written to it.
	closed bool
	opened time.Time // when it got its first record
	// done: all of it was delivered; flushed: since then the engine was
	// flushed, at that time.
	done    bool
	flushed time.Time
}

// A position is a place in the log.
type position struct {
	segment int
	offset  int64
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// appending is one Append that waits for its sync.
type appending struct {
	records [][]byte
	bytes   int
	done    chan error // holds one
}

// Open opens the log in c.Dir, made where missing, and begins to deliver what
// it holds. It fails where another process has it open. The caller must call
// Stop and Close.
func Open(c Config) (*Spool, error) {
	if c.MaxBytes < minMaxBytes {
		return nil, fmt.Errorf("a spool needs %s at least, not %s", humanize.IBytes(minMaxBytes), humanize.IBytes(uint64(max(0, c.MaxBytes))))
	}
	return open(c, usualPace)
}

func open(c Config, p pace) (*Spool, error) {
	if c.Name == "" || c.Dir == "" || c.Sink == nil || c.Settle <= 0 || c.Logger == nil {
		return nil, errors.New("open a spool: Name, Dir, Sink, Settle and Logger are needed")
	}
	if c.Check == nil {
		c.Check = func() error { return nil }
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool's folder: %w", err)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		cfg: c, pace: p, lock: lock, in: make(chan *appending, queued), kick: make(chan struct{}, 1),
		committed: make(chan struct{}), forwarded: make(chan struct{}), caughtUp: make(chan struct{}),
	}
	if s.metrics, err = newMetrics(c.Registerer, c.Name, s); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	wal, err := s.openLog()
	if err != nil {
		s.metrics.unregister()
		return nil, errors.Join(err, lock.Close())
	}
	if n := len(s.segments) - 1; n > 0 && s.bytes > 0 {
		c.Logger.Info("delivering what the last run left", "spool", c.Name, "segments", n, "bytes", s.bytes)
	}
	var ctx context.Context
	ctx, s.stopForward = context.WithCancel(context.Background())
	go s.commit(wal)
	go s.forward(ctx)
	return s, nil
}

// ErrLocked is returned by Open while another process has the spool open.
var ErrLocked = errors.New("another process has the spool open")

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the spool's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock the spool: %w", err)
	}
	return f, nil
}

// openLog opens a new segment and takes stock of those before it.
func (s *Spool) openLog() (*wlog.WL, error) {
	wal, err := wlog.NewSize(s.cfg.Logger, nil, s.cfg.Dir, hardSegmentBytes, compression.Snappy)
	if err != nil {
		return nil, fmt.Errorf("open the spool's log: %w", err)
	}
	first, last, err := wlog.Segments(s.cfg.Dir)
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("list the spool's log: %w", err), wal.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[int]bool)
	for _, g := range s.segments {
		g.closed = true
		known[g.index] = true
	}
	for i := first; i <= last; i++ {
		if known[i] {
			continue
		}
		info, err := os.Stat(wlog.SegmentName(s.cfg.Dir, i))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look at the spool's log: %w", err), wal.Close())
		}
		s.segments = append(s.segments, &segment{index: i, size: info.Size(), closed: i != last})
		s.bytes += info.Size()
	}
	if len(known) == 0 {
		s.at = position{segment: first}
	}
	return wal, nil
}

// syncDir makes the names in a folder survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Ready returns why Append would refuse records now, nil where it would not.
func (s *Spool) Ready() error {
	if err := s.cfg.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	held := s.bytes
	s.mu.Unlock()
	if held >= s.cfg.MaxBytes {
		return &telemetry.OverloadError{
			Reason: fmt.Sprintf("storage is behind: %s of %s wait to be written, and no more are taken; send again later",
				humanize.IBytes(uint64(held)), s.cfg.Name),
			RetryAfter: fullRetry,
		}
	}
	return nil
}

// Append returns when the records are on disk. Errors: *telemetry.OverloadError
// where nothing was taken; telemetry.ErrUnavailable, or the context's error,
// after which the records may have been taken all the same.
func (s *Spool) Append(ctx context.Context, records ...Record) error {
	if err := s.Ready(); err != nil {
		s.metrics.refused.Inc()
		return err
	}
	a := &appending{done: make(chan error, 1)}
	for _, r := range records {
		if r.Tenant == 0 || len(r.Payload) == 0 || len(r.Payload) > maxPayloadBytes {
			return errors.New("spool: a record needs a tenant and a payload of at most 64 MiB")
		}
		a.records = append(a.records, encode(r))
		a.bytes += len(r.Payload)
	}
	if err := s.send(ctx, a); err != nil {
		return err
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Spool) send(ctx context.Context, a *appending) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	if s.stopped {
		return fmt.Errorf("%w: the server is stopping", telemetry.ErrUnavailable)
	}
	select {
	case s.in <- a:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recordFormat is the first byte of a record, before the tenant in four bytes
// and the payload.
const (
	recordFormat = 1
	recordHeader = 5
)

func encode(r Record) []byte {
	b := make([]byte, recordHeader, recordHeader+len(r.Payload))
	b[0] = recordFormat
	binary.BigEndian.PutUint32(b[1:], uint32(r.Tenant))
	return append(b, r.Payload...)
}

func decode(b []byte) (Record, error) {
	if len(b) <= recordHeader || b[0] != recordFormat {
		return Record{}, errors.New("a record of the spool has an unknown format")
	}
	return Record{Tenant: telemetry.TenantID(binary.BigEndian.Uint32(b[1:])), Payload: b[recordHeader:]}, nil
}

// Drain returns when everything appended before it was delivered.
func (s *Spool) Drain(ctx context.Context) error {
	s.mu.Lock()
	last := s.segments[len(s.segments)-1]
	target := position{last.index, last.size}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		reached, again := !s.at.before(target), s.caughtUp
		s.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-again:
		case <-s.forwarded:
			return fmt.Errorf("drain the spool: %w: it was closed", telemetry.ErrUnavailable)
		case <-ctx.Done():
			return fmt.Errorf("drain the spool: %w", ctx.Err())
		}
	}
}

// Stop takes no more records, waits until everything is delivered or ctx ends,
// and stops delivering.
func (s *Spool) Stop(ctx context.Context) error {
	s.sending.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.in)
	}
	s.sending.Unlock()
	<-s.committed
	err := s.Drain(ctx)
	if err == nil {
		err = s.stillThere(ctx)
	}
	s.stopForward()
	<-s.forwarded
	return err
}

// stillThere checks that the engine which has everything lives.
func (s *Spool) stillThere(ctx context.Context) error {
	s.mu.Lock()
	known, stale := s.instance, s.stale
	s.mu.Unlock()
	if stale {
		return errRestarted
	}
	if known == nil {
		return nil
	}
	now, err := s.cfg.Sink.Instance(ctx)
	if err == nil && now != *known {
		err = errRestarted
	}
	return err
}

var errRestarted = errors.New("the engine was restarted; what it may not have written will be delivered again")

// Close releases the log after Stop. Where written is true the engine has
// ended in good order after a Stop without error, and what was delivered need
// not be kept.
func (s *Spool) Close(written bool) error {
	s.metrics.unregister()
	var errs []error
	s.mu.Lock()
	for _, g := range s.segments {
		// The last may have been closed after all of it was delivered, which
		// the deliverer did not stay to see.
		if g.size == 0 || written && (g.done || !s.at.before(position{g.index, g.size})) {
			errs = append(errs, os.Remove(wlog.SegmentName(s.cfg.Dir, g.index)))
		}
	}
	s.mu.Unlock()
	return errors.Join(append(errs, s.lock.Close())...)
}

func (s *Spool) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
