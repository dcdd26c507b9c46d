package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

const (
	exploreTrace = "5b8efff798038103d269b633813fc60c"
	evilText     = `"><script>alert(1)</script>`
)

// sendTelemetry sends two services' logs, a trace of both, and a metric of
// each, all at about the same time.
func sendTelemetry(s *testkit.Server, team string, at time.Time) {
	s.TB.Helper()
	_, key, err := s.Admin.Directory.AddKey(context.Background(), team, "test", audit.System())
	s.Must(err)
	send := func(path, body string) {
		s.TB.Helper()
		if res := s.Do(http.MethodPost, path, body, "Content-Type", "application/json", "Authorization", "Bearer "+key.Reveal()); res.Status != http.StatusOK || strings.Contains(res.Body, "rejected") {
			s.TB.Fatalf("%s: %d %s", path, res.Status, res.Body)
		}
	}
	resource := func(service string) string {
		return fmt.Sprintf(`"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]}`, service)
	}
	var logs, spans, metrics []string
	for i, service := range []string{"checkout", "payment"} {
		var records, points []string
		for n := range 60 {
			severity, number := "INFO", 9
			if n%20 == 0 {
				severity, number = "ERROR", 17
			}
			t := at.Add(time.Duration(n) * 10 * time.Second).UnixNano()
			records = append(records, fmt.Sprintf(`{"timeUnixNano":"%d","severityNumber":%d,"severityText":%q,"traceId":%q,"spanId":"00f067aa0ba9020%d","body":{"stringValue":"marked-%s-%d"},"attributes":[{"key":"user.email","value":{"stringValue":"secret-%s@example.com"}},{"key":"note","value":{"stringValue":%q}}]}`,
				t, number, severity, exploreTrace, i+1, service, n, service, evilText))
			points = append(points, fmt.Sprintf(`{"timeUnixNano":"%d","asDouble":%d}`, t, n*(i+1)))
		}
		logs = append(logs, fmt.Sprintf(`{%s,"scopeLogs":[{"logRecords":[%s]}]}`, resource(service), strings.Join(records, ",")))
		metrics = append(metrics, fmt.Sprintf(`{%s,"scopeMetrics":[{"metrics":[{"name":"queue.length","unit":"{item}","description":"Items that wait.","gauge":{"dataPoints":[%s]}}]}]}`, resource(service), strings.Join(points, ",")))
		parent := ""
		if i > 0 {
			parent = `"parentSpanId":"00f067aa0ba90201",`
		}
		start := at.Add(time.Duration(i) * 20 * time.Millisecond)
		spans = append(spans, fmt.Sprintf(`{%s,"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"00f067aa0ba9020%d",%s"name":"span-%s","kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","status":{"code":%d},"attributes":[{"key":"http.route","value":{"stringValue":%q}}],"events":[{"timeUnixNano":"%d","name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"Declined"}}]}]}]}]}`,
			resource(service), exploreTrace, i+1, parent, service, start.UnixNano(), start.Add(time.Duration(250-200*i)*time.Millisecond).UnixNano(), 2*i, evilText, start.UnixNano()))
	}
	send("/v1/logs", `{"resourceLogs":[`+strings.Join(logs, ",")+`]}`)
	send("/v1/traces", `{"resourceSpans":[`+strings.Join(spans, ",")+`]}`)
	send("/v1/metrics", `{"resourceMetrics":[`+strings.Join(metrics, ",")+`]}`)
}

