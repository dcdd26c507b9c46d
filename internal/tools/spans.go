package tools

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Arguments that say which spans are meant.
var (
	whereParam     = listParam("where", "conditions on attributes: http.route=/pay, http.response.status_code>=500, db.system~post.*")
	operationParam = textParam("operation", "name of the span")
	statusParam    = textParam("status", "", "error", "ok", "unset")
	// spanFilterParams are those of every tool that looks for spans.
	spanFilterParams = []param{
		{name: "service", kind: "list"},
		operationParam, statusParam,
		textParam("min_duration", "such as 250ms"), textParam("max_duration", ""), whereParam,
		textParam("query", "LogsQL over stored names: name, kind, duration (ns), status_code, \"span_attr:http.route\", \"resource_attr:host.name\""),
	}
)

const (
	spansExample = `Correct examples: name:=checkout duration:>500000000   or   "span_attr:http.route":="/pay" status_code:=2`
	// maxConditions bounds where.
	maxConditions = 20
)

// A spanQuestion says which spans a call is about.
type spanQuestion struct {
	// shown says what was asked, in the answer; text is LogsQL.
	shown    []string
	text     string
	services []string
	window   window
}

// spanQuestion reads the arguments that say which spans are meant. Errors are
// problems.
func (c *call) spanQuestion() (q spanQuestion, err error) {
	if q.services, err = c.args.list("service"); err != nil {
		return q, err
	}
	if len(q.services) > maxServices {
		return q, problemf("service names %d services; name at most %d.", len(q.services), maxServices)
	}
	if q.window, err = c.window(org.SpansRead); err != nil {
		return q, err
	}
	parts, err := c.spanConditions(&q)
	if err != nil {
		return q, err
	}
	query, err := c.args.query("query")
	if err != nil {
		return q, err
	}
	if query != "" {
		text, pipes, err := c.set.CheckLogs(query, c.now)
		if err != nil {
			return q, c.engineError(context.Background(), "spans", spansExample, err)
		}
		if pipes {
			return q, problemf("query of %s must be a search without pipes (|): use aggregate_spans to compute.", c.tool.Name)
		}
		parts = append(parts, "("+text+")")
		q.shown = append(q.shown, "query: "+cell(query, maxShownQuery, nil))
	}
	q.text = cmp.Or(strings.Join(parts, " "), "*")
	c.linkSpans(q, query)
	return q, nil
}

// spanConditions returns the LogsQL of all arguments but query and service.
func (c *call) spanConditions(q *spanQuestion) (parts []string, err error) {
	var shown []string
	if len(q.services) > 0 {
		shown = append(shown, "service "+cell(strings.Join(q.services, ", "), maxShownQuery, nil))
	}
	operation, err := c.args.text("operation")
	if err != nil {
		return nil, err
	}
	if operation != "" {
		parts = append(parts, FieldIs(telemetry.FieldSpanName, operation))
		shown = append(shown, "operation "+cell(operation, maxShownQuery, nil))
	}
	status, err := c.choice("status", "")
	if err != nil {
		return nil, err
	}
	if status != "" {
		parts = append(parts, FieldIs(telemetry.FieldStatusCode, strconv.Itoa(int(spanStatuses[status]))))
		shown = append(shown, "status "+status)
	}
	for _, bound := range []struct{ name, op string }{{"min_duration", ">="}, {"max_duration", "<="}} {
		text, err := c.args.text(bound.name)
		if err != nil || text == "" {
			if err != nil {
				return nil, err
			}
			continue
		}
		d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
		if err != nil || d < 0 {
			return nil, problemf("%s is %s; write a duration such as 250ms or 1.5s.", bound.name, quoteArgument(text))
		}
		parts = append(parts, telemetry.FieldDuration+":"+bound.op+strconv.FormatInt(d.Nanoseconds(), 10))
		shown = append(shown, "duration "+bound.op+" "+d.String())
	}
	list, err := c.args.list("where")
	if err != nil {
		return nil, err
	}
	if len(list) > maxConditions {
		return nil, problemf("where has %d conditions; give at most %d.", len(list), maxConditions)
	}
	for _, text := range list {
		part, err := spanCondition(text)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		shown = append(shown, cell(text, maxShownQuery, nil))
	}
	if len(shown) > 0 {
		q.shown = append(q.shown, "filters: "+strings.Join(shown, "; "))
	}
	return parts, nil
}

var spanStatuses = map[string]telemetry.SpanStatus{"error": telemetry.StatusError, "ok": telemetry.StatusOK, "unset": telemetry.StatusUnset}

var conditionPattern = regexp.MustCompile(`^\s*([^=!<>~\s]+)\s*(!=|>=|<=|!~|=|>|<|~)\s*(.*?)\s*$`)

