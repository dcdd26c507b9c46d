package quality

import (
	"fmt"
	"testing"

	"github.com/orielhq/oriel/test/incident/shop"
)

// bucketQuantile is what PromQL says of a histogram: within a bucket values
// are thought to be spread evenly.
func bucketQuantile(buckets []uint64, q float64) float64 {
	all := uint64(0)
	for _, n := range buckets {
		all += n
	}
	rank, below, lower := q*float64(all), 0.0, 0.0
	for i, bound := range shop.Bounds() {
		n := float64(buckets[i])
		if below+n >= rank {
			return lower + (bound-lower)*(rank-below)/n
		}
		below += n
		lower = bound
	}
	return lower
}

// metrics compares PromQL's answers with the points that were sent, at a
// minute in which no instance had been replaced for long.
func (w *world) metrics(t *testing.T) {
	const minute, before = 150, 140
	points := func(minute int, metric string) (out []shop.Point) {
		for _, p := range w.minutes[minute].Points {
			if p.Resource.Team == shop.Team && p.Metric == metric {
				out = append(out, p)
			}
		}
		return out
	}
	instant := func(query string) []map[string]string {
		t.Helper()
		at := points(minute, "process.memory.usage")[0].Time
		return rows(t, w.call(w.viewer, "query_metrics", arguments{"query": query, "time": stamp(at), "series_limit": 200, "max_tokens": 12_000}))
	}
	compare := func(query string, labels []string, want map[string]float64, tolerance float64) {
		t.Helper()
		got := instant(query)
		if len(got) != len(want) {
			t.Errorf("%s: %d series, want %d: %v", query, len(got), len(want), got)
		}
		for _, row := range got {
			key := ""
			for _, l := range labels {
				key += row[l] + " "
			}
			if v := number(t, row["value"]); !near(v, want[key], tolerance) {
				t.Errorf("%s: %s is %g, want %g", query, key, v, want[key])
			}
		}
	}

	requests, seconds, memory := make(map[string]float64), make(map[string]float64), make(map[string]float64)
	var buckets []uint64
	for _, p := range points(minute, "http.server.request.duration") {
		status := fmt.Sprint(attr(p.Attributes, "http.response.status_code"))
		requests[p.Resource.Service+" "+status+" "] += float64(p.Count)
		seconds[p.Resource.Service+" "] += p.Value
		if p.Resource.Service == "orders" && p.Resource.Environment == shop.Production {
			if buckets == nil {
				buckets = make([]uint64, len(p.Buckets))
			}
			for i, n := range p.Buckets {
				buckets[i] += n
			}
		}
	}
	for _, p := range points(minute, "process.memory.usage") {
		memory[p.Resource.Service+" "] = max(memory[p.Resource.Service+" "], p.Value)
	}
	compare("sum by (service_name, http_response_status_code) (http_server_request_duration_seconds_count)", []string{"service_name", "http_response_status_code"}, requests, 1e-9)
	compare("sum by (service_name) (http_server_request_duration_seconds_sum)", []string{"service_name"}, seconds, 1e-4)
	compare("max by (service_name) (process_memory_usage_bytes)", []string{"service_name"}, memory, 1e-4)
	compare(`histogram_quantile(0.95, sum by (le) (http_server_request_duration_seconds_bucket{service_name="orders", deployment_environment_name="prod"}))`, nil,
		map[string]float64{"": bucketQuantile(buckets, 0.95)}, 1e-3)

	// A rate over ten minutes is what was counted in them.
	rates := make(map[string]float64)
	for _, p := range points(minute, "http.server.request.duration") {
		rates[p.Resource.Service+" "] += float64(p.Count) / ((minute - before) * 60)
	}
	for _, p := range points(before, "http.server.request.duration") {
		rates[p.Resource.Service+" "] -= float64(p.Count) / ((minute - before) * 60)
	}
	delete(rates, "search ") // its instances are new since minute 140
	compare(`sum by (service_name) (rate(http_server_request_duration_seconds_count{service_name!="search"}[10m1s]))`, []string{"service_name"}, rates, 0.02)
}
