package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/testkit"
)

// wantPage checks that something is shown and nothing redirected.
func wantPage(t *testing.T, name string, res testkit.Response, status int) {
	t.Helper()
	if res.Status != status || res.Header.Get("Location") != "" || !strings.Contains(res.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s: status %d, Location %q, %s", name, res.Status, res.Header.Get("Location"), res.Header.Get("Content-Type"))
	}
}

func TestCase026_RedirectsMatchExactly(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"x","redirect_uris":["http://localhost/cb","http://127.0.0.1:1/cb","https://a.example/cb?x=1"],"token_endpoint_auth_method":"none"}`)
	for redirect, good := range map[string]bool{
		"http://localhost/cb": true, "http://localhost:50000/cb": true, "http://127.0.0.1:2/cb": true, "http://127.0.0.1/cb": true,
		"https://a.example/cb?x=1": true,
		"http://[::1]/cb":          false, "http://localhost/cb/": false, "http://localhost/CB": false, "http://localhost/cb?x": false,
		"https://a.example/cb": false, "https://a.example:8443/cb?x=1": false, "https://A.example/cb?x=1": false, "https://a.example/cb?x=1&y": false,
		"http://localhost.evil.example/cb": false, "http://localhost@evil.example/cb": false, "https://localhost/cb": false,
	} {
		res := s.Browser().Get(c.AuthorizeURL(set("redirect_uri", redirect)))
		if good {
			wantSignIn(t, res)
			continue
		}
		wantPage(t, redirect, res, http.StatusBadRequest)
	}
}

func TestCase027_AbsentRedirect(t *testing.T) {
	s := newServer(t)
	absent := func(v url.Values) { v.Del("redirect_uri") }
	one := s.Register()
	b := s.Browser()
	back := one.Allow(b, one.Consent(b, "ada@example.com", one.AuthorizeURL(absent)), "shop")
	if !strings.HasPrefix(back.String(), testkit.DefaultRedirect+"?") {
		t.Errorf("redirected to %s", back)
	}
	several := s.Register(`{"client_name":"x","redirect_uris":["` + testkit.DefaultRedirect + `","https://a.example/"],"token_endpoint_auth_method":"none"}`)
	wantPage(t, "several", s.Browser().Get(several.AuthorizeURL(absent)), http.StatusBadRequest)
}

func TestCase029_ResponseTypes(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for typ, code := range map[string]string{
		"": "invalid_request", "token": "unsupported_response_type", "id_token": "unsupported_response_type",
		"code token": "unsupported_response_type", "code id_token": "unsupported_response_type", "none": "unsupported_response_type", "CODE": "unsupported_response_type",
	} {
		wantRedirectError(t, s, s.Browser().Get(c.AuthorizeURL(set("response_type", typ))), code)
	}
}

func TestCase030_NothingTwice(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	u, err := url.Parse(c.AuthorizeURL(set("scope", "logs:read", "prompt", "consent", "nonce", "n", "max_age", "9", "login_hint", "x", "claims", "{}", "unknown", "x")))
	s.Must(err)
	for name, values := range u.Query() {
		again := u.Query()
		again[name] = append(again[name], values[0])
		res := s.Browser().Get(u.Path + "?" + again.Encode())
		switch name {
		case "client_id", "redirect_uri":
			wantPage(t, name, res, http.StatusBadRequest)
		case "resource":
			wantRedirectError(t, s, res, "invalid_target")
		case "state":
			// Which of the two is meant nobody knows: none goes back.
			if q := wantRedirectError(t, s, res, "invalid_request"); q.Has("state") {
				t.Errorf("state came back as %q", q["state"])
			}
		default:
			wantRedirectError(t, s, res, "invalid_request")
		}
	}
}

func TestCase031_Resources(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	bare, team := s.URL+"/mgmt/api/v1/mcp", s.URL+"/mgmt/api/v1/teams/shop/mcp"
	for asked, want := range map[string]string{
		"": bare, bare: bare, bare + "/": bare, s.URL: bare, s.URL + "/": bare, team: team, team + "/": team,
		"https://elsewhere.example/mgmt/api/v1/mcp": "", s.URL + "/elsewhere": "", bare + "?x": "", s.URL + "/mgmt/api/v1/teams/Shop!/mcp": "",
	} {
		b := s.Browser()
		at := c.AuthorizeURL(func(v url.Values) {
			if v.Set("resource", asked); asked == "" {
				v.Del("resource")
			}
		})
		if want == "" {
			wantRedirectError(t, s, b.Get(at), "invalid_target")
			continue
		}
		c.Resource = want
		wantStatus(t, c.Redeem(c.Allow(b, c.Consent(b, "ada@example.com", at), "shop").Query().Get("code")), http.StatusOK)
		if aud := claimsOf(t, c.Access)["aud"]; aud != want {
			t.Errorf("%q: token for %v, want %s", asked, aud, want)
		}
	}
	// A team that the person is not in, or that does not exist, gives nothing.
	for _, slug := range []string{"nowhere", "foreign"} {
		if slug == "foreign" {
			s.AddTeam(slug)
		}
		page := c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL(set("resource", s.URL+"/mgmt/api/v1/teams/"+slug+"/mcp")))
		if strings.Contains(page.Body, "Allow access</button>") || !strings.Contains(page.Body, "You are not a member of the team that it asks for.") {
			t.Errorf("team %s:\n%s", slug, page.Body)
		}
	}
}

func TestCase032_Scopes(t *testing.T) {
	s := newServer(t)
	for asked, want := range map[string]string{
		"":                          "logs:read traces:read metrics:read alerts:read",
		"admin everything":          "logs:read traces:read metrics:read alerts:read",
		"logs:read admin logs:read": "logs:read",
		"openid profile email":      "logs:read traces:read metrics:read alerts:read openid profile email",
		"offline_access logs:read openid unknown": "logs:read openid offline_access",
	} {
		c := s.Register()
		b := s.Browser()
		back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL(set("scope", asked))), "shop")
		if got := redeem(t, c, back.String()); got != want {
			t.Errorf("%q: granted %q, want %q", asked, got, want)
		}
	}
}

func TestCase038_HeadChangesNothing(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	for range 10 {
		wantStatus(t, b.Head(c.AuthorizeURL()), http.StatusOK)
		wantStatus(t, b.Get(c.AuthorizeURL(), "Sec-Purpose", "prefetch"), http.StatusOK)
	}
	if n := len(grants(t, s, c)); n != 0 {
		t.Errorf("%d grants", n)
	}
}

// TestAuthorizeByPost: OpenID Connect Core §3.1.2.1 wants POST to work; our
// cookies do not come along from another site, so it goes on as a GET.
func TestAuthorizeByPost(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	u, err := url.Parse(c.AuthorizeURL(set("state", "a b&c")))
	s.Must(err)
	res := s.Do(http.MethodPost, "/oauth/authorize", u.RawQuery, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site")
	wantStatus(t, res, http.StatusSeeOther)
	b := s.Browser()
	back := c.Allow(b, c.Consent(b, "ada@example.com", res.Header.Get("Location")), "shop")
	if back.Query().Get("state") != "a b&c" {
		t.Errorf("redirected to %s", back)
	}
}
