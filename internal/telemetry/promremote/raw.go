package promremote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

// raw reads raw samples of one tenant. It implements storage.Queryable for one
// query: the samples of all its selectors together are bounded.
type raw struct {
	store *Store
	q     reading
	left  chan int // samples that may still be fetched
}

func (s *Store) raw(q reading) raw {
	left := make(chan int, 1)
	left <- prom.MaxSamples(q.budget)
	return raw{s, q, left}
}

// Querier implements storage.Queryable.
func (r raw) Querier(mint, maxt int64) (storage.Querier, error) {
	return rawQuerier{r, mint, maxt}, nil
}

type rawQuerier struct {
	raw
	mint, maxt int64
}

var errNotAsked = errors.New("names and values of labels are not asked of raw samples")

// LabelValues implements storage.LabelQuerier.
func (rawQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotAsked
}

// LabelNames implements storage.LabelQuerier.
func (rawQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotAsked
}

// Close implements storage.LabelQuerier.
func (rawQuerier) Close() error { return nil }

// Select implements storage.Querier.
func (r rawQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := r.mint, r.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	matchers, ok := r.store.matchers(r.q, matchers)
	if !ok || maxt < mint {
		return storage.EmptySeriesSet()
	}
	var series []rawSeries
	var err error
	if r.store.cfg.Server == Prometheus {
		series, err = r.store.remoteRead(ctx, r.q, mint, maxt, matchers)
	} else {
		series, err = r.store.rangeRead(ctx, r.q, mint, maxt, matchers)
	}
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	left := <-r.left
	for i := range series {
		left -= len(series[i].samples)
	}
	r.left <- left
	if left < 0 {
		return storage.ErrSeriesSet(telemetry.ErrTooExpensive)
	}
	slices.SortFunc(series, func(a, b rawSeries) int { return labels.Compare(a.labels, b.labels) })
	return &rawSet{series: series}
}

type rawSeries struct {
	labels  labels.Labels
	samples []chunks.Sample
}

type rawSet struct {
	series []rawSeries
	at     rawSeries
}

// Next implements storage.SeriesSet.
func (s *rawSet) Next() bool {
	if len(s.series) == 0 {
		return false
	}
	s.at, s.series = s.series[0], s.series[1:]
	return true
}

// At implements storage.SeriesSet.
func (s *rawSet) At() storage.Series { return storage.NewListSeries(s.at.labels, s.at.samples) }

