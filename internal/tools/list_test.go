package tools

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestLists(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.caller("logs:read")
	for _, tt := range []struct{ name, tool, args string }{
		{"services", "list_services", `{}`},
		{"services_errors", "list_services", `{"sort":"errors","limit":2,"start":"now-15m"}`},
		{"services_search", "list_services", `{"search":"Pay","sort":"recent"}`},
		{"services_unknown", "list_services", `{"search":"chekout"}`},
		{"services_none", "list_services", `{"start":"now-9h","end":"now-8h"}`},
		{"fields", "list_fields", `{}`},
		{"fields_search", "list_fields", `{"search":"http","service":"cart","severity":"info"}`},
		{"fields_limit", "list_fields", `{"limit":2,"query":"refused"}`},
		{"fields_unknown", "list_fields", `{"search":"regoin"}`},
		{"fields_none", "list_fields", `{"query":"regoin:=eu"}`},
		{"values", "list_field_values", `{"field":"region","severity":"error+"}`},
		{"values_search", "list_field_values", `{"field":"http.route","search":"CART/"}`},
		{"values_limit", "list_field_values", `{"field":"_msg","limit":2,"max_tokens":400}`},
		{"values_piped", "list_field_values", `{"field":"user","query":"placed | extract \"by user <user> in\""}`},
		{"values_unknown", "list_field_values", `{"field":"reigon"}`},
		{"values_elsewhere", "list_field_values", `{"field":"error.type","severity":"info"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, tt.name, e.call(c, tt.tool, tt.args)) })
	}
	for _, args := range []string{`{"field":"_stream"}`, `{"field":"resource_attr:service.name"}`, `{}`, `{"field":["a","b"]}`, `{"field":"` + strings.Repeat("x", 200) + `"}`} {
		if res := e.call(c, "list_field_values", args); !res.IsError {
			t.Errorf("%s: %s", args, res.Text)
		}
	}
}

// Following the cursors of a list gives each of its rows once.
func TestFollowingAListShowsEveryRow(t *testing.T) {
	e := newEngineBench(t)
	var all []telemetry.LogRecord
	for i := range 120 {
		all = append(all, telemetry.LogRecord{
			Time: e.Now().Add(-time.Minute), Message: "m", Resource: kv("service.name", fmt.Sprintf("service-%03d", i)),
			Attributes: kv("value", fmt.Sprintf("value-%03d", i), fmt.Sprintf("field-%03d", i), "x"),
		})
	}
	e.write(e.Shop, all...)
	c := e.caller("logs:read")
	for _, tt := range []struct{ tool, args, row string }{
		{"list_services", `{"limit":7`, `(?m)^service-\d+`},
		{"list_services", `{"limit":50,"max_tokens":500`, `(?m)^service-\d+`},
		{"list_fields", `{"search":"field-","limit":25,"max_tokens":700`, `(?m)^field-\d+`},
		{"list_field_values", `{"field":"value","limit":11`, `(?m)^value-\d+`},
		{"list_field_values", `{"field":"value","search":"VALUE-","limit":100,"max_tokens":300`, `(?m)^value-\d+`},
	} {
		seen := make(map[string]int)
		cursor := ""
		for range 100 {
			res := e.call(c, tt.tool, tt.args+cursor+"}")
			if res.IsError {
				t.Fatal(res.Text)
			}
			for _, m := range regexp.MustCompile(tt.row).FindAllString(res.Text, -1) {
				seen[m]++
			}
			next := nextCursor.FindStringSubmatch(res.Text)
			if next == nil {
				break
			}
			cursor = `,"cursor":"` + next[1] + `"`
			e.Advance(time.Second)
		}
		if len(seen) != 120 {
			t.Errorf("%s %s}: saw %d rows of 120", tt.tool, tt.args, len(seen))
		}
		for row, n := range seen {
			if n != 1 {
				t.Errorf("%s: saw %s %d times", tt.tool, row, n)
			}
		}
	}
}

// Of many records a sample is looked at; fields that only errors or small
// services have are in the list all the same.
func TestFieldsOfManyRecords(t *testing.T) {
	e := newEngineBench(t)
	c := e.caller("logs:read")
	e.set.sizes = sizes{exactRows: 20_000, sampleRows: 3000, partRows: 100}
	const n = 21_000
	batch := make([]telemetry.LogRecord, 0, 30_000)
	for i := range n {
		r := telemetry.LogRecord{
			Time: e.Now().Add(-time.Duration(i+1) * 150 * time.Millisecond), Message: "m", Severity: "INFO",
			Resource: kv("service.name", fmt.Sprintf("service-%d", i%3)), Attributes: kv("half", fmt.Sprint(i%2)),
		}
		switch {
		case i%7000 == 5:
			r.Severity = "ERROR"
			r.Attributes = kv("only.errors", "x")
		case i == 10_001:
			r.Resource, r.Attributes = kv("service.name", "tiny"), kv("only.tiny", "x")
		case i%2 == 1:
			r.Attributes = nil
		}
		if batch = append(batch, r); len(batch) == cap(batch) || i == n-1 {
			e.Must(e.client.WriteLogs(t.Context(), e.Shop.Tenant+e.by, batch))
			batch = batch[:0]
		}
	}
	e.flush()
	text := e.call(c, "list_fields", `{}`).Text
	for _, want := range []string{fmt.Sprintf("matched %d", n), "\nonly.errors\t", "\nonly.tiny\t", "\tnumber\t1\t0 (100%)", "are estimates from a part of the records, 304;"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// In a data scope only what its own records have is there.
func TestListsInScope(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.scoped(`service.name = cart`)
	e.golden(t, "scope_services", e.call(c, "list_services", `{}`))
	e.golden(t, "scope_fields", e.call(c, "list_fields", `{}`))
	e.golden(t, "scope_values", e.call(c, "list_field_values", `{"field":"psp"}`))
	e.golden(t, "scope_context", e.call(c, "get_log_context", `{"time":"`+e.day+`T09:10:00Z","of":"trace"}`))
	e.golden(t, "scope_search", e.call(c, "search_logs", `{"service":"payment"}`))
}
