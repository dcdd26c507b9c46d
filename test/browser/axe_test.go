package browser

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"

	"github.com/orielhq/oriel/test/testenv"
)

// finding is what axe-core has to say against a page.
type finding struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Nodes  []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// axe checks the page by the rules of WCAG 2.2 A and AA and fails the test for
// every serious or critical finding.
func axe(t *testing.T, b *testenv.Browser, source, page string) {
	t.Helper()
	testenv.Call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: source})
	got := testenv.Call(b, runtime.Evaluate, runtime.EvaluateParams{
		Expression:   `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).then(r => JSON.stringify({findings: r.violations, passes: r.passes.length}))`,
		AwaitPromise: new(true), ReturnByValue: new(true),
	})
	var text string
	if err := json.Unmarshal(got.Result.Value, &text); err != nil {
		t.Fatalf("%s: axe-core did not answer: %v", page, err)
	}
	var result struct {
		Findings []finding `json:"findings"`
		Passes   int       `json:"passes"`
	}
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		t.Fatal(err)
	}
	if result.Passes == 0 {
		t.Errorf("%s: axe-core looked at nothing", page)
	}
	for _, f := range result.Findings {
		if f.Impact == "serious" || f.Impact == "critical" {
			t.Errorf("%s: %s (%s): %s\n%s", page, f.ID, f.Impact, f.Nodes[0].HTML, f.Nodes[0].Summary)
		}
	}
}

// Every page that people meet, in light and in dark.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join(testenv.NodeDir(t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	o := withTeams(t)
	o.AdminInput(testenv.Password+"\n", "user", "add", "--owner", "--email", ownerEmail, "--name", "Grace Hopper", "--password-stdin")
	o.SetMember("web-shop", ownerEmail, "admin")
	o.Admin("group", "add", "--name", "On call")
	o.Admin("group", "grant", "--group", "On call", "--team", "web-shop", "--role", "viewer")
	group := testenv.AdminJSON[[]struct {
		ID string `json:"id"`
	}](o, "group", "list")[0].ID
	person := testenv.AdminJSON[[]struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	}](o, "user", "list")[0].ID
	c := o.Register(t, "Lamp")
	c.SignIn(t, testenv.NewBrowser(t), o.MCPURL("web-shop"), ownerEmail, "")
	authorize := o.Register(t, "Reading lamp").AuthorizationURL(o.MCPURL())

	for _, look := range []struct {
		name string
		opts []testenv.BrowserOption
	}{{"light", nil}, {"dark", []testenv.BrowserOption{testenv.Dark()}}} {
		b := testenv.NewBrowser(t, look.opts...)
		see := func(path string) {
			t.Helper()
			if path[0] == '/' {
				path = o.URL + path
			}
			b.Open(path)
			axe(t, b, string(source), look.name+" "+strings.TrimPrefix(path, o.URL))
		}
		see("/login")
		see("/no/such/page")
		b.Open(o.URL + "/")
		b.SignIn(ownerEmail)
		see(authorize)
		for _, path := range []string{
			"/", "/connections", "/teams", "/teams/web-shop", "/teams/web-shop/members/" + person, "/teams/web-shop/roles", "/teams/web-shop/new-role",
			"/teams/web-shop/roles/viewer", "/teams/web-shop/access", "/people", "/people/" + person, "/groups", "/groups/" + group, "/groups/" + group + "/remove",
			"/roles", "/new-role", "/providers", "/policies", "/integrations", "/clients", "/audit", "/audit?text=nothing+like+this", "/audit?email=x",
			"/security", "/login/enrol?kind=totp", "/device",
		} {
			see(path)
		}
	}
}
