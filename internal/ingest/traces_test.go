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
