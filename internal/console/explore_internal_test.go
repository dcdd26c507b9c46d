package console

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestTraceIsShownAsATree(t *testing.T) {
	row := func(id, parent string, start, end int64) telemetry.LogRow {
		return spanRow(id, parent, start*int64(time.Millisecond), end*int64(time.Millisecond))
	}
	p := &tracePage{explorer: &explorer{}}
	p.fill(p.tree([]telemetry.LogRow{
		row("d", "b", 40, 60), row("c", "a", 70, 90), row("b", "a", 10, 60), row("a", "", 0, 100), row("e", "b", 50, 80),
		row("b", "a", 10, 60),     // sent twice
		row("f", "gone", 95, 120), // its parent is not to be seen
		row("z", "z", 9, 3),       // its own parent, ended before it began
	}))
	var got []string
	var show func(list []web.ExploreSpan, indent string)
	show = func(list []web.ExploreSpan, indent string) {
		for _, s := range list {
			line := indent + strings.Repeat(" ", s.Depth) + s.ID
			if s.Critical {
				line += "*"
			}
			if s.Alike != nil {
				line = fmt.Sprintf("%s %d, %s, %d bars", line, s.Alike.Count, s.Alike.Each, len(s.Alike.Bars))
			} else {
				line += ":" + s.Fields[1].Value
			}
			got = append(got, line)
			if s.Alike != nil {
				show(s.Alike.Spans, indent+"|")
			}
		}
	}
	show(p.Spans, "")
	want := []string{"a*:30 ms", " b*:30 ms", "  d*:20 ms", "  e:30 ms", " c*:20 ms", "z:0 s", "f:25 ms"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, p = nil, &tracePage{explorer: &explorer{}}
	p.fill(p.tree([]telemetry.LogRow{
		row("a", "", 0, 100), row("1", "a", 0, 10), row("2", "a", 10, 30), row("3", "a", 30, 40), row("4", "a", 40, 100), row("5", "4", 50, 60),
	}))
	show(p.Spans, "")
	want = []string{"a*:0 s", " 1* 4, 10 ms to 60 ms, 4 bars", "| 1*:10 ms", "| 2*:20 ms", "| 3*:10 ms", "| 4*:50 ms", "|  5*:10 ms"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzTrace: whatever spans say of themselves, each is shown once, inside of
// the picture.
func FuzzTrace(f *testing.F) {
	f.Add("a,,0,9;b,a,1,2;c,b,2,1")
	f.Add("a,,0,9;b,a,1,2;c,a,2,3;d,a,3,4;e,a,4,5;f,e,4,5;,,;")
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
		p.fill(p.tree(rows))
		// Rows that stand for several spans show each of them below.
		all, shown := p.Spans, 0
		for i := 0; i < len(all); i++ {
			if a := all[i].Alike; a != nil {
				all = append(all, a.Spans...)
				shown--
			}
			shown++
		}
		if shown != len(ids) {
			t.Errorf("%d spans of %d are shown", shown, len(ids))
		}
		for _, s := range all {
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
