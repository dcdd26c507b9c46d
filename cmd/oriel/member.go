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
}

func toJSONMember(m org.Member) jsonMember {
	return jsonMember{m.Team.Slug, m.Person.Email, m.Person.Name, m.Roles}
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
		return c.print(env, map[string]string{"team": c.Team, "email": c.Email, "removed": "true"},
			fmt.Sprintf("%s is no longer in %s.\n", c.Email, c.Team))
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
			list = append(list, toJSONMember(m))
			rows = append(rows, []string{m.Person.Email, m.Person.Name, strings.Join(m.Roles, ", ")})
		}
		return c.print(env, list, table("The team has no members yet. Add one: oriel member set --team "+c.Team+" --email E --role R", []string{"EMAIL", "NAME", "ROLES"}, rows))
	})
}
