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

const (
	// topValues of a field are shown, each cut to topValueBytes.
	topValues     = 3
	topValueBytes = 40
	// facetValues is how many values of a field are asked for: one more than
	// is counted.
	facetValues = 11
	// facetUnique is above which a field's values are not counted.
	facetUnique = 100_000
	// leastShare of a field's records must have a value for it to count as
	// frequent.
	leastShare = 0.02
	// exampleRows are read for fields whose values are not counted.
	exampleRows = 100
)

func newListFields() *Tool {
	return &Tool{
		Name: "list_fields", Title: "List fields",
		Description: "Lists the fields of the log records, or spans, that a query finds: share that has it, type, number of values, most frequent values. " +
			"Use it before filtering by a field that you have not seen; list_field_values has all values of one.",
		Permission: org.LogsRead, Other: org.SpansRead,
		params: append(append([]param{signalParam}, plainFilterParams...),
			textParam("search", "part of the field's name"), startParam, endParam, numberParam("limit", "", 1, 500, 60), tokensParam, cursorParam),
		ReadOnly: true, Idempotent: true,
		handle: listFields,
	}
}

// fieldValues is what is known about the values of a field.
type fieldValues struct {
	top      []telemetry.Field // value and hits
	examples []string
}

func listFields(ctx context.Context, c *call) (Result, error) {
	search, err := c.args.query("search")
	if err != nil {
		return Result{}, err
	}
	limit, err := c.args.number("limit", 1, 500, 60)
	if err != nil {
		return Result{}, err
	}
	q, err := c.logQuestion()
	if err != nil {
		return Result{}, err
	}
	s, err := c.sampleLogs(ctx, q)
	if err != nil {
		return Result{}, err
	}
	if s.total == 0 {
		return c.nothing(ctx, q, q.query)
	}
	fields, rows, err := c.logFields(ctx, q, s)
	if err != nil {
		return Result{}, err
	}
	var found []fieldCount
	var all []string
	for _, f := range fields {
		name := q.shown(f.name)
		all = append(all, name)
		if f.name != telemetry.FieldTime && strings.Contains(strings.ToLower(name), strings.ToLower(search)) {
			found = append(found, f)
		}
	}
	a := &answer{call: c, window: &q.window, kind: q.kind(), unit: "fields", lines: q.describe()}
	a.fact("matched %d", s.total)
	a.fact("%s", count(len(found), "field", "fields"))
	from := 0
	if c.cursor != nil {
		from = min(c.cursor.offset, len(found))
	}
	page := found[from:min(len(found), from+limit)]
	if len(page) > 0 {
		values, err := c.fieldValues(ctx, q, s)
		if err != nil {
			return Result{}, err
		}
		base := int64(0)
		if !s.exact() {
			for _, v := range values {
				if len(v.top) < facetValues {
					base = max(base, v.records(0)) // most fields have few values in all records
				}
			}
		}
		a.sections = []section{fieldSection(q, page, values, rows, base)}
	} else {
		a.note("None of the fields has %s in its name.", quoteArgument(search))
		if near := nearest(search, all); len(near) > 0 {
			a.note("Nearest names: %s.", names(near))
		}
	}
	if !s.exact() {
		a.note("Shares and values are estimates from a part of the %s, %d; the rarest fields may be missing. For exact ones narrow the window or name a service.", q.things(), rows)
	}
	switch {
	case len(page) > 0 && q.spans:
		a.note(`search_traces and aggregate_spans know these names in where and group_by; query wants stored ones: "span_attr:http.route":="/pay".`)
	case len(page) > 0:
		a.note(`Filter by name:="value" or name:>=100; put names with other characters than letters, digits, _ and . in double quotes.`)
	}
	a.more = c.morePages("fields", q.window, from, len(page), len(found))
	return a.render(), nil
}

// records is how many records the values were counted on: their sum where they
// are all there, else most.
func (v *fieldValues) records(most int64) int64 {
	if len(v.top) >= facetValues {
		return most
	}
	sum := int64(0)
	for _, t := range v.top {
		sum += integer(t.Value)
	}
	return sum
}

