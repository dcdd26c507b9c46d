package quality

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/incident/shop"
)

// traces compares what the span engine holds with the spans that were sent.
func (w *world) traces(t *testing.T) {
	engine, err := victoria.Attach(filepath.Join(w.Dir, "telemetry", "spans"), 0)
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
	got := ask(fmt.Sprintf(`kind:=%d | stats by ("resource_attr:service.name", name) count() as n, count() if (status_code:=2) as errors, quantile(0.5, duration) as p50, quantile(0.95, duration) as p95`, telemetry.KindServer))
	if len(got) != len(want) {
		t.Errorf("%d operations, want %d: %v", len(got), len(want), slices.Sorted(maps.Keys(want)))
	}
	for _, row := range got {
		key := row.Get(telemetry.FieldSpanService) + " " + row.Get(telemetry.FieldSpanName)
		o := want[key]
		if o == nil {
			t.Errorf("no span is %q", key)
			continue
		}
		if n := number(t, row.Get("n")); n != float64(o.spans) {
			t.Errorf("%s: %g spans, want %d", key, n, o.spans)
		}
		if n := number(t, row.Get("errors")); n != float64(o.errors) {
			t.Errorf("%s: %g errors, want %d", key, n, o.errors)
		}
		for name, q := range map[string]float64{"p50": 0.5, "p95": 0.95} {
			if v := number(t, row.Get(name)); o.spans >= 100 && !near(v, quantile(o.took, q), 0.1) {
				t.Errorf("%s: %s is %g, want %g", key, name, v, quantile(o.took, q))
			}
		}
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
	rows := ask("trace_id:=" + id)
	if len(rows) != len(whole) || len(rows) < 25 {
		t.Errorf("the trace has %d spans, want %d, more than 25", len(rows), len(whole))
	}
	for _, row := range rows {
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
