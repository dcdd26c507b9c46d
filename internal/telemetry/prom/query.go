package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/orielhq/oriel/internal/telemetry"
)

// What a query may cost where its budget does not say.
const (
	defaultRows  = 1000
	maxRows      = 50_000
	defaultBytes = 80 << 20 // 5 million samples
	maxBytes     = 800 << 20
	defaultTime  = 30 * time.Second
	// bytesPerSample is what the engine holds for one.
	bytesPerSample = 16
	// maxSteps bounds the points of one series in an answer.
	maxSteps = 11_000
	// maxExprBytes and maxExprDepth bound an expression's text: the parser
	// and the engine recurse.
	maxExprBytes = 16 << 10
	maxExprDepth = 100
	// lookback is how old the newest sample of an instant may be.
	lookback = 5 * time.Minute
	// subqueryStep is the step of a subquery that names none.
	subqueryStep = time.Minute
)

func withDefaults(b telemetry.Budget, limit int) telemetry.Budget {
	if b.Rows <= 0 {
		b.Rows = defaultRows
	}
	if limit > 0 {
		b.Rows = min(b.Rows, limit)
	}
	b.Rows = min(b.Rows, maxRows)
	if b.Bytes <= 0 {
		b.Bytes = defaultBytes
	}
	b.Bytes = min(b.Bytes, maxBytes)
	if b.Time <= 0 {
		b.Time = defaultTime
	}
	return b
}

// read calls do with what the view leaves of the tenant's database. Without
// one, or for a zero view, do is not called.
func (s *Store) read(ctx context.Context, view telemetry.View, b telemetry.Budget, do func(context.Context, *database, visible) error) error {
	tenant, ok := view.Tenant()
	if !ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sc, err := newScope(view, s.cfg.Now(), s.cfg.Retention)
	if err != nil {
		return fmt.Errorf("apply the data scope: %w", err)
	}
	queue := time.NewTimer(queueTime)
	defer queue.Stop()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-queue.C:
		return fmt.Errorf("%w: too many queries are running", telemetry.ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
	db, err := s.acquire(tenant, false)
	if errors.Is(err, errNoMetrics) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.release(tenant, db)
	deadline, cancel := context.WithTimeout(ctx, b.Time)
	defer cancel()
	return readError(ctx, do(deadline, db, visible{db, sc}))
}

// readError translates what the storage and the engine say.
func readError(caller context.Context, err error) error {
	if err == nil {
		return nil
	}
	if caller.Err() != nil {
		return caller.Err()
	}
	if _, ok := errors.AsType[*telemetry.QueryError](err); ok {
		return err
	}
	if _, ok := errors.AsType[promql.ErrTooManySamples](err); ok {
		return telemetry.ErrTooExpensive
	}
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return telemetry.ErrTooExpensive
	}
	if _, ok := errors.AsType[promql.ErrStorage](err); ok {
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
	}
	if _, ok := errors.AsType[promql.ErrQueryCanceled](err); ok {
		return telemetry.ErrTooExpensive
	}
	// The engine's other errors are about the expression: many-to-many
	// matches, series that become the same, …
	return &telemetry.QueryError{Problem: "the expression cannot be evaluated: " + err.Error(), Offset: -1}
}

// parse parses an expression within limits.
func parse(p parser.Parser, text string) (parser.Expr, error) {
	if len(text) > maxExprBytes || depth(text) > maxExprDepth {
		return nil, &telemetry.QueryError{Problem: fmt.Sprintf("the expression is longer than %d bytes or nested deeper than %d levels", maxExprBytes, maxExprDepth), Offset: -1}
	}
	expr, err := p.ParseExpr(text)
	if err != nil {
		return nil, syntaxError(err)
	}
	return expr, nil
}

// depth is how deep brackets nest, at most: those in strings count too.
func depth(text string) (deepest int) {
	now := 0
	for _, c := range text {
		switch c {
		case '(', '[', '{', '-', '+':
			// A sign is a level of its own where many follow each other.
			now++
		case ')', ']', '}':
			now--
		case ' ', '\t', '\n':
		default:
			continue
		}
		deepest = max(deepest, now)
	}
	return deepest
}

func syntaxError(err error) error {
	q := &telemetry.QueryError{Problem: "the expression does not parse: " + err.Error(), Offset: -1}
	if all, ok := errors.AsType[parser.ParseErrors](err); ok && len(all) > 0 {
		q.Problem = "the expression does not parse: " + all[0].Err.Error()
		q.Offset = int(all[0].PositionRange.Start)
	}
	return q
}

