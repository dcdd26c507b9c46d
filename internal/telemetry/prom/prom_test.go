package prom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
)

func store(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	c := Config{Dir: t.TempDir(), Retention: 30 * 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&c)
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sender makes metrics of one resource.
type sender struct {
	md    pmetric.Metrics
	scope pmetric.ScopeMetrics
}

func from(resource ...string) sender {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	for i := 0; i+1 < len(resource); i += 2 {
		rm.Resource().Attributes().PutStr(resource[i], resource[i+1])
	}
	return sender{md, rm.ScopeMetrics().AppendEmpty()}
}

func (s sender) metric(name string) pmetric.Metric {
	m := s.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetDescription("about " + name)
	return m
}

func (s sender) gauge(name string, at time.Time, v float64, attributes ...string) sender {
	p := s.metric(name).SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetDoubleValue(v)
	for i := 0; i+1 < len(attributes); i += 2 {
		p.Attributes().PutStr(attributes[i], attributes[i+1])
	}
	return s
}

func write(t testing.TB, s *Store, tenant telemetry.TenantID, md pmetric.Metrics, reasons ...string) {
	t.Helper()
	rejected, err := s.WriteOTLP(t.Context(), tenant, md)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for reason := range rejected {
		got = append(got, reason)
	}
	slices.Sort(got)
	if !slices.Equal(got, reasons) {
		t.Errorf("rejected %v, want %v", rejected, reasons)
	}
}

func whole(tenant telemetry.TenantID) telemetry.View {
	return telemetry.NewView(tenant, telemetry.Restriction{})
}

func scoped(t *testing.T, tenant telemetry.TenantID, filter string) telemetry.View {
	t.Helper()
	f, err := telemetry.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry.NewView(tenant, telemetry.Restriction{Filter: f})
}

func instant(expr string, at time.Time) telemetry.MetricQuery {
	return telemetry.MetricQuery{Expr: expr, Start: at, End: at}
}

func query(t *testing.T, s *Store, view telemetry.View, q telemetry.MetricQuery) telemetry.MetricResult {
	t.Helper()
	r, err := s.QueryMetrics(t.Context(), view, q, telemetry.Budget{})
	if err != nil {
		t.Fatalf("%s: %v", q.Expr, err)
	}
	return r
}

// text prints a result short.
func text(r telemetry.MetricResult) (lines []string) {
	for _, s := range r.Series {
		var b strings.Builder
		for _, l := range s.Labels {
			fmt.Fprintf(&b, "%s=%s ", l.Name, l.Value)
		}
		for _, p := range s.Points {
			if p.Histogram != nil {
				fmt.Fprintf(&b, "count %v sum %v", p.Histogram.Count, p.Histogram.Sum)
				continue
			}
			fmt.Fprint(&b, p.Value)
		}
		lines = append(lines, b.String())
	}
	slices.Sort(lines)
	return lines
}

func TestAllKinds(t *testing.T) {
	s := store(t)
	now := time.Now().Truncate(time.Second)
	m := from("service.name", "shop", "service.namespace", "eu", "service.instance.id", "i1", "k8s.pod.name", "p1", "os.type", "linux")
	m.gauge("queue.depth", now, 3)
	sum := m.metric("http.requests").SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range 5 {
		p := sum.DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(time.Duration(i-4) * 15 * time.Second)))
		p.SetIntValue(int64(i) * 30)
		p.Attributes().PutStr("http.route", "/pay")
		e := p.Exemplars().AppendEmpty()
		e.SetTimestamp(p.Timestamp())
		e.SetDoubleValue(1)
		e.SetTraceID(pcommon.TraceID{1})
	}
	classic := m.metric("latency")
	classic.SetUnit("s")
	hist := classic.SetEmptyHistogram()
	hist.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	h := hist.DataPoints().AppendEmpty()
	h.SetTimestamp(pcommon.NewTimestampFromTime(now))
	h.SetCount(4)
	h.SetSum(2)
	h.ExplicitBounds().FromRaw([]float64{0.1, 1})
	h.BucketCounts().FromRaw([]uint64{1, 2, 1})
	exp := m.metric("size").SetEmptyExponentialHistogram()
	exp.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	e := exp.DataPoints().AppendEmpty()
	e.SetTimestamp(pcommon.NewTimestampFromTime(now))
	e.SetCount(3)
	e.SetSum(7)
	e.Positive().BucketCounts().FromRaw([]uint64{1, 2})
	// Refused: delta temporality, and points of other times.
	delta := m.metric("delta").SetEmptySum()
	delta.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	delta.DataPoints().AppendEmpty()
	m.gauge("old", now.Add(-31*24*time.Hour), 1)
	m.gauge("new", now.Add(time.Hour), 1)
	write(t, s, 1, m.md, ReasonTooNew, ReasonTooOld, ReasonUnsupported)

	labels := "instance=i1 job=eu/shop k8s_pod_name=p1 service_instance_id=i1 service_name=shop service_namespace=eu "
	for expr, want := range map[string][]string{
		`queue_depth`:                            {"__name__=queue_depth " + labels + "3"},
		`sum(increase(http_requests_total[2m]))`: nil,
		`sum(latency_seconds_count)`:             {"4"},
		`latency_seconds_bucket{le="1"}`:         {"__name__=latency_seconds_bucket instance=i1 job=eu/shop k8s_pod_name=p1 le=1.0 service_instance_id=i1 service_name=shop service_namespace=eu 3"},
		`size`:                                   {"__name__=size " + labels + "count 3 sum 7"},
		`histogram_count(size)`:                  {labels + "3"},
		`count by (os_type) (target_info)`:       {"os_type=linux 1"},
		`count by (service_name) (target_info)`:  {"service_name=shop 1"},
		`old or new or delta`:                    nil,
		`2 + 2`:                                  {"4"},
	} {
		r := query(t, s, whole(1), instant(expr, now))
		if want == nil && strings.Contains(expr, "increase") {
			if len(r.Series) != 1 || r.Series[0].Points[0].Value < 100 {
				t.Errorf("%s: %v", expr, text(r))
			}
			continue
		}
		if expr == `latency_seconds_bucket{le="1"}` && len(r.Series) == 1 {
			want[0] = strings.Replace(want[0], "le=1.0", "le=1", 1)
		}
		if diff := cmp.Diff(want, text(r)); diff != "" {
			t.Errorf("%s: %s", expr, diff)
		}
	}
	r := query(t, s, whole(1), telemetry.MetricQuery{Expr: `http_requests_total`, Start: now.Add(-time.Minute), End: now, Step: 15 * time.Second})
	if len(r.Series) != 1 || len(r.Series[0].Points) != 5 || r.Series[0].Points[4].Value != 120 {
		t.Errorf("a range: %v", text(r))
	}
	series := telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now}
	infos, _, err := s.MetricInfos(t.Context(), whole(1), series, telemetry.Budget{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name+" "+i.Type+" "+i.Unit)
	}
	if want := []string{"http_requests_total counter ", "latency_seconds histogram seconds", "queue_depth gauge ", "size histogram ", "target_info gauge "}; !slices.Equal(names, want) {
		t.Errorf("infos %q", names)
	}
	examples, _, err := s.Exemplars(t.Context(), whole(1), series, telemetry.Budget{})
	if err != nil || len(examples) == 0 || examples[0].Labels[0].Name != "trace_id" || !strings.HasPrefix(examples[0].Labels[0].Value, "01") {
		t.Errorf("exemplars %v, %v", examples, err)
	}
	values, _, err := s.LabelValues(t.Context(), whole(1), "http_route", series, telemetry.Budget{})
	if err != nil || !slices.Equal(values, []string{"/pay"}) {
		t.Errorf("label values %v, %v", values, err)
	}
	list, more, err := s.Series(t.Context(), whole(1), telemetry.SeriesQuery{Selectors: []string{"queue_depth", `{__name__=~"queue.*"}`}, Start: series.Start, End: series.End}, telemetry.Budget{})
	if err != nil || more || len(list) != 1 {
		t.Errorf("series %v, %v, %v", list, more, err)
	}
}

