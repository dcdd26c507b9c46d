package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Arguments that say which log records are meant.
var (
	queryParam    = textParam("query", "LogsQL or plain words; default: everything")
	serviceParam  = listParam("service", "only these values of service.name")
	severityParam = textParam("severity", "trace, debug, info, warn, error, fatal; several separated by commas; warn+ means warn and above")
	signalParam   = textParam("signal", "default logs", "logs", "traces")
	// plainFilterParams are queryParam and so on where their meaning is clear
	// from search_logs.
	plainFilterParams = []param{
		{name: "query", kind: "string", text: "LogsQL or plain words"},
		{name: "service", kind: "list"},
		{name: "severity", kind: "string", text: "as in search_logs"},
	}
)

// logsExample follows errors about a query.
const logsExample = `Correct examples: "connection refused" severity:ERROR   or   severity:ERROR | stats by (service.name) count() n | sort by (n desc)`

// A logQuestion says which log records, or spans, a call is about.
type logQuestion struct {
	// spans says that it is about spans.
	spans bool
	// query is as it was written, text canonical: pipes may follow it.
	query, text string
	// pipes says that the query computes more than a search.
	pipes    bool
	services []string
	severity []string
	window   window
}

// logQuestion reads the arguments that say which records are meant; a tool with
// the argument signal also asks about spans. Errors are problems.
func (c *call) logQuestion() (q logQuestion, err error) {
	signal, err := c.choice("signal", "logs")
	if err != nil {
		return q, err
	}
	return c.questionAbout(signal == "traces")
}

// questionAbout is logQuestion for one signal.
func (c *call) questionAbout(spans bool) (q logQuestion, err error) {
	q.spans = spans
	if !c.caller.May(q.permission()) {
		return q, problemf("%s was refused: %s.", c.tool.Name, whyWithheld(c.caller, q.permission()))
	}
	if q.query, err = c.args.query("query"); err != nil {
		return q, err
	}
	if q.services, err = c.args.list("service"); err != nil {
		return q, err
	}
	if len(q.services) > maxServices {
		return q, problemf("service names %d services; name at most %d.", len(q.services), maxServices)
	}
	if q.severity, err = parseSeverities(c.args); err != nil {
		return q, err
	}
	if q.spans && len(q.severity) > 0 {
		return q, problem("severity is a field of logs. Of traces ask with query=\"status_code:=2\", which are those that failed.")
	}
	if q.window, err = c.window(q.permission()); err != nil {
		return q, err
	}
	q.text, q.pipes, err = c.checkLogs(q, q.query)
	if q.spans {
		c.linkSpans(spanQuestion{services: q.services, window: q.window}, q.query)
	} else {
		c.linkLogs(q)
	}
	return q, err
}

func (q logQuestion) permission() org.Permission {
	if q.spans {
		return org.SpansRead
	}
	return org.LogsRead
}

// kind is what an answer's fence holds.
func (q logQuestion) kind() string {
	if q.spans {
		return "span"
	}
	return "log"
}

// things names what the question is about.
func (q logQuestion) things() string {
	if q.spans {
		return "spans"
	}
	return "records"
}

// service is the stored name of service.name.
func (q logQuestion) service() string {
	if q.spans {
		return telemetry.FieldSpanService
	}
	return telemetry.FieldService
}

// errors is LogsQL for the records that tell of an error.
func (q logQuestion) errors() string {
	if q.spans {
		return isError()
	}
	return filterErrors
}

// stored is the stored name of a field.
func (q logQuestion) stored(field string) string {
	if q.spans {
		return spanFields(field)[0]
	}
	return field
}

// shown undoes stored.
func (q logQuestion) shown(field string) string {
	if title := spanTitle(field); q.spans && spanFields(title)[0] == field {
		return title
	}
	return field
}

// own holds for the fields of records, and not for what an engine and ingest
// keep beside them.
func (q logQuestion) own(field string) bool {
	if !q.spans {
		return isOwnField(field)
	}
	return field != "" && field[0] != '_' && field != telemetry.FieldStartTime && field != telemetry.FieldEndTime && !strings.HasPrefix(field, telemetry.EventTimePrefix)
}

