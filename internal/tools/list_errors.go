package tools

import (
	"context"
	"slices"
	"strconv"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func newListErrors() *Tool {
	return &Tool{
		Name: "list_errors", Title: "List errors",
		Description: "Lists the error and fatal log records grouped by service and message pattern, and the spans that failed or recorded an exception by service, operation and exception: counts, change against the baseline, first and last time, an example, a trace. " +
			"Start here when something is broken and you do not know what.",
		Permission: org.LogsRead, Other: org.SpansRead,
		params: append(plainFilterParams[:2:2], baselineParam, startParam, endParam,
			numberParam("limit", "most groups", 1, 200, 15), tokensParam),
		ReadOnly: true, Idempotent: true,
		handle: listErrors,
	}
}

func listErrors(ctx context.Context, c *call) (Result, error) {
	limit, err := c.args.number("limit", 1, 200, 15)
	if err != nil {
		return Result{}, err
	}
	// Who may read spans alone asks about these.
	q, err := c.questionAbout(!c.caller.May(org.LogsRead) && c.caller.May(org.SpansRead))
	if err != nil {
		return Result{}, err
	}
	base, compared, err := c.baseline(q.window)
	if err != nil {
		return Result{}, err
	}
	a := &answer{call: c, window: &q.window, kind: q.kind(), unit: "groups of errors"}
	if q.spans {
		if err := q.noPipes(c.tool.Name, "it groups the spans themselves"); err != nil {
			return Result{}, err
		}
		a.lines = q.describe()
		if compared {
			a.lines = append(a.lines, "baseline: "+base.String())
		}
		failed, err := c.addFailures(ctx, a, q, base, compared, limit)
		if err != nil {
			return Result{}, err
		}
		if failed == 0 {
			return c.nothing(ctx, q, q.query)
		}
		a.note("Errors of log records are left out: %s.", whyWithheld(c.caller, org.LogsRead))
		a.note("For one of the failures call get_trace with its trace_id; for what they have in common, compare with signal=traces.")
		return a.render(), nil
	}
	q.severity = []string{telemetry.SeverityError, telemetry.SeverityFatal}
	m := c.newPatternMine(true)
	total, baseTotal := int64(0), int64(0)
	if total, err = m.read(ctx, q, false); err != nil {
		return Result{}, err
	}
	if compared {
		before := q
		before.window = base
		if baseTotal, err = m.read(ctx, before, true); err != nil {
			return Result{}, err
		}
	}
	a.lines = q.describe()
	a.fact("%s", count(int(total), "error", "errors"))
	if compared {
		a.lines = append(a.lines, "baseline: "+base.String()+", "+count(int(baseTotal), "error", "errors"))
	}
	s := section{columns: []string{"n", "before", "change", "service", "severity", "pattern", "first", "last", "trace_id", "example"}, fixed: 1}
	all := slices.DeleteFunc(m.patterns(), func(p *logPattern) bool { return p.n == 0 })
	a.fact("%s", count(len(all), "group", "groups"))
	rest := int64(0)
	for i, p := range all {
		if i >= limit {
			rest += p.n
			continue
		}
		before, change := "", ""
		if compared {
			before, change = strconv.FormatInt(p.base, 10), p.change()
		}
		s.rows = append(s.rows, []string{
			strconv.FormatInt(p.n, 10), before, change, mostOf(p.services, 1), mostOf(p.severities, 2), p.text,
			stamp(p.first), stamp(p.last), p.trace, p.shortExample(),
		})
	}
	if len(s.rows) > 0 {
		a.sections = append(a.sections, s)
	}
	failed, err := c.addFailures(ctx, a, q, base, compared, limit)
	if err != nil {
		return Result{}, err
	}
	if total+failed == 0 {
		return c.nothing(ctx, q, q.query)
	}
	if rest > 0 {
		a.note("%d more groups with %s. Call list_errors with a larger limit (at most 200), or with a service.", len(all)-limit, count(int(rest), "error", "errors"))
	}
	a.note("For the records of a group call search_logs with its service and query=\"its words in quotes\"; for what stands before one, get_log_context with its time; for what they have in common, compare.")
	a.notes = append(a.notes, m.notes()...)
	return a.render(), nil
}
