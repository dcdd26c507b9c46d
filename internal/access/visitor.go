package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Visitor is a person who is signed in at a browser, in one team, with what
// they may do there now: what a Caller is for the console. No client stands
// between, so no scope narrows it. Its zero value may nothing. A Visitor is
// valid for one request.
type Visitor struct {
	person org.Person
	team   org.Team
	roles  org.Standing
	// refused says why nothing may be done at all.
	refused string
}

// SignIn is how and when somebody proved who they are.
type SignIn struct {
	// AMR is as in RFC 8176.
	AMR  []string
	Time time.Time
}

// Visit looks up what a person may do in a team. It refuses by the same
// verdict as the gate does a connection of theirs that is as old as their
// sign-in: Refused says why. An error is a fault of ours.
func Visit(ctx context.Context, d *org.Directory, lifetimes grant.Lifetimes, person org.Person, team org.Team, in SignIn, now time.Time) (*Visitor, error) {
	v := &Visitor{person: person, team: team}
	m, err := d.Membership(ctx, person.ID, team.ID)
	if err != nil && !errors.Is(err, org.ErrNotMember) {
		return nil, fmt.Errorf("read membership: %w", err)
	}
	if err == nil {
		if v.roles, err = d.Standing(ctx, m); err != nil {
			return nil, fmt.Errorf("read roles: %w", err)
		}
	}
	s := grant.Standing{
		// Verdict asks for a grant, and how its person signed in.
		Grant:  grant.Grant{ID: "console", CreatedAt: now, AMR: in.AMR, AuthTime: in.Time},
		Person: person, Team: team, Roles: v.roles,
	}
	if s.MFA, err = d.MFA(ctx, team.ID); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if s.Policy.Organization, err = d.Reconnect(ctx, ""); err != nil {
		return nil, err
	}
	if s.Policy.Team, err = d.Reconnect(ctx, team.ID); err != nil {
		return nil, err
	}
	if err := s.Verdict(now, lifetimes); err != nil {
		v.refused = strings.ReplaceAll(err.Error(), "connect again", "sign in again")
	}
	return v, nil
}

// Refused says why the visitor may not read anything at all, "" where they
// may.
func (v *Visitor) Refused() string { return v.refused }

// Person returns who is there.
func (v *Visitor) Person() org.Person { return v.person }

// Team returns the team that they look at.
func (v *Visitor) Team() org.Team { return v.team }

// Roles returns the names of the roles that the person holds in the team.
func (v *Visitor) Roles() []string { return slices.Clone(v.roles.RoleNames()) }

// May says whether the person's roles give p in the team now.
func (v *Visitor) May(p org.Permission) bool {
	return v != nil && v.refused == "" && v.person.ID != "" && v.roles.May(p)
}

// View returns what the visitor may see with the permission p: what a caller
// of the same person with all scopes sees. The view of somebody who may not
// use p sees nothing.
func (v *Visitor) View(p org.Permission) telemetry.View {
	if !v.May(p) {
		return telemetry.View{}
	}
	r, ok := Restrict(v.roles.Roles(), p)
	if !ok {
		return telemetry.View{}
	}
	return telemetry.NewView(v.team.Tenant, r)
}
