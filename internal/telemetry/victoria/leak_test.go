package victoria

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func quote(s string) string { return strconv.Quote(s) }

// Each row carries its owner's mark in its message, in a value and in a
// field's name.
const (
	markMine    = "markmine"
	markScope   = "markoutside" // same tenant, outside of the data scope
	markOther   = "markother"   // another tenant
	markHistory = "markhistory" // same scope, before the time range
)

// countForeign returns a row only where it sees a foreign one.
const countForeign = `* | stats count() if (markoutside) outside, count() if (markother) other | filter outside:>0 or other:>0`

// attacks try to see more than the view shows. Refused is as good as empty.
var attacks = []string{
	`*`, `* or *`, `*) or (*`, `) or (*`, `* # comment`, `!markmine`, `not markmine`, `-markmine`,
	`_stream_id:*`, `_stream:*`, `{}`, `{"resource_attr:service.name"="cart"}`, `{service.name="cart"}`,
	`"resource_attr:service.name":="cart"`, `"resource_attr:service.name":=checkout or *`,
	`markoutside`, `markother`, `mark*`, `_msg:~"mark.*"`, `service.name:cart`,
	`_time:1y`, `_time:>2000-01-01`, `_time:[2000-01-01, 2100-01-01]`, `* | union (_time:1y)`,
	`options(ignore_global_time_filter=true) *`, `* | union (options(ignore_global_time_filter=true) *)`,
	`options(time_offset=2h) *`, `x:in(options(time_offset=2h) * | fields x)`,
	`* | stream_context before 100 after 100`, `* | union (* | stream_context before 100)`,
	`* | stream_context before 10 time_window 1w`,
	`* | field_names`, `* | drop_empty_fields | field_names`, `* | block_stats`, `* | blocks_count`, `* | query_stats`,
	`* | filter *`, `* | union (*)`, `* | union (markoutside)`, `* | union (!markmine)`, `* | union (* | union (*))`,
	`* | join by (trace_id) (* | limit 100)`, `* | join by (trace_id) (markoutside | limit 100) prefix x`,
	`trace_id:in(markoutside | fields trace_id)`, `trace_id:in(* | fields trace_id)`,
	`trace_id:contains_any(markoutside | fields trace_id)`,
	countForeign, `* | stats count() n`, `* | stats count_uniq(_msg) n`,
	`* | stats by (mark) count() n`, `* | stats values(mark) v, uniq_values(_msg) u`, `* | stats row_any() r`, `* | stats json_values() j`,
	`* | stats row_max(_time) r`, `* | stats any(mark) x, field_max(_time, mark) y`, `* | stats count_empty(*) e`,
	`* | facets`, `* | facets keep_const_fields`, `* | field_values mark`, `* | uniq by (mark)`, `* | top 10 by (mark)`,
	`* | uniq by (_stream)`, `* | uniq by (_stream_id)`,
	`* | fields *`, `* | delete _msg`, `* | pack_json as x`, `* | pack_json fields (*) as x | fields x`, `* | pack_logfmt as x | fields x`,
	`* | unpack_json from mark`, `* | first 10 by (_time)`, `* | last 10 by (_time)`, `* | sort by (_time) partition by (mark) limit 10`,
	`* | sample 1`, `* | running_stats count() n`, `* | total_stats count() n`, `* | unroll by (mark)`, `* | extract "<x>" from mark`,
	`* | copy mark as y`, `* | rename mark as z`, `* | split " " from _msg as w`, `* | format "<mark>" as m2`, `* | len(mark) as l`,
	`* | collapse_nums`, `* | drop_empty_fields`, `* | hash(mark) as h`, `* | offset 0`, `* | unpack_logfmt from _msg`, `* | unpack_words from _msg as w`,
	`* | set_stream_fields mark`, `* | generate_sequence 3`, `* | time_add 1h`, `* | stats_remote count() x`,
	`mark:eq_field(mark)`, `mark:le_field(mark)`, `value_type:string`, `* | math len(mark) as x`,
}

