package testenv

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// LogRecord is one record to send.
type LogRecord struct {
	Time     time.Time
	Service  string
	Severity string
	Body     string
}

// IngestKey makes an ingest key for a team.
func (o *Oriel) IngestKey(team string) string {
	o.t.Helper()
	key := strings.TrimSpace(o.Admin("key", "add", "--team", team, "--name", "test"))
	if key == "" || strings.ContainsAny(key, " \n") {
		o.t.Fatalf("oriel key add printed %q, want the key alone", key)
	}
	return key
}

var severityNumbers = map[string]int{"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}

// SendLogs sends records as OTLP JSON with an ingest key.
func (o *Oriel) SendLogs(key string, records ...LogRecord) {
	o.t.Helper()
	type value struct {
		String string `json:"stringValue"`
	}
	type attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	type record struct {
		Time     string `json:"timeUnixNano"`
		Number   int    `json:"severityNumber"`
		Severity string `json:"severityText"`
		Body     value  `json:"body"`
	}
	type scope struct {
		Records []record `json:"logRecords"`
	}
	type resource struct {
		Resource struct {
			Attributes []attribute `json:"attributes"`
		} `json:"resource"`
		Scopes []scope `json:"scopeLogs"`
	}
	var resources []resource
	for _, r := range records {
		var one resource
		one.Resource.Attributes = []attribute{{"service.name", value{r.Service}}}
		one.Scopes = []scope{{[]record{{strconv.FormatInt(r.Time.UnixNano(), 10), severityNumbers[r.Severity], r.Severity, value{r.Body}}}}}
		resources = append(resources, one)
	}
	body, err := json.Marshal(map[string]any{"resourceLogs": resources})
	if err != nil {
		o.t.Fatal(err)
	}
	o.deliver("/v1/logs", key, body)
}

// deliver sends a document that must be taken whole.
func (o *Oriel) deliver(path, key string, body []byte) {
	o.t.Helper()
	for _, at := range o.engines() {
		resp := at.post(o.t, path, key, body)
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || bytes.Contains(answer, []byte("rejected")) {
			o.t.Fatalf("POST %s: %s: %s", path, resp.Status, answer)
		}
	}
}

func (o *Oriel) post(t testing.TB, path, bearer string, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, o.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// SendOTLP sends OTLP JSON with an ingest key to one of the doors: /v1/logs,
// /v1/traces, /v1/metrics.
func (o *Oriel) SendOTLP(key, path string, document any) {
	o.t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		o.t.Fatal(err)
	}
	o.deliver(path, key, body)
}
