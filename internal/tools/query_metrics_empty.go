package tools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// newestStep is the step in which the newest sample is looked for: what an
	// instant sees, so that none falls between.
	newestStep = 5 * time.Minute
	// newestWindow is the longest time in which it is looked for: 10,080 steps.
	newestWindow = 35 * 24 * time.Hour
)

// whyEmpty explains a result without series: a name or label that nothing
// visible has, samples that are elsewhere in time, or an expression that
// leaves nothing.
func (q *metricQuery) whyEmpty(ctx context.Context) ([]string, error) {
	var notes []string
	if scope := q.call.caller.DataScope(org.MetricsRead); scope != "" {
		notes = append(notes, "Your data scope: only where "+cell(scope, maxShownQuery, nil)+".")
	}
	reasons := 0
	for i, s := range q.expr.Selectors {
		if i == maxSelectors || slices.ContainsFunc(q.expr.Selectors[:i], func(o telemetry.MetricSelector) bool { return o.String() == s.String() }) {
			continue
		}
		found, err := q.whySelectorEmpty(ctx, s)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return append(notes, "Why could not be looked up just now. list_metrics shows which metrics and labels there are."), nil
		}
		if len(found) > 0 {
			reasons++
			notes = append(notes, found...)
		}
	}
	if reasons > 0 || slices.ContainsFunc(q.expr.Selectors, func(s telemetry.MetricSelector) bool { return s.DropsLE }) {
		return notes, nil // a warning says the latter
	}
	if len(q.expr.Selectors) > 0 {
		notes = append(notes, "Every selector has series with samples in the window; the expression leaves none of them.")
	}
	for _, s := range q.expr.Selectors {
		if slices.Contains(s.Within, "absent") || slices.Contains(s.Within, "absent_over_time") {
			notes = append(notes, "absent() gives nothing where there is a series: it is there.")
			break
		}
	}
	if q.expr.Compares {
		notes = append(notes, "A comparison leaves out series that do not meet it: query without it to see the values.")
	}
	if q.expr.Joins {
		notes = append(notes, "An operator between two vectors keeps only series with the same labels on both sides: aggregate both sides by the same labels, or add on (label).")
	}
	for _, s := range q.expr.Selectors {
		if s.Range > 0 && slices.ContainsFunc(s.Within, func(f string) bool { return slices.Contains(counterFunctions, f) || slices.Contains(gaugeFunctions, f) }) {
			notes = append(notes, fmt.Sprintf("rate() and its like need two samples within the range: [%s] may be too short, try [%s].", short(s.Range), short(4*s.Range)))
			break
		}
	}
	return notes, nil
}

// whySelectorEmpty returns notes about a selector that finds nothing in the
// window, none where it finds something.
func (q *metricQuery) whySelectorEmpty(ctx context.Context, s telemetry.MetricSelector) ([]string, error) {
	c := q.call
	newest, err := c.newestSample(ctx, s, window{start: q.first.Add(-s.Reach), end: q.last})
	if err != nil || !newest.IsZero() {
		return nil, err
	}
	if s.Name != "" {
		if notes, err := c.unknownMetric(ctx, s.Name); err != nil || len(notes) > 0 {
			return notes, err
		}
	}
	if notes, err := c.unknownLabels(ctx, s); err != nil || len(notes) > 0 {
		return notes, err
	}
	newest, err = c.newestSample(ctx, s, c.lastDays())
	name := shownSelector(s)
	switch {
	case err != nil:
		return nil, err
	case newest.IsZero():
		return []string{fmt.Sprintf("%s has no samples in the last 7 days that you can see.", name)}, nil
	case newest.Before(q.first) && q.instant:
		return []string{fmt.Sprintf("%s has no samples right before %s; the last one was at %s. Call query_metrics with time=%q.", name, exact(q.last), exact(newest), exact(newest))}, nil
	case newest.Before(q.first):
		return []string{fmt.Sprintf("%s has no samples in the window; the last one was at %s. Call query_metrics with start=%q and end=%q.", name, exact(newest), exact(newest.Add(-time.Hour)), exact(newest.Add(time.Second)))}, nil
	}
	return []string{fmt.Sprintf("%s has no samples in the window; the newest one is of %s.", name, exact(newest))}, nil
}

// newestSample returns when the newest sample of a selector in the window was,
// zero where there is none.
func (c *call) newestSample(ctx context.Context, s telemetry.MetricSelector, w window) (time.Time, error) {
	if first := w.end.Add(-newestWindow); w.start.Before(first) {
		w.start = first
	}
	step := newestStep
	if most := w.end.Sub(w.start); step > most {
		step = max(most, time.Second)
	}
	// The last point lies on the window's end.
	start := w.end.Add(-w.end.Sub(w.start) / step * step)
	res, err := c.askMetrics(ctx, "looking for the newest sample", telemetry.MetricQuery{Expr: "max(timestamp(" + s.String() + "))", Start: start, End: w.end, Step: step}, 1)
	if err != nil || len(res.Series) == 0 {
		return time.Time{}, err
	}
	points := res.Series[0].Points
	newest := time.UnixMilli(int64(points[len(points)-1].Value * 1000)).UTC()
	if newest.Before(w.start) {
		return time.Time{}, nil
	}
	return newest, nil
}

