package tools

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/chart"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of aggregate_logs.
const (
	maxGroupFields = 5
	maxAggregates  = 5
	// maxSteps is how many steps a window may have.
	maxSteps = 500
	// defaultSteps is how many steps an automatic step gives at most.
	defaultSteps = 60
	// maxPoints is how many values of all groups are read.
	maxPoints = 20_000
)

// aggregates are what can be computed, with the engine's functions.
var aggregates = map[string]string{
	"count": "", "rate": "", "uniq": "count_uniq(%s)", "sum": "sum(%s)", "min": "min(%s)", "max": "max(%s)", "avg": "avg(%s)",
	"p50": "quantile(0.5, %s)", "p75": "quantile(0.75, %s)", "p90": "quantile(0.9, %s)", "p95": "quantile(0.95, %s)", "p99": "quantile(0.99, %s)",
}

func newAggregateLogs() *Tool {
	return &Tool{
		Name: "aggregate_logs", Title: "Aggregate logs",
		Description: "Counts or computes over all log records that a query finds: by fields (the top groups), over time (step), or both. " +
			"aggregate: count, rate (per second), and of field: uniq, sum, min, max, avg, p50, p75, p90, p95, p99. " +
			"Exact, and cheaper than reading rows: ask how many, where and since when before search_logs.",
		Permission: org.LogsRead,
		params: append(plainFilterParams[:3:3],
			listParam("aggregate", "default count; the first one sorts"), textParam("field", "what uniq, sum, … are of, such as http.route"),
			listParam("group_by", "fields"), textParam("step", "5m, 1h or auto: one value per step"),
			startParam, endParam, numberParam("limit", "most groups", 1, 500, 20), tokensParam, chartParam, themeParam),
		ReadOnly: true, Idempotent: true,
		handle: aggregateLogs,
	}
}

// logAggregation is one call of aggregate_logs.
type logAggregation struct {
	logQuestion
	call       *call
	aggregates []string
	field      string
	groups     []string
	step       time.Duration
	limit      int
	picture    picture
	// points are the counts of every group and step where these alone are
	// asked for: then one query answers everything.
	points []telemetry.LogRow
}

func aggregateLogs(ctx context.Context, c *call) (Result, error) {
	g, err := parseLogAggregation(c)
	if err != nil {
		return Result{}, err
	}
	total, err := g.total(ctx)
	if err != nil {
		return Result{}, err
	}
	if total == 0 {
		res, err := c.nothing(ctx, g.logQuestion, g.query)
		if g.picture.wanted && err == nil {
			res.Text += "# There is no chart of an empty result.\n"
		}
		return res, err
	}
	a := &answer{call: c, window: &g.window, kind: "log", unit: "groups", lines: g.describe()}
	a.fact("matched %d", total)
	if g.step > 0 {
		a.fact("step %s", short(g.step))
	}
	switch {
	case len(g.groups) == 0 && g.step == 0:
		err = g.whole(ctx, a)
	case len(g.groups) == 0:
		a.unit = "steps"
		err = g.overTime(ctx, a)
	default:
		err = g.byGroup(ctx, a, total)
	}
	if err != nil {
		return Result{}, err
	}
	if err := g.explainEmpty(ctx, a); err != nil {
		return Result{}, err
	}
	return a.render(), nil
}

