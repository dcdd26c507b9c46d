package tools

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// metricTime is the longest that one query of metrics may take.
	metricTime = searchTime
	// metricBytes bounds the samples of a query in memory: 5 million.
	metricBytes = 80 << 20
	// maxMetricSeries is how many series of a result are looked at.
	maxMetricSeries = 2000
	// maxMetricNames bounds how many names are looked at.
	maxMetricNames = 20_000
	// maxLabelSeries bounds how many series are read for what their labels hold.
	maxLabelSeries = 10_000
)

// metricsExample follows errors about a query.
const metricsExample = `Correct examples: sum by (service_name) (rate(http_requests_total[5m]))   or   histogram_quantile(0.95, sum by (le) (rate(http_duration_seconds_bucket[5m])))`

// askMetrics evaluates an expression within the limits. Errors are problems
// where the assistant can do something about them.
func (c *call) askMetrics(ctx context.Context, what string, q telemetry.MetricQuery, rows int) (res telemetry.MetricResult, err error) {
	err = c.readMetrics(ctx, what, rows, func(ctx context.Context, v telemetry.View, b telemetry.Budget) error {
		res, err = c.set.Metrics.QueryMetrics(ctx, v, q, b)
		return err
	})
	return res, err
}

// readMetrics calls read with the caller's view within the limits.
func (c *call) readMetrics(ctx context.Context, what string, rows int, read func(context.Context, telemetry.View, telemetry.Budget) error) error {
	err := c.query(ctx, what, metricTime, func(ctx context.Context, most time.Duration) error {
		return read(ctx, c.caller.View(org.MetricsRead), telemetry.Budget{Rows: rows, Bytes: metricBytes, Time: most})
	})
	if err != nil {
		return c.metricError(ctx, err)
	}
	return nil
}

// metricError is engineError for metrics: what an evaluation has to say may
// quote labels, which programs wrote.
func (c *call) metricError(ctx context.Context, err error) error {
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok && ctx.Err() == nil {
		f := newFence("metric")
		text := fmt.Sprintf("The query cannot be run.\n%s\n%s\n%s\n", f.open(), cell(q.Error(), maxCellBytes, nil), f.close())
		if hint := evaluationHint(q.Problem); hint != "" {
			text += hint + "\n"
		}
		return problem(text + metricsExample)
	}
	return c.engineError(ctx, "metrics", metricsExample, err)
}

// evaluationHint says what to do about an expression that parses and cannot be
// evaluated.
func evaluationHint(problem string) string {
	switch {
	case strings.Contains(problem, "duplicate series"), strings.Contains(problem, "many-to-many"), strings.Contains(problem, "multiple matches"):
		return "Make both sides of the operator have the same labels, such as sum by (service_name) (a) / sum by (service_name) (b), or add on (label) group_left ()."
	case strings.Contains(problem, "same labelset"):
		return "Keep a label that tells the series apart: do not drop or replace it."
	}
	return ""
}

// metricSeries returns label sets of selected series.
func (c *call) metricSeries(ctx context.Context, what string, w window, limit int, selectors ...string) (series [][]telemetry.Field, more bool, err error) {
	err = c.readMetrics(ctx, what, limit, func(ctx context.Context, v telemetry.View, b telemetry.Budget) error {
		series, more, err = c.set.Metrics.Series(ctx, v, telemetry.SeriesQuery{Selectors: selectors, Start: w.start, End: w.end, Limit: limit}, b)
		return err
	})
	return series, more, err
}

// metricInfos describes the metrics of the selected series.
func (c *call) metricInfos(ctx context.Context, w window, selectors ...string) (infos []telemetry.MetricInfo, more bool, err error) {
	err = c.readMetrics(ctx, "listing metrics", maxMetricNames, func(ctx context.Context, v telemetry.View, b telemetry.Budget) error {
		infos, more, err = c.set.Metrics.MetricInfos(ctx, v, telemetry.SeriesQuery{Selectors: selectors, Start: w.start, End: w.end}, b)
		return err
	})
	return infos, more, err
}

