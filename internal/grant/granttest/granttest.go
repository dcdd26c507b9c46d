// Package granttest gives tests an authority over a real store, with a
// person, a team, a client and a clock to turn.
package granttest

import (
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
)

// What every fixture has.
const (
	Issuer   = "https://oriel.example"
	Verifier = "the-verifier-is-at-least-forty-three-characters-long"
	Redirect = "http://127.0.0.1:7000/callback"
)

// Start is when a fixture's clock stands at first: 40 minutes before the hour.
var Start = time.Date(2026, 11, 23, 9, 20, 0, 0, time.UTC)

// Fixture is an authority over a real store. Ada is a viewer in the team shop.
type Fixture struct {
	TB        testing.TB
	DB        *store.DB
	Directory *org.Directory
	Authority *grant.Authority
	Resources spec.Resources
	Ada       org.Person
	Shop      org.Team
	Client    grant.Client

	where store.Config

	mu  sync.Mutex // guards now
	now time.Time
}

// New returns a fixture that is closed with the test.
func New(tb testing.TB, change ...func(*grant.Lifetimes)) *Fixture {
	tb.Helper()
	ctx := tb.Context()
	f := &Fixture{TB: tb, now: Start, where: storetest.Config(tb)}
	f.DB = f.Reopen()
	var err error
	master := grant.MasterKey{1}
	keys, err := grant.OpenKeyring(ctx, f.DB, master, f.Now)
	f.Must(err)
	lifetimes := grant.DefaultLifetimes()
	for _, c := range change {
		c(&lifetimes)
	}
	f.Authority, err = grant.New(grant.Config{Store: f.DB, Keys: keys, Master: master, Issuer: Issuer, Lifetimes: lifetimes, Now: f.Now})
	f.Must(err)
	public, err := spec.ParsePublicURL(Issuer, false)
	f.Must(err)
	f.Resources = spec.NewResources(public)
	f.Directory = org.NewDirectory(f.DB, f.Now)
	_, err = f.Directory.AddPerson(ctx, org.NewPerson{Email: "owner@example.com", Name: "Owner", Owner: true}, audit.System())
	f.Must(err)
	f.Ada, err = f.Directory.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada"}, audit.System())
	f.Must(err)
	f.Shop, err = f.Directory.AddTeam(ctx, "shop", "Shop", audit.System())
	f.Must(err)
	f.SetRoles("viewer")
	redirect, err := spec.ParseRedirectURI(Redirect)
	f.Must(err)
	f.Client = grant.Client{
		ID: "c1.client", Kind: grant.SelfRegistered, CreatedAt: Start,
		Metadata: spec.ClientMetadata{Name: "Test client", RedirectURIs: []spec.RedirectURI{redirect}, TokenEndpointAuthMethod: spec.AuthNone},
	}
	return f
}

// Must fails the test if err is not nil.
func (f *Fixture) Must(err error) {
	f.TB.Helper()
	if err != nil {
		f.TB.Fatal(err)
	}
}

// Now is the fixture's clock.
func (f *Fixture) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance turns the clock.
func (f *Fixture) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// SetRoles gives Ada exactly these roles in the shop.
func (f *Fixture) SetRoles(roles ...string) {
	f.TB.Helper()
	_, err := f.Directory.SetMember(f.TB.Context(), "shop", "ada@example.com", roles, audit.System())
	f.Must(err)
}

// Consent is Ada's consent for the client in the shop, on the page named.
func (f *Fixture) Consent(page string) grant.Consent {
	f.TB.Helper()
	sum := sha256.Sum256([]byte(Verifier))
	challenge, err := spec.ParseCodeChallenge("S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	f.Must(err)
	return grant.Consent{
		ID: page, Person: f.Ada.ID, Client: f.Client, Team: f.Shop.ID, TeamSlug: f.Shop.Slug, Resource: f.Resources.Bare().URL(),
		Scopes: spec.ParseScopes("logs:read metrics:read openid email"), AuthTime: f.Now(), AMR: []string{"pwd"},
		RedirectURI: Redirect, Challenge: challenge, Nonce: "n1",
	}
}

// Code returns the code of that consent.
func (f *Fixture) Code(page string) grant.Code {
	f.TB.Helper()
	code, err := f.Authority.Approve(f.TB.Context(), f.Consent(page), audit.System())
	f.Must(err)
	return code
}

// Redemption is the token request that redeems a code.
func (f *Fixture) Redemption(code grant.Code) grant.Redemption {
	return grant.Redemption{Code: code, Client: f.Client.ID, Verifier: Verifier}
}

// Connect returns the tokens of a fresh grant.
func (f *Fixture) Connect(page string) grant.Tokens {
	f.TB.Helper()
	tokens, err := f.Authority.Redeem(f.TB.Context(), f.Redemption(f.Code(page)))
	f.Must(err)
	return tokens
}

// Refresh presents a refresh token.
func (f *Fixture) Refresh(t grant.RefreshToken) (grant.Tokens, error) {
	return f.Authority.Refresh(f.TB.Context(), grant.RefreshRequest{Token: t, Client: f.Client.ID})
}

// Reopen opens the fixture's store once more, as another process would.
func (f *Fixture) Reopen() *store.DB {
	f.TB.Helper()
	db, err := store.Open(f.TB.Context(), f.where)
	f.Must(err)
	f.TB.Cleanup(func() { f.Must(db.Close()) })
	return db
}
