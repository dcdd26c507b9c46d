package tools

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// A metricSender makes metrics of one resource.
type metricSender struct {
	md    pmetric.Metrics
	scope pmetric.ScopeMetrics
}

func sendFrom(resource ...string) metricSender {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	put(rm.Resource().Attributes(), resource)
	return metricSender{md, rm.ScopeMetrics().AppendEmpty()}
}

func put(m pcommon.Map, pairs []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		m.PutStr(pairs[i], pairs[i+1])
	}
}

func (s metricSender) metric(name, unit, help string) pmetric.Metric {
	m := s.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	m.SetDescription(help)
	return m
}

func (s metricSender) gauge(name string, at time.Time, v float64, attributes ...string) {
	p := s.metric(name, "", "gauge "+name).SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetDoubleValue(v)
	put(p.Attributes(), attributes)
}

func (s metricSender) counter(name string, at time.Time, v float64, attributes ...string) pmetric.NumberDataPoint {
	sum := s.metric(name, "", "counter "+name).SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := sum.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetDoubleValue(v)
	put(p.Attributes(), attributes)
	return p
}

func (s metricSender) histogram(name string, at time.Time, bounds []float64, counts []uint64, sum float64, attributes ...string) pmetric.HistogramDataPoint {
	h := s.metric(name, "s", "histogram "+name).SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.ExplicitBounds().FromRaw(bounds)
	p.BucketCounts().FromRaw(counts)
	n := uint64(0)
	for _, c := range counts {
		n += c
	}
	p.SetCount(n)
	p.SetSum(sum)
	put(p.Attributes(), attributes)
	return p
}

func (s metricSender) native(name string, at time.Time, scale int32, counts []uint64, sum float64, attributes ...string) {
	h := s.metric(name, "By", "native "+name).SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetScale(scale)
	p.Positive().BucketCounts().FromRaw(counts)
	n := uint64(0)
	for _, c := range counts {
		n += c
	}
	p.SetCount(n)
	p.SetSum(sum)
	put(p.Attributes(), attributes)
}

// send stores metrics of a team.
func (b *bench) send(team org.Team, s metricSender) {
	b.TB.Helper()
	rejected, err := b.metrics.WriteOTLP(b.TB.Context(), team.Tenant, s.md)
	b.Must(err)
	if len(rejected) > 0 {
		b.TB.Fatalf("rejected %v", rejected)
	}
}

// bounds are those of the shop's histogram.
var bounds = []float64{0.01, 0.05, 0.1, 0.5, 1, 5}

// A shopSample is what the shop sent of one service at one time, for an
// independent computation.
type shopSample struct {
	at       time.Time
	requests map[string]float64 // by status
	buckets  []uint64
	sum      float64
	depth    float64
}

