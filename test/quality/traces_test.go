package quality

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/incident/shop"
)

// traces compares what the span engine holds with the spans that were sent.
func (w *world) traces(t *testing.T) {
	engine, err := victoria.Attach(filepath.Join(w.Dir, "telemetry", "spans"), 0)
	if c := w.spanCluster; c != nil {
		engine, err = victoria.NewClient(victoria.ClientConfig{URL: c.Select.URL})
	}
	w.Must(err)
	defer engine.Close()
	var tenant telemetry.TenantID
	teams, err := w.Admin.Directory.Teams(t.Context())
	w.Must(err)
	for _, team := range teams {
		if team.Slug == shop.Team {
			tenant = team.Tenant
		}
	}
	start, end, within := w.within(95, 155)
	ask := func(text string) []telemetry.LogRow {
		t.Helper()
		res, err := engine.QuerySpans(t.Context(), telemetry.NewView(tenant, telemetry.Restriction{}), telemetry.SpanQuery{Text: text, Start: start, End: end}, telemetry.Budget{Rows: 40_000, Bytes: 64 << 20})
		w.Must(err)
		return res.Rows
	}
	spans := w.spans(func(s *shop.Span) bool { return within(s.End) })
	if len(spans) == 0 {
		t.Fatal("there are no spans")
	}

	// Requests, errors and durations of every service's operations.
	type operation struct {
		spans, errors int
		took          []float64
	}
	want := make(map[string]*operation)
	for _, s := range spans {
		if s.Kind != shop.KindServer {
			continue
		}
		key := s.Resource.Service + " " + s.Name
		o := want[key]
		if o == nil {
			o = &operation{}
			want[key] = o
		}
		o.spans++
		if s.Error {
			o.errors++
		}
		o.took = append(o.took, float64(s.Duration()))
	}
	w.Eventually(found, "all spans can be found", func() bool {
		rows := ask("* | stats count() as n")
		return len(rows) == 1 && rows[0].Get("n") == strconv.Itoa(len(spans))
	})
	viewed := func(tool string, from, until int, args arguments) string {
		t.Helper()
		text := w.call(w.viewer, tool, w.arguments(step{tool: tool, from: from, until: until, args: args}))
		if n := len(text) / bytesPerToken; n > mostTokens {
			t.Errorf("%s: %d tokens", tool, n)
		}
		return text
	}
	got := rows(t, viewed("aggregate_spans", 95, 155, arguments{
		"where": []string{"kind=2"}, "group_by": []string{"service", "operation"}, "aggregate": []string{"count", "errors", "p50", "p95"}, "limit": 200, "max_tokens": mostTokens,
	}))
	if len(got) != len(want) {
		t.Errorf("%d operations, want %d: %v", len(got), len(want), slices.Sorted(maps.Keys(want)))
	}
	for _, row := range got {
		key := row["service"] + " " + row["operation"]
		o := want[key]
		if o == nil {
			t.Errorf("no span is %q", key)
			continue
		}
		if n := number(t, row["count"]); n != float64(o.spans) {
			t.Errorf("%s: %g spans, want %d", key, n, o.spans)
		}
		if n := number(t, row["errors"]); n != float64(o.errors) {
			t.Errorf("%s: %g errors, want %d", key, n, o.errors)
		}
		for name, q := range map[string]float64{"p50": 0.5, "p95": 0.95} {
			v, err := time.ParseDuration(row[name])
			w.Must(err)
			if o.spans >= 100 && !near(float64(v), quantile(o.took, q), 0.1) {
				t.Errorf("%s: %s is %s, want %g ns", key, name, v, quantile(o.took, q))
			}
		}
	}

	// From a slow service to the query that is asked once for each item.
	for name, c := range map[string]struct{ text, fact string }{
		"slower":      {viewed("get_service_health", 125, 150, arguments{"service": "orders", "baseline": "day"}), `orders`},
		"the version": {viewed("aggregate_spans", 105, 155, arguments{"service": []string{"orders"}, "operation": "GET /orders", "group_by": []string{"service.version"}, "aggregate": []string{"p95", "count"}}), `(?m)^4\.8\.0\t`},
		"the map":     {viewed("get_service_map", 100, 155, arguments{"service": "orders"}), `(?m)^orders\tpostgresql \(external\)`},
		"the region":  {viewed("aggregate_spans", 125, 0, arguments{"service": []string{"payments"}, "status": "error", "group_by": []string{"cloud.region"}}), `eu-`},
	} {
		if !regexp.MustCompile(c.fact).MatchString(c.text) {
			t.Errorf("%s: %s does not say %s", name, c.text, c.fact)
		}
	}
	// What sets failed and slow spans apart, and how many spans a value has.
	for name, c := range map[string]struct{ text, fact string }{
		"the failed version": {viewed("compare", 90, 0, arguments{"signal": "traces", "service": []string{"payments"}, "bad": "status_code:=2"}), `service\.version[^\n]*2\.3\.1`},
		"the failed region":  {viewed("compare", 125, 0, arguments{"signal": "traces", "service": []string{"payments"}, "bad": "status_code:=2"}), `cloud\.region[^\n]*eu-`},
		"the slow version":   {viewed("compare", 60, 155, arguments{"signal": "traces", "service": []string{"orders"}, "query": `name:="GET /orders"`, "bad": "duration:>500000000"}), `service\.version[^\n]*4\.8\.0`},
		"failed spans":       {viewed("list_errors", 125, 0, arguments{"service": []string{"payments"}}), `(?s)failed spans:.*payments`},
	} {
		if !regexp.MustCompile(c.fact).MatchString(c.text) {
			t.Errorf("%s: %s does not say %s", name, c.text, c.fact)
		}
	}
	versions := make(map[string]int)
	for _, s := range spans {
		if s.Resource.Service == "orders" {
			versions[s.Resource.Version]++
		}
	}
	listed := rows(t, viewed("list_field_values", 95, 155, arguments{"signal": "traces", "service": []string{"orders"}, "field": "service.version"}))
	if len(listed) != len(versions) || len(versions) < 2 {
		t.Errorf("versions of spans: %v, want %v", listed, versions)
	}
	for _, row := range listed {
		if number(t, row["spans"]) != float64(versions[row["service.version"]]) {
			t.Errorf("spans of version %s: %s, want %d", row["service.version"], row["spans"], versions[row["service.version"]])
		}
	}
	// The same rows as JSON lines are more than twice as long.
	text := viewed("search_traces", 95, 155, arguments{"limit": 100, "max_tokens": 12_000})
	found, size := rows(t, text), 0
	for _, row := range found {
		line, err := json.Marshal(row)
		w.Must(err)
		size += len(line) + 1
	}
	t.Logf("search_traces: %d rows, %d bytes of text, %d of JSON lines: %.0f %%", len(found), len(text), size, 100*float64(len(text))/float64(size))
	if len(found) != 100 || float64(len(text)) > halfOf*float64(size) {
		t.Errorf("100 traces have %d bytes as text and %d as JSON lines\n%.2000s", len(text), size, text)
	}
	slow := rows(t, viewed("search_traces", 105, 155, arguments{"service": []string{"orders"}, "operation": "GET /orders", "limit": 3}))
	if len(slow) != 3 {
		t.Fatalf("slow traces: %v", slow)
	}
	tree := w.call(w.viewer, "get_trace", arguments{"trace_id": slow[0]["trace_id"]})
	if !regexp.MustCompile(`[1-9][0-9]+ × orders · SELECT orders`).MatchString(tree) {
		t.Errorf("the slowest trace does not show the repeats:\n%s", tree)
	}

	// Every span of one trace, with its parent and its time.
	var id string
	for _, s := range spans {
		if s.Name == "GET /orders" && s.Resource.Version == "4.8.0" && s.Resource.Environment == shop.Production {
			id = s.TraceID
		}
	}
	whole := make(map[string]*shop.Span)
	for _, s := range w.spans(func(s *shop.Span) bool { return s.TraceID == id }) {
		whole[s.SpanID] = s
	}
	spanRows := ask("trace_id:=" + id)
	if len(spanRows) != len(whole) || len(spanRows) < 25 {
		t.Errorf("the trace has %d spans, want %d, more than 25", len(spanRows), len(whole))
	}
	for _, row := range spanRows {
		s := whole[row.Get(telemetry.FieldSpanID)]
		if s == nil {
			t.Errorf("no span is %s", row.Get(telemetry.FieldSpanID))
			continue
		}
		for name, v := range map[string]string{
			telemetry.FieldParentSpanID: s.ParentID, telemetry.FieldSpanName: s.Name, telemetry.FieldDuration: fmt.Sprint(s.Duration().Nanoseconds()),
			telemetry.FieldStartTime: fmt.Sprint(s.Start.UnixNano()), telemetry.FieldSpanService: s.Resource.Service,
		} {
			if row.Get(name) != v {
				t.Errorf("%s of %s is %q, want %q", name, s.Name, row.Get(name), v)
			}
		}
	}
}
