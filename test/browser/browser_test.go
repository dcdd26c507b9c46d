// Package browser holds tests of the pages, in a real Chromium.
package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

const (
	email = "ada@example.com"
	name  = "Ada Lovelace"
)

// wentTo says whether a page wanted to go to an address that begins so.
func wentTo(b *testenv.Browser, prefix string) error {
	if slices.ContainsFunc(b.Requested(), func(u string) bool { return strings.HasPrefix(u, prefix) }) {
		return nil
	}
	return fmt.Errorf("it asked for %q only", b.Requested())
}

// withTeams starts an installation with one person in two teams.
func withTeams(t *testing.T) *testenv.Oriel {
	t.Helper()
	o := testenv.StartOriel(t)
	o.AddPerson(email, name)
	for slug, team := range map[string]string{"web-shop": "Web Shop", "payments": "Payments"} {
		o.AddTeam(slug, team)
		o.SetMember(slug, email, "analyst")
	}
	return o
}

// calm fails the test if the browser refused something that a page did.
func calm(t *testing.T, b *testenv.Browser) {
	t.Helper()
	for _, c := range b.Complaints() {
		if strings.Contains(c, "Content Security Policy") || strings.HasPrefix(c, "exception:") || strings.Contains(c, "/assets/") {
			t.Errorf("the browser complains: %s", c)
		}
	}
}

// TestFirstStart is the way of somebody who has only what the first start
// printed.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	if !strings.Contains(o.Printed(), `{ "mcpServers": { "oriel": { "url": "`+o.MCPURL()+`" } } }`) {
		t.Errorf("the first start prints no entry for mcp.json:\n%s", o.Printed())
	}
	link := o.OwnerLink()

	b := testenv.NewBrowser(t)
	if status := b.Open(link); status != http.StatusOK {
		t.Fatalf("the owner link answers %d", status)
	}
	b.Look(t, "owner")
	b.Fill("Name", name)
	b.Fill("Email", email)
	b.Fill("Password", "short")
	b.Fill("Team name", "Web Shop")
	b.Press("Create account")
	b.ExpectText("15")
	b.Fill("Password", testenv.Password)
	b.Press("Create account")

	b.ExpectHeading("Hello, " + name)
	for _, words := range []string{"Web Shop", "web-shop", o.MCPURL(), "Cursor", "VS Code", "Claude Code", "claude mcp add"} {
		b.ExpectText(words)
	}
	b.Look(t, "start")
	b.Follow("Connections")
	b.ExpectHeading("Connections")
	b.ExpectText("Nothing is connected")
	calm(t, b)

	other := testenv.NewBrowser(t)
	if status := other.Open(link); status != http.StatusGone {
		t.Errorf("the owner link answers %d after an owner exists, want 410", status)
	}
	// The owner and the team are there for the shell as well.
	if members := o.Admin("member", "list", "--team", "web-shop"); !strings.Contains(members, email) || !strings.Contains(members, "admin") {
		t.Errorf("members of the first team:\n%s", members)
	}
	o.Restart()
	if strings.Contains(o.Printed(), "/login/setup") {
		t.Errorf("a start with an owner prints a link for one:\n%s", o.Printed())
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	b := testenv.NewBrowser(t)

	b.Open(o.URL + "/connections")
	b.ExpectHeading("Sign in")
	b.Look(t, "sign-in")
	b.Fill("Email", email)
	b.Fill("Password", "three lamps behind a door")
	b.Press("Sign in")
	b.ExpectHeading("Sign in")
	wrong := b.Text()
	b.Fill("Email", "nobody@example.com")
	b.Fill("Password", "three lamps behind a door")
	b.Press("Sign in")
	if unknown := b.Text(); unknown != wrong {
		t.Errorf("an unknown person is told apart from a wrong password:\n%s\n---\n%s", unknown, wrong)
	}

	b.SignIn(email)
	b.ExpectHeading("Connections") // where they were going
	b.Press("Sign out")
	b.Open(o.URL + "/connections")
	b.ExpectHeading("Sign in")

	// Who is signed in and disabled is out with the next page.
	b.SignIn(email)
	b.ExpectHeading("Connections")
	o.Admin("user", "disable", "--email", email)
	b.Open(o.URL + "/connections")
	b.ExpectHeading("Sign in")
	b.SignIn(email)
	b.ExpectHeading("Sign in")
	for _, c := range b.Complaints() {
		if strings.Contains(c, "Content Security Policy") {
			t.Errorf("the browser complains: %s", c)
		}
	}
}

