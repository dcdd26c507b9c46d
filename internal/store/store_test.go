package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
)

func open(tb testing.TB) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), odd(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// odd is a new store; that of a file has a name that must be escaped.
func odd(tb testing.TB) store.Config {
	c := storetest.Config(tb)
	if c.Path != "" {
		c.Path = filepath.Join(tb.TempDir(), "dir with #odd? name.db")
	}
	return c
}

func person(n int, owner bool) org.Person {
	return org.Person{ID: org.PersonID(fmt.Sprintf("p%d", n)), Email: fmt.Sprintf("p%d@example.com", n), Name: "P", Owner: owner, CreatedAt: time.UnixMilli(1000)}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

// Writes that are committed together must not undo each other.
func TestOneFailingWriteUndoesOnlyItself(t *testing.T) {
	db := open(t)
	ctx := t.Context()
	if err := db.CreatePerson(ctx, person(0, false), "", audit.Event{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := db.CreatePerson(ctx, person(i/2*2, false), "", audit.Event{}) // every address twice
			if err != nil && !errors.Is(err, org.ErrEmailTaken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	people, err := db.People(ctx)
	if err != nil || len(people) != 100 {
		t.Fatalf("%d people, %v", len(people), err)
	}
}

func TestFirstOwnerIsMadeOnce(t *testing.T) {
	db := open(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 20 {
		wg.Go(func() {
			err := db.CreateFirstOwner(ctx, person(i, true), "", audit.Event{})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				made++
			} else if !errors.Is(err, org.ErrOwnerExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d first owners", made)
	}
}

func TestTenantsAreNumberedFromOneAndNeverShared(t *testing.T) {
	db := open(t)
	seen := make(map[uint32]bool)
	for i := range 10 {
		team, err := db.CreateTeam(t.Context(), org.Team{ID: org.TeamID(fmt.Sprint(i)), Slug: fmt.Sprintf("s%d", i), Name: "T"}, audit.Event{})
		if err != nil {
			t.Fatal(err)
		}
		if team.Tenant == 0 || seen[uint32(team.Tenant)] {
			t.Errorf("tenant %d", team.Tenant)
		}
		seen[uint32(team.Tenant)] = true
		// A failed one must not spoil the count.
		_, err = db.CreateTeam(t.Context(), org.Team{ID: "x", Slug: fmt.Sprintf("s%d", i), Name: "T"}, audit.Event{})
		wantErr(t, err, org.ErrSlugTaken)
	}
}

func TestChangeFeed(t *testing.T) {
	f := granttest.New(t)
	ctx := t.Context()
	_, start, err := f.DB.ChangesAfter(ctx, -1)
	f.Must(err)
	tokens := f.Connect("c")
	_, err = f.Refresh(tokens.Refresh)
	f.Must(err)
	if f.DB.Head() != start {
		t.Error("issuing tokens changed the feed: nothing that is remembered depends on them")
	}
	f.Must(f.Authority.EndGrant(ctx, tokens.Grant, "test", audit.System()))
	changes, newest, err := f.DB.ChangesAfter(ctx, start)
	f.Must(err)
	if len(changes) != 1 || changes[0].Kind != access.GrantChanged || changes[0].ID != string(tokens.Grant) || newest != f.DB.Head() {
		t.Errorf("changes %v, newest %d, head %d", changes, newest, f.DB.Head())
	}
	// Sweeping never forgets the newest: its number must not come again.
	f.Must(f.DB.SweepChanges(ctx, f.Now().Add(time.Hour)))
	if _, after, err := f.DB.ChangesAfter(ctx, -1); err != nil || after != newest {
		t.Errorf("newest after the sweep: %d, %v, want %d", after, err, newest)
	}
}

// A database that went back to an older state, as after a failover that lost
// something, must not leave followers with what they read before.
func TestFollowerOfAStoreThatWentBack(t *testing.T) {
	f := granttest.New(t)
	ctx := t.Context()
	tokens := f.Connect("c")
	_, key, err := f.Directory.AddKey(ctx, "shop", "agent", audit.System())
	f.Must(err)
	gate, err := access.NewGate(ctx, access.Config{
		Source: f.DB, Keys: f.Authority.Keys, Issuer: granttest.Issuer, Now: f.Now, Lifetimes: f.Authority.Lifetimes, Logger: slog.New(slog.DiscardHandler),
	})
	f.Must(err)
	check := func() error {
		_, err := gate.Check(ctx, tokens.Access, f.Resources.Bare())
		return err
	}
	f.Must(check())
	_, err = gate.CheckKey(ctx, key)
	f.Must(err)
	_, at, err := f.DB.ChangesAfter(ctx, -1)
	f.Must(err)
	if at < 2 {
		t.Fatalf("the feed is at %d", at)
	}
	if changes, newest, err := f.DB.ChangesAfter(ctx, at); err != nil || len(changes) != 0 || newest != at {
		t.Errorf("nothing new: %v, %d, %v", changes, newest, err)
	}
	// Behind everybody's back: the grant is over, the newest changes are gone.
	f.Must(f.DB.Tamper(ctx, "UPDATE grants SET ended_at = 1, end_reason = 'before'"))
	f.Must(f.DB.Tamper(ctx, "UPDATE ingest_keys SET revoked_at = 1"))
	f.Must(check())
	f.Must(f.DB.Tamper(ctx, fmt.Sprintf("DELETE FROM changes WHERE seq >= %d", at)))
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); gate.Run(running) }()
	for deadline := time.Now().Add(5 * time.Second); check() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the gate goes on from what it read before")
		}
	}
	if _, err := gate.CheckKey(ctx, key); !errors.Is(err, access.ErrKeyUnknown) {
		t.Errorf("the key: %v", err)
	}
	stop()
	<-done
	// From there on it follows as ever.
	if _, newest, err := f.DB.ChangesAfter(ctx, at); err != nil || newest >= at {
		t.Errorf("the newest is %d, %v, and was %d", newest, err, at)
	}
}

func TestSweepKeepsWhatIsNeeded(t *testing.T) {
	f := granttest.New(t)
	ctx := t.Context()
	used, unused, over := f.Connect("used"), f.Consent("unused"), f.Connect("over")
	_, err := f.Authority.Approve(ctx, unused, audit.System())
	f.Must(err)
	f.Must(f.Authority.EndGrant(ctx, over.Grant, "test", audit.System()))
	f.Advance(8 * 24 * time.Hour)
	f.Must(f.DB.SweepGrants(ctx, f.Now().Add(-7*24*time.Hour), f.Authority.Lifetimes))
	if _, err := f.DB.Standing(ctx, over.Grant); !errors.Is(err, grant.ErrNotFound) {
		t.Errorf("an ended grant: %v", err)
	}
	_, err = f.Refresh(used.Refresh)
	f.Must(err)
	conns, err := f.Authority.Connections(ctx, grant.ConnectionFilter{})
	if err != nil || len(conns) != 1 || conns[0].Grant.ID != used.Grant {
		t.Errorf("connections %v, %v", conns, err)
	}
}

func TestAcknowledgedWritesSurviveReopening(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	again := f.Reopen()
	s, err := again.Standing(t.Context(), tokens.Grant)
	f.Must(err)
	if s.Grant.Generation != 1 || s.Person.Email != "ada@example.com" || s.Roles.RoleNames()[0] != "viewer" || s.Client.Name() != "Test client" ||
		s.Grant.Scopes != f.Consent("x").Scopes || len(s.Grant.AMR) != 1 {
		t.Errorf("standing after reopening: %+v", s)
	}
}

func TestWritesAfterCloseAreRefused(t *testing.T) {
	db, err := store.Open(t.Context(), odd(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, db.CreatePerson(t.Context(), person(1, false), "", audit.Event{}), store.ErrClosed)
}

func TestCanceledWriteDoesNotHappen(t *testing.T) {
	db := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.CreatePerson(ctx, person(1, false), "", audit.Event{}); err == nil {
		t.Error("no error")
	}
	if people, err := db.People(t.Context()); err != nil || len(people) != 0 {
		t.Errorf("people %v, %v", people, err)
	}
}

// BenchmarkRefresh is the refresh grant, from the token to the commit on disk
// and the signed answer, by many clients at once.
func BenchmarkRefresh(b *testing.B) {
	f := granttest.New(b)
	b.SetParallelism(8)
	var mu sync.Mutex
	n := 0
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		n++
		tokens := f.Connect(fmt.Sprint(n))
		mu.Unlock()
		for pb.Next() {
			var err error
			if tokens, err = f.Refresh(tokens.Refresh); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
