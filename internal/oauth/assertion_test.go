package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/testkit"
)

// signer is a client's private key.
type signer struct {
	kid string
	alg jose.SignatureAlgorithm
	key crypto.Signer
}

func newSigner(t *testing.T, kid string, alg jose.SignatureAlgorithm) signer {
	t.Helper()
	var (
		key crypto.Signer
		err error
	)
	switch alg {
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{kid, alg, key}
}

func (k signer) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.key}, (&jose.SignerOptions{}).WithHeader("kid", k.kid))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keySet(t *testing.T, keys ...signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.key.Public(), KeyID: k.kid, Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// claims are what a good assertion says.
func claims(s *testkit.Server, id string) map[string]any {
	now := s.Clock.Now().Unix()
	return map[string]any{"iss": id, "sub": id, "aud": s.URL, "jti": rand.Text(), "iat": now, "exp": now + 60}
}

// asserted sends a token request with an assertion.
func asserted(s *testkit.Server, assertion string, form url.Values) testkit.Response {
	form.Set("client_assertion", assertion)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	return s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", formType)
}

const jwksURL = "https://keys.example/jwks.json"

func keyDocument(id, keys string) string {
	return fmt.Sprintf(`{"client_id":%q,"client_name":"Keyed","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"private_key_jwt",%s}`, id, keys)
}

// connected is a document client with keys that somebody connected.
func connected(t *testing.T, k signer) (*testkit.Server, *testkit.Web, *testkit.Client) {
	t.Helper()
	s, w := newWebServer(t)
	w.JSON(jwksURL, keySet(t, k))
	w.JSON(documentURL, keyDocument(documentURL, `"jwks_uri":"`+jwksURL+`"`))
	c := s.Known(documentURL, documentRedirect)
	b := s.Browser()
	code := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop").Query().Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.Redirect}, "code_verifier": {c.Verifier}}
	// Case 23: the client does not authenticate, or with something else.
	wantOAuthError(t, c.Redeem(code), 401, "invalid_client")
	c.Secret = "secret"
	wantOAuthError(t, c.Redeem(code), 401, "invalid_client")
	c.Secret = ""
	res := asserted(s, k.sign(t, claims(s, c.ID)), form)
	wantStatus(t, res, http.StatusOK)
	c.Refresh = res.Member("refresh_token")
	return s, w, c
}

func refreshForm(c *testkit.Client) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}}
}

func TestCase058_AssertionsThatAreRefused(t *testing.T) {
	k := newSigner(t, "one", jose.ES256)
	s, w, c := connected(t, k)
	now := s.Clock.Now().Unix()
	for name, change := range map[string]func(map[string]any){
		"aud of another server":     func(m map[string]any) { m["aud"] = "https://other.example" },
		"aud of another server too": func(m map[string]any) { m["aud"] = []string{s.URL, "https://other.example"} },
		"aud is the resource":       func(m map[string]any) { m["aud"] = s.URL + "/mgmt/api/v1/mcp" },
		"no aud":                    func(m map[string]any) { delete(m, "aud") },
		"expired":                   func(m map[string]any) { m["exp"] = now - 60 },
		"no exp":                    func(m map[string]any) { delete(m, "exp") },
		"far ahead":                 func(m map[string]any) { m["exp"] = now + 3600 },
		"iat in the future":         func(m map[string]any) { m["iat"] = now + 300 },
		"iat long ago":              func(m map[string]any) { m["iat"] = now - 3600 },
		"nbf in the future":         func(m map[string]any) { m["nbf"] = now + 300 },
		"iss of another":            func(m map[string]any) { m["iss"] = "https://other.example/c.json" },
		"sub of another":            func(m map[string]any) { m["sub"] = "https://other.example/c.json" },
		"no sub":                    func(m map[string]any) { delete(m, "sub") },
		"no jti":                    func(m map[string]any) { delete(m, "jti") },
		"huge jti":                  func(m map[string]any) { m["jti"] = strings.Repeat("x", 257) },
		"iss and sub are no client": func(m map[string]any) { m["iss"], m["sub"] = "nobody", "nobody" },
	} {
		m := claims(s, c.ID)
		change(m)
		res := asserted(s, k.sign(t, m), refreshForm(c))
		if res.Status != http.StatusUnauthorized || res.Member("error") != "invalid_client" {
			t.Errorf("%s: status %d\n%s", name, res.Status, res.Body)
		}
	}
	// Another client_id beside it.
	form := refreshForm(c)
	form.Set("client_id", "https://other.example/c.json")
	wantOAuthError(t, asserted(s, k.sign(t, claims(s, c.ID)), form), 401, "invalid_client")

	// Signatures.
	stranger := newSigner(t, "one", jose.ES256)
	wantOAuthError(t, asserted(s, stranger.sign(t, claims(s, c.ID)), refreshForm(c)), 401, "invalid_client")
	payload, err := json.Marshal(claims(s, c.ID))
	s.Must(err)
	enc := base64.RawURLEncoding.EncodeToString
	none := enc([]byte(`{"alg":"none"}`)) + "." + enc(payload) + "."
	wantOAuthError(t, asserted(s, none, refreshForm(c)), 401, "invalid_client")
	hs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(keySet(t, k))}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	s.Must(err)
	symmetric, err := jwt.Signed(hs).Claims(claims(s, c.ID)).Serialize()
	s.Must(err)
	wantOAuthError(t, asserted(s, symmetric, refreshForm(c)), 401, "invalid_client")
	// A key that the assertion brings along counts for nothing.
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger.key}, &jose.SignerOptions{EmbedJWK: true})
	s.Must(err)
	own, err := jwt.Signed(embedded).Claims(claims(s, c.ID)).Serialize()
	s.Must(err)
	wantOAuthError(t, asserted(s, own, refreshForm(c)), 401, "invalid_client")
	// A key of another client.
	other := "https://other.example/c.json"
	w.JSON(other, keyDocument(other, `"jwks":`+keySet(t, stranger)))
	wantOAuthError(t, asserted(s, k.sign(t, claims(s, other)), refreshForm(c)), 401, "invalid_client")
	// Its own key, but not its token.
	wantOAuthError(t, asserted(s, stranger.sign(t, claims(s, other)), refreshForm(c)), 400, "invalid_grant")

	// A good one works, once.
	good := k.sign(t, claims(s, c.ID))
	res := asserted(s, good, refreshForm(c))
	wantStatus(t, res, http.StatusOK)
	c.Refresh = res.Member("refresh_token")
	wantOAuthError(t, asserted(s, good, refreshForm(c)), 401, "invalid_client")
	m := claims(s, c.ID)
	m["aud"] = []string{s.URL + "/oauth/token", s.URL}
	res = asserted(s, k.sign(t, m), refreshForm(c))
	wantStatus(t, res, http.StatusOK)
	// Nor does the signature matter where a secret comes along.
	form = refreshForm(c)
	form.Set("client_id", c.ID)
	form.Set("client_secret", "x")
	wantOAuthError(t, asserted(s, k.sign(t, claims(s, c.ID)), form), 400, "invalid_request")
}

