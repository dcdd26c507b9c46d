package org

import (
	"context"
	"errors"

	"github.com/orielhq/oriel/internal/audit"
)

// ErrRolesWithoutTeam is about an invitation with roles in no team.
var ErrRolesWithoutTeam = errors.New("roles are given in a team: say which one")

// Invite adds somebody who has no password yet and, where slug is not "", gives
// them roles in a team. What is wrong with the team or the roles is found
// before there is an account.
func (d *Directory) Invite(ctx context.Context, n NewPerson, slug string, roles []string, by audit.Actor) (Person, error) {
	if slug == "" && len(roles) > 0 {
		return Person{}, ErrRolesWithoutTeam
	}
	if slug != "" {
		if _, err := d.knownRoles(ctx, slug, roles); err != nil {
			return Person{}, err
		}
	}
	n.Password = ""
	p, err := d.AddPerson(ctx, n, by)
	if err != nil || slug == "" {
		return p, err
	}
	_, err = d.SetMember(ctx, slug, p.Email, roles, by)
	return p, err
}
