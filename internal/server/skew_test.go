package server_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/testkit"
)

// Replicas whose clocks differ by 30 seconds take each other's tokens, and what
// is ended at one is refused by the other at once: nobody compares clocks to
// learn of it.
func TestReplicasWhoseClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"ahead": 30 * time.Second, "behind": -30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			s := testkit.Start(t, func(c *config.Server) { c.DatabaseURL, c.SelfTeam = database, "-" })
			other := replica(t, s, func() time.Time { return s.Clock.Now().Add(skew) })
			s.AddPerson("ada@example.com", true)
			s.AddTeam("shop")
			s.SetMember("shop", "ada@example.com", "viewer")
			c := s.Register().Connect("ada@example.com", "shop")
			here, there := c.Resource, other+"/mgmt/api/v1/mcp"
			call := func(resource, token string) int {
				t.Helper()
				return s.MCP(resource, token, "tools/list", "{}").Status
			}
			both := func(what, token string, want int) {
				t.Helper()
				for at, resource := range map[string]string{"here": here, "there": there} {
					if status := call(resource, token); status != want {
						t.Errorf("%s, %s: %d, want %d", what, at, status, want)
					}
				}
			}
			both("a new token", c.Access, http.StatusOK)

			// A refresh at the other, and back.
			res := s.Do(http.MethodPost, other+"/oauth/token", url.Values{
				"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}, "client_id": {c.ID}, "resource": {c.Resource},
			}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
			if res.Status != http.StatusOK {
				t.Fatalf("a refresh there: %d %s", res.Status, res.Body)
			}
			both("a token of the other", res.Member("access_token"), http.StatusOK)
			if again := c.Renew(res.Member("refresh_token")); again.Status != http.StatusOK {
				t.Fatalf("a refresh here: %d %s", again.Status, again.Body)
			}
			both("a token of the first", c.Access, http.StatusOK)

			s.Must(s.Admin.Authority.EndGrant(t.Context(), c.Grant(), "test", audit.System()))
			s.Eventually(2*time.Second, "both refuse", func() bool {
				return call(here, c.Access) == http.StatusUnauthorized && call(there, c.Access) == http.StatusUnauthorized
			})
			if ready := s.Do(http.MethodGet, other+"/readyz", ""); ready.Member("access") != "ok" {
				t.Errorf("readyz there: %s", ready.Body)
			}
		})
	}
}

// replica starts another server on the first one's database, with a clock of
// its own, and returns its address.
func replica(t *testing.T, s *testkit.Server, now func() time.Time) string {
	t.Helper()
	settings := s.Settings()
	settings.PublicURL, settings.DataDir = s.URL, t.TempDir()
	key, err := os.ReadFile(filepath.Join(s.Dir, "master.key"))
	s.Must(err)
	s.Must(os.WriteFile(filepath.Join(settings.DataDir, "master.key"), key, 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.Must(err)
	settings.Listen = l.Addr().String()
	s.Must(l.Close())
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	other, err := server.New(ctx, server.Config{Settings: settings, Now: now, Version: "test", Engine: testkit.Engine, Logs: slog.NewTextHandler(t.Output(), nil)})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + settings.Listen
}
