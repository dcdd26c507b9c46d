package web

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	ada   = Account{Name: "Ada Lovelace", Email: "ada@example.com"}
	owner = Account{Name: "Grace Hopper", Email: "grace@example.com", Owner: true}
	now   = time.Date(2026, 11, 23, 14, 20, 0, 0, time.UTC)
)

const mcpURL = "http://127.0.0.1:8080/mgmt/api/v1/mcp"

// pages are one of each kind and state that people meet, by golden file.
var pages = withOrganization(map[string]Page{
	"signin":       SignInPage{},
	"signin_wrong": SignInPage{Step: "c3RlcA.c3Vt", Email: "ada@example.com", Error: "The e-mail address or the password is not right."},
	"signin_again": SignInPage{Step: "c3RlcA.c3Vt", Email: "ada@example.com", Reauthenticate: true},
	"setup":        SetupPage{Token: "TOKEN", MinPassword: 15},
	"setup_errors": SetupPage{
		Token: "TOKEN", Name: "Ada Lovelace", Email: "ada@", Team: "Web Shop", MinPassword: 15,
		Errors: map[string]string{
			"email":    "\"ada@\" is not an e-mail address (write it like ada@example.com).",
			"password": "The password needs at least 15 characters; a few unrelated words in a row are good.",
		},
	},
	"consent_two_teams": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", SignOutStep: "b3V0.c3Vt", Person: ada,
		Client: ConsentClient{Name: "Cursor", Destination: "cursor: (an app on this computer)"},
		Teams: []ConsentTeam{
			{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Checked: true, Can: []ConsentPermission{
				{Scope: "logs:read", Text: "Read logs"}, {Scope: "traces:read", Text: "Read traces"}, {Scope: "metrics:read", Text: "Read metrics"}, {Scope: "alerts:read", Text: "Read alerts"},
			}},
			{Slug: "payments", Name: "Payments", Roles: []string{"viewer", "on-call"}, Can: []ConsentPermission{
				{Scope: "logs:read", Text: "Read logs"}, {Scope: "traces:read", Text: "Read traces"}, {Scope: "alerts:write", Text: "Change alerts", Withheld: true, Why: "needs the role operator or admin"},
			}},
		},
		OtherScopes: []string{"See your name", "See your e-mail address", "Stay connected until you disconnect it"},
		Until:       "Access ends every full hour; the assistant reconnects by itself until you disconnect it.",
	},
	"consent_one_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", SignOutStep: "b3V0.c3Vt", Person: ada,
		Client: ConsentClient{Name: "Visual Studio Code", Host: "vscode.dev", Destination: "vscode.dev"},
		Teams: []ConsentTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"viewer"}, Checked: true, Can: []ConsentPermission{
			{Scope: "logs:read", Text: "Read logs"}, {Scope: "alerts:write", Text: "Change alerts", Withheld: true, Why: "needs the role operator or admin"},
		}}},
		Until: "Access ends every full hour; the assistant reconnects by itself until you disconnect it.",
	},
	"consent_fixed_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Fixed: true,
		Client: ConsentClient{Name: "Claude", Host: "claude.ai", Destination: "claude.ai"},
		Teams:  []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Roles: []string{"viewer"}, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"consent_more": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Error: "Tick at least one thing that it may do, or press Deny.",
		Client: ConsentClient{Name: "Claude", Host: "claude.ai", Destination: "claude.ai"},
		Teams: []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Connected: true, Roles: []string{"operator"}, Can: []ConsentPermission{
			{Scope: "logs:read", Text: "Read logs", Allowed: true}, {Scope: "alerts:write", Text: "Change alerts", Unticked: true},
		}}},
	},
	"consent_no_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, AskWhom: []string{"Grace Hopper", "Mary Somerville"},
		Client: ConsentClient{Name: "Cursor", Destination: "cursor: (an app on this computer)"},
	},
	"consent_hostile": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: Account{Name: "<i>Ada</i>", Email: "ada@example.com"},
		Client: ConsentClient{
			Name:        "</h1><script>alert(1)</script>\u202etfosorciM\n" + strings.Repeat("x", 10_000),
			Destination: "evil.example\"><b>",
		},
		Teams: []ConsentTeam{{Slug: "web-shop", Name: "\"><script>", Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"return":        ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/oauth/callback?code=abc&state=a%2Bb&iss=http%3A%2F%2F127.0.0.1%3A8080"},
	"return_denied": ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied", Denied: true},
	"problem": ProblemPage{
		Title: "Something went wrong", What: "Something went wrong on our side.",
		Next: "Try again. If it happens again, tell an administrator the request id below.", RequestID: "abcdefghijklmnopqrstuvwxyz",
	},
	"problem_links": ProblemPage{
		Title: "Not found", What: "There is no page at this address.", Next: "Check the address, or go on from the start page.",
		Links: []Link{{Text: "Start page", URL: "/"}},
	},
	"start": StartPage{
		Account: ada, MCPURL: mcpURL, LogsURL: "http://127.0.0.1:8080/v1/logs",
		Teams: []StartTeam{
			{Slug: "payments", Name: "Payments", Roles: []string{"viewer", "on-call"}},
			{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Admin: true},
		},
	},
	"start_owner": StartPage{
		Account: ada, Owner: true, MCPURL: mcpURL, LogsURL: "http://127.0.0.1:8080/v1/logs", Notice: "The team Web Shop is created.",
		Teams:    []StartTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Admin: true}},
		TeamName: "Web shop", TeamError: "A team with this slug exists already.",
	},
	"start_first_team": StartPage{Account: ada, Owner: true, MCPURL: mcpURL},
	"start_no_team":    StartPage{Account: ada, MCPURL: mcpURL, AskWhom: []string{"Grace Hopper (grace@example.com)"}},
	"connections": ConnectionsPage{
		Account: ada, Now: now, MCPURL: mcpURL, Notice: "Claude Code is disconnected. Its next request is refused.",
		Connections: []Connection{
			{
				ID: "aaaa", ClientName: "Cursor", Destination: "cursor: (an app on this computer)", Team: "Web Shop",
				Scopes: []string{"read logs", "read traces"}, Since: now.AddDate(0, 0, -12), LastUsed: now.Add(-3 * time.Minute),
				Ends: "When you disconnect it, or after 30 days without use",
			},
			{
				ID: "bbbb", ClientName: "Visual Studio Code", Host: "vscode.dev", Destination: "vscode.dev", Team: "Payments",
				Scopes: []string{"read logs"}, Since: now.AddDate(0, -1, 0), LastUsed: now.Add(-26 * time.Hour),
				Trouble: "An administrator has blocked this integration, so it gives nothing at present.",
			},
		},
	},
	"device":         DevicePage{Action: "/device", Person: ada, SignOutStep: "b3V0.c3Vt"},
	"device_wrong":   DevicePage{Action: "/device", Person: ada, Typed: "\"><script>", Error: "No device is waiting for this code."},
	"device_compare": DevicePage{Action: "/device", Person: ada, Code: "WDJB-MJHT", SignOutStep: "b3V0.c3Vt"},
	"consent_device": ConsentPage{
		Action: "/device/consent", Step: "c3RlcA.c3Vt", Person: ada, DeviceCode: "WDJB-MJHT", Client: ConsentClient{Name: "Build server"},
		Teams: []ConsentTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"viewer"}, Checked: true, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"device_done":       DeviceDonePage{ClientName: "Build server"},
	"device_again":      DeviceDonePage{},
	"device_denied":     DeviceDonePage{ClientName: "Build server", Denied: true},
	"connections_empty": ConnectionsPage{Account: ada, Now: now, MCPURL: mcpURL},
	"connections_ended": ConnectionsPage{Account: ada, Now: now, MCPURL: mcpURL, Ended: []EndedConnection{
		{ClientName: "<Cursor>", Team: "Web Shop", At: now.Add(-2 * time.Hour), Why: "newer sign-ins of the same client took its place"},
	}},
	"consent_registered": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Fixed: true,
		Client: ConsentClient{Name: "Portal", Registered: true, Destination: "portal.example"},
		Teams:  []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"signedout":         SignedOutPage{},
	"return_signed_out": ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/bye?state=a", What: "You are signed out."},
	"continue":          ContinuePage{Action: "/consent", Step: "c3RlcA.c3Vt", ClientName: "Claude", Team: "Web Shop"},
	"formpost": FormPostPage{
		ClientName: "Portal", URL: "https://portal.example/cb?a=1&b='(2)", Source: "https://portal.example",
		Fields: []FormField{{"code", "abc"}, {"iss", "http://127.0.0.1:8080"}, {"state", `"><script>`}},
	},
	"formpost_denied": FormPostPage{
		ClientName: "Portal", URL: "https://portal.example/cb", Source: "https://portal.example", Denied: true,
		Fields: []FormField{{"error", "access_denied"}},
	},
	"logout":           LogoutPage{Action: "/oauth/logout/confirm", Step: "c3RlcA.c3Vt", ClientName: "Portal", Person: ada},
	"logout_anonymous": LogoutPage{Action: "/oauth/logout/confirm", Step: "c3RlcA.c3Vt", Person: ada},
})

