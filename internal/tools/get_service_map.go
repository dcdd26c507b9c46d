package tools

import (
	"context"
	"slices"

	"github.com/orielhq/oriel/internal/org"
)

// maxMapDepth bounds depth, maxEdges the edges shown.
const (
	maxMapDepth = 5
	maxEdges    = 200
)

var envParam = textParam("env", "deployment.environment.name")

func newGetServiceMap() *Tool {
	return &Tool{
		Name: "get_service_map", Title: "Service map",
		Description: "Shows which service calls which, and databases, queues and others: calls per second, errors, p95. With service only its neighbours, depth steps around it.",
		Permission:  org.SpansRead,
		params: []param{
			textParam("service", ""), numberParam("depth", "", 1, maxMapDepth, 1), envParam, startParam, endParam, tokensParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: getServiceMap,
	}
}

func getServiceMap(ctx context.Context, c *call) (Result, error) {
	service, err := c.args.text("service")
	if err != nil {
		return Result{}, err
	}
	depth, err := c.args.number("depth", 1, maxMapDepth, 1)
	if err != nil {
		return Result{}, err
	}
	env, err := c.args.text("env")
	if err != nil {
		return Result{}, err
	}
	w, err := c.window(org.SpansRead)
	if err != nil {
		return Result{}, err
	}
	c.link("/explore/traces", w, "service", service)
	g, err := c.serviceEdges(ctx, w, env)
	if err != nil {
		return Result{}, err
	}
	edges := g.edges
	if service != "" {
		edges = g.around(service, depth)
	}
	if len(edges) == 0 {
		q := spanQuestion{text: "*", window: w}
		if service != "" {
			q.services = []string{service}
			q.shown = []string{"service: " + cell(service, maxShownQuery, nil)}
		}
		res, err := c.noSpans(ctx, q)
		if err == nil && service == "" {
			res.Text += "# A call is a span of kind client or producer, with a child of kind server or consumer.\n"
		}
		return res, err
	}
	a := &answer{call: c, window: &w, kind: "span", unit: "edges"}
	a.fact("%s", count(len(edges), "edge", "edges"))
	s := section{columns: edgeColumns, fixed: 2}
	for _, e := range edges[:min(len(edges), maxEdges)] {
		s.rows = append(s.rows, e.row())
	}
	a.sections = []section{s}
	a.noteIf(len(edges) > maxEdges, "The %d edges with most calls are shown; name a service for the others.", maxEdges)
	g.noteShare(a)
	if worst := slices.MaxFunc(edges, func(x, y *edge) int { return x.errors - y.errors }); worst.errors > 0 {
		a.note("For what fails: aggregate_spans with status=\"error\" and group_by=[\"service\", \"operation\"]; then search_traces with status=\"error\".")
	}
	return a.render(), nil
}
