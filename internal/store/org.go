package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

var _ org.Store = (*DB)(nil)

const personColumns = "people.id, people.email, people.name, people.owner, people.service, people.created_at, people.disabled_at"

type personRow struct {
	p                 org.Person
	created, disabled int64
}

func (r *personRow) fields() []any {
	return []any{&r.p.ID, &r.p.Email, &r.p.Name, &r.p.Owner, &r.p.Service, &r.created, &r.disabled}
}

func (r *personRow) person() org.Person {
	r.p.CreatedAt, r.p.DisabledAt = fromMillis(r.created), fromMillis(r.disabled)
	return r.p
}

func (t *tx) insertPerson(p org.Person, passwordHash string, ev audit.Event) error {
	_, err := t.exec(
		"INSERT INTO people (id, email, name, owner, service, password_hash, created_at, disabled_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		string(p.ID), p.Email, p.Name, p.Owner, p.Service, passwordHash, millis(p.CreatedAt), millis(p.DisabledAt))
	if isUnique(err) {
		return org.ErrEmailTaken
	}
	if err != nil {
		return fmt.Errorf("insert person: %w", err)
	}
	return t.record(ev)
}

// CreatePerson implements org.Store.
func (db *DB) CreatePerson(ctx context.Context, p org.Person, passwordHash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error { return t.insertPerson(p, passwordHash, ev) })
}

// CreateFirstOwner implements org.Store.
func (db *DB) CreateFirstOwner(ctx context.Context, p org.Person, passwordHash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var n int
		if err := t.QueryRow("SELECT count(*) FROM people WHERE owner").Scan(&n); err != nil {
			return fmt.Errorf("count owners: %w", err)
		}
		if n > 0 {
			return org.ErrOwnerExists
		}
		if _, err := t.exec("DELETE FROM setup_links"); err != nil {
			return fmt.Errorf("use up the setup link: %w", err)
		}
		return t.insertPerson(p, passwordHash, ev)
	})
}

// HasOwner implements org.Store.
func (db *DB) HasOwner(ctx context.Context) (bool, error) {
	var n int
	if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM people WHERE owner").Scan(&n); err != nil {
		return false, fmt.Errorf("count owners: %w", err)
	}
	return n > 0, nil
}

func (db *DB) person(ctx context.Context, where string, arg string) (org.Person, error) {
	var r personRow
	err := db.read.QueryRowContext(ctx, "SELECT "+personColumns+" FROM people WHERE "+where, arg).Scan(r.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return org.Person{}, org.ErrPersonNotFound
	}
	if err != nil {
		return org.Person{}, fmt.Errorf("read person: %w", err)
	}
	return r.person(), nil
}

// PersonByEmail implements org.Store.
func (db *DB) PersonByEmail(ctx context.Context, email string) (org.Person, error) {
	return db.person(ctx, "email = $1", email)
}

// PersonByID implements org.Store.
func (db *DB) PersonByID(ctx context.Context, id org.PersonID) (org.Person, error) {
	return db.person(ctx, "id = $1", string(id))
}

// People implements org.Store.
func (db *DB) People(ctx context.Context) ([]org.Person, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.Person, error) {
		var r personRow
		err := rows.Scan(r.fields()...)
		return r.person(), err
	}, "SELECT "+personColumns+" FROM people WHERE email NOT LIKE '"+deletedPrefix+"%' ORDER BY email")
}

// query reads all rows of a statement.
func query[T any](ctx context.Context, db querier, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what went wrong
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return out, nil
}

