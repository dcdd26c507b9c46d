package tools

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const consoleURL = "https://oriel.example.com"

// linkOf returns the address in the last line of an answer, nil for none.
func linkOf(t *testing.T, text string) (label string, u *url.URL) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	label, address, ok := strings.Cut(lines[len(lines)-1], ": https://")
	if !ok || !strings.HasPrefix(label, "console") {
		return "", nil
	}
	u, err := url.Parse("https://" + address)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(lines[len(lines)-1]) + 1; size > maxLinkBytes {
		t.Errorf("the link costs %d bytes, more than %d", size, maxLinkBytes)
	}
	return label, u
}

// TestAnswersLeadToTheConsole: every tool that reads logs says where people
// see the same, inside of the answer's tokens, and in the caller's words only.
func TestAnswersLeadToTheConsole(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ConsoleURL = consoleURL })
	c := b.caller("logs:read")
	for i := range 400 {
		b.logs.rows = append(b.logs.rows, telemetry.LogRow{Time: b.Now().Add(-time.Duration(i) * time.Second), Fields: []telemetry.Field{
			{Name: telemetry.FieldMessage, Value: fmt.Sprintf("telemetry said %d", i)}, {Name: telemetry.FieldService, Value: "telemetry-service"}, {Name: "n", Value: "7"}, {Name: "hits", Value: "7"}, {Name: "name", Value: "n"},
		}})
	}
	for _, tool := range b.set.Tools() {
		if tool.Permission != org.LogsRead || tool.Name == "query_help" {
			continue
		}
		args := []string{`"max_tokens":200`}
		want := url.Values{}
		for _, p := range tool.params {
			switch {
			case p.required:
				args = append(args, fmt.Sprintf("%q:%q", p.name, requiredArguments[p.name]))
			case p.name == "service" && p.kind == "list":
				args, want["service"] = append(args, `"service":"cart & co"`), []string{"cart & co"}
			case p.name == "severity":
				args, want["severity"] = append(args, `"severity":"error+"`), []string{"error,fatal"}
			case p.name == "query" && tool.Name != "get_log_context":
				args, want["query"] = append(args, `"query":"a:b or \"c d\""`), []string{`a:b or "c d"`}
			}
		}
		res := b.call(c, tool.Name, "{"+strings.Join(args, ",")+"}")
		if res.IsError {
			t.Errorf("%s: %s", tool.Name, res.Text)
			continue
		}
		label, u := linkOf(t, res.Text)
		if u == nil {
			t.Errorf("%s has no link:\n%s", tool.Name, res.Text)
			continue
		}
		if len(res.Text) > 200*bytesPerToken {
			t.Errorf("%s: %d bytes, more than max_tokens", tool.Name, len(res.Text))
		}
		got := u.Query()
		for _, name := range []string{"from", "to"} {
			if at, err := time.Parse(time.RFC3339, got.Get(name)); err != nil || b.Now().Sub(at).Abs() > 2*time.Hour {
				t.Errorf("%s: %s=%s", tool.Name, name, got.Get(name))
			}
			got.Del(name)
		}
		if label != "console" || u.Host != "oriel.example.com" || u.Path != "/teams/shop/explore" || got.Encode() != want.Encode() {
			t.Errorf("%s leads to %s, want %v", tool.Name, u, want)
		}
		if strings.Contains(u.String(), "telemetry") {
			t.Errorf("%s has words of telemetry in %s", tool.Name, u)
		}
	}

	if _, u := linkOf(t, b.call(c, "whoami", "").Text); u == nil || u.Path != "/teams/shop/access" {
		t.Errorf("whoami leads to %v", u)
	}
	long := `{"query":"` + strings.Repeat("word ", 60) + `"}`
	if label, u := linkOf(t, b.call(c, "search_logs", long).Text); label != "console (without the query)" || u.Query().Has("query") {
		t.Errorf("a long query: %s %v", label, u)
	}
	if _, u := linkOf(t, b.call(c, "search_logs", `{"service":["a","b"],"query":"x or y"}`).Text); u.Query().Get("query") != `service.name:in("a","b") (x or y)` {
		t.Errorf("several services: %v", u)
	}
	if res := b.call(c, "search_logs", `{"query":"("}`); !res.IsError || strings.Contains(res.Text, "console:") {
		t.Errorf("a refused call: %s", res.Text)
	}
	if res := b.call(b.caller("metrics:read"), "search_logs", ""); strings.Contains(res.Text, consoleURL) {
		t.Errorf("a call without the scope: %s", res.Text)
	}
	quiet := newBench(t)
	if res := quiet.call(quiet.caller("logs:read"), "search_logs", ""); strings.Contains(res.Text, "console:") {
		t.Errorf("a link to nowhere: %s", res.Text)
	}
}
