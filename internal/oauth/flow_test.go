package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/testkit"
)

func wantStatus(t *testing.T, res testkit.Response, status int) {
	t.Helper()
	if res.Status != status {
		t.Fatalf("status %d, want %d\n%s", res.Status, status, res.Body)
	}
}

func wantOAuthError(t *testing.T, res testkit.Response, status int, code string) {
	t.Helper()
	if res.Status != status || res.Member("error") != code {
		t.Fatalf("status %d, error %q, want %d %q\n%s", res.Status, res.Member("error"), status, code, res.Body)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	if cc := res.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", cc)
	}
}

// wantRedirectError checks an error that went to the redirect URI.
func wantRedirectError(t *testing.T, s *testkit.Server, res testkit.Response, code string) url.Values {
	t.Helper()
	wantStatus(t, res, http.StatusSeeOther)
	u, err := url.Parse(res.Header.Get("Location"))
	s.Must(err)
	if !strings.HasPrefix(u.String(), testkit.DefaultRedirect) {
		t.Fatalf("redirected to %s", u)
	}
	q := u.Query()
	if q.Get("error") != code || q.Get("iss") != s.URL || q.Get("code") != "" {
		t.Fatalf("redirect %s, want error %s", u, code)
	}
	return q
}

func TestCase002to007_Metadata(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		for _, path := range []string{
			"/.well-known/" + name, "/.well-known/" + name + "/", "/.well-known/" + name + "/mgmt/api/v1/mcp",
			"/.well-known/" + name + "/mgmt/api/v1/mcp/", "/.well-known/" + name + "/mgmt/api/v1/teams/shop/mcp",
			"/mgmt/api/v1/mcp/.well-known/" + name,
		} {
			res := s.Do(http.MethodGet, path, "")
			wantStatus(t, res, http.StatusOK)
			var m struct {
				Issuer  string   `json:"issuer"`
				Methods []string `json:"code_challenge_methods_supported"`
				Types   []string `json:"response_types_supported"`
				Iss     bool     `json:"authorization_response_iss_parameter_supported"`
			}
			s.Must(res.JSON(&m))
			if m.Issuer != s.URL || len(m.Methods) != 1 || m.Methods[0] != "S256" || len(m.Types) != 1 || m.Types[0] != "code" || !m.Iss {
				t.Errorf("%s: %+v", path, m)
			}
			if res.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(res.Header.Get("Cache-Control"), "max-age=300") {
				t.Errorf("%s: headers %v", path, res.Header)
			}
			if strings.Contains(res.Body, "null") || strings.Contains(res.Body, `""`) {
				t.Errorf("%s holds null or an empty string", path)
			}
		}
	}
	for _, path := range []string{"/.well-known/nothing", "/.well-known/oauth-authorization-server/elsewhere", "/oauth/nothing", "/oauth/"} {
		res := s.Do(http.MethodGet, path, "")
		if res.Status != http.StatusNotFound || !json.Valid([]byte(res.Body)) {
			t.Errorf("%s: status %d, body %q", path, res.Status, res.Body)
		}
	}
	// Case 8: what a request says about the server's name changes nothing.
	res := s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.example")
	if res.Member("issuer") != s.URL {
		t.Errorf("issuer = %s", res.Member("issuer"))
	}
	if res := s.Do(http.MethodGet, "/oauth/jwks", ""); !strings.Contains(res.Body, `"kty":"EC"`) || strings.Contains(res.Body, `"d":`) {
		t.Errorf("key set: %s", res.Body)
	}
}

