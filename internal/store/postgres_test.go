package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/pgtest"
)

func openURL(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: url})
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

func openPostgresInside(t *testing.T) *DB {
	t.Helper()
	return openURL(t, pgtest.Empty(t))
}

// Both databases have the same tables and columns, whatever becomes of the
// migrations' text on the way.
func TestSchemasAreTheSame(t *testing.T) {
	read := func(db *DB, text string) []string {
		t.Helper()
		rows, err := db.read.QueryContext(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var out []string
		for rows.Next() {
			var table, column, kind string
			var null bool
			if err := rows.Scan(&table, &column, &kind, &null); err != nil {
				t.Fatal(err)
			}
			switch kind {
			case "INTEGER", "BOOLEAN", "boolean":
				kind = "truth value"
			case "BIGINT", "bigint":
				kind = "number"
			case "TEXT", "text":
				kind = "text"
			case "BLOB", "bytea":
				kind = "bytes"
			}
			if column == "id" || column == "seq" {
				kind = strings.Replace(kind, "truth value", "number", 1) // SQLite numbers rows with INTEGER
			}
			out = append(out, fmt.Sprint(table, ".", column, " ", kind, null))
		}
		slices.Sort(out)
		return out
	}
	lite := read(openInside(t), `SELECT m.name, c.name, c.type, c."notnull" = 0 AND c.pk = 0 FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'goose_%'`)
	postgres := read(openPostgresInside(t), `SELECT table_name, column_name, data_type, is_nullable = 'YES' FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT LIKE 'goose_%'`)
	if diff := cmp.Diff(lite, postgres); diff != "" || len(lite) < 100 {
		t.Errorf("SQLite −, PostgreSQL +:\n%s", diff)
	}
}

// A migration written with a type that is not rendered would make another
// column than it says.
func TestMigrationsUseKnownTypes(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(forPostgres.Replace(string(text))) {
			if strings.HasPrefix(strings.TrimSpace(line), "--") {
				continue
			}
			for _, word := range []string{"INTEGER", "BLOB", "AUTOINCREMENT", "REAL", "PRAGMA", "datetime("} {
				if strings.Contains(line, word) {
					t.Errorf("%s: %s stays in %q", name, word, line)
				}
			}
			if strings.Contains(line, " TEXT ") && !strings.Contains(line, `TEXT COLLATE "C"`) {
				t.Errorf("%s: a text is compared by the database's locale: %q", name, line)
			}
		}
	}
}

