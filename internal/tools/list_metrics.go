package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// shownLabels of a metric are in the list of metrics.
	shownLabels = 12
	// labelExamples of a label are shown, each cut to topValueBytes.
	labelExamples = 5
)

func newListMetrics() *Tool {
	return &Tool{
		Name: "list_metrics", Title: "List metrics",
		Description: "Lists metrics with type, unit, number of series, labels and help; or, with metric, the labels of one with their values, and queries for it. " +
			"Use it before query_metrics: names and labels must be exact.",
		Permission: org.MetricsRead,
		params: []param{
			textParam("search", "part of the name, unit or help"), textParam("metric", "a metric's name"), listParam("service", ""),
			textParam("type", "", "counter", "gauge", "histogram", "summary", "unknown"),
			startParam, endParam, numberParam("limit", "", 1, 500, 40), tokensParam, cursorParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: listMetrics,
	}
}

// metricQuestion says which metrics a call of list_metrics is about.
type metricQuestion struct {
	search, kind string
	services     []string
	limit        int
	window       window
}

func (c *call) metricQuestion() (q metricQuestion, err error) {
	if q.search, err = c.args.query("search"); err != nil {
		return q, err
	}
	if q.kind, err = c.choice("type", ""); err != nil {
		return q, err
	}
	if q.services, err = c.args.list("service"); err != nil {
		return q, err
	}
	if len(q.services) > maxServices {
		return q, problemf("service names %d services; name at most %d.", len(q.services), maxServices)
	}
	if q.limit, err = c.args.number("limit", 1, 500, 40); err != nil {
		return q, err
	}
	q.window, err = c.window(org.MetricsRead)
	return q, err
}

// selectors select the series of the services asked for.
func (q metricQuestion) selectors() []string {
	if len(q.services) == 0 {
		return nil
	}
	return []string{q.selectName("")}
}

// selectName selects the series of a name, "" for all, of the services asked
// for.
func (q metricQuestion) selectName(name string) string {
	s := telemetry.MetricSelector{Name: name}
	if len(q.services) > 0 {
		s.Matchers = []telemetry.MetricMatcher{anyOf(serviceLabel, q.services)}
	}
	return s.String()
}

func (q metricQuestion) describe() []string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"search", q.search}, {"type", q.kind}, {"service", strings.Join(q.services, ", ")}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+cell(p.value, maxShownQuery, nil))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"filters: " + strings.Join(parts, "; ")}
}

func (q metricQuestion) matches(i telemetry.MetricInfo) bool {
	if q.kind != "" && i.Type != q.kind && !(q.kind == "histogram" && i.Type == "gaugehistogram") {
		return false
	}
	search := strings.ToLower(q.search)
	return slices.ContainsFunc([]string{i.Name, i.Unit, i.Help}, func(s string) bool { return strings.Contains(strings.ToLower(s), search) })
}

func listMetrics(ctx context.Context, c *call) (Result, error) {
	q, err := c.metricQuestion()
	if err != nil {
		return Result{}, err
	}
	metric, err := c.args.query("metric")
	if err != nil {
		return Result{}, err
	}
	if metric != "" {
		return c.oneMetric(ctx, q, metric)
	}
	infos, more, err := c.metricInfos(ctx, q.window, q.selectors()...)
	if err != nil {
		return Result{}, err
	}
	var found []telemetry.MetricInfo
	var all []string
	series := 0
	for _, i := range infos {
		all = append(all, i.Name)
		if q.matches(i) {
			found = append(found, i)
			series += i.Series
		}
	}
	a := &answer{call: c, window: &q.window, kind: "metric", unit: "metrics", lines: q.describe()}
	a.fact("%s", count(len(found), "metric", "metrics"))
	a.fact("%d series", series)
	from := 0
	if c.cursor != nil {
		from = min(c.cursor.offset, len(found))
	}
	page := found[from:min(len(found), from+q.limit)]
	if len(page) > 0 {
		a.sections = []section{metricSection(page)}
		a.note("A classic histogram is queried by its series NAME_bucket, NAME_count and NAME_sum; all others by NAME. list_metrics with metric=NAME has its labels' values and queries.")
	} else if err := c.noMetrics(ctx, a, q, all); err != nil {
		return Result{}, err
	}
	if more {
		a.note("There are more than %d metrics; name a service to see the others.", maxMetricNames)
	}
	if err := c.noteHiddenMetrics(ctx, a); err != nil {
		return Result{}, err
	}
	a.more = c.morePages("metrics", q.window, from, len(page), len(found))
	return a.render(), nil
}

