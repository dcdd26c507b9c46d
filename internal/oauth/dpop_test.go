package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/testkit"
)

// holder is a client's key, and the nonce that it was given last.
type holder struct {
	s      *testkit.Server
	signer jose.Signer
	jkt    string
	nonce  string
}

func newHolder(t *testing.T, s *testkit.Server) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.Must(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	s.Must(err)
	public := jose.JSONWebKey{Key: &key.PublicKey}
	sum, err := public.Thumbprint(crypto.SHA256)
	s.Must(err)
	return &holder{s: s, signer: signer, jkt: base64.RawURLEncoding.EncodeToString(sum)}
}

// proof signs a proof; change may alter its claims.
func (h *holder) proof(method, target, token string, change ...func(map[string]any)) string {
	h.s.TB.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": h.s.Clock.Now().Unix()}
	if h.nonce != "" {
		claims["nonce"] = h.nonce
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for _, c := range change {
		c(claims)
	}
	text, err := jwt.Signed(h.signer).Claims(claims).Serialize()
	h.s.Must(err)
	return text
}

// token sends a token request with a proof, again where a nonce is asked for.
func (h *holder) token(c *testkit.Client, form url.Values) testkit.Response {
	h.s.TB.Helper()
	form.Set("client_id", c.ID)
	for {
		res := h.s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", formType, "DPoP", h.proof("POST", h.s.URL+"/oauth/token", ""))
		asked := res.Member("error") == "use_dpop_nonce" && res.Header.Get("DPoP-Nonce") != h.nonce
		h.nonce = res.Header.Get("DPoP-Nonce")
		if !asked {
			return res
		}
	}
}

// call sends tools/list with a header for the token.
func (h *holder) call(scheme, token, proof string) testkit.Response {
	h.s.TB.Helper()
	header := []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Authorization", scheme + " " + token}
	if proof != "" {
		header = append(header, "DPoP", proof)
	}
	return h.s.Do(http.MethodPost, mcpPath, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`, header...)
}

func TestCase084_DPoP(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	h, thief := newHolder(t, s), newHolder(t, s)
	b := s.Browser()
	back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL(set("dpop_jkt", h.jkt))), "shop")
	redeem := url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "code_verifier": {c.Verifier}}

	// RFC 9449 §10: the code is bound to the key that was announced.
	wantOAuthError(t, c.Token(redeem), 400, "invalid_grant")
	wantOAuthError(t, thief.token(c, redeem), 400, "invalid_grant")
	res := h.token(c, redeem)
	wantStatus(t, res, http.StatusOK)
	if res.Member("token_type") != "DPoP" {
		t.Errorf("answer: %s", res.Body)
	}
	access, refresh := res.Member("access_token"), res.Member("refresh_token")
	thief.nonce = h.nonce

	good := func() string { return h.proof("POST", s.URL+mcpPath, access) }
	wantStatus(t, h.call("DPoP", access, good()), http.StatusOK)

	replayed := good()
	wantStatus(t, h.call("DPoP", access, replayed), http.StatusOK)
	change := func(name string, v any) string {
		return h.proof("POST", s.URL+mcpPath, access, func(c map[string]any) { c[name] = v })
	}
	for name, res := range map[string]testkit.Response{
		"as a bearer token":      h.call("Bearer", access, ""),
		"bearer with a proof":    h.call("Bearer", access, good()),
		"without a proof":        h.call("DPoP", access, ""),
		"another key":            h.call("DPoP", access, thief.proof("POST", s.URL+mcpPath, access)),
		"another method":         h.call("DPoP", access, change("htm", "GET")),
		"another address":        h.call("DPoP", access, change("htu", s.URL+"/oauth/token")),
		"another token":          h.call("DPoP", access, h.proof("POST", s.URL+mcpPath, "another")),
		"without the token":      h.call("DPoP", access, h.proof("POST", s.URL+mcpPath, "")),
		"stale":                  h.call("DPoP", access, change("iat", s.Clock.Now().Add(-time.Hour).Unix())),
		"replayed":               h.call("DPoP", access, replayed),
		"without a nonce":        h.call("DPoP", access, h.proof("POST", s.URL+mcpPath, access, func(c map[string]any) { delete(c, "nonce") })),
		"with a nonce of nobody": h.call("DPoP", access, change("nonce", "x")),
	} {
		challenge := res.Header.Get("WWW-Authenticate")
		if res.Status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `algs="ES256`) ||
			!strings.Contains(challenge, "resource_metadata=") || res.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: %d, challenge %q", name, res.Status, challenge)
		}
		if strings.Contains(name, "nonce") && !strings.Contains(challenge, `error="use_dpop_nonce"`) {
			t.Errorf("%s: challenge %q", name, challenge)
		}
	}

	// A public client's refresh token is bound as well (RFC 9449 §5), and what
	// is refused consumes nothing.
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	wantOAuthError(t, c.Token(form), 400, "invalid_grant")
	wantOAuthError(t, thief.token(c, form), 400, "invalid_grant")
	res = h.token(c, form)
	wantStatus(t, res, http.StatusOK)
	if res.Member("token_type") != "DPoP" {
		t.Errorf("refresh: %s", res.Body)
	}

	// A bearer token stays one, and is none of DPoP's.
	bearer := s.Register().Connect("ada@example.com", "shop")
	wantStatus(t, bearer.Call("tools/list", ""), http.StatusOK)
	if res := h.call("DPoP", bearer.Access, h.proof("POST", s.URL+mcpPath, bearer.Access)); res.Status != http.StatusUnauthorized {
		t.Errorf("a bearer token with the scheme DPoP: %d", res.Status)
	}
	res = s.Do(http.MethodPost, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {bearer.Refresh}, "client_id": {bearer.ID}}.Encode(),
		"Content-Type", formType, "DPoP", "rubbish")
	wantOAuthError(t, res, 400, "invalid_dpop_proof")
	wantStatus(t, bearer.Renew(bearer.Refresh), http.StatusOK)
}
