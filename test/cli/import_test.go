package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// TestImportIntoARunningServer: every format through the server that runs,
// counted by its engines.
func TestImportIntoARunningServer(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AddTeam("first", "First") // has the server's own logs
	o.AddTeam("demo", "Demo")
	o.Ready(30 * time.Second)
	want := map[string]int64{"logs": 0, "spans": 0, "metrics": 0}
	for _, tt := range []struct {
		ext, format string
		stored      map[string]int64
	}{
		{".syslog", "syslog", map[string]int64{"logs": 3}},
		{".logfmt", "logfmt", map[string]int64{"logs": 2}},
		{".otlp", "otlp", map[string]int64{"logs": 1, "spans": 1, "metrics": 1}},
		{".om", "openmetrics", map[string]int64{"metrics": 5}},
		{".prom", "openmetrics", map[string]int64{"metrics": 2}},
	} {
		text, ok := recent(time.Now().UTC(), tt.ext)
		if !ok {
			t.Fatal(tt.ext)
		}
		file := filepath.Join(t.TempDir(), "now"+tt.ext)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, logs, err := o.Command("", "import", "--team", "demo", "--json", file)
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.ext, err, logs)
		}
		var sum struct {
			Files []struct {
				Format  string
				Signals map[string]struct{ Stored, Records int64 }
			}
		}
		if err := json.Unmarshal([]byte(out), &sum); err != nil || len(sum.Files) != 1 {
			t.Fatalf("%s: %v\n%s", tt.ext, err, out)
		}
		got := sum.Files[0]
		if got.Format != tt.format || len(got.Signals) != len(tt.stored) {
			t.Errorf("%s: %s", tt.ext, out)
		}
		for signal, n := range tt.stored {
			if got.Signals[signal].Stored != n || got.Signals[signal].Records != n {
				t.Errorf("%s: %d %s, want %d: %s", tt.ext, got.Signals[signal].Stored, signal, n, out)
			}
			want[signal] += n
		}
	}
	var usage []struct {
		Team, Signal        string
		Rows, Series, Bytes int64
	}
	if err := json.Unmarshal([]byte(o.Admin("telemetry", "usage", "--json")), &usage); err != nil {
		t.Fatal(err)
	}
	for _, u := range usage {
		switch {
		case u.Team != "demo":
		case u.Signal == "metrics":
			if u.Bytes == 0 {
				t.Errorf("%+v", u)
			}
		case u.Rows != want[u.Signal]:
			t.Errorf("%s: %d rows, want %d", u.Signal, u.Rows, want[u.Signal])
		}
	}
	if blocks, err := filepath.Glob(filepath.Join(o.DataDir, "telemetry", "metrics", "*", "01*", "meta.json")); err != nil || len(blocks) < 3 {
		t.Errorf("blocks of old samples: %s, %v", strings.Join(blocks, ", "), err)
	}
}
