package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/server"
)

type issuerCommand struct {
	Add    issuerAdd    `cmd:"" help:"Trust an identity provider: its assertions (ID-JAG) give access without a consent page."`
	List   issuerList   `cmd:"" help:"List the trusted identity providers."`
	Remove issuerRemove `cmd:"" help:"End the trust in an identity provider."`
}

type jsonIssuer struct {
	Issuer    string     `json:"issuer"`
	JWKSURI   string     `json:"jwks_uri"`
	Audience  string     `json:"audience,omitempty"`
	Private   bool       `json:"private"`
	Teams     []string   `json:"teams,omitempty"`
	CreatedAt *time.Time `json:"created_at"`
}

func toJSONIssuer(i grant.Issuer) jsonIssuer {
	return jsonIssuer{i.URL, i.JWKSURI, i.Audience, i.Private, i.Teams, jsonTime(i.CreatedAt)}
}

type issuerAdd struct {
	adminFlags
	Issuer   string   `required:"" help:"Issuer identifier, exactly as in the assertions' iss." placeholder:"URL"`
	JWKSURI  string   `name:"jwks-uri" required:"" help:"Where its keys are published (https)." placeholder:"URL"`
	Audience string   `help:"An audience to accept beside this server's public URL." placeholder:"A"`
	Private  bool     `help:"Its keys may be at a private address of your network; otherwise only at a public one."`
	Team     []string `help:"Slug of a team that it may open; may be given several times. Default: all." placeholder:"S"`
}

// Run trusts an issuer.
func (c *issuerAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		for _, slug := range c.Team {
			if _, err := a.Directory.Team(env.ctx, slug); err != nil {
				return err
			}
		}
		i, err := a.Authority.AddIssuer(env.ctx, grant.Issuer{URL: c.Issuer, JWKSURI: c.JWKSURI, Audience: c.Audience, Private: c.Private, Teams: c.Team}, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONIssuer(i), fmt.Sprintf("Assertions of %s are taken from now on.\n", i.URL))
	})
}

type issuerList struct{ adminFlags }

// Run lists issuers.
func (c *issuerList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		all, err := a.Authority.Store.Issuers(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonIssuer, 0, len(all)), make([][]string, 0, len(all))
		for _, i := range all {
			teams := strings.Join(i.Teams, ",")
			if teams == "" {
				teams = "all"
			}
			list = append(list, toJSONIssuer(i))
			rows = append(rows, []string{i.URL, i.JWKSURI, teams, stamp(i.CreatedAt)})
		}
		return c.print(env, list, table("No identity provider is trusted. Add one: oriel issuer add --issuer URL --jwks-uri URL", []string{"ISSUER", "KEYS", "TEAMS", "SINCE"}, rows))
	})
}

type issuerRemove struct {
	adminFlags
	Issuer string `required:"" help:"Issuer identifier (oriel issuer list shows it)." placeholder:"URL"`
}

// Run ends the trust.
func (c *issuerRemove) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Authority.RemoveIssuer(env.ctx, c.Issuer, operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"issuer": c.Issuer, "removed": "true"},
			fmt.Sprintf("Assertions of %s are refused from now on; what they opened ends within the hour.\n", c.Issuer))
	})
}
