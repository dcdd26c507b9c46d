package tools

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// maxLabelColumns is how many labels get a column of their own.
const maxLabelColumns = 6

// metricNumber prints a value: whole numbers and large ones without a point,
// others with five digits that count.
func metricNumber(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return ""
	case math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case a >= 1e15 || a > 0 && a < 1e-4:
		return strconv.FormatFloat(v, 'g', 5, 64)
	case v == math.Trunc(v) || a >= 1e5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := max(0, 4-int(math.Floor(math.Log10(math.Abs(v)))))
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = trimZeros(text)
	}
	return text
}

// clock prints the time of a point: without the day where the window has one.
func (q *metricQuery) clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if q.window.start.UTC().Format(time.DateOnly) == q.window.end.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05Z")
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// hoisted splits labels into those with one value in all series and the names
// of the others. Labels that say the same as one before them in every series
// are in alike.
func hoisted(list []*metricSummary) (common []telemetry.Field, differ []string, alike []string) {
	counts := make(map[string]map[string]int)
	for _, m := range list {
		for _, f := range m.labels {
			if counts[f.Name] == nil {
				counts[f.Name] = make(map[string]int)
			}
			counts[f.Name][f.Value]++
		}
	}
	order := func(name string) int {
		switch name {
		case telemetry.MetricName:
			return 0
		case serviceLabel:
			return 1
		}
		return 2
	}
	for name := range counts {
		differ = append(differ, name)
	}
	slices.SortFunc(differ, func(a, b string) int {
		if x, y := order(a), order(b); x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	var kept []string
	for _, name := range differ {
		values := counts[name]
		if len(values) == 1 && len(list) > 1 {
			if v := fieldOf(list[0].labels, name); values[v] == len(list) {
				common = append(common, telemetry.Field{Name: name, Value: v})
				continue
			}
		}
		same := slices.IndexFunc(kept, func(before string) bool {
			return !slices.ContainsFunc(list, func(m *metricSummary) bool { return fieldOf(m.labels, before) != fieldOf(m.labels, name) })
		})
		if same >= 0 {
			alike = append(alike, cell(name, maxNameBytes, nil)+" is "+cell(kept[same], maxNameBytes, nil))
			continue
		}
		kept = append(kept, name)
	}
	return common, kept, alike
}

// labelText writes labels in a line; only says which, nil is all.
func labelText(labels []telemetry.Field, only []string) string {
	var parts []string
	for _, f := range labels {
		if only == nil || slices.Contains(only, f.Name) {
			parts = append(parts, pair(f.Name, f.Value, maxNameBytes, nil))
		}
	}
	return strings.Join(parts, "; ")
}

// summarySections are the table of series: values in one, histograms in
// another.
func (q *metricQuery) summarySections(list []*metricSummary) []section {
	common, differ, alike := hoisted(list)
	var titles []string
	seen := make(map[string]bool)
	for _, s := range q.expr.Selectors {
		if i, ok := q.infos[s.Name]; ok && !seen[i.Name] && (i.Type != "unknown" || i.Help != "") {
			seen[i.Name] = true
			titles = append(titles, metricLine(i))
		}
	}
	if len(common) > 0 {
		titles = append(titles, "same for all series: "+labelText(common, nil))
	}
	if len(alike) > 0 {
		titles = append(titles, "in all series "+strings.Join(alike, ", "))
	}
	// One column for the labels where there are many.
	columns := make([]string, len(differ))
	for i, name := range differ {
		if columns[i] = name; slices.Contains(reservedColumns, name) {
			columns[i] = strconv.Quote(name)
		}
	}
	one := len(differ) > maxLabelColumns
	if one {
		columns = []string{"labels"}
	}
	labels := func(m *metricSummary) []string {
		if one {
			return []string{labelText(m.labels, differ)}
		}
		out := make([]string, len(differ))
		for i, name := range differ {
			out[i] = fieldOf(m.labels, name)
		}
		return out
	}
	if q.points == "all" {
		columns = append([]string{"#"}, columns...)
	}
	numbers, histograms := section{fixed: -1}, section{fixed: -1}
	numbers.columns = append(slices.Clone(columns), q.numberColumns(list)...)
	histograms.columns = append(slices.Clone(columns), q.histogramColumns()...)
	for i, m := range list {
		row := labels(m)
		if q.points == "all" {
			row = append([]string{strconv.Itoa(i + 1)}, row...)
		}
		if m.histogram != nil {
			histograms.rows = append(histograms.rows, append(row, q.histogramCells(m)...))
		} else {
			numbers.rows = append(numbers.rows, append(row, q.numberCells(m, list)...))
		}
	}
	var out []section
	for _, s := range []section{numbers, histograms} {
		if len(s.rows) > 0 {
			out = append(out, s)
		}
	}
	out[0].title = strings.Join(titles, "\n")
	return out
}

// reservedColumns are titles that a label's column must not have as they are.
var reservedColumns = []string{"#", "labels", "value", "values", "last", "min", "min_at", "max", "max_at", "avg", "points", "over time", "count", "sum", "p50", "p95", "p99"}

func (q *metricQuery) single(list []*metricSummary) bool {
	return q.instant && !slices.ContainsFunc(list, func(m *metricSummary) bool { return m.n+m.nan > 1 })
}

func (q *metricQuery) numberColumns(list []*metricSummary) []string {
	if q.single(list) {
		return []string{"value"}
	}
	columns := []string{"last", "min", "min_at", "max", "max_at", "avg", "points"}
	if q.points != "none" {
		columns = append(columns, "over time")
	}
	return columns
}

func (q *metricQuery) numberCells(m *metricSummary, list []*metricSummary) []string {
	if q.single(list) {
		v := metricNumber(m.last)
		if m.nan > 0 {
			v = "NaN"
		}
		return []string{v}
	}
	points := strconv.Itoa(m.n)
	if !q.instant && m.n < len(m.values) {
		points += "/" + strconv.Itoa(len(m.values))
	}
	cells := []string{metricNumber(m.last), metricNumber(m.min), q.clock(m.minAt), metricNumber(m.max), q.clock(m.maxAt), metricNumber(m.avg), points}
	if q.points != "none" {
		cells = append(cells, sparkline(m.values))
	}
	return cells
}

// sparkline draws values: infinite ones as the highest or lowest.
func sparkline(values []float64) string {
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			least, most = min(least, v), max(most, v)
		}
	}
	drawn := slices.Clone(values)
	for i, v := range drawn {
		switch {
		case !math.IsInf(v, 0):
		case least > most: // there are no others
			drawn[i] = 0
		case v > 0:
			drawn[i] = most
		default:
			drawn[i] = least
		}
	}
	return spark(drawn)[0]
}