// checkLogs returns the canonical text of a query. Errors are problems.
func (c *call) checkLogs(q logQuestion, query string) (text string, pipes bool, err error) {
	text, pipes, err = c.set.CheckLogs(query, c.now)
	if err != nil && q.spans {
		return "", false, c.engineError(context.Background(), "spans", spansExample, err)
	}
	if err != nil {
		return "", false, c.engineError(context.Background(), "logs", logsExample, err)
	}
	return text, pipes, nil
}

// noPipes refuses queries that compute something, for tools that go on with
// the records themselves.
func (q logQuestion) noPipes(tool, instead string) error {
	if q.pipes {
		return problemf("query of %s must be a search without pipes (|): %s.", tool, instead)
	}
	return nil
}

// with is the question's text with pipes after it.
func (q logQuestion) with(pipes string) string { return q.text + " | " + pipes }

// filters says what the question is restricted to, beside the query.
func (q logQuestion) filters() string {
	var parts []string
	if len(q.services) > 0 {
		parts = append(parts, "service "+cell(strings.Join(q.services, ", "), maxShownQuery, nil))
	}
	if len(q.severity) > 0 {
		parts = append(parts, "severity "+strings.Join(q.severity, ", "))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

// describe are the lines of an answer that say what was asked.
func (q logQuestion) describe() []string {
	var lines []string
	if q.query != "" {
		lines = append(lines, "query: "+cell(q.query, maxShownQuery, nil))
	}
	if f := q.filters(); f != "none" {
		lines = append(lines, "filters: "+f)
	}
	return lines
}

// askLogs asks for rows of the question's records. text is the whole query;
// more rows than wanted are cut and LogResult.More says so.
func (c *call) askLogs(ctx context.Context, what string, q logQuestion, text string, rows int) (telemetry.LogResult, error) {
	if q.spans {
		res, err := c.askSpans(ctx, what, spanQuestion{services: q.services, window: q.window}, text, rows)
		return telemetry.LogResult(res), err
	}
	return c.queryLogs(ctx, what, telemetry.LogQuery{
		Text: text, Services: q.services, Severities: q.severity, Start: q.window.start, End: q.window.end, Limit: rows,
	}, searchBytes)
}

// queryLogs runs one query within the limits. Errors are problems where the
// assistant can do something about them.
func (c *call) queryLogs(ctx context.Context, what string, q telemetry.LogQuery, bytes int) (res telemetry.LogResult, err error) {
	err = c.query(ctx, what, searchTime, func(ctx context.Context, most time.Duration) error {
		res, err = c.set.readLogs(ctx, c.caller, q, bytes, most)
		return err
	})
	if err != nil {
		return res, c.engineError(ctx, "logs", logsExample, err)
	}
	return res, nil
}

// counting is the stats function that counts the question's records: a cluster
// counts nothing where no column is asked for, and pipes may drop the time.
func (q logQuestion) counting() string {
	if q.pipes {
		return "count()"
	}
	return "count(_time)"
}

// countLogs returns how many records the question is about.
func (c *call) countLogs(ctx context.Context, q logQuestion) (int64, error) {
	res, err := c.askLogs(ctx, "counting records", q, q.with("stats "+q.counting()+" as n"), 1)
	if err != nil || len(res.Rows) == 0 {
		return 0, err
	}
	return integer(res.Rows[0].Get("n")), nil
}

func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, _ := strconv.ParseFloat(s, 64)
		return int64(f)
	}
	return n
}