// Err implements storage.SeriesSet.
func (*rawSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (*rawSet) Warnings() annotations.Annotations { return nil }

// A sample is a number or a histogram.
type sample struct {
	t  int64
	f  float64
	fh *histogram.FloatHistogram
}

// ST implements chunks.Sample.
func (sample) ST() int64 { return 0 }

// T implements chunks.Sample.
func (s sample) T() int64 { return s.t }

// F implements chunks.Sample.
func (s sample) F() float64 { return s.f }

// H implements chunks.Sample.
func (sample) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample.
func (s sample) FH() *histogram.FloatHistogram { return s.fh }

// Type implements chunks.Sample.
func (s sample) Type() chunkenc.ValueType {
	if s.fh != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Copy implements chunks.Sample.
func (s sample) Copy() chunks.Sample {
	if s.fh != nil {
		s.fh = s.fh.Copy()
	}
	return s
}

// inOrder sorts a series' samples, drops those outside of the bounds, and the
// earlier ones of the same time.
func inOrder(samples []chunks.Sample, mint, maxt int64) []chunks.Sample {
	samples = slices.DeleteFunc(samples, func(s chunks.Sample) bool { return s.T() < mint || s.T() > maxt })
	slices.SortStableFunc(samples, func(a, b chunks.Sample) int { return int(min(1, max(-1, a.T()-b.T()))) })
	return slices.CompactFunc(samples, func(a, b chunks.Sample) bool { return a.T() == b.T() })
}

// remoteRead asks for raw samples by Prometheus' remote read protocol.
func (s *Store) remoteRead(ctx context.Context, q reading, mint, maxt int64, matchers []*labels.Matcher) ([]rawSeries, error) {
	query := &prompb.Query{StartTimestampMs: mint, EndTimestampMs: maxt}
	for _, m := range matchers {
		query.Matchers = append(query.Matchers, &prompb.LabelMatcher{Type: map[labels.MatchType]prompb.LabelMatcher_Type{
			labels.MatchEqual: prompb.LabelMatcher_EQ, labels.MatchNotEqual: prompb.LabelMatcher_NEQ,
			labels.MatchRegexp: prompb.LabelMatcher_RE, labels.MatchNotRegexp: prompb.LabelMatcher_NRE,
		}[m.Type], Name: m.Name, Value: m.Value})
	}
	data, err := (&prompb.ReadRequest{Queries: []*prompb.Query{query}}).Marshal()
	if err != nil {
		return nil, fmt.Errorf("ask for samples: %w", err)
	}
	req, err := s.request(ctx, s.cfg.URL+"/api/v1/read", q.tenant, "application/x-protobuf", snappy.Encode(nil, data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	limit := answerBytes(q.budget)
	body, err := s.ask(req, limit)
	if err != nil {
		return nil, err
	}
	if n, err := snappy.DecodedLen(body); err == nil && n > limit {
		return nil, telemetry.ErrTooExpensive
	}
	var resp prompb.ReadResponse
	if body, err = snappy.Decode(nil, body); err == nil {
		err = resp.Unmarshal(body)
	}
	if err != nil || len(resp.Results) != 1 {
		s.cfg.Logger.Warn("the metrics' server answered something else", "path", req.URL.Path)
		return nil, telemetry.ErrUnavailable
	}
	var out []rawSeries
	b, scratch := labels.NewBuilder(labels.EmptyLabels()), labels.NewScratchBuilder(0)
	for _, ts := range resp.Results[0].Timeseries {
		b.Reset(ts.ToLabels(&scratch, nil))
		one := rawSeries{samples: make([]chunks.Sample, 0, len(ts.Samples)+len(ts.Histograms))}
		if one.labels, err = s.own(q, b); err != nil {
			return nil, err
		}
		for _, p := range ts.Samples {
			one.samples = append(one.samples, sample{t: p.Timestamp, f: p.Value})
		}
		for _, h := range ts.Histograms {
			if h.IsFloatHistogram() {
				one.samples = append(one.samples, sample{t: h.Timestamp, fh: h.ToFloatHistogram()})
			} else {
				// The engine works on these anyway.
				one.samples = append(one.samples, sample{t: h.Timestamp, fh: h.ToIntHistogram().ToFloat(nil)})
			}
		}
		one.samples = inOrder(one.samples, mint, maxt)
		out = append(out, one)
	}
	return out, nil
}

// rangeRead asks for raw samples as a range selector at an instant.
func (s *Store) rangeRead(ctx context.Context, q reading, mint, maxt int64, matchers []*labels.Matcher) ([]rawSeries, error) {
	var data vectorData
	_, err := s.get(ctx, q, "/api/v1/query", url.Values{
		"query": {fmt.Sprintf("%s[%dms]", selectorText(matchers), maxt-mint+1)}, "time": {seconds(maxt)}, "nocache": {"1"},
	}, &data)
	if err != nil {
		return nil, err
	}
	var out []rawSeries
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, m := range data.Result {
		one := rawSeries{samples: make([]chunks.Sample, 0, len(m.Values))}
		if one.labels, err = s.own(q, m.builder(b)); err != nil {
			return nil, err
		}
		for _, v := range m.Values {
			t, f, err := v.number()
			if err != nil {
				return nil, err
			}
			if math.IsNaN(f) && s.cfg.Server == VictoriaMetrics {
				// It keeps no other NaN than the marks of a series' end.
				f = math.Float64frombits(value.StaleNaN)
			}
			one.samples = append(one.samples, sample{t: t, f: f})
		}
		one.samples = inOrder(one.samples, mint, maxt)
		if len(one.samples) > 0 {
			out = append(out, one)
		}
	}
	return out, nil
}

// vectorData is the answer to a query: a vector or a matrix.
type vectorData struct {
	ResultType string         `json:"resultType"`
	Result     []vectorSeries `json:"result"`
}

type vectorSeries struct {
	Metric     map[string]string `json:"metric"`
	Value      *pair             `json:"value"`
	Values     []pair            `json:"values"`
	Histogram  *pair             `json:"histogram"`
	Histograms []pair            `json:"histograms"`
}

func (v vectorSeries) builder(b *labels.Builder) *labels.Builder { return labelsOf(b, v.Metric) }

func labelsOf(b *labels.Builder, of map[string]string) *labels.Builder {
	b.Reset(labels.EmptyLabels())
	for name, v := range of {
		b.Set(name, v)
	}
	return b
}

// A pair is a time and what is at it.
type pair [2]json.RawMessage

func (p pair) time() (int64, error) {
	t, err := strconv.ParseFloat(string(p[0]), 64)
	if err != nil || math.Abs(t) > 1e12 {
		return 0, telemetry.ErrUnavailable
	}
	return int64(math.Round(t * 1000)), nil
}

func (p pair) number() (t int64, f float64, err error) {
	if t, err = p.time(); err != nil {
		return 0, 0, err
	}
	var text string
	if err = json.Unmarshal(p[1], &text); err == nil {
		f, err = strconv.ParseFloat(text, 64)
	}
	if err != nil {
		return 0, 0, telemetry.ErrUnavailable
	}
	return t, f, nil
}

// histogram decodes [boundaries, lower, upper, count] rows; boundaries are 0
// for a bucket open on the left, 1 on the right, 2 on both sides, 3 closed.
func (p pair) histogram() (t int64, h *telemetry.Histogram, err error) {
	if t, err = p.time(); err != nil {
		return 0, nil, err
	}
	var in struct {
		Count, Sum string
		Buckets    [][4]json.RawMessage
	}
	if json.Unmarshal(p[1], &in) != nil {
		return 0, nil, telemetry.ErrUnavailable
	}
	bad := false
	parse := func(text string) float64 {
		f, err := strconv.ParseFloat(text, 64)
		bad = bad || err != nil
		return f
	}
	of := func(text json.RawMessage) float64 {
		var s string
		bad = json.Unmarshal(text, &s) != nil || bad
		return parse(s)
	}
	h = &telemetry.Histogram{Count: parse(in.Count), Sum: parse(in.Sum)}
	for _, b := range in.Buckets {
		rule := string(b[0])
		h.Buckets = append(h.Buckets, telemetry.Bucket{
			Lower: of(b[1]), Upper: of(b[2]), Count: of(b[3]),
			LowerIncluded: rule == "1" || rule == "3", UpperIncluded: rule == "0" || rule == "3",
		})
	}
	if bad {
		return 0, nil, telemetry.ErrUnavailable
	}
	return t, h, nil
}
