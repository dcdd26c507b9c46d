package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/testenv"
)

const (
	// telemetryRounds is how often something is killed while senders work;
	// batch is the records of one request, metricBatch its data points.
	telemetryRounds = 6
	batch           = 100
	metricBatch     = 10
	// findLimit is how long after a restart everything must be found again.
	findLimit = 30 * time.Second
)

// What is killed in a round, in turn.
var victims = []string{"engines", "server", "all"}

// acked collects the batches of a signal that were acknowledged.
type acked struct {
	mu      sync.Mutex // guards batches
	batches map[string]bool
}

func newAcked() *acked { return &acked{batches: make(map[string]bool)} }

func (a *acked) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.batches[id] = true
}

// without returns the batches that found has not with all of its records.
func (a *acked) without(found map[string]int, records int) (missing []string, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.batches {
		if found[id] != records {
			missing = append(missing, fmt.Sprintf("%s with %d", id, found[id]))
		}
	}
	slices.Sort(missing)
	return missing, len(a.batches)
}

const resource = `"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"pay"}}]}`

// list repeats a record's JSON with the numbers from 0.
func list(n int, record func(i int) string) string {
	records := make([]string, n)
	for i := range records {
		records[i] = record(i)
	}
	return strings.Join(records, ",")
}

func marks(id string, i int) string {
	return fmt.Sprintf(`"attributes":[{"key":"batch","value":{"stringValue":"%s"}},{"key":"n","value":{"intValue":"%d"}}]`, id, i)
}

func now() string { return strconv.FormatInt(time.Now().UnixNano(), 10) }

func logRequest(id string) string {
	at := now()
	return `{"resourceLogs":[{` + resource + `,"scopeLogs":[{"logRecords":[` + list(batch, func(i int) string {
		return fmt.Sprintf(`{"timeUnixNano":"%s","severityNumber":9,"body":{"stringValue":"order %d of batch %s was paid"},%s}`, at, i, id, marks(id, i))
	}) + `]}]}]}`
}

func spanRequest(id string) string {
	at := now()
	return `{"resourceSpans":[{` + resource + `,"scopeSpans":[{"spans":[` + list(batch, func(i int) string {
		return fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x","name":"pay","startTimeUnixNano":"%s","endTimeUnixNano":"%s",%s}`, i+1, i+1, at, at, marks(id, i))
	}) + `]}]}]}`
}

func metricRequest(id string) string {
	at := now()
	return `{"resourceMetrics":[{` + resource + `,"scopeMetrics":[{"metrics":[{"name":"paid","gauge":{"dataPoints":[` + list(metricBatch, func(i int) string {
		return fmt.Sprintf(`{"timeUnixNano":"%s","asInt":"1",%s}`, at, marks(id, i))
	}) + `]}}]}]}]}`
}

// send sends batches until told to stop, and keeps what was acknowledged.
func send(url, key, name string, body func(id string) string, a *acked, stop <-chan struct{}) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		id := fmt.Sprintf("%s-%d", name, n)
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body(id)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err != nil {
			continue // never acknowledged
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
		case resp.StatusCode == http.StatusOK:
			a.add(id)
		case resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests:
			return fmt.Errorf("send: %s: %s", resp.Status, answer)
		}
	}
}

// counted reads rows of a batch and how many of its records there are.
func counted(rows []telemetry.LogRow, field string) map[string]int {
	found := make(map[string]int)
	for _, row := range rows {
		n, err := strconv.Atoi(row.Get("records"))
		if err == nil {
			found[row.Get(field)] = n
		}
	}
	return found
}

var large = telemetry.Budget{Rows: 49_000, Bytes: 64 << 20}

func everything() telemetry.View { return telemetry.NewView(1, telemetry.Restriction{}) }

