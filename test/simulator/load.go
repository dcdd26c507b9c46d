package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver of the store

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
)

// The apps that people connected. Of ten grants the first app has four; the
// small one has smallGrants of each size.
const (
	apps       = 100
	largeApp   = 0
	smallApp   = apps
	smallEvery = 500
)

// population says who and what there is. All of it follows from the numbers
// and the seed: the n-th grant is the same one in every run.
type population struct {
	seed          uint64
	people, teams int
	resource      string
	now           time.Time
}

func (p population) id(kind string, n int) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", p.seed, kind, n))
	return [16]byte(sum[:16])
}

func letters(b [16]byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (p population) person(n int) string { return "per_" + letters(p.id("person", n)) }
func (p population) team(n int) string   { return "team_" + letters(p.id("team", n)) }

// app is the one that the n-th grant is for.
func (p population) app(n int) int {
	switch {
	case n%smallEvery == smallEvery-1:
		return smallApp
	case n%10 < 4:
		return largeApp
	default:
		return 1 + n%(apps-1)
	}
}

func (p population) client(app int) grant.Client {
	return grant.Client{
		ID: grant.ClientID("reg_" + letters(p.id("app", app))), Kind: grant.Registered, CreatedAt: p.now,
		Metadata: spec.ClientMetadata{Name: fmt.Sprintf("App %d", app), GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none"},
	}
}

// refreshToken is the newest one of a grant that was just loaded, made as
// package grant does: were that done otherwise, every refresh would fail.
func (p population) refreshToken(master grant.MasterKey, n int) grant.RefreshToken {
	id := p.id("grant", n)
	b := binary.BigEndian.AppendUint32(id[:], 1)
	mac := hmac.New(sha256.New, master.Derive("refresh token"))
	mac.Write(b)
	return grant.RefreshToken("orl_rt_" + base64.RawURLEncoding.EncodeToString(append(b, mac.Sum(nil)[:24]...)))
}

// table is rows on their way into one of the store's tables.
type table struct {
	name    string
	columns []string
	row     func(n int) []any
}

func (p population) tables() (people, members, teams, grants table) {
	created := p.now.Add(-30 * 24 * time.Hour).UnixMilli()
	teams = table{"teams", []string{"id", "slug", "name", "tenant", "created_at"}, func(n int) []any {
		return []any{p.team(n), fmt.Sprintf("team-%d", n), fmt.Sprintf("Team %d", n), int64(n + 1), created}
	}}
	people = table{"people", []string{"id", "email", "name", "owner", "password_hash", "created_at", "disabled_at"}, func(n int) []any {
		return []any{p.person(n), fmt.Sprintf("person-%d@example.com", n), fmt.Sprintf("Person %d", n), n == 0, "", created, int64(0)}
	}}
	members = table{"members", []string{"team_id", "person_id", "roles"}, func(n int) []any {
		return []any{p.team(n % p.teams), p.person(n), `["viewer"]`}
	}}
	keys := make([]string, apps+1)
	for app := range keys {
		keys[app] = string(p.client(app).Key())
	}
	at := p.now.UnixMilli()
	grants = table{"grants", []string{
		"id", "person_id", "client_key", "team_id", "resource", "scopes", "auth_time", "amr", "acr", "created_at",
		"redeemed_at", "last_used_at", "ended_at", "end_reason", "generation", "superseded",
	}, func(n int) []any {
		person := n % p.people
		return []any{
			letters(p.id("grant", n)), p.person(person), keys[p.app(n)], p.team(person % p.teams), p.resource, "logs:read traces:read metrics:read",
			at, `["pwd"]`, "", at, at, at, int64(0), "", int64(1), "[]",
		}
	}}
	return people, members, teams, grants
}

// place is where a store is.
type place struct{ path, url string }

func (w place) open(ctx context.Context) (*store.DB, error) {
	return store.Open(ctx, store.Config{Path: w.path, URL: w.url})
}

// replicas is how many work on the store: a SQLite file has one process.
func (w place) replicas() int {
	if w.url != "" {
		return 3
	}
	return 1
}

func (w place) name() string {
	if w.url != "" {
		return "PostgreSQL"
	}
	return "SQLite"
}

// prepare makes the tables, by opening the store, and everything but grants.
func (w place) prepare(ctx context.Context, p population) (err error) {
	db, err := w.open(ctx)
	if err != nil {
		return err
	}
	for app := range apps + 1 {
		ev := audit.Event{At: p.now, Actor: audit.System(), Kind: audit.GrantApproved, Target: "simulator"}
		if err := db.SaveClient(ctx, p.client(app), ev); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	people, members, teams, _ := p.tables()
	if err := w.fill(ctx, teams, 0, p.teams); err != nil {
		return err
	}
	if err := w.fill(ctx, people, 0, p.people); err != nil {
		return err
	}
	return w.fill(ctx, members, 0, p.people)
}

// fill adds the rows from one number to another to a table.
func (w place) fill(ctx context.Context, t table, from, to int) error {
	if w.url != "" {
		return w.copy(ctx, t, from, to)
	}
	return w.insert(ctx, t, from, to)
}

func (w place) copy(ctx context.Context, t table, from, to int) error {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // everything is committed
	// The rows refer to each other rightly, which checking 15 million times
	// would only confirm; who may not leave it out waits longer.
	_, _ = conn.Exec(ctx, "SET session_replication_role = replica")
	n := from - 1
	_, err = conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
		if n++; n >= to {
			return nil, nil
		}
		return t.row(n), nil
	}))
	if err != nil {
		return fmt.Errorf("copy into %s: %w", t.name, err)
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE "+t.name) // as autovacuum does within a minute
	return err
}

// rowsEach is how many rows one transaction of SQLite adds.
const rowsEach = 250_000

func (w place) insert(ctx context.Context, t table, from, to int) (err error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(OFF)", "foreign_keys(0)", "cache_size(-1000000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: w.path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	text := "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(t.columns)-1) + ")"
	for from < to {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		stmt, err := tx.PrepareContext(ctx, text)
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		for end := min(from+rowsEach, to); from < end; from++ {
			if _, err := stmt.ExecContext(ctx, t.row(from)...); err != nil {
				return errors.Join(fmt.Errorf("insert into %s: %w", t.name, err), tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// size is what the store takes on disk, in bytes.
func (w place) size(ctx context.Context) (n int64, err error) {
	if w.url != "" {
		conn, err := pgx.Connect(ctx, w.url)
		if err != nil {
			return 0, err
		}
		defer conn.Close(ctx) //nolint:errcheck // it only read
		err = conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&n)
		return n, err
	}
	return fileSize(w.path)
}

func (p population) grantPerson(n int) org.PersonID { return org.PersonID(p.person(n % p.people)) }
