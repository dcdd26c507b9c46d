package oauth_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/testkit"
)

// behindProxy lets a test come from any address.
func behindProxy(c *config.Server) { c.TrustedProxies = []string{"127.0.0.0/8"} }

// untilTooFast sends a request from an address until it is asked to wait, and
// returns how many came through.
func untilTooFast(t *testing.T, s *testkit.Server, method, target, body, address string, header ...string) int {
	t.Helper()
	for n := range 2000 {
		res := s.Do(method, target, body, append(header, "X-Forwarded-For", address)...)
		if res.Status == http.StatusTooManyRequests {
			if res.Header.Get("Retry-After") == "" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers of the 429: %v", res.Header)
			}
			return n
		}
	}
	t.Fatalf("%s %s was never asked to wait", method, target)
	return 0
}

func TestRatesOfOneAddress(t *testing.T) {
	s := newServer(t, behindProxy)
	c := s.Register().Connect("ada@example.com", "shop")
	const one, other = "203.0.113.5", "203.0.113.6"
	body := `{"redirect_uris":["http://127.0.0.1/cb"]}`

	if n := untilTooFast(t, s, http.MethodPost, "/oauth/register", body, one, "Content-Type", "application/json"); n < 500 {
		t.Errorf("an office of 500 cannot register at once: asked to wait after %d", n)
	}
	if res := s.Do(http.MethodPost, "/oauth/register", body, "Content-Type", "application/json", "X-Forwarded-For", other); res.Status != http.StatusCreated {
		t.Errorf("another address: %d", res.Status)
	}

	// One client that fails in a loop is asked to wait long before it has used
	// up what its address may do.
	bad := func(client string) string {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {client}}.Encode()
	}
	if n := untilTooFast(t, s, http.MethodPost, "/oauth/token", bad(c.ID), one, "Content-Type", formType); n > 100 {
		t.Errorf("a client failed %d times before it was asked to wait", n)
	}
	if res := s.Do(http.MethodPost, "/oauth/token", bad("another"), "Content-Type", formType, "X-Forwarded-For", one); res.Status == http.StatusTooManyRequests {
		t.Error("another client at that address is asked to wait")
	}
	// What succeeds is never asked to wait.
	for range 5 {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}, "client_id": {c.ID}}.Encode()
		res := s.Do(http.MethodPost, "/oauth/token", form, "Content-Type", formType, "X-Forwarded-For", one)
		wantStatus(t, res, http.StatusOK)
	}
	s.Clock.Advance(2 * time.Second)
	res := s.Do(http.MethodPost, "/oauth/token", bad(c.ID), "Content-Type", formType, "X-Forwarded-For", one)
	wantOAuthError(t, res, http.StatusBadRequest, "invalid_grant")
}