func attachTo(t *testing.T, o *testenv.Oriel, signal string) *victoria.Client {
	t.Helper()
	c, err := victoria.Attach(filepath.Join(o.DataDir, "telemetry", signal), 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAcknowledgedTelemetrySurvivesKill: every record that was acknowledged is
// found after the engines, the server or all of them were killed under load.
func TestAcknowledgedTelemetrySurvivesKill(t *testing.T) {
	o := testenv.StartOriel(t, "--self-team", "-")
	o.AddTeam("shop", "Shop")
	key := o.IngestKey("shop")
	logs, spans, metrics := newAcked(), newAcked(), newAcked()
	logEngine, spanEngine := attachTo(t, o, "logs"), attachTo(t, o, "spans")
	for round := range telemetryRounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i, s := range []struct {
			path string
			body func(string) string
			to   *acked
		}{{"/v1/logs", logRequest, logs}, {"/v1/logs", logRequest, logs}, {"/v1/traces", spanRequest, spans}, {"/v1/metrics", metricRequest, metrics}} {
			wg.Go(func() {
				if err := send(o.URL+s.path, key, fmt.Sprintf("%d-%d", round, i), s.body, s.to, stop); err != nil {
					t.Error(err)
				}
			})
		}
		<-time.After(spanMin + mathrand.N(spanMax-spanMin))
		victim := victims[round%len(victims)]
		if victim != "server" {
			o.KillEngineOf("logs")
			o.KillEngineOf("spans")
			// Records go on being acknowledged while there are no engines.
			<-time.After(mathrand.N(spanMin))
		}
		if victim == "engines" {
			<-time.After(mathrand.N(spanMax))
		} else {
			o.Kill()
		}
		close(stop)
		wg.Wait()
		if victim != "engines" {
			o.Start()
		}
		o.Ready(findLimit)
		testenv.Within(t, findLimit, "every acknowledged record is found", func() error {
			start, end := time.Now().Add(-time.Hour), time.Now().Add(time.Minute)
			rows, err := logEngine.QueryLogs(t.Context(), everything(), telemetry.LogQuery{
				Text: `"service.name":=pay | stats by (batch) count_uniq(n) as records`, Start: start, End: end,
			}, large)
			if err != nil {
				return err
			}
			spanRows, err := spanEngine.QuerySpans(t.Context(), everything(), telemetry.SpanQuery{
				Text: `name:=pay | stats by ("span_attr:batch") count_uniq("span_attr:n") as records`, Start: start, End: end,
			}, large)
			if err != nil {
				return err
			}
			missing, n := logs.without(counted(rows.Rows, "batch"), batch)
			missingSpans, m := spans.without(counted(spanRows.Rows, "span_attr:batch"), batch)
			if missing = append(missing, missingSpans...); len(missing) > 0 {
				return fmt.Errorf("%d of %d batches are missing or incomplete, first %s, last %s", len(missing), n+m, missing[0], missing[len(missing)-1])
			}
			return nil
		})
		t.Logf("round %d: %s killed, all of %d log records and %d spans are there", round+1, victim, len(logs.batches)*batch, len(spans.batches)*batch)
	}
	var status map[string]string
	if err := json.Unmarshal(fetch(t, o.URL+"/readyz"), &status); err != nil || status["ingest"] != "ok" {
		t.Errorf("readyz: %v, %v", status, err)
	}
	o.Stop()
	checkMetrics(t, o, metrics)
}

// checkMetrics reads the metrics of a server that is gone.
func checkMetrics(t *testing.T, o *testenv.Oriel, a *acked) {
	t.Helper()
	store, err := prom.Open(prom.Config{
		Dir: filepath.Join(o.DataDir, "telemetry", "metrics"), Retention: 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	r, err := store.QueryMetrics(t.Context(), everything(), telemetry.MetricQuery{Expr: `count by (batch) (last_over_time(paid[1h]))`, Start: at, End: at}, telemetry.Budget{Rows: 49_000, Bytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for _, s := range r.Series {
		found[s.Labels[0].Value] = int(s.Points[0].Value)
	}
	missing, n := a.without(found, metricBatch)
	if len(missing) > 0 || n == 0 {
		t.Errorf("%d of %d batches of metrics are missing or incomplete: %.300v", len(missing), n, missing)
	}
	t.Logf("all of %d data points are there", n*metricBatch)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
