package tools

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func newListFieldValues() *Tool {
	return &Tool{
		Name: "list_field_values", Title: "List values of a field",
		Description: "Lists the values of one field of the log records, or spans, that a query finds, the most frequent first, with counts and shares.",
		Permission:  org.LogsRead, Other: org.SpansRead,
		params: append([]param{must(textParam("field", "the field's name, such as http.route"))}, append(append([]param{signalParam}, plainFilterParams...),
			textParam("search", "part of the value"), startParam, endParam, numberParam("limit", "", 1, 500, 30), tokensParam, cursorParam)...),
		ReadOnly: true, Idempotent: true,
		handle: listFieldValues,
	}
}

// field reads an argument that is a field's name.
func (c *call) field(name string) (string, error) {
	f, err := c.args.query(name)
	if err != nil || f == "" {
		return "", err
	}
	return f, checkField(name, f)
}

// maxFieldBytes is the longest name that can be stored.
const maxFieldBytes = 128

func checkField(argument, field string) error {
	if !isOwnField(field) || len(field) > maxFieldBytes {
		return problemf("%s is %s, which is not a field of records; list_fields shows which there are.", argument, quoteArgument(field))
	}
	return nil
}

func listFieldValues(ctx context.Context, c *call) (Result, error) {
	field, err := c.args.query("field")
	if err != nil {
		return Result{}, err
	}
	search, err := c.args.query("search")
	if err != nil {
		return Result{}, err
	}
	limit, err := c.args.number("limit", 1, 500, 30)
	if err != nil {
		return Result{}, err
	}
	q, err := c.logQuestion()
	if err != nil {
		return Result{}, err
	}
	check := checkField
	if q.spans {
		check = checkSpanField
	}
	if err := check("field", field); err != nil {
		return Result{}, err
	}
	stored := q.stored(field)
	name := quoteLogs(stored)
	res, err := c.askLogs(ctx, "counting", q, q.with(fmt.Sprintf(
		"stats %s as n, %[1]s if (%s:*) as with_field, count_uniq(%[2]s) as distinct", q.counting(), name)), 1)
	if err != nil {
		return Result{}, err
	}
	var all, with, distinct int64
	if len(res.Rows) > 0 {
		all, with, distinct = integer(res.Rows[0].Get("n")), integer(res.Rows[0].Get("with_field")), integer(res.Rows[0].Get("distinct"))
	}
	if all == 0 {
		return c.nothing(ctx, q, q.query)
	}
	a := &answer{call: c, window: &q.window, kind: q.kind(), unit: "values", lines: q.describe()}
	a.fact("matched %d", all)
	a.fact("%d with the field", with)
	a.fact("%s", count(int(distinct), "value", "values"))
	if with == 0 {
		notes, err := c.unknownFields(ctx, q, []string{stored})
		if err != nil {
			return Result{}, err
		}
		if len(notes) == 0 {
			notes = []string{fmt.Sprintf("None of the %s that match has this field; %[1]s outside of the query or the window do.", q.things())}
		}
		a.notes = append(a.notes, notes...)
		return a.render(), nil
	}
	from := 0
	if c.cursor != nil {
		from = c.cursor.offset
	}
	text := fmt.Sprintf("stats by (%s) %s as n | filter %[1]s:*", name, q.counting())
	if search != "" {
		text += fmt.Sprintf(" %s:~%s", name, strconv.Quote("(?i)"+regexp.QuoteMeta(search)))
	}
	text += fmt.Sprintf(" | sort by (n desc, %s) offset %d limit %d", name, from, limit+1)
	if res, err = c.askLogs(ctx, "counting values", q, q.with(text), limit+1); err != nil {
		return Result{}, err
	}
	s := section{columns: []string{field, q.things(), "share_%"}, fixed: -1}
	for i, r := range res.Rows {
		if i == limit {
			break
		}
		s.rows = append(s.rows, []string{spanValue(q, stored, r.Get(stored)), r.Get("n"), percent(integer(r.Get("n")), with)})
	}
	a.sections = []section{s}
	if len(s.rows) == 0 && search != "" {
		a.note("None of the values has %s in it.", quoteArgument(search))
	}
	if !q.spans && field == telemetry.FieldMessage && distinct > int64(limit) {
		a.note("Messages are better grouped by find_log_patterns.")
	}
	known := from + len(res.Rows) // how many values there are at least
	if search == "" {
		known = max(known, int(distinct))
	}
	a.more = c.morePages("values", q.window, from, len(s.rows), known)
	return a.render(), nil
}
