package access_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// source is the real store, with its queries counted and its feed cut at will.
type source struct {
	access.Source
	queries atomic.Int64
	cut     atomic.Bool
}

func (s *source) Standing(ctx context.Context, id grant.ID) (*grant.Standing, error) {
	s.queries.Add(1)
	return s.Source.Standing(ctx, id)
}

func (s *source) KeyUse(ctx context.Context, hash string) (org.KeyUse, error) {
	s.queries.Add(1)
	return s.Source.KeyUse(ctx, hash)
}

func (s *source) ChangesAfter(ctx context.Context, seq int64) ([]access.Change, int64, error) {
	if s.cut.Load() {
		return nil, 0, errors.New("the feed is cut")
	}
	return s.Source.ChangesAfter(ctx, seq)
}

func newGate(tb testing.TB, f *granttest.Fixture, change ...func(*access.Config)) (*access.Gate, *source) {
	tb.Helper()
	src := &source{Source: f.DB}
	c := access.Config{
		Source: src, Keys: f.Authority.Keys, Issuer: granttest.Issuer, Now: f.Now,
		Lifetimes: f.Authority.Lifetimes, Logger: slog.New(slog.DiscardHandler),
	}
	for _, ch := range change {
		ch(&c)
	}
	g, err := access.NewGate(tb.Context(), c)
	f.Must(err)
	return g, src
}

// run keeps a gate current until the test ends.
func run(tb testing.TB, g *access.Gate) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })
}

func wantRefused(t *testing.T, err error, reason string) {
	t.Helper()
	refused, ok := errors.AsType[*access.RefusedError](err)
	if !ok || !strings.Contains(refused.Reason, reason) {
		t.Fatalf("error = %v, want a refusal because %q", err, reason)
	}
}

func TestCheckKnowsTheCaller(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	c, err := g.Check(t.Context(), f.Connect("c").Access, f.Resources.Bare())
	f.Must(err)
	if c.Person().ID != f.Ada.ID || c.Team().Slug != "shop" || c.Scopes().String() != "logs:read metrics:read openid email" {
		t.Errorf("caller = %+v", c)
	}
	if !c.May(org.LogsRead) || c.May(org.SpansRead) || c.May(org.TeamAdmin) {
		t.Error("a permission needs both the scope and the role")
	}
	if _, ok := c.View(org.LogsRead).Tenant(); !ok {
		t.Error("no view of logs")
	}
	if _, ok := c.View(org.SpansRead).Tenant(); ok {
		t.Error("a view without the scope")
	}
}

func TestZeroCallerMayNothing(t *testing.T) {
	var c *access.Caller
	for _, p := range org.Permissions() {
		if c.May(p) || (&access.Caller{}).May(p) {
			t.Errorf("the zero caller may %s", p)
		}
		if _, ok := (&access.Caller{}).View(p).Tenant(); ok {
			t.Errorf("the zero caller sees with %s", p)
		}
	}
}

func TestCase077_BadTokens(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	good := string(f.Connect("c").Access)
	parts := strings.Split(good, ".")
	foreign := granttest.New(t) // same claims, other signing key
	none := "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + "."
	hs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: f.Authority.Keys.JWKS()[:64]}, (&jose.SignerOptions{}).WithType("at+jwt"))
	f.Must(err)
	hmac, err := jwt.Signed(hs).Claims(map[string]any{"iss": granttest.Issuer}).Serialize()
	f.Must(err)
	// This server under another name, with the same keys.
	renamed := f.Authority.Config
	renamed.Issuer = "https://elsewhere.example"
	elsewhere, err := grant.New(renamed)
	f.Must(err)
	abroad, err := elsewhere.Redeem(t.Context(), f.Redemption(f.Code("abroad")))
	f.Must(err)
	for name, token := range map[string]string{
		"other issuer": string(abroad.Access),
		"empty":        "", "junk": "junk", "three dots": "a.b.c", "cut": good[:len(good)-2], "alg none": none, "HS256": hmac,
		"payload changed": parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2],
		"foreign key":     string(foreign.Connect("c").Access),
		"id token":        f.Connect("d").IDToken,
		"refresh token":   string(f.Connect("e").Refresh),
		"oversized":       strings.Repeat("a", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.Check(t.Context(), grant.AccessToken(token), f.Resources.Bare())
			wantRefused(t, err, "malformed or not from here")
		})
	}
}

