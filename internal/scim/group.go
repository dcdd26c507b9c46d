package scim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// Groups is what the door needs of package org: groups of the organization.
// What their members may do because of them, administrators say in Oriel.
type Groups interface {
	AddGroup(ctx context.Context, name, externalID string, by audit.Actor) (org.Group, error)
	UpdateGroup(ctx context.Context, id org.GroupID, name, externalID string, by audit.Actor) (org.Group, error)
	RemoveGroup(ctx context.Context, id org.GroupID, by audit.Actor) error
	Group(ctx context.Context, id org.GroupID) (org.Group, error)
	Groups(ctx context.Context) ([]org.Group, error)
	GroupMembers(ctx context.Context, id org.GroupID) ([]org.Person, error)
	GroupsOf(ctx context.Context, id org.PersonID) ([]org.Group, error)
	ChangeGroupMembers(ctx context.Context, id org.GroupID, c org.MemberChange, by audit.Actor) error
}

// groups are a kind of resource.
type groups struct{ *Server }

func (k groups) list(ctx context.Context, f filter) ([]map[string]any, error) {
	all, err := k.Groups.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	// The members of groups that the filter rules out need not be read.
	if name, ok := only(f, "displayname"); ok {
		all = slices.DeleteFunc(all, func(g org.Group) bool { return !strings.EqualFold(g.Name, name) })
	}
	out := make([]map[string]any, len(all))
	for i, g := range all {
		if out[i], err = k.withMembers(ctx, g); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (k groups) get(ctx context.Context, id string) (map[string]any, error) {
	g, err := k.Groups.Group(ctx, org.GroupID(id))
	if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return k.withMembers(ctx, g)
}

func (k groups) withMembers(ctx context.Context, g org.Group) (map[string]any, error) {
	members, err := k.Groups.GroupMembers(ctx, g.ID)
	if err != nil {
		return nil, fmt.Errorf("read members of group %s: %w", g.ID, err)
	}
	return k.resource(g, members), nil
}

func (k groups) create(ctx context.Context, resource map[string]any, by audit.Actor) (map[string]any, error) {
	wanted, err := takeGroup(resource)
	if err != nil {
		return nil, err
	}
	if err := k.known(ctx, wanted.members); err != nil {
		return nil, err
	}
	g, err := k.Groups.AddGroup(ctx, wanted.name, wanted.externalID, by)
	if err != nil {
		return nil, fmt.Errorf("create group: %w", err)
	}
	if len(wanted.members) > 0 {
		if err := k.Groups.ChangeGroupMembers(ctx, g.ID, org.MemberChange{Add: wanted.members}, by); err != nil {
			return nil, fmt.Errorf("fill group: %w", err)
		}
	}
	return k.get(ctx, string(g.ID))
}

func (k groups) change(ctx context.Context, id string, by audit.Actor, do func(map[string]any) (map[string]any, error)) (map[string]any, error) {
	have, err := k.get(ctx, id)
	if err != nil {
		return nil, err
	}
	now, err := do(have)
	if err != nil {
		return nil, err
	}
	before, err := takeGroup(have)
	if err != nil {
		return nil, err
	}
	wanted, err := takeGroup(now)
	if err != nil {
		return nil, err
	}
	var c org.MemberChange
	for _, m := range wanted.members {
		if !slices.Contains(before.members, m) {
			c.Add = append(c.Add, m)
		}
	}
	for _, m := range before.members {
		if !slices.Contains(wanted.members, m) {
			c.Remove = append(c.Remove, m)
		}
	}
	if err := k.known(ctx, c.Add); err != nil {
		return nil, err
	}
	if wanted.name != before.name || wanted.externalID != before.externalID {
		if _, err := k.Groups.UpdateGroup(ctx, org.GroupID(id), wanted.name, wanted.externalID, by); err != nil {
			return nil, fmt.Errorf("change group: %w", err)
		}
	}
	if len(c.Add)+len(c.Remove) > 0 {
		// Not the whole list: another request may be adding somebody else.
		if err := k.Groups.ChangeGroupMembers(ctx, org.GroupID(id), c, by); err != nil {
			return nil, fmt.Errorf("change members: %w", err)
		}
	}
	return k.get(ctx, id)
}

// known refuses members who are nobody, before anything is changed.
func (k groups) known(ctx context.Context, members []org.PersonID) error {
	for _, m := range members {
		_, err := k.Store.SCIMUser(ctx, ByID, string(m))
		if errors.Is(err, ErrNotFound) {
			return invalid("invalidValue", "there is no user %q", m)
		}
		if err != nil {
			return fmt.Errorf("look for member: %w", err)
		}
	}
	return nil
}

func (k groups) remove(ctx context.Context, id string, by audit.Actor, check func(map[string]any) error) error {
	have, err := k.get(ctx, id)
	if err != nil {
		return err
	}
	if err := check(have); err != nil {
		return err
	}
	if err := k.Groups.RemoveGroup(ctx, org.GroupID(id), by); err != nil {
		return fmt.Errorf("delete group: %w", err)
	}
	return nil
}

// resource is the group as JSON has it.
func (k groups) resource(g org.Group, people []org.Person) map[string]any {
	members := make([]any, len(people))
	for i, p := range people {
		members[i] = map[string]any{"value": string(p.ID), "display": p.Name, "type": "User", "$ref": k.PublicURL + Path + "/Users/" + string(p.ID)}
	}
	r := map[string]any{"schemas": []any{schemaGroup}, "id": string(g.ID), "displayName": g.Name, "members": members}
	if g.ExternalID != "" {
		r["externalId"] = g.ExternalID
	}
	r["meta"] = meta("Group", k.PublicURL+Path+"/Groups/"+string(g.ID), g.CreatedAt, g.ChangedAt, r)
	return r
}

// maxMembers bounds a group.
const maxMembers = 20_000

// wantedGroup is what a resource asks a group to be.
type wantedGroup struct {
	name, externalID string
	members          []org.PersonID
}

func takeGroup(r map[string]any) (wantedGroup, error) {
	name, _ := member(r, "displayName").(string)
	w := wantedGroup{name: strings.TrimSpace(name)}
	if w.name == "" {
		return w, invalid("invalidValue", "displayName is required")
	}
	external := member(r, "externalId")
	if w.externalID, _ = external.(string); external != nil && w.externalID == "" {
		return w, invalid("invalidValue", "externalId must be text")
	}
	list := values(member(r, "members"))
	if len(list) > maxMembers {
		return w, &Error{http.StatusRequestEntityTooLarge, "tooMany", fmt.Sprintf("a group has %d members at the most", maxMembers)}
	}
	seen := make(map[org.PersonID]bool, len(list))
	for _, v := range list {
		m, _ := v.(map[string]any)
		id, _ := member(m, "value").(string)
		if id == "" {
			return w, invalid("invalidValue", `a member needs a value, the id of a user: {"value": "…"}`)
		}
		if t, _ := member(m, "type").(string); t != "" && !strings.EqualFold(t, "User") {
			return w, invalid("invalidValue", "members are users; groups within groups are not kept")
		}
		if p := org.PersonID(id); !seen[p] {
			seen[p] = true
			w.members = append(w.members, p)
		}
	}
	return w, nil
}
