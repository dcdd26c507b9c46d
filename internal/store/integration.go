package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

// BlockedProducts implements grant.Store.
func (db *DB) BlockedProducts(ctx context.Context) ([]string, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (string, error) {
		var product string
		err := rows.Scan(&product)
		return product, err
	}, "SELECT product FROM blocked_products ORDER BY product")
}

// EndProductGrants implements grant.Store.
func (db *DB) EndProductGrants(ctx context.Context, product, reason string, at time.Time, ev audit.Event) (int, error) {
	return db.endGrants(ctx, "client_key IN (SELECT key FROM clients WHERE product = $1)", product, access.AnyClient, reason, at, ev)
}

// DeleteClient implements grant.Store.
func (db *DB) DeleteClient(ctx context.Context, c grant.Client, reason string, at time.Time, ev audit.Event) error {
	key := string(c.Key())
	return db.update(ctx, func(t *tx) error {
		var stored int
		if err := t.QueryRowContext(ctx, "SELECT count(*) FROM clients WHERE key = $1", key).Scan(&stored); err != nil {
			return fmt.Errorf("look up client: %w", err)
		}
		if stored == 0 {
			return grant.ErrClientUnknown
		}
		if _, err := t.exec("INSERT INTO blocked_products (product, blocked_at) VALUES ($1, $2) ON CONFLICT (product) DO NOTHING", c.DeletedName(), millis(at)); err != nil {
			return fmt.Errorf("delete client: %w", err)
		}
		if _, err := t.exec("UPDATE grants SET ended_at = $1, end_reason = $2 WHERE client_key = $3 AND ended_at = 0", millis(at), reason, key); err != nil {
			return fmt.Errorf("end grants: %w", err)
		}
		// Its being gone is looked up as blocks are.
		if err := t.change(access.ClientChanged, access.AnyClient, at); err != nil {
			return err
		}
		return t.record(ev)
	})
}
