package main

import (
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type keyCommand struct {
	Add    keyAdd    `cmd:"" help:"Make an ingest key for a team and print it, once."`
	List   keyList   `cmd:"" help:"List a team's ingest keys."`
	Revoke keyRevoke `cmd:"" help:"End an ingest key."`
}

type jsonKey struct {
	ID        string     `json:"id"`
	Team      string     `json:"team"`
	Name      string     `json:"name"`
	Key       string     `json:"key,omitempty"`
	CreatedAt *time.Time `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}

type keyAdd struct {
	adminFlags
	Team string `required:"" help:"Slug of the team that the telemetry goes to." placeholder:"S"`
	Name string `required:"" help:"What the key is for." placeholder:"N"`
}

// Run makes a key. On standard output there is the key alone, so that it can
// be piped; what to do with it is on standard error.
func (c *keyAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		k, secret, err := a.Directory.AddKey(env.ctx, c.Team, c.Name, operator())
		if err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintf(env.stderr, "Ingest key %q (%s) for team %s. It is shown this once; send logs with \"Authorization: Bearer KEY\" to /v1/logs (OTLP over HTTP).\n", k.Name, k.ID, c.Team)
		}
		return c.print(env, jsonKey{string(k.ID), c.Team, k.Name, secret.Reveal(), jsonTime(k.CreatedAt), nil}, secret.Reveal()+"\n")
	})
}

type keyList struct {
	adminFlags
	Team string `required:"" help:"Slug of the team." placeholder:"S"`
}

// Run lists keys.
func (c *keyList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		keys, err := a.Directory.Keys(env.ctx, c.Team)
		if err != nil {
			return err
		}
		list, rows := make([]jsonKey, 0, len(keys)), make([][]string, 0, len(keys))
		for _, k := range keys {
			state := "works"
			if !k.RevokedAt.IsZero() {
				state = "revoked " + stamp(k.RevokedAt)
			}
			list = append(list, jsonKey{string(k.ID), c.Team, k.Name, "", jsonTime(k.CreatedAt), jsonTime(k.RevokedAt)})
			rows = append(rows, []string{string(k.ID), k.Name, stamp(k.CreatedAt), state})
		}
		return c.print(env, list, table("The team has no ingest keys yet. Make one: oriel key add --team "+c.Team+" --name N", []string{"ID", "NAME", "CREATED", "STATE"}, rows))
	})
}

type keyRevoke struct {
	adminFlags
	ID string `required:"" help:"Id of the key (oriel key list shows it)." placeholder:"K"`
}

// Run ends a key.
func (c *keyRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Directory.RevokeKey(env.ctx, org.KeyID(c.ID), operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"id": c.ID, "revoked": "true"}, fmt.Sprintf("Key %s is revoked.\n", c.ID))
	})
}
