package prom

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/config"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Past writes samples of any age that the retention keeps, for imports: the
// out-of-order window of the tenant's database is as wide as the retention
// while one of its writes runs. What is written can be queried at once; Settle
// moves it into blocks of its own.
type Past struct{ store *Store }

// Past returns a writer of old samples.
func (s *Store) Past() Past { return Past{s} }

// WriteOTLP is Store.WriteOTLP for samples of any age.
func (p Past) WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (rejected map[string]int64, err error) {
	return p.store.writeOTLP(ctx, tenant, md, true)
}

// WriteRemote is Store.WriteRemote for samples of any age.
func (p Past) WriteRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (w Written, rejected map[string]int64, err error) {
	return p.store.writeRemote(ctx, tenant, version, data, true)
}

// Settle writes old samples into blocks. What it did not come to, after an
// error, stays where it was: on disk, and in memory until the database comes
// to it by itself.
func (p Past) Settle(ctx context.Context) error {
	s := p.store
	s.mu.Lock()
	var tenants []telemetry.TenantID
	for id, db := range s.open {
		if db.past.unsettled.Load() {
			tenants = append(tenants, id)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range tenants {
		db, err := s.acquire(id, false)
		if err == nil {
			if db.past.unsettled.Swap(false) {
				err = db.CompactOOOHead(ctx)
			}
			s.release(id, db)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("settle imported metrics: %w", err)
	}
	return nil
}

// openPast widens the window of a database until the returned function is
// called.
func (s *Store) openPast(db *database) (end func(), err error) {
	db.past.mu.Lock()
	defer db.past.mu.Unlock()
	if db.past.writers == 0 {
		if err := db.setWindow(s.cfg.Retention); err != nil {
			return nil, fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
		}
	}
	db.past.writers++
	db.past.unsettled.Store(true)
	return func() {
		db.past.mu.Lock()
		defer db.past.mu.Unlock()
		db.past.writers--
		if db.past.writers > 0 {
			return
		}
		if err := db.setWindow(OutOfOrder); err != nil {
			s.cfg.Logger.Error("the out-of-order window stays as wide as the retention", "err", err)
		}
	}, nil
}

// setWindow sets how old samples and exemplars may be. Calls must not overlap.
func (db *database) setWindow(d time.Duration) error {
	return db.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{
		TSDBConfig:      &config.TSDBConfig{OutOfOrderTimeWindow: d.Milliseconds()},
		ExemplarsConfig: &config.ExemplarsConfig{MaxExemplars: maxExemplars},
	}})
}
