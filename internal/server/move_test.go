package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/testkit"
)

// Nobody notices the move: access tokens, refresh tokens and browser sessions
// of before work after it, and what was ended stays ended.
func TestMoveStore(t *testing.T) {
	t.Parallel()
	target := pgtest.Empty(t)
	s := testkit.Start(t, func(c *config.Server) { c.DatabaseURL = "" })
	s.AddPerson("ada@example.com", true)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	c := s.Register().Connect("ada@example.com", "shop")
	over := s.Register().Connect("ada@example.com", "shop")
	s.Must(s.Admin.Authority.EndGrant(t.Context(), over.Grant(), "test", audit.System()))
	here := s.Settings().Store
	if _, err := server.MoveStore(t.Context(), here, "", target, audit.System()); err == nil || !strings.Contains(err.Error(), "a server runs") {
		t.Errorf("beside a running server: %v", err)
	}
	s.Stop()
	moved, err := server.MoveStore(t.Context(), here, "", target, audit.System())
	s.Must(err)
	counts := make(map[string]int64)
	for _, m := range moved {
		counts[m.Name] = m.Rows
		if len(m.Checksum) != 64 {
			t.Errorf("%+v", m)
		}
	}
	if counts["grants"] != 2 || counts["people"] != 1 || counts["signing_keys"] == 0 || counts["audit"] == 0 || counts["sessions"] == 0 || len(counts) < 25 {
		t.Errorf("moved %v", counts)
	}
	// A second move would mix two states.
	if _, err := server.MoveStore(t.Context(), here, "", target, audit.System()); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("onto what is there: %v", err)
	}

	s.Reconfigure(func(c *config.Server) { c.DatabaseURL = target })
	admin, err := server.OpenAdmin(t.Context(), s.Settings().Store)
	s.Must(err)
	defer admin.Close() //nolint:errcheck // it was only read
	if res := c.Call("tools/list", "{}"); res.Status != http.StatusOK {
		t.Errorf("the access token of before: %d %s", res.Status, res.Body)
	}
	if res := c.Renew(c.Refresh); res.Status != http.StatusOK {
		t.Errorf("the refresh token of before: %d %s", res.Status, res.Body)
	}
	if res := over.Renew(over.Refresh); res.Status != http.StatusBadRequest {
		t.Errorf("what was ended: %d %s", res.Status, res.Body)
	}
	if res := over.Call("tools/list", "{}"); res.Status != http.StatusUnauthorized {
		t.Errorf("what was ended: %d %s", res.Status, res.Body)
	}
	// Numbering goes on behind what was moved.
	_, err = admin.Directory.AddTeam(t.Context(), "next", "Next", audit.System())
	s.Must(err)
	events, err := admin.Events(t.Context(), audit.Filter{})
	s.Must(err)
	if last := events[len(events)-1]; last.Team != "next" || int64(len(events)) <= counts["audit"] {
		t.Errorf("%d events, the last %+v", len(events), last)
	}
}

func TestMoveStoreFromNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := server.MoveStore(context.Background(), config.Store{DataDir: dir}, "", pgtest.Empty(t), audit.System())
	if !errors.Is(err, store.ErrNoSource) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "oriel.db")); err == nil {
		t.Error("it made a file")
	}
}
