package oauth_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

// codeOf computes what an app with a secret shows (RFC 6238 §4).
func codeOf(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:])&0x7fffffff%1_000_000)
}

// land follows redirects until there is a page, or one leaves the server.
func land(b *testkit.Browser, res testkit.Response) testkit.Response {
	for res.Status == http.StatusSeeOther && strings.HasPrefix(res.Header.Get("Location"), "/") {
		res = b.Get(res.Header.Get("Location"))
	}
	return res
}

func linkOn(t *testing.T, page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(`href="(` + pattern + `[^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no link to %s on\n%s", pattern, page)
	}
	return html.UnescapeString(m[1])
}

// enrolApp goes through the pages from the choice of a factor and returns the
// app's secret and the page that follows.
func enrolApp(t *testing.T, s *testkit.Server, b *testkit.Browser, choice testkit.Response) (secret string, next testkit.Response) {
	t.Helper()
	page := b.Get(linkOn(t, choice.Body, `/login/enrol\?kind=totp`))
	secret = regexp.MustCompile(`<code class="copy key">([^<]*)</code>`).FindStringSubmatch(page.Body)[1]
	codes := b.Post("/login/enrol", url.Values{
		"step": {testkit.Field(page.Body, "step")}, "kind": {"totp"}, "enrolment": {testkit.Field(page.Body, "enrolment")},
		"code": {codeOf(t, secret, s.Clock.Now())},
	})
	wantStatus(t, codes, http.StatusOK)
	return secret, land(b, b.Get(linkOn(t, codes.Body, "/login/second")))
}

func setMFA(s *testkit.Server, slug string, m org.MFA) {
	s.TB.Helper()
	s.Must(s.Admin.Directory.SetMFA(s.TB.Context(), slug, m, audit.Shell("test")))
}

// TestMFA_RaisedPolicyRefusesUntilSteppedUp: "a refresh or a call for a team
// that demands more than the sign-in had fails until they step up", within a
// second and from another process; lowered again, everything works as before.
func TestMFA_RaisedPolicyRefusesUntilSteppedUp(t *testing.T) {
	s := newServer(t)
	shop, bank := s.Register().Connect("ada@example.com", "shop"), s.Register().Connect("ada@example.com", "bank")
	wantStatus(t, shop.Call("ping", ""), http.StatusOK)
	refresh := shop.Refresh

	setMFA(s, "shop", org.MFARequired)
	var refused testkit.Response
	s.Eventually(time.Second, "the call is refused", func() bool {
		refused = shop.Call("ping", "")
		return refused.Status == http.StatusUnauthorized
	})
	challenge := refused.Header.Get("WWW-Authenticate")
	for _, part := range []string{`error="invalid_token"`, "second factor", "resource_metadata="} {
		if !strings.Contains(challenge, part) {
			t.Errorf("challenge without %s: %s", part, challenge)
		}
	}
	res := shop.Renew(refresh)
	wantOAuthError(t, res, http.StatusBadRequest, "invalid_grant")
	if !strings.Contains(res.Member("error_description"), "second factor") {
		t.Error(res.Body)
	}
	wantStatus(t, bank.Call("ping", ""), http.StatusOK)
	wantStatus(t, bank.Renew(bank.Refresh), http.StatusOK)

	setMFA(s, "shop", org.MFAOptional)
	s.Eventually(time.Second, "the call works again", func() bool { return shop.Call("ping", "").Status == http.StatusOK })
	wantStatus(t, shop.Renew(refresh), http.StatusOK) // it was refused, not consumed

	// Connecting again leads to what is missing, and back.
	setMFA(s, "shop", org.MFARequired)
	b := s.Browser()
	page := shop.Consent(b, "ada@example.com", shop.AuthorizeURL(set("scope", "openid logs:read", "nonce", "n-1")))
	if n := strings.Count(page.Body, "This team demands a second factor."); n != 1 {
		t.Errorf("%d teams say that they demand more:\n%s", n, page.Body)
	}
	choice := land(b, b.Post("/consent", testkit.ConsentForm(page.Body, "shop")))
	if !strings.Contains(choice.Body, "Set up a second factor") {
		t.Fatalf("allowed, it leads to %d\n%s", choice.Status, choice.Body)
	}
	secret, consent := enrolApp(t, s, b, choice)
	wantConsentPage(t, consent)
	if strings.Contains(consent.Body, "demands a second factor") {
		t.Error("the team still demands more")
	}
	before := shop.Access
	wantStatus(t, shop.Redeem(shop.Allow(b, consent, "shop").Query().Get("code")), http.StatusOK)
	wantStatus(t, shop.Call("ping", ""), http.StatusOK)
	for name, claims := range map[string]map[string]any{"id token": claimsOf(t, shop.IDToken), "access token": claimsOf(t, shop.Access)} {
		if fmt.Sprint(claims["amr"]) != "[pwd otp mfa]" || claims["acr"] != login.ACRMultiFactor {
			t.Errorf("%s: amr %v, acr %v", name, claims["amr"], claims["acr"])
		}
	}
	// The old grant's sign-in is what it was.
	s.Eventually(time.Second, "the old token is refused", func() bool {
		return s.MCP(shop.Resource, before, "ping", "").Status == http.StatusUnauthorized
	})
	wantStatus(t, shop.Renew(shop.Refresh), http.StatusOK)

	// Somebody who has the factor is asked for it alone.
	s.Clock.Advance(time.Minute)
	other := s.Browser()
	page = other.TypePassword(wantSignIn(t, other.Get(shop.AuthorizeURL())), "ada@example.com")
	wantStatus(t, page, http.StatusOK)
	if !strings.Contains(page.Body, "Enter the code from your authenticator app") {
		t.Fatal(page.Body)
	}
	wantConsentPage(t, land(other, other.Post("/login/second", url.Values{"step": {testkit.Field(page.Body, "step")}, "code": {codeOf(t, secret, s.Clock.Now())}})))
}

// TestMFA_OneTeamNeedsNoPress: where there is nothing to choose, the step
// comes before the page that asks for consent; a passkey is not to be had at
// an IP address, and the page says so.
func TestMFA_OneTeamNeedsNoPress(t *testing.T) {
	s := newServer(t)
	setMFA(s, "bank", org.MFAPasskey)
	c := s.Register()
	c.Resource = s.URL + "/mgmt/api/v1/teams/bank/mcp"
	b := s.Browser()
	page := land(b, b.TypePassword(wantSignIn(t, b.Get(c.AuthorizeURL())), "ada@example.com"))
	if !strings.Contains(page.Body, "Set up a passkey") || !strings.Contains(page.Body, "IP address") || strings.Contains(page.Body, "kind=totp") {
		t.Errorf("%d\n%s", page.Status, page.Body)
	}
}

// TestMFA_SilentAnswers: prompt=none gives no code that would be refused.
func TestMFA_SilentAnswers(t *testing.T) {
	s := newServer(t)
	c := s.AddClient("Portal", true, "https://portal.example/cb")
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	wantStatus(t, c.Redeem(c.Allow(b, page, "shop").Query().Get("code")), http.StatusOK)
	silent := func() url.Values {
		res := b.Get(c.AuthorizeURL(set("prompt", "none")))
		u, err := url.Parse(res.Header.Get("Location"))
		s.Must(err)
		return u.Query()
	}
	if q := silent(); q.Get("code") == "" {
		t.Fatalf("before: %v", q)
	}
	setMFA(s, "shop", org.MFARequired)
	if q := silent(); q.Get("error") != "interaction_required" {
		t.Errorf("after: %v", q)
	}
	// Asked, the person steps up rather than going on by the page that posts
	// itself.
	if page := land(b, b.Get(c.AuthorizeURL())); !strings.Contains(page.Body, "Set up a second factor") {
		t.Errorf("%d\n%s", page.Status, page.Body)
	}
}

// TestMFA_OrganizationDemandsAtSignIn: below the organization's policy nobody
// gets as far as a consent page.
func TestMFA_OrganizationDemandsAtSignIn(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	setMFA(s, "", org.MFARequired)
	s.Eventually(time.Second, "the call is refused", func() bool { return c.Call("ping", "").Status == http.StatusUnauthorized })
	choice := land(b, b.Get(c.AuthorizeURL()))
	if !strings.Contains(choice.Body, "Set up a second factor") {
		t.Fatalf("%d\n%s", choice.Status, choice.Body)
	}
	wantRedirectError(t, s, b.Get(c.AuthorizeURL(set("prompt", "none"))), "login_required")
	_, page := enrolApp(t, s, b, choice)
	wantConsentPage(t, page)
}

// TestMFA_EssentialACR: a class that a client demands is led to like a policy
// (OpenID Connect Core §5.5.1.1).
func TestMFA_EssentialACR(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	demand := set("scope", "openid logs:read", "claims", `{"id_token":{"acr":{"essential":true,"values":["`+login.ACRMultiFactor+`"]}}}`)
	page := land(b, b.TypePassword(wantSignIn(t, b.Get(c.AuthorizeURL(demand))), "ada@example.com"))
	if !strings.Contains(page.Body, "Set up a second factor") {
		t.Fatal(page.Body)
	}
	// At an IP address nobody has a passkey (WebAuthn §5.1.2), so nothing says
	// that there is the class, and nobody is led to it.
	if res := s.Do(http.MethodGet, "/.well-known/openid-configuration", ""); !strings.Contains(res.Body, `"acr_values_supported":["`+login.ACRPassword+`","`+login.ACRMultiFactor+`"]`) {
		t.Error(res.Body)
	}
	other := s.Register()
	wantRedirectError(t, s, b.Get(other.AuthorizeURL(set("claims", `{"id_token":{"acr":{"essential":true,"values":["`+login.ACRPasskey+`"]}}}`, "scope", "openid"))), "unmet_authentication_requirements")

	_, page = enrolApp(t, s, b, page)
	wantConsentPage(t, page)
	wantStatus(t, c.Redeem(c.Allow(b, page, "shop").Query().Get("code")), http.StatusOK)
	if claims := claimsOf(t, c.IDToken); claims["acr"] != login.ACRMultiFactor {
		t.Errorf("claims: %v", claims)
	}
}

// TestMFA_ServicesHaveNoFactor: a policy about people's sign-ins leaves
// programs alone.
func TestMFA_ServicesHaveNoFactor(t *testing.T) {
	s := newServer(t)
	p, err := s.Admin.Directory.AddService(t.Context(), "Nightly", "shop", []string{"viewer"}, audit.System())
	s.Must(err)
	client, secret, err := s.Admin.Authority.RegisterService(t.Context(), p, nil, audit.System())
	s.Must(err)
	setMFA(s, "", org.MFAPasskey)
	res := s.Do(http.MethodPost, "/oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {string(client.ID)}, "client_secret": {secret}, "resource": {s.URL + "/mgmt/api/v1/mcp"},
	}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	wantStatus(t, res, http.StatusOK)
	if res := s.MCP(s.URL+"/mgmt/api/v1/mcp", res.Member("access_token"), "ping", ""); res.Status != http.StatusOK {
		t.Errorf("call: %d %s", res.Status, res.Body)
	}
}

// TestMFA_DeviceStepsUp: a device gets nothing for a team that demands more
// either.
func TestMFA_DeviceStepsUp(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"Build server","grant_types":["urn:ietf:params:oauth:grant-type:device_code"],"redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"none"}`)
	setMFA(s, "shop", org.MFARequired)
	res := s.Do(http.MethodPost, "/oauth/device_authorization", url.Values{"client_id": {c.ID}, "resource": {c.Resource}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	wantStatus(t, res, http.StatusOK)
	b := s.Browser()
	b.SignIn("/login", "ada@example.com")
	page := b.Post("/device", url.Values{"user_code": {res.Member("user_code")}})
	wantStatus(t, page, http.StatusOK)
	_, form, _ := strings.Cut(page.Body, `action="/device/consent"`)
	answer := testkit.ConsentForm(page.Body, "shop")
	answer.Set("step", testkit.Field(form, "step"))
	choice := land(b, b.Post("/device/consent", answer))
	if !strings.Contains(choice.Body, "Set up a second factor") {
		t.Fatalf("%d\n%s", choice.Status, choice.Body)
	}
	if _, page := enrolApp(t, s, b, choice); !strings.Contains(page.Body, res.Member("user_code")) {
		t.Errorf("it does not come back to the code:\n%s", page.Body)
	}
}