// labelValues returns the values of a label of the selected series.
func (c *call) labelValues(ctx context.Context, label string, w window, selectors ...string) (values []string, err error) {
	err = c.readMetrics(ctx, "listing values", maxMetricNames, func(ctx context.Context, v telemetry.View, b telemetry.Budget) error {
		values, _, err = c.set.Metrics.LabelValues(ctx, v, label, telemetry.SeriesQuery{Selectors: selectors, Start: w.start, End: w.end}, b)
		return err
	})
	return values, err
}

// labelNames returns the names of the labels of the selected series.
func (c *call) labelNames(ctx context.Context, w window, selectors ...string) (list []string, err error) {
	err = c.readMetrics(ctx, "listing labels", maxMetricNames, func(ctx context.Context, v telemetry.View, b telemetry.Budget) error {
		list, _, err = c.set.Metrics.LabelNames(ctx, v, telemetry.SeriesQuery{Selectors: selectors, Start: w.start, End: w.end}, b)
		return err
	})
	return slices.DeleteFunc(list, func(n string) bool { return n == telemetry.MetricName }), err
}

// lastDays is the time in which names are looked for.
func (c *call) lastDays() window { return window{start: c.now.Add(-lookBackWindow), end: c.now} }

// serviceLabel holds the service's name.
const serviceLabel = "service_name"

// plainMetric is what PromQL takes for a metric without quotes.
var plainMetric = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// promMetric writes a metric's name for PromQL.
func promMetric(name string) string {
	if plainMetric.MatchString(name) {
		return name
	}
	return "{" + strconv.Quote(name) + "}"
}

// promLabel writes a label's name for PromQL.
func promLabel(name string) string {
	if telemetry.LabelName(name) == name && name != "" {
		return name
	}
	return strconv.Quote(name)
}

func selectName(name string) string { return telemetry.MetricSelector{Name: name}.String() }

// selectFamily selects the series of a metric, those of a classic histogram
// too.
func selectFamily(name string) []string {
	var list []string
	for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
		list = append(list, selectName(name+suffix))
	}
	return list
}

// isClassic says that a histogram's buckets are series of their own.
func isClassic(i telemetry.MetricInfo) bool {
	return i.Type == "histogram" && slices.Contains(i.Labels, "le")
}

// examplesOf writes queries for a metric, by a label where there is one.
func examplesOf(i telemetry.MetricInfo, by string) []string {
	name, group, le := promMetric(i.Name), "", "le"
	if by != "" {
		group, le = " by ("+promLabel(by)+")", "le, "+promLabel(by)
	}
	switch {
	case isClassic(i):
		return []string{
			fmt.Sprintf("histogram_quantile(0.95, sum by (%s) (rate(%s[5m])))", le, promMetric(i.Name+"_bucket")),
			fmt.Sprintf("sum%s (rate(%s[5m])) / sum%[1]s (rate(%[3]s[5m]))", group, promMetric(i.Name+"_sum"), promMetric(i.Name+"_count")),
		}
	case i.Type == "histogram":
		return []string{
			fmt.Sprintf("histogram_quantile(0.95, sum%s (rate(%s[5m])))", group, name),
			fmt.Sprintf("histogram_avg(sum%s (rate(%s[5m])))", group, name),
		}
	case i.Type == "counter" || i.Type == "unknown" && (strings.HasSuffix(i.Name, "_total") || strings.HasSuffix(i.Name, "_count")):
		return []string{fmt.Sprintf("sum%s (rate(%s[5m]))", group, name), fmt.Sprintf("topk(5, sum%s (increase(%s[1h])))", group, name)}
	case i.Type == "summary":
		return []string{fmt.Sprintf("max%s (%s)", strings.Replace(group, ")", ", quantile)", 1), name)}
	}
	return []string{fmt.Sprintf("avg%s (%s)", group, name), fmt.Sprintf("max%s (max_over_time(%s[5m]))", group, name)}
}

