package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
)

const portalRegistration = `{"client_name":"Portal","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"none",` +
	`"post_logout_redirect_uris":["https://portal.example/bye?a=1","portal://bye/x"]}`

// signedIn says whether somebody is signed in at a browser.
func signedIn(b *testkit.Browser) bool { return b.Get("/connections").Status == http.StatusOK }

func logoutURL(pairs ...string) string {
	v := url.Values{}
	set(pairs...)(v)
	return "/oauth/logout?" + v.Encode()
}

func TestCase089_Logout(t *testing.T) {
	s := newServer(t)
	c := s.Register(portalRegistration).Connect("ada@example.com", "shop", set("scope", "openid logs:read"))
	hint := c.IDToken
	const bye, state = "https://portal.example/bye?a=1", "a b&c"

	t.Run("with the ID token", func(t *testing.T) {
		s.Clock.Advance(3 * time.Hour) // an expired ID token is a hint, too
		b := s.Browser()
		b.SignIn("/login", "ada@example.com")
		target := logoutURL("id_token_hint", hint, "client_id", c.ID, "post_logout_redirect_uri", bye, "state", state, "ui_locales", "de")
		if res := b.Head(target); res.Status != http.StatusServiceUnavailable || !signedIn(b) {
			t.Errorf("HEAD: status %d", res.Status)
		}
		res := b.Get(target)
		wantStatus(t, res, http.StatusSeeOther)
		if got := res.Header.Get("Location"); got != "https://portal.example/bye?a=1&state=a%20b%26c" {
			t.Errorf("redirected to %s", got)
		}
		if signedIn(b) {
			t.Error("still signed in")
		}
		// Connections stay.
		wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
		// Somebody who is signed out already just goes on.
		wantStatus(t, b.Get(target), http.StatusSeeOther)
	})
	t.Run("by POST from another site", func(t *testing.T) {
		b := s.Browser()
		b.SignIn("/login", "ada@example.com")
		form := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}
		res := s.Do(http.MethodPost, "/oauth/logout", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site", "Origin", "https://portal.example")
		wantStatus(t, res, http.StatusSeeOther)
		on := res.Header.Get("Location")
		if !strings.HasPrefix(on, "/oauth/logout?") || strings.Contains(on, hint[:40]) {
			t.Fatalf("goes on to %s", on)
		}
		if got := b.Get(on).Header.Get("Location"); got != bye || signedIn(b) {
			t.Errorf("redirected to %q", got)
		}
	})
	for name, target := range map[string]string{
		"nothing":                   logoutURL(),
		"only the client":           logoutURL("client_id", c.ID),
		"another person's ID token": logoutURL("id_token_hint", hint, "post_logout_redirect_uri", bye),
		"a forged ID token":         logoutURL("id_token_hint", hint[:len(hint)-8]+"AAAAAAAA", "client_id", c.ID),
		"an access token":           logoutURL("id_token_hint", c.Access, "client_id", c.ID),
	} {
		t.Run(name+" asks", func(t *testing.T) {
			email := "ada@example.com"
			if strings.HasPrefix(name, "another person") {
				email = "bob@example.com"
			}
			b := s.Browser()
			b.SignIn("/login", email)
			page := b.Get(target)
			wantStatus(t, page, http.StatusOK)
			if !strings.Contains(page.Body, ">Sign out</button>") || !signedIn(b) {
				t.Fatalf("not asked:\n%s", page.Body)
			}
			_, form, _ := strings.Cut(page.Body, `action="/oauth/logout/confirm"`)
			step := url.Values{"step": {testkit.Field(form, "step")}}
			wantStatus(t, s.Do(http.MethodPost, "/oauth/logout/confirm", step.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
			wantStatus(t, b.Post("/oauth/logout/confirm", url.Values{"step": {"x"}}), http.StatusBadRequest)
			if !signedIn(b) {
				t.Fatal("a refused form signed out")
			}
			res := b.Post("/oauth/logout/confirm", step)
			if strings.Contains(target, "post_logout") {
				if got := res.Header.Get("Location"); got != bye {
					t.Errorf("redirected to %q", got)
				}
			} else {
				wantStatus(t, res, http.StatusOK)
			}
			if signedIn(b) {
				t.Error("still signed in")
			}
		})
	}
	other := s.Register()
	for name, target := range map[string]string{
		"unregistered address":    logoutURL("id_token_hint", hint, "post_logout_redirect_uri", "https://evil.example/"),
		"a redirect_uri":          logoutURL("id_token_hint", hint, "post_logout_redirect_uri", testkit.DefaultRedirect),
		"address without client":  logoutURL("post_logout_redirect_uri", bye),
		"address of another":      logoutURL("client_id", other.ID, "post_logout_redirect_uri", bye),
		"client against the hint": logoutURL("id_token_hint", hint, "client_id", other.ID),
		"unknown client":          logoutURL("client_id", "c1.x.y", "post_logout_redirect_uri", bye),
		"two addresses":           logoutURL("id_token_hint", hint, "post_logout_redirect_uri", bye) + "&post_logout_redirect_uri=x",
		"forged step":             logoutURL("oriel_logout", "x.y"),
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			b := s.Browser()
			b.SignIn("/login", "ada@example.com")
			res := b.Get(target)
			if res.Status != http.StatusBadRequest || res.Header.Get("Location") != "" || !signedIn(b) {
				t.Errorf("status %d, Location %q, signed in: %v", res.Status, res.Header.Get("Location"), signedIn(b))
			}
		})
	}
	t.Run("to an app", func(t *testing.T) {
		b := s.Browser()
		b.SignIn("/login", "ada@example.com")
		res := b.Get(logoutURL("id_token_hint", hint, "post_logout_redirect_uri", "portal://bye/x"))
		wantStatus(t, res, http.StatusOK)
		if !strings.Contains(res.Body, "You are signed out.") || !strings.Contains(res.Body, `href="portal://bye/x"`) {
			t.Errorf("page:\n%s", res.Body)
		}
	})
}
