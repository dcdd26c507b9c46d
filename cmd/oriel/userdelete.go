package main

import (
	"fmt"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type userDelete struct {
	adminFlags
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run deletes an account.
func (c *userDelete) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Directory.PersonByEmail(env.ctx, c.Email)
		if err != nil {
			return err
		}
		if p, err = a.Directory.ChangeAccount(env.ctx, p.ID, org.DeleteAccount, operator()); err != nil {
			return err
		}
		return c.print(env, toJSONPerson(p), fmt.Sprintf("The account of %s is deleted. Their sessions and connections are ended; what they did stays in the audit.\n", p.Email))
	})
}
