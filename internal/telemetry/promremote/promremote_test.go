package promremote

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

// An engine is one that is asked the same as the embedded one.
type engine struct {
	name string
	*Store
	// settle returns when what was delivered can be read.
	settle func()
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func engines(t testing.TB) []engine {
	s := newServer(t)
	nothing := func() {}
	list := []engine{
		{"header", open(t, Config{URL: s.url, Tenancy: Tenancy{Header: "X-Scope-OrgID"}}), nothing},
		{"label", open(t, Config{URL: s.url, Tenancy: Tenancy{Label: "oriel_tenant"}}), nothing},
		{"thanos", open(t, Config{URL: newServer(t).url, Server: Thanos, Tenancy: Tenancy{Header: "X-Scope-OrgID"}}), nothing},
	}
	if u := os.Getenv("ORIEL_TEST_PROMETHEUS_URL"); u != "" { // a running server, by hand
		list = append(list, engine{"prometheus", open(t, Config{URL: u, Tenancy: Tenancy{Label: "oriel_tenant"}}), nothing})
	}
	return append(list, victoriaMetrics(t))
}

// metrics are of two services, with all kinds of points. mark is in every
// value.
func metrics(now time.Time, mark float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i, service := range []string{"shop", "cart", "mail"} {
		rm := md.ResourceMetrics().AppendEmpty()
		a := rm.Resource().Attributes()
		a.PutStr("service.name", service)
		if i > 0 {
			a.PutStr("service.namespace", "eu")
		}
		ms := rm.ScopeMetrics().AppendEmpty().Metrics()
		g := ms.AppendEmpty()
		g.SetName("queue.depth")
		g.SetDescription("about queue.depth")
		gauge := g.SetEmptyGauge().DataPoints()
		sum := ms.AppendEmpty()
		sum.SetName("http.requests")
		sum.SetUnit("1")
		counter := sum.SetEmptySum()
		counter.SetIsMonotonic(true)
		counter.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		for n := range 40 {
			at := pcommon.NewTimestampFromTime(now.Add(time.Duration(n-39) * 30 * time.Second))
			p := gauge.AppendEmpty()
			p.SetTimestamp(at)
			p.SetDoubleValue(mark + float64(i*100+n%7))
			p.Attributes().PutStr("oriel_tenant", "99")
			c := counter.DataPoints().AppendEmpty()
			c.SetTimestamp(at)
			c.SetDoubleValue(mark + float64(n*(i+1)))
			c.Attributes().PutStr("code", "200")
			if n == 39 {
				e := c.Exemplars().AppendEmpty()
				e.SetTimestamp(at)
				e.SetDoubleValue(1)
				e.SetTraceID(pcommon.TraceID{1})
			}
		}
		if service == "cart" {
			p := counter.DataPoints().AppendEmpty()
			p.SetTimestamp(pcommon.NewTimestampFromTime(now))
			p.SetDoubleValue(mark)
			p.Attributes().PutStr("user.email", "ann")
		}
		old := ms.AppendEmpty()
		old.SetName("old")
		o := old.SetEmptyGauge().DataPoints().AppendEmpty()
		o.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(-50 * time.Minute)))
		o.SetDoubleValue(mark)
		ended := ms.AppendEmpty()
		ended.SetName("ended")
		points := ended.SetEmptyGauge().DataPoints()
		e := points.AppendEmpty()
		e.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(-2 * time.Minute)))
		e.SetDoubleValue(mark)
		e = points.AppendEmpty()
		e.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Minute)))
		e.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		size := ms.AppendEmpty()
		size.SetName("size")
		exp := size.SetEmptyExponentialHistogram()
		exp.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		h := exp.DataPoints().AppendEmpty()
		h.SetTimestamp(pcommon.NewTimestampFromTime(now))
		h.SetCount(3)
		h.SetSum(5)
		h.SetZeroCount(1)
		h.Positive().BucketCounts().FromRaw([]uint64{1, 1})
	}
	return md
}

const tenant, other telemetry.TenantID = 7, 77

