package promremote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

// maxWarnings bounds what an answer says beside its series.
const maxWarnings = 10

// QueryMetrics implements telemetry.Metrics.
func (s *Store) QueryMetrics(ctx context.Context, view telemetry.View, q telemetry.MetricQuery, b telemetry.Budget) (telemetry.MetricResult, error) {
	expr, err := prom.CheckQuery(s.parser, q)
	if err != nil {
		return telemetry.MetricResult{}, err
	}
	b = prom.WithDefaults(b, 0)
	canonical := expr.String()
	result := telemetry.MetricResult{Query: canonical}
	err = s.read(ctx, view, b, func(ctx context.Context, r reading) error {
		if w := r.scope.Warning(); w != "" {
			result.Warnings = append(result.Warnings, w)
		}
		if text, ok := s.handOver(r, view, q, expr); ok {
			err := s.evaluateThere(ctx, r, q, text, &result)
			if !errors.Is(err, errRejected) {
				return err
			}
			// The engine here says what is wrong, in words about what is visible.
			result = telemetry.MetricResult{Query: canonical}
		}
		return prom.Evaluate(ctx, s.cfg.Logger, s.parser, r.scope.Over(s.raw(r)), q, b, &result)
	})
	if err != nil {
		return telemetry.MetricResult{Query: canonical}, err
	}
	return result, nil
}

// evaluateThere has the server answer an expression.
func (s *Store) evaluateThere(ctx context.Context, r reading, q telemetry.MetricQuery, text string, result *telemetry.MetricResult) error {
	form := url.Values{"query": {text}, "timeout": {r.budget.Time.String()}, "lookback_delta": {prom.Lookback.String()}}
	path := "/api/v1/query"
	if q.Start.Equal(q.End) {
		form.Set("time", seconds(q.End.UnixMilli()))
	} else {
		path = "/api/v1/query_range"
		form.Set("start", seconds(q.Start.UnixMilli()))
		form.Set("end", seconds(q.End.UnixMilli()))
		form.Set("step", strconv.FormatFloat(q.Step.Seconds(), 'f', -1, 64))
	}
	form.Set("stats", "true")
	var data struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
		Stats      struct {
			Samples struct {
				Total int64 `json:"totalQueryableSamples"`
			} `json:"samples"`
		} `json:"stats"`
	}
	a, err := s.get(ctx, r, path, form, &data)
	if err != nil {
		return err
	}
	switch data.ResultType {
	case "scalar":
		var p pair
		if json.Unmarshal(data.Result, &p) != nil {
			return telemetry.ErrUnavailable
		}
		t, f, err := p.number()
		if err != nil {
			return err
		}
		result.Series = []telemetry.Series{{Points: []telemetry.Point{{Time: time.UnixMilli(t).UTC(), Value: f}}}}
	case "vector", "matrix":
		var all []vectorSeries
		if json.Unmarshal(data.Result, &all) != nil {
			return telemetry.ErrUnavailable
		}
		if result.Series, result.More, err = s.points(all, r.budget); err != nil {
			return err
		}
	}
	result.Samples = data.Stats.Samples.Total
	result.Warnings = append(result.Warnings, remarks(a)...)
	return nil
}

// points decodes series, with at most the budget's rows and samples.
func (s *Store) points(all []vectorSeries, b telemetry.Budget) (series []telemetry.Series, more bool, err error) {
	builder, left := labels.NewBuilder(labels.EmptyLabels()), prom.MaxSamples(b)
	for i, in := range all {
		if i == b.Rows {
			return series, true, nil
		}
		labelsOf(builder, in.Metric)
		if label := s.cfg.Tenancy.Label; label != "" {
			builder.Del(label)
		}
		one := telemetry.Series{Labels: prom.Fields(builder.Labels())}
		numbers, histograms := in.Values, in.Histograms
		if in.Value != nil {
			numbers = append(numbers, *in.Value)
		}
		if in.Histogram != nil {
			histograms = append(histograms, *in.Histogram)
		}
		if left -= len(numbers) + len(histograms); left < 0 {
			return nil, false, telemetry.ErrTooExpensive
		}
		one.Points = make([]telemetry.Point, 0, len(numbers)+len(histograms))
		for _, p := range numbers {
			t, f, err := p.number()
			if err != nil {
				return nil, false, err
			}
			one.Points = append(one.Points, telemetry.Point{Time: time.UnixMilli(t).UTC(), Value: f})
		}
		for _, p := range histograms {
			t, h, err := p.histogram()
			if err != nil {
				return nil, false, err
			}
			one.Points = append(one.Points, telemetry.Point{Time: time.UnixMilli(t).UTC(), Histogram: h})
		}
		slices.SortStableFunc(one.Points, func(a, b telemetry.Point) int { return a.Time.Compare(b.Time) })
		series = append(series, one)
	}
	return series, false, nil
}

