package console_test

import (
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/org"
)

func TestSignOutEverywhereElse(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.addPerson("Ada", false), h.addPerson("Bob", false)
	team := h.addTeam("web-shop", "Web Shop", ada, "viewer")
	bobs := h.browser(bob)
	b := h.browser(ada)
	a := b.get("/security")
	a.expect(t, 200, "<strong>This browser</strong>", "2026-11-23 14:20:00", "You are signed in nowhere else", "with a password", "127.0.0.1")
	a.expectNot(t, "Another browser", "Sign out everywhere else</button>")
	b.post("/security/sign-out-elsewhere", "sure", "yes").expect(t, 200, "You are signed in nowhere else")

	h.now = h.now.Add(time.Hour)
	other, third := h.browser(ada), h.browser(ada)
	h.browser(org.Person{}).post("/login", "email", ada.Email, "password", "not the right one").expect(t, 401)
	h.connect(ada, team, h.cursor())
	h.now = h.now.Add(time.Minute)
	a = b.get("/security")
	a.expect(t, 200, "Another browser", "refused", "wrong password", "2026-11-23 15:20:00")
	if n := strings.Count(a.body, "Another browser"); n != 2 {
		t.Errorf("%d other browsers", n)
	}
	b.post("/security/sign-out-elsewhere").expect(t, 200, "2 other sessions end", "stay connected")
	other.get("/").expect(t, 200)
	b.follow(b.post("/security/sign-out-elsewhere", "sure", "yes")).expect(t, 200, "You are signed out everywhere else", "<strong>This browser</strong>")
	other.get("/").expect(t, 303)
	third.get("/").expect(t, 303)
	b.get("/connections").expect(t, 200, "Cursor", "Disconnect")
	bobs.get("/security").expectNot(t, "<span class=\"badge\">refused")

	// A session that has run out is none.
	h.browser(ada)
	h.now = h.now.Add(11 * time.Hour)
	b.get("/").expect(t, 200)
	h.now = h.now.Add(2 * time.Hour)
	b.get("/security").expectNot(t, "Another browser")
	events := b.get("/security")
	if n := strings.Count(events.body, "UTC from"); n != 5 {
		t.Errorf("%d sign-ins", n)
	}
}
