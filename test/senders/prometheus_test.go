package senders

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/orielhq/oriel/test/testenv"
)

// bearer sends an ingest key.
type bearer string

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// TestPrometheusRemoteWrite sends with the client of the Prometheus project.
func TestPrometheusRemoteWrite(t *testing.T) {
	o := testenv.StartOriel(t, "--self-team", "-", "--otlp-grpc-listen", "-")
	o.AddTeam("shop", "Shop")
	key := o.IngestKey("shop")
	now := time.Now().UnixMilli()
	for message, body := range map[remote.WriteMessageType]any{
		remote.WriteV1MessageType: &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels: []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "shop"}}, Samples: []prompb.Sample{{Timestamp: now, Value: 1}},
		}}},
		remote.WriteV2MessageType: &writev2.Request{Symbols: []string{"", "__name__", "requests_total"}, Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: now, Value: 7}},
		}}},
	} {
		for _, k := range []string{key, "wrong"} {
			api, err := remote.NewAPI(o.URL, remote.WithAPIPath("api/v1/write"), remote.WithAPIHTTPClient(&http.Client{Transport: bearer(k)}))
			if err != nil {
				t.Fatal(err)
			}
			stats, err := api.Write(t.Context(), message, body)
			if (err == nil) != (k == key) || k == key && message == remote.WriteV2MessageType && stats.Samples != 1 {
				t.Errorf("%s with key %s: %+v, %v", message, k, stats, err)
			}
		}
	}
	usage := testenv.AdminJSON[[]struct {
		Signal string
		Series int64
	}](o, "telemetry", "usage")
	if usage[2].Signal != "metrics" || usage[2].Series != 2 {
		t.Errorf("usage %+v", usage)
	}
}