// SetDisabled implements org.Store.
func (db *DB) SetDisabled(ctx context.Context, id org.PersonID, at time.Time, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.setDisabled(id, !at.IsZero(), at, "the account was disabled"); err != nil {
			return err
		}
		if err := t.change(access.PersonChanged, string(id), ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// setDisabled disables or enables a person; disabling ends their sessions and,
// for the reason given, their grants.
func (t *tx) setDisabled(id org.PersonID, disabled bool, at time.Time, reason string) error {
	var since int64
	if disabled {
		since = millis(at)
	}
	n, err := t.exec("UPDATE people SET disabled_at = $1 WHERE id = $2", since, string(id))
	if err != nil {
		return fmt.Errorf("set disabled: %w", err)
	}
	if n == 0 {
		return org.ErrPersonNotFound
	}
	if !disabled {
		return nil
	}
	if _, err := t.exec("DELETE FROM sessions WHERE person_id = $1", string(id)); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	if _, err := t.exec("DELETE FROM account_links WHERE person_id = $1", string(id)); err != nil {
		return fmt.Errorf("withdraw account link: %w", err)
	}
	if _, err := t.exec("UPDATE grants SET ended_at = $1, end_reason = $2 WHERE person_id = $3 AND ended_at = 0",
		millis(at), reason, string(id)); err != nil {
		return fmt.Errorf("end grants: %w", err)
	}
	return nil
}

// PasswordHash implements org.Store.
func (db *DB) PasswordHash(ctx context.Context, id org.PersonID) (string, error) {
	var hash string
	err := db.read.QueryRowContext(ctx, "SELECT password_hash FROM people WHERE id = $1", string(id)).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return "", org.ErrPersonNotFound
	}
	if err != nil {
		return "", fmt.Errorf("read password hash: %w", err)
	}
	return hash, nil
}

// SetPasswordHash implements org.Store.
func (db *DB) SetPasswordHash(ctx context.Context, id org.PersonID, hash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE people SET password_hash = $1 WHERE id = $2", hash, string(id))
		if err != nil {
			return fmt.Errorf("set password hash: %w", err)
		}
		if n == 0 {
			return org.ErrPersonNotFound
		}
		return t.record(ev)
	})
}

const teamColumns = "teams.id, teams.slug, teams.name, teams.tenant, teams.created_at"

type teamRow struct {
	t       org.Team
	created int64
}

func (r *teamRow) fields() []any {
	return []any{&r.t.ID, &r.t.Slug, &r.t.Name, &r.t.Tenant, &r.created}
}

func (r *teamRow) team() org.Team {
	r.t.CreatedAt = fromMillis(r.created)
	return r.t
}

// CreateTeam implements org.Store. Tenant ids start at 1, because engines
// take a missing tenant for 0, and are never used again.
func (db *DB) CreateTeam(ctx context.Context, team org.Team, ev audit.Event) (org.Team, error) {
	err := db.update(ctx, func(t *tx) error {
		var next int64
		err := t.QueryRow(`INSERT INTO installation (name, value) VALUES ('last_tenant', '1')
			ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(installation.value AS BIGINT) + 1 AS TEXT)
			RETURNING CAST(value AS BIGINT)`).Scan(&next)
		if err != nil {
			return fmt.Errorf("take a tenant id: %w", err)
		}
		team.Tenant = telemetry.TenantID(next)
		_, err = t.exec("INSERT INTO teams (id, slug, name, tenant, created_at) VALUES ($1, $2, $3, $4, $5)",
			string(team.ID), team.Slug, team.Name, next, millis(team.CreatedAt))
		if isUnique(err) {
			return org.ErrSlugTaken
		}
		if err != nil {
			return fmt.Errorf("insert team: %w", err)
		}
		return t.record(ev)
	})
	return team, err
}

// RenameTeam implements org.Store.
func (db *DB) RenameTeam(ctx context.Context, id org.TeamID, name string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE teams SET name = $1 WHERE id = $2", name, string(id))
		if err != nil {
			return fmt.Errorf("rename team: %w", err)
		}
		if n == 0 {
			return org.ErrTeamNotFound
		}
		// Standings show the name.
		if err := t.change(access.RoleChanged, string(id), ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// TeamBySlug implements org.Store.
func (db *DB) TeamBySlug(ctx context.Context, slug string) (org.Team, error) {
	var r teamRow
	err := db.read.QueryRowContext(ctx, "SELECT "+teamColumns+" FROM teams WHERE slug = $1", slug).Scan(r.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return org.Team{}, org.ErrTeamNotFound
	}
	if err != nil {
		return org.Team{}, fmt.Errorf("read team: %w", err)
	}
	return r.team(), nil
}

// Teams implements org.Store.
func (db *DB) Teams(ctx context.Context) ([]org.Team, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.Team, error) {
		var r teamRow
		err := rows.Scan(r.fields()...)
		return r.team(), err
	}, "SELECT "+teamColumns+" FROM teams ORDER BY tenant")
}