func newPages(t testing.TB) *Pages {
	t.Helper()
	p, err := NewPages()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t *testing.T, p *Pages, page Page) string {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Render(w, http.StatusOK, page); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

func TestTemplatesFitTheirPages(t *testing.T) {
	p := newPages(t)
	seen := make(map[string]bool)
	for _, page := range pages {
		seen[page.frame().Name] = true
	}
	for name := range p.templates {
		if !seen[name] {
			t.Errorf("page %s has no golden file", name)
		}
	}
	for _, zero := range []Page{
		SignInPage{},
		SetupPage{},
		ConsentPage{},
		ReturnPage{},
		ProblemPage{},
		StartPage{},
		ConnectionsPage{},
		SignedOutPage{},
		ContinuePage{},
		FormPostPage{},
		LogoutPage{},
		TeamsPage{},
		TeamPage{},
		MemberPage{},
		RolesPage{},
		RolePage{},
		GroupsPage{},
		GroupPage{},
		GroupTeamPage{},
		AccessPage{},
		RemovePage{},
	} {
		render(t, p, zero)
	}
}

func TestGoldenPages(t *testing.T) {
	p := newPages(t)
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			got := render(t, p, page)
			// The style sheet's name is made from its content: a changed
			// colour is no changed page.
			for path := range p.assets {
				got = strings.ReplaceAll(got, path, "/assets/NAME"+filepath.Ext(path))
			}
			file := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page differs (-golden +got; -update writes it anew):\n%s", diff)
			}
		})
	}
}