func TestCase078_TokenOfAnotherResource(t *testing.T) {
	f := granttest.New(t)
	_, err := f.Directory.AddTeam(t.Context(), "other", "Other", audit.System())
	f.Must(err)
	g, _ := newGate(t, f)
	bare := f.Connect("c").Access
	consent := f.Consent("team page")
	shop, err := f.Resources.Team("shop")
	f.Must(err)
	other, err := f.Resources.Team("other")
	f.Must(err)
	consent.Resource = shop.URL()
	code, err := f.Authority.Approve(t.Context(), consent, audit.System())
	f.Must(err)
	tokens, err := f.Authority.Redeem(t.Context(), f.Redemption(code))
	f.Must(err)

	_, err = g.Check(t.Context(), bare, f.Resources.Bare())
	f.Must(err)
	_, err = g.Check(t.Context(), tokens.Access, shop)
	f.Must(err)
	for _, wrong := range []struct {
		token grant.AccessToken
		at    spec.Resource
	}{{bare, shop}, {bare, other}, {tokens.Access, f.Resources.Bare()}, {tokens.Access, other}} {
		_, err := g.Check(t.Context(), wrong.token, wrong.at)
		wantRefused(t, err, "another resource")
	}
}

func TestCase074_TokenEndsAtTheFullHour(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	token := f.Connect("c").Access
	f.Advance(40*time.Minute - time.Millisecond)
	_, err := g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	f.Advance(time.Millisecond)
	_, err = g.Check(t.Context(), token, f.Resources.Bare())
	wantRefused(t, err, "expired")
}

// What the gate remembers of a grant does not follow the issuing of tokens: a
// server that runs for longer than the idle lifetime must go on serving
// clients that come back every hour.
func TestIdleLifetimeDoesNotEndWhatIsInUse(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	tokens := f.Connect("c")
	for range 35 {
		_, err := g.Check(t.Context(), tokens.Access, f.Resources.Bare())
		f.Must(err)
		f.Advance(24 * time.Hour)
		tokens, err = f.Refresh(tokens.Refresh)
		f.Must(err)
	}
}

func TestCase098_ClockJumpsBack(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	token := f.Connect("c").Access
	f.Advance(-time.Hour)
	_, err := g.Check(t.Context(), token, f.Resources.Bare())
	wantRefused(t, err, "not valid yet")
}

