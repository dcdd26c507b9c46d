package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/orielhq/oriel/internal/telemetry"
)

var testNow = time.Date(2018, 3, 3, 10, 0, 0, 0, time.UTC)

// keys is a KeyChecker of fixed answers.
type keys struct{}

func (keys) CheckKey(_ context.Context, key string) (Key, error) {
	switch key {
	case "good":
		return Key{ID: key, Tenant: 7}, nil
	case "logs-only":
		return Key{ID: key, Tenant: 7, Signals: []string{"logs"}}, nil
	case "slow":
		return Key{ID: key, Tenant: 7, BytesPerSecond: 10}, nil
	case "broken":
		return Key{}, errors.New("the database is gone")
	case "zero":
		return Key{}, nil
	}
	return Key{}, fmt.Errorf("check key: %w", ErrKeyRefused)
}

// recorder is a Writer that keeps what it gets.
type recorder struct {
	mu      sync.Mutex // guards the rest
	err     error
	tenant  telemetry.TenantID
	batches [][]telemetry.LogRecord
}

func (w *recorder) WriteLogs(_ context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.tenant = tenant
	w.batches = append(w.batches, batch)
	return nil
}

func (w *recorder) records() []telemetry.LogRecord {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []telemetry.LogRecord
	for _, b := range w.batches {
		out = append(out, b...)
	}
	return out
}

func newServer(t testing.TB, w telemetry.Writer, change ...func(*Config)) *Server {
	t.Helper()
	c := Config{
		Keys: keys{}, Writer: w, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return testNow }, Retention: 24 * time.Hour,
	}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func post(s *Server, contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.Logs(w, r)
	return w
}