func fill(t testing.TB, now time.Time, embedded *prom.Store, all []engine) {
	t.Helper()
	for of, mark := range map[telemetry.TenantID]float64{tenant: 1000, other: 5000} {
		want, err := embedded.WriteOTLP(t.Context(), of, metrics(now, mark))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			payload, rejected, err := e.EncodeOTLP(t.Context(), of, metrics(now, mark))
			if err != nil {
				t.Fatal(e.name, err)
			}
			if diff := cmp.Diff(want, rejected); diff != "" {
				t.Errorf("%s: rejected: %s", e.name, diff)
			}
			if _, err := e.Deliver(t.Context(), of, payload); err != nil {
				t.Fatal(e.name, err)
			}
		}
	}
	for _, e := range all {
		e.settle()
	}
}

func views(t testing.TB) map[string]telemetry.View {
	t.Helper()
	list := map[string]telemetry.View{"none": {}, "whole": telemetry.NewView(tenant, telemetry.Restriction{}), "hidden": telemetry.NewView(tenant, telemetry.Restriction{Hidden: []string{"user"}})}
	for _, text := range []string{
		`service.name = shop`, `service.name != shop`, `service.name in (shop, cart) and not (service.name = cart)`,
		`service.name = shop or service.namespace = eu and service.name = mail`, `not (service.name = shop or service.name = mail)`, `os.type = linux`,
	} {
		f, err := telemetry.ParseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		list[text] = telemetry.NewView(tenant, telemetry.Restriction{Filter: f})
	}
	list["young"] = telemetry.NewView(tenant, telemetry.Restriction{LookBack: 12 * time.Minute})
	return list
}

var questions = []string{
	`queue_depth`, `sum by (service_name) (rate(http_requests_total[5m]))`, `sum(queue_depth) + vector(1)`, `absent(queue_depth{service_name="shop"})`,
	`count_over_time(queue_depth[1h])`, `max_over_time(queue_depth[10m] offset 5m)`, `avg_over_time(sum(queue_depth)[10m:1m])`, `old offset 45m`,
	`queue_depth{service_name="cart"} or http_requests_total{code="200"}`, `topk(1, queue_depth)`, `1 + 1`, `ended`, `size`, `histogram_quantile(0.9, size)`,
	`count({__name__=~".+"})`, `count by (__name__) ({service_name!=""})`, `http_requests_total{oriel_tenant="77"}`, `queue_depth{oriel_tenant=""}`, `queue_depth{oriel_tenant=~".*"}`,
	`count_values("oriel_tenant", queue_depth)`, `label_replace(http_requests_total, "x", "$1", "oriel_tenant", "(.*)")`, `count(queue_depth) by (oriel_tenant)`,
	`sum without (service_name) (queue_depth)`, `queue_depth * on (service_name) group_left http_requests_total`, `queue_depth / ignoring (x) queue_depth`,
	`queue_depth @ end() - 1`, `{"queue_depth", user_email=""}`, `sort_desc(queue_depth)`, `quantile(0.5, queue_depth)`, `time()`, `queue_depth * on () http_requests_total`,
}

// differences are the questions to which an engine gives another answer.
var differences = []struct{ engine, question, reason string }{
	{"thanos", "ended", "a range selector shows no mark of a series' end"},
	{"thanos", "size", "the API does not tell a native histogram so that it could be evaluated here; handed over it is the same"},
	{"thanos", "histogram_quantile(0.9, size)", "likewise"},
	{"thanos", `count({__name__=~".+"})`, "likewise"},
	{"thanos", `count by (__name__) ({service_name!=""})`, "likewise"},
	{"victoriametrics", "size", "no native histograms"},
	{"victoriametrics", "histogram_quantile(0.9, size)", "no native histograms"},
	{"victoriametrics", `count({__name__=~".+"})`, "no native histograms"},
	{"victoriametrics", `count by (__name__) ({service_name!=""})`, "no native histograms"},
}

func differs(engine, question string) bool {
	for _, d := range differences {
		if d.engine == engine && d.question == question {
			return true
		}
	}
	return false
}

