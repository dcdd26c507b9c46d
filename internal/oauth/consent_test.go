package oauth_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/testkit"
)

const portalRedirect = "https://portal.example/cb"

// redeem exchanges the code of a redirect and returns the granted scopes.
func redeem(t *testing.T, c *testkit.Client, back string) string {
	t.Helper()
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	res := c.Redeem(u.Query().Get("code"))
	wantStatus(t, res, http.StatusOK)
	return res.Member("scope")
}

// without returns the form with some scopes of a team unticked.
func without(form url.Values, team string, scopes ...string) url.Values {
	field := "may-" + team
	form[field] = slices.DeleteFunc(slices.Clone(form[field]), func(s string) bool { return slices.Contains(scopes, s) })
	return form
}

func TestConsentUntick(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL(set("scope", "openid email offline_access logs:read traces:read alerts:read alerts:write")))
	// What a role withholds cannot be ticked: shop makes ada a viewer.
	form := testkit.ConsentForm(page.Body, "shop")
	if got := strings.Join(form["may-shop"], " "); got != "logs:read traces:read alerts:read" {
		t.Errorf("ticked for a viewer: %s", got)
	}
	if got := strings.Join(testkit.ConsentForm(page.Body, "bank")["may-bank"], " "); got != "logs:read traces:read alerts:read alerts:write" {
		t.Errorf("ticked for an admin: %s", got)
	}
	if !strings.Contains(page.Body, "your role there (viewer) does not allow it") {
		t.Error("the page does not say what the role withholds")
	}

	// Nothing ticked: a message, and nothing changed.
	res := b.Post("/consent", without(testkit.ConsentForm(page.Body, "shop"), "shop", "logs:read", "traces:read", "alerts:read"))
	wantStatus(t, res, http.StatusUnprocessableEntity)
	if !strings.Contains(res.Body, "Nothing is ticked") || !strings.Contains(res.Body, `value="shop" aria-describedby="team-shop-about" required checked`) {
		t.Errorf("page after nothing was ticked:\n%s", res.Body)
	}
	// The ticks of another team count for nothing.
	stray := without(testkit.ConsentForm(page.Body, "shop"), "shop", "logs:read", "traces:read", "alerts:read")
	stray["may-bank"] = []string{"logs:read"}
	wantStatus(t, b.Post("/consent", stray), http.StatusUnprocessableEntity)
	if n := len(grants(t, s, c)); n != 0 {
		t.Fatalf("%d grants after nothing was allowed", n)
	}

	// A tampered form adds neither what was not asked for nor what the role
	// withholds.
	form = without(testkit.ConsentForm(page.Body, "shop"), "shop", "traces:read")
	form["may-shop"] = append(form["may-shop"], "alerts:write", "metrics:read", "profile", "x")
	res = b.Post("/consent", form)
	wantStatus(t, res, http.StatusSeeOther)
	if got := redeem(t, c, res.Header.Get("Location")); got != "logs:read alerts:read openid email offline_access" {
		t.Errorf("granted: %s", got)
	}
}

func TestConsentWhereTheRoleAllowsNothing(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL(set("scope", "alerts:write")))
	res := b.Post("/consent", testkit.ConsentForm(page.Body, "shop"))
	wantStatus(t, res, http.StatusUnprocessableEntity)
	if !strings.Contains(res.Body, "Your role in shop allows nothing of what it asks for") {
		t.Errorf("page:\n%s", res.Body)
	}
	wantStatus(t, b.Post("/consent", testkit.ConsentForm(page.Body, "bank")), http.StatusSeeOther)
}

// grants lists the living grants of ada with a client.
func grants(t *testing.T, s *testkit.Server, c *testkit.Client) []grant.Grant {
	t.Helper()
	person, err := s.Admin.Directory.PersonByEmail(t.Context(), "ada@example.com")
	s.Must(err)
	// The store is asked for what is open; whether it lives is the server's
	// clock's to say.
	all, err := s.Admin.Authority.Store.OpenGrants(t.Context(), person.ID, c.Key(), c.Resource)
	s.Must(err)
	return all
}

