package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

// TestTwoMembersSeeDifferentRows asks the same of one team as two of its
// members, through their connected clients and the real engine.
func TestTwoMembersSeeDifferentRows(t *testing.T) {
	s := testkit.Start(t)
	s.AddTeam("first") // gets Oriel's own logs
	s.AddTeam("shop")
	save := func(text org.RoleText) {
		t.Helper()
		text.Permissions = []org.Permission{org.LogsRead}
		_, err := s.Admin.Directory.SaveRole(context.Background(), text, audit.System())
		s.Must(err)
	}
	save(org.RoleText{Team: "shop", Name: "carts", DataScope: "service.name = cart", HiddenFields: []string{"user.email"}})
	save(org.RoleText{Name: "payments", DataScope: "service.name = payment", LookBack: "1h"})
	group, err := s.Admin.Directory.AddGroup(context.Background(), "Payments", "", audit.System())
	s.Must(err)
	clients := make(map[string]*testkit.Client)
	for _, who := range []string{"ada", "bob", "grace"} {
		p := s.AddPerson(who+"@example.com", false)
		switch who {
		case "ada":
			s.SetMember("shop", p.Email, "carts")
		case "bob":
			s.Must(s.Admin.Directory.ChangeGroupMembers(context.Background(), group.ID, org.MemberChange{Add: []org.PersonID{p.ID}}, audit.System()))
			s.Must(s.Admin.Directory.SetGroupRoles(context.Background(), group.ID, "shop", []string{"payments"}, audit.System()))
		case "grace":
			s.SetMember("shop", p.Email, "viewer")
		}
		clients[who] = s.Register().Connect(p.Email, "shop")
	}
	s.WaitReady()
	_, key, err := s.Admin.Directory.AddKey(context.Background(), "shop", "test", audit.System())
	s.Must(err)
	for _, service := range []string{"cart", "payment"} {
		for i, age := range []time.Duration{time.Minute, 2 * time.Hour} {
			body := fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeLogs":[{"logRecords":[
				{"timeUnixNano":"%d","body":{"stringValue":"mark-%s-%d"},"attributes":[{"key":"user.email","value":{"stringValue":"secret-%s@example.com"}}]}]}]}]}`,
				service, s.Clock.Now().Add(-age).UnixNano(), service, i, service)
			if res := s.Do(http.MethodPost, "/v1/logs", body, "Content-Type", "application/json", "Authorization", "Bearer "+key.Reveal()); res.Status != http.StatusOK {
				t.Fatalf("%d %s", res.Status, res.Body)
			}
		}
	}
	ask := func(who, query string) string {
		t.Helper()
		args, err := json.Marshal(map[string]any{"query": query, "start": "now-1d"})
		s.Must(err)
		res := clients[who].Call("tools/call", `{"name":"search_logs","arguments":`+string(args)+`}`)
		if res.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", who, res.Status, res.Body)
		}
		return res.Body
	}
	// What was sent can be found after about a second.
	s.Eventually(20*time.Second, "all rows can be found", func() bool {
		all := ask("grace", "mark")
		return strings.Contains(all, "mark-cart-1") && strings.Contains(all, "mark-payment-1")
	})
	marks := []string{"mark-cart-0", "mark-cart-1", "mark-payment-0", "mark-payment-1", "secret-cart", "secret-payment"}
	sees := map[string][]string{
		"ada": {"mark-cart-0", "mark-cart-1"}, "bob": {"mark-payment-0", "secret-payment"}, "grace": marks,
	}
	for _, query := range []string{"mark", "*", `service.name:* | fields _msg, user.email`, `* | stats values(_msg) v, values(user.email) e`, `* | union (*) | uniq by (_msg, user.email)`, `mark or user.email:*`} {
		for who, want := range sees {
			body := ask(who, query)
			for _, mark := range marks {
				expected := false
				for _, w := range want {
					expected = expected || w == mark
				}
				if got := strings.Contains(body, mark); got != expected {
					t.Errorf("%s asks %s: sees %s: %t\n%s", who, query, mark, got, body)
				}
			}
		}
	}
	// What is hidden cannot be asked for either.
	if body := ask("ada", `user.email:secret*`); !strings.Contains(body, "matched 0") {
		t.Errorf("a hidden field can be compared with:\n%s", body)
	}
	if body := ask("bob", "*"); !strings.Contains(body, "your roles let you look back 1h") {
		t.Errorf("nothing is said about the look-back:\n%s", body)
	}
	// Out of the group, out of the team, on the next call and within a second.
	s.Must(s.Admin.Directory.RemoveGroup(context.Background(), group.ID, audit.System()))
	s.Eventually(time.Second, "the removed group ends the connection", func() bool {
		return clients["bob"].Call("tools/list", "").Status == http.StatusUnauthorized
	})
}
