package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// TestSAMLSingleLogout: signing out at a SAML provider of another make ends the
// connection on its next call, whether begun there or here, with either
// binding; each side takes the other's signed messages, and the provider
// refuses what is not signed.
func TestSAMLSingleLogout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		binding string
		opts    []testenv.BrowserOption
		// continues says that pages of ours wait for a button.
		continues bool
	}{
		"Redirect":                 {binding: "HTTP-Redirect"},
		"POST":                     {binding: "HTTP-POST"},
		"POST, without JavaScript": {binding: "HTTP-POST", opts: kinds["without JavaScript"], continues: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := testenv.StartOriel(t)
			idp := o.StartSAML(t, "corp", c.binding, false)
			o.Admin("provider", "add-saml", "--slug", "corp", "--name", "Corporate login", "--domain", "example.com",
				"--metadata-url", idp.Metadata, "--allow-private", "--create-accounts")
			mapEngineering(o)
			portal := strings.TrimSuffix(idp.Metadata, "/metadata") + "/portal"
			client := o.Register(t, "Cursor")
			b := testenv.NewBrowser(t, c.opts...)
			forward := func() {
				if c.continues {
					b.WaitFor("Continue")
					b.PressLeaving("Continue")
				}
			}
			connect := func() testenv.Tokens {
				b.Open(client.AuthorizationURL(o.MCPURL()))
				b.Follow("Sign in with Corporate login")
				forward()
				b.WaitFor("Log in")
				corporate(b, "ada", false)
				b.PressLeaving("Go on")
				forward()
				b.WaitFor("Allow access")
				b.Press("Allow access")
				return client.Redeem(t, client.Answer(t).Get("code"))
			}
			call := func(tokens testenv.Tokens) int {
				status, _ := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken)
				return status
			}
			ends := func(tokens testenv.Tokens) {
				t.Helper()
				testenv.Within(t, time.Second, "the connection ends", func() error {
					if got := call(tokens); got != http.StatusUnauthorized {
						return fmt.Errorf("status %d", got)
					}
					return nil
				})
				if again := client.Refresh(t, tokens.RefreshToken); again.Error != "invalid_grant" {
					t.Errorf("refresh: %+v", again)
				}
			}

			// At the provider.
			tokens := connect()
			if got := call(tokens); got != http.StatusOK {
				t.Fatalf("connected: status %d", got)
			}
			b.Open(portal)
			b.PressLeaving("Sign out of everything")
			if c.binding == "HTTP-POST" {
				b.WaitFor("Go on")
				b.PressLeaving("Go on")
				forward()
			}
			b.WaitForHeading("Signed out of everything")
			b.ExpectText("back-at-the-portal, answered")
			ends(tokens)
			b.Open(o.URL + "/connections")
			b.ExpectHeading("Sign in")

			// Here.
			tokens = connect()
			if got := call(tokens); got != http.StatusOK {
				t.Fatalf("connected again: status %d", got)
			}
			b.Open(o.URL)
			b.Press("Sign out")
			b.ExpectText("still signed in at Corporate login")
			b.Picture("saml-signed-out")
			if got := call(tokens); got != http.StatusOK {
				t.Errorf("signed out here only: status %d", got)
			}
			if c.binding == "HTTP-Redirect" {
				// The page after has the same heading.
				b.Press("Sign out of Corporate login, too")
			} else {
				b.PressLeaving("Sign out of Corporate login, too")
				forward()
				b.WaitFor("Go on")
				b.PressLeaving("Go on")
			}
			b.WaitForHeading("You are signed out")
			b.ExpectText("You have signed out of Corporate login, too")
			ends(tokens)
			b.Open(portal)
			b.ExpectText("Nobody is signed in")
			calm(t, b)
		})
	}
}
