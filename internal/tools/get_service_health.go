package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	healthOperations = 10
	healthEdges      = 12
	healthErrors     = 3
)

func newGetServiceHealth() *Tool {
	return &Tool{
		Name: "get_service_health", Title: "Service health",
		Description: "How a service does now and how it did before: requests, errors, p50/p95/p99; its operations, who calls it and whom it calls, its errors in the logs. Starts with a verdict.",
		Permission:  org.SpansRead,
		params:      []param{must(textParam("service", "service.name")), envParam, baselineParam, startParam, endParam, tokensParam},
		ReadOnly:    true, Idempotent: true,
		handle: getServiceHealth,
	}
}

// A red is rate, errors and durations of some spans.
type red struct {
	name                     string
	n, errors                int64
	p50, p95, p99, perSecond float64
}

func (r red) errorRate() float64 {
	if r.n == 0 {
		return 0
	}
	return float64(r.errors) / float64(r.n)
}

// redStats computes a red.
func redStats() string {
	d := telemetry.FieldDuration
	return fmt.Sprintf("count(_time) as n, count(_time) if (%s) as errors, quantile(0.5, %s) as p50, quantile(0.95, %s) as p95, quantile(0.99, %s) as p99", isError(), d, d, d)
}

func redOf(r telemetry.LogRow, w window) red {
	out := red{
		name: r.Get(telemetry.FieldSpanName), n: integer(r.Get("n")), errors: integer(r.Get("errors")),
		p50: float(r.Get("p50")), p95: float(r.Get("p95")), p99: float(r.Get("p99")),
	}
	out.perSecond = float64(out.n) / w.end.Sub(w.start).Seconds()
	return out
}

func getServiceHealth(ctx context.Context, c *call) (Result, error) {
	service, err := c.args.text("service")
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
	base, compared, err := c.baseline(w)
	if err != nil {
		return Result{}, err
	}
	c.link("/explore/traces", w, "service", service)
	q := spanQuestion{text: isEntry(), services: []string{service}, window: w, shown: []string{"service: " + cell(service, maxShownQuery, nil)}}
	if env != "" {
		q.text += " " + FieldIs(telemetry.ResourcePrefix+"deployment.environment.name", env)
		q.shown = append(q.shown, "env: "+cell(env, maxShownQuery, nil))
	}
	now, err := c.askRed(ctx, q)
	if err != nil {
		return Result{}, err
	}
	a := &answer{call: c, window: &w, kind: "span", unit: "rows", lines: q.shown}
	if now.n == 0 {
		// A worker may have no spans of these kinds.
		q.text = strings.Replace(q.text, isEntry(), "*", 1)
		if now, err = c.askRed(ctx, q); err != nil {
			return Result{}, err
		}
		a.noteIf(now.n > 0, "The service has no spans of kind server or consumer, so all of its spans count.")
	}
	before := red{}
	if compared {
		b := q
		b.window = base
		if before, err = c.askRed(ctx, b); err != nil {
			return Result{}, err
		}
		a.lines = append(a.lines, "baseline: "+base.String())
	}
	if now.n == 0 && before.n == 0 {
		return c.noSpans(ctx, q)
	}
	a.fact("%s", verdict(now, before, compared))
	a.sections = append(a.sections, redTable(now, before, compared))
	operations, err := c.operations(ctx, q, base, compared)
	if err != nil {
		return Result{}, err
	}
	a.sections = append(a.sections, operations)
	g, err := c.serviceEdges(ctx, w, env)
	if err != nil {
		return Result{}, err
	}
	if edges := g.around(service, 1); len(edges) > 0 {
		s := section{title: "who calls it, and whom it calls:", columns: edgeColumns, fixed: 2}
		for _, e := range edges[:min(len(edges), healthEdges)] {
			s.rows = append(s.rows, e.row())
		}
		a.sections = append(a.sections, s)
		g.noteShare(a)
	}
	if err := c.addServiceErrors(ctx, a, service, w, base, compared); err != nil {
		return Result{}, err
	}
	a.note("Next: search_traces with service=%q and sort=\"slow\" or status=\"error\", then get_trace.", quotable(service))
	return a.render(), nil
}

// quotable keeps a name that is too rich for a sentence out of the notes.
func quotable(name string) string {
	if plainToken.MatchString(name) {
		return name
	}
	return "the service"
}

func (c *call) askRed(ctx context.Context, q spanQuestion) (red, error) {
	res, err := c.askSpans(ctx, "computing", q, q.with("stats "+redStats()), 1)
	if err != nil || len(res.Rows) == 0 {
		return red{}, err
	}
	return redOf(res.Rows[0], q.window), nil
}