func (q *metricQuery) histogramColumns() []string {
	columns := []string{"count", "sum", "avg", "p50", "p95", "p99"}
	if !q.instant {
		columns = append(columns, "points")
		if q.points != "none" {
			columns = append(columns, "count over time")
		}
	}
	return columns
}

func (q *metricQuery) histogramCells(m *metricSummary) []string {
	h := m.histogram
	cells := []string{metricNumber(h.Count), metricNumber(h.Sum), metricNumber(h.Sum / h.Count)}
	for _, p := range []float64{0.5, 0.95, 0.99} {
		cells = append(cells, metricNumber(histogramQuantile(p, h)))
	}
	if !q.instant {
		points := strconv.Itoa(m.n)
		if m.n < len(m.values) {
			points += "/" + strconv.Itoa(len(m.values))
		}
		if cells = append(cells, points); q.points != "none" {
			cells = append(cells, sparkline(m.values))
		}
	}
	return cells
}

// histogramQuantile estimates a quantile as PromQL's histogram_quantile does
// for native histograms: within a bucket on the wrong side of no zero it grows
// exponentially, else linearly. NaN for an empty histogram.
func histogramQuantile(p float64, h *telemetry.Histogram) float64 {
	if h.Count <= 0 || len(h.Buckets) == 0 {
		return math.NaN()
	}
	rank := p * h.Count
	for i, b := range h.Buckets {
		if rank > b.Count && i < len(h.Buckets)-1 {
			rank -= b.Count
			continue
		}
		part := min(1, rank/b.Count)
		low, high := b.Lower, b.Upper
		switch {
		case math.IsInf(high, 1):
			return low
		case math.IsInf(low, -1):
			return high
		case low < 0 && high > 0 && i == 0:
			low = 0 // the zero bucket, and nothing is negative
		case low < 0 && high > 0 && i == len(h.Buckets)-1:
			high = 0
		}
		switch {
		case low > 0:
			return low * math.Pow(high/low, part)
		case high < 0:
			return low * math.Pow(high/low, part)
		}
		return low + (high-low)*part
	}
	return math.NaN()
}

