package server_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/ingest/importer"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/testkit"
)

// Every signal reaches its store, through a running server and without one,
// and both count the same.
func TestImportAllSignals(t *testing.T) {
	s := testkit.Start(t)
	shop := s.AddTeam("shop")
	now := time.Now()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		s.Must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	at := func(ago time.Duration) string { return fmt.Sprint(now.Add(-ago).UnixNano()) }
	files := []string{
		file("all.otlp", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"`+at(time.Hour)+`","body":{"stringValue":"a"}}]}]}]}
{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","startTimeUnixNano":"`+at(time.Hour)+`","endTimeUnixNano":"`+at(time.Hour)+`"}]}]}]}
{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"depth","gauge":{"dataPoints":[{"timeUnixNano":"`+at(50*time.Hour)+`","asInt":"1"},{"timeUnixNano":"`+at(time.Minute)+`","asInt":"1"}]}},{"name":"delta","sum":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"`+at(time.Minute)+`","asInt":"1"}]}}]}]}]}
`),
		file("old.prom", fmt.Sprintf("# TYPE lamps gauge\nlamps 1 %d\nlamps 2 %d\nlamps 3 %d\n", now.UnixMilli(), now.Add(-70*time.Hour).UnixMilli(), now.Add(-70*time.Hour).UnixMilli())),
		file("app.logfmt", "level=info msg=a\n"),
	}

	settings := s.Settings()
	discard := slog.New(slog.DiscardHandler)
	run := func(how string) {
		t.Helper()
		sum, err := server.Import(t.Context(), server.ImportConfig{
			Store: settings.Store, Telemetry: settings.Telemetry, Retention: settings.Retention, Engine: testkit.Engine, Logger: discard,
			Options: importer.Options{Tenant: shop.Tenant, Now: time.Now, Location: time.UTC}, Files: files,
		})
		s.Must(err)
		for signal, want := range map[string]int64{"logs": 2, "spans": 1} {
			if got := sum.Total.Signals[signal].Stored; got != want {
				t.Errorf("%s: %d %s stored, want %d\n%s", how, got, signal, want, sum)
			}
		}
		if m := sum.Total.Signals["metrics"]; m.Records != 6 || m.Rejected["unsupported"] != 1 {
			t.Errorf("%s: %s", how, sum)
		}
	}
	usage := func() map[string]server.SignalUsage {
		t.Helper()
		all, err := server.Usage(t.Context(), server.UsageConfig{
			Store: settings.Store, Telemetry: settings.Telemetry, Engine: testkit.Engine, Logger: discard,
		}, []org.Team{shop})
		s.Must(err)
		found := make(map[string]server.SignalUsage)
		for _, u := range all {
			if u.Tenant == shop.Tenant {
				found[u.Signal] = u
			}
		}
		return found
	}

	s.WaitReady()
	run("through the server")
	// The server's own logs are in the first team too.
	before := usage()
	if before["logs"].Rows < 2 || before["spans"].Rows != 1 || before["metrics"].Series < 2 {
		t.Errorf("through the server: %+v", before)
	}
	s.Stop()
	run("without a server")
	if after := usage(); after["logs"].Rows < before["logs"].Rows+2 || after["spans"].Rows != 2 || after["metrics"].Series < 2 {
		t.Errorf("without a server: %+v, before %+v", after, before)
	}
}
