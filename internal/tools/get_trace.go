package tools

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/spantree"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// maxTraceSpans of one trace are read.
	maxTraceSpans = 10_000
	// maxTraceLines bounds max_spans.
	maxTraceLines     = 500
	defaultTraceLines = 60
	// maxTraceLogs records of a trace are shown.
	maxTraceLogs = 20
	// maxTraceErrors failed spans are shown with what they say.
	maxTraceErrors = 5
	// minTracePrefix is how much of an id is enough to look for it.
	minTracePrefix = 8
	// traceMargin is how far around a known time a trace is looked for. One
	// that begins so near to where the search began may have begun before.
	traceMargin = time.Hour
	// logSlack is how far around a trace its records are looked for.
	logSlack = time.Minute
)

func newGetTrace() *Tool {
	return &Tool{
		Name: "get_trace", Title: "Trace",
		Description: "Shows a trace as a tree: offset, duration, self-time, status; * is the critical path; siblings alike are one line. Then self-time by service, what failed spans say, and log records of the trace.",
		Permission:  org.SpansRead,
		params: []param{
			must(textParam("trace_id", "or its first 8 or more digits")), textParam("focus_span", "span id: shown in full, with the way to it"),
			numberParam("max_spans", "most lines of the tree", 1, maxTraceLines, defaultTraceLines),
			{name: "with_logs", kind: "boolean", text: "default true"},
			textParam("start", "where to look, if known"), endParam, tokensParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: getTrace,
	}
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]+$`)

// traceReaches are how far back a trace is looked for, step by step; the last
// is as far as anything goes.
var traceReaches = []time.Duration{26 * time.Hour, 100 * 365 * 24 * time.Hour}

func getTrace(ctx context.Context, c *call) (Result, error) {
	id, err := c.args.text("trace_id")
	if err != nil {
		return Result{}, err
	}
	id = strings.ToLower(strings.ReplaceAll(id, "-", ""))
	if len(id) < minTracePrefix || len(id) > 32 || !hexPattern.MatchString(id) {
		return Result{}, problemf("trace_id is %s; it must be 32 hexadecimal digits, or the first %d or more of them. search_traces finds traces.", quoteArgument(id), minTracePrefix)
	}
	focus, err := c.args.text("focus_span")
	if err != nil {
		return Result{}, err
	}
	most, err := c.args.number("max_spans", 1, maxTraceLines, defaultTraceLines)
	if err != nil {
		return Result{}, err
	}
	withLogs := true
	if text, _ := c.args.text("with_logs"); text != "" {
		if withLogs, err = c.args.flag("with_logs"); err != nil {
			return Result{}, err
		}
	}
	where, err := c.traceWindows()
	if err != nil {
		return Result{}, err
	}
	if len(id) < 32 {
		if id, err = c.wholeTraceID(ctx, id, where); err != nil {
			return Result{}, err
		}
	}
	rows, more, err := c.traceRows(ctx, id, where)
	if err != nil {
		return Result{}, err
	}
	if len(rows) == 0 {
		return Result{Text: fmt.Sprintf("get_trace · team %s · matched 0\n# There is no trace %s that you can see: it may be older than the retention or than your roles let you look back, "+
			"or outside of your data scope. search_traces finds traces.\n", c.caller.Team().Slug, id)}, nil
	}
	spans := make([]*spantree.Span, len(rows))
	for i, r := range rows {
		spans[i] = spantree.Of(r)
	}
	t := &trace{spantree.New(spans)}
	w := window{start: time.Unix(0, t.Start).UTC(), end: time.Unix(0, t.End).UTC()}
	c.link("/explore/trace/"+id, window{start: w.start.Add(-logSlack), end: w.end.Add(logSlack)})
	a := &answer{call: c, kind: "span", unit: "rows", cellBytes: 160}
	a.fact("trace %s", id)
	a.fact("%s", exact(w.start))
	a.fact("%s", shortNanos(float64(t.End-t.Start)))
	a.fact("%s", count(len(t.Spans), "span", "spans"))
	if n := t.failed(); n > 0 {
		a.fact("%d failed", n)
	}
	focus = strings.ToLower(focus)
	if focus != "" && !slices.ContainsFunc(t.Spans, func(s *spantree.Span) bool { return s.ID == focus }) {
		a.note("There is no span %s in this trace that you can see.", quoteArgument(focus))
		focus = ""
	}
	a.sections = append(a.sections, t.tree(most, focus), t.byService())
	details, err := c.spanDetails(ctx, id, t, focus)
	if err != nil {
		return Result{}, err
	}
	a.sections = append(a.sections, details...)
	if withLogs {
		if err := c.addTraceLogs(ctx, a, id, w); err != nil {
			return Result{}, err
		}
	}
	if more {
		a.note("The trace has more than %d spans; the rest is not read.", maxTraceSpans)
	}
	if t.Orphans > 0 {
		a.note("%s a parent that is missing or that you may not see; they stand at the top, marked ?.", count(t.Orphans, "span names", "spans name"))
	}
	if t.Skewed > 0 {
		a.note("%s outside of the time of the parent: the clocks of their hosts differ, or nobody waits for them.", count(t.Skewed, "span lies", "spans lie"))
	}
	return a.render(), nil
}

// A trace is what get_trace shows.
type trace struct{ *spantree.Tree }

// wholeTraceID finds the one trace whose id begins so.
func (c *call) wholeTraceID(ctx context.Context, prefix string, where []window) (string, error) {
	for _, w := range where {
		res, err := c.querySpans(ctx, "looking for the trace", telemetry.SpanQuery{
			Text:  fmt.Sprintf("%s:=%s* | stats by (%s) count(_time) as n | sort by (n desc) limit 4", telemetry.FieldTraceID, strconv.Quote(prefix), telemetry.FieldTraceID),
			Start: w.start, End: w.end, Limit: 4,
		})
		if err != nil {
			return "", err
		}
		var ids []string
		for _, r := range res.Rows {
			ids = append(ids, r.Get(telemetry.FieldTraceID))
		}
		switch {
		case len(ids) == 1:
			return ids[0], nil
		case len(ids) > 1:
			return "", problemf("Several traces begin with %s: %s. Give more digits.", prefix, names(ids))
		}
	}
	return "", problemf("There is no trace that begins with %s that you can see. search_traces finds traces.", prefix)
}

// traceWindows are where a trace is looked for, one after the other: around
// the time that the call names, then further and further back.
func (c *call) traceWindows() (list []window, err error) {
	start, err := c.args.text("start")
	if err != nil {
		return nil, err
	}
	end, err := c.args.text("end")
	if err != nil {
		return nil, err
	}
	if start != "" || end != "" {
		w, err := c.parseWindow("start", "end", c.now.Add(-traceReaches[0]), c.now)
		if err != nil {
			return nil, err
		}
		// Somebody who knows one span's time may not know the others'.
		list = append(list, window{start: w.start.Add(-traceMargin), end: w.end.Add(traceMargin)})
	}
	for _, reach := range traceReaches {
		w := window{start: c.now.Add(-reach), end: c.now.Add(logSlack)}
		if !w.start.After(time.Unix(0, 0)) {
			w.start = time.Unix(1, 0)
		}
		list = append(list, w)
	}
	return list, nil
}

// traceRows returns the spans of a trace, as far as a tree needs them.
func (c *call) traceRows(ctx context.Context, id string, where []window) (rows []telemetry.LogRow, more bool, err error) {
	for _, w := range where {
		res, err := c.querySpans(ctx, "reading the trace", telemetry.SpanQuery{
			Text:  FieldIs(telemetry.FieldTraceID, id) + " | fields _time, " + quoteAll(spantree.Fields()),
			Start: w.start, End: w.end, Limit: maxTraceSpans,
		})
		if err != nil {
			return nil, false, err
		}
		rows, more = res.Rows, res.More
		cut := slices.ContainsFunc(rows, func(r telemetry.LogRow) bool { return r.Time.Before(w.start.Add(traceMargin)) })
		if len(rows) > 0 && !cut {
			break
		}
	}
	return rows, more, nil
}

func (t *trace) failed() (n int) {
	for _, s := range t.Spans {
		if s.Failed() {
			n++
		}
	}
	return n
}

var kindNames = map[telemetry.SpanKind]string{telemetry.KindServer: "server", telemetry.KindClient: "client", telemetry.KindProducer: "producer", telemetry.KindConsumer: "consumer"}

// tree writes the lines of a trace as a table.
func (t *trace) tree(most int, focus string) section {
	s := section{columns: []string{"offset", "duration", "self", "status", "span_id", "tree: service · operation (kind)"}, fixed: -1}
	for _, l := range t.Lines(most, focus) {
		indent := strings.Repeat("  ", min(l.Depth, 40))
		if len(l.Left) > 0 {
			s.rows = append(s.rows, []string{"", "", "", "", "", indent + fmt.Sprintf("… %s more, the longest %s: %s", count(spansIn(l.Left), "span", "spans"), shortNanos(float64(longest(l.Left).Duration())), longest(l.Left).Name)})
			continue
		}
		sp := l.Span
		mark := ""
		if l.Critical {
			mark = "* "
		}
		if sp.Orphan {
			mark += "? "
		}
		text := indent + mark + sp.Service + " · " + sp.Name
		if kind := kindNames[sp.Kind]; kind != "" {
			text += " (" + kind + ")"
		}
		status := ""
		if sp.Failed() {
			status = "error"
		}
		if len(l.Alike) == 0 {
			s.rows = append(s.rows, []string{shortNanos(float64(sp.Start - t.Start)), shortNanos(float64(sp.Duration())), shortNanos(float64(sp.Self)), status, sp.ID, text})
			continue
		}
		all := l.All()
		least, sum, self := all[0].Duration(), time.Duration(0), time.Duration(0)
		for _, one := range all {
			least, sum, self = min(least, one.Duration()), sum+one.Duration(), self+one.Self
		}
		text = indent + mark + fmt.Sprintf("%d × %s · %s, %s to %s each", len(all), sp.Service, sp.Name, shortNanos(float64(least)), shortNanos(float64(longest(all).Duration())))
		if below := spansIn(all) - len(all); below > 0 {
			text += fmt.Sprintf(", with %s below", count(below, "span", "spans"))
		}
		s.rows = append(s.rows, []string{shortNanos(float64(sp.Start - t.Start)), "Σ " + shortNanos(float64(sum)), "Σ " + shortNanos(float64(self)), status, sp.ID, text})
	}
	return s
}

func spansIn(list []*spantree.Span) (n int) {
	for _, s := range list {
		n += 1 + s.Below
	}
	return n
}

func longest(list []*spantree.Span) *spantree.Span {
	return slices.MaxFunc(list, func(a, b *spantree.Span) int { return cmp.Compare(a.Duration(), b.Duration()) })
}

// byService adds up where the time went.
func (t *trace) byService() section {
	type sums struct {
		spans, errors int
		self          time.Duration
	}
	all, total := make(map[string]*sums), time.Duration(0)
	for _, s := range t.Spans {
		one := all[s.Service]
		if one == nil {
			one = new(sums)
			all[s.Service] = one
		}
		one.spans++
		one.self += s.Self
		total += s.Self
		if s.Failed() {
			one.errors++
		}
	}
	order := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b].self, all[a].self), strings.Compare(a, b))
	})
	s := section{title: "self-time by service:", columns: []string{"service", "self", "share_%", "spans", "errors"}, fixed: -1}
	for _, name := range order {
		one := all[name]
		s.rows = append(s.rows, []string{name, shortNanos(float64(one.self)), percent(int64(one.self), int64(total)), strconv.Itoa(one.spans), strconv.Itoa(one.errors)})
	}
	return s
}

// spanDetails are the fields of the focused span, and what failed ones say.
func (c *call) spanDetails(ctx context.Context, id string, t *trace, focus string) ([]section, error) {
	var wanted []string
	if focus != "" {
		wanted = append(wanted, focus)
	}
	// The deepest failures tell most: those above often only pass them on.
	for i := len(t.Spans) - 1; i >= 0 && len(wanted) < maxTraceErrors; i-- {
		if s := t.Spans[i]; s.Failed() && s.ID != focus {
			wanted = append(wanted, s.ID)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	in := make([]string, len(wanted))
	for i, w := range wanted {
		in[i] = strconv.Quote(w)
	}
	res, err := c.querySpans(ctx, "reading spans", telemetry.SpanQuery{
		Text:  fmt.Sprintf("%s %s:in(%s)", FieldIs(telemetry.FieldTraceID, id), telemetry.FieldSpanID, strings.Join(in, ", ")),
		Start: time.Unix(0, t.Start).Add(-logSlack), End: time.Unix(0, t.End).Add(logSlack), Limit: len(wanted),
	})
	if err != nil {
		return nil, err
	}
	errorsSaid := section{title: "failed spans:", columns: []string{"span_id", "service · operation", "status_message", "exception", "attributes"}, fixed: 2}
	var out []section
	for _, r := range res.Rows {
		if r.Get(telemetry.FieldSpanID) == focus {
			s := section{title: "the span " + focus + ":", columns: []string{"field", "value"}, fixed: -1}
			for _, f := range r.Fields {
				s.rows = append(s.rows, []string{f.Name, f.Value})
			}
			out = append(out, s)
			continue
		}
		var exception, attributes []string
		for _, f := range r.Fields {
			if name, ok := strings.CutPrefix(f.Name, telemetry.EventAttributePrefix+"exception."); ok && strings.HasPrefix(name, "type") {
				exception = append([]string{f.Value}, exception...)
			} else if ok && strings.HasPrefix(name, "message") {
				exception = append(exception, f.Value)
			}
			if name, ok := strings.CutPrefix(f.Name, telemetry.SpanAttributePrefix); ok {
				attributes = append(attributes, pair(name, f.Value, 60, nil))
			}
		}
		errorsSaid.rows = append(errorsSaid.rows, []string{
			r.Get(telemetry.FieldSpanID), r.Get(telemetry.FieldSpanService) + " · " + r.Get(telemetry.FieldSpanName), r.Get(telemetry.FieldStatusMessage),
			strings.Join(exception, ": "), strings.Join(attributes, "; "),
		})
	}
	if len(errorsSaid.rows) > 0 {
		out = append(out, errorsSaid)
	}
	return out, nil
}

// addTraceLogs adds the log records of the trace, for those who may see logs.
func (c *call) addTraceLogs(ctx context.Context, a *answer, id string, w window) error {
	if !c.caller.May(org.LogsRead) {
		a.note("Log records of the trace are left out: %s.", whyWithheld(c.caller, org.LogsRead))
		return nil
	}
	res, err := c.queryLogs(ctx, "reading records of the trace", telemetry.LogQuery{
		Text:  FieldIs(telemetry.FieldTraceID, id) + " | fields _time, " + quoteAll([]string{telemetry.FieldSeverity, telemetry.FieldService, telemetry.FieldSpanID, telemetry.FieldMessage}),
		Start: w.start.Add(-logSlack), End: w.end.Add(logSlack), Limit: maxTraceLogs + 1,
	}, searchBytes)
	if err != nil {
		return err
	}
	rows := res.Rows
	if len(rows) > maxTraceLogs {
		rows = rows[:maxTraceLogs]
		a.note("The trace has more log records: search_logs with query=%q shows them all.", FieldIs(telemetry.FieldTraceID, id))
	}
	slices.Reverse(rows)
	s := section{title: "log records of the trace:", columns: []string{"offset", "severity", "service", "span_id", "message"}, fixed: 1}
	for _, r := range rows {
		s.rows = append(s.rows, []string{
			shortNanos(float64(r.Time.Sub(w.start))), r.Get(telemetry.FieldSeverity), r.Get(telemetry.FieldService), r.Get(telemetry.FieldSpanID), r.Get(telemetry.FieldMessage),
		})
	}
	if len(s.rows) > 0 {
		a.sections = append(a.sections, s)
	}
	return nil
}
