package grant_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

func wantEnded(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*grant.EndedError](err); !ok {
		t.Fatalf("error = %v, want an EndedError", err)
	}
}

func ended(f *granttest.Fixture, id grant.ID) bool {
	f.TB.Helper()
	s, err := f.DB.Standing(f.TB.Context(), id)
	f.Must(err)
	return !s.Grant.EndedAt.IsZero()
}

func TestCase050_RedeemGivesTokens(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	claims, err := f.Authority.Keys.VerifyAccess(tokens.Access, granttest.Issuer)
	check(t, err)
	if claims.Audience != f.Resources.Bare().URL() || claims.Subject != string(f.Ada.ID) || claims.Team != "shop" || claims.Grant != tokens.Grant {
		t.Errorf("claims = %+v", claims)
	}
	if claims.ClientID != string(f.Client.ID) || claims.Scope != "logs:read metrics:read openid email" || claims.AuthTime != granttest.Start.Unix() {
		t.Errorf("claims = %+v", claims)
	}
	if len(tokens.Access) > 1500 {
		t.Errorf("the access token has %d bytes", len(tokens.Access))
	}
	if tokens.Refresh == "" || tokens.IDToken == "" {
		t.Error("a refresh token or the id token is missing")
	}
	// RFC 9068 §4: an ID token is no access token.
	if _, err := f.Authority.Keys.VerifyAccess(grant.AccessToken(tokens.IDToken), granttest.Issuer); !errors.Is(err, grant.ErrTokenInvalid) {
		t.Errorf("an ID token passed as an access token: %v", err)
	}
}

func TestLongClientIDsKeepTokensShort(t *testing.T) {
	f := granttest.New(t)
	f.Client.ID = grant.ClientID(strings.Repeat("x", 3000))
	tokens := f.Connect("c")
	claims, err := f.Authority.Keys.VerifyAccess(tokens.Access, granttest.Issuer)
	check(t, err)
	if claims.ClientID != string(f.Client.Key()) || len(tokens.Access) > 1500 {
		t.Errorf("client_id = %q in a token of %d bytes", claims.ClientID, len(tokens.Access))
	}
}

func TestCase051_RefusedRedemptionConsumesNothing(t *testing.T) {
	f := granttest.New(t)
	code := f.Code("c")
	for name, test := range map[string]struct {
		change func(*grant.Redemption)
		want   error
	}{
		"wrong verifier": {func(r *grant.Redemption) { r.Verifier = granttest.Verifier + "x" }, grant.ErrCodeMismatch},
		"no verifier":    {func(r *grant.Redemption) { r.Verifier = "" }, grant.ErrCodeMismatch},
		"other client":   {func(r *grant.Redemption) { r.Client = "c1.other" }, grant.ErrCodeMismatch},
		"other path":     {func(r *grant.Redemption) { r.RedirectURI = "http://127.0.0.1:7000/other" }, grant.ErrCodeMismatch},
		"other resource": {func(r *grant.Redemption) { r.Resource = granttest.Issuer + "/mgmt/api/v1/teams/shop/mcp" }, grant.ErrTarget},
		"other code":     {func(r *grant.Redemption) { r.Code += "x" }, grant.ErrCodeUnknown},
	} {
		r := f.Redemption(code)
		test.change(&r)
		if _, err := f.Authority.Redeem(t.Context(), r); !errors.Is(err, test.want) {
			t.Errorf("%s: error = %v, want %v", name, err, test.want)
		}
	}
	r := f.Redemption(code)
	r.RedirectURI, r.Resource = "http://127.0.0.1:9999/callback", f.Resources.Bare().URL() // the loopback port is free
	_, err := f.Authority.Redeem(t.Context(), r)
	check(t, err)
}

func TestCase048_CodeExpires(t *testing.T) {
	f := granttest.New(t)
	code := f.Code("c")
	f.Advance(time.Minute)
	_, err := f.Authority.Redeem(t.Context(), f.Redemption(code))
	wantErr(t, err, grant.ErrCodeUnknown)
}

