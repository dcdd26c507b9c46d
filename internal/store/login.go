package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
)

var _ login.Store = (*DB)(nil)

// CreateSession implements login.Store.
func (db *DB) CreateSession(ctx context.Context, s login.SessionState, replaces string, ev audit.Event) error {
	amr, err := json.Marshal(s.AMR)
	if err != nil {
		return fmt.Errorf("encode amr: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		if s.Continues {
			// Beside what is there: connections made before hang on that.
			if _, err := t.exec(`INSERT INTO provider_sign_ins (session_hash, provider_id, subject, sid, person_id, auth_time, created_at, id_token,
					name_format, name_qualifier, sp_name_qualifier)
				SELECT $1, provider_id, subject, sid, person_id, $2, $3, id_token, name_format, name_qualifier, sp_name_qualifier FROM provider_sign_ins WHERE session_hash = $4 AND person_id = $5`,
				s.Hash, millis(s.AuthTime), millis(s.CreatedAt), replaces, string(s.Person)); err != nil {
				return fmt.Errorf("carry on the sign-in: %w", err)
			}
		}
		if _, err := t.exec("DELETE FROM sessions WHERE hash = $1", replaces); err != nil {
			return fmt.Errorf("replace session: %w", err)
		}
		if _, err := t.exec(`INSERT INTO sessions (hash, person_id, auth_time, amr, acr, created_at, last_used_at, expires_at, partial)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			s.Hash, string(s.Person), millis(s.AuthTime), string(amr), s.ACR, millis(s.CreatedAt), millis(s.LastUsed), millis(s.ExpiresAt), s.Partial); err != nil {
			return fmt.Errorf("insert session: %w", err)
		}
		if s.Upstream != nil {
			if err := t.insertSignIn(s); err != nil {
				return err
			}
		}
		return t.record(ev)
	})
}

// SessionByHash implements login.Store.
func (db *DB) SessionByHash(ctx context.Context, hash string) (login.SessionState, org.Person, error) {
	var (
		s                                login.SessionState
		p                                personRow
		amr                              string
		authTime, created, used, expires int64
	)
	err := db.read.QueryRowContext(ctx, `SELECT sessions.hash, sessions.person_id, sessions.auth_time, sessions.amr, sessions.acr,
			sessions.created_at, sessions.last_used_at, sessions.expires_at, sessions.partial, `+organizationMFA+`, `+personColumns+`
		FROM sessions JOIN people ON people.id = sessions.person_id WHERE sessions.hash = $1`, hash).Scan(
		append([]any{&s.Hash, &s.Person, &authTime, &amr, &s.ACR, &created, &used, &expires, &s.Partial, &s.Demanded}, p.fields()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return s, org.Person{}, login.ErrNoSession
	}
	if err != nil {
		return s, org.Person{}, fmt.Errorf("read session: %w", err)
	}
	s.AuthTime, s.CreatedAt = fromMillis(authTime), fromMillis(created)
	s.LastUsed, s.ExpiresAt = fromMillis(used), fromMillis(expires)
	if err := json.Unmarshal([]byte(amr), &s.AMR); err != nil {
		return s, org.Person{}, fmt.Errorf("session: amr: %w", err)
	}
	return s, p.person(), nil
}

// TouchSession implements login.Store.
func (db *DB) TouchSession(ctx context.Context, hash string, at time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("UPDATE sessions SET last_used_at = $1 WHERE hash = $2", millis(at), hash); err != nil {
			return fmt.Errorf("touch session: %w", err)
		}
		return nil
	})
}

// EndSession implements login.Store.
func (db *DB) EndSession(ctx context.Context, hash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM sessions WHERE hash = $1", hash)
		if err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		if n == 0 {
			return login.ErrNoSession
		}
		return t.record(ev)
	})
}

// SweepSessions implements login.Store.
func (db *DB) SweepSessions(ctx context.Context, idle, now time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM sessions WHERE last_used_at < $1 OR expires_at < $2", millis(idle), millis(now)); err != nil {
			return fmt.Errorf("sweep sessions: %w", err)
		}
		return nil
	})
}

// RecordEvent implements login.Store.
func (db *DB) RecordEvent(ctx context.Context, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error { return t.record(ev) })
}

// SetSetupToken implements login.Store.
func (db *DB) SetSetupToken(ctx context.Context, hash string, expiresAt time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM setup_links"); err != nil {
			return fmt.Errorf("replace the owner link: %w", err)
		}
		if _, err := t.exec("INSERT INTO setup_links (hash, expires_at) VALUES ($1, $2)", hash, millis(expiresAt)); err != nil {
			return fmt.Errorf("store the owner link: %w", err)
		}
		return nil
	})
}

// SetupToken implements login.Store.
func (db *DB) SetupToken(ctx context.Context) (hash string, expiresAt time.Time, err error) {
	var expires int64
	err = db.read.QueryRowContext(ctx, "SELECT hash, expires_at FROM setup_links").Scan(&hash, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, login.ErrNoSetupToken
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the owner link: %w", err)
	}
	return hash, fromMillis(expires), nil
}

// DropSetupToken implements login.Store.
func (db *DB) DropSetupToken(ctx context.Context) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM setup_links"); err != nil {
			return fmt.Errorf("drop the owner link: %w", err)
		}
		return nil
	})
}
