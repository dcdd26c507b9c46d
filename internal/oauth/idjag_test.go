package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/testkit"
)

const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// provider is an identity provider with one key.
type provider struct {
	t   *testing.T
	url string
	key *ecdsa.PrivateKey
	// fail makes it answer with an error; asked counts the requests for keys.
	fail  atomic.Bool
	asked atomic.Int64
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.asked.Add(1); p.fail.Load() {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// sign makes an assertion; of the claims, nil ones are left out.
func (p *provider) sign(key any, alg jose.SignatureAlgorithm, typ string, claims map[string]any) string {
	p.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// enterprise is a server that trusts a provider, with a confidential client.
func enterprise(t *testing.T) (*testkit.Server, *provider, *testkit.Client) {
	t.Helper()
	s, p := newServer(t), newProvider(t)
	_, err := s.Admin.Authority.AddIssuer(t.Context(), grant.Issuer{URL: p.url, JWKSURI: p.url + "/keys"}, audit.System())
	s.Must(err)
	reg, secret, err := s.Admin.Authority.RegisterClient(t.Context(), "Enterprise client", []string{testkit.DefaultRedirect}, true, audit.System())
	s.Must(err)
	c := s.Register()
	c.ID, c.Secret = string(reg.ID), secret
	return s, p, c
}

func (p *provider) claims(s *testkit.Server, c *testkit.Client, change map[string]any) map[string]any {
	now := s.Clock.Now()
	m := map[string]any{
		"iss": p.url, "sub": "U1", "aud": s.URL, "client_id": c.ID, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"email": "ada@example.com", "resource": s.URL + "/mgmt/api/v1/teams/shop/mcp", "scope": "logs:read",
	}
	maps.Copy(m, change)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func present(c *testkit.Client, assertion string, more ...string) testkit.Response {
	form := url.Values{"grant_type": {grantJWTBearer}, "assertion": {assertion}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return c.Token(form)
}

func TestCase063_AssertionTaken(t *testing.T) {
	s, p, c := enterprise(t)
	res := present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil)))
	wantStatus(t, res, http.StatusOK)
	if res.Member("refresh_token") != "" || res.Member("scope") != "logs:read" || res.Member("token_type") != "Bearer" {
		t.Errorf("answer: %s", res.Body)
	}
	c.Resource, c.Access = s.URL+"/mgmt/api/v1/teams/shop/mcp", res.Member("access_token")
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	// The next one continues the grant.
	id := c.Grant()
	c.Access = present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))).Member("access_token")
	if c.Grant() != id {
		t.Error("a second assertion began a second grant")
	}
	// It is a normal grant: a change of the person's standing ends it.
	s.Must(s.Admin.Directory.RemoveMember(t.Context(), "shop", "ada@example.com", audit.System()))
	s.Eventually(time.Second, "the token is refused", func() bool { return c.Call("tools/list", "").Status == http.StatusUnauthorized })
	wantOAuthError(t, present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))), 400, "invalid_grant")
	events(t, s, audit.AssertionTaken, 2)
	events(t, s, audit.AssertionRefused, 1)
}

func TestCase063_AssertionRefused(t *testing.T) {
	s, p, c := enterprise(t)
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.Must(err)
	s.AddPerson("gone@example.com", false)
	s.SetMember("shop", "gone@example.com", "viewer")
	_, err = s.Admin.Directory.Disable(t.Context(), "gone@example.com", audit.System())
	s.Must(err)
	now := s.Clock.Now()
	for name, k := range map[string]struct {
		change map[string]any
		code   string
	}{
		"untrusted issuer":   {map[string]any{"iss": "https://evil.example"}, "invalid_grant"},
		"wrong audience":     {map[string]any{"aud": "https://other.example"}, "invalid_grant"},
		"two audiences":      {map[string]any{"aud": []string{s.URL, "https://other.example"}}, "invalid_grant"},
		"no audience":        {map[string]any{"aud": nil}, "invalid_grant"},
		"foreign resource":   {map[string]any{"resource": "https://other.example/mcp"}, "invalid_target"},
		"two resources":      {map[string]any{"resource": []string{s.URL, s.URL + "/mgmt/api/v1/mcp"}}, "invalid_target"},
		"several teams":      {map[string]any{"resource": nil}, "invalid_target"},
		"not her team":       {map[string]any{"resource": s.URL + "/mgmt/api/v1/teams/other/mcp"}, "invalid_grant"},
		"expired":            {map[string]any{"exp": now.Add(-time.Minute).Unix()}, "invalid_grant"},
		"no exp":             {map[string]any{"exp": nil}, "invalid_grant"},
		"far future":         {map[string]any{"exp": now.Add(3 * time.Hour).Unix()}, "invalid_grant"},
		"issued later":       {map[string]any{"iat": now.Add(5 * time.Minute).Unix()}, "invalid_grant"},
		"no iat":             {map[string]any{"iat": nil}, "invalid_grant"},
		"not yet":            {map[string]any{"nbf": now.Add(5 * time.Minute).Unix()}, "invalid_grant"},
		"no jti":             {map[string]any{"jti": nil}, "invalid_grant"},
		"no sub":             {map[string]any{"sub": nil}, "invalid_grant"},
		"other client":       {map[string]any{"client_id": "reg_other"}, "invalid_grant"},
		"no client":          {map[string]any{"client_id": nil}, "invalid_grant"},
		"unknown person":     {map[string]any{"email": "nobody@example.com"}, "invalid_grant"},
		"disabled person":    {map[string]any{"email": "gone@example.com"}, "invalid_grant"},
		"unverified address": {map[string]any{"email_verified": false}, "invalid_grant"},
		"no address":         {map[string]any{"email": nil}, "invalid_grant"},
		"no scope of ours":   {map[string]any{"scope": "chat.read"}, "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			wantOAuthError(t, present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, k.change))), 400, k.code)
		})
	}
	for name, assertion := range map[string]string{
		"wrong type":    p.sign(p.key, jose.ES256, "JWT", p.claims(s, c, nil)),
		"foreign key":   p.sign(foreign, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil)),
		"shared secret": p.sign([]byte(strings.Repeat("k", 32)), jose.HS256, "oauth-id-jag+jwt", p.claims(s, c, nil)),
		"no JWT":        "x.y.z",
	} {
		t.Run(name, func(t *testing.T) { wantOAuthError(t, present(c, assertion), 400, "invalid_grant") })
	}
	good := p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))
	wantOAuthError(t, present(c, good, "resource", s.URL+"/mgmt/api/v1/teams/bank/mcp"), 400, "invalid_target")
	wantOAuthError(t, present(c, good, "scope", "metrics:read"), 400, "invalid_scope")
	public := s.Register()
	wantOAuthError(t, present(public, good), 400, "unauthorized_client")
	// Nothing was used up by all that; then it is, once.
	wantStatus(t, present(c, good), http.StatusOK)
	wantOAuthError(t, present(c, good), 400, "invalid_grant")
	// The trust can end.
	s.Must(s.Admin.Authority.RemoveIssuer(t.Context(), p.url, audit.System()))
	wantOAuthError(t, present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))), 400, "invalid_grant")
}

