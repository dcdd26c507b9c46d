package console

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

// spanRow is a span as an engine returns it: id, parent, start and end in
// nanoseconds.
func spanRow(id, parent string, start, end int64) telemetry.LogRow {
	return telemetry.LogRow{Fields: []telemetry.Field{
		{Name: telemetry.FieldSpanID, Value: id},
		{Name: telemetry.FieldParentSpanID, Value: parent},
		{Name: telemetry.FieldStartTime, Value: strconv.FormatInt(start, 10)},
		{Name: telemetry.FieldEndTime, Value: strconv.FormatInt(end, 10)},
	}}
}

func TestTraceIsOrderedAsATree(t *testing.T) {
	tr := newTrace([]telemetry.LogRow{
		spanRow("d", "b", 40, 60), spanRow("c", "a", 70, 90), spanRow("b", "a", 10, 60), spanRow("a", "", 0, 100), spanRow("e", "b", 50, 80),
		spanRow("b", "a", 10, 60),       // sent twice
		spanRow("f", "gone", 95, 120),   // its parent is not to be seen
		spanRow("x", "y", 5, 6),         // two that are each other's parents
		spanRow("y", "x", 7, 8),         //
		spanRow("z", "z", 9, 3),         // its own parent, ended before it began
		spanRow("", "", 1, math.MaxInt), // without an id
	})
	var got []string
	for _, s := range tr.spans {
		got = append(got, strings.Repeat(" ", s.depth)+s.id+":"+strconv.FormatInt(s.self, 10))
	}
	want := []string{"a:30", " b:30", "  d:20", "  e:30", " c:20", ":9223372036854775806", "z:0", "f:25", "x:1", " y:1"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// FuzzTrace: whatever spans say of themselves, each is shown once, inside of
// the picture.
func FuzzTrace(f *testing.F) {
	f.Add("a,,0,9;b,a,1,2;c,b,2,1")
	f.Add("a,b,0,9;b,a,1,2;a,a,2,1;,,,")
	f.Add("a,,-9223372036854775808,9223372036854775807;b,a,9223372036854775807,-1")
	f.Fuzz(func(t *testing.T, text string) {
		var rows []telemetry.LogRow
		ids := make(map[string]bool)
		for one := range strings.SplitSeq(text, ";") {
			p := append(strings.Split(one, ","), "", "", "", "")
			rows = append(rows, spanRow(p[0], p[1], nanos(p[2]), nanos(p[3])))
			ids[p[0]] = true
		}
		if len(rows) > maxTraceSpans {
			return
		}
		p := &tracePage{explorer: &explorer{}}
		tr := newTrace(rows)
		p.fill(tr)
		if len(p.Spans) != len(ids) {
			t.Errorf("%d spans of %d are shown", len(p.Spans), len(ids))
		}
		for _, s := range p.Spans {
			if s.X < 0 || s.Width < 1 || s.X+s.Width > 1000 || s.Depth > depthClasses {
				t.Errorf("%+v is outside of the picture", s)
			}
		}
	})
}

func TestPicked(t *testing.T) {
	for _, c := range []struct{ query, name, pick, want string }{
		{"", "only", "7:service=cart", `service:="cart"`},
		{"*", "not", "7:service=cart", `!service:="cart"`},
		{"x", "only", "3:a=b=c\"", `x "a=b":="c\""`},
		{"x OR y", "only", "1:a=", `(x OR y) a:=""`},
		{"x", "only", "9:a=b", ""},
		{"x", "only", "a=b", ""},
		{"x", "only", "-1:a=b", ""},
		{"x", "only", "", ""},
	} {
		e := &explorer{form: url.Values{c.name: {c.pick}}, page: web.Explore{Query: c.query}}
		if got, ok := e.picked(); got != c.want || ok != (c.want != "") {
			t.Errorf("%s=%q in %q: %q", c.name, c.pick, c.query, got)
		}
	}
}

func TestStepsAreFewEnough(t *testing.T) {
	for _, length := range []time.Duration{time.Second, time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 400 * 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
		if n := length / histogramStep(length); n > histogramSteps {
			t.Errorf("%s has %d steps", length, n)
		}
		if n := length / metricStep(length); n > metricSteps {
			t.Errorf("%s has %d points", length, n)
		}
	}
}

func TestUsualQuery(t *testing.T) {
	for _, c := range []struct{ name, kind, want string }{
		{"up", "gauge", "up"},
		{"http_requests_total", "counter", "sum by (service_name) (rate(http_requests_total[5m]))"},
		{"http_seconds", "histogram", "histogram_quantile(0.99, sum by (le, service_name) (rate(http_seconds_bucket[5m])))"},
		{"with.dots\"", "gauge", `{"with.dots\""}`},
	} {
		if got, _ := usualQuery(telemetry.MetricInfo{Name: c.name, Type: c.kind}); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	if got := tools.FieldIs("a b", `c"`); got != `"a b":="c\""` {
		t.Error(got)
	}
}