func TestSameAnswers(t *testing.T) {
	now := time.Now().Add(-time.Minute).Truncate(time.Minute)
	embedded, err := prom.Open(prom.Config{Dir: t.TempDir(), Retention: 30 * 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close() //nolint:errcheck // a test's
	all := engines(t)
	fill(t, now, embedded, all)
	for name, view := range views(t) {
		for _, text := range questions {
			for _, q := range []telemetry.MetricQuery{{Expr: text, Start: now, End: now}, {Expr: text, Start: now.Add(-5 * time.Minute), End: now, Step: time.Minute}} {
				want, wantErr := embedded.QueryMetrics(t.Context(), view, q, telemetry.Budget{})
				for _, e := range all {
					if differs(e.name, text) {
						continue
					}
					w := want
					if e.Store.cfg.Tenancy.Label != "" {
						w.Series = withoutLabel(w.Series)
						if strings.Contains(text, "oriel_tenant") {
							continue // TestLabelDoesNotExist
						}
					}
					got, err := e.QueryMetrics(t.Context(), view, q, telemetry.Budget{})
					if diff := cmp.Diff(errorText(wantErr), errorText(err)); diff != "" {
						t.Errorf("%s, %s, %s: %s", e.name, name, text, diff)
					}
					if err != nil {
						continue
					}
					for i := range got.Warnings {
						got.Warnings[i] = place.ReplaceAllString(got.Warnings[i], "")
					}
					w.Warnings = slices.Clone(w.Warnings)
					for i := range w.Warnings {
						w.Warnings[i] = place.ReplaceAllString(w.Warnings[i], "")
					}
					if diff := cmp.Diff(w, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9), cmpopts.IgnoreFields(telemetry.MetricResult{}, "Samples"), cmpopts.SortSlices(bySeries)); diff != "" {
						t.Errorf("%s, %s, %s (-embedded +remote): %s", e.name, name, text, diff)
					}
				}
			}
		}
	}
}

// withoutLabel is what remains where the server keeps tenants apart by a label
// of the same name as a sender's.
func withoutLabel(series []telemetry.Series) []telemetry.Series {
	var out []telemetry.Series
	for _, s := range series {
		var fields []telemetry.Field
		for _, f := range s.Labels {
			if f.Name != "oriel_tenant" {
				fields = append(fields, f)
			}
		}
		out = append(out, telemetry.Series{Labels: fields, Points: s.Points})
	}
	return out
}

func bySeries(a, b telemetry.Series) bool {
	key := func(s telemetry.Series) (out string) {
		for _, f := range s.Labels {
			out += f.Name + "\x00" + f.Value + "\x01"
		}
		return out
	}
	return key(a) < key(b)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	// Of several examples an engine names any.
	text, _, _ := strings.Cut(err.Error(), ": [")
	return text
}

// Everything that a method shows must be of the tenant, and of the view.
func TestNothingLeaks(t *testing.T) {
	now := time.Now().Add(-time.Minute).Truncate(time.Minute)
	embedded, err := prom.Open(prom.Config{Dir: t.TempDir(), Retention: 30 * 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close() //nolint:errcheck // a test's
	all := engines(t)
	fill(t, now, embedded, all)
	from := telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now.Add(time.Minute)}
	b := telemetry.Budget{}
	for name, view := range views(t) {
		for _, selectors := range [][]string{nil, {`{service_name!="shop"}`}, {`queue_depth`, `{oriel_tenant="77"}`}, {`{oriel_tenant=~".*", code="200"}`}} {
			q := from
			q.Selectors = selectors
			for _, e := range all {
				want, _, err := embedded.Series(t.Context(), view, q, b)
				if err != nil {
					t.Fatal(err)
				}
				mine := func(fields []telemetry.Field) []telemetry.Field {
					return withoutLabel([]telemetry.Series{{Labels: fields}})[0].Labels
				}
				var expect [][]telemetry.Field
				names, values := map[string]bool{}, map[string]bool{}
				for _, s := range want {
					if s[0].Value == "size" && e.name == "victoriametrics" {
						continue
					}
					if e.cfg.Tenancy.Label != "" {
						s = mine(s)
					}
					expect = append(expect, s)
					for _, f := range s {
						names[f.Name] = true
						if f.Name == "service_name" {
							values[f.Value] = true
						}
					}
				}
				got, _, err := e.Series(t.Context(), view, q, b)
				if err != nil {
					t.Errorf("%s, %s: %v", e.name, name, err)
				}
				gotNames, _, err := e.LabelNames(t.Context(), view, q, b)
				if err != nil {
					t.Errorf("%s, %s: %v", e.name, name, err)
				}
				gotValues, _, err := e.LabelValues(t.Context(), view, "service_name", q, b)
				if err != nil {
					t.Errorf("%s, %s: %v", e.name, name, err)
				}
				ofTenant, _, err := e.LabelValues(t.Context(), view, "oriel_tenant", q, b)
				if err != nil || e.cfg.Tenancy.Label != "" && len(ofTenant) > 0 {
					t.Errorf("%s, %s: tenants %v, %v", e.name, name, ofTenant, err)
				}
				if diff := cmp.Diff(expect, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b []telemetry.Field) bool {
					return bySeries(telemetry.Series{Labels: a}, telemetry.Series{Labels: b})
				})); diff != "" {
					t.Errorf("%s, %s, %v: series %s", e.name, name, selectors, diff)
				}
				if diff := cmp.Diff(names, setOf(gotNames)); diff != "" {
					t.Errorf("%s, %s, %v: names %s", e.name, name, selectors, diff)
				}
				if diff := cmp.Diff(values, setOf(gotValues)); diff != "" {
					t.Errorf("%s, %s, %v: values %s", e.name, name, selectors, diff)
				}
				infos, _, err := e.MetricInfos(t.Context(), view, q, b)
				if err != nil {
					t.Errorf("%s, %s: %v", e.name, name, err)
				}
				n := 0
				for _, i := range infos {
					n += i.Series
					if view.Filter() != nil && i.Help != "" {
						t.Errorf("%s, %s: words of %v", e.name, name, i)
					}
				}
				if n != len(got) {
					t.Errorf("%s, %s, %v: infos of %d series, want %d", e.name, name, selectors, n, len(got))
				}
				exemplars, _, err := e.Exemplars(t.Context(), view, q, b)
				if err != nil {
					t.Errorf("%s, %s: %v", e.name, name, err)
				}
				wantExemplars, _, err := embedded.Exemplars(t.Context(), view, q, b)
				if err != nil {
					t.Fatal(err)
				}
				if e.name == "header" && selectors == nil {
					if diff := cmp.Diff(wantExemplars, exemplars, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("%s, %s: exemplars %s", e.name, name, diff)
					}
				} else if e.name != "victoriametrics" && e.name != "prometheus" && len(exemplars) > len(wantExemplars) {
					t.Errorf("%s, %s: %d exemplars, want %d", e.name, name, len(exemplars), len(wantExemplars))
				}
			}
		}
	}
}

