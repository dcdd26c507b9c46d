package console_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
)

var shownLink = regexp.MustCompile(`<code>(http[^<]*/login/account\?token=[A-Z2-7]{52})</code>`)

// linkOf returns the path of the link that a page shows.
func linkOf(t *testing.T, h *house, a answer) string {
	t.Helper()
	m := shownLink.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no link:\n%s", a.body)
	}
	return strings.TrimPrefix(html.UnescapeString(m[1]), h.url)
}

func TestInvitePeople(t *testing.T) {
	h := newHouse(t)
	grace := h.addPerson("Grace", true)
	h.addTeam("web-shop", "Web Shop", grace, "viewer")
	b := h.browser(grace)
	b.get("/people").expect(t, 200, "grace@example.com", "you", "owner", "Web Shop", "signed in")

	b.post("/people", "email", "ada@").expect(t, 422, "A name is needed", "is not an e-mail address")
	b.post("/people", "name", "Ada", "email", "grace@example.com").expect(t, 422, "has an account already", `value="Ada"`)
	b.post("/people", "name", "Ada", "email", "ada@example.com", "roles", "viewer").expect(t, 422, "Choose one")
	b.post("/people", "name", "Ada", "email", "ada@example.com", "team", "web-shop").expect(t, 422, "At least one role")
	b.post("/people", "name", "Ada", "email", "ada@example.com", "team", "web-shop", "roles", "king").expect(t, 422, "no such role", "king")
	b.post("/people", "name", "Ada", "email", "ada@example.com", "team", "nowhere", "roles", "viewer").expect(t, 422, "no such team any more")
	b.get("/people").expectNot(t, "ada@example.com")

	a := b.post("/people", "name", "Ada", "email", " Ada@example.com", "team", "web-shop", "roles", "viewer, operator")
	a.expect(t, 201, "<bdi>Ada</bdi> is invited", "Copy the link now")
	first := linkOf(t, h, a)
	b.get("/people").expect(t, 200, "ada@example.com", "invited", "never signed in")
	ada, err := h.directory.PersonByEmail(t.Context(), "ada@example.com")
	if err != nil {
		t.Fatal(err)
	}
	path := "/people/" + string(ada.ID)
	a = b.get(path)
	a.expect(t, 200, "Has no password", "New invitation link", "viewer and operator")
	a.expectNot(t, "token=")
	a = b.post(path + "/link")
	a.expect(t, 201, "is invited")
	second := linkOf(t, h, a)

	adas := h.browser(org.Person{})
	adas.get(first).expect(t, 410)
	adas.get(second).expect(t, 200, "Choose a password")
	_, token, _ := strings.Cut(second, "token=")
	adas.post("/login/account", "token", token, "password", "seven green lamps at noon").expect(t, 303)
	adas.get("/").expect(t, 200, "Web Shop")
	b.get(path).expect(t, 200, "Has a password", "New password link", "Signed in at 1 browser", "password")
	b.post(path+"/link").expect(t, 201, "New password for")
	adas.get("/people").expect(t, 403, "Only an owner")
}

