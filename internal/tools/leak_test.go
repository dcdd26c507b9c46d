package tools

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// leakCalls are the calls of each tool that the leak test makes. A tool that is
// registered and not here fails the test. TIME is an instant of rows of every
// owner, TYPO each foreign mark with two letters swapped.
var leakCalls = map[string][]string{
	"whoami":        {`{}`},
	"list_services": {`{}`, `{"search":"svc","sort":"errors"}`, `{"search":"svc-TYPO"}`, `{"limit":1}`, `{"sort":"name","start":"now-7d"}`},
	"list_fields": {
		`{}`, `{"search":"name"}`, `{"search":"name.TYPO"}`, `{"limit":2}`, `{"service":"checkout"}`, `{"query":"name.TYPO:x"}`, `{"query":"* | extract \"<a> <b>\""}`,
		`{"signal":"traces","limit":500}`, `{"signal":"traces","search":"name.TYPO"}`, `{"signal":"traces","service":"svc-TYPO"}`, `{"signal":"traces","query":"\"span_attr:name.TYPO\":x"}`, `{"signal":"traces","query":"\"resource_attr:team.name\":=b"}`,
	},
	"list_field_values": {
		`{"field":"mark"}`, `{"field":"service.name"}`, `{"field":"_msg","search":"row"}`, `{"field":"name.TYPO"}`, `{"field":"mark","search":"TYPO"}`,
		`{"field":"owner","limit":1}`, `{"field":"trace_id","limit":500}`, `{"field":"_stream"}`, `{"field":"resource_attr:owner"}`, `{"field":"card.number"}`,
		`{"signal":"traces","field":"mark"}`, `{"signal":"traces","field":"operation","search":"TYPO"}`, `{"signal":"traces","field":"team.name"}`, `{"signal":"traces","field":"resource_attr:team.name"}`, `{"signal":"traces","field":"card.number"}`,
		`{"signal":"traces","field":"name.TYPO"}`, `{"signal":"traces","field":"parent_span_id","limit":500}`, `{"signal":"traces","field":"status_message"}`, `{"signal":"traces","field":"event:event_attr:card.number:0"}`, `{"signal":"traces","field":"_stream_id"}`,
	},
	"search_logs": {
		`{}`, `{"service":["checkout","svc-TYPO"]}`, `{"service":"svc-TYPO"}`, `{"query":"name.TYPO:x"}`, `{"severity":"error+","limit":1}`,
		`{"query":"row","limit":3,"max_tokens":600}`, `{"start":"now-7d","end":"now-2d"}`, `{"query":"* | facets"}`,
	},
	"aggregate_logs": {
		`{}`, `{"group_by":"mark"}`, `{"group_by":["service.name","owner"],"step":"5m"}`, `{"step":"auto"}`, `{"aggregate":["uniq","min","max"],"field":"mark"}`,
		`{"aggregate":"max","field":"mark","group_by":"service.name","step":"10m"}`, `{"group_by":"name.TYPO"}`, `{"group_by":"resource_attr:owner"}`, `{"group_by":"card.number"}`, `{"aggregate":"max","field":"card.number"}`, `{"service":"svc-TYPO"}`,
		`{"group_by":["mark","_msg"],"chart":true}`,
	},
	"get_log_context": {
		`{"time":"TIME"}`, `{"time":"TIME","of":"service","before":200,"after":200}`, `{"time":"TIME","of":"trace"}`, `{"time":"TIME","service":"checkout","before":50}`,
		`{"time":"TIME","service":"svc-TYPO"}`, `{"time":"now-2d"}`,
	},
	"find_log_patterns": {`{}`, `{"baseline":"none","limit":200,"max_tokens":12000}`, `{"start":"now-10m"}`, `{"service":"svc-TYPO"}`, `{"query":"row","baseline":"day"}`},
	"list_errors":       {`{}`, `{"baseline":"none","limit":200}`, `{"start":"now-10m"}`, `{"service":"svc-TYPO"}`},
	"compare": {
		`{"bad":"severity:ERROR"}`, `{"start":"now-10m"}`, `{"bad":"mark:*","limit":100}`, `{"bad":"\"TYPO\""}`, `{"bad":"* ) or (*"}`, `{"start":"now-30m","baseline":"previous","limit":100}`,
		`{"signal":"traces","bad":"kind:=2","limit":100}`, `{"signal":"traces","start":"now-10m"}`, `{"signal":"traces","bad":"\"span_attr:mark\":*","limit":100}`, `{"signal":"traces","bad":"* ) or (*"}`,
	},
	"list_metrics": {
		`{}`, `{"limit":1}`, `{"search":"TYPO"}`, `{"service":"svc-TYPO"}`, `{"metric":"m"}`, `{"metric":"m_TYPO"}`, `{"metric":"h_seconds","service":["checkout","svc-TYPO"]}`,
		`{"type":"counter","start":"now-7d"}`, `{"metric":"{__name__=~\".+\"}"}`, `{"metric":"m\"} or {__name__=~\".+"}`, `{"service":".*"}`, `{"search":"card"}`, `{"metric":"target_info","limit":500}`,
	},
	"query_metrics": {
		`{"query":"m"}`, `{"query":"{__name__=~\".+\"}","series_limit":200,"max_tokens":12000}`, `{"query":"{__name__=~\".+\"}","instant":true,"series_limit":200}`, `{"query":"m_TYPO"}`, `{"query":"m{mark=\"TYPO\"}"}`,
		`{"query":"m{name_TYPO=\"x\"}"}`, `{"query":"m{team_name=\"a\"}"}`, `{"query":"m{team_name=\"b\"}"}`, `{"query":"sum by (mark, team_name) (m)","points":"all","step":"10m"}`, `{"query":"count by (__name__) ({__name__!=\"\"})","time":"now"}`,
		`{"query":"m[1h]","instant":true,"points":"all"}`, `{"query":"rate(h_seconds_bucket[10m])","points":"none"}`, `{"query":"n"}`, `{"query":"m offset -10m"}`, `{"query":"m @ end()"}`, `{"query":"label_replace(m, \"x\", \"$1\", \"mark\", \"(.*)\")"}`,
		`{"query":"m * on () group_left () m"}`, `{"query":"topk(500, m)","instant":true}`, `{"query":"absent(m{mark=\"TYPO\"})"}`, `{"query":"max_over_time(m[30m:1m])"}`, `{"query":"info(m)"}`, `{"query":"m{card_number!=\"\"}"}`,
		`{"query":"count_values(\"v\", m)"}`, `{"query":"m or {mark!=\"\"}"}`, `{"query":"target_info"}`, `{"query":"hidden"}`, `{"query":"m","start":"now-7d"}`, `{"query":"m","start":"now-3h","end":"now-2h"}`, `{"query":"rat(m)"}`, `{"query":"{__name__=~\".+\"}","chart":true}`, `{"query":"{mark=~\".*TYPO.*\"}"}`,
	},
	"search_traces": {
		`{}`, `{"sort":"recent"}`, `{"where":["mark~.*"],"limit":100}`, `{"where":["name.TYPO=x"]}`, `{"where":["card.number~.*"]}`, `{"service":"svc-TYPO"}`, `{"operation":"GET /TYPO"}`,
		`{"status":"error"}`, `{"where":["resource_attr:team.name=b"]}`, `{"where":["resource_attr:team.name!=b","status_message~.*"]}`, `{"min_duration":"1ns","max_tokens":600}`,
	},
	"get_trace": {
		`{"trace_id":"00000000000000000000000000000005"}`, `{"trace_id":"00000000000000000000000000000006","with_logs":true,"focus_span":"0000000000000600"}`,
		`{"trace_id":"0000000000000000000000000000000"}`, `{"trace_id":"00000000000000000000000000000007","max_spans":1,"max_tokens":400}`,
		`{"trace_id":"00000000000000000000000000000005","start":"now-1h","end":"now"}`, `{"trace_id":"0000000000000000000000000000000","start":"now-7d"}`,
	},
	"aggregate_spans": {
		`{}`, `{"group_by":"mark"}`, `{"group_by":["service","operation"],"step":"5m"}`, `{"step":"auto","aggregate":"p95"}`, `{"aggregate":["max","uniq"],"field":"mark"}`, `{"group_by":"name.TYPO"}`,
		`{"group_by":"resource_attr:team.name"}`, `{"group_by":"card.number"}`, `{"aggregate":"max","field":"card.number"}`, `{"service":"svc-TYPO"}`, `{"group_by":"status_message","limit":500}`,
		`{"group_by":"event:event_attr:exception.message:0"}`, `{"group_by":"parent_span_id","limit":500}`,
	},
	"get_service_health": {`{"service":"checkout"}`, `{"service":"svc-TYPO"}`, `{"service":"checkout","baseline":"none","start":"now-7d"}`},
	"get_service_map":    {`{}`, `{"service":"checkout","depth":5}`, `{"service":"svc-TYPO"}`, `{"start":"now-7d"}`},
	"query_help": {
		`{}`, `{"check":"name.TYPO:x"}`, `{"check":"* | stream_context before 5"}`, `{"check":"severity:ERROR mark:x"}`,
		`{"language":"traces"}`, `{"language":"traces","check":"\"span_attr:name.TYPO\":x"}`, `{"language":"traces","check":"mark:x | facets"}`,
		`{"language":"promql"}`, `{"language":"promql","check":"m_TYPO"}`, `{"language":"promql","check":"m{mark=\"TYPO\"}"}`, `{"language":"promql","check":"rate(m{name_TYPO!=\"\"}[5m])"}`,
	},
}

