package promremote

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// A server is Prometheus' storage and engine behind its HTTP API, whose own
// package needs modules that nothing else does. Tenants are told apart by the
// header X-Scope-OrgID, as Mimir does; without one all is the same tenant's.
type server struct {
	t      testing.TB
	url    string
	dir    string
	parser parser.Parser
	engine *promql.Engine

	mu      sync.Mutex
	tenants map[string]*tsdb.DB
	infos   map[string]map[string][]map[string]string
	asked   []string // expressions
}

func newServer(t testing.TB) *server {
	s := &server{t: t, dir: t.TempDir(), parser: parser.NewParser(parser.Options{}), tenants: make(map[string]*tsdb.DB), infos: make(map[string]map[string][]map[string]string)}
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 5_000_000, Timeout: 30 * time.Second, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: s.parser, NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 },
	})
	h := httptest.NewServer(s)
	s.url = h.URL
	t.Cleanup(func() {
		h.Close()
		for _, db := range s.tenants {
			_ = db.Close()
		}
	})
	return s
}

func (s *server) db(tenant string) *tsdb.DB {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenants[tenant] == nil {
		o := tsdb.DefaultOptions()
		o.EnableExemplarStorage, o.MaxExemplars, o.OutOfOrderTimeWindow, o.StripeSize = true, 100, int64(30*24*time.Hour/time.Millisecond), 512
		db, err := tsdb.Open(filepath.Join(s.dir, "tenant"+tenant), slog.New(slog.DiscardHandler), nil, o, nil)
		if err != nil {
			panic(err)
		}
		s.tenants[tenant] = db
	}
	return s.tenants[tenant]
}

func msOf(text string) int64 {
	f, _ := strconv.ParseFloat(text, 64)
	return int64(math.Round(f * 1000))
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant := r.Header.Get("X-Scope-OrgID")
	db := s.db(tenant)
	start, end := msOf(r.FormValue("start")), msOf(r.FormValue("end"))
	var warnings, notes []string
	answer := func(data any, err error) {
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "errorType": "execution", "error": err.Error()})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data, "warnings": warnings, "infos": notes})
	}
	querier, err := db.Querier(start, end)
	if err != nil {
		panic(err)
	}
	defer querier.Close() //nolint:errcheck // it was only read
	series := func(do func(labels.Labels)) (err error) {
		for _, text := range r.Form["match[]"] {
			m, err := s.parser.ParseMetricSelector(text)
			if err != nil {
				return err
			}
			set := querier.Select(r.Context(), true, &storage.SelectHints{Start: start, End: end, Func: "series"}, m...)
			for set.Next() {
				do(set.At().Labels())
			}
		}
		return nil
	}
	set := make(map[string]bool)
	switch path := r.URL.Path; {
	case path == "/api/v1/write":
		s.write(w, r, tenant, db)
	case path == "/api/v1/read":
		s.read(w, r, db)
	case path == "/api/v1/query", path == "/api/v1/query_range":
		s.mu.Lock()
		s.asked = append(s.asked, r.FormValue("query"))
		s.mu.Unlock()
		data, said, err := s.query(r, db, start, end)
		warnings, notes = said.AsStrings(r.FormValue("query"), 10, 10)
		answer(data, err)
	case path == "/api/v1/series":
		var all []map[string]string
		err := series(func(l labels.Labels) { all = append(all, l.Map()) })
		answer(all, err)
	case path == "/api/v1/labels":
		err := series(func(l labels.Labels) { l.Range(func(l labels.Label) { set[l.Name] = true }) })
		answer(slices.Sorted(maps.Keys(set)), err)
	case strings.HasSuffix(path, "/values"):
		err := series(func(l labels.Labels) {
			if v := l.Get(strings.Split(path, "/")[4]); v != "" {
				set[v] = true
			}
		})
		answer(slices.Sorted(maps.Keys(set)), err)
	case path == "/api/v1/metadata":
		answer(s.infos[tenant], nil)
	case path == "/api/v1/query_exemplars":
		expr, err := s.parser.ParseExpr(r.FormValue("query"))
		if err != nil {
			answer(nil, err)
			return
		}
		q, _ := db.ExemplarQuerier(r.Context())
		found, err := q.Select(start, end, parser.ExtractSelectors(expr)...)
		all := make([]map[string]any, 0, len(found))
		for _, f := range found {
			var list []map[string]any
			for _, e := range f.Exemplars {
				list = append(list, map[string]any{"labels": e.Labels.Map(), "value": strconv.FormatFloat(e.Value, 'f', -1, 64), "timestamp": float64(e.Ts) / 1000})
			}
			all = append(all, map[string]any{"seriesLabels": f.SeriesLabels.Map(), "exemplars": list})
		}
		answer(all, err)
	default:
		http.NotFound(w, r)
	}
}

