package ingest

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/orielhq/oriel/internal/telemetry"
)

// spanRecorder keeps what it gets.
type spanRecorder struct {
	err   error
	spans []telemetry.SpanRecord
}

func (w *spanRecorder) WriteSpans(_ context.Context, _ telemetry.TenantID, batch []telemetry.SpanRecord) error {
	if w.err == nil {
		w.spans = append(w.spans, batch...)
	}
	return w.err
}

func postSpans(t *testing.T, w *spanRecorder, contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	s := newServer(t, &recorder{}, func(c *Config) { c.Spans = w })
	r := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	s.Traces(rec, r)
	return rec
}

func sampleSpans() ptrace.Traces {
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("net/http")
	ss.Scope().Attributes().PutStr("k", "v")
	sp := ss.Spans().AppendEmpty()
	sp.SetTraceID(pcommon.TraceID{1, 2})
	sp.SetSpanID(pcommon.SpanID{3})
	sp.SetParentSpanID(pcommon.SpanID{4})
	sp.SetName("GET /cart")
	sp.SetKind(ptrace.SpanKindServer)
	sp.SetStartTimestamp(pcommon.NewTimestampFromTime(testNow.Add(-time.Second)))
	sp.SetEndTimestamp(pcommon.NewTimestampFromTime(testNow))
	sp.Status().SetCode(ptrace.StatusCodeError)
	sp.Status().SetMessage("boom")
	sp.TraceState().FromRaw("a=b")
	sp.Attributes().PutInt("http.response.status_code", 500)
	sp.Attributes().PutEmptyMap("m").PutStr("k", "v")
	e := sp.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
	e.Attributes().PutStr("exception.type", "Boom")
	l := sp.Links().AppendEmpty()
	l.SetTraceID(pcommon.TraceID{5})
	l.SetSpanID(pcommon.SpanID{6})
	return traces
}

func TestTracesConvert(t *testing.T) {
	want := []telemetry.SpanRecord{{
		TraceID: "01020000000000000000000000000000", SpanID: "0300000000000000", ParentSpanID: "0400000000000000", TraceState: "a=b",
		Name: "GET /cart", Kind: telemetry.KindServer, Start: testNow.Add(-time.Second), End: testNow,
		Resource:  []telemetry.Field{{Name: "service.name", Value: "shop"}},
		ScopeName: "net/http", Scope: []telemetry.Field{{Name: "k", Value: "v"}},
		Attributes: []telemetry.Field{{Name: "http.response.status_code", Value: "500"}, {Name: "m.k", Value: "v"}},
		Status:     telemetry.StatusError, StatusMessage: "boom",
		Events: []telemetry.SpanEvent{{Time: testNow, Name: "exception", Attributes: []telemetry.Field{{Name: "exception.type", Value: "Boom"}}}},
		Links:  []telemetry.SpanLink{{TraceID: "05000000000000000000000000000000", SpanID: "0600000000000000"}},
	}}
	req := ptraceotlp.NewExportRequestFromTraces(sampleSpans())
	proto, err := req.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	json, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		contentType, encoding string
		body                  []byte
	}{
		{typeProtobuf, "", proto},
		{typeJSON, "", json},
		{typeProtobuf, "gzip", compress(t, "gzip", proto)},
		{typeJSON, "zstd", compress(t, "zstd", json)},
	} {
		w := &spanRecorder{}
		res := postSpans(t, w, tt.contentType, tt.body, "Content-Encoding", tt.encoding)
		if res.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", tt.contentType, tt.encoding, res.Code, res.Body)
		}
		if diff := cmp.Diff(want, w.spans); diff != "" {
			t.Errorf("%s %s: %s", tt.contentType, tt.encoding, diff)
		}
	}
}

