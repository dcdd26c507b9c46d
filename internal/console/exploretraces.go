package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/chart"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// tracePageRows is how many traces a page shows.
	tracePageRows = 40
	// matchedSpans is how many spans are looked at to find so many traces.
	matchedSpans = 1000
	// maxTraceSpans is how many spans of one trace are shown.
	maxTraceSpans = 1000
	// maxTraceLogs is how many log records of a trace are shown.
	maxTraceLogs = 50
	// traceSlack is how far from a record its trace is looked for.
	traceSlack = time.Hour
	// traceLookBack is how far back a trace is looked for of which only the
	// id is known.
	traceLookBack = "30d"
	// serviceColors is how many there are in the style sheet, depthClasses
	// how many indents.
	serviceColors, depthClasses = 6, 8
)

// tracesPage is one request for the page Traces.
type tracesPage struct {
	*explorer
	web.ExploreTracesPage
	before time.Time
}

func (c *Console) exploreTraces(w http.ResponseWriter, r *http.Request, m manager) error {
	e, err := c.explorer(r, m, "/traces", org.SpansRead, defaultExploreRange)
	if err != nil {
		return err
	}
	p := &tracesPage{explorer: e}
	p.Service, p.Operation, p.MinDuration = strings.TrimSpace(e.form.Get("service")), strings.TrimSpace(e.form.Get("operation")), strings.TrimSpace(e.form.Get("min"))
	p.ErrorsOnly = e.form.Get("errors") != ""
	if _, err := p.least(); err != nil {
		e.page.Errors["min"] = "Write a duration like 250ms or 1.5s."
	}
	if !e.stop() {
		if err := p.explain("Traces", p.read()); err != nil {
			return err
		}
	}
	if p.Services == nil {
		p.Services = options(p.Service, web.ExploreOption{Text: "All"})
	}
	p.ExploreTracesPage.Explore = e.page
	return c.Site.Render(w, e.status, p.ExploreTracesPage)
}

func (p *tracesPage) least() (time.Duration, error) {
	if p.MinDuration == "" {
		return 0, nil
	}
	return time.ParseDuration(strings.ReplaceAll(p.MinDuration, " ", ""))
}

// here is the address of the page with other values.
func (p *tracesPage) here(values ...string) string {
	failed := ""
	if p.ErrorsOnly {
		failed = "1"
	}
	return p.link("/traces", append([]string{"query", p.page.Query, "service", p.Service, "operation", p.Operation, "min", p.MinDuration, "errors", failed}, values...)...)
}

// text is the query for the spans that are meant.
func (p *tracesPage) text() (string, error) {
	canonical, pipes, err := p.reader.Check(p.page.Query)
	if err != nil {
		return "", err
	}
	if pipes {
		return "", &telemetry.QueryError{Problem: "here a query must be a search without pipes (|)", Offset: -1}
	}
	var parts []string
	if p.page.Query != "" {
		parts = append(parts, "("+canonical+")")
	}
	if p.Operation != "" {
		parts = append(parts, tools.FieldIs(telemetry.FieldSpanName, p.Operation))
	}
	if least, _ := p.least(); least > 0 {
		parts = append(parts, telemetry.FieldDuration+":>="+strconv.FormatInt(least.Nanoseconds(), 10))
	}
	if p.ErrorsOnly {
		parts = append(parts, tools.FieldIs(telemetry.FieldStatusCode, strconv.Itoa(int(telemetry.StatusError))))
	}
	if len(parts) == 0 {
		return "*", nil
	}
	return strings.Join(parts, " "), nil
}

