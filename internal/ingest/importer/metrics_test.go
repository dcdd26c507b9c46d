package importer

import (
	"compress/gzip"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
)

// sink takes everything.
type sink struct {
	recorder
	spans    []telemetry.SpanRecord
	metrics  []pmetric.Metrics
	samples  []string
	rejected map[string]int64 // what the next write of metrics says
	logsOnly bool
}

func (s *sink) WriteSpans(_ context.Context, _ telemetry.TenantID, batch []telemetry.SpanRecord) error {
	s.spans = append(s.spans, batch...)
	return nil
}

func (s *sink) WriteOTLP(_ context.Context, _ telemetry.TenantID, md pmetric.Metrics) (map[string]int64, error) {
	s.metrics = append(s.metrics, md)
	return s.rejected, nil
}

func (s *sink) WriteSamples(_ context.Context, _ telemetry.TenantID, data []byte) (map[string]int64, error) {
	var req writev2.Request
	if err := req.Unmarshal(data); err != nil {
		return nil, err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		l, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			return nil, err
		}
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil {
			return nil, err
		}
		for i, sample := range ts.Samples {
			text := fmt.Sprintf("%s %v at %s", l, sample.Value, time.UnixMilli(sample.Timestamp).UTC().Format(time.RFC3339Nano))
			if i == 0 {
				text += fmt.Sprintf(" [%s|%s|%s]", m.Type, m.Unit, m.Help)
				for _, e := range ts.Exemplars {
					x, err := e.ToExemplar(&b, req.Symbols)
					if err != nil {
						return nil, err
					}
					text += fmt.Sprintf(" exemplar %s %v at %s", x.Labels, x.Value, time.UnixMilli(x.Ts).UTC().Format(time.RFC3339Nano))
				}
			}
			s.samples = append(s.samples, text)
		}
	}
	return s.rejected, nil
}

func (s *sink) options() Options {
	o := options(&s.recorder)
	o.Open = func(_ context.Context, logsOnly bool) (Writers, error) {
		s.logsOnly = logsOnly
		return Writers{&s.recorder, s, s}, nil
	}
	return o
}

// importText imports one file.
func importText(t *testing.T, o Options, name, text string) FileSummary {
	t.Helper()
	sum, err := Import(t.Context(), []string{write(t, name, text)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return sum.Files[0]
}

const openMetricsText = `# HELP requests How \"many\".
# TYPE requests counter
requests_total{path="/ # {}",service_name="own"} 1 1527854400.5
requests_total{path="/"} 2 1527854400.25 # {trace_id="abc"} 1 1527854400.125
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
latency_seconds_bucket{le="1"} 1 1527850800
latency_seconds_bucket{le="+Inf"} 2 1527850800
broken{ 1 2
up 1
"no closing quote 1

# EOF
`

func TestOpenMetrics(t *testing.T) {
	s := new(sink)
	o := s.options()
	o.Service = "shop"
	fs := importText(t, o, "a.txt", openMetricsText)
	want := []string{
		`{__name__="requests_total", path="/ # {}", service_name="own"} 1 at 2018-06-01T12:00:00.5Z [counter||How "many".]`,
		`{__name__="requests_total", path="/", service_name="shop"} 2 at 2018-06-01T12:00:00.25Z [counter||How "many".] exemplar {trace_id="abc"} 1 at 2018-06-01T12:00:00.125Z`,
		`{__name__="latency_seconds_bucket", le="1.0", service_name="shop"} 1 at 2018-06-01T11:00:00Z [histogram|seconds|]`,
		`{__name__="latency_seconds_bucket", le="+Inf", service_name="shop"} 2 at 2018-06-01T11:00:00Z [histogram|seconds|]`,
		`{__name__="up", service_name="shop"} 1 at 2018-06-01T12:00:00Z [unknown||]`,
	}
	if diff := cmp.Diff(want, s.samples); diff != "" {
		t.Error(diff)
	}
	if fs.Records != 5 || fs.Stored != 5 || fs.NoTime != 1 || fs.Unreadable != 2 || fs.Format != FormatOpenMetrics || s.logsOnly {
		t.Errorf("%+v", fs)
	}
	if len(fs.Problems) != 2 || fs.Problems[0].Line != 9 || fs.Problems[1].Line != 11 || !strings.Contains(fs.Problems[0].Text, "write name") {
		t.Errorf("%+v", fs.Problems)
	}
}

func TestDialects(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"Prometheus", "# TYPE a gauge\na{x=\"1\"} 1 1527854400500\n", "2018-06-01T12:00:00.5Z"},
		{"Prometheus without times", "# TYPE a gauge\na 1\n", "2018-06-01T12:00:00Z"},
		{"OpenMetrics, cut off", "# TYPE a gauge\na{x=\"1\"} 1 1527850800\n", "2018-06-01T11:00:00Z"},
		{"OpenMetrics without comments", "a{x=\"1 # }\"} 1 1527850800\n# EOF", "2018-06-01T11:00:00Z"},
		{"OpenMetrics at its end", strings.Repeat("\n", sniffBytes) + "a 1 1527850800.5\r\n# EOF\r\n", "2018-06-01T11:00:00.5Z"},
		{"two files in one", "# TYPE a gauge\n# EOF\na 1 1527850800\n# EOF\n", "2018-06-01T11:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(sink)
			fs := importText(t, s.options(), "a.txt", tt.text)
			if len(s.samples) != 1 || !strings.Contains(s.samples[0], "at "+tt.want) || fs.Unreadable != 0 {
				t.Errorf("%v, %+v", s.samples, fs)
			}
		})
	}
	s := new(sink)
	fs := importText(t, s.options(), "a.txt", "# TYPE a gauge\na 1 1527850800\n")
	if len(fs.Problems) != 1 || !strings.Contains(fs.Problems[0].Text, "# EOF") {
		t.Errorf("%+v", fs)
	}
}

