package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/testkit"
)

// set changes parameters of an authorization request.
func set(pairs ...string) func(url.Values) {
	return func(v url.Values) {
		for i := 0; i+1 < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
	}
}

// claimsOf reads a token without checking it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantSignIn checks that the answer leads to the sign-in page.
func wantSignIn(t *testing.T, res testkit.Response) string {
	t.Helper()
	wantStatus(t, res, http.StatusSeeOther)
	to := res.Header.Get("Location")
	if !strings.HasPrefix(to, "/login?") {
		t.Fatalf("redirected to %q, not to sign in", to)
	}
	return to
}

func wantConsentPage(t *testing.T, res testkit.Response) {
	t.Helper()
	wantStatus(t, res, http.StatusOK)
	if !strings.Contains(res.Body, "Allow access</button>") {
		t.Fatalf("no consent page:\n%s", res.Body)
	}
}

// TestCase034_DemandedSignInAsksOnce: whoever is not signed in proves who they
// are once, not twice, when the client demands it.
func TestCase034_DemandedSignInAsksOnce(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for _, change := range []func(url.Values){
		set("prompt", "login"), set("prompt", "select_account"), set("max_age", "0"), set("prompt", "login consent"),
	} {
		b := s.Browser()
		wantConsentPage(t, b.TypePassword(wantSignIn(t, b.Get(c.AuthorizeURL(change))), "ada@example.com"))
		// In the same browser, the next such request asks again.
		wantSignIn(t, b.Get(c.AuthorizeURL(change)))
	}
}

// TestCase034_SignInCountsForItsRequestOnly: the mark that a sign-in leaves on
// the way back meets the demand of no other request.
func TestCase034_SignInCountsForItsRequestOnly(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := b.Get(wantSignIn(t, b.Get(c.AuthorizeURL())))
	back := b.Post("/login", url.Values{"step": {testkit.Field(page.Body, "step")}, "email": {"ada@example.com"}, "password": {testkit.Password}})
	u, err := url.Parse(back.Header.Get("Location"))
	s.Must(err)
	mark := u.Query().Get("oriel_reauth")
	if mark == "" {
		t.Fatalf("no mark on %s", u)
	}
	wantConsentPage(t, b.Get(u.String()))
	wantSignIn(t, b.Get(c.AuthorizeURL(set("prompt", "login", "oriel_reauth", mark))))
	wantSignIn(t, b.Get(c.AuthorizeURL(set("max_age", "0", "oriel_reauth", mark))))
	wantStatus(t, b.Get(c.AuthorizeURL(set("oriel_reauth", mark+"x"))), http.StatusBadRequest)
}

func TestCase034_MaxAge(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	b.TypePassword("/login", "ada@example.com")
	s.Clock.Advance(2 * time.Minute)
	wantConsentPage(t, b.Get(c.AuthorizeURL(set("max_age", "300"))))
	wantRedirectError(t, s, b.Get(c.AuthorizeURL(set("max_age", "60", "prompt", "none"))), "login_required")
	wantRedirectError(t, s, b.Get(c.AuthorizeURL(set("max_age", "soon"))), "invalid_request")

	before := s.Clock.Now().Unix()
	page := b.TypePassword(wantSignIn(t, b.Get(c.AuthorizeURL(set("max_age", "60", "scope", "openid logs:read", "nonce", "n-1")))), "ada@example.com")
	wantConsentPage(t, page)
	wantStatus(t, c.Redeem(c.Allow(b, page, "shop").Query().Get("code")), http.StatusOK)
	claims := claimsOf(t, c.IDToken)
	if at, ok := claims["auth_time"].(float64); !ok || int64(at) < before {
		t.Errorf("auth_time = %v, want at least %d", claims["auth_time"], before)
	}
	if claims["nonce"] != "n-1" || claims["acr"] != login.ACRPassword {
		t.Errorf("claims: %v", claims)
	}
}

func TestCase034_HintsAndWhatIsIgnored(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	page := b.Get(wantSignIn(t, b.Get(c.AuthorizeURL(set("login_hint", "ada@example.com")))))
	if testkit.Field(page.Body, "email") != "ada@example.com" {
		t.Errorf("login_hint is not filled in:\n%s", page.Body)
	}
	wantConsentPage(t, c.Consent(b, "ada@example.com", c.AuthorizeURL(set(
		"ui_locales", "xx yy", "claims_locales", "xx", "display", "wap", "acr_values", "urn:example:gold", "unknown", "x",
		"claims", `{"userinfo":{"email":{"essential":true},"x":null},"id_token":{"auth_time":{"essential":true},"acr":{"values":["urn:example:gold"]}}}`,
		"id_token_hint", "not.a.token"))))
}

