package oauth_test

import (
	"testing"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.MainWithoutEngine(m) }

// newServer is a server with two people: ada is a viewer in the team shop and
// an admin in the team bank, bob is in no team.
func newServer(t *testing.T, change ...func(*config.Server)) *testkit.Server {
	t.Helper()
	s := testkit.Start(t, change...)
	s.AddPerson("owner@example.com", true)
	s.AddPerson("ada@example.com", false)
	s.AddPerson("bob@example.com", false)
	s.AddTeam("shop")
	s.AddTeam("bank")
	s.SetMember("shop", "ada@example.com", "viewer")
	s.SetMember("bank", "ada@example.com", "admin")
	return s
}

func tokenOf(s string) grant.AccessToken { return grant.AccessToken(s) }
