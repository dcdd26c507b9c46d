package prom

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/orielhq/oriel/internal/telemetry"
)

func remoteV1(t testing.TB, now time.Time) []byte {
	t.Helper()
	ms := now.UnixMilli()
	data, err := (&prompb.WriteRequest{
		Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up", Type: prompb.MetricMetadata_GAUGE, Help: "whether it is"}},
		Timeseries: []prompb.TimeSeries{
			{
				Labels:    []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "shop"}},
				Samples:   []prompb.Sample{{Timestamp: ms - 1000, Value: 0}, {Timestamp: ms, Value: 1}},
				Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "1"}}, Timestamp: ms, Value: 1}},
			},
			{Labels: []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "old"}}, Samples: []prompb.Sample{{Timestamp: ms - 31*24*3600*1000}}},
			{Labels: []prompb.Label{{Name: "job", Value: "nameless"}}, Samples: []prompb.Sample{{Timestamp: ms}}},
		},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func remoteV2(t testing.TB, now time.Time) []byte {
	t.Helper()
	data, err := (&writev2.Request{
		Symbols: []string{"", "__name__", "requests_total", "job", "shop", "how many", "trace_id", "1"},
		Timeseries: []writev2.TimeSeries{
			{
				LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Timestamp: now.UnixMilli(), Value: 7}},
				Metadata:  writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5},
				Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{6, 7}, Timestamp: now.UnixMilli(), Value: 1}},
			},
			{LabelsRefs: []uint32{1, 99}, Samples: []writev2.Sample{{Timestamp: now.UnixMilli()}}},
		},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWriteRemote(t *testing.T) {
	s := store(t)
	now := time.Now()
	w, rejected, err := s.WriteRemote(t.Context(), 1, 1, remoteV1(t, now))
	if err != nil || w != (Written{Samples: 2, Exemplars: 1}) || rejected[ReasonTooOld] != 1 || rejected[ReasonInvalid] != 1 {
		t.Errorf("version 1: %+v, %v, %v", w, rejected, err)
	}
	w, rejected, err = s.WriteRemote(t.Context(), 1, 2, remoteV2(t, now))
	if err != nil || w != (Written{Samples: 1, Exemplars: 1}) || rejected[ReasonInvalid] != 1 {
		t.Errorf("version 2: %+v, %v, %v", w, rejected, err)
	}
	for expr, want := range map[string]string{"up": "__name__=up job=shop 1", "requests_total": "__name__=requests_total job=shop 7"} {
		if got := strings.Join(text(query(t, s, whole(1), instant(expr, now))), "; "); got != want {
			t.Errorf("%s: %s", expr, got)
		}
	}
	infos, _, err := s.MetricInfos(t.Context(), whole(1), telemetry.SeriesQuery{Start: now.Add(-time.Hour), End: now}, telemetry.Budget{})
	if err != nil || len(infos) != 2 || infos[0].Type != "counter" || infos[1].Help != "whether it is" {
		t.Errorf("infos %+v, %v", infos, err)
	}
	empty := strings.Repeat("\x0a\x00", maxRemoteSeries+1)
	for _, data := range []string{"\x0a\xff", "nonsense", empty} {
		if _, _, err := s.WriteRemote(t.Context(), 1, 1, []byte(data)); !errors.Is(err, telemetry.ErrRefused) {
			t.Errorf("%.20q: %v", data, err)
		}
	}
}

func FuzzDecodeRemote(f *testing.F) {
	f.Add(byte(1), remoteV1(f, time.Unix(1e9, 0)))
	f.Add(byte(2), remoteV2(f, time.Unix(1e9, 0)))
	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		series, err := decodeRemote(int(version%2)+1, data)
		if err != nil {
			return
		}
		if series.n > maxRemoteSeries {
			t.Errorf("%d series", series.n)
		}
		for i := range series.n {
			if one, err := series.at(i); err == nil {
				validLabels(one.labels)
			}
		}
	})
}
