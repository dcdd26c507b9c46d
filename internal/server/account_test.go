package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

// TestInvitationFromTheShell: a command beside the running server knows its
// address, and the connections of somebody deleted end with the next call.
func TestInvitationFromTheShell(t *testing.T) {
	s := testkit.Start(t)
	s.AddTeam("shop")
	l, err := s.Admin.Invite(t.Context(), org.NewPerson{Email: "ada@example.com", Name: "Ada"}, "shop", []string{"viewer"}, audit.Shell("root"))
	s.Must(err)
	if l.URL != s.URL+l.Path || !strings.HasPrefix(l.Path, "/login/account?token=") {
		t.Errorf("link %q, path %q", l.URL, l.Path)
	}
	_, token, _ := strings.Cut(l.Path, "token=")
	b := s.Browser()
	if res := b.Get(l.Path); res.Status != 200 {
		t.Errorf("the page: %d", res.Status)
	}
	if res := b.Post("/login/account", map[string][]string{"token": {token}, "password": {testkit.Password}}); res.Status != 303 {
		t.Fatalf("%d\n%s", res.Status, res.Body)
	}
	c := s.Register().Connect("ada@example.com", "shop")
	if res := c.Call("tools/list", ""); res.Status != 200 {
		t.Errorf("connected: %d", res.Status)
	}
	p, err := s.Admin.Directory.PersonByEmail(t.Context(), "ada@example.com")
	s.Must(err)
	_, err = s.Admin.Directory.ChangeAccount(t.Context(), p.ID, org.DeleteAccount, audit.Shell("root"))
	s.Must(err)
	s.Eventually(time.Second, "the deleted person's call is refused", func() bool { return c.Call("tools/list", "").Status == 401 })
}