// leakQueries go into the argument query of every tool that has one.
var leakQueries = []string{
	`* or *`, `) or (*`, `!nothing`, `*) | union (*`, `* | union (*)`, `* # comment`, `"resource_attr:owner":*`, `owner:*`,
	`* | union (options(ignore_global_time_filter=true) *)`, `* | stream_context before 100 after 100`, `* | drop_empty_fields | field_names`,
	`* | facets keep_const_fields`, `trace_id:in(* | fields trace_id)`, `card.number:*`, `* | copy card.number as x`, `* | join by (trace_id) (* | limit 100)`, `_stream:*`,
}

// An owner is one team's data scope, with a caller who sees only that.
type owner struct {
	team   org.Team
	name   string // of the data scope
	mark   string
	rows   int
	caller *access.Caller
	// spansOnly is allowed to read spans alone.
	spansOnly *access.Caller
}

// typo is the mark with two letters swapped: near enough to be suggested.
func (o *owner) typo() string { return o.mark[:3] + o.mark[4:5] + o.mark[3:4] + o.mark[5:] }

// leakBench has two teams with two data scopes each, whose records lie between
// each other: same instants, same service, same stream, same traces.
func leakBench(t *testing.T) (*engineBench, []*owner) {
	t.Helper()
	e := newEngineBench(t)
	bank, err := e.Directory.AddTeam(t.Context(), "bank", "Bank", audit.System())
	e.Must(err)
	owners := []*owner{
		{team: e.Shop, name: "a", mark: "qkshopamark", rows: 20},
		{team: e.Shop, name: "b", mark: "wzshopbmark", rows: 31},
		{team: bank, name: "a", mark: "vjbankamark", rows: 43},
		{team: bank, name: "b", mark: "xhbankbmark", rows: 57},
	}
	for _, o := range owners {
		_, err := e.Directory.SaveRole(t.Context(), org.RoleText{
			Team: o.team.Slug, Name: "scope-" + o.name, Permissions: []org.Permission{org.LogsRead}, DataScope: "owner = " + o.name, HiddenFields: []string{"card.number"},
		}, audit.System())
		e.Must(err)
		// Metrics know resources by some attributes only.
		_, err = e.Directory.SaveRole(t.Context(), org.RoleText{
			Team: o.team.Slug, Name: "metrics-" + o.name, Permissions: []org.Permission{org.MetricsRead, org.SpansRead}, DataScope: "team.name = " + o.name, HiddenFields: []string{"card.number"},
		}, audit.System())
		e.Must(err)
		_, err = e.Directory.SetMember(t.Context(), o.team.Slug, "ada@example.com", []string{"scope-" + o.name, "metrics-" + o.name}, audit.System())
		e.Must(err)
		o.caller = e.callerIn(o.team, "logs:read metrics:read traces:read")
		o.spansOnly = e.callerIn(o.team, "traces:read")
	}
	for i := range owners[3].rows {
		for n, o := range owners {
			if i < o.rows {
				e.Must(e.client.WriteLogs(t.Context(), o.team.Tenant+e.by, o.records(e.Now(), i)))
				e.Must(e.client.WriteSpans(t.Context(), o.team.Tenant+e.by+spanTenants, o.spans(e.Now(), i, owners[(n+1)%len(owners)])))
			}
		}
	}
	for i := range 40 {
		for _, o := range owners {
			for _, service := range []string{"checkout", "svc-" + o.mark} {
				e.send(o.team, o.metrics(e.Now().Add(time.Duration(i-40)*time.Minute), i, service))
			}
		}
	}
	e.flush()
	return e, owners
}

