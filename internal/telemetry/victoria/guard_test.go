package victoria

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestGuardAccepts(t *testing.T) {
	now := time.Now()
	tests := []struct {
		text, canonical string
		pipes           bool
	}{
		{"", "*", false},
		{"  \n", "*", false},
		{"Failed password", "Failed password", false},
		{`"Failed password"`, `"Failed password"`, false},
		{"error # a comment | stream_context", "error", false},
		{`"| stream_context before 5"`, `"| stream_context before 5"`, false},
		{"'options(' or `| block_stats`", `"options(" or "| block_stats"`, false},
		{`_time:5m error`, `_time:5m error`, false},
		{`"service.name":=checkout`, `service.name:=checkout`, false},
		{`error | count()`, `error | stats count(*) as "count(*)"`, true},
		{`error | WHERE a:b | fields a`, `error a:b | fields a`, true},
		{`* | stats by ("service.name") count() if (error) n | sort by (n desc) | limit 5`, "", true},
		{`trace_id:in(error | fields trace_id)`, "", false},
		{`* | join by (trace_id) (error | limit 10)`, "", true},
		{`* | drop_empty_fields | field_names`, "", true},
		{`* | math "2" + 3 as x`, "", true},
		{`* | union (error | uniq by (_msg))`, "", true},
		{`* | extract "user <user> from" | top 5 by (user)`, "", true},
		{`_msg:~"a|b" | limit 1`, "", true},
		{`a or !b -c`, "", false},
	}
	for _, tt := range tests {
		canonical, pipes, err := Guard(tt.text, now)
		if err != nil {
			t.Errorf("Guard(%q): %v", tt.text, err)
			continue
		}
		if tt.canonical != "" && canonical != tt.canonical || pipes != tt.pipes {
			t.Errorf("Guard(%q) = %q, %v; want %q, %v", tt.text, canonical, pipes, tt.canonical, tt.pipes)
		}
	}
}

// refusedQueries are refused whatever the view.
var refusedQueries = []string{
	`* | stream_context before 5`,
	`* | STREAM_CONTEXT after 5`,
	"* |\n# comment\n stream_context before 1",
	`* | union (* | stream_context before 5)`,
	`* | join by (a) (* | stream_context after 1 | limit 1)`,
	`x:in(* | stream_context before 2 | fields x)`,
	`* | stats count() if (x:in(* | stream_context before 2 | fields x)) n`,
	`* | pack_logfmt`, `* | block_stats`, `* | blocks_count`, `* | query_stats`, `* | unpack_syslog`, `* | unpack_syslog from x`,
	`* | generate_sequence 10`, `* | stats_remote count() x`, `* | set_stream_fields a`, `* | time_add 1h`,
	`options(ignore_global_time_filter=true) *`, `OPTIONS ( time_offset=1d ) *`, `options(concurrency=1) *`,
	`options() foo | union (options(ignore_global_time_filter=true) *)`,
	`* | union (options(ignore_global_time_filter=true) *)`,
	`x:in(options(time_offset=1d) * | fields x)`,
	`* | field_names`, `* | union (* | field_names)`, `* | field_names as x`,
	`* | join by (a) (*)`, `* | join by (a) (* | limit 100000)`, `* | join by (a) (* | sort by (_time))`,
	`* | foo`, `* | "limit" 1`, `* | foo:bar`, `* | `, `* | stream_contex before 5`, `foo | !bar`,
	`a:(`, `"open`, `) or (*`, `*) or (*`, `{`, `_time:`, `a = = b |`,
	`* | format "<a><a><a><a><a><a><a><a><a><a>" as a | format "<a><a><a><a><a><a><a><a><a><a>" as a | format "<a><a><a><a><a><a><a><a><a><a>" as a | format "<a><a><a><a><a><a><a><a><a><a>" as a`,
	`* | replace ("a", "` + strings.Repeat("a", 5000) + `") at _msg`,
	strings.Repeat("(", 40) + "a" + strings.Repeat(")", 40),
	`* ` + strings.Repeat("| limit 1 ", maxQueryPipes+1) + "| facets",
	strings.Repeat("a ", maxQueryBytes),
}

func TestGuardRefuses(t *testing.T) {
	now := time.Now()
	for _, text := range refusedQueries {
		canonical, _, err := Guard(text, now)
		// Many equal limits are simplified to one: allowed after all.
		if strings.Contains(text, "| limit 1 | limit 1") && err == nil {
			continue
		}
		qe, ok := errors.AsType[*telemetry.QueryError](err)
		if !ok {
			t.Errorf("Guard(%.80q) = %.80q, %v; want a *QueryError", text, canonical, err)
			continue
		}
		if qe.Offset > len(text) || len(qe.Problem) > 2*maxProblemBytes || strings.Contains(qe.Problem, "http") || strings.Contains(qe.Problem, "context:") {
			t.Errorf("Guard(%.80q): %v", text, err)
		}
	}
}