func float(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// quoteLogs writes a field's name or a value for LogsQL.
func quoteLogs(s string) string {
	plain := s != ""
	for i, r := range s {
		if !(unicode.IsLetter(r) || r == '_' || r == '.' || i > 0 && unicode.IsDigit(r)) {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "and", "or", "not", "in", "by", "if", "as":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quoteLogs(n)
	}
	return strings.Join(out, ", ")
}

// allLogs is all logs that the caller may see in a window.
func allLogs(w window) logQuestion {
	return logQuestion{text: "*", window: window{start: w.start, end: w.end}}
}

// lately is everything of the last days that the caller may see, of the
// question's signal.
func (c *call) lately(q logQuestion) logQuestion {
	return logQuestion{spans: q.spans, text: "*", window: window{start: c.now.Add(-lookBackWindow), end: c.now}}
}

// A serviceCount is a service with how many records it has.
type serviceCount struct {
	name string
	n    int64
}

// maxServiceNames bounds how many services are looked at.
const maxServiceNames = 1000

// logServices returns the services of the question's records, those with most
// records first. Records without one count as "".
func (c *call) logServices(ctx context.Context, q logQuestion) ([]serviceCount, error) {
	res, err := c.askLogs(ctx, "listing services", q, q.with("stats by ("+quoteLogs(q.service())+") count(_time) as n | sort by (n desc) limit "+strconv.Itoa(maxServiceNames)), maxServiceNames)
	if err != nil {
		return nil, err
	}
	var out []serviceCount
	for _, r := range res.Rows {
		out = append(out, serviceCount{r.Get(q.service()), integer(r.Get("n"))})
	}
	return out, nil
}

func serviceNames(list []serviceCount) []string {
	var names []string
	for _, s := range list {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	return names
}

// sizes are how much of many records is looked at. Tests have fewer.
type sizes struct {
	// exactRows is how many records are looked at in full. Of more, about
	// sampleRows, as they come, answer what the fields hold.
	exactRows, sampleRows int64
	// partRows of each service, and of the errors, answer which fields there
	// are: reading every field of few blocks is quick, of many it is not.
	partRows int64
	// messages bounds how many messages are read of a window: all different
	// ones of so many records, of more a random part. Records of warnings and
	// worse are read apart, so that few of them are not lost among many others.
	messages int64
}

func usualSizes() sizes {
	return sizes{exactRows: 200_000, sampleRows: 30_000, partRows: 1000, messages: 40_000}
}

const (
	// sampleSlices short times, spread over the window, give a sample: all
	// services and severities as they come.
	sampleSlices = 2
	// sampleServices bounds how many services give their part: half of them
	// those with most records, half those with fewest.
	sampleServices = 48
	// sampleUnique is up to how many different values a field of a sample may
	// have for them to be counted.
	sampleUnique = 1000
	// maxFields bounds how many fields are looked at.
	maxFields = 2000
)

// A fieldCount is a field with how many of the records looked at have it.
type fieldCount struct {
	name string
	n    int64
}

// A sample is the records that questions about fields look at.
type sample struct {
	text string
	// parts finds other records, for names of fields alone; "" for the same.
	parts string
	total int64
}

func (s sample) exact() bool { return s.parts == "" }

// sampleLogs returns a text that matches all records of the question, or some
// where they are many.
func (c *call) sampleLogs(ctx context.Context, q logQuestion) (sample, error) {
	if q.pipes {
		n, err := c.countLogs(ctx, q)
		return sample{text: q.text, total: n}, err
	}
	services, err := c.logServices(ctx, q)
	if err != nil {
		return sample{}, err
	}
	s := sample{text: q.text}
	for _, one := range services {
		s.total += one.n
	}
	if s.total <= c.set.exactRows {
		return s, nil
	}
	length := q.window.end.Sub(q.window.start)
	slice := max(time.Millisecond, time.Duration(float64(length)*float64(c.set.sampleRows)/float64(s.total)/sampleSlices))
	var times []string
	for i := range sampleSlices {
		from := q.window.start.Add(length/sampleSlices*time.Duration(i) + (length/sampleSlices-slice)/2)
		times = append(times, fmt.Sprintf("_time:[%s, %s)", exact(from), exact(from.Add(slice))))
	}
	s.text = fmt.Sprintf("(%s) (%s)", q.text, strings.Join(times, " or "))
	parts := []string{fmt.Sprintf("(%s) %s | limit %d", q.text, q.errors(), c.set.partRows)}
	for i, one := range services {
		if i < sampleServices/2 || i >= len(services)-sampleServices/2 {
			parts = append(parts, fmt.Sprintf("(%s) %s:=%s | limit %d", q.text, quoteLogs(q.service()), strconv.Quote(one.name), c.set.partRows))
		}
	}
	s.parts = strings.Join(parts, " | union (") + strings.Repeat(")", len(parts)-1)
	return s, nil
}

// logFields returns the fields of the sample's records and how many records
// were looked at: a name is in the list only if a record has it that the
// caller may see.
func (c *call) logFields(ctx context.Context, q logQuestion, s sample) (fields []fieldCount, rows int64, err error) {
	res, err := c.askLogs(ctx, "listing fields", q, cmp.Or(s.parts, s.text)+" | drop_empty_fields | field_names", maxFields)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range res.Rows {
		n := integer(r.Get("hits"))
		rows = max(rows, n) // every record has a time
		if name := r.Get("name"); q.own(name) {
			fields = append(fields, fieldCount{name, n})
		}
	}
	slices.SortFunc(fields, func(a, b fieldCount) int { return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.name, b.name)) })
	return fields, rows, nil
}

// isOwnField holds for the fields of records, and not for what an engine and
// ingest keep beside them.
func isOwnField(name string) bool {
	return name != "" && name != "_stream" && name != "_stream_id" && !strings.HasPrefix(name, telemetry.ResourcePrefix)
}

// knownFields returns the names of the fields of the last days, of q's signal.
func (c *call) knownFields(ctx context.Context, q logQuestion) ([]string, error) {
	q = c.lately(q)
	s, err := c.sampleLogs(ctx, q)
	if err != nil || s.total == 0 {
		return nil, err
	}
	fields, _, err := c.logFields(ctx, q, s)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = q.shown(f.name)
	}
	return names, err
}