// QueryMetrics implements telemetry.Metrics.
func (s *Store) QueryMetrics(ctx context.Context, view telemetry.View, q telemetry.MetricQuery, b telemetry.Budget) (telemetry.MetricResult, error) {
	expr, err := checkQuery(s.parser, q)
	if err != nil {
		return telemetry.MetricResult{}, err
	}
	b = withDefaults(b, 0)
	result := telemetry.MetricResult{Query: expr.String()}
	err = s.read(ctx, view, b, func(ctx context.Context, _ *database, v visible) error {
		if v.scope.warning != "" {
			result.Warnings = append(result.Warnings, v.scope.warning)
		}
		return evaluate(ctx, s.cfg.Logger, s.parser, v, q, b, &result)
	})
	return result, err
}

// checkQuery parses a query's expression, and checks its times.
func checkQuery(p parser.Parser, q telemetry.MetricQuery) (parser.Expr, error) {
	expr, err := parse(p, q.Expr)
	if err != nil {
		return nil, err
	}
	instant := q.Start.Equal(q.End)
	switch {
	case q.Start.IsZero() || q.End.Before(q.Start):
		return nil, &telemetry.QueryError{Problem: "the start of the time range must not be after its end", Offset: -1}
	case !instant && q.Step < time.Millisecond:
		return nil, &telemetry.QueryError{Problem: "a time range needs a step of at least 1ms", Offset: -1}
	case !instant && q.End.Sub(q.Start)/q.Step > maxSteps:
		return nil, &telemetry.QueryError{Problem: fmt.Sprintf("the range has more than %d steps; use a larger step", maxSteps), Offset: -1}
	case !instant && expr.Type() != parser.ValueTypeVector && expr.Type() != parser.ValueTypeScalar:
		return nil, &telemetry.QueryError{Problem: "over a time range the expression must give a vector or a scalar; wrap a range selector like x[5m] in a function such as rate()", Offset: -1}
	}
	return expr, nil
}

// evaluate answers result.Query from what can be read.
func evaluate(ctx context.Context, log *slog.Logger, p parser.Parser, from storage.Queryable, q telemetry.MetricQuery, b telemetry.Budget, result *telemetry.MetricResult) error {
	engine := newEngine(log, p, b)
	var query promql.Query
	var err error
	if q.Start.Equal(q.End) {
		query, err = engine.NewInstantQuery(ctx, from, nil, result.Query, q.End)
	} else {
		query, err = engine.NewRangeQuery(ctx, from, nil, result.Query, q.Start, q.End, q.Step)
	}
	if err != nil {
		return err
	}
	defer query.Close()
	r := query.Exec(ctx)
	if r.Err != nil {
		return r.Err
	}
	result.Series, result.More = convert(r.Value, b.Rows)
	warnings, notes := r.Warnings.AsStrings(result.Query, 5, 5)
	result.Warnings = append(append(result.Warnings, warnings...), notes...)
	if stats := query.Stats(); stats != nil && stats.Samples != nil {
		result.Samples = stats.Samples.TotalSamples
	}
	return nil
}

// convert copies a result, whose memory the engine uses again.
func convert(value parser.Value, limit int) (series []telemetry.Series, more bool) {
	switch v := value.(type) {
	case promql.Matrix:
		for i, s := range v {
			if i == limit {
				return series, true
			}
			points := make([]telemetry.Point, 0, len(s.Floats)+len(s.Histograms))
			for _, p := range s.Floats {
				points = append(points, telemetry.Point{Time: instantOf(p.T), Value: p.F})
			}
			for _, p := range s.Histograms {
				points = append(points, telemetry.Point{Time: instantOf(p.T), Histogram: histogramOf(p.H)})
			}
			if len(s.Floats) > 0 && len(s.Histograms) > 0 {
				slices.SortStableFunc(points, func(a, b telemetry.Point) int { return a.Time.Compare(b.Time) })
			}
			series = append(series, telemetry.Series{Labels: fieldsOf(s.Metric), Points: points})
		}
	case promql.Vector:
		for i, s := range v {
			if i == limit {
				return series, true
			}
			p := telemetry.Point{Time: instantOf(s.T), Value: s.F}
			if s.H != nil {
				p.Value, p.Histogram = 0, histogramOf(s.H)
			}
			series = append(series, telemetry.Series{Labels: fieldsOf(s.Metric), Points: []telemetry.Point{p}})
		}
	case promql.Scalar:
		return []telemetry.Series{{Points: []telemetry.Point{{Time: instantOf(v.T), Value: v.V}}}}, false
	}
	return series, false
}

func instantOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func fieldsOf(l labels.Labels) []telemetry.Field {
	fields := make([]telemetry.Field, 0, l.Len())
	l.Range(func(l labels.Label) {
		fields = append(fields, telemetry.Field{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)})
	})
	return fields
}

