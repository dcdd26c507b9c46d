package prom

import (
	"context"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/orielhq/oriel/internal/telemetry"
)

// A scope is what a view leaves visible of a tenant's series.
type scope struct {
	// match tells a visible series; nil is all of them.
	match func(labels.Labels) bool
	// matchers hold for every visible series: the index finds them faster.
	matchers []*labels.Matcher
	// since is the oldest visible sample, milliseconds since 1970.
	since int64
	// warning says what the scope hides altogether, "" for nothing.
	warning string
	// hidden are the view's hidden fields.
	hidden []string
}

// restrict narrows the scope.
func (sc *scope) restrict(match func(labels.Labels) bool) {
	before := sc.match
	sc.match = func(l labels.Labels) bool { return match(l) && (before == nil || before(l)) }
}

// newScope returns what the view leaves visible. A retention of 0 bounds
// nothing.
func newScope(view telemetry.View, now time.Time, retention time.Duration) (scope, error) {
	sc := scope{since: math.MinInt64, hidden: view.Hidden()}
	if retention > 0 {
		sc.since = now.Add(-retention).UnixMilli()
	}
	if d := view.LookBack(); d > 0 && (d < retention || retention == 0) {
		sc.since = now.Add(-d).UnixMilli()
	}
	if view.LookBack() > 0 {
		// The index knows names and values of whole blocks; series know more.
		sc.match = func(labels.Labels) bool { return true }
	}
	if len(sc.hidden) > 0 {
		// A series without one of its labels could be the same as another.
		sc.restrict(func(l labels.Labels) (visible bool) {
			visible = true
			l.Range(func(l labels.Label) { visible = visible && !telemetry.HidesLabel(sc.hidden, l.Name) })
			return visible
		})
		sc.warning = "series with a label that your role hides are left out: " + strings.Join(sc.hidden, ", ")
	}
	f := view.Filter()
	if f == nil {
		return sc, nil
	}
	for _, name := range filterNames(f.Node()) {
		if !slices.Contains(telemetry.PromotedAttributes(), name) {
			// Series do not say what the attribute was: whatever the
			// condition, none may be shown.
			sc.restrict(func(labels.Labels) bool { return false })
			sc.warning = "your role's data scope is on " + name + ", which metrics do not carry: no metrics are visible to you"
			return sc, nil
		}
	}
	sc.restrict(func(l labels.Labels) bool {
		return f.Match(func(attribute string) string { return l.Get(telemetry.LabelName(attribute)) })
	})
	var err error
	sc.matchers, err = implied(f.Node())
	return sc, err
}

// filterNames lists the attributes that a filter is about.
func filterNames(n telemetry.Node) []string {
	switch n := n.(type) {
	case *telemetry.Condition:
		return []string{n.Name()}
	case *telemetry.Not:
		return filterNames(n.Node())
	case *telemetry.All:
		return allNames(n.Nodes())
	case *telemetry.Any:
		return allNames(n.Nodes())
	}
	return nil
}

func allNames(nodes []telemetry.Node) (names []string) {
	for _, n := range nodes {
		names = append(names, filterNames(n)...)
	}
	return names
}

// implied returns matchers that hold wherever the node does; others may hold
// too.
func implied(n telemetry.Node) ([]*labels.Matcher, error) {
	switch n := n.(type) {
	case *telemetry.Condition:
		quoted := n.Values()
		for i, v := range quoted {
			quoted[i] = regexp.QuoteMeta(v)
		}
		m, err := labels.NewMatcher(labels.MatchRegexp, telemetry.LabelName(n.Name()), strings.Join(quoted, "|"))
		return []*labels.Matcher{m}, err
	case *telemetry.All:
		var all []*labels.Matcher
		for _, each := range n.Nodes() {
			m, err := implied(each)
			if err != nil {
				return nil, err
			}
			all = append(all, m...)
		}
		return all, nil
	}
	return nil, nil
}

// visible reads a database through a scope. It implements storage.Queryable.
type visible struct {
	db    storage.Queryable
	scope scope
}

// Querier implements storage.Queryable.
func (v visible) Querier(mint, maxt int64) (storage.Querier, error) {
	mint = max(mint, v.scope.since)
	if maxt < mint {
		return storage.NoopQuerier(), nil
	}
	q, err := v.db.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return visibleQuerier{q, v.scope, mint, maxt}, nil
}

type visibleQuerier struct {
	storage.Querier
	scope      scope
	mint, maxt int64
}

// Select implements storage.Querier.
func (q visibleQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints != nil {
		// The storage goes by these rather than by the querier's range.
		h := *hints
		if h.Start = max(h.Start, q.scope.since); h.Start > h.End {
			return storage.EmptySeriesSet()
		}
		if q.scope.match != nil {
			h.Limit = 0 // it would count what is hidden
		}
		hints = &h
	}
	if q.scope.match == nil {
		return q.Querier.Select(ctx, sorted, hints, matchers...)
	}
	set := q.Querier.Select(ctx, sorted, hints, slices.Concat(matchers, q.scope.matchers)...)
	return &visibleSet{set, q.scope.match}
}

// LabelValues implements storage.LabelQuerier.
func (q visibleQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.scope.match == nil {
		return q.Querier.LabelValues(ctx, name, hints, matchers...)
	}
	return q.collect(ctx, matchers, func(l labels.Labels, add func(string)) {
		if v := l.Get(name); v != "" {
			add(v)
		}
	})
}

// LabelNames implements storage.LabelQuerier.
func (q visibleQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.scope.match == nil {
		return q.Querier.LabelNames(ctx, hints, matchers...)
	}
	return q.collect(ctx, matchers, func(l labels.Labels, add func(string)) {
		l.Range(func(l labels.Label) { add(l.Name) })
	})
}

// collect answers from visible series alone: the index knows the names and
// values of all.
func (q visibleQuerier) collect(ctx context.Context, matchers []*labels.Matcher, each func(labels.Labels, func(string))) ([]string, annotations.Annotations, error) {
	if len(matchers) == 0 {
		matchers = []*labels.Matcher{everySeries()}
	}
	seen := make(map[string]bool)
	set := q.Select(ctx, false, &storage.SelectHints{Start: q.mint, End: q.maxt, Func: "series"}, matchers...)
	for set.Next() {
		each(set.At().Labels(), func(v string) { seen[strings.Clone(v)] = true })
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
	out := make([]string, 0, len(seen))
	for v := range seen {
		out = append(out, v)
	}
	slices.Sort(out)
	return out, set.Warnings(), set.Err()
}

func everySeries() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchNotEqual, telemetry.MetricName, "")
}

// visibleSet leaves out hidden series.
type visibleSet struct {
	storage.SeriesSet
	match func(labels.Labels) bool
}

// Next implements storage.SeriesSet.
func (s *visibleSet) Next() bool {
	for s.SeriesSet.Next() {
		if s.match(s.At().Labels()) {
			return true
		}
	}
	return false
}
