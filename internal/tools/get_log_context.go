package tools

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// anchorRows is how many records at the time asked for are looked at.
	anchorRows = 20
	// anchorSlack is how far from it a record is looked for when there is none.
	anchorSlack = time.Second
	// maxNeighbours bounds before and after.
	maxNeighbours = 200
	// fullCellBytes bounds the values of the record that is shown in full.
	fullCellBytes = 8000
)

// contextReach is how far neighbours are looked for, step by step.
var contextReach = []time.Duration{time.Minute, 15 * time.Minute, 3 * time.Hour, 48 * time.Hour}

// senderFields tell one sender of a service from another, as far as a record
// has them.
var senderFields = []string{"service.instance.id", "k8s.pod.name", "k8s.container.name", "host.name"}

func newGetLogContext() *Tool {
	return &Tool{
		Name: "get_log_context", Title: "Log context",
		Description: "Shows one log record in full, with the records right before and after it: of the same sender (service, host, pod), of the whole service, or of its trace.",
		Permission:  org.LogsRead,
		params: []param{
			must(textParam("time", "the record's time, as search_logs showed it")), serviceParam,
			textParam("query", "words of the record, if several have that time"),
			textParam("of", "default sender", "sender", "service", "trace"),
			numberParam("before", "", 0, maxNeighbours, 10), numberParam("after", "", 0, maxNeighbours, 10), tokensParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: getLogContext,
	}
}

func getLogContext(ctx context.Context, c *call) (Result, error) {
	text, err := c.args.text("time")
	if err != nil {
		return Result{}, err
	}
	t, _, err := parseTime(text, c.now)
	if err != nil {
		return Result{}, problemf("time: %s.", err)
	}
	of, err := c.choice("of", "sender")
	if err != nil {
		return Result{}, err
	}
	var before, after int
	if before, err = c.args.number("before", 0, maxNeighbours, 10); err != nil {
		return Result{}, err
	}
	if after, err = c.args.number("after", 0, maxNeighbours, 10); err != nil {
		return Result{}, err
	}
	q, err := c.logQuestion()
	if err != nil {
		return Result{}, err
	}
	if err := q.noPipes(c.tool.Name, "give words of the record"); err != nil {
		return Result{}, err
	}
	anchor, notes, err := c.findAnchor(ctx, &q, t)
	if err != nil {
		return Result{}, err
	}
	c.linkContext(q, anchor)
	if anchor == nil {
		return c.nothing(ctx, q, q.query)
	}
	near, err := neighbourText(*anchor, of)
	if err != nil {
		return Result{}, err
	}
	older, err := c.neighbours(ctx, *anchor, near, before, false)
	if err != nil {
		return Result{}, err
	}
	newer, err := c.neighbours(ctx, *anchor, near, after, true)
	if err != nil {
		return Result{}, err
	}
	if c.caller.DataScope(org.LogsRead) != "" {
		notes = append(notes, "Your data scope holds here too: records outside of it may lie between these.")
	}
	return Result{Text: c.renderContext(*anchor, older, newer, of, notes)}, nil
}

// findAnchor returns the record that is meant, nil where there is none. q gets
// the window that was searched.
func (c *call) findAnchor(ctx context.Context, q *logQuestion, t time.Time) (*telemetry.LogRow, []string, error) {
	exactly := t.Nanosecond()%int(time.Millisecond) != 0
	width := time.Millisecond // answers show times to the millisecond
	if exactly {
		width = 1
	}
	q.window = window{start: t, end: t.Add(width)}
	rows, err := c.anchors(ctx, *q)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	if len(rows) == 0 {
		q.window = window{start: t.Add(-anchorSlack), end: t.Add(anchorSlack)}
		if rows, err = c.anchors(ctx, *q); err != nil || len(rows) == 0 {
			return nil, nil, err
		}
		slices.SortStableFunc(rows, func(a, b telemetry.LogRow) int {
			return int(a.Time.Sub(t).Abs() - b.Time.Sub(t).Abs())
		})
		notes = append(notes, fmt.Sprintf("No such record is of %s; this is the nearest one.", exact(t)))
	} else if len(rows) > 1 {
		n := strconv.Itoa(len(rows))
		if len(rows) == anchorRows {
			n += " or more"
		}
		notes = append(notes, fmt.Sprintf("%s such records are of that time; this is the first. To choose name its service and words of it in query, or its exact time.", n))
	}
	return &rows[0], notes, nil
}

// anchors returns records of the question, oldest first.
func (c *call) anchors(ctx context.Context, q logQuestion) ([]telemetry.LogRow, error) {
	res, err := c.askLogs(ctx, "looking for the record", q, q.text, anchorRows)
	slices.Reverse(res.Rows)
	return res.Rows, err
}

// neighbourText is the query for the records that belong to the anchor.
func neighbourText(anchor telemetry.LogRow, of string) (string, error) {
	equals := func(field string) string { return quoteLogs(field) + ":=" + strconv.Quote(anchor.Get(field)) }
	if of == "trace" {
		if anchor.Get(telemetry.FieldTraceID) == "" {
			return "", problem(`The record has no trace_id. Call get_log_context without of, or with of="service".`)
		}
		return equals(telemetry.FieldTraceID), nil
	}
	parts := []string{equals(telemetry.FieldService)}
	if of == "sender" {
		for _, f := range senderFields {
			if anchor.Get(f) != "" {
				parts = append(parts, equals(f))
			}
		}
	}
	return strings.Join(parts, " "), nil
}

// neighbours returns up to n records next to the anchor, the nearest first.
func (c *call) neighbours(ctx context.Context, anchor telemetry.LogRow, text string, n int, after bool) ([]telemetry.LogRow, error) {
	if n == 0 {
		return nil, nil
	}
	for i, reach := range contextReach {
		q := logQuestion{window: window{start: anchor.Time.Add(-reach), end: anchor.Time}}
		query := text
		if after {
			// From the anchor's own instant on, which others may share.
			q.window = window{start: anchor.Time, end: anchor.Time.Add(reach)}
			query += " | sort by (_time) limit " + strconv.Itoa(n+1)
		}
		res, err := c.askLogs(ctx, "reading neighbours", q, query, n+1)
		if err != nil {
			return nil, err
		}
		rows := res.Rows
		if after {
			if at := slices.IndexFunc(rows, func(r telemetry.LogRow) bool { return r.Time.Equal(anchor.Time) && hashRow(r) == hashRow(anchor) }); at >= 0 {
				rows = slices.Delete(rows, at, at+1)
			}
		}
		if len(rows) >= n || i == len(contextReach)-1 || after && q.window.end.After(c.now) {
			return rows[:min(len(rows), n)], nil
		}
	}
	return nil, nil
}

// renderContext writes the record in full and as many of its neighbours as
// fit, those next to it first.
func (c *call) renderContext(anchor telemetry.LogRow, older, newer []telemetry.LogRow, of string, notes []string) string {
	most := c.room()
	f := newFence("log")
	compose := func(n, cellBytes, fullBytes int) string {
		o, w := older[:min(n, len(older))], newer[:min(n, len(newer))]
		rows := slices.Clone(o)
		slices.Reverse(rows)
		rows = append(append(rows, anchor), w...)
		var b strings.Builder
		line := func(s string) { b.WriteString(s); b.WriteByte('\n') }
		line(fmt.Sprintf("%s · team %s · record of %s (UTC) · %d before · %d after, oldest first · of the same %s",
			c.tool.Name, c.caller.Team().Slug, exact(anchor.Time), len(o), len(w), of))
		line(f.open())
		line("the record:")
		for _, field := range anchor.Fields {
			line(cell(field.Name, maxNameBytes, nil) + "\t" + cell(field.Value, fullBytes, nil))
		}
		if len(rows) > 1 {
			line("")
			table := newGrid(rows).layOut(len(rows), cellBytes, -1)
			if len(table.plain)+len(table.fenced) > 0 {
				line("same for all rows: " + strings.Join(append(table.plain, table.fenced...), "; "))
			}
			for _, l := range table.head {
				line(l)
			}
			// The record stands between its neighbours.
			table.rows[len(o)] = ">" + table.rows[len(o)]
			for _, l := range table.rows {
				line(l)
			}
		}
		line(f.close())
		for _, note := range notes {
			line("# " + note)
		}
		if len(o) < len(older) || len(w) < len(newer) {
			line(fmt.Sprintf("# %d of %d neighbours are shown: no more fit into max_tokens=%d. Call get_log_context with a larger max_tokens (at most %d), or smaller before and after.",
				len(o)+len(w), len(older)+len(newer), c.maxTokens, maxTokens))
		}
		return b.String()
	}
	for _, size := range []struct{ cell, full int }{{maxCellBytes, fullCellBytes}, {200, 2000}, {80, 500}, {30, 100}} {
		for n := max(len(older), len(newer)); ; n = n * 3 / 4 {
			if text := compose(n, size.cell, size.full); len(text) <= most {
				return text
			}
			if n == 0 {
				break
			}
		}
	}
	return clip(compose(0, 30, 100), most-len("…"))
}
