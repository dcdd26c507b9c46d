package tools

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// A generatedCall is one of the generated shop, as the test knows it.
type generatedCall struct {
	at       time.Time
	duration time.Duration
	failed   bool
	route    string
}

// generateCalls writes an hour of traces: gateway → checkout → a database, each
// with a known duration; and returns the answers of checkout.
func (e *engineBench) generateCalls(n int) []generatedCall {
	e.TB.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	var calls []generatedCall
	var batch []telemetry.SpanRecord
	for i := range n {
		trace, end := fmt.Sprintf("%032x", r.Uint64()), e.Now().Add(-time.Duration(1+r.IntN(3500))*time.Second)
		id := func(k int) string { return fmt.Sprintf("%012x%04x", i, k) }
		g := generatedCall{at: end, duration: time.Duration(1+r.IntN(400)) * time.Millisecond, failed: r.IntN(10) == 0, route: []string{"/pay", "/cart", "/items"}[r.IntN(3)]}
		status := telemetry.StatusUnset
		if g.failed {
			status = telemetry.StatusError
		}
		start := end.Add(-g.duration)
		batch = append(batch,
			telemetry.SpanRecord{TraceID: trace, SpanID: id(1), Name: "GET " + g.route, Kind: telemetry.KindServer, Start: start.Add(-2 * time.Millisecond), End: end.Add(2 * time.Millisecond), Resource: kv("service.name", "gateway")},
			telemetry.SpanRecord{TraceID: trace, SpanID: id(2), ParentSpanID: id(1), Name: "call checkout", Kind: telemetry.KindClient, Start: start.Add(-time.Millisecond), End: end.Add(time.Millisecond), Resource: kv("service.name", "gateway"), Status: status},
			telemetry.SpanRecord{TraceID: trace, SpanID: id(3), ParentSpanID: id(2), Name: g.route, Kind: telemetry.KindServer, Start: start, End: end, Resource: kv("service.name", "checkout", "host.name", "h1"), Attributes: kv("http.route", g.route), Status: status},
			telemetry.SpanRecord{TraceID: trace, SpanID: id(4), ParentSpanID: id(3), Name: "SELECT", Kind: telemetry.KindClient, Start: start, End: start.Add(g.duration / 2), Resource: kv("service.name", "checkout"), Attributes: kv("db.system.name", "postgresql")},
		)
		calls = append(calls, g)
	}
	e.writeSpans(e.Shop, batch...)
	return calls
}

// answerColumn returns the cells of an answer's first table below a title.
func answerColumn(t *testing.T, text, title string, key int) map[string]string {
	t.Helper()
	out := make(map[string]string)
	at := -1
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case at < 0:
			at = slices.Index(cells, title)
		case at < len(cells):
			out[cells[key]] = cells[at]
		default:
			return out
		}
	}
	if at < 0 {
		t.Errorf("no column %s in\n%s", title, text)
	}
	return out
}

