package tools

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/chart"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// spanAggregates are what can be computed, with the engine's functions; %s is
// the field, the duration unless another is named.
var spanAggregates = map[string]string{
	"count": "count(_time)", "rate": "count(_time)", "errors": "count(_time) if (%e)", "error_rate": "count(_time) if (%e)",
	"sum": "sum(%s)", "min": "min(%s)", "max": "max(%s)", "avg": "avg(%s)", "uniq": "count_uniq(%s)",
	"p50": "quantile(0.5, %s)", "p75": "quantile(0.75, %s)", "p90": "quantile(0.9, %s)", "p95": "quantile(0.95, %s)", "p99": "quantile(0.99, %s)",
}

const spanAggregateNames = "count, rate, errors, error_rate, sum, min, max, avg, uniq, p50, p75, p90, p95, p99"

func newAggregateSpans() *Tool {
	return &Tool{
		Name: "aggregate_spans", Title: "Aggregate spans",
		Description: "Counts or computes over all spans that match: by group (service, operation, status or attributes), over time (step), or both. " +
			"aggregate: count, rate, errors, error_rate (%), and of the duration or field: sum, min, max, avg, uniq, p50 … p99.",
		Permission: org.SpansRead,
		params: append(slices.Clone(spanFilterParams),
			listParam("aggregate", "default count, error_rate, p95; the first sorts"), textParam("field", "default duration"), listParam("group_by", ""),
			textParam("step", "5m or auto"), startParam, endParam, numberParam("limit", "most groups", 1, 500, 20), tokensParam, chartParam, themeParam),
		ReadOnly: true, Idempotent: true,
		handle: aggregateSpans,
	}
}

// spanAggregation is one call of aggregate_spans.
type spanAggregation struct {
	spanQuestion
	call       *call
	aggregates []string
	field      string // stored
	groups     []string
	// stored are the stored names of groups.
	stored  []string
	step    time.Duration
	limit   int
	picture picture
}

func aggregateSpans(ctx context.Context, c *call) (Result, error) {
	g, err := c.spanAggregation()
	if err != nil {
		return Result{}, err
	}
	res, err := c.askSpans(ctx, "counting spans", g.spanQuestion, g.with("stats count(_time) as n"), 1)
	if err != nil {
		return Result{}, err
	}
	total := int64(0)
	if len(res.Rows) > 0 {
		total = integer(res.Rows[0].Get("n"))
	}
	if total == 0 {
		return c.noSpans(ctx, g.spanQuestion)
	}
	a := &answer{call: c, window: &g.window, kind: "span", unit: "rows", lines: g.shown}
	a.fact("matched %d", total)
	if g.step > 0 {
		a.fact("step %s", short(g.step))
	}
	if len(g.groups) == 0 && g.step > 0 {
		err = g.overTime(ctx, a)
	} else {
		err = g.byGroup(ctx, a, total)
	}
	if err != nil {
		return Result{}, err
	}
	return a.render(), nil
}

func (c *call) spanAggregation() (g *spanAggregation, err error) {
	g = &spanAggregation{call: c, field: telemetry.FieldDuration}
	if g.spanQuestion, err = c.spanQuestion(); err != nil {
		return nil, err
	}
	if g.limit, err = c.args.number("limit", 1, 500, 20); err != nil {
		return nil, err
	}
	if g.picture, err = c.picture(); err != nil {
		return nil, err
	}
	field, err := c.args.text("field")
	if err != nil {
		return nil, err
	}
	if field != "" {
		if err := checkSpanField("field", field); err != nil {
			return nil, err
		}
		g.field = spanFields(field)[0]
	}
	if err := g.parseAggregates(); err != nil {
		return nil, err
	}
	if g.groups, err = commaList(c.args, "group_by"); err != nil {
		return nil, err
	}
	if len(g.groups) > maxGroupFields {
		return nil, problemf("group_by names %d fields; name at most %d.", len(g.groups), maxGroupFields)
	}
	for _, name := range g.groups {
		if err := checkSpanField("group_by", name); err != nil {
			return nil, err
		}
		g.stored = append(g.stored, spanFields(name)[0])
	}
	step := logAggregation{call: c, picture: g.picture, logQuestion: logQuestion{window: g.window}}
	err = step.parseStep()
	g.step = step.step
	return g, err
}

// commaList is a list that may also be written with commas.
func commaList(a arguments, name string) ([]string, error) {
	list, err := a.list(name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, text := range list {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" && !slices.Contains(out, part) {
				out = append(out, part)
			}
		}
	}
	return out, nil
}

