package browser

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// mapEngineering has the group engineering of the provider corp read a new team,
// Web Shop. The provider must be there.
func mapEngineering(o *testenv.Oriel) {
	o.AddTeam("web-shop", "Web Shop")
	o.Admin("provider", "map", "--provider", "corp", "--group", "engineering", "--team", "web-shop", "--role", "analyst")
}

func addOIDC(t *testing.T, o *testenv.Oriel) {
	t.Helper()
	idp := o.StartOIDC(t, "corp")
	o.AdminInput(testenv.IDPSecret+"\n", "provider", "add-oidc", "--slug", "corp", "--name", "Corporate login", "--domain", "example.com",
		"--issuer", idp.Issuer, "--client-id", "oriel", "--client-secret-stdin", "--allow-private", "--create-accounts",
		"--scope", "profile", "--scope", "email", "--scope", "groups", "--acr-value", "two-factors", "--acr-value", "one-factor")
	mapEngineering(o)
}

func addSAML(t *testing.T, o *testenv.Oriel, binding string, encrypted bool) {
	t.Helper()
	idp := o.StartSAML(t, "corp", binding, encrypted)
	o.Admin("provider", "add-saml", "--slug", "corp", "--name", "Corporate login", "--domain", "example.com",
		"--metadata-url", idp.Metadata, "--allow-private", "--create-accounts")
	mapEngineering(o)
}