// verdict says in words what the numbers say.
func verdict(now, before red, compared bool) string {
	pct := func(r red) string { return decimals(100*r.errorRate()) + " %" }
	switch {
	case !compared:
		return fmt.Sprintf("%s errors, p95 %s", pct(now), shortNanos(now.p95))
	case before.n == 0:
		return "no spans in the baseline: nothing to compare with"
	case now.n == 0:
		return fmt.Sprintf("no requests any more (%s per second before)", decimals(before.perSecond))
	}
	var changes []string
	if now.errorRate() >= 0.01 && now.errorRate() >= 2*before.errorRate() {
		changes = append(changes, fmt.Sprintf("errors up from %s to %s", pct(before), pct(now)))
	} else if before.errorRate() >= 0.01 && before.errorRate() >= 2*now.errorRate() {
		changes = append(changes, fmt.Sprintf("errors down from %s to %s", pct(before), pct(now)))
	}
	if now.p95 >= 1.5*before.p95 {
		changes = append(changes, fmt.Sprintf("slower: p95 %s, was %s", shortNanos(now.p95), shortNanos(before.p95)))
	} else if before.p95 >= 1.5*now.p95 {
		changes = append(changes, fmt.Sprintf("faster: p95 %s, was %s", shortNanos(now.p95), shortNanos(before.p95)))
	}
	if now.perSecond >= 2*before.perSecond || before.perSecond >= 2*now.perSecond {
		changes = append(changes, fmt.Sprintf("requests %s per second, were %s", decimals(now.perSecond), decimals(before.perSecond)))
	}
	if len(changes) == 0 {
		return "no marked change against the baseline"
	}
	return strings.Join(changes, "; ")
}

func redTable(now, before red, compared bool) section {
	s := section{columns: []string{"when", "requests", "per_second", "errors", "error_%", "p50", "p95", "p99"}, fixed: -1}
	add := func(when string, r red) {
		s.rows = append(s.rows, []string{
			when, strconv.FormatInt(r.n, 10), decimals(r.perSecond), strconv.FormatInt(r.errors, 10), decimals(100 * r.errorRate()), shortNanos(r.p50), shortNanos(r.p95), shortNanos(r.p99),
		})
	}
	add("now", now)
	if compared {
		add("before", before)
	}
	return s
}

// operations are those of the service where most time goes or most fails.
func (c *call) operations(ctx context.Context, q spanQuestion, base window, compared bool) (section, error) {
	s := section{title: "operations:", columns: []string{"operation", "requests", "errors", "error_%", "p95", "requests before", "error_% before", "p95 before"}, fixed: 1}
	text := fmt.Sprintf("stats by (%s) %s, sum(%s) as total | sort by (errors desc, total desc) limit %d", telemetry.FieldSpanName, redStats(), telemetry.FieldDuration, maxOperations)
	res, err := c.askSpans(ctx, "computing operations", q, q.with(text), maxOperations)
	if err != nil {
		return s, err
	}
	before := make(map[string]red)
	if compared {
		b := q
		b.window = base
		old, err := c.askSpans(ctx, "computing operations before", b, b.with(text), maxOperations)
		if err != nil {
			return s, err
		}
		for _, r := range old.Rows {
			before[r.Get(telemetry.FieldSpanName)] = redOf(r, base)
		}
	}
	list := make([]red, len(res.Rows))
	for i, r := range res.Rows {
		list[i] = redOf(r, q.window)
	}
	slices.SortStableFunc(list, func(a, b red) int { return cmp.Compare(b.errors, a.errors) })
	for _, r := range list[:min(len(list), healthOperations)] {
		row := []string{r.name, strconv.FormatInt(r.n, 10), strconv.FormatInt(r.errors, 10), decimals(100 * r.errorRate()), shortNanos(r.p95), "", "", ""}
		if old, ok := before[r.name]; ok {
			row[5], row[6], row[7] = strconv.FormatInt(old.n, 10), decimals(100*old.errorRate()), shortNanos(old.p95)
		}
		s.rows = append(s.rows, row)
	}
	return s, nil
}

// maxOperations of a service are looked at.
const maxOperations = 100

// addServiceErrors adds the service's errors in the logs, for those who may
// see logs.
func (c *call) addServiceErrors(ctx context.Context, a *answer, service string, w, base window, compared bool) error {
	if !c.caller.May(org.LogsRead) {
		a.note("Logs: no access (%s).", whyWithheld(c.caller, org.LogsRead))
		return nil
	}
	q := logQuestion{text: "*", services: []string{service}, severity: []string{telemetry.SeverityError, telemetry.SeverityFatal}, window: window{start: w.start, end: w.end}}
	if most := c.caller.View(org.LogsRead).LookBack(); most > 0 && q.window.start.Before(c.now.Add(-most)) {
		return nil
	}
	m := c.newPatternMine(true)
	total, err := m.read(ctx, q, false)
	if err != nil || total == 0 {
		return err
	}
	if compared {
		q.window = base
		if _, err := m.read(ctx, q, true); err != nil {
			return err
		}
	}
	s := section{title: "its errors in the logs:", columns: []string{"n", "before", "change", "pattern", "trace_id"}, fixed: -1}
	for _, p := range m.patterns() {
		if p.n > 0 && len(s.rows) < healthErrors {
			s.rows = append(s.rows, []string{strconv.FormatInt(p.n, 10), strconv.FormatInt(p.base, 10), p.change(), p.text, p.trace})
		}
	}
	a.sections = append(a.sections, s)
	return nil
}