func parseLogAggregation(c *call) (g logAggregation, err error) {
	g.call = c
	if g.logQuestion, err = c.logQuestion(); err != nil {
		return g, err
	}
	if g.limit, err = c.args.number("limit", 1, 500, 20); err != nil {
		return g, err
	}
	if g.field, err = c.field("field"); err != nil {
		return g, err
	}
	if err := g.parseAggregates(); err != nil {
		return g, err
	}
	if g.groups, err = c.args.list("group_by"); err != nil {
		return g, err
	}
	if len(g.groups) == 1 && strings.Contains(g.groups[0], ",") {
		g.groups = strings.FieldsFunc(g.groups[0], func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(g.groups) > maxGroupFields {
		return g, problemf("group_by names %d fields; name at most %d.", len(g.groups), maxGroupFields)
	}
	for _, f := range g.groups {
		if err := checkField("group_by", f); err != nil {
			return g, err
		}
		if f == telemetry.FieldTime {
			return g, problem(`group_by cannot be _time: give a step, such as step="5m".`)
		}
	}
	slices.Sort(g.groups)
	g.groups = slices.Compact(g.groups)
	if g.picture, err = c.picture(); err != nil {
		return g, err
	}
	return g, g.parseStep()
}

func (g *logAggregation) parseAggregates() error {
	list, err := g.call.args.list("aggregate")
	if err != nil {
		return err
	}
	for _, text := range list {
		for name := range strings.SplitSeq(strings.ToLower(text), ",") {
			name = strings.TrimSpace(name)
			if name == "median" {
				name = "p50"
			}
			if _, ok := aggregates[name]; !ok {
				return problemf("aggregate %s is not known; use count, rate, uniq, sum, min, max, avg, p50, p75, p90, p95, p99, and name the field in field.", quoteArgument(name))
			}
			if aggregates[name] != "" && g.field == "" {
				return problemf("aggregate %s needs field: the field to compute it of, such as field=\"duration_ms\".", name)
			}
			if !slices.Contains(g.aggregates, name) {
				g.aggregates = append(g.aggregates, name)
			}
		}
	}
	if len(g.aggregates) == 0 {
		g.aggregates = []string{"count"}
		if g.field != "" {
			return problem("field is given without aggregate: say which of uniq, sum, min, max, avg, p50, p75, p90, p95, p99 to compute of it; to count by it use group_by.")
		}
	}
	if len(g.aggregates) > maxAggregates {
		return problemf("aggregate names %d functions; name at most %d.", len(g.aggregates), maxAggregates)
	}
	return nil
}

// niceSteps are what an automatic step is one of.
var niceSteps = []time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

func (g *logAggregation) parseStep() error {
	text, err := g.call.args.text("step")
	if text == "" && g.picture.wanted {
		text = "auto" // a chart is over time
	}
	if err != nil || text == "" {
		return err
	}
	length := g.window.end.Sub(g.window.start)
	if strings.EqualFold(text, "auto") {
		g.step = niceSteps[len(niceSteps)-1]
		for _, s := range niceSteps {
			if length <= s*defaultSteps {
				g.step = s
				break
			}
		}
		return nil
	}
	if g.step, err = g.call.period("step", time.Second, 31*24*time.Hour); err != nil {
		return err
	}
	if n := (length + g.step - 1) / g.step; n > maxSteps {
		return problemf("step=%s gives %d steps in this window; at most %d are given. Use a longer step, or auto.", short(g.step), n, maxSteps)
	}
	return nil
}

// counting is the stats function that counts records. Where groups or steps
// ask for columns, count() is enough for a cluster too, and a quarter cheaper.
func (g *logAggregation) counting() string {
	if g.step > 0 || len(g.groups) > 0 {
		return "count()"
	}
	return g.logQuestion.counting()
}

// functions writes the aggregates for a stats pipe, as a0, a1, …
func (g *logAggregation) functions() string {
	parts := make([]string, len(g.aggregates))
	for i, name := range g.aggregates {
		f := aggregates[name]
		if f == "" {
			f = g.counting()
		} else {
			f = fmt.Sprintf(f, quoteLogs(g.field))
		}
		parts[i] = fmt.Sprintf("%s as a%d", f, i)
	}
	return strings.Join(parts, ", ")
}

// values returns the aggregates of a row, computed over the given time.
func (g *logAggregation) values(r telemetry.LogRow, over time.Duration) []string {
	out := make([]string, len(g.aggregates))
	for i, name := range g.aggregates {
		v := r.Get("a" + strconv.Itoa(i))
		switch {
		case v == "NaN":
			v = ""
		case name == "rate":
			v = decimals(float(v) / over.Seconds())
		case name == "avg" && v != "":
			v = decimals(float(v))
		}
		out[i] = v
	}
	return out
}

// titles are the names of the aggregates' columns.
func (g *logAggregation) titles() []string {
	out := make([]string, len(g.aggregates))
	for i, name := range g.aggregates {
		switch {
		case name == "rate":
			out[i] = "per_second"
		case aggregates[name] == "":
			out[i] = name
		default:
			out[i] = name + "(" + g.field + ")"
		}
	}
	return out
}

func (g *logAggregation) whole(ctx context.Context, a *answer) error {
	res, err := g.call.askLogs(ctx, "computing", g.logQuestion, g.with("stats "+g.functions()), 1)
	if err != nil {
		return err
	}
	s := section{columns: g.titles(), fixed: -1}
	if len(res.Rows) == 0 {
		res.Rows = []telemetry.LogRow{{}} // all values are empty
	}
	s.rows = [][]string{g.values(res.Rows[0], g.window.end.Sub(g.window.start))}
	a.sections = []section{s}
	return nil
}

func (g *logAggregation) stepText() string {
	return strconv.FormatInt(int64(g.step/time.Second), 10) + "s"
}

// total returns how many records there are, and keeps the points where they
// say so by themselves.
func (g *logAggregation) total(ctx context.Context) (total int64, err error) {
	if g.step == 0 || slices.ContainsFunc(g.aggregates, func(name string) bool { return aggregates[name] != "" }) {
		return g.call.countLogs(ctx, g.logQuestion)
	}
	if g.points, err = g.askPoints(ctx, g.functions()); err != nil {
		return 0, err
	}
	for _, r := range g.points {
		total += integer(r.Get("a0"))
	}
	return total, nil
}

// askPoints asks for functions of every group and step.
func (g *logAggregation) askPoints(ctx context.Context, functions string) ([]telemetry.LogRow, error) {
	by := ""
	if len(g.groups) > 0 {
		by = ", " + quoteAll(g.groups)
	}
	res, err := g.call.askLogs(ctx, "computing over time", g.logQuestion, g.with(fmt.Sprintf("stats by (_time:%s%s) %s", g.stepText(), by, functions)), maxPoints)
	if err != nil {
		return nil, err
	}
	if res.More {
		return nil, problemf("These groups have more than %d values over time. Use a longer step, a narrower query, or group by fewer fields.", maxPoints)
	}
	return res.Rows, nil
}

// topGroups adds the points of each group up, as a query without steps would:
// those with most come first.
func (g *logAggregation) topGroups() []telemetry.LogRow {
	counts := make(map[string]int64)
	groups := make(map[string][]string)
	for _, r := range g.points {
		group := g.groupOf(r)
		groups[groupKey(group)] = group
		counts[groupKey(group)] += integer(r.Get("a0"))
	}
	var rows []telemetry.LogRow
	for _, key := range slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	}) {
		n := strconv.FormatInt(counts[key], 10)
		r := telemetry.LogRow{Fields: []telemetry.Field{{Name: "records", Value: n}}}
		for i, f := range g.groups {
			r.Fields = append(r.Fields, telemetry.Field{Name: f, Value: groups[key][i]})
		}
		for i := range g.aggregates {
			r.Fields = append(r.Fields, telemetry.Field{Name: "a" + strconv.Itoa(i), Value: n})
		}
		rows = append(rows, r)
	}
	return rows
}