func setOf(texts []string) map[string]bool {
	set := make(map[string]bool)
	for _, t := range texts {
		set[t] = true
	}
	return set
}

func FuzzRewrite(f *testing.F) {
	for _, s := range questions {
		f.Add(s, "7")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		p := parser.NewParser(parser.Options{})
		expr, err := prom.CheckQuery(p, telemetry.MetricQuery{Expr: text, Start: time.Unix(1, 0), End: time.Unix(1, 0)})
		if err != nil {
			return
		}
		m, err := labels.NewMatcher(labels.MatchEqual, "oriel_tenant", value)
		if err != nil {
			return
		}
		out, ok := rewrite(p, expr.String(), []*labels.Matcher{m})
		if !ok {
			return
		}
		again, err := p.ParseExpr(out)
		if err != nil {
			t.Fatal(err)
		}
		before, after := parser.ExtractSelectors(expr), parser.ExtractSelectors(again)
		if len(before) != len(after) {
			t.Fatalf("%q: %q has other selectors", text, out)
		}
		for _, matchers := range after {
			found := false
			for _, have := range matchers {
				found = found || have.String() == m.String()
			}
			if !found {
				t.Errorf("%q: a selector of %q is without the tenant", text, out)
			}
		}
	})
}

// Where a label tells tenants apart, nobody can ask for it, nor see it.
func TestLabelDoesNotExist(t *testing.T) {
	now := time.Now().Add(-time.Minute).Truncate(time.Minute)
	all := slices.DeleteFunc(engines(t), func(e engine) bool { return e.cfg.Tenancy.Label == "" })
	embedded, err := prom.Open(prom.Config{Dir: t.TempDir(), Retention: 30 * 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close() //nolint:errcheck // a test's
	fill(t, now, embedded, all)
	for _, e := range all {
		for text, want := range map[string]int{
			`queue_depth{oriel_tenant="77"}`: 0, `queue_depth{oriel_tenant="7"}`: 0, `queue_depth{oriel_tenant=~".+"}`: 0,
			`queue_depth{oriel_tenant=""}`: 3, `queue_depth{oriel_tenant=~".*"}`: 3, `count by (oriel_tenant) (queue_depth)`: 1,
			`label_replace(queue_depth, "x", "$1", "oriel_tenant", "(.*)")`: 3, `sum without (oriel_tenant) (queue_depth)`: 3,
			`absent(nothing)`: 1, `sum(queue_depth) + vector(1)`: 1, `count_over_time(queue_depth{oriel_tenant!="7"}[5m])`: 3,
		} {
			got, err := e.QueryMetrics(t.Context(), telemetry.NewView(tenant, telemetry.Restriction{}), telemetry.MetricQuery{Expr: text, Start: now, End: now}, telemetry.Budget{})
			if err != nil || len(got.Series) != want {
				t.Errorf("%s, %s: %d series, want %d, %v", e.name, text, len(got.Series), want, err)
			}
			for _, s := range got.Series {
				for _, f := range s.Labels {
					if f.Name == "oriel_tenant" || f.Name == "x" {
						t.Errorf("%s, %s: %v", e.name, text, s)
					}
				}
			}
		}
	}
}

// Some questions are handed over, and only those whose answer is exact.
func TestHandOver(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	s := newServer(t)
	list := views(t)
	for _, c := range []struct {
		tenancy    Tenancy
		view, expr string
		want       string // "" is evaluated here
	}{
		{Tenancy{Header: "X-Scope-OrgID"}, "whole", `sum(rate(a[5m]))/b`, `sum(rate(a[5m])) / b`},
		{Tenancy{Label: "oriel_tenant"}, "whole", `sum(rate(a[5m]))`, `sum(rate(a{oriel_tenant=~"7"}[5m]))`},
		{Tenancy{Label: "oriel_tenant"}, "whole", `a / b`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "service.name != shop", `a and b`, `a{service_name!~"shop"} and b{service_name!~"shop"}`},
		{Tenancy{Header: "X-Scope-OrgID"}, "service.name != shop", `absent(a)`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "not (service.name = shop or service.name = mail)", `a`, `a{service_name!~"mail",service_name!~"shop"}`},
		{Tenancy{Header: "X-Scope-OrgID"}, "service.name = shop or service.namespace = eu and service.name = mail", `a`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "os.type = linux", `a`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "hidden", `a`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "young", `rate(a[5m])`, `rate(a[5m])`},
		{Tenancy{Header: "X-Scope-OrgID"}, "young", `rate(a[5m] offset 10m)`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "young", `max_over_time(a[10m:1m])`, ``},
		{Tenancy{Header: "X-Scope-OrgID"}, "young", `a @ 5`, ``},
	} {
		store := open(t, Config{URL: s.url, Tenancy: c.tenancy})
		s.asked = nil
		if _, err := store.QueryMetrics(t.Context(), list[c.view], telemetry.MetricQuery{Expr: c.expr, Start: now, End: now}, telemetry.Budget{}); err != nil {
			t.Error(c, err)
		}
		got := strings.Join(s.asked, "; ")
		if got != c.want {
			t.Errorf("%s, %s: asked %s, want %s", c.view, c.expr, got, c.want)
		}
	}
}
