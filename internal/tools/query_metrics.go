package tools

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// metricSteps is how many points an automatic step gives at most,
	// maxMetricSteps how many any step may.
	metricSteps    = 240
	maxMetricSteps = 1500
	// leastMetricStep is the shortest automatic step: senders send no oftener.
	leastMetricStep = 10 * time.Second
	// maxSelectors of an expression are looked up for hints.
	maxSelectors = 5
	// maxExemplars are shown, of examinedExemplars that are looked at.
	maxExemplars      = 5
	examinedExemplars = 500
)

func newQueryMetrics() *Tool {
	return &Tool{
		Name: "query_metrics", Title: "Query metrics",
		Description: "Evaluates PromQL over the window, or at one instant. Answers with a summary per series (last, min, max, avg, when, a sparkline) instead of every point, " +
			"warnings about likely mistakes, and why a result is empty. Names must be exact: list_metrics has them, query_help with language=promql the rules.",
		Permission: org.MetricsRead,
		params: []param{
			must(textParam("query", "PromQL")), startParam, endParam,
			textParam("time", "evaluate at this instant only"),
			{name: "instant", kind: "boolean", text: "evaluate at end only"},
			textParam("step", "such as 1m; default auto"), numberParam("series_limit", "most series, the largest first", 1, 200, 20),
			textParam("points", "default compact: a sparkline", "none", "compact", "all"), tokensParam, chartParam, themeParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: queryMetrics,
	}
}

// A metricQuery is one call of query_metrics.
type metricQuery struct {
	call *call
	// text is as it was written.
	text    string
	expr    telemetry.MetricExpression
	window  window
	instant bool
	// step lies between the points, the first of which is at first.
	step        time.Duration
	first, last time.Time
	// sorted says that the expression itself sorts its series.
	sorted  bool
	limit   int
	points  string
	picture picture
	infos   map[string]telemetry.MetricInfo // of the selectors, by series name
}

func queryMetrics(ctx context.Context, c *call) (Result, error) {
	q, err := c.metricQuery()
	if err != nil {
		return Result{}, err
	}
	res, err := c.askMetrics(ctx, "evaluating", telemetry.MetricQuery{Expr: q.text, Start: q.first, End: q.last, Step: q.step}, maxMetricSeries)
	if err != nil {
		return Result{}, err
	}
	if err := q.describeMetrics(ctx); err != nil {
		return Result{}, err
	}
	a := &answer{call: c, window: &q.window, kind: "metric", unit: "rows", lines: []string{"query: " + cell(cmp.Or(res.Query, q.text), 2*maxShownQuery, nil)}}
	total := count(len(res.Series), "series", "series")
	if res.More {
		total = fmt.Sprintf("more than %d series", len(res.Series))
	}
	a.fact("%s", total)
	if q.instant {
		a.window = nil
		a.fact("at %s", exact(q.last))
		for _, note := range q.window.notes {
			a.lines = append(a.lines, "# "+note)
		}
	} else {
		a.fact("step %s", short(q.step))
	}
	for _, w := range q.warnings(res) {
		if plainWarning(w) {
			a.note("%s", w)
		} else {
			a.sections = append(a.sections, section{columns: []string{"warning"}, rows: [][]string{{w}}, fixed: -1})
		}
	}
	if len(res.Series) == 0 {
		notes, err := q.whyEmpty(ctx)
		if err != nil {
			return Result{}, err
		}
		a.notes = append(a.notes, notes...)
		a.noteIf(q.picture.wanted, "There is no chart of an empty result.")
		return a.render(), nil
	}
	list := q.summaries(res.Series)
	shown := list[:min(len(list), q.limit)]
	a.sections = append(a.sections, q.summarySections(shown)...)
	exemplars, err := q.exemplars(ctx)
	if err != nil {
		return Result{}, err
	}
	a.sections = append(a.sections, exemplars...)
	if q.points == "all" {
		a.sections = append(a.sections, q.pointSection(shown))
	}
	q.noteShown(a, res, list, shown)
	if err := q.drawMetrics(a, shown); err != nil {
		return Result{}, err
	}
	return a.render(), nil
}

// metricQuery reads the arguments. Errors are problems.
func (c *call) metricQuery() (q *metricQuery, err error) {
	q = &metricQuery{call: c}
	if q.text, err = c.args.query("query"); err != nil {
		return nil, err
	}
	if q.expr, err = c.checkMetrics(q.text); err != nil {
		return nil, err
	}
	if q.limit, err = c.args.number("series_limit", 1, 200, 20); err != nil {
		return nil, err
	}
	if q.points, err = c.choice("points", "compact"); err != nil {
		return nil, err
	}
	if q.instant, err = c.args.flag("instant"); err != nil {
		return nil, err
	}
	if q.picture, err = c.picture(); err != nil {
		return nil, err
	}
	if q.window, err = c.window(org.MetricsRead); err != nil {
		return nil, err
	}
	at, err := c.args.text("time")
	if err != nil {
		return nil, err
	}
	if at != "" {
		q.instant = true
		t, _, err := parseTime(at, c.now)
		if err != nil {
			return nil, problemf("time: %s.", err)
		}
		if t.After(c.now) {
			q.window.notes = append(q.window.notes, fmt.Sprintf("time (%s) is in the future and was taken as now.", exact(t)))
			t = c.now
		}
		q.window.start, q.window.end = t.Add(-defaultWindow), t
		if most := c.caller.View(org.MetricsRead).LookBack(); most > 0 && t.Before(c.now.Add(-most)) {
			return nil, problemf("Your roles let you look back %s, to %s; time is before that.", org.FormatLookBack(most), exact(c.now.Add(-most)))
		}
	}
	if q.expr.Type == "string" || q.expr.Type == "matrix" && !q.instant {
		return nil, problemf("The query gives a %s, which is no value over time. Wrap a range such as x[5m] in a function: rate(x[5m]), max_over_time(x[5m]); or set instant=true for the raw samples.\n%s", q.expr.Type, metricsExample)
	}
	return q, q.parseStep()
}

// parseStep lays the points onto multiples of the step, so that the same call
// a little later gives the same ones.
func (q *metricQuery) parseStep() error {
	length := q.window.end.Sub(q.window.start)
	text, err := q.call.args.text("step")
	if err != nil {
		return err
	}
	if text == "" || strings.EqualFold(text, "auto") {
		q.step = niceSteps[len(niceSteps)-1]
		for _, s := range niceSteps {
			if s >= leastMetricStep && length <= s*metricSteps {
				q.step = s
				break
			}
		}
	} else {
		if q.step, err = q.call.period("step", time.Second, 31*24*time.Hour); err != nil {
			return err
		}
		if n := length / q.step; n > maxMetricSteps && !q.instant {
			return problemf("step=%s gives %d points in this window; at most %d are computed. Use a longer step, or auto.", short(q.step), n, maxMetricSteps)
		}
	}
	q.first, q.last = q.window.end, q.window.end
	if q.instant {
		q.step = 0
		return nil
	}
	ns := int64(q.step)
	first := (q.window.start.UnixNano() + ns - 1) / ns * ns
	last := q.window.end.UnixNano() / ns * ns
	if first >= last {
		q.instant, q.step = true, 0
		q.window.notes = append(q.window.notes, "The window is not longer than the step: this is one instant, the window's end.")
		return nil
	}
	q.first, q.last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	return nil
}

// describeMetrics looks up what the selectors' metrics are.
func (q *metricQuery) describeMetrics(ctx context.Context) error {
	q.infos = make(map[string]telemetry.MetricInfo)
	var selectors []string
	for _, s := range q.expr.Selectors {
		if s.Name != "" && len(selectors) < maxSelectors {
			selectors = append(selectors, selectName(s.Name))
		}
	}
	if len(selectors) == 0 {
		return nil
	}
	infos, _, err := q.call.metricInfos(ctx, window{start: q.window.start.Add(-q.reach()), end: q.window.end}, selectors...)
	if err != nil {
		return err
	}
	for _, i := range infos {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if i.Type == "histogram" || i.Type == "summary" && suffix != "_bucket" {
				q.infos[i.Name+suffix] = i
			}
		}
	}
	for _, i := range infos {
		q.infos[i.Name] = i
	}
	return nil
}