// howSignedIn reads acr and amr from a token.
func howSignedIn(t *testing.T, token string) (acr string, amr []string) {
	t.Helper()
	var c struct {
		ACR string   `json:"acr"`
		AMR []string `json:"amr"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.ACR, c.AMR
}

// corporate signs somebody in at the provider, at whose page the browser is.
func corporate(b *testenv.Browser, user string, mfa bool) {
	b.Fill("User name", user)
	if mfa {
		b.Choose("Second factor")
	}
	b.Press("Log in")
}

// TestSingleSignOn connects a client through identity providers of another
// make; the tokens say how the person signed in there.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		saml, mfa, encrypted bool
		binding              string
		opts                 []testenv.BrowserOption
		acr                  string
		amr                  []string
	}{
		"OpenID Connect":               {acr: "one-factor", amr: []string{"pwd"}},
		"OpenID Connect, two factors":  {mfa: true, acr: "two-factors", amr: []string{"pwd", "otp", "mfa"}, opts: kinds["without JavaScript"]},
		"SAML":                         {saml: true, acr: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", amr: []string{"pwd"}},
		"SAML, two factors, encrypted": {saml: true, mfa: true, encrypted: true, acr: "https://refeds.org/profile/mfa", amr: []string{"mfa"}, opts: kinds["without JavaScript"]},
		"SAML, posted request":         {saml: true, binding: "HTTP-POST", acr: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", amr: []string{"pwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := testenv.StartOriel(t)
			if c.saml {
				addSAML(t, o, c.binding, c.encrypted)
			} else {
				addOIDC(t, o)
			}
			client := o.Register(t, "Cursor")
			b := testenv.NewBrowser(t, c.opts...)
			b.Open(client.AuthorizationURL(o.MCPURL(), "scope", "openid logs:read"))
			b.Picture("sign-in")
			b.Follow("Sign in with Corporate login")
			corporate(b, "ada", c.mfa)
			if c.saml {
				b.PressLeaving("Go on")
				if c.opts != nil {
					// The cookies did not come along, and no script sends the
					// form once more.
					b.WaitFor("Continue")
					b.Picture("once-more")
					b.PressLeaving("Continue")
				}
			}
			b.WaitFor("Allow access")
			b.ExpectHeading("Cursor asks for access")
			b.ExpectText("Web Shop")
			b.Press("Allow access")
			tokens := client.Redeem(t, client.Answer(t).Get("code"))
			for what, token := range map[string]string{"access token": tokens.AccessToken, "id token": tokens.IDToken} {
				if acr, amr := howSignedIn(t, token); acr != c.acr || !slices.Equal(amr, c.amr) {
					t.Errorf("%s: acr %q, amr %q", what, acr, amr)
				}
			}
			if status, _ := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusOK {
				t.Errorf("call: status %d", status)
			}
			calm(t, b)
		})
	}
}

// TestSingleSignOnByDomain: an address alone leads to the provider, with and
// without scripts, and nobody of another domain comes in through it.
func TestSingleSignOnByDomain(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := testenv.StartOriel(t)
			addOIDC(t, o)
			b := testenv.NewBrowser(t, opts...)
			b.Open(o.URL + "/connections")
			b.Fill("Email", "ada@example.com")
			b.Press("Sign in")
			corporate(b, "ada", false)
			b.ExpectHeading("Connections")
			calm(t, b)

			b = testenv.NewBrowser(t, opts...)
			b.Open(o.URL + "/login/sso/corp")
			corporate(b, "eve", false)
			b.ExpectHeading("Not allowed")
			b.ExpectText("does not speak for addresses like eve@elsewhere.example")
			calm(t, b)
		})
	}
}

// TestSignOutAtTheProvider: signing out there, by the button here, ends the
// connection on its next call; signing in again brings it back.
func TestSignOutAtTheProvider(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	addOIDC(t, o)
	client := o.Register(t, "Cursor")
	b := testenv.NewBrowser(t)
	connect := func() testenv.Tokens {
		b.Open(client.AuthorizationURL(o.MCPURL()))
		b.Follow("Sign in with Corporate login")
		corporate(b, "ada", false)
		b.Press("Allow access")
		return client.Redeem(t, client.Answer(t).Get("code"))
	}
	tokens := connect()
	call := func(token string) int {
		status, _ := testenv.PostMCP(t, o.MCPURL(), token)
		return status
	}
	if got := call(tokens.AccessToken); got != http.StatusOK {
		t.Fatalf("connected: status %d", got)
	}
	b.Open(o.URL)
	b.Press("Sign out")
	b.ExpectText("still signed in at Corporate login")
	b.Picture("signed-out")
	if got := call(tokens.AccessToken); got != http.StatusOK {
		t.Errorf("signed out here only: status %d", got)
	}
	b.Follow("Sign out of Corporate login, too")
	b.Press("Yes, sign me out")
	testenv.Within(t, 10*time.Second, "the way back", func() error {
		if h := b.Heading(); h != "You are signed out" {
			return fmt.Errorf("the heading is %q", h)
		}
		return nil
	})
	testenv.Within(t, time.Second, "the connection ends", func() error {
		if got := call(tokens.AccessToken); got != http.StatusUnauthorized {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
	if again := client.Refresh(t, tokens.RefreshToken); again.Error != "invalid_grant" {
		t.Errorf("refresh: %+v", again)
	}
	if tokens = connect(); call(tokens.AccessToken) != http.StatusOK {
		t.Error("a new sign-in does not bring it back")
	}
	calm(t, b)
}

// TestProvidersPage: an owner adds a provider on its page, and people sign in with it.
func TestProvidersPage(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]testenv.BrowserOption{
		"light": nil, "dark": {testenv.Dark(), testenv.WithoutJavaScript()}, "narrow": {testenv.Narrow()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := testenv.StartOriel(t)
			o.AdminInput(testenv.Password+"\n", "user", "add", "--email", email, "--name", "Ada Lovelace", "--owner", "--password-stdin")
			o.AddTeam("web-shop", "Web Shop")
			idp := o.StartOIDC(t, "corporate-login")
			b := testenv.NewBrowser(t, opts...)
			b.Open(o.URL)
			b.SignIn(email)
			b.Follow("Identity providers")
			b.ExpectText("There is no identity provider yet")
			b.Picture("providers-empty-" + name)
			b.Unfold("OpenID Connect (Okta, Microsoft Entra ID, Google Workspace, Keycloak)")
			b.Fill("Name", "Corporate login")
			b.Fill("E-mail domains", "example.com")
			b.Fill("Issuer", idp.Issuer)
			b.Fill("Client id", "oriel")
			b.Fill("Client secret", testenv.IDPSecret)
			b.Press("Add provider")
			b.ExpectText("it must be https") // beside the field; the form stays filled in
			b.Picture("providers-wrong-" + name)
			b.Unfold("More settings")
			b.Choose("It may be at a private address (self-hosted)")
			b.Fill("Client secret", testenv.IDPSecret)
			b.Press("Add provider")
			b.ExpectText("Corporate login is added")
			b.ExpectText(o.URL + "/login/sso/corporate-login/callback")
			b.Fill("Group", "engineering")
			b.Press("Add mapping")
			b.ExpectText("Members of engineering have the role viewer in web-shop")
			b.Picture("providers-" + name)

			person := testenv.NewBrowser(t)
			person.Open(o.URL + "/connections")
			person.Follow("Sign in with Corporate login")
			corporate(person, "ada", false)
			person.ExpectHeading("Connections")
			calm(t, b)
		})
	}
}
