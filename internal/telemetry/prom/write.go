package prom

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"github.com/prometheus/prometheus/tsdb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of one series. What exceeds them is rejected.
const (
	maxLabels          = 100
	maxLabelNameBytes  = 256
	maxLabelValueBytes = 4 << 10
	maxLabelsBytes     = 32 << 10
	// maxBuckets bounds the buckets of one classic histogram: each becomes a
	// series.
	maxBuckets = 500
)

// Reasons for which samples are rejected.
const (
	ReasonTooOld      = "too_old"
	ReasonTooNew      = "too_far_in_future"
	ReasonUnsupported = "unsupported"
	ReasonDuplicate   = "another_value_for_that_time"
	ReasonSeries      = "too_many_series"
	ReasonLabels      = "labels_too_large"
	ReasonInvalid     = "invalid"
)

// settings are how OTLP metrics become series.
func settings() prometheusremotewrite.Settings {
	return prometheusremotewrite.Settings{
		AddMetricSuffixes: true,
		LookbackDelta:     lookback,
		// Every series says who sent it, target_info too: data scopes
		// match that.
		PromoteResourceAttributes: prometheusremotewrite.NewPromoteResourceAttributes(config.OTLPConfig{
			PromoteResourceAttributes: telemetry.PromotedAttributes(),
		}),
		KeepIdentifyingResourceAttributes: true,
	}
}

// WriteOTLP stores the data points for the tenant and returns when they are
// in its database. It may change md. rejected counts by reason the data
// points, or samples made of them, that can never be stored; all others were.
// Errors: *telemetry.OverloadError, or telemetry.ErrUnavailable, after which
// nothing was stored; the context's.
//
// The storage writes its own log before this returns, without a sync: a kill
// of the process loses nothing, a loss of power may lose the last seconds.
func (s *Store) WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (rejected map[string]int64, err error) {
	return s.writeOTLP(ctx, tenant, md, false)
}

func (s *Store) writeOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics, past bool) (rejected map[string]int64, err error) {
	if tenant == 0 {
		return nil, errors.New("write metrics: tenant 0 is nobody's")
	}
	if err := s.cfg.Check(); err != nil {
		return nil, err
	}
	rejected = make(map[string]int64)
	prepare(md, rejected)
	db, err := s.acquire(tenant, true)
	if err != nil {
		return nil, fmt.Errorf("write metrics: %w", err)
	}
	defer s.release(tenant, db)
	if past {
		end, err := s.openPast(db)
		if err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
		defer end()
	}
	app := s.appender(ctx, db, rejected)
	_, err = prometheusremotewrite.NewPrometheusConverter(app).FromMetrics(ctx, md, settings())
	if ctx.Err() != nil || app.failed != nil {
		err = errors.Join(ctx.Err(), app.failed)
		return nil, fmt.Errorf("write metrics: %w", errors.Join(err, app.Rollback()))
	}
	if err != nil {
		// What is left are metrics that have no name or whose labels cannot
		// be one: how many points they had is not said.
		rejected[ReasonInvalid]++
		s.cfg.Logger.DebugContext(ctx, "metrics not converted", "err", err)
	}
	if err := app.Commit(); err != nil {
		return nil, fmt.Errorf("write metrics: %w: %w", telemetry.ErrUnavailable, err)
	}
	return rejected, nil
}

// prepare removes what the converter refuses as a whole, and renames
// attributes of data points that would become the label of a resource
// attribute: the converter lets them win.
func prepare(md pmetric.Metrics, rejected map[string]int64) {
	r := newRenamer()
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
				points, reason := r.metric(m)
				if reason != "" {
					rejected[reason] += int64(points)
				}
				return reason != ""
			})
		}
	}
}

// A renamer keeps attributes of data points away from reserved labels.
type renamer struct {
	reserved map[string]bool // label names
	known    map[string]bool // by attribute: it would become a reserved label
}

func newRenamer() *renamer {
	r := &renamer{reserved: map[string]bool{"job": true, "instance": true}, known: make(map[string]bool)}
	for _, a := range telemetry.PromotedAttributes() {
		r.reserved[telemetry.LabelName(a)] = true
	}
	return r
}

// maxKnown bounds what is remembered of a request's attribute names.
const maxKnown = 1000

