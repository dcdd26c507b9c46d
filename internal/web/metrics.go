package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type instruments struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// Instrument counts and times every request from now on, by route pattern and
// status class. Call it once, before the site's handlers serve.
func (s *Site) Instrument(reg prometheus.Registerer) error {
	labels := []string{"route", "class"}
	in := &instruments{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "oriel_http_requests_total", Help: "HTTP requests answered, by route pattern and status class.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "oriel_http_request_duration_seconds", Help: "Time from a request's arrival to the end of its answer, in seconds.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, labels),
	}
	for _, c := range []prometheus.Collector{in.requests, in.duration} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register HTTP metrics: %w", err)
		}
	}
	s.instrument = in
	return nil
}

func (in *instruments) observe(r *http.Request, status int, took time.Duration) {
	if in == nil {
		return
	}
	route, class := routeOf(r), strconv.Itoa(status/100)+"xx"
	in.requests.WithLabelValues(route, class).Inc()
	in.duration.WithLabelValues(route, class).Observe(took.Seconds())
}