// shown leaves out what is hidden.
func shown(fields []telemetry.Field, hidden []string) []telemetry.Field {
	return slices.DeleteFunc(fields, func(f telemetry.Field) bool { return telemetry.HidesLabel(hidden, f.Name) })
}

func histogramOf(h *histogram.FloatHistogram) *telemetry.Histogram {
	out := &telemetry.Histogram{Count: h.Count, Sum: h.Sum}
	for it := h.AllBucketIterator(); it.Next(); {
		if b := it.At(); b.Count != 0 {
			out.Buckets = append(out.Buckets, telemetry.Bucket{
				Lower: b.Lower, Upper: b.Upper, Count: b.Count, LowerIncluded: b.LowerInclusive, UpperIncluded: b.UpperInclusive,
			})
		}
	}
	return out
}

// parseSelectors parses the selectors of a series query, one that matches
// everything where there are none.
func parseSelectors(p parser.Parser, q telemetry.SeriesQuery) ([][]*labels.Matcher, error) {
	if q.Start.IsZero() || q.End.Before(q.Start) {
		return nil, &telemetry.QueryError{Problem: "the start of the time range must not be after its end", Offset: -1}
	}
	if len(q.Selectors) == 0 {
		return [][]*labels.Matcher{{everySeries()}}, nil
	}
	var sets [][]*labels.Matcher
	for _, text := range q.Selectors {
		if len(text) > maxExprBytes {
			return nil, &telemetry.QueryError{Problem: fmt.Sprintf("a selector is longer than %d bytes", maxExprBytes), Offset: -1}
		}
		m, err := p.ParseMetricSelector(text)
		if err != nil {
			return nil, syntaxError(err)
		}
		sets = append(sets, m)
	}
	return sets, nil
}

