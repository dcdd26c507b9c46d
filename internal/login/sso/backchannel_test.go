package sso_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/testkit"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutClaims are those of a good logout token about ada's session.
func (p *idp) logoutClaims() map[string]any {
	now := p.Clock.Now()
	return map[string]any{
		"iss": issuer, "aud": clientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "00u1", "sid": "session-1", "events": map[string]any{logoutEvent: map[string]any{}},
	}
}

func (p *idp) logout(token string) testkit.Response {
	return p.Do(http.MethodPost, "/login/sso/okta/backchannel", url.Values{"logout_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// connected starts a server with ada signed in through session-1 of the
// provider, and connected from there.
func connected(t *testing.T) (*idp, *testkit.Browser, *testkit.Client) {
	t.Helper()
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	p.set("sid", "session-1")
	p.set("auth_time", p.Clock.Now().Add(-time.Minute).Unix())
	b := p.Browser()
	return p, b, p.connect(p.Register(), b, "shop")
}

// The provider says that the person signed out: the browser session is over,
// the connection is refused on its next call and on its next refresh, and the
// next sign-in brings the client back.
func TestBackchannelLogoutEndsSessionAndConnection(t *testing.T) {
	for name, drop := range map[string]string{"sid": "sub", "sub": "sid", "both": ""} {
		t.Run(name, func(t *testing.T) {
			p, b, c := connected(t)
			if res := c.Call("tools/list", ""); res.Status != http.StatusOK {
				t.Fatalf("before: status %d", res.Status)
			}
			claims := p.logoutClaims()
			delete(claims, drop)
			res := p.logout(p.jws("logout+jwt", claims))
			if res.Status != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("logout: status %d, %q\n%s", res.Status, res.Header.Get("Cache-Control"), res.Body)
			}
			if res := c.Call("tools/list", ""); res.Status != http.StatusUnauthorized || !strings.Contains(res.Header.Get("WWW-Authenticate"), "invalid_token") {
				t.Errorf("next call: status %d, %q", res.Status, res.Header.Get("WWW-Authenticate"))
			}
			if res := c.Renew(c.Refresh); res.Status != http.StatusBadRequest || res.Member("error") != "invalid_grant" {
				t.Errorf("next refresh: status %d\n%s", res.Status, res.Body)
			}
			if b.Get("/").Status != http.StatusSeeOther {
				t.Error("the browser is still signed in")
			}
			if ev := p.events(audit.ProviderLogout); len(ev) != 1 || !strings.Contains(ev[0].Detail, "1 sessions and 1 connections") {
				t.Errorf("audit: %+v", ev)
			}
			p.set("sid", "session-2")
			p.set("auth_time", p.Clock.Now().Unix())
			p.connect(c, b, "shop")
			if res := c.Call("tools/list", ""); res.Status != http.StatusOK {
				t.Errorf("after a new sign-in: status %d", res.Status)
			}
		})
	}
}

// What did not come from that session goes on.
func TestBackchannelLogoutEndsNothingElse(t *testing.T) {
	p, b, c := connected(t)
	claims := p.logoutClaims()
	claims["sid"] = "session-9"
	if res := p.logout(p.jws("logout+jwt", claims)); res.Status != http.StatusOK {
		t.Fatalf("an unknown session: status %d\n%s", res.Status, res.Body)
	}
	claims = p.logoutClaims()
	claims["sub"] = "00u9"
	if res := p.logout(p.jws("logout+jwt", claims)); res.Status != http.StatusOK {
		t.Fatalf("another person's: status %d\n%s", res.Status, res.Body)
	}
	// A connection from a sign-in with a password has nothing to do with it.
	p.Clock.Advance(time.Second)
	typed := p.Browser()
	typed.TypePassword("/login", "ada@example.com")
	other := p.Register()
	back := other.Allow(typed, typed.Get(other.AuthorizeURL()), "shop")
	other.Redeem(back.Query().Get("code"))
	if b.Get("/").Status != http.StatusOK || c.Call("tools/list", "").Status != http.StatusOK {
		t.Error("something ended")
	}
	if res := p.logout(p.jws("logout+jwt", p.logoutClaims())); res.Status != http.StatusOK {
		t.Fatalf("logout: status %d", res.Status)
	}
	if c.Call("tools/list", "").Status != http.StatusUnauthorized || other.Call("tools/list", "").Status != http.StatusOK || typed.Get("/").Status != http.StatusOK {
		t.Error("not exactly what came from the provider's session ended")
	}
}

// OpenID Connect Back-Channel Logout 1.0 §2.6, with the claims of §2.4.
func TestLogoutTokensThatDoNotHold(t *testing.T) {
	p, b, c := connected(t)
	now := p.Clock.Now()
	with := func(change func(map[string]any)) string {
		claims := p.logoutClaims()
		change(claims)
		return p.jws("logout+jwt", claims)
	}
	payload := func() []byte {
		text, err := json.Marshal(p.logoutClaims())
		p.Must(err)
		return text
	}
	other := start(t)
	for name, token := range map[string]string{
		"BCL_2_6_2_AlgNone":                  unsigned(payload()),
		"BCL_2_6_2_HMACWithTheSecret":        hmacWith([]byte(clientSecret))(payload()),
		"BCL_2_6_2_HMACWithThePublicKey":     hmacWith(p.publicKey())(payload()),
		"BCL_2_6_2_SignedBySomebodyElse":     other.jws("logout+jwt", p.logoutClaims()),
		"BCL_2_6_4_Issuer":                   with(func(c map[string]any) { c["iss"] = "https://other.example" }),
		"BCL_2_6_4_NoIssuer":                 with(func(c map[string]any) { delete(c, "iss") }),
		"BCL_2_6_4_Audience":                 with(func(c map[string]any) { c["aud"] = "another client" }),
		"BCL_2_6_4_NoAudience":               with(func(c map[string]any) { delete(c, "aud") }),
		"BCL_2_6_4_Expired":                  with(func(c map[string]any) { c["exp"] = now.Add(-time.Second).Unix() }),
		"BCL_2_6_4_NoExpiry":                 with(func(c map[string]any) { delete(c, "exp") }),
		"BCL_2_6_4_NoIssuedAt":               with(func(c map[string]any) { delete(c, "iat") }),
		"BCL_2_6_4_IssuedInTheFuture":        with(func(c map[string]any) { c["iat"] = now.Add(time.Hour).Unix() }),
		"BCL_2_6_4_TooOld":                   with(func(c map[string]any) { c["iat"] = now.Add(-time.Hour).Unix() }),
		"BCL_2_6_5_NeitherSubjectNorSession": with(func(c map[string]any) { delete(c, "sub"); delete(c, "sid") }),
		"BCL_2_6_6_NoEvents":                 with(func(c map[string]any) { delete(c, "events") }),
		"BCL_2_6_6_AnotherEvent":             with(func(c map[string]any) { c["events"] = map[string]any{"http://example.com/event": map[string]any{}} }),
		"BCL_2_6_6_EventIsNoObject":          with(func(c map[string]any) { c["events"] = map[string]any{logoutEvent: "yes"} }),
		"BCL_2_6_6_EventIsNull":              with(func(c map[string]any) { c["events"] = map[string]any{logoutEvent: nil} }),
		"BCL_2_6_7_Nonce":                    with(func(c map[string]any) { c["nonce"] = "n" }),
		"BCL_2_6_7_NonceThatIsEmpty":         with(func(c map[string]any) { c["nonce"] = "" }),
		"BCL_2_6_8_NoTokenID":                with(func(c map[string]any) { delete(c, "jti") }),
		"BCL_2_6_8_GoodForTooLong":           with(func(c map[string]any) { c["exp"] = now.Add(48 * time.Hour).Unix() }),
		"BCL_2_4_TypedAsSomethingElse":       p.jws("at+jwt", p.logoutClaims()),
		"BCL_2_5_Nothing":                    "",
		"BCL_2_5_NoToken":                    "..",
	} {
		t.Run(name, func(t *testing.T) {
			if res := p.logout(token); res.Status != http.StatusBadRequest || res.Member("error") != "invalid_request" {
				t.Errorf("status %d\n%s", res.Status, res.Body)
			}
		})
	}
	if b.Get("/").Status != http.StatusOK || c.Call("tools/list", "").Status != http.StatusOK {
		t.Error("something ended")
	}
}

func TestBCL_2_6_8_Replay(t *testing.T) {
	p, b, _ := connected(t)
	token := p.jws("logout+jwt", p.logoutClaims())
	if res := p.logout(token); res.Status != http.StatusOK {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	p.arrive(b)
	if res := p.logout(token); res.Status != http.StatusBadRequest {
		t.Errorf("again: status %d", res.Status)
	}
	p.Restart()
	if res := p.logout(token); res.Status != http.StatusBadRequest {
		t.Errorf("after a restart: status %d", res.Status)
	}
	if b.Get("/").Status != http.StatusOK {
		t.Error("the new session ended")
	}
}

// An ID token is no logout token, and the other way round.
func TestBCL_4_CrossTokenConfusion(t *testing.T) {
	p, _, _ := connected(t)
	now := p.Clock.Now()
	id := p.jws("JWT", map[string]any{"iss": issuer, "aud": clientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "sub": "00u1", "sid": "session-1"})
	if res := p.logout(id); res.Status != http.StatusBadRequest {
		t.Errorf("an ID token: status %d", res.Status)
	}
	p.sign = func([]byte) string { return p.jws("logout+jwt", p.logoutClaims()) }
	p.refused(t, "could not be accepted")
}

func TestRPInitiatedLogout(t *testing.T) {
	p := start(t)
	b := p.Browser()
	p.arrive(b)
	page := b.Post("/logout", url.Values{})
	if page.Status != http.StatusOK || !strings.Contains(page.Body, "still signed in at Okta") {
		t.Fatalf("status %d\n%s", page.Status, page.Body)
	}
	_, rest, _ := strings.Cut(page.Body, `href="`+issuer+"/logout?")
	query, _, _ := strings.Cut(rest, `"`)
	q, err := url.ParseQuery(strings.ReplaceAll(query, "&amp;", "&"))
	p.Must(err)
	if q.Get("client_id") != clientID || q.Get("post_logout_redirect_uri") != p.URL+"/login/sso/okta/signed-out" || strings.Count(q.Get("id_token_hint"), ".") != 2 {
		t.Errorf("query: %v", q)
	}
	if b.Get("/").Status != http.StatusSeeOther {
		t.Error("still signed in")
	}
	if res := b.Get("/login/sso/okta/signed-out"); res.Status != http.StatusOK {
		t.Errorf("way back: status %d", res.Status)
	}
	// Whoever typed a password has nothing to sign out of there.
	b.TypePassword("/login", "ada@example.com")
	if page := b.Post("/logout", url.Values{}); strings.Contains(page.Body, "Okta") {
		t.Errorf("after a password:\n%s", page.Body)
	}
}

func TestSwitchingAProviderOffEndsWhatCameFromIt(t *testing.T) {
	p, b, c := connected(t)
	_, ended, err := p.Admin.Providers.SetEnabled(t.Context(), "okta", false, audit.Shell("test"))
	p.Must(err)
	if ended.Sessions != 1 || ended.Connections != 1 {
		t.Errorf("ended: %+v", ended)
	}
	p.Eventually(time.Second, "the connection is refused", func() bool { return c.Call("tools/list", "").Status == http.StatusUnauthorized })
	if b.Get("/").Status != http.StatusSeeOther {
		t.Error("the browser is still signed in")
	}
}
