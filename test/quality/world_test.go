// Package quality asks the tools of a running server about an incident of
// which the truth is known: a seeded shop, see test/incident.
//
// Nobody thinks here: for each fault there is a script of calls. What it scores
// is whether the answers hold the facts, and at what cost; and whether numbers
// in answers are those that plain Go computes over the same telemetry.
package quality

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/incident/shop"
)

var update = flag.Bool("update", false, "write the scores into docs/benchmarks.md")

func TestMain(m *testing.M) { testkit.Main(m) }

// bytesPerToken is how the tools count.
const bytesPerToken = 4

// found is how long the engines may take until everything sent can be found.
const found = 30 * time.Second

// world is a server that has the set, and people who ask it.
type world struct {
	*testkit.Server
	set *shop.Set
	// minutes is the whole set.
	minutes []*shop.Minute
	// viewer sees all of the first team; production, payments see a part.
	viewer, production, payments *testkit.Client
	// spanCluster has the spans, nil where the server's own engine does.
	spanCluster *victoriatest.Cluster
	// other sees all of the second team.
	other *testkit.Client
}

// newWorld starts a server and sends it a set.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{}
	w.Server = testkit.Start(t, func(c *config.Server) {
		c.SelfTeam = "-"
		if os.Getenv("ORIEL_TEST_LOG_ENGINE") == "cluster" {
			c.Telemetry.Engines = w.clusters(t)
		}
	})
	// The server's clock may be ahead of that of the metrics by up to an hour.
	w.set = shop.New(shop.Config{Seed: seed, End: time.Now(), Requests: 36, Chatter: 24})
	keys := make(map[string]string)
	for _, team := range w.set.Truth.Teams {
		w.AddTeam(team)
		_, key, err := w.Admin.Directory.AddKey(t.Context(), team, "shop", audit.System())
		w.Must(err)
		keys[team] = key.Reveal()
	}
	w.viewer = w.person("ada", shop.Team, "")
	w.other = w.person("dan", shop.OtherTeam, "")
	w.production = w.person("bob", shop.Team, `deployment.environment.name = prod`)
	w.payments = w.person("cyd", shop.Team, `team.name = payments`)
	w.WaitReady()
	began := time.Now()
	logs, spans := 0, 0
	for m := range w.set.All() {
		w.minutes = append(w.minutes, m)
		for team, key := range keys {
			w.Must(shop.Sender{URL: w.URL, Key: key}.Minute(t.Context(), m, team))
		}
		logs, spans = logs+len(m.Logs), spans+len(m.Spans)
	}
	t.Logf("%d log records and %d spans sent in %s", logs, spans, time.Since(began).Round(time.Millisecond))
	want := 0
	for _, l := range w.logs(nil) {
		if !l.Time.Before(w.set.Start) && l.Time.Before(w.set.End) {
			want++
		}
	}
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("%d records were sent, the last answer was %s", want, last)
		}
	}()
	w.Eventually(found, "all records can be found", func() bool {
		text, err := w.try(w.viewer, "aggregate_logs", arguments{"start": stamp(w.set.Start), "end": stamp(w.set.End)})
		last = fmt.Sprint(text, err)
		return err == nil && strings.Contains(text, fmt.Sprintf("%d", want))
	})
	wantSpans := len(w.spans(func(s *shop.Span) bool { return !s.End.Before(w.set.Start) && s.End.Before(w.set.End) }))
	w.Eventually(found, "all spans can be found", func() bool {
		text, err := w.try(w.viewer, "aggregate_spans", arguments{"start": stamp(w.set.Start), "end": stamp(w.set.End)})
		return err == nil && strings.Contains(text, fmt.Sprintf("matched %d\n", wantSpans))
	})
	return w
}

// clusters starts a cluster for logs and one for traces, and returns the file
// that names them.
func (w *world) clusters(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, signal := range []string{"logs", "traces"} {
		c := victoriatest.StartCluster(t)
		w.spanCluster = c // the last
		fmt.Fprintf(&text, "%s:\n  url: %s\n  write_url: %s\n", signal, c.Select.URL, c.Insert.URL)
	}
	path := filepath.Join(t.TempDir(), "engines.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// person adds somebody with a role of its own and connects a client.
func (w *world) person(name, team, scope string) *testkit.Client {
	w.TB.Helper()
	role := "viewer"
	if scope != "" {
		role = "sees-" + name
		_, err := w.Admin.Directory.SetRole(w.TB.Context(), team, role, []org.Permission{org.LogsRead, org.SpansRead, org.MetricsRead}, scope, audit.System())
		w.Must(err)
	}
	p := w.AddPerson(name+"@example.com", false)
	w.SetMember(team, p.Email, role)
	return w.Register().Connect(p.Email, team)
}

// logs are the first team's records that keep says yes to; nil keeps all.
func (w *world) logs(keep func(*shop.Log) bool) (out []*shop.Log) {
	for _, m := range w.minutes {
		for i := range m.Logs {
			if l := &m.Logs[i]; l.Resource.Team == shop.Team && (keep == nil || keep(l)) {
				out = append(out, l)
			}
		}
	}
	return out
}

// spans are the first team's spans that keep says yes to.
func (w *world) spans(keep func(*shop.Span) bool) (out []*shop.Span) {
	for _, m := range w.minutes {
		for i := range m.Spans {
			if s := &m.Spans[i]; s.Resource.Team == shop.Team && (keep == nil || keep(s)) {
				out = append(out, s)
			}
		}
	}
	return out
}

type arguments map[string]any

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// try calls a tool.
func (w *world) try(c *testkit.Client, tool string, args arguments) (string, error) {
	w.TB.Helper()
	params, err := json.Marshal(map[string]any{"name": tool, "arguments": args})
	w.Must(err)
	res := c.Call("tools/call", string(params))
	body := res.Body
	if _, data, ok := strings.Cut(body, "data: "); ok && !strings.HasPrefix(body, "{") { // an event stream
		body = data
	}
	var answer struct {
		Result struct {
			IsError bool
			Content []struct{ Text string }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.Status != http.StatusOK || len(answer.Result.Content) == 0 {
		return "", fmt.Errorf("%s: status %d: %.500s", tool, res.Status, res.Body)
	}
	if answer.Result.IsError {
		return "", errors.New(tool + ": " + answer.Result.Content[0].Text)
	}
	return answer.Result.Content[0].Text, nil
}

// call calls a tool, which must succeed.
func (w *world) call(c *testkit.Client, tool string, args arguments) string {
	w.TB.Helper()
	text, err := w.try(c, tool, args)
	w.Must(err)
	return text
}
