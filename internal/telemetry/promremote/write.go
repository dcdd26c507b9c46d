package promremote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

var errNobody = errors.New("write metrics: tenant 0 is nobody's")

// EncodeOTLP converts the data points as the embedded storage does, to a
// payload for Deliver, empty where there is nothing to deliver. It may change
// md. rejected counts by reason what can never be stored. Errors are the
// context's.
func (s *Store) EncodeOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (payload []byte, rejected map[string]int64, err error) {
	if tenant == 0 {
		return nil, nil, errNobody
	}
	c := s.collector(tenant)
	if rejected, err = prom.ConvertOTLP(ctx, md, s.cfg.Now(), c); err != nil {
		return nil, nil, fmt.Errorf("write metrics: %w", err)
	}
	payload, err = c.payload()
	return payload, rejected, err
}

// EncodeRemote converts a remote write request of version 1 or 2, decompressed.
// Errors: telemetry.ErrRefused for one that cannot be read, or the context's.
func (s *Store) EncodeRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (payload []byte, w prom.Written, rejected map[string]int64, err error) {
	if tenant == 0 {
		return nil, w, nil, errNobody
	}
	c := s.collector(tenant)
	if w, rejected, err = prom.ConvertRemote(ctx, version, data, s.cfg.Now(), c); err != nil {
		return nil, w, nil, fmt.Errorf("write metrics: %w", err)
	}
	payload, err = c.payload()
	return payload, w, rejected, err
}

// Deliver sends payloads joined together. Errors: telemetry.ErrRefused, after
// which a part may have been stored, or telemetry.ErrUnavailable and the
// context's, after which trying again helps. Which process took them is not
// known.
func (s *Store) Deliver(ctx context.Context, tenant telemetry.TenantID, payload []byte) (instance string, err error) {
	if tenant == 0 {
		return "", errNobody
	}
	req, err := s.request(ctx, s.cfg.WriteURL, tenant, "application/x-protobuf", snappy.Encode(nil, payload))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		s.cfg.Logger.Warn("the metrics' server cannot be reached", "err", err)
		return "", fmt.Errorf("write metrics: %w", telemetry.ErrUnavailable)
	}
	// What it says may quote series.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, minAnswerBytes))
	_ = resp.Body.Close()
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return "", nil
	case permanent(code):
		s.cfg.Logger.Warn("the metrics' server refused samples", "status", code)
		return "", fmt.Errorf("write metrics: %w", telemetry.ErrRefused)
	default:
		return "", fmt.Errorf("write metrics: %w: status %d", telemetry.ErrUnavailable, code)
	}
}

// permanent tells an answer about the samples from one about the server, or
// about our credentials and address, which somebody may put right.
func permanent(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code/100 == 4
}

// Instance implements spool.Sink.
func (*Store) Instance(context.Context) (string, error) { return "", nil }

// Flush implements spool.Sink: an answered write is the server's to keep.
func (*Store) Flush(context.Context) error { return nil }

// A collector makes a remote write request.
type collector struct {
	label, tenant string
	builder       *labels.Builder
	req           prompb.WriteRequest
	bySeries      map[string]int
	infos         map[string]bool
	key           []byte
}

func (s *Store) collector(tenant telemetry.TenantID) *collector {
	return &collector{
		label: s.cfg.Tenancy.Label, tenant: number(tenant), builder: labels.NewBuilder(labels.EmptyLabels()),
		bySeries: make(map[string]int), infos: make(map[string]bool),
	}
}

var _ prom.Sink = (*collector)(nil)

// Sample implements prom.Sink.
func (c *collector) Sample(l labels.Labels, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) {
	if c.label != "" {
		// Whatever the sender wrote there.
		c.builder.Reset(l)
		l = c.builder.Set(c.label, c.tenant).Labels()
	}
	c.key = l.Bytes(c.key)
	i, ok := c.bySeries[string(c.key)]
	if !ok {
		i = len(c.req.Timeseries)
		c.bySeries[string(c.key)] = i
		// The converter uses the labels' memory again.
		c.req.Timeseries = append(c.req.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(l.Copy(), nil)})
	}
	ts := &c.req.Timeseries[i]
	switch {
	case h != nil:
		ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(t, h.Copy()))
	case fh != nil:
		ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(t, fh.Copy()))
	default:
		ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: t, Value: v})
	}
	for _, e := range o.Exemplars {
		ts.Exemplars = append(ts.Exemplars, exemplarOf(e))
	}
}

func exemplarOf(e exemplar.Exemplar) prompb.Exemplar {
	return prompb.Exemplar{Labels: prompb.FromLabels(e.Labels.Copy(), nil), Value: e.Value, Timestamp: e.Ts}
}

// Info implements prom.Sink. A server that keeps no tenants apart is not told:
// it would tell everybody.
func (c *collector) Info(name string, m metadata.Metadata) {
	if name == "" || m.IsEmpty() || c.label != "" || c.infos[name] {
		return
	}
	c.infos[name] = true
	if m.Type == "" {
		m.Type = model.MetricTypeUnknown
	}
	c.req.Metadata = append(c.req.Metadata, prompb.MetricMetadata{
		Type: prompb.FromMetadataType(m.Type), MetricFamilyName: name, Help: m.Help, Unit: m.Unit,
	})
}

func (c *collector) payload() ([]byte, error) {
	for i := range c.req.Timeseries {
		ts := &c.req.Timeseries[i]
		sortByTime(ts)
	}
	data, err := c.req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write metrics: %w", err)
	}
	return data, nil
}

// sortByTime puts a series' samples in the order that remote write demands.
func sortByTime(ts *prompb.TimeSeries) {
	slices.SortStableFunc(ts.Samples, func(a, b prompb.Sample) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	slices.SortStableFunc(ts.Histograms, func(a, b prompb.Histogram) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	slices.SortStableFunc(ts.Exemplars, func(a, b prompb.Exemplar) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
}
