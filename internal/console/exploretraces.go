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
	"github.com/orielhq/oriel/internal/spantree"
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
	// rows are the spans by id, colors those of services.
	rows   map[string]telemetry.LogRow
	colors map[string]int
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
	t := p.tree(res.Rows)
	p.fill(t)
	return p.readLogs(t)
}

// tree makes a tree of the rows, and keeps them.
func (p *tracePage) tree(rows []telemetry.LogRow) *spantree.Tree {
	p.rows = make(map[string]telemetry.LogRow)
	var spans []*spantree.Span
	for _, r := range rows {
		s := spantree.Of(r)
		if _, ok := p.rows[s.ID]; !ok {
			p.rows[s.ID] = r
		}
		spans = append(spans, s)
	}
	return spantree.New(spans)
}

// fill shows the trace.
func (p *tracePage) fill(t *spantree.Tree) {
	p.colors = make(map[string]int)
	p.Spans = p.lines(t, t.Roots, 0)
	length := t.End - t.Start
	for i := range 5 {
		p.Ticks = append(p.Ticks, chart.FormatValue(float64(length)*float64(i)/4, "ns"))
	}
	failed, critical := 0, 0
	for _, s := range t.Spans {
		if s.Failed() {
			failed++
		}
		if s.Critical {
			critical++
		}
	}
	root := t.Roots[0]
	p.Facts = []web.ExploreField{
		{Name: "Trace", Value: p.ID},
		{Name: "Begins with", Value: clipped(cmp.Or(root.Name, root.ID)) + " of " + clipped(cmp.Or(root.Service, "no service"))},
		{Name: "Start", Value: time.Unix(0, t.Start).UTC().Format("2006-01-02 15:04:05.000000") + " UTC"},
		{Name: "Duration", Value: chart.FormatValue(float64(length), "ns")},
		{Name: "Spans", Value: fmt.Sprintf("%s of %s", are(len(t.Spans), "span", "spans"), are(len(p.Legend), "service", "services"))},
		{Name: "Critical path", Value: are(critical, "span", "spans")},
		{Name: "Errors", Value: strconv.Itoa(failed)},
	}
}

// lines shows siblings and what is below them; many alike are one line, which
// can be unfolded.
func (p *tracePage) lines(t *spantree.Tree, siblings []*spantree.Span, depth int) []web.ExploreSpan {
	var out []web.ExploreSpan
	for _, l := range spantree.Fold(siblings, nil) {
		if len(l.Alike) == 0 {
			out = append(out, p.span(t, l.Span, depth))
			out = append(out, p.lines(t, l.Span.Children, depth+1)...)
			continue
		}
		all := l.All()
		line := p.span(t, l.Span, depth)
		line.Critical, line.Fields, line.Events, line.LogsURL = l.Critical, nil, nil, ""
		alike := &web.ExploreAlike{Count: len(all)}
		least, most, sum := all[0].Duration(), all[0].Duration(), time.Duration(0)
		for _, s := range all {
			least, most, sum = min(least, s.Duration()), max(most, s.Duration()), sum+s.Duration()
			one := p.span(t, s, depth)
			alike.Bars = append(alike.Bars, web.ExploreBar{X: one.X, Width: one.Width})
			alike.Spans = append(alike.Spans, one)
			alike.Spans = append(alike.Spans, p.lines(t, s.Children, depth+1)...)
		}
		alike.Each = chart.FormatValue(float64(least), "ns") + " to " + chart.FormatValue(float64(most), "ns")
		line.Duration = chart.FormatValue(float64(sum), "ns")
		line.Alike = alike
		out = append(out, line)
	}
	return out
}