// promFunctions are those of PromQL that are not experimental, and its
// aggregations, for suggestions.
var promFunctions = []string{
	"abs", "absent", "absent_over_time", "acos", "acosh", "asin", "asinh", "atan", "atanh", "avg", "avg_over_time", "bottomk", "ceil", "changes",
	"clamp", "clamp_max", "clamp_min", "cos", "cosh", "count", "count_over_time", "count_values", "day_of_month", "day_of_week", "day_of_year",
	"days_in_month", "deg", "delta", "deriv", "exp", "floor", "group", "histogram_avg", "histogram_count", "histogram_fraction",
	"histogram_quantile", "histogram_stddev", "histogram_stdvar", "histogram_sum", "hour", "idelta", "increase", "irate", "label_join",
	"label_replace", "last_over_time", "ln", "log10", "log2", "max", "max_over_time", "min", "min_over_time", "minute", "month", "pi", "predict_linear",
	"present_over_time", "quantile", "quantile_over_time", "rad", "rate", "resets", "round", "scalar", "sgn", "sin", "sinh", "sort", "sort_desc", "sqrt",
	"stddev", "stddev_over_time", "stdvar", "stdvar_over_time", "sum", "sum_over_time", "tan", "tanh", "time", "timestamp", "topk", "vector", "year",
}

var (
	unknownFunction = regexp.MustCompile(`unknown function with name "([^"]+)"`)
	wantsRange      = regexp.MustCompile(`expected type range vector in call to function "([a-z_0-9]+)"`)
	wantsInstant    = regexp.MustCompile(`expected type (?:instant vector|scalar) in .*got range vector`)
)

// syntaxHint says what to write instead.
func syntaxHint(text, problem string) string {
	has := func(s string) bool { return strings.Contains(problem, s) }
	if m := unknownFunction.FindStringSubmatch(problem); m != nil {
		if near := nearest(m[1], promFunctions); len(near) > 0 {
			return strings.Join(near, ", ")
		}
		return "one of the functions of query_help language=promql"
	}
	if m := wantsRange.FindStringSubmatch(problem); m != nil {
		return m[1] + "(metric[5m]): the function needs a range after the selector"
	}
	switch {
	case wantsInstant.MatchString(problem):
		return "no [range] here, or a function such as rate() around the selector with the range"
	case has("'.'"):
		return `http_route: names have _ instead of dots; quote a name that has dots: {"http.route"="/pay"}`
	case has("'|'"), strings.HasPrefix(strings.ToUpper(strings.TrimSpace(text)), "SELECT "):
		return "sum by (label) (rate(metric[5m])): PromQL has no pipes and no SELECT; for logs use search_logs or aggregate_logs"
	case has("in label matching, expected string"):
		return `label="value": one = (or !=, =~, !~), the value in quotes`
	case has("'~'"):
		return `label=~"a|b": the operator is =~`
	case has("in grouping opts"), has("unexpected <by>"), has("unexpected <without>"):
		return "sum by (label, label) (expression): brackets around the labels, and only after sum, avg, max, count and other aggregations"
	case has("non-empty matcher"):
		return "name a metric; list_metrics shows which there are"
	case has("ranges only allowed for vector selectors"):
		return "(expression)[30m:1m]: a range over an expression needs a step too"
	case has("unclosed left"):
		return "a closing bracket at the end"
	case has("over a time range the expression must give"):
		return "rate(metric[5m]), or instant=true for the raw samples"
	}
	return ""
}

// checkMetrics parses an expression. Errors are problems, with the place and
// what to write instead.
func (c *call) checkMetrics(text string) (telemetry.MetricExpression, error) {
	e, err := c.set.CheckMetrics(text)
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok {
		return e, problem("The query cannot be run.\n" + strings.Join(syntaxLines(text, q), "\n") + "\n" + metricsExample)
	}
	if err != nil {
		return e, fmt.Errorf("check a query: %w", err)
	}
	return e, nil
}

// syntaxLines describe a fault in an expression's text.
func syntaxLines(text string, q *telemetry.QueryError) []string {
	lines := []string{"problem: " + cell(q.Problem, maxShownQuery, nil)}
	if q.Offset >= 0 {
		lines = append(lines, fmt.Sprintf("position: byte %d", q.Offset), pointer(text, q.Offset))
	}
	if hint := syntaxHint(text, q.Problem); hint != "" {
		lines = append(lines, "did you mean: "+hint)
	}
	return lines
}

// anyOf is a condition that a label has one of the values.
func anyOf(label string, values []string) telemetry.MetricMatcher {
	if len(values) == 1 {
		return telemetry.MetricMatcher{Label: label, Op: "=", Value: values[0]}
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return telemetry.MetricMatcher{Label: label, Op: "=~", Value: strings.Join(quoted, "|")}
}