func TestConnectAndDisconnect(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		opts []testenv.BrowserOption
	}{
		{"with JavaScript", nil},
		{"without JavaScript", []testenv.BrowserOption{testenv.WithoutJavaScript()}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.Register(t, "Lamp & Co <b>client</b>")
			b := testenv.NewBrowser(t, kind.opts...)

			b.Open(c.AuthorizationURL(o.MCPURL()))
			b.ExpectHeading("Sign in")
			b.SignIn(email)
			b.ExpectHeading("Lamp & Co <b>client</b>")
			if !b.Has("Web Shop") || !b.Has("Payments") {
				t.Errorf("the consent page does not offer both teams:\n%s", b.Text())
			}
			b.Choose("Payments")
			b.Press("Allow access")
			b.ExpectHeading("The client has its answer")
			tokens := c.Redeem(t, c.Answer(t).Get("code"))
			if tokens.Status != http.StatusOK {
				t.Fatalf("redeem: %+v", tokens)
			}
			if status, challenge := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusOK {
				t.Fatalf("MCP call: %d %s", status, challenge)
			}

			b.Open(o.URL + "/connections")
			b.ExpectText("Lamp & Co <b>client</b>")
			b.ExpectText("Payments")
			b.Press("Disconnect")
			b.ExpectHeading("Connections")
			b.ExpectText("Nothing is connected")
			if status, _ := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusUnauthorized {
				t.Errorf("MCP call after Disconnect: %d, want 401", status)
			}
			if again := c.Refresh(t, tokens.RefreshToken); again.Status != http.StatusBadRequest || again.Error != "invalid_grant" {
				t.Errorf("refresh after Disconnect: %+v, want 400 invalid_grant", again)
			}
			calm(t, b)
		})
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.Register(t, "A client")
	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL()))
	b.SignIn(email)
	b.Press("Deny") // without choosing a team
	b.ExpectHeading("The client has its answer")
	if a := c.Answer(t); a.Get("error") != "access_denied" || a.Has("code") {
		t.Errorf("answer after Deny: %v", a)
	}
	if grants := o.Grants(); len(grants) > 0 {
		t.Errorf("grants after Deny: %v", grants)
	}
	calm(t, b)
}

// TestCase042_TeamResourceFixesTeam: a client of one team's own address gets
// that team and no other.
func TestCase042_TeamResourceFixesTeam(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.Register(t, "Claude Code")
	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL("payments")))
	b.SignIn(email)
	if b.Has("Web Shop") || !b.Has("Payments") {
		t.Errorf("teams on the page:\n%s", b.Text())
	}
	b.Press("Allow access")
	if tokens := c.Redeem(t, c.Answer(t).Get("code")); tokens.Status != http.StatusOK {
		t.Fatalf("redeem: %+v", tokens)
	}
	if grants := o.Grants(); len(grants) != 1 || grants[0].Team != "payments" {
		t.Errorf("grants: %+v", grants)
	}
	b.Open(o.URL + "/connections")
	b.ExpectText("Claude Code")
	b.Look(t, "connections")
}

// TestCase041_PrivateUseScheme: no policy of the page may hold back the
// redirect to an app. Chromium knows no such app here: it stays where it is,
// after it has tried.
func TestCase041_PrivateUseScheme(t *testing.T) {
	t.Parallel()
	const redirect = "cursor://anysphere.cursor-mcp/oauth/callback"
	for _, button := range []string{"Allow access", "Deny"} {
		t.Run(button, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.Register(t, "Cursor", redirect, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback")
			b := testenv.NewBrowser(t)
			b.Open(c.AuthorizationURL(o.MCPURL()))
			b.SignIn(email)
			if button != "Deny" {
				b.Choose("Web Shop")
				b.Look(t, "consent")
			}
			b.Press(button)
			b.ExpectHeading("Returning to Cursor")
			if button != "Deny" {
				b.Look(t, "return")
			}
			testenv.Within(t, testenv.ShortWait, "the page goes on to the app", func() error {
				return wentTo(b, redirect+"?")
			})
			i := slices.IndexFunc(b.Requested(), func(u string) bool { return strings.HasPrefix(u, redirect) })
			u, err := url.Parse(b.Requested()[i])
			if err != nil {
				t.Fatal(err)
			}
			if q := u.Query(); q.Has("code") == (button == "Deny") || !q.Has("state") || q.Get("iss") != o.URL {
				t.Errorf("answer to the app: %v", q)
			}
			calm(t, b)
		})
	}
}

// TestCase041_HopOnward: hosted callbacks send the browser on to an app. The
// policy of the consent page applies to every hop after its form.
func TestCase041_HopOnward(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.RegisterHop(t, "Claude", func(url.Values) string { return "claude://claude.ai/mcp-auth-callback" })
	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL()))
	b.SignIn(email)
	b.Choose("Web Shop")
	b.PressLeaving("Allow access")
	if a := c.Answer(t); a.Get("code") == "" {
		t.Errorf("answer: %v", a)
	}
	calm(t, b)
}

// TestCase062_DevicePage: a person connects a device that has no browser.
func TestCase062_DevicePage(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.Register(t, "Build server")
	res, err := http.PostForm(o.URL+"/oauth/device_authorization", url.Values{"client_id": {c.ID}, "scope": {"logs:read"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var d struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		Complete   string `json:"verification_uri_complete"`
	}
	if err := json.NewDecoder(res.Body).Decode(&d); err != nil || d.DeviceCode == "" {
		t.Fatalf("device authorization: %s, %v", res.Status, err)
	}
	b := testenv.NewBrowser(t)
	b.Open(o.URL + "/device")
	b.SignIn(email)
	b.ExpectHeading("Connect a device")
	b.Look(t, "device")
	b.Fill("Code", "bbbb bbbb")
	b.Press("Continue")
	b.ExpectText("No device is waiting for this code")

	b.Open(d.Complete)
	b.ExpectText(d.UserCode)
	b.ExpectText("Compare the code")
	b.Look(t, "device-compare")
	b.Press("My device shows this code")
	b.ExpectHeading("Build server")
	b.ExpectText(d.UserCode)
	b.Look(t, "device-consent")
	b.Choose("Payments")
	b.Press("Allow access")
	b.ExpectHeading("Your device is connected")
	tokens := o.Token(t, c.ID, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.DeviceCode}})
	if tokens.Status != http.StatusOK {
		t.Fatalf("tokens: %+v", tokens)
	}
	if status, challenge := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusOK {
		t.Errorf("MCP call: %d %s", status, challenge)
	}
}
