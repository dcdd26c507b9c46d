package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// countRepeatedWrites makes visible how often replicas come in each other's
// way.
func (s *Server) countRepeatedWrites() {
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "oriel_store_repeated_writes_total",
		Help: "Writes to PostgreSQL that were run again because they came in another's way or lost their connection.",
	}, func() float64 { return float64(s.db.Repeated()) }))
}

// once returns what remembers used assertions for all replicas. A server that
// is alone remembers them by itself, without a write for each.
func (s *Server) once() func(ctx context.Context, hash string, until time.Time) (bool, error) {
	if s.Settings.DatabaseURL == "" {
		return nil
	}
	return s.db.UseOnce
}