// reach is how far before the window the expression looks.
func (q *metricQuery) reach() time.Duration {
	far := time.Duration(0)
	for _, s := range q.expr.Selectors {
		far = max(far, s.Reach)
	}
	return min(far, q.window.end.Sub(earliestTime))
}

// A metricSummary is what an answer says of a series.
type metricSummary struct {
	labels []telemetry.Field
	// values are at the steps, NaN where there is none; in an instant's answer
	// there is one, or a sample each. samples are the points as they came.
	values              []float64
	samples             []telemetry.Point
	last, min, max, avg float64 // NaN where there is no value
	minAt, maxAt        time.Time
	n, nan              int
	// histogram is the last one.
	histogram *telemetry.Histogram
}

// summaries summarise the series, those with the largest maximum first unless
// the expression sorts them.
func (q *metricQuery) summaries(series []telemetry.Series) []*metricSummary {
	slots := 1
	if !q.instant {
		slots = int(q.last.Sub(q.first)/q.step) + 1
	}
	list := make([]*metricSummary, len(series))
	for i, s := range series {
		list[i] = q.summarise(s, slots)
	}
	q.sorted = q.instant && (strings.HasPrefix(q.expr.Query, "sort") || strings.HasPrefix(q.expr.Query, "topk") || strings.HasPrefix(q.expr.Query, "bottomk"))
	if !q.sorted {
		// To cmp, NaN is less than all numbers.
		slices.SortStableFunc(list, func(a, b *metricSummary) int { return cmp.Compare(b.max, a.max) })
	}
	return list
}

