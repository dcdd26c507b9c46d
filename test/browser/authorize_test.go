package browser

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

const (
	portalHost     = "portal.example"
	portalRedirect = "https://" + portalHost + "/cb"
)

// kinds are the two sorts of browser that every page must work in.
var kinds = map[string][]testenv.BrowserOption{
	"with JavaScript":    nil,
	"without JavaScript": {testenv.WithoutJavaScript()},
}

// TestConsentUntick: what is not ticked is not granted.
func TestConsentUntick(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.Register(t, "Cursor")
			b := testenv.NewBrowser(t, opts...)
			b.Open(c.AuthorizationURL(o.MCPURL("payments"), "scope", "openid logs:read traces:read alerts:read alerts:write"))
			b.SignIn(email)
			b.ExpectText("your role there (analyst) does not allow it")
			for _, what := range []string{"Read logs", "Read traces", "Read alerts"} {
				b.Choose(what) // takes the tick away
			}
			b.Press("Allow access")
			b.ExpectHeading("Cursor asks for access")
			b.ExpectText("Nothing is ticked")
			if grants := o.Grants(); len(grants) > 0 {
				t.Errorf("grants after nothing was ticked: %v", grants)
			}
			b.Choose("Read logs")
			b.Press("Allow access")
			b.ExpectHeading("The client has its answer")
			if tokens := c.Redeem(t, c.Answer(t).Get("code")); tokens.Scope != "logs:read openid" {
				t.Errorf("granted: %q", tokens.Scope)
			}

			// The next consent adds to it.
			b.Open(c.AuthorizationURL(o.MCPURL("payments"), "scope", "traces:read"))
			b.ExpectText("already allowed")
			b.Press("Allow access")
			if tokens := c.Redeem(t, c.Answer(t).Get("code")); tokens.Scope != "logs:read traces:read" {
				t.Errorf("granted: %q", tokens.Scope)
			}
			calm(t, b)
		})
	}
}

// TestConsentLooks keeps pictures of the consent page in the states and sizes
// that people meet it in.
func TestConsentLooks(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]testenv.BrowserOption{
		"light": nil, "dark": {testenv.Dark()}, "narrow": {testenv.Narrow()}, "narrow-dark": {testenv.Narrow(), testenv.Dark()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.Register(t, "Cursor", "cursor://anysphere.cursor-mcp/oauth/callback")
			b := testenv.NewBrowser(t, opts...)
			const scopes = "openid profile email offline_access logs:read traces:read metrics:read alerts:read alerts:write"
			b.Open(c.AuthorizationURL(o.MCPURL(), "scope", scopes))
			b.SignIn(email)
			b.Choose("Web Shop")
			b.Picture("consent-" + name)
			d := o.Register(t, "Lamp")
			d.SignIn(t, b, o.MCPURL("payments"), email, "")
			b.Open(d.AuthorizationURL(o.MCPURL("payments"), "scope", "logs:read traces:read alerts:write email"))
			b.Picture("consent-more-" + name)
			for _, what := range []string{"Read logs", "Read traces", "Read metrics", "Read alerts"} {
				b.Choose(what)
			}
			b.Press("Allow access")
			b.ExpectText("Nothing is ticked")
			b.Picture("consent-nothing-" + name)
			calm(t, b)
		})
	}
}

// TestCase037_FormPost: the page that posts an answer does so by itself, and
// by its button without JavaScript; its policy lets it.
func TestCase037_FormPost(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.AddClient(t, "Portal", portalRedirect)
			b := testenv.NewBrowser(t, opts...)
			site := b.Site(portalHost)
			b.Open(c.AuthorizationURL(o.MCPURL(), "response_mode", "form_post", "state", "a b+c&<d>"))
			b.SignIn(email)
			b.Choose("Payments")
			b.PressLeaving("Allow access")
			if opts != nil {
				b.WaitFor("Continue")
				b.Picture("form-post")
				b.PressLeaving("Continue")
			}
			v := site.Last(t, 0)
			if v.Method != "POST" || v.Form.Get("state") != "a b+c&<d>" || v.Form.Get("iss") != o.URL || v.Query.Has("code") {
				t.Errorf("the site got %+v", v)
			}
			if tokens := c.Redeem(t, v.Form.Get("code")); tokens.Status != 200 {
				t.Errorf("redeem: %+v", tokens)
			}
			calm(t, b)
		})
	}
}

