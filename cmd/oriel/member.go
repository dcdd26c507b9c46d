package main

import (
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type memberCommand struct {
	Set    memberSet    `cmd:"" help:"Give a person exactly these roles in a team."`
	Remove memberRemove `cmd:"" help:"Take a person out of a team; their connections to it are refused from the next call on."`
	List   memberList   `cmd:"" help:"List a team's members."`
}

type jsonMember struct {
	Team  string   `json:"team"`
	Email string   `json:"email"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	// Groups names the groups through which there are roles.
	Groups []string `json:"groups,omitempty"`
}

func toJSONMember(m org.Member) jsonMember {
	j := jsonMember{Team: m.Team.Slug, Email: m.Person.Email, Name: m.Person.Name, Roles: m.Roles}
	for _, g := range m.Through {
		j.Groups = append(j.Groups, g.Group.Name)
	}
	return j
}

type memberSet struct {
	adminFlags
	Team  string   `required:"" help:"Slug of the team." placeholder:"S"`
	Email string   `required:"" help:"E-mail address of the person." placeholder:"E"`
	Role  []string `required:"" help:"Roles, separated by commas (oriel role list --team S shows them)." placeholder:"R"`
}

// Run sets a member's roles.
func (c *memberSet) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		m, err := a.Directory.SetMember(env.ctx, c.Team, c.Email, c.Role, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONMember(m), fmt.Sprintf("%s is in %s as %s.\n", m.Person.Email, m.Team.Slug, strings.Join(m.Roles, ", ")))
	})
}

type memberRemove struct {
	adminFlags
	Team  string `required:"" help:"Slug of the team." placeholder:"S"`
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run takes a person out of a team.
func (c *memberRemove) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Directory.RemoveMember(env.ctx, c.Team, c.Email, operator()); err != nil {
			return err
		}
		members, err := a.Directory.Members(env.ctx, c.Team)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s is no longer in %s.\n", c.Email, c.Team)
		for _, m := range members {
			if strings.EqualFold(m.Person.Email, strings.TrimSpace(c.Email)) {
				text = fmt.Sprintf("%s has no roles of their own in %s any more, but is still in it through %s.\n", c.Email, c.Team, strings.Join(toJSONMember(m).Groups, ", "))
			}
		}
		return c.print(env, map[string]string{"team": c.Team, "email": c.Email, "removed": "true"}, text)
	})
}

type memberList struct {
	adminFlags
	Team string `required:"" help:"Slug of the team." placeholder:"S"`
}

// Run lists members.
func (c *memberList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		members, err := a.Directory.Members(env.ctx, c.Team)
		if err != nil {
			return err
		}
		list, rows := make([]jsonMember, 0, len(members)), make([][]string, 0, len(members))
		for _, m := range members {
			j := toJSONMember(m)
			list = append(list, j)
			rows = append(rows, []string{m.Person.Email, m.Person.Name, strings.Join(m.Roles, ", "), strings.Join(j.Groups, ", ")})
		}
		return c.print(env, list, table("The team has no members yet. Add one: oriel member set --team "+c.Team+" --email E --role R", []string{"EMAIL", "NAME", "ROLES", "GROUPS"}, rows))
	})
}