func TestChangeAccounts(t *testing.T) {
	h := newHouse(t)
	grace, ada := h.addPerson("Grace", true), h.addPerson("Ada", false)
	team := h.addTeam("web-shop", "Web Shop", ada, "viewer")
	b, adas, again := h.browser(grace), h.browser(ada), h.browser(ada)
	for range 3 {
		h.connect(ada, team, h.cursor())
	}
	path := "/people/" + string(ada.ID)
	b.get(path).expect(t, 200, "Signed in at 2 browsers", "Cursor", "Disconnect", "Make owner")

	// One connection.
	cons, err := h.authority.Connections(t.Context(), grant.ConnectionFilter{Person: ada.ID})
	if err != nil || len(cons) != 3 {
		t.Fatal(len(cons), err)
	}
	b.follow(b.post(path+"/connections/"+string(cons[0].Grant.ID)+"/disconnect")).expect(t, 200, "Cursor is disconnected")
	b.post(path+"/connections/"+string(cons[0].Grant.ID)+"/disconnect").expect(t, 404, "no such connection")
	b.post("/people/"+string(grace.ID)+"/connections/"+string(cons[1].Grant.ID)+"/disconnect").expect(t, 404)
	adas.get("/connections").expect(t, 200, "disconnected by an owner of the organization")

	// Sessions alone.
	b.get(path+"/sign-out").expect(t, 200, "Sign Ada out everywhere?", "2 sessions end.")
	b.follow(b.post(path+"/sign-out")).expect(t, 200, "Ada is signed out everywhere", "Not signed in at present")
	adas.get("/").expect(t, 303)
	again.get("/").expect(t, 303)

	// Disabling and enabling.
	adas = h.browser(ada)
	b.get(path+"/disable").expect(t, 200, "Disable Ada?", "1 session and 2 connections end.")
	b.follow(b.post(path+"/disable")).expect(t, 200, "Ada is disabled", "Enable", "disabled", "Nothing is connected")
	adas.get("/").expect(t, 303)
	b.post(path+"/link").expect(t, 409, "No link was made")
	b.follow(b.post(path+"/enable")).expect(t, 200, "Ada can sign in again")

	// Owners.
	own := "/people/" + string(grace.ID)
	a := b.get(own)
	a.expect(t, 200, "the only owner who can sign in")
	a.expectNot(t, own+"/disable", own+"/delete", own+"/not-owner")
	for _, action := range []string{"/disable", "/delete", "/not-owner"} {
		b.post(own+action).expect(t, 409, "last owner who can sign in")
	}
	b.get(own).expect(t, 200)
	b.get(path+"/owner").expect(t, 200, "Make Ada an owner?", "No session and no connection ends")
	b.follow(b.post(path+"/owner")).expect(t, 200, "Ada is an owner now")
	adas = h.browser(ada)
	adas.get("/people").expect(t, 200)
	b.get(own).expectNot(t, "the only owner")
	b.follow(b.post(path+"/not-owner")).expect(t, 200, "Ada is not an owner any more")
	adas.get("/people").expect(t, 403)

	// Deleting keeps the audit and frees the address.
	b.get(path+"/delete").expect(t, 200, "Delete the account of Ada?", "cannot be undone")
	b.follow(b.post(path+"/delete")).expect(t, 200, "The account of Ada is deleted")
	b.get("/people").expectNot(t, "ada@example.com", "deleted:")
	b.get(path).expect(t, 404, "no such person")
	for _, action := range []string{"/enable", "/owner", "/delete", "/link"} {
		b.post(path+action).expect(t, 404)
	}
	adas.get("/").expect(t, 303)
	b.get("/audit?text=person.deleted").expect(t, 200, "ada@example.com")
	b.post("/people", "name", "Ada", "email", "ada@example.com").expect(t, 201)

	// A program is no person.
	service, err := h.directory.AddService(t.Context(), "Nightly", "web-shop", []string{"viewer"}, audit.System())
	if err != nil {
		t.Fatal(err)
	}
	b.get("/people").expectNot(t, "Nightly")
	b.get("/people/"+string(service.ID)).expect(t, 404)
	b.post("/people/"+string(service.ID)+"/owner").expect(t, 404)
}

// Whoever finds an owner's browser open cannot make its rights last: neither by
// a link for the owner's own account nor by another owner.
func TestOpenBrowserMakesNoLinksAndNoOwners(t *testing.T) {
	h := newHouse(t)
	grace, ada := h.addPerson("Grace", true), h.addPerson("Ada", false)
	b := h.browser(grace)
	h.now = h.now.Add(16 * time.Minute)
	for _, path := range []string{"/people/" + string(grace.ID) + "/link", "/people/" + string(ada.ID) + "/link", "/people/" + string(ada.ID) + "/owner"} {
		a := b.post(path)
		a.expect(t, 303)
		if to := a.Header.Get("Location"); !strings.HasPrefix(to, "/login?step=") {
			t.Errorf("%s leads to %q", path, to)
		}
		a.expectNot(t, "token=")
	}
	if p, err := h.directory.Person(t.Context(), ada.ID); err != nil || p.Owner {
		t.Error("an owner was made", err)
	}
	a := b.post("/people/" + string(ada.ID) + "/owner")
	_, step, _ := strings.Cut(a.Header.Get("Location"), "step=")
	b.post("/login", "step", step, "email", grace.Email, "password", password).expect(t, 303)
	b.follow(b.post("/people/"+string(ada.ID)+"/owner")).expect(t, 200, "Ada is an owner now")
}
