package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWithdrawnSigningKey: what the shell withdraws is refused by the running
// server within a second, and everybody comes back by refreshing.
func TestWithdrawnSigningKey(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	keys := s.Admin.Authority.Keys
	id := keys.States()[0].ID
	if !strings.Contains(s.Do(http.MethodGet, "/oauth/jwks", "").Body, id) {
		t.Fatal("the key is not published")
	}
	w, err := keys.Withdraw(t.Context(), id, shell)
	s.Must(err)
	s.Eventually(time.Second, "the token is refused", func() bool { return c.Call("tools/list", "").Status == http.StatusUnauthorized })
	jwks := s.Do(http.MethodGet, "/oauth/jwks", "").Body
	if strings.Contains(jwks, id) || !strings.Contains(jwks, w.Replacement.ID) {
		t.Errorf("key set %s", jwks)
	}
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	s.Restart()
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
}