// TestExplore looks at the same telemetry as members who may see different
// parts of it.
func TestExplore(t *testing.T) {
	s := testkit.Start(t)
	s.AddTeam("first") // gets Oriel's own logs
	s.AddTeam("shop")
	for _, text := range []org.RoleText{
		{Team: "shop", Name: "payments", Permissions: []org.Permission{org.LogsRead, org.SpansRead, org.MetricsRead}, DataScope: "service.name = payment", HiddenFields: []string{"user.email"}},
		{Team: "shop", Name: "tracer", Permissions: []org.Permission{org.SpansRead}, LookBack: "1h"},
		{Team: "shop", Name: "logger", Permissions: []org.Permission{org.LogsRead}},
	} {
		_, err := s.Admin.Directory.SaveRole(context.Background(), text, audit.System())
		s.Must(err)
	}
	people := make(map[string]*testkit.Browser)
	for who, role := range map[string]string{"ada": "viewer", "bob": "payments", "eve": "tracer", "kim": "logger", "owner": "", "stranger": ""} {
		s.AddPerson(who+"@example.com", who == "owner")
		if role != "" {
			s.SetMember("shop", who+"@example.com", role)
		}
		people[who] = s.Browser()
		people[who].SignIn("/login", who+"@example.com")
	}
	s.WaitReady()
	at := s.Clock.Now().Add(-15 * time.Minute).UTC()
	sendTelemetry(s, "shop", at)

	const base = "/teams/shop/explore"
	get := func(who, path string, status int, words ...string) string {
		t.Helper()
		res := people[who].Get(path)
		if res.Status != status {
			t.Errorf("%s gets %d at %s:\n%s", who, res.Status, path, res.Body)
		}
		if strings.Contains(res.Body, "<script") || strings.Contains(res.Body, "style=") {
			t.Errorf("%s at %s gets markup that is not ours", who, path)
		}
		for _, w := range words {
			no, without := strings.CutPrefix(w, "not ")
			if strings.Contains(res.Body, html.EscapeString(no)) == without && strings.Contains(res.Body, no) == without {
				t.Errorf("%s at %s: %q\n%s", who, path, w, res.Body)
			}
		}
		return res.Body
	}
	// What was sent can be found after about a second.
	s.Eventually(20*time.Second, "everything can be found", func() bool {
		return strings.Contains(people["ada"].Get(base+"?query=marked-payment-59").Body, "1 record matches") &&
			strings.Contains(people["ada"].Get(base+"/trace/"+exploreTrace).Body, "span-payment") &&
			strings.Contains(people["ada"].Get(base+"/metrics").Body, "queue_length")
	})

	// Logs.
	page := get("ada", base, 200, "120 records match, 50 shown", "marked-checkout-59", "not marked-checkout-1<", "Log records over time", "data:image/svg&#43;xml;base64,", "<td><bdi>", "secret-payment", "not data scope", "Its trace")
	older := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(page)
	if older == nil {
		t.Fatalf("no older records:\n%s", page)
	}
	second := get("ada", html.UnescapeString(older[1]), 200, "50 shown, newest first", "Newest")
	first, marks := make(map[string]bool), regexp.MustCompile(`marked-[a-z]+-\d+<`)
	for _, m := range marks.FindAllString(page, -1) {
		first[m] = true
	}
	for _, m := range marks.FindAllString(second, -1) {
		if first[m] {
			t.Errorf("%s is on both pages", m)
		}
	}
	get("ada", base+"?severity=error%2B&service=payment", 200, "3 records match", "marked-payment-40", "not marked-checkout")
	get("ada", base+"?query=marked-payment-3", 200, "1 record matches")
	get("ada", base+"?query="+url.QueryEscape(`* | stats by (service.name) count() hits`), 200, "What the query computed", "hits", "checkout", "60", "not Older")
	get("ada", base+"?query="+url.QueryEscape(`mark and (`), 422, "at character", `aria-invalid="true"`)
	get("ada", base+"?query=nothinglikethis", 200, "No record matches", "The newest record that you can see is of", "Without the query")
	get("ada", base+"?from=yesterday", 422, "This is no time")
	get("ada", base+"?from=now-1h&to=now-2h", 422, "This is not after the beginning")
	get("ada", base+"?severity=loud", 422, "This is no severity")
	get("ada", base+"?from="+url.QueryEscape(at.Add(-time.Minute).Format("2006-01-02 15:04:05"))+"&to="+url.QueryEscape(at.Add(5*time.Second).Format("2006-01-02 15:04:05")), 200, "2 records match")
	res := people["ada"].Get(base + "?query=m*&from=now-1h&to=now&only=" + url.QueryEscape("12:service.name=payment"))
	want := url.Values{"query": {`m* service.name:="payment"`}, "from": {"now-1h"}, "to": {"now"}}.Encode()
	if res.Status != http.StatusSeeOther || res.Header.Get("Location") != base+"?"+want {
		t.Errorf("only: %d to %s", res.Status, res.Header.Get("Location"))
	} else {
		get("ada", res.Header.Get("Location"), 200, "60 records match")
	}
	res = people["ada"].Get(base + "?query=a+or+b&not=" + url.QueryEscape("4:note="+evilText))
	if loc, err := url.QueryUnescape(res.Header.Get("Location")); err != nil || !strings.Contains(loc, `(a or b) !note:="\"><script>`) {
		t.Errorf("not: %d to %s", res.Status, res.Header.Get("Location"))
	}

	// What an assistant of hers found, she finds at the address it was given.
	answer := s.Register().Connect("ada@example.com", "shop").Call("tools/call", `{"name":"search_logs","arguments":{"query":"m*","service":"payment","severity":"error"}}`)
	link := regexp.MustCompile(`console: ` + regexp.QuoteMeta(s.URL) + `([^ ]+?)\\n`).FindStringSubmatch(answer.Body)
	if link == nil || !strings.Contains(answer.Body, "matched 3") {
		t.Fatalf("the answer has no link:\n%s", answer.Body)
	}
	var address string
	s.Must(json.Unmarshal([]byte(`"`+link[1]+`"`), &address))
	get("ada", address, 200, "3 records match", "marked-payment-40", `<option value="error" selected>`)

	// Traces.
	get("ada", base+"/traces", 200, "1 trace with matching spans", "span-checkout", "250 ms", "/trace/"+exploreTrace)
	get("ada", base+"/traces?service=payment&operation=span-payment&min=40ms&errors=1", 200, "span-checkout")
	get("ada", base+"/traces?service=payment&min=60ms", 200, "No trace matches", "The newest span that you can see ended at")
	get("ada", base+"/traces?min=long", 422, "Write a duration")
	get("ada", base+"/traces?query="+url.QueryEscape("* | stats count() n"), 422, "without pipes")
	get("ada", base+"/trace/"+exploreTrace, 200, "2 spans of 2 services", `x="80"`, `width="200"`, "self time", "200 ms", "exception.type", "Declined", "Logs of this span", "marked-payment-1")
	get("ada", base+"/trace/ffff", 200, "No span of this trace")
	get("ada", base+"/trace/%3Cx%3E", 422, "A trace id is")
	if res := people["ada"].Get(base + "/trace?trace=" + exploreTrace); res.Header.Get("Location") != base+"/trace/"+exploreTrace {
		t.Errorf("a trace's id leads to %s", res.Header.Get("Location"))
	}

	// Metrics.
	get("ada", base+"/metrics", 200, "queue_length", "Items that wait.")
	get("ada", base+"/metrics?query=queue_length", 200, "2 series", "118", `service_name="payment"`, "Line chart over time of 2 series")
	get("ada", base+"/metrics?query="+url.QueryEscape("sum(queue_length"), 422, "at character", `aria-invalid="true"`)
	get("ada", base+"/metrics?query=no_such_metric", 200, "The expression has no value")

	// Somebody with a data scope and a hidden field sees less of each.
	get("bob", base, 200, "60 records match", "Your data scope holds", "Hidden from you: user.email", "not marked-checkout", "not secret-payment", "not checkout")
	get("bob", base+"?query="+url.QueryEscape("user.email:secret*"), 200, "No record matches")
	get("bob", base+"?query="+url.QueryEscape("service.name:=checkout"), 200, "No record matches")
	get("bob", base+"/traces", 200, "span-payment", "not span-checkout", "not checkout")
	get("bob", base+"/trace/"+exploreTrace, 200, "1 span of 1 service", "(not among the spans that you can see)", "not span-checkout", "not marked-checkout", "Spans outside of your data scope")
	get("bob", base+"/metrics?query=queue_length", 200, "1 series", "not checkout")

	// Somebody without the permission is told so, and shown nothing.
	for path, p := range map[string]org.Permission{"": org.LogsRead, "/metrics": org.MetricsRead} {
		get("eve", base+path, 200, "You may not "+p.Words(), "needs the permission "+string(p), "(tracer)", "not marked-", "not queue_length", "not <form method=\"get\"")
	}
	get("eve", base+"/trace/"+exploreTrace, 200, "span-payment", "You may not read the logs of this team", "not marked-", "Your roles let you look back 1h")
	get("kim", base, 200, "marked-payment-59")
	get("kim", base+"/traces", 200, "You may not read traces", "not span-")
	get("kim", base+"/trace/"+exploreTrace, 200, "You may not read traces", "not span-", "not marked-")
	for _, path := range []string{"", "/traces", "/trace/" + exploreTrace, "/metrics"} {
		get("owner", base+path, 200, "You are not a member of this team", "not marked-", "not span-", "not queue_length")
		get("stranger", base+path, 404, "not marked-")
	}

	// What a policy takes from connections it takes from the pages.
	s.Must(s.Admin.Directory.SetMFA(context.Background(), "shop", org.MFARequired, audit.System()))
	get("ada", base, 200, "The team now demands a sign-in with a second factor; sign in again.", "not marked-")
	// Out of the team, on the next page.
	s.Must(s.Admin.Directory.RemoveMember(context.Background(), "shop", "kim@example.com", audit.System()))
	get("kim", base, 404)
}