// expressions try to see more than the view shows.
var expressions = []string{
	`{__name__=~".+"}`, `m`, `m{service_name="cart"}`, `m{service_name!="checkout"}`, `m or m`, `m or {__name__=~".*outside.*"}`,
	`rate(m[5m])`, `sum by (mark) (m)`, `count by (__name__) ({__name__=~".+"})`, `max_over_time(m[30m:1m])`, `m @ end()`, `m offset 1s`,
	`m offset -1s`, `absent(m{service_name="cart"})`, `label_replace(m, "x", "$1", "mark", "(.*)")`, `m * on (mark) group_left m`,
	`topk(100, m)`, `count_values("v", m)`, `sort(m)`, `m{mark=~"mark.*"}`, `info(m)`, `m unless m{mark="none"}`, `group by (mark) (m)`,
	`target_info`, `last_over_time(m[1d])`, `m @ 0`, `present_over_time({__name__!=""}[1d])`, `quantile(0.5, m)`, `scalar(m)`, `vector(1)`, `sum(m)`,
}

func TestNoForeignSeries(t *testing.T) {
	s := store(t)
	now := time.Now().Truncate(time.Second)
	add := func(tenant telemetry.TenantID, mark, service string) {
		m := from("service.name", service, "deployment.environment.name", "prod")
		for i := range 10 {
			at := now.Add(time.Duration(i-9) * 30 * time.Second)
			// The forged names say that each series is mine.
			m.gauge("m", at, 1, "mark", mark, "name_"+mark, mark, "service.name", "checkout", "service_name", "checkout",
				"service..name", "checkout", "deployment.environment.name", "prod", "job", "checkout", "__name__", "m")
			m.gauge("m_"+mark, at, 1, "mark", mark)
		}
		write(t, s, tenant, m.md)
	}
	add(1, "markmine", "checkout")
	add(1, "markoutside", "cart")
	add(2, "markother", "checkout")
	// One whose resource says nothing.
	write(t, s, 1, from().gauge("m", now, 1, "mark", "markoutside", "service.name", "checkout", "service_name", "checkout").md)

	for _, filter := range []string{
		`service.name = checkout`, `service.name in (checkout, other) and deployment.environment.name = prod`,
		`not service.name = cart and deployment.environment.name = prod`, `service.name = checkout or service.name = other`,
	} {
		view := scoped(t, 1, filter)
		mine := 0
		for _, expr := range expressions {
			for _, q := range []telemetry.MetricQuery{
				instant(expr, now), {Expr: expr, Start: now.Add(-10 * time.Minute), End: now, Step: time.Minute},
			} {
				r, err := s.QueryMetrics(t.Context(), view, q, telemetry.Budget{})
				if _, ok := errors.AsType[*telemetry.QueryError](err); ok {
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", expr, err)
				}
				for _, line := range text(r) {
					if strings.Contains(line, "outside") || strings.Contains(line, "other") {
						t.Errorf("%s under %q shows %s", expr, filter, line)
					}
					if strings.Contains(line, "markmine") {
						mine++
					}
					if expr == "sum(m)" && q.Start.Equal(q.End) && line != "1" {
						t.Errorf("sum(m) under %q is %s", filter, line)
					}
				}
				for _, w := range r.Warnings {
					if strings.Contains(w, "mark") && !strings.Contains(expr, "mark") {
						t.Errorf("%s warns %s", expr, w)
					}
				}
			}
		}
		if mine < 20 {
			t.Errorf("%q shows mine %d times", filter, mine)
		}
		sq := telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now}
		all := fmt.Sprint(must(s.LabelNames(t.Context(), view, sq, telemetry.Budget{})), must(s.LabelValues(t.Context(), view, "mark", sq, telemetry.Budget{})),
			must(s.LabelValues(t.Context(), view, "__name__", sq, telemetry.Budget{})), must(s.Series(t.Context(), view, sq, telemetry.Budget{})),
			must(s.MetricInfos(t.Context(), view, sq, telemetry.Budget{})), must(s.Exemplars(t.Context(), view, sq, telemetry.Budget{})))
		if strings.Contains(all, "outside") || strings.Contains(all, "other") || !strings.Contains(all, "markmine") {
			t.Errorf("%q: names and values are %s", filter, all)
		}
	}
	for name, view := range map[string]telemetry.View{
		"a scope on what metrics do not carry": scoped(t, 1, `not cost.center = 7`),
		"the zero filter":                      telemetry.NewView(1, telemetry.Restriction{Filter: &telemetry.Filter{}}),
		"the zero view":                        {},
		"an unknown tenant":                    whole(9),
	} {
		if r := query(t, s, view, instant(`{__name__=~".+"}`, now)); len(r.Series) != 0 {
			t.Errorf("%s shows %v", name, text(r))
		}
	}
	if r := query(t, s, scoped(t, 1, `not cost.center = 7`), instant(`m`, now)); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "cost.center") {
		t.Errorf("warnings %v", r.Warnings)
	}
	if r := query(t, s, whole(1), instant(`count(m)`, now)); !slices.Equal(text(r), []string{"3"}) {
		t.Errorf("the whole tenant counts %v", text(r))
	}
}

