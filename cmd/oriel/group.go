package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type groupCommand struct {
	Add    groupAdd     `cmd:"" help:"Add a group of people, for the whole organization."`
	List   groupList    `cmd:"" help:"List groups, who is in them and what they give."`
	Remove groupRemove  `cmd:"" help:"Remove a group; what only it gave is refused from the next call on."`
	Member groupMembers `cmd:"" help:"Who is in a group: add, remove."`
	Grant  groupGrant   `cmd:"" help:"Give a group roles in a team."`
	Revoke groupRevoke  `cmd:"" help:"Take roles in a team away from a group."`
}

type jsonGroupRoles struct {
	Team  string   `json:"team"`
	Roles []string `json:"roles"`
}

type jsonGroup struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	ExternalID string           `json:"external_id,omitempty"`
	Members    []string         `json:"members"`
	Grants     []jsonGroupRoles `json:"grants"`
}

// groupState reads a group with its members and what it gives.
func groupState(ctx context.Context, d *org.Directory, g org.Group, given []org.GroupRoles) (jsonGroup, error) {
	j := jsonGroup{ID: string(g.ID), Name: g.Name, ExternalID: g.ExternalID, Members: []string{}, Grants: []jsonGroupRoles{}}
	members, err := d.GroupMembers(ctx, g.ID)
	if err != nil {
		return j, err
	}
	for _, p := range members {
		j.Members = append(j.Members, p.Email)
	}
	for _, r := range given {
		if r.Group.ID == g.ID {
			j.Grants = append(j.Grants, jsonGroupRoles{r.Team.Slug, r.Roles})
		}
	}
	return j, nil
}

func (j jsonGroup) grants() string {
	var parts []string
	for _, g := range j.Grants {
		parts = append(parts, g.Team+": "+strings.Join(g.Roles, ", "))
	}
	return strings.Join(parts, "; ")
}

type groupAdd struct {
	adminFlags
	Name       string `required:"" help:"The group's name." placeholder:"N"`
	ExternalID string `help:"What an identity provider calls the group." placeholder:"X"`
}

// Run adds a group.
func (c *groupAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		g, err := a.Directory.AddGroup(env.ctx, c.Name, c.ExternalID, operator())
		if err != nil {
			return err
		}
		j, err := groupState(env.ctx, a.Directory, g, nil)
		if err != nil {
			return err
		}
		return c.print(env, j, fmt.Sprintf("Added group %s (%s).\nNext: oriel group member add --group %q --email E, and oriel group grant --group %q --team S --role R.\n", g.Name, g.ID, g.Name, g.Name))
	})
}

type groupList struct{ adminFlags }

// Run lists groups.
func (c *groupList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		groups, err := a.Directory.Groups(env.ctx)
		if err != nil {
			return err
		}
		given, err := a.Directory.AllGroupRoles(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonGroup, 0, len(groups)), make([][]string, 0, len(groups))
		for _, g := range groups {
			j, err := groupState(env.ctx, a.Directory, g, given)
			if err != nil {
				return err
			}
			list = append(list, j)
			rows = append(rows, []string{j.Name, j.ID, fmt.Sprint(len(j.Members)), j.grants()})
		}
		return c.print(env, list, table("There is no group yet. Add one: oriel group add --name N", []string{"NAME", "ID", "PEOPLE", "GIVES"}, rows))
	})
}

// groupFlag names a group.
type groupFlag struct {
	Group string `required:"" help:"Name or id of the group." placeholder:"G"`
}

type groupRemove struct {
	adminFlags
	groupFlag
}

// Run removes a group.
func (c *groupRemove) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		g, err := a.Directory.FindGroup(env.ctx, c.Group)
		if err != nil {
			return err
		}
		if err := a.Directory.RemoveGroup(env.ctx, g.ID, operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"id": string(g.ID), "name": g.Name, "removed": "true"}, fmt.Sprintf("Group %s is removed.\n", g.Name))
	})
}

type groupMembers struct {
	Add    groupMemberAdd    `cmd:"" help:"Put people into a group."`
	Remove groupMemberRemove `cmd:"" help:"Take people out of a group; teams that they were in only through it refuse their next call."`
}

type groupMemberFlags struct {
	adminFlags
	groupFlag
	Email []string `required:"" help:"E-mail addresses, separated by commas." placeholder:"E"`
}