// spanCondition writes name=value for LogsQL. An attribute without a prefix is
// looked for on the span and on its resource.
func spanCondition(text string) (string, error) {
	m := conditionPattern.FindStringSubmatch(text)
	if m == nil {
		return "", problemf("where: %s is no condition; write it like http.route=/pay, with =, !=, >, >=, <, <=, ~ (regular expression) or !~.", quoteArgument(text))
	}
	name, op, value := m[1], m[2], m[3]
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
	}
	not := ""
	if rest, ok := strings.CutPrefix(op, "!"); ok {
		not, op = "!", rest
	}
	if (op == ">" || op == "<" || op == ">=" || op == "<=") && !isNumber(value) {
		return "", problemf("where: %s compares with %s, which is no number.", quoteArgument(text), quoteArgument(value))
	}
	var parts []string
	for _, field := range spanFields(name) {
		switch op {
		case "=":
			parts = append(parts, FieldIs(field, value))
		case "~":
			parts = append(parts, quoteLogs(field)+":~"+strconv.Quote(value))
		default:
			parts = append(parts, quoteLogs(field)+":"+op+value)
		}
	}
	return not + "(" + strings.Join(parts, " or ") + ")", nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && !strings.ContainsAny(s, "xXpPnNiI_")
}

// ownSpanFields are the fields that spans have besides attributes.
var ownSpanFields = []string{
	telemetry.FieldTraceID, telemetry.FieldSpanID, telemetry.FieldParentSpanID, telemetry.FieldSpanName, telemetry.FieldSpanKind,
	telemetry.FieldDuration, telemetry.FieldStatusCode, telemetry.FieldStatusMessage, telemetry.FieldScopeName, telemetry.FieldScopeVersion,
}

// spanFields returns the stored names that an attribute may have.
func spanFields(name string) []string {
	switch {
	case name == "service":
		return []string{telemetry.FieldSpanService}
	case name == "operation":
		return []string{telemetry.FieldSpanName}
	case strings.Contains(name, ":") || slices.Contains(ownSpanFields, name):
		return []string{name}
	case resourceLike(name):
		return []string{telemetry.ResourcePrefix + name}
	}
	return []string{telemetry.SpanAttributePrefix + name, telemetry.ResourcePrefix + name}
}

// checkSpanField refuses what is no field of spans.
func checkSpanField(argument, field string) error {
	if field == "" || field[0] == '_' || len(field) > maxFieldBytes {
		return problemf("%s is %s, which is not a field of spans: use service, operation, status_code, kind, or an attribute such as http.route.", argument, quoteArgument(field))
	}
	return nil
}

