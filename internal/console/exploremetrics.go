package console

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/chart"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// maxMetricSeries is how many series a page lists; the chart shows the
	// first chart.MaxSeries of them.
	maxMetricSeries = 100
	// metricSteps is about how many points a series has.
	metricSteps = 240
	// maxMetricNames is how many metrics are listed.
	maxMetricNames = 500
	// metricChartHeight is in pixels.
	metricChartHeight = 380
)

// metricsPage is one request for the page Metrics.
type metricsPage struct {
	*explorer
	web.ExploreMetricsPage
}

func (c *Console) exploreMetrics(w http.ResponseWriter, r *http.Request, m manager) error {
	e, err := c.explorer(r, m, "/metrics", org.MetricsRead, defaultExploreRange)
	if err != nil {
		return err
	}
	p := &metricsPage{explorer: e}
	if p.Unit = strings.TrimSpace(e.form.Get("unit")); len(p.Unit) > 30 {
		p.Unit = clipped(p.Unit[:30])
	}
	if !e.stop() {
		read := p.evaluate
		if e.page.Query == "" {
			read = p.list
		}
		if err := p.explain("Metrics", read()); err != nil {
			return err
		}
	}
	p.ExploreMetricsPage.Explore = e.page
	return c.Site.Render(w, e.status, p.ExploreMetricsPage)
}

// metricStep is a round step that gives about metricSteps points.
func metricStep(length time.Duration) time.Duration {
	for _, s := range []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour,
	} {
		if length <= s*metricSteps {
			return s
		}
	}
	return (length/metricSteps/time.Hour + 1) * time.Hour
}

func (p *metricsPage) evaluate() error {
	step := metricStep(p.page.End.Sub(p.page.Start))
	start := p.page.Start.Truncate(step)
	if start.Before(p.page.Start) {
		start = start.Add(step)
	}
	if start.After(p.page.End) {
		start = p.page.Start
	}
	res, err := p.reader.Metrics(p.r.Context(), telemetry.MetricQuery{Expr: p.page.Query, Start: start, End: p.page.End, Step: step}, maxMetricSeries)
	if err != nil {
		return err
	}
	for _, w := range res.Warnings {
		p.page.Notes = append(p.page.Notes, clipped(w))
	}
	if len(res.Series) == 0 {
		p.page.Empty = &web.ExploreEmpty{What: "The expression has no value in this time.", Why: []string{
			"A metric of that name with those labels has no sample that you can see here, or a function needs a longer range than there are samples.",
		}, Links: []web.Link{{Text: "Which metrics there are", URL: p.link("/metrics")}}}
		return nil
	}
	c := chart.Chart{Title: p.page.Query, Unit: p.Unit, Start: p.page.Start, End: p.page.End, Step: step, Width: exploreChartWidth, Height: metricChartHeight}
	table := &web.ExploreTable{Caption: "Series", Columns: []string{"Series", "Last", "Least", "Most", "Average", "Points"}}
	histograms := false
	common := commonLabels(res.Series)
	for _, s := range res.Series {
		name := seriesName(s.Labels)
		series := chart.Series{Name: name}
		if own := slices.DeleteFunc(slices.Clone(s.Labels), func(l telemetry.Field) bool { return slices.Contains(common, l) }); len(own) > 0 {
			series.Name = strings.Trim(seriesName(own), "{}")
		}
		least, most, sum, last := math.Inf(1), math.Inf(-1), 0.0, math.NaN()
		for _, pt := range s.Points {
			if pt.Histogram != nil {
				histograms = true
				continue
			}
			if math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) {
				continue
			}
			series.Points = append(series.Points, chart.Point{Time: pt.Time, Value: pt.Value})
			least, most, last = min(least, pt.Value), max(most, pt.Value), pt.Value
			sum += pt.Value
		}
		if len(c.Series) < chart.MaxSeries {
			c.Series = append(c.Series, series)
		}
		row := []string{clipped(name)}
		for _, v := range []float64{last, least, most, sum / float64(len(series.Points))} {
			row = append(row, chart.FormatValue(v, p.Unit))
		}
		table.Rows = append(table.Rows, web.ExploreRow{Cells: append(row, strconv.Itoa(len(s.Points)))})
	}
	if histograms {
		p.page.Notes = append(p.page.Notes, "Some series are histograms, which have no single value to draw: use histogram_quantile(0.99, …), histogram_avg(…) or histogram_count(…).")
	}
	p.Table = table
	p.Summary = fmt.Sprintf("%s, a point every %s.", are(len(res.Series), "series", "series"), shortDuration(step))
	if len(res.Series) > chart.MaxSeries {
		p.Summary = fmt.Sprintf("%d series, of which the first %d are drawn, a point every %s. Fewer say more: add sum by (…), topk(5, …) or a label.", len(res.Series), chart.MaxSeries, shortDuration(step))
	}
	if res.More {
		p.page.Notes = append(p.page.Notes, fmt.Sprintf("There are more than %d series; the others are left out.", maxMetricSeries))
	}
	p.Chart, err = drawChart(c, fmt.Sprintf("Line chart over time of %s. The table below has the last, least, most and average value of each.", are(len(c.Series), "series", "series")))
	return err
}

