package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
)

func TestExplain(t *testing.T) {
	f := granttest.New(t)
	by := audit.System()
	save := func(text org.RoleText) {
		t.Helper()
		_, err := f.Directory.SaveRole(t.Context(), text, by)
		f.Must(err)
	}
	save(org.RoleText{Name: "support", Permissions: []org.Permission{org.LogsRead}, DataScope: "env = prod", HiddenFields: []string{"user.email"}, LookBack: "7d"})
	save(org.RoleText{Team: "shop", Name: "alerts", Permissions: []org.Permission{org.AlertsRead}})
	group, err := f.Directory.AddGroup(t.Context(), "On call", "", by)
	f.Must(err)
	f.Must(f.Directory.ChangeGroupMembers(t.Context(), group.ID, org.MemberChange{Add: []org.PersonID{f.Ada.ID}}, by))
	f.Must(f.Directory.SetGroupRoles(t.Context(), group.ID, "shop", []string{"support"}, by))
	f.SetRoles("alerts", "support")
	f.Connect("c")
	explain := func() access.Explanation {
		t.Helper()
		ada, err := f.Directory.Person(t.Context(), f.Ada.ID)
		f.Must(err)
		e, err := access.Explain(t.Context(), f.Directory, f.Authority, ada, f.Shop, f.Now())
		f.Must(err)
		return e
	}
	e := explain()
	if e.Refused != "" || len(e.Roles) != 2 || e.Roles[0].From() != "given directly" || e.Roles[1].From() != "given directly, group On call" {
		t.Errorf("%+v", e.Roles)
	}
	if len(e.Permissions) != len(org.Permissions()) {
		t.Fatalf("%d permissions", len(e.Permissions))
	}
	logs := e.Permissions[0]
	if !logs.Given || logs.By[0].Role.Name != "support" || logs.Rows != `only where env = "prod"` || logs.LookBack() != "the last 7d" || !slices.Equal(logs.Restriction.Hidden, []string{"user.email"}) {
		t.Errorf("%+v", logs)
	}
	if spans := e.Permissions[1]; spans.Given || len(spans.By) != 0 || spans.Rows != "none" || !slices.Contains(spans.WouldGive, "viewer") {
		t.Errorf("%+v", spans)
	}
	if len(e.Connections) != 1 {
		t.Fatalf("%+v", e.Connections)
	}
	// The scopes are logs:read and metrics:read.
	c := e.Connections[0]
	if !slices.Equal(c.May, []org.Permission{org.LogsRead}) || !slices.Equal(c.NoScope, []org.Permission{org.AlertsRead}) || !slices.Equal(c.NoRole, []org.Permission{org.MetricsRead}) || c.Refused != "" {
		t.Errorf("%+v", c)
	}
	_, err = f.Authority.BlockClient(t.Context(), f.Client.Key(), true, by)
	f.Must(err)
	if c := explain().Connections[0]; !strings.Contains(c.Refused, "blocked") {
		t.Errorf("%+v", c)
	}
	_, err = f.Directory.Disable(t.Context(), f.Ada.Email, by)
	f.Must(err)
	if e := explain(); !strings.Contains(e.Refused, "disabled") {
		t.Errorf("%+v", e)
	}
	nobody, err := f.Directory.AddPerson(t.Context(), org.NewPerson{Email: "bob@example.com", Name: "Bob"}, by)
	f.Must(err)
	e, err = access.Explain(t.Context(), f.Directory, f.Authority, nobody, f.Shop, f.Now())
	f.Must(err)
	if !strings.Contains(e.Refused, "no role") || slices.ContainsFunc(e.Permissions, func(p access.ExplainedPermission) bool { return p.Given }) {
		t.Errorf("%+v", e)
	}
}

func TestNobodyGivesMoreThanTheyHave(t *testing.T) {
	builtIn := org.BuiltInRoles()
	viewer, admin := builtIn[0], builtIn[3]
	prod := filter(t, "env = prod")
	scoped := org.Role{Name: "scoped", Permissions: []org.Permission{org.LogsRead, org.TeamAdmin}, DataScope: prod, HiddenFields: []string{"user"}, LookBack: 24 * time.Hour}
	keeper := org.Role{Name: "keeper", Permissions: []org.Permission{org.TeamAdmin}}
	for name, test := range map[string]struct {
		own  []org.Role
		role org.Role
		ok   bool
	}{
		"admin gives viewer":            {[]org.Role{admin}, viewer, true},
		"admin gives admin":             {[]org.Role{admin}, admin, true},
		"viewer gives admin":            {[]org.Role{viewer}, admin, false},
		"keeper gives viewer":           {[]org.Role{keeper}, viewer, false},
		"keeper gives keeper":           {[]org.Role{keeper}, keeper, true},
		"scoped gives viewer":           {[]org.Role{scoped}, viewer, false},
		"scoped gives itself":           {[]org.Role{scoped}, scoped, true},
		"without the scope":             {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions, HiddenFields: scoped.HiddenFields, LookBack: scoped.LookBack}, false},
		"with another scope":            {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions, DataScope: filter(t, "env = test"), HiddenFields: scoped.HiddenFields, LookBack: scoped.LookBack}, false},
		"with a longer look-back":       {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions, DataScope: prod, HiddenFields: scoped.HiddenFields, LookBack: 25 * time.Hour}, false},
		"without the hidden field":      {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions, DataScope: prod, LookBack: time.Hour}, false},
		"with less of the hidden field": {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions, DataScope: prod, LookBack: time.Hour, HiddenFields: []string{"user.email"}}, false},
		"less in every way":             {[]org.Role{scoped}, org.Role{Permissions: scoped.Permissions[:1], DataScope: prod, LookBack: time.Hour, HiddenFields: []string{"a", "user"}}, true},
		"nobody gives nothing":          {nil, org.Role{}, true},
		"nobody gives something":        {nil, viewer, false},
	} {
		err := access.Within(org.NewStanding(test.own), test.role)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, access.ErrBeyondOwn) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPreviewShowsNoMoreThanItsReaderSees(t *testing.T) {
	own := org.Role{Permissions: []org.Permission{org.LogsRead}, DataScope: filter(t, "env = prod"), HiddenFields: []string{"a"}, LookBack: time.Hour}
	role := org.Role{DataScope: filter(t, "service = cart"), HiddenFields: []string{"b", "a"}, LookBack: 2 * time.Hour}
	preview, all, ok := access.Preview(org.NewStanding([]org.Role{own}), 7, role, org.LogsRead)
	if !ok || preview.Filter().String() != `env = "prod" and service = "cart"` || preview.LookBack() != time.Hour || !slices.Equal(preview.Hidden(), []string{"a", "b"}) {
		t.Errorf("%v, %+v", ok, preview)
	}
	if all.Filter().String() != `env = "prod"` || all.LookBack() != time.Hour || !slices.Equal(all.Hidden(), []string{"a"}) {
		t.Errorf("%+v", all)
	}
	if preview, _, ok := access.Preview(org.NewStanding(nil), 7, role, org.LogsRead); ok {
		t.Errorf("somebody without a role sees %+v", preview)
	}
}
