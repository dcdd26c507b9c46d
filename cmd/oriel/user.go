package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type userCommand struct {
	Add     userAdd     `cmd:"" help:"Add a person."`
	Disable userDisable `cmd:"" help:"Take away a person's sign-in and end their connections, from their next call on."`
	Enable  userEnable  `cmd:"" help:"Let a disabled person sign in again."`
	List    userList    `cmd:"" help:"List people."`

	Invite        userInvite        `cmd:"" help:"Add a person and print a link with which they choose a password."`
	Delete        userDelete        `cmd:"" help:"Delete a person's account and end all that hangs on it; the audit stays."`
	ResetPassword userResetPassword `cmd:"" name:"reset-password" help:"Print a link with which a person chooses a new password."`

	ResetMFA userResetMFA `cmd:"" name:"reset-mfa" help:"Remove the second factors of somebody who lost them, and sign them out everywhere."`
}

type jsonPerson struct {
	ID         string     `json:"id"`
	Email      string     `json:"email"`
	Name       string     `json:"name"`
	Owner      bool       `json:"owner"`
	Service    bool       `json:"service"`
	CreatedAt  *time.Time `json:"created_at"`
	DisabledAt *time.Time `json:"disabled_at"`
}

func toJSONPerson(p org.Person) jsonPerson {
	return jsonPerson{string(p.ID), p.Email, p.Name, p.Owner, p.Service, jsonTime(p.CreatedAt), jsonTime(p.DisabledAt)}
}

type userAdd struct {
	adminFlags
	Email         string `required:"" help:"E-mail address, with which the person signs in." placeholder:"E"`
	Name          string `required:"" help:"The person's name." placeholder:"N"`
	Owner         bool   `help:"Let the person administer the whole organization."`
	PasswordStdin bool   `help:"Read the password from standard input."`
}

// Run adds a person. Without --password-stdin it asks for the password on a
// terminal.
func (c *userAdd) Run(env *environment) error {
	password, err := c.password(env)
	if err != nil {
		return err
	}
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Directory.AddPerson(env.ctx, org.NewPerson{Email: c.Email, Name: c.Name, Owner: c.Owner, Password: password}, operator())
		if err != nil {
			return err
		}
		text := fmt.Sprintf("Added %s (%s).\n", p.Name, p.Email)
		if !p.Owner {
			text += fmt.Sprintf("Next, put them in a team: oriel member set --team SLUG --email %s --role viewer\n", p.Email)
		}
		return c.print(env, toJSONPerson(p), text)
	})
}

// maxPasswordInput bounds what is read as a password.
const maxPasswordInput = 4 << 10

func (c *userAdd) password(env *environment) (org.Password, error) {
	if c.PasswordStdin {
		line, err := bufio.NewReader(io.LimitReader(env.stdin, maxPasswordInput)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("standard input holds no password")
		}
		return org.Password(line), nil
	}
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", errors.New("how shall the person sign in? give a password with --password-stdin, e.g.: printf '%s' \"$PASSWORD\" | oriel user add … --password-stdin")
	}
	fmt.Fprintf(env.stderr, "Password for %s: ", c.Email)
	first, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprint(env.stderr, "\nOnce more: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	second, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(env.stderr)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if string(first) != string(second) {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return org.Password(first), nil
}

type userDisable struct {
	adminFlags
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run disables a person.
func (c *userDisable) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Directory.Disable(env.ctx, c.Email, operator())
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s is disabled. Their connections are ended.\n", p.Email)
		people, err := a.Directory.People(env.ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(people, func(p org.Person) bool { return p.Owner && p.Active() }) {
			text += "No active owner is left: oriel user enable brings this one back, oriel user add --owner makes another.\n"
		}
		return c.print(env, toJSONPerson(p), text)
	})
}

type userEnable struct {
	adminFlags
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run enables a person.
func (c *userEnable) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Directory.Enable(env.ctx, c.Email, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONPerson(p), fmt.Sprintf("%s can sign in and connect again.\n", p.Email))
	})
}

type userList struct{ adminFlags }

// Run lists people.
func (c *userList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		people, err := a.Directory.People(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonPerson, 0, len(people)), make([][]string, 0, len(people))
		for _, p := range people {
			state := "active"
			if !p.Active() {
				state = "disabled " + stamp(p.DisabledAt)
			}
			owner := ""
			if p.Owner {
				owner = "owner"
			}
			if p.Service {
				owner = "service"
			}
			list = append(list, toJSONPerson(p))
			rows = append(rows, []string{p.Email, p.Name, owner, state})
		}
		return c.print(env, list, table("There is nobody yet. Add somebody: oriel user add --email E --name N", []string{"EMAIL", "NAME", "KIND", "STATE"}, rows))
	})
}