// resourceLike holds for names that OpenTelemetry gives to resources.
func resourceLike(name string) bool {
	for _, prefix := range []string{"service.", "deployment.", "host.", "k8s.", "cloud.", "container.", "process.", "telemetry.", "os."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// spanTitle undoes spanFields, for people.
func spanTitle(field string) string {
	switch field {
	case telemetry.FieldSpanService:
		return "service"
	case telemetry.FieldSpanName:
		return "operation"
	}
	for _, prefix := range []string{telemetry.SpanAttributePrefix, telemetry.ResourcePrefix} {
		if rest, ok := strings.CutPrefix(field, prefix); ok {
			return rest
		}
	}
	return field
}

func (q spanQuestion) with(pipes string) string { return q.text + " | " + pipes }

// linkSpans links to the spans of a question, as far as the page can say it.
func (c *call) linkSpans(q spanQuestion, query string) {
	service := ""
	if len(q.services) == 1 {
		service = q.services[0]
	}
	operation, _ := c.args.text("operation")
	least, _ := c.args.text("min_duration")
	failed := ""
	if status, _ := c.args.text("status"); strings.EqualFold(status, "error") {
		failed = "1"
	}
	c.link("/explore/traces", q.window, "query", query, "service", service, "operation", operation, "min", least, "errors", failed)
}

// askSpans asks for rows of the question's spans. text is the whole query.
func (c *call) askSpans(ctx context.Context, what string, q spanQuestion, text string, rows int) (telemetry.SpanResult, error) {
	return c.querySpans(ctx, what, telemetry.SpanQuery{Text: text, Services: q.services, Start: q.window.start, End: q.window.end, Limit: rows})
}

// querySpans runs one query within the limits. Errors are problems where the
// assistant can do something about them.
func (c *call) querySpans(ctx context.Context, what string, q telemetry.SpanQuery) (res telemetry.SpanResult, err error) {
	err = c.query(ctx, what, searchTime, func(ctx context.Context, most time.Duration) error {
		res, err = c.set.readSpans(ctx, c.caller, q, spanBytes, most)
		return err
	})
	if err != nil {
		return res, c.engineError(ctx, "spans", spansExample, err)
	}
	return res, nil
}

// spanBytes is how much of spans one query may bring: a trace of 10,000 spans.
const spanBytes = 16 << 20

// noSpans answers a call about spans of which there are none.
func (c *call) noSpans(ctx context.Context, q spanQuestion) (Result, error) {
	a := &answer{call: c, window: &q.window, kind: "span", unit: "rows", lines: q.shown}
	a.fact("matched 0")
	if scope := c.caller.DataScope(org.SpansRead); scope != "" {
		a.lines = append(a.lines, "data scope: only where "+cell(scope, maxShownQuery, nil))
	}
	services, newest, err := c.spanServices(ctx, window{start: c.now.Add(-lookBackWindow), end: c.now})
	if err != nil {
		if ctx.Err() != nil {
			return Result{}, err
		}
		a.note("What spans there are could not be looked up just now.")
		return a.render(), nil
	}
	if len(services) == 0 {
		a.note("There are no spans at all of the last 7 days that you can see. If there should be, ask an admin of the team whether anything sends traces, and whoami which data scope you have.")
		return a.render(), nil
	}
	have := serviceNames(services)
	for _, name := range q.services {
		if slices.Contains(have, name) {
			continue
		}
		note := fmt.Sprintf("There is no service %s with spans that you can see in the last 7 days.", quoteArgument(name))
		if near := nearest(name, have); len(near) > 0 {
			note += " Nearest names: " + names(near) + "."
		} else {
			note += " Those with most spans: " + names(have[:min(len(have), 10)]) + "."
		}
		a.note("%s", note)
	}
	a.note("The newest span that you can see ended at %s.", exact(newest))
	switch {
	case newest.Before(q.window.start):
		a.note("That is before the window. Call %s with start=%q and the same other arguments.", c.tool.Name, exact(newest.Add(-15*time.Minute)))
	case len(a.notes) == 1 && len(q.shown) > 0:
		if operation, _ := c.args.text("operation"); operation != "" {
			if near, err := c.nearOperations(ctx, operation); err == nil && len(near) > 0 {
				a.note("Nearest names of operations: %s.", names(near))
			}
		}
		a.note("So it is the filters that match nothing: call %s with fewer, or a wider window.", c.tool.Name)
	}
	return a.render(), nil
}

// spanServices returns the services of the window's spans, those with most
// spans first, and when the newest span ended.
func (c *call) spanServices(ctx context.Context, w window) (list []serviceCount, newest time.Time, err error) {
	q := spanQuestion{text: "*", window: w}
	res, err := c.askSpans(ctx, "listing services", q, fmt.Sprintf("* | stats by (%q) count(_time) as n, max(_time) as last | sort by (n desc) limit %d", telemetry.FieldSpanService, maxServiceNames), maxServiceNames)
	if err != nil {
		return nil, newest, err
	}
	for _, r := range res.Rows {
		list = append(list, serviceCount{r.Get(telemetry.FieldSpanService), integer(r.Get("n"))})
		if t, err := time.Parse(time.RFC3339Nano, r.Get("last")); err == nil && t.After(newest) {
			newest = t
		}
	}
	return list, newest, nil
}

func (c *call) nearOperations(ctx context.Context, want string) ([]string, error) {
	have, err := c.operationNames(ctx, window{start: c.now.Add(-lookBackWindow), end: c.now})
	return nearest(want, have), err
}

// operationNames returns the names of the window's spans, the most frequent first.
func (c *call) operationNames(ctx context.Context, w window) ([]string, error) {
	q := spanQuestion{text: "*", window: window{start: w.start, end: w.end}}
	res, err := c.askSpans(ctx, "listing operations", q, fmt.Sprintf("* | stats by (%s) count(_time) as n | sort by (n desc) limit %d", telemetry.FieldSpanName, maxServiceNames), maxServiceNames)
	if err != nil {
		return nil, err
	}
	var have []string
	for _, r := range res.Rows {
		have = append(have, r.Get(telemetry.FieldSpanName))
	}
	return have, nil
}

// shortNanos prints a number of nanoseconds short: 1.24s, 87ms, 340µs.
func shortNanos(ns float64) string {
	d := time.Duration(ns)
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= time.Microsecond:
		return d.Round(100 * time.Nanosecond).String()
	}
	return d.String()
}

// spanValue adds to a number of a field of spans what it stands for.
func spanValue(q logQuestion, field, value string) string {
	name := ""
	switch {
	case !q.spans:
	case field == telemetry.FieldSpanKind && integer(value) == int64(telemetry.KindInternal):
		name = "internal"
	case field == telemetry.FieldSpanKind:
		name = kindNames[telemetry.SpanKind(integer(value))]
	case field == telemetry.FieldStatusCode:
		for status, code := range spanStatuses {
			if integer(value) == int64(code) {
				name = status
			}
		}
	}
	if name == "" {
		return value
	}
	return value + " (" + name + ")"
}

// isError is LogsQL for spans that failed.
func isError() string {
	return FieldIs(telemetry.FieldStatusCode, strconv.Itoa(int(telemetry.StatusError)))
}

// isEntry is LogsQL for spans with which a service begins to answer: of kind
// server or consumer.
func isEntry() string {
	return fmt.Sprintf("%s:in(%d, %d)", telemetry.FieldSpanKind, telemetry.KindServer, telemetry.KindConsumer)
}
