package grant_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
)

// living returns the ids of Ada's living grants with the fixture's client.
func living(t *testing.T, f *granttest.Fixture) []grant.ID {
	t.Helper()
	list, err := f.Authority.Living(t.Context(), f.Ada.ID, f.Client.Key(), f.Resources.Bare().URL())
	f.Must(err)
	var ids []grant.ID
	for _, g := range list {
		ids = append(ids, g.ID)
	}
	return ids
}

func TestLiving(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("one")
	f.Code("never redeemed")
	if got := living(t, f); len(got) != 2 {
		t.Errorf("%d living grants, want 2 while the code is good", len(got))
	}
	f.Advance(time.Minute)
	if got := living(t, f); !slices.Equal(got, []grant.ID{tokens.Grant}) {
		t.Errorf("living: %v", got)
	}
	other, err := f.Authority.Living(t.Context(), f.Ada.ID, f.Client.Key(), f.Resources.Bare().URL()+"x")
	f.Must(err)
	if len(other) != 0 {
		t.Errorf("for another resource: %v", other)
	}
	f.Advance(31 * 24 * time.Hour)
	if got := living(t, f); len(got) != 0 {
		t.Errorf("idle for 31 days, yet living: %v", got)
	}
}

// TestLivingInteractive: a grant that gives no more tokens lives as long as
// its last token.
func TestLivingInteractive(t *testing.T) {
	for name, hourly := range map[string]bool{"hourly": true, "not hourly": false} {
		t.Run(name, func(t *testing.T) {
			f := granttest.New(t, func(l *grant.Lifetimes) { l.Interactive, l.Hourly = true, hourly })
			f.Connect("one")
			end := f.Authority.Lifetimes.AccessExpiry(f.Now()).Sub(f.Now())
			f.Advance(end - time.Second)
			if got := living(t, f); len(got) != 1 {
				t.Errorf("living a second before its last token ends: %v", got)
			}
			f.Advance(time.Second)
			if got := living(t, f); len(got) != 0 {
				t.Errorf("living after its last token: %v", got)
			}
			list, err := f.Authority.Connections(t.Context(), grant.ConnectionFilter{})
			f.Must(err)
			if len(list) != 0 {
				t.Errorf("listed after its last token: %v", list)
			}
		})
	}
}

func TestMakeRoomLeavesOthersAlone(t *testing.T) {
	f := granttest.New(t)
	first := f.Connect("first")
	for i := range 49 {
		f.Advance(time.Second)
		f.Connect(fmt.Sprint("page ", i))
	}
	if ended(f, first.Grant) {
		t.Fatal("the first of fifty has ended")
	}
	// A consent that comes twice makes room once.
	f.Advance(time.Second)
	f.Code("one more")
	f.Code("one more")
	if got := living(t, f); len(got) != 50 || !ended(f, first.Grant) {
		t.Errorf("%d living grants; the first ended: %v", len(got), ended(f, first.Grant))
	}
	_, err := f.Refresh(first.Refresh)
	wantEnded(t, err)
	if !strings.Contains(err.Error(), "newer sign-ins of the same client took its place") {
		t.Errorf("the client is told %q", err)
	}
	list, err := f.Authority.EndedLately(t.Context(), f.Ada.ID)
	f.Must(err)
	if len(list) != 1 || list[0].Grant.ID != first.Grant {
		t.Errorf("ended lately: %v", list)
	}
}

func TestReadIDTokenHint(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("one")
	f.Advance(24 * time.Hour) // expired is fine
	hint, err := f.Authority.ReadIDTokenHint(tokens.IDToken)
	f.Must(err)
	if hint.Person != f.Ada.ID || hint.Client != f.Client.ID {
		t.Errorf("hint: %+v", hint)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.Must(err)
	parsed, err := jwt.ParseSigned(tokens.IDToken, []jose.SignatureAlgorithm{jose.ES256})
	f.Must(err)
	forge := func(alg jose.SignatureAlgorithm, key any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key},
			(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", parsed.Headers[0].KeyID))
		f.Must(err)
		token, err := jwt.Signed(signer).Claims(map[string]any{"iss": granttest.Issuer, "sub": f.Ada.ID, "aud": f.Client.ID}).Serialize()
		f.Must(err)
		return token
	}
	body := strings.Split(tokens.IDToken, ".")
	for name, token := range map[string]string{
		"empty":           "",
		"access token":    string(tokens.Access),
		"foreign key":     forge(jose.ES256, key),
		"shared secret":   forge(jose.HS256, f.Authority.Keys.JWKS()),
		"alg none":        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + body[1] + ".",
		"other signature": body[0] + "." + body[1] + "." + strings.Repeat("A", len(body[2])),
		"too long":        tokens.IDToken + strings.Repeat("A", 9000),
	} {
		if _, err := f.Authority.ReadIDTokenHint(token); !errors.Is(err, grant.ErrTokenInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := grant.New(grant.Config{
		Store: f.DB, Keys: f.Authority.Keys, Master: f.Authority.Master, Issuer: "https://other.example", Lifetimes: f.Authority.Lifetimes, Now: f.Now,
	})
	f.Must(err)
	if _, err := other.ReadIDTokenHint(tokens.IDToken); !errors.Is(err, grant.ErrTokenInvalid) {
		t.Errorf("another issuer: %v", err)
	}
}

// FuzzReadIDTokenHint: a hint is read only if this server signed it.
func FuzzReadIDTokenHint(f *testing.F) {
	fixture := granttest.New(f)
	code, err := fixture.Authority.Approve(f.Context(), fixture.Consent("one"), audit.System())
	fixture.Must(err)
	tokens, err := fixture.Authority.Redeem(f.Context(), fixture.Redemption(code))
	fixture.Must(err)
	f.Add(tokens.IDToken)
	f.Add(string(tokens.Access))
	f.Add("a.b.c")
	f.Add(`{"payload":"","signatures":[]}`)
	f.Fuzz(func(t *testing.T, token string) {
		hint, err := fixture.Authority.ReadIDTokenHint(token)
		if err == nil && (hint.Person != fixture.Ada.ID || strings.Split(token, ".")[1] != strings.Split(tokens.IDToken, ".")[1]) {
			t.Fatalf("%q was read as %+v", token, hint)
		}
		if err != nil && !errors.Is(err, grant.ErrTokenInvalid) {
			t.Fatalf("error of another kind: %v", err)
		}
	})
}
