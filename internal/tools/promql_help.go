package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/telemetry"
)

// promCard is the rule card of PromQL.
const promCard = `PromQL: expressions over labelled series. The window and the step are arguments beside the query.
SELECT
  name                            all series of a metric; exact names are in list_metrics
  name{a="x", b!="y"}             label is, is not; =~ and !~ take a whole regular expression (RE2): route=~"/pay.*|/cart"
  {"a.name", "a.label"="x"}       names with other characters than letters, digits, _ go in double quotes
  name[5m]                        the samples of 5 minutes, for functions over time
  name offset 1d  name @ end()    a day before; at a fixed time
COUNTERS (…_total, histograms)    only grow, and start again with the program: always inside of rate or increase
  rate(c[5m])                     per second; the range must hold two samples and be at least the step
  increase(c[1h])                 how much in an hour; sums of it are about right, not whole numbers
GAUGES                            as they are, avg_over_time(g[5m]), max_over_time(g[5m]), delta(g[1h]), deriv(g[1h]); never rate
AGGREGATE  sum, avg, min, max, count, topk(5, x), quantile(0.9, x)
  sum by (service_name) (rate(c[5m]))          rate first, then sum; by keeps labels, without drops them
HISTOGRAMS
  classic:  histogram_quantile(0.95, sum by (le, service_name) (rate(h_bucket[5m])))      le must be kept
  native:   histogram_quantile(0.95, sum by (service_name) (rate(h[5m])))                 no le; histogram_count, histogram_sum, histogram_avg
  mean:     sum(rate(h_sum[5m])) / sum(rate(h_count[5m]))
SHARE OF ERRORS   sum by (service_name) (rate(c{status=~"5.."}[5m])) / sum by (service_name) (rate(c[5m]))
  both sides need the same labels, or: a / on (service_name) group_left () b
COMPARE  x > 0.9 leaves out the others; x > bool 0.9 gives 1 or 0; x / (x offset 1d) against yesterday; a or b; a unless b
OVER EXPRESSIONS  max_over_time(rate(c[5m])[1h:1m])    a range over an expression needs a step
LABELS  resource attributes are labels with _ for dots: service_name, deployment_environment_name, k8s_pod_name`

// promExampleMetrics bounds the metrics with examples on the card.
const promExampleMetrics = 5

// promHelp is query_help for PromQL.
func (c *call) promHelp(ctx context.Context, check string) (Result, error) {
	if check != "" {
		return c.checkPromQuery(ctx, check)
	}
	examples, err := c.ownMetricExamples(ctx)
	if err != nil {
		return Result{}, err
	}
	text := "query_help · PromQL\n" + promCard + "\nEXAMPLES\n"
	f := newFence("metric")
	text += f.open() + "\n"
	for _, e := range examples {
		text += "  " + cell(e, maxCellBytes, nil) + "\n"
	}
	text += f.close() + "\n"
	if most := c.maxTokens * bytesPerToken; len(text) > most {
		text = clip(text, most-len("…"))
	}
	return Result{Text: text}, nil
}

// ownMetricExamples writes queries over metrics that the caller can see, of
// each type one or two.
func (c *call) ownMetricExamples(ctx context.Context) ([]string, error) {
	infos, _, err := c.metricInfos(ctx, c.lastDays())
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return []string{`sum by (service_name) (rate(http_requests_total[5m]))`, `avg by (service_name) (queue_depth)`}, nil
	}
	// Those of many series tell more.
	slices.SortStableFunc(infos, func(a, b telemetry.MetricInfo) int { return b.Series - a.Series })
	var out []string
	kinds := make(map[string]bool)
	for _, i := range infos {
		kind := kindOfMetric(i)
		if i.Name == "target_info" || kinds[kind] || len(kinds) == promExampleMetrics {
			continue
		}
		kinds[kind] = true
		by := ""
		if slices.Contains(i.Labels, serviceLabel) {
			by = serviceLabel
		}
		out = append(out, examplesOf(i, by)...)
	}
	return out, nil
}

// checkPromQuery says whether an expression is right.
func (c *call) checkPromQuery(ctx context.Context, text string) (Result, error) {
	e, err := c.set.CheckMetrics(text)
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok {
		lines := append([]string{"query_help · PromQL · the query is wrong"}, syntaxLines(text, q)...)
		return Result{Text: strings.Join(append(lines, metricsExample), "\n") + "\n"}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("check a query: %w", err)
	}
	lines := []string{"query_help · PromQL · the query is right", "it means: " + cell(e.Query, 2*maxShownQuery, nil)}
	switch e.Type {
	case "matrix":
		lines = append(lines, "it gives raw samples: over a window wrap it in a function such as rate(); at an instant set instant=true")
	case "string":
		lines = append(lines, "it gives a text, which is no value")
	}
	q := &metricQuery{call: c, text: text, expr: e, window: window{start: c.now.Add(-defaultWindow), end: c.now}, first: c.now, last: c.now, instant: true}
	if err := q.describeMetrics(ctx); err != nil {
		return Result{}, err
	}
	for _, w := range q.warnings(telemetry.MetricResult{}) {
		lines = append(lines, "# "+w)
	}
	for i, s := range e.Selectors {
		if i == maxSelectors {
			break
		}
		if s.Name != "" {
			notes, err := c.unknownMetric(ctx, s.Name)
			if err != nil {
				return Result{}, err
			}
			if len(notes) > 0 {
				lines = append(lines, "# "+strings.Join(notes, "\n# "))
				continue
			}
		}
		notes, err := c.unknownLabels(ctx, s)
		if err != nil {
			return Result{}, err
		}
		for _, n := range notes {
			lines = append(lines, "# "+n)
		}
	}
	out := strings.Join(lines, "\n") + "\n"
	if most := c.maxTokens * bytesPerToken; len(out) > most {
		out = clip(out, most-len("…"))
	}
	return Result{Text: out}, nil
}

// metricCompletions are the names that an argument metric or label may have.
func (c *call) metricCompletions(ctx context.Context, argument string, w window) ([]string, error) {
	if argument == "label" {
		return c.labelNames(ctx, w)
	}
	infos, _, err := c.metricInfos(ctx, w)
	var list []string
	for _, i := range infos {
		list = append(list, i.Name)
	}
	return list, err
}