func TestGuardErrors(t *testing.T) {
	tests := []struct {
		text, problem string
		offset        int
	}{
		{`error | stream_context before 5`, "pipe stream_context is refused", 8},
		{`error | splitt`, "not a pipe", 8},
		{`options(concurrency=1) *`, "options(…)", -1},
		{`user@host (sshd`, "double quotes", -2},
		{`error | sort by`, "double quotes", -2},
	}
	for _, tt := range tests {
		_, _, err := Guard(tt.text, time.Now())
		qe, ok := errors.AsType[*telemetry.QueryError](err)
		if !ok || !strings.Contains(qe.Problem, tt.problem) || tt.offset != -2 && qe.Offset != tt.offset {
			t.Errorf("Guard(%q): %v; want %q at %d", tt.text, err, tt.problem, tt.offset)
		}
	}
}

// quotedText is removed to look for pipes outside of quotes: canonical text
// has no other quotes and no comments.
var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

func FuzzGuard(f *testing.F) {
	for _, s := range refusedQueries {
		f.Add(s)
	}
	for _, s := range []string{
		"Failed password", `* | stats by (a) count() n`, `a:in(* | fields a)`, `_time:5m | sort by (_time desc) | limit 3`,
		"`|` 'x' \"\\\"\"", `* | math '2024-05-30T01:02:03Z' + 10e9 as t`, `* | uniq by (a*)`, `* | top 3 by (a, b*)`,
		`* | join by (x) (y | limit 3) prefix p`, `_msg:~"."`, `{a="b"} c`, `a:range(1, 5] or b:>3`, `* | pack_json | unpack_json`,
		`_stream_id:0000000100000000aabbccddeeff00112233445566778899`, `a:seq("b", "c")`, `* | replace_regexp ("a", "b") at x`,
		`* | running_stats count() x`, `* | sample 10`, `_time:[2024-01-01, 2024-01-02) offset 1h`,
	} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		canonical, pipes, err := Guard(text, now)
		if err != nil {
			qe, ok := errors.AsType[*telemetry.QueryError](err)
			if !ok || qe.Offset > len(text) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		again, againPipes, err := Guard(canonical, now)
		if err != nil || again != canonical || againPipes != pipes {
			t.Fatalf("%q is accepted as %q, which guards to %q, %v", text, canonical, again, err)
		}
		bare := strings.ToLower(quotedText.ReplaceAllString(canonical, `""`))
		for i, part := range strings.Split(bare, "|") {
			word, _, _ := strings.Cut(strings.TrimSpace(part), " ")
			if _, refused := refusedPipes[word]; refused && i > 0 {
				t.Fatalf("%q is accepted as %q", text, canonical)
			}
		}
		if strings.Contains(bare, "options(") {
			t.Fatalf("%q is accepted as %q", text, canonical)
		}
		r := request{
			text: canonical, now: now, start: now.Add(-time.Hour), end: now, limit: 10,
			filters: []string{`("resource_attr:a":="b" or "resource_attr:a":="c")`},
		}
		if err := r.rehearse(); err != nil {
			if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
				t.Fatal(err)
			}
		}
	})
}

// TestCompileFilter holds that odd names and values reach the engine as they are.
func TestCompileFilter(t *testing.T) {
	odd := []string{"*", "a*", `"`, "`", "'", "a b", ") or (*", "\\", "|", "é", "\x00", "\n", "in", "_time", "5m", "-", "!a", "=", "<b>", "~"}
	c, tenant := engine(t)
	var batch []telemetry.LogRecord
	for _, v := range odd {
		batch = append(batch,
			telemetry.LogRecord{Time: time.Now(), Message: v, Resource: attrs("service.name", v)},
			telemetry.LogRecord{Time: time.Now(), Message: v, Resource: attrs("x"+v, "1")})
	}
	write(t, c, tenant, batch...)
	for _, v := range odd {
		for _, f := range [][2]string{{"service.name", v}, {"x" + v, "1"}} {
			text := quote(f[0]) + " = " + quote(f[1])
			filter, err := telemetry.ParseFilter(text)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.QueryLogs(t.Context(), telemetry.NewView(tenant, telemetry.Restriction{Filter: filter}), lastHour(""), telemetry.Budget{})
			if err != nil || !slices.Equal(messages(r), []string{v}) {
				t.Errorf("scope %s: %q, %v; want %q", text, messages(r), err, v)
			}
		}
	}
}