func TestRFC7523_3_Algorithms(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256} {
		t.Run(string(alg), func(t *testing.T) {
			k := newSigner(t, "k", alg)
			s, w := newWebServer(t)
			w.JSON(documentURL, keyDocument(documentURL, `"jwks":`+keySet(t, k)))
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
			// Authenticated: it is the token that is wrong.
			wantOAuthError(t, asserted(s, k.sign(t, claims(s, documentURL)), form), 400, "invalid_grant")
		})
	}
	t.Run("short RSA key", func(t *testing.T) {
		short, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		k := signer{"k", jose.RS256, short}
		s, w := newWebServer(t)
		w.JSON(documentURL, keyDocument(documentURL, `"jwks":`+keySet(t, k)))
		wantOAuthError(t, asserted(s, k.sign(t, claims(s, documentURL)), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}), 401, "invalid_client")
	})
}

// Keys that rotate are fetched again, but not for every kid that somebody
// makes up.
func TestKeysRotate(t *testing.T) {
	first := newSigner(t, "first", jose.ES256)
	s, w, c := connected(t, first)
	second := newSigner(t, "second", jose.ES256)
	w.JSON(jwksURL, keySet(t, second))
	for range 5 {
		wantOAuthError(t, asserted(s, second.sign(t, claims(s, c.ID)), refreshForm(c)), 401, "invalid_client")
	}
	if n := w.Hits(jwksURL); n != 1 {
		t.Errorf("keys were fetched %d times within seconds", n)
	}
	s.Clock.Advance(31 * time.Second)
	res := asserted(s, second.sign(t, claims(s, c.ID)), refreshForm(c))
	wantStatus(t, res, http.StatusOK)
	c.Refresh = res.Member("refresh_token")
	wantOAuthError(t, asserted(s, first.sign(t, claims(s, c.ID)), refreshForm(c)), 401, "invalid_client")
	// The keys' host fails: the client is told to come again, not that it is
	// unknown.
	w.Handle(jwksURL, nil)
	s.Clock.Advance(30 * time.Hour)
	wantOAuthError(t, asserted(s, second.sign(t, claims(s, c.ID)), refreshForm(c)), 503, "temporarily_unavailable")
}

func TestSelfRegisteredClientWithKeys(t *testing.T) {
	k := newSigner(t, "k", jose.ES256)
	s, _ := newWebServer(t)
	c := s.Register(`{"client_name":"K","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"private_key_jwt","jwks":` + keySet(t, k) + `}`)
	if c.Secret != "" {
		t.Error("the client got a secret")
	}
	wantOAuthError(t, c.Renew("x"), 401, "invalid_client")
	wantOAuthError(t, asserted(s, k.sign(t, claims(s, c.ID)), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}), 400, "invalid_grant")
}

// ChatGPT's document prefers keys and lists none as well.
func TestCase023_DocumentThatListsNoneToo(t *testing.T) {
	k := newSigner(t, "k", jose.RS256)
	s, w := newWebServer(t)
	w.JSON(documentURL, keyDocument(documentURL, `"jwks":`+keySet(t, k)+`,"token_endpoint_auth_methods_supported":["private_key_jwt","none"]`))
	c := s.Known(documentURL, documentRedirect).Connect("ada@example.com", "shop")
	wantStatus(t, asserted(s, k.sign(t, claims(s, c.ID)), refreshForm(c)), http.StatusOK)
}
