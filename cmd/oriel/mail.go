package main

import (
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/mail"
)

type mailCommand struct {
	Test mailTest `cmd:"" help:"Send a letter to try whether letters arrive."`
}

type mailTest struct {
	config.Mail `embed:""`
	To          string `required:"" help:"Address to write to." placeholder:"E"`
}

// Run sends a letter and says what the server said.
func (c *mailTest) Run(env *environment) error {
	mailer, err := c.Mailer()
	if err != nil {
		return err
	}
	if mailer == nil {
		return errors.New("no mail server is set: give --smtp-url and --mail-from, or ORIEL_SMTP_URL and ORIEL_MAIL_FROM, as the server has them")
	}
	letter := mail.Test()
	if err := mailer.Send(env.ctx, c.To, letter.Subject, letter.Text); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "The server took the letter to %s. Look whether it arrives.\n", c.To)
	return err
}