// TestStepUp: a consent for more adds to what was allowed before.
func TestStepUp(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "bank", set("scope", "logs:read traces:read openid"))
	oldAccess, oldRefresh := c.Access, c.Refresh
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL(set("scope", "alerts:write")))
	for scope, badge := range map[string]string{"logs:read": "already allowed", "traces:read": "already allowed", "alerts:write": "new"} {
		_, after, ok := strings.Cut(page.Body, `id="may-bank-`+scope+`"`)
		if line, _, _ := strings.Cut(after, "\n"); !ok || !strings.Contains(line, ">"+badge+"</span>") {
			t.Errorf("%s is not shown as %s: %s", scope, badge, line)
		}
	}
	// In the other team there is nothing yet.
	if strings.Contains(page.Body, `id="may-shop-logs:read"`) {
		t.Error("what one team allows is offered in another")
	}
	back := c.Allow(b, page, "bank")
	if got := redeem(t, c, back.String()); got != "logs:read traces:read alerts:write" {
		t.Errorf("granted: %s", got)
	}
	// Another process of the client goes on with what it had.
	wantStatus(t, s.MCP(c.Resource, oldAccess, "ping", ""), http.StatusOK)
	wantStatus(t, c.Token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {oldRefresh}}), http.StatusOK)
	if !slices.Contains(auditKinds(t, s), "grant.stepped_up") {
		t.Error("the audit does not tell a step-up")
	}
	// What is unticked of the old is not in the new.
	page = c.Consent(b, "ada@example.com", c.AuthorizeURL(set("scope", "metrics:read")))
	res := b.Post("/consent", without(testkit.ConsentForm(page.Body, "bank"), "bank", "alerts:write", "logs:read"))
	if got := redeem(t, c, res.Header.Get("Location")); got != "traces:read metrics:read" {
		t.Errorf("granted: %s", got)
	}
}

// auditKinds lists the kinds of the recorded events.
func auditKinds(t *testing.T, s *testkit.Server) []string {
	t.Helper()
	var kinds []string
	for _, ev := range recorded(t, s) {
		kinds = append(kinds, ev[0])
	}
	return kinds
}

// recorded reads kind, target and detail of the audit.
func recorded(t *testing.T, s *testkit.Server) [][3]string {
	t.Helper()
	events, err := s.Admin.Events(t.Context(), audit.Filter{})
	s.Must(err)
	out := make([][3]string, 0, len(events))
	for _, ev := range events {
		out = append(out, [3]string{string(ev.Kind), ev.Target, ev.Detail})
	}
	return out
}

// silent opens an authorization and takes the page that goes on by itself, if
// there is one; it returns where the browser ends up.
func silent(t *testing.T, b *testkit.Browser, target string) (page testkit.Response, back string) {
	t.Helper()
	page = b.Get(target)
	if page.Status != http.StatusOK || !strings.Contains(page.Body, ">Continue</button>") {
		return page, ""
	}
	res := b.Post("/consent", url.Values{"step": {testkit.ConsentStep(page.Body)}, "decision": {testkit.Field(page.Body, "decision")}})
	return res, res.Header.Get("Location")
}

func TestCase046_RememberedConsent(t *testing.T) {
	s := newServer(t)
	c := s.AddClient("Portal", false, portalRedirect)
	c.Connect("ada@example.com", "shop", set("scope", "openid logs:read traces:read"))
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	before := len(grants(t, s, c))

	for range 3 {
		page := b.Get(c.AuthorizeURL(set("scope", "openid logs:read")))
		wantStatus(t, page, http.StatusOK)
		if !strings.Contains(page.Body, ">Continue</button>") || strings.Contains(page.Body, "Allow access") {
			t.Fatalf("not the page that goes on:\n%s", page.Body)
		}
	}
	// Case 38: opening the page gave nothing.
	if n := len(grants(t, s, c)); n != before {
		t.Fatalf("%d grants after opening pages, %d before", n, before)
	}
	res, back := silent(t, b, c.AuthorizeURL(set("scope", "openid logs:read")))
	wantStatus(t, res, http.StatusSeeOther)
	if got := redeem(t, c, back); got != "logs:read traces:read openid" {
		t.Errorf("granted: %s", got)
	}
	if !slices.Contains(auditKinds(t, s), "grant.remembered") {
		t.Error("the audit does not tell a remembered consent")
	}

	// prompt=none is answered at once, but not to who only looks ahead.
	ahead := c.AuthorizeURL(set("scope", "openid logs:read", "prompt", "none"))
	count := len(grants(t, s, c))
	if res := b.Head(ahead); res.Status != http.StatusServiceUnavailable {
		t.Errorf("HEAD: status %d", res.Status)
	}
	if res := b.Get(ahead, "Sec-Purpose", "prefetch;prerender"); res.Status != http.StatusServiceUnavailable {
		t.Errorf("prefetch: status %d", res.Status)
	}
	if n := len(grants(t, s, c)); n != count {
		t.Errorf("%d grants after looking ahead, %d before", n, count)
	}
	res = b.Get(ahead)
	wantStatus(t, res, http.StatusSeeOther)
	if u := res.Header.Get("Location"); !strings.HasPrefix(u, portalRedirect+"?code=") || !strings.Contains(u, "iss=") {
		t.Errorf("redirected to %s", u)
	}
	redeem(t, c, res.Header.Get("Location"))

	// The page does not outlive what it rests on.
	page := b.Get(c.AuthorizeURL(set("scope", "logs:read")))
	for _, g := range grants(t, s, c) {
		s.Must(s.Admin.Authority.EndGrant(t.Context(), g.ID, "disconnected by the person", shell))
	}
	res = b.Post("/consent", url.Values{"step": {testkit.ConsentStep(page.Body)}, "decision": {"allow"}})
	wantStatus(t, res, http.StatusSeeOther)
	if !strings.HasPrefix(res.Header.Get("Location"), "/oauth/authorize?") {
		t.Fatalf("went on to %s", res.Header.Get("Location"))
	}
	wantConsentPage(t, b.Get(res.Header.Get("Location")))
}

