package org_test

import (
	"slices"
	"testing"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func filter(t *testing.T, text string) *telemetry.Filter {
	t.Helper()
	f, err := telemetry.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestZeroStandingMayNothing(t *testing.T) {
	var s org.Standing
	if s.Member() || len(s.Permissions()) != 0 || len(s.RoleNames()) != 0 {
		t.Errorf("%+v", s)
	}
	for _, p := range org.Permissions() {
		if _, ok := s.Restriction(p); ok || s.May(p) {
			t.Errorf("may %s", p)
		}
	}
	if r := (org.Person{}); r.Active() {
		t.Error("nobody is active")
	}
}

func TestUnknownRolesGiveNothing(t *testing.T) {
	custom := []org.Role{{Name: "on-call", Team: "t1", Permissions: []org.Permission{org.AlertsWrite}}}
	s := org.StandingOf([]string{"gone", "on-call"}, custom)
	if got := s.Permissions(); !slices.Equal(got, []org.Permission{org.AlertsWrite}) {
		t.Errorf("permissions %v", got)
	}
	if s := org.StandingOf([]string{"gone"}, custom); s.Member() {
		t.Error("a role that does not exist makes a member")
	}
	// A custom role must never be able to stand in for a built-in one.
	evil := []org.Role{{Name: "viewer", Team: "t1", Permissions: org.Permissions()}}
	if s := org.StandingOf([]string{"viewer"}, evil); s.May(org.TeamAdmin) {
		t.Error("a custom role replaced a built-in one")
	}
}

func TestDataScopeIsTheUnionOfTheRolesThatGiveThePermission(t *testing.T) {
	services := []string{"checkout", "cart", "ledger", ""}
	checkout, cart := filter(t, "service.name = checkout"), filter(t, "service.name = cart")
	read, alerts := []org.Permission{org.LogsRead}, []org.Permission{org.AlertsRead}
	for name, test := range map[string]struct {
		roles []org.Role
		want  []string // nil where the permission is missing
	}{
		"no role":            {nil, nil},
		"one scope":          {[]org.Role{{Permissions: read, DataScope: checkout}}, []string{"checkout"}},
		"two scopes":         {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read, DataScope: cart}}, []string{"checkout", "cart"}},
		"the same twice":     {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read, DataScope: checkout}}, []string{"checkout"}},
		"one role unscoped":  {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read}}, services},
		"unscoped elsewhere": {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: alerts}}, []string{"checkout"}},
		"only elsewhere":     {[]org.Role{{Permissions: alerts}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := org.NewStanding(test.roles).Restriction(org.LogsRead)
			if ok != (test.want != nil) || ok != org.NewStanding(test.roles).May(org.LogsRead) {
				t.Fatalf("ok = %v", ok)
			}
			if !ok {
				return
			}
			var seen []string
			for _, s := range services {
				if r.Filter == nil || r.Filter.Match(func(string) string { return s }) {
					seen = append(seen, s)
				}
			}
			if !slices.Equal(seen, test.want) {
				t.Errorf("sees %q, want %q", seen, test.want)
			}
		})
	}
}
