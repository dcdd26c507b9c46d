package org_test

import (
	"slices"
	"testing"

	"github.com/orielhq/oriel/internal/org"
)

func TestZeroStandingMayNothing(t *testing.T) {
	var s org.Standing
	if s.Member() || len(s.Permissions()) != 0 || len(s.RoleNames()) != 0 {
		t.Errorf("%+v", s)
	}
	for _, p := range org.Permissions() {
		if s.May(p) {
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