func TestCase035_WhatIsNotSupported(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for code, change := range map[string]func(url.Values){
		"request_not_supported":             set("request", "eyJ.e30.x"),
		"request_uri_not_supported":         set("request_uri", "https://client.example/request.jwt"),
		"registration_not_supported":        set("registration", "{}"),
		"unmet_authentication_requirements": set("claims", `{"id_token":{"acr":{"essential":true,"value":"urn:example:gold"}}}`),
		"invalid_request":                   set("claims", `{"id_token":[]}`),
	} {
		wantRedirectError(t, s, s.Browser().Get(c.AuthorizeURL(change)), code)
	}
}

// TestOpenIDCore3_1_2_2_AnotherPerson: a request about one person is never
// answered with another.
func TestOpenIDCore3_1_2_2_AnotherPerson(t *testing.T) {
	s := newServer(t)
	s.SetMember("shop", "bob@example.com", "viewer")
	c := s.Register().Connect("ada@example.com", "shop", set("scope", "openid logs:read"))
	ada, _ := claimsOf(t, c.IDToken)["sub"].(string)
	for name, about := range map[string][]string{
		"id_token_hint": {"id_token_hint", c.IDToken},
		"claims":        {"claims", `{"id_token":{"sub":{"value":"` + ada + `"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			b.TypePassword("/login", "bob@example.com")
			wantRedirectError(t, s, b.Get(c.AuthorizeURL(set(append(about, "prompt", "none")...))), "login_required")
			signIn := wantSignIn(t, b.Get(c.AuthorizeURL(set(about...))))
			// The browser comes from the sign-in form, whose policy would stop
			// a redirect: a page hands over.
			res := b.TypePassword(signIn, "bob@example.com")
			wantStatus(t, res, http.StatusOK)
			if !strings.Contains(res.Body, testkit.DefaultRedirect+"?error=login_required") {
				t.Fatalf("bob was taken for ada:\n%s", res.Body)
			}
			wantConsentPage(t, b.TypePassword(signIn, "ada@example.com"))
			// Ada herself is not asked again.
			wantConsentPage(t, b.Get(c.AuthorizeURL(set(about...))))
		})
	}
}

// TestCase037_Query: a redirect URI keeps the query it was registered with.
func TestCase037_QueryIsKept(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"x","redirect_uris":["https://portal.example/cb?tenant=a%20b&x="],"token_endpoint_auth_method":"none"}`)
	b := s.Browser()
	back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop")
	if !strings.HasPrefix(back.String(), "https://portal.example/cb?tenant=a%20b&x=&code=") {
		t.Errorf("redirected to %s", back)
	}
}

// fieldsOf returns the hidden fields of a page's form.
func fieldsOf(page string) url.Values {
	v := url.Values{}
	for _, name := range []string{"code", "state", "iss", "error", "error_description"} {
		if f := testkit.Field(page, name); f != "" {
			v.Set(name, f)
		}
	}
	return v
}

// TestCase037_FormPost: OAuth 2.0 Form Post Response Mode.
func TestCase037_FormPost(t *testing.T) {
	s := newServer(t)
	const redirect = "https://portal.example/cb?x=1&y='"
	c := s.Register(`{"client_name":"Portal","redirect_uris":["` + redirect + `","cursor://cb/x"],"token_endpoint_auth_method":"none"}`)
	const state = `"><script>alert(1)</script>&amp; +/=`
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL(set("response_mode", "form_post", "state", state)))
	res := b.Post("/consent", testkit.ConsentForm(page.Body, "shop"))
	wantStatus(t, res, http.StatusOK)
	if !strings.Contains(res.Body, `<form method="post" action="https://portal.example/cb?x=1&amp;y=&#39;">`) {
		t.Errorf("the form goes elsewhere:\n%s", res.Body)
	}
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.HasSuffix(csp, "; form-action https://portal.example") || strings.Contains(csp, "unsafe-inline") {
		t.Errorf("policy: %s", csp)
	}
	fields := fieldsOf(res.Body)
	if fields.Get("state") != state || fields.Get("iss") != s.URL {
		t.Errorf("fields: %v", fields)
	}
	wantStatus(t, c.Redeem(fields.Get("code")), http.StatusOK)

	// Errors take the same way.
	res = s.Browser().Get(c.AuthorizeURL(set("response_mode", "form_post", "prompt", "none")))
	wantStatus(t, res, http.StatusOK)
	if f := fieldsOf(res.Body); f.Get("error") != "login_required" || f.Get("iss") != s.URL || f.Get("state") != "some state" {
		t.Errorf("fields: %v", f)
	}
	// An app takes no posts.
	res = s.Browser().Get(c.AuthorizeURL(set("response_mode", "form_post", "redirect_uri", "cursor://cb/x")))
	wantStatus(t, res, http.StatusOK)
	if !strings.Contains(res.Body, "cursor://cb/x?error=invalid_request") {
		t.Errorf("form_post to an app:\n%s", res.Body)
	}
}
