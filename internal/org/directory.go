package org

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
)

// Directory makes changes to the organization: it checks what was asked,
// names things, and stores each change with its audit event. It is safe for
// concurrent use.
type Directory struct {
	store Store
	now   func() time.Time
}

// NewDirectory returns a directory over the store.
func NewDirectory(store Store, now func() time.Time) *Directory {
	return &Directory{store: store, now: now}
}

// NewPerson is what it takes to add a person.
type NewPerson struct {
	Email, Name string
	Owner       bool
	// Password is "" for a person who cannot sign in with one.
	Password Password
}

func (d *Directory) newPerson(n NewPerson) (Person, string, error) {
	email, err := ParseEmail(n.Email)
	if err != nil {
		return Person{}, "", err
	}
	name, err := parseName("a person", n.Name)
	if err != nil {
		return Person{}, "", err
	}
	p := Person{ID: PersonID(newID("per_")), Email: email, Name: name, Owner: n.Owner, CreatedAt: d.now()}
	if n.Password == "" {
		return p, "", nil
	}
	if err := n.Password.Check(email, name); err != nil {
		return Person{}, "", err
	}
	hash, err := n.Password.Hash()
	if err != nil {
		return Person{}, "", err
	}
	return p, hash, nil
}

// AddPerson adds somebody to the organization.
func (d *Directory) AddPerson(ctx context.Context, n NewPerson, by audit.Actor) (Person, error) {
	p, hash, err := d.newPerson(n)
	if err != nil {
		return Person{}, err
	}
	detail := p.Email
	if p.Owner {
		detail += " as owner"
	}
	if err := d.store.CreatePerson(ctx, p, hash, d.event(by, audit.PersonCreated, string(p.ID), "", detail)); err != nil {
		return Person{}, fmt.Errorf("add %s: %w", p.Email, err)
	}
	return p, nil
}

// AddService adds the account of a program to a team.
func (d *Directory) AddService(ctx context.Context, name, slug string, roles []string, by audit.Actor) (Person, error) {
	if _, err := d.knownRoles(ctx, slug, roles); err != nil {
		return Person{}, err // before there is an account without a team
	}
	p, _, err := d.newPerson(NewPerson{Email: newID("service-") + "@services.invalid", Name: name})
	if err != nil {
		return Person{}, err
	}
	p.Service = true
	if err := d.store.CreatePerson(ctx, p, "", d.event(by, audit.PersonCreated, string(p.ID), slug, p.Email+" as a service")); err != nil {
		return Person{}, fmt.Errorf("add service %s: %w", name, err)
	}
	if _, err := d.SetMember(ctx, slug, p.Email, roles, by); err != nil {
		return Person{}, err
	}
	return p, nil
}

// AddFirstOwner adds the first owner of a new installation and returns
// ErrOwnerExists where there is one already.
func (d *Directory) AddFirstOwner(ctx context.Context, n NewPerson, by audit.Actor) (Person, error) {
	n.Owner = true
	p, hash, err := d.newPerson(n)
	if err != nil {
		return Person{}, err
	}
	if err := d.store.CreateFirstOwner(ctx, p, hash, d.event(by, audit.OwnerCreated, string(p.ID), "", p.Email)); err != nil {
		return Person{}, fmt.Errorf("create the first owner: %w", err)
	}
	return p, nil
}

// HasOwner says whether the installation has an owner.
func (d *Directory) HasOwner(ctx context.Context) (bool, error) { return d.store.HasOwner(ctx) }

// Person returns the person with that id, or ErrPersonNotFound.
func (d *Directory) Person(ctx context.Context, id PersonID) (Person, error) {
	return d.store.PersonByID(ctx, id)
}

// PersonByEmail finds a person by address, in any case and spacing.
func (d *Directory) PersonByEmail(ctx context.Context, email string) (Person, error) {
	e, err := ParseEmail(email)
	if err != nil {
		return Person{}, err
	}
	p, err := d.store.PersonByEmail(ctx, e)
	if err != nil {
		return Person{}, fmt.Errorf("%s: %w", e, err)
	}
	return p, nil
}