// Ada is in the shop only through the group; each of these takes her out.
func TestGroupsTakeHoldOnTheNextCall(t *testing.T) {
	for name, end := range map[string]func(f *granttest.Fixture, g org.Group) error{
		"out of the group": func(f *granttest.Fixture, g org.Group) error {
			return f.Directory.ChangeGroupMembers(t.Context(), g.ID, org.MemberChange{Remove: []org.PersonID{f.Ada.ID}}, audit.System())
		},
		"members replaced": func(f *granttest.Fixture, g org.Group) error {
			return f.Directory.ChangeGroupMembers(t.Context(), g.ID, org.MemberChange{Replace: true}, audit.System())
		},
		"group removed": func(f *granttest.Fixture, g org.Group) error {
			return f.Directory.RemoveGroup(t.Context(), g.ID, audit.System())
		},
		"roles revoked": func(f *granttest.Fixture, g org.Group) error {
			return f.Directory.SetGroupRoles(t.Context(), g.ID, "shop", nil, audit.System())
		},
	} {
		for _, alsoDirect := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, direct %t", name, alsoDirect), func(t *testing.T) {
				f := granttest.New(t)
				gate, _ := newGate(t, f)
				group, err := f.Directory.AddGroup(t.Context(), "On call", "", audit.System())
				f.Must(err)
				f.Must(f.Directory.ChangeGroupMembers(t.Context(), group.ID, org.MemberChange{Add: []org.PersonID{f.Ada.ID}}, audit.System()))
				f.Must(f.Directory.SetGroupRoles(t.Context(), group.ID, "shop", []string{"operator"}, audit.System()))
				tokens := f.Connect("c")
				if !alsoDirect {
					f.Must(f.Directory.RemoveMember(t.Context(), "shop", f.Ada.Email, audit.System()))
				}
				c, err := gate.Check(t.Context(), tokens.Access, f.Resources.Bare())
				f.Must(err)
				if !c.HasPermission(org.AlertsWrite) {
					t.Fatalf("the group's role did not take hold: %v", c.Roles())
				}
				// Changing what the group gives takes hold at once, too.
				f.Must(f.Directory.SetGroupRoles(t.Context(), group.ID, "shop", []string{"viewer"}, audit.System()))
				c, err = gate.Check(t.Context(), tokens.Access, f.Resources.Bare())
				f.Must(err)
				if c.HasPermission(org.AlertsWrite) {
					t.Errorf("the group gives less, the caller has %v", c.Roles())
				}
				f.Must(end(f, group))
				_, err = gate.Check(t.Context(), tokens.Access, f.Resources.Bare())
				if alsoDirect {
					f.Must(err)
					return
				}
				wantRefused(t, err, "no longer a member")
				_, err = f.Refresh(tokens.Refresh)
				if ended, ok := errors.AsType[*grant.EndedError](err); !ok {
					t.Errorf("refresh: %v, %v", ended, err)
				}
				// Coming back does not bring the grant back.
				f.SetRoles("viewer")
				_, err = gate.Check(t.Context(), tokens.Access, f.Resources.Bare())
				wantRefused(t, err, "taken out of the team")
			})
		}
	}
}

// Each of these must take hold on the very next call, without Run.
func TestCase081_RevocationsTakeHoldOnTheNextCall(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(f *granttest.Fixture, id grant.ID) error
		reason string
	}{
		"person disabled": {func(f *granttest.Fixture, _ grant.ID) error {
			_, err := f.Directory.Disable(t.Context(), "ada@example.com", audit.System())
			return err
		}, "disabled"},
		"member removed": {func(f *granttest.Fixture, _ grant.ID) error {
			return f.Directory.RemoveMember(t.Context(), "shop", "ada@example.com", audit.System())
		}, "no longer a member"},
		"grant ended": {func(f *granttest.Fixture, id grant.ID) error {
			return f.Authority.EndGrant(t.Context(), id, "test", audit.System())
		}, "ended"},
		"client revoked": {func(f *granttest.Fixture, _ grant.ID) error {
			_, err := f.Authority.RevokeClient(t.Context(), f.Client.Key(), audit.System())
			return err
		}, "ended"},
		"integration blocked": {func(f *granttest.Fixture, _ grant.ID) error {
			_, err := f.Authority.BlockClient(t.Context(), f.Client.Key(), true, audit.System())
			return err
		}, "blocked"},
	} {
		t.Run(name, func(t *testing.T) {
			f := granttest.New(t)
			g, _ := newGate(t, f)
			tokens := f.Connect("c")
			_, err := g.Check(t.Context(), tokens.Access, f.Resources.Bare())
			f.Must(err)
			f.Must(test.end(f, tokens.Grant))
			_, err = g.Check(t.Context(), tokens.Access, f.Resources.Bare())
			wantRefused(t, err, test.reason)
		})
	}
}

