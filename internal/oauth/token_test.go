package oauth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/testkit"
)

var shell = audit.Shell("test")

const formType = "application/x-www-form-urlencoded"

func TestCase049_TokenRequestForm(t *testing.T) {
	s := newServer(t)
	if res := s.Do(http.MethodGet, "/oauth/token", ""); res.Status != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
		t.Errorf("GET: status %d", res.Status)
	}
	wantOAuthError(t, s.PostJSON("/oauth/token", `{}`), 415, "invalid_request")
	// Parameters in the query are not read.
	res := s.Do(http.MethodPost, "/oauth/token?grant_type=refresh_token&client_id=x", "", "Content-Type", formType)
	wantOAuthError(t, res, 401, "invalid_client")
	res = s.Do(http.MethodOptions, "/oauth/token", "", "Origin", "https://inspector.example", "Access-Control-Request-Method", "POST")
	if res.Status != http.StatusNoContent || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: status %d, %v", res.Status, res.Header)
	}
}

func TestCase050_CodeForTokens(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL(func(v url.Values) { v.Set("scope", "openid logs:read unknown") })), "shop")
	res := c.Redeem(back.Query().Get("code"))
	wantStatus(t, res, http.StatusOK)
	var body struct {
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
		Scope   string `json:"scope"`
		IDToken string `json:"id_token"`
	}
	s.Must(res.JSON(&body))
	if body.Type != "Bearer" || body.Expires <= 0 || body.Expires > 3600 || body.Scope != "logs:read openid" || body.IDToken == "" {
		t.Errorf("answer: %s", res.Body)
	}
	if res.Header.Get("Cache-Control") != "no-store" || strings.Contains(res.Body, "null") {
		t.Errorf("headers %v, body %s", res.Header, res.Body)
	}
}

func TestCase051_WrongVerifierThenRight(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	code := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop").Query().Get("code")
	right := c.Verifier
	c.Verifier = strings.Repeat("x", 43)
	wantOAuthError(t, c.Redeem(code), 400, "invalid_grant")
	c.Verifier = right
	c.Resource = "https://elsewhere.example/mcp"
	wantOAuthError(t, c.Redeem(code), 400, "invalid_target")
	c.Resource = s.URL + "/" // our origin alone says nothing
	wantStatus(t, c.Redeem(code), http.StatusOK)
}

func TestCase056_UnknownClientsAndWrongSecrets(t *testing.T) {
	s := newServer(t)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("c1.unknown:secret"))
	res := s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", formType, "Authorization", basic)
	wantOAuthError(t, res, 401, "invalid_client")
	if !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic") {
		t.Errorf("WWW-Authenticate: %q", res.Header.Get("WWW-Authenticate"))
	}
	form.Set("client_id", "c1.unknown")
	res = s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", formType)
	wantOAuthError(t, res, 401, "invalid_client")
	if res.Header.Get("WWW-Authenticate") != "" {
		t.Error("a Basic challenge for a client that did not use Basic")
	}
	confidential := s.Register(`{"client_name":"C","redirect_uris":["` + testkit.DefaultRedirect + `"]}`)
	confidential.Connect("ada@example.com", "shop")
	refresh, secret := confidential.Refresh, confidential.Secret
	confidential.Secret = "wrong"
	wantOAuthError(t, confidential.Renew(refresh), 401, "invalid_client")
	confidential.Secret = ""
	wantOAuthError(t, confidential.Renew(refresh), 401, "invalid_client")
	confidential.Secret = secret
	wantStatus(t, confidential.Renew(refresh), http.StatusOK)
	for _, user := range []string{confidential.ID, url.QueryEscape(confidential.ID)} {
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {confidential.Refresh}}
		res := s.Do(http.MethodPost, "/token", form.Encode(), "Content-Type", formType, "Authorization", basic)
		wantStatus(t, res, http.StatusOK)
	}
}