func (p *tracesPage) read() error {
	text, err := p.text()
	if err != nil {
		return err
	}
	services, err := p.reader.Spans(p.r.Context(), telemetry.SpanQuery{
		Text:  fmt.Sprintf("* | stats by (%q) count(_time) as n | sort by (n desc) limit %d", telemetry.FieldSpanService, exploreServices),
		Start: p.page.Start, End: p.page.End, Limit: exploreServices,
	})
	if err != nil {
		return err
	}
	p.Services = serviceOptions(p.Service, telemetry.FieldSpanService, services.Rows)

	q := telemetry.SpanQuery{Text: text + " | fields _time, " + telemetry.FieldTraceID, Start: p.page.Start, End: p.page.End, Limit: matchedSpans}
	if p.Service != "" {
		q.Services = []string{p.Service}
	}
	if ns, err := strconv.ParseInt(p.form.Get("before"), 10, 64); err == nil && time.Unix(0, ns).Before(q.End) {
		p.before = time.Unix(0, ns).UTC()
		q.End = p.before
	}
	res, err := p.reader.Spans(p.r.Context(), q)
	if err != nil {
		return err
	}
	// The newest span of each trace says its place.
	var ids []string
	more := res.More || len(res.Rows) >= matchedSpans
	var last time.Time
	for _, r := range res.Rows {
		id := r.Get(telemetry.FieldTraceID)
		if slices.Contains(ids, id) || !traceIDPattern.MatchString(id) {
			continue
		}
		if len(ids) == tracePageRows {
			more = true
			break
		}
		ids, last = append(ids, id), r.Time
	}
	if len(ids) == 0 {
		return p.nothing()
	}
	if err := p.describe(ids); err != nil {
		return err
	}
	p.Summary = fmt.Sprintf("%s with matching spans, those that ended last first.", are(len(p.Traces), "trace", "traces"))
	if more {
		p.Older = p.here("before", strconv.FormatInt(last.UnixNano(), 10))
	}
	return nil
}

// describe fills in what is known of the traces.
func (p *tracesPage) describe(ids []string) error {
	var in []string
	for _, id := range ids {
		in = append(in, strconv.Quote(id))
	}
	text := fmt.Sprintf(`%s:in(%s) | stats by (%s) count(_time) as n, count() if (%s) as failed, count_uniq(%q) as services, min(%s) as start, max(%s) as end, row_min(%s, %s, %q) as first`,
		telemetry.FieldTraceID, strings.Join(in, ", "), telemetry.FieldTraceID,
		tools.FieldIs(telemetry.FieldStatusCode, strconv.Itoa(int(telemetry.StatusError))), telemetry.FieldSpanService, telemetry.FieldStartTime, telemetry.FieldEndTime,
		telemetry.FieldStartTime, telemetry.FieldSpanName, telemetry.FieldSpanService)
	// A trace goes on beyond the time that was searched.
	res, err := p.reader.Spans(p.r.Context(), telemetry.SpanQuery{
		Text: text, Start: p.page.Start.Add(-traceSlack), End: p.page.End.Add(traceSlack), Limit: len(ids),
	})
	if err != nil {
		return err
	}
	found := make(map[string]telemetry.LogRow)
	for _, r := range res.Rows {
		found[r.Get(telemetry.FieldTraceID)] = r
	}
	for _, id := range ids {
		r, ok := found[id]
		if !ok {
			continue
		}
		start, end := nanos(r.Get("start")), nanos(r.Get("end"))
		var first map[string]string
		_ = json.Unmarshal([]byte(r.Get("first")), &first) // empty where names are hidden
		p.Traces = append(p.Traces, web.ExploreTraceRow{
			ID: id, At: time.Unix(0, start).UTC(), Name: clipped(cmp.Or(first[telemetry.FieldSpanName], id)), Service: clipped(first[telemetry.FieldSpanService]),
			URL:      p.link("/trace/"+id, "from", exactTime(time.Unix(0, start).Add(-time.Minute)), "to", exactTime(time.Unix(0, end).Add(time.Minute))),
			Duration: chart.FormatValue(float64(end-start), "ns"), Spans: nanos(r.Get("n")), Errors: nanos(r.Get("failed")), Services: nanos(r.Get("services")),
		})
	}
	return nil
}

