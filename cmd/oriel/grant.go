package main

import (
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/server"
)

type grantCommand struct {
	List   grantList   `cmd:"" help:"List connections of assistants."`
	Revoke grantRevoke `cmd:"" help:"End a connection, from its next call on."`
}

type jsonGrant struct {
	ID         string     `json:"id"`
	Email      string     `json:"email"`
	Client     string     `json:"client"`
	ClientName string     `json:"client_name"`
	Team       string     `json:"team"`
	Resource   string     `json:"resource"`
	Scope      string     `json:"scope"`
	CreatedAt  *time.Time `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

type grantList struct {
	adminFlags
	Email  string `help:"Only those of this person." placeholder:"E"`
	Client string `help:"Only those of this client, by its key or client_id." placeholder:"C"`
	Team   string `help:"Only those to this team." placeholder:"S"`
}

// Run lists grants in use.
func (c *grantList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		var f grant.ConnectionFilter
		if c.Email != "" {
			p, err := a.Directory.PersonByEmail(env.ctx, c.Email)
			if err != nil {
				return err
			}
			f.Person = p.ID
		}
		if c.Team != "" {
			t, err := a.Directory.Team(env.ctx, c.Team)
			if err != nil {
				return err
			}
			f.Team = t.ID
		}
		if c.Client != "" {
			f.Client = grant.ParseClientKey(c.Client)
		}
		conns, err := a.Authority.Connections(env.ctx, f)
		if err != nil {
			return err
		}
		list, rows := make([]jsonGrant, 0, len(conns)), make([][]string, 0, len(conns))
		for _, k := range conns {
			g := k.Grant
			list = append(list, jsonGrant{
				string(g.ID), k.Person.Email, string(g.Client), k.Client.Name(), k.Team.Slug, g.Resource, g.Scopes.String(),
				jsonTime(g.CreatedAt), jsonTime(g.LastUsedAt),
			})
			rows = append(rows, []string{string(g.ID), k.Person.Email, k.Team.Slug, k.Client.Name(), stamp(g.CreatedAt), stamp(g.LastUsedAt)})
		}
		return c.print(env, list, table("No assistant is connected.", []string{"ID", "PERSON", "TEAM", "CLIENT", "SINCE", "LAST TOKEN"}, rows))
	})
}

type grantRevoke struct {
	adminFlags
	ID string `required:"" help:"Id of the connection (oriel grant list shows it)." placeholder:"G"`
}

// Run ends a grant.
func (c *grantRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Authority.EndGrant(env.ctx, grant.ID(c.ID), "revoked by an administrator", operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"id": c.ID, "revoked": "true"}, fmt.Sprintf("Connection %s has ended.\n", c.ID))
	})
}