// A number of the feed is given out before its transaction commits. A follower
// must nevertheless see them all, in their order, also when the one with the
// smaller number takes its time.
func TestFeedIsReadWithoutGaps(t *testing.T) {
	location := pgtest.Empty(t)
	slow, fast, follower := openURL(t, location), openURL(t, location), openURL(t, location)
	ctx := t.Context()
	appended, release := make(chan struct{}), make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		err := slow.update(ctx, func(t *tx) error {
			told := t.told
			t.told = func(t *tx) error {
				close(appended)
				<-release
				return told(t)
			}
			return t.change(access.PersonChanged, "slow", time.Now())
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-appended // its number is given out, and it has not committed
	done := make(chan struct{})
	writers.Go(func() {
		defer close(done)
		err := fast.update(ctx, func(tx *tx) error { return tx.change(access.PersonChanged, "fast", time.Now()) })
		if err != nil {
			t.Error(err)
		}
	})
	var seen []string
	at := int64(0)
	read := func() {
		t.Helper()
		changes, newest, err := follower.ChangesAfter(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		at = newest
		for _, c := range changes {
			seen = append(seen, c.ID)
		}
	}
	// The fast one waits for the slow one: until PostgreSQL says so, or it is
	// through, which would be the fault.
	for waiting := false; !waiting; {
		select {
		case <-done:
			waiting = true
		default:
			err := follower.read.QueryRowContext(ctx, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&waiting)
			if err != nil {
				t.Fatal(err)
			}
		}
		read()
	}
	read()
	close(release)
	writers.Wait()
	read()
	if !slices.Equal(seen, []string{"slow", "fast"}) {
		t.Errorf("the follower saw %q", seen)
	}
}

// Many writers and one follower: it misses nothing.
func TestFeedUnderLoad(t *testing.T) {
	location := pgtest.Empty(t)
	a, b := openURL(t, location), openURL(t, location)
	ctx := t.Context()
	const writes = 150
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			db := []*DB{a, b}[w%2]
			for i := range writes / 6 {
				if err := db.update(ctx, func(t *tx) error {
					return t.change(access.PersonChanged, fmt.Sprint(w, "/", i), time.Now())
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { writers.Wait(); close(finished) }()
	seen, at, last := 0, int64(0), false
	for {
		changes, newest, err := b.ChangesAfter(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		seen, at = seen+len(changes), newest
		if last {
			break
		}
		select {
		case <-finished:
			last = true
		default:
		}
	}
	if seen != writes {
		t.Errorf("%d of %d changes were seen", seen, writes)
	}
	if a.Head() == 0 || b.Head() == 0 || max(a.Head(), b.Head()) != at {
		t.Errorf("heads %d and %d, the newest is %d", a.Head(), b.Head(), at)
	}
}

// Another process is told at once, also after its connection was lost.
func TestFollowersAreToldAtOnce(t *testing.T) {
	location := pgtest.Empty(t)
	a, b := openURL(t, location), openURL(t, location)
	ctx := t.Context()
	told := func(id string) {
		t.Helper()
		seen := false
		for deadline := time.After(20 * time.Second); !seen; {
			select {
			case <-b.Committed():
				changes, _, err := b.ChangesAfter(ctx, 0)
				if err != nil {
					t.Fatal(err)
				}
				seen = slices.ContainsFunc(changes, func(c access.Change) bool { return c.ID == id })
			case <-deadline:
				t.Fatalf("not told about %s", id)
			}
		}
	}
	change := func(id string) {
		t.Helper()
		if err := a.update(ctx, func(t *tx) error { return t.change(access.PersonChanged, id, time.Now()) }); err != nil {
			t.Fatal(err)
		}
	}
	change("one")
	told("one")
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	// Every session ends, the listeners' and those of the pools.
	if err := pgtest.Shared(t).Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+u.Path[1:]+"'"); err != nil {
		t.Fatal(err)
	}
	change("two")
	told("two")
}

// A transaction that came in another's way is run again; what it does is done
// once.
func TestWritesAreRunAgain(t *testing.T) {
	location := pgtest.Empty(t)
	dbs := []*DB{openURL(t, location), openURL(t, location)}
	ctx := t.Context()
	const each = 15
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for range each {
				// Read, then write what was read and one more: without an
				// order among all of them, some would be lost.
				err := dbs[w%2].update(ctx, func(t *tx) error {
					var n int
					if err := t.QueryRow("SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM installation WHERE name = 'n'), 0)").Scan(&n); err != nil {
						return err
					}
					_, err := t.exec("INSERT INTO installation (name, value) VALUES ('n', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", fmt.Sprint(n+1))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	var n string
	if err := dbs[0].read.QueryRowContext(ctx, "SELECT value FROM installation WHERE name = 'n'").Scan(&n); err != nil || n != fmt.Sprint(8*each) {
		t.Errorf("counted to %s, %v", n, err)
	}
	if dbs[0].Repeated()+dbs[1].Repeated() == 0 {
		t.Error("nothing was run again: the writers never met")
	}
}

// What fails every time ends, with its reason.
func TestRepetitionIsBounded(t *testing.T) {
	db := openPostgresInside(t)
	tries := 0
	err := db.update(t.Context(), func(*tx) error {
		tries++
		return &pgconn.PgError{Code: deadlockDetected, Message: "always"}
	})
	if tries != maxAttempts || err == nil || !strings.Contains(err.Error(), "always") {
		t.Errorf("%d attempts, %v", tries, err)
	}
	// A refusal of ours is an answer, not a mishap.
	tries = 0
	err = db.update(t.Context(), func(*tx) error { tries++; return org.ErrLastOwner })
	if tries != 1 || !errors.Is(err, org.ErrLastOwner) {
		t.Errorf("%d attempts, %v", tries, err)
	}
	// An error that got lost in a write must not make it look done.
	err = db.update(t.Context(), func(t *tx) error {
		_, _ = t.Exec("SELECT 1/0")
		return nil
	})
	if err == nil {
		t.Error("a write that the database undid was reported as done")
	}
}

// Replicas that start together end up with one schema.
func TestReplicasMigrateTogether(t *testing.T) {
	location := pgtest.Empty(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			db, err := Open(t.Context(), Config{URL: location})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.CreatePerson(t.Context(), org.Person{ID: "p", Email: "p@example.com"}, "", audit.Event{}); err != nil && !errors.Is(err, org.ErrEmailTaken) {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// One leads at a time; when it goes, another one follows.
func TestOneLeads(t *testing.T) {
	location := pgtest.Empty(t)
	dbs := []*DB{openURL(t, location), openURL(t, location)}
	var (
		mu      sync.Mutex
		leading int
		stops   []context.CancelFunc
	)
	led := make(chan int, 2)
	var all sync.WaitGroup
	for i, db := range dbs {
		ctx, stop := context.WithCancel(t.Context())
		stops = append(stops, stop)
		all.Go(func() {
			_ = db.Lead(ctx, func(ctx context.Context) {
				mu.Lock()
				leading++
				if leading != 1 {
					t.Errorf("%d lead", leading)
				}
				mu.Unlock()
				led <- i
				<-ctx.Done()
				mu.Lock()
				leading--
				mu.Unlock()
			})
		})
	}
	first := <-led
	stops[first]()
	if second := <-led; second == first {
		t.Errorf("%d leads again", first)
	}
	stops[1-first]()
	all.Wait()
}

// Whoever asks for what is new in the audit misses no event.
func TestAuditIsFollowedWithoutGaps(t *testing.T) {
	location := pgtest.Empty(t)
	slow, fast := openURL(t, location), openURL(t, location)
	ctx := t.Context()
	event := func(detail string) audit.Event {
		return audit.Event{At: time.Now(), Kind: audit.PersonCreated, Detail: detail}
	}
	if err := fast.RecordEvent(ctx, event("first")); err != nil {
		t.Fatal(err)
	}
	recorded, release := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := slow.update(ctx, func(t *tx) error {
			err := t.record(event("slow"))
			close(recorded)
			<-release
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	<-recorded
	if err := fast.RecordEvent(ctx, event("fast")); err != nil {
		t.Fatal(err)
	}
	var seen []string
	at := int64(1)
	read := func() {
		t.Helper()
		events, err := fast.Events(ctx, audit.Filter{After: at})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			seen, at = append(seen, e.Detail), e.Seq
		}
	}
	read()
	close(release)
	writer.Wait()
	read()
	if !slices.Equal(seen, []string{"slow", "fast"}) {
		t.Errorf("the follower saw %q", seen)
	}
}

// Strangers send texts that PostgreSQL keeps nowhere.
func TestTextsThatAreNone(t *testing.T) {
	db := openPostgresInside(t)
	ctx := t.Context()
	if _, err := db.PersonByEmail(ctx, "a\x00b\xff@example.com"); !errors.Is(err, org.ErrPersonNotFound) {
		t.Errorf("looked up: %v", err)
	}
	if err := db.RecordEvent(ctx, audit.Event{At: time.Now(), Kind: audit.PersonCreated, Detail: "na\x00me\xc3"}); err != nil {
		t.Fatal(err)
	}
	events, err := db.Events(ctx, audit.Filter{})
	if err != nil || len(events) != 1 || events[0].Detail != "na\uFFFDme\uFFFD" {
		t.Errorf("%+v, %v", events, err)
	}
}

// Whatever is wrong with the database, the error says what to do and keeps the
// password to itself.
func TestWhatIsWrongWithTheDatabase(t *testing.T) {
	const secret = "s3cr3t"
	server := pgtest.Shared(t)
	ctx := t.Context()
	run := func(text string) {
		t.Helper()
		if err := server.Exec(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	run("CREATE DATABASE foreign_to_us ENCODING 'UTF8' TEMPLATE template0")
	run("CREATE ROLE nobody_much LOGIN PASSWORD '" + secret + "'")
	run("CREATE DATABASE frozen ENCODING 'UTF8' TEMPLATE template0")
	run("ALTER DATABASE frozen SET default_transaction_read_only = on")
	t.Cleanup(func() {
		for _, text := range []string{"DROP DATABASE latin", "DROP DATABASE foreign_to_us", "DROP DATABASE frozen", "DROP ROLE nobody_much"} {
			if err := server.Exec(context.Background(), text); err != nil {
				t.Error(err)
			}
		}
	})
	as := func(database, user string) string {
		u, err := url.Parse(server.URL(database))
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, secret)
		return u.String()
	}
	for _, c := range []struct{ name, url, want string }{
		{"no URL", "postgres://oriel:" + secret + "@[::1/oriel", "this is no URL"},
		{"a character too few is encoded", "postgres://oriel:" + secret + "%@db/oriel", "percent-encoded"},
		{"another database's", "mysql://oriel:" + secret + "@db/oriel", "no PostgreSQL URL"},
		{"a path", "/var/lib/" + secret + ".db", "no PostgreSQL URL"},
		{"odd option", "postgres://oriel:" + secret + "@db/oriel?sslmode=sometimes", "sslmode"},
		{"nobody answers", "postgres://oriel:" + secret + "@127.0.0.1:1/oriel?sslmode=disable", "127.0.0.1:1 does not answer: start it"},
		{"no such database", as("elsewhere", "oriel"), "there is no database elsewhere"},
		{"no such user", as("postgres", "somebody"), "does not let the user somebody in"},
		{"encoding", as("latin", "oriel"), "encoding LATIN1; make the database anew"},
		{"may not create", as("foreign_to_us", "nobody_much"), "the user nobody_much may not create tables"},
		{"read-only", as("frozen", "oriel"), "is read-only; give the address of the primary"},
	} {
		db, err := Open(ctx, Config{URL: c.url})
		if err == nil {
			t.Errorf("%s: opened", c.name)
			_ = db.Close()
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the password is in %q", c.name, err)
		}
	}
}

// A lost connection before the COMMIT leaves nothing, so the write is run
// again by itself.
func TestWriteOutlivesItsConnection(t *testing.T) {
	db := openPostgresInside(t)
	ctx := t.Context()
	tries := 0
	err := db.update(ctx, func(tx *tx) error {
		if tries++; tries == 1 {
			var pid int
			if err := tx.QueryRow("SELECT pg_backend_pid()").Scan(&pid); err != nil {
				return err
			}
			if err := pgtest.Shared(t).Exec(ctx, fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000)", pid)); err != nil {
				return err
			}
		}
		return tx.insertPerson(org.Person{ID: "p", Email: "p@example.com"}, "", audit.Event{})
	})
	people, listErr := db.People(ctx)
	if err != nil || tries != 2 || listErr != nil || len(people) != 1 {
		t.Errorf("%v after %d tries; %d people, %v", err, tries, len(people), listErr)
	}
}
