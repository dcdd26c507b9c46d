package main

import (
	"fmt"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type policyCommand struct {
	Set  policySet  `cmd:"" help:"Change what sign-ins must have had."`
	Show policyShow `cmd:"" help:"Show what is demanded of sign-ins."`
}

type jsonPolicy struct {
	// Team is null for the organization.
	Team *string `json:"team"`
	MFA  org.MFA `json:"mfa"`
	// Effective is what holds: the stricter one of the team's and the
	// organization's.
	Effective org.MFA `json:"effective_mfa"`
}

type policySet struct {
	adminFlags
	Team string `help:"Slug of the team; without it, the whole organization." placeholder:"S"`
	MFA  string `name:"mfa" required:"" enum:"optional,required,passkey" help:"Second factor: optional, required, or passkey (a passkey or security key)." placeholder:"M"`
}

// Run changes a policy.
func (c *policySet) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Directory.SetMFA(env.ctx, c.Team, org.MFA(c.MFA), operator()); err != nil {
			return err
		}
		p, err := readPolicy(env, a, c.Team)
		if err != nil {
			return err
		}
		whom, text := "the whole organization", ""
		if c.Team != "" {
			whom = c.Team
		}
		switch p.MFA {
		case org.MFAOptional:
			text = fmt.Sprintf("A second factor is optional for %s.\n", whom)
		case org.MFARequired:
			text = fmt.Sprintf("A second factor is required for %s. Connections whose sign-in had none are refused until their person connects again.\n", whom)
		case org.MFAPasskey:
			text = fmt.Sprintf("A passkey or security key is required for %s. Connections whose sign-in had none are refused until their person connects again. Passkeys work only where the server is reached by name (--public-url https://… or http://localhost).\n", whom)
		}
		if p.Effective != p.MFA {
			text += fmt.Sprintf("The organization demands more, and that holds: %s.\n", p.Effective)
		}
		return c.print(env, p, text)
	})
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
			rows = append(rows, []string{name, string(p.MFA), string(p.Effective)})
		}
		return c.print(env, list, table("", []string{"TEAM", "SECOND FACTOR", "IN FORCE"}, rows))
	})
}