// pointSection is every point: over time a row per time and a column per
// series, at an instant a row per sample.
func (q *metricQuery) pointSection(list []*metricSummary) section {
	s := section{title: "points: a column per # above", columns: []string{"time"}, fixed: -1}
	if q.instant {
		s.title, s.columns = "points", []string{"#", "time", "value"}
		for i, m := range list {
			for _, p := range m.samples {
				v := p.Value
				if p.Histogram != nil {
					v = p.Histogram.Count
				}
				s.rows = append(s.rows, []string{strconv.Itoa(i + 1), exact(p.Time), metricNumber(v)})
			}
		}
		return s
	}
	for i := range list {
		s.columns = append(s.columns, strconv.Itoa(i+1))
	}
	for slot := range list[0].values {
		row := []string{q.clock(q.first.Add(time.Duration(slot) * q.step))}
		for _, m := range list {
			row = append(row, metricNumber(m.values[slot]))
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// noteShown says what of the result is not shown.
func (q *metricQuery) noteShown(a *answer, res telemetry.MetricResult, list, shown []*metricSummary) {
	if len(shown) < len(list) || res.More {
		of, which := fmt.Sprintf("the %d", len(list)), "those with the largest max"
		if q.sorted {
			which = "the first ones"
		}
		if res.More {
			of, which = fmt.Sprintf("more than %d", len(list)), which+fmt.Sprintf(" of %d", len(list))
		}
		note := fmt.Sprintf("%d of %s series are shown, %s. Aggregate with sum by (label) (…), or use topk(%d, …)", len(shown), of, which, q.limit)
		if q.limit < 200 {
			note += ", or a larger series_limit (at most 200)"
		}
		a.note("%s.", note)
	}
	nan, inf := 0, 0
	for _, m := range shown {
		nan += m.nan
		for _, v := range m.values {
			if math.IsInf(v, 0) {
				inf++
			}
		}
	}
	if nan > 0 {
		a.note("%s NaN, such as 0/0, and not in min, max and avg.", count(nan, "value is", "values are"))
	}
	if inf > 0 {
		a.note("%s infinite: a division by zero.", count(inf, "value is", "values are"))
	}
}

// warnings are what is likely wrong with the expression: the engine's, and
// what the metrics' types tell.
func (q *metricQuery) warnings(res telemetry.MetricResult) []string {
	var out []string
	known, dropsLE := false, false
	for _, s := range q.expr.Selectors {
		dropsLE = dropsLE || s.DropsLE
		i, ok := q.infos[s.Name]
		known = known || ok && i.Type != "unknown"
		for _, w := range q.selectorWarnings(s, i) {
			if !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	for _, w := range res.Warnings {
		if known && strings.Contains(w, "might not be a counter") {
			continue // its type is known
		}
		if dropsLE && strings.Contains(w, "bucket label") {
			continue // said already
		}
		out = append(out, upper(trimDot(strings.TrimPrefix(strings.TrimPrefix(w, "PromQL info: "), "PromQL warning: ")))+".")
	}
	return out
}

// counterFunctions are for counters, gaugeFunctions for gauges.
var (
	counterFunctions = []string{"rate", "increase", "irate"}
	gaugeFunctions   = []string{"delta", "idelta", "deriv", "predict_linear"}
	// rawFunctions make sense of a counter as it is.
	rawFunctions = []string{"resets", "changes", "absent", "absent_over_time", "present_over_time", "count", "group", "timestamp", "count_over_time", "count_values"}
)

func (q *metricQuery) selectorWarnings(s telemetry.MetricSelector, i telemetry.MetricInfo) (out []string) {
	within := func(list []string) (string, bool) {
		for _, f := range s.Within {
			if slices.Contains(list, f) {
				return f, true
			}
		}
		return "", false
	}
	name := plainOrQuoted(s.Name)
	isCounter := i.Type == "counter" || i.Type == "histogram"
	if f, ok := within(counterFunctions); ok && i.Type == "gauge" {
		out = append(out, fmt.Sprintf("%s is a gauge: %s() takes each decrease for a restart and gives nonsense. Use %s itself, delta(), deriv() or avg_over_time().", name, f, name))
	}
	if f, ok := within(gaugeFunctions); ok && isCounter {
		out = append(out, fmt.Sprintf("%s is a %s: %s() goes wrong at restarts. Use rate() or increase().", name, i.Type, f))
	}
	_, counts := within(append(append(slices.Clone(counterFunctions), gaugeFunctions...), rawFunctions...))
	if isCounter && !counts {
		out = append(out, fmt.Sprintf("%s is a %s, which counts since its program started: its value means little by itself. Use rate(%[1]s[5m]) or increase(%[1]s[1h]).", name, i.Type))
	}
	if s.DropsLE && (strings.HasSuffix(s.Name, "_bucket") || isClassic(i)) {
		out = append(out, "histogram_quantile needs the label le, which the aggregation inside drops: write sum by (le) (…) or sum by (le, other) (…).")
	}
	if slices.Contains(s.Within, "histogram_quantile") && strings.HasSuffix(s.Name, "_bucket") && !counts {
		out = append(out, "histogram_quantile over buckets without rate() is over all time since the programs started.")
	}
	if !q.instant && s.Range > 0 && s.Range < q.step && s.Reach <= s.Range+5*time.Minute {
		out = append(out, fmt.Sprintf("The step %s is longer than the range [%s]: what happens between two points is not seen. Use [%[1]s] or a shorter step.", short(q.step), short(s.Range)))
	}
	return out
}

// plainOrQuoted is a name as it may stand in a sentence.
func plainOrQuoted(name string) string {
	if plainToken.MatchString(name) {
		return name
	}
	return quoteArgument(name)
}

var quotedPart = regexp.MustCompile(`"[^"]*"`)

// plainWarning says that a warning may stand outside of the fence: what it
// quotes, and the names in it, are no sentences.
func plainWarning(w string) bool {
	for _, part := range quotedPart.FindAllString(w, -1) {
		if !plainToken.MatchString(strings.Trim(part, `"`)) {
			return false
		}
	}
	return escape(w) == w && len(w) <= maxCellBytes
}