// each calls do with the labels of every selected series until it returns
// false, with some more than once where several selectors match.
func (s *Store) each(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget, do func(*database, labels.Labels) bool) error {
	sets, err := parseSelectors(s.parser, q)
	if err != nil {
		return err
	}
	return s.read(ctx, view, b, func(ctx context.Context, db *database, v visible) error {
		querier, err := v.Querier(q.Start.UnixMilli(), q.End.UnixMilli())
		if err != nil {
			return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
		}
		defer querier.Close() //nolint:errcheck // it was only read
		hints := &storage.SelectHints{Start: q.Start.UnixMilli(), End: q.End.UnixMilli(), Func: "series"}
		for _, matchers := range sets {
			set := querier.Select(ctx, true, hints, matchers...)
			for n := 0; set.Next(); n++ {
				if n%1024 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				if !do(db, set.At().Labels()) {
					return nil
				}
			}
			if err := set.Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Series implements telemetry.Metrics.
func (s *Store) Series(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) (series [][]telemetry.Field, more bool, err error) {
	b = withDefaults(b, q.Limit)
	seen := make(map[string]bool)
	err = s.each(ctx, view, q, b, func(_ *database, l labels.Labels) bool {
		key := string(l.Bytes(nil))
		if seen[key] {
			return true
		}
		if more = len(series) == b.Rows; more {
			return false
		}
		seen[key] = true
		series = append(series, fieldsOf(l))
		return true
	})
	return series, more, err
}

// distinct collects the different texts that of gives for each series.
func (s *Store) distinct(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget, of func(labels.Labels, func(string))) (texts []string, more bool, err error) {
	seen := make(map[string]bool)
	err = s.each(ctx, view, q, b, func(_ *database, l labels.Labels) bool {
		of(l, func(text string) {
			if text == "" || seen[text] {
				return
			}
			if len(texts) == b.Rows {
				more = true
				return
			}
			text = strings.Clone(text)
			seen[text] = true
			texts = append(texts, text)
		})
		return !more
	})
	slices.Sort(texts)
	return texts, more, err
}

// LabelNames implements telemetry.Metrics.
func (s *Store) LabelNames(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	return s.distinct(ctx, view, q, withDefaults(b, q.Limit), func(l labels.Labels, add func(string)) {
		l.Range(func(l labels.Label) { add(l.Name) })
	})
}

// LabelValues implements telemetry.Metrics.
func (s *Store) LabelValues(ctx context.Context, view telemetry.View, name string, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	return s.distinct(ctx, view, q, withDefaults(b, q.Limit), func(l labels.Labels, add func(string)) { add(l.Get(name)) })
}

// MetricInfos implements telemetry.Metrics: of metrics with a visible series.
func (s *Store) MetricInfos(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) (infos []telemetry.MetricInfo, more bool, err error) {
	b = withDefaults(b, q.Limit)
	infos, more, err = collectInfos(b, len(q.Selectors) > 1, func(do func(*database, labels.Labels) bool) error {
		return s.each(ctx, view, q, b, do)
	}, func(db *database, series string) telemetry.MetricInfo { return db.infos.get(series) })
	if err == nil && view.Filter() != nil {
		err = s.withoutForeignWords(ctx, view, infos, b)
	}
	return infos, more, err
}

// collectInfos describes the metrics of series, which may come twice.
func collectInfos(b telemetry.Budget, twice bool, each func(func(*database, labels.Labels) bool) error, info func(*database, string) telemetry.MetricInfo) (infos []telemetry.MetricInfo, more bool, err error) {
	type found struct {
		telemetry.MetricInfo
		labels map[string]bool
	}
	byName := make(map[string]*found)   // of a metric
	bySeries := make(map[string]*found) // of a series
	counted := make(map[uint64]bool)    // series, where they may come twice
	err = each(func(db *database, l labels.Labels) bool {
		if twice {
			h := l.Hash()
			if counted[h] {
				return true
			}
			counted[h] = true
		}
		name := l.Get(telemetry.MetricName)
		f := bySeries[name]
		if f == nil {
			name = strings.Clone(name)
			info := info(db, name)
			if f = byName[info.Name]; f == nil {
				if more = more || len(byName) == b.Rows; more {
					return true // the others are still counted
				}
				f = &found{MetricInfo: info, labels: make(map[string]bool)}
				byName[info.Name] = f
			}
			bySeries[name] = f
		}
		f.Series++
		l.Range(func(l labels.Label) {
			if l.Name != telemetry.MetricName && !f.labels[l.Name] {
				f.labels[strings.Clone(l.Name)] = true
			}
		})
		return true
	})
	if err != nil {
		return nil, false, err
	}
	for _, f := range byName {
		f.Labels = slices.Sorted(maps.Keys(f.labels))
		infos = append(infos, f.MetricInfo)
	}
	slices.SortFunc(infos, func(a, b telemetry.MetricInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, more, nil
}

// withoutForeignWords takes the words away from metrics that have a series
// which the view hides: they may be of its sender.
func (s *Store) withoutForeignWords(ctx context.Context, view telemetry.View, infos []telemetry.MetricInfo, b telemetry.Budget) error {
	return s.read(ctx, view, b, func(ctx context.Context, db *database, v visible) error {
		querier, err := db.Querier(math.MinInt64, math.MaxInt64)
		if err != nil {
			return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
		}
		defer querier.Close() //nolint:errcheck // it was only read
		hints := &storage.SelectHints{Start: math.MinInt64, End: math.MaxInt64, Func: "series"}
		for i := range infos {
			if infos[i].Help == "" && infos[i].Unit == "" {
				continue
			}
			for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
				set := querier.Select(ctx, false, hints, labels.MustNewMatcher(labels.MatchEqual, telemetry.MetricName, infos[i].Name+suffix))
				for infos[i].Help+infos[i].Unit != "" && set.Next() {
					if !v.scope.match(set.At().Labels()) {
						infos[i].Help, infos[i].Unit = "", ""
					}
				}
				if err := cmp.Or(set.Err(), ctx.Err()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Exemplars implements telemetry.Metrics: the newest ones of each series.
func (s *Store) Exemplars(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) (exemplars []telemetry.Exemplar, more bool, err error) {
	sets, err := parseSelectors(s.parser, q)
	if err != nil {
		return nil, false, err
	}
	b = withDefaults(b, q.Limit)
	err = s.read(ctx, view, b, func(ctx context.Context, db *database, v visible) error {
		querier, err := db.ExemplarQuerier(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
		}
		start := max(q.Start.UnixMilli(), v.scope.since)
		for i := range sets {
			sets[i] = append(sets[i], v.scope.matchers...)
		}
		results, err := querier.Select(start, q.End.UnixMilli(), sets...)
		if err != nil {
			return err
		}
		for _, r := range results {
			if v.scope.match != nil && !v.scope.match(r.SeriesLabels) {
				continue
			}
			series := fieldsOf(r.SeriesLabels)
			for _, e := range slices.Backward(r.Exemplars) {
				if more = len(exemplars) == b.Rows; more {
					return nil
				}
				if math.IsNaN(e.Value) {
					continue
				}
				exemplars = append(exemplars, telemetry.Exemplar{SeriesLabels: series, Labels: shown(fieldsOf(e.Labels), v.scope.hidden), Value: e.Value, Time: instantOf(e.Ts)})
			}
		}
		return nil
	})
	return exemplars, more, err
}
