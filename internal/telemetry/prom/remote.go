package prom

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of one remote write request. A series or sample takes 2 bytes on the
// wire and some 100 decoded.
const (
	maxRemoteSeries = 100_000
	maxRemoteParts  = 2 << 20
)

// Written counts what a remote write request stored.
type Written struct{ Samples, Histograms, Exemplars int64 }

// WriteRemote stores a Prometheus remote write request, decompressed: version
// 1 (prometheus.WriteRequest) or 2 (io.prometheus.write.v2.Request). Labels
// are kept as they are sent: whoever holds the ingest key says which service
// a series is of. Errors and rejected are those of WriteOTLP, and
// telemetry.ErrRefused for a request that cannot be read.
func (s *Store) WriteRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (w Written, rejected map[string]int64, err error) {
	return s.writeRemote(ctx, tenant, version, data, false)
}

func (s *Store) writeRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte, past bool) (w Written, rejected map[string]int64, err error) {
	if tenant == 0 {
		return w, nil, errors.New("write metrics: tenant 0 is nobody's")
	}
	if err := s.cfg.Check(); err != nil {
		return w, nil, err
	}
	series, err := decodeRemote(version, data)
	if err != nil {
		return w, nil, fmt.Errorf("%w: %w", telemetry.ErrRefused, err)
	}
	db, err := s.acquire(tenant, true)
	if err != nil {
		return w, nil, fmt.Errorf("write metrics: %w", err)
	}
	defer s.release(tenant, db)
	if past {
		end, err := s.openPast(db)
		if err != nil {
			return w, nil, fmt.Errorf("write metrics: %w", err)
		}
		defer end()
	}
	rejected = make(map[string]int64)
	app := s.appender(ctx, db, rejected)
	if w = series.appendTo(ctx, app); app.failed != nil {
		return Written{}, nil, fmt.Errorf("write metrics: %w", errors.Join(app.failed, app.Rollback()))
	}
	if err := app.Commit(); err != nil {
		return Written{}, nil, fmt.Errorf("write metrics: %w: %w", telemetry.ErrUnavailable, err)
	}
	return w, rejected, nil
}

// appendTo appends all series until one fails.
func (r remoteSeries) appendTo(ctx context.Context, app *appender) (w Written) {
	for family, m := range r.infos {
		app.note(family, m)
	}
	for i := range r.n {
		one, err := r.at(i)
		if err != nil || !validLabels(one.labels) {
			app.rejected[ReasonInvalid] += int64(max(1, one.samples))
			continue
		}
		w.add(one.append(app))
		if app.failed == nil {
			app.failed = ctx.Err()
		}
		if app.failed != nil {
			return w
		}
	}
	return w
}

func (w *Written) add(v Written) {
	w.Samples += v.Samples
	w.Histograms += v.Histograms
	w.Exemplars += v.Exemplars
}

func validLabels(l labels.Labels) bool {
	_, duplicate := l.HasDuplicateLabelNames()
	return !duplicate && l.Has(telemetry.MetricName) && l.IsValid(model.UTF8Validation)
}

// remoteSeries are the series of a request of either version.
type remoteSeries struct {
	n     int
	at    func(i int) (oneSeries, error)
	infos map[string]metadata.Metadata
}

type oneSeries struct {
	labels  labels.Labels
	samples int // how many, of any kind
	append  func(*appender) Written
}

