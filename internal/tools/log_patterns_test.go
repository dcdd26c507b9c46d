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

// Of many records a random part is read, of the severe ones all: the patterns
// are the same, and the counts nearly.
func TestPatternsOfManyRecords(t *testing.T) {
	e := newEngineBench(t)
	e.set.messages = 4000
	const n = 3*4000 + 30
	var all []telemetry.LogRecord
	for i := range n {
		r := telemetry.LogRecord{Time: e.Now().Add(-time.Duration(i+1) * time.Millisecond * 200), Resource: kv("service.name", "api"), Severity: "INFO"}
		switch {
		case i%3 == 0:
			r.Message = fmt.Sprintf("request %d took %d ms", i, i%500)
		case i%3 == 1:
			r.Message = fmt.Sprintf("user %s asked for block blk_%d", []string{"ann", "bob", "cyd"}[i%9/3], i)
		case i%1000 == 2 && i > 5:
			r.Message, r.Severity = fmt.Sprintf("disk %d is full", i), "ERROR"
		default:
			r.Message = "idle"
		}
		all = append(all, r)
	}
	e.write(e.Shop, all...)
	text := e.call(e.caller("logs:read"), "find_log_patterns", `{"baseline":"none"}`).Text
	got := regexp.MustCompile(`(?m)^(\d+)\t[0-9.]+\t([^\t]+)`).FindAllStringSubmatch(text, -1)
	want := map[string]int64{"request <*> took <*> ms": n / 3, "user <*> asked for block blk_<*>": n / 3, "idle": n / 3, "disk <*> is full": 4}
	if len(got) != len(want) {
		t.Errorf("%d patterns:\n%s", len(got), text)
	}
	for _, g := range got {
		k := integer(g[1])
		if w := want[g[2]]; k < w*8/10 || k > w*12/10 {
			t.Errorf("%d records of %q, want about %d", k, g[2], w)
		}
	}
	if !strings.Contains(text, fmt.Sprintf("matched %d", n)) || !strings.Contains(text, "Records below warning: one in 4 was read") || strings.Contains(text, "Warnings and worse") {
		t.Error(text)
	}
}
