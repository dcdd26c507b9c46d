package console_test

import (
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

func TestTeamConnections(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.addPerson("Ada", false), h.addPerson("Bob", false)
	shop := h.addTeam("web-shop", "Web Shop", ada, "admin")
	bank := h.addTeam("bank", "Bank", bob, "admin")
	if _, err := h.directory.SetMember(t.Context(), "web-shop", bob.Email, []string{"viewer"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	admin, member := h.browser(ada), h.browser(bob)
	admin.get("/teams/web-shop").expect(t, 200, "Nothing is connected to the team")
	h.connect(bob, shop, h.cursor())
	h.connect(bob, bank, h.cursor())
	ids := make(map[string]string)
	list, err := h.authority.Connections(t.Context(), grant.ConnectionFilter{Person: bob.ID})
	if err != nil {
		t.Fatal(err)
	}
	for _, con := range list {
		ids[con.Team.Slug] = "/teams/web-shop/connections/" + string(con.Grant.ID) + "/disconnect"
	}
	a := admin.get("/teams/web-shop")
	a.expect(t, 200, "<bdi>Cursor</bdi> of <bdi>Bob</bdi>", ids["web-shop"])
	a.expectNot(t, ids["bank"])
	member.get("/teams/web-shop").expectNot(t, "Cursor", "Disconnect")
	member.post(ids["web-shop"]).expect(t, 403, "Only an administrator of the team")
	admin.post(ids["bank"]).expect(t, 404, "no such connection")
	admin.follow(admin.post(ids["web-shop"])).expect(t, 200, "Cursor of Bob is disconnected", "Nothing is connected")
	member.get("/connections").expect(t, 200, "disconnected by an administrator of the team", "Bank")
}