// place is where in the text a remark belongs: in ours, which nobody sees.
var place = regexp.MustCompile(` \(\d+:\d+\)$`)

// remarks are the engine's remarks on an expression. Others, such as the
// addresses of storages that did not answer, are told in a word.
func remarks(a answer) (out []string) {
	partial := false
	for _, text := range slices.Concat(a.Warnings, a.Infos) {
		if !strings.HasPrefix(text, "PromQL ") {
			partial = true
		} else if len(out) < maxWarnings {
			out = append(out, place.ReplaceAllString(text, ""))
		}
	}
	if partial {
		out = append(out, "a part of the metrics could not be read")
	}
	return out
}

// each calls do with the labels of every selected series until it returns
// false, with some more than once where several selectors match.
func (s *Store) each(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget, do func(reading, labels.Labels) bool) error {
	sets, err := prom.ParseSelectors(s.parser, q)
	if err != nil {
		return err
	}
	return s.read(ctx, view, b, func(ctx context.Context, r reading) error {
		for _, of := range sets {
			found, err := s.found(ctx, r, of, q)
			if err != nil {
				return err
			}
			for _, l := range found {
				if !do(r, l) {
					return nil
				}
			}
		}
		return nil
	})
}

// found returns the series that a selector finds, sorted.
func (s *Store) found(ctx context.Context, r reading, of []*labels.Matcher, q telemetry.SeriesQuery) ([]labels.Labels, error) {
	start, end := q.Start.UnixMilli(), q.End.UnixMilli()
	matchers, ok := s.matchers(r, of)
	if !ok || end < r.scope.Since() {
		return nil, nil
	}
	var all []map[string]string
	var err error
	if r.scope.Since() == math.MinInt64 {
		_, err = s.get(ctx, r, "/api/v1/series", url.Values{"match[]": {selectorText(matchers)}, "start": {seconds(start)}, "end": {seconds(end)}}, &all)
	} else {
		// The index knows whole blocks or days: samples tell.
		start = max(start, r.scope.Since())
		var data vectorData
		_, err = s.get(ctx, r, "/api/v1/query", url.Values{
			"query": {fmt.Sprintf("last_over_time(%s[%dms])", selectorText(matchers), end-start+1)}, "time": {seconds(end)}, "nocache": {"1"},
		}, &data)
		for _, v := range data.Result {
			all = append(all, v.Metric)
		}
	}
	if err != nil {
		return nil, err
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	out := make([]labels.Labels, 0, len(all))
	for _, m := range all {
		l, err := s.own(r, labelsOf(b, m))
		if err != nil {
			return nil, err
		}
		if r.scope.Match(l) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, labels.Compare)
	return out, nil
}

// Series implements telemetry.Metrics.
func (s *Store) Series(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) (series [][]telemetry.Field, more bool, err error) {
	b = prom.WithDefaults(b, q.Limit)
	seen := make(map[string]bool)
	err = s.each(ctx, view, q, b, func(_ reading, l labels.Labels) bool {
		key := string(l.Bytes(nil))
		if seen[key] {
			return true
		}
		if more = len(series) == b.Rows; more {
			return false
		}
		seen[key] = true
		series = append(series, prom.Fields(l))
		return true
	})
	return series, more, err
}

// distinct collects the different texts that of gives for each series.
func (s *Store) distinct(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget, of func(labels.Labels, func(string))) (texts []string, more bool, err error) {
	seen := make(map[string]bool)
	err = s.each(ctx, view, q, b, func(_ reading, l labels.Labels) bool {
		of(l, func(text string) {
			switch {
			case text == "" || seen[text]:
			case len(texts) == b.Rows:
				more = true
			default:
				seen[text] = true
				texts = append(texts, text)
			}
		})
		return !more
	})
	slices.Sort(texts)
	return texts, more, err
}

// listed asks for a list of names or values where all of the tenant's series
// are visible. asked is false where not.
func (s *Store) listed(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget, path string) (texts []string, more, asked bool, err error) {
	sets, err := prom.ParseSelectors(s.parser, q)
	if err != nil {
		return nil, false, true, err
	}
	err = s.read(ctx, view, b, func(ctx context.Context, r reading) error {
		if !r.scope.Whole() {
			return nil
		}
		asked = true
		form := url.Values{
			"start": {seconds(q.Start.UnixMilli())}, "end": {seconds(q.End.UnixMilli())},
			"limit": {strconv.Itoa(b.Rows + 2)}, // one more, and the tenant's label
		}
		for _, of := range sets {
			if matchers, ok := s.matchers(r, of); ok {
				form.Add("match[]", selectorText(matchers))
			}
		}
		if len(form["match[]"]) == 0 {
			return nil
		}
		if strings.HasSuffix(path, "/values") { // the only one without a form
			path, form = path+"?"+form.Encode(), nil
		}
		_, err := s.get(ctx, r, path, form, &texts)
		return err
	})
	if label := s.cfg.Tenancy.Label; label != "" && path == pathLabels {
		texts = slices.DeleteFunc(texts, func(t string) bool { return t == label })
	}
	slices.Sort(texts)
	if more = len(texts) > b.Rows; more {
		texts = texts[:b.Rows]
	}
	return texts, more, asked, err
}

const pathLabels = "/api/v1/labels"

// LabelNames implements telemetry.Metrics.
func (s *Store) LabelNames(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	b = prom.WithDefaults(b, q.Limit)
	if names, more, asked, err := s.listed(ctx, view, q, b, pathLabels); asked || err != nil {
		return names, more, err
	}
	return s.distinct(ctx, view, q, b, func(l labels.Labels, add func(string)) {
		l.Range(func(l labels.Label) { add(l.Name) })
	})
}

// LabelValues implements telemetry.Metrics.
func (s *Store) LabelValues(ctx context.Context, view telemetry.View, name string, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	b = prom.WithDefaults(b, q.Limit)
	// Other names cannot stand in a path as they are.
	if model.LegacyValidation.IsValidLabelName(name) && name != s.cfg.Tenancy.Label {
		if values, more, asked, err := s.listed(ctx, view, q, b, "/api/v1/label/"+name+"/values"); asked || err != nil {
			return values, more, err
		}
	}
	return s.distinct(ctx, view, q, b, func(l labels.Labels, add func(string)) { add(l.Get(name)) })
}

// MetricInfos implements telemetry.Metrics. Words about a metric are shown
// only to a view without a filter, and only where the server keeps them by
// tenant: nothing else says whose they are.
func (s *Store) MetricInfos(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]telemetry.MetricInfo, bool, error) {
	b = prom.WithDefaults(b, q.Limit)
	said := make(map[string][]struct{ Type, Help, Unit string })
	if s.cfg.Tenancy.Label == "" {
		err := s.read(ctx, view, b, func(ctx context.Context, r reading) error {
			_, err := s.get(ctx, r, "/api/v1/metadata?limit_per_metric=1", nil, &said)
			return err
		})
		if err != nil {
			return nil, false, err
		}
	}
	return prom.CollectInfos(b, func(do func(labels.Labels) bool) error {
		return s.each(ctx, view, q, b, func(_ reading, l labels.Labels) bool { return do(l) })
	}, func(series string) telemetry.MetricInfo {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			name, ok := strings.CutSuffix(series, suffix)
			if !ok || len(said[name]) == 0 {
				continue
			}
			info := telemetry.MetricInfo{Name: name, Type: said[name][0].Type}
			if view.Filter() == nil {
				info.Unit, info.Help = said[name][0].Unit, said[name][0].Help
			}
			return info
		}
		return telemetry.MetricInfo{Name: series, Type: "unknown"}
	})
}

