package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
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
	var ended int64
	err := db.update(ctx, func(t *tx) error {
		var err error
		ended, err = t.exec(`UPDATE grants SET ended_at = $1, end_reason = $2
			WHERE ended_at = 0 AND client_key IN (SELECT key FROM clients WHERE product = $3)`, millis(at), reason, product)
		if err != nil {
			return fmt.Errorf("end grants: %w", err)
		}
		if err := t.change(access.ClientChanged, access.AnyClient, at); err != nil {
			return err
		}
		return t.record(ev)
	})
	return int(ended), err
}
