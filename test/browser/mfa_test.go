package browser

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"

	"github.com/orielhq/oriel/test/testenv"
)

// codeOf computes what an authenticator app with a secret shows (RFC 6238 §4).
func codeOf(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:])&0x7fffffff%1_000_000)
}

// amrOf reads how somebody signed in out of a token.
func amrOf(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		AMR []string `json:"amr"`
		ACR string   `json:"acr"`
	}
	if err = errors.Join(err, json.Unmarshal(raw, &claims)); err != nil {
		t.Fatal(err)
	}
	return strings.Join(claims.AMR, " ") + ", " + claims.ACR
}

// TestAuthenticatorApp is the life of a second factor: set up, asked for,
// replaced by a recovery code. None of it needs JavaScript.
func TestAuthenticatorApp(t *testing.T) {
	t.Parallel()
	for kind, opts := range map[string][]testenv.BrowserOption{
		"light": nil, "dark": {testenv.Dark()}, "narrow without JavaScript": {testenv.Narrow(), testenv.WithoutJavaScript()},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			picture := func(b *testenv.Browser, name string) { b.Picture(name + "-" + strings.ReplaceAll(kind, " ", "-")) }
			o := withTeams(t)
			b := testenv.NewBrowser(t, opts...)
			b.Open(o.URL + "/security")
			b.SignIn(email)
			b.ExpectHeading("Security")
			b.ExpectText("You sign in with your password alone")
			b.ExpectText("IP address") // why there are no passkeys here
			picture(b, "security-empty")
			b.Follow("Add an authenticator app")
			b.ExpectHeading("Set up an authenticator app")
			picture(b, "enrol-app")
			secret := regexp.MustCompile(`Key:\s*((?:[A-Z2-7]{4} ?){8})`).FindStringSubmatch(b.Text())
			if secret == nil {
				t.Fatalf("no key on the page:\n%s", b.Text())
			}
			b.Fill("Code", "000000")
			b.Press("Confirm")
			b.ExpectText("The code is not right")
			b.Fill("Name", "Telephone")
			// Below, the code after this one is shown: either stays good if its
			// half minute is over before it arrives.
			b.Fill("Code", codeOf(t, secret[1], time.Now()))
			b.Press("Confirm")
			b.ExpectHeading("Your recovery codes")
			picture(b, "recovery-codes")
			codes := regexp.MustCompile(`(?m)^[0-9a-z]{4}(?:-[0-9a-z]{4}){3}$`).FindAllString(b.Text(), -1)
			if len(codes) != 10 {
				t.Fatalf("%d codes:\n%s", len(codes), b.Text())
			}
			b.Follow("I have kept them")
			b.ExpectHeading("Security")
			b.ExpectText("Telephone")
			b.ExpectText("10 unused codes are left")
			picture(b, "security")

			b.Press("Sign out")
			b.Open(o.URL + "/connections")
			b.SignIn(email)
			b.ExpectHeading("Enter the code from your authenticator app")
			picture(b, "second")
			b.Fill("Code", codeOf(t, secret[1], time.Now().Add(30*time.Second)))
			b.Press("Continue")
			b.ExpectHeading("Connections") // where they were going

			b.Press("Sign out")
			b.Open(o.URL + "/security")
			b.SignIn(email)
			b.Follow("Use a recovery code instead")
			b.ExpectHeading("Enter a recovery code")
			b.Fill("Recovery code", strings.ToUpper(codes[4]))
			b.Press("Continue")
			b.ExpectHeading("Security")
			b.ExpectText("9 unused codes are left")

			// Somebody who lost all of it.
			o.Admin("user", "reset-mfa", "--email", email)
			b.Open(o.URL + "/security")
			b.ExpectHeading("Sign in")
			b.SignIn(email)
			b.ExpectHeading("Security")
			calm(t, b)
		})
	}
}

// authenticator gives the browser a virtual one, built in or to be plugged in.
func authenticator(b *testenv.Browser, synced bool) webauthn.AuthenticatorID {
	testenv.Call(b, webauthn.Enable, webauthn.EnableParams{})
	return testenv.Call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		DefaultBackupEligibility: synced, DefaultBackupState: synced,
	}}).AuthenticatorID
}

