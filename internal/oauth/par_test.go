package oauth_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
)

// push sends a client's authorization request to the pushed request endpoint.
func push(s *testkit.Server, c *testkit.Client, change ...func(url.Values)) testkit.Response {
	u, err := url.Parse(c.AuthorizeURL())
	s.Must(err)
	v := u.Query()
	if c.Secret != "" {
		v.Set("client_secret", c.Secret)
	}
	for _, ch := range change {
		ch(v)
	}
	return s.Do(http.MethodPost, "/oauth/par", v.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// pushedURL is what the client opens after a push.
func pushedURL(t *testing.T, c *testkit.Client, res testkit.Response, extra ...string) string {
	t.Helper()
	wantStatus(t, res, http.StatusCreated)
	v := url.Values{"client_id": {c.ID}, "request_uri": {res.Member("request_uri")}}
	set(extra...)(v)
	return "/oauth/authorize?" + v.Encode()
}

func TestCase035_PushedRequest(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]*testkit.Client{
		"public":       s.Register(),
		"confidential": s.Register(`{"client_name":"x","redirect_uris":["` + testkit.DefaultRedirect + `"]}`),
		"registered":   s.AddClient("Portal", true, testkit.DefaultRedirect),
	} {
		t.Run(name, func(t *testing.T) {
			res := push(s, c, set("state", "pushed state", "scope", "logs:read"))
			var answer struct {
				RequestURI string `json:"request_uri"`
				ExpiresIn  int    `json:"expires_in"`
			}
			s.Must(json.Unmarshal([]byte(res.Body), &answer))
			if !strings.HasPrefix(answer.RequestURI, "urn:ietf:params:oauth:request_uri:") || answer.ExpiresIn != 90 || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("answer: %+v, %v", answer, res.Header)
			}
			b := s.Browser()
			// RFC 9126 §4: what stands beside it counts for nothing.
			at := pushedURL(t, c, res, "state", "other", "scope", "alerts:write", "redirect_uri", "https://evil.example/", "prompt", "none", "response_type", "token")
			page := c.Consent(b, "ada@example.com", at)
			if strings.Contains(page.Body, "Change alerts") {
				t.Error("the scope beside the pushed request was taken")
			}
			back := c.Allow(b, page, "shop")
			if q := back.Query(); q.Get("state") != "pushed state" || !strings.HasPrefix(back.String(), testkit.DefaultRedirect+"?") {
				t.Errorf("redirected to %s", back)
			}
			wantStatus(t, c.Redeem(back.Query().Get("code")), http.StatusOK)
		})
	}
}

// TestCase035_PushedRequestGivesOneCode: RFC 9126 §4 wants request URIs to be
// used once, and a reload to work.
func TestCase035_PushedRequestGivesOneCode(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	at := pushedURL(t, c, push(s, c))
	b := s.Browser()
	first := c.Consent(b, "ada@example.com", at)
	second := c.Consent(b, "ada@example.com", at)
	one, two := c.Allow(b, first, "shop"), c.Allow(b, second, "bank")
	if one.String() != two.String() {
		t.Errorf("two codes for one pushed request: %s and %s", one, two)
	}
	s.Clock.Advance(61 * time.Second)
	wantStatus(t, b.Post("/consent", testkit.ConsentForm(first.Body, "shop")), http.StatusConflict)
	other := s.Browser()
	s.SetMember("shop", "bob@example.com", "viewer")
	page := c.Consent(other, "bob@example.com", at)
	wantStatus(t, other.Post("/consent", testkit.ConsentForm(page.Body, "shop")), http.StatusConflict)
}

func TestCase035_PushedRequestOfAnotherClientOrTooOld(t *testing.T) {
	s := newServer(t)
	c, other := s.Register(), s.Register()
	res := push(s, c)
	good := res.Member("request_uri")
	for name, test := range map[string]struct{ client, uri string }{
		"another client": {other.ID, good},
		"tampered":       {c.ID, good[:len(good)-2] + "AA"},
		"cut":            {c.ID, good[:60]},
		"empty":          {c.ID, "urn:ietf:params:oauth:request_uri:"},
		"unknown":        {c.ID, "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"},
		"too long":       {c.ID, "urn:ietf:params:oauth:request_uri:" + strings.Repeat("A", 5000)},
	} {
		res := s.Browser().Get("/oauth/authorize?" + url.Values{"client_id": {test.client}, "request_uri": {test.uri}}.Encode())
		if res.Status != http.StatusBadRequest || res.Header.Get("Location") != "" {
			t.Errorf("%s: status %d, Location %q", name, res.Status, res.Header.Get("Location"))
		}
	}
	// A page that was opened in time may take longer.
	b := s.Browser()
	signIn := wantSignIn(t, b.Get(pushedURL(t, c, res)))
	s.Clock.Advance(91 * time.Second)
	expired := s.Browser().Get(pushedURL(t, c, res))
	wantStatus(t, expired, http.StatusBadRequest)
	if !strings.Contains(expired.Body, "invalid_request_uri") {
		t.Errorf("page:\n%s", expired.Body)
	}
	page := b.SignIn(signIn, "ada@example.com")
	wantConsentPage(t, page)
	wantStatus(t, c.Redeem(c.Allow(b, page, "shop").Query().Get("code")), http.StatusOK)
}