// callerIn is caller in another team.
func (b *bench) callerIn(team org.Team, scopes string) *access.Caller {
	b.TB.Helper()
	b.n++
	consent := b.Consent(fmt.Sprint("in", b.n))
	consent.Scopes, consent.Team, consent.TeamSlug = spec.ParseScopes(scopes), team.ID, team.Slug
	code, err := b.Authority.Approve(b.TB.Context(), consent, audit.System())
	b.Must(err)
	tokens, err := b.Authority.Redeem(b.TB.Context(), b.Redemption(code))
	b.Must(err)
	c, err := b.gate.Check(b.TB.Context(), tokens.Access, b.Resources.Bare())
	b.Must(err)
	return c
}

// records are the i-th of the owner: one of a service that all have, one of its
// own, and one of which only the forged attributes say that they are others'.
func (o *owner) records(now time.Time, i int) []telemetry.LogRecord {
	at := now.Add(-time.Duration(1+i%40) * time.Minute)
	severity := []string{"INFO", "ERROR", "FATAL", "WARN"}[i%4]
	r := telemetry.LogRecord{
		Time: at, Severity: severity, Message: fmt.Sprintf("%s row %d failed", o.mark, i), TraceID: fmt.Sprintf("%032x", i+1),
		Resource: kv("service.name", "checkout", "host.name", "h1", "owner", o.name, "res."+o.mark, o.mark),
		// What a record says of itself puts it into nobody's scope.
		Attributes: kv("mark", o.mark, "name."+o.mark, o.mark, "resource_attr:owner", "a", "resource_attr:owner", "b", "owner", "a", "region", "eu", "card.number", hiddenMark),
	}
	if severity == "ERROR" {
		r.Attributes = append(r.Attributes, telemetry.Field{Name: "cause", Value: o.mark})
	}
	own := r
	own.Resource = kv("service.name", "svc-"+o.mark, "host.name", "h1", "owner", o.name)
	return []telemetry.LogRecord{r, own}
}