// metricSection is the table of metrics. Labels that all have are in its title.
func metricSection(page []telemetry.MetricInfo) section {
	s := section{columns: []string{"metric", "type", "unit", "series", "labels", "help"}, fixed: 4}
	var common []string
	if len(page) > 1 {
		for _, l := range page[0].Labels {
			if !slices.ContainsFunc(page, func(i telemetry.MetricInfo) bool { return !slices.Contains(i.Labels, l) }) {
				common = append(common, l)
			}
		}
	}
	if len(common) > 0 {
		s.title = "labels of all: " + cell(strings.Join(common, ", "), maxCellBytes, nil)
	}
	for _, i := range page {
		var own []string
		for _, l := range i.Labels {
			if !slices.Contains(common, l) {
				own = append(own, l)
			}
		}
		if len(own) > shownLabels {
			own = append(own[:shownLabels], fmt.Sprintf("+%d", len(own)-shownLabels))
		}
		s.rows = append(s.rows, []string{i.Name, kindOfMetric(i), i.Unit, strconv.Itoa(i.Series), strings.Join(own, ", "), clip(i.Help, 120)})
	}
	return s
}

// kindOfMetric is the type, with what a query must know of it.
func kindOfMetric(i telemetry.MetricInfo) string {
	switch {
	case isClassic(i):
		return "classic histogram"
	case i.Type == "histogram":
		return "native histogram"
	}
	return i.Type
}

// noMetrics explains a list without rows. all are the names of the metrics of
// the services asked for.
func (c *call) noMetrics(ctx context.Context, a *answer, q metricQuestion, all []string) error {
	if len(all) > 0 {
		switch {
		case q.search != "":
			kind := ""
			if q.kind != "" {
				kind = " of type " + q.kind
			}
			a.note("None of the %d metrics%s has %s in its name, unit or help.", len(all), kind, quoteArgument(q.search))
			if near := nearest(q.search, all); len(near) > 0 {
				a.note("Nearest names: %s.", names(near))
			}
		default:
			a.note("None of the %d metrics is of type %s.", len(all), q.kind)
		}
		return nil
	}
	notes, err := c.unknownMetricServices(ctx, q.services)
	if err != nil {
		return err
	}
	if len(notes) > 0 {
		a.notes = append(a.notes, notes...)
		return nil
	}
	last, err := c.newestMetric(ctx)
	switch {
	case err != nil:
		return err
	case last.IsZero():
		a.note("%s", noMetricsAtAll)
	default:
		a.note("There are metrics of the last 7 days, the newest of about %s; none in this window.", exact(last))
	}
	return nil
}

const noMetricsAtAll = "There are no metrics at all of the last 7 days that you can see. " +
	"If there should be, ask an admin of the team whether anything sends them, and whoami which data scope you have."

// newestMetric returns about when the newest sample of all was, zero where
// there is none in the last days.
func (c *call) newestMetric(ctx context.Context) (time.Time, error) {
	steps := []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, lookBackWindow}
	for i, ago := range steps {
		series, _, err := c.metricSeries(ctx, "looking for the newest metric", window{start: c.now.Add(-ago), end: c.now}, 1)
		if err != nil {
			return time.Time{}, err
		}
		if len(series) > 0 {
			if i == 0 {
				return c.now, nil
			}
			return c.now.Add(-steps[i-1]), nil
		}
	}
	return time.Time{}, nil
}

