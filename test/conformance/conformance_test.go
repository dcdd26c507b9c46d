// Package conformance runs the official conformance suite of the Model Context
// Protocol against the built program.
//
// The suite cannot sign in to the server that it tests, so that a proxy on the
// loopback adds a token to its requests; for its authorization server
// scenarios, which ask a person to open a page, there is a browser.
package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/orielhq/oriel/test/testenv"
)

var update = flag.Bool("update", false, "rewrite the table in docs/conformance.md")

const (
	email = "ada@example.com"
	name  = "Ada Lovelace"
	// runLimit bounds one run of the suite's program.
	runLimit = 2 * time.Minute
)

// versions are the revisions that the suite knows and Oriel serves. A scenario
// runs once for each revision that it applies to.
var versions = []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// runner runs the suite's program.
func runner(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, testenv.Node(t), append([]string{filepath.Join("node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")}, args...)...)
	cmd.Dir = testenv.NodeDir(t)
	return cmd
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	t.Cleanup(cancel)
	return ctx
}

// check is one result of a scenario, as the suite writes it.
type check struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Message string `json:"errorMessage"`
}

// checks reads the results in an output folder.
func checks(t *testing.T, dir, printed string) []check {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite wrote no results (%v):\n%s", err, printed)
	}
	var all []check
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []check
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, list...)
	}
	return all
}

// expectation is a check that is known not to succeed, and why.
type expectation struct {
	Scenario string   `yaml:"scenario"`
	Check    string   `yaml:"check"`
	Versions []string `yaml:"versions"` // empty for all
	Status   string   `yaml:"status"`   // FAILURE, WARNING or SKIPPED
	Reason   string   `yaml:"reason"`
}

func expectations(t *testing.T) []expectation {
	t.Helper()
	text, err := os.ReadFile("expected-failures.yml")
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var list []expectation
	if err := d.Decode(&list); err != nil {
		t.Fatalf("expected-failures.yml: %v", err)
	}
	for _, e := range list {
		if e.Reason == "" || e.Scenario == "" || e.Check == "" || e.Status == "" {
			t.Errorf("expected-failures.yml: %+v lacks something", e)
		}
	}
	return list
}

// judge compares the results of one run with what is expected.
func judge(t *testing.T, scenario, version string, results []check, expected []expectation) {
	t.Helper()
	met := make(map[int]bool)
	succeeded := 0
	for _, c := range results {
		switch c.Status {
		case "SUCCESS":
			succeeded++
			continue
		case "INFO":
			continue
		}
		i := slices.IndexFunc(expected, func(e expectation) bool {
			return e.Scenario == scenario && e.Check == c.ID && e.Status == c.Status && (len(e.Versions) == 0 || slices.Contains(e.Versions, version))
		})
		if i < 0 {
			t.Errorf("%s %s: %s", c.Status, c.ID, c.Message)
		}
		met[i] = true
	}
	for i, e := range expected {
		if e.Scenario == scenario && !met[i] && (len(e.Versions) == 0 || slices.Contains(e.Versions, version)) {
			t.Errorf("%s is expected to end as %s and does not: take it out of expected-failures.yml", e.Check, e.Status)
		}
	}
	if succeeded == 0 && len(met) == 0 {
		t.Errorf("nothing succeeded: %+v", results)
	}
}

// bearer adds a token to requests, and a new one after the full hour.
type bearer struct {
	t      *testing.T
	client *testenv.OAuthClient

	mu     sync.Mutex // guards the rest
	tokens testenv.Tokens
	since  time.Time
}

func (b *bearer) token() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); !now.Truncate(time.Hour).Equal(b.since.Truncate(time.Hour)) {
		b.tokens, b.since = b.client.Refresh(b.t, b.tokens.RefreshToken), now
	}
	return b.tokens.AccessToken
}

// proxy stands in front of Oriel and adds the token. What the suite says about
// the host and the origin goes through, except that the proxy's own name
// becomes Oriel's.
func proxy(t *testing.T, o *testenv.Oriel, b *bearer) string {
	t.Helper()
	target, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	var own string
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			if r.In.Host == own {
				r.Out.Host = target.Host
			}
			if r.In.Header.Get("Origin") == "http://"+own {
				r.Out.Header.Set("Origin", o.URL)
			}
			r.Out.Header.Set("Authorization", "Bearer "+b.token())
		},
	})
	own = s.Listener.Addr().String()
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func start(t *testing.T) *testenv.Oriel {
	t.Helper()
	o := testenv.StartOriel(t)
	o.AddPerson(email, name)
	o.AddTeam("web-shop", "Web Shop")
	o.SetMember("web-shop", email, "analyst")
	return o
}

func TestServerScenarios(t *testing.T) {
	t.Parallel()
	o := start(t)
	b := &bearer{t: t, client: o.Register(t, "Conformance"), since: time.Now()}
	b.tokens = b.client.SignIn(t, testenv.NewBrowser(t), o.MCPURL(), email, "Web Shop")
	endpoint := proxy(t, o, b) + "/mgmt/api/v1/mcp"
	expected := expectations(t)

	known := listed(t, "--server")
	for _, s := range serverScenarios {
		if s.why != "" {
			continue
		}
		for _, version := range versions {
			if !slices.Contains(known[s.name], version) {
				continue
			}
			t.Run(s.name+"/"+version, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				printed, err := runner(limited(t), t, "server", "--url", endpoint, "--scenario", s.name, "--spec-version", version, "-o", dir).CombinedOutput()
				if err != nil {
					// It also ends so when a check fails.
					t.Logf("conformance: %v", err)
				}
				judge(t, s.name, version, checks(t, dir, string(printed)), expected)
			})
		}
	}
}

