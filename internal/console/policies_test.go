package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
)

func (h *house) mfa(team org.TeamID) org.MFA {
	h.t.Helper()
	m, err := h.directory.OwnMFA(h.t.Context(), team)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// TestPolicies: owners set the organization's and every team's policy, team
// administrators their team's, and nobody else any.
func TestPolicies(t *testing.T) {
	h := newHouse(t)
	owner, admin, viewer := h.addPerson("Grace", true), h.addPerson("Ada", false), h.addPerson("Eve", false)
	shop, bank := h.addTeam("shop", "Web Shop", admin, "admin"), h.addTeam("bank", "Bank", admin, "viewer")
	if _, err := h.directory.SetMember(t.Context(), "shop", viewer.Email, []string{"viewer"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	h.connect(admin, shop, h.cursor())

	byOwner, byAdmin, byViewer := h.browser(owner), h.browser(admin), h.browser(viewer)
	byOwner.get("/policies").expect(t, 200, "Whole organization", "Web Shop", "Bank", "3 people of 3 have no second factor yet", "1 connection is refused")
	a := byAdmin.get("/policies")
	a.expect(t, 200, "Web Shop", "2 people of 2 have no second factor yet")
	a.expectNot(t, "Whole organization", "Bank")
	byViewer.get("/policies").expect(t, 200, "There is nothing here for you to set")

	for who, b := range map[string]*browser{"a viewer": byViewer, "an administrator of another team": byAdmin} {
		for _, slug := range []string{"", "bank", "nowhere"} {
			if a := b.post("/policies", "team", slug, "mfa", "required"); a.StatusCode != 403 {
				t.Errorf("%s sets %q: %d", who, slug, a.StatusCode)
			}
		}
	}
	byViewer.post("/policies", "team", "shop", "mfa", "required").expect(t, 403)
	byAdmin.post("/policies", "team", "shop", "mfa", "always").expect(t, 400)
	byAdmin.post("/policies", "team", "shop", "mfa", "passkey").expect(t, 422, "Nothing was changed", "IP address")
	if h.mfa("") != org.MFAOptional || h.mfa(shop.ID) != org.MFAOptional || h.mfa(bank.ID) != org.MFAOptional {
		t.Fatal("a policy was set")
	}

	byAdmin.follow(byAdmin.post("/policies", "team", "shop", "mfa", "required")).expect(t, 200, "A second factor is required for Web Shop from now on.")
	byOwner.post("/policies", "team", "bank", "mfa", "required").expect(t, 303)
	if h.mfa(shop.ID) != org.MFARequired || h.mfa(bank.ID) != org.MFARequired {
		t.Error("the policies are not set")
	}
	byAdmin.get("/connections").expect(t, 200, "It gives nothing at present: the team now demands a sign-in with a second factor; connect again.")

	// The organization's own leads the owner to the factor they lack.
	a = byOwner.land(byOwner.post("/policies", "team", "", "mfa", "required"))
	a.expect(t, 200, "Set up a second factor")
	secret, _ := h.withApp(admin, "Telephone")
	h.signInWithApp(admin, secret).get("/policies").expect(t, 200, "The organization requires a second factor in any case", "1 person of 2 has no second factor yet")
}

// TestRefusedConnectionsAreKept: a policy ends nothing.
func TestRefusedConnectionsAreKept(t *testing.T) {
	h := newHouse(t)
	ada := h.addPerson("Ada", false)
	shop := h.addTeam("shop", "Web Shop", ada, "viewer")
	h.connect(ada, shop, h.cursor())
	if err := h.directory.SetMFA(t.Context(), "shop", org.MFAPasskey, audit.System()); err != nil {
		t.Fatal(err)
	}
	b := h.browser(ada)
	b.get("/connections").expect(t, 200, "passkey; connect again")
	if err := h.directory.SetMFA(t.Context(), "shop", org.MFAOptional, audit.System()); err != nil {
		t.Fatal(err)
	}
	b.get("/connections").expectNot(t, "connect again")
	list, err := h.authority.Connections(t.Context(), grant.ConnectionFilter{Person: ada.ID})
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Client.Name(), "Cursor") {
		t.Errorf("%+v, %v", list, err)
	}
}

// The reconnect policy is set on the same page, by the same people.
func TestReconnectPolicy(t *testing.T) {
	h := newHouse(t)
	grace, ada := h.addPerson("Grace", true), h.addPerson("Ada", false)
	team := h.addTeam("web-shop", "Web Shop", ada, "admin")
	eve := h.addPerson("Eve", false)
	owner, admin := h.browser(grace), h.browser(ada)
	set := func(b *browser, team, disconnect, reconnect, age string) answer {
		t.Helper()
		return b.post("/policies/reconnect", "team", team, "disconnect", disconnect, "reconnect", reconnect, "age", age)
	}
	set(owner, "", "off", "refresh", "30d").expect(t, 303)
	if r, err := h.directory.Reconnect(t.Context(), ""); err != nil || r != (org.Reconnect{Disconnect: "off", Return: "refresh", SignInAge: 30 * 24 * time.Hour}) {
		t.Errorf("%+v, %v", r, err)
	}
	owner.get("/policies").expect(t, 200, `value="30d"`, `<option value="off" selected>`)
	set(admin, "web-shop", "hourly", "interactive", "").expect(t, 303)
	set(admin, "web-shop", "off", "", "").expect(t, 422, "only ask for more")
	set(admin, "web-shop", "", "", "soon").expect(t, 422, "Write a number and h, d or w", `value="soon"`)
	set(admin, "web-shop", "", "", "5m").expect(t, 422, "must be between")
	set(admin, "", "off", "", "").expect(t, 403)
	set(h.browser(eve), "web-shop", "hourly", "", "").expect(t, 403)
	if r, err := h.directory.Reconnect(t.Context(), team.ID); err != nil || r != (org.Reconnect{Disconnect: "hourly", Return: "interactive"}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSignInMessage(t *testing.T) {
	h := newHouse(t)
	grace := h.browser(h.addPerson("Grace", true))
	set := func(text string) answer {
		return grace.do(http.MethodPost, "/policies/message", url.Values{"text": {text}}.Encode())
	}
	grace.follow(set("Only for staff.\r\n<b>Ask IT</b>")).expect(t, 200, "shows the message now", "Only for staff.\n&lt;b&gt;Ask IT")
	set(strings.Repeat("x", 501)).expect(t, 422, "longer than 500 characters", strings.Repeat("x", 501))
	grace.do(http.MethodPost, "/policies/message", "").expect(t, 422, "left as it is")
	grace.do(http.MethodGet, "/policies", "").expect(t, 200, "Only for staff.")
	grace.follow(set("")).expect(t, 200, "no message any more")
}