func (g *spanAggregation) parseAggregates() error {
	list, err := commaList(g.call.args, "aggregate")
	if err != nil {
		return err
	}
	for _, name := range list {
		name = strings.ToLower(name)
		if name == "median" {
			name = "p50"
		}
		if spanAggregates[name] == "" {
			return problemf("aggregate %s is not known; use %s, and name another field than the duration in field.", quoteArgument(name), spanAggregateNames)
		}
		if !slices.Contains(g.aggregates, name) {
			g.aggregates = append(g.aggregates, name)
		}
	}
	if len(g.aggregates) == 0 {
		g.aggregates = []string{"count", "error_rate", "p95"}
	}
	if len(g.aggregates) > maxAggregates {
		return problemf("aggregate names %d functions; name at most %d.", len(g.aggregates), maxAggregates)
	}
	return nil
}

// functions writes the aggregates for a stats pipe as a0, a1, …, with n.
func (g *spanAggregation) functions() string {
	parts := []string{"count(_time) as n"}
	for i, name := range g.aggregates {
		f := strings.NewReplacer("%e", isError(), "%s", quoteLogs(g.field)).Replace(spanAggregates[name])
		parts = append(parts, fmt.Sprintf("%s as a%d", f, i))
	}
	return strings.Join(parts, ", ")
}

// value returns the i-th aggregate of a row, computed over the given time, NaN
// for none.
func (g *spanAggregation) value(r telemetry.LogRow, i int, over time.Duration) float64 {
	text := r.Get("a" + strconv.Itoa(i))
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	switch g.aggregates[i] {
	case "rate":
		return v / over.Seconds()
	case "error_rate":
		return 100 * v / math.Max(1, float(r.Get("n")))
	}
	return v
}

// timed says whether the i-th aggregate is a duration.
func (g *spanAggregation) timed(i int) bool {
	switch g.aggregates[i] {
	case "count", "rate", "errors", "error_rate", "uniq":
		return false
	}
	return g.field == telemetry.FieldDuration
}

func (g *spanAggregation) texts(r telemetry.LogRow, over time.Duration) []string {
	out := make([]string, len(g.aggregates))
	for i, name := range g.aggregates {
		v := g.value(r, i, over)
		switch {
		case math.IsNaN(v):
		case g.timed(i):
			out[i] = shortNanos(v)
		case name == "count" || name == "errors" || name == "uniq":
			out[i] = strconv.FormatInt(int64(v), 10)
		default:
			out[i] = decimals(v)
		}
	}
	return out
}

func (g *spanAggregation) titles() []string {
	out := make([]string, len(g.aggregates))
	for i, name := range g.aggregates {
		switch name {
		case "rate":
			out[i] = "per_second"
		case "error_rate":
			out[i] = "error_%"
		case "count", "errors":
			out[i] = name
		default:
			out[i] = name
			if g.field != telemetry.FieldDuration {
				out[i] += "(" + spanTitle(g.field) + ")"
			}
		}
	}
	return out
}

func (g *spanAggregation) steps() (list []time.Time) {
	for ns := g.window.start.UnixNano() / int64(g.step) * int64(g.step); ns < g.window.end.UnixNano(); ns += int64(g.step) {
		list = append(list, time.Unix(0, ns))
	}
	return list
}

// overTime fills the answer with one row per step.
func (g *spanAggregation) overTime(ctx context.Context, a *answer) error {
	res, err := g.call.askSpans(ctx, "computing", g.spanQuestion, g.with(fmt.Sprintf("stats by (_time:%ds) %s | sort by (_time)", int64(g.step/time.Second), g.functions())), maxSteps+2)
	if err != nil {
		return err
	}
	at := make(map[int64]telemetry.LogRow)
	for _, r := range res.Rows {
		at[r.Time.UnixNano()] = r
	}
	s := section{columns: append([]string{"from"}, g.titles()...), fixed: -1}
	line := curve{name: g.titles()[0]}
	for _, t := range g.steps() {
		r := at[t.UnixNano()]
		s.rows = append(s.rows, append([]string{t.UTC().Format(time.RFC3339)}, g.texts(r, g.step)...))
		line.values = append(line.values, g.value(r, 0, g.step))
	}
	a.sections = []section{s}
	return g.draw(a, []curve{line})
}

