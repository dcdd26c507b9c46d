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

// GroupID identifies a group for ever.
type GroupID string

// A Group is people of the organization who are given roles in teams
// together.
type Group struct {
	ID   GroupID
	Name string
	// ExternalID is the name under which an identity provider knows the
	// group, "" for a group made here.
	ExternalID string
	// Version grows with each change of the group's name or members.
	Version              int64
	CreatedAt, ChangedAt time.Time
}

// GroupRoles is what a group gives its members in one team.
type GroupRoles struct {
	Group Group
	Team  Team
	Roles []string
}

// Errors about groups that a Store and the Directory return.
var (
	ErrGroupNotFound   = errors.New("no such group")
	ErrGroupNameTaken  = errors.New("a group with this name exists already")
	ErrExternalIDTaken = errors.New("a group with this external id exists already")
)

// GroupStore keeps groups; it is a part of Store. Whoever loses their last
// role in a team by a change loses their grants there in the same
// transaction.
type GroupStore interface {
	// CreateGroup adds g. Errors: ErrGroupNameTaken, ErrExternalIDTaken.
	CreateGroup(ctx context.Context, g Group, ev audit.Event) error
	// UpdateGroup stores g's name and external id. Errors: ErrGroupNotFound,
	// ErrGroupNameTaken, ErrExternalIDTaken.
	UpdateGroup(ctx context.Context, g Group, ev audit.Event) error
	// RemoveGroup returns ErrGroupNotFound where there is nothing to remove.
	RemoveGroup(ctx context.Context, id GroupID, ev audit.Event) error
	// GroupByID returns ErrGroupNotFound where there is none.
	GroupByID(ctx context.Context, id GroupID) (Group, error)
	// Groups lists all groups by name.
	Groups(ctx context.Context) ([]Group, error)
	// GroupMembers lists a group's members by e-mail address.
	GroupMembers(ctx context.Context, id GroupID) ([]Person, error)
	// GroupsOf lists the groups that a person is in, by name.
	GroupsOf(ctx context.Context, person PersonID) ([]Group, error)
	// ChangeGroupMembers takes people out of a group and puts people into it.
	// Those who are out or in already stay so. Errors: ErrGroupNotFound,
	// ErrPersonNotFound for somebody to be added.
	ChangeGroupMembers(ctx context.Context, id GroupID, c MemberChange, ev audit.Event) error
	// SetGroupRoles gives the group exactly these roles in the team; none
	// takes the team away from it. Errors: ErrGroupNotFound.
	SetGroupRoles(ctx context.Context, id GroupID, team TeamID, roles []string, ev audit.Event) error
	// AllGroupRoles lists what all groups give, by group and team.
	AllGroupRoles(ctx context.Context) ([]GroupRoles, error)
}

// MemberChange says how a group's members change.
type MemberChange struct {
	Add, Remove []PersonID
	// Replace makes Add the only members.
	Replace bool
}

// maxExternalIDBytes bounds what an identity provider calls a group.
const maxExternalIDBytes = 256

func checkExternalID(s string) error {
	if len(s) > maxExternalIDBytes || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("the external id is longer than %d bytes or holds control characters", maxExternalIDBytes)
	}
	return nil
}

// AddGroup adds a group without members. externalID is "" for a group that no
// identity provider knows.
func (d *Directory) AddGroup(ctx context.Context, name, externalID string, by audit.Actor) (Group, error) {
	name, err := parseName("a group", name)
	if err != nil {
		return Group{}, err
	}
	if err := checkExternalID(externalID); err != nil {
		return Group{}, err
	}
	g := Group{ID: GroupID(newID("grp_")), Name: name, ExternalID: externalID, Version: 1, CreatedAt: d.now(), ChangedAt: d.now()}
	if err := d.store.CreateGroup(ctx, g, d.event(by, audit.GroupCreated, string(g.ID), "", name)); err != nil {
		return Group{}, fmt.Errorf("add group %s: %w", name, err)
	}
	return g, nil
}

// UpdateGroup renames a group and sets its external id.
func (d *Directory) UpdateGroup(ctx context.Context, id GroupID, name, externalID string, by audit.Actor) (Group, error) {
	name, err := parseName("a group", name)
	if err != nil {
		return Group{}, err
	}
	if err := checkExternalID(externalID); err != nil {
		return Group{}, err
	}
	g, err := d.store.GroupByID(ctx, id)
	if err != nil {
		return Group{}, fmt.Errorf("group %s: %w", id, err)
	}
	if g.Name == name && g.ExternalID == externalID {
		return g, nil
	}
	was := g.Name
	g.Name, g.ExternalID = name, externalID
	if err := d.store.UpdateGroup(ctx, g, d.event(by, audit.GroupChanged, string(id), "", was+" is called "+name)); err != nil {
		return Group{}, fmt.Errorf("change group %s: %w", was, err)
	}
	return d.store.GroupByID(ctx, id)
}

// RemoveGroup removes a group; what only it gave ends with the next call.
func (d *Directory) RemoveGroup(ctx context.Context, id GroupID, by audit.Actor) error {
	g, err := d.store.GroupByID(ctx, id)
	if err != nil {
		return fmt.Errorf("group %s: %w", id, err)
	}
	if err := d.store.RemoveGroup(ctx, id, d.event(by, audit.GroupRemoved, string(id), "", g.Name)); err != nil {
		return fmt.Errorf("remove group %s: %w", g.Name, err)
	}
	return nil
}