func (s *server) query(r *http.Request, db *tsdb.DB, start, end int64) (any, annotations.Annotations, error) {
	var q promql.Query
	var err error
	if at := r.FormValue("time"); at != "" {
		q, err = s.engine.NewInstantQuery(r.Context(), db, nil, r.FormValue("query"), time.UnixMilli(msOf(at)))
	} else {
		q, err = s.engine.NewRangeQuery(r.Context(), db, nil, r.FormValue("query"), time.UnixMilli(start), time.UnixMilli(end), time.Duration(msOf(r.FormValue("step")))*time.Millisecond)
	}
	if err != nil {
		return nil, nil, err
	}
	defer q.Close()
	res := q.Exec(r.Context())
	if res.Err != nil {
		return nil, nil, res.Err
	}
	number := func(t int64, f float64) any {
		return []any{float64(t) / 1000, strconv.FormatFloat(f, 'f', -1, 64)}
	}
	hist := func(t int64, h *histogram.FloatHistogram) any {
		var buckets []any
		for it := h.AllBucketIterator(); it.Next(); {
			b := it.At()
			rule := 2
			switch {
			case b.LowerInclusive && b.UpperInclusive:
				rule = 3
			case b.LowerInclusive:
				rule = 1
			case b.UpperInclusive:
				rule = 0
			}
			if b.Count != 0 {
				buckets = append(buckets, []any{rule, fmt.Sprint(b.Lower), fmt.Sprint(b.Upper), fmt.Sprint(b.Count)})
			}
		}
		return []any{float64(t) / 1000, map[string]any{"count": fmt.Sprint(h.Count), "sum": fmt.Sprint(h.Sum), "buckets": buckets}}
	}
	var out []any
	switch v := res.Value.(type) {
	case promql.Scalar:
		return map[string]any{"resultType": "scalar", "result": number(v.T, v.V)}, nil, nil
	case promql.Vector:
		for _, p := range v {
			one := map[string]any{"metric": p.Metric.Map()}
			if p.H != nil {
				one["histogram"] = hist(p.T, p.H)
			} else {
				one["value"] = number(p.T, p.F)
			}
			out = append(out, one)
		}
	case promql.Matrix:
		for _, p := range v {
			var numbers, hists []any
			for _, f := range p.Floats {
				numbers = append(numbers, number(f.T, f.F))
			}
			for _, h := range p.Histograms {
				hists = append(hists, hist(h.T, h.H))
			}
			out = append(out, map[string]any{"metric": p.Metric.Map(), "values": numbers, "histograms": hists})
		}
	}
	return map[string]any{"resultType": string(res.Value.Type()), "result": out}, res.Warnings, nil
}

func (s *server) write(w http.ResponseWriter, r *http.Request, tenant string, db *tsdb.DB) {
	body, _ := io.ReadAll(r.Body)
	var req prompb.WriteRequest
	if body, err := snappy.Decode(nil, body); err != nil || req.Unmarshal(body) != nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	app, b := db.Appender(r.Context()), labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		l := ts.ToLabels(&b, nil)
		var ref storage.SeriesRef
		var err error
		for _, p := range ts.Samples {
			if ref, err = app.Append(ref, l, p.Timestamp, p.Value); err != nil {
				s.t.Error(l, err)
			}
		}
		for _, h := range ts.Histograms {
			if ref, err = app.AppendHistogram(ref, l, h.Timestamp, h.ToIntHistogram(), nil); err != nil {
				s.t.Error(l, err)
			}
		}
		for _, e := range ts.Exemplars {
			if _, err = app.AppendExemplar(ref, l, e.ToExemplar(&b, nil)); err != nil {
				s.t.Error(l, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.infos[tenant] == nil {
		s.infos[tenant] = make(map[string][]map[string]string)
	}
	for _, m := range req.Metadata {
		s.infos[tenant][m.MetricFamilyName] = []map[string]string{{"type": strings.ToLower(m.Type.String()), "unit": m.Unit, "help": m.Help}}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) read(w http.ResponseWriter, r *http.Request, db *tsdb.DB) {
	body, _ := io.ReadAll(r.Body)
	var req prompb.ReadRequest
	if body, err := snappy.Decode(nil, body); err != nil || req.Unmarshal(body) != nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	var resp prompb.ReadResponse
	for _, q := range req.Queries {
		querier, _ := db.Querier(q.StartTimestampMs, q.EndTimestampMs)
		var matchers []*labels.Matcher
		for _, m := range q.Matchers {
			matchers = append(matchers, labels.MustNewMatcher(labels.MatchType(m.Type), m.Name, m.Value))
		}
		result := &prompb.QueryResult{}
		set := querier.Select(r.Context(), true, nil, matchers...)
		for set.Next() {
			ts := &prompb.TimeSeries{Labels: prompb.FromLabels(set.At().Labels(), nil)}
			it := set.At().Iterator(nil)
			for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
				if kind == chunkenc.ValFloat {
					t, f := it.At()
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: t, Value: f})
				} else {
					t, h := it.AtHistogram(nil)
					ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(t, h))
				}
			}
			result.Timeseries = append(result.Timeseries, ts)
		}
		resp.Results = append(resp.Results, result)
		_ = querier.Close()
	}
	data, _ := resp.Marshal()
	_, _ = w.Write(snappy.Encode(nil, data))
}