func TestCase052_CodeTwice(t *testing.T) {
	f := granttest.New(t)
	code := f.Code("c")
	first, err := f.Authority.Redeem(t.Context(), f.Redemption(code))
	check(t, err)
	f.Advance(4 * time.Second)
	again, err := f.Authority.Redeem(t.Context(), f.Redemption(code))
	check(t, err)
	if again.Refresh != first.Refresh || again.Grant != first.Grant {
		t.Error("an identical retry got another refresh token")
	}
	f.Advance(2 * time.Second)
	_, err = f.Authority.Redeem(t.Context(), f.Redemption(code))
	wantErr(t, err, grant.ErrCodeUsed)
	_, err = f.Refresh(first.Refresh)
	wantEnded(t, err)
}

func TestCase052_UsedCodeWithWrongVerifierEndsItsGrant(t *testing.T) {
	f := granttest.New(t)
	code := f.Code("c")
	_, err := f.Authority.Redeem(t.Context(), f.Redemption(code))
	check(t, err)
	r := f.Redemption(code)
	r.Verifier = granttest.Verifier + "x"
	_, err = f.Authority.Redeem(t.Context(), r)
	wantErr(t, err, grant.ErrCodeUsed)
}

func TestCase053_FiftyParallelRedemptionsGiveOneGrant(t *testing.T) {
	f := granttest.New(t)
	code := f.Code("c")
	refreshes := parallel(t, 50, func() (grant.Tokens, error) { return f.Authority.Redeem(t.Context(), f.Redemption(code)) })
	if len(refreshes) != 1 {
		t.Errorf("%d different refresh tokens", len(refreshes))
	}
}

// parallel calls do n times at once, expects every call to succeed, and
// counts the different refresh tokens.
func parallel(t *testing.T, n int, do func() (grant.Tokens, error)) map[grant.RefreshToken]int {
	t.Helper()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out = make(map[grant.RefreshToken]int)
	)
	for range n {
		wg.Go(func() {
			tokens, err := do()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[tokens.Refresh]++
		})
	}
	wg.Wait()
	return out
}

func TestCase039_ConsentTwiceIsOneCode(t *testing.T) {
	f := granttest.New(t)
	first := f.Code("page")
	if second := f.Code("page"); second != first {
		t.Error("a double click made two codes")
	}
	if other := f.Code("other page"); other == first {
		t.Error("two pages share a code")
	}
	f.Advance(2 * time.Minute)
	_, err := f.Authority.Approve(t.Context(), f.Consent("page"), audit.System())
	wantErr(t, err, grant.ErrConsentUsed)
}

func TestCase066_RefreshRotates(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	next, err := f.Refresh(tokens.Refresh)
	check(t, err)
	if next.Refresh == tokens.Refresh || next.Refresh == "" || next.Access == tokens.Access {
		t.Error("the refresh token did not rotate")
	}
}

func TestCase067_FiftyParallelRefreshesGiveOneSuccessor(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	successors := parallel(t, 50, func() (grant.Tokens, error) { return f.Refresh(tokens.Refresh) })
	if len(successors) != 1 || successors[tokens.Refresh] != 0 {
		t.Errorf("successors: %d", len(successors))
	}
}

func TestCase068_OldGenerations(t *testing.T) {
	f := granttest.New(t)
	other := f.Connect("other")
	first := f.Connect("c")
	newest := first
	for range 4 {
		f.Advance(time.Minute)
		var err error
		newest, err = f.Refresh(newest.Refresh)
		check(t, err)
	}
	late, err := f.Refresh(first.Refresh)
	check(t, err)
	if late.Refresh != newest.Refresh {
		t.Error("an old token inside the window did not get the newest successor")
	}
	f.Advance(7 * time.Minute) // the first was rotated out ten minutes ago now
	_, err = f.Refresh(first.Refresh)
	check(t, err)
	f.Advance(time.Millisecond)
	_, err = f.Refresh(first.Refresh)
	wantErr(t, err, grant.ErrTokenReused)
	_, err = f.Refresh(newest.Refresh)
	wantEnded(t, err)
	_, err = f.Refresh(other.Refresh)
	check(t, err)
}