// TestCase046_NotRemembered: whatever differs, the person is asked, and
// prompt=none gets consent_required.
func TestCase046_NotRemembered(t *testing.T) {
	s := newServer(t)
	s.SetMember("shop", "bob@example.com", "viewer")
	portal := s.AddClient("Portal", false, portalRedirect, "http://127.0.0.1:7777/callback", "portal://app/cb")
	portal.Connect("ada@example.com", "shop", set("scope", "openid logs:read"))
	other := s.AddClient("Other", false, portalRedirect)
	local := s.AddClient("Local", false, testkit.DefaultRedirect)
	local.Connect("ada@example.com", "shop", set("scope", "logs:read"))
	self := s.Register(`{"client_name":"Portal","redirect_uris":["` + portalRedirect + `"],"token_endpoint_auth_method":"none"}`)
	self.Connect("ada@example.com", "shop", set("scope", "logs:read"))
	for name, test := range map[string]struct {
		client *testkit.Client
		email  string
		change []string
	}{
		"another person":          {portal, "bob@example.com", nil},
		"another client":          {other, "ada@example.com", nil},
		"another team":            {portal, "ada@example.com", []string{"resource", s.URL + "/mgmt/api/v1/teams/bank/mcp"}},
		"another resource":        {portal, "ada@example.com", []string{"resource", s.URL + "/mgmt/api/v1/teams/shop/mcp"}},
		"another scope":           {portal, "ada@example.com", []string{"scope", "logs:read traces:read"}},
		"another scope of openid": {portal, "ada@example.com", []string{"scope", "logs:read email"}},
		"loopback redirect":       {portal, "ada@example.com", []string{"redirect_uri", "http://127.0.0.1:50000/callback"}},
		"app redirect":            {portal, "ada@example.com", []string{"redirect_uri", "portal://app/cb"}},
		"loopback client":         {local, "ada@example.com", nil},
		"self-registered client":  {self, "ada@example.com", nil},
		"prompt=consent":          {portal, "ada@example.com", []string{"prompt", "consent"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			b.SignIn("/login", test.email)
			change := set(append([]string{"scope", "logs:read"}, test.change...)...)
			wantConsentPage(t, b.Get(test.client.AuthorizeURL(change)))
			if name == "prompt=consent" {
				return
			}
			res := b.Get(test.client.AuthorizeURL(change, set("prompt", "none")))
			if got := res.Header.Get("Location") + res.Body; !strings.Contains(got, "error=consent_required") {
				t.Errorf("prompt=none: status %d, %s", res.Status, got)
			}
		})
	}
	t.Run("two teams", func(t *testing.T) {
		b := s.Browser()
		page := portal.Consent(b, "ada@example.com", portal.AuthorizeURL(set("scope", "logs:read", "prompt", "consent")))
		redeem(t, portal, portal.Allow(b, page, "bank").String())
		wantConsentPage(t, b.Get(portal.AuthorizeURL(set("scope", "logs:read"))))
		res := b.Get(portal.AuthorizeURL(set("scope", "logs:read", "prompt", "none")))
		if to := res.Header.Get("Location"); !strings.Contains(to, "error=interaction_required") {
			t.Errorf("prompt=none: %s", to)
		}
	})
	t.Run("removed from the team", func(t *testing.T) {
		b := s.Browser()
		b.SignIn("/login", "ada@example.com")
		s.Must(s.Admin.Directory.RemoveMember(t.Context(), "bank", "ada@example.com", shell))
		// Coming back to it is not coming back to its consent.
		_, err := s.Admin.Directory.SetMember(t.Context(), "bank", "ada@example.com", []string{"viewer"}, shell)
		s.Must(err)
		wantConsentPage(t, b.Get(portal.AuthorizeURL(set("scope", "logs:read", "resource", s.URL+"/mgmt/api/v1/teams/bank/mcp"))))
	})
}