// spans are the i-th call of a service that all have to one of the owner's
// own. Its parent is a span of another owner.
func (o *owner) spans(now time.Time, i int, other *owner) []telemetry.SpanRecord {
	end := now.Add(-time.Duration(1+i%40) * time.Minute)
	id := func(o *owner, n int) string { return fmt.Sprintf("%08x%04x%04x", o.rows, i+1, n) }
	attributes := kv("mark", o.mark, "name."+o.mark, o.mark, "resource_attr:team.name", "a", "team.name", "b", "card.number", hiddenMark, "peer.service", o.mark)
	call := telemetry.SpanRecord{
		TraceID: fmt.Sprintf("%032x", i+1), SpanID: id(o, 1), ParentSpanID: id(other, 2), Name: "GET /" + o.mark, Kind: telemetry.KindClient,
		Start: end.Add(-time.Duration(o.rows) * time.Millisecond), End: end, Status: telemetry.StatusError, StatusMessage: o.mark,
		Resource: kv("service.name", "checkout", "host.name", "h1", "team.name", o.name, "res."+o.mark, o.mark), Attributes: attributes,
		Events: []telemetry.SpanEvent{{Time: end, Name: "exception", Attributes: kv("exception.message", o.mark, "card.number", hiddenMark)}},
		Links:  []telemetry.SpanLink{{TraceID: fmt.Sprintf("%032x", i+2), SpanID: id(other, 1), Attributes: kv("mark", o.mark, "card.number", hiddenMark)}},
	}
	answer := call
	answer.SpanID, answer.ParentSpanID, answer.Kind = id(o, 2), call.SpanID, telemetry.KindServer
	answer.Resource = kv("service.name", "svc-"+o.mark, "team.name", o.name)
	return []telemetry.SpanRecord{call, answer}
}