func must[T any](v T, _ bool, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The view's look-back and the retention hold against every way to ask for
// other times.
func TestLookBack(t *testing.T) {
	s := store(t)
	now := time.Now().Truncate(time.Second)
	m := from("service.name", "shop")
	m.gauge("m", now.Add(-50*time.Minute), 1, "mark", "old")
	m.gauge("m", now.Add(-time.Minute), 2, "mark", "new")
	write(t, s, 1, m.md)
	view := telemetry.NewView(1, telemetry.Restriction{LookBack: 10 * time.Minute})
	for _, expr := range []string{`last_over_time(m[1h])`, `m offset 49m`, fmt.Sprintf(`m @ %d`, now.Add(-49*time.Minute).Unix()), `max_over_time(m[1h:1m])`} {
		for _, line := range text(query(t, s, view, instant(expr, now))) {
			if strings.Contains(line, "old") {
				t.Errorf("%s shows %s", expr, line)
			}
		}
	}
	old := telemetry.MetricQuery{Expr: `m`, Start: now.Add(-time.Hour), End: now.Add(-30 * time.Minute), Step: time.Minute}
	if r := query(t, s, view, old); len(r.Series) != 0 {
		t.Errorf("an old range shows %v", text(r))
	}
	if r := query(t, s, whole(1), old); len(r.Series) != 1 {
		t.Errorf("without look-back it shows %v", text(r))
	}
	sq := telemetry.SeriesQuery{Start: now.Add(-2 * time.Hour), End: now}
	if v := must(s.LabelValues(t.Context(), whole(1), "mark", sq, telemetry.Budget{})); len(v) != 2 {
		t.Errorf("values %v", v)
	}
}

func TestLimits(t *testing.T) {
	s := store(t, func(c *Config) { c.MaxSeries = 20 })
	now := time.Now()
	m := from("service.name", "shop")
	for i := range 30 {
		m.gauge("m", now, float64(i), "n", fmt.Sprint(i))
	}
	m.gauge("m", now, 1, "long", strings.Repeat("x", maxLabelValueBytes+1))
	write(t, s, 1, m.md, ReasonLabels, ReasonSeries)
	// What is there goes on.
	write(t, s, 1, from("service.name", "shop").gauge("m", now.Add(time.Second), 1, "n", "0").md)
	write(t, s, 1, from("service.name", "shop").gauge("m", now.Add(time.Second), 2, "n", "0").md, ReasonDuplicate)

	r, err := s.QueryMetrics(t.Context(), whole(1), instant("m", now), telemetry.Budget{Rows: 5})
	if err != nil || len(r.Series) != 5 || !r.More {
		t.Errorf("rows: %d, %v, %v", len(r.Series), r.More, err)
	}
	wide := telemetry.MetricQuery{Expr: "m", Start: now.Add(-time.Hour), End: now.Add(time.Hour), Step: time.Second}
	if _, err := s.QueryMetrics(t.Context(), whole(1), wide, telemetry.Budget{Bytes: 1600}); !errors.Is(err, telemetry.ErrTooExpensive) {
		t.Errorf("samples: %v", err)
	}
	if _, err := s.QueryMetrics(t.Context(), whole(1), wide, telemetry.Budget{Time: time.Nanosecond}); !errors.Is(err, telemetry.ErrTooExpensive) {
		t.Errorf("time: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.QueryMetrics(ctx, whole(1), wide, telemetry.Budget{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, expr := range []string{`m{`, ``, `sum(`, strings.Repeat("(", 200) + "m" + strings.Repeat(")", 200), `m + on (n) group_left m[5m]`} {
		_, err := s.QueryMetrics(t.Context(), whole(1), instant(expr, now), telemetry.Budget{})
		if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
			t.Errorf("%.20q: %v", expr, err)
		}
	}
	q := telemetry.MetricQuery{Expr: "m", Start: now.Add(-24 * time.Hour), End: now, Step: time.Second}
	if _, err := s.QueryMetrics(t.Context(), whole(1), q, telemetry.Budget{}); err == nil || !strings.Contains(err.Error(), "larger step") {
		t.Errorf("too many steps: %v", err)
	}
}

func TestReopens(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	c := func(c *Config) { c.Dir = dir }
	s := store(t, c)
	write(t, s, 1, from("service.name", "shop").gauge("queue", now, 3).md)
	// Closed while idle, and opened again by the next query.
	s.closeUnused(0)
	if len(s.open) != 0 {
		t.Fatal("it is not closed")
	}
	if r := query(t, s, whole(1), instant("queue", now)); len(r.Series) != 1 {
		t.Errorf("after it was idle: %v", text(r))
	}
	usage, err := s.Usage()
	if err != nil || len(usage) != 1 || usage[0].Tenant != 1 || usage[0].Series != 1 || usage[0].Bytes == 0 {
		t.Errorf("usage %+v, %v", usage, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteOTLP(t.Context(), 1, from().md); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("write to a closed store: %v", err)
	}
	s = store(t, c)
	infos, _, err := s.MetricInfos(t.Context(), whole(1), telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now}, telemetry.Budget{})
	if err != nil || len(infos) != 1 || infos[0].Help != "about queue" {
		t.Errorf("infos %v, %v", infos, err)
	}
	full := store(t, func(c *Config) { c.Check = func() error { return &telemetry.OverloadError{Reason: "full"} } })
	if _, err := full.WriteOTLP(t.Context(), 1, from().md); err == nil || err.Error() != "full" {
		t.Errorf("a full disk: %v", err)
	}
}

func TestHiddenLabels(t *testing.T) {
	s := store(t)
	now := time.Now()
	write(t, s, 1, from("service.name", "checkout").gauge("seen", now, 1, "route", "/").gauge("seen", now, 2, "user.email", "markhidden").
		gauge("seen", now, 3, "user_email_domain", "markhidden").md)
	hidden, err := telemetry.ParseHiddenFields([]string{"user.email"})
	if err != nil {
		t.Fatal(err)
	}
	view := telemetry.NewView(1, telemetry.Restriction{Hidden: hidden})
	for expr, want := range map[string]string{
		`count(seen)`: "1", `count(seen{user_email=~".*"})`: "1", `count(seen{user_email!="x"})`: "1", `count(seen{user_email="markhidden"}) or vector(0)`: "0",
		`count(count by (user_email) (seen))`: "1", `count(label_replace(seen, "x", "$1", "user_email", "(.+)"))`: "1",
	} {
		r := query(t, s, view, instant(expr, now))
		if len(r.Series) != 1 || fmt.Sprint(r.Series[0].Points[0].Value) != want || len(r.Warnings) == 0 {
			t.Errorf("%s: %+v", expr, r)
		}
	}
	q := telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now.Add(time.Hour)}
	names, _, err := s.LabelNames(t.Context(), view, q, telemetry.Budget{})
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "user") }) || !slices.Contains(names, "route") {
		t.Errorf("%v, %v", names, err)
	}
	if values, _, err := s.LabelValues(t.Context(), view, "user_email", q, telemetry.Budget{}); err != nil || len(values) != 0 {
		t.Errorf("%v, %v", values, err)
	}
	if r := query(t, s, whole(1), instant(`count(seen)`, now)); r.Series[0].Points[0].Value != 3 {
		t.Errorf("the whole tenant: %+v", r)
	}
}

