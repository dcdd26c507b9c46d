package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/grant"
)

func openInside(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "oriel.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestStatementsArePreparedOnce(t *testing.T) {
	db := openInside(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			var n int
			if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM teams WHERE slug = $1", "x").Scan(&n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before := len(db.read.ready)
	if _, err := db.Teams(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Teams(ctx); err != nil {
		t.Fatal(err)
	}
	if got := len(db.read.ready); got != before+1 {
		t.Errorf("%d statements are prepared, want %d", got, before+1)
	}
}

// Text that somebody builds from data must not fill the memory, and must go
// on working.
func TestStatementsAreBounded(t *testing.T) {
	db := openInside(t)
	for i := range maxStatements + 50 {
		var n int
		if err := db.read.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d", i)).Scan(&n); err != nil || n != i {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if got := len(db.read.ready); got > maxStatements {
		t.Errorf("%d statements are kept", got)
	}
}

func TestStatementThatIsWrongSaysSo(t *testing.T) {
	db := openInside(t)
	err := db.update(t.Context(), func(tx *tx) error {
		_, err := tx.Exec("INSERT INTO nowhere VALUES (1)")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("error %v", err)
	}
	rows, err := db.read.QueryContext(t.Context(), "SELEKT 1")
	if err == nil {
		_ = rows.Close()
		t.Error("no error")
	}
	if len(db.read.ready) != 1 { // the newest change, read when the store opened
		t.Errorf("%d statements are kept", len(db.read.ready))
	}
}

// A caller that goes away in the middle must not take others' writes along.
func TestCallersContextDoesNotEndTheTransaction(t *testing.T) {
	db := openInside(t)
	ctx, cancel := context.WithCancel(t.Context())
	insert := func(slug string) func(*tx) error {
		return func(tx *tx) error {
			cancel()
			_, err := tx.exec("INSERT INTO setup_links (hash, expires_at) VALUES ($1, 0)", slug)
			return err
		}
	}
	if err := db.update(ctx, insert("a")); err != nil {
		t.Errorf("a write that had begun: %v", err)
	}
	if err := db.update(t.Context(), insert("b")); err != nil {
		t.Error(err)
	}
	if err := db.update(ctx, insert("c")); !errors.Is(err, context.Canceled) {
		t.Errorf("a write that came too late: %v", err)
	}
	var n int
	if err := db.read.QueryRowContext(t.Context(), "SELECT count(*) FROM setup_links").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// Of writes that are committed together, one that fails halfway undoes what it
// wrote and nothing else, whether it came by Exec or by a query that writes.
func TestFailingHalfwayUndoesOnlyItself(t *testing.T) {
	db := openInside(t)
	failure := errors.New("no")
	insert := "INSERT INTO setup_links (hash, expires_at) VALUES ($1, 0)"
	jobs := make([]*job, 0, 6)
	add := func(do func(*tx) error) {
		jobs = append(jobs, &job{ctx: t.Context(), do: do, done: make(chan error, 1)})
	}
	add(func(tx *tx) error { _, err := tx.exec(insert, "a"); return err })
	add(func(*tx) error { return failure })
	add(func(tx *tx) error {
		if _, err := tx.exec(insert, "b"); err != nil {
			return err
		}
		return failure
	})
	add(func(tx *tx) error {
		var hash string
		if err := tx.QueryRow(insert+" RETURNING hash", "c").Scan(&hash); err != nil {
			return err
		}
		return failure
	})
	add(func(tx *tx) error { _, err := tx.exec(insert, "a"); return err }) // taken
	add(func(tx *tx) error { _, err := tx.exec(insert, "d"); return err })
	db.commit(jobs)
	for i, wantErr := range []bool{false, true, true, true, true, false} {
		if err := <-jobs[i].done; (err != nil) != wantErr {
			t.Errorf("job %d: %v", i, err)
		}
	}
	rows, err := query(t.Context(), db.read, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) }, "SELECT hash FROM setup_links ORDER BY hash")
	if err != nil || !slices.Equal(rows, []string{"a", "d"}) {
		t.Errorf("rows %q, %v", rows, err)
	}
}

func TestSuperseded(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_123).UTC()
	for _, rs := range [][]grant.Rotation{
		{},
		{{Generation: 1, At: at}},
		{{Generation: 0}, {Generation: 1 << 31, At: at}, {Generation: 1<<32 - 1, At: at}},
	} {
		text := formatSuperseded(rs)
		if !json.Valid([]byte(text)) {
			t.Errorf("not JSON: %s", text)
		}
		got, err := parseSuperseded(text)
		if diff := cmp.Diff(rs, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	if text := formatSuperseded(nil); text != "[]" {
		t.Errorf("none: %s", text)
	}
	for _, text := range []string{"", "null", "[", "]", "[[1,2]", "[1,2]", "[[1]]", "[[1,2],]", "[[1,2][3,4]]", "[[-1,2]]", "[[1,x]]", "[[4294967296,1]]", "[[1,2,3]]"} {
		if got, err := parseSuperseded(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