func TestCase009_FixtureClientsRegisterAndAuthorize(t *testing.T) {
	s := newServer(t)
	for name, body := range map[string]string{
		"cursor":         `{"redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`,
		"vscode":         `{"client_name":"Visual Studio Code","client_uri":"https://code.visualstudio.com","grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"redirect_uris":["https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],"token_endpoint_auth_method":"none","application_type":"native"}`,
		"claude code":    `{"client_name":"Claude Code (x)","redirect_uris":["http://localhost:3118/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`,
		"copilot studio": `{"redirect_uris":["https://global.consent.azure-apim.net/redirect/cr938-5fexample"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"]}`,
		"gemini":         `{"client_name":"Gemini CLI MCP Client","redirect_uris":["http://localhost:7777/oauth/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none","scope":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := s.Register(body)
			if secret := name == "copilot studio"; (c.Secret != "") != secret {
				t.Errorf("secret given: %v", c.Secret != "")
			}
			b := s.Browser()
			page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
			if !strings.Contains(page.Body, "Allow access") {
				t.Error("no consent page")
			}
			res := b.Post("/consent", testkit.ConsentForm(page.Body, "shop"))
			location := res.Header.Get("Location")
			if name == "cursor" {
				// A private-use scheme gets a page with a way back.
				wantStatus(t, res, http.StatusOK)
				if !strings.Contains(res.Body, "cursor://anysphere.cursor-mcp/oauth/callback?") {
					t.Errorf("no way back to the app:\n%s", res.Body)
				}
				return
			}
			wantStatus(t, res, http.StatusSeeOther)
			u, err := url.Parse(location)
			s.Must(err)
			wantStatus(t, c.Redeem(u.Query().Get("code")), http.StatusOK)
		})
	}
}

func TestCase014_RegistrationRefusals(t *testing.T) {
	s := newServer(t)
	wantOAuthError(t, s.PostJSON("/oauth/register", `{"redirect_uris":["javascript:alert(1)"]}`), 400, "invalid_redirect_uri")
	wantOAuthError(t, s.PostJSON("/oauth/register", `not json`), 400, "invalid_client_metadata")
	wantOAuthError(t, s.Do(http.MethodPost, "/oauth/register", "a=b", "Content-Type", "application/x-www-form-urlencoded"), 415, "invalid_client_metadata")
	if res := s.PostJSON("/oauth/register", strings.Repeat("x", 100<<10)); res.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("100 KB: status %d", res.Status)
	}
	if res := s.Do(http.MethodGet, "/oauth/register", ""); res.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", res.Status)
	}
}

func TestCase025_NoRedirectBeforeClientAndRedirectAreSure(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for name, change := range map[string]func(url.Values){
		"unknown client":   func(v url.Values) { v.Set("client_id", "c1.unknown") },
		"no client":        func(v url.Values) { v.Del("client_id") },
		"two clients":      func(v url.Values) { v.Add("client_id", "x") },
		"other redirect":   func(v url.Values) { v.Set("redirect_uri", "https://evil.example/") },
		"other path":       func(v url.Values) { v.Set("redirect_uri", "http://127.0.0.1:7777/callback/x") },
		"other host":       func(v url.Values) { v.Set("redirect_uri", "http://localhost:7777/callback") },
		"tampered client":  func(v url.Values) { v.Set("client_id", v.Get("client_id")[:20]+"A"+v.Get("client_id")[21:]+"A") },
		"truncated client": func(v url.Values) { v.Set("client_id", v.Get("client_id")[:20]) },
	} {
		res := s.Browser().Get(c.AuthorizeURL(change))
		if res.Status != http.StatusBadRequest && res.Status != http.StatusUnauthorized || res.Header.Get("Location") != "" {
			t.Errorf("%s: status %d, Location %q", name, res.Status, res.Header.Get("Location"))
		}
		if !strings.Contains(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: not a page", name)
		}
	}
	// Case 26: the port of a loopback redirect is free.
	res := s.Browser().Get(c.AuthorizeURL(func(v url.Values) { v.Set("redirect_uri", "http://127.0.0.1:50000/callback") }))
	wantStatus(t, res, http.StatusSeeOther)
	if !strings.HasPrefix(res.Header.Get("Location"), "/login?") {
		t.Errorf("Location %q", res.Header.Get("Location"))
	}
}

func TestCase028to036_ErrorsGoBackWithStateAndIss(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for name, test := range map[string]struct {
		change func(url.Values)
		code   string
	}{
		"no challenge":      {func(v url.Values) { v.Del("code_challenge") }, "invalid_request"},
		"plain":             {func(v url.Values) { v.Set("code_challenge_method", "plain") }, "invalid_request"},
		"short challenge":   {func(v url.Values) { v.Set("code_challenge", "abc") }, "invalid_request"},
		"no response type":  {func(v url.Values) { v.Del("response_type") }, "invalid_request"},
		"token":             {func(v url.Values) { v.Set("response_type", "token") }, "unsupported_response_type"},
		"foreign resource":  {func(v url.Values) { v.Set("resource", "https://elsewhere.example/mcp") }, "invalid_target"},
		"two resources":     {func(v url.Values) { v.Add("resource", s.URL+"/mgmt/api/v1/teams/shop/mcp") }, "invalid_target"},
		"request object":    {func(v url.Values) { v.Set("request", "x.y.z") }, "request_not_supported"},
		"scope twice":       {func(v url.Values) { v["scope"] = []string{"a", "b"} }, "invalid_request"},
		"prompt none":       {func(v url.Values) { v.Set("prompt", "none") }, "login_required"},
		"prompt none login": {func(v url.Values) { v.Set("prompt", "none login") }, "invalid_request"},
		"fragment mode":     {func(v url.Values) { v.Set("response_mode", "fragment") }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			q := wantRedirectError(t, s, s.Browser().Get(c.AuthorizeURL(test.change)), test.code)
			if q.Get("state") != "some state" {
				t.Errorf("state = %q", q.Get("state"))
			}
		})
	}
}

func TestCase033_StateComesBackExactly(t *testing.T) {
	s := newServer(t)
	for _, state := range []string{"vscode://vscode.git/did-authenticate?a=b&c=d", "a+b=/ %20&x#y", "Ünïcödé ☃", strings.Repeat("x", 4000)} {
		c := s.Register()
		b := s.Browser()
		back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL(func(v url.Values) { v.Set("state", state) })), "shop")
		if got := back.Query().Get("state"); got != state {
			t.Errorf("state %q came back as %q", state, got)
		}
		if back.Query().Get("iss") != s.URL {
			t.Error("no iss beside the code")
		}
	}
}

func TestCase034_PromptLoginAsksAgain(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	c.Consent(b, "ada@example.com", c.AuthorizeURL())
	if res := b.Get(c.AuthorizeURL()); res.Status != http.StatusOK {
		t.Fatalf("signed in, yet status %d", res.Status)
	}
	again := b.Get(c.AuthorizeURL(func(v url.Values) { v.Set("prompt", "login") }))
	wantStatus(t, again, http.StatusSeeOther)
	if res := b.Get(again.Header.Get("Location")); res.Status != http.StatusOK || !strings.Contains(res.Body, "Password") {
		t.Fatalf("no sign-in page: status %d", res.Status)
	}
	page := b.SignIn(again.Header.Get("Location"), "ada@example.com")
	wantStatus(t, page, http.StatusOK)
	if !strings.Contains(page.Body, "Allow access") {
		t.Error("no consent page after the demanded sign-in")
	}
	wantRedirectError(t, s, b.Get(c.AuthorizeURL(func(v url.Values) { v.Set("prompt", "none") })), "consent_required")
}

func TestCase038_OpeningThePageChangesNothing(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	target := c.AuthorizeURL()
	c.Consent(b, "ada@example.com", target)
	for range 10 {
		wantStatus(t, b.Get(target), http.StatusOK)
	}
	clients, err := s.Admin.Authority.Store.Clients(t.Context())
	s.Must(err)
	if len(clients) != 0 {
		t.Errorf("%d clients stored before any consent", len(clients))
	}
}

func TestCase039_Consent(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	form := testkit.ConsentForm(page.Body, "shop")

	other := s.Browser()
	other.SignIn("/login", "bob@example.com")
	wantStatus(t, other.Post("/consent", form), http.StatusForbidden)
	wantStatus(t, s.Browser().Post("/consent", form), http.StatusForbidden)
	tampered := url.Values{"step": {form.Get("step") + "A"}, "team": {"shop"}, "decision": {"allow"}}
	wantStatus(t, b.Post("/consent", tampered), http.StatusBadRequest)
	wantStatus(t, b.Get("/consent"), http.StatusMethodNotAllowed)
	// Case 42: a team that the person is not in.
	s.AddTeam("foreign")
	wantStatus(t, b.Post("/consent", url.Values{"step": form["step"], "team": {"foreign"}, "decision": {"allow"}}), http.StatusForbidden)
	wantStatus(t, b.Post("/consent", url.Values{"step": form["step"], "decision": {"allow"}}), http.StatusBadRequest)

	first := b.Post("/consent", form)
	second := b.Post("/consent", form)
	wantStatus(t, second, http.StatusSeeOther)
	if first.Header.Get("Location") != second.Header.Get("Location") {
		t.Error("a double click got another redirect")
	}
}

func TestCase092_CrossSiteConsentIsRefused(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	// The browser is the person's, with their session: only the page that the
	// form comes from is foreign.
	form := testkit.ConsentForm(page.Body, "shop")
	wantStatus(t, b.Post("/consent", form, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), http.StatusForbidden)
	wantStatus(t, b.Post("/consent", form), http.StatusSeeOther)
}

func TestCase040_ConsentPageHeaders(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	page := c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL())
	csp := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "form-action") {
		t.Errorf("CSP: %s", csp)
	}
	if page.Header.Get("Referrer-Policy") != "no-referrer" || page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", page.Header)
	}
}

func TestCase042_TeamResourceFixesTheTeam(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	c.Resource = s.URL + "/mgmt/api/v1/teams/bank/mcp"
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	if strings.Contains(page.Body, `value="shop"`) {
		t.Error("another team can be chosen")
	}
	wantStatus(t, b.Post("/consent", testkit.ConsentForm(page.Body, "shop")), http.StatusForbidden)
	back := c.Allow(b, page, "bank")
	wantStatus(t, c.Redeem(back.Query().Get("code")), http.StatusOK)
}

func TestCase043_Deny(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	res := b.Post("/consent", url.Values{"step": {testkit.ConsentStep(page.Body)}, "decision": {"deny"}})
	wantRedirectError(t, s, res, "access_denied")
}

func TestCase044_RemovedBetweenPageAndPost(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	form := testkit.ConsentForm(page.Body, "shop")
	s.Must(s.Admin.Directory.RemoveMember(t.Context(), "shop", "ada@example.com", shell))
	wantStatus(t, b.Post("/consent", form), http.StatusForbidden)
	_, err := s.Admin.Directory.Disable(t.Context(), "ada@example.com", shell)
	s.Must(err)
	wantStatus(t, b.Post("/consent", form), http.StatusForbidden)
}

func TestPersonWithoutATeamLearnsWhomToAsk(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	page := c.Consent(s.Browser(), "bob@example.com", c.AuthorizeURL())
	if strings.Contains(page.Body, "Allow access</button>") || !strings.Contains(page.Body, "owner@example.com") {
		t.Errorf("page for somebody without a team:\n%s", page.Body)
	}
}

func TestCase047_TwoTabs(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	first := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	firstVerifier := c.Verifier
	second := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	backTwo := c.Allow(b, second, "bank")
	wantStatus(t, c.Redeem(backTwo.Query().Get("code")), http.StatusOK)
	backOne := c.Allow(b, first, "shop")
	c.Verifier = firstVerifier
	wantStatus(t, c.Redeem(backOne.Query().Get("code")), http.StatusOK)
}

func TestCase045_HostileClientName(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"<script>alert(1)</script>\u202eevil` + strings.Repeat("x", 9000) + `","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"none"}`)
	page := c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL())
	if strings.Contains(page.Body, "<script>") || strings.Contains(page.Body, "\u202e") || strings.Contains(page.Body, strings.Repeat("x", 300)) {
		t.Error("the client's name was not made safe")
	}
}