func TestRFC9126_2_3_Errors(t *testing.T) {
	s := newServer(t)
	public := s.Register()
	secret := s.AddClient("Portal", true, testkit.DefaultRedirect)
	for name, test := range map[string]struct {
		client *testkit.Client
		change func(url.Values)
		status int
		code   string
	}{
		"wrong secret":     {secret, set("client_secret", "x"), 401, "invalid_client"},
		"no secret":        {secret, func(v url.Values) { v.Del("client_secret") }, 401, "invalid_client"},
		"unknown client":   {public, set("client_id", "c1.x.y"), 401, "invalid_client"},
		"request_uri":      {public, set("request_uri", "urn:ietf:params:oauth:request_uri:x"), 400, "invalid_request"},
		"other redirect":   {public, set("redirect_uri", "https://evil.example/"), 400, "invalid_request"},
		"no challenge":     {public, func(v url.Values) { v.Del("code_challenge") }, 400, "invalid_request"},
		"token":            {public, set("response_type", "token"), 400, "unsupported_response_type"},
		"foreign resource": {public, set("resource", "https://elsewhere.example/"), 400, "invalid_target"},
		"request object":   {public, set("request", "a.b.c"), 400, "request_not_supported"},
		"fragment":         {public, set("response_mode", "fragment"), 400, "invalid_request"},
		"scope twice":      {public, func(v url.Values) { v["scope"] = []string{"a", "b"} }, 400, "invalid_request"},
		"malformed claims": {public, set("claims", "{"), 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { wantOAuthError(t, push(s, test.client, test.change), test.status, test.code) })
	}
	wantStatus(t, s.Do(http.MethodGet, "/oauth/par", ""), http.StatusMethodNotAllowed)
	wantOAuthError(t, s.Do(http.MethodPost, "/oauth/par", "{}", "Content-Type", "application/json"), http.StatusUnsupportedMediaType, "invalid_request")
}

// TestPushedRequestsStayShort: the longest URL that we have a client open
// stays below what proxies take.
func TestPushedRequestsStayShort(t *testing.T) {
	s := newServer(t)
	random := func(n int) string {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	c := s.Register(`{"client_name":"x","redirect_uris":["https://a.example/` + random(480) + `","https://a.example/` + random(480) + `","https://a.example/` + random(480) + `"],"token_endpoint_auth_method":"none"}`)
	res := push(s, c, set("state", random(2500)))
	if at := s.URL + pushedURL(t, c, res); len(at) > 8<<10 {
		t.Errorf("the URL is %d bytes long", len(at))
	}
	wantSignIn(t, s.Browser().Get(pushedURL(t, c, res)))
	wantOAuthError(t, push(s, c, set("state", random(3050), "claims", `{"userinfo":{"`+random(1500)+`":null}}`)), http.StatusRequestEntityTooLarge, "invalid_request")
}

// TestCase005_MetadataOfTheBrowserPart: metadata tells of what works.
func TestCase005_MetadataOfTheBrowserPart(t *testing.T) {
	s := newServer(t)
	var m struct {
		PAR    string   `json:"pushed_authorization_request_endpoint"`
		Logout string   `json:"end_session_endpoint"`
		Modes  []string `json:"response_modes_supported"`
		Claims bool     `json:"claims_parameter_supported"`
		URI    bool     `json:"request_uri_parameter_supported"`
		Must   bool     `json:"require_pushed_authorization_requests"`
	}
	s.Must(s.Do(http.MethodGet, "/.well-known/openid-configuration", "").JSON(&m))
	if m.PAR != s.URL+"/oauth/par" || m.Logout != s.URL+"/oauth/logout" || strings.Join(m.Modes, " ") != "query form_post" || !m.Claims || m.URI || m.Must {
		t.Errorf("metadata: %+v", m)
	}
}