// TestPagesAreAccessible holds what can be held without a browser.
func TestPagesAreAccessible(t *testing.T) {
	p := newPages(t)
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			doc, err := html.Parse(strings.NewReader(render(t, p, page)))
			if err != nil {
				t.Fatal(err)
			}
			ids := make(map[string]bool)
			for n := range elements(doc) {
				if id := attr(n, "id"); id != "" {
					if ids[id] {
						t.Errorf("id %q stands twice", id)
					}
					ids[id] = true
				}
			}
			labels, headings, last := make(map[string]bool), 0, 0
			for n := range elements(doc) {
				for _, ref := range []string{"for", "aria-describedby", "aria-labelledby"} {
					for _, id := range strings.Fields(attr(n, ref)) {
						if !ids[id] {
							t.Errorf("<%s %s=%q> points at nothing", n.Data, ref, id)
						}
					}
				}
				switch n.DataAtom {
				case atom.Html:
					if attr(n, "lang") != "en" {
						t.Error("<html> has no language")
					}
				case atom.Title:
					if !strings.HasSuffix(text(n), " · Oriel") || strings.HasPrefix(text(n), " ") && name != "zero" {
						t.Errorf("title %q", text(n))
					}
				case atom.Label:
					labels[attr(n, "for")] = true
				case atom.H1:
					headings++
					last = 1
				case atom.H2, atom.H3:
					level := int(n.Data[1] - '0')
					if level > last+1 {
						t.Errorf("<%s> %q follows a heading of level %d", n.Data, text(n), last)
					}
					last = level
				case atom.Script:
					if !allowsScript(page, n) {
						t.Error("a script that the page's policy does not name")
					}
				case atom.Iframe, atom.Style:
					t.Errorf("<%s> on a page", n.Data)
				case atom.Form:
					answer, ok := page.(FormPostPage)
					if attr(n, "method") != "post" || !strings.HasPrefix(attr(n, "action"), "/") && !(ok && attr(n, "action") == answer.URL) {
						t.Errorf("form to %q by %q", attr(n, "action"), attr(n, "method"))
					}
				case atom.A:
					if text(n) == "" {
						t.Error("a link without words")
					}
				}
				for _, a := range n.Attr {
					if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("<%s %s>: the policy blocks it", n.Data, a.Key)
					}
				}
			}
			if headings != 1 {
				t.Errorf("%d <h1>", headings)
			}
			for n := range elements(doc) {
				if n.DataAtom == atom.Input && attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
					t.Errorf("input %q has no label", attr(n, "name"))
				}
			}
		})
	}
}