// SetMember implements org.Store.
func (db *DB) SetMember(ctx context.Context, team org.TeamID, person org.PersonID, roles []string, ev audit.Event) error {
	list, err := json.Marshal(roles)
	if err != nil {
		return fmt.Errorf("encode roles: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO members (team_id, person_id, roles) VALUES ($1, $2, $3)
			ON CONFLICT (team_id, person_id) DO UPDATE SET roles = excluded.roles`,
			string(team), string(person), string(list)); err != nil {
			return fmt.Errorf("set member: %w", err)
		}
		if err := t.forgetGiven(team, person); err != nil {
			return err
		}
		if err := t.change(access.MemberChanged, string(person), ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// RemoveMember implements org.Store.
func (db *DB) RemoveMember(ctx context.Context, team org.TeamID, person org.PersonID, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM members WHERE team_id = $1 AND person_id = $2", string(team), string(person))
		if err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		if n == 0 {
			return org.ErrNotMember
		}
		if err := t.forgetGiven(team, person); err != nil {
			return err
		}
		if err := t.membershipChanged(ev.At, person); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// Members implements org.Store.
func (db *DB) Members(ctx context.Context, team org.TeamID) ([]org.Member, error) {
	return db.members(ctx, membersOfTeam, string(team))
}

// Memberships implements org.Store.
func (db *DB) Memberships(ctx context.Context, person org.PersonID) ([]org.Member, error) {
	return db.members(ctx, membershipsOfPerson, string(person))
}

// CreateKey implements org.Store.
func (db *DB) CreateKey(ctx context.Context, k org.IngestKey, hash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var n int
		err := t.QueryRow("SELECT count(*) FROM ingest_keys WHERE team_id = $1 AND name = $2 AND revoked_at = 0", string(k.Team), k.Name).Scan(&n)
		if err != nil {
			return fmt.Errorf("look for a key of that name: %w", err)
		}
		if n > 0 {
			return org.ErrKeyNameTaken
		}
		if _, err := t.exec(`INSERT INTO ingest_keys (id, team_id, name, hash, created_at, revoked_at, signals, bytes_per_second)
			VALUES ($1, $2, $3, $4, $5, 0, $6, $7)`,
			string(k.ID), string(k.Team), k.Name, hash, millis(k.CreatedAt), strings.Join(k.Limits.Signals, ","), k.Limits.BytesPerSecond); err != nil {
			return fmt.Errorf("insert key: %w", err)
		}
		// A gate may remember that this hash did not work.
		if err := t.change(access.KeyChanged, hash, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// Keys implements org.Store.
func (db *DB) Keys(ctx context.Context, team org.TeamID) ([]org.IngestKey, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.IngestKey, error) {
		var (
			k                org.IngestKey
			created, revoked int64
			signals          string
		)
		err := rows.Scan(&k.ID, &k.Team, &k.Name, &created, &revoked, &signals, &k.Limits.BytesPerSecond)
		k.CreatedAt, k.RevokedAt, k.Limits.Signals = fromMillis(created), fromMillis(revoked), keySignals(signals)
		return k, err
	}, "SELECT id, team_id, name, created_at, revoked_at, signals, bytes_per_second FROM ingest_keys WHERE team_id = $1 ORDER BY created_at", string(team))
}

// keySignals reads the column signals.
func keySignals(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// RevokeKey implements org.Store.
func (db *DB) RevokeKey(ctx context.Context, id org.KeyID, at time.Time, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var hash string
		err := t.QueryRow("UPDATE ingest_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0 RETURNING hash", millis(at), string(id)).Scan(&hash)
		if errors.Is(err, sql.ErrNoRows) {
			return org.ErrKeyNotFound
		}
		if err != nil {
			return fmt.Errorf("revoke key: %w", err)
		}
		if err := t.change(access.KeyChanged, hash, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}