// unknownMetricServices returns notes about services that have no visible
// metrics in the last days.
func (c *call) unknownMetricServices(ctx context.Context, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	have, err := c.labelValues(ctx, serviceLabel, c.lastDays())
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, name := range asked {
		if slices.Contains(have, name) {
			continue
		}
		note := fmt.Sprintf("There is no service %s with metrics that you can see in the last 7 days.", quoteArgument(name))
		switch near := nearest(name, have); {
		case len(near) > 0:
			note += " Nearest names: " + names(near) + "."
		case len(have) > 0:
			note += fmt.Sprintf(" Some that have: %s.", names(have[:min(len(have), 10)]))
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// noteHiddenMetrics says what hides series altogether.
func (c *call) noteHiddenMetrics(ctx context.Context, a *answer) error {
	v := c.caller.View(org.MetricsRead)
	if v.Filter() == nil && len(v.Hidden()) == 0 {
		return nil
	}
	if scope := c.caller.DataScope(org.MetricsRead); scope != "" {
		a.note("Your data scope: only where %s.", cell(scope, maxShownQuery, nil))
	}
	// The engine says it with every answer.
	res, err := c.askMetrics(ctx, "asking what is hidden", telemetry.MetricQuery{Expr: "vector(0)", Start: c.now, End: c.now}, 1)
	for _, w := range res.Warnings {
		a.note("%s.", upper(trimDot(cell(w, maxShownQuery, nil))))
	}
	return err
}

// oneMetric describes a metric: its labels, their values, and queries.
func (c *call) oneMetric(ctx context.Context, q metricQuestion, name string) (Result, error) {
	infos, _, err := c.metricInfos(ctx, q.window, selectFamily(name)...)
	if err != nil {
		return Result{}, err
	}
	i := slices.IndexFunc(infos, func(i telemetry.MetricInfo) bool { return i.Name == name })
	if i < 0 && len(infos) > 0 {
		i = 0 // the histogram that NAME_bucket belongs to
	}
	a := &answer{call: c, window: &q.window, kind: "metric", unit: "labels"}
	if i < 0 {
		notes, err := c.unknownMetric(ctx, name)
		if err != nil {
			return Result{}, err
		}
		if len(notes) == 0 {
			newest, err := c.newestSample(ctx, telemetry.MetricSelector{Name: name}, c.lastDays())
			if err != nil {
				return Result{}, err
			}
			notes = []string{fmt.Sprintf("%s has no series in this window.", quoteArgument(name))}
			if !newest.IsZero() {
				notes[0] += fmt.Sprintf(" Its last sample was at %s: give an earlier start.", exact(newest))
			}
		}
		a.notes = append(a.notes, notes...)
		if err := c.noteHiddenMetrics(ctx, a); err != nil {
			return Result{}, err
		}
		return a.render(), nil
	}
	info := infos[i]
	stored := info.Name
	if isClassic(info) {
		stored += "_bucket"
	}
	series, more, err := c.metricSeries(ctx, "reading labels", q.window, maxLabelSeries, q.selectName(stored))
	if err != nil {
		return Result{}, err
	}
	if isClassic(info) {
		a.fact("%d series of buckets", len(series))
	} else {
		a.fact("%d series", len(series))
	}
	s := section{columns: []string{"label", "values", "in_%", "most series", "examples"}, fixed: -1}
	s.title = metricLine(info)
	labels := labelCounts(series)
	for _, l := range labels {
		s.rows = append(s.rows, []string{l.name, strconv.Itoa(len(l.values)), percent(int64(l.n), int64(len(series))), l.most(), l.examples()})
	}
	a.sections = []section{s}
	examples := section{title: "queries", columns: []string{"PromQL"}, fixed: -1}
	for _, e := range examplesOf(info, groupLabel(labels)) {
		examples.rows = append(examples.rows, []string{e})
	}
	a.sections = append(a.sections, examples)
	if more {
		a.note("Values are of %d of its series; name a service or narrow the window for the others.", len(series))
	}
	if len(series) == 0 {
		notes, err := c.unknownMetricServices(ctx, q.services)
		if err != nil {
			return Result{}, err
		}
		a.notes = append(append(a.notes, notes...), "The metric has no series of the services asked for in this window.")
	}
	if err := c.noteHiddenMetrics(ctx, a); err != nil {
		return Result{}, err
	}
	return a.render(), nil
}

// metricLine describes a metric in a line inside of the fence.
func metricLine(i telemetry.MetricInfo) string {
	parts := []string{kindOfMetric(i)}
	if i.Unit != "" {
		parts = append(parts, "unit "+cell(i.Unit, maxNameBytes, nil))
	}
	if i.Help != "" {
		parts = append(parts, cell(i.Help, maxShownQuery, nil))
	}
	return "metric " + cell(i.Name, maxNameBytes, nil) + ": " + strings.Join(parts, ", ")
}

// A labelCount is a label with how many series have it, by value.
type labelCount struct {
	name   string
	n      int
	values map[string]int
}

// labelCounts counts the labels of series, those with most values first, names
// aside.
func labelCounts(series [][]telemetry.Field) []*labelCount {
	byName := make(map[string]*labelCount)
	var list []*labelCount
	for _, s := range series {
		for _, f := range s {
			if f.Name == telemetry.MetricName {
				continue
			}
			l := byName[f.Name]
			if l == nil {
				l = &labelCount{name: f.Name, values: make(map[string]int)}
				byName[f.Name], list = l, append(list, l)
			}
			l.n++
			l.values[f.Value]++
		}
	}
	slices.SortFunc(list, func(a, b *labelCount) int {
		return cmp.Or(cmp.Compare(len(b.values), len(a.values)), strings.Compare(a.name, b.name))
	})
	return list
}

// sorted are the values, those of most series first.
func (l *labelCount) sorted() []string {
	var list []string
	for v := range l.values {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(l.values[b], l.values[a]), strings.Compare(a, b)) })
	return list
}

func (l *labelCount) most() string {
	return strconv.Itoa(l.values[l.sorted()[0]])
}

func (l *labelCount) examples() string {
	var parts []string
	for i, v := range l.sorted() {
		if i == labelExamples {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, cell(v, topValueBytes, nil))
	}
	return strings.Join(parts, "; ")
}

// groupLabel is a label worth grouping by: with few values, but more than one.
func groupLabel(labels []*labelCount) string {
	best := ""
	for _, l := range labels { // those with fewest values come last
		switch l.name {
		case "le", "quantile", "job", "instance", "service_instance_id":
			continue
		}
		if len(l.values) > 1 && len(l.values) <= 50 {
			best = l.name
		}
	}
	return best
}
