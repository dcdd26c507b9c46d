package spool

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what passes; the spool's name is a label.
type metrics struct {
	registerer          prometheus.Registerer
	appended, delivered prometheus.Counter
	refused, replays    prometheus.Counter
	damaged, setAside   prometheus.Counter
	syncs               prometheus.Histogram
	collectors          []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, name string, s *Spool) (*metrics, error) {
	const ns, sub = "oriel", "spool"
	labels := prometheus.Labels{"spool": name}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		registerer: reg,
		appended:   counter("records_appended_total", "Records written and synced."),
		delivered:  counter("delivered_bytes_total", "Bytes that the engine took, those delivered again included."),
		refused:    counter("refused_total", "Requests refused because the spool or the disk is full."),
		replays:    counter("replays_total", "Times that everything kept was delivered again after the engine's restart."),
		damaged:    counter("damaged_segments_total", "Segments whose rest could not be read."),
		setAside:   counter("set_aside_total", "Payloads that the engine refused and that were set aside."),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "sync_seconds", Help: "Time of one sync to disk.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
		}),
	}
	m.collectors = []prometheus.Collector{
		m.appended, m.delivered, m.refused, m.replays, m.damaged, m.setAside, m.syncs,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "bytes", Help: "Bytes on disk that the engine may not have written yet.", ConstLabels: labels,
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(s.bytes)
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range m.collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the spool's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
