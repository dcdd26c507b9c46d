package prom

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Check parses an expression without evaluating it. Errors are
// *telemetry.QueryError, with the place where it is known.
func Check(text string) (telemetry.MetricExpression, error) {
	expr, err := parse(parser.NewParser(parser.Options{}), text)
	if err != nil {
		return telemetry.MetricExpression{}, err
	}
	e := telemetry.MetricExpression{Query: expr.String(), Type: string(expr.Type())}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			e.Selectors = append(e.Selectors, selectorOf(n, path))
		case *parser.AggregateExpr:
			e.Grouping = appendNew(e.Grouping, n.Grouping)
		case *parser.BinaryExpr:
			e.Compares = e.Compares || n.Op.IsComparisonOperator() && !n.ReturnBool
			e.Joins = e.Joins || n.VectorMatching != nil && n.Op != parser.LOR
			if n.VectorMatching != nil {
				e.Grouping = appendNew(e.Grouping, n.VectorMatching.MatchingLabels)
			}
		}
		return nil
	})
	return e, nil
}

func appendNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// selectorOf describes a selector with the nodes above it, the outermost
// first.
func selectorOf(n *parser.VectorSelector, path []parser.Node) telemetry.MetricSelector {
	s := telemetry.MetricSelector{Reach: lookback + max(0, n.OriginalOffset)}
	for _, m := range n.LabelMatchers {
		switch {
		case m.Name == telemetry.MetricName && m.Type == labels.MatchEqual && s.Name == "":
			s.Name = m.Value
		default:
			s.Matchers = append(s.Matchers, telemetry.MetricMatcher{Label: m.Name, Op: m.Type.String(), Value: m.Value})
		}
	}
	dropped := false
	for _, node := range slices.Backward(path) {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			s.Range = n.Range
			s.Reach += max(0, n.Range-lookback)
		case *parser.SubqueryExpr:
			s.Reach += n.Range + max(0, n.OriginalOffset)
		case *parser.AggregateExpr:
			s.Within = append(s.Within, n.Op.String())
			switch n.Op {
			case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
				// They keep all labels.
			default:
				dropped = dropped || slices.Contains(n.Grouping, labels.BucketLabel) == n.Without
			}
		case *parser.Call:
			s.Within = append(s.Within, n.Func.Name)
			if n.Func.Name == "histogram_quantile" || n.Func.Name == "histogram_fraction" {
				s.DropsLE = s.DropsLE || dropped
			}
		}
	}
	return s
}