// fieldSection is the table of fields. rows is how many records the fields were
// counted on, base how many the values were, 0 for the same.
func fieldSection(q logQuestion, page []fieldCount, values map[string]*fieldValues, rows, base int64) section {
	s := section{columns: []string{"field", "in_%", "type", "values", "most frequent"}, fixed: -1}
	for _, f := range page {
		v := values[f.name]
		if v == nil {
			v = &fieldValues{}
		}
		n, kind := "", kindOf(v)
		most := f.n
		if base > 0 {
			most = int64(float64(base) * float64(f.n) / float64(rows))
		}
		if len(v.top) >= facetValues && (kind == "id" || float64(integer(v.top[0].Value)) < max(2, leastShare*float64(most))) {
			// No value is frequent: one of them says as much as three.
			v.examples = append(v.examples, v.top[0].Name)
			v.top = nil
		}
		switch {
		case len(v.top) >= facetValues:
			n = strconv.Itoa(facetValues-1) + "+"
		case len(v.top) > 0:
			n = strconv.Itoa(len(v.top))
		default:
			n = "many"
		}
		var top []string
		for i, t := range v.top {
			if i < topValues {
				top = append(top, cell(spanValue(q, f.name, t.Name), topValueBytes, nil)+" ("+percent(integer(t.Value), v.records(most))+"%)")
			}
		}
		if len(v.top) == 0 && len(v.examples) > 0 {
			top = append(top, "e.g. "+cell(v.examples[0], topValueBytes, nil))
		}
		s.rows = append(s.rows, []string{q.shown(f.name), percent(f.n, rows), kind, n, strings.Join(top, "; ")})
	}
	return s
}

// fieldValues returns what the fields of the sample hold.
func (c *call) fieldValues(ctx context.Context, q logQuestion, s sample) (map[string]*fieldValues, error) {
	out := make(map[string]*fieldValues)
	get := func(name string) *fieldValues {
		if out[name] == nil {
			out[name] = &fieldValues{}
		}
		return out[name]
	}
	unique := facetUnique
	if !s.exact() {
		unique = sampleUnique
	}
	res, err := c.askLogs(ctx, "counting values", q,
		fmt.Sprintf("%s | facets %d max_values_per_field %d max_value_len 200 keep_const_fields", s.text, facetValues, unique), maxFields*facetValues)
	if err != nil {
		return nil, err
	}
	for _, r := range res.Rows {
		if name := r.Get("field_name"); q.own(name) {
			v := get(name)
			v.top = append(v.top, telemetry.Field{Name: r.Get("field_value"), Value: r.Get("hits")})
		}
	}
	for _, v := range out {
		slices.SortStableFunc(v.top, func(a, b telemetry.Field) int {
			return cmp.Or(cmp.Compare(integer(b.Value), integer(a.Value)), strings.Compare(a.Name, b.Name))
		})
	}
	if res, err = c.askLogs(ctx, "reading examples", q, s.text+" | limit "+strconv.Itoa(exampleRows), exampleRows); err != nil {
		return nil, err
	}
	for _, r := range res.Rows {
		for _, f := range r.Fields {
			if v := get(f.Name); len(v.examples) < 20 {
				v.examples = append(v.examples, f.Value)
			}
		}
	}
	return out, nil
}

var hexID = regexp.MustCompile(`^[0-9a-f]{16,64}$|^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}$`)

// kindOf names the type that all known values have.
func kindOf(v *fieldValues) string {
	values := v.examples
	for _, t := range v.top {
		values = append(values, t.Name)
	}
	all := func(is func(string) bool) bool {
		for _, s := range values {
			if !is(s) {
				return false
			}
		}
		return len(values) > 0
	}
	switch {
	case all(func(s string) bool { return s == "true" || s == "false" }):
		return "boolean"
	case all(func(s string) bool { _, err := strconv.ParseFloat(s, 64); return err == nil }):
		return "number"
	case all(func(s string) bool { _, err := time.ParseDuration(s); return err == nil }):
		return "duration"
	case all(func(s string) bool { _, err := time.Parse(time.RFC3339, s); return err == nil }):
		return "time"
	case all(hexID.MatchString):
		return "id"
	}
	return "text"
}