// sample has one record of everything that is converted.
func sample() plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	rl.Resource().Attributes().PutEmptyMap("k8s").PutStr("pod", "shop-1")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("cart")
	sl.Scope().SetVersion("1.2")
	sl.Scope().Attributes().PutStr("team", "blue")
	lr := sl.LogRecords().AppendEmpty()
	lr.SetTimestamp(pcommon.NewTimestampFromTime(testNow.Add(-time.Minute)))
	lr.SetSeverityNumber(plog.SeverityNumberWarn2)
	lr.SetSeverityText("Achtung")
	lr.SetEventName("cart.slow")
	lr.SetTraceID([16]byte{1, 2})
	lr.SetSpanID([8]byte{3})
	lr.Body().SetStr("slow <cart>")
	a := lr.Attributes()
	a.PutStr("service.name", "forged")
	a.PutStr("resource_attr:service.name", "forged")
	a.PutStr("k8s.pod", "forged")
	a.PutStr("_stream_id", "forged")
	a.PutStr("", "empty name")
	a.PutStr("empty", "")
	a.PutInt("n", -3)
	a.PutDouble("f", 0.25)
	a.PutDouble("nan", math.NaN())
	a.PutBool("ok", true)
	a.PutEmptyBytes("raw").FromRaw([]byte{0xff, 0})
	m := a.PutEmptyMap("http")
	m.PutStr("route", "/cart")
	m.PutEmptyMap("deeper").PutInt("status", 200)
	m.PutEmptyMap(strings.Repeat("x", 200)).PutInt("y", 1)
	list := a.PutEmptySlice("list")
	list.AppendEmpty().SetStr(`<"\` + "\n\x01\xff")
	list.AppendEmpty().SetDouble(math.Inf(1))
	list.AppendEmpty()
	a.PutEmptyMap("short").PutEmptyMap("nested").PutBool("x", false)
	return logs
}

func marshal(t testing.TB, contentType string, logs plog.Logs) []byte {
	t.Helper()
	req := plogotlp.NewExportRequestFromLogs(logs)
	var b []byte
	var err error
	if contentType == typeJSON {
		b, err = req.MarshalJSON()
	} else {
		b, err = req.MarshalProto()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLogsConverts(t *testing.T) {
	long := strings.Repeat("x", 200)
	want := []telemetry.LogRecord{{
		Time:     testNow.Add(-time.Minute),
		Resource: []telemetry.Field{{Name: "service.name", Value: "shop"}, {Name: "k8s.pod", Value: "shop-1"}},
		Attributes: []telemetry.Field{
			{Name: "scope.name", Value: "cart"},
			{Name: "scope.version", Value: "1.2"},
			{Name: "scope.team", Value: "blue"},
			{Name: "attr:service.name", Value: "forged"},
			{Name: "attr:resource_attr:service.name", Value: "forged"},
			{Name: "attr:k8s.pod", Value: "forged"},
			{Name: "attr:_stream_id", Value: "forged"},
			{Name: "unnamed", Value: "empty name"},
			{Name: "n", Value: "-3"},
			{Name: "f", Value: "0.25"},
			{Name: "nan", Value: "NaN"},
			{Name: "ok", Value: "true"},
			{Name: "raw", Value: "/wA="},
			{Name: "http", Value: `{"route":"/cart","deeper":{"status":200},"` + long + `":{"y":1}}`},
			{Name: "list", Value: `["<\"\\\n\u0001` + "\uFFFD" + `","+Inf",null]`},
			{Name: "short.nested.x", Value: "false"},
			{Name: "severity_text", Value: "Achtung"},
			{Name: "event.name", Value: "cart.slow"},
		},
		Severity: "WARN", Message: "slow <cart>",
		TraceID: "01020000000000000000000000000000", SpanID: "0300000000000000",
	}}
	// JSON cannot carry the invalid UTF-8 as such; both end as U+FFFD.
	want[0].Attributes[14].Value = strings.Replace(want[0].Attributes[14].Value, "\n", `\n`, 1)
	for _, contentType := range []string{typeProtobuf, typeJSON} {
		w := &recorder{}
		logs := sample()
		if contentType == typeJSON {
			// pdata writes NaN as no valid JSON; senders quote it.
			logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().PutStr("nan", "NaN")
			list, _ := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get("list")
			list.Slice().At(1).SetStr("+Inf")
		}
		resp := post(newServer(t, w), contentType, marshal(t, contentType, logs))
		if resp.Code != 200 {
			t.Fatalf("%s: %d %s", contentType, resp.Code, resp.Body)
		}
		if diff := cmp.Diff(want, w.records()); diff != "" || w.tenant != 7 {
			t.Errorf("%s: tenant %d (-want +got):\n%s", contentType, w.tenant, diff)
		}
	}
}

func TestLogsBodies(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		message      string
		severity     string
		attrs        string
	}{
		{"map", `{"body":{"kvlistValue":{"values":[{"key":"msg","value":{"stringValue":"x"}},{"key":"n","value":{"intValue":"1"}}]}},"attributes":[{"key":"n","value":{"intValue":"2"}}]}`, `{"msg":"x","n":1}`, "", "n=2 msg=x"},
		{"array", `{"body":{"arrayValue":{"values":[{"intValue":"1"},{"boolValue":true}]}}}`, `[1,true]`, "", ""},
		{"bytes", `{"body":{"bytesValue":"AAE="}}`, "AAE=", "", ""},
		{"none", `{"eventName":"e"}`, "e", "", "event.name=e"},
		{"severity text", `{"severityText":"Warning","body":{"stringValue":"x"}}`, "x", "WARN", ""},
		{"severity out of range", `{"severityNumber":99,"severityText":"error","body":{"stringValue":"x"}}`, "x", "ERROR", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &recorder{}
			resp := post(newServer(t, w), typeJSON, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[`+tt.record+`]}]}]}`))
			recs := w.records()
			if resp.Code != 200 || len(recs) != 1 {
				t.Fatalf("%d %s, %d records", resp.Code, resp.Body, len(recs))
			}
			var attrs []string
			for _, f := range recs[0].Attributes {
				attrs = append(attrs, f.Name+"="+f.Value)
			}
			if r := recs[0]; r.Message != tt.message || r.Severity != tt.severity || strings.Join(attrs, " ") != tt.attrs || !r.Time.Equal(testNow) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func compress(t testing.TB, encoding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		zw, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = zw
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func simple(n int) plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	rl.Resource().Attributes().PutStr("host.name", "shop-1")
	recs := rl.ScopeLogs().AppendEmpty().LogRecords()
	recs.EnsureCapacity(n)
	for i := range n {
		lr := recs.AppendEmpty()
		lr.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
		lr.SetSeverityNumber(plog.SeverityNumberInfo)
		lr.Body().SetStr("request served in 12 ms for a customer who waited")
		lr.Attributes().PutStr("http.route", "/cart/{id}")
		lr.Attributes().PutStr("http.request.method", "GET")
		lr.Attributes().PutInt("http.response.status_code", 200)
		lr.Attributes().PutInt("request.number", int64(i))
	}
	return logs
}

