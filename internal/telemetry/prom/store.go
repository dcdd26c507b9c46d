// Package prom keeps metrics in Prometheus' storage, one database per tenant,
// and queries them with PromQL.
//
// A tenant's database is opened when it is first written to or asked, and
// closed when it was idle for a while. What a query may see is decided below
// the query engine: it reads through a querier that leaves out every series
// that the view hides and every sample older than the view or the retention
// allow, so no expression can reach around it.
//
// Data scopes match labels that only a resource can have written: ingest
// renames attributes of data points that would become such a label.
package prom

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// OutOfOrder is how much older than the newest sample of its tenant a
	// sample may be.
	OutOfOrder = time.Hour
	// FutureTolerance is how far ahead of the clock a sample may lie. The
	// newest one decides what is too old, so one wrong clock must not.
	FutureTolerance = 10 * time.Minute

	// blockDuration is the time of the smallest block on disk.
	blockDuration = 2 * time.Hour
	// maxBlockDuration bounds the largest, so that whole blocks age.
	maxBlockDuration = 31 * 24 * time.Hour
	// stripes of a database's lock: fewer than for one large database, as
	// there may be hundreds (16,384 take 3.7 MB each, 512 half a megabyte).
	stripes = 512
	// maxExemplars are kept per tenant, the newest ones.
	maxExemplars = 5000
	// idleAfter is when an unused database is closed; idleCheck how often
	// that is looked at.
	idleAfter = 15 * time.Minute
	idleCheck = time.Minute
	// defaultMaxSeries bounds the series of a tenant with samples in the
	// last hours; each takes some 4 KB of memory.
	defaultMaxSeries = 500_000
	// maxConcurrent is how many queries run at once; queueTime how long
	// another waits.
	maxConcurrent = 8
	queueTime     = 5 * time.Second
)

// Config says where metrics are and what they may take.
type Config struct {
	// Dir holds a folder for each tenant; one process at a time.
	Dir string
	// Retention is how long samples are kept.
	Retention time.Duration
	// MaxSeries bounds the active series of each tenant; 0 is 500,000.
	MaxSeries uint64
	// Check refuses new samples, with an *telemetry.OverloadError; nil never.
	Check  func() error
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Store is the metrics of all tenants. It implements telemetry.Metrics and
// is safe for concurrent use.
type Store struct {
	cfg    Config
	parser parser.Parser
	slots  chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex // guards the rest
	closed bool
	open   map[telemetry.TenantID]*database
}

var _ telemetry.Metrics = (*Store)(nil)

// A database is one tenant's. uses and idleSince are guarded by Store.mu.
type database struct {
	*tsdb.DB
	infos *infos
	past  struct {
		mu      sync.Mutex // guards writers, and the window
		writers int
		// unsettled is set while there are old samples outside of blocks.
		unsettled atomic.Bool
	}
	uses      int
	idleSince time.Time
	// ready ends when DB is open, or err says why it is not.
	ready chan struct{}
	err   error
}

// Open returns a store over c.Dir. The caller must call Close.
func Open(c Config) (*Store, error) {
	if c.Dir == "" || c.Retention <= 0 || c.Logger == nil {
		return nil, errors.New("open the metrics: Dir, Retention and Logger are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Check == nil {
		c.Check = func() error { return nil }
	}
	if c.MaxSeries == 0 {
		c.MaxSeries = defaultMaxSeries
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the metrics' folder: %w", err)
	}
	s := &Store{
		cfg: c, parser: parser.NewParser(parser.Options{}), slots: make(chan struct{}, maxConcurrent),
		ended: make(chan struct{}), open: make(map[telemetry.TenantID]*database),
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go s.closeIdle(ctx)
	return s, nil
}

// Close closes every database. It must not be called while others are used.
func (s *Store) Close() error {
	s.stop()
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for id, db := range s.open {
		delete(s.open, id)
		errs = append(errs, db.close())
	}
	return errors.Join(errs...)
}

func (db *database) close() error {
	if db.DB == nil {
		return nil
	}
	return errors.Join(db.infos.save(), db.Close())
}

func (s *Store) dir(tenant telemetry.TenantID) string {
	return filepath.Join(s.cfg.Dir, strconv.FormatUint(uint64(tenant), 10))
}

// errNoMetrics says that a tenant has never sent metrics.
var errNoMetrics = errors.New("the tenant has no metrics")

// acquire opens the tenant's database, which is made where create is true.
// The caller must call release when it is done.
func (s *Store) acquire(tenant telemetry.TenantID, create bool) (*database, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: the server is stopping", telemetry.ErrUnavailable)
	}
	db := s.open[tenant]
	if db == nil {
		if _, err := os.Stat(s.dir(tenant)); !create && errors.Is(err, fs.ErrNotExist) {
			s.mu.Unlock()
			return nil, errNoMetrics
		}
		db = &database{ready: make(chan struct{}), uses: 1}
		s.open[tenant] = db
		s.mu.Unlock()
		db.err = s.openDatabase(tenant, db)
		close(db.ready)
	} else {
		db.uses++
		s.mu.Unlock()
		<-db.ready
	}
	if db.err != nil {
		s.release(tenant, db)
		return nil, db.err
	}
	return db, nil
}

func (s *Store) release(tenant telemetry.TenantID, db *database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	db.uses--
	db.idleSince = time.Now()
	if db.err != nil && s.open[tenant] == db {
		delete(s.open, tenant) // the next one tries again
	}
}

func (s *Store) openDatabase(tenant telemetry.TenantID, db *database) error {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = s.cfg.Retention.Milliseconds()
	o.MinBlockDuration = blockDuration.Milliseconds()
	o.MaxBlockDuration = max(blockDuration, min(maxBlockDuration, s.cfg.Retention/10)).Milliseconds()
	o.OutOfOrderTimeWindow = OutOfOrder.Milliseconds()
	o.EnableExemplarStorage, o.MaxExemplars = true, maxExemplars
	o.StripeSize = stripes
	o.WALCompression = compression.Snappy
	// Whoever opens the store holds a lock already, one that a kill releases.
	o.NoLockfile = true
	log := s.cfg.Logger.With("tenant", uint32(tenant))
	dir := s.dir(tenant)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the tenant's metrics: %w", err)
	}
	opened, err := tsdb.Open(dir, quiet(log), nil, o, nil)
	if err != nil {
		log.Error("the tenant's metrics cannot be opened", "err", err)
		return fmt.Errorf("open the tenant's metrics: %w", telemetry.ErrUnavailable)
	}
	db.DB, db.infos = opened, loadInfos(filepath.Join(dir, infosName), log)
	return nil
}

// quiet keeps the storage's remarks about its daily work out of the log.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(atLeastWarn{log.Handler()}) }

type atLeastWarn struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h atLeastWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h atLeastWarn) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeastWarn{h.Handler.WithAttrs(a)}
}

