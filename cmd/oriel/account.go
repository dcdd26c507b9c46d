package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/mail"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type jsonAccountLink struct {
	Person jsonPerson `json:"person"`
	// Link is null before the server was started for the first time.
	Link *string `json:"link"`
	Path string  `json:"path,omitempty"`
	// Mailed says that the link was sent to the person; it is not shown then.
	Mailed    bool       `json:"mailed"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// printLink shows a link after what was done.
func (f *adminFlags) printLink(env *environment, l server.AccountLink, done string) error {
	out := jsonAccountLink{Person: toJSONPerson(l.Person), Path: l.Path, ExpiresAt: jsonTime(l.ExpiresAt)}
	text := fmt.Sprintf("%s The link is good once, until %s. It is shown only now, and whoever has it gets the account:\n", done, stamp(l.ExpiresAt))
	if l.URL != "" {
		out.Link = &l.URL
		text += "  " + l.URL + "\n"
	} else {
		text += "  " + l.Path + "\nThe server has not been started yet, so its address is not known: put it before the path.\n"
	}
	return f.print(env, out, text)
}

// mailLink sends a link where a mail server is set; otherwise, or where that
// fails, it is printed.
func (f *adminFlags) mailLink(env *environment, m config.Mail, l server.AccountLink, kind login.LinkKind, done string) error {
	mailer, err := m.Mailer()
	if mailer == nil || l.URL == "" {
		return errors.Join(err, f.printLink(env, l, done))
	}
	letter := mail.NewPassword
	if kind == login.InviteLink {
		letter = mail.Invitation
	}
	text := letter(l.Person.Name, l.URL, l.ExpiresAt)
	if err := mailer.Send(env.ctx, l.Person.Email, text.Subject, text.Text); err != nil {
		return errors.Join(fmt.Errorf("the letter was not sent, so the link is printed: %w", err), f.printLink(env, l, done))
	}
	out := jsonAccountLink{Person: toJSONPerson(l.Person), Mailed: true, ExpiresAt: jsonTime(l.ExpiresAt)}
	return f.print(env, out, fmt.Sprintf("%s The link was mailed to %s. It is good once, until %s.\n", done, l.Person.Email, stamp(l.ExpiresAt)))
}

type userInvite struct {
	adminFlags
	config.Mail `embed:""`

	Email string   `required:"" help:"E-mail address, with which the person signs in." placeholder:"E"`
	Name  string   `required:"" help:"The person's name." placeholder:"N"`
	Team  string   `help:"Slug of a team to put the person in." placeholder:"S"`
	Role  []string `help:"Roles in the team, separated by commas." placeholder:"R"`
}

// Run adds a person and prints the link.
func (c *userInvite) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		l, err := a.Invite(env.ctx, org.NewPerson{Email: c.Email, Name: c.Name}, c.Team, c.Role, operator())
		if err != nil {
			return err
		}
		return c.mailLink(env, c.Mail, l, login.InviteLink, fmt.Sprintf("Invited %s (%s).", l.Person.Name, l.Person.Email))
	})
}

type userResetPassword struct {
	adminFlags
	config.Mail `embed:""`

	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run prints the link. The old password works until the link is used.
func (c *userResetPassword) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		l, err := a.ResetPassword(env.ctx, c.Email, operator())
		if err != nil {
			return err
		}
		return c.mailLink(env, c.Mail, l, login.ResetLink, fmt.Sprintf("%s can choose a new password.", l.Person.Email))
	})
}
