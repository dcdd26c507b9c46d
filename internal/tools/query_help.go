package tools

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func newQueryHelp() *Tool {
	return &Tool{
		Name: "query_help", Title: "Query help",
		Description: "The rules of the query language on one page, with examples over your own fields or metrics; or, with check, whether a query is right: where it is wrong, what to write instead, and whether its names exist.",
		// Which permission a call needs depends on the language.
		params: []param{
			textParam("check", "a query to check"), textParam("language", "traces is LogsQL over spans", "logsql", "traces", "promql"), tokensParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: queryHelp,
	}
}

// logsCard is the rule card of LogsQL as Oriel allows it (docs/logsql.md).
const logsCard = `LogsQL: a filter, then optional pipes. The window, services and severities are arguments beside the query.
FILTERS
  word "a phrase" pre*            in the message; several must all match; words are whole words, case matters
  a or b   !a   (a or b) c        or, not, brackets
  i(word) i("a phrase")           case does not matter
  ~"reg.*exp"                     regular expression (RE2) on the message
  f:word  f:"phrase"  f:pre*      the same on a field
  f:="value"  f:!="value"         the whole value
  f:in("a","b")                   one of the values
  f:>=500  f:range[1, 10]         numbers, durations (took:>1s), sizes
  f:*  f:""                       has the field, has it not
  f:in(<query> | fields f)        values that another query finds
  Names and values with other characters than letters, digits, _ and . go in double quotes.
FIELDS  _msg message, _time, severity (TRACE DEBUG INFO WARN ERROR FATAL), service.name, trace_id, span_id, and those of list_fields
PIPES (after |)
  stats by (f, g) count() n, count() if (severity:ERROR) errors, count_uniq(u), sum(x), min(x), max(x), avg(x), median(x), quantile(0.95, x)
  stats by (_time:5m) count() n   per 5 minutes
  sort by (n desc) limit 10       top 5 by (f)     uniq by (f)     limit 10
  fields a, b     delete a        filter n:>10     rename a as b
  extract "user <name> from <ip>" from _msg        extract_regexp "(?P<code>[0-9]{3})"
  unpack_json     unpack_logfmt   math a / b as c  facets
  collapse_nums                   numbers in the message become <N>
NOT  stream_context (use get_log_context), options(...), block_stats, unpack_syslog, join without a limit inside; a word after | that is no pipe`

// spansCard is logsCard for spans, where the lines about fields are others.
func spansCard() string {
	card := strings.NewReplacer(
		"The window, services and severities are", "The window and services are", "in the message;", "in the name;", "on the message", "on the name",
		"count() if (severity:ERROR) errors", "count() if (status_code:=2) errors",
		"collapse_nums                   numbers in the message become <N>", "collapse_nums at name           numbers in the name become <N>",
		"from _msg ", `from "span_attr:url.path" `,
	).Replace(logsCard)
	before, rest, _ := strings.Cut(card, "FIELDS  ")
	_, after, _ := strings.Cut(rest, "\n")
	return before + "FIELDS  name (the operation), kind (1 internal 2 server 3 client 4 producer 5 consumer), duration (nanoseconds), status_code (2 error 1 ok 0 unset), status_message,\n" +
		"  trace_id, span_id, parent_span_id, _time (the span's end), \"resource_attr:service.name\", \"span_attr:http.route\", \"event:event_attr:exception.type:0\";\n" +
		"  list_fields with signal=traces has those of your spans. where of search_traces and aggregate_spans knows short names: http.route=/pay.\n" + after
}

// maxCardFields bounds the examples over the caller's fields.
const maxCardFields = 40

func queryHelp(ctx context.Context, c *call) (Result, error) {
	otherwise := "logsql"
	if !c.caller.May(org.LogsRead) {
		switch {
		case c.caller.May(org.SpansRead):
			otherwise = "traces"
		case c.caller.May(org.MetricsRead):
			otherwise = "promql"
		}
	}
	language, err := c.choice("language", otherwise)
	if err != nil {
		return Result{}, err
	}
	q := logQuestion{spans: language == "traces"}
	needs := q.permission()
	if language == "promql" {
		needs = org.MetricsRead
	}
	if !c.caller.May(needs) {
		return Result{}, problemf("query_help for %s was refused: %s.", language, whyWithheld(c.caller, needs))
	}
	check, err := c.args.query("check")
	if err != nil {
		return Result{}, err
	}
	if language == "promql" {
		return c.promHelp(ctx, check)
	}
	if check != "" {
		return c.checkQuery(ctx, q, check)
	}
	examples, err := c.ownExamples(ctx, q)
	if err != nil {
		return Result{}, err
	}
	text := "query_help · LogsQL\n" + logsCard + "\nEXAMPLES\n"
	if q.spans {
		text = "query_help · LogsQL over spans\n" + spansCard() + "\nEXAMPLES\n"
	}
	f := newFence(q.kind())
	text += f.open() + "\n"
	for _, e := range examples {
		text += "  " + e + "\n"
	}
	text += f.close() + "\n"
	if most := c.maxTokens * bytesPerToken; len(text) > most {
		text = clip(text, most-len("…"))
	}
	return Result{Text: text}, nil
}

// ownExamples writes queries over fields that the caller's records have.
func (c *call) ownExamples(ctx context.Context, q logQuestion) ([]string, error) {
	q = c.lately(q)
	q.window.start = c.now.Add(-defaultWindow)
	s, err := c.sampleLogs(ctx, q)
	if err != nil {
		return nil, err
	}
	if s.total == 0 {
		q.window.start = c.now.Add(-lookBackWindow)
		if s, err = c.sampleLogs(ctx, q); err != nil {
			return nil, err
		}
	}
	examples := []string{
		`"connection refused" !"from 10.0.0.7"`,
		`severity:in("ERROR","FATAL") | stats by (service.name) count() n | sort by (n desc)`,
	}
	count := "stats by (severity) count() n"
	if q.spans {
		examples = []string{`kind:=2 duration:>500000000`, `status_code:=2 "` + telemetry.FieldSpanService + `":="checkout"`}
		count = fmt.Sprintf("stats by (%s) count() n", telemetry.FieldSpanName)
	}
	if s.total == 0 {
		return examples, nil
	}
	values, err := c.fieldValues(ctx, q, s)
	if err != nil {
		return nil, err
	}
	fields, rows, err := c.logFields(ctx, q, s)
	if err != nil {
		return nil, err
	}
	kinds := make(map[string]bool)
	for _, f := range fields[:min(len(fields), maxCardFields)] {
		v := values[f.name]
		if v == nil || strings.HasPrefix(f.name, "_") || f.name == telemetry.FieldTraceID || f.name == telemetry.FieldSpanID || q.spans && (slices.Contains(ownSpanFields, f.name) || strings.HasPrefix(f.name, "event:")) {
			continue
		}
		name := quoteLogs(f.name)
		kind := kindOf(v)
		switch {
		case kind == "number" && !kinds[kind]:
			kinds[kind] = true
			examples = append(examples, fmt.Sprintf("%s:>=%s | stats by (%s) count() n, quantile(0.95, %[1]s) p95", name, cell(typical(v), topValueBytes, nil), quoteLogs(q.service())))
		case kind == "text" && (len(v.top) > 1 || q.spans && f.n < rows) && f.name != telemetry.FieldSeverity && !kinds[f.name] && len(kinds) < 5:
			kinds[f.name] = true
			examples = append(examples, fmt.Sprintf("%s:=%s | %s", name, cell(fmt.Sprintf("%q", v.top[0].Name), 2*topValueBytes, nil), count))
		}
	}
	return examples, nil
}

// typical is a value of the field.
func typical(v *fieldValues) string {
	if len(v.top) > 0 {
		return v.top[0].Name
	}
	return v.examples[0]
}

// logPipes are the pipes that queries may have, for suggestions.
var logPipes = []string{
	"collapse_nums", "copy", "decolorize", "delete", "drop_empty_fields", "extract", "extract_regexp", "facets", "field_values", "fields", "filter",
	"first", "format", "hash", "join", "json_array_len", "last", "len", "limit", "math", "offset", "pack_json", "rename", "replace", "replace_regexp",
	"running_stats", "sample", "sort", "split", "stats", "top", "total_stats", "union", "uniq", "unpack_json", "unpack_logfmt", "unpack_words", "unroll",
}

var quotedWord = regexp.MustCompile(`"([a-z_]+)" is not a pipe`)

// checkQuery says whether a query is right.
func (c *call) checkQuery(ctx context.Context, of logQuestion, text string) (Result, error) {
	canonical, pipes, err := c.set.CheckLogs(text, c.now)
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok {
		lines := []string{"query_help · LogsQL · the query is wrong", "problem: " + cell(q.Problem, maxShownQuery, nil)}
		if q.Offset >= 0 {
			lines = append(lines, fmt.Sprintf("position: byte %d", q.Offset), pointer(text, q.Offset))
		}
		if m := quotedWord.FindStringSubmatch(q.Problem); m != nil {
			if near := nearest(m[1], logPipes); len(near) > 0 {
				lines = append(lines, "did you mean: "+strings.Join(near, ", "))
			}
		}
		if of.spans {
			lines = append(lines, spansExample)
		} else {
			lines = append(lines, logsExample)
		}
		return Result{Text: strings.Join(lines, "\n") + "\n"}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("check a query: %w", err)
	}
	lines := []string{"query_help · LogsQL · the query is right", "it means: " + cell(canonical, 2*maxShownQuery, nil)}
	if pipes {
		lines = append(lines, "it computes: its rows are those of its last pipe, without a total")
	}
	notes, err := c.unknownFields(ctx, of, queryFields(text))
	if err != nil {
		return Result{}, err
	}
	for _, n := range notes {
		lines = append(lines, "# "+n)
	}
	return Result{Text: strings.Join(lines, "\n") + "\n"}, nil
}

// pointer shows the place of a fault: a part of the text and a mark under it.
func pointer(text string, offset int) string {
	offset = min(offset, len(text))
	from, to := max(0, offset-40), min(len(text), offset+40)
	before := cell(strings.ToValidUTF8(text[from:offset], ""), maxShownQuery, nil)
	after := cell(strings.ToValidUTF8(text[offset:to], ""), maxShownQuery, nil)
	return "  " + before + after + "\n  " + strings.Repeat(" ", len([]rune(before))) + "^"
}
