package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
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

// ChangeAccount implements org.AccountStore.
func (db *DB) ChangeAccount(ctx context.Context, id org.PersonID, change org.AccountChange, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var there bool
		err := t.QueryRow("SELECT EXISTS (SELECT 1 FROM people WHERE id = $1 AND email NOT LIKE '"+deletedPrefix+"%')", string(id)).Scan(&there)
		if err != nil {
			return fmt.Errorf("look for the person: %w", err)
		}
		if !there {
			return org.ErrPersonNotFound
		}
		if change == org.DisableAccount || change == org.UnmakeOwner || change == org.DeleteAccount {
			if err := t.spareLastOwner(id); err != nil {
				return err
			}
		}
		switch change {
		case org.DisableAccount:
			err = t.setDisabled(id, true, ev.At, "the account was disabled")
		case org.EnableAccount:
			err = t.setDisabled(id, false, ev.At, "")
		case org.MakeOwner, org.UnmakeOwner:
			err = t.setOwner(id, change == org.MakeOwner)
		case org.DeleteAccount:
			err = t.deletePerson(id, ev.At)
		default:
			err = fmt.Errorf("unknown change %d of an account", change)
		}
		if err != nil {
			return err
		}
		if err := t.change(access.PersonChanged, string(id), ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

func (t *tx) setOwner(id org.PersonID, owner bool) error {
	n, err := t.exec("UPDATE people SET owner = $1 WHERE id = $2 AND NOT service", owner, string(id))
	if err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if n == 0 {
		return org.ErrPersonNotFound
	}
	return nil
}

var _ login.SessionStore = (*DB)(nil)

// SessionsOf implements login.SessionStore.
func (db *DB) SessionsOf(ctx context.Context, person org.PersonID) ([]login.SessionState, error) {
	sessions, err := query(ctx, db.read, func(rows *sql.Rows) (login.SessionState, error) {
		var (
			s                                login.SessionState
			amr                              string
			authTime, created, used, expires int64
		)
		if err := rows.Scan(&s.Hash, &s.Person, &authTime, &amr, &s.ACR, &created, &used, &expires, &s.Partial); err != nil {
			return s, err
		}
		s.AuthTime, s.CreatedAt, s.LastUsed, s.ExpiresAt = fromMillis(authTime), fromMillis(created), fromMillis(used), fromMillis(expires)
		return s, json.Unmarshal([]byte(amr), &s.AMR)
	}, `SELECT hash, person_id, auth_time, amr, acr, created_at, last_used_at, expires_at, partial
		FROM sessions WHERE person_id = $1 ORDER BY last_used_at DESC, hash`, string(person))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}

// EndSessionsOf implements login.SessionStore.
func (db *DB) EndSessionsOf(ctx context.Context, person org.PersonID, keep string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM sessions WHERE person_id = $1 AND hash <> $2", string(person), keep)
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		if n == 0 {
			return nil
		}
		return t.record(ev)
	})
}

// signIns is the condition of the index audit_sign_ins, word for word.
const signIns = "audit.kind IN ('session.started', 'session.refused')"

// LastSignIns implements login.SessionStore.
func (db *DB) LastSignIns(ctx context.Context) (map[org.PersonID]time.Time, error) {
	last := make(map[org.PersonID]time.Time)
	_, err := query(ctx, db.read, func(rows *sql.Rows) (struct{}, error) {
		var (
			person org.PersonID
			at     int64
		)
		err := rows.Scan(&person, &at)
		last[person] = fromMillis(at)
		return struct{}{}, err
	}, "SELECT target, MAX(at) FROM audit WHERE "+signIns+" AND kind = 'session.started' GROUP BY target")
	if err != nil {
		return nil, fmt.Errorf("read the last sign-ins: %w", err)
	}
	return last, nil
}

// SignIns implements login.SessionStore.
func (db *DB) SignIns(ctx context.Context, person org.PersonID, limit int) ([]audit.Event, error) {
	events, err := query(ctx, db.read, func(rows *sql.Rows) (audit.Event, error) {
		var (
			ev = audit.Event{Target: string(person)}
			at int64
		)
		err := rows.Scan(&at, &ev.Kind, &ev.Actor.Address, &ev.Detail)
		ev.At = fromMillis(at)
		return ev, err
	}, "SELECT at, kind, address, detail FROM audit WHERE "+signIns+" AND target = $1 ORDER BY at DESC, id DESC LIMIT $2", string(person), limit)
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	return events, nil
}

// InvitedPeople implements login.SessionStore.
func (db *DB) InvitedPeople(ctx context.Context, now time.Time) (map[org.PersonID]bool, error) {
	invited := make(map[org.PersonID]bool)
	_, err := query(ctx, db.read, func(rows *sql.Rows) (struct{}, error) {
		var person org.PersonID
		err := rows.Scan(&person)
		invited[person] = true
		return struct{}{}, err
	}, "SELECT person_id FROM account_links WHERE kind = $1 AND expires_at > $2", string(login.InviteLink), millis(now))
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	return invited, nil
}
