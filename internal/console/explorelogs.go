package console

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"net/http"
	"regexp"
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
	// logPageRows is how many records a page shows, maxTableRows how many rows
	// that a query computed.
	logPageRows  = 50
	maxTableRows = 200
	// maxTableColumns bounds a table that a query computed.
	maxTableColumns = 20
	// maxSeen bounds the records of one instant over which pages are turned.
	maxSeen = 60
	// histogramSteps is how many bars a histogram has at most.
	histogramSteps = 90
	// maxMessageRunes bounds a message in the list; the record has all of it.
	maxMessageRunes = 400
)

// noSeverity is what records without a severity are called.
const noSeverity = "not given"

// logsPage is one request for the page Logs.
type logsPage struct {
	*explorer
	web.ExploreLogsPage
	severities []string
	// before and seen are where an older page goes on: the instant of the last
	// record shown, and the records of it that were.
	before time.Time
	seen   []string
	// text is the query in canonical form, computes that it does more than
	// search.
	text     string
	computes bool
}

func (c *Console) exploreLogs(w http.ResponseWriter, r *http.Request, m manager) error {
	e, err := c.explorer(r, m, "", org.LogsRead, defaultExploreRange)
	if err != nil {
		return err
	}
	p := &logsPage{explorer: e}
	p.Service, p.Severity = strings.TrimSpace(e.form.Get("service")), strings.TrimSpace(e.form.Get("severity"))
	if query, ok := e.picked(); ok {
		http.Redirect(w, r, p.here("query", query), http.StatusSeeOther)
		return nil
	}
	if p.severities, err = tools.ParseSeverities(p.Severity); err != nil {
		e.page.Errors["severity"] = "This is no severity."
	}
	p.chooseSeverities()
	if !e.stop() {
		if err := p.read(); err != nil {
			return err
		}
	}
	if p.Services == nil {
		p.Services = options(p.Service, web.ExploreOption{Text: "All"})
	}
	p.ExploreLogsPage.Explore = e.page
	return c.Site.Render(w, e.status, p.ExploreLogsPage)
}

// here is the address of the page with other values.
func (p *logsPage) here(values ...string) string {
	return p.link("", append([]string{"query", p.page.Query, "service", p.Service, "severity", p.Severity}, values...)...)
}

func (p *logsPage) chooseSeverities() {
	list := []web.ExploreOption{
		{Value: "", Text: "All"}, {Value: "error+", Text: "Error and above"}, {Value: "warn+", Text: "Warn and above"}, {Value: "info+", Text: "Info and above"},
	}
	for _, s := range slices.Backward(telemetry.Severities()) {
		list = append(list, web.ExploreOption{Value: strings.ToLower(s), Text: s[:1] + strings.ToLower(s[1:]) + " only"})
	}
	p.Severities = options(p.Severity, list...)
}

// read asks the engine for everything on the page, as far as it can answer.
func (p *logsPage) read() error {
	var err error
	if p.text, p.computes, err = p.reader.Check(p.page.Query); err != nil {
		return p.explain("Logs", err)
	}
	for _, part := range []func() error{p.readServices, p.readHistogram, p.readRows} {
		if err := part(); err != nil {
			return p.explain("Logs", err)
		}
	}
	return nil
}

// ask is a query with the page's filters.
func (p *logsPage) ask(text string, limit int) (telemetry.LogResult, error) {
	q := telemetry.LogQuery{Text: text, Severities: p.severities, Start: p.page.Start, End: p.page.End, Limit: limit}
	if p.Service != "" {
		q.Services = []string{p.Service}
	}
	return p.reader.Logs(p.r.Context(), q)
}

// readServices makes the list of services to choose from.
func (p *logsPage) readServices() error {
	res, err := p.reader.Logs(p.r.Context(), telemetry.LogQuery{
		Text:  "* | stats by (" + telemetry.FieldService + ") count(_time) as n | sort by (n desc) limit " + strconv.Itoa(exploreServices),
		Start: p.page.Start, End: p.page.End, Limit: exploreServices,
	})
	if err != nil {
		return err
	}
	p.Services = serviceOptions(p.Service, telemetry.FieldService, res.Rows)
	return nil
}