// nanos reads a whole number, 0 for what is none.
func nanos(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (p *tracesPage) nothing() error {
	if !p.before.IsZero() {
		p.page.Empty = &web.ExploreEmpty{What: "There are no older traces in this time.", Links: []web.Link{{Text: "Newest", URL: p.here()}}}
		return nil
	}
	p.page.Empty = &web.ExploreEmpty{What: "No trace matches in this time."}
	res, err := p.reader.Spans(p.r.Context(), telemetry.SpanQuery{Text: "* | fields _time", Start: p.now.Add(-emptyLookBack), End: p.now, Limit: 1})
	if err != nil {
		return err
	}
	if len(res.Rows) == 0 {
		p.page.Empty.Why = []string{"There are no spans at all of the last 7 days that you can see. If there should be, ask an administrator of the team whether anything sends them."}
		return nil
	}
	at := res.Rows[0].Time
	p.page.Empty.Why = []string{fmt.Sprintf("The newest span that you can see ended at %s UTC.", at.UTC().Format("2006-01-02 15:04:05"))}
	if at.Before(p.page.Start) {
		p.page.Empty.Links = []web.Link{{Text: "Look there", URL: p.here("from", exactTime(at.Add(-15*time.Minute)), "to", exactTime(at.Add(time.Second)))}}
	} else {
		p.page.Empty.Links = []web.Link{{Text: "Everything in this time", URL: p.link("/traces")}}
	}
	return nil
}

// findTrace leads to the trace whose id was typed.
func (c *Console) findTrace(w http.ResponseWriter, r *http.Request, m manager) error {
	id := strings.TrimSpace(r.URL.Query().Get("trace"))
	if id == "" || !traceIDPattern.MatchString(id) {
		id = "-"
	}
	http.Redirect(w, r, "/teams/"+m.team.Slug+"/explore/trace/"+id, http.StatusSeeOther)
	return nil
}

// tracePage is one request for the page of a trace.
type tracePage struct {
	*explorer
	web.ExploreTracePage
}

func (c *Console) exploreTrace(w http.ResponseWriter, r *http.Request, m manager) error {
	e, err := c.explorer(r, m, "/trace", org.SpansRead, traceLookBack)
	if err != nil {
		return err
	}
	p := &tracePage{explorer: e}
	p.ID = r.PathValue("id")
	if !traceIDPattern.MatchString(p.ID) || p.ID == "-" {
		e.page.Errors["trace"] = "A trace id is 32 hexadecimal digits, such as 5b8efff798038103d269b633813fc60c."
		p.ID = ""
	}
	if !e.stop() {
		if err := p.explain("Traces", p.read()); err != nil {
			return err
		}
	}
	p.ExploreTracePage.Explore = e.page
	return c.Site.Render(w, e.status, p.ExploreTracePage)
}

func (p *tracePage) read() error {
	res, err := p.reader.Spans(p.r.Context(), telemetry.SpanQuery{
		Text: tools.FieldIs(telemetry.FieldTraceID, p.ID), Start: p.page.Start, End: p.page.End, Limit: maxTraceSpans,
	})
	if err != nil {
		return err
	}
	if len(res.Rows) == 0 {
		p.page.Empty = &web.ExploreEmpty{What: "No span of this trace is there that you can see.", Why: []string{
			fmt.Sprintf("It was looked for from %s to %s UTC.", p.page.Start.Format("2006-01-02 15:04"), p.page.End.Format("2006-01-02 15:04")),
		}}
		if p.form.Get("from") != "" {
			p.page.Empty.Links = []web.Link{{Text: "Look through the last 30 days", URL: p.link("/trace/"+p.ID, "from", "", "to", "")}}
		}
		return nil
	}
	if res.More {
		p.page.Notes = append(p.page.Notes, fmt.Sprintf("The trace has more than %d spans; these are those that ended last.", len(res.Rows)))
	}
	if f := p.visitorView(org.SpansRead).Filter(); f != nil {
		p.page.Notes = append(p.page.Notes, "Spans outside of your data scope are left out, so parents may be missing.")
	}
	t := newTrace(res.Rows)
	p.fill(t)
	return p.readLogs(t)
}

// fill shows the trace.
func (p *tracePage) fill(t *trace) {
	length := t.end - t.start
	colors := make(map[string]int)
	failed := 0
	for _, s := range t.spans {
		if _, ok := colors[s.service]; !ok {
			colors[s.service] = len(colors) % serviceColors
			p.Legend = append(p.Legend, web.ExploreService{Name: cmp.Or(s.service, "(no service)"), Color: colors[s.service]})
		}
		if s.failed {
			failed++
		}
		x := scaled(s.start-t.start, length)
		p.Spans = append(p.Spans, web.ExploreSpan{
			ID: s.id, Depth: min(s.depth, depthClasses), Level: s.depth + 1, Name: clipped(cmp.Or(s.name, s.id)), Service: clipped(s.service), Color: colors[s.service],
			Offset: chart.FormatValue(float64(s.start-t.start), "ns"), Duration: chart.FormatValue(float64(s.end-s.start), "ns"),
			X: min(x, 997), Width: max(3, min(scaled(s.end-s.start, length), 1000-x)), Error: s.failed,
			Fields: p.spanFields(s), Events: p.spanEvents(s, t.start),
			LogsURL: p.logsURL(t, tools.FieldIs(telemetry.FieldSpanID, s.id)),
		})
	}
	for i := range 5 {
		p.Ticks = append(p.Ticks, chart.FormatValue(float64(length)*float64(i)/4, "ns"))
	}
	root := t.spans[0]
	p.Facts = []web.ExploreField{
		{Name: "Trace", Value: p.ID},
		{Name: "Begins with", Value: clipped(cmp.Or(root.name, root.id)) + " of " + clipped(cmp.Or(root.service, "no service"))},
		{Name: "Start", Value: time.Unix(0, t.start).UTC().Format("2006-01-02 15:04:05.000000") + " UTC"},
		{Name: "Duration", Value: chart.FormatValue(float64(length), "ns")},
		{Name: "Spans", Value: fmt.Sprintf("%s of %s", are(len(t.spans), "span", "spans"), are(len(p.Legend), "service", "services"))},
		{Name: "Errors", Value: strconv.Itoa(failed)},
	}
}

// scaled is a part in thousandths of a whole.
func scaled(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(1000, max(0, float64(part)/float64(whole)*1000)))
}

