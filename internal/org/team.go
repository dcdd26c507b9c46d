package org

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// TeamID identifies a team for ever.
type TeamID string

// A Team owns telemetry and has members.
type Team struct {
	ID TeamID
	// Slug names the team in URLs and commands; it never changes.
	Slug      string
	Name      string
	Tenant    telemetry.TenantID
	CreatedAt time.Time
}

var slugPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)

// ParseSlug checks a team's slug: 1 to 40 of a-z, 0-9 and hyphen, neither
// first nor last a hyphen.
func ParseSlug(s string) (string, error) {
	if !slugPattern.MatchString(s) {
		return "", fmt.Errorf("%q is not a slug (use 1 to 40 lower-case letters, digits and hyphens, like \"web-shop\")", s)
	}
	return s, nil
}

// A Member is a person in a team, with the names of the roles held there.
type Member struct {
	Person Person
	Team   Team
	// Roles are all that the person holds, each once: Direct and those of the
	// groups in Through.
	Roles []string
	// Direct are the roles given to the person alone.
	Direct []string
	// Through are the groups that give the person roles in the team.
	Through []GroupRoles
}

// AddDirect notes roles that the person was given alone.
func (m *Member) AddDirect(roles []string) {
	m.Direct = roles
	m.add(roles)
}

// AddThrough notes what a group gives the person.
func (m *Member) AddThrough(g GroupRoles) {
	m.Through = append(m.Through, g)
	m.add(g.Roles)
}

func (m *Member) add(roles []string) {
	for _, r := range roles {
		if !slices.Contains(m.Roles, r) {
			m.Roles = append(m.Roles, r)
		}
	}
}