func (q *metricQuery) summarise(s telemetry.Series, slots int) *metricSummary {
	m := &metricSummary{labels: s.Labels, samples: s.Points, last: math.NaN(), min: math.NaN(), max: math.NaN(), avg: math.NaN()}
	if q.instant {
		slots = len(s.Points)
	}
	m.values = make([]float64, slots)
	for i := range m.values {
		m.values[i] = math.NaN()
	}
	sum := 0.0
	for i, p := range s.Points {
		v := p.Value
		if p.Histogram != nil {
			v, m.histogram = p.Histogram.Count, p.Histogram
		}
		slot := i
		if !q.instant {
			slot = int(p.Time.Sub(q.first) / q.step)
		}
		if slot >= 0 && slot < slots {
			m.values[slot] = v
		}
		if math.IsNaN(v) {
			m.nan++
			continue
		}
		m.n++
		m.last = v
		sum += v
		if math.IsNaN(m.min) || v < m.min {
			m.min, m.minAt = v, p.Time
		}
		if math.IsNaN(m.max) || v > m.max {
			m.max, m.maxAt = v, p.Time
		}
	}
	if m.n > 0 {
		m.avg = sum / float64(m.n)
	}
	return m
}

// exemplars are examples with a trace each, for callers who may read traces.
func (q *metricQuery) exemplars(ctx context.Context) ([]section, error) {
	c := q.call
	if !c.caller.May(org.SpansRead) || len(q.expr.Selectors) == 0 {
		return nil, nil
	}
	var selectors []string
	for _, s := range q.expr.Selectors[:min(len(q.expr.Selectors), maxSelectors)] {
		// Senders attach them to buckets.
		for _, suffix := range []string{"_count", "_sum"} {
			if name, ok := strings.CutSuffix(s.Name, suffix); ok {
				bucket := s
				bucket.Name = name + "_bucket"
				selectors = append(selectors, bucket.String())
			}
		}
		selectors = append(selectors, s.String())
	}
	var list []telemetry.Exemplar
	err := c.readMetrics(ctx, "looking for exemplars", examinedExemplars, func(ctx context.Context, v telemetry.View, b telemetry.Budget) (err error) {
		list, _, err = c.set.Metrics.Exemplars(ctx, v, telemetry.SeriesQuery{Selectors: selectors, Start: q.window.start, End: q.window.end}, b)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := section{title: "exemplars, the largest first", columns: []string{"time", "value", "trace_id", "series"}, fixed: -1}
	slices.SortStableFunc(list, func(a, b telemetry.Exemplar) int {
		return cmp.Or(cmp.Compare(b.Value, a.Value), b.Time.Compare(a.Time))
	})
	seen := make(map[string]bool)
	var examples []telemetry.Exemplar
	var series []*metricSummary
	for _, e := range list {
		if trace := fieldOf(e.Labels, telemetry.FieldTraceID); trace != "" && !seen[trace] && len(examples) < maxExemplars {
			seen[trace] = true
			examples = append(examples, e)
			series = append(series, &metricSummary{labels: withoutLabels(e.SeriesLabels, "le")})
		}
	}
	_, differ, _ := hoisted(series)
	for i, e := range examples {
		s.rows = append(s.rows, []string{exact(e.Time.Truncate(time.Millisecond)), metricNumber(e.Value), fieldOf(e.Labels, telemetry.FieldTraceID), labelText(series[i].labels, differ)})
	}
	if len(s.rows) == 0 {
		return nil, nil
	}
	return []section{s}, nil
}

func fieldOf(fields []telemetry.Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func withoutLabels(fields []telemetry.Field, names ...string) []telemetry.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f telemetry.Field) bool { return slices.Contains(names, f.Name) })
}
