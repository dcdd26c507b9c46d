package org

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// ErrLastOwner is about somebody without whom nobody would own the
// organization.
var ErrLastOwner = errors.New("this is the last owner of the organization: make somebody else an owner first")

// ErrLastBreakGlass is about somebody without whom nobody could sign in while
// an identity provider does not work.
var ErrLastBreakGlass = errors.New("this is the last owner who may use a password although passwords are refused for a domain, so nobody could sign in while the identity provider does not work: " +
	"name another one first (oriel provider break-glass --email E), or take passwords again (oriel provider sso-only --domain D --off)")

// DeletedAddress stands before the id of somebody whose account was deleted, in
// the place of the e-mail address: nobody can be called so, and the address is
// free for somebody else. The row stays, for the audit's sake.
const DeletedAddress = "deleted:"

// Deleted says whether the account was deleted.
func (p Person) Deleted() bool { return strings.HasPrefix(p.Email, DeletedAddress) }

// AccountChange is a change of an account as a whole. The zero value is none.
type AccountChange int

// The changes of an account.
const (
	// DisableAccount takes away the sign-in, EnableAccount gives it back.
	// Grants that ended stay ended.
	DisableAccount AccountChange = iota + 1
	EnableAccount
	MakeOwner
	UnmakeOwner
	// DeleteAccount takes everything away and frees the address; the audit
	// stays.
	DeleteAccount
)

// kind returns the audit's name of the change.
func (c AccountChange) kind() audit.Kind {
	return map[AccountChange]audit.Kind{
		DisableAccount: audit.PersonDisabled, EnableAccount: audit.PersonEnabled,
		MakeOwner: audit.OwnerGiven, UnmakeOwner: audit.OwnerTaken, DeleteAccount: audit.PersonDeleted,
	}[c]
}

// AccountStore changes accounts as a whole.
type AccountStore interface {
	// ChangeAccount makes the change. It refuses to take away the last active
	// owner. Errors: ErrPersonNotFound, also for somebody deleted and for a
	// program that is to be an owner; ErrLastOwner.
	ChangeAccount(ctx context.Context, id PersonID, change AccountChange, ev audit.Event) error
}

// ChangeAccount changes somebody's account as a whole. The last active owner
// stays what they are: unlike Disable, it is for people who have no shell to
// make another one in. Errors: ErrPersonNotFound, ErrLastOwner.
func (d *Directory) ChangeAccount(ctx context.Context, id PersonID, change AccountChange, by audit.Actor) (Person, error) {
	p, err := d.store.PersonByID(ctx, id)
	if err != nil {
		return p, err
	}
	if change.kind() == "" || p.Deleted() {
		return p, ErrPersonNotFound
	}
	// The address is in the event because the account may lose it.
	if err := d.store.ChangeAccount(ctx, id, change, d.event(by, change.kind(), string(id), "", p.Email)); err != nil {
		return p, fmt.Errorf("change the account of %s: %w", p.Email, err)
	}
	return p, nil
}