// sendShop writes two hours of three services, a sample every 15 seconds, and
// returns what it wrote. payments gets slow and fails for the last quarter.
func (b *bench) sendShop() map[string][]shopSample {
	b.TB.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	now := b.Now().Truncate(15 * time.Second)
	out := make(map[string][]shopSample)
	old := sendFrom("service.name", "cart", "service.instance.id", "cart-0", "deployment.environment.name", "prod")
	old.gauge("cache.size", now.Add(-3*time.Hour), 7, "tier", "hot")
	b.send(b.Shop, old)
	for i := range 480 {
		for _, service := range []string{"checkout", "cart", "payments"} {
			s := sendFrom("service.name", service, "service.instance.id", service+"-0", "deployment.environment.name", "prod")
			last := shopSample{requests: map[string]float64{"200": 1000, "500": 10}, buckets: make([]uint64, len(bounds)+1)}
			if i > 0 {
				last = out[service][i-1]
			}
			next := shopSample{
				at: now.Add(time.Duration(i-479) * 15 * time.Second), requests: map[string]float64{},
				buckets: slices.Clone(last.buckets), sum: last.sum, depth: float64(rng.IntN(50)),
			}
			bad := service == "payments" && i >= 420
			next.requests["200"] = last.requests["200"] + float64(rng.IntN(20))
			next.requests["500"] = last.requests["500"] + float64(rng.IntN(2))
			if bad {
				next.requests["500"] += 30
			}
			for range 20 {
				v := rng.ExpFloat64() * 0.1
				if bad {
					v += 0.7
				}
				slot, _ := slices.BinarySearch(bounds, v)
				next.buckets[slot]++
				next.sum += v
			}
			for _, status := range []string{"200", "500"} {
				s.counter("http.requests", next.at, next.requests[status], "http.route", "/"+service, "status", status)
			}
			p := s.histogram("http.duration", next.at, bounds, next.buckets, next.sum, "http.route", "/"+service)
			if i == 470 {
				e := p.Exemplars().AppendEmpty()
				e.SetTimestamp(pcommon.NewTimestampFromTime(next.at))
				e.SetDoubleValue(0.9)
				e.SetTraceID(pcommon.TraceID{0xab, byte(len(service))})
			}
			s.native("body.size", next.at, 0, []uint64{uint64(i), uint64(2 * i), uint64(i)}, float64(4*i)*3)
			s.gauge("queue.depth", next.at, next.depth)
			out[service] = append(out[service], next)
			b.send(b.Shop, s)
		}
	}
	return out
}

