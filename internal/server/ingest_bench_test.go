package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/testkit"
)

// otlpBatch is a request as a collector sends it.
func otlpBatch(b *testing.B, records int) []byte {
	logs := plog.NewLogs()
	now := time.Now()
	for service := range 10 {
		rl := logs.ResourceLogs().AppendEmpty()
		for k, v := range map[string]string{
			"service.name": fmt.Sprint("service", service), "service.namespace": "shop", "host.name": "h1",
			"deployment.environment.name": "prod", "telemetry.sdk.name": "opentelemetry",
		} {
			rl.Resource().Attributes().PutStr(k, v)
		}
		sl := rl.ScopeLogs().AppendEmpty()
		for i := range records / 10 {
			r := sl.LogRecords().AppendEmpty()
			r.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(time.Duration(i) * time.Microsecond)))
			r.SetSeverityNumber(plog.SeverityNumberInfo)
			r.Body().SetStr(fmt.Sprintf("request %d finished in %d ms with %d bytes, cache miss for key item-%d", i, i%900, i*31%5000, i*7919%10007))
			r.Attributes().PutStr("http.route", fmt.Sprint("/items/", i%50))
			r.Attributes().PutInt("http.response.status_code", 200)
			r.Attributes().PutInt("user.id", int64(i*7919%10007))
			r.Attributes().PutInt("duration_ms", int64(i%900))
			r.SetTraceID(pcommon.TraceID{1, byte(i), byte(i >> 8)})
			r.SetSpanID(pcommon.SpanID{2, byte(i), byte(i >> 8)})
		}
	}
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// BenchmarkOTLPLogs is everything from the request to the synced spool, while
// the engine takes in what was acknowledged.
func BenchmarkOTLPLogs(b *testing.B) {
	s := testkit.Start(b, func(c *config.Server) { c.SelfTeam = "-" })
	s.WaitReady()
	s.AddTeam("shop")
	_, secret, err := s.Admin.Directory.AddKey(b.Context(), "shop", "bench", audit.System())
	s.Must(err)
	const records = 1000
	body := otlpBatch(b, records)
	b.SetBytes(int64(len(body)))
	b.SetParallelism(2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodPost, s.URL+"/v1/logs", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/x-protobuf")
			req.Header.Set("Authorization", "Bearer "+string(secret))
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				b.Error(res.Status)
			}
		}
	})
	b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
}
