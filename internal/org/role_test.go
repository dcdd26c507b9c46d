package org_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func TestSaveRole(t *testing.T) {
	ctx := t.Context()
	d, _ := newDirectory(t)
	must[org.Team](t)(d.AddTeam(ctx, "shop", "Shop", by))
	must[org.Team](t)(d.AddTeam(ctx, "bank", "Bank", by))
	read := []org.Permission{org.LogsRead}
	must[org.Role](t)(d.SaveRole(ctx, org.RoleText{
		Name: "support", Permissions: read, DataScope: "env = prod", HiddenFields: []string{"user.email", "a"}, LookBack: "4w",
	}, by))
	must[org.Role](t)(d.SaveRole(ctx, org.RoleText{Team: "shop", Name: "own", Permissions: read}, by))

	roles := must[[]org.Role](t)(d.Roles(ctx, "shop"))
	if len(roles) != 6 || roles[3].Kind() != "built-in" || roles[4].Kind() != "organization" || roles[5].Kind() != "team" {
		t.Fatalf("%+v", roles)
	}
	if r := roles[4]; r.DataScope.String() != `env = "prod"` || len(r.HiddenFields) != 2 || r.LookBack != 28*24*time.Hour || org.FormatLookBack(r.LookBack) != "28d" {
		t.Errorf("%+v", r)
	}
	if roles := must[[]org.Role](t)(d.Roles(ctx, "")); len(roles) != 5 {
		t.Errorf("%+v", roles)
	}

	for field, text := range map[string]org.RoleText{
		"name":          {Name: "Own", Permissions: read},
		"permissions":   {Name: "x", Permissions: []org.Permission{"logs:Eat"}},
		"data_scope":    {Name: "x", DataScope: "a = "},
		"hidden_fields": {Name: "x", HiddenFields: []string{"_time"}},
		"look_back":     {Name: "x", LookBack: "soon"},
	} {
		_, err := d.SaveRole(ctx, text, by)
		if e, ok := errors.AsType[*org.RoleError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := d.SaveRole(ctx, org.RoleText{Name: "x", DataScope: "a ? b"}, by); err != nil {
		if f, ok := errors.AsType[*telemetry.FilterError](err); !ok || f.Offset != 2 {
			t.Errorf("%v", err)
		}
	}
	// A role cannot hide what its own scope goes by.
	if _, err := d.SaveRole(ctx, org.RoleText{Name: "x", DataScope: "user.id != 7", HiddenFields: []string{"user"}}, by); err == nil {
		t.Error("accepted")
	}
	// One name means one thing.
	for _, text := range []org.RoleText{{Name: "own"}, {Team: "bank", Name: "support"}, {Name: "viewer"}} {
		if _, err := d.SaveRole(ctx, text, by); err == nil {
			t.Errorf("%+v is accepted", text)
		}
	}
	if _, err := d.SaveRole(ctx, org.RoleText{Team: "bank", Name: "own"}, by); err != nil {
		t.Errorf("another team's own: %v", err)
	}

	// What somebody holds cannot be removed.
	ada := must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada"}, by))
	must[org.Member](t)(d.SetMember(ctx, "shop", ada.Email, []string{"support", "own"}, by))
	for _, slug := range []string{"", "shop"} {
		name := map[string]string{"": "support", "shop": "own"}[slug]
		if err := d.RemoveRole(ctx, slug, name, by); !errors.Is(err, org.ErrRoleInUse) {
			t.Errorf("%v", err)
		}
	}
	must[org.Member](t)(d.SetMember(ctx, "shop", ada.Email, []string{"viewer"}, by))
	if err := d.RemoveRole(ctx, "", "support", by); err != nil {
		t.Error(err)
	}
	if err := d.RemoveRole(ctx, "shop", "own", by); err != nil {
		t.Error(err)
	}
	if err := d.RemoveRole(ctx, "shop", "own", by); !errors.Is(err, org.ErrRoleNotFound) {
		t.Error(err)
	}
	if err := d.RemoveRole(ctx, "shop", "viewer", by); err == nil || !strings.Contains(err.Error(), "built-in") {
		t.Error(err)
	}
}

func TestLookBack(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90m": 90 * time.Minute, " 12h": 12 * time.Hour, "7d": 168 * time.Hour, "2w": 336 * time.Hour} {
		d, err := org.ParseLookBack(text)
		if err != nil || d != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
		if again, err := org.ParseLookBack(org.FormatLookBack(d)); err != nil || again != d {
			t.Errorf("%q comes back as %v, %v", text, again, err)
		}
	}
	for _, text := range []string{"0d", "-1d", "7", "d", "7 d", "1y", "99999d", "999999999999999999d", "7d7d"} {
		if d, err := org.ParseLookBack(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}
