// Package org owns the organization: people, teams, members, roles, their
// permissions and data scopes, and ingest keys. [Directory] makes every
// change, each in one transaction with its audit event; what the changes mean
// for a call is decided in package access.
//
// It knows neither HTTP nor SQL: the [Store] it declares is implemented in
// package store.
package org

import (
	"context"
	"errors"
	"time"

	"github.com/orielhq/oriel/internal/audit"
)

// Errors that a Store and the Directory return. Their text is for people.
var (
	ErrPersonNotFound = errors.New("no such person")
	ErrTeamNotFound   = errors.New("no such team")
	ErrRoleNotFound   = errors.New("no such role")
	ErrRoleNameTaken  = errors.New("a role of this name exists already, for the whole organization or in a team")
	ErrRoleInUse      = errors.New("somebody holds the role, or a group gives it")
	ErrNotMember      = errors.New("not a member of the team")
	ErrKeyNotFound    = errors.New("no such ingest key")
	ErrEmailTaken     = errors.New("somebody with this e-mail address exists already")
	ErrSlugTaken      = errors.New("a team with this slug exists already")
	ErrKeyNameTaken   = errors.New("the team has a working key of this name already")
	ErrOwnerExists    = errors.New("an owner exists already")
)

// Store keeps the organization. Every change is one transaction together with
// its audit event and, where it touches what somebody may do, its entry in
// the change feed. Implementations are safe for concurrent use.
type Store interface {
	GroupStore
	AccountStore

	// CreatePerson adds p. Errors: ErrEmailTaken.
	CreatePerson(ctx context.Context, p Person, passwordHash string, ev audit.Event) error
	// CreateFirstOwner adds p if there is no owner yet. Errors:
	// ErrOwnerExists, ErrEmailTaken.
	CreateFirstOwner(ctx context.Context, p Person, passwordHash string, ev audit.Event) error
	// HasOwner says whether any owner exists.
	HasOwner(ctx context.Context) (bool, error)
	// PersonByEmail takes an address as ParseEmail returns it. Errors:
	// ErrPersonNotFound.
	PersonByEmail(ctx context.Context, email string) (Person, error)
	// PersonByID returns ErrPersonNotFound where there is none.
	PersonByID(ctx context.Context, id PersonID) (Person, error)
	// People lists everybody by e-mail address.
	People(ctx context.Context) ([]Person, error)
	// SetDisabled disables (at) or enables (zero time) a person; disabling
	// ends the person's browser sessions and grants. Errors:
	// ErrPersonNotFound.
	SetDisabled(ctx context.Context, id PersonID, at time.Time, ev audit.Event) error
	// PasswordHash returns "" for a person without a password. Errors:
	// ErrPersonNotFound.
	PasswordHash(ctx context.Context, id PersonID) (string, error)
	// SetPasswordHash replaces the hash. Errors: ErrPersonNotFound.
	SetPasswordHash(ctx context.Context, id PersonID, hash string, ev audit.Event) error

	// CreateTeam adds t with a tenant id of its own, which it returns in the
	// team. Errors: ErrSlugTaken.
	CreateTeam(ctx context.Context, t Team, ev audit.Event) (Team, error)
	// RenameTeam changes a team's display name. Errors: ErrTeamNotFound.
	RenameTeam(ctx context.Context, id TeamID, name string, ev audit.Event) error
	// TeamBySlug returns ErrTeamNotFound where there is none.
	TeamBySlug(ctx context.Context, slug string) (Team, error)
	// Teams lists all teams, the first created first.
	Teams(ctx context.Context) ([]Team, error)

	// SetMember gives the person exactly these roles in the team.
	SetMember(ctx context.Context, team TeamID, person PersonID, roles []string, ev audit.Event) error
	// RemoveMember takes away what the person was given in the team directly,
	// and their grants there unless a group still gives them a role. It
	// returns ErrNotMember where there is nothing to remove.
	RemoveMember(ctx context.Context, team TeamID, person PersonID, ev audit.Event) error
	// Members lists a team's members, those through groups included, by
	// e-mail address.
	Members(ctx context.Context, team TeamID) ([]Member, error)
	// Memberships lists the teams of a person by name.
	Memberships(ctx context.Context, person PersonID) ([]Member, error)

	// SetRole creates or replaces a custom role of a team, or with no team of
	// the organization. Errors: ErrRoleNameTaken.
	SetRole(ctx context.Context, r Role, ev audit.Event) error
	// RemoveRole removes a custom role. Errors: ErrRoleNotFound, ErrRoleInUse.
	RemoveRole(ctx context.Context, team TeamID, name string, ev audit.Event) error
	// CustomRoles lists the custom roles of the organization, then those of
	// the team, by name.
	CustomRoles(ctx context.Context, team TeamID) ([]Role, error)

	// MFA returns what was set for a team, or for the organization ("");
	// MFAOptional where nothing was.
	MFA(ctx context.Context, team TeamID) (MFA, error)
	// SetMFA replaces it.
	SetMFA(ctx context.Context, team TeamID, m MFA, ev audit.Event) error
	// Reconnect returns what is set for a team, or with \"\" for the
	// organization.
	Reconnect(ctx context.Context, team TeamID) (Reconnect, error)
	SetReconnect(ctx context.Context, team TeamID, r Reconnect, ev audit.Event) error

	// SignInMessage returns what the sign-in page shows, "" for nothing.
	SignInMessage(ctx context.Context) (string, error)
	// SetSignInMessage changes it.
	SetSignInMessage(ctx context.Context, text string, ev audit.Event) error

	// CreateKey adds an ingest key by the hash of its secret. Errors:
	// ErrKeyNameTaken.
	CreateKey(ctx context.Context, k IngestKey, hash string, ev audit.Event) error
	// Keys lists a team's ingest keys, revoked ones included.
	Keys(ctx context.Context, team TeamID) ([]IngestKey, error)
	// RevokeKey returns ErrKeyNotFound where no working key has the id.
	RevokeKey(ctx context.Context, id KeyID, at time.Time, ev audit.Event) error
}