// overTime fills the answer with one row per step.
func (g *logAggregation) overTime(ctx context.Context, a *answer) error {
	points := g.points
	if points == nil {
		var err error
		if points, err = g.askPoints(ctx, g.functions()); err != nil {
			return err
		}
	}
	at := make(map[int64]telemetry.LogRow)
	for _, r := range points {
		at[r.Time.UnixNano()] = r
	}
	s := section{columns: append([]string{"from"}, g.titles()...), fixed: -1}
	first := curve{name: g.titles()[0]}
	for t := range g.steps() {
		r := at[t.UnixNano()]
		values := g.values(r, g.step)
		if r.Fields == nil {
			for i, name := range g.aggregates {
				if aggregates[name] == "" {
					values[i] = "0"
				}
			}
		}
		s.rows = append(s.rows, append([]string{t.UTC().Format(time.RFC3339)}, values...))
		v, err := strconv.ParseFloat(values[0], 64)
		if err != nil {
			v = math.NaN()
		}
		first.values = append(first.values, v)
	}
	a.sections = []section{s}
	g.notePartial(a)
	return g.draw(a, []curve{first})
}

// steps gives the first instant of every step of the window.
func (g *logAggregation) steps() func(yield func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		for ns := g.window.start.UnixNano() / int64(g.step) * int64(g.step); ns < g.window.end.UnixNano(); ns += int64(g.step) {
			if !yield(time.Unix(0, ns)) {
				return
			}
		}
	}
}

