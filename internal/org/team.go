package org

import (
	"fmt"
	"regexp"
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
	Roles  []string
}
