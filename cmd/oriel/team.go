package main

import (
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type teamCommand struct {
	Add  teamAdd  `cmd:"" help:"Add a team."`
	List teamList `cmd:"" help:"List teams."`

	Rename teamRename `cmd:"" help:"Change a team's display name; its slug stays."`
}

type jsonTeam struct {
	ID        string     `json:"id"`
	Slug      string     `json:"slug"`
	Name      string     `json:"name"`
	Tenant    uint32     `json:"tenant"`
	CreatedAt *time.Time `json:"created_at"`
}

func toJSONTeam(t org.Team) jsonTeam {
	return jsonTeam{string(t.ID), t.Slug, t.Name, uint32(t.Tenant), jsonTime(t.CreatedAt)}
}

type teamAdd struct {
	adminFlags
	Slug string `required:"" help:"Short name in URLs and commands; it never changes." placeholder:"S"`
	Name string `required:"" help:"The team's name, as people see it." placeholder:"N"`
}

// Run adds a team.
func (c *teamAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		t, err := a.Directory.AddTeam(env.ctx, c.Slug, c.Name, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONTeam(t), fmt.Sprintf("Added team %s (%s).\nNext: oriel member set --team %s --email E --role admin, and oriel key add --team %s --name N to send logs.\n",
			t.Name, t.Slug, t.Slug, t.Slug))
	})
}

type teamRename struct {
	adminFlags
	Slug string `required:"" help:"Slug of the team." placeholder:"S"`
	Name string `required:"" help:"The new name, as people see it." placeholder:"N"`
}

// Run renames a team.
func (c *teamRename) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		t, err := a.Directory.RenameTeam(env.ctx, c.Slug, c.Name, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONTeam(t), fmt.Sprintf("Team %s is called %s.\n", t.Slug, t.Name))
	})
}

type teamList struct{ adminFlags }

// Run lists teams.
func (c *teamList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		teams, err := a.Directory.Teams(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonTeam, 0, len(teams)), make([][]string, 0, len(teams))
		for _, t := range teams {
			list = append(list, toJSONTeam(t))
			rows = append(rows, []string{t.Slug, t.Name, stamp(t.CreatedAt)})
		}
		return c.print(env, list, table("There is no team yet. Add one: oriel team add --slug S --name N", []string{"SLUG", "NAME", "CREATED"}, rows))
	})
}
