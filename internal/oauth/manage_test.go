package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/testkit"
)

// managed registers a client and returns what it manages itself with.
func managed(t *testing.T, s *testkit.Server, body string) (c *testkit.Client, uri, token string) {
	t.Helper()
	res := s.PostJSON("/oauth/register", body)
	wantStatus(t, res, http.StatusCreated)
	c = s.Register()
	c.ID, c.Secret = res.Member("client_id"), res.Member("client_secret")
	return c, res.Member("registration_client_uri"), res.Member("registration_access_token")
}

const managedBody = `{"client_name":"Managed","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"client_secret_post"}`

func TestRFC7592_2_1_Read(t *testing.T) {
	s := newServer(t)
	_, uri, token := managed(t, s, managedBody)
	if !strings.HasPrefix(uri, s.URL+"/oauth/register/") || len(token) < 40 {
		t.Fatalf("managed at %q with %q", uri, token)
	}
	res := s.Do(http.MethodGet, uri, "", "Authorization", "Bearer "+token)
	wantStatus(t, res, http.StatusOK)
	if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", res.Header)
	}
	for _, name := range []string{"client_id", "client_secret", "registration_client_uri", "registration_access_token"} {
		if res.Member(name) == "" {
			t.Errorf("no %s: %s", name, res.Body)
		}
	}
	// It survives what a registration survives.
	s.Restart()
	wantStatus(t, s.Do(http.MethodGet, uri, "", "Authorization", "bearer "+token), http.StatusOK)

	// RFC 7592 §2: a wrong token is 401, as one of RFC 6750.
	_, otherURI, otherToken := managed(t, s, managedBody)
	for name, header := range map[string][]string{
		"none": nil, "of another client": {"Authorization", "Bearer " + otherToken}, "empty": {"Authorization", "Bearer "},
		"Basic": {"Authorization", "Basic " + token}, "twice": {"Authorization", "Bearer " + token, "Authorization", "Bearer " + token},
		"cut": {"Authorization", "Bearer " + token[:len(token)-1]},
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			res := s.Do(method, uri, "", header...)
			wantOAuthError(t, res, 401, "invalid_token")
			if !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer error=") {
				t.Errorf("token %s: %v", name, res.Header)
			}
		}
	}
	for _, forged := range []string{s.URL + "/oauth/register/nonsense", strings.TrimSuffix(otherURI, otherURI[len(otherURI)-1:]), s.URL + "/oauth/register/https%3A%2F%2Fclient.example%2Fc.json"} {
		wantOAuthError(t, s.Do(http.MethodGet, forged, "", "Authorization", "Bearer "+otherToken), 401, "invalid_token")
	}
}

func TestRFC7592_2_2_NoUpdate(t *testing.T) {
	s := newServer(t)
	_, uri, token := managed(t, s, managedBody)
	res := s.Do(http.MethodPut, uri, managedBody, "Authorization", "Bearer "+token, "Content-Type", "application/json")
	wantOAuthError(t, res, http.StatusMethodNotAllowed, "invalid_request")
	if !strings.Contains(res.Member("error_description"), "register again") || strings.Contains(res.Header.Get("Allow"), "PUT") {
		t.Errorf("%v %s", res.Header, res.Body)
	}
	wantStatus(t, s.Do(http.MethodPost, uri, managedBody), http.StatusMethodNotAllowed)
}

