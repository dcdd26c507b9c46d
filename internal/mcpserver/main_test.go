package mcpserver_test

import (
	"testing"

	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// newServer is a server with ada as a viewer in shop and bank.
func newServer(t testing.TB) *testkit.Server {
	t.Helper()
	s := testkit.Start(t)
	s.AddPerson("owner@example.com", true)
	s.AddPerson("ada@example.com", false)
	s.AddTeam("shop")
	s.AddTeam("bank")
	s.SetMember("shop", "ada@example.com", "viewer")
	s.SetMember("bank", "ada@example.com", "viewer")
	return s
}
