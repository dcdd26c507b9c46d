package victoria

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/spool"
)

func benchBatch(n int, at time.Time) []telemetry.LogRecord {
	batch := make([]telemetry.LogRecord, n)
	for i := range batch {
		batch[i] = telemetry.LogRecord{
			Time: at.Add(time.Duration(i) * time.Microsecond),
			Resource: attrs("service.name", fmt.Sprint("service", i%20), "service.namespace", "shop", "host.name", fmt.Sprint("h", i%3),
				"deployment.environment.name", "prod", "telemetry.sdk.name", "opentelemetry"),
			Attributes: attrs("http.route", fmt.Sprint("/items/", i%50), "http.response.status_code", "200", "user.id", fmt.Sprint(i*7919%10007),
				"duration_ms", fmt.Sprint(i%900)),
			Severity: telemetry.Severities()[2+i%3],
			Message:  fmt.Sprintf("request %d finished in %d ms with %d bytes, cache miss for key item-%d", i, i%900, i*31%5000, i*7919%10007),
			TraceID:  fmt.Sprintf("%032x", i), SpanID: fmt.Sprintf("%016x", i),
		}
	}
	return batch
}

func BenchmarkWriteLogs(b *testing.B) {
	c, tenant := engine(b)
	batch := benchBatch(1000, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if err := c.WriteLogs(b.Context(), tenant, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// The same through the spool, the last delivery included.
func BenchmarkWriteLogsThroughSpool(b *testing.B) {
	c, tenant := engine(b)
	s, err := spool.Open(spool.Config{
		Name: "logs", Dir: b.TempDir(), Sink: c, MaxBytes: 8 << 30, Settle: WrittenAfter, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	w := spool.LogWriter{Spool: s, Encode: c.EncodeLogs}
	batch := benchBatch(1000, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if err := w.WriteLogs(b.Context(), tenant, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(batch))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	if err := s.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(true); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkQueryLogs(b *testing.B) {
	c, tenant := engine(b)
	now := time.Now()
	for i := range 200 {
		batch := benchBatch(1000, now.Add(-time.Duration(i)*10*time.Second))
		if i == 117 {
			batch[500].Message = "a needle in it"
		}
		if err := c.WriteLogs(b.Context(), tenant, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	filter, err := telemetry.ParseFilter(`deployment.environment.name = prod and service.name != cart`)
	if err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		view telemetry.View
		text string
		rows int
	}{
		{"rare word", whole(tenant), "needle", 1},
		{"rare word in scope", telemetry.NewView(tenant, telemetry.Restriction{Filter: filter}), "needle", 1},
		{"newest 100", whole(tenant), "", 100},
		{"count by service", whole(tenant), `* | stats by (service.name) count() n`, 20},
	} {
		b.Run(bm.name, func(b *testing.B) {
			q := lastHour(bm.text)
			q.Limit = 100
			b.ReportAllocs()
			for b.Loop() {
				r, err := c.QueryLogs(b.Context(), bm.view, q, telemetry.Budget{})
				if err != nil || len(r.Rows) != bm.rows {
					b.Fatalf("%d rows, %v", len(r.Rows), err)
				}
			}
		})
	}
}

func BenchmarkGuard(b *testing.B) {
	now := time.Now()
	for _, bm := range []struct{ name, text string }{
		{"words", "Failed password"},
		{"pipes", `error service.name:=checkout | stats by (http.route) count() n, quantile(0.99, duration_ms) p99 | sort by (n desc) | limit 10`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Guard(bm.text, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
