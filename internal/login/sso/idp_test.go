package sso_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.MainWithoutEngine(m) }

const (
	issuer       = "https://idp.example"
	clientID     = "oriel"
	clientSecret = "a secret of the provider's making"
)

// idp is an OpenID Connect provider whose every answer a test can bend.
type idp struct {
	*testkit.Server
	web       *testkit.Web
	discovery string

	mu   sync.Mutex // guards all below
	keys []jose.JSONWebKey
	// published is how many of keys are in the key set.
	published int
	codes     map[string]asked
	// claims are put into the next ID tokens, userinfo into that answer.
	claims, userinfo map[string]any
	// sign replaces how ID tokens are signed.
	sign func(payload []byte) string
}

// asked is an authorization request.
type asked struct{ challenge, nonce string }

// start starts a server with the provider "okta" for example.com, a team
// shop, an owner with a password at another domain, and ada.
func start(t *testing.T, change ...func(*sso.NewProvider)) *idp {
	t.Helper()
	w := testkit.NewWeb(t)
	p := &idp{Server: testkit.StartOn(t, w.Network), web: w, codes: make(map[string]asked)}
	p.addKey()
	p.claims = map[string]any{"sub": "00u1", "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace"}
	p.discovery = `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/authorize","token_endpoint":"` + issuer + `/token",
		"jwks_uri":"` + issuer + `/jwks","userinfo_endpoint":"` + issuer + `/userinfo","end_session_endpoint":"` + issuer + `/logout","authorization_response_iss_parameter_supported":true}`
	w.JSON(issuer+"/.well-known/openid-configuration", p.discovery)
	w.Handle(issuer+"/jwks", p.jwks)
	w.Handle(issuer+"/token", p.token)
	w.Handle(issuer+"/userinfo", func(rw http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(p.userinfo)
	})
	p.AddPerson("owner@elsewhere.example", true)
	p.AddPerson("ada@example.com", false)
	p.AddTeam("shop")
	p.provide(change...)
	return p
}

// provide adds the provider, in the place of any before it.
func (p *idp) provide(change ...func(*sso.NewProvider)) {
	p.TB.Helper()
	if _, err := p.Admin.Providers.Remove(p.TB.Context(), "okta", audit.Shell("test")); err != nil && !errors.Is(err, sso.ErrNotFound) {
		p.TB.Fatal(err)
	}
	n := sso.NewProvider{Slug: "okta", Name: "Okta", Domains: []string{"example.com"}, ClientSecret: sso.Secret(clientSecret)}
	n.Settings.Issuer, n.Settings.ClientID = issuer, clientID
	for _, c := range change {
		c(&n)
	}
	_, err := p.Admin.Providers.AddOIDC(p.TB.Context(), n, audit.Shell("test"))
	p.Must(err)
}

func createAccounts(n *sso.NewProvider) { n.Settings.CreateAccounts = true }

// addKey rotates the signing key.
func (p *idp) addKey() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.Must(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: "ES256", Use: "sig"})
	p.published = len(p.keys)
}

func (p *idp) jwks(rw http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range p.keys[:p.published] {
		set.Keys = append(set.Keys, k.Public())
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(set)
}

// jws signs a payload with the newest key.
func (p *idp) jws(typ string, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	p.Must(err)
	o := &jose.SignerOptions{}
	if typ != "" {
		o.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.keys[len(p.keys)-1]}, o)
	p.Must(err)
	out, err := signer.Sign(payload)
	p.Must(err)
	text, err := out.CompactSerialize()
	p.Must(err)
	return text
}

func (p *idp) token(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, secret, _ := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	rw.Header().Set("Content-Type", "application/json")
	a, ok := p.codes[r.FormValue("code")]
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || user != clientID || secret != clientSecret || base64.RawURLEncoding.EncodeToString(sum[:]) != a.challenge ||
		r.FormValue("redirect_uri") != p.URL+"/login/sso/okta/callback" {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	delete(p.codes, r.FormValue("code"))
	now := p.Clock.Now()
	claims := map[string]any{"iss": issuer, "aud": clientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "nonce": a.nonce}
	for k, v := range p.claims {
		if v == nil {
			delete(claims, k)
			continue
		}
		claims[k] = v
	}
	id := ""
	if p.sign != nil {
		payload, err := json.Marshal(claims)
		p.Must(err)
		id = p.sign(payload)
	} else {
		id = p.jws("JWT", claims)
	}
	_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": id})
}

// begin starts a sign-in in a browser and returns the request that reached
// the provider.
func (p *idp) begin(b *testkit.Browser, at string) url.Values {
	p.TB.Helper()
	res := b.Get(at)
	to, err := url.Parse(res.Header.Get("Location"))
	p.Must(err)
	if res.Status != http.StatusSeeOther || !strings.HasPrefix(to.String(), issuer+"/authorize?") {
		p.TB.Fatalf("begin: status %d, to %q\n%s", res.Status, to, res.Body)
	}
	return to.Query()
}

// answer is what the provider sends back for a request.
func (p *idp) answer(q url.Values) url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code] = asked{q.Get("code_challenge"), q.Get("nonce")}
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {issuer}}
}

const callback = "/login/sso/okta/callback?"

// signIn takes somebody all the way, from an address that leads to the
// provider.
func (p *idp) signIn(b *testkit.Browser, at string) testkit.Response {
	p.TB.Helper()
	return b.Get(callback + p.answer(p.begin(b, at)).Encode())
}

// set changes what the next ID tokens say.
func (p *idp) set(name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims[name] = value
}

// arrive signs somebody in and fails the test if they are not let in.
func (p *idp) arrive(b *testkit.Browser) {
	p.TB.Helper()
	if res := p.signIn(b, "/login/sso/okta"); res.Status != http.StatusSeeOther || res.Header.Get("Location") != "/" {
		p.TB.Fatalf("arrive: status %d, to %q\n%s", res.Status, res.Header.Get("Location"), res.Body)
	}
}

// connect lets a client in with the person at a browser, who signs in through
// the provider.
func (p *idp) connect(c *testkit.Client, b *testkit.Browser, team string, change ...func(url.Values)) *testkit.Client {
	p.TB.Helper()
	page := b.Get(c.AuthorizeURL(change...))
	if page.Status == http.StatusSeeOther {
		step := strings.TrimPrefix(page.Header.Get("Location"), "/login")
		res := p.signIn(b, "/login/sso/okta"+step)
		if res.Status != http.StatusSeeOther {
			p.TB.Fatalf("sign in: status %d\n%s", res.Status, res.Body)
		}
		page = b.Get(res.Header.Get("Location"))
	}
	if page.Status != http.StatusOK {
		p.TB.Fatalf("consent: status %d, to %q\n%s", page.Status, page.Header.Get("Location"), page.Body)
	}
	back := c.Allow(b, page, team)
	if res := c.Redeem(back.Query().Get("code")); res.Status != http.StatusOK {
		p.TB.Fatalf("redeem: status %d\n%s", res.Status, res.Body)
	}
	return c
}

// events lists the audit events of a kind.
func (p *idp) events(kind audit.Kind) []audit.Entry {
	p.TB.Helper()
	all, err := p.Admin.Events(p.TB.Context(), audit.Filter{Kind: kind})
	p.Must(err)
	return all
}
