package org

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Permission is what a role lets its holder do in a team, as resource:Action.
type Permission string

// The permissions.
const (
	LogsRead         Permission = "logs:Read"
	SpansRead        Permission = "spans:Read"
	MetricsRead      Permission = "metrics:Read"
	AlertsRead       Permission = "alerts:Read"
	AlertsWrite      Permission = "alerts:Write"
	AnnotationsWrite Permission = "annotations:Write"
	TeamAdmin        Permission = "team:Admin"
)

// Permissions lists every permission, in the order in which people see them.
func Permissions() []Permission {
	return []Permission{LogsRead, SpansRead, MetricsRead, AlertsRead, AlertsWrite, AnnotationsWrite, TeamAdmin}
}

// ParsePermissions reads a comma-separated list of permissions.
func ParsePermissions(s string) ([]Permission, error) {
	var out []Permission
	for part := range strings.SplitSeq(s, ",") {
		p := Permission(strings.TrimSpace(part))
		if p == "" {
			continue
		}
		if !slices.Contains(Permissions(), p) {
			return nil, fmt.Errorf("%q is not a permission (there are %s)", p, joinPermissions(Permissions()))
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func joinPermissions(ps []Permission) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = string(p)
	}
	return strings.Join(s, ", ")
}

// A Role is a named set of permissions, with an optional data scope.
type Role struct {
	Name string
	// Team is where a custom role exists; "" for the built-in ones, which
	// exist everywhere.
	Team        TeamID
	Permissions []Permission
	// DataScope narrows what the role's reading permissions show; nil shows
	// the whole team's telemetry.
	DataScope *telemetry.Filter
}

// BuiltIn says whether the role is one of BuiltInRoles.
func (r Role) BuiltIn() bool { return r.Team == "" }

// BuiltInRoles returns the four roles that every team has, weakest first.
func BuiltInRoles() []Role {
	read := []Permission{LogsRead, SpansRead, MetricsRead, AlertsRead}
	with := func(ps []Permission, more ...Permission) []Permission { return append(slices.Clone(ps), more...) }
	analyst := with(read, AnnotationsWrite)
	operator := with(analyst, AlertsWrite)
	return []Role{
		{Name: "viewer", Permissions: read},
		{Name: "analyst", Permissions: analyst},
		{Name: "operator", Permissions: operator},
		{Name: "admin", Permissions: with(operator, TeamAdmin)},
	}
}

// IsBuiltInRole says whether every team has a role of that name.
func IsBuiltInRole(name string) bool {
	switch name {
	case "viewer", "analyst", "operator", "admin":
		return true
	}
	return false
}

// builtInRole returns the built-in role of that name.
func builtInRole(name string) (Role, bool) {
	for _, r := range BuiltInRoles() {
		if r.Name == name {
			return r, true
		}
	}
	return Role{}, false
}

var roleNamePattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?$`)

// ParseRoleName checks the name of a role.
func ParseRoleName(s string) (string, error) {
	if !roleNamePattern.MatchString(s) {
		return "", fmt.Errorf("%q is not a role name (use 1 to 40 lower-case letters, digits, hyphens and underscores)", s)
	}
	return s, nil
}
