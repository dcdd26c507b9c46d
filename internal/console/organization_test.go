package console_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// logs answers every query with the same rows and remembers who asked.
type logs struct {
	views []telemetry.View
	rows  []telemetry.LogRow
	total []int64
	err   error
}

func (l *logs) QueryLogs(_ context.Context, v telemetry.View, q telemetry.LogQuery, _ telemetry.Budget) (telemetry.LogResult, error) {
	l.views = append(l.views, v)
	if l.err != nil {
		return telemetry.LogResult{}, l.err
	}
	r := telemetry.LogResult{Rows: l.rows[:min(len(l.rows), q.Limit)], Total: l.total[0]}
	l.total = append(l.total[1:], l.total[0])
	return r, nil
}

func TestTeamPages(t *testing.T) {
	h := newHouse(t)
	ada, bob, grace := h.addPerson("Ada", false), h.addPerson("Bob", false), h.addPerson("Grace", true)
	h.addTeam("web-shop", "Web Shop", ada, "admin")
	h.addTeam("bank", "Bank", bob, "viewer")
	admin, viewer, owner := h.browser(ada), h.browser(bob), h.browser(grace)

	a := admin.get("/teams")
	a.expect(t, 200, `href="/teams/web-shop"`, "1 person · Your role: admin")
	a.expectNot(t, "Bank", "Create team")
	owner.get("/teams").expect(t, 200, "Web Shop", "Bank", "Create team")
	viewer.get("/teams/web-shop").expect(t, 404, "There is no such team")

	// Adding, and what is wrong with it.
	form := func(b *browser, path string, status int, parts ...string) answer {
		t.Helper()
		a := b.do("POST", path, parts[0], "Sec-Fetch-Site", "same-origin")
		a.expect(t, status, parts[1:]...)
		return a
	}
	form(admin, "/teams/web-shop/members", 422, "email=nobody@example.com&role=viewer", "Nobody with this address", `value="nobody@example.com"`)
	form(admin, "/teams/web-shop/members", 422, "email=bob@&role=viewer", "is not an e-mail address")
	form(admin, "/teams/web-shop/members", 422, "email=bob@example.com", "Choose at least one role")
	form(admin, "/teams/web-shop/members", 422, "email=bob@example.com&role=king", "no such role")
	a = admin.follow(form(admin, "/teams/web-shop/members", 303, "email=bob@example.com&role=viewer&role=operator"))
	a.expect(t, 200, "Bob is in Web Shop now, as viewer, operator", "bob@example.com")
	form(admin, "/teams/web-shop/members", 422, "email=bob@example.com&role=viewer", "is in the team already")

	// A member looks on.
	a = viewer.get("/teams/web-shop")
	a.expect(t, 200, "ada@example.com", "viewer and operator")
	a.expectNot(t, "Change roles", "Add a member", "Rename")
	form(viewer, "/teams/web-shop/members", 403, "email=bob@example.com&role=admin", "Only an administrator of the team")

	path := "/teams/web-shop/members/" + string(bob.ID)
	admin.get(path).expect(t, 200, `value="operator" checked`)
	admin.get("/teams/web-shop/members/unknown").expect(t, 404)
	form(admin, path, 422, "", "Choose at least one role")
	admin.follow(form(admin, path, 303, "role=analyst")).expect(t, 200, "Bob is in Web Shop as analyst now")

	// What it ends is said before.
	h.connect(bob, teamOf(t, h, "web-shop"), h.cursor())
	h.connect(bob, teamOf(t, h, "web-shop"), h.cursor())
	h.connect(bob, teamOf(t, h, "bank"), h.cursor())
	admin.get(path+"/remove").expect(t, 200, "This takes 1 person out of a team and ends 2 connections")
	admin.follow(form(admin, path+"/remove", 303, "")).expect(t, 200, "Bob is out of Web Shop")
	admin.get(path).expect(t, 404)
	viewer.get("/connections").expect(t, 200, "Bank", "taken out of the team")

	admin.follow(form(admin, "/teams/web-shop/rename", 303, "name=Market")).expect(t, 200, "The team is called Market now", "<bdi>Market</bdi>")
	form(admin, "/teams/web-shop/rename", 422, "name=+", "A name is needed")
}