// TestPolicyRefusesAndForgives: what a team or the organization demands holds
// from the next call on, ends streams, and ends no grant.
func TestPolicyRefusesAndForgives(t *testing.T) {
	for name, slug := range map[string]string{"of the team": "shop", "of the organization": ""} {
		t.Run(name, func(t *testing.T) {
			f := granttest.New(t)
			g, src := newGate(t, f)
			run(t, g)
			token := f.Connect("c").Access
			check := func() (*access.Caller, error) { return g.Check(t.Context(), token, f.Resources.Bare()) }
			c, err := check()
			f.Must(err)
			stream, stop := g.Watch(t.Context(), c)
			defer stop()
			_, err = f.Directory.AddTeam(t.Context(), "other", "Other", audit.System())
			f.Must(err)
			f.Must(f.Directory.SetMFA(t.Context(), "other", org.MFAPasskey, audit.System()))
			_, err = check()
			f.Must(err)

			for level, reason := range map[org.MFA]string{org.MFARequired: "second factor", org.MFAPasskey: "passkey"} {
				f.Must(f.Directory.SetMFA(t.Context(), slug, level, audit.System()))
				_, err = check()
				wantRefused(t, err, reason)
			}
			waitFor(t, stream)
			before := src.queries.Load()
			for range 100 {
				_, err = check()
				wantRefused(t, err, "connect again")
			}
			if n := src.queries.Load() - before; n != 0 {
				t.Errorf("%d queries for 100 refusals", n)
			}
			f.Must(f.Directory.SetMFA(t.Context(), slug, org.MFAOptional, audit.System()))
			_, err = check()
			f.Must(err)
		})
	}
}

func TestCase080_ShrunkenRoleLeavesTheGrantAlive(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	token := f.Connect("c").Access
	_, err := f.Directory.SetRole(t.Context(), "shop", "metrics-only", []org.Permission{org.MetricsRead}, "", audit.System())
	f.Must(err)
	f.SetRoles("metrics-only")
	c, err := g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	if c.May(org.LogsRead) || !c.May(org.MetricsRead) {
		t.Error("the shrunken role did not take hold")
	}
	_, err = f.Directory.SetRole(t.Context(), "shop", "metrics-only", []org.Permission{org.MetricsRead, org.LogsRead}, "", audit.System())
	f.Must(err)
	c, err = g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	if !c.May(org.LogsRead) {
		t.Error("the changed role did not take hold")
	}
}

func TestDataScopesOfSeveralRolesAreAUnion(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	token := f.Connect("c").Access
	for name, scope := range map[string]string{"cart": "service.name = cart", "checkout": "service.name = checkout"} {
		_, err := f.Directory.SetRole(t.Context(), "shop", name, []org.Permission{org.LogsRead}, scope, audit.System())
		f.Must(err)
	}
	f.SetRoles("cart", "checkout")
	c, err := g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	filter := c.View(org.LogsRead).Filter()
	for service, want := range map[string]bool{"cart": true, "checkout": true, "payment": false} {
		if got := filter.Match(func(string) string { return service }); got != want {
			t.Errorf("%s visible: %v, want %v (%s)", service, got, want, filter)
		}
	}
	f.SetRoles("cart", "viewer")
	c, err = g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	if filter := c.View(org.LogsRead).Filter(); filter != nil {
		t.Errorf("a role without a data scope shows everything, got %s", filter)
	}
}

func TestCheckMakesNoQueryOnTheHotPath(t *testing.T) {
	f := granttest.New(t)
	g, src := newGate(t, f)
	token := f.Connect("c").Access
	_, err := g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	before := src.queries.Load()
	for range 100 {
		_, err := g.Check(t.Context(), token, f.Resources.Bare())
		f.Must(err)
	}
	if n := src.queries.Load() - before; n != 0 {
		t.Errorf("%d queries for 100 checks", n)
	}
	allocs := testing.AllocsPerRun(100, func() { _, _ = g.Check(t.Context(), token, f.Resources.Bare()) })
	if allocs > 4 {
		t.Errorf("%.0f allocations per check", allocs)
	}
}