func serviceOptions(chosen, field string, rows []telemetry.LogRow) []web.ExploreOption {
	var names []string
	for _, r := range rows {
		if name := r.Get(field); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	list := []web.ExploreOption{{Text: "All"}}
	for _, name := range names {
		list = append(list, web.ExploreOption{Value: name, Text: name})
	}
	return options(chosen, list...)
}

// histogramStep is the shortest round step of which the time has few enough.
func histogramStep(length time.Duration) time.Duration {
	steps := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
		30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	for _, s := range steps {
		if length <= s*histogramSteps {
			return s
		}
	}
	day := steps[len(steps)-1]
	return (length/histogramSteps/day + 1) * day
}

// severityTones are the colors of the histogram, from the bottom to the top.
var severityTones = []struct {
	name string
	tone chart.Tone
}{
	{noSeverity, chart.Muted},
	{telemetry.SeverityTrace, chart.Muted},
	{telemetry.SeverityDebug, chart.Muted},
	{telemetry.SeverityInfo, chart.Calm},
	{telemetry.SeverityWarn, chart.Warning},
	{telemetry.SeverityError, chart.Danger},
	{telemetry.SeverityFatal, chart.Critical},
}

func (p *logsPage) readHistogram() error {
	if p.computes {
		return nil
	}
	step := histogramStep(p.page.End.Sub(p.page.Start))
	res, err := p.ask(fmt.Sprintf("%s | stats by (_time:%ds, %s) count(_time) as n", p.text, step/time.Second, telemetry.FieldSeverity), (histogramSteps+2)*20)
	if err != nil || len(res.Rows) == 0 {
		return err
	}
	counts := make(map[string]map[int64]float64)
	total := make(map[string]float64)
	for _, r := range res.Rows {
		name := cmp.Or(r.Get(telemetry.FieldSeverity), noSeverity)
		if !slices.Contains(telemetry.Severities(), name) {
			name = noSeverity
		}
		n, _ := strconv.ParseFloat(r.Get("n"), 64)
		if counts[name] == nil {
			counts[name] = make(map[int64]float64)
		}
		counts[name][r.Time.UnixNano()] += n
		total[name] += n
	}
	c := chart.Chart{
		Title: "Log records per " + shortDuration(step), Kind: chart.StackedBars, Start: p.page.Start, End: p.page.End, Step: step,
		Width: exploreChartWidth, Height: exploreChartHeight,
	}
	table := &web.ExploreTable{Caption: "Log records over time", Columns: []string{"From (UTC)"}}
	var words []string
	for _, s := range severityTones {
		if counts[s.name] == nil {
			continue
		}
		series := chart.Series{Name: s.name, Tone: s.tone}
		for at, n := range counts[s.name] {
			series.Points = append(series.Points, chart.Point{Time: time.Unix(0, at), Value: n})
		}
		slices.SortFunc(series.Points, func(a, b chart.Point) int { return a.Time.Compare(b.Time) })
		c.Series = append(c.Series, series)
		table.Columns = append(table.Columns, s.name)
		words = append(words, fmt.Sprintf("%s %s", strconv.FormatFloat(total[s.name], 'f', -1, 64), s.name))
	}
	// The engine counts steps from 1970.
	for at := time.Unix(0, p.page.Start.UnixNano()/int64(step)*int64(step)); at.Before(p.page.End); at = at.Add(step) {
		row := web.ExploreRow{Cells: []string{at.UTC().Format("2006-01-02 15:04:05")}}
		row.URL = p.here("from", exactTime(at), "to", exactTime(at.Add(step)))
		any := false
		for _, name := range table.Columns[1:] {
			n := counts[name][at.UnixNano()]
			any = any || n > 0
			row.Cells = append(row.Cells, strconv.FormatFloat(n, 'f', -1, 64))
		}
		if any {
			table.Rows = append(table.Rows, row)
		}
	}
	p.Counts = table
	p.Chart, err = drawChart(c, "Stacked bars of log records over time: "+strings.Join(words, ", ")+". The table below has the numbers.")
	return err
}

// drawChart draws for light and dark, into the page itself: the answer of the
// engine is not asked for twice.
func drawChart(c chart.Chart, alt string) (*web.ExploreChart, error) {
	light, err := c.SVG()
	if err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	c.Dark = true
	dark, err := c.SVG()
	if err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	address := func(svg []byte) string { return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg) }
	return &web.ExploreChart{
		// The documents are ours; what telemetry says in them is escaped.
		Light: template.URL(address(light)), Dark: template.Srcset(address(dark)), Width: c.Width, Height: c.Height, Alt: alt,
	}, nil
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (p *logsPage) readRows() error {
	if ns, err := strconv.ParseInt(p.form.Get("before"), 10, 64); err == nil {
		p.before = time.Unix(0, ns).UTC()
		for _, name := range p.form["seen"] {
			if len(p.seen) < maxSeen && rowNamePattern.MatchString(name) {
				p.seen = append(p.seen, name)
			}
		}
	}
	limit := logPageRows
	if p.computes {
		limit = maxTableRows
	}
	q := telemetry.LogQuery{Text: p.page.Query, Severities: p.severities, Start: p.page.Start, End: p.page.End, Limit: limit + 1 + len(p.seen), CountTotal: true}
	if p.Service != "" {
		q.Services = []string{p.Service}
	}
	if !p.before.IsZero() && p.before.Before(q.End) && !p.computes {
		// Records of that instant come again; those shown are left out.
		q.End = p.before.Add(1)
		p.Newest = p.here()
	}
	res, err := p.reader.Logs(p.r.Context(), q)
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(res.Rows, func(r telemetry.LogRow) bool {
		return r.Time.Equal(p.before) && slices.Contains(p.seen, rowName(r))
	})
	if len(rows) == 0 {
		return p.nothing()
	}
	more := res.More || len(rows) > limit
	rows = rows[:min(len(rows), limit)]
	if p.computes && slices.ContainsFunc(rows, func(r telemetry.LogRow) bool { return r.Get(telemetry.FieldMessage) == "" }) {
		p.Table = rowTable(rows)
		p.Summary = "What the query computed."
		if more {
			p.Summary = fmt.Sprintf("The first %d rows of what the query computed.", len(rows))
		}
		return nil
	}
	for _, r := range rows {
		p.Rows = append(p.Rows, p.logRow(r, !p.computes))
	}
	p.Summary = fmt.Sprintf("%d shown, newest first.", len(rows))
	if res.Total >= 0 && p.Newest == "" {
		p.Summary = fmt.Sprintf("%s, %d shown, newest first.", are(int(res.Total), "record matches", "records match"), len(rows))
	}
	if more && !p.computes {
		p.Older = p.older(rows)
	}
	return nil
}

// older is the address of the records after these, "" where too many share the
// last one's instant.
func (p *logsPage) older(rows []telemetry.LogRow) string {
	last := rows[len(rows)-1].Time
	var seen []string
	if last.Equal(p.before) {
		seen = slices.Clone(p.seen)
	}
	for _, r := range rows {
		if r.Time.Equal(last) {
			seen = append(seen, rowName(r))
		}
	}
	if len(seen) > maxSeen {
		return ""
	}
	address := p.here("before", strconv.FormatInt(last.UnixNano(), 10))
	for _, s := range seen {
		address += "&seen=" + s
	}
	return address
}

// rowNamePattern is that of rowName.
var rowNamePattern = regexp.MustCompile(`^[0-9a-z]{1,13}$`)

// rowName tells a record from others of its instant.
func rowName(r telemetry.LogRow) string {
	h := fnv.New64a()
	for _, f := range r.Fields {
		_, _ = io.WriteString(h, f.Name+"\x00"+f.Value+"\x00")
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// traceIDPattern is that of ids that a page can be asked for.
var traceIDPattern = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`)

// logRow is a record as pages show it. pick says whether its values can be
// searched for.
func (e *explorer) logRow(r telemetry.LogRow, pick bool) web.ExploreLog {
	l := web.ExploreLog{At: r.Time, Severity: r.Get(telemetry.FieldSeverity), Service: r.Get(telemetry.FieldService), Message: cutMessage(r.Get(telemetry.FieldMessage))}
	if len(l.Severity) > 12 {
		l.Severity = clipped(l.Severity)
	}
	l.Fields = e.exploreFields(r.Fields, pick, func(name string) bool {
		return name != telemetry.FieldTime && !strings.HasPrefix(name, "_stream") && !strings.HasPrefix(name, telemetry.ResourcePrefix)
	})
	if id := r.Get(telemetry.FieldTraceID); traceIDPattern.MatchString(id) {
		l.TraceURL = e.link("/trace/"+id, "from", exactTime(r.Time.Add(-traceSlack)), "to", exactTime(r.Time.Add(traceSlack)))
	}
	if l.Service != "" && !r.Time.IsZero() {
		l.AroundURL = e.link("", "service", l.Service, "from", exactTime(r.Time.Add(-time.Minute)), "to", exactTime(r.Time.Add(time.Minute)))
	}
	return l
}

func cutMessage(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if r := []rune(s); len(r) > maxMessageRunes {
		return string(r[:maxMessageRunes-1]) + "…"
	}
	return s
}

// rowTable shows what a query computed.
func rowTable(rows []telemetry.LogRow) *web.ExploreTable {
	t := &web.ExploreTable{Caption: "Result of the query"}
	timed := slices.ContainsFunc(rows, func(r telemetry.LogRow) bool { return !r.Time.IsZero() })
	for _, r := range rows {
		for _, f := range r.Fields {
			if f.Name != telemetry.FieldTime && len(t.Columns) < maxTableColumns && !slices.Contains(t.Columns, f.Name) {
				t.Columns = append(t.Columns, f.Name)
			}
		}
	}
	for _, r := range rows {
		var cells []string
		if timed {
			cells = append(cells, r.Time.UTC().Format("2006-01-02 15:04:05.000"))
		}
		for _, name := range t.Columns {
			cells = append(cells, clipped(strings.ToValidUTF8(r.Get(name), "\uFFFD")))
		}
		t.Rows = append(t.Rows, web.ExploreRow{Cells: cells})
	}
	if timed {
		t.Columns = append([]string{"Time (UTC)"}, t.Columns...)
	}
	return t
}

// nothing explains why no record was found.
func (p *logsPage) nothing() error {
	if p.Newest != "" {
		p.page.Empty = &web.ExploreEmpty{What: "There are no older records in this time.", Links: []web.Link{{Text: "Newest", URL: p.Newest}}}
		return nil
	}
	empty := &web.ExploreEmpty{What: "No record matches in this time."}
	p.page.Empty = empty
	newest := func(services ...string) (time.Time, error) {
		res, err := p.reader.Logs(p.r.Context(), telemetry.LogQuery{Services: services, Start: p.now.Add(-emptyLookBack), End: p.now, Limit: 1})
		if err != nil || len(res.Rows) == 0 {
			return time.Time{}, err
		}
		return res.Rows[0].Time, nil
	}
	whose, at, err := "", time.Time{}, error(nil)
	if p.Service != "" {
		if at, err = newest(p.Service); err != nil {
			return err
		}
		whose = " of " + clipped(p.Service)
		if at.IsZero() {
			empty.Why = append(empty.Why, "There is no record"+whose+" of the last 7 days that you can see.")
			whose = ""
		}
	}
	if at.IsZero() {
		if at, err = newest(); err != nil {
			return err
		}
	}
	if at.IsZero() {
		empty.Why = append(empty.Why, "There are no logs at all of the last 7 days that you can see. If there should be, ask an administrator of the team whether anything sends them, and look under Your access which of them you see.")
		return nil
	}
	empty.Why = append(empty.Why, fmt.Sprintf("The newest record%s that you can see is of %s UTC.", whose, at.UTC().Format("2006-01-02 15:04:05")))
	switch {
	case at.Before(p.page.Start):
		empty.Links = append(empty.Links, web.Link{Text: "Look there", URL: p.here("from", exactTime(at.Add(-15*time.Minute)), "to", exactTime(at.Add(time.Second)))})
	case p.Severity != "":
		empty.Links = append(empty.Links, web.Link{Text: "All severities", URL: p.here("severity", "")})
	}
	if p.page.Query != "" {
		empty.Links = append(empty.Links, web.Link{Text: "Without the query", URL: p.here("query", "")})
	}
	if p.Service != "" {
		empty.Links = append(empty.Links, web.Link{Text: "All services", URL: p.here("service", "")})
	}
	return nil
}