// unknownMetric returns notes about a name that no visible series of the last
// days has, with the nearest names that some have.
func (c *call) unknownMetric(ctx context.Context, name string) ([]string, error) {
	have, err := c.labelValues(ctx, telemetry.MetricName, c.lastDays())
	if err != nil || slices.Contains(have, name) {
		return nil, err
	}
	if len(have) == 0 {
		return []string{noMetricsAtAll}, nil
	}
	if slices.Contains(have, name+"_bucket") {
		return []string{fmt.Sprintf("%s is a classic histogram: its series are %[1]s_bucket, %[1]s_count and %[1]s_sum. Write histogram_quantile(0.95, sum by (le) (rate(%[1]s_bucket[5m]))).", plainOrQuoted(name))}, nil
	}
	if base, ok := strings.CutSuffix(name, "_bucket"); ok && slices.Contains(have, base) {
		return []string{fmt.Sprintf("There are no series %s; %s is a native histogram: write histogram_quantile(0.95, sum (rate(%[2]s[5m]))).", quoteArgument(name), plainOrQuoted(base))}, nil
	}
	// Suffixes that the senders' names do not have make names alike.
	note := fmt.Sprintf("There is no metric %s that you can see in the last 7 days.", quoteArgument(name))
	near := nearest(name, have)
	if len(near) == 0 {
		near = nearest(telemetry.LabelName(name), have)
	}
	if len(near) > 0 {
		return []string{note + " Nearest names: " + names(near) + "."}, nil
	}
	return []string{note + " list_metrics with search shows which there are."}, nil
}

// unknownLabels returns notes about conditions that no visible series of the
// metric in the last days meets.
func (c *call) unknownLabels(ctx context.Context, s telemetry.MetricSelector) ([]string, error) {
	w := c.lastDays()
	all := telemetry.MetricSelector{Name: s.Name}.String()
	if s.Name == "" {
		all = telemetry.MetricSelector{Matchers: []telemetry.MetricMatcher{{Label: telemetry.MetricName, Op: "!=", Value: ""}}}.String()
	}
	var notes []string
	for i, m := range s.Matchers {
		if i == maxSelectors {
			break
		}
		one := telemetry.MetricSelector{Name: s.Name, Matchers: []telemetry.MetricMatcher{m}}
		if s.Name == "" {
			one.Matchers = append(one.Matchers, telemetry.MetricMatcher{Label: telemetry.MetricName, Op: "!=", Value: ""})
		}
		found, _, err := c.metricSeries(ctx, "looking for series", w, 1, one.String())
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			continue
		}
		note, err := c.unknownLabel(ctx, m, w, all, s.Name)
		if err != nil {
			return nil, err
		}
		notes = append(notes, note)
	}
	if len(notes) > 0 || len(s.Matchers) < 2 {
		return notes, nil
	}
	found, _, err := c.metricSeries(ctx, "looking for series", w, 1, s.String())
	if err != nil || len(found) > 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("Each condition of %s is met by some series, but no series meets all of them. list_metrics with metric shows which values there are.", shownSelector(s))}, nil
}

// unknownLabel explains a condition that no series meets.
func (c *call) unknownLabel(ctx context.Context, m telemetry.MetricMatcher, w window, selector, metric string) (string, error) {
	of := "No visible series"
	if metric != "" {
		of = "No visible series of " + plainOrQuoted(metric)
	}
	if m.Label != telemetry.MetricName {
		have, err := c.labelNames(ctx, w, selector)
		if err != nil {
			return "", err
		}
		if !slices.Contains(have, m.Label) {
			note := fmt.Sprintf("%s has a label %s.", of, quoteArgument(m.Label))
			if near := nearest(m.Label, have); len(near) > 0 {
				return note + " Nearest names: " + names(near) + ".", nil
			}
			return note + " Labels: " + names(have[:min(len(have), 20)]) + ".", nil
		}
	}
	have, err := c.labelValues(ctx, m.Label, w, selector)
	if err != nil {
		return "", err
	}
	note := fmt.Sprintf("%s meets %s.", of, cell(m.String(), maxQuoted, nil))
	if near := nearest(m.Value, have); len(near) > 0 {
		return note + " Nearest values: " + names(near) + ".", nil
	}
	return note + " Some values: " + names(have[:min(len(have), 10)]) + ".", nil
}

// shownSelector writes a selector as people do.
func shownSelector(s telemetry.MetricSelector) string {
	text := s.String()
	if plainMetric.MatchString(s.Name) {
		conditions := telemetry.MetricSelector{Matchers: s.Matchers}.String()
		text = s.Name + strings.TrimSuffix(conditions, "{}")
	}
	return cell(text, maxQuoted, nil)
}
