package console_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/console"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
	"github.com/orielhq/oriel/internal/web"
)

const password = "correct horse battery staple"

// house is a server with desk and console over the real store.
type house struct {
	t         *testing.T
	url       string
	resource  spec.Resource
	console   *console.Console
	directory *org.Directory
	people    org.Store
	authority *grant.Authority
	now       time.Time
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	db, err := store.Open(ctx, storetest.Config(t))
	must(err)
	t.Cleanup(func() { must(db.Close()) })
	h := &house{t: t, url: srv.URL, now: time.Date(2026, 11, 23, 14, 20, 0, 0, time.UTC)}
	clock := func() time.Time { return h.now }
	h.directory, h.people = org.NewDirectory(db, clock), db
	master := grant.MasterKey{1}
	keys, err := grant.OpenKeyring(ctx, db, master, clock)
	must(err)
	h.authority, err = grant.New(grant.Config{
		Store: db, Keys: keys, Master: master, Issuer: srv.URL, Lifetimes: grant.DefaultLifetimes(), Now: clock,
	})
	must(err)
	pages, err := web.NewPages()
	must(err)
	logger := slog.New(slog.DiscardHandler)
	site, err := web.New(web.Config{Pages: pages, Logger: logger, Now: clock, PublicURL: srv.URL})
	must(err)
	factors, err := mfa.New(mfa.Config{Store: db, Derive: func(string) []byte { return bytes.Repeat([]byte{2}, 32) }, PublicURL: srv.URL, Now: clock})
	must(err)
	desk, err := login.New(login.Config{
		Store: db, People: db, Directory: h.directory, Factors: factors, Site: site, Key: bytes.Repeat([]byte{1}, 32), PublicURL: srv.URL, Now: clock, Logger: logger,
	})
	must(err)
	public, err := spec.ParsePublicURL(srv.URL, false)
	must(err)
	h.resource = spec.NewResources(public).Bare()
	h.console, err = console.New(console.Config{
		Site: site, Desk: desk, Directory: h.directory, Authority: h.authority, Audit: db, MCPURL: h.resource.URL(),
		LogsURL: srv.URL + "/v1/logs", Now: clock, Logger: logger,
	})
	must(err)
	web.Mount(mux, site.AssetRoutes())
	desk.Mount(mux)
	web.Mount(mux, h.console.Routes())
	return h
}

// passwordHash is that of everybody's password, computed once: it takes its time
// by design, more under the race detector.
var passwordHash = sync.OnceValues(org.Password(password).Hash)

func (h *house) addPerson(name string, owner bool) org.Person {
	h.t.Helper()
	p, err := h.directory.AddPerson(context.Background(),
		org.NewPerson{Email: strings.ToLower(name) + "@example.com", Name: name, Owner: owner}, audit.System())
	if err != nil {
		h.t.Fatal(err)
	}
	hash, err := passwordHash()
	if err == nil {
		err = h.people.SetPasswordHash(context.Background(), p.ID, hash, audit.Event{At: h.now, Kind: audit.PasswordChanged, Target: string(p.ID)})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// addTeam adds a team with one member.
func (h *house) addTeam(slug, name string, p org.Person, roles ...string) org.Team {
	h.t.Helper()
	team, err := h.directory.AddTeam(context.Background(), slug, name, audit.System())
	if err == nil {
		_, err = h.directory.SetMember(context.Background(), slug, p.Email, roles, audit.System())
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return team
}

// connect has a client of that name go through consent and redemption.
func (h *house) connect(p org.Person, team org.Team, client grant.Client) grant.Tokens {
	h.t.Helper()
	ctx := context.Background()
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	challenge, err := spec.ParseCodeChallenge("S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	if err != nil {
		h.t.Fatal(err)
	}
	uri := client.Metadata.RedirectURIs[0].String()
	code, err := h.authority.Approve(ctx, grant.Consent{
		ID: rand.Text(), Person: p.ID, Client: client, Team: team.ID, TeamSlug: team.Slug, Resource: h.resource.URL(),
		Scopes: spec.NewScopes(spec.ScopeLogsRead, spec.ScopeTracesRead, spec.ScopeEmail), AuthTime: h.now, RedirectURI: uri, Challenge: challenge,
	}, audit.System())
	if err != nil {
		h.t.Fatal(err)
	}
	tokens, err := h.authority.Redeem(ctx, grant.Redemption{Code: code, Client: client.ID, RedirectURI: uri, Verifier: verifier})
	if err != nil {
		h.t.Fatal(err)
	}
	return tokens
}

func (h *house) client(kind grant.ClientKind, id, name, redirect string) grant.Client {
	h.t.Helper()
	uri, err := spec.ParseRedirectURI(redirect)
	if err != nil {
		h.t.Fatal(err)
	}
	return grant.Client{
		ID: grant.ClientID(id), Kind: kind, CreatedAt: h.now,
		Metadata: spec.ClientMetadata{Name: name, RedirectURIs: []spec.RedirectURI{uri}},
	}
}

func (h *house) cursor() grant.Client {
	return h.client(grant.SelfRegistered, "self-contained", "Cursor", "cursor://anysphere.cursor-mcp/oauth/callback")
}

type browser struct {
	*house
	http.Client
}

// browser returns a browser at which p is signed in; nobody for the zero
// person.
func (h *house) browser(p org.Person) *browser {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	b := &browser{h, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if p.ID != "" {
		b.post("/login", "email", p.Email, "password", password).expect(h.t, 303)
	}
	return b
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, path, form string, header ...string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, "")
}

func (b *browser) post(path string, pairs ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, path, form.Encode(), "Sec-Fetch-Site", "same-origin")
}

// follow posts nothing: it opens the page that a form led to.
func (b *browser) follow(a answer) answer {
	b.t.Helper()
	a.expect(b.t, 303)
	return b.get(a.Header.Get("Location"))
}

func (a answer) expect(t *testing.T, status int, parts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s %s: %d, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("%s %s does not say %q:\n%s", a.Request.Method, a.Request.URL, p, a.body)
		}
	}
}

