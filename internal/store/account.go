package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
)

var _ login.LinkStore = (*DB)(nil)

// SetAccountLink implements login.LinkStore.
func (db *DB) SetAccountLink(ctx context.Context, l login.AccountLink, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		// In one statement: of somebody disabled or deleted a moment ago, none
		// may come up again.
		n, err := t.exec(`INSERT INTO account_links (person_id, hash, kind, expires_at)
			SELECT id, $2, $3, $4 FROM people WHERE id = $1 AND disabled_at = 0 AND NOT service
			ON CONFLICT (person_id) DO UPDATE SET hash = excluded.hash, kind = excluded.kind, expires_at = excluded.expires_at`,
			string(l.Person.ID), l.Hash, string(l.Kind), millis(l.ExpiresAt))
		if err != nil {
			return fmt.Errorf("store account link: %w", err)
		}
		if n == 0 {
			return org.ErrPersonNotFound
		}
		return t.record(ev)
	})
}

// AccountLinkByHash implements login.LinkStore.
func (db *DB) AccountLinkByHash(ctx context.Context, hash string) (login.AccountLink, error) {
	var (
		p       personRow
		l       = login.AccountLink{Hash: hash}
		expires int64
	)
	err := db.read.QueryRowContext(ctx, `SELECT account_links.kind, account_links.expires_at, `+personColumns+`
		FROM account_links JOIN people ON people.id = account_links.person_id WHERE account_links.hash = $1`, hash).
		Scan(append([]any{&l.Kind, &expires}, p.fields()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return l, login.ErrNoAccountLink
	}
	if err != nil {
		return l, fmt.Errorf("read account link: %w", err)
	}
	l.Person, l.ExpiresAt = p.person(), fromMillis(expires)
	return l, nil
}

// UseAccountLink implements login.LinkStore.
func (db *DB) UseAccountLink(ctx context.Context, hash, passwordHash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var person string
		err := t.QueryRow("DELETE FROM account_links WHERE hash = $1 AND expires_at > $2 RETURNING person_id", hash, millis(ev.At)).Scan(&person)
		if errors.Is(err, sql.ErrNoRows) {
			return login.ErrNoAccountLink
		}
		if err != nil {
			return fmt.Errorf("use account link: %w", err)
		}
		n, err := t.exec("UPDATE people SET password_hash = $1 WHERE id = $2 AND disabled_at = 0", passwordHash, person)
		if err != nil {
			return fmt.Errorf("set password hash: %w", err)
		}
		if n == 0 {
			return login.ErrNoAccountLink
		}
		if _, err := t.exec("DELETE FROM sessions WHERE person_id = $1", person); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		return t.record(ev)
	})
}

// SweepAccountLinks removes links that have expired.
func (db *DB) SweepAccountLinks(ctx context.Context, now time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM account_links WHERE expires_at < $1", millis(now)); err != nil {
			return fmt.Errorf("sweep account links: %w", err)
		}
		return nil
	})
}

// publicURL is the name under which the installation keeps its address.
const publicURL = "public_url"

// SetPublicURL notes the address under which people reach the server, for
// commands that print links.
func (db *DB) SetPublicURL(ctx context.Context, url string) error {
	if known, err := db.PublicURL(ctx); err != nil || known == url {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO installation (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, publicURL, url); err != nil {
			return fmt.Errorf("note the public URL: %w", err)
		}
		return nil
	})
}

// PublicURL returns what SetPublicURL noted, "" before the server ran.
func (db *DB) PublicURL(ctx context.Context) (string, error) {
	var url string
	err := db.read.QueryRowContext(ctx, "SELECT value FROM installation WHERE name = $1", publicURL).Scan(&url)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read the public URL: %w", err)
	}
	return url, nil
}
