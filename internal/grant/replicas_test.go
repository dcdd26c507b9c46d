package grant_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
)

// replica returns a second authority over the fixture's database, as another
// process would have it.
func replica(t *testing.T, f *granttest.Fixture) *grant.Authority {
	t.Helper()
	db := f.Reopen()
	keys, err := grant.OpenKeyring(t.Context(), db, f.Authority.Master, f.Now)
	check(t, err)
	c := f.Authority.Config
	c.Store, c.Keys = db, keys
	a, err := grant.New(c)
	check(t, err)
	return a
}

// race calls do many times at once, every other time with the other replica.
func race(f *granttest.Fixture, other *grant.Authority, do func(a *grant.Authority, i int)) {
	var wg sync.WaitGroup
	for i := range 30 {
		a := f.Authority
		if i%2 == 1 {
			a = other
		}
		wg.Go(func() { do(a, i) })
	}
	wg.Wait()
}

// Two replicas answer a race as one does.
func TestCase099_TwoReplicas(t *testing.T) {
	f := granttest.New(t)
	other := replica(t, f)
	ctx := t.Context()

	// Case 39: one page, pressed many times, is one code.
	codes := make([]grant.Code, 30)
	race(f, other, func(a *grant.Authority, i int) {
		var err error
		if codes[i], err = a.Approve(ctx, f.Consent("page"), audit.System()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range codes {
		if c != codes[0] {
			t.Fatal("one consent gave two codes")
		}
	}

	// Cases 52 and 53: many identical redemptions are one.
	redeemed := make([]grant.Tokens, 30)
	race(f, other, func(a *grant.Authority, i int) {
		var err error
		if redeemed[i], err = a.Redeem(ctx, f.Redemption(codes[0])); err != nil {
			t.Error(err)
		}
	})
	for _, tokens := range redeemed {
		if tokens.Grant != redeemed[0].Grant || tokens.Refresh != redeemed[0].Refresh {
			t.Fatal("one code gave two grants")
		}
	}

	// Case 67: many refreshes have one successor.
	renewed := make([]grant.Tokens, 30)
	race(f, other, func(a *grant.Authority, i int) {
		var err error
		if renewed[i], err = a.Refresh(ctx, grant.RefreshRequest{Token: redeemed[0].Refresh, Client: f.Client.ID}); err != nil {
			t.Error(err)
		}
	})
	for _, tokens := range renewed {
		if tokens.Refresh != renewed[0].Refresh {
			t.Fatal("one refresh token got two successors")
		}
	}

	// Case 68: after the window every one of them finds the grant ended.
	_, err := f.Refresh(renewed[0].Refresh)
	check(t, err)
	f.Advance(2 * f.Authority.Lifetimes.ReuseWindow)
	race(f, other, func(a *grant.Authority, _ int) {
		_, err := a.Refresh(ctx, grant.RefreshRequest{Token: redeemed[0].Refresh, Client: f.Client.ID})
		if _, ended := errors.AsType[*grant.EndedError](err); !ended && !errors.Is(err, grant.ErrTokenReused) {
			t.Errorf("a reused token: %v", err)
		}
	})
}