// spanFields are what is known of a span, what everybody asks for first.
func (p *tracePage) spanFields(s *traceSpan) []web.ExploreField {
	kinds := []string{"unspecified", "internal", "server", "client", "producer", "consumer"}
	out := []web.ExploreField{{Name: "span id", Value: s.id}, {Name: "self time", Value: chart.FormatValue(float64(s.self), "ns")}}
	if k := nanos(s.row.Get(telemetry.FieldSpanKind)); k > 0 && int(k) < len(kinds) {
		out = append(out, web.ExploreField{Name: "kind", Value: kinds[k]})
	}
	if s.missing {
		out = append(out, web.ExploreField{Name: "parent", Value: s.parent + " (not among the spans that you can see)"})
	}
	if m := s.row.Get(telemetry.FieldStatusMessage); m != "" {
		out = append(out, web.ExploreField{Name: "status message", Value: cutValue(m)})
	}
	for _, f := range p.exploreFields(s.row.Fields, false, func(name string) bool {
		return strings.HasPrefix(name, telemetry.SpanAttributePrefix) || strings.HasPrefix(name, telemetry.ResourcePrefix) ||
			strings.HasPrefix(name, telemetry.LinkTraceIDPrefix) || strings.HasPrefix(name, telemetry.LinkSpanIDPrefix)
	}) {
		f.Name = strings.TrimPrefix(f.Name, telemetry.SpanAttributePrefix)
		out = append(out, f)
	}
	return out
}

// maxSpanEvents is how many events of a span are shown.
const maxSpanEvents = 50

func (p *tracePage) spanEvents(s *traceSpan, start int64) []web.ExploreEvent {
	var out []web.ExploreEvent
	for i := range maxSpanEvents {
		at := ":" + strconv.Itoa(i)
		name, when := s.row.Get(telemetry.EventNamePrefix+at), s.row.Get(telemetry.EventTimePrefix+at)
		if name == "" && when == "" {
			break
		}
		e := web.ExploreEvent{Name: clipped(cmp.Or(name, "event")), Offset: chart.FormatValue(float64(nanos(when)-start), "ns")}
		for _, f := range s.row.Fields {
			if key, ok := strings.CutPrefix(f.Name, telemetry.EventAttributePrefix); ok && strings.HasSuffix(key, at) {
				e.Fields = append(e.Fields, web.ExploreField{Name: strings.TrimSuffix(key, at), Value: cutValue(f.Value)})
			}
		}
		out = append(out, e)
	}
	return out
}