// deepProto returns a record whose body is an array in an array, n deep.
func deepProto(n int) []byte {
	value := []byte{}
	for range n {
		array := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), value)
		value = protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), array)
	}
	b := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), value)
	for _, num := range []protowire.Number{2, 2, 1} {
		b = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	return b
}

func deepJSON(n int) []byte {
	return []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` +
		strings.Repeat(`{"arrayValue":{"values":[`, n) + `{"intValue":"1"}` + strings.Repeat(`]}}`, n) + `}]}]}]}`)
}

func TestLogsAnswers(t *testing.T) {
	good := marshal(t, typeProtobuf, simple(2))
	empties := func(n int, path ...protowire.Number) []byte {
		b := bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, path[len(path)-1], protowire.BytesType), nil), n)
		for i := len(path) - 2; i >= 0; i-- {
			b = protowire.AppendBytes(protowire.AppendTag(nil, path[i], protowire.BytesType), b)
		}
		return b
	}
	for _, tt := range []struct {
		name        string
		contentType string
		body        []byte
		header      []string
		status      int
	}{
		{"protobuf", typeProtobuf, good, nil, 200},
		{"parameters of the type", "application/json; charset=utf-8", marshal(t, typeJSON, simple(2)), nil, 200},
		{"gzip", typeProtobuf, compress(t, "gzip", good), []string{"Content-Encoding", "gzip"}, 200},
		{"zstd", typeProtobuf, compress(t, "zstd", good), []string{"Content-Encoding", "zstd"}, 200},
		{"identity", typeProtobuf, good, []string{"Content-Encoding", "identity"}, 200},
		{"scheme in lower case", typeProtobuf, good, []string{"Authorization", "bearer good"}, 200},
		{"no records", typeProtobuf, nil, nil, 200},
		{"nesting allowed", typeProtobuf, deepProto(maxValueDepth - 2), nil, 200},
		{"nesting allowed in JSON", typeJSON, deepJSON(maxValueDepth - 2), nil, 200},
		{"as many records as allowed", typeProtobuf, empties(maxRecords, 1, 2, 2), nil, 200},

		{"no key", typeProtobuf, good, []string{"Authorization", ""}, 401},
		{"other scheme", typeProtobuf, good, []string{"Authorization", "Basic good"}, 401},
		{"empty key", typeProtobuf, good, []string{"Authorization", "Bearer "}, 401},
		{"unknown key", typeJSON, good, []string{"Authorization", "Bearer bad"}, 401},
		{"unknown key and type", "text/plain", good, []string{"Authorization", "Bearer bad"}, 401},
		{"key not checkable", typeProtobuf, good, []string{"Authorization", "Bearer broken"}, 503},
		{"key of no tenant", typeProtobuf, good, []string{"Authorization", "Bearer zero"}, 503},

		{"other type", "text/plain", good, nil, 415},
		{"no type", "", good, nil, 415},
		{"other encoding", typeProtobuf, good, []string{"Content-Encoding", "br"}, 415},
		{"two encodings", typeProtobuf, good, []string{"Content-Encoding", "gzip, gzip"}, 415},

		{"truncated protobuf", typeProtobuf, good[:len(good)-3], nil, 400},
		{"text as protobuf", typeProtobuf, []byte("hello, world"), nil, 400},
		{"protobuf as JSON", typeJSON, good, nil, 400},
		{"empty JSON", typeJSON, nil, nil, 400},
		{"truncated JSON", typeJSON, []byte(`{"resourceLogs":[`), nil, 400},
		{"no gzip", typeProtobuf, good, []string{"Content-Encoding", "gzip"}, 400},
		{"truncated gzip", typeProtobuf, compress(t, "gzip", good)[:30], []string{"Content-Encoding", "gzip"}, 400},
		{"no zstd", typeProtobuf, good, []string{"Content-Encoding", "zstd"}, 400},

		{"too large", typeProtobuf, make([]byte, maxCompressedBytes+1), nil, 413},
		{"gzip bomb", typeProtobuf, compress(t, "gzip", make([]byte, maxBodyBytes+1)), []string{"Content-Encoding", "gzip"}, 413},
		{"zstd bomb", typeProtobuf, compress(t, "zstd", make([]byte, maxBodyBytes+1)), []string{"Content-Encoding", "zstd"}, 413},
		{"too deep", typeProtobuf, deepProto(2 * maxValueDepth), nil, 413}, // an array takes two of three frames
		{"far too deep", typeProtobuf, deepProto(3_000), nil, 413},
		{"far too deep in JSON", typeJSON, deepJSON(3_000), nil, 413},
		{"too many records", typeProtobuf, empties(maxRecords+1, 1, 2, 2), nil, 413},
		{"too many resources", typeProtobuf, empties(maxRecords+1, 1), nil, 413},
		{"too many values", typeProtobuf, empties(maxValues+1, 1, 2, 2, 5, 5, 1), nil, 413},
		{"too many records in JSON", typeJSON, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}` + strings.Repeat(",{}", maxRecords) + `]}]}]}`), nil, 413},
		{"too many resources in JSON", typeJSON, []byte(`{"resourceLogs":[{}` + strings.Repeat(",{}", maxRecords) + `]}`), nil, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := post(newServer(t, &recorder{}), tt.contentType, tt.body, tt.header...)
			if resp.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.Code, tt.status, resp.Body)
			}
			wantType := typeJSON
			if tt.contentType == typeProtobuf {
				wantType = typeProtobuf
			}
			if got := resp.Header().Get("Content-Type"); got != wantType {
				t.Errorf("content type %q, want %q", got, wantType)
			}
			if got, want := resp.Header().Get("WWW-Authenticate"), map[bool]string{true: "Bearer"}[tt.status == 401]; got != want {
				t.Errorf("WWW-Authenticate %q, want %q", got, want)
			}
			if got := resp.Header().Get("Retry-After") != ""; got != (tt.status == 503) {
				t.Errorf("Retry-After present: %v", got)
			}
			if tt.status == 200 {
				return
			}
			var st spb.Status
			var err error
			if wantType == typeJSON {
				err = protojson.Unmarshal(resp.Body.Bytes(), &st)
			} else {
				err = proto.Unmarshal(resp.Body.Bytes(), &st)
			}
			if err != nil || st.Code == 0 || st.Message == "" {
				t.Errorf("status %v, %v", &st, err)
			}
			if strings.Contains(st.Message, "database") {
				t.Errorf("the cause is shown: %s", st.Message)
			}
		})
	}
}

