package tools

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.caller("logs:read")
	for _, tt := range []struct{ name, args string }{
		{"bad", `{"bad":"severity:ERROR","service":"payments"}`},
		{"windows", `{"start":"now-15m"}`},
		{"small", `{"start":"now-15m","max_tokens":250}`},
		{"limit", `{"bad":"severity:in(ERROR,FATAL)","limit":1}`},
		{"same", `{"service":"cart","severity":"info","query":"GET","start":"now-30m"}`},
		{"few", `{"bad":"lost"}`},
		{"nothing", `{"query":"nothing like this","bad":"severity:ERROR"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, "compare_"+tt.name, e.call(c, "compare", tt.args)) })
	}
	for args, want := range map[string]string{
		`{"baseline":"none"}`:             "compare needs bad",
		`{"bad":"* | limit 3"}`:           "must be a search without pipes",
		`{"query":"* | limit 3"}`:         "must be a search without pipes",
		`{"bad":"x) or (y"}`:              "The query cannot be run",
		`{"bad":"severity:ERROR | stat"}`: "The query cannot be run",
	} {
		if res := e.call(c, "compare", args); !res.IsError || !strings.Contains(res.Text, want) {
			t.Errorf("%s: %s\nwant %s", args, res.Text, want)
		}
	}
}

func TestQueryHelp(t *testing.T) {
	e := newEngineBench(t)
	c := e.caller("logs:read")
	e.golden(t, "help_empty", e.call(c, "query_help", `{}`))
	e.writeShop()
	for _, tt := range []struct{ name, args string }{
		{"card", `{"language":"LogsQL"}`},
		{"right", `{"check":"severity:ERROR regoin:=eu"}`},
		{"computes", `{"check":"* | stats by (region) count() n"}`},
		{"pipe", `{"check":"severity:ERROR | stas by (region) count()"}`},
		{"wrong", `{"check":"severity:ERROR (a or"}`},
		{"refused", `{"check":"error | stream_context before 5"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, "help_"+tt.name, e.call(c, "query_help", tt.args)) })
	}
	if res := e.call(c, "query_help", `{"language":"sql"}`); !res.IsError {
		t.Error(res.Text)
	}
}

// Every query on the rule card and in the errors is one that can be run.
func TestTheCardIsRight(t *testing.T) {
	b := newBench(t)
	for _, query := range []string{
		`word "a phrase" pre*`, `a or b !a (a or b) c`, `i(word) i("a phrase")`, `~"reg.*exp"`, `f:word f:"phrase" f:pre*`, `f:="value" f:!="value"`,
		`f:in("a","b")`, `f:>=500 f:range[1, 10] took:>1s`, `f:* f:""`, `f:in(a | fields f)`,
		`* | stats by (f, g) count() n, count() if (severity:ERROR) errors, count_uniq(u), sum(x), min(x), max(x), avg(x), median(x), quantile(0.95, x)`,
		`* | stats by (_time:5m) count() n`, `* | sort by (n desc) limit 10`, `* | top 5 by (f)`, `* | uniq by (f)`, `* | limit 10`,
		`* | fields a, b`, `* | delete a`, `* | filter n:>10`, `* | rename a as b`, `* | extract "user <name> from <ip>" from _msg`,
		`* | extract_regexp "(?P<code>[0-9]{3})"`, `* | unpack_json`, `* | unpack_logfmt`, `* | math a / b as c`, `* | facets`, `* | collapse_nums`,
		`"connection refused" severity:ERROR`, `severity:ERROR | stats by (service.name) count() n | sort by (n desc)`, `"connection refused" !"from 10.0.0.7"`,
	} {
		if _, _, err := b.set.CheckLogs(query, b.Now()); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}