func TestOpenIDCore_12_2_IDTokenOnRefreshWhereItIsAskedFor(t *testing.T) {
	f := granttest.New(t)
	first := f.Connect("c")
	f.Advance(time.Minute)
	second, err := f.Refresh(first.Refresh)
	f.Must(err)
	if second.IDToken != "" {
		t.Error("an ID token that nobody asked for")
	}
	for scopes, wanted := range map[string]bool{"openid logs:read": true, "logs:read": false} {
		asked := spec.ParseScopes(scopes)
		third, err := f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: second.Refresh, Client: f.Client.ID, Scopes: &asked})
		f.Must(err)
		if (third.IDToken != "") != wanted {
			t.Errorf("scope %s: ID token %q", scopes, third.IDToken)
		}
		if !wanted {
			continue
		}
		// The same subject, audience and sign-in, issued now.
		then, now := claims(t, first.IDToken), claims(t, third.IDToken)
		for _, same := range []string{"iss", "sub", "aud", "auth_time"} {
			if then[same] == nil || then[same] != now[same] {
				t.Errorf("%s: %v, then %v", same, then[same], now[same])
			}
		}
		if now["iat"] != float64(f.Now().Unix()) || now["nonce"] != nil {
			t.Errorf("iat %v, nonce %v", now["iat"], now["nonce"])
		}
	}
}

// claims reads a token of ours without checking it.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	check(t, err)
	var c map[string]any
	check(t, json.Unmarshal(body, &c))
	return c
}

func TestCase069_NarrowerAndWiderScope(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	wide := spec.ParseScopes("logs:read alerts:write")
	_, err := f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: tokens.Refresh, Client: f.Client.ID, Scopes: &wide})
	wantErr(t, err, grant.ErrScope)
	narrow := spec.ParseScopes("logs:read")
	less, err := f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: tokens.Refresh, Client: f.Client.ID, Scopes: &narrow})
	check(t, err)
	if less.Scopes.String() != "logs:read" {
		t.Errorf("scope = %s", less.Scopes)
	}
	full, err := f.Refresh(less.Refresh)
	check(t, err)
	if full.Scopes != f.Consent("x").Scopes {
		t.Errorf("the grant was narrowed to %s", full.Scopes)
	}
	// Clients on the Rust SDK ask for what was granted and offline_access.
	offline := full.Scopes.Union(spec.ParseScopes("offline_access"))
	again, err := f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: full.Refresh, Client: f.Client.ID, Scopes: &offline})
	check(t, err)
	if again.Scopes != full.Scopes {
		t.Errorf("scope = %s, want what was granted", again.Scopes)
	}
}

func TestCase070_OtherClientsTokenIsNotConsumed(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	_, err := f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: tokens.Refresh, Client: "c1.other"})
	wantErr(t, err, grant.ErrTokenMismatch)
	_, err = f.Authority.Refresh(t.Context(), grant.RefreshRequest{Token: tokens.Refresh, Client: f.Client.ID, Resource: granttest.Issuer + "/elsewhere"})
	wantErr(t, err, grant.ErrTarget)
	_, err = f.Refresh(tokens.Refresh)
	check(t, err)
	_, err = f.Refresh(tokens.Refresh + "x")
	wantErr(t, err, grant.ErrTokenUnknown)
}

