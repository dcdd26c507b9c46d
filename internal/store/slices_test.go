package store

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

// plan is how SQLite runs a statement, one step in a line.
func plan(t *testing.T, db *DB, text string, args ...any) string {
	t.Helper()
	steps, err := query(t.Context(), db.read, func(rows *sql.Rows) (step string, err error) {
		var id, parent, unused int
		return step, rows.Scan(&id, &parent, &unused, &step)
	}, "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}

// What pages ask for must not read every grant there is.
func TestNoPageReadsAllGrants(t *testing.T) {
	db := openInside(t)
	for name, f := range map[string]grant.ConnectionFilter{
		"grants_by_person": {Person: "p"}, "grants_by_client": {Client: "c"}, "grants_by_team": {Team: "t"},
	} {
		text, args := connectionsQuery(f)
		if got := plan(t, db, text, args...); !strings.Contains(got, "SEARCH grants USING INDEX "+name) {
			t.Errorf("%+v does not use %s:\n%s", f, name, got)
		}
	}
	for name, text := range map[string]string{
		"clients_by_product": "SELECT key FROM clients WHERE product = $1",
		"codes_by_expiry":    "DELETE FROM codes WHERE expires_at < $1",
	} {
		if got := plan(t, db, text, "x"); !strings.Contains(got, name) {
			t.Errorf("%s does not use %s:\n%s", text, name, got)
		}
	}
}

// More grants than one transaction takes end, once, with one event; what has
// ended for long is swept, and nothing else.
func TestEndAndSweepInSlices(t *testing.T) {
	db := openInside(t)
	ctx, at := t.Context(), time.UnixMilli(1_800_000_000_000)
	const all = 2*sliceRows + 7
	app, other := grant.Client{ID: "https://a.example/c.json", Kind: grant.Document}, grant.Client{ID: "https://b.example/c.json", Kind: grant.Document}
	for _, c := range []grant.Client{app, other} {
		if err := db.SaveClient(ctx, c, audit.Event{At: at}); err != nil {
			t.Fatal(err)
		}
	}
	err := db.update(ctx, func(tx *tx) error {
		if _, err := tx.exec(`INSERT INTO people (id, email, name, owner, password_hash, created_at, disabled_at) VALUES ('p', 'p@example.com', 'P', 0, '', 0, 0)`); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO teams (id, slug, name, tenant, created_at) VALUES ('t', 't', 'T', 1, 0)`); err != nil {
			return err
		}
		for i := range all + 1 {
			c := app
			if i == all {
				c = other
			}
			if err := tx.insertGrant(grant.Grant{ID: grant.ID(fmt.Sprint("g", i)), Person: "p", Team: "t", Client: c.Key(), CreatedAt: at, RedeemedAt: at, LastUsedAt: at}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := func(text string) (n int) {
		t.Helper()
		if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM "+text).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	ev := audit.Event{At: at, Kind: audit.ClientRevoked, Target: "a"}
	for _, want := range []int{all, 0} {
		if n, err := db.EndProductGrants(ctx, app.Product(), "why", at, ev); n != want || err != nil {
			t.Errorf("%d ended, want %d; %v", n, want, err)
		}
	}
	if n := count("grants WHERE ended_at > 0 AND end_reason = 'why'"); n != all {
		t.Errorf("%d have ended", n)
	}
	if n := count("audit WHERE target = 'a'"); n != 2 {
		t.Errorf("%d events for two revocations", n)
	}
	if err := db.SweepGrants(ctx, at.Add(time.Minute), grant.Lifetimes{Idle: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if n := count("grants"); n != 1 {
		t.Errorf("%d grants are left", n)
	}
}
