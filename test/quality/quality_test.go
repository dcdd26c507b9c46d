package quality

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/incident/shop"
)

// A step is one call. Times are minutes from the start of the set; until 0 is
// its end.
type step struct {
	tool        string
	from, until int
	args        arguments
}

// A script is what somebody calls who follows a symptom.
type script struct {
	fault string
	steps []step
	// budget is how many tokens all answers together may have.
	budget int
}

// scripts follow a simple rule: first what is wrong and since when, then what
// is different, then one example.
var scripts = []script{
	{"bad_deploy", []step{
		{"list_errors", 120, 0, arguments{"limit": 8}},
		{"compare", 120, 0, arguments{"service": []string{"payments"}, "bad": "severity:ERROR", "limit": 6}},
		{"compare", 120, 0, arguments{"service": []string{"payments"}, "limit": 6}},
		{"aggregate_logs", 110, 0, arguments{"query": "severity:ERROR", "service": []string{"payments"}, "group_by": []string{"cloud.region"}, "step": "5m"}},
	}, 2500},
	{"slow_query", []step{
		{"find_log_patterns", 100, 140, arguments{"service": []string{"orders"}, "limit": 6}},
		{"aggregate_logs", 90, 130, arguments{"query": `"request GET /orders"`, "aggregate": []string{"p95", "count"}, "field": "duration_ms", "group_by": []string{"service.version"}}},
		{"search_logs", 100, 110, arguments{"query": `"slow request"`, "limit": 5}},
	}, 2500},
	{"cache_outage", []step{
		{"find_log_patterns", 50, 90, arguments{"service": []string{"cart"}, "severity": "warn+", "limit": 6}},
		{"list_errors", 50, 90, arguments{"service": []string{"cart"}}},
	}, 1500},
	{"flood", []step{
		{"aggregate_logs", 130, 170, arguments{"query": "http.response.status_code:=429", "group_by": []string{"service.name", "customer.id"}, "limit": 5}},
		{"aggregate_logs", 130, 170, arguments{"query": "http.response.status_code:=429", "step": "1m"}},
	}, 1500},
	{"certificate", []step{
		{"list_errors", 120, 0, arguments{"service": []string{"shipping"}}},
		{"search_logs", 120, 0, arguments{"query": "x509", "limit": 1}},
		{"query_metrics", 100, 0, arguments{"query": `min by (service_name, server_address) (tls_certificate_remaining_seconds)`}},
	}, 1500},
	{"memory_leak", []step{
		{"find_log_patterns", 0, 0, arguments{"service": []string{"search"}, "severity": "warn+", "baseline": "none"}},
		{"search_logs", 0, 0, arguments{"service": []string{"search"}, "severity": "warn+", "limit": 10}},
		{"list_metrics", 0, 0, arguments{"service": []string{"search"}}},
		{"query_metrics", 0, 0, arguments{"query": `max by (cloud_region) (process_memory_usage_bytes{service_name="search", deployment_environment_name="prod"})`}},
		{"query_metrics", 0, 0, arguments{"query": `max by (service_name) (k8s_container_restarts_total)`}},
	}, 1500},
	{"stuck_consumer", []step{
		{"find_log_patterns", 111, 151, arguments{"service": []string{"notifications"}, "query": "deployment.environment.name:=prod", "limit": 12}},
		{"search_logs", 105, 115, arguments{"service": []string{"notifications"}, "query": "consumer", "limit": 5}},
		{"query_metrics", 90, 0, arguments{"query": `max by (messaging_destination_name, deployment_environment_name) (messaging_queue_messages)`}},
	}, 2500},
	{"clock_skew", []step{
		{"find_log_patterns", 120, 0, arguments{"service": []string{"inventory"}, "severity": "warn+", "baseline": "none"}},
		{"search_logs", 120, 0, arguments{"service": []string{"inventory"}, "severity": "warn+", "limit": 3}},
		{"query_metrics", 120, 0, arguments{"query": `min by (host_name) (system_clock_offset_seconds) < -1`}},
	}, 1500},
}

// A score is how a script did.
type score struct {
	script
	fault          shop.Fault
	facts          int
	missing        []string
	tokens, answer int // of all answers, of the largest
}

func (w *world) arguments(s step) arguments {
	args := arguments{"start": stamp(w.set.Start.Add(time.Duration(s.from) * time.Minute)), "end": stamp(w.set.End)}
	if s.until > 0 {
		args["end"] = stamp(w.set.Start.Add(time.Duration(s.until) * time.Minute))
	}
	for name, value := range s.args {
		args[name] = value
	}
	return args
}