// atLocalhost starts an installation that is reached by name: passkeys have no
// use for an address.
func atLocalhost(t *testing.T) *testenv.Oriel {
	t.Helper()
	port := testenv.FreePort(t)
	o := testenv.StartOriel(t, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--public-url", fmt.Sprintf("http://localhost:%d", port))
	o.AddPerson(email, name)
	o.AddTeam("web-shop", "Web Shop")
	o.SetMember("web-shop", email, "analyst")
	return o
}

// TestPasskeys: a team demands a passkey; the person is led to one, signs in
// by it as the second factor and as the only one, and the tokens say so.
func TestPasskeys(t *testing.T) {
	t.Parallel()
	for kind, opts := range map[string][]testenv.BrowserOption{"light": nil, "dark": {testenv.Dark()}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synced := kind == "dark"
			key := map[bool]string{false: "hwk", true: "swk"}[synced]
			o := atLocalhost(t)
			b := testenv.NewBrowser(t, opts...)
			id := authenticator(b, synced)
			c := o.Register(t, "Cursor")
			before := c.SignIn(t, b, o.MCPURL(), email, "")
			if got := amrOf(t, before.AccessToken); got != "pwd, urn:oriel:acr:password" {
				t.Fatalf("before: %s", got)
			}

			o.Admin("policy", "set", "--team", "web-shop", "--mfa", "passkey")
			testenv.Within(t, testenv.TakesHold, "the policy takes hold", func() error {
				status, challenge := testenv.PostMCP(t, o.MCPURL(), before.AccessToken)
				if status != http.StatusUnauthorized || !strings.Contains(challenge, "passkey") {
					return fmt.Errorf("%d %s", status, challenge)
				}
				return nil
			})
			if got := c.Refresh(t, before.RefreshToken); got.Error != "invalid_grant" {
				t.Errorf("refresh: %+v", got)
			}

			b.Open(c.AuthorizationURL(o.MCPURL()))
			b.ExpectHeading("Set up a passkey")
			if b.Has("Set up an authenticator app") {
				t.Error("an app is offered where it is not enough")
			}
			b.Picture("enrol-choice-" + kind)
			b.Follow("Set up a passkey")
			b.Picture("enrol-passkey-" + kind)
			testenv.Call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: false})
			b.PressLeaving("Create a passkey")
			testenv.Within(t, testenv.ShortWait, "the page says that nothing was confirmed", func() error {
				if !strings.Contains(b.Text(), "Nothing was confirmed") {
					return errors.New(b.Text())
				}
				return nil
			})
			testenv.Call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: true})
			b.Fill("Name", "Laptop")
			b.Press("Create a passkey")
			b.ExpectHeading("Your recovery codes")
			b.Follow("I have kept them")
			b.ExpectHeading("Cursor asks for access")
			b.Press("Allow access")
			tokens := c.Redeem(t, c.Answer(t).Get("code"))
			if got := amrOf(t, tokens.AccessToken); got != "pwd "+key+" user mfa, urn:oriel:acr:passkey" {
				t.Errorf("enrolled: %s", got)
			}
			if status, _ := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusOK {
				t.Errorf("call: %d", status)
			}
			if status, _ := testenv.PostMCP(t, o.MCPURL(), before.AccessToken); status != http.StatusUnauthorized {
				t.Errorf("call with the old sign-in: %d", status)
			}

			// As the second factor.
			b.Open(o.URL + "/security")
			b.ExpectText("Laptop")
			b.Picture("security-" + kind)
			b.Press("Sign out")
			b.Open(o.URL + "/security")
			b.SignIn(email)
			b.ExpectHeading("Use your passkey")
			b.Picture("second-passkey-" + kind)
			b.Press("Use your passkey")
			b.ExpectHeading("Security")

			// As the only one, discovered by the browser.
			b.Press("Sign out")
			b.Open(c.AuthorizationURL(o.MCPURL()))
			b.Picture("sign-in-" + kind)
			b.Press("Sign in with a passkey")
			b.ExpectHeading("Cursor asks for access")
			b.Press("Allow access")
			if got := amrOf(t, c.Redeem(t, c.Answer(t).Get("code")).AccessToken); got != key+" user mfa, urn:oriel:acr:passkey" {
				t.Errorf("alone: %s", got)
			}

			// A second one, and the first one's removal with a fresh sign-in.
			b.Open(o.URL + "/security")
			b.Follow("Add a passkey")
			b.PressLeaving("Create a passkey")
			testenv.Within(t, testenv.ShortWait, "the page says that there is one already", func() error {
				if !strings.Contains(b.Text(), "is set up already") {
					return errors.New(b.Text())
				}
				return nil
			})
			b.Follow("Cancel")
			b.ExpectHeading("Security")

			// Lowered again, the first connection works as before.
			o.Admin("policy", "set", "--team", "web-shop", "--mfa", "optional")
			testenv.Within(t, testenv.TakesHold, "the policy is lowered", func() error {
				if status, challenge := testenv.PostMCP(t, o.MCPURL(), before.AccessToken); status != http.StatusOK {
					return fmt.Errorf("%d %s", status, challenge)
				}
				return nil
			})

			// A passkey opens no account that is disabled.
			o.Admin("user", "disable", "--email", email)
			b.Open(o.URL + "/security")
			b.Press("Sign in with a passkey")
			b.ExpectHeading("Sign in")
			b.ExpectText("The passkey was not accepted.")
			calm(t, b)
		})
	}
}

// TestPolicies: an owner demands a second factor and is led to one.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for kind, opts := range map[string][]testenv.BrowserOption{"light": nil, "dark": {testenv.Dark()}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			o.AdminInput(testenv.Password, "user", "add", "--email", "grace@example.com", "--name", "Grace Hopper", "--owner", "--password-stdin")
			o.Register(t, "Cursor").SignIn(t, testenv.NewBrowser(t), o.MCPURL("payments"), email, "")
			b := testenv.NewBrowser(t, opts...)
			b.Open(o.URL + "/policies")
			b.SignIn("grace@example.com")
			b.ExpectHeading("Policies")
			b.ExpectText("2 people of 2 have no second factor yet. 1 connection is refused until its person has connected again with one.")
			b.Picture("policies-" + kind)
			b.Follow("Start")
			b.ExpectHeading("Hello")
			o.Admin("policy", "set", "--mfa", "required")
			b.Open(o.URL + "/policies")
			b.ExpectHeading("Set up a second factor")
			b.Picture("enrol-choice-" + kind)
			calm(t, b)
		})
	}
}