// metrics are one time's of a service: metrics that all owners have and one of
// its own, all of which have the owner's mark wherever a mark can be.
func (o *owner) metrics(at time.Time, i int, service string) metricSender {
	s := sendFrom("service.name", service, "host.name", "h1", "team.name", o.name, "res."+o.mark, o.mark)
	// What a point says of itself puts it into nobody's scope.
	own := []string{"mark", o.mark, "name." + o.mark, o.mark, "team.name", "a", "team_name", "b", "service.name", "checkout"}
	s.gauge("m", at, float64(i), own...)
	s.gauge("m."+o.mark, at, float64(i), own...)
	s.counter("c", at, float64(i), own...)
	m := s.metric("n", "", "about "+o.mark)
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	put(p.Attributes(), own)
	h := s.histogram("h", at, []float64{1}, []uint64{uint64(i), uint64(i)}, float64(i), own...)
	e := h.Exemplars().AppendEmpty()
	e.SetTimestamp(pcommon.NewTimestampFromTime(at))
	e.SetDoubleValue(2)
	e.SetTraceID(pcommon.TraceID{1, byte(i)})
	e.FilteredAttributes().PutStr("mark", o.mark)
	s.native("x", at, 0, []uint64{uint64(i)}, float64(i), own...)
	s.gauge("hidden", at, 1, append(own, "card.number", hiddenMark)...)
	return s
}

// hiddenMark is the value of a field that every role of the test hides.
const hiddenMark = "pghiddenmark"

var matchedPattern = regexp.MustCompile(`(?:matched|baseline: [^,\n]*, matched) (\d+)|(\d+) (?:failed|other) span`)

// checkLeak fails if an answer to the owner has a foreign mark or counts more
// records than the owner has.
func checkLeak(t *testing.T, owners []*owner, to *owner, what, text string) {
	t.Helper()
	for _, o := range owners {
		if o != to && strings.Contains(text, o.mark) {
			t.Errorf("%s %s/%s: shows %s:\n%s", what, to.team.Slug, to.name, o.mark, text)
		}
	}
	if strings.Contains(text, hiddenMark) || strings.HasPrefix(what, "list_fields") && strings.Contains(text, "\ncard.number\t") ||
		strings.HasPrefix(what, "list_metrics") && strings.Contains(text, "card_number") {
		t.Errorf("%s %s/%s: shows what is hidden:\n%s", what, to.team.Slug, to.name, text)
	}
	for _, m := range matchedPattern.FindAllStringSubmatch(text, -1) {
		if n := integer(m[1] + m[2]); n > int64(2*to.rows) && !strings.Contains(what, "|") { // pipes make rows of their own
			t.Errorf("%s %s/%s: counts %d records of %d:\n%s", what, to.team.Slug, to.name, n, 2*to.rows, text)
		}
	}
}

func TestNoForeignMark(t *testing.T) {
	e, owners := leakBench(t)
	e.set.limiter = newLimiter(Limits{Concurrent: 16, Seconds: 1 << 20}, e.Now)
	registered := make(map[string]bool)
	for _, tool := range e.set.Tools() {
		registered[tool.Name] = true
		calls, ok := leakCalls[tool.Name]
		if !ok {
			t.Errorf("%s is not in the leak test: add its calls to leakCalls", tool.Name)
		}
		calls = slices.Clone(calls)
		if hasParam(tool.params, "query") && (tool.Permission == org.LogsRead || tool.Permission == org.SpansRead) {
			for _, q := range leakQueries {
				args := map[string]any{}
				e.Must(json.Unmarshal([]byte(strings.ReplaceAll(calls[0], "TIME", "now-5m")), &args))
				args["query"] = q
				if hasParam(tool.params, "field") && tool.Name == "aggregate_logs" {
					args["group_by"] = "mark"
				}
				raw, err := json.Marshal(args)
				e.Must(err)
				calls = append(calls, string(raw))
			}
		}
		seen := make([]bool, len(owners)) // an answer with the owner's own mark
		for _, args := range calls {
			cursors := make([]string, len(owners))
			var wg sync.WaitGroup
			for i, o := range owners {
				wg.Go(func() {
					for _, args := range e.variants(args, owners, o) {
						res, err := tool.Call(t.Context(), o.caller, json.RawMessage(args))
						if err != nil {
							t.Errorf("%s %s: %v", tool.Name, args, err)
							return
						}
						checkLeak(t, owners, o, tool.Name+" "+args, res.Text)
						seen[i] = seen[i] || strings.Contains(res.Text, o.mark)
						if next := nextCursor.FindStringSubmatch(res.Text); next != nil {
							cursors[i] = next[1]
						}
					}
				})
			}
			wg.Wait()
			// Nobody else's cursor goes on, and one's own goes on with one's own.
			for i, cursor := range cursors {
				if cursor == "" {
					continue
				}
				for j, o := range owners {
					next := strings.TrimSuffix(e.variants(args, owners, owners[i])[0], "}") + `,"cursor":"` + cursor + `"}`
					next = strings.Replace(next, "{,", "{", 1)
					res, err := tool.Call(t.Context(), o.caller, json.RawMessage(next))
					if err != nil || i != j && !res.IsError {
						t.Errorf("%s %s: the cursor of %d serves %d: %+v %v", tool.Name, next, i, j, res, err)
					}
					checkLeak(t, owners, o, tool.Name+" "+next, res.Text)
				}
			}
		}
		if tool.Name != "whoami" && slices.Contains(seen, false) {
			t.Errorf("%s shows its caller nothing: the test proves nothing about it (%v)", tool.Name, seen)
		}
	}
	for name := range maps.Keys(leakCalls) {
		if !registered[name] {
			t.Errorf("%s is in the leak test and not a tool", name)
		}
	}
}