var authorizationURL = regexp.MustCompile(`^http\S+/oauth/authorize\?\S+$`)

// TestAuthorizationScenarios runs the suite as a client of the authorization
// server; a person signs in and allows when it asks for that.
func TestAuthorizationScenarios(t *testing.T) {
	t.Parallel()
	o := start(t)
	browser := testenv.NewBrowser(t)
	expected := expectations(t)
	// A public client: the suite sends no secret to a server that lets clients
	// go without, even when it is given one.
	client := testenv.AdminJSON[struct {
		ClientID string `json:"client_id"`
	}](o, "client", "add", "--name", "Conformance", "--redirect-uri", "http://127.0.0.1/callback")
	dir := t.TempDir()
	cmd := runner(limited(t), t,
		"authorization", "--url", o.URL, "--resource", o.MCPURL(), "--client-id", client.ClientID,
		"--port", strconv.Itoa(testenv.FreePort(t)), "-o", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		printed.WriteString(line + "\n")
		if authorizationURL.MatchString(line) {
			browser.Consent(line, email, "Web Shop")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Logf("conformance: %v\n%s", err, printed.String())
	}
	results := checks(t, dir, printed.String())
	judge(t, "authorization-server-metadata-endpoint", "", results, expected)
	for _, want := range []string{"authorization-server-metadata", "authorization-code-grant"} {
		if !slices.ContainsFunc(results, func(c check) bool { return c.ID == want && c.Status == "SUCCESS" }) {
			t.Errorf("%s did not succeed: %+v\n%s", want, results, printed.String())
		}
	}
}

var listLine = regexp.MustCompile(`^- (\S+) \[([^\]]*)\]$`)

// listed returns the scenarios that the suite has, and the revisions that each
// applies to.
func listed(t *testing.T, leg string) map[string][]string {
	t.Helper()
	out, err := runner(limited(t), t, "list", leg).Output()
	if err != nil {
		t.Fatalf("conformance list: %v", err)
	}
	known := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		if m := listLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			known[m[1]] = strings.Split(m[2], ",")
		}
	}
	return known
}

// TestEveryScenarioIsAccountedFor: a newer suite must not bring scenarios that
// nobody has looked at, nor the documentation tell of others than are run.
func TestEveryScenarioIsAccountedFor(t *testing.T) {
	t.Parallel()
	for _, leg := range []struct {
		flag      string
		scenarios []scenario
	}{
		{"--server", serverScenarios},
		{"--authorization", authorizationScenarios},
	} {
		known := listed(t, leg.flag)
		var ours []string
		for _, s := range leg.scenarios {
			ours = append(ours, s.name)
		}
		var theirs []string
		for name := range known {
			theirs = append(theirs, name)
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("scenarios of the suite (-) and in scenarios_test.go (+):\n%s", diff)
		}
	}

	page := filepath.Join(testenv.Root(t), "docs", "conformance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := withTable(t, string(text))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/conformance.md is not up to date (-want +got), run go test ./test/conformance -run Accounted -update:\n%s", diff)
	}
}

// Marks around what is generated in docs/conformance.md.
const (
	tableBegin = "<!-- made by test/conformance -->\n"
	tableEnd   = "<!-- end -->\n"
)

func withTable(t *testing.T, page string) string {
	t.Helper()
	before, rest, ok := strings.Cut(page, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatal("docs/conformance.md lacks the marks of its table")
	}
	var pkg struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	text, err := os.ReadFile(filepath.Join(testenv.NodeDir(t), "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &pkg); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Version of the suite: `@modelcontextprotocol/conformance` %s.\n", pkg.Dependencies["@modelcontextprotocol/conformance"])
	known := listed(t, "--server")
	b.WriteString("\n### Server scenarios that run\n\n| scenario | at revisions |\n|---|---|\n")
	for _, s := range serverScenarios {
		if s.why == "" {
			at := slices.DeleteFunc(slices.Clone(known[s.name]), func(v string) bool { return !slices.Contains(versions, v) })
			fmt.Fprintf(&b, "| `%s` | %s |\n", s.name, strings.Join(at, ", "))
		}
	}
	b.WriteString("\n### Authorization server scenarios that run\n\n| scenario | with |\n|---|---|\n")
	for _, s := range authorizationScenarios {
		fmt.Fprintf(&b, "| `%s` | a public client, Chromium |\n", s.name)
	}
	b.WriteString("\n### Server scenarios that do not apply\n\n| scenario | why |\n|---|---|\n")
	for _, s := range serverScenarios {
		if s.why != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", s.name, s.why)
		}
	}
	b.WriteString("\n### Checks inside these that are known not to succeed\n\n| scenario | check | ends as | why |\n|---|---|---|---|\n")
	for _, e := range expectations(t) {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", e.Scenario, e.Check, strings.ToLower(e.Status), e.Reason)
	}
	return before + tableBegin + b.String() + tableEnd + after
}

// TestProxyAddsTheToken guards the tests above: without the proxy the server
// refuses.
func TestProxyAddsTheToken(t *testing.T) {
	t.Parallel()
	o := start(t)
	if status, _ := testenv.PostMCP(t, o.MCPURL(), ""); status != http.StatusUnauthorized {
		t.Errorf("an MCP call without a token: %d, want 401", status)
	}
}