func (w *world) run(t *testing.T, c *testkit.Client, s script) score {
	t.Helper()
	fault, ok := w.set.Truth.FaultByID(s.fault)
	if !ok {
		t.Fatalf("there is no fault %s", s.fault)
	}
	sc := score{script: s, fault: fault}
	var all strings.Builder
	for _, step := range s.steps {
		text := w.call(c, step.tool, w.arguments(step))
		tokens := (len(text) + bytesPerToken - 1) / bytesPerToken
		sc.tokens += tokens
		sc.answer = max(sc.answer, tokens)
		all.WriteString(text + "\n")
		t.Logf("%s %v: %d tokens\n%s", step.tool, step.args, tokens, text)
	}
	for _, fact := range fault.Facts {
		if regexp.MustCompile(fact.Pattern).MatchString(all.String()) {
			sc.facts++
		} else {
			sc.missing = append(sc.missing, fact.Name)
		}
	}
	if c == w.viewer && strings.Contains(all.String(), shop.OtherTeam) {
		t.Error("an answer holds what another team's shop wrote")
	}
	return sc
}

// mostTokens is the default of max_tokens, which no script changes.
const mostTokens = 4000

// TestAnswerQuality: the answers to each script hold the facts of its fault,
// within its budget.
func TestAnswerQuality(t *testing.T) {
	w := newWorld(t, 1)
	var scores []score
	for _, s := range scripts {
		t.Run(s.fault, func(t *testing.T) {
			sc := w.run(t, w.viewer, s)
			scores = append(scores, sc)
			if len(sc.missing) > 0 {
				t.Errorf("%d of %d facts, missing: %s", sc.facts, len(sc.fault.Facts), strings.Join(sc.missing, ", "))
			}
			if sc.tokens > s.budget || sc.answer > mostTokens {
				t.Errorf("%d tokens, %d in one answer; budgets %d, %d", sc.tokens, sc.answer, s.budget, mostTokens)
			}
		})
	}
	if len(scores) != len(w.set.Truth.Faults) {
		t.Errorf("%d of %d faults have a script", len(scores), len(w.set.Truth.Faults))
	}
	document(t, scores)
	t.Run("control", w.control)
	t.Run("distractors", w.distractors)
	t.Run("numbers", w.numbers)
	t.Run("metrics", w.metrics)
	t.Run("traces", w.traces)
	t.Run("scopes", w.scopes)
	t.Run("size", w.size)
}

// control sends the scripts as somebody of the other team, whose shop is the
// same and has no faults: facts that are found there too say nothing.
func (w *world) control(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.fault, func(t *testing.T) {
			if sc := w.run(t, w.other, s); sc.facts*2 > len(sc.fault.Facts) {
				t.Errorf("%d of %d facts are found where there is no fault; missing: %s", sc.facts, len(sc.fault.Facts), strings.Join(sc.missing, ", "))
			}
		})
	}
}

// distractors are told from faults: what was there before is not new.
func (w *world) distractors(t *testing.T) {
	step := step{"list_errors", 120, 0, arguments{}}
	seen := make(map[string]string)
	for _, row := range rows(t, logsOf(w.call(w.viewer, step.tool, w.arguments(step)))) {
		seen[row["service"]] = row["change"]
	}
	if seen["auth"] == "" || seen["auth"] == "new" || seen["payments"] != "new" || seen["shipping"] != "new" {
		t.Errorf("changes of the services' errors: %v", seen)
	}
	if len(seen) != 4 { // those three, and checkout
		t.Errorf("services with errors: %v", seen)
	}
}

// logsOf is the part of list_errors about log records.
func logsOf(text string) string {
	logs, _, _ := strings.Cut(text, "\nfailed spans:\n")
	return logs
}

// The scores stand between these lines of docs/benchmarks.md.
const (
	tableBegin = "<!-- scores: written by go test ./test/quality -update -->\n"
	tableEnd   = "<!-- end of scores -->\n"
)

// document writes the scores into the documentation, or checks that every
// fault is in there.
func document(t *testing.T, scores []score) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "benchmarks.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", path, tableBegin, tableEnd)
	}
	if !*update {
		for _, sc := range scores {
			if !strings.Contains(old, "| "+sc.fault.Title+" |") {
				t.Errorf("%s does not know %s: go test ./test/quality -update", path, sc.script.fault)
			}
		}
		return
	}
	var b strings.Builder
	b.WriteString("| fault | calls | facts found | tokens of all answers | budget |\n|---|---|---|---|---|\n")
	facts, of, tokens, calls, budget := 0, 0, 0, 0, 0
	for _, sc := range scores {
		var tools []string
		for _, s := range sc.steps {
			tools = append(tools, "`"+s.tool+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %d of %d | %d | %d |\n", sc.fault.Title, strings.Join(tools, ", "), sc.facts, len(sc.fault.Facts), sc.tokens, sc.budget)
		facts, of, tokens, calls, budget = facts+sc.facts, of+len(sc.fault.Facts), tokens+sc.tokens, calls+len(sc.steps), budget+sc.budget
	}
	fmt.Fprintf(&b, "| **all** | %d | **%d of %d** | %d | %d |\n", calls, facts, of, tokens, budget)
	if err := os.WriteFile(path, []byte(before+tableBegin+b.String()+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
