package tools

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// As many rows as fit, whatever their sizes, against trying all.
func TestFitting(t *testing.T) {
	for _, size := range []func(i int) int{
		func(int) int { return 10 }, func(i int) int { return i * i % 97 }, func(i int) int { return 1 + 500*(i%50/49) }, func(i int) int { return 1 + 1000/(i+1) },
	} {
		compose := func(n int) string {
			b := strings.Repeat("h", 20)
			for i := range n {
				b += strings.Repeat("x", size(i)) + "\n"
			}
			return b
		}
		for _, most := range []int{0, 20, 30, 200, 1000, 5000} {
			want := ""
			for n := 1; n <= 100; n++ {
				if text := compose(n); len(text) <= most {
					want = text
				}
			}
			tries := 0
			got := fitting(100, most, func(n int) string { tries++; return compose(n) })
			if got != want || tries > guesses+8 {
				t.Errorf("most %d: %d bytes, want %d, after %d tries", most, len(got), len(want), tries)
			}
		}
	}
	if got := fitting(0, 10, func(int) string { return "none" }); got != "none" {
		t.Errorf("no rows: %q", got)
	}
}

// What a search costs beside the engine.
func BenchmarkSearchLogs(b *testing.B) {
	for _, tokens := range []int{2000, 12000} {
		b.Run(fmt.Sprint("max_tokens=", tokens), func(b *testing.B) {
			e := newBench(b)
			for i := range 100 {
				e.logs.rows = append(e.logs.rows, telemetry.LogRow{Time: e.Now().Add(-time.Duration(i+1) * time.Second), Fields: kv(
					"_msg", fmt.Sprintf("request GET /orders/%d took %d ms", i, i*7), "service.name", "orders", "severity", "INFO", "trace_id", fmt.Sprintf("%032x", i), "span_id", fmt.Sprintf("%016x", i),
					"http.route", "/orders/{id}", "k8s.pod.name", fmt.Sprint("orders-", i%4), "host.name", fmt.Sprint("node-", i%2), "duration_ms", fmt.Sprint(i*7), "cloud.region", "eu-west-1")})
			}
			who := e.caller("logs:read")
			b.ReportAllocs()
			for b.Loop() {
				if res := e.call(who, "search_logs", fmt.Sprintf(`{"max_tokens":%d}`, tokens)); res.IsError {
					b.Fatal(res.Text)
				}
			}
		})
	}
}
