package store

import (
	"context"
	"fmt"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

// WithdrawSigningKey implements grant.Store.
func (db *DB) WithdrawSigningKey(ctx context.Context, id string, replacement *grant.SealedKey, events ...audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE signing_keys SET sealed = $1 WHERE id = $2 AND length(sealed) > 0", []byte{}, id)
		if err != nil {
			return fmt.Errorf("empty signing key: %w", err)
		}
		if n == 0 {
			return grant.ErrSigningKeyUnknown
		}
		if k := replacement; k != nil {
			if _, err := t.exec("INSERT INTO signing_keys (id, alg, created_at, active_at, sealed) VALUES ($1, $2, $3, $4, $5)",
				k.ID, k.Algorithm, millis(k.CreatedAt), millis(k.ActiveAt), k.Sealed); err != nil {
				return fmt.Errorf("insert signing key: %w", err)
			}
		}
		if err := t.change(access.SigningKeyChanged, id, events[0].At); err != nil {
			return err
		}
		return t.record(events...)
	})
}
