package ingest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const documentText = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"observedTimeUnixNano":"3000000000","body":{"stringValue":"a"}}]}]}],
"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","startTimeUnixNano":"1000000000","endTimeUnixNano":"2000000000","events":[{"timeUnixNano":"1500000000"}]}]}]}],
"resourceMetrics":[{"scopeMetrics":[{"metrics":[
{"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"1000000000","asInt":"1"}]}},
{"name":"b","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"2000000000","startTimeUnixNano":"1000000000","asInt":"1","exemplars":[{"timeUnixNano":"1000000000","asInt":"1"}]}]}},
{"name":"c","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"3000000000","count":"1","bucketCounts":["1"]}]}},
{"name":"d","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"4000000000","count":"1"}]}},
{"name":"e","summary":{"dataPoints":[{"timeUnixNano":"5000000000","count":"1"}]}}]}]}]}`

func TestDocument(t *testing.T) {
	d, err := ParseDocument([]byte(documentText))
	if err != nil || d.Logs.LogRecordCount() != 1 || d.Traces.SpanCount() != 1 || d.Metrics.DataPointCount() != 5 {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := d.Last(); !got.Equal(time.Unix(5, 0)) {
		t.Errorf("last %s", got)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d.Shift(now.Sub(d.Last()))
	if !d.Last().Equal(now) {
		t.Errorf("after the shift, last %s", d.Last())
	}
	logs, lost, spans, spansLost := d.Records(now)
	if len(logs) != 1 || len(spans) != 1 || len(lost)+len(spansLost) != 0 {
		t.Fatalf("%v, %v, %v, %v", logs, lost, spans, spansLost)
	}
	s := spans[0]
	if now.Sub(logs[0].Time) != 2*time.Second || now.Sub(s.Start) != 4*time.Second || now.Sub(s.End) != 3*time.Second || now.Sub(s.Events[0].Time) != 3500*time.Millisecond {
		t.Errorf("%+v, %+v", logs[0], s)
	}
	text, err := pmetricotlp.NewExportRequestFromMetrics(d.Metrics).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `Nano":"1`+"000000000") || strings.Count(string(text), `Nano":"1767225`) != 7 {
		t.Errorf("some times were not moved: %s", text)
	}
	n := 0
	d.RemovePoints(func(at time.Time) bool {
		n++
		return at.Before(now.Add(-time.Second))
	})
	if n != 5 || d.Metrics.DataPointCount() != 2 {
		t.Errorf("%d points seen, %d left", n, d.Metrics.DataPointCount())
	}
}

func TestParseDocumentErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                  "not valid JSON",
		`{"resourceLogs":[`: "not valid JSON: unexpected end of JSON input at byte 17",
		`[]`:                ErrNotOTLP.Error(),
		`{"msg":"x"}`:       ErrNotOTLP.Error(),
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":{}}]}]}]}`:             "not an OTLP logs request",
		`{"resourceMetrics":[` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]}`: "nested",
	} {
		if _, err := ParseDocument([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseDocument([]byte(`{}`)); !errors.Is(err, ErrNotOTLP) {
		t.Errorf("error %v", err)
	}
	for text, want := range map[string]bool{documentText: true, " {\n \"resourceSpans\" ": true, `{"msg":"resourceLogs"`: false, `["resourceLogs"`: false, `{`: false, ``: false} {
		if IsDocument([]byte(text)) != want {
			t.Errorf("%.30q is a document: %t", text, !want)
		}
	}
}

// Every record of a document comes out or is counted.
func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(documentText))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"18446744073709551615"},{}]}]}]}`))
	f.Add([]byte(`{"resource_spans":[{}],"resourceMetrics":null}`))
	now := time.Unix(1.7e9, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDocument(data)
		if err != nil {
			return
		}
		logCount, spanCount, points := d.Logs.LogRecordCount(), d.Traces.SpanCount(), d.Metrics.DataPointCount()
		if last := d.Last(); !last.IsZero() {
			d.Shift(now.Sub(last))
			if got := d.Last(); !got.Equal(now) {
				t.Fatalf("last %s became %s", last, got)
			}
		}
		logs, logsLost, spans, spansLost := d.Records(now)
		for _, n := range logsLost {
			logCount -= int(n)
		}
		for _, n := range spansLost {
			spanCount -= int(n)
		}
		if len(logs) != logCount || len(spans) != spanCount {
			t.Fatalf("%d logs of %d, %d spans of %d", len(logs), logCount, len(spans), spanCount)
		}
		seen := 0
		d.RemovePoints(func(time.Time) bool { seen++; return true })
		if m := d.Metrics; seen != points || m.DataPointCount() != 0 {
			t.Fatalf("%d points, %d seen, %d left", points, seen, m.DataPointCount())
		}
	})
}