// A provider that cannot be read says nothing about an assertion: the client
// is asked to come again, and the audit says why it was in vain.
func TestCase063_ProviderThatFails(t *testing.T) {
	s, p, c := enterprise(t)
	p.fail.Store(true)
	good := p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))
	for range 3 { // asked once, and no less honest until it is asked again
		res := present(c, good)
		wantOAuthError(t, res, 503, "temporarily_unavailable")
		if res.Header.Get("Retry-After") == "" || strings.Contains(res.Body, "418") {
			t.Errorf("%v %s", res.Header, res.Body)
		}
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	for _, e := range events(t, s, audit.AssertionRefused, 3) {
		if e.Target != p.url || !strings.Contains(e.Detail, "status 418") {
			t.Errorf("audit: %+v", e)
		}
	}
	p.fail.Store(false)
	s.Clock.Advance(31 * time.Second)
	wantStatus(t, present(c, good), http.StatusOK)
	// Its keys are good for a day without it.
	p.fail.Store(true)
	s.Clock.Advance(23 * time.Hour)
	wantStatus(t, present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))), http.StatusOK)
	s.Clock.Advance(2 * time.Hour)
	wantOAuthError(t, present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, nil))), 503, "temporarily_unavailable")
}

func TestCase063_BareResourceWithOneTeam(t *testing.T) {
	s, p, c := enterprise(t)
	s.Must(s.Admin.Directory.RemoveMember(t.Context(), "bank", "ada@example.com", audit.System()))
	res := present(c, p.sign(p.key, jose.ES256, "oauth-id-jag+jwt", p.claims(s, c, map[string]any{"resource": nil})))
	wantStatus(t, res, http.StatusOK)
}

func TestIDTokenRS256(t *testing.T) {
	s := newServer(t)
	header := func(c *testkit.Client) string {
		b := s.Browser()
		back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL(func(v url.Values) { v.Set("scope", "openid logs:read") })), "shop")
		res := c.Redeem(back.Query().Get("code"))
		wantStatus(t, res, http.StatusOK)
		var set jose.JSONWebKeySet
		s.Must(s.Do(http.MethodGet, "/oauth/jwks", "").JSON(&set))
		parsed, err := jwt.ParseSigned(res.Member("id_token"), []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
		s.Must(err)
		var claims map[string]any
		s.Must(parsed.Claims(set.Key(parsed.Headers[0].KeyID)[0], &claims))
		access, err := jwt.ParseSigned(res.Member("access_token"), []jose.SignatureAlgorithm{jose.ES256})
		s.Must(err)
		s.Must(access.Claims(set.Key(access.Headers[0].KeyID)[0], &claims))
		return parsed.Headers[0].Algorithm
	}
	if alg := header(s.Register()); alg != "ES256" {
		t.Errorf("default: %s", alg)
	}
	rs := s.Register(`{"client_name":"Old","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"none","id_token_signed_response_alg":"RS256"}`)
	if alg := header(rs); alg != "RS256" {
		t.Errorf("registered RS256: %s", alg)
	}
	// A key made from the shell is published in the running server at once.
	before := s.Do(http.MethodGet, "/oauth/jwks", "").Body
	made, err := s.Admin.Authority.Keys.RotateNow(t.Context(), false, audit.System())
	s.Must(err)
	if len(made) != 2 {
		t.Errorf("made %+v", made)
	}
	s.Eventually(time.Second, "the key set has the new keys", func() bool {
		res := s.Do(http.MethodGet, "/oauth/jwks", "")
		return len(res.Body) > len(before) && strings.Contains(res.Body, made[0].ID) && res.Header.Get("Cache-Control") == "public, max-age=300, must-revalidate"
	})
}
