package org

import "slices"

// Standing is what a person may do in one team, all their roles there taken
// together. Its zero value may nothing.
type Standing struct {
	roles []Role
}

// NewStanding combines the roles that a person holds in a team.
func NewStanding(roles []Role) Standing { return Standing{roles: roles} }

// Member says whether the person holds any role in the team.
func (s Standing) Member() bool { return len(s.roles) > 0 }

// RoleNames returns the names of the roles held.
func (s Standing) RoleNames() []string {
	names := make([]string, len(s.roles))
	for i, r := range s.roles {
		names[i] = r.Name
	}
	return names
}

// May says whether any role held gives the permission.
func (s Standing) May(p Permission) bool {
	return slices.ContainsFunc(s.roles, func(r Role) bool { return slices.Contains(r.Permissions, p) })
}

// Permissions returns what the roles give, in the order of [Permissions].
func (s Standing) Permissions() []Permission {
	return slices.DeleteFunc(Permissions(), func(p Permission) bool { return !s.May(p) })
}

// Roles returns the roles held.
func (s Standing) Roles() []Role { return slices.Clone(s.roles) }
