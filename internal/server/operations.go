package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/orielhq/oriel/internal/web"
)

// operations are the paths for those who run the server.
func (s *Server) operations(site *web.Site) []web.Route {
	metrics := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry})
	return []web.Route{
		{Pattern: "GET /healthz", Who: web.Anyone, Handler: http.HandlerFunc(healthz)},
		{Pattern: "GET /readyz", Who: web.Anyone, Handler: http.HandlerFunc(s.readyz)},
		{Pattern: "GET /metrics", Who: web.Anyone, Handler: metrics},
		{Pattern: "/", Who: web.Anyone, Handler: site.Page(web.NotFound)},
	}
}

// healthz says that the process answers requests.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyTimeout bounds the question to the store: probes do not wait long.
const readyTimeout = 2 * time.Second

// readiness is the answer of readyz: each part is "ok" or says what is wrong.
type readiness struct {
	Store  string `json:"store"`
	Access string `json:"access"`
	Logs   string `json:"logs"`
	Spans  string `json:"spans"`
	// Ingest says why new telemetry is refused: a full spool or disk.
	Ingest string `json:"ingest"`
}

// readyz says whether everything works. While the engine restarts, sign-in
// and tokens go on working, but the server is not ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ready, status := readiness{"ok", "ok", "ok", "ok", "ok"}, http.StatusOK
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if _, err := s.db.HasOwner(ctx); err != nil {
		s.log.WarnContext(r.Context(), "store not ready", "err", err)
		ready.Store, status = "the store does not answer", http.StatusServiceUnavailable
	}
	if err := s.gate.Current(); err != nil {
		ready.Access, status = err.Error(), http.StatusServiceUnavailable
	}
	for _, part := range []struct {
		*engine
		status *string
	}{{s.telemetry.logs, &ready.Logs}, {s.telemetry.spans, &ready.Spans}} {
		engine, spool := part.ready()
		if engine != "" {
			*part.status, status = engine, http.StatusServiceUnavailable
		}
		if spool != "" {
			ready.Ingest, status = spool, http.StatusServiceUnavailable
		}
	}
	if err := web.WriteJSON(w, status, ready); err != nil {
		s.log.DebugContext(r.Context(), "write readiness", "err", err)
	}
}
