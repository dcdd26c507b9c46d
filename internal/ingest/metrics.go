package ingest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what comes in. Nothing is counted by team: the number of
// series stays fixed.
type Metrics struct {
	// Accepted counts records that were taken, by signal.
	Accepted *prometheus.CounterVec
	// Rejected counts records that were refused, by signal and reason.
	Rejected *prometheus.CounterVec
	// Bytes counts bodies after decompression.
	Bytes prometheus.Counter
	// Batches counts requests whose records were written.
	Batches prometheus.Counter
	// Requests counts answers by HTTP status code.
	Requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*Metrics, error) {
	const ns, sub = "oriel", "ingest"
	m := &Metrics{
		Accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "accepted_total", Help: "Log records, spans and data points stored.",
		}, []string{"signal"}),
		Rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "rejected_total", Help: "Log records, spans and data points refused, by reason.",
		}, []string{"signal", "reason"}),
		Bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "bytes_total", Help: "Bytes of request bodies after decompression.",
		}),
		Batches: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "batches_total", Help: "Requests whose records were stored.",
		}),
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "requests_total", Help: "OTLP requests, by status code of the answer.",
		}, []string{"code"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.Accepted, m.Rejected, m.Bytes, m.Batches, m.Requests} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register ingest metrics: %w", err)
		}
	}
	return m, nil
}
