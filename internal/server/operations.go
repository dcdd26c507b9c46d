package server

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
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
		{Pattern: "/", Who: web.Anyone, Handler: site.Page(s.elsewhere)},
	}
}

// elsewhere answers what no route does: 405 where the path has a route for
// other methods (RFC 9110 §15.5.6), which the route "/" hides from the mux,
// and else 404.
func (s *Server) elsewhere(w http.ResponseWriter, r *http.Request) error {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		other := &http.Request{Method: method, URL: r.URL, Host: r.Host, Header: http.Header{}}
		if _, pattern := s.mux.Handler(other); pattern != "/" && strings.HasPrefix(pattern+" ", method+" ") || method == http.MethodHead && slices.Contains(allow, http.MethodGet) {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		return web.NotFound(w, r)
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return &web.Error{
		Status: http.StatusMethodNotAllowed, Public: "This address does not take " + r.Method + " requests.",
		Next: "Open the page it belongs to, or use " + strings.Join(allow, ", ") + ".", Links: []web.Link{{Text: "Start page", URL: "/"}},
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
	// Metrics is there where they are kept on another machine.
	Metrics string `json:"metrics,omitempty"`
	// Ingest says why new telemetry is refused: a full spool or disk.
	Ingest string `json:"ingest"`
	// Teams are the engines of teams that have their own: "logs of shop".
	Teams map[string]string `json:"teams,omitempty"`
}

// all yields every part and what is said of it, in the same order each time.
func (r readiness) all() iter.Seq2[string, string] {
	return func(yield func(part, is string) bool) {
		for _, p := range [][2]string{{"store", r.Store}, {"access", r.Access}, {"logs", r.Logs}, {"spans", r.Spans}, {"metrics", r.Metrics}, {"ingest", r.Ingest}} {
			if !yield(p[0], p[1]) {
				return
			}
		}
		for _, team := range slices.Sorted(maps.Keys(r.Teams)) {
			if !yield(team, r.Teams[team]) {
				return
			}
		}
	}
}

// teamEngines are the engines of teams that have their own.
func (t *telemetryStore) teamEngines() map[string]*engine {
	list := make(map[string]*engine)
	for _, signal := range []*engines{t.logs, t.spans} {
		for tenant, e := range signal.teams {
			list[signal.signal+"s of "+signal.slugs[tenant]] = e
		}
	}
	return list
}

// engineLines says of every engine how it is, for owners.
func (s *Server) engineLines() []web.Engine {
	line := func(name string, e *engine) web.Engine {
		trouble, spool := e.ready()
		return web.Engine{Name: strings.ToUpper(name[:1]) + name[1:], Trouble: cmp.Or(trouble, spool)}
	}
	lines := []web.Engine{line("logs", s.telemetry.logs.usual), line("spans", s.telemetry.spans.usual)}
	if m, ok := s.telemetry.metrics.(*remoteMetrics); ok {
		engine, spool := m.ready()
		lines = append(lines, web.Engine{Name: "Metrics", Trouble: cmp.Or(engine, spool)})
	}
	own := s.telemetry.teamEngines()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		lines = append(lines, line(name, own[name]))
	}
	return lines
}

// readyz says whether everything works. While the engine restarts, sign-in
// and tokens go on working, but the server is not ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ready, status := readiness{Store: "ok", Access: "ok", Logs: "ok", Spans: "ok", Ingest: "ok"}, http.StatusOK
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if _, err := s.db.HasOwner(ctx); err != nil {
		s.log.WarnContext(r.Context(), "store not ready", "err", err)
		ready.Store, status = "the store does not answer", http.StatusServiceUnavailable
	}
	if err := s.gate.Current(); err != nil {
		ready.Access, status = err.Error(), http.StatusServiceUnavailable
	}
	// One that does not serve says why, here and to whoever balances load.
	of := func(e *engine) string {
		engine, spool := e.ready()
		if spool != "" {
			ready.Ingest, status = spool, http.StatusServiceUnavailable
		}
		if engine == "" {
			return "ok"
		}
		if e.remote == nil {
			// An engine on another machine is every replica's: taking them all
			// away would end sign-in too.
			status = http.StatusServiceUnavailable
		}
		return engine
	}
	ready.Logs, ready.Spans = of(s.telemetry.logs.usual), of(s.telemetry.spans.usual)
	if m, ok := s.telemetry.metrics.(*remoteMetrics); ok {
		engine, spool := m.ready()
		ready.Metrics = cmp.Or(engine, "ok")
		if spool != "" {
			ready.Ingest, status = spool, http.StatusServiceUnavailable
		}
	}
	for name, e := range s.telemetry.teamEngines() {
		if ready.Teams == nil {
			ready.Teams = make(map[string]string)
		}
		ready.Teams[name] = of(e)
	}
	if err := web.WriteJSON(w, status, ready); err != nil {
		s.log.DebugContext(r.Context(), "write readiness", "err", err)
	}
}
