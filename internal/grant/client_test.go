package grant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
)

// TestAddClient: what an administrator says about a client is what the store
// knows of it, and one that is refused leaves nothing behind.
func TestAddClient(t *testing.T) {
	f := granttest.New(t)
	c, secret, err := f.Authority.AddClient(t.Context(), grant.NewClient{
		Name: "Portal", RedirectURIs: []string{"https://portal.example/cb"}, PostLogoutRedirectURIs: []string{"https://portal.example/bye"},
		IDTokenAlg: "RS256", Confidential: true,
	}, audit.System())
	check(t, err)
	stored, err := f.DB.ClientByKey(t.Context(), c.Key())
	check(t, err)
	m := stored.Metadata
	if m.Name != "Portal" || m.IDTokenSigningAlg != "RS256" || len(m.PostLogoutRedirectURIs) != 1 || m.PostLogoutRedirectURIs[0].String() != "https://portal.example/bye" {
		t.Errorf("stored: %+v", m)
	}
	if secret == "" || strings.Contains(stored.SecretHash, secret) || m.IsPublic() {
		t.Errorf("secret %d characters, hash %q, method %s", len(secret), stored.SecretHash, m.TokenEndpointAuthMethod)
	}
	if !slices.ContainsFunc(f.Authority.Keys.States(), func(k grant.KeyState) bool { return k.Algorithm == "RS256" && k.Signs }) {
		t.Error("there is no key for the client's ID tokens")
	}
	for _, bad := range []grant.NewClient{
		{Name: "x", RedirectURIs: []string{"javascript:alert(1)"}},
		{Name: "x", RedirectURIs: []string{"https://x.example/"}, PostLogoutRedirectURIs: []string{"http://x.example/"}},
		{Name: "x", RedirectURIs: []string{"https://x.example/"}, IDTokenAlg: "none"},
	} {
		if _, _, err := f.Authority.AddClient(t.Context(), bad, audit.System()); err == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
	if all, err := f.DB.Clients(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d clients, %v", len(all), err)
	}
}