func TestListMetrics(t *testing.T) {
	b := newBench(t)
	b.sendShop()
	c := b.caller("metrics:read")
	for _, tt := range []struct{ name, args string }{
		{"metrics", `{}`},
		{"metrics_search", `{"search":"REQUEST","service":"cart"}`},
		{"metrics_type", `{"type":"histogram"}`},
		{"metrics_limit", `{"limit":2}`},
		{"metrics_typo", `{"search":"htp_requests_total"}`},
		{"metrics_no_service", `{"service":"paymnts"}`},
		{"metrics_elsewhere", `{"start":"now-2d","end":"now-1d"}`},
		{"metrics_one", `{"metric":"http_requests_total"}`},
		{"metrics_one_histogram", `{"metric":"http_duration_seconds_bucket","service":["cart","checkout"]}`},
		{"metrics_one_native", `{"metric":"body_size_bytes"}`},
		{"metrics_one_typo", `{"metric":"queue_dept"}`},
		{"metrics_one_elsewhere", `{"metric":"cache_size","start":"now-30m"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := b.call(c, "list_metrics", tt.args)
			if res.IsError {
				t.Error(res.Text)
			}
			golden(t, tt.name, res.Text)
		})
	}
}

func TestQueryMetrics(t *testing.T) {
	b := newBench(t)
	b.sendShop()
	c := b.caller("metrics:read traces:read")
	for _, tt := range []struct{ name, args string }{
		{"query_gauge", `{"query":"queue_depth"}`},
		{"query_rate", `{"query":"sum by (service_name, status) (rate(http_requests_total[5m]))"}`},
		{"query_instant", `{"query":"sort_desc(sum by (service_name) (increase(http_requests_total{status=\"500\"}[15m])))","instant":true}`},
		{"query_time", `{"query":"queue_depth","time":"now-1h"}`},
		{"query_scalar", `{"query":"1 + 1"}`},
		{"query_quantile", `{"query":"histogram_quantile(0.95, sum by (le, service_name) (rate(http_duration_seconds_bucket[5m])))"}`},
		{"query_native", `{"query":"sum by (service_name) (rate(body_size_bytes[5m]))"}`},
		{"query_none", `{"query":"queue_depth","points":"none","step":"1m"}`},
		{"query_all", `{"query":"queue_depth","points":"all","start":"now-2m","step":"30s"}`},
		{"query_all_samples", `{"query":"queue_depth{service_name=\"cart\"}[1m]","points":"all","instant":true}`},
		{"query_limit", `{"query":"http_duration_seconds_bucket","series_limit":3,"points":"none"}`},
		{"query_days", `{"query":"max(queue_depth)","start":"now-2d"}`},
		{"query_infinite", `{"query":"queue_depth / (queue_depth - queue_depth)","start":"now-5m","step":"1m"}`},
		{"query_rate_of_gauge", `{"query":"rate(queue_depth[5m])","points":"none"}`},
		{"query_raw_counter", `{"query":"sum(http_requests_total)","points":"none"}`},
		{"query_no_le", `{"query":"histogram_quantile(0.95, sum by (service_name) (rate(http_duration_seconds_bucket[5m])))"}`},
		{"query_long_step", `{"query":"sum(rate(http_requests_total[1m]))","step":"10m","points":"none"}`},
		{"query_empty_name", `{"query":"rate(http_request_total[5m])"}`},
		{"query_empty_classic", `{"query":"rate(http_duration_seconds[5m])"}`},
		{"query_empty_label", `{"query":"queue_depth{servce_name=\"cart\"}"}`},
		{"query_empty_value", `{"query":"queue_depth{service_name=\"crat\"}"}`},
		{"query_empty_together", `{"query":"queue_depth{service_name=\"cart\",service_instance_id=\"checkout-0\"}"}`},
		{"query_empty_older", `{"query":"cache_size"}`},
		{"query_empty_older_instant", `{"query":"cache_size","instant":true}`},
		{"query_empty_compare", `{"query":"queue_depth > 1000"}`},
		{"query_empty_join", `{"query":"queue_depth / http_requests_total"}`},
		{"query_empty_range", `{"query":"rate(http_requests_total[10s])"}`},
		{"query_empty_century", `{"query":"max_over_time(nothing_here[100y])","instant":true}`},
		{"query_empty_absent", `{"query":"absent(queue_depth)"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := b.call(c, "query_metrics", tt.args)
			if res.IsError {
				t.Error(res.Text)
			}
			golden(t, tt.name, res.Text)
		})
	}
	for _, tt := range []struct{ name, args string }{
		{"query_wrong_function", `{"query":"rat(queue_depth[5m])"}`},
		{"query_wrong_range", `{"query":"rate(http_requests_total)"}`},
		{"query_wrong_dot", `{"query":"sum(http.requests)"}`},
		{"query_wrong_pipe", `{"query":"severity:ERROR | stats count()"}`},
		{"query_wrong_matrix", `{"query":"queue_depth[5m]"}`},
		{"query_wrong_match", `{"query":"queue_depth * on () group_left () http_requests_total"}`},
		{"query_wrong_step", `{"query":"queue_depth","step":"1s","start":"now-2d"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := b.call(c, "query_metrics", tt.args)
			if !res.IsError {
				t.Error(res.Text)
			}
			golden(t, tt.name, res.Text)
		})
	}
	// Without the scope for traces there are no traces.
	if res := b.call(b.caller("metrics:read"), "query_metrics", `{"query":"http_duration_seconds_count"}`); strings.Contains(res.Text, "ab0") {
		t.Error(res.Text)
	}
	if res := b.call(c, "query_metrics", `{"query":"http_duration_seconds_count"}`); !strings.Contains(res.Text, "ab08") {
		t.Error(res.Text)
	}
}

// row of an answer's table whose first cells are these, split.
func tableRow(t *testing.T, text string, cells ...string) []string {
	t.Helper()
	for line := range strings.Lines(text) {
		if row := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(row) > len(cells) && slices.Equal(row[:len(cells)], cells) {
			return row[len(cells):]
		}
	}
	t.Fatalf("no row %q in\n%s", cells, text)
	return nil
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func near(got, want, part float64) bool { return math.Abs(got-want) <= part*math.Abs(want) }

// What the tool says is what plain arithmetic over the samples says.
func TestQueryMetricsComputesRight(t *testing.T) {
	b := newBench(t)
	shop := b.sendShop()
	c := b.caller("metrics:read")
	now := b.Now()
	// The samples of a window (from, to].
	within := func(service string, from, to time.Time) (list []shopSample) {
		for _, s := range shop[service] {
			if s.at.After(from) && !s.at.After(to) {
				list = append(list, s)
			}
		}
		return list
	}
	at := func(service string, to time.Time) shopSample {
		list := within(service, to.Add(-5*time.Minute), to)
		return list[len(list)-1]
	}

	// A gauge: last, min, max, avg, and when, exactly as at the steps.
	text := b.call(c, "query_metrics", `{"query":"queue_depth","step":"15s","points":"none"}`).Text
	for service := range shop {
		row := tableRow(t, text, service, service+"-0")
		var values []float64
		least, most, sum := math.Inf(1), math.Inf(-1), 0.0
		var leastAt, mostAt time.Time
		for step := now.Add(-time.Hour).Truncate(15 * time.Second); !step.After(now); step = step.Add(15 * time.Second) {
			if step.Before(now.Add(-time.Hour)) {
				continue
			}
			v := at(service, step).depth
			values = append(values, v)
			sum += v
			if v < least {
				least, leastAt = v, step
			}
			if v > most {
				most, mostAt = v, step
			}
		}
		want := []string{
			fmt.Sprint(values[len(values)-1]), fmt.Sprint(least), leastAt.UTC().Format("15:04:05Z"), fmt.Sprint(most), mostAt.UTC().Format("15:04:05Z"),
			metricNumber(sum / float64(len(values))), fmt.Sprint(len(values)),
		}
		if !slices.Equal(row, want) {
			t.Errorf("%s: %q, want %q", service, row, want)
		}
	}

	// A rate: increase over the range, extrapolated to its whole length by at
	// most a sample's distance.
	text = b.call(c, "query_metrics", `{"query":"sum by (service_name) (rate(http_requests_total[5m]))","instant":true}`).Text
	for service := range shop {
		list := within(service, now.Add(-5*time.Minute), now)
		want := 0.0
		for status := range list[0].requests {
			first, last := list[0], list[len(list)-1]
			want += (last.requests[status] - first.requests[status]) / last.at.Sub(first.at).Seconds()
		}
		if got := number(t, tableRow(t, text, service)[0]); !near(got, want, 0.02) {
			t.Errorf("rate of %s: %g, want about %g", service, got, want)
		}
	}

	// A sum by label over counters as they are, exactly.
	text = b.call(c, "query_metrics", `{"query":"sum by (status) (http_requests_total)","instant":true}`).Text
	for _, status := range []string{"200", "500"} {
		want := 0.0
		for service := range shop {
			want += at(service, now).requests[status]
		}
		if got := number(t, tableRow(t, text, status)[0]); got != want {
			t.Errorf("sum of %s: %g, want %g", status, got, want)
		}
	}

	// A quantile of buckets by linear interpolation; the rates' common factor
	// does not matter.
	text = b.call(c, "query_metrics", `{"query":"histogram_quantile(0.9, sum by (le, service_name) (rate(http_duration_seconds_bucket[10m])))","instant":true}`).Text
	for service := range shop {
		list := within(service, now.Add(-10*time.Minute), now)
		counts := make([]float64, len(bounds)+1)
		total := 0.0
		for i := range counts {
			counts[i] = float64(list[len(list)-1].buckets[i] - list[0].buckets[i])
			total += counts[i]
		}
		rank, want := 0.9*total, bounds[len(bounds)-1]
		for i, n := range counts[:len(bounds)] {
			if rank <= n {
				low := 0.0
				if i > 0 {
					low = bounds[i-1]
				}
				want = low + (bounds[i]-low)*rank/n
				break
			}
			rank -= n
		}
		if got := number(t, tableRow(t, text, service)[0]); !near(got, want, 0.001) {
			t.Errorf("p90 of %s: %g, want %g", service, got, want)
		}
	}

	// Our quantiles of native histograms are the engine's.
	valueLine := regexp.MustCompile(`(?m)^value\n(.*)$`)
	histogramLine := regexp.MustCompile(`(?m)^count\tsum\t.*\n(.*)$`)
	m := histogramLine.FindStringSubmatch(b.call(c, "query_metrics", `{"query":"sum(rate(body_size_bytes[5m]))","instant":true}`).Text)
	if m == nil {
		t.Fatal("no histogram")
	}
	row := strings.Split(m[1], "\t")
	for i, p := range []string{"0.5", "0.95", "0.99"} {
		want := valueLine.FindStringSubmatch(b.call(c, "query_metrics", `{"query":"histogram_quantile(`+p+`, sum(rate(body_size_bytes[5m])))","instant":true}`).Text)
		if want == nil || row[3+i] != want[1] {
			t.Errorf("p%s of a native histogram: %q in %q, the engine says %q", p, row[3+i], row, want)
		}
	}
}

func (b *bench) scopedMetrics(scope string, hidden ...string) *access.Caller {
	b.TB.Helper()
	_, err := b.Directory.SaveRole(b.TB.Context(), org.RoleText{
		Team: b.Shop.Slug, Name: "metrics-scoped", Permissions: []org.Permission{org.MetricsRead}, DataScope: scope, HiddenFields: hidden,
	}, audit.System())
	b.Must(err)
	b.SetRoles("metrics-scoped")
	return b.caller("metrics:read")
}

// What a role hides is hidden, and said.
func TestMetricsInScope(t *testing.T) {
	b := newBench(t)
	b.sendShop()
	c := b.scopedMetrics("service.name = cart")
	golden(t, "metrics_scoped", b.call(c, "list_metrics", `{}`).Text)
	golden(t, "query_scoped_empty", b.call(c, "query_metrics", `{"query":"queue_depth{service_name=\"checkout\"}"}`).Text)
	c = b.scopedMetrics("host.id = x")
	golden(t, "metrics_scoped_out", b.call(c, "list_metrics", `{}`).Text)
	golden(t, "query_scoped_out", b.call(c, "query_metrics", `{"query":"queue_depth"}`).Text)
	c = b.scopedMetrics("", "status")
	golden(t, "metrics_hidden", b.call(c, "list_metrics", `{"search":"http"}`).Text)
	golden(t, "query_hidden", b.call(c, "query_metrics", `{"query":"sum(rate(http_requests_total[5m]))"}`).Text)
}

// Following the cursors of the list gives each metric once.
func TestFollowingMetricsShowsEveryOne(t *testing.T) {
	b := newBench(t)
	s := sendFrom("service.name", "s")
	for i := range 90 {
		s.gauge(fmt.Sprintf("metric.%03d", i), b.Now().Add(-time.Minute), 1, fmt.Sprintf("label.%03d", i), "x")
	}
	b.send(b.Shop, s)
	c := b.caller("metrics:read")
	for _, args := range []string{`{"limit":7,"search":"METRIC_"`, `{"limit":50,"max_tokens":500,"type":"gauge","search":"metric_"`} {
		seen := make(map[string]int)
		for cursor := ""; ; b.Advance(time.Second) {
			text := b.call(c, "list_metrics", args+cursor+"}").Text
			for _, name := range regexp.MustCompile(`(?m)^metric_\d+`).FindAllString(text, -1) {
				seen[name]++
			}
			next := nextCursor.FindStringSubmatch(text)
			if next == nil {
				break
			}
			cursor = `,"cursor":"` + next[1] + `"`
		}
		if len(seen) != 90 {
			t.Errorf("%s: saw %d of 90", args, len(seen))
		}
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s: saw %s %d times", args, name, n)
			}
		}
	}
}

// No metric is older than the role lets its members look.
func TestMetricsLookBack(t *testing.T) {
	b := newBench(t)
	b.sendShop()
	_, err := b.Directory.SaveRole(t.Context(), org.RoleText{Team: b.Shop.Slug, Name: "hour", Permissions: []org.Permission{org.MetricsRead}, LookBack: "1h"}, audit.System())
	b.Must(err)
	b.SetRoles("hour")
	c := b.caller("metrics:read")
	for _, tt := range []struct{ tool, args, want string }{
		{"query_metrics", `{"query":"queue_depth","start":"now-2h"}`, "# start was taken as "},
		{"query_metrics", `{"query":"queue_depth","time":"now-90m"}`, "Your roles let you look back 1h"},
		{"query_metrics", `{"query":"max_over_time(queue_depth[2h]) - max_over_time(queue_depth[1h])","instant":true}`, "\t0\n"},
		{"query_metrics", `{"query":"count_over_time(queue_depth[2h])","instant":true,"points":"none"}`, "\t241\n"},
		{"query_metrics", `{"query":"cache_size"}`, `There is no metric "cache_size" that you can see`},
		{"query_metrics", `{"query":"queue_depth offset 70m","instant":true}`, "0 series"},
		{"list_metrics", `{"start":"now-2h","search":"queue"}`, "# start was taken as "},
	} {
		if res := b.call(c, tt.tool, tt.args); !strings.Contains(res.Text, tt.want) {
			t.Errorf("%s: no %q in %s", tt.args, tt.want, res.Text)
		}
	}
}

func TestPromFunctionsAreKnown(t *testing.T) {
	b := newBench(t)
	for _, f := range promFunctions {
		if _, err := b.set.CheckMetrics(f + "()"); err != nil && strings.Contains(err.Error(), "unknown function") {
			t.Errorf("%s is no function", f)
		}
	}
	if !slices.IsSorted(promFunctions) {
		t.Error("the functions are not sorted")
	}
}

func TestPromHelp(t *testing.T) {
	b := newBench(t)
	b.sendShop()
	c := b.caller("metrics:read")
	for _, tt := range []struct{ name, args string }{
		{"help_promql_right", `{"language":"promql","check":"sum by(service_name)(rate(http_requests_total[5m]))"}`},
		{"help_promql_wrong", `{"language":"promql","check":"sum by service_name (rate(http_requests_total[5m]))"}`},
		{"help_promql_unknown", `{"check":"rate(http_request_total{status=\"500\"}[5m]) / queue_depth{servce=\"cart\"}"}`},
		{"help_promql_gauge", `{"check":"increase(queue_depth[5m])"}`},
		{"help_promql_matrix", `{"check":"queue_depth[5m]"}`},
	} {
		res := b.call(c, "query_help", tt.args)
		if res.IsError {
			t.Error(res.Text)
		}
		golden(t, tt.name, res.Text)
	}
	for _, tt := range []struct{ scopes, language, want string }{
		{"logs:read", "promql", "query_help for promql was refused: this connection was not allowed the scope metrics:read"},
		{"metrics:read", "logsql", "query_help for logsql was refused: this connection was not allowed the scope logs:read"},
	} {
		if res := b.call(b.caller(tt.scopes), "query_help", `{"language":"`+tt.language+`"}`); !res.IsError || !strings.HasPrefix(res.Text, tt.want) {
			t.Error(res.Text)
		}
	}
	if res := b.call(newBench(t).caller("metrics:read"), "query_help", `{}`); res.IsError {
		t.Error(res.Text)
	}
}

func TestMetricNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", -3: "-3", 1234567: "1234567", 1234567.891: "1234568", 0.123456789: "0.12346", 12.3456789: "12.346", 99999.96: "100000", 40000.3: "40000", 0.00001234567: "1.2346e-05",
		1e15: "1e+15", 123456789012345: "123456789012345", math.Inf(1): "+Inf", -0.5: "-0.5", 0.0001: "0.0001",
	} {
		if got := metricNumber(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
