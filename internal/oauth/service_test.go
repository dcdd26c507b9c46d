package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
)

// addService registers a client that acts by itself.
func addService(t *testing.T, s *testkit.Server, team string, roles ...string) *testkit.Client {
	t.Helper()
	p, err := s.Admin.Directory.AddService(t.Context(), "Nightly report", team, roles, shell)
	s.Must(err)
	client, secret, err := s.Admin.Authority.RegisterService(t.Context(), p, nil, shell)
	s.Must(err)
	c := s.Register()
	c.ID, c.Secret, c.Resource = string(client.ID), secret, s.URL+"/mgmt/api/v1/teams/"+team+"/mcp"
	return c
}

func clientCredentials(c *testkit.Client, change ...string) testkit.Response {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i+1 < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	res := c.Token(form)
	c.Access = res.Member("access_token")
	return res
}

func TestCase065_ClientCredentials(t *testing.T) {
	s := newServer(t)
	c := addService(t, s, "shop", "viewer")

	public := s.Register()
	wantOAuthError(t, clientCredentials(public), 400, "unauthorized_client")
	confidential := s.Register(`{"redirect_uris":["` + testkit.DefaultRedirect + `"]}`)
	wantOAuthError(t, clientCredentials(confidential), 400, "unauthorized_client")

	res := clientCredentials(c)
	wantStatus(t, res, http.StatusOK)
	if res.Member("refresh_token") != "" || res.Member("scope") != "logs:read traces:read metrics:read alerts:read" {
		t.Errorf("answer: %s", res.Body)
	}
	if who := c.Call("tools/call", `{"name":"whoami","arguments":{}}`); who.Status != 200 || !strings.Contains(who.Body, "Nightly report") || !strings.Contains(who.Body, "roles: viewer") {
		t.Errorf("whoami: %d %s", who.Status, who.Body)
	}
	// All tokens hang on one grant, which is a connection like any other.
	first := c.Grant()
	wantStatus(t, clientCredentials(c), http.StatusOK)
	s.Clock.Advance(2 * time.Hour)
	wantStatus(t, clientCredentials(c, "scope", "logs:read"), http.StatusOK)
	if c.Grant() != first {
		t.Error("a second grant was made")
	}

	// Nothing beyond the role, the team and the secret.
	wantOAuthError(t, clientCredentials(c, "scope", "alerts:write"), 400, "invalid_scope")
	wantOAuthError(t, clientCredentials(c, "resource", s.URL+"/mgmt/api/v1/teams/bank/mcp"), 400, "invalid_target")
	wantStatus(t, clientCredentials(c, "resource", s.URL+mcpPath), http.StatusOK)
	if res := s.MCP(s.URL+"/mgmt/api/v1/teams/shop/mcp", c.Access, "tools/list", ""); res.Status != http.StatusUnauthorized {
		t.Errorf("a token for the bare resource at the team's: %d", res.Status)
	}
	right := c.Secret
	c.Secret = "wrong"
	wantOAuthError(t, clientCredentials(c), 401, "invalid_client")
	c.Secret = right

	// The live decision holds for programs as for people.
	people, err := s.Admin.Directory.People(t.Context())
	s.Must(err)
	var email string
	for _, p := range people {
		if p.Service {
			email = p.Email
		}
	}
	wantStatus(t, clientCredentials(c), http.StatusOK)
	s.Must(s.Admin.Directory.RemoveMember(t.Context(), "shop", email, shell))
	s.Eventually(time.Second, "the call is refused", func() bool { return c.Call("tools/list", "").Status == http.StatusUnauthorized })
	wantOAuthError(t, clientCredentials(c), 400, "invalid_grant")
	s.SetMember("shop", email, "viewer")
	wantStatus(t, clientCredentials(c), http.StatusOK)
	_, err = s.Admin.Directory.Disable(t.Context(), email, shell)
	s.Must(err)
	wantOAuthError(t, clientCredentials(c), 400, "invalid_grant")
	// Nobody can sign in with such an account.
	page := s.Browser().Post("/login", url.Values{"email": {email}, "password": {testkit.Password}})
	if page.Status == http.StatusSeeOther {
		t.Error("a program signed in")
	}
}