// unknownFields returns notes about fields that no visible record of the last
// days has, with the nearest names that some have.
func (c *call) unknownFields(ctx context.Context, q logQuestion, fields []string) ([]string, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	known, err := c.knownFields(ctx, q)
	if err != nil || len(known) == 0 {
		return nil, err
	}
	var notes []string
	for _, f := range fields {
		if slices.Contains(known, q.shown(f)) || strings.HasPrefix(f, "_") || strings.HasPrefix(f, telemetry.ResourcePrefix) && !q.spans {
			continue
		}
		note := fmt.Sprintf("No %s that you can see has a field %s.", strings.TrimSuffix(q.things(), "s"), quoteArgument(q.shown(f)))
		if near := nearest(q.shown(f), known); len(near) > 0 {
			note += " Nearest names: " + names(near) + "."
		} else {
			note += " list_fields shows which there are."
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// names lists names that programs chose, outside of the fence: only those too
// poor for a sentence.
func names(list []string) string {
	var out []string
	for _, n := range list {
		if plainToken.MatchString(n) {
			out = append(out, n)
		}
	}
	if len(out) < len(list) {
		out = append(out, fmt.Sprintf("%d with other characters", len(list)-len(out)))
	}
	return strings.Join(out, ", ")
}

// queryFields returns the names of fields that a query's text filters by, at
// most a few: a word or quoted text right before a colon.
func queryFields(text string) []string {
	var out []string
	for i := 0; i < len(text); {
		size, name := 1, ""
		switch ch := rune(text[i]); {
		case ch == '"' || ch == '`':
			quoted, err := strconv.QuotedPrefix(text[i:])
			if err != nil {
				return out
			}
			size = len(quoted)
			name, _ = strconv.Unquote(quoted)
		case isNameRune(ch):
			for i+size < len(text) && isNameRune(rune(text[i+size])) {
				size++
			}
			name = text[i : i+size]
		}
		i += size
		if name != "" && i < len(text) && text[i] == ':' && !slices.Contains(out, name) && len(out) < 5 {
			out = append(out, name)
		}
		// What follows a colon is a value, which may hold colons itself.
		for name != "" && i < len(text) && text[i] == ':' {
			i++
			for i < len(text) && (isNameRune(rune(text[i])) || strings.ContainsRune("=<>~:!", rune(text[i]))) {
				i++
			}
		}
	}
	return out
}

func isNameRune(r rune) bool {
	return r == '_' || r == '.' || r == '-' || r == '/' || r == '@' || unicode.IsLetter(r) || unicode.IsDigit(r) || r >= 0x80
}

// unknownServices returns notes about services asked for that no visible
// record of the last days has, with the nearest names that some have.
func (c *call) unknownServices(ctx context.Context, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	list, err := c.logServices(ctx, allLogs(window{start: c.now.Add(-lookBackWindow), end: c.now}))
	if err != nil {
		return nil, err
	}
	have := serviceNames(list)
	var notes []string
	for _, name := range asked {
		if slices.Contains(have, name) {
			continue
		}
		note := fmt.Sprintf("There is no service %s that you can see in the last 7 days.", quoteArgument(name))
		switch near := nearest(name, have); {
		case len(near) > 0:
			note += " Nearest names: " + names(near) + "."
		case len(have) > 0:
			note += fmt.Sprintf(" Those with most records: %s.", names(have[:min(len(have), 10)]))
		}
		notes = append(notes, note)
	}
	return notes, nil
}