// span shows one span.
func (p *tracePage) span(t *spantree.Tree, s *spantree.Span, depth int) web.ExploreSpan {
	color, ok := p.colors[s.Service]
	if !ok {
		color = len(p.colors) % serviceColors
		p.colors[s.Service] = color
		p.Legend = append(p.Legend, web.ExploreService{Name: cmp.Or(s.Service, "(no service)"), Color: color})
	}
	length := t.End - t.Start
	x := min(scaled(s.Start-t.Start, length), 997)
	return web.ExploreSpan{
		ID: s.ID, Depth: min(depth, depthClasses), Level: depth + 1, Name: clipped(cmp.Or(s.Name, s.ID)), Service: clipped(s.Service), Color: color,
		Offset: chart.FormatValue(float64(s.Start-t.Start), "ns"), Duration: chart.FormatValue(float64(s.Duration()), "ns"),
		X: x, Width: max(3, min(scaled(s.End-s.Start, length), 1000-x)), Error: s.Failed(), Critical: s.Critical,
		Fields: p.spanFields(s), Events: p.spanEvents(p.rows[s.ID], t.Start),
		LogsURL: p.logsURL(t, tools.FieldIs(telemetry.FieldSpanID, s.ID)),
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
func (p *tracePage) spanFields(s *spantree.Span) []web.ExploreField {
	kinds := []string{"unspecified", "internal", "server", "client", "producer", "consumer"}
	out := []web.ExploreField{{Name: "span id", Value: s.ID}, {Name: "self time", Value: chart.FormatValue(float64(s.Self), "ns")}}
	if s.Kind > 0 && int(s.Kind) < len(kinds) {
		out = append(out, web.ExploreField{Name: "kind", Value: kinds[s.Kind]})
	}
	if s.Orphan {
		out = append(out, web.ExploreField{Name: "parent", Value: s.Parent + " (not among the spans that you can see)"})
	}
	if s.Message != "" {
		out = append(out, web.ExploreField{Name: "status message", Value: cutValue(s.Message)})
	}
	for _, f := range p.exploreFields(p.rows[s.ID].Fields, false, func(name string) bool {
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

func (p *tracePage) spanEvents(row telemetry.LogRow, start int64) []web.ExploreEvent {
	var out []web.ExploreEvent
	for i := range maxSpanEvents {
		at := ":" + strconv.Itoa(i)
		name, when := row.Get(telemetry.EventNamePrefix+at), row.Get(telemetry.EventTimePrefix+at)
		if name == "" && when == "" {
			break
		}
		e := web.ExploreEvent{Name: clipped(cmp.Or(name, "event")), Offset: chart.FormatValue(float64(nanos(when)-start), "ns")}
		for _, f := range row.Fields {
			if key, ok := strings.CutPrefix(f.Name, telemetry.EventAttributePrefix); ok && strings.HasSuffix(key, at) {
				e.Fields = append(e.Fields, web.ExploreField{Name: strings.TrimSuffix(key, at), Value: cutValue(f.Value)})
			}
		}
		out = append(out, e)
	}
	return out
}

// logsURL leads to the records of the trace, and of one of its spans.
func (p *tracePage) logsURL(t *spantree.Tree, more string) string {
	if !p.visitor.May(org.LogsRead) {
		return ""
	}
	return p.link("", "query", strings.TrimSpace(tools.FieldIs(telemetry.FieldTraceID, p.ID)+" "+more),
		"from", exactTime(time.Unix(0, t.Start).Add(-time.Minute)), "to", exactTime(time.Unix(0, t.End).Add(time.Minute)))
}

// readLogs shows the records of the trace to those who may read logs.
func (p *tracePage) readLogs(t *spantree.Tree) error {
	if !p.visitor.May(org.LogsRead) {
		p.LogsWithheld = "You may not read the logs of this team: this " + tools.NoPermission(p.visitor, org.LogsRead) + "."
		return nil
	}
	p.LogsURL = p.logsURL(t, "")
	res, err := p.reader.Logs(p.r.Context(), telemetry.LogQuery{
		Text: tools.FieldIs(telemetry.FieldTraceID, p.ID), Start: time.Unix(0, t.Start).Add(-time.Minute), End: time.Unix(0, t.End).Add(time.Minute), Limit: maxTraceLogs,
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