// commonLabels are those that all of several series have: a legend need not
// repeat them.
func commonLabels(series []telemetry.Series) []telemetry.Field {
	if len(series) < 2 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(series[0].Labels), func(l telemetry.Field) bool {
		return slices.ContainsFunc(series, func(s telemetry.Series) bool { return !slices.Contains(s.Labels, l) })
	})
}

// seriesName writes labels as PromQL does.
func seriesName(labels []telemetry.Field) string {
	var name string
	var parts []string
	for _, l := range labels {
		if l.Name == telemetry.MetricName {
			name = l.Value
			continue
		}
		parts = append(parts, l.Name+"="+strconv.Quote(l.Value))
	}
	if len(parts) == 0 {
		return cmp.Or(name, "value")
	}
	return name + "{" + strings.Join(parts, ", ") + "}"
}

// list shows which metrics there are.
func (p *metricsPage) list() error {
	infos, more, err := p.reader.MetricInfos(p.r.Context(), telemetry.SeriesQuery{Start: p.page.Start, End: p.page.End, Limit: maxMetricNames})
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		p.page.Empty = &web.ExploreEmpty{What: "There are no metrics in this time that you can see.", Why: []string{
			"Take a longer time. If there should be some, ask an administrator of the team whether anything sends them, and look under Your access which of them you see.",
		}}
		return nil
	}
	slices.SortFunc(infos, func(a, b telemetry.MetricInfo) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range infos {
		query, unit := usualQuery(m)
		p.Metrics = append(p.Metrics, web.ExploreMetric{
			Name: m.Name, Type: m.Type, Unit: clipped(m.Unit), Help: clipped(m.Help), URL: p.link("/metrics", "query", query, "unit", unit),
		})
	}
	p.Summary = fmt.Sprintf("%s. Each leads to a query to begin with.", are(len(infos), "metric", "metrics"))
	if more {
		p.Summary = fmt.Sprintf("The first %d metrics. Each leads to a query to begin with.", len(infos))
	}
	return nil
}

// usualQuery is what is asked first about a metric, and its unit.
func usualQuery(m telemetry.MetricInfo) (query, unit string) {
	name := m.Name
	if !plainMetric(name) {
		name = "{" + strconv.Quote(name) + "}"
	}
	service := telemetry.LabelName(telemetry.FieldService)
	switch m.Type {
	case "counter":
		return fmt.Sprintf("sum by (%s) (rate(%s[5m]))", service, name), ""
	case "histogram":
		if plainMetric(name) {
			return fmt.Sprintf("histogram_quantile(0.99, sum by (le, %s) (rate(%s_bucket[5m])))", service, strings.TrimSuffix(name, "_bucket")), m.Unit
		}
	}
	return name, m.Unit
}

func plainMetric(name string) bool {
	for i, r := range name {
		if r != '_' && r != ':' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