// TestRFC7592_2_3_Delete: what is deleted is gone at every endpoint, for good,
// and nothing else is.
func TestRFC7592_2_3_Delete(t *testing.T) {
	s := newServer(t)
	c, uri, token := managed(t, s, managedBody)
	twin, _, _ := managed(t, s, managedBody) // the same product, another registration
	c.Connect("ada@example.com", "shop")
	twin.Connect("ada@example.com", "shop")
	access := c.Access

	res := s.Do(http.MethodDelete, uri, "", "Authorization", "Bearer "+token)
	wantStatus(t, res, http.StatusNoContent)
	gone := func(when string) {
		t.Helper()
		c.Access = access
		s.Eventually(time.Second, "the token is refused "+when, func() bool { return c.Call("tools/list", "").Status == http.StatusUnauthorized })
		renewed := c.Renew(c.Refresh)
		wantOAuthError(t, renewed, 401, "invalid_client")
		// RFC 6749 §5.2: as a client that never was, not as one that is blocked.
		if text := renewed.Member("error_description"); !strings.Contains(text, "unknown") || strings.Contains(text, "blocked") {
			t.Errorf("%s: %s", when, renewed.Body)
		}
		page := s.Browser().Get(c.AuthorizeURL())
		if page.Status != http.StatusUnauthorized || !strings.Contains(page.Body, "forget it and connect again") {
			t.Errorf("%s: status %d\n%s", when, page.Status, page.Body)
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			wantOAuthError(t, s.Do(method, uri, "", "Authorization", "Bearer "+token), 401, "invalid_token")
		}
	}
	gone("at once")
	s.Restart()
	gone("after a restart")
	s.Clock.Advance(365 * 24 * time.Hour)
	gone("after a year")
	s.Clock.Advance(-365 * 24 * time.Hour)
	// An administrator's unblocking of the product is about the product.
	_, err := s.Admin.Authority.BlockIntegration(t.Context(), string(c.Key()), true, shell)
	s.Must(err)
	_, err = s.Admin.Authority.BlockIntegration(t.Context(), string(c.Key()), false, shell)
	s.Must(err)
	gone("after the product was unblocked")

	s.Eventually(time.Second, "the other registration works", func() bool { return twin.Call("tools/list", "").Status == http.StatusOK })
	wantStatus(t, twin.Renew(twin.Refresh), http.StatusOK)
	found := events(t, s, audit.ClientDeleted, 1)
	if found[0].Target != string(c.Key()) || found[0].Actor.Kind != audit.ByClient {
		t.Errorf("audit: %+v", found)
	}
	all, err := s.Admin.Authority.Integrations(t.Context())
	s.Must(err)
	if len(all) != 1 || all[0].Blocked || len(all[0].Connections) != 1 {
		t.Errorf("integrations: %+v", all)
	}
}

// What nobody has connected with is stored nowhere, and a flood of deletions
// has nothing to fill: that is said rather than promised.
func TestRFC7592_2_3_NothingToDelete(t *testing.T) {
	s := newServer(t)
	c, uri, token := managed(t, s, managedBody)
	res := s.Do(http.MethodDelete, uri, "", "Authorization", "Bearer "+token)
	wantOAuthError(t, res, http.StatusForbidden, "access_denied")
	if !strings.Contains(res.Member("error_description"), "forget its client_id") {
		t.Errorf("%s", res.Body)
	}
	events(t, s, audit.ClientDeleted, 0)
	c.Connect("ada@example.com", "shop")
}

// A registration of a product that an administrator has blocked can still be
// deleted, and stays so.
func TestRFC7592_2_3_DeleteBlocked(t *testing.T) {
	s := newServer(t)
	c, uri, token := managed(t, s, managedBody)
	c.Connect("ada@example.com", "shop")
	_, err := s.Admin.Authority.BlockIntegration(t.Context(), string(c.Key()), true, shell)
	s.Must(err)
	wantStatus(t, s.Do(http.MethodDelete, uri, "", "Authorization", "Bearer "+token), http.StatusNoContent)
	res := c.Renew(c.Refresh)
	wantOAuthError(t, res, 401, "invalid_client")
	if !strings.Contains(res.Member("error_description"), "unknown") {
		t.Errorf("while the product is blocked: %s", res.Body)
	}
	_, err = s.Admin.Authority.BlockIntegration(t.Context(), string(c.Key()), false, shell)
	s.Must(err)
	wantOAuthError(t, c.Renew(c.Refresh), 401, "invalid_client")
}