// People lists everybody.
func (d *Directory) People(ctx context.Context) ([]Person, error) { return d.store.People(ctx) }

// Disable takes away a person's sign-in and, with the next call, everything
// that hangs on it. Disabling somebody who is disabled changes nothing.
func (d *Directory) Disable(ctx context.Context, email string, by audit.Actor) (Person, error) {
	p, err := d.PersonByEmail(ctx, email)
	if err != nil || !p.Active() {
		return p, err
	}
	p.DisabledAt = d.now()
	if err := d.store.SetDisabled(ctx, p.ID, p.DisabledAt, d.event(by, audit.PersonDisabled, string(p.ID), "", p.Email)); err != nil {
		return Person{}, fmt.Errorf("disable %s: %w", p.Email, err)
	}
	return p, nil
}

// Enable lets a disabled person sign in again. Their grants stay ended.
func (d *Directory) Enable(ctx context.Context, email string, by audit.Actor) (Person, error) {
	p, err := d.PersonByEmail(ctx, email)
	if err != nil || p.Active() {
		return p, err
	}
	p.DisabledAt = time.Time{}
	if err := d.store.SetDisabled(ctx, p.ID, time.Time{}, d.event(by, audit.PersonEnabled, string(p.ID), "", p.Email)); err != nil {
		return Person{}, fmt.Errorf("enable %s: %w", p.Email, err)
	}
	return p, nil
}

// AddTeam adds a team.
func (d *Directory) AddTeam(ctx context.Context, slug, name string, by audit.Actor) (Team, error) {
	slug, err := ParseSlug(slug)
	if err != nil {
		return Team{}, err
	}
	if name, err = parseName("a team", name); err != nil {
		return Team{}, err
	}
	t := Team{ID: TeamID(newID("team_")), Slug: slug, Name: name, CreatedAt: d.now()}
	t, err = d.store.CreateTeam(ctx, t, d.event(by, audit.TeamCreated, string(t.ID), slug, name))
	if err != nil {
		return Team{}, fmt.Errorf("add team %s: %w", slug, err)
	}
	return t, nil
}

// RenameTeam changes a team's display name.
func (d *Directory) RenameTeam(ctx context.Context, slug, name string, by audit.Actor) (Team, error) {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return Team{}, err
	}
	if name, err = parseName("a team", name); err != nil || name == t.Name {
		return t, err
	}
	if err := d.store.RenameTeam(ctx, t.ID, name, d.event(by, audit.TeamRenamed, string(t.ID), slug, t.Name+" is called "+name)); err != nil {
		return Team{}, fmt.Errorf("rename team %s: %w", slug, err)
	}
	t.Name = name
	return t, nil
}

// Team finds a team by its slug.
func (d *Directory) Team(ctx context.Context, slug string) (Team, error) {
	t, err := d.store.TeamBySlug(ctx, slug)
	if err != nil {
		return Team{}, fmt.Errorf("team %q: %w", slug, err)
	}
	return t, nil
}

// Teams lists all teams, the first created first.
func (d *Directory) Teams(ctx context.Context) ([]Team, error) { return d.store.Teams(ctx) }

// SetMember gives a person exactly these roles in a team, making them a
// member if they were none.
func (d *Directory) SetMember(ctx context.Context, slug, email string, roles []string, by audit.Actor) (Member, error) {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return Member{}, err
	}
	p, err := d.PersonByEmail(ctx, email)
	if err != nil {
		return Member{}, err
	}
	names, err := d.knownRoles(ctx, slug, roles)
	if err != nil {
		return Member{}, err
	}
	ev := d.event(by, audit.MemberSet, string(p.ID), t.Slug, p.Email+": "+strings.Join(names, ", "))
	if err := d.store.SetMember(ctx, t.ID, p.ID, names, ev); err != nil {
		return Member{}, fmt.Errorf("set member %s of %s: %w", p.Email, t.Slug, err)
	}
	return Member{Person: p, Team: t, Roles: names, Direct: names}, nil
}

