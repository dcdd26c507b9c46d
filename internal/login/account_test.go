package login_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
)

const newPassword = "seven green lamps at noon"

// link makes a link for somebody and returns its path and token.
func (h *house) link(p org.Person, kind login.LinkKind) (path, token string) {
	h.t.Helper()
	made, err := h.desk.Links().Make(h.t.Context(), p, kind, audit.Shell("root"))
	if err != nil {
		h.t.Fatal(err)
	}
	return made.Path, strings.TrimPrefix(made.Path, "/login/account?token=")
}

func TestInvitation(t *testing.T) {
	h := newHouse(t)
	team, err := h.directory.AddTeam(t.Context(), "web-shop", "Web Shop", audit.System())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.directory.Invite(t.Context(), org.NewPerson{Email: adaEmail, Name: "Ada"}, "web-shop", []string{"viewer"}, audit.System())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.directory.Membership(t.Context(), p.ID, team.ID); err != nil {
		t.Error(err)
	}
	path, token := h.link(p, login.InviteLink)
	b := h.browser()
	// Looking does not use the link up: programs that scan mail look, too.
	for range 2 {
		b.get(path).expect(t, 200, "Choose a password", "You have been invited", adaEmail, `value="`+token+`"`)
	}
	b.post("/login/account", "token", token, "password", "short").expect(t, 422, "at least 15 characters")
	b.post("/login/account", "token", token, "password", "ada@example.com ada").expect(t, 422)
	h.clock.turn(7*24*time.Hour - time.Second)
	b.post("/login/account", "token", token, "password", newPassword).expectRedirect(t, "/")
	if got := b.who(); !strings.HasPrefix(got, adaEmail+" pwd") {
		t.Errorf("at the browser: %q", got)
	}
	b.get(path).expect(t, 410, "used or replaced, or it has expired")
	b.post("/login/account", "token", token, "password", newPassword+"!").expect(t, 410)
	h.browser().post("/login", "email", adaEmail, "password", newPassword).expectRedirect(t, "/")

	kinds := eventKinds(t, h, p)
	for _, k := range []audit.Kind{audit.InvitationMade, audit.PasswordChanged, audit.SignedIn} {
		if !slices.Contains(kinds, k) {
			t.Errorf("no %s in %v", k, kinds)
		}
	}
}

func eventKinds(t *testing.T, h *house, p org.Person) []audit.Kind {
	t.Helper()
	entries, err := h.store.DB.Events(t.Context(), audit.Filter{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []audit.Kind
	for _, e := range entries {
		kinds = append(kinds, e.Kind)
		if strings.Contains(e.Detail, "token=") {
			t.Errorf("the audit holds a link: %+v", e)
		}
	}
	return kinds
}

// A reset ends what whoever knew the old password may have.
func TestResetEndsOtherSessions(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	old, b := h.browser(), h.browser()
	old.signIn().expectRedirect(t, "/")
	path, token := h.link(p, login.ResetLink)
	b.get(path).expect(t, 200, "Choose a new password", "Your other browsers are signed out")
	if !strings.HasPrefix(old.who(), adaEmail) {
		t.Error("the link alone ended a session")
	}
	b.post("/login/account", "token", token, "password", newPassword).expectRedirect(t, "/")
	if got := old.who(); got != "nobody" {
		t.Errorf("the other browser: %q", got)
	}
	if !strings.HasPrefix(b.who(), adaEmail) {
		t.Error("the browser is not signed in")
	}
	h.browser().signIn().expect(t, 401, wrongText)
}

func TestLinksThatAreNoGood(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	b := h.browser()
	refused := func(what, path, token string) {
		t.Helper()
		b.get(path).expect(t, 410, "ask an owner for a new link")
		b.post("/login/account", "token", token, "password", newPassword).expect(t, 410)
		if b.who() != "nobody" {
			t.Errorf("%s: signed in", what)
		}
	}
	refused("no token", "/login/account", "")
	refused("made up", "/login/account?token=x", "x")

	path, token := h.link(p, login.ResetLink)
	h.clock.turn(time.Hour)
	refused("expired", path, token)

	path, token = h.link(p, login.ResetLink)
	h.link(p, login.ResetLink)
	refused("replaced", path, token)

	path, token = h.link(p, login.InviteLink)
	if _, err := h.directory.Disable(t.Context(), p.Email, audit.System()); err != nil {
		t.Fatal(err)
	}
	refused("disabled", path, token)
	if p, err := h.directory.Enable(t.Context(), p.Email, audit.System()); err != nil || !p.Active() {
		t.Fatal(err)
	}
	refused("disabled and enabled again", path, token)

	// Whoever changes the password needs no link any more.
	b.signIn().expectRedirect(t, "/")
	path, token = h.link(p, login.ResetLink)
	hash, err := adaHash()
	if err == nil {
		err = h.store.ChangePassword(t.Context(), p.ID, hash, "", audit.Event{At: h.clock.now(), Kind: audit.PasswordChanged})
	}
	if err != nil {
		t.Fatal(err)
	}
	refused("changed", path, token)

	links := h.desk.Links()
	if _, err := links.Make(t.Context(), org.Person{ID: "per_x", Service: true}, login.ResetLink, audit.System()); !errors.Is(err, login.ErrNoLinkForThem) {
		t.Errorf("a program: %v", err)
	}
	if _, err := links.Make(t.Context(), org.Person{ID: "per_nobody"}, login.ResetLink, audit.System()); !errors.Is(err, login.ErrNoLinkForThem) {
		t.Errorf("nobody: %v", err)
	}
}

// A link proves as much as a password, and no more.
func TestResetStillAsksForTheSecondFactor(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	if err := h.directory.SetMFA(t.Context(), "", org.MFARequired, audit.System()); err != nil {
		t.Fatal(err)
	}
	_, token := h.link(p, login.ResetLink)
	b := h.browser()
	b.post("/login/account", "token", token, "password", newPassword).expectRedirect(t, "/login/second")
	if b.who() != "nobody" {
		t.Error("a session without the second factor")
	}
}

// ssoOnly refuses passwords for everybody once it is on.
type ssoOnly struct{ on bool }

func (s *ssoOnly) Offers(context.Context) ([]login.Offer, error) { return nil, nil }
func (s *ssoOnly) Home(context.Context, string) (login.Offer, bool, error) {
	return login.Offer{}, false, nil
}
func (s *ssoOnly) PasswordRefused(context.Context, string) (bool, error) { return s.on, nil }
func (s *ssoOnly) SignOutURL(context.Context, string) (string, string, error) {
	return "", "", nil
}

func TestLinksForDomainsWithoutPasswords(t *testing.T) {
	h := newHouse(t)
	only := &ssoOnly{}
	h.desk.Providers = only
	p := h.addAda()
	path, token := h.link(p, login.ResetLink)
	only.on = true
	if _, err := h.desk.Links().Make(t.Context(), p, login.InviteLink, audit.System()); !errors.Is(err, login.ErrPasswordRefused) {
		t.Errorf("a link is made: %v", err)
	}
	b := h.browser()
	b.get(path).expect(t, 403, "sign in at their identity provider")
	b.post("/login/account", "token", token, "password", newPassword).expect(t, 403)
	only.on = false
	b.signIn().expectRedirect(t, "/")
}