func (a answer) expectNot(t *testing.T, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(a.body, p) {
			t.Errorf("%s %s says %q:\n%s", a.Request.Method, a.Request.URL, p, a.body)
		}
	}
}

// TestRoutesByAudience asks every route as everybody: a route lets in the
// people that it names and nobody else.
func TestRoutesByAudience(t *testing.T) {
	h := newHouse(t)
	browsers := map[web.Audience]*browser{
		web.Anyone: h.browser(org.Person{}), web.SignedIn: h.browser(h.addPerson("Ada", false)), web.Owner: h.browser(h.addPerson("Grace", true)),
	}
	for _, route := range h.console.Routes() {
		method, path, _ := strings.Cut(route.Pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", "unknown", "{group}", "unknown", "{person}", "unknown", "{role}", "unknown", "{slug}", "unknown").Replace(path)
		if route.Who == web.Member || route.Who == web.TeamAdmin {
			continue // in which team matters: internal/server has the whole table
		}
		if route.Who != web.SignedIn && route.Who != web.Owner {
			t.Errorf("%s is for %d", route.Pattern, route.Who)
		}
		for who, b := range browsers {
			a := b.do(method, path, "")
			switch {
			case who == web.Anyone:
				if loc := a.Header.Get("Location"); a.StatusCode != 303 || !strings.HasPrefix(loc, "/login?step=") {
					t.Errorf("%s by nobody: %d to %q", route.Pattern, a.StatusCode, loc)
				}
			case who < route.Who:
				a.expect(t, 403, "Only an owner")
			case route.Pattern == "POST /policies/reconnect":
				// The form says whose policy: internal/server has the table.
			case a.StatusCode == 403 || a.StatusCode == 303 || a.StatusCode >= 500:
				t.Errorf("%s by %d: %d", route.Pattern, who, a.StatusCode)
			}
			if method == http.MethodPost {
				b.do(method, path, "", "Sec-Fetch-Site", "cross-site").expect(t, 403, "another site")
			}
		}
	}
}

func TestSignInComesBack(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	b := h.browser(org.Person{})
	a := b.get("/connections?x=1")
	a.expect(t, 303)
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	a = b.post("/login", "email", ada.Email, "password", password, "step", u.Query().Get("step"))
	if a.Header.Get("Location") != "/connections?x=1" {
		t.Errorf("back to %q", a.Header.Get("Location"))
	}
	b.follow(a).expect(t, 200, "<h1>Connections</h1>")
}

func TestStart(t *testing.T) {
	h := newHouse(t)
	ada, grace := h.addPerson("Ada", false), h.addPerson("Grace", true)
	b := h.browser(ada)
	a := b.get("/")
	a.expect(t, 200, "Hello, <bdi>Ada</bdi>", "not a member of any team yet", "Ask Grace (grace@example.com) to add you")
	a.expectNot(t, "mcpServers", "Create team")

	h.addTeam("web-shop", "Web Shop", ada, "viewer")
	a = b.get("/")
	a.expect(t, 200, h.resource.URL(), "mcpServers", `claude mcp add --transport http oriel `+h.resource.URL(), "Your role: viewer")
	a.expectNot(t, "oriel key add", "Create team", "not a member")
	if _, err := h.directory.SetMember(t.Context(), "web-shop", ada.Email, []string{"admin"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	b.get("/").expect(t, 200, "oriel key add --team web-shop", h.url+"/v1/logs")

	h.browser(grace).get("/").expect(t, 200, "Name your first team")
}

func TestCreateTeam(t *testing.T) {
	h := newHouse(t)
	grace := h.addPerson("Grace", true)
	b := h.browser(grace)
	a := b.follow(b.post("/teams", "name", " Wéb Shop "))
	a.expect(t, 200, "The team Wéb Shop is created", "Your role: admin", "mcpServers")
	m, err := h.directory.Memberships(t.Context(), grace.ID)
	if err != nil || len(m) != 1 || m[0].Team.Slug != "web-shop" || m[0].Roles[0] != "admin" {
		t.Errorf("%+v, %v", m, err)
	}
	a = b.post("/teams", "name", "Web-Shop")
	a.expect(t, 422, "There is a team with the short name web-shop already", `value="Web-Shop"`)
	b.post("/teams", "name", " ").expect(t, 422, "A name is needed.")

	// Nobody else can put words on our pages.
	b.get("/?notice=Pay+here").expectNot(t, "Pay here")
}

func TestConnections(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	web, payments := h.addTeam("web-shop", "Web Shop", ada, "viewer"), h.addTeam("payments", "Payments", ada, "viewer")
	b := h.browser(ada)
	b.get("/connections").expect(t, 200, "Nothing is connected.", h.resource.URL())

	h.connect(ada, web, h.cursor())
	h.now = h.now.Add(3 * time.Minute)
	h.connect(ada, payments, h.client(grant.Document, "https://vscode.dev/oauth/client.json", "Visual Studio Code", "https://vscode.dev/redirect"))
	a := b.get("/connections")
	a.expect(t, 200, "Cursor", "registered itself", "cursor: (an app on this computer)", "Web Shop", "read logs, read traces and see your e-mail address",
		"23 November 2026", "3 minutes ago", "just now", "after 30 days without use", "Visual Studio Code", "vscode.dev</bdi> <span class=\"badge good\">verified", "Payments")
	if n := strings.Count(a.body, ">Disconnect</button>"); n != 2 {
		t.Errorf("%d buttons", n)
	}
	a.expectNot(t, "gives nothing at present")
	if err := h.directory.RemoveMember(t.Context(), "payments", ada.Email, audit.System()); err != nil {
		t.Fatal(err)
	}
	a = b.get("/connections")
	a.expect(t, 200, "Web Shop", "Ended lately", "taken out of the team")
	if n := strings.Count(a.body, ">Disconnect</button>"); n != 1 {
		t.Errorf("%d buttons after the removal", n)
	}
}

func TestDisconnect(t *testing.T) {
	h := newHouse(t)
	ada, grace := h.addPerson("Ada", false), h.addPerson("Grace", true)
	team := h.addTeam("web-shop", "Web Shop", ada, "viewer")
	tokens := h.connect(ada, team, h.cursor())
	other := h.connect(ada, team, h.cursor())
	path := "/connections/" + string(tokens.Grant) + "/disconnect"

	// Somebody else's is answered like one that does not exist, owner or not.
	theirs := h.browser(grace).post(path)
	none := h.browser(grace).post("/connections/unknown/disconnect")
	theirs.expect(t, 404, "You have no such connection")
	if theirs.body != none.body {
		t.Error("somebody else's connection is answered unlike one that does not exist")
	}
	b := h.browser(ada)
	b.get(path).expect(t, 405)
	b.do(http.MethodPost, path, "", "Sec-Fetch-Site", "cross-site").expect(t, 403)
	alive := func(id grant.ID) bool {
		t.Helper()
		s, err := h.authority.Store.Standing(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return s.Verdict(h.now, h.authority.Lifetimes) == nil
	}
	if !alive(tokens.Grant) {
		t.Fatal("ended by somebody else")
	}
	a := b.follow(b.post(path))
	a.expect(t, 200, "Cursor is disconnected. Its next request is refused.", ">Disconnect</button>")
	if alive(tokens.Grant) || !alive(other.Grant) {
		t.Errorf("alive: %t, the other one: %t", alive(tokens.Grant), alive(other.Grant))
	}
	b.post(path).expect(t, 404)
}

func TestNewRefusesGaps(t *testing.T) {
	if _, err := console.New(console.Config{}); err == nil {
		t.Error("accepted")
	}
}