func TestTracesPartialSuccess(t *testing.T) {
	traces := sampleSpans()
	spans := traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	spans.AppendEmpty().SetName("no ids")
	old := spans.AppendEmpty()
	spans.At(0).CopyTo(old)
	old.SetEndTimestamp(pcommon.NewTimestampFromTime(testNow.Add(-25 * time.Hour)))
	big := spans.AppendEmpty()
	spans.At(0).CopyTo(big)
	for i := range MaxFields {
		big.Attributes().PutInt(string(rune('a'+i%26))+string(rune('0'+i/26)), 1)
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	w := &spanRecorder{}
	res := postSpans(t, w, typeProtobuf, body)
	answer := ptraceotlp.NewExportResponse()
	if err := answer.UnmarshalProto(res.Body.Bytes()); err != nil || res.Code != http.StatusOK {
		t.Fatal(res.Code, err)
	}
	if answer.PartialSuccess().RejectedSpans() != 3 || len(w.spans) != 1 {
		t.Errorf("%d rejected, %q", answer.PartialSuccess().RejectedSpans(), answer.PartialSuccess().ErrorMessage())
	}
}

func TestOverloadIsAnsweredSo(t *testing.T) {
	body, err := ptraceotlp.NewExportRequestFromTraces(sampleSpans()).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	res := postSpans(t, &spanRecorder{err: &telemetry.OverloadError{Reason: "the disk is full", RetryAfter: 30 * time.Second}}, typeProtobuf, body)
	if res.Code != http.StatusTooManyRequests || res.Header().Get("Retry-After") != "30" || !bytes.Contains(res.Body.Bytes(), []byte("the disk is full")) {
		t.Errorf("%d %v %q", res.Code, res.Header(), res.Body)
	}
}

// FuzzOTLPOthers is FuzzOTLP for spans and metrics.
func FuzzOTLPOthers(f *testing.F) {
	spans, err := ptraceotlp.NewExportRequestFromTraces(sampleSpans()).MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	points, err := pmetricotlp.NewExportRequestFromMetrics(sampleMetrics()).MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(spans, false, false)
	f.Add(points, false, true)
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01020000000000000000000000000000","spanId":"0300000000000000","events":[{}],"links":[{}]},null]}]}]}`), true, false)
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"1","exemplars":[{}]}]}}]}]}]}`), true, true)
	f.Fuzz(func(t *testing.T, data []byte, isJSON, metrics bool) {
		w, m := &spanRecorder{}, &metricRecorder{}
		s := newServer(t, &recorder{}, func(c *Config) { c.Spans, c.Metrics = w, m })
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(data))
		r.Header.Set("Content-Type", typeProtobuf)
		if isJSON {
			r.Header.Set("Content-Type", typeJSON)
		}
		r.Header.Set("Authorization", "Bearer good")
		res := httptest.NewRecorder()
		if metrics {
			s.Metrics(res, r)
		} else {
			s.Traces(res, r)
		}
		taken := len(w.spans) + m.points
		switch res.Code {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if taken > 0 {
				t.Fatalf("status %d, but %d were taken", res.Code, taken)
			}
		default:
			t.Fatalf("status %d", res.Code)
		}
		if taken > len(data)/2 || s.inFlight.Load() != 0 {
			t.Fatalf("%d out of %d bytes, %d still held", taken, len(data), s.inFlight.Load())
		}
		for i := range w.spans {
			sp := &w.spans[i]
			if n, _ := spanSize(sp); n+len(sp.Resource)+len(sp.Scope) > MaxFields || len(sp.TraceID) != 32 || len(sp.SpanID) != 16 || sp.End.Before(sp.Start) {
				t.Fatalf("span %+v", sp)
			}
		}
	})
}

// metricRecorder counts what it gets.
type metricRecorder struct{ points int }

func (w *metricRecorder) WriteOTLP(_ context.Context, _ telemetry.TenantID, md pmetric.Metrics) (map[string]int64, error) {
	w.points += md.DataPointCount()
	return nil, nil
}

func sampleMetrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	sm := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	g := sm.Metrics().AppendEmpty()
	g.SetName("queue")
	p := g.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetIntValue(3)
	p.Attributes().PutStr("k", "v")
	p.Exemplars().AppendEmpty().SetIntValue(1)
	h := sm.Metrics().AppendEmpty()
	h.SetName("latency")
	h.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Positive().BucketCounts().FromRaw([]uint64{1, 2})
	return md
}

func TestMetricsAnswers(t *testing.T) {
	body, err := pmetricotlp.NewExportRequestFromMetrics(sampleMetrics()).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	w := &metricRecorder{}
	s := newServer(t, &recorder{}, func(c *Config) { c.Metrics = w })
	r := httptest.NewRequest(http.MethodPost, "/v1/metrics", bytes.NewReader(body))
	r.Header.Set("Content-Type", typeProtobuf)
	r.Header.Set("Authorization", "Bearer good")
	res := httptest.NewRecorder()
	s.Metrics(res, r)
	if res.Code != http.StatusOK || w.points != 2 {
		t.Errorf("%d, %d points", res.Code, w.points)
	}
}
