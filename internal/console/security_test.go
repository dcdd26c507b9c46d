package console_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
)

// codeOf computes what an app with a secret shows (RFC 6238 §4).
func codeOf(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:])&0x7fffffff%1_000_000)
}

// withApp enrols an authenticator app and returns its secret and id.
func (h *house) withApp(p org.Person, name string) (secret string, id mfa.ID) {
	h.t.Helper()
	f := h.console.Desk.Factors
	e := f.BeginTOTP(p.ID)
	shown, err := f.Show(e, p.Email)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := f.ConfirmTOTP(h.t.Context(), e, p.ID, codeOf(h.t, shown.Text, h.now), name, audit.System()); err != nil {
		h.t.Fatal(err)
	}
	h.now = h.now.Add(time.Minute) // that code is used up
	return shown.Text, e.ID
}

// signInWithApp signs somebody in with password and code.
func (h *house) signInWithApp(p org.Person, secret string) *browser {
	h.t.Helper()
	b := h.browser(org.Person{})
	b.post("/login", "email", p.Email, "password", password)
	if a := b.post("/login/second", "code", codeOf(h.t, secret, h.now)); a.StatusCode != http.StatusSeeOther {
		h.t.Fatalf("sign-in: %d\n%s", a.StatusCode, a.body)
	}
	h.now = h.now.Add(time.Minute)
	return b
}

// land follows redirects until there is a page.
func (b *browser) land(a answer) answer {
	b.t.Helper()
	for a.StatusCode == http.StatusSeeOther {
		a = b.get(a.Header.Get("Location"))
	}
	return a
}

func TestSecurityPage(t *testing.T) {
	h := newHouse(t)
	ada, eve := h.addPerson("Ada", false), h.addPerson("Eve", false)
	h.browser(ada).get("/security").expect(t, 200, "<h1>Security</h1>", "You sign in with your password alone", "Add an authenticator app", "IP address")

	secret, id := h.withApp(ada, "Telephone")
	_, other := h.withApp(ada, "Tablet")
	_, hers := h.withApp(eve, "Her telephone")
	b := h.signInWithApp(ada, secret)
	a := b.get("/security")
	a.expect(t, 200, "Telephone", "Tablet", "10 unused codes are left", "1 minute ago")
	a.expectNot(t, "Her telephone")

	b.follow(b.post("/security/factors/"+string(id)+"/rename", "name", "Pocket")).expect(t, 200, "Pocket has its new name.", "<bdi>Pocket</bdi>")
	b.post("/security/factors/"+string(id)+"/rename", "name", strings.Repeat("x", 61)).expect(t, 422, "longer than 60 characters")
	for _, what := range []string{"rename", "remove"} {
		b.post("/security/factors/"+string(hers)+"/"+what, "name", "Mine", "sure", "yes").expect(t, 404, "You have no such factor")
	}

	remove := "/security/factors/" + string(other) + "/remove"
	b.post(remove).expect(t, 200, "Remove Tablet?", "You sign in without it")
	b.follow(b.post(remove, "sure", "yes")).expect(t, 200, "Tablet is removed.")
	b.post("/security/factors/"+string(id)+"/remove").expect(t, 200, "Remove Pocket?", "your password alone lets you in")
	if list, err := h.console.Desk.Factors.List(t.Context(), eve.ID); err != nil || len(list) != 1 || list[0].Name != "Her telephone" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestRemovalNeedsReauthentication: "removal with re-authentication", by a
// factor where there is one.
func TestRemovalNeedsReauthentication(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	early := h.browser(ada) // with the password, before there was a factor
	secret, id := h.withApp(ada, "Telephone")
	remove := "/security/factors/" + string(id) + "/remove"
	forms := [][]string{{remove, "sure", "yes"}, {"/security/recovery-codes"}, {"/security/password", "new-password", "three lamps behind a door"}}
	refuses := func(b *browser, page string) {
		t.Helper()
		for _, f := range forms {
			a := b.post(f[0], f[1:]...)
			if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/login?step=") {
				t.Errorf("%s: %d to %q", f[0], a.StatusCode, a.Header.Get("Location"))
			}
			b.land(a).expect(t, 200, page)
		}
		if list, err := h.console.Desk.Factors.List(t.Context(), ada.ID); err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	refuses(early, "Enter the code from your authenticator app")
	b := h.signInWithApp(ada, secret)
	h.now = h.now.Add(15 * time.Minute)
	refuses(b, "Please confirm that it is still you")

	b = h.signInWithApp(ada, secret)
	b.follow(b.post(remove, "sure", "yes")).expect(t, 200, "Telephone is removed.", "You sign in with your password alone")
	b.post("/security/recovery-codes").expect(t, 409, "you have none yet")
}

// TestLastFactorStaysWhereOneIsRequired, so that nobody falls below the policy
// by their own hand.
func TestLastFactorStaysWhereOneIsRequired(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	secret, id := h.withApp(ada, "Telephone")
	if err := h.directory.SetMFA(t.Context(), "", org.MFARequired, audit.System()); err != nil {
		t.Fatal(err)
	}
	b := h.signInWithApp(ada, secret)
	b.get("/security").expect(t, 200, "Your organization requires a second factor.", "cannot be removed")
	b.post("/security/factors/"+string(id)+"/remove", "sure", "yes").expect(t, 409, "only one that is enough")
}

func TestRecoveryCodesAreShownOnce(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	secret, _ := h.withApp(ada, "Telephone")
	b := h.signInWithApp(ada, secret)
	a := b.post("/security/recovery-codes")
	a.expect(t, 200, "Older codes do not work any more")
	codes := regexp.MustCompile(`<li><code>([^<]*)</code>`).FindAllStringSubmatch(a.body, -1)
	if len(codes) != 10 {
		t.Fatalf("%d codes", len(codes))
	}
	b.get("/security").expectNot(t, codes[0][1])
	again := h.browser(org.Person{})
	again.post("/login", "email", ada.Email, "password", password)
	if a := again.post("/login/second", "recovery", codes[0][1]); a.StatusCode != http.StatusSeeOther {
		t.Errorf("a new code: %d", a.StatusCode)
	}
	again.get("/security").expect(t, 200, "9 unused codes are left")
}

func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	b, other := h.browser(ada), h.browser(ada)
	const next = "three lamps behind a door"
	b.post("/security/password", "new-password", "short").expect(t, 422, "at least 15 characters")
	other.get("/security").expect(t, 200)
	b.follow(b.post("/security/password", "new-password", next)).expect(t, 200, "Your password is changed")
	other.get("/security").expect(t, 303)
	fresh := h.browser(org.Person{})
	fresh.post("/login", "email", ada.Email, "password", password).expect(t, 401)
	fresh.post("/login", "email", ada.Email, "password", next).expect(t, 303)
}
