package org_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/org"
)

func TestGroups(t *testing.T) {
	ctx := t.Context()
	d, _ := newDirectory(t)
	ada := must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada"}, by))
	bob := must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: "bob@example.com", Name: "Bob"}, by))
	must[org.Team](t)(d.AddTeam(ctx, "shop", "Shop", by))
	must[org.Team](t)(d.AddTeam(ctx, "bank", "Bank", by))
	g := must[org.Group](t)(d.AddGroup(ctx, " On call ", "idp-1", by))
	if g.Name != "On call" || g.ExternalID != "idp-1" || g.ID == "" {
		t.Errorf("%+v", g)
	}
	other := must[org.Group](t)(d.AddGroup(ctx, "Support", "", by))
	must[org.Group](t)(d.AddGroup(ctx, "Third", "", by)) // no external id twice is no clash

	for want, err := range map[error]error{
		org.ErrGroupNameTaken: second(d.AddGroup(ctx, "On call", "", by)), org.ErrExternalIDTaken: second(d.AddGroup(ctx, "New", "idp-1", by)),
		org.ErrGroupNotFound: d.RemoveGroup(ctx, "grp_none", by), org.ErrRoleNotFound: d.SetGroupRoles(ctx, g.ID, "shop", []string{"king"}, by),
		org.ErrTeamNotFound:   d.SetGroupRoles(ctx, g.ID, "nowhere", []string{"viewer"}, by),
		org.ErrPersonNotFound: d.ChangeGroupMembers(ctx, g.ID, org.MemberChange{Add: []org.PersonID{"per_none"}}, by),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if _, err := d.UpdateGroup(ctx, other.ID, "On call", "", by); !errors.Is(err, org.ErrGroupNameTaken) {
		t.Errorf("renamed to a name that is taken: %v", err)
	}
	renamed := must[org.Group](t)(d.UpdateGroup(ctx, other.ID, "Helpers", "idp-2", by))
	if renamed.Name != "Helpers" || renamed.ExternalID != "idp-2" || renamed.Version <= other.Version {
		t.Errorf("%+v", renamed)
	}

	change := func(c org.MemberChange) {
		t.Helper()
		if err := d.ChangeGroupMembers(ctx, g.ID, c, by); err != nil {
			t.Fatal(err)
		}
	}
	emails := func() (out []string) {
		t.Helper()
		for _, p := range must[[]org.Person](t)(d.GroupMembers(ctx, g.ID)) {
			out = append(out, p.Name)
		}
		return out
	}
	change(org.MemberChange{Add: []org.PersonID{ada.ID, bob.ID, ada.ID}})
	change(org.MemberChange{Add: []org.PersonID{ada.ID}})
	if got := emails(); !slices.Equal(got, []string{"Ada", "Bob"}) {
		t.Errorf("members %v", got)
	}
	change(org.MemberChange{Replace: true, Add: []org.PersonID{bob.ID}})
	if got := emails(); !slices.Equal(got, []string{"Bob"}) {
		t.Errorf("members %v", got)
	}
	change(org.MemberChange{Remove: []org.PersonID{bob.ID, ada.ID}, Add: []org.PersonID{ada.ID}})
	if got := emails(); !slices.Equal(got, []string{"Ada"}) {
		t.Errorf("members %v", got)
	}

	must[org.Member](t)(d.SetMember(ctx, "shop", ada.Email, []string{"viewer"}, by))
	for _, slug := range []string{"shop", "bank"} {
		if err := d.SetGroupRoles(ctx, g.ID, slug, []string{"viewer", " operator"}, by); err != nil {
			t.Fatal(err)
		}
	}
	memberships := must[[]org.Member](t)(d.Memberships(ctx, ada.ID))
	if len(memberships) != 2 || memberships[0].Team.Slug != "bank" || memberships[1].Team.Slug != "shop" {
		t.Fatalf("%+v", memberships)
	}
	shop := memberships[1]
	if !slices.Equal(shop.Roles, []string{"viewer", "operator"}) || !slices.Equal(shop.Direct, []string{"viewer"}) ||
		len(shop.Through) != 1 || shop.Through[0].Group.Name != "On call" {
		t.Errorf("%+v", shop)
	}
	if bank := memberships[0]; len(bank.Direct) != 0 || len(bank.Roles) != 2 {
		t.Errorf("%+v", bank)
	}
	if m := must[[]org.Member](t)(d.Members(ctx, "bank")); len(m) != 1 || m[0].Person.ID != ada.ID {
		t.Errorf("%+v", m)
	}
	if err := d.RemoveMember(ctx, "bank", ada.Email, by); err == nil || !strings.Contains(err.Error(), "through the group On call") {
		t.Errorf("%v", err)
	}

	// A program's account stays out.
	service := must[org.Person](t)(d.AddService(ctx, "Nightly", "shop", []string{"viewer"}, by))
	if err := d.ChangeGroupMembers(ctx, g.ID, org.MemberChange{Add: []org.PersonID{service.ID}}, by); err == nil {
		t.Error("a program's account is in a group")
	}
	if groups := must[[]org.Group](t)(d.GroupsOf(ctx, ada.ID)); len(groups) != 1 || groups[0].ID != g.ID {
		t.Errorf("%+v", groups)
	}
	if err := d.RemoveGroup(ctx, g.ID, by); err != nil {
		t.Fatal(err)
	}
	if given := must[[]org.GroupRoles](t)(d.AllGroupRoles(ctx)); len(given) != 0 {
		t.Errorf("%+v", given)
	}
}

func second[T any](_ T, err error) error { return err }