func TestCase072_RefreshAsksEveryQuestionAgain(t *testing.T) {
	ctx := context.Background()
	for name, test := range map[string]struct {
		end, mend func(*granttest.Fixture) error
		stays     bool
	}{
		"person disabled": {
			func(f *granttest.Fixture) error {
				_, err := f.Directory.Disable(ctx, f.Ada.Email, audit.System())
				return err
			},
			func(f *granttest.Fixture) error {
				_, err := f.Directory.Enable(ctx, f.Ada.Email, audit.System())
				return err
			},
			true,
		},
		"removed from the team": {
			func(f *granttest.Fixture) error {
				return f.Directory.RemoveMember(ctx, "shop", f.Ada.Email, audit.System())
			},
			func(f *granttest.Fixture) error {
				_, err := f.Directory.SetMember(ctx, "shop", f.Ada.Email, []string{"viewer"}, audit.System())
				return err
			},
			true,
		},
		"integration blocked": {
			func(f *granttest.Fixture) error {
				_, err := f.Authority.BlockClient(ctx, f.Client.Key(), true, audit.System())
				return err
			},
			func(f *granttest.Fixture) error {
				_, err := f.Authority.BlockClient(ctx, f.Client.Key(), false, audit.System())
				return err
			},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := granttest.New(t)
			tokens := f.Connect("c")
			check(t, test.end(f))
			_, err := f.Refresh(tokens.Refresh)
			wantEnded(t, err)
			check(t, test.mend(f))
			_, err = f.Refresh(tokens.Refresh)
			if test.stays {
				wantEnded(t, err) // only a new consent brings it back
				_, err = f.Refresh(f.Connect("again").Refresh)
			}
			check(t, err)
		})
	}
	t.Run("client revoked", func(t *testing.T) {
		f := granttest.New(t)
		tokens := f.Connect("c")
		n, err := f.Authority.RevokeClient(ctx, f.Client.Key(), audit.System())
		if err != nil || n != 1 {
			t.Fatalf("RevokeClient = %d, %v", n, err)
		}
		_, err = f.Refresh(tokens.Refresh)
		wantEnded(t, err)
	})
	t.Run("grant ended", func(t *testing.T) {
		f := granttest.New(t)
		tokens := f.Connect("c")
		check(t, f.Authority.EndGrant(ctx, tokens.Grant, "test", audit.System()))
		_, err := f.Refresh(tokens.Refresh)
		wantEnded(t, err)
	})
}

func TestCase074_TheHour(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	if want := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC); !tokens.ExpiresAt.Equal(want) {
		t.Errorf("the access token ends at %s, want %s", tokens.ExpiresAt, want)
	}
	f.Advance(40 * time.Minute)
	next, err := f.Refresh(tokens.Refresh)
	check(t, err)
	if want := time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC); !next.ExpiresAt.Equal(want) {
		t.Errorf("the next access token ends at %s, want %s", next.ExpiresAt, want)
	}
}

func TestCase074_InteractiveReconnect(t *testing.T) {
	f := granttest.New(t, func(l *grant.Lifetimes) { l.Interactive = true })
	tokens := f.Connect("c")
	f.Advance(39 * time.Minute)
	tokens, err := f.Refresh(tokens.Refresh)
	check(t, err)
	f.Advance(time.Minute)
	_, err = f.Refresh(tokens.Refresh)
	wantErr(t, err, grant.ErrReconnect)
}

func TestCase075_IdleAndAbsoluteLifetimes(t *testing.T) {
	day := 24 * time.Hour
	f := granttest.New(t, func(l *grant.Lifetimes) { l.Absolute = 50 * day })
	tokens := f.Connect("c")
	f.Advance(29 * day)
	tokens, err := f.Refresh(tokens.Refresh)
	check(t, err)
	f.Advance(22 * day)
	_, err = f.Refresh(tokens.Refresh)
	wantEnded(t, err)

	idle := granttest.New(t)
	tokens = idle.Connect("c")
	idle.Advance(30*day + time.Second)
	_, err = idle.Refresh(tokens.Refresh)
	wantEnded(t, err)
}

