package tools

import (
	"strings"
	"testing"
	"time"
)

func TestAggregateLogs(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.caller("logs:read")
	for _, tt := range []struct{ name, args string }{
		{"count", `{}`},
		{"by_service", `{"group_by":"service.name","aggregate":["count","rate"]}`},
		{"by_two", `{"group_by":"severity,service.name","limit":3,"start":"now-2h"}`},
		{"over_time", `{"step":"10m","severity":"error+","start":"now-1h"}`},
		{"series", `{"step":"5m","group_by":["service.name"],"severity":"error+"}`},
		{"numbers", `{"aggregate":"p50,p95,avg,min,max","field":"took","group_by":"http.route"}`},
		{"numbers_series", `{"aggregate":"avg","field":"took","group_by":"service.name","step":"auto","query":"GET"}`},
		{"uniq", `{"aggregate":"uniq","field":"trace_id"}`},
		{"piped", `{"query":"placed | extract \"user <user> in\"","group_by":"user","aggregate":"count"}`},
		{"unknown_group", `{"group_by":"regoin"}`},
		{"unknown_field", `{"aggregate":"max","field":"tok"}`},
		{"no_numbers", `{"aggregate":"avg","field":"region"}`},
		{"nothing", `{"query":"nothing like this","group_by":"severity"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, "aggregate_"+tt.name, e.call(c, "aggregate_logs", tt.args)) })
	}
	for args, want := range map[string]string{
		`{"aggregate":"stddev"}`:                 `aggregate "stddev" is not known; use count`,
		`{"aggregate":"avg"}`:                    "aggregate avg needs field",
		`{"field":"took"}`:                       "field is given without aggregate",
		`{"group_by":["a","b","c","d","e","f"]}`: "at most 5",
		`{"group_by":"_time"}`:                   "give a step",
		`{"group_by":"_stream_id"}`:              "not a field of records",
		`{"step":"1s","start":"now-1d"}`:         "at most 500",
		`{"step":"soon"}`:                        "it must be a duration from 1s to 744h",
		`{"query":"* | stats by ("}`:             "The query cannot be run",
		`{"query":"x # comment","aggregate":"count",
		  "max_tokens":1}`: "from 200",
		`{"aggregate":["count","rate","uniq","sum","min","max"],"field":"x"}`: "at most 5",
	} {
		if res := e.call(c, "aggregate_logs", args); !res.IsError || !strings.Contains(res.Text, want) {
			t.Errorf("%s: %s\nwant %s", args, res.Text, want)
		}
	}
	// A comment of the query's cannot swallow what the tool adds to it.
	if res := e.call(c, "aggregate_logs", `{"query":"refused # comment","group_by":"region"}`); res.IsError || !strings.Contains(res.Text, "eu\t15\t100") {
		t.Errorf("with a comment: %+v", res)
	}
}

func TestGetLogContext(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.caller("logs:read")
	for _, tt := range []struct{ name, args string }{
		{"sender", `{"time":"` + e.day + `T09:10:00.000Z","service":"payments","query":"refused","before":3,"after":2}`},
		{"service", `{"time":"` + e.day + `T09:10:00.000Z","query":"refused","before":2,"after":2,"of":"service"}`},
		{"trace", `{"time":"` + e.day + `T09:10:00.000Z","query":"refused","of":"trace"}`},
		{"several", `{"time":"` + e.day + `T09:10:00.000Z","before":0,"after":1}`},
		{"nearest", `{"time":"` + e.day + `T09:10:00.500Z","service":"cart","before":1,"after":0}`},
		{"small", `{"time":"` + e.day + `T09:10:00.000Z","service":"payments","query":"refused","before":50,"after":50,"max_tokens":450}`},
		{"nothing", `{"time":"` + e.day + `T09:10:30Z"}`},
		{"no_service", `{"time":"` + e.day + `T09:10:00Z","service":"chekout"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, "context_"+tt.name, e.call(c, "get_log_context", tt.args)) })
	}
	for args, want := range map[string]string{
		`{}`:                                   "get_log_context needs time",
		`{"time":"then"}`:                      "is no time",
		`{"time":"now","of":"team"}`:           "of is \"team\"; it must be one of sender, service, trace.",
		`{"time":"now","before":201}`:          "from 0 to 200",
		`{"time":"now","query":"* | limit 5"}`: "must be a search without pipes",
	} {
		if res := e.call(c, "get_log_context", args); !res.IsError || !strings.Contains(res.Text, want) {
			t.Errorf("%s: %s\nwant %s", args, res.Text, want)
		}
	}
}

// Counts of groups over time are one query, not one for the total, one for the
// groups and one for the steps.
func TestCountsOverTimeAreOneQuery(t *testing.T) {
	b := newBench(t)
	for i, n := range []string{"3", "40", "5"} {
		b.logs.stats = append(b.logs.stats, row(at(-time.Duration(10*(i%2)+5)*time.Minute), "service.name", []string{"cart", "checkout", "cart"}[i], "a0", n))
	}
	res := b.call(b.caller("logs:read"), "aggregate_logs", `{"group_by":["service.name"],"step":"5m"}`)
	if len(b.logs.queries) != 1 {
		t.Errorf("%d queries: %+v", len(b.logs.queries), b.logs.queries)
	}
	for _, want := range []string{"matched 48", "checkout\t40\t83.3\t", "cart\t8\t16.7\t"} {
		if !strings.Contains(res.Text, want) {
			t.Errorf("no %q in\n%s", want, res.Text)
		}
	}
	if strings.Index(res.Text, "checkout\t") > strings.Index(res.Text, "cart\t") {
		t.Errorf("the largest group is not first:\n%s", res.Text)
	}
}