func (g *logAggregation) notePartial(a *answer) {
	if g.window.start.UnixNano()%int64(g.step) != 0 || g.window.end.UnixNano()%int64(g.step) != 0 {
		a.note("The window cuts the first or last step, so their values are of a shorter time.")
	}
}

// byGroup fills the answer with the groups that have most of the first
// aggregate.
func (g *logAggregation) byGroup(ctx context.Context, a *answer, total int64) error {
	by := quoteAll(g.groups)
	order := "desc"
	if g.aggregates[0] == "min" {
		order = ""
	}
	counted := slices.Contains(g.aggregates, "count")
	having := ""
	if g.field != "" && !counted && !slices.Contains(g.aggregates, "rate") {
		having = "filter " + quoteLogs(g.field) + ":* | " // groups without a value tell nothing
	}
	var found []telemetry.LogRow
	if g.points != nil {
		found = g.topGroups()
	} else {
		res, err := g.call.askLogs(ctx, "computing", g.logQuestion, g.with(having+fmt.Sprintf("stats by (%s) %s, %s as records | sort by (a0 %s, %s) limit %d",
			by, g.functions(), g.counting(), order, by, g.limit+1)), g.limit+1)
		if err != nil {
			return err
		}
		found = res.Rows
	}
	more := len(found) > g.limit
	rows := found[:min(len(found), g.limit)]
	s := section{columns: append(slices.Clone(g.groups), g.titles()...), fixed: -1}
	if !counted {
		s.columns = append(s.columns, "records")
	}
	s.columns = append(s.columns, "share_%")
	var series map[string][]float64
	if g.step > 0 {
		s.columns = append(s.columns, "over time", "least", "most", "last")
		var err error
		if series, err = g.series(ctx, rows); err != nil {
			return err
		}
		g.notePartial(a)
	}
	shown := int64(0)
	var list []curve
	for _, r := range rows {
		row := append(g.groupOf(r), g.values(r, g.window.end.Sub(g.window.start))...)
		if !counted {
			row = append(row, r.Get("records"))
		}
		row = append(row, percent(integer(r.Get("records")), total))
		shown += integer(r.Get("records"))
		if g.step > 0 {
			values := series[groupKey(g.groupOf(r))]
			row = append(row, spark(values)...)
			list = append(list, curve{name: g.groupName(r), values: values, tone: g.tone(r)})
		}
		s.rows = append(s.rows, row)
	}
	a.sections = []section{s}
	if more {
		note := fmt.Sprintf("There are more groups; those shown have %s %% of the records.", percent(shown, total))
		if g.limit < 500 {
			note += " Call aggregate_logs with a larger limit (at most 500) and the same other arguments, or group by fewer fields."
		}
		a.note("%s", note)
	}
	return g.draw(a, list)
}

// draw draws the first aggregate: what can be added up as bars on each other.
func (g *logAggregation) draw(a *answer, list []curve) error {
	if !g.picture.wanted {
		return nil
	}
	a.noteIf(len(g.aggregates) > 1, "The chart has the first aggregate, %s.", g.titles()[0])
	c := chart.Chart{Title: g.titles()[0] + " per " + short(g.step), Kind: chart.Lines, Start: g.window.start, End: g.window.end}
	if len(g.groups) > 0 {
		c.Title += " by " + strings.Join(g.groups, ", ")
	}
	switch {
	case g.aggregates[0] == "count":
		c.Kind = chart.StackedBars
	case g.aggregates[0] == "rate":
		c.Title = strings.Replace(c.Title, " per "+short(g.step), "", 1)
	}
	if g.query != "" {
		c.Title += ": " + g.query
	}
	first := time.Unix(0, g.window.start.UnixNano()/int64(g.step)*int64(g.step)).UTC()
	if c.Kind == chart.Lines && first.Before(c.Start) {
		c.Start = first // the first value is of the whole step
	}
	return g.picture.draw(a, c, list, first, g.step)
}

// groupName is what a chart calls a group.
func (g *logAggregation) groupName(r telemetry.LogRow) string {
	var parts []string
	for _, v := range g.groupOf(r) {
		if v == "" {
			v = "(none)"
		}
		parts = append(parts, v)
	}
	return strings.Join(parts, ", ")
}