func TestInfosCountAndKeepForeignWords(t *testing.T) {
	s := store(t)
	now := time.Now()
	for _, service := range []string{"cart", "checkout"} {
		m := from("service.name", service)
		m.gauge("shared", now, 1, "a", service)
		m.gauge("shared", now, 1, "b", service)
		m.gauge("only."+service, now, 1)
		write(t, s, 1, m.md)
	}
	q := telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now, Selectors: []string{`{__name__="shared"}`, `{__name__=~"(shared|only).*"}`}}
	for filter, want := range map[string][]string{
		"": {
			"only_cart 1 about only.cart [job service_name]", "only_checkout 1 about only.checkout [job service_name]",
			"shared 4 about shared [a b job service_name]",
		},
		"service.name = cart": {"only_cart 1 about only.cart [job service_name]", "shared 2  [a b job service_name]"},
	} {
		view := whole(1)
		if filter != "" {
			view = scoped(t, 1, filter)
		}
		infos, more, err := s.MetricInfos(t.Context(), view, q, telemetry.Budget{})
		if err != nil || more {
			t.Fatal(more, err)
		}
		var got []string
		for _, i := range infos {
			got = append(got, fmt.Sprintf("%s %d %s %v", i.Name, i.Series, i.Help, i.Labels))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", filter, diff)
		}
	}
	infos, more, err := s.MetricInfos(t.Context(), whole(1), q, telemetry.Budget{Rows: 1})
	if err != nil || !more || len(infos) != 1 {
		t.Errorf("%v %v %v", infos, more, err)
	}
}
