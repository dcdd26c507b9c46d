package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type policyCommand struct {
	Set  policySet  `cmd:"" help:"Change what sign-ins must have had, and how often connections come back."`
	Show policyShow `cmd:"" help:"Show what is demanded of sign-ins and connections."`
}

type jsonPolicy struct {
	// Team is null for the organization.
	Team *string `json:"team"`
	MFA  org.MFA `json:"mfa"`
	// Effective is what holds: the stricter one of the team's and the
	// organization's.
	Effective org.MFA `json:"effective_mfa"`
	// Disconnect and Reconnect are "" where nothing is set; SignInAge is in
	// seconds, 0 for no bound.
	Disconnect string `json:"disconnect"`
	Reconnect  string `json:"reconnect"`
	SignInAge  int64  `json:"sign_in_age_seconds"`
}

type policySet struct {
	adminFlags
	Team string `help:"Slug of the team; without it, the whole organization." placeholder:"S"`
	MFA  string `name:"mfa" enum:",optional,required,passkey" default:"" help:"Second factor: optional, required, or passkey (a passkey or security key)." placeholder:"M"`

	Disconnect string `enum:",hourly,off,default" default:"" help:"End access at every full hour: hourly, off, or default (what serve is told, for a team what the organization has). A team can only be hourly." placeholder:"D"`
	Reconnect  string `enum:",refresh,interactive,default" default:"" help:"After that, apps come back by themselves (refresh) or through the browser (interactive), or default. A team can only be interactive." placeholder:"R"`
	SignInAge  string `name:"sign-in-age" help:"Longest time since the person last proved who they are, like 12h or 30d; none for no bound." placeholder:"T"`

	SignInMessage string `help:"What the sign-in page says, in plain text; none for nothing." placeholder:"TEXT"`
}

// Run changes a policy.
func (c *policySet) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if c.SignInMessage != "" {
			return c.setMessage(env, a)
		}
		if c.MFA == "" && c.Disconnect == "" && c.Reconnect == "" && c.SignInAge == "" {
			return errors.New("say what to change: --mfa, --disconnect, --reconnect, --sign-in-age or --sign-in-message")
		}
		reconnect, err := c.reconnect(env, a)
		if err != nil {
			return err
		}
		if c.MFA != "" {
			if err := a.Directory.SetMFA(env.ctx, c.Team, org.MFA(c.MFA), operator()); err != nil {
				return err
			}
		}
		if reconnect != nil {
			if err := a.Directory.SetReconnect(env.ctx, c.Team, *reconnect, operator()); err != nil {
				return err
			}
		}
		p, err := readPolicy(env, a, c.Team)
		if err != nil {
			return err
		}
		whom, text := "the whole organization", ""
		if c.Team != "" {
			whom = c.Team
		}
		if reconnect != nil {
			text = fmt.Sprintf("Connections of %s: %s. It holds from their next call on; tokens given out already end when they were told to.\n", whom, *reconnect)
		}
		if c.MFA == "" {
			return c.print(env, p, text)
		}
		switch p.MFA {
		case org.MFAOptional:
			text += fmt.Sprintf("A second factor is optional for %s.\n", whom)
		case org.MFARequired:
			text += fmt.Sprintf("A second factor is required for %s. Connections whose sign-in had none are refused until their person connects again.\n", whom)
		case org.MFAPasskey:
			text += fmt.Sprintf("A passkey or security key is required for %s. Connections whose sign-in had none are refused until their person connects again. Passkeys work only where the server is reached by name (--public-url https://… or http://localhost).\n", whom)
		}
		if p.Effective != p.MFA {
			text += fmt.Sprintf("The organization demands more, and that holds: %s.\n", p.Effective)
		}
		return c.print(env, p, text)
	})
}

// reconnect returns what is set with the changes asked for, nil for none.
func (c *policySet) reconnect(env *environment, a *server.Admin) (*org.Reconnect, error) {
	if c.Disconnect == "" && c.Reconnect == "" && c.SignInAge == "" {
		return nil, nil
	}
	var team org.TeamID
	if c.Team != "" {
		t, err := a.Directory.Team(env.ctx, c.Team)
		if err != nil {
			return nil, err
		}
		team = t.ID
	}
	r, err := a.Directory.Reconnect(env.ctx, team)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct {
		value string
		into  *string
	}{{c.Disconnect, &r.Disconnect}, {c.Reconnect, &r.Return}} {
		switch o.value {
		case "":
		case "default":
			*o.into = ""
		default:
			*o.into = o.value
		}
	}
	switch c.SignInAge {
	case "":
	case "none":
		r.SignInAge = 0
	default:
		if r.SignInAge, err = org.ParseLookBack(c.SignInAge); err != nil {
			return nil, fmt.Errorf("--sign-in-age %q: write a number and h, d or w, like 30d, or none", c.SignInAge)
		}
	}
	return &r, nil
}

func readPolicy(env *environment, a *server.Admin, slug string) (jsonPolicy, error) {
	var (
		p    jsonPolicy
		team org.TeamID
	)
	if slug != "" {
		t, err := a.Directory.Team(env.ctx, slug)
		if err != nil {
			return p, err
		}
		p.Team, team = &slug, t.ID
	}
	var err error
	if p.MFA, err = a.Directory.OwnMFA(env.ctx, team); err != nil {
		return p, err
	}
	r, err := a.Directory.Reconnect(env.ctx, team)
	if err != nil {
		return p, err
	}
	p.Disconnect, p.Reconnect, p.SignInAge = r.Disconnect, r.Return, int64(r.SignInAge.Seconds())
	p.Effective, err = a.Directory.MFA(env.ctx, team)
	return p, err
}

type policyShow struct {
	adminFlags
}

// Run lists policies.
func (c *policyShow) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		teams, err := a.Directory.Teams(env.ctx)
		if err != nil {
			return err
		}
		slugs := []string{""}
		for _, t := range teams {
			slugs = append(slugs, t.Slug)
		}
		var (
			list []jsonPolicy
			rows [][]string
		)
		for _, slug := range slugs {
			p, err := readPolicy(env, a, slug)
			if err != nil {
				return err
			}
			name := slug
			if name == "" {
				name = "(organization)"
			}
			list = append(list, p)
			age := "-"
			if p.SignInAge > 0 {
				age = org.FormatLookBack(time.Duration(p.SignInAge) * time.Second)
			}
			rows = append(rows, []string{name, string(p.MFA), string(p.Effective), cmp.Or(p.Disconnect, "-"), cmp.Or(p.Reconnect, "-"), age})
		}
		return c.print(env, list, table("", []string{"TEAM", "SECOND FACTOR", "IN FORCE", "DISCONNECT", "RECONNECT", "SIGN-IN AGE"}, rows))
	})
}

// setMessage sets what the sign-in page says, and nothing else.
func (c *policySet) setMessage(env *environment, a *server.Admin) error {
	if c.Team != "" || c.MFA != "" || c.Disconnect != "" || c.Reconnect != "" || c.SignInAge != "" {
		return errors.New("--sign-in-message is for the whole organization, and stands alone")
	}
	text := c.SignInMessage
	if text == "none" {
		text = ""
	}
	if err := a.Directory.SetSignInMessage(env.ctx, text, operator()); err != nil {
		return err
	}
	return c.print(env, map[string]string{"sign_in_message": text}, "The sign-in page has changed.\n")
}