func TestLogsTwoAuthorizationHeaders(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/v1/logs", nil)
	r.Header["Authorization"] = []string{"Bearer good", "Bearer good"}
	w := httptest.NewRecorder()
	newServer(t, &recorder{}).Logs(w, r)
	if w.Code != 401 {
		t.Errorf("status %d", w.Code)
	}
}

func TestLogsPartialSuccess(t *testing.T) {
	logs := plog.NewLogs()
	recs := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	at := func(ts pcommon.Timestamp) plog.LogRecord {
		lr := recs.AppendEmpty()
		lr.SetTimestamp(ts)
		lr.Body().SetStr("x")
		return lr
	}
	ago := func(d time.Duration) pcommon.Timestamp { return pcommon.NewTimestampFromTime(testNow.Add(-d)) }
	at(ago(24 * time.Hour))
	at(ago(24*time.Hour + 1))
	at(ago(-48 * time.Hour))
	at(ago(-48*time.Hour - 1))
	at(math.MaxUint64)
	at(0).SetObservedTimestamp(ago(25 * time.Hour))
	many := at(0)
	for i := range MaxFields + 1 {
		many.Attributes().PutInt(fmt.Sprint("k", i), int64(i))
	}
	at(0).Body().SetStr(strings.Repeat("x", MaxRowBytes+1))

	reg := prometheus.NewRegistry()
	w := &recorder{}
	s := newServer(t, w, func(c *Config) { c.Registerer = reg })
	resp := post(s, typeJSON, marshal(t, typeJSON, logs))
	var got struct {
		PartialSuccess struct {
			RejectedLogRecords string `json:"rejectedLogRecords"`
			ErrorMessage       string `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if err := json.Unmarshal(resp.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	const want = "6 of 8 log records were rejected: 2 older than the retention of 24h0m0s; 2 more than 48h0m0s in the future; 1 larger than 2031616 bytes; 1 with more than 900 attributes"
	if resp.Code != 200 || got.PartialSuccess.RejectedLogRecords != "6" || got.PartialSuccess.ErrorMessage != want || len(w.records()) != 2 {
		t.Errorf("status %d, %+v, %d stored", resp.Code, got, len(w.records()))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			counts[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	if counts["oriel_ingest_accepted_total"] != 2 || counts["oriel_ingest_rejected_total"] != 6 ||
		counts["oriel_ingest_batches_total"] != 1 || counts["oriel_ingest_requests_total"] != 1 || counts["oriel_ingest_bytes_total"] == 0 {
		t.Errorf("metrics %v", counts)
	}
	if _, err := New(Config{Keys: keys{}, Writer: w, Logger: slog.Default(), Now: time.Now, Retention: 1, Registerer: reg}); err == nil {
		t.Error("metrics registered twice without an error")
	}
}

// A large resource is sent once and stored with each record.
func TestLogsExpansionIsBounded(t *testing.T) {
	logs := simple(1000)
	logs.ResourceLogs().At(0).Resource().Attributes().PutStr("big", strings.Repeat("x", 500<<10))
	w := &recorder{}
	resp := post(newServer(t, w), typeProtobuf, marshal(t, typeProtobuf, logs))
	if n := len(w.records()); resp.Code != 200 || n == 0 || n*(500<<10) > maxExpandedBytes || !strings.Contains(resp.Body.String(), "repeats large resource") {
		t.Errorf("status %d, %d stored, %q", resp.Code, n, resp.Body)
	}
}

func TestLogsWriterFails(t *testing.T) {
	for _, err := range []error{telemetry.ErrUnavailable, errors.New("disk")} {
		s := newServer(t, &recorder{err: fmt.Errorf("write: %w", err)})
		resp := post(s, typeProtobuf, marshal(t, typeProtobuf, simple(1)))
		if resp.Code != 503 || resp.Header().Get("Retry-After") == "" {
			t.Errorf("%v: status %d", err, resp.Code)
		}
		if s.inFlight.Load() != 0 {
			t.Errorf("%d bytes still held", s.inFlight.Load())
		}
	}
}

func TestLogsInFlightBound(t *testing.T) {
	s := newServer(t, &recorder{}, func(c *Config) { c.MaxInFlightBytes = 100 << 10 })
	if resp := post(s, typeProtobuf, marshal(t, typeProtobuf, simple(100))); resp.Code != 200 {
		t.Errorf("small: status %d", resp.Code)
	}
	if resp := post(s, typeProtobuf, marshal(t, typeProtobuf, simple(3000))); resp.Code != 503 || resp.Header().Get("Retry-After") == "" {
		t.Errorf("large: status %d", resp.Code)
	}
	if s.inFlight.Load() != 0 {
		t.Errorf("%d bytes still held", s.inFlight.Load())
	}
}

// Over a real connection, which has a read deadline: it must be lifted again for
// the next request.
func TestLogsOverHTTP(t *testing.T) {
	w := &recorder{}
	srv := httptest.NewServer(http.HandlerFunc(newServer(t, w).Logs))
	defer srv.Close()
	for range 3 {
		body := compress(t, "gzip", marshal(t, typeProtobuf, simple(500)))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", typeProtobuf)
		req.Header.Set("Content-Encoding", "gzip")
		req.Header.Set("Authorization", "Bearer good")
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		exported := plogotlp.NewExportResponse()
		if err != nil || resp.StatusCode != 200 || exported.UnmarshalProto(answer) != nil || exported.PartialSuccess().RejectedLogRecords() != 0 {
			t.Fatalf("%d %q %v", resp.StatusCode, answer, err)
		}
	}
	if n := len(w.records()); n != 1500 {
		t.Errorf("%d records", n)
	}
}

func TestNewRefusesGaps(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

func FuzzOTLP(f *testing.F) {
	f.Add(marshal(f, typeProtobuf, sample()), false)
	f.Add(marshal(f, typeProtobuf, simple(3)), false)
	f.Add(marshal(f, typeJSON, simple(3)), true)
	f.Add([]byte(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"x"}}]},"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}},null,{}]}]}]}`), true)
	f.Add(deepProto(10), false)
	f.Add(deepJSON(10), true)
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		contentType := typeProtobuf
		if isJSON {
			contentType = typeJSON
		}
		w := &recorder{}
		s := newServer(t, w)
		resp := post(s, contentType, data)
		recs := w.records()
		switch resp.Code {
		case 200:
		case 400, 413:
			if len(recs) > 0 {
				t.Fatalf("status %d, but %d records stored", resp.Code, len(recs))
			}
		default:
			t.Fatalf("status %d", resp.Code)
		}
		// An empty record takes two bytes.
		if len(recs) > len(data)/2 {
			t.Fatalf("%d records out of %d bytes", len(recs), len(data))
		}
		own := 0
		for _, r := range recs {
			if r.Time.Before(testNow.Add(-24*time.Hour)) || r.Time.After(testNow.Add(48*time.Hour)) {
				t.Fatalf("time %s", r.Time)
			}
			if n := len(r.Attributes) + len(r.Resource); n > MaxFields {
				t.Fatalf("%d fields", n)
			}
			for _, a := range r.Attributes {
				if len(a.Name) > MaxFieldNameBytes || a.Name == "" || a.Value == "" || strings.HasPrefix(a.Name, telemetry.ResourcePrefix) || AttributeName(a.Name) != a.Name {
					t.Fatalf("attribute %+v", a)
				}
				if !strings.HasPrefix(a.Name, "scope.") { // like the resource, repeated for each record
					own += len(a.Value)
				}
			}
			own += len(r.Message)
		}
		// A byte grows to 6 as a JSON escape; a body is both message and
		// attributes; null and numbers are longer as text than on the wire.
		if own > 64+30*len(data) {
			t.Fatalf("%d bytes out of %d", own, len(data))
		}
		if s.inFlight.Load() != 0 {
			t.Fatalf("%d bytes still held", s.inFlight.Load())
		}
	})
}

type discard struct{}

func (discard) WriteLogs(context.Context, telemetry.TenantID, []telemetry.LogRecord) error {
	return nil
}

func BenchmarkIngestLogs(b *testing.B) {
	body := marshal(b, typeProtobuf, simple(1000))
	s := newServer(b, discard{})
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if resp := post(s, typeProtobuf, body); resp.Code != 200 {
			b.Fatal(resp.Code)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
}