func TestNoForeignMark(t *testing.T) {
	c, tenant := engine(t)
	_, other := engine(t)
	now := time.Now()
	record := func(mark, service string, age time.Duration, i int) telemetry.LogRecord {
		owner := "me"
		if mark == markScope && i%2 == 0 {
			// The same stream as my rows, so often the same block.
			owner, service = "you", "checkout"
		}
		return telemetry.LogRecord{
			Time: now.Add(-age).Add(time.Duration(i) * time.Millisecond), Message: fmt.Sprintf("%s row %d", mark, i),
			Resource: attrs("service.name", service, "deployment.environment.name", "prod", "owner", owner, "res."+mark, mark),
			// The forged names say that each row is mine.
			Attributes: attrs("mark", mark, "name."+mark, mark, "resource_attr:service.name", "checkout", "service.name", "checkout",
				"resource_attr:deployment.environment.name", "prod", "resource_attr:owner", "me", "owner", "me", "_stream", `{"resource_attr:service.name"="checkout"}`,
				"_stream_id", "0000000100000000aabbccddeeff00112233445566778899"),
			TraceID: fmt.Sprintf("%032x", i),
		}
	}
	var mine, theirs []telemetry.LogRecord
	for i := range 20 {
		mine = append(mine, record(markMine, "checkout", time.Minute, i), record(markScope, "cart", time.Minute, i),
			record(markHistory, "checkout", 3*time.Hour, i))
		theirs = append(theirs, record(markOther, "checkout", time.Minute, i))
	}
	// One more whose resource says nothing: only its forged attributes match.
	mine = append(mine, telemetry.LogRecord{Time: now.Add(-time.Minute), Message: markScope, Attributes: attrs("mark", markScope,
		"resource_attr:service.name", "checkout", "resource_attr:deployment.environment.name", "prod", "resource_attr:owner", "me",
		"service.name", "checkout", "deployment.environment.name", "prod", "owner", "me")})
	write(t, c, tenant, mine...)
	write(t, c, other, theirs...)
	filter, err := telemetry.ParseFilter(`service.name = checkout and deployment.environment.name in (prod, test) and owner = me`)
	if err != nil {
		t.Fatal(err)
	}
	scoped := telemetry.NewView(tenant, telemetry.Restriction{Filter: filter})
	// Each is asked with and without services named beside the query.
	var ran, refused int
	for _, text := range append(attacks, refusedQueries...) {
		for _, services := range [][]string{nil, {"checkout", "cart"}} {
			q := lastHour(text)
			q.Services, q.CountTotal = services, true
			r, err := c.QueryLogs(t.Context(), scoped, q, telemetry.Budget{})
			if err != nil {
				if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
					t.Errorf("%.80q: %v", text, err)
				}
				if strings.Contains(err.Error(), "mark") && !strings.Contains(text, "mark") {
					t.Errorf("%q: the error names a mark: %v", text, err)
				}
				refused++
				continue
			}
			ran++
			for _, row := range r.Rows {
				for _, f := range row.Fields {
					for _, mark := range []string{markScope, markOther, markHistory} {
						if strings.Contains(f.Name+f.Value, mark) {
							t.Errorf("%.80q shows %s in %s=%.80s", text, mark, f.Name, f.Value)
						}
					}
				}
			}
			if text == countForeign && len(r.Rows) > 0 {
				t.Errorf("%q counts foreign rows: %v", text, r.Rows)
			}
			if len(r.Rows) == 1 && r.Rows[0].Get("n") != "" && r.Rows[0].Get("n") != "20" {
				t.Errorf("%q counts %s of 20 rows", text, r.Rows[0].Get("n"))
			}
			if r.Total > 20 {
				t.Errorf("%.80q counts %d rows of 20", text, r.Total)
			}
		}
	}
	t.Logf("%d queries ran, %d were refused", ran, refused)
	if ran < 100 {
		t.Errorf("only %d attacks ran: the guard refuses too much to test anything", ran)
	}

	// The marks are there to be found: without a scope, and in their tenant.
	q := lastHour(markScope)
	if r, err := c.QueryLogs(t.Context(), whole(tenant), q, telemetry.Budget{}); err != nil || len(r.Rows) != 21 {
		t.Errorf("the whole tenant shows %d rows, %v", len(r.Rows), err)
	}
	if r, err := c.QueryLogs(t.Context(), whole(other), lastHour("*"), telemetry.Budget{}); err != nil || len(r.Rows) != 20 {
		t.Errorf("the other tenant shows %d rows, %v", len(r.Rows), err)
	}
	none := telemetry.NewView(tenant, telemetry.Restriction{Filter: &telemetry.Filter{}})
	for _, text := range []string{"*", "* | union (*)", "* | stats by (mark) count() n"} {
		if r, err := c.QueryLogs(t.Context(), none, lastHour(text), telemetry.Budget{}); err != nil || len(r.Rows) != 0 {
			t.Errorf("the zero filter shows %v, %v", r.Rows, err)
		}
	}
}

func TestScopesAgreeWithMatch(t *testing.T) {
	c, tenant := engine(t)
	resources := [][]telemetry.Field{
		nil, attrs("service.name", "a"), attrs("service.name", "b", "env", "prod"), attrs("service.name", "a", "env", "test"), attrs("env", "prod"),
	}
	for i, r := range resources {
		write(t, c, tenant, telemetry.LogRecord{Time: time.Now(), Message: fmt.Sprint("r", i), Resource: r, Attributes: attrs("env", "prod")})
	}
	for _, text := range []string{
		`service.name = a`, `service.name != a`, `not service.name in (a, b)`, `env = prod and service.name = b`,
		`env = prod or service.name = a`, `not (env = prod or service.name = a)`, `not (env = prod and service.name = b)`,
		`(env = prod or env = test) and service.name != b`, `service.name != a and env != prod`,
	} {
		filter, err := telemetry.ParseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.QueryLogs(t.Context(), telemetry.NewView(tenant, telemetry.Restriction{Filter: filter}), lastHour(""), telemetry.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]bool)
		for _, m := range messages(r) {
			got[m] = true
		}
		for i, res := range resources {
			want := filter.Match(func(name string) string { return telemetry.LogRow{Fields: res}.Get(name) })
			if got[fmt.Sprint("r", i)] != want {
				t.Errorf("scope %s, resource %v: the engine says %v", text, res, !want)
			}
		}
	}
}