// knownRoles checks that a team has these roles, at least one, and returns each
// once.
func (d *Directory) knownRoles(ctx context.Context, slug string, roles []string) ([]string, error) {
	names, known, err := d.roleNamesIn(ctx, slug, roles)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("a member needs at least one role (there are %s); to take somebody out use \"oriel member remove\"", roleNames(known))
	}
	return names, nil
}

// RemoveMember takes away what a person was given in a team directly. If no
// group gives them a role there, they are out of it and their grants end.
func (d *Directory) RemoveMember(ctx context.Context, slug, email string, by audit.Actor) error {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return err
	}
	p, err := d.PersonByEmail(ctx, email)
	if err != nil {
		return err
	}
	err = d.store.RemoveMember(ctx, t.ID, p.ID, d.event(by, audit.MemberRemoved, string(p.ID), t.Slug, p.Email))
	if errors.Is(err, ErrNotMember) {
		if m, merr := d.Membership(ctx, p.ID, t.ID); merr == nil && len(m.Through) > 0 {
			return fmt.Errorf("%s is in %s through the group %s: take them out of the group", p.Email, t.Slug, m.Through[0].Group.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s from %s: %w", p.Email, t.Slug, err)
	}
	return nil
}

// Members lists a team's members.
func (d *Directory) Members(ctx context.Context, slug string) ([]Member, error) {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return nil, err
	}
	return d.store.Members(ctx, t.ID)
}

// Memberships lists the teams that a person is a member of.
func (d *Directory) Memberships(ctx context.Context, id PersonID) ([]Member, error) {
	return d.store.Memberships(ctx, id)
}

// Membership returns a person's membership in a team. Errors: ErrNotMember.
func (d *Directory) Membership(ctx context.Context, id PersonID, team TeamID) (Member, error) {
	all, err := d.store.Memberships(ctx, id)
	if err != nil {
		return Member{}, fmt.Errorf("list memberships: %w", err)
	}
	if i := slices.IndexFunc(all, func(m Member) bool { return m.Team.ID == team }); i >= 0 {
		return all[i], nil
	}
	return Member{}, ErrNotMember
}

// Standing returns what a person may do in a team now. A person who is not a
// member has the zero standing.
func (d *Directory) Standing(ctx context.Context, m Member) (Standing, error) {
	custom, err := d.store.CustomRoles(ctx, m.Team.ID)
	if err != nil {
		return Standing{}, fmt.Errorf("read roles of %s: %w", m.Team.Slug, err)
	}
	return StandingOf(m.Roles, custom), nil
}

// StandingOf resolves role names against the built-in roles and a team's
// custom ones. A name that is neither gives nothing.
func StandingOf(names []string, custom []Role) Standing {
	var roles []Role
	for _, name := range names {
		if r, ok := builtInRole(name); ok {
			roles = append(roles, r)
			continue
		}
		if i := slices.IndexFunc(custom, func(r Role) bool { return r.Name == name }); i >= 0 {
			roles = append(roles, custom[i])
		}
	}
	return NewStanding(roles)
}

// SetRole creates or replaces a custom role of a team. The built-in roles
// cannot be changed.
func (d *Directory) SetRole(ctx context.Context, slug, name string, permissions []Permission, dataScope string, by audit.Actor) (Role, error) {
	if slug == "" {
		return Role{}, fmt.Errorf("team %q: %w", slug, ErrTeamNotFound)
	}
	return d.SaveRole(ctx, RoleText{Team: slug, Name: name, Permissions: permissions, DataScope: dataScope}, by)
}

// SaveRole creates or replaces a custom role of a team or of the whole
// organization. A team cannot have a role of the same name as one of the
// organization, nor the other way round: what a group or a person is given
// must not change its meaning from team to team. Errors about the text are
// *RoleError.
func (d *Directory) SaveRole(ctx context.Context, text RoleText, by audit.Actor) (Role, error) {
	var t Team
	var err error
	if text.Team != "" {
		if t, err = d.Team(ctx, text.Team); err != nil {
			return Role{}, err
		}
	}
	r, err := text.Parse()
	if err != nil {
		return Role{}, err
	}
	r.Team = t.ID
	detail := joinPermissions(r.Permissions)
	if r.DataScope != nil {
		detail += "; where " + r.DataScope.String()
	}
	if len(r.HiddenFields) > 0 {
		detail += "; without " + strings.Join(r.HiddenFields, ", ")
	}
	if r.LookBack > 0 {
		detail += "; of the last " + FormatLookBack(r.LookBack)
	}
	err = d.store.SetRole(ctx, r, d.event(by, audit.RoleSet, r.Name, t.Slug, detail))
	if errors.Is(err, ErrRoleNameTaken) {
		return Role{}, &RoleError{"name", fmt.Errorf("%q: %w", r.Name, err)}
	}
	if err != nil {
		return Role{}, fmt.Errorf("set role %s: %w", r.Name, err)
	}
	return r, nil
}