// byGroup fills the answer with the groups that have most of the first
// aggregate; without groups, with the whole.
func (g *spanAggregation) byGroup(ctx context.Context, a *answer, total int64) error {
	pipes, order := "stats "+g.functions(), ""
	if len(g.stored) > 0 {
		by := quoteAll(g.stored)
		pipes = fmt.Sprintf("stats by (%s) %s", by, g.functions())
		key := "a0"
		if g.aggregates[0] == "error_rate" {
			pipes += " | math a0 / n as k"
			key = "k"
		}
		order = fmt.Sprintf(" | sort by (%s desc, %s) limit %d", key, by, g.limit+1)
	}
	res, err := g.call.askSpans(ctx, "computing", g.spanQuestion, g.with(pipes+order), g.limit+1)
	if err != nil {
		return err
	}
	rows := res.Rows[:min(len(res.Rows), g.limit)]
	s := section{columns: append(slices.Clone(g.groups), g.titles()...), fixed: -1}
	counted := slices.Contains(g.aggregates, "count")
	if !counted {
		s.columns = append(s.columns, "spans")
	}
	if len(g.groups) > 0 {
		s.columns = append(s.columns, "share_%")
	}
	series, err := g.series(ctx, rows)
	if err != nil {
		return err
	}
	if series != nil {
		s.columns = append(s.columns, "over time", "least", "most", "last")
	}
	var list []curve
	for _, r := range rows {
		row := append(g.group(r), g.texts(r, g.window.end.Sub(g.window.start))...)
		if !counted {
			row = append(row, r.Get("n"))
		}
		if len(g.groups) > 0 {
			row = append(row, percent(integer(r.Get("n")), total))
		}
		if series != nil {
			values := series[groupKey(g.group(r))]
			row = append(row, g.spark(values)...)
			list = append(list, curve{name: strings.Join(g.group(r), ", "), values: values})
		}
		s.rows = append(s.rows, row)
	}
	a.sections = []section{s}
	if len(res.Rows) > g.limit {
		a.note("There are more groups. Call aggregate_spans with a larger limit (at most 500), or group by fewer fields.")
	}
	if len(rows) == 1 && len(g.groups) > 0 && strings.Join(g.group(rows[0]), "") == "" {
		a.note("No span has a value of %s. Attributes are named as senders write them, such as http.route; resource_attr: before a name is for those of the resource.", quoteArgument(strings.Join(g.groups, ", ")))
	}
	return g.draw(a, list)
}

func (g *spanAggregation) group(r telemetry.LogRow) []string {
	out := make([]string, len(g.stored))
	for i, f := range g.stored {
		out[i] = r.Get(f)
	}
	return out
}

// spark is that of the logs, with durations as such.
func (g *spanAggregation) spark(values []float64) []string {
	cells := spark(values)
	if g.timed(0) {
		least, most, last := math.Inf(1), math.Inf(-1), math.NaN()
		for _, v := range values {
			if !math.IsNaN(v) {
				least, most, last = min(least, v), max(most, v), v
			}
		}
		if !math.IsNaN(last) {
			cells[1], cells[2], cells[3] = shortNanos(least), shortNanos(most), shortNanos(last)
		}
	}
	return cells
}

// series returns the first aggregate of each group for every step, nil where
// there are no steps.
func (g *spanAggregation) series(ctx context.Context, groups []telemetry.LogRow) (map[string][]float64, error) {
	if g.step == 0 || len(g.stored) == 0 {
		return nil, nil
	}
	first := *g
	first.aggregates = g.aggregates[:1]
	res, err := g.call.askSpans(ctx, "computing over time", g.spanQuestion,
		g.with(fmt.Sprintf("stats by (_time:%ds, %s) %s", int64(g.step/time.Second), quoteAll(g.stored), first.functions())), maxPoints)
	if err != nil {
		return nil, err
	}
	if res.More {
		return nil, problemf("These groups have more than %d values over time. Use a longer step, fewer spans, or group by fewer fields.", maxPoints)
	}
	index := make(map[int64]int)
	for _, t := range g.steps() {
		index[t.UnixNano()] = len(index)
	}
	nothing := math.NaN() // but no span is a count of zero
	switch g.aggregates[0] {
	case "count", "rate", "errors":
		nothing = 0
	}
	out := make(map[string][]float64)
	for _, r := range groups {
		out[groupKey(g.group(r))] = slices.Repeat([]float64{nothing}, len(index))
	}
	for _, r := range res.Rows {
		i, ok := index[r.Time.UnixNano()]
		if values := out[groupKey(g.group(r))]; ok && values != nil {
			values[i] = first.value(r, 0, g.step)
		}
	}
	return out, nil
}

func (g *spanAggregation) draw(a *answer, list []curve) error {
	if !g.picture.wanted {
		return nil
	}
	a.noteIf(len(g.aggregates) > 1, "The chart has the first aggregate, %s.", g.titles()[0])
	c := chart.Chart{Title: g.titles()[0] + " of spans per " + short(g.step), Kind: chart.Lines, Start: g.window.start, End: g.window.end}
	if g.timed(0) {
		c.Unit = "ns"
	}
	if g.aggregates[0] == "count" || g.aggregates[0] == "errors" {
		c.Kind = chart.StackedBars
	}
	first := g.steps()[0].UTC()
	if c.Kind == chart.Lines && first.Before(c.Start) {
		c.Start = first
	}
	return g.picture.draw(a, c, list, first, g.step)
}