// logsURL leads to the records of the trace, and of one of its spans.
func (p *tracePage) logsURL(t *trace, more string) string {
	if !p.visitor.May(org.LogsRead) {
		return ""
	}
	return p.link("", "query", strings.TrimSpace(tools.FieldIs(telemetry.FieldTraceID, p.ID)+" "+more),
		"from", exactTime(time.Unix(0, t.start).Add(-time.Minute)), "to", exactTime(time.Unix(0, t.end).Add(time.Minute)))
}

// readLogs shows the records of the trace to those who may read logs.
func (p *tracePage) readLogs(t *trace) error {
	if !p.visitor.May(org.LogsRead) {
		p.LogsWithheld = "You may not read the logs of this team: this " + tools.NoPermission(p.visitor, org.LogsRead) + "."
		return nil
	}
	p.LogsURL = p.logsURL(t, "")
	res, err := p.reader.Logs(p.r.Context(), telemetry.LogQuery{
		Text: tools.FieldIs(telemetry.FieldTraceID, p.ID), Start: time.Unix(0, t.start).Add(-time.Minute), End: time.Unix(0, t.end).Add(time.Minute), Limit: maxTraceLogs,
	})
	if err != nil {
		return err
	}
	slices.Reverse(res.Rows) // a trace is read from its beginning
	for _, r := range res.Rows {
		row := p.logRow(r, false)
		row.TraceURL = ""
		p.Logs = append(p.Logs, row)
	}
	return nil
}

// trace is a trace as it is shown: spans after their parents, in the order of
// their starts.
type trace struct {
	start, end int64 // nanoseconds since 1970
	spans      []*traceSpan
}

type traceSpan struct {
	id, parent, name, service string
	start, end, self          int64
	depth                     int
	failed, missing           bool
	row                       telemetry.LogRow
	children                  []*traceSpan
}

func newTrace(rows []telemetry.LogRow) *trace {
	t := &trace{}
	byID := make(map[string]*traceSpan)
	var all []*traceSpan
	for _, r := range rows {
		s := &traceSpan{
			id: r.Get(telemetry.FieldSpanID), parent: r.Get(telemetry.FieldParentSpanID), name: r.Get(telemetry.FieldSpanName), service: r.Get(telemetry.FieldSpanService),
			start: nanos(r.Get(telemetry.FieldStartTime)), end: nanos(r.Get(telemetry.FieldEndTime)), row: r,
			failed: r.Get(telemetry.FieldStatusCode) == strconv.Itoa(int(telemetry.StatusError)),
		}
		if s.end < s.start {
			s.end = s.start
		}
		if byID[s.id] == nil { // a span that was sent twice is shown once
			byID[s.id] = s
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *traceSpan) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	var roots []*traceSpan
	for i, s := range all {
		if i == 0 || s.start < t.start {
			t.start = s.start
		}
		t.end = max(t.end, s.end)
		if parent := byID[s.parent]; parent != nil && parent != s && s.parent != "" {
			parent.children = append(parent.children, s)
			continue
		}
		s.missing = s.parent != ""
		roots = append(roots, s)
	}
	seen := make(map[*traceSpan]bool)
	var walk func(s *traceSpan, depth int)
	walk = func(s *traceSpan, depth int) {
		if seen[s] {
			return
		}
		seen[s], s.depth = true, depth
		s.self = selfTime(s)
		t.spans = append(t.spans, s)
		for _, c := range s.children {
			walk(c, depth+1)
		}
	}
	for _, s := range roots {
		walk(s, 0)
	}
	for _, s := range all { // spans that are their own ancestors
		walk(s, 0)
	}
	return t
}

// selfTime is how long a span lasted while none of its children did.
func selfTime(s *traceSpan) int64 {
	self, covered := s.end-s.start, s.start
	for _, c := range s.children { // in the order of their starts
		from, to := max(c.start, covered), min(c.end, s.end)
		if to > from {
			self -= to - from
			covered = to
		}
	}
	return self
}
