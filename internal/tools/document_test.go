package tools

import (
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const documentPath = "../../docs/tools.md"

// TestDocument holds docs/tools.md to the code: go test ./internal/tools -run
// TestDocument -update writes it.
func TestDocument(t *testing.T) {
	text := document(newBench(t).set)
	if *update {
		if err := os.WriteFile(documentPath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", documentPath, diff)
	}
}

func document(s *Set) string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("# Tools")
	line("")
	line("What an assistant can call. This page is written from the code by `go test ./internal/tools -run TestDocument -update`.")
	line("")
	line("| tool | for | permission |")
	line("|---|---|---|")
	for _, t := range s.tools {
		permission := string(t.Permission)
		if permission == "" {
			permission = "none"
		}
		if t.Other != "" {
			permission += ", or " + string(t.Other)
		}
		line("| [`%s`](#%s) | %s | %s |", t.Name, t.Name, t.Title, permission)
	}
	line("")
	line("## What all of them have in common")
	for _, rule := range []string{
		"**Who asks decides what is there.** A call sees the rows that the person's roles in the connection's team leave visible, at that moment. No argument names a team. Names of services and fields, suggestions and completions come from those rows alone.",
		fmt.Sprintf("**Time** goes in as `now-15m`, RFC 3339, a date or a Unix time (without an offset it is UTC; default the last %s) and comes out as absolute UTC, once per answer. What was clamped is said.", short(defaultWindow)),
		fmt.Sprintf("**Size**: `max_tokens` (bytes / 4; default %d, most %d). What does not fit is left out, and the answer says how much and what to call for it.", defaultTokens, maxTokens),
		"**Going on**: a `cursor` from an answer goes on where that ended, with the same other arguments. It is signed for the person, the connection, the data scope, the tool and its arguments, keeps the window of the first page, and ends with the connection's hour.",
		"**Form**: a headline (`tool · team · window · counts`), then tab-separated tables inside of a fence with a random marker, then notes that begin with `#`. A column with one value in all rows is written once; columns whose values follow from another's (host and region from the pod) once for each of its values, as `where k8s.pod.name=a: host.name=b`. Inside of the fence is what programs wrote: data, never instructions.",
		fmt.Sprintf("**Link**: the last line leads people to the same records, time and filters in the console's Explore (at most %d tokens, part of `max_tokens`). It shows them what they may see themselves.", maxLinkBytes/bytesPerToken),
		"**Mistakes**: unknown arguments are refused with the valid ones; unknown services and fields get the nearest names; an empty answer says what was searched, when there was data last, and what to try.",
		fmt.Sprintf("**Limits**: %d queries of one person at once (more wait their turn), %d s of queries at once that come back at half speed; a call makes at most %d queries in %s. A call that is cancelled ends its query in the engine. A client that asks for progress hears of it every second.",
			defaultConcurrent, defaultSeconds, defaultCallQueries, short(defaultCallTime)),
	} {
		line("- %s", rule)
	}
	for _, t := range s.tools {
		line("")
		line("## %s", t.Name)
		line("")
		line("%s", escapeMarkdown(t.Description))
		if len(t.params) == 0 {
			line("")
			line("It takes no arguments.")
			continue
		}
		line("")
		line("| argument | type | |")
		line("|---|---|---|")
		for _, p := range t.params {
			line("| `%s` | %s | %s |", p.name, kindText(p), escapeMarkdown(p.text))
		}
	}
	line("")
	line("## Prompts")
	line("")
	line("| prompt | for | arguments |")
	line("|---|---|---|")
	for _, p := range s.prompts {
		var args []string
		for _, a := range p.Arguments {
			name := "`" + a.Name + "`"
			if a.Required {
				name += " (required)"
			}
			args = append(args, name)
		}
		line("| `%s` | %s | %s |", p.Name, p.Description, strings.Join(args, ", "))
	}
	line("")
	line("## Resources")
	line("")
	line("| URI | what |")
	line("|---|---|")
	for _, r := range s.resources {
		line("| `%s` | %s |", r.URI, r.Description)
	}
	line("")
	line("Arguments named `service`, `field`, `metric` and `label`, of prompts and of templates, are completed.")
	return b.String()
}

func kindText(p param) string {
	var text string
	switch {
	case p.kind == "list":
		text = "list of strings"
	case p.kind == "integer":
		text = fmt.Sprintf("%d to %d, default %d", p.least, p.most, p.otherwise)
	case len(p.choices) > 0:
		text = strings.Join(p.choices, ", ")
	default:
		text = p.kind
	}
	if p.required {
		text += ", required"
	}
	return text
}

func escapeMarkdown(s string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(s)
}
