package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/pgtest"
)

// All that the simulator does, small, on both databases.
func TestSmall(t *testing.T) {
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			p := place{path: filepath.Join(t.TempDir(), "oriel.db")}
			if name == "PostgreSQL" {
				p = place{url: pgtest.Empty(t)}
			}
			o := options{people: 1000, teams: 20, grants: []int{1000, 3000}, connections: 200, seed: 1}
			all, err := simulate(t.Context(), o, p, t.TempDir(), t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			last := all[len(all)-1]
			if len(all) != 2 || last.grants != 3000 || last.size == 0 || last.inUse != 200 || last.perConnection <= 0 {
				t.Errorf("figures %+v", last)
			}
			// Four of ten, but for those of the small app and those that ended.
			if last.small != 3000/smallEvery || last.large != 1200 {
				t.Errorf("ended %d and %d grants with their apps", last.small, last.large)
			}
			if p99 := last.hot.quantile(0.99); p99 > 10*time.Millisecond {
				t.Errorf("p99 of checks %s", p99)
			}
		})
	}
}