// TestCase046_RememberedConsent: the second time nobody is asked.
func TestCase046_RememberedConsent(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			c := o.AddClient(t, "Portal", portalRedirect)
			b := testenv.NewBrowser(t, opts...)
			site := b.Site(portalHost)
			b.Open(c.AuthorizationURL(o.MCPURL()))
			b.SignIn(email)
			b.Choose("Payments")
			b.PressLeaving("Allow access")
			redeem := func(n int) {
				t.Helper()
				v := site.Last(t, n)
				if tokens := c.Redeem(t, v.Query.Get("code")); tokens.Status != 200 {
					t.Fatalf("redeem: %+v after %+v", tokens, v)
				}
			}
			redeem(0)
			b.Open(c.AuthorizationURL(o.MCPURL()))
			if opts != nil {
				b.ExpectHeading("Returning to Portal")
				b.Picture("continue")
				b.PressLeaving("Continue")
			}
			redeem(1)
			// The way leads through the sign-in page, too, whose own policy
			// must not stop it.
			b.Open(c.AuthorizationURL(o.MCPURL(), "prompt", "login"))
			b.Fill("Email", email)
			b.Fill("Password", testenv.Password)
			b.PressLeaving("Sign in")
			if opts != nil {
				b.WaitFor("Continue")
				b.PressLeaving("Continue")
			}
			redeem(2)
			b.Open(c.AuthorizationURL(o.MCPURL(), "prompt", "none"))
			redeem(3)
			b.Open(c.AuthorizationURL(o.MCPURL(), "prompt", "consent"))
			b.ExpectHeading("Portal asks for access")
			calm(t, b)
		})
	}
}

// TestCase041_ErrorAfterSignIn: an error that follows a sign-in reaches the
// client, though the policy of the sign-in page lets its form lead nowhere
// else.
func TestCase041_ErrorAfterSignIn(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	o.AddPerson("bob@example.com", "Bob")
	c := o.Register(t, "A client")
	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL(), "claims", `{"id_token":{"sub":{"value":"somebody else"}}}`))
	b.SignIn("bob@example.com")
	if a := c.Answer(t); a.Get("error") != "login_required" || a.Has("code") {
		t.Errorf("answer: %v", a)
	}
	calm(t, b)
}

func TestCase089_Logout(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.RegisterAs(t, map[string]any{
		"client_name": "Portal", "redirect_uris": []string{portalRedirect}, "token_endpoint_auth_method": "none",
		"post_logout_redirect_uris": []string{"https://" + portalHost + "/bye"},
	})
	b := testenv.NewBrowser(t)
	site := b.Site(portalHost)
	b.Open(c.AuthorizationURL(o.MCPURL(), "scope", "openid logs:read"))
	b.SignIn(email)
	b.Choose("Payments")
	b.PressLeaving("Allow access")
	tokens := c.Redeem(t, site.Last(t, 0).Query.Get("code"))
	logout := func(pairs ...string) string {
		v := url.Values{"post_logout_redirect_uri": {"https://" + portalHost + "/bye"}, "state": {"s"}}
		for i := 0; i+1 < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return o.URL + "/oauth/logout?" + v.Encode()
	}
	// Without proof the person is asked.
	b.Open(logout("client_id", c.ID))
	b.ExpectHeading("Sign out?")
	b.Picture("logout")
	b.Follow("Stay signed in")
	b.ExpectHeading("Hello, " + name)
	b.Open(logout("client_id", c.ID))
	b.PressLeaving("Sign out")
	if v := site.Last(t, 1); v.Query.Get("state") != "s" {
		t.Errorf("the site got %+v", v)
	}
	b.Open(o.URL + "/connections")
	b.ExpectHeading("Sign in")
	b.SignIn(email)
	b.ExpectText("Portal") // connections stay

	b.Open(logout("id_token_hint", tokens.IDToken))
	site.Last(t, 2)
	b.Open(o.URL + "/connections")
	b.ExpectHeading("Sign in")
	if again := c.Refresh(t, tokens.RefreshToken); again.Status != 200 {
		t.Errorf("refresh after the logout: %+v", again)
	}
	if i := slices.IndexFunc(b.Complaints(), func(c string) bool { return strings.Contains(c, "Content Security Policy") }); i >= 0 {
		t.Errorf("the browser complains: %s", b.Complaints()[i])
	}
}