// Group returns the group with that id, or ErrGroupNotFound.
func (d *Directory) Group(ctx context.Context, id GroupID) (Group, error) {
	return d.store.GroupByID(ctx, id)
}

// FindGroup finds a group by its name or its id.
func (d *Directory) FindGroup(ctx context.Context, nameOrID string) (Group, error) {
	all, err := d.store.Groups(ctx)
	if err != nil {
		return Group{}, fmt.Errorf("list groups: %w", err)
	}
	nameOrID = strings.TrimSpace(nameOrID)
	for _, g := range all {
		if g.Name == nameOrID || string(g.ID) == nameOrID {
			return g, nil
		}
	}
	return Group{}, fmt.Errorf("group %q: %w", nameOrID, ErrGroupNotFound)
}

// Groups lists all groups by name.
func (d *Directory) Groups(ctx context.Context) ([]Group, error) { return d.store.Groups(ctx) }

// GroupMembers lists the people in a group.
func (d *Directory) GroupMembers(ctx context.Context, id GroupID) ([]Person, error) {
	return d.store.GroupMembers(ctx, id)
}

// GroupsOf lists the groups that a person is in.
func (d *Directory) GroupsOf(ctx context.Context, id PersonID) ([]Group, error) {
	return d.store.GroupsOf(ctx, id)
}

// AllGroupRoles lists what all groups give, by group and team.
func (d *Directory) AllGroupRoles(ctx context.Context) ([]GroupRoles, error) {
	return d.store.AllGroupRoles(ctx)
}

// ChangeGroupMembers puts people into a group and takes people out of it, in
// one change. Accounts of programs cannot be in a group: what they may do
// stands in one place, their own membership.
func (d *Directory) ChangeGroupMembers(ctx context.Context, id GroupID, c MemberChange, by audit.Actor) error {
	g, err := d.store.GroupByID(ctx, id)
	if err != nil {
		return fmt.Errorf("group %s: %w", id, err)
	}
	var words []string
	for _, p := range c.Add {
		person, err := d.store.PersonByID(ctx, p)
		if err != nil {
			return fmt.Errorf("add %s to group %s: %w", p, g.Name, err)
		}
		if person.Service {
			return fmt.Errorf("%s is the account of a program and cannot be in a group; give it roles in its team", person.Name)
		}
		words = append(words, "+"+person.Email)
	}
	for _, p := range c.Remove {
		person, err := d.store.PersonByID(ctx, p)
		if errors.Is(err, ErrPersonNotFound) {
			continue // nobody to take out
		}
		if err != nil {
			return fmt.Errorf("take %s out of group %s: %w", p, g.Name, err)
		}
		words = append(words, "-"+person.Email)
	}
	kind := "members changed"
	if c.Replace {
		kind = "members replaced"
	}
	detail := g.Name + ": " + kind + " " + shorten(words)
	if err := d.store.ChangeGroupMembers(ctx, id, c, d.event(by, audit.GroupMembers, string(id), "", detail)); err != nil {
		return fmt.Errorf("change members of group %s: %w", g.Name, err)
	}
	return nil
}

// maxListed is how many names an audit event lists.
const maxListed = 50

func shorten(words []string) string {
	if len(words) > maxListed {
		return strings.Join(words[:maxListed], " ") + fmt.Sprintf(" and %d more", len(words)-maxListed)
	}
	return strings.Join(words, " ")
}

// SetGroupRoles gives a group exactly these roles in a team; none takes the
// team away from it.
func (d *Directory) SetGroupRoles(ctx context.Context, id GroupID, slug string, roles []string, by audit.Actor) error {
	g, err := d.store.GroupByID(ctx, id)
	if err != nil {
		return fmt.Errorf("group %s: %w", id, err)
	}
	t, err := d.Team(ctx, slug)
	if err != nil {
		return err
	}
	names, _, err := d.roleNamesIn(ctx, slug, roles)
	if err != nil {
		return err
	}
	detail := g.Name + ": " + strings.Join(names, ", ")
	if len(names) == 0 {
		detail = g.Name + ": nothing any more"
	}
	if err := d.store.SetGroupRoles(ctx, id, t.ID, names, d.event(by, audit.GroupRolesSet, string(id), t.Slug, detail)); err != nil {
		return fmt.Errorf("set roles of group %s in %s: %w", g.Name, t.Slug, err)
	}
	return nil
}

// roleNamesIn checks names of roles against those that a team has, and
// returns them once each, beside all that there are.
func (d *Directory) roleNamesIn(ctx context.Context, slug string, roles []string) (names []string, known []Role, err error) {
	if known, err = d.Roles(ctx, slug); err != nil {
		return nil, nil, err
	}
	for _, name := range roles {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.ContainsFunc(known, func(r Role) bool { return r.Name == name }) {
			return nil, nil, fmt.Errorf("role %q: %w in team %s (there are %s)", name, ErrRoleNotFound, slug, roleNames(known))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, known, nil
}
