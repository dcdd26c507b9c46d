package main

import (
	"fmt"

	"github.com/orielhq/oriel/internal/server"
)

type userResetMFA struct {
	adminFlags
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run removes a person's second factors.
func (c *userResetMFA) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.ResetMFA(env.ctx, c.Email, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONPerson(p), fmt.Sprintf(
			"%s has no second factor and no recovery codes any more, and is signed out everywhere. Where one is demanded, they set up a new one at the next sign-in.\n", p.Email))
	})
}
