package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// maxTraces bounds limit.
	maxTraces = 100
	// traceReach is how far beyond the window the other spans of a trace are
	// looked for.
	traceReach = 15 * time.Minute
)

func newSearchTraces() *Tool {
	return &Tool{
		Name: "search_traces", Title: "Search traces",
		Description: "Finds traces with a span that matches: slow ones first, or the newest. One row per trace: id, root, duration, spans, errors, services. Then get_trace. To count or compute use aggregate_spans.",
		Permission:  org.SpansRead,
		params: append(slices.Clone(spanFilterParams), startParam, endParam, textParam("sort", "default slow", "slow", "recent"),
			numberParam("limit", "most traces", 1, maxTraces, 20), tokensParam),
		ReadOnly: true, Idempotent: true,
		handle: searchTraces,
	}
}

func searchTraces(ctx context.Context, c *call) (Result, error) {
	q, err := c.spanQuestion()
	if err != nil {
		return Result{}, err
	}
	limit, err := c.args.number("limit", 1, maxTraces, 20)
	if err != nil {
		return Result{}, err
	}
	order, err := c.choice("sort", "slow")
	if err != nil {
		return Result{}, err
	}
	by := "longest"
	if order == "recent" {
		by = "last"
	}
	// The longest matching span stands for its trace: what is slow is asked
	// of the spans that match.
	res, err := c.askSpans(ctx, "searching", q, q.with(fmt.Sprintf(
		"stats by (%s) count(_time) as matched, max(%s) as longest, max(_time) as last | sort by (%s desc, %s) limit %d",
		telemetry.FieldTraceID, telemetry.FieldDuration, by, telemetry.FieldTraceID, limit+1)), limit+1)
	if err != nil {
		return Result{}, err
	}
	more := len(res.Rows) > limit
	rows := res.Rows[:min(limit, len(res.Rows))]
	if len(rows) == 0 {
		return c.noSpans(ctx, q)
	}
	whole, err := c.wholeTraces(ctx, q, rows)
	if err != nil {
		return Result{}, err
	}
	a := &answer{call: c, window: &q.window, kind: "span", unit: "traces", lines: q.shown}
	a.fact("%s, %s first", count(len(rows), "trace", "traces"), map[string]string{"slow": "slowest", "recent": "newest"}[order])
	s := section{columns: []string{"trace_id", "start", "duration", "root", "service", "spans", "errors", "services", "matching spans", "longest of these"}, fixed: 3}
	for _, r := range rows {
		t := whole[r.Get(telemetry.FieldTraceID)]
		s.rows = append(s.rows, []string{
			r.Get(telemetry.FieldTraceID), t.start, t.duration, t.root, t.service, t.spans, t.errors, t.services, r.Get("matched"), shortNanos(float(r.Get("longest"))),
		})
	}
	a.sections = []section{s}
	if more {
		a.note("There are more traces. Call search_traces with a larger limit (at most %d), a narrower window, or a higher min_duration.", maxTraces)
	}
	a.note("For a tree with self-times call get_trace with trace_id=%q; for what slow or failed ones have in common, aggregate_spans with group_by.", rows[0].Get(telemetry.FieldTraceID))
	return a.render(), nil
}

// A traceSummary is what is known of a whole trace, as text.
type traceSummary struct{ start, duration, root, service, spans, errors, services string }

// wholeTraces describes the traces of rows by all of their spans that the
// caller may see.
func (c *call) wholeTraces(ctx context.Context, q spanQuestion, rows []telemetry.LogRow) (map[string]traceSummary, error) {
	var in []string
	for _, r := range rows {
		in = append(in, strconv.Quote(r.Get(telemetry.FieldTraceID)))
	}
	text := fmt.Sprintf(`%s:in(%s) | stats by (%s) count(_time) as n, count() if (%s) as failed, count_uniq(%q) as services, min(%s) as start, max(%s) as end, row_min(%s, %s, %q) as first`,
		telemetry.FieldTraceID, strings.Join(in, ", "), telemetry.FieldTraceID, isError(), telemetry.FieldSpanService, telemetry.FieldStartTime, telemetry.FieldEndTime,
		telemetry.FieldStartTime, telemetry.FieldSpanName, telemetry.FieldSpanService)
	res, err := c.querySpans(ctx, "reading the traces", telemetry.SpanQuery{
		Text: text, Start: q.window.start.Add(-traceReach), End: q.window.end.Add(traceReach), Limit: len(rows),
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]traceSummary)
	for _, r := range res.Rows {
		start, end := integer(r.Get("start")), integer(r.Get("end"))
		var first map[string]string
		_ = json.Unmarshal([]byte(r.Get("first")), &first) // empty where names are hidden
		out[r.Get(telemetry.FieldTraceID)] = traceSummary{
			start: stamp(time.Unix(0, start)), duration: shortNanos(float64(end - start)), root: first[telemetry.FieldSpanName], service: first[telemetry.FieldSpanService],
			spans: r.Get("n"), errors: r.Get("failed"), services: r.Get("services"),
		}
	}
	return out, nil
}
