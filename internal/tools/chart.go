package tools

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/chart"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Arguments of tools that draw charts.
var (
	chartParam = param{name: "chart", kind: "boolean", text: "also draw the values over time, as PNG (without a step: auto)"}
	themeParam = textParam("theme", "of the chart", "light", "dark")
)

// chartTitleBytes bounds the title, which a chart 800 pixels wide has room for.
const chartTitleBytes = 90

// A picture is what a call wants drawn.
type picture struct{ wanted, dark bool }

func (c *call) picture() (p picture, err error) {
	if p.wanted, err = c.args.flag("chart"); err != nil {
		return p, err
	}
	theme, err := c.choice("theme", "light")
	p.dark = theme == "dark"
	return p, err
}

// A curve is a series to draw: a value per step, NaN for none.
type curve struct {
	name   string
	values []float64
	tone   chart.Tone
}

// draw adds the chart to the answer. The first of the list are drawn if they are
// too many, which is said. first is the time of the first value.
func (p picture) draw(a *answer, c chart.Chart, list []curve, first time.Time, step time.Duration) error {
	if !slices.ContainsFunc(list, func(d curve) bool { return slices.ContainsFunc(d.values, finite) }) {
		a.note("There is no chart: there are no values over time to draw.")
		return nil
	}
	c.Dark, c.Step, c.Title = p.dark, step, clip(escape(c.Title), chartTitleBytes)
	for _, d := range list[:min(len(list), chart.MaxSeries)] {
		s := chart.Series{Name: d.name, Tone: d.tone}
		for i, v := range d.values {
			if finite(v) {
				s.Points = append(s.Points, chart.Point{Time: first.Add(time.Duration(i) * step), Value: v})
			}
		}
		c.Series = append(c.Series, s)
	}
	var err error
	if a.image, err = c.PNG(); err != nil {
		return fmt.Errorf("draw a chart: %w", err)
	}
	if len(list) > chart.MaxSeries {
		a.note("The chart has the first %d of the %d rows shown.", chart.MaxSeries, len(list))
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// severityTones are the colors of severities.
var severityTones = map[string]chart.Tone{
	"TRACE": chart.Muted, "DEBUG": chart.Muted, "INFO": chart.Calm, "WARN": chart.Warning, "ERROR": chart.Danger, "FATAL": chart.Critical,
}

// drawMetrics draws the series of a result that are shown.
func (q *metricQuery) drawMetrics(a *answer, shown []*metricSummary) error {
	if !q.picture.wanted {
		return nil
	}
	if q.instant {
		a.note("There is no chart of one instant: leave out time and instant.")
		return nil
	}
	_, differ, _ := hoisted(shown)
	list := make([]curve, len(shown))
	for i, m := range shown {
		var values []string
		for _, name := range differ {
			if v := fieldOf(m.labels, name); v != "" && (name != telemetry.MetricName || len(shown) > 1) {
				values = append(values, v)
			}
		}
		list[i] = curve{name: strings.Join(values, ", "), values: m.values}
		if list[i].name == "" {
			list[i].name = "value"
		}
	}
	unit := q.unit()
	if len(shown) > 0 && shown[0].histogram != nil {
		unit = "" // their counts are drawn
		a.note("The chart has the counts of the histograms; for their quantiles query histogram_quantile(0.95, …).")
	}
	return q.picture.draw(a, chart.Chart{Title: q.expr.Query, Unit: unit, Start: q.first, End: q.last}, list, q.first, q.step)
}

// unit is what the values of the result are in, "" where that is not known:
// arithmetic and rates change it.
func (q *metricQuery) unit() string {
	if strings.ContainsAny(q.expr.Query, "*/^%") || len(q.expr.Selectors) == 0 {
		return ""
	}
	unit := ""
	for i, s := range q.expr.Selectors {
		info := q.infos[s.Name]
		changed := strings.HasSuffix(s.Name, "_count") || info.Type == "histogram" && strings.HasSuffix(s.Name, "_bucket")
		for _, f := range s.Within {
			switch {
			case f == "histogram_quantile" || f == "histogram_avg":
				changed = false
			case slices.Contains(counterFunctions, f) && f != "increase", slices.Contains([]string{"deriv", "changes", "resets", "timestamp", "sgn", "histogram_count", "histogram_fraction"}, f),
				strings.HasPrefix(f, "count"), strings.HasPrefix(f, "absent"), strings.HasPrefix(f, "stdvar"):
				changed = true
			}
		}
		if changed || i > 0 && info.Unit != unit {
			return ""
		}
		unit = info.Unit
	}
	return unit
}
