package promremote

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

// handOver returns an expression that the server answers exactly as the view
// allows. ok is false where there is none: it is then evaluated here.
func (s *Store) handOver(q reading, view telemetry.View, of telemetry.MetricQuery, expr parser.Expr) (text string, ok bool) {
	if s.cfg.Server == VictoriaMetrics || q.scope.Warning() != "" {
		return "", false
	}
	var add []*labels.Matcher
	if f := view.Filter(); f != nil {
		if f.Node() == nil {
			return "", false
		}
		if add, ok = exactly(f.Node(), false); !ok {
			return "", false
		}
	}
	if !tellable(expr, len(add) > 0, s.cfg.Tenancy.Label) || !within(expr, of.Start, q.scope) {
		return "", false
	}
	if label := s.cfg.Tenancy.Label; label != "" {
		add = append(add, tenantMatcher(label, q.tenant))
	}
	return rewrite(s.parser, expr.String(), add)
}

// rewrite adds the matchers to every selector of a canonical expression. The
// text that comes out is parsed again: ok is false unless all of its selectors
// have all of the matchers.
func rewrite(p parser.Parser, text string, add []*labels.Matcher) (out string, ok bool) {
	expr, err := p.ParseExpr(text)
	if err != nil {
		return "", false
	}
	selectors := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			selectors++
			v.LabelMatchers = slices.Concat(v.LabelMatchers, add)
		}
		return nil
	})
	out = expr.String()
	if expr, err = p.ParseExpr(out); err != nil {
		return "", false
	}
	ok = true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, is := node.(*parser.VectorSelector); is {
			selectors--
			for _, m := range add {
				ok = ok && slices.ContainsFunc(v.LabelMatchers, func(have *labels.Matcher) bool {
					return have.Type == m.Type && have.Name == m.Name && have.Value == m.Value
				})
			}
		}
		return nil
	})
	return out, ok && selectors == 0
}

// exactly returns matchers that hold where the filter does, and nowhere else.
func exactly(n telemetry.Node, not bool) (all []*labels.Matcher, ok bool) {
	switch n := n.(type) {
	case *telemetry.Condition:
		quoted := n.Values()
		for i, v := range quoted {
			quoted[i] = regexp.QuoteMeta(v)
		}
		kind := labels.MatchRegexp
		if not {
			kind = labels.MatchNotRegexp
		}
		m, err := labels.NewMatcher(kind, telemetry.LabelName(n.Name()), strings.Join(quoted, "|"))
		return []*labels.Matcher{m}, err == nil
	case *telemetry.Not:
		return exactly(n.Node(), !not)
	case *telemetry.All:
		return exactlyAll(n.Nodes(), not, not)
	case *telemetry.Any:
		return exactlyAll(n.Nodes(), not, !not)
	}
	return nil, false
}

func exactlyAll(nodes []telemetry.Node, not, either bool) (all []*labels.Matcher, ok bool) {
	if either {
		return nil, false // one selector has no or
	}
	for _, n := range nodes {
		m, ok := exactly(n, not)
		if !ok {
			return nil, false
		}
		all = append(all, m...)
	}
	return all, true
}

// tellable says whether added matchers, and the tenant's label on every
// series, leave the expression's answer as it is.
func tellable(expr parser.Expr, scoped bool, label string) bool {
	if label != "" && strings.Contains(expr.String(), label) {
		return false
	}
	ok := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.Call:
			// Its labels are made of the selector's matchers.
			if strings.HasPrefix(n.Func.Name, "absent") && scoped {
				ok = false
			}
		case *parser.BinaryExpr:
			// The label would keep series from matching vector(1) or sum(x).
			if n.VectorMatching != nil && label != "" {
				ok = false
			}
		}
		return nil
	})
	return ok
}

// within says whether an expression, from the start on, reaches no sample
// older than the scope shows: the server would read it.
func within(expr parser.Expr, start time.Time, scope prom.Scope) bool {
	if scope.Whole() {
		return true
	}
	room := start.UnixMilli() - scope.Since()
	if scope.Since() < 0 {
		return true // no bound
	}
	ok := true
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		v, is := node.(*parser.VectorSelector)
		if !is {
			return nil
		}
		reach := prom.Lookback + max(0, v.OriginalOffset)
		ok = ok && v.Timestamp == nil && v.StartOrEnd == 0
		for _, n := range path {
			switch n := n.(type) {
			case *parser.MatrixSelector:
				reach += n.Range
			case *parser.SubqueryExpr:
				reach += n.Range + max(0, n.OriginalOffset)
				ok = ok && n.Timestamp == nil && n.StartOrEnd == 0
			}
		}
		ok = ok && reach.Milliseconds() <= room
		return nil
	})
	return ok
}
