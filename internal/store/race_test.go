package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
)

// processes opens a fixture's store as several processes would.
func processes(t *testing.T, f *granttest.Fixture) (dbs []*store.DB, authorities []*grant.Authority) {
	t.Helper()
	for range 3 {
		db := f.Reopen()
		c := f.Authority.Config
		c.Store = db
		a, err := grant.New(c)
		f.Must(err)
		dbs, authorities = append(dbs, db), append(authorities, a)
	}
	return dbs, authorities
}

// race has many do the same at once, and returns how many succeeded; an error
// that is not one of those given fails the test.
func race(t *testing.T, runners int, do func(n int) error, refusals ...error) int {
	t.Helper()
	var (
		won  atomic.Int64
		all  sync.WaitGroup
		gate = make(chan struct{})
	)
	for n := range runners {
		all.Go(func() {
			<-gate
			err := do(n)
			if err == nil {
				won.Add(1)
				return
			}
			for _, r := range refusals {
				if errors.Is(err, r) {
					return
				}
			}
			t.Error(err)
		})
	}
	close(gate)
	all.Wait()
	return int(won.Load())
}

const runners = 12

func TestRaceForACode(t *testing.T) {
	f := granttest.New(t)
	_, authorities := processes(t, f)
	for i := range 3 {
		code := f.Code(fmt.Sprint("page", i))
		var mu sync.Mutex
		successors := make(map[grant.RefreshToken]bool)
		race(t, runners, func(n int) error {
			tokens, err := authorities[n%3].Redeem(t.Context(), f.Redemption(code))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				successors[tokens.Refresh] = true
			}
			return err
		})
		// Identical redemptions at one moment are one redemption, answered again.
		if len(successors) != 1 {
			t.Errorf("a code gave %d different refresh tokens", len(successors))
		}
	}
}

func TestRaceForARefreshToken(t *testing.T) {
	f := granttest.New(t)
	_, authorities := processes(t, f)
	tokens := f.Connect("c")
	for range 4 {
		f.Advance(time.Minute)
		var mu sync.Mutex
		successors, present := make(map[grant.RefreshToken]bool), tokens.Refresh
		race(t, runners, func(n int) error {
			next, err := authorities[n%3].Refresh(t.Context(), grant.RefreshRequest{Token: present, Client: f.Client.ID})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				successors[next.Refresh] = true
				tokens.Refresh = next.Refresh
			}
			return err
		})
		if len(successors) != 1 {
			t.Fatalf("%d live successors", len(successors))
		}
	}
	s, err := f.DB.Standing(t.Context(), tokens.Grant)
	f.Must(err)
	if s.Grant.Generation != 5 {
		t.Errorf("generation %d after the code and four refreshes", s.Grant.Generation)
	}
}

func TestRaceOfTheLastOwners(t *testing.T) {
	f := granttest.New(t)
	dbs, _ := processes(t, f)
	for round := range 4 {
		var owners []org.Person
		for i := range 2 {
			p, err := f.Directory.AddPerson(t.Context(), org.NewPerson{Email: fmt.Sprintf("o%d.%d@example.com", round, i), Name: "O", Owner: true}, audit.System())
			f.Must(err)
			owners = append(owners, p)
		}
		people, err := f.DB.People(t.Context())
		f.Must(err)
		for _, p := range people { // all others go
			if p.Owner && p.ID != owners[0].ID && p.ID != owners[1].ID {
				f.Must(dbs[0].ChangeAccount(t.Context(), p.ID, org.UnmakeOwner, audit.Event{At: f.Now()}))
			}
		}
		changes := []org.AccountChange{org.UnmakeOwner, org.DisableAccount}
		if won := race(t, 2, func(n int) error {
			return dbs[n].ChangeAccount(t.Context(), owners[n].ID, changes[n], audit.Event{At: f.Now()})
		}, org.ErrLastOwner); won != 1 {
			t.Errorf("round %d: %d of the last two owners went", round, won)
		}
	}
}

func TestRacesThatOneWins(t *testing.T) {
	f := granttest.New(t)
	dbs, _ := processes(t, f)
	ctx := t.Context()
	db := func(n int) *store.DB { return dbs[n%3] }
	f.Must(f.DB.AddFactor(ctx, mfa.Factor{ID: "f", Person: f.Ada.ID, Kind: mfa.TOTP, CreatedAt: f.Now()}, 5, []string{"r1", "r2"}))
	f.Must(f.DB.SetAccountLink(ctx, login.AccountLink{Hash: "link", Person: f.Ada, Kind: login.InviteLink, ExpiresAt: f.Now().Add(time.Hour)}, audit.Event{At: f.Now()}))
	for _, c := range []struct {
		name    string
		do      func(n int) error
		refusal error
	}{
		{"a time step", func(n int) error { return db(n).TakeStep(ctx, "f", 7, f.Now()) }, mfa.ErrCodeUsed},
		{"a recovery code", func(n int) error {
			_, err := db(n).UseRecoveryCode(ctx, f.Ada.ID, "r1", audit.Event{At: f.Now()})
			return err
		}, mfa.ErrRecoveryCode},
		{"an account link", func(n int) error { return db(n).UseAccountLink(ctx, "link", "hash", audit.Event{At: f.Now()}) }, login.ErrNoAccountLink},
		{"an address", func(n int) error {
			return db(n).CreatePerson(ctx, org.Person{ID: org.PersonID(fmt.Sprint("n", n)), Email: "new@example.com"}, "", audit.Event{})
		}, org.ErrEmailTaken},
		{"an assertion", func(n int) error {
			first, err := db(n).UseOnce(ctx, "jti", f.Now().Add(time.Minute))
			if err == nil && !first {
				err = grant.ErrAssertionUsed
			}
			return err
		}, grant.ErrAssertionUsed},
		{"a key's name", func(n int) error {
			return db(n).CreateKey(ctx, org.IngestKey{ID: org.KeyID(fmt.Sprint("k", n)), Team: f.Shop.ID, Name: "agent"}, fmt.Sprint("hash", n), audit.Event{})
		}, org.ErrKeyNameTaken},
	} {
		if won := race(t, runners, c.do, c.refusal); won != 1 {
			t.Errorf("%s: %d won", c.name, won)
		}
	}
	// One new signing key, however many find that it is time.
	before, err := f.DB.SigningKeys(ctx)
	f.Must(err)
	f.Advance(time.Hour)
	race(t, runners, func(n int) error {
		return db(n).AddSigningKey(ctx, grant.SealedKey{ID: fmt.Sprint("s", n), Algorithm: "ES256", CreatedAt: f.Now(), Sealed: []byte{1}}, f.Now().Add(-time.Minute), audit.Event{At: f.Now()})
	})
	after, err := f.DB.SigningKeys(ctx)
	f.Must(err)
	if len(after) != len(before)+1 {
		t.Errorf("%d signing keys, %d before", len(after), len(before))
	}
	// A ceiling holds.
	won := race(t, runners, func(n int) error {
		return db(n).AddFactor(ctx, mfa.Factor{ID: mfa.ID(fmt.Sprint("f", n)), Person: f.Ada.ID, Kind: mfa.TOTP}, 4, nil)
	}, mfa.ErrTooMany)
	if won != 3 {
		t.Errorf("%d factors were added to one, where four may be", won)
	}
}