func TestRestoredBackupKeepsClients(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	newest, err := f.Refresh(tokens.Refresh)
	check(t, err)
	// An older backup knows only the first generation.
	check(t, f.DB.ChangeGrant(t.Context(), tokens.Grant, func(s *grant.Standing) ([]audit.Event, error) {
		s.Grant.Generation, s.Grant.Superseded = 1, nil
		return nil, nil
	}))
	next, err := f.Refresh(newest.Refresh)
	check(t, err)
	if _, err := f.Refresh(next.Refresh); err != nil {
		t.Fatal(err)
	}
}

func TestCase087_Revocation(t *testing.T) {
	ctx := context.Background()
	f := granttest.New(t)
	byRefresh, byAccess, kept := f.Connect("a"), f.Connect("b"), f.Connect("k")
	check(t, f.Authority.EndByRefreshToken(ctx, byRefresh.Refresh, f.Client.ID, audit.System()))
	check(t, f.Authority.EndByAccessToken(ctx, byAccess.Access, f.Client.ID, audit.System()))
	check(t, f.Authority.EndByRefreshToken(ctx, kept.Refresh, "c1.other", audit.System()))
	check(t, f.Authority.EndByAccessToken(ctx, kept.Access, "c1.other", audit.System()))
	check(t, f.Authority.EndByRefreshToken(ctx, "nonsense", f.Client.ID, audit.System()))
	check(t, f.Authority.EndByAccessToken(ctx, "nonsense", f.Client.ID, audit.System()))
	if !ended(f, byRefresh.Grant) || !ended(f, byAccess.Grant) || ended(f, kept.Grant) {
		t.Error("revocation ended the wrong grants")
	}
}

func TestSigningKeysRotateWithOverlap(t *testing.T) {
	f := granttest.New(t)
	old := f.Connect("c")
	f.Advance(91 * 24 * time.Hour)
	check(t, f.Authority.Keys.Rotate(t.Context()))
	// The new key is published before it signs.
	if st := f.Authority.Keys.States(); len(st) != 2 || st[0].Signs || !st[1].Signs {
		t.Errorf("right after the rotation: %+v", st)
	}
	f.Advance(grant.KeyLead)
	fresh := f.Connect("d")
	if st := f.Authority.Keys.States(); len(st) != 2 || !st[0].Signs || st[1].Signs {
		t.Errorf("after the lead: %+v", st)
	}
	for name, token := range map[string]grant.AccessToken{"old": old.Access, "new": fresh.Access} {
		if _, err := f.Authority.Keys.VerifyAccess(token, granttest.Issuer); err != nil {
			t.Errorf("the %s key does not verify: %v", name, err)
		}
	}
	f.Advance(49 * time.Hour)
	check(t, f.Authority.Keys.Rotate(t.Context()))
	if _, err := f.Authority.Keys.VerifyAccess(old.Access, granttest.Issuer); err == nil {
		t.Error("the old key still verifies after the overlap")
	}
	if _, err := f.Authority.Keys.VerifyAccess(fresh.Access, granttest.Issuer); err != nil {
		t.Error(err)
	}
}

func TestKeyringNeedsItsMasterKey(t *testing.T) {
	f := granttest.New(t)
	if _, err := grant.OpenKeyring(t.Context(), f.DB, grant.MasterKey{2}, f.Now); err == nil {
		t.Error("another master key opened the signing keys")
	}
}

func TestSecretsPrintAsNothing(t *testing.T) {
	for _, v := range []any{
		grant.Code("s3cret"), grant.RefreshToken("s3cret"), grant.AccessToken("s3cret"),
		grant.MasterKey{'s', '3', 'c'},
		org.Password("s3cret"), org.KeySecret("s3cret"),
	} {
		for _, format := range []string{"%v", "%s", "%+v"} {
			if got := fmt.Sprintf(format, v); got == "s3cret" || got == fmt.Sprint([]byte("s3c")) {
				t.Errorf("%T prints as %q", v, got)
			}
		}
	}
}