func (r *renamer) isReserved(attribute string) bool {
	reserved, ok := r.known[attribute]
	if !ok {
		namer := otlptranslator.LabelNamer{}
		name, err := namer.Build(attribute)
		reserved = err == nil && (r.reserved[name] || len(name) > 1 && name[:2] == "__")
		if len(r.known) < maxKnown {
			r.known[attribute] = reserved
		}
	}
	return reserved
}

func (r *renamer) attributes(m pcommon.Map) {
	var names []string
	m.Range(func(k string, _ pcommon.Value) bool {
		if r.isReserved(k) {
			names = append(names, k)
		}
		return true
	})
	for _, k := range names {
		if v, ok := m.Get(k); ok {
			text := v.AsString()
			m.Remove(k)
			m.PutStr("attr."+k, text)
		}
	}
}

// metric returns how many points a metric has and why it is refused, "" where
// it is not.
func (r *renamer) metric(m pmetric.Metric) (points int, reason string) {
	cumulative := true
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			r.attributes(p.Attributes())
		}
		points = m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			r.attributes(p.Attributes())
		}
		points, cumulative = m.Sum().DataPoints().Len(), m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			r.attributes(p.Attributes())
			if p.BucketCounts().Len() > maxBuckets {
				reason = ReasonUnsupported
			}
		}
		points, cumulative = m.Histogram().DataPoints().Len(), m.Histogram().AggregationTemporality() == pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			r.attributes(p.Attributes())
		}
		points, cumulative = m.ExponentialHistogram().DataPoints().Len(), m.ExponentialHistogram().AggregationTemporality() == pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			r.attributes(p.Attributes())
		}
		points = m.Summary().DataPoints().Len()
	default:
		reason, points = ReasonUnsupported, 1
	}
	if !cumulative {
		reason = ReasonUnsupported
	}
	return points, reason
}

// An appender refuses single samples instead of whole requests.
type appender struct {
	storage.AppenderV2
	// newSeries says whether a series may begin.
	newSeries func() bool
	// note keeps what is said about a metric.
	note     func(name string, m metadata.Metadata)
	rejected map[string]int64
	now      time.Time
	// retention bounds the age of samples; 0 does not.
	retention time.Duration
	// failed is an error that is not the sample's.
	failed error
}

func (s *Store) appender(ctx context.Context, db *database, rejected map[string]int64) *appender {
	return &appender{
		AppenderV2: db.AppenderV2(ctx), rejected: rejected, now: s.cfg.Now(), retention: s.cfg.Retention, note: db.infos.note,
		newSeries: func() bool { return db.Head().NumSeries() < s.cfg.MaxSeries },
	}
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	if a.failed != nil {
		return 0, a.failed
	}
	if reason := a.refuse(l, t); reason != "" {
		a.rejected[reason]++
		return 0, nil
	}
	a.note(o.MetricFamilyName, o.Metadata)
	ref, err := a.AppenderV2.Append(ref, l, st, t, v, h, fh, o)
	if err == nil {
		return ref, nil
	}
	if _, ok := errors.AsType[*storage.AppendPartialError](err); ok {
		return ref, nil // only exemplars were refused: old ones sent again
	}
	reason := reasonOf(err)
	if reason == "" {
		a.failed = fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
		return 0, a.failed
	}
	a.rejected[reason]++
	return 0, nil
}

func (a *appender) refuse(l labels.Labels, t int64) (reason string) {
	switch {
	case t > a.now.Add(FutureTolerance).UnixMilli():
		return ReasonTooNew
	case a.retention > 0 && t < a.now.Add(-a.retention).UnixMilli():
		return ReasonTooOld
	}
	n, size, tooLarge := 0, 0, false
	l.Range(func(l labels.Label) {
		n++
		size += len(l.Name) + len(l.Value)
		tooLarge = tooLarge || len(l.Name) > maxLabelNameBytes || len(l.Value) > maxLabelValueBytes
	})
	if tooLarge || n > maxLabels || size > maxLabelsBytes {
		return ReasonLabels
	}
	if !a.newSeries() {
		refs, ok := a.AppenderV2.(storage.GetRef)
		if !ok {
			return ReasonSeries
		}
		if ref, _ := refs.GetRef(l, l.Hash()); ref == 0 {
			return ReasonSeries
		}
	}
	return ""
}

// reasonOf tells a sample that can never be stored.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		return ReasonTooOld
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return ReasonDuplicate
	case errors.Is(err, tsdb.ErrInvalidSample):
		return ReasonInvalid
	}
	if _, ok := errors.AsType[histogram.Error](err); ok {
		return ReasonInvalid
	}
	return ""
}
