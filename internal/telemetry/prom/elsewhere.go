package prom

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
)

// What follows is for stores that keep the series elsewhere, and hide and
// convert them by the same rules.

// Lookback is how old the newest sample of an instant may be.
const Lookback = lookback

// A Scope is what a view leaves visible of a tenant's series. It is immutable.
type Scope struct{ scope scope }

// NewScope returns the view's scope at a time.
func NewScope(view telemetry.View, now time.Time) (Scope, error) {
	sc, err := newScope(view, now, 0)
	if err != nil {
		return Scope{}, fmt.Errorf("apply the data scope: %w", err)
	}
	return Scope{sc}, nil
}

// Whole says that every series of the tenant is visible, with all its samples.
func (s Scope) Whole() bool { return s.scope.match == nil && s.scope.since == math.MinInt64 }

// Match tells a visible series.
func (s Scope) Match(l labels.Labels) bool { return s.scope.match == nil || s.scope.match(l) }

// Implied are matchers that hold for every visible series, and maybe for others.
func (s Scope) Implied() []*labels.Matcher { return s.scope.matchers }

// Since is the oldest visible sample in milliseconds since 1970.
func (s Scope) Since() int64 { return s.scope.since }

// Warning says what the scope hides altogether, "" for nothing.
func (s Scope) Warning() string { return s.scope.warning }

// Shown leaves out the fields that the view hides. It may change fields.
func (s Scope) Shown(fields []telemetry.Field) []telemetry.Field {
	return shown(fields, s.scope.hidden)
}

// Over returns what the scope leaves visible of all series.
func (s Scope) Over(all storage.Queryable) storage.Queryable { return visible{all, s.scope} }

// CheckQuery parses a query's expression within limits, and checks its times.
// Errors are *telemetry.QueryError.
func CheckQuery(p parser.Parser, q telemetry.MetricQuery) (parser.Expr, error) {
	return checkQuery(p, q)
}

// ParseSelectors parses a query's selectors, and checks its times: one that
// matches every series where there are none. Errors are *telemetry.QueryError.
func ParseSelectors(p parser.Parser, q telemetry.SeriesQuery) ([][]*labels.Matcher, error) {
	return parseSelectors(p, q)
}

// Evaluate answers result.Query, a canonical expression, from what can be read.
// The budget must have been through WithDefaults.
func Evaluate(ctx context.Context, log *slog.Logger, p parser.Parser, from storage.Queryable, q telemetry.MetricQuery, b telemetry.Budget, result *telemetry.MetricResult) error {
	return evaluate(ctx, log, p, from, q, b, result)
}

// WithDefaults fills in what a budget does not say. limit bounds the rows
// where it is above 0.
func WithDefaults(b telemetry.Budget, limit int) telemetry.Budget { return withDefaults(b, limit) }

// MaxSamples is how many samples the budget lets a query hold.
func MaxSamples(b telemetry.Budget) int { return b.Bytes / bytesPerSample }

// ReadError translates what the storage and the engine say.
func ReadError(caller context.Context, err error) error { return readError(caller, err) }

// Fields are a series' labels.
func Fields(l labels.Labels) []telemetry.Field { return fieldsOf(l) }

// CollectInfos describes the metrics of the series that each passes on until
// told to stop. Series may come more than once.
func CollectInfos(b telemetry.Budget, each func(func(labels.Labels) bool) error, info func(series string) telemetry.MetricInfo) ([]telemetry.MetricInfo, bool, error) {
	return collectInfos(b, true, func(do func(*database, labels.Labels) bool) error {
		return each(func(l labels.Labels) bool { return do(nil, l) })
	}, func(_ *database, series string) telemetry.MetricInfo { return info(series) })
}

// A Sink takes converted samples. Its calls do not overlap.
type Sink interface {
	// Sample takes a number, or a histogram where one is not nil.
	Sample(l labels.Labels, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions)
	// Info takes what a sender says about a metric.
	Info(name string, m metadata.Metadata)
}

// ConvertOTLP hands the data points to the sink as WriteOTLP stores them.
// It may change md. Errors are the context's.
func ConvertOTLP(ctx context.Context, md pmetric.Metrics, now time.Time, to Sink) (rejected map[string]int64, err error) {
	rejected = make(map[string]int64)
	prepare(md, rejected)
	_, err = prometheusremotewrite.NewPrometheusConverter(sinkAppender(to, now, rejected)).FromMetrics(ctx, md, settings())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		rejected[ReasonInvalid]++
	}
	return rejected, nil
}

// ConvertRemote hands the samples of a remote write request to the sink as
// WriteRemote stores them. Errors: telemetry.ErrRefused, or the context's.
func ConvertRemote(ctx context.Context, version int, data []byte, now time.Time, to Sink) (w Written, rejected map[string]int64, err error) {
	series, err := decodeRemote(version, data)
	if err != nil {
		return w, nil, fmt.Errorf("%w: %w", telemetry.ErrRefused, err)
	}
	rejected = make(map[string]int64)
	app := sinkAppender(to, now, rejected)
	if w = series.appendTo(ctx, app); app.failed != nil {
		return Written{}, nil, app.failed
	}
	return w, rejected, nil
}

func sinkAppender(to Sink, now time.Time, rejected map[string]int64) *appender {
	return &appender{
		AppenderV2: intoSink{to}, rejected: rejected, now: now, note: to.Info,
		newSeries: func() bool { return true },
	}
}

// intoSink appends to a sink, which keeps everything.
type intoSink struct{ to Sink }

var _ storage.AppenderV2 = intoSink{}

// Append implements storage.AppenderV2.
func (s intoSink) Append(_ storage.SeriesRef, l labels.Labels, _, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	var err error
	switch {
	case h != nil:
		err = h.Validate()
	case fh != nil:
		err = fh.Validate()
	}
	if err != nil {
		return 0, err
	}
	s.to.Sample(l, t, v, h, fh, o)
	return 1, nil
}

// Commit implements storage.AppenderV2.
func (intoSink) Commit() error { return nil }

// Rollback implements storage.AppenderV2.
func (intoSink) Rollback() error { return nil }