// allowsScript says whether a page's policy lets exactly this script run.
func allowsScript(page Page, script *html.Node) bool {
	h := make(http.Header)
	SecureHeaders(h, page)
	if script.FirstChild == nil || len(script.Attr) > 0 {
		return false
	}
	sum := sha256.Sum256([]byte(script.FirstChild.Data))
	return strings.Contains(h.Get("Content-Security-Policy"), "; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
}

// TestCase037_FormPostPolicy: the page that posts an answer lets it go to
// exactly one client.
func TestCase037_FormPostPolicy(t *testing.T) {
	h := make(http.Header)
	SecureHeaders(h, pages["formpost"])
	if csp := h.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; form-action https://portal.example") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %s", csp)
	}
	SecureHeaders(h, pages["continue"])
	if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "form-action") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %s", csp)
	}
}

// TestContractWords holds the words by which tests and people find things.
func TestContractWords(t *testing.T) {
	p := newPages(t)
	has := func(page, kind, want string) {
		t.Helper()
		doc, err := html.Parse(strings.NewReader(render(t, p, pages[page])))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n := range elements(doc) {
			if n.Data == kind {
				got = append(got, text(n))
			}
		}
		if !slices.Contains(got, want) {
			t.Errorf("%s: no <%s> says exactly %q, only %q", page, kind, want, got)
		}
	}
	has("signin", "label", "Email")
	has("signin", "label", "Password")
	has("signin", "button", "Sign in")
	has("setup", "button", "Create account")
	has("consent_two_teams", "h1", "Cursor asks for access")
	has("consent_two_teams", "label", "Web Shop")
	has("consent_two_teams", "label", "Payments")
	has("consent_two_teams", "button", "Allow access")
	has("consent_two_teams", "button", "Deny")
	has("consent_two_teams", "label", "Read logs")
	has("consent_no_team", "button", "Deny")
	has("continue", "button", "Continue")
	has("formpost", "button", "Continue")
	has("logout", "button", "Sign out")
	has("connections", "h1", "Connections")
	has("connections", "button", "Disconnect")
	has("return", "a", "Open Cursor")
	if strings.Contains(render(t, p, pages["consent_no_team"]), "Allow access") {
		t.Error("access can be allowed without a team")
	}
}

func TestReturnPageKeepsTheURL(t *testing.T) {
	page := pages["return"].(ReturnPage)
	doc, err := html.Parse(strings.NewReader(render(t, newPages(t), page)))
	if err != nil {
		t.Fatal(err)
	}
	var refresh, link string
	for n := range elements(doc) {
		if n.DataAtom == atom.Meta && attr(n, "http-equiv") == "refresh" {
			refresh = attr(n, "content")
		}
		if n.DataAtom == atom.A && strings.HasPrefix(text(n), "Open") {
			link = attr(n, "href")
		}
	}
	if want := "0; url=" + string(page.URL); refresh != want {
		t.Errorf("refresh %q, want %q", refresh, want)
	}
	if link != string(page.URL) {
		t.Errorf("link %q, want %q", link, page.URL)
	}
}

func TestDisplayName(t *testing.T) {
	for in, want := range map[string]string{
		"Cursor":                 "Cursor",
		"":                       "Unnamed client",
		"\u202e\u200b\n":         "Unnamed client",
		"  a\tb\r\n c ":          "a b c",
		"a\u202eb\u2066c\u0000d": "abcd",
		"bad\xff":                "bad\uFFFD",
		strings.Repeat("ä", 61):  strings.Repeat("ä", 59) + "…",
		strings.Repeat("ä", 60):  strings.Repeat("ä", 60),
	} {
		if got := DisplayName(in); got != want {
			t.Errorf("DisplayName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "1 day ago", 720 * time.Hour: "30 days ago",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "never" {
		t.Errorf("zero: %q", got)
	}
}

func elements(n *html.Node) func(func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		for d := range n.Descendants() {
			if d.Type == html.ElementNode && !yield(d) {
				return
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
