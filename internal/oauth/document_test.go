package oauth_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/testkit"
)

const (
	documentURL      = "https://client.example/oauth/client.json"
	documentRedirect = "http://127.0.0.1:49152/callback"
)

func document(id string) string {
	return `{"client_id":"` + id + `","client_name":"Example","redirect_uris":["http://127.0.0.1/callback","https://client.example/back"],` +
		`"grant_types":["authorization_code","urn:example:unknown"],"logo_uri":"https://client.example/logo.png"}`
}

// newWebServer is newServer with a web to fetch documents from.
func newWebServer(t *testing.T, change ...func(*config.Server)) (*testkit.Server, *testkit.Web) {
	t.Helper()
	w := testkit.NewWeb(t)
	s := testkit.StartOn(t, w.Network, change...)
	s.AddPerson("owner@example.com", true)
	s.AddPerson("ada@example.com", false)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	return s, w
}

func TestCase005_AdvertisesDocumentsAndAssertions(t *testing.T) {
	s, _ := newWebServer(t)
	var m struct {
		Documents bool     `json:"client_id_metadata_document_supported"`
		Methods   []string `json:"token_endpoint_auth_methods_supported"`
		Algs      []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	}
	s.Must(s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "").JSON(&m))
	if !m.Documents || !slices.Contains(m.Methods, "none") || !slices.Contains(m.Methods, "private_key_jwt") ||
		!slices.Equal(m.Algs, []string{"ES256", "EdDSA", "PS256", "RS256"}) {
		t.Errorf("%+v", m)
	}
}

func TestCase018_DocumentClientConnects(t *testing.T) {
	s, w := newWebServer(t)
	w.JSON(documentURL, document(documentURL))
	c := s.Known(documentURL, documentRedirect)
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	if !strings.Contains(page.Body, "Example") || !strings.Contains(page.Body, "client.example") || !strings.Contains(page.Body, "verified") {
		t.Errorf("consent page:\n%s", page.Body)
	}
	back := c.Allow(b, page, "shop")
	if back.Host != "127.0.0.1:49152" {
		t.Fatalf("redirected to %s", back)
	}
	wantStatus(t, c.Redeem(back.Query().Get("code")), http.StatusOK)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	s.Restart()
	w.Handle(documentURL, nil) // the host is down; the stored copy is fresh
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	s.Clock.Advance(3 * time.Hour) // not fresh any more: the last good copy
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	if n := w.Hits(documentURL); n != 2 {
		t.Errorf("the document was asked for %d times", n)
	}
}

// The person's browser asks the client's host for nothing.
func TestCase022_LogoIsNotLoaded(t *testing.T) {
	s, w := newWebServer(t)
	w.JSON(documentURL, document(documentURL))
	c := s.Known(documentURL, documentRedirect)
	page := c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL())
	if strings.Contains(page.Body, "logo.png") {
		t.Error("the logo is on the page")
	}
	if csp := page.Header.Get("Content-Security-Policy"); strings.Contains(csp, "client.example") && strings.Contains(csp, "img-src https") {
		t.Errorf("policy %q", csp)
	}
}