func TestCase064_TokenExchange(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop", set("scope", "openid logs:read metrics:read"))
	exchange := func(by *testkit.Client, token string, change ...string) testkit.Response {
		form := url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		}
		for i := 0; i+1 < len(change); i += 2 {
			form.Set(change[i], change[i+1])
		}
		return by.Token(form)
	}
	res := exchange(c, c.Access, "scope", "logs:read")
	wantStatus(t, res, http.StatusOK)
	narrow := res.Member("access_token")
	if res.Member("scope") != "logs:read" || res.Member("refresh_token") != "" || res.Member("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
		t.Errorf("answer: %s", res.Body)
	}
	wantStatus(t, s.MCP(c.Resource, narrow, "tools/list", ""), http.StatusOK)

	// Never more, never for others, never longer.
	wantOAuthError(t, exchange(c, c.Access, "scope", "logs:read traces:read"), 400, "invalid_scope")
	wantOAuthError(t, exchange(c, narrow, "scope", "metrics:read"), 400, "invalid_scope")
	wantOAuthError(t, exchange(c, c.Access, "resource", s.URL+"/mgmt/api/v1/teams/bank/mcp"), 400, "invalid_target")
	wantOAuthError(t, exchange(c, c.Access, "audience", "somebody"), 400, "invalid_target")
	wantOAuthError(t, exchange(s.Register(), c.Access), 400, "invalid_request")
	wantOAuthError(t, exchange(c, c.Refresh), 400, "invalid_request")
	wantOAuthError(t, exchange(c, c.Access, "subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, "invalid_request")
	wantOAuthError(t, exchange(c, c.Access, "actor_token", "x", "actor_token_type", "urn:ietf:params:oauth:token-type:jwt"), 400, "invalid_request")
	wide, err := s.Admin.Authority.Keys.VerifyAccess(tokenOf(c.Access), s.URL)
	s.Must(err)
	claims, err := s.Admin.Authority.Keys.VerifyAccess(tokenOf(narrow), s.URL)
	s.Must(err)
	if claims.ExpiresAt > wide.ExpiresAt || claims.Team != wide.Team || claims.Grant != wide.Grant || claims.Actor == nil || claims.Actor.Subject != claims.ClientID {
		t.Errorf("claims %+v of %+v", claims, wide)
	}

	// It ends with its grant.
	s.Must(s.Admin.Authority.EndGrant(t.Context(), c.Grant(), "revoked", shell))
	s.Eventually(time.Second, "the narrow token is refused", func() bool { return s.MCP(c.Resource, narrow, "tools/list", "").Status == 401 })
	wantOAuthError(t, exchange(c, narrow), 400, "invalid_request")
}

func TestCase088_Introspection(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"C","redirect_uris":["`+testkit.DefaultRedirect+`"]}`).Connect("ada@example.com", "shop")
	public := s.Register().Connect("ada@example.com", "shop")
	ask := func(by *testkit.Client, token string) testkit.Response {
		form := url.Values{"token": {token}, "client_id": {by.ID}, "token_type_hint": {"something"}}
		if by.Secret != "" {
			form.Set("client_secret", by.Secret)
		}
		return s.Do(http.MethodPost, "/oauth/introspect", form.Encode(), "Content-Type", formType)
	}
	const dead = `{"active":false}` + "\n"

	wantOAuthError(t, ask(public, public.Access), 401, "invalid_client")
	wrong := *c
	wrong.Secret = "wrong"
	wantOAuthError(t, ask(&wrong, c.Access), 401, "invalid_client")
	wantOAuthError(t, ask(c, ""), 400, "invalid_request")

	var answer struct {
		Active   bool
		Scope    string
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
		Expires  int64  `json:"exp"`
		ClientID string `json:"client_id"`
	}
	s.Must(ask(c, c.Access).JSON(&answer))
	if !answer.Active || answer.Scope == "" || answer.Subject == "" || answer.Audience != c.Resource || answer.Issuer != s.URL || answer.Expires == 0 || answer.ClientID != c.ID {
		t.Errorf("access token: %+v", answer)
	}
	if res := ask(c, c.Refresh); !strings.Contains(res.Body, `"active":true`) {
		t.Errorf("refresh token: %s", res.Body)
	}
	for name, token := range map[string]string{"another client's": public.Access, "another client's refresh": public.Refresh, "rubbish": "rubbish"} {
		if res := ask(c, token); res.Status != http.StatusOK || res.Body != dead {
			t.Errorf("%s: %d %s", name, res.Status, res.Body)
		}
	}
	// An old refresh token counts as long as it would be answered.
	old := c.Refresh
	wantStatus(t, c.Renew(old), http.StatusOK)
	if res := ask(c, old); !strings.Contains(res.Body, `"active":true`) {
		t.Errorf("inside the window: %s", res.Body)
	}
	s.Clock.Advance(11 * time.Minute)
	if res := ask(c, old); res.Body != dead {
		t.Errorf("after the window: %s", res.Body)
	}
	// Asking consumes nothing and ends nothing.
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)

	_, err := s.Admin.Directory.Disable(t.Context(), "ada@example.com", shell)
	s.Must(err)
	s.Eventually(time.Second, "both are dead", func() bool { return ask(c, c.Access).Body == dead && ask(c, c.Refresh).Body == dead })
}
