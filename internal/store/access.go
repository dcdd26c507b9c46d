package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
)

var _ access.Source = (*DB)(nil)

// ChangesAfter implements access.Source. A negative seq asks for the newest
// sequence number alone. The newest returned may be less than seq: the store
// went back, and everything may have changed.
func (db *DB) ChangesAfter(ctx context.Context, seq int64) ([]access.Change, int64, error) {
	if db.postgres != nil {
		// A network that swallows everything must not stop the following for
		// longer than a new connection takes.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pgRead)
		defer cancel()
	}
	if seq < 0 {
		var newest int64
		if err := db.read.QueryRowContext(ctx, "SELECT COALESCE(max(seq), 0) FROM changes").Scan(&newest); err != nil {
			return nil, 0, fmt.Errorf("read the newest change: %w", err)
		}
		return nil, newest, nil
	}
	changes, err := query(ctx, db.read, func(rows *sql.Rows) (access.Change, error) {
		var c access.Change
		err := rows.Scan(&c.Seq, &c.Kind, &c.ID)
		return c, err
	}, "SELECT seq, kind, id FROM changes WHERE seq >= $1 ORDER BY seq", seq)
	if err != nil {
		return nil, 0, fmt.Errorf("read changes: %w", err)
	}
	if len(changes) > 0 && changes[0].Seq == seq {
		if changes = changes[1:]; len(changes) == 0 {
			return nil, seq, nil
		}
	} else if seq > 0 {
		return db.startAnew(ctx)
	}
	if len(changes) > 0 {
		seq = changes[len(changes)-1].Seq
	}
	return changes, seq, nil
}

// startAnew is for a follower whose last change is not in the feed any more:
// the database went back, to a backup or to a standby that had not everything,
// or nothing was asked for longer than changes are kept. Anything may be
// different from what was read.
func (db *DB) startAnew(ctx context.Context) ([]access.Change, int64, error) {
	_, newest, err := db.ChangesAfter(ctx, -1)
	if err != nil {
		return nil, 0, err
	}
	db.head.Store(newest)
	return []access.Change{
		{Seq: newest, Kind: access.EverythingChanged},
		{Seq: newest, Kind: access.SigningKeyChanged},
	}, newest, nil
}

// Head implements access.Source.
func (db *DB) Head() int64 { return db.head.Load() }

// Committed implements access.Source.
func (db *DB) Committed() <-chan struct{} { return db.committed }

// KeyUse implements access.Source.
func (db *DB) KeyUse(ctx context.Context, hash string) (org.KeyUse, error) {
	var (
		use     org.KeyUse
		signals string
	)
	err := db.read.QueryRowContext(ctx, `SELECT ingest_keys.id, teams.tenant, ingest_keys.signals, ingest_keys.bytes_per_second FROM ingest_keys JOIN teams ON teams.id = ingest_keys.team_id
		WHERE ingest_keys.hash = $1 AND ingest_keys.revoked_at = 0`, hash).Scan(&use.ID, &use.Tenant, &signals, &use.BytesPerSecond)
	if errors.Is(err, sql.ErrNoRows) {
		return org.KeyUse{}, org.ErrKeyNotFound
	}
	if err != nil {
		return org.KeyUse{}, fmt.Errorf("read key: %w", err)
	}
	use.Signals = keySignals(signals)
	return use, nil
}

// SweepChanges forgets changes older than before, but never the newest: its
// number must not be given out again.
func (db *DB) SweepChanges(ctx context.Context, before time.Time) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("DELETE FROM changes WHERE at < $1 AND seq < (SELECT max(seq) FROM changes)", millis(before))
		if err != nil {
			return fmt.Errorf("sweep changes: %w", err)
		}
		return nil
	})
}
