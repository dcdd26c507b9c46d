package grant_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
)

func verifies(f *granttest.Fixture, t grant.AccessToken) bool {
	_, err := f.Authority.Keys.VerifyAccess(t, granttest.Issuer)
	return err == nil
}

// signing returns the id of the key that signs access tokens.
func signing(f *granttest.Fixture) string {
	f.TB.Helper()
	for _, k := range f.Authority.Keys.States() {
		if k.Signs && k.Algorithm == "ES256" {
			return k.ID
		}
	}
	f.TB.Fatal("no key signs")
	return ""
}

func TestWithdrawTheKeyThatSigns(t *testing.T) {
	f := granttest.New(t)
	before := f.Connect("c")
	id := signing(f)
	w, err := f.Authority.Keys.Withdraw(t.Context(), id, audit.Shell("root"))
	check(t, err)
	if w.Withdrawn.ID != id || !w.Replacement.Signs || w.Replacement.ID != signing(f) || w.Replacement.ID == id {
		t.Errorf("%+v", w)
	}
	if verifies(f, before.Access) || strings.Contains(string(f.Authority.Keys.JWKS()), id) {
		t.Error("the withdrawn key is still good")
	}
	// The grant lives: its refresh token is not signed with that key.
	after, err := f.Refresh(before.Refresh)
	check(t, err)
	if !verifies(f, after.Access) {
		t.Error("a token of the new key is not good")
	}
	// It is gone for good, for a keyring that opens later too, and its private
	// half is nowhere.
	again, err := grant.OpenKeyring(t.Context(), f.DB, f.Authority.Master, f.Now)
	check(t, err)
	if again.Published(id) {
		t.Error("it is back after a restart")
	}
	keys, err := f.DB.SigningKeys(t.Context())
	check(t, err)
	for _, k := range keys {
		if k.ID == id && len(k.Sealed) > 0 {
			t.Error("the private key is still stored")
		}
	}
	_, err = f.Authority.Keys.Withdraw(t.Context(), id, audit.System())
	wantErr(t, err, grant.ErrSigningKeyUnknown)
	_, err = f.Authority.Keys.Withdraw(t.Context(), "", audit.System())
	wantErr(t, err, grant.ErrSigningKeyUnknown)

	events, err := f.DB.Events(t.Context(), audit.Filter{Kind: audit.SigningKeyWithdrawn})
	check(t, err)
	if len(events) != 1 || events[0].Target != id || events[0].Actor.ID != "root" {
		t.Errorf("audit: %+v", events)
	}
}

// A key that was replaced long ago must not come back because the one that
// replaced it is withdrawn.
func TestWithdrawBringsNoOldKeyBack(t *testing.T) {
	f := granttest.New(t)
	old := f.Connect("c")
	first := signing(f)
	_, err := f.Authority.Keys.RotateNow(t.Context(), true, audit.System())
	check(t, err)
	second := signing(f)
	f.Advance(72 * time.Hour)
	check(t, f.Authority.Keys.Reload(t.Context()))
	if f.Authority.Keys.Published(first) {
		t.Fatal("the first key is still published")
	}
	_, err = f.Authority.Keys.Withdraw(t.Context(), first, audit.System())
	wantErr(t, err, grant.ErrSigningKeyUnknown)
	_, err = f.Authority.Keys.Withdraw(t.Context(), second, audit.System())
	check(t, err)
	if f.Authority.Keys.Published(first) || verifies(f, old.Access) {
		t.Error("the first key came back")
	}
}

func TestWithdrawOtherKeys(t *testing.T) {
	f := granttest.New(t)
	before := f.Connect("c")
	first := signing(f)
	_, err := f.Authority.Keys.RotateNow(t.Context(), true, audit.System())
	check(t, err)
	// One that signs no more: nothing takes its place.
	w, err := f.Authority.Keys.Withdraw(t.Context(), first, audit.System())
	check(t, err)
	if w.Replacement != (grant.KeyState{}) || verifies(f, before.Access) || len(f.Authority.Keys.States()) != 1 {
		t.Errorf("%+v, then %+v", w, f.Authority.Keys.States())
	}
	// One that does not sign yet: its replacement does not either, and comes
	// in time.
	now := signing(f)
	made, err := f.Authority.Keys.RotateNow(t.Context(), false, audit.System())
	check(t, err)
	w, err = f.Authority.Keys.Withdraw(t.Context(), made[0].ID, audit.System())
	check(t, err)
	if w.Replacement.ID == "" || w.Replacement.Signs || signing(f) != now {
		t.Errorf("%+v", w)
	}
	f.Advance(grant.KeyLead)
	if signing(f) != w.Replacement.ID {
		t.Errorf("after the lead %s signs, not %s", signing(f), w.Replacement.ID)
	}
	// RS256 is apart from it.
	check(t, f.Authority.Keys.EnsureRS256(t.Context()))
	i := slices.IndexFunc(f.Authority.Keys.States(), func(k grant.KeyState) bool { return k.Algorithm == "RS256" })
	w, err = f.Authority.Keys.Withdraw(t.Context(), f.Authority.Keys.States()[i].ID, audit.System())
	check(t, err)
	if w.Replacement.Algorithm != "RS256" || !w.Replacement.Signs {
		t.Errorf("%+v", w)
	}
	// And the schedule goes on.
	f.Advance(grant.KeyRotation + grant.KeyLead)
	check(t, f.Authority.Keys.Rotate(t.Context()))
	f.Advance(grant.KeyLead)
	if id := signing(f); id == now || !verifies(f, f.Connect("d").Access) {
		t.Error("no new key after the schedule's time")
	}
}
