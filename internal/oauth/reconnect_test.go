package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

func setReconnect(s *testkit.Server, slug string, r org.Reconnect) {
	s.TB.Helper()
	s.Must(s.Admin.Directory.SetReconnect(s.TB.Context(), slug, r, audit.Shell("test")))
}

// A team can ask for the browser after each hour where the organization does
// not, and gets it within a second, without a restart.
func TestReconnect_TeamIsInteractive(t *testing.T) {
	s := newServer(t)
	shop, bank := s.Register().Connect("ada@example.com", "shop"), s.Register().Connect("ada@example.com", "bank")
	setReconnect(s, "shop", org.Reconnect{Return: org.ReturnInteractive})
	s.Clock.ToNextHour(time.Second)
	wantStatus(t, shop.Call("tools/list", "{}"), http.StatusUnauthorized)
	wantOAuthError(t, shop.Renew(shop.Refresh), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, bank.Renew(bank.Refresh), http.StatusOK)
	// Undone, the refresh token is good again: nothing was consumed.
	setReconnect(s, "shop", org.Reconnect{})
	wantStatus(t, shop.Renew(shop.Refresh), http.StatusOK)
	wantStatus(t, shop.Call("tools/list", "{}"), http.StatusOK)
}

// The organization stands before the settings of serve; a team can only ask
// for more.
func TestReconnect_OrganizationDecides(t *testing.T) {
	s := newServer(t)
	expires := func(team string) int {
		c := s.Register().Connect("ada@example.com", team)
		res := c.Renew(c.Refresh)
		var body struct {
			Expires int `json:"expires_in"`
		}
		s.Must(res.JSON(&body))
		return body.Expires
	}
	if n := expires("shop"); n > 55*60 {
		t.Errorf("hourly: %d s", n)
	}
	setReconnect(s, "", org.Reconnect{Disconnect: org.DisconnectOff})
	if n := expires("shop"); n < 59*60 {
		t.Errorf("off: %d s", n)
	}
	setReconnect(s, "bank", org.Reconnect{Disconnect: org.DisconnectHourly})
	if n := expires("bank"); n > 55*60 {
		t.Errorf("hourly for the team: %d s", n)
	}
	for _, r := range []org.Reconnect{{Disconnect: org.DisconnectOff}, {Return: org.ReturnRefresh}} {
		if err := s.Admin.Directory.SetReconnect(t.Context(), "bank", r, audit.Shell("test")); err == nil || !strings.Contains(err.Error(), "only ask for more") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// The consent page says how long access lasts, for each team where they differ.
func TestReconnect_ConsentPage(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	page := func() string { return c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL()).Body }
	if n := strings.Count(page(), "Access ends at every full hour"); n != 1 {
		t.Errorf("said %d times", n)
	}
	setReconnect(s, "shop", org.Reconnect{Return: org.ReturnInteractive})
	body := page()
	if !strings.Contains(body, "To go on you sign in again.") || !strings.Contains(body, "comes back by itself") {
		t.Error("the page does not say that the teams differ")
	}
}

// A sign-in that is too old is refused from the next call on, the next consent
// begins with a new one, and nothing has ended.
func TestReconnect_SignInAge(t *testing.T) {
	s := newServer(t, func(c *config.Server) { c.Sessions.Disconnect = "off" })
	c := s.Register().Connect("ada@example.com", "shop")
	s.Clock.Advance(2 * time.Hour)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	wantStatus(t, c.Call("tools/list", "{}"), http.StatusOK)

	setReconnect(s, "shop", org.Reconnect{SignInAge: time.Hour})
	s.Eventually(time.Second, "the call is refused", func() bool {
		res := c.Call("tools/list", "{}")
		return res.Status == http.StatusUnauthorized && strings.Contains(res.Header.Get("WWW-Authenticate"), "sign-in is older")
	})
	wantOAuthError(t, c.Renew(c.Refresh), http.StatusBadRequest, "invalid_grant")

	// The session of the browser is as old: Allow access leads to the sign-in
	// first.
	b := s.Browser()
	page := c.Consent(b, "ada@example.com", c.AuthorizeURL())
	if !strings.Contains(page.Body, "You signed in too long ago for this team.") {
		t.Errorf("the page does not say so\n%s", page.Body)
	}
	res := b.Post("/consent", testkit.ConsentForm(page.Body, "shop"))
	if !strings.HasPrefix(res.Header.Get("Location"), "/login") {
		t.Fatalf("status %d, to %q", res.Status, res.Header.Get("Location"))
	}
	page = b.TypePassword(res.Header.Get("Location"), "ada@example.com")
	for page.Status == http.StatusSeeOther {
		page = b.Get(page.Header.Get("Location"))
	}
	back := c.Allow(b, page, "shop")
	wantStatus(t, c.Redeem(back.Query().Get("code")), http.StatusOK)
	wantStatus(t, c.Call("tools/list", "{}"), http.StatusOK)

	for _, age := range []time.Duration{time.Minute, 1000 * 24 * time.Hour, -time.Hour} {
		if err := s.Admin.Directory.SetReconnect(t.Context(), "shop", org.Reconnect{SignInAge: age}, audit.Shell("test")); err == nil {
			t.Errorf("an age of %s is taken", age)
		}
	}
}