func TestMetricsOfOtherTimes(t *testing.T) {
	s := new(sink)
	o := s.options()
	o.Retention.Metrics = 24 * time.Hour
	const text = "# TYPE a gauge\na 1 1400000000000\na 2 1527850800000\na 3 1527855300000\n"
	if fs := importText(t, o, "a.prom", text); fs.TooOld != 1 || fs.TooNew != 1 || fs.Stored != 1 || fs.TooOldTimes.First.Year() != 2014 {
		t.Errorf("%+v", fs)
	}
	o.ShiftToNow, o.Retention.Metrics = true, 0
	s.samples, s.rejected = nil, map[string]int64{"too_old": 1, "too_many_series": 1}
	fs := importText(t, o, "a.prom", text)
	if len(s.samples) != 3 || !strings.Contains(s.samples[2], "at 2018-06-01T12:00:00Z") || !strings.Contains(s.samples[1], "at 2018-06-01T10:45:00Z") {
		t.Errorf("%v", s.samples)
	}
	if fs.Stored != 1 || fs.TooOld != 1 || fs.Rejected["too_many_series"] != 1 || !strings.Contains(Summary{Files: []FileSummary{fs}}.String(), "too many series") {
		t.Errorf("%+v", fs)
	}
}

const (
	resourceText = `"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]}`
	logsText     = `{"resourceLogs":[{` + resourceText + `,"scopeLogs":[{"logRecords":[{"timeUnixNano":"1527854400000000000","observedTimeUnixNano":"1527854401000000000","severityNumber":17,"body":{"stringValue":"payment failed"}}]}]}]}`
	spansText    = `{"resourceSpans":[{` + resourceText + `,"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"pay","startTimeUnixNano":"1527854399000000000","endTimeUnixNano":"1527854400000000000","events":[{"timeUnixNano":"1527854399500000000","name":"x"}]},{"name":"no ids"}]}]}]}`
	metricsText  = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"depth","gauge":{"dataPoints":[{"timeUnixNano":"1527854400000000000","asDouble":3,"exemplars":[{"timeUnixNano":"1527854399000000000","asDouble":3}]},{"timeUnixNano":"1000000000","asDouble":3},{"asDouble":4}]}}]}]}]}`
)

func TestOTLP(t *testing.T) {
	for name, text := range map[string]string{
		"lines":          logsText + "\n\n" + spansText + "\n" + metricsText,
		"broken lines":   "{\"resourceLogs\":\n" + logsText + "\n" + spansText + "\n[]\n{}\n{\"resourceLogs\":1}\n" + metricsText + "\n",
		"one document":   "{\n" + logsText[1:len(logsText)-1] + ",\n" + spansText[1:len(spansText)-1] + ",\n" + metricsText[1:],
		"several pretty": strings.ReplaceAll(logsText, ":[", ":\n [") + "\n" + strings.ReplaceAll(spansText, ":[", ":\n [") + strings.ReplaceAll(metricsText, ":[", ":\n [") + "{\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := new(sink)
			o := s.options()
			o.Service, o.Retention.Metrics = "other", 24*time.Hour
			fs := importText(t, o, "a.jsonl", text)
			if fs.Format != FormatOTLP || len(s.records) != 1 || len(s.spans) != 1 || len(s.metrics) != 1 || s.metrics[0].DataPointCount() != 1 {
				t.Fatalf("%d logs, %d spans, %d metrics, %+v", len(s.records), len(s.spans), len(s.metrics), fs)
			}
			if s.records[0].Resource[0].Value != "checkout" || s.spans[0].Resource[0].Value != "checkout" {
				t.Errorf("%+v, %+v", s.records[0], s.spans[0])
			}
			if got := *fs.Signals["spans"]; got.Records != 2 || got.Stored != 1 || got.Rejected["no_id"] != 1 {
				t.Errorf("%+v", got)
			}
			if got := *fs.Signals["metrics"]; got.Records != 3 || got.Stored != 1 || got.TooOld != 1 || got.Rejected["no_time"] != 1 {
				t.Errorf("%+v", got)
			}
			var lines []int64
			for _, p := range fs.Problems {
				lines = append(lines, p.Line)
			}
			want := map[string][]int64{"broken lines": {1, 4, 5, 6}, "several pretty": {16}}[name]
			if !slices.Equal(lines, want) {
				t.Errorf("problems %+v", fs.Problems)
			}
		})
	}
}

// Compressed files, and one that begins inside of a document.
func TestSniff(t *testing.T) {
	for text, want := range map[string]string{
		openMetricsText: FormatOpenMetrics, spansText: FormatOTLP, "pans\":[]}]}\n" + spansText: FormatOTLP,
		"{\"msg\":\"resourceLogs\"}\n": "jsonl", "# a comment\nlevel=info msg=x\nlevel=info msg=y\n": "logfmt", "": "plain",
	} {
		var b strings.Builder
		zw := gzip.NewWriter(&b)
		fmt.Fprint(zw, text)
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		for _, packed := range []string{text, b.String()} {
			s := new(sink)
			if fs := importText(t, s.options(), "a", packed); fs.Format != want {
				t.Errorf("%.30q is %s, want %s", text, fs.Format, want)
			}
		}
	}
}

func TestOTLPShiftToNow(t *testing.T) {
	s := new(sink)
	o := s.options()
	o.ShiftToNow, o.Retention = true, Retention{time.Hour, time.Hour, time.Hour}
	o.Now = func() time.Time { return testNow.AddDate(2, 0, 0) }
	now := o.Now()
	importText(t, o, "a.jsonl", logsText+"\n"+spansText+"\n"+metricsText+"\n")
	if len(s.records) != 1 || !s.records[0].Time.Equal(now) {
		t.Errorf("%+v", s.records)
	}
	if len(s.spans) != 1 || !s.spans[0].End.Equal(now) || !s.spans[0].Start.Equal(now.Add(-time.Second)) || !s.spans[0].Events[0].Time.Equal(now.Add(-500*time.Millisecond)) {
		t.Errorf("%+v", s.spans)
	}
	if len(s.metrics) != 1 {
		t.Fatal("no metrics")
	}
	p := s.metrics[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0)
	if p.Timestamp() != pcommon.NewTimestampFromTime(now) || p.Exemplars().At(0).Timestamp() != pcommon.NewTimestampFromTime(now.Add(-time.Second)) {
		t.Errorf("%s, %s", p.Timestamp(), p.Exemplars().At(0).Timestamp())
	}
}

// A line longer than a log's may be is read; one beyond the bound is counted.
func TestOTLPLongLines(t *testing.T) {
	pad := strings.Repeat("x", 2<<20)
	long := strings.Replace(spansText, `"name":"x"`, `"name":"`+pad[:1<<20]+`"`, 1)
	huge := `{"resourceLogs":[{"schemaUrl":"` + strings.Repeat(pad, 32) + `"}]}`
	s := new(sink)
	fs := importText(t, s.options(), "a.jsonl", long+"\n"+huge+"\n"+logsText+"\n")
	if len(s.spans) != 1 || len(s.records) != 1 || fs.Unreadable != 1 || fs.Problems[0].Line != 2 || !strings.Contains(fs.Problems[0].Text, "64 MiB") {
		t.Errorf("%d spans, %d logs, %+v", len(s.spans), len(s.records), fs)
	}
}

func TestFormatsTogether(t *testing.T) {
	s := new(sink)
	logs, metrics, broken := write(t, "a.log", "2018-06-01 10:00:00 a\n"), write(t, "b.prom", "# TYPE a gauge\na 1\n"), write(t, "c.json", `{"resourceLogs":[`)
	sum, err := Import(t.Context(), []string{broken, logs, metrics}, s.options())
	if err == nil || !strings.Contains(err.Error(), "c.json: nothing in it could be read; line 1: ") {
		t.Errorf("error %v", err)
	}
	if sum.Total.Stored != 2 || sum.Total.Signals["logs"].Stored != 1 || sum.Total.Signals["metrics"].Stored != 1 || len(sum.Files) != 3 {
		t.Errorf("%+v", sum)
	}
	if _, err := Import(t.Context(), []string{logs}, s.options()); err != nil || !s.logsOnly {
		t.Errorf("logs only: %t, %v", s.logsOnly, err)
	}
}

func TestRejectedRecords(t *testing.T) {
	s := new(sink)
	o := s.options()
	o.Open = func(context.Context, bool) (Writers, error) { return Writers{Logs: rejecting{}}, nil }
	fs := importText(t, o, "a.log", "2018-06-01 10:00:00 a\n2018-06-01 10:00:00 b\n")
	if fs.Stored != 1 || fs.Rejected["too wide"] != 1 {
		t.Errorf("%+v", fs)
	}
}

type rejecting struct{}

func (rejecting) WriteLogs(context.Context, telemetry.TenantID, []telemetry.LogRecord) error {
	return &telemetry.RejectedError{Records: []telemetry.RejectedRecord{{Index: 1, Reason: "too wide"}}}
}

// Nothing is lost without being counted, whatever the file holds.
func FuzzImport(f *testing.F) {
	f.Add(openMetricsText, byte(1))
	f.Add("# TYPE a gauge\na 1 1400000000000\na 2 NaN\na{b=\"\\\"} 3\n", byte(1))
	f.Add(logsText+"\n"+spansText+"\n"+metricsText, byte(2))
	f.Add("{\n"+logsText+"{", byte(2))
	f.Add("<34>1 - - - - - - x\nlevel=info msg=x", byte(0))
	f.Fuzz(func(t *testing.T, text string, format byte) {
		s := new(sink)
		o := s.options()
		o.Format = []string{"auto", FormatOpenMetrics, FormatOTLP}[format%3]
		o.Stdin, o.TempDir = strings.NewReader(text), t.TempDir()
		o.ShiftToNow = format&4 != 0
		sum, err := Import(t.Context(), []string{"-"}, o)
		if err != nil && !strings.Contains(err.Error(), "nothing in it could be read") && !strings.Contains(err.Error(), "gzip") {
			t.Fatal(err)
		}
		if len(sum.Files) == 0 {
			return
		}
		fs := sum.Files[0]
		for name, tally := range fs.Signals {
			if tally.Records != tally.Stored+tally.TooOld+tally.TooNew+tally.rejected() {
				t.Fatalf("%s: %+v", name, tally)
			}
		}
		points := 0
		for _, md := range s.metrics {
			points += md.DataPointCount()
		}
		if got := int64(len(s.records) + len(s.spans) + points + len(s.samples)); got != fs.Stored {
			t.Fatalf("%d records arrived, %+v", got, fs)
		}
		if fs.Format == FormatOpenMetrics {
			comments := int64(0)
			for line := range strings.SplitSeq(text, "\n") {
				if strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(line, "\ufeff"), " \t"), "#") {
					comments++
				}
			}
			if rest := fs.Lines - fs.Records - fs.Empty - fs.Unreadable; rest < 0 || rest > comments {
				t.Fatalf("%d lines, %d comments, %+v", fs.Lines, comments, fs)
			}
		}
		_ = sum.String()
	})
}