func TestCase082_RefusesWhenTheFeedIsCut(t *testing.T) {
	f := granttest.New(t)
	g, src := newGate(t, f, func(c *access.Config) { c.StaleAfter = time.Nanosecond })
	src.cut.Store(true)
	_, err := g.Check(t.Context(), f.Connect("c").Access, f.Resources.Bare())
	if !errors.Is(err, access.ErrNotCurrent) {
		t.Fatalf("error = %v, want ErrNotCurrent", err)
	}
	if g.Current() == nil {
		t.Error("Current says that all is well")
	}
}

// An administration command writes from another process: here, another
// connection to the same file.
func TestChangesOfAnotherProcessAreFollowed(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	run(t, g)
	token := f.Connect("c").Access
	_, err := g.Check(t.Context(), token, f.Resources.Bare())
	f.Must(err)
	other := f.Reopen()
	f.Must(other.SetDisabled(t.Context(), f.Ada.ID, f.Now(), audit.Event{At: f.Now(), Kind: audit.PersonDisabled}))
	deadline := time.Now().Add(time.Second)
	for {
		if _, err = g.Check(t.Context(), token, f.Resources.Bare()); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the change of another process did not take hold within a second")
		}
	}
	wantRefused(t, err, "disabled")
}

func TestWatchEndsWithTheGrantAndTheHour(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	run(t, g)
	watch := func() (grant.Tokens, context.Context) {
		tokens := f.Connect(fmt.Sprint(time.Now().UnixNano()))
		c, err := g.Check(t.Context(), tokens.Access, f.Resources.Bare())
		f.Must(err)
		ctx, stop := g.Watch(t.Context(), c)
		t.Cleanup(stop)
		return tokens, ctx
	}
	ended, endedCtx := watch()
	_, keptCtx := watch()
	f.Must(f.Authority.EndGrant(t.Context(), ended.Grant, "test", audit.System()))
	waitFor(t, endedCtx)
	if keptCtx.Err() != nil {
		t.Error("another grant's stream ended too")
	}
	f.Advance(40 * time.Minute)
	waitFor(t, keptCtx)
	if !errors.Is(context.Cause(keptCtx), access.ErrStreamOver) {
		t.Errorf("cause = %v", context.Cause(keptCtx))
	}
}

func waitFor(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
		t.Fatal("the stream did not end")
	}
}

func TestCheckKey(t *testing.T) {
	f := granttest.New(t)
	g, src := newGate(t, f)
	limits := org.KeyLimits{Signals: []string{"spans", "logs", "spans"}, BytesPerSecond: 100}
	k, secret, err := f.Directory.AddLimitedKey(t.Context(), "shop", "collector", limits, audit.System())
	f.Must(err)
	use, err := g.CheckKey(t.Context(), secret)
	if err != nil || use.ID != k.ID || use.Tenant != f.Shop.Tenant || strings.Join(use.Signals, " ") != "logs spans" || use.BytesPerSecond != 100 {
		t.Fatalf("CheckKey = %+v, %v", use, err)
	}
	before := src.queries.Load()
	_, err = g.CheckKey(t.Context(), secret)
	f.Must(err)
	if src.queries.Load() != before {
		t.Error("a known key cost a query")
	}
	for _, wrong := range []org.KeySecret{"", "junk", secret[:20], secret + "x", org.KeySecret(strings.Replace(string(secret), "A", "B", 1)) + ""} {
		if wrong == secret {
			continue
		}
		if _, err := g.CheckKey(t.Context(), wrong); !errors.Is(err, access.ErrKeyUnknown) {
			t.Errorf("a wrong key: %v", err)
		}
	}
	f.Must(f.Directory.RevokeKey(t.Context(), k.ID, audit.System()))
	if _, err := g.CheckKey(t.Context(), secret); !errors.Is(err, access.ErrKeyUnknown) {
		t.Errorf("a revoked key: %v", err)
	}
}

func BenchmarkGateCheck(b *testing.B) {
	f := granttest.New(b)
	g, _ := newGate(b, f)
	run(b, g)
	token := f.Connect("c").Access
	at := f.Resources.Bare()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Check(b.Context(), token, at); err != nil {
			b.Fatal(err)
		}
	}
}