func TestCase019_PagesAndErrorsOfRefusedDocuments(t *testing.T) {
	s, w := newWebServer(t)
	b := s.Browser()
	for u, says := range map[string]string{
		"http://client.example/c.json":            "client_id",
		"https://client.example/":                 "client_id",
		"https://missing.example/c.json":          "could not be fetched",
		"https://wrong.example/c.json":            "another client_id",
		"https://html.example/c.json":             "JSON",
		"https://127.0.0.1/c.json":                "could not be fetched",
		"https://client.example/a/%2e%2e/b/.json": "client_id",
	} {
		w.JSON("https://wrong.example/c.json", document(documentURL))
		w.Handle("https://html.example/c.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<p>") })
		c := s.Known(u, documentRedirect)
		res := b.Get(c.AuthorizeURL())
		if (res.Status != http.StatusBadRequest && res.Status != http.StatusServiceUnavailable) || !strings.Contains(res.Body, says) {
			t.Errorf("%s: status %d\n%s", u, res.Status, res.Body)
		}
		if ct := res.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") || res.Header.Get("Location") != "" {
			t.Errorf("%s: %v", u, res.Header)
		}
	}
	// A redirect that the document does not name.
	w.JSON(documentURL, document(documentURL))
	wantStatus(t, b.Get(s.Known(documentURL, "http://127.0.0.1:1/other").AuthorizeURL()), http.StatusBadRequest)
	wantStatus(t, b.Get(s.Known(documentURL, "http://localhost:1/callback").AuthorizeURL()), http.StatusBadRequest)

	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
	wantOAuthError(t, s.Known("https://wrong.example/c.json", "").Token(form), 401, "invalid_client")
	res := s.Known("https://missing.example/c.json", "").Token(form)
	wantOAuthError(t, res, 503, "temporarily_unavailable")
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestCase021_LongDeadHostGetsAPage(t *testing.T) {
	s, w := newWebServer(t)
	w.JSON(documentURL, document(documentURL))
	c := s.Known(documentURL, documentRedirect).Connect("ada@example.com", "shop")
	w.Handle(documentURL, nil)
	s.Clock.Advance(6 * 24 * time.Hour)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	s.Clock.Advance(2 * 24 * time.Hour)
	wantOAuthError(t, c.Renew(c.Refresh), 503, "temporarily_unavailable")
	wantStatus(t, s.Browser().Get(c.AuthorizeURL()), http.StatusServiceUnavailable)
	w.JSON(documentURL, document(documentURL))
	s.Clock.Advance(time.Minute)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK) // nothing was consumed
}

func TestCase024_BlockedDocumentsAndHosts(t *testing.T) {
	s, w := newWebServer(t)
	other := "https://client.example/other.json"
	w.JSON(documentURL, document(documentURL))
	w.JSON(other, document(other))
	a := s.Known(documentURL, documentRedirect).Connect("ada@example.com", "shop")
	o := s.Known(other, documentRedirect).Connect("ada@example.com", "shop")
	self := s.Register(`{"client_name":"Self","redirect_uris":["https://client.example/back"],"token_endpoint_auth_method":"none"}`).Connect("ada@example.com", "shop")
	far := s.Register().Connect("ada@example.com", "shop")

	check := func(name string, c *testkit.Client, blocked bool) {
		t.Helper()
		want := http.StatusOK
		if blocked {
			want = http.StatusUnauthorized
		}
		s.Eventually(time.Second, name+" is answered "+http.StatusText(want), func() bool { return c.Call("tools/list", "").Status == want })
		res := c.Renew(c.Refresh)
		if !blocked {
			wantStatus(t, res, http.StatusOK)
			return
		}
		wantOAuthError(t, res, 401, "invalid_client")
		page := s.Browser().Get(c.AuthorizeURL())
		if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "blocked by an administrator") {
			t.Errorf("%s: status %d\n%s", name, page.Status, page.Body)
		}
	}
	block := func(id string, blocked bool) {
		t.Helper()
		if _, err := s.Admin.Authority.BlockIntegration(t.Context(), id, blocked, shell); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{documentURL, string(a.Key())} {
		block(id, true)
		check("the document", a, true)
		check("another document of the host", o, false)
		block(id, false)
		check("the document", a, false)
	}
	for _, host := range []string{"client.example", "host:client.example", "Client.Example."} {
		block(host, true)
		check("the document", a, true)
		check("the other document", o, true)
		check("a client that sends its answers there", self, true)
		check("a client that has nothing to do with it", far, false)
		block(host, false)
		check("the document", a, false)
		check("a client that sends its answers there", self, false)
	}
	// One that was never seen is blocked beforehand, and not even fetched.
	unseen := "https://unseen.example/c.json"
	w.JSON(unseen, document(unseen))
	block(unseen, true)
	wantStatus(t, s.Browser().Get(s.Known(unseen, documentRedirect).AuthorizeURL()), http.StatusForbidden)
	if w.Hits(unseen) != 0 {
		t.Error("the document of a blocked client was fetched")
	}
	for _, bad := range []string{"https://10.0.0.1/x", "host:a/b", "host:a:1", "a b.c"} {
		if _, err := s.Admin.Authority.BlockIntegration(t.Context(), bad, true, audit.System()); err == nil {
			t.Errorf("%q was blocked", bad)
		}
	}
}

