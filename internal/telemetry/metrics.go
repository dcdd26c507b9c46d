package telemetry

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Labels of a series are Fields sorted by name; the metric's name is the
// label MetricName. Resource attributes become labels under the names that
// LabelName gives, where no data point can write.
const MetricName = "__name__"

// A Point is one value of a series: a number or a histogram.
type Point struct {
	Time  time.Time
	Value float64
	// Histogram is set for native histograms; Value is then 0.
	Histogram *Histogram
}

// A Histogram is the count, sum and non-empty buckets of a native histogram.
type Histogram struct {
	Count, Sum float64
	Buckets    []Bucket
}

// A Bucket counts the values between its bounds.
type Bucket struct {
	Lower, Upper, Count float64
	// LowerIncluded and UpperIncluded say whether the bounds belong to it.
	LowerIncluded, UpperIncluded bool
}

// A Series is a label set with its points, oldest first.
type Series struct {
	Labels []Field
	Points []Point
}

// MetricQuery asks for the value of a PromQL expression.
type MetricQuery struct {
	// Expr is PromQL.
	Expr string
	// Start and End are both included. Equal ones ask for an instant, else
	// Step is required.
	Start, End time.Time
	Step       time.Duration
}

// MetricResult is the answer to a MetricQuery.
type MetricResult struct {
	// Series are sorted by labels, unless the expression sorts them. A scalar
	// is one series without labels.
	Series []Series
	// More says that series were left out because of the budget's rows.
	More bool
	// Warnings are what the engine has to say about the expression, and
	// whether something hides metrics altogether.
	Warnings []string
	// Query is the expression in canonical spelling, without the data scope.
	Query string
	// Samples is how many stored samples were read.
	Samples int64
}

// SeriesQuery selects series by matchers.
type SeriesQuery struct {
	// Selectors are PromQL vector selectors, e.g. http_requests_total{job="a"};
	// a series that one of them matches is selected. Empty selects everything.
	Selectors []string
	// Start and End bound the time in which a series must have samples,
	// roughly. Both are required.
	Start, End time.Time
	// Limit is the most entries wanted; 0 means the budget's rows.
	Limit int
}

// MetricInfo is what senders say about a metric.
type MetricInfo struct {
	Name string
	// Type is counter, gauge, histogram, summary, … or unknown.
	Type string
	// Unit is as the sender wrote it, "" where it said none. Unit and Help are
	// also "" where the view's filter hides a series of the metric: the words
	// may be of its sender.
	Unit string
	Help string
	// Series is how many of the selected series the metric has, those of a
	// histogram's buckets, count and sum together.
	Series int
	// Labels are the names of those series' labels, sorted, without
	// MetricName.
	Labels []string
}

// A MetricExpression is what a PromQL expression is made of.
type MetricExpression struct {
	// Query is the canonical spelling.
	Query string
	// Type is vector, scalar, matrix or string.
	Type string
	// Selectors are in the order of the text.
	Selectors []MetricSelector
	// Grouping are the labels that aggregations keep or drop.
	Grouping []string
	// Compares says that a comparison may leave series out.
	Compares bool
	// Joins says that an operator has series on both sides.
	Joins bool
}

// A MetricSelector selects series in an expression.
type MetricSelector struct {
	// Name is the metric's, "" where it is not given by equality.
	Name string
	// Matchers are the conditions beside the name.
	Matchers []MetricMatcher
	// Range is of a range selector, else 0.
	Range time.Duration
	// Reach is how far before the time of evaluation it looks, with the ranges
	// of subqueries and offsets around it.
	Reach time.Duration
	// Within are the functions and aggregations around it, the innermost first.
	Within []string
	// DropsLE says that an aggregation drops the label le before
	// histogram_quantile needs it.
	DropsLE bool
}

// A MetricMatcher is a condition on a label. Op is =, !=, =~ or !~.
type MetricMatcher struct{ Label, Op, Value string }

// String is the matcher as PromQL.
func (m MetricMatcher) String() string { return promName(m.Label) + m.Op + strconv.Quote(m.Value) }

// String is the selector as PromQL, without its range.
func (s MetricSelector) String() string {
	parts := make([]string, 0, len(s.Matchers)+1)
	if s.Name != "" {
		parts = append(parts, MetricName+"="+strconv.Quote(s.Name))
	}
	for _, m := range s.Matchers {
		parts = append(parts, m.String())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// promName quotes a label's name where PromQL needs that.
func promName(name string) string {
	if LabelName(name) == name {
		return name
	}
	return strconv.Quote(name)
}

// An Exemplar is an example of what a series counted.
type Exemplar struct {
	// SeriesLabels are of the series, Labels of the exemplar itself, trace_id
	// and span_id among them.
	SeriesLabels, Labels []Field
	Value                float64
	Time                 time.Time
}

// Metrics reads metrics. Implementations are safe for concurrent use. Every
// method answers from the series that view leaves visible; a zero view gets
// an empty answer. Errors: *QueryError for a fault in a query's text,
// ErrUnavailable, ErrTooExpensive, or the context's error.
//
// Budget.Rows bounds the entries of an answer, Budget.Time the work on it, and
// Budget.Bytes, at 16 bytes each, the samples that a query may hold in memory.
type Metrics interface {
	// QueryMetrics evaluates an expression.
	QueryMetrics(ctx context.Context, view View, q MetricQuery, b Budget) (MetricResult, error)
	// Series returns label sets; more says that there are others.
	Series(ctx context.Context, view View, q SeriesQuery, b Budget) (series [][]Field, more bool, err error)
	// LabelNames returns the names of the labels of the selected series.
	LabelNames(ctx context.Context, view View, q SeriesQuery, b Budget) (names []string, more bool, err error)
	// LabelValues returns the values of one label of the selected series,
	// sorted.
	LabelValues(ctx context.Context, view View, name string, q SeriesQuery, b Budget) (values []string, more bool, err error)
	// MetricInfos describes the metrics of the selected series.
	MetricInfos(ctx context.Context, view View, q SeriesQuery, b Budget) (infos []MetricInfo, more bool, err error)
	// Exemplars returns exemplars of the selected series.
	Exemplars(ctx context.Context, view View, q SeriesQuery, b Budget) (exemplars []Exemplar, more bool, err error)
}

// LabelName returns the metric label that holds a resource attribute: its
// name with every character that a label may not have as an underscore,
// service.name as service_name.
func LabelName(attribute string) string {
	b := []byte(attribute)
	for i, c := range b {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	return string(b)
}

// PromotedAttributes lists the resource attributes that every series of a
// sender carries as labels, see LabelName. A data scope on any other hides all
// metrics of the tenant, because it cannot be told there what it matches.
func PromotedAttributes() []string {
	return []string{
		"service.name", "service.namespace", "service.instance.id", "service.version",
		"deployment.environment.name", "deployment.environment",
		"host.name", "cloud.region", "cloud.availability_zone", "cloud.account.id",
		"k8s.cluster.name", "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name",
		"k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name", "k8s.pod.name", "k8s.node.name", "k8s.container.name",
		"team", "team.name",
	}
}
