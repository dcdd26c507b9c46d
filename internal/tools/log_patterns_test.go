package tools

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestFindLogPatterns(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	c := e.caller("logs:read")
	for _, tt := range []struct{ name, tool, args string }{
		{"patterns", "find_log_patterns", `{"start":"now-15m"}`},
		{"patterns_none", "find_log_patterns", `{"baseline":"none","service":"cart"}`},
		{"patterns_day", "find_log_patterns", `{"baseline":"day","limit":3}`},
		{"patterns_gone", "find_log_patterns", `{"service":"cart","severity":"warn+","start":"now-50m","end":"now-27m"}`},
		{"patterns_small", "find_log_patterns", `{"start":"now-15m","max_tokens":300}`},
		{"patterns_nothing", "find_log_patterns", `{"query":"nothing like this"}`},
		{"errors", "list_errors", `{}`},
		{"errors_service", "list_errors", `{"service":"payments","baseline":"none","limit":1}`},
		{"errors_limit", "list_errors", `{"limit":1}`},
		{"errors_nothing", "list_errors", `{"query":"placed"}`},
	} {
		t.Run(tt.name, func(t *testing.T) { e.golden(t, tt.name, e.call(c, tt.tool, tt.args)) })
	}
}

// Of many records the engine joins those that differ in numbers; the patterns
// and their counts are the same.
func TestPatternsOfManyRecords(t *testing.T) {
	e := newEngineBench(t)
	const n = wholeMessages + 3000
	var all []telemetry.LogRecord
	for i := range n {
		r := telemetry.LogRecord{Time: e.Now().Add(-time.Duration(i+1) * time.Millisecond * 30), Resource: kv("service.name", "api"), Severity: "INFO"}
		switch i % 3 {
		case 0:
			r.Message = fmt.Sprintf("request %d took %d ms", i, i%500)
		case 1:
			r.Message = fmt.Sprintf("user %s asked for block blk_%d", []string{"ann", "bob", "cyd"}[i%9/3], i)
		default:
			r.Message = "idle"
		}
		all = append(all, r)
	}
	e.write(e.Shop, all...)
	text := e.call(e.caller("logs:read"), "find_log_patterns", `{"baseline":"none"}`).Text
	got := regexp.MustCompile(`(?m)^(\d+)\t[0-9.]+\t([^\t]+)`).FindAllStringSubmatch(text, -1)
	want := map[string]string{"request <*> took <*> ms": "17667", "user <*> asked for block blk_<*>": "17667", "idle": "17666"}
	if len(got) != len(want) {
		t.Errorf("%d patterns:\n%s", len(got), text)
	}
	for _, g := range got {
		if want[g[2]] != g[1] {
			t.Errorf("%s records of %q, want %s", g[1], g[2], want[g[2]])
		}
	}
	if !strings.Contains(text, "matched 53000") {
		t.Error(text)
	}
}