// variants are the calls that a template stands for.
func (e *engineBench) variants(args string, owners []*owner, to *owner) []string {
	args = strings.ReplaceAll(args, "TIME", exact(e.Now().Add(-5*time.Minute)))
	if !strings.Contains(args, "TYPO") {
		return []string{args}
	}
	var out []string
	for _, o := range owners {
		if o != to {
			out = append(out, strings.ReplaceAll(args, "TYPO", o.typo()))
		}
	}
	return out
}

func TestNoForeignMarkBesideTheTools(t *testing.T) {
	e, owners := leakBench(t)
	e.set.limiter = newLimiter(Limits{Concurrent: 16, Seconds: 1 << 20}, e.Now)
	// Who may read spans alone has other answers.
	alone, _ := e.set.Lookup("list_errors")
	for _, o := range owners {
		seen := false
		for _, query := range append([]string{"", `"span_attr:mark":*`, `status_code:=2`}, leakQueries...) {
			args, err := json.Marshal(map[string]any{"query": query, "limit": 200, "max_tokens": 12_000})
			e.Must(err)
			res, err := alone.Call(t.Context(), o.spansOnly, args)
			e.Must(err)
			checkLeak(t, owners, o, "list_errors of spans "+query, res.Text)
			seen = seen || strings.Contains(res.Text, o.mark)
		}
		if !seen {
			t.Errorf("list_errors shows %s/%s no spans: the test proves nothing", o.team.Slug, o.name)
		}
	}
	for _, o := range owners {
		for _, r := range e.set.Resources() {
			for _, field := range []string{"mark", "m", "service.name", "name." + owners[0].typo(), "m_" + owners[0].typo()} {
				res, err := e.set.ReadResource(t.Context(), o.caller, r, field)
				e.Must(err)
				checkLeak(t, owners, o, r.URI, res.Text)
				if r.IsTemplate() && (r.Permission == org.LogsRead && field == "mark" || r.Permission == org.MetricsRead && field == "m") && !strings.Contains(res.Text, o.mark) {
					t.Errorf("%s shows its reader nothing: %s", r.URI, res.Text)
				}
			}
		}
		for _, p := range e.set.Prompts() {
			args := map[string]string{"service": "checkout"}
			for _, a := range p.Arguments {
				if a.Required {
					args[a.Name] = "x"
				}
			}
			res := p.Render(o.caller, args)
			if res.IsError {
				t.Error(res.Text)
			}
			checkLeak(t, owners, o, p.Name, res.Text)
		}
		for _, argument := range []string{"service", "field", "operation", "metric", "label", "alert", "since"} {
			for _, prefix := range []string{"", "svc", "name.", "name_", "m_", "s", "q", "w", "v", "x", "GET /"} {
				values, total, err := e.set.Complete(t.Context(), o.caller, argument, prefix)
				e.Must(err)
				checkLeak(t, owners, o, argument, strings.Join(values, "\n"))
				if total != len(values) {
					t.Errorf("%s %q: %d of %d values", argument, prefix, len(values), total)
				}
				if argument == "operation" && prefix == "GET /" && !slices.Equal(values, []string{"GET /" + o.mark}) {
					t.Errorf("operations of %s/%s: %v", o.team.Slug, o.name, values)
				}
				if argument == "service" && prefix == "svc" && !slices.Equal(values, []string{"svc-" + o.mark}) {
					t.Errorf("services of %s/%s: %v", o.team.Slug, o.name, values)
				}
				if own := map[string]string{"metric": "m_", "label": "name_"}[argument]; own != "" && prefix == own && !slices.Equal(values, []string{own + o.mark}) {
					t.Errorf("%ss of %s/%s: %v", argument, o.team.Slug, o.name, values)
				}
			}
		}
	}
}