// What the tools compute, against the same computed here.
func TestSpansComputedApart(t *testing.T) {
	e := newEngineBench(t)
	calls := e.generateCalls(1200)
	who := e.caller("traces:read")
	byRoute := make(map[string][]generatedCall)
	for _, c := range calls {
		byRoute[c.route] = append(byRoute[c.route], c)
	}
	res := e.call(who, "aggregate_spans", `{"service":"checkout","where":["http.route~.*"],"group_by":"http.route","aggregate":["count","errors","error_rate","p95","max"],"start":"now-2h"}`)
	for _, title := range []string{"count", "errors", "error_%", "p95", "max"} {
		got := answerColumn(t, res.Text, title, 0)
		for route, list := range byRoute {
			durations, failed := make([]float64, len(list)), 0
			for i, c := range list {
				durations[i] = float64(c.duration)
				if c.failed {
					failed++
				}
			}
			slices.Sort(durations)
			switch title {
			case "count":
				wantText(t, route+" count", got[route], strconv.Itoa(len(list)))
			case "errors":
				wantText(t, route+" errors", got[route], strconv.Itoa(failed))
			case "error_%":
				wantText(t, route+" error rate", got[route], decimals(100*float64(failed)/float64(len(list))))
			case "max":
				wantText(t, route+" max", got[route], shortNanos(durations[len(durations)-1]))
			case "p95":
				d, err := time.ParseDuration(got[route])
				if want := durations[int(0.95*float64(len(durations)))]; err != nil || math.Abs(float64(d)-want) > 0.02*want {
					t.Errorf("%s: p95 %s, want about %s", route, got[route], shortNanos(want))
				}
			}
		}
	}

	failed := 0
	for _, c := range calls {
		if c.failed {
			failed++
		}
	}
	both := e.caller("logs:read traces:read")
	got := answerColumn(t, e.call(both, "list_field_values", `{"signal":"traces","field":"http.route","start":"now-2h"}`).Text, "spans", 0)
	for route, list := range byRoute {
		wantText(t, "spans of "+route, got[route], strconv.Itoa(len(list)))
	}
	// Each failure is two spans: the call, and the answer to it.
	if text := e.call(both, "list_errors", `{"start":"now-2h"}`).Text; !strings.Contains(text, fmt.Sprintf("%d failed spans", 2*failed)) {
		t.Errorf("list_errors: want %d failed spans:\n%s", 2*failed, text)
	}
	if text := e.call(both, "compare", `{"signal":"traces","bad":"status_code:=2","start":"now-2h"}`).Text; !strings.Contains(text, fmt.Sprintf("%d bad · %d good", 2*failed, 4*len(calls)-2*failed)) {
		t.Errorf("compare: want %d bad:\n%s", 2*failed, text)
	}
	res = e.call(who, "get_service_map", `{"start":"now-2h"}`)
	for _, want := range []string{
		fmt.Sprintf("calls=%d", len(calls)), "gateway\tcheckout\tcall\t" + percent(int64(failed), int64(len(calls))) + "\t", "checkout\tpostgresql (external)\tdatabase\t0\t",
	} {
		if !strings.Contains(res.Text, want) {
			t.Errorf("the map has no %q:\n%s", want, res.Text)
		}
	}

	slowest := slices.MaxFunc(calls, func(a, b generatedCall) int { return int(a.duration - b.duration) })
	res = e.call(who, "search_traces", `{"limit":1,"start":"now-2h"}`)
	if want := shortNanos(float64(slowest.duration + 4*time.Millisecond)); !strings.Contains(res.Text, "\t"+want+"\t") {
		t.Errorf("the slowest trace takes %s:\n%s", want, res.Text)
	}
	for args, most := range map[string]func(generatedCall) bool{
		`{"service":"checkout","where":["http.route=/pay"],"aggregate":"count","start":"now-2h"}`:                   func(c generatedCall) bool { return c.route == "/pay" },
		`{"service":"checkout","where":["http.route!=/pay"],"status":"error","aggregate":"count","start":"now-2h"}`: func(c generatedCall) bool { return c.route != "/pay" && c.failed },
		`{"service":"checkout","where":["http.route~/(pay|cart)"],"min_duration":"200ms","max_duration":"300ms","start":"now-2h"}`: func(c generatedCall) bool {
			return c.route != "/items" && c.duration >= 200*time.Millisecond && c.duration <= 300*time.Millisecond
		},
	} {
		n := 0
		for _, c := range calls {
			if most(c) {
				n++
			}
		}
		// Spans of the database have no route, so that only != finds them too.
		args = strings.Replace(args, `"where":[`, `"where":["kind=2",`, 1)
		if res := e.call(who, "aggregate_spans", args); !strings.Contains(res.Text, fmt.Sprintf("matched %d ·", n)) && !strings.Contains(res.Text, fmt.Sprintf("matched %d\n", n)) {
			t.Errorf("%s: want %d:\n%s", args, n, res.Text)
		}
	}
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// shopTrace is a trace of a shop in trouble.
func (e *engineBench) shopTrace() string {
	at := e.Now().Add(-10 * time.Minute)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	span := func(id, parent, service, name string, kind telemetry.SpanKind, from, to int, attributes ...string) telemetry.SpanRecord {
		return telemetry.SpanRecord{
			TraceID: trace, SpanID: id, ParentSpanID: parent, Name: name, Kind: kind, Start: at.Add(time.Duration(from) * time.Millisecond), End: at.Add(time.Duration(to) * time.Millisecond),
			Resource: kv("service.name", service, "deployment.environment.name", "prod"), Attributes: kv(attributes...),
		}
	}
	list := []telemetry.SpanRecord{
		span("00000000000000a1", "", "gateway", "POST /orders", telemetry.KindServer, 0, 900),
		span("00000000000000a2", "00000000000000a1", "gateway", "POST", telemetry.KindClient, 5, 890, "server.address", "checkout"),
		span("00000000000000b1", "00000000000000a2", "checkout", "POST /orders", telemetry.KindServer, 10, 880, "http.route", "/orders"),
		span("00000000000000b2", "00000000000000b1", "checkout", "charge", telemetry.KindClient, 700, 870),
		span("00000000000000c1", "00000000000000b2", "payments", "charge", telemetry.KindServer, 705, 860),
		span("00000000000000d1", "00000000000000ff", "audit", "write", telemetry.KindConsumer, 950, 960),
	}
	for i := range 14 {
		list = append(list, span(fmt.Sprintf("00000000000001%02x", i), "00000000000000b1", "checkout", "SELECT item", telemetry.KindClient, 20+i*48, 20+i*48+30+i, "db.system.name", "postgresql"))
	}
	list[4].Status, list[4].StatusMessage = telemetry.StatusError, "card refused"
	list[4].Events = []telemetry.SpanEvent{{Time: at, Name: "exception", Attributes: kv("exception.type", "Declined", "exception.message", "limit reached", "exception.stacktrace", "at main")}}
	e.writeSpans(e.Shop, list...)
	e.write(e.Shop, telemetry.LogRecord{Time: at.Add(800 * time.Millisecond), Severity: "ERROR", Message: "card of order 7 refused", TraceID: trace, SpanID: "00000000000000c1", Resource: kv("service.name", "payments")})
	return trace
}

func TestSpanAnswers(t *testing.T) {
	e := newEngineBench(t)
	trace := e.shopTrace()
	who := e.caller("traces:read logs:read")
	for name, call := range map[string][2]string{
		"get_trace":          {"get_trace", `{"trace_id":"` + trace + `"}`},
		"get_trace_focus":    {"get_trace", `{"trace_id":"0af76519","focus_span":"0000000000000105","max_spans":4,"with_logs":false}`},
		"search_traces":      {"search_traces", `{"service":"checkout","min_duration":"100ms"}`},
		"search_traces_none": {"search_traces", `{"service":"chekout"}`},
		"aggregate_spans":    {"aggregate_spans", `{"group_by":["service","operation"]}`},
		"aggregate_spans_db": {"aggregate_spans", `{"where":["db.system.name=postgresql"],"aggregate":["count","sum","p50"]}`},
		"get_service_health": {"get_service_health", `{"service":"payments"}`},
		"get_service_map":    {"get_service_map", `{}`},
		"get_service_map_of": {"get_service_map", `{"service":"payments","depth":1}`},
		"get_trace_when":     {"get_trace", `{"trace_id":"` + trace + `","start":"now-12m","end":"now-8m","max_spans":1,"with_logs":false}`},
		"span_fields":        {"list_fields", `{"signal":"traces"}`},
		"span_fields_search": {"list_fields", `{"signal":"traces","search":"sytem"}`},
		"span_values":        {"list_field_values", `{"signal":"traces","field":"operation"}`},
		"span_values_kind":   {"list_field_values", `{"signal":"traces","field":"kind","service":"checkout"}`},
		"span_values_typo":   {"list_field_values", `{"signal":"traces","field":"http.rout"}`},
		"span_values_none":   {"list_field_values", `{"signal":"traces","field":"kind","service":"chekout"}`},
		"span_compare":       {"compare", `{"signal":"traces","bad":"\"span_attr:db.system.name\":*"}`},
		"span_errors":        {"list_errors", `{}`},
		"span_errors_query":  {"list_errors", `{"query":"card"}`},
		"span_help":          {"query_help", `{"language":"traces"}`},
		"span_help_check":    {"query_help", `{"language":"traces","check":"\"span_attr:http.rout\":=x"}`},
		"span_help_wrong":    {"query_help", `{"language":"traces","check":"duration:>1 | stat count()"}`},
	} {
		t.Run(name, func(t *testing.T) { e.golden(t, name, e.call(who, call[0], call[1])) })
	}
	// Who may not see logs is not shown those of the trace.
	res := e.call(e.caller("traces:read"), "get_trace", `{"trace_id":"`+trace+`"}`)
	if strings.Contains(res.Text, "order 7") || !strings.Contains(res.Text, "logs:read") {
		t.Errorf("without logs:\n%s", res.Text)
	}
	// Who sees only one service is told nothing about the others.
	_, err := e.Directory.SetRole(t.Context(), "shop", "payer", []org.Permission{org.SpansRead}, "service.name = payments", audit.System())
	e.Must(err)
	e.SetRoles("payer")
	payer := e.caller("traces:read")
	for _, args := range []string{`{"trace_id":"` + trace + `"}`, `{"trace_id":"0af76519"}`} {
		if res := e.call(payer, "get_trace", args); strings.Contains(res.Text, "checkout") || !strings.Contains(res.Text, "1 span") || !strings.Contains(res.Text, "parent that is missing or that you may not see") {
			t.Errorf("one service:\n%s", res.Text)
		}
	}
}

// Failed spans and exceptions are counted apart, by type and message without
// numbers, also for who may not read logs; and not for who may not read spans.
func TestExceptionsOfSpans(t *testing.T) {
	e := newEngineBench(t)
	var list []telemetry.SpanRecord
	for i := range 8 {
		end := e.Now().Add(-time.Duration(68-9*i) * time.Minute)
		s := telemetry.SpanRecord{
			TraceID: fmt.Sprintf("%032x", i+1), SpanID: fmt.Sprintf("%016x", i+1), Name: "charge", Kind: telemetry.KindServer, Start: end.Add(-time.Second), End: end,
			Resource: kv("service.name", "payments"),
		}
		exception := telemetry.SpanEvent{Time: end, Name: "exception", Attributes: kv("exception.type", "Timeout", "exception.message", fmt.Sprintf("no answer to call %d in 650 ms", i))}
		switch {
		case i < 5: // the first is before the window
			s.Status, s.Events = telemetry.StatusError, []telemetry.SpanEvent{{Time: end, Name: "retry"}, exception}
		case i < 7: // was handled
			s.Events = []telemetry.SpanEvent{exception}
		case i == 7: // says nothing of itself but that
			s.Status, s.StatusMessage, s.Attributes = telemetry.StatusError, "card refused", kv("error.type", "402")
		}
		list = append(list, s)
	}
	e.writeSpans(e.Shop, list...)
	e.golden(t, "exceptions", e.call(e.caller("traces:read"), "list_errors", `{}`))
	e.golden(t, "exceptions_query", e.call(e.caller("traces:read"), "list_errors", `{"query":"\"span_attr:error.type\":=402"}`))
	e.golden(t, "exceptions_none", e.call(e.caller("traces:read"), "list_errors", `{"service":"paymentz"}`))
	if res := e.call(e.caller("traces:read"), "list_errors", `{"query":"* | stats count()"}`); !res.IsError || !strings.Contains(res.Text, "without pipes") {
		t.Errorf("a query that computes: %s", res.Text)
	}
	if res := e.call(e.caller("logs:read"), "list_errors", `{}`); strings.Contains(res.Text, "Timeout") || strings.Contains(res.Text, "402") {
		t.Errorf("without the permission for traces:\n%s", res.Text)
	}
}

func TestBadSpanArguments(t *testing.T) {
	b := newBench(t)
	who := b.caller("traces:read")
	for _, c := range []struct{ tool, args, want string }{
		{"get_trace", `{}`, "needs trace_id"},
		{"get_trace", `{"trace_id":"abc"}`, "32 hexadecimal digits"},
		{"get_trace", `{"trace_id":"zzzzzzzzzzzz"}`, "32 hexadecimal digits"},
		{"search_traces", `{"min_duration":"fast"}`, "250ms"},
		{"search_traces", `{"where":["http.route"]}`, "no condition"},
		{"search_traces", `{"where":["took>abc"]}`, "no number"},
		{"search_traces", `{"query":"* | stats count()"}`, "aggregate_spans"},
		{"search_traces", `{"query":"name:("}`, "cannot be run"},
		{"search_traces", `{"status":"bad"}`, "one of error, ok, unset"},
		{"get_trace", `{"trace_id":"0af7651916cd43dd","start":"soon"}`, "start:"},
		{"list_fields", `{"signal":"metrics"}`, "one of logs, traces"},
		{"list_fields", `{"signal":"traces","severity":"error"}`, "status_code:=2"},
		{"list_field_values", `{"signal":"traces","field":"_stream"}`, "not a field of spans"},
		{"compare", `{"signal":"traces","bad":"* | stats count()"}`, "without pipes"},
		{"aggregate_spans", `{"aggregate":"p42"}`, "p50"},
		{"aggregate_spans", `{"group_by":"_time"}`, "not a field of spans"},
		{"aggregate_spans", `{"step":"1s","start":"now-1d"}`, "longer step"},
		{"get_service_health", `{}`, "needs service"},
		{"get_service_map", `{"depth":9}`, "depth"},
	} {
		if res := b.call(who, c.tool, c.args); !res.IsError || !strings.Contains(res.Text, c.want) {
			t.Errorf("%s %s: %q, want %q", c.tool, c.args, res.Text, c.want)
		}
	}
}