// TestCase046_TeamResource: a team's own resource says which team is meant,
// however many the client is in.
func TestCase046_TeamResource(t *testing.T) {
	s := newServer(t)
	c := s.AddClient("Portal", false, portalRedirect)
	c.Connect("ada@example.com", "bank", set("scope", "logs:read"))
	c.Resource = s.URL + "/mgmt/api/v1/teams/shop/mcp"
	c.Connect("ada@example.com", "shop", set("scope", "logs:read"))
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	res, back := silent(t, b, c.AuthorizeURL(set("scope", "logs:read")))
	wantStatus(t, res, http.StatusSeeOther)
	redeem(t, c, back)
	wantStatus(t, c.Call("ping", ""), http.StatusOK)
}

// TestRememberedConsentInteractive: past the hour there is nothing to
// remember where the person must come back, and nothing to list.
func TestRememberedConsentInteractive(t *testing.T) {
	s := testkit.Start(t, testkit.Interactive)
	s.AddPerson("ada@example.com", false)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	c := s.AddClient("Portal", false, portalRedirect)
	c.Connect("ada@example.com", "shop", set("scope", "logs:read"))
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	if page := b.Get("/connections"); !strings.Contains(page.Body, "Portal") {
		t.Errorf("a living connection is not listed:\n%s", page.Body)
	}
	if _, back := silent(t, b, c.AuthorizeURL(set("scope", "logs:read"))); back == "" {
		t.Error("within the hour the consent is not remembered")
	}
	s.Clock.ToNextHour(time.Minute)
	if page := b.Get("/connections"); !strings.Contains(page.Body, "Nothing is connected") {
		t.Errorf("a connection that can never continue is listed:\n%s", page.Body)
	}
	wantConsentPage(t, b.Get(c.AuthorizeURL(set("scope", "logs:read"))))
}

// TestAtMostFiftyConnectionsOfOneClient: the longest unused one ends, and its
// client learns why.
func TestAtMostFiftyConnectionsOfOneClient(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	oldest := *c
	s.Clock.Advance(time.Minute)
	c.Connect("ada@example.com", "shop")
	second := *c
	// The oldest is in use, so that it is not the longest unused.
	s.Clock.Advance(time.Minute)
	wantStatus(t, oldest.Renew(oldest.Refresh), http.StatusOK)
	for range 48 {
		c.Connect("ada@example.com", "shop")
	}
	c.Connect("ada@example.com", "bank") // another team counts for itself
	wantStatus(t, second.Renew(second.Refresh), http.StatusOK)
	s.Clock.Advance(time.Minute)
	wantStatus(t, second.Renew(second.Refresh), http.StatusOK)
	wantStatus(t, oldest.Renew(oldest.Refresh), http.StatusOK)
	third := grants(t, s, c)[2]

	c.Connect("ada@example.com", "shop")
	living := grants(t, s, c)
	if n := len(living); n != 51 || slices.ContainsFunc(living, func(g grant.Grant) bool { return g.ID == third.ID }) {
		t.Errorf("%d grants in two teams, the longest unused among them: %v", n, living)
	}
	wantStatus(t, oldest.Renew(oldest.Refresh), http.StatusOK)
	standing, err := s.Admin.Authority.Store.Standing(t.Context(), third.ID)
	s.Must(err)
	if want := "newer sign-ins of the same client took its place"; standing.Grant.EndReason != want ||
		!strings.Contains(standing.Verdict(s.Clock.Now(), grant.DefaultLifetimes()).Error(), want) {
		t.Errorf("ended because %q", standing.Grant.EndReason)
	}
	var told bool
	for _, ev := range recorded(t, s) {
		told = told || ev[0] == "grant.ended" && ev[1] == string(third.ID) && strings.Contains(ev[2], "newer sign-ins")
	}
	if !told {
		t.Error("the audit does not tell that a grant ended")
	}
}

// TestConsentKeepsScopesAboutThePerson: what is about the person is asked each
// time and not carried over from other grants.
func TestConsentKeepsScopesAboutThePerson(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop", set("scope", "openid email logs:read"))
	c.Connect("ada@example.com", "shop", set("scope", "traces:read"))
	living := grants(t, s, c)
	if got := living[len(living)-1].Scopes; got != spec.NewScopes("logs:read", "traces:read") {
		t.Errorf("granted: %s", got)
	}
}