func teamOf(t *testing.T, h *house, slug string) org.Team {
	t.Helper()
	team, err := h.directory.Team(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	return team
}

// Whoever administers a team with less than all rights cannot give themselves
// more, in none of the ways there are.
func TestAdminsGiveNoMoreThanTheyHave(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.addPerson("Ada", false), h.addPerson("Bob", false)
	h.addTeam("web-shop", "Web Shop", ada, "viewer")
	if _, err := h.directory.SaveRole(t.Context(), org.RoleText{
		Team: "web-shop", Name: "keeper", Permissions: []org.Permission{org.TeamAdmin, org.LogsRead}, DataScope: "env = prod", HiddenFields: []string{"user"}, LookBack: "1d",
	}, audit.System()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.directory.SetMember(t.Context(), "web-shop", ada.Email, []string{"keeper"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	b := h.browser(ada)
	b.get("/teams/web-shop").expect(t, 200, `value="viewer" disabled`, `value="keeper" aria-describedby`)
	own := "/teams/web-shop/members/" + string(ada.ID)
	b.post(own, "role", "admin").expect(t, 422, "Nobody can give more than they have")
	b.do("POST", own, "role=keeper&role=viewer", "Sec-Fetch-Site", "same-origin").expect(t, 422, "Nobody can give more")
	b.post("/teams/web-shop/members", "email", bob.Email, "role", "viewer").expect(t, 422, "Nobody can give more")
	b.post("/teams/web-shop/members", "email", bob.Email, "role", "keeper").expect(t, 303)

	save := func(path string, status int, parts ...string) {
		t.Helper()
		b.post(path, parts...).expect(t, status)
	}
	save("/teams/web-shop/roles/keeper", 422, "permission", "logs:Read", "data_scope", "", "hidden_fields", "user", "look_back", "1d")
	save("/teams/web-shop/roles/keeper", 422, "permission", "logs:Read", "data_scope", "env = prod or env != prod", "hidden_fields", "user", "look_back", "1d")
	save("/teams/web-shop/roles/keeper", 422, "permission", "logs:Read", "data_scope", "env = prod", "look_back", "1d")
	save("/teams/web-shop/roles/keeper", 422, "permission", "logs:Read", "data_scope", "env = prod", "hidden_fields", "user", "look_back", "2d")
	save("/teams/web-shop/roles/keeper", 422, "permission", "metrics:Read", "data_scope", "env = prod", "hidden_fields", "user", "look_back", "1d")
	save("/teams/web-shop/new-role", 422, "name", "more", "permission", "spans:Read")
	save("/teams/web-shop/roles/viewer", 403, "permission", "logs:Read")
	save("/teams/web-shop/new-role", 303, "name", "less", "permission", "logs:Read", "data_scope", "env = prod", "hidden_fields", "user,a", "look_back", "12h")
	save("/new-role", 403, "name", "more", "permission", "logs:Read")
	// Nor is what they cannot see shown as a preview.
	l := &logs{total: []int64{3, 5}}
	h.console.Logs = l
	b.post("/teams/web-shop/new-role", "do", "preview", "permission", "logs:Read").expect(t, 422, "Nobody can give more")
	b.post("/teams/web-shop/new-role", "do", "preview", "permission", "logs:Read", "data_scope", "env = prod", "hidden_fields", "user", "look_back", "1d").expect(t, 200, "<strong>3</strong> and hides <strong>2</strong>")
	for _, v := range l.views {
		if v.Filter() == nil || v.Filter().String() != `env = "prod"` || !slices.Equal(v.Hidden(), []string{"user"}) || v.LookBack() != 24*time.Hour {
			t.Errorf("asked with %+v", v)
		}
	}
}

func TestRolePages(t *testing.T) {
	h := newHouse(t)
	ada, bob, grace := h.addPerson("Ada", false), h.addPerson("Bob", false), h.addPerson("Grace", true)
	team := h.addTeam("web-shop", "Web Shop", ada, "admin")
	if _, err := h.directory.SetMember(t.Context(), "web-shop", bob.Email, []string{"viewer"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	admin, viewer, owner := h.browser(ada), h.browser(bob), h.browser(grace)
	admin.get("/teams/web-shop/roles").expect(t, 200, "viewer", "built-in", "New role")
	viewer.get("/teams/web-shop/roles").expectNot(t, "New role")
	admin.get("/teams/web-shop/roles/viewer").expect(t, 200, "This role is built in")
	admin.get("/teams/web-shop/roles/unknown").expect(t, 404)

	// A mistake is shown where it is.
	a := admin.post("/teams/web-shop/new-role", "name", "carts", "permission", "logs:Read", "data_scope", "service.näme ~ cart", "look_back", "soon")
	a.expect(t, 422, "at character 10", "service.n<mark>ä", `value="carts"`)
	admin.post("/teams/web-shop/new-role", "name", "carts", "look_back", "soon").expect(t, 422, "is not a look-back")
	admin.post("/teams/web-shop/new-role", "name", "Carts!").expect(t, 422, "is not a role name")
	admin.post("/teams/web-shop/new-role", "name", "viewer").expect(t, 422, "built-in role")
	admin.post("/teams/web-shop/new-role", "name", "x", "hidden_fields", "_time").expect(t, 422, "cannot be hidden")
	admin.post("/teams/web-shop/new-role", "name", "x", "permission", "logs:Eat").expect(t, 422, "is not a permission")
	a = admin.follow(admin.post("/teams/web-shop/new-role", "name", "carts", "permission", "logs:Read", "data_scope", "service.name = cart", "hidden_fields", "user.email, http.cookie", "look_back", "7d"))
	a.expect(t, 200, "The role carts is saved", "http.cookie, user.email", "7d")
	admin.post("/teams/web-shop/new-role", "name", "carts").expect(t, 422, "There is a role")
	viewer.get("/teams/web-shop/roles/carts").expect(t, 200, "Administrators of the team can change this role")
	viewer.post("/teams/web-shop/roles/carts", "permission", "logs:Read").expect(t, 403)

	// The preview: what the role shows of what one sees oneself.
	l := &logs{total: []int64{12, 345}, rows: []telemetry.LogRow{{Time: h.now, Fields: []telemetry.Field{{Name: "_msg", Value: "<b>paid</b>"}, {Name: "service.name", Value: "cart"}}}}}
	h.console.Logs = l
	a = admin.post("/teams/web-shop/roles/carts", "do", "preview", "permission", "logs:Read", "data_scope", "service.name = cart", "hidden_fields", "user", "look_back", "1d")
	a.expect(t, 200, "<strong>12</strong> and hides <strong>333</strong>", "&lt;b&gt;paid")
	if len(l.views) != 2 || l.views[0].Filter().String() != `service.name = "cart"` || !slices.Equal(l.views[0].Hidden(), []string{"user"}) || l.views[1].Filter() != nil {
		t.Errorf("asked with %+v", l.views)
	}
	if id, _ := l.views[0].Tenant(); id != team.Tenant {
		t.Errorf("asked for tenant %d", id)
	}
	if r, err := h.directory.Roles(t.Context(), "web-shop"); err != nil || r[4].LookBack != 7*24*time.Hour {
		t.Error("the preview changed the role")
	}
	l.err = telemetry.ErrUnavailable
	admin.post("/teams/web-shop/roles/carts", "do", "preview").expect(t, 200, "temporarily unavailable")
	l.err = nil

	// An owner sees nobody's logs by being one.
	l.views = nil
	owner.post("/teams/web-shop/roles/carts", "do", "preview", "permission", "logs:Read").expect(t, 200, "you may not read the logs of this team")
	owner.post("/new-role", "do", "preview", "permission", "logs:Read").expect(t, 200, "you are in no team")
	owner.post("/new-role", "do", "preview", "preview_team", "web-shop").expect(t, 200, "you may not read the logs of this team")
	if len(l.views) > 0 {
		t.Errorf("asked with %+v", l.views)
	}

	// Roles of the organization.
	owner.follow(owner.post("/new-role", "name", "support", "permission", "logs:Read")).expect(t, 200, "The role support is saved")
	owner.post("/new-role", "name", "carts").expect(t, 422, "exists already")
	admin.get("/teams/web-shop/roles/support").expect(t, 200, "belongs to the whole organization. Only an owner")
	admin.post("/teams/web-shop/roles/support", "permission", "logs:Read").expect(t, 403, "Only an owner")
	admin.post("/teams/web-shop/roles/support/remove").expect(t, 403, "Only an owner")
	admin.get("/roles").expect(t, 403)
	if _, err := h.directory.SetMember(t.Context(), "web-shop", bob.Email, []string{"support"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	owner.get("/roles/support").expect(t, 200, "1 person holds this role")
	owner.get("/roles/support/remove").expect(t, 200, "1 person holds it now")
	owner.post("/roles/support/remove").expect(t, 409, "Somebody holds the role")
	admin.follow(admin.post("/teams/web-shop/roles/carts/remove")).expect(t, 200, "The role carts is removed")
}

func TestGroupPages(t *testing.T) {
	h := newHouse(t)
	ada, grace := h.addPerson("Ada", false), h.addPerson("Grace", true)
	team := h.addTeam("web-shop", "Web Shop", grace, "viewer")
	b := h.browser(grace)
	b.get("/groups").expect(t, 200, "There is no group yet")
	a := b.post("/groups", "name", "On call")
	path := strings.SplitN(a.Header.Get("Location"), "?", 2)[0]
	b.follow(a).expect(t, 200, "The group On call is added", "Nobody is in the group")
	b.post("/groups", "name", "On call").expect(t, 422, "There is a group of this name already")
	b.post("/groups", "name", "").expect(t, 422, "A name is needed")
	b.post(path+"/members", "email", "x@example.com").expect(t, 422, "Nobody with this address")
	b.follow(b.post(path+"/members", "email", ada.Email)).expect(t, 200, "Ada is in the group now")
	b.get(path+"/teams/web-shop").expect(t, 200, "On call", "Save roles")
	b.follow(b.post(path+"/teams/web-shop", "role", "operator")).expect(t, 200, "The group gives operator in Web Shop")
	b.post(path+"/teams/web-shop", "role", "king").expect(t, 422, "no such role")
	b.get("/teams/web-shop").expect(t, 200, "some through the group On call")

	h.connect(ada, team, h.cursor())
	for _, page := range []string{"/remove", "/members/" + string(ada.ID) + "/remove"} {
		b.get(path+page).expect(t, 200, "This takes 1 person out of a team and ends 1 connection:")
	}
	b.get(path+"/teams/web-shop").expect(t, 200, "1 person would leave the team, and 1 connection would end")
	b.post("/teams/web-shop/members/"+string(ada.ID)+"/remove").expect(t, 409, "through a group only")
	b.get("/teams/web-shop/members/"+string(ada.ID)).expect(t, 200, "Through groups", "On call")

	adas := h.browser(ada)
	adas.get("/teams/web-shop/access").expect(t, 200, "operator (group On call)", "everything of the team", "Cursor", "alerts:Write")
	b.get("/teams/web-shop/access/"+string(ada.ID)).expect(t, 200, "What <bdi>Ada</bdi> may do")
	adas.get("/teams/web-shop/access/"+string(grace.ID)).expect(t, 403)
	adas.get("/teams/web-shop/access/"+string(ada.ID)).expect(t, 200)

	b.follow(b.post(path, "name", "Standby")).expect(t, 200, "called Standby now")
	b.follow(b.post(path+"/members/"+string(ada.ID)+"/remove")).expect(t, 200, "Ada is out of the group")
	adas.get("/teams/web-shop").expect(t, 404)
	adas.get("/connections").expect(t, 200, "taken out of the team")
	b.follow(b.post(path+"/remove")).expect(t, 200, "The group Standby is removed")
	b.get(path).expect(t, 404, "no such group")
}
