package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/audit"
)

// signInMessage is its name in the table installation.
const signInMessage = "sign-in message"

// SignInMessage implements org.Store.
func (db *DB) SignInMessage(ctx context.Context) (string, error) {
	var text string
	err := db.read.QueryRowContext(ctx, "SELECT value FROM installation WHERE name = $1", signInMessage).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read the sign-in message: %w", err)
	}
	return text, nil
}

// SetSignInMessage implements org.Store.
func (db *DB) SetSignInMessage(ctx context.Context, text string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO installation (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, signInMessage, text); err != nil {
			return fmt.Errorf("set the sign-in message: %w", err)
		}
		return t.record(ev)
	})
}