func TestCase059_Grants(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	wantOAuthError(t, c.Token(url.Values{"grant_type": {"password"}, "username": {"a"}, "password": {"b"}}), 400, "unsupported_grant_type")
	wantOAuthError(t, c.Token(url.Values{"grant_type": {"client_credentials"}}), 400, "unauthorized_client")
	wantOAuthError(t, c.Token(url.Values{}), 400, "invalid_request")
	wantOAuthError(t, c.Token(url.Values{"grant_type": {"refresh_token", "refresh_token"}, "refresh_token": {"x"}}), 400, "invalid_request")
}

func TestCase066to071_Refresh(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	first := c.Refresh
	wantStatus(t, c.Renew(first), http.StatusOK)
	if c.Refresh == first || c.Refresh == "" {
		t.Error("the refresh token did not rotate")
	}
	for name, resource := range map[string]string{"none": "", "slash": c.Resource + "/", "origin": s.URL, "origin slash": s.URL + "/"} {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}}
		if resource != "" {
			form.Set("resource", resource)
		}
		if res := c.Token(form); res.Status != http.StatusOK {
			t.Errorf("resource %s: status %d %s", name, res.Status, res.Body)
		}
	}
	wantOAuthError(t, c.Token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}, "scope": {"alerts:write"}}), 400, "invalid_scope")
	wantOAuthError(t, c.Renew("orl_rt_nonsense"), 400, "invalid_grant")
	other := s.Register()
	wantOAuthError(t, other.Renew(c.Refresh), 400, "invalid_grant")
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
}

func TestCase013_RegistrationsSurviveARestart(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	s.Restart()
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	c.Connect("ada@example.com", "bank")
}

func TestCase087_RevocationEndpoint(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	other := s.Register()
	revoke := func(by *testkit.Client, token string) testkit.Response {
		return s.Do(http.MethodPost, "/oauth/revoke", url.Values{"token": {token}, "client_id": {by.ID}, "token_type_hint": {"something"}}.Encode(), "Content-Type", formType)
	}
	wantStatus(t, revoke(other, c.Refresh), http.StatusOK)
	wantStatus(t, revoke(c, "unknown"), http.StatusOK)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	wantStatus(t, revoke(c, c.Access), http.StatusOK)
	wantOAuthError(t, c.Renew(c.Refresh), 400, "invalid_grant")
}

func TestCase024_BlockedIntegration(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	clients, err := s.Admin.Authority.Store.Clients(t.Context())
	s.Must(err)
	_, err = s.Admin.Authority.BlockClient(t.Context(), clients[0].Key(), true, shell)
	s.Must(err)
	wantOAuthError(t, c.Renew(c.Refresh), 401, "invalid_client")
	// Registering anew does not help: the product is blocked.
	res := s.Browser().Get(s.Register().AuthorizeURL())
	wantStatus(t, res, http.StatusForbidden)
	if !strings.Contains(res.Body, "blocked") {
		t.Error("the page does not say why")
	}
}

func TestUserInfo(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop", func(v url.Values) { v.Set("scope", "openid email logs:read") })
	res := s.Do(http.MethodGet, "/oauth/userinfo", "", "Authorization", "Bearer "+c.Access)
	wantStatus(t, res, http.StatusOK)
	if res.Member("email") != "ada@example.com" || res.Member("sub") == "" || res.Member("name") != "" {
		t.Errorf("userinfo: %s", res.Body)
	}
	res = s.Do(http.MethodGet, "/oauth/userinfo", "", "Authorization", "Bearer nonsense")
	wantOAuthError(t, res, 401, "invalid_token")
	if !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate: %q", res.Header.Get("WWW-Authenticate"))
	}
	c = s.Register().Connect("ada@example.com", "shop", func(v url.Values) { v.Set("scope", "logs:read") })
	wantOAuthError(t, s.Do(http.MethodGet, "/oauth/userinfo", "", "Authorization", "Bearer "+c.Access), 403, "insufficient_scope")
}

func TestCase100_NoSecretInTheLogs(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	first := c.Refresh
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	for name, secret := range map[string]string{
		"access token": c.Access, "refresh token": c.Refresh, "first refresh token": first, "verifier": c.Verifier, "password": testkit.Password,
	} {
		if strings.Contains(s.Log(), secret) {
			t.Errorf("the log holds the %s", name)
		}
	}
}
