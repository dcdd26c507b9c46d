package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/testenv"
)

const (
	// telemetryRounds is how often something is killed while senders work;
	// batch is the records of one request.
	telemetryRounds = 6
	batch           = 100
	senders         = 4
	// findLimit is how long after a restart everything must be found again.
	findLimit = 30 * time.Second
)

// What is killed in a round, in turn.
var victims = []string{"engine", "server", "both"}

// acked collects the batches that were acknowledged.
type acked struct {
	mu      sync.Mutex // guards batches
	batches map[string]bool
}

func (a *acked) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.batches[id] = true
}

func logRequest(id string) string {
	records := make([]string, batch)
	now := strconv.FormatInt(time.Now().UnixNano(), 10)
	for i := range records {
		records[i] = fmt.Sprintf(`{"timeUnixNano":"%s","severityNumber":9,"body":{"stringValue":"order %d of batch %s was paid"},"attributes":[{"key":"batch","value":{"stringValue":"%s"}},{"key":"n","value":{"intValue":"%d"}}]}`, now, i, id, id, i)
	}
	return `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"pay"}}]},"scopeLogs":[{"logRecords":[` + strings.Join(records, ",") + `]}]}]}`
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

// missing returns the acknowledged batches of which the engine does not have
// every record.
func missing(t *testing.T, c *victoria.Client, a *acked) ([]string, error) {
	now := time.Now()
	result, err := c.QueryLogs(t.Context(), telemetry.NewView(1, telemetry.Restriction{}), telemetry.LogQuery{
		Text:  `"service.name":=pay | stats by (batch) count_uniq(n) as records`,
		Start: now.Add(-time.Hour), End: now.Add(time.Minute),
	}, telemetry.Budget{Rows: 49_000, Bytes: 64 << 20})
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	left := maps.Clone(a.batches)
	a.mu.Unlock()
	for _, row := range result.Rows {
		if row.Get("records") == strconv.Itoa(batch) {
			delete(left, row.Get("batch"))
		}
	}
	return slices.Sorted(maps.Keys(left)), nil
}

// TestAcknowledgedLogsSurviveKill: every record that was acknowledged is found
// after the engine, the server or both were killed under load.
func TestAcknowledgedLogsSurviveKill(t *testing.T) {
	o := testenv.StartOriel(t, "--self-team", "-")
	o.AddTeam("shop", "Shop")
	key := o.IngestKey("shop")
	engine, err := victoria.Attach(filepath.Join(o.DataDir, "telemetry", "logs"), 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &acked{batches: make(map[string]bool)}
	for round := range telemetryRounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				if err := send(o.URL+"/v1/logs", key, fmt.Sprintf("%d-%d", round, i), logRequest, a, stop); err != nil {
					t.Error(err)
				}
			})
		}
		<-time.After(spanMin + mathrand.N(spanMax-spanMin))
		victim := victims[round%len(victims)]
		if victim != "server" {
			o.KillEngine()
			// Records go on being acknowledged while there is no engine.
			<-time.After(mathrand.N(spanMin))
		}
		if victim != "engine" {
			o.Kill()
		}
		if victim == "engine" {
			<-time.After(mathrand.N(spanMax))
		}
		close(stop)
		wg.Wait()
		if victim != "engine" {
			o.Start()
		}
		o.Ready(findLimit)
		testenv.Within(t, findLimit, "every acknowledged record is found", func() error {
			left, err := missing(t, engine, a)
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("%d of %d batches are missing or incomplete, first %s, last %s", len(left), len(a.batches), left[0], left[len(left)-1])
			}
			return err
		})
		t.Logf("round %d: %s killed, all of %d acknowledged records are there", round+1, victim, len(a.batches)*batch)
	}
	var status map[string]string
	if err := json.Unmarshal(fetch(t, o.URL+"/readyz"), &status); err != nil || status["ingest"] != "ok" {
		t.Errorf("readyz: %v, %v", status, err)
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
