package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// edgeSpans is how many spans of either side are put together; of more,
	// whole traces are left out.
	edgeSpans = 20_000
	// traceShares is in how many parts traces are divided by the beginning of
	// their ids, which are random.
	traceShares = 256
)

// An edge is what one service asked of another, or of something that sends no
// spans that the caller may see.
type edge struct {
	from, to, kind string
	// external says that to is known by what the caller's span says alone.
	external       bool
	calls, errors  int
	durations      []int64 // of the calling spans, nanoseconds
	perSecond, p95 float64
}

// A serviceGraph is the edges of a window.
type serviceGraph struct {
	edges []*edge
	// share is of how much of the traces they are, 1 for all.
	share float64
}

// peerFields say what a call went to, best first, with the kind of it.
var peerFields = []struct{ field, kind string }{
	{"peer.service", "call"},
	{"db.system.name", "database"},
	{"db.system", "database"},
	{"messaging.destination.name", "queue"},
	{"messaging.system", "queue"},
	{"server.address", "call"},
	{"net.peer.name", "call"},
}

// serviceEdges puts calling spans and answering spans of a window together.
func (c *call) serviceEdges(ctx context.Context, w window, env string) (g serviceGraph, err error) {
	g.share = 1
	scope := "*"
	if env != "" {
		scope = FieldIs(telemetry.ResourcePrefix+"deployment.environment.name", env)
	}
	q := spanQuestion{text: scope, window: w}
	callers := fmt.Sprintf("%s:in(%d, %d)", telemetry.FieldSpanKind, telemetry.KindClient, telemetry.KindProducer)
	res, err := c.askSpans(ctx, "counting calls", q, q.with(fmt.Sprintf("stats count(_time) if (%s) as calls, count(_time) if (%s) as entries", callers, isEntry())), 1)
	if err != nil || len(res.Rows) == 0 {
		return g, err
	}
	most := max(integer(res.Rows[0].Get("calls")), integer(res.Rows[0].Get("entries")))
	sample := ""
	if most > edgeSpans {
		parts := max(1, int(int64(traceShares)*edgeSpans/most))
		g.share = float64(parts) / traceShares
		var prefixes []string
		for i := range parts {
			prefixes = append(prefixes, fmt.Sprintf(`%s:="%02x"*`, telemetry.FieldTraceID, i))
		}
		sample = " (" + strings.Join(prefixes, " or ") + ")"
	}
	fields := []string{telemetry.FieldSpanID, telemetry.FieldSpanKind, telemetry.FieldSpanService, telemetry.FieldDuration, telemetry.FieldStatusCode}
	for _, p := range peerFields {
		fields = append(fields, telemetry.SpanAttributePrefix+p.field)
	}
	calls, err := c.askSpans(ctx, "reading calls", q, fmt.Sprintf("(%s) %s%s | fields %s", scope, callers, sample, quoteAll(fields)), 2*edgeSpans)
	if err != nil {
		return g, err
	}
	// Who answers may do so long after the call ended, as consumers do.
	wide := q
	wide.window.start = wide.window.start.Add(-time.Minute)
	entries, err := c.askSpans(ctx, "reading answers", wide, fmt.Sprintf("(%s) %s %s:*%s | fields %s", scope, isEntry(), telemetry.FieldParentSpanID, sample,
		quoteAll([]string{telemetry.FieldParentSpanID, telemetry.FieldSpanService})), 2*edgeSpans)
	if err != nil {
		return g, err
	}
	g.join(calls.Rows, entries.Rows, w)
	return g, nil
}

func (g *serviceGraph) join(calls, entries []telemetry.LogRow, w window) {
	answered := make(map[string][]string) // services by the id of the calling span
	for _, r := range entries {
		id, service := r.Get(telemetry.FieldParentSpanID), r.Get(telemetry.FieldSpanService)
		if !slices.Contains(answered[id], service) {
			answered[id] = append(answered[id], service)
		}
	}
	type key struct{ from, to, kind string }
	all := make(map[key]*edge)
	add := func(from, to, kind string, external bool, r telemetry.LogRow) {
		k := key{from, to, kind}
		e := all[k]
		if e == nil {
			e = &edge{from: from, to: to, kind: kind, external: external}
			all[k] = e
			g.edges = append(g.edges, e)
		}
		e.calls++
		if r.Get(telemetry.FieldStatusCode) == strconv.Itoa(int(telemetry.StatusError)) {
			e.errors++
		}
		e.durations = append(e.durations, integer(r.Get(telemetry.FieldDuration)))
	}
	for _, r := range calls {
		from := r.Get(telemetry.FieldSpanService)
		kind := "call"
		if r.Get(telemetry.FieldSpanKind) == strconv.Itoa(int(telemetry.KindProducer)) {
			kind = "queue"
		}
		if to := answered[r.Get(telemetry.FieldSpanID)]; len(to) > 0 {
			for _, one := range to {
				add(from, one, kind, false, r)
			}
			continue
		}
		for _, p := range peerFields {
			if peer := r.Get(telemetry.SpanAttributePrefix + p.field); peer != "" {
				add(from, peer, p.kind, true, r)
				break
			}
		}
	}
	seconds := w.end.Sub(w.start).Seconds()
	for _, e := range g.edges {
		slices.Sort(e.durations)
		e.p95 = float64(e.durations[(len(e.durations)*95+99)/100-1])
		e.perSecond = float64(e.calls) / g.share / seconds
	}
	slices.SortFunc(g.edges, func(a, b *edge) int {
		return cmp.Or(cmp.Compare(b.calls, a.calls), strings.Compare(a.from, b.from), strings.Compare(a.to, b.to))
	})
}

// around returns the edges within so many steps of a service.
func (g *serviceGraph) around(service string, depth int) []*edge {
	near := map[string]bool{service: true}
	var out []*edge
	for range depth {
		next := make(map[string]bool)
		for _, e := range g.edges {
			if near[e.from] || near[e.to] && !e.external {
				if !slices.Contains(out, e) {
					out = append(out, e)
				}
				next[e.from] = true
				if !e.external {
					next[e.to] = true
				}
			}
		}
		for name := range next {
			near[name] = true
		}
	}
	return out
}

// row is an edge as a row of a table.
func (e *edge) row() []string {
	to := e.to
	if e.external {
		to += " (external)"
	}
	return []string{e.from, to, e.kind, strconv.Itoa(e.calls), decimals(e.perSecond), percent(int64(e.errors), int64(e.calls)), shortNanos(e.p95)}
}

var edgeColumns = []string{"from", "to", "kind", "calls", "per_second", "error_%", "p95"}

// noteShare says of how much the edges are.
func (g *serviceGraph) noteShare(a *answer) {
	if g.share < 1 {
		a.note("Computed from %s %% of the traces, chosen by their ids; per_second is scaled up, calls are not. A shorter window is exact.", decimals(100*g.share))
	}
	a.note("External is what sends no spans that you can see; its name is what the caller's span says.")
}