// WithGroup implements slog.Handler.
func (h atLeastWarn) WithGroup(name string) slog.Handler {
	return atLeastWarn{h.Handler.WithGroup(name)}
}

func (s *Store) closeIdle(ctx context.Context) {
	defer close(s.ended)
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.closeUnused(idleAfter)
	}
}

// closeUnused closes what nobody used for so long, and saves what senders
// said about the metrics of the others.
func (s *Store) closeUnused(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, db := range s.open {
		if db.uses > 0 {
			continue
		}
		err := db.infos.save()
		if time.Since(db.idleSince) >= after {
			// Under the lock: nobody may open it again before it is closed.
			delete(s.open, id)
			err = db.close()
		}
		if err != nil {
			s.cfg.Logger.Error("idle metrics cannot be closed", "tenant", uint32(id), "err", err)
		}
	}
}

// Usage is what a tenant's metrics take.
type Usage struct {
	Tenant telemetry.TenantID
	// Series have samples in the last hours.
	Series uint64
	// Bytes on disk.
	Bytes int64
}

// Usage returns what each tenant with metrics takes. It opens every database.
func (s *Store) Usage() ([]Usage, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the metrics: %w", err)
	}
	var all []Usage
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil || !e.IsDir() {
			continue
		}
		u := Usage{Tenant: telemetry.TenantID(n)}
		db, err := s.acquire(u.Tenant, false)
		if err != nil {
			return nil, err
		}
		u.Series = db.Head().NumSeries()
		s.release(u.Tenant, db)
		if u.Bytes, err = diskBytes(s.dir(u.Tenant)); err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// diskBytes adds up the files of a folder. Files may go while it counts.
func diskBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure the metrics: %w", err)
	}
	return n, nil
}

// newEngine returns a query engine with the limits of one query; making one
// costs little.
func newEngine(log *slog.Logger, p parser.Parser, b telemetry.Budget) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: b.Bytes / bytesPerSample, Timeout: b.Time, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
	})
}