// RemoveRole removes a custom role that nobody holds and no group gives. slug
// is "" for a role of the organization. Errors: ErrRoleNotFound, ErrRoleInUse.
func (d *Directory) RemoveRole(ctx context.Context, slug, name string, by audit.Actor) error {
	var t Team
	var err error
	if slug != "" {
		if t, err = d.Team(ctx, slug); err != nil {
			return err
		}
	}
	if IsBuiltInRole(name) {
		return fmt.Errorf("%q is a built-in role and cannot be removed", name)
	}
	if err := d.store.RemoveRole(ctx, t.ID, name, d.event(by, audit.RoleRemoved, name, t.Slug, "")); err != nil {
		return fmt.Errorf("remove role %s: %w", name, err)
	}
	return nil
}

// Roles lists the roles that members of a team can have: the built-in ones,
// those of the organization, the team's own. Without a slug it leaves out the
// last.
func (d *Directory) Roles(ctx context.Context, slug string) ([]Role, error) {
	var t Team
	var err error
	if slug != "" {
		if t, err = d.Team(ctx, slug); err != nil {
			return nil, err
		}
	}
	custom, err := d.store.CustomRoles(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("list roles of %s: %w", slug, err)
	}
	return append(BuiltInRoles(), custom...), nil
}

func roleNames(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}

// AddKey makes an ingest key for a team. The secret is returned once and kept
// nowhere.
func (d *Directory) AddKey(ctx context.Context, slug, name string, by audit.Actor) (IngestKey, KeySecret, error) {
	return d.AddLimitedKey(ctx, slug, name, KeyLimits{}, by)
}

// AddLimitedKey is AddKey for a key that may send less.
func (d *Directory) AddLimitedKey(ctx context.Context, slug, name string, limits KeyLimits, by audit.Actor) (IngestKey, KeySecret, error) {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return IngestKey{}, "", err
	}
	if name, err = parseName("a key", name); err != nil {
		return IngestKey{}, "", err
	}
	if err := limits.check(); err != nil {
		return IngestKey{}, "", err
	}
	k := IngestKey{ID: KeyID(newID("key_")), Team: t.ID, Name: name, CreatedAt: d.now(), Limits: limits}
	secret := newKeySecret()
	if err := d.store.CreateKey(ctx, k, secret.Hash(), d.event(by, audit.KeyCreated, string(k.ID), t.Slug, name)); err != nil {
		return IngestKey{}, "", fmt.Errorf("add key %q to %s: %w", name, slug, err)
	}
	return k, secret, nil
}

// Keys lists a team's ingest keys.
func (d *Directory) Keys(ctx context.Context, slug string) ([]IngestKey, error) {
	t, err := d.Team(ctx, slug)
	if err != nil {
		return nil, err
	}
	return d.store.Keys(ctx, t.ID)
}

// RevokeKey ends a key, named by its id.
func (d *Directory) RevokeKey(ctx context.Context, id KeyID, by audit.Actor) error {
	if err := d.store.RevokeKey(ctx, id, d.now(), d.event(by, audit.KeyRevoked, string(id), "", "")); err != nil {
		return fmt.Errorf("revoke key %s: %w", id, err)
	}
	return nil
}

func (d *Directory) event(by audit.Actor, kind audit.Kind, target, team, detail string) audit.Event {
	return audit.Event{At: d.now(), Actor: by, Kind: kind, Target: target, Team: team, Detail: detail}
}