// run changes a group's members.
func (c *groupMemberFlags) run(env *environment, add bool) error {
	return c.with(env, func(a *server.Admin) error {
		g, err := a.Directory.FindGroup(env.ctx, c.Group)
		if err != nil {
			return err
		}
		var ids []org.PersonID
		for _, email := range c.Email {
			p, err := a.Directory.PersonByEmail(env.ctx, email)
			if err != nil {
				return err
			}
			ids = append(ids, p.ID)
		}
		change, word := org.MemberChange{Add: ids}, "in"
		if !add {
			change, word = org.MemberChange{Remove: ids}, "not in"
		}
		if err := a.Directory.ChangeGroupMembers(env.ctx, g.ID, change, operator()); err != nil {
			return err
		}
		return c.showGroup(env, a, g, fmt.Sprintf("%s %s %s group %s.\n", strings.Join(c.Email, ", "), isAre(len(c.Email)), word, g.Name))
	})
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// showGroup prints a group after a change.
func (f *adminFlags) showGroup(env *environment, a *server.Admin, g org.Group, text string) error {
	given, err := a.Directory.AllGroupRoles(env.ctx)
	if err != nil {
		return err
	}
	j, err := groupState(env.ctx, a.Directory, g, given)
	if err != nil {
		return err
	}
	return f.print(env, j, text)
}

type groupMemberAdd struct{ groupMemberFlags }

// Run puts people into a group.
func (c *groupMemberAdd) Run(env *environment) error { return c.run(env, true) }

type groupMemberRemove struct{ groupMemberFlags }

// Run takes people out of a group.
func (c *groupMemberRemove) Run(env *environment) error { return c.run(env, false) }

type groupGrant struct {
	adminFlags
	groupFlag
	Team string   `required:"" help:"Slug of the team." placeholder:"S"`
	Role []string `required:"" help:"Roles, separated by commas, beside those that it gives already." placeholder:"R"`
}

// Run gives a group roles in a team.
func (c *groupGrant) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		g, has, err := rolesOfGroup(env.ctx, a.Directory, c.Group, c.Team)
		if err != nil {
			return err
		}
		roles := append(slices.Clone(has), c.Role...)
		if err := a.Directory.SetGroupRoles(env.ctx, g.ID, c.Team, roles, operator()); err != nil {
			return err
		}
		return c.showGroup(env, a, g, fmt.Sprintf("Group %s gives its members %s in %s.\n", g.Name, strings.Join(c.Role, ", "), c.Team))
	})
}

// rolesOfGroup finds a group and what it gives in a team.
func rolesOfGroup(ctx context.Context, d *org.Directory, name, slug string) (g org.Group, roles []string, err error) {
	if g, err = d.FindGroup(ctx, name); err != nil {
		return g, nil, err
	}
	given, err := d.AllGroupRoles(ctx)
	if err != nil {
		return g, nil, err
	}
	for _, r := range given {
		if r.Group.ID == g.ID && r.Team.Slug == slug {
			roles = r.Roles
		}
	}
	return g, roles, nil
}

type groupRevoke struct {
	adminFlags
	groupFlag
	Team string   `required:"" help:"Slug of the team." placeholder:"S"`
	Role []string `help:"Roles, separated by commas; without it, all that the group gives there." placeholder:"R"`
}

// Run takes roles in a team away from a group.
func (c *groupRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		g, has, err := rolesOfGroup(env.ctx, a.Directory, c.Group, c.Team)
		if err != nil {
			return err
		}
		for _, r := range c.Role {
			if !slices.Contains(has, r) {
				return fmt.Errorf("group %s does not give %q in %s", g.Name, r, c.Team)
			}
		}
		if len(has) == 0 {
			return fmt.Errorf("group %s gives nothing in %s", g.Name, c.Team)
		}
		left := slices.DeleteFunc(slices.Clone(has), func(r string) bool { return len(c.Role) == 0 || slices.Contains(c.Role, r) })
		if err := a.Directory.SetGroupRoles(env.ctx, g.ID, c.Team, left, operator()); err != nil {
			return err
		}
		text := fmt.Sprintf("Group %s gives nothing in %s any more.\n", g.Name, c.Team)
		if len(left) > 0 {
			text = fmt.Sprintf("Group %s gives its members %s in %s.\n", g.Name, strings.Join(left, ", "), c.Team)
		}
		return c.showGroup(env, a, g, text)
	})
}
