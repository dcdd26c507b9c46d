package browser

import (
	"regexp"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

// TestPeople is an owner's way: invite somebody, who chooses a password with
// the link and signs out everywhere else, and delete the account again.
func TestPeople(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AdminInput(testenv.Password, "user", "add", "--email", email, "--name", name, "--owner", "--password-stdin")
	o.AddTeam("web-shop", "Web Shop")

	b := testenv.NewBrowser(t)
	b.Open(o.URL + "/people")
	b.SignIn(email)
	b.ExpectHeading("People")
	b.Fill("Name", "Grace Hopper")
	b.Fill("Email", "grace@example.com")
	b.Press("Invite")
	b.ExpectText("Grace Hopper is invited")
	b.Picture("account-link")
	link := regexp.MustCompile(`http://\S+/login/account\?token=[A-Z2-7]{52}`).FindString(b.Text())
	if link == "" {
		t.Fatalf("no link in\n%s", b.Text())
	}

	g := testenv.NewBrowser(t)
	g.Open(link)
	g.ExpectHeading("Choose a password")
	g.Picture("account")
	g.Fill("Password", testenv.Password)
	g.Press("Save and sign in")
	g.ExpectText("Grace Hopper")
	g.Open(link)
	g.ExpectText("used or replaced, or it has expired")

	other := testenv.NewBrowser(t)
	other.Open(o.URL + "/security")
	other.SignIn("grace@example.com")
	other.ExpectText("Another browser")
	other.Screenshot("security")
	other.Press("Sign out everywhere else")
	other.ExpectText("1 other session ends.")
	other.Press("Sign out everywhere else")
	other.ExpectText("You are signed out everywhere else.")
	g.Open(o.URL + "/")
	g.ExpectHeading("Sign in")

	b.Follow("People")
	b.Screenshot("people")
	b.Follow("Grace Hopper")
	b.ExpectText("Signed in at 1 browser.")
	b.Screenshot("person")
	b.Follow("Delete account")
	b.ExpectText("1 session and 0 connections end.")
	b.Picture("delete-account")
	b.Press("Delete account")
	b.ExpectText("The account of Grace Hopper is deleted.")
	other.Open(o.URL + "/")
	other.ExpectHeading("Sign in")
	calm(t, b)
	calm(t, other)
}