// Exemplars implements telemetry.Metrics: the newest ones of each series.
func (s *Store) Exemplars(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) (exemplars []telemetry.Exemplar, more bool, err error) {
	sets, err := prom.ParseSelectors(s.parser, q)
	if err != nil {
		return nil, false, err
	}
	b = prom.WithDefaults(b, q.Limit)
	err = s.read(ctx, view, b, func(ctx context.Context, r reading) error {
		start, end := max(q.Start.UnixMilli(), r.scope.Since()), q.End.UnixMilli()
		var texts []string
		for _, of := range sets {
			if matchers, ok := s.matchers(r, of); ok {
				texts = append(texts, selectorText(matchers))
			}
		}
		if len(texts) == 0 || end < start {
			return nil
		}
		var found []struct {
			SeriesLabels map[string]string
			Exemplars    []struct {
				Labels    map[string]string
				Value     string
				Timestamp float64
			}
		}
		_, err := s.get(ctx, r, "/api/v1/query_exemplars", url.Values{
			"query": {strings.Join(texts, " or ")}, "start": {seconds(start)}, "end": {seconds(end)},
		}, &found)
		if err != nil {
			return err
		}
		builder := labels.NewBuilder(labels.EmptyLabels())
		for _, f := range found {
			l, err := s.own(r, labelsOf(builder, f.SeriesLabels))
			if err != nil {
				return err
			}
			if !r.scope.Match(l) {
				continue
			}
			for _, e := range slices.Backward(f.Exemplars) {
				v, err := strconv.ParseFloat(e.Value, 64)
				if err != nil {
					return telemetry.ErrUnavailable
				}
				t := int64(math.Round(e.Timestamp * 1000))
				if math.IsNaN(v) || t < start || t > end {
					continue
				}
				if more = len(exemplars) == b.Rows; more {
					return nil
				}
				exemplars = append(exemplars, telemetry.Exemplar{
					SeriesLabels: prom.Fields(l), Labels: r.scope.Shown(prom.Fields(labels.FromMap(e.Labels))), Value: v, Time: time.UnixMilli(t).UTC(),
				})
			}
		}
		return nil
	})
	return exemplars, more, err
}