func decodeRemote(version int, data []byte) (remoteSeries, error) {
	b := labels.NewScratchBuilder(0)
	if version == 1 {
		const seriesField = 1
		if err := scanRemote(data, seriesField); err != nil {
			return remoteSeries{}, err
		}
		var req prompb.WriteRequest
		if err := req.Unmarshal(data); err != nil {
			return remoteSeries{}, err
		}
		infos := make(map[string]metadata.Metadata)
		for _, m := range req.Metadata {
			infos[m.MetricFamilyName] = metadata.Metadata{Type: metricType(m.Type), Unit: m.Unit, Help: m.Help}
		}
		return remoteSeries{len(req.Timeseries), func(i int) (oneSeries, error) {
			ts := req.Timeseries[i]
			l := ts.ToLabels(&b, nil)
			return oneSeries{l, len(ts.Samples) + len(ts.Histograms), func(a *appender) Written {
				r := remoteAppend{appender: a, labels: l}
				for _, e := range ts.Exemplars {
					r.exemplars = append(r.exemplars, e.ToExemplar(&b, nil))
				}
				for _, s := range ts.Samples {
					r.sample(s.Timestamp, s.Value, nil, nil)
				}
				for _, h := range ts.Histograms {
					if h.IsFloatHistogram() {
						r.sample(h.Timestamp, 0, nil, h.ToFloatHistogram())
					} else {
						r.sample(h.Timestamp, 0, h.ToIntHistogram(), nil)
					}
				}
				return r.written
			}}, nil
		}, infos}, nil
	}
	const seriesField = 5
	if err := scanRemote(data, seriesField); err != nil {
		return remoteSeries{}, err
	}
	var req writev2.Request
	if err := req.Unmarshal(data); err != nil {
		return remoteSeries{}, err
	}
	return remoteSeries{len(req.Timeseries), func(i int) (oneSeries, error) {
		ts := req.Timeseries[i]
		n := len(ts.Samples) + len(ts.Histograms)
		l, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			return oneSeries{samples: n}, err
		}
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil {
			return oneSeries{samples: n}, err
		}
		return oneSeries{l, n, func(a *appender) Written {
			a.note(l.Get(telemetry.MetricName), m)
			r := remoteAppend{appender: a, labels: l}
			for _, e := range ts.Exemplars {
				if x, err := e.ToExemplar(&b, req.Symbols); err == nil {
					r.exemplars = append(r.exemplars, x)
				}
			}
			for _, s := range ts.Samples {
				r.sample(s.Timestamp, s.Value, nil, nil)
			}
			for _, h := range ts.Histograms {
				if h.IsFloatHistogram() {
					r.sample(h.Timestamp, 0, nil, h.ToFloatHistogram())
				} else {
					r.sample(h.Timestamp, 0, h.ToIntHistogram(), nil)
				}
			}
			return r.written
		}}, nil
	}, nil}, nil
}

func metricType(t prompb.MetricMetadata_MetricType) model.MetricType {
	switch t {
	case prompb.MetricMetadata_COUNTER:
		return model.MetricTypeCounter
	case prompb.MetricMetadata_GAUGE:
		return model.MetricTypeGauge
	case prompb.MetricMetadata_HISTOGRAM:
		return model.MetricTypeHistogram
	case prompb.MetricMetadata_GAUGEHISTOGRAM:
		return model.MetricTypeGaugeHistogram
	case prompb.MetricMetadata_SUMMARY:
		return model.MetricTypeSummary
	case prompb.MetricMetadata_INFO:
		return model.MetricTypeInfo
	case prompb.MetricMetadata_STATESET:
		return model.MetricTypeStateset
	}
	return model.MetricTypeUnknown
}

// remoteAppend appends the samples of one series; its exemplars go with the
// first.
type remoteAppend struct {
	*appender
	labels    labels.Labels
	ref       storage.SeriesRef
	exemplars []exemplar.Exemplar
	written   Written
}

func (r *remoteAppend) sample(t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
	if r.failed != nil {
		return
	}
	ref, err := r.Append(r.ref, r.labels, 0, t, v, h, fh, storage.AOptions{Exemplars: r.exemplars})
	if err != nil || ref == 0 {
		return // counted by the appender
	}
	r.ref = ref
	r.written.Exemplars += int64(len(r.exemplars))
	r.exemplars = nil
	if h != nil || fh != nil {
		r.written.Histograms++
	} else {
		r.written.Samples++
	}
}

var errTooManyParts = errors.New("the request has too many series or samples; send smaller batches")

// scanRemote bounds what decoding a request may take.
func scanRemote(data []byte, seriesField protowire.Number) error {
	series, parts := 0, 0
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(num, typ, data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if typ == protowire.BytesType {
			parts++
			if num == seriesField {
				series++
				inner, n := protowire.ConsumeBytes(data)
				if n < 0 {
					return protowire.ParseError(n)
				}
				more, err := countParts(inner)
				if err != nil {
					return err
				}
				parts += more
			}
		}
		if series > maxRemoteSeries || parts > maxRemoteParts {
			return errTooManyParts
		}
		data = data[size:]
	}
	return nil
}

func countParts(data []byte) (parts int, err error) {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, typ, data[n:])
		if size < 0 {
			return 0, protowire.ParseError(size)
		}
		if parts++; parts > maxRemoteParts {
			return 0, errTooManyParts
		}
		data = data[n+size:]
	}
	return parts, nil
}
