package main

import (
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/scim"
	"github.com/orielhq/oriel/internal/server"
)

type scimCommand struct {
	Token scimTokenCommand `cmd:"" help:"Tokens with which identity providers provision: add, list, revoke."`
}

type scimTokenCommand struct {
	Add    scimTokenAdd    `cmd:"" help:"Make a provisioning token and print it, once."`
	List   scimTokenList   `cmd:"" help:"List the provisioning tokens."`
	Revoke scimTokenRevoke `cmd:"" help:"End a provisioning token."`
}

type jsonSCIMToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Token      string     `json:"token,omitempty"`
	CreatedAt  *time.Time `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

func newJSONSCIMToken(t scim.Token) jsonSCIMToken {
	return jsonSCIMToken{t.ID, t.Name, "", jsonTime(t.CreatedAt), jsonTime(t.LastUsedAt), jsonTime(t.RevokedAt)}
}

type scimTokenAdd struct {
	adminFlags
	Name string `required:"" help:"The identity provider that the token is for." placeholder:"N"`
}

// Run makes a token. On standard output there is the token alone, so that it
// can be piped; what to do with it is on standard error.
func (c *scimTokenAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		t, secret, err := scim.AddToken(env.ctx, a.SCIM, c.Name, time.Now(), operator())
		if err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintf(env.stderr, "Provisioning token %q (%s). It is shown this once; give it to the identity provider together with the address of this server followed by %s.\n", t.Name, t.ID, scim.Path)
		}
		j := newJSONSCIMToken(t)
		j.Token = secret.Reveal()
		return c.print(env, j, secret.Reveal()+"\n")
	})
}

type scimTokenList struct{ adminFlags }

// Run lists tokens.
func (c *scimTokenList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		tokens, err := a.SCIM.SCIMTokens(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonSCIMToken, 0, len(tokens)), make([][]string, 0, len(tokens))
		for _, t := range tokens {
			list = append(list, newJSONSCIMToken(t))
			state := "works"
			if !t.RevokedAt.IsZero() {
				state = "revoked " + stamp(t.RevokedAt)
			}
			used := "never"
			if !t.LastUsedAt.IsZero() {
				used = stamp(t.LastUsedAt)
			}
			rows = append(rows, []string{t.ID, t.Name, stamp(t.CreatedAt), used, state})
		}
		return c.print(env, list, table("No identity provider provisions here. Make a token for one: oriel scim token add --name N", []string{"ID", "NAME", "CREATED", "LAST USED", "STATE"}, rows))
	})
}

type scimTokenRevoke struct {
	adminFlags
	ID string `required:"" name:"id" help:"Id of the token, as \"oriel scim token list\" shows it." placeholder:"ID"`
}

// Run ends a token.
func (c *scimTokenRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := scim.RevokeToken(env.ctx, a.SCIM, c.ID, time.Now(), operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"id": c.ID, "revoked": "true"}, fmt.Sprintf("Token %s is revoked. What was provisioned with it stays.\n", c.ID))
	})
}