// admission sets a policy.
func admission(policy string, allowed ...string) func(*config.Server) {
	return func(c *config.Server) { c.Clients.Admission, c.Clients.Allowed = policy, allowed }
}

func TestAdmission(t *testing.T) {
	const (
		loopback  = `{"client_name":"L","redirect_uris":["http://127.0.0.1:7777/callback"],"token_endpoint_auth_method":"none"}`
		cursor    = `{"client_name":"Cursor","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:9999/callback"],"token_endpoint_auth_method":"none"}`
		mixed     = `{"client_name":"Cursor","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","https://evil.example/cb"],"token_endpoint_auth_method":"none"}`
		elsewhere = "https://elsewhere.example/c.json"
	)
	for _, c := range []struct {
		name                                       string
		set                                        func(*config.Server)
		loopback, cursor, mixed, doc, otherDoc     bool
		advertisesRegistration, advertisesDocument bool
	}{
		{"anyone", admission("anyone"), true, true, true, true, true, true, true},
		{"documents", admission("documents"), false, false, false, true, true, false, true},
		{"listed", admission("listed", "client.example", "cursor"), false, true, false, true, false, true, true},
		{"listed hosts", admission("listed", "127.0.0.1", documentURL, "cursor:"), true, false, false, true, false, true, true},
		{"registered", admission("registered"), false, false, false, false, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := newWebServer(t, c.set)
			w.JSON(documentURL, document(documentURL))
			w.JSON(elsewhere, document(elsewhere))
			for body, ok := range map[string]bool{loopback: c.loopback, cursor: c.cursor, mixed: c.mixed} {
				res := s.PostJSON("/oauth/register", body)
				if ok {
					wantStatus(t, res, http.StatusCreated)
					continue
				}
				wantOAuthError(t, res, 403, "access_denied")
				if !strings.Contains(res.Member("error_description"), "owner") {
					t.Errorf("%s", res.Body)
				}
			}
			for id, ok := range map[string]bool{documentURL: c.doc, elsewhere: c.otherDoc} {
				k := s.Known(id, documentRedirect)
				if ok {
					k.Connect("ada@example.com", "shop")
					continue
				}
				page := s.Browser().Get(k.AuthorizeURL())
				if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "owner@example.com") {
					t.Errorf("%s: status %d\n%s", id, page.Status, page.Body)
				}
				if w.Hits(id) != 0 {
					t.Error("the document of a client that is not admitted was fetched")
				}
				wantOAuthError(t, k.Token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}), 400, "invalid_grant")
			}
			registered, _, err := s.Admin.Authority.RegisterClient(t.Context(), "Ours", []string{testkit.DefaultRedirect}, false, shell)
			s.Must(err)
			s.Known(string(registered.ID), testkit.DefaultRedirect).Connect("ada@example.com", "shop")
			metadata := s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "")
			if got := metadata.Member("registration_endpoint") != ""; got != c.advertisesRegistration {
				t.Errorf("registration advertised: %t", got)
			}
			if got := strings.Contains(metadata.Body, `"client_id_metadata_document_supported":true`); got != c.advertisesDocument {
				t.Errorf("documents advertised: %t", got)
			}
		})
	}
}

// Whoever is shut out by a new policy keeps what it has, and comes back when
// it is allowed again.
func TestAdmissionChanges(t *testing.T) {
	s, w := newWebServer(t)
	w.JSON(documentURL, document(documentURL))
	known := s.Known(documentURL, documentRedirect).Connect("ada@example.com", "shop")
	self := s.Register().Connect("ada@example.com", "shop")
	s.Reconfigure(admission("registered"))
	for _, c := range []*testkit.Client{known, self} {
		wantOAuthError(t, c.Renew(c.Refresh), 400, "invalid_grant")
		page := s.Browser().Get(c.AuthorizeURL())
		if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "owner@example.com") {
			t.Errorf("status %d\n%s", page.Status, page.Body)
		}
	}
	s.Reconfigure(admission("anyone"))
	for _, c := range []*testkit.Client{known, self} {
		wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	}
}