func (g *logAggregation) tone(r telemetry.LogRow) chart.Tone {
	if len(g.groups) == 1 && g.groups[0] == telemetry.FieldSeverity {
		return severityTones[r.Get(telemetry.FieldSeverity)]
	}
	return chart.Auto
}

func (g *logAggregation) groupOf(r telemetry.LogRow) []string {
	out := make([]string, len(g.groups))
	for i, f := range g.groups {
		out[i] = r.Get(f)
	}
	return out
}

func groupKey(group []string) string { return strings.Join(group, "\x00") }

// series returns the first aggregate of each group for every step.
func (g *logAggregation) series(ctx context.Context, groups []telemetry.LogRow) (map[string][]float64, error) {
	first := *g
	first.aggregates = g.aggregates[:1]
	points := g.points
	if points == nil {
		var err error
		if points, err = g.askPoints(ctx, first.functions()); err != nil {
			return nil, err
		}
	}
	index := make(map[int64]int)
	for t := range g.steps() {
		index[t.UnixNano()] = len(index)
	}
	out := make(map[string][]float64)
	for _, r := range groups {
		values := make([]float64, len(index))
		if aggregates[g.aggregates[0]] != "" {
			for i := range values {
				values[i] = math.NaN() // nothing is not zero
			}
		}
		out[groupKey(g.groupOf(r))] = values
	}
	for _, r := range points {
		i, ok := index[r.Time.UnixNano()]
		if values := out[groupKey(g.groupOf(r))]; ok && values != nil {
			if v, err := strconv.ParseFloat(first.values(r, g.step)[0], 64); err == nil {
				values[i] = v
			}
		}
	}
	return out, nil
}

// drawn returns at most defaultSteps values: the highest of each few.
func drawn(values []float64) []float64 {
	n := (len(values) + defaultSteps - 1) / defaultSteps
	if n <= 1 {
		return values
	}
	var out []float64
	for few := range slices.Chunk(values, n) {
		high := math.NaN()
		for _, v := range few {
			if math.IsNaN(high) || v > high {
				high = v
			}
		}
		out = append(out, high)
	}
	return out
}

// spark draws values as a line of blocks, and returns it with the least, most
// and last value. Steps without a value are dots.
func spark(values []float64) []string {
	least, most, last := math.Inf(1), math.Inf(-1), math.NaN()
	for _, v := range values {
		if !math.IsNaN(v) {
			least, most, last = min(least, v), max(most, v), v
		}
	}
	if math.IsNaN(last) {
		return []string{"", "", "", ""}
	}
	var b strings.Builder
	blocks := []rune("▁▂▃▄▅▆▇█")
	for _, v := range drawn(values) {
		switch {
		case math.IsNaN(v):
			b.WriteByte('.')
		case most == least:
			b.WriteRune(blocks[0])
		default:
			b.WriteRune(blocks[int((v-least)/(most-least)*float64(len(blocks)-1)+0.5)])
		}
	}
	return []string{b.String(), decimals(least), decimals(most), decimals(last)}
}

// explainEmpty says why there is nothing: fields that no record has, or that
// hold no numbers.
func (g *logAggregation) explainEmpty(ctx context.Context, a *answer) error {
	var asked []string
	rows := a.sections[0].rows
	for i, f := range g.groups {
		if emptyColumn(rows, i) {
			asked = append(asked, f)
		}
	}
	for i, title := range a.sections[0].columns {
		if g.field == "" || !strings.HasSuffix(title, "("+g.field+")") {
			continue
		}
		if emptyColumn(rows, i) {
			a.note("No matching record has a value for %s in %s.", strings.TrimSuffix(title, "("+g.field+")"), quoteArgument(g.field))
			asked = append(asked, g.field)
			break
		}
		if len(rows) == 1 && rows[0][i] == "0" {
			asked = append(asked, g.field)
		}
	}
	slices.Sort(asked)
	notes, err := g.call.unknownFields(ctx, g.logQuestion, slices.Compact(asked))
	a.notes = append(a.notes, notes...)
	return err
}

func emptyColumn(rows [][]string, i int) bool {
	for _, r := range rows {
		if r[i] != "" {
			return false
		}
	}
	return true
}
