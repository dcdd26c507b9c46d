package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/server"
)

type providerCommand struct {
	AddOIDC    providerAddOIDC    `cmd:"" name:"add-oidc" help:"Add an OpenID Connect provider (Okta, Microsoft Entra ID, Google Workspace, Keycloak, …)."`
	AddSAML    providerAddSAML    `cmd:"" name:"add-saml" help:"Add a SAML 2.0 provider, from its metadata."`
	Metadata   providerMetadata   `cmd:"" help:"Read a SAML provider's metadata anew: its certificate has changed."`
	List       providerList       `cmd:"" help:"List the identity providers."`
	Enable     providerEnable     `cmd:"" help:"Let people sign in through a provider."`
	Disable    providerDisable    `cmd:"" help:"Switch a provider off and end the sessions and connections that came from it."`
	Remove     providerRemove     `cmd:"" help:"Forget a provider, and end the sessions, connections and roles that came from it. Accounts stay."`
	Domain     providerDomain     `cmd:"" help:"Give a provider another e-mail domain."`
	SSOOnly    providerSSOOnly    `cmd:"" name:"sso-only" help:"Refuse passwords for an e-mail domain, or take them again (--off)."`
	BreakGlass providerBreakGlass `cmd:"" name:"break-glass" help:"Name an owner who may use a password all the same, or take that back (--off)."`
	Map        providerMap        `cmd:"" help:"Give the members of a group a role in a team, from their next sign-in on."`
	Unmap      providerUnmap      `cmd:"" help:"Take a mapping away; what it gave goes at people's next sign-in."`
	Unlink     providerUnlink     `cmd:"" help:"Forget who somebody is at a provider; their next sign-in finds them by their address again."`
}

type jsonDomain struct {
	Name    string `json:"name"`
	SSOOnly bool   `json:"sso_only"`
}

type jsonRule struct {
	Group string `json:"group"`
	Team  string `json:"team"`
	Role  string `json:"role"`
}

type jsonProvider struct {
	Slug           string       `json:"slug"`
	Name           string       `json:"name"`
	Kind           string       `json:"kind"`
	Enabled        bool         `json:"enabled"`
	Issuer         string       `json:"issuer,omitempty"`
	ClientID       string       `json:"client_id,omitempty"`
	Domains        []jsonDomain `json:"domains"`
	Mapping        []jsonRule   `json:"mapping"`
	CreateAccounts bool         `json:"create_accounts"`
	CreatedAt      *time.Time   `json:"created_at"`
}

func toJSONProvider(p sso.Provider) jsonProvider {
	j := jsonProvider{
		Slug: p.Slug, Name: p.Name, Kind: string(p.Kind), Enabled: p.Enabled, Issuer: p.Settings.Issuer, ClientID: p.Settings.ClientID,
		Domains: []jsonDomain{}, Mapping: []jsonRule{}, CreateAccounts: p.Settings.CreateAccounts, CreatedAt: jsonTime(p.CreatedAt),
	}
	for _, d := range p.Domains {
		j.Domains = append(j.Domains, jsonDomain(d))
	}
	for _, r := range p.Rules {
		j.Mapping = append(j.Mapping, jsonRule{r.Group, r.Team, r.Role})
	}
	return j
}

// providerFlags are what all kinds of provider have in common.
type providerFlags struct {
	Slug           string   `required:"" help:"Short name, for addresses and commands." placeholder:"S"`
	Name           string   `required:"" help:"What people see: \"Sign in with N\"." placeholder:"N"`
	Domain         []string `required:"" help:"E-mail domain whose people sign in here; may be given several times." placeholder:"D"`
	CreateAccounts bool     `help:"Make an account for somebody of these domains who has none."`
	AllowPrivate   bool     `help:"The provider may be at a private address (self-hosted)."`
	GroupClaim     string   `help:"Claim or attribute that lists groups." default:"groups" placeholder:"C"`
	SubjectClaim   string   `help:"Claim or attribute that names a person for ever, instead of sub or the NameID." placeholder:"C"`
	EmailClaim     string   `help:"Claim or attribute with the e-mail address, instead of email." placeholder:"C"`
	TrustEmail     bool     `help:"Take the address without email_verified: only the organization gives out addresses there."`
	Class          []string `help:"What an authentication class of the provider means: FROM=ACR[,AMR…]; may be given several times." placeholder:"M" sep:"none"`
}

func (f *providerFlags) newProvider() (sso.NewProvider, error) {
	n := sso.NewProvider{Slug: f.Slug, Name: f.Name, Domains: f.Domain, Settings: sso.Settings{
		CreateAccounts: f.CreateAccounts, AllowPrivate: f.AllowPrivate, SubjectClaim: f.SubjectClaim, EmailClaim: f.EmailClaim, TrustEmail: f.TrustEmail,
	}}
	if f.GroupClaim != sso.DefaultGroupClaim {
		n.Settings.GroupClaim = f.GroupClaim
	}
	for _, text := range f.Class {
		c, err := sso.ParseClass(text)
		if err != nil {
			return n, err
		}
		n.Settings.Classes = append(n.Settings.Classes, c)
	}
	return n, nil
}

type providerAddOIDC struct {
	adminFlags
	providerFlags
	Issuer            string   `required:"" help:"Issuer, exactly as the provider writes it." placeholder:"URL"`
	ClientID          string   `name:"client-id" required:"" help:"Client id that the provider gave to Oriel." placeholder:"ID"`
	ClientSecretStdin bool     `help:"Read the client secret from standard input. Without it Oriel is a public client (PKCE alone)."`
	Scope             []string `help:"Scope to ask for beside openid; may be given several times. Default: profile, email." placeholder:"S"`
	RequireClaim      []string `help:"Claim that must have a value, as NAME=VALUE; may be given several times. Google Workspace: hd=DOMAIN." placeholder:"C" sep:"none"`
	ACRValue          []string `name:"acr-value" help:"Authentication class to ask for; may be given several times." placeholder:"C"`
}

// maxSecretInput bounds what is read as a client secret.
const maxSecretInput = 4 << 10

// Run adds a provider.
func (c *providerAddOIDC) Run(env *environment) error {
	n, err := c.newProvider()
	if err != nil {
		return err
	}
	n.Settings.Issuer, n.Settings.ClientID, n.Settings.Scopes, n.Settings.ACRValues = c.Issuer, c.ClientID, c.Scope, c.ACRValue
	n.Settings.Require = c.RequireClaim
	if c.ClientSecretStdin {
		line, err := bufio.NewReader(io.LimitReader(env.stdin, maxSecretInput)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the client secret: %w", err)
		}
		if n.ClientSecret = sso.Secret(strings.TrimRight(line, "\r\n")); len(n.ClientSecret) == 0 {
			return errors.New("standard input holds no client secret")
		}
	}
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Providers.AddOIDC(env.ctx, n, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONProvider(p), fmt.Sprintf(`Added %s. Enter at the provider, after the address of this server:
  redirect URI              %s%s/callback
  back-channel logout URI   %s%s/backchannel
  post-logout redirect URI  %s%s/signed-out
`, p.Name, sso.Path, p.Slug, sso.Path, p.Slug, sso.Path, p.Slug))
	})
}

// metadataFlags say where a SAML provider describes itself.
type metadataFlags struct {
	MetadataFile string `type:"existingfile" help:"File with the provider's metadata." placeholder:"FILE" xor:"metadata"`
	MetadataURL  string `name:"metadata-url" help:"Where the provider publishes its metadata (https)." placeholder:"URL" xor:"metadata"`
}

func (f *metadataFlags) read(env *environment, a *server.Admin, private bool) (string, error) {
	switch {
	case f.MetadataFile != "":
		text, err := os.ReadFile(f.MetadataFile)
		if err != nil {
			return "", fmt.Errorf("read the metadata: %w", err)
		}
		return string(text), nil
	case f.MetadataURL != "":
		return a.FetchMetadata(env.ctx, f.MetadataURL, private)
	}
	return "", errors.New("where is the provider's metadata? give --metadata-file or --metadata-url")
}

type providerAddSAML struct {
	adminFlags
	providerFlags
	metadataFlags
}

// Run adds a provider.
func (c *providerAddSAML) Run(env *environment) error {
	n, err := c.newProvider()
	if err != nil {
		return err
	}
	return c.with(env, func(a *server.Admin) error {
		if n.Settings.Metadata, err = c.read(env, a, c.AllowPrivate); err != nil {
			return err
		}
		n.Settings.MetadataURL = c.MetadataURL
		p, err := a.Providers.AddSAML(env.ctx, n, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONProvider(p), fmt.Sprintf(`Added %s. Enter at the provider, after the address of this server:
  entity id and metadata                %s%s/metadata
  assertion consumer service (ACS) URL  %s%s/acs
  single logout service (SLO) URL       %s%s/slo
`, p.Name, sso.Path, p.Slug, sso.Path, p.Slug, sso.Path, p.Slug))
	})
}

type providerMetadata struct {
	adminFlags
	providerRef
	metadataFlags
}

// Run replaces the metadata.
func (c *providerMetadata) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Providers.Provider(env.ctx, c.Provider)
		if err != nil {
			return err
		}
		if c.MetadataFile == "" && c.MetadataURL == "" {
			c.MetadataURL = p.Settings.MetadataURL
		}
		text, err := c.read(env, a, p.Settings.AllowPrivate)
		if err != nil {
			return err
		}
		if err := a.Providers.SetMetadata(env.ctx, c.Provider, text, operator()); err != nil {
			return err
		}
		return c.print(env, toJSONProvider(p), fmt.Sprintf("The metadata of %s is replaced.\n", p.Name))
	})
}

type providerList struct{ adminFlags }

// Run lists providers.
func (c *providerList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		all, err := a.Providers.Providers(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonProvider, 0, len(all)), make([][]string, 0, len(all))
		for _, p := range all {
			state, domains := "on", make([]string, len(p.Domains))
			if !p.Enabled {
				state = "off"
			}
			for i, d := range p.Domains {
				if domains[i] = d.Name; d.SSOOnly {
					domains[i] += " (SSO only)"
				}
			}
			list = append(list, toJSONProvider(p))
			rows = append(rows, []string{p.Slug, p.Name, string(p.Kind), state, strings.Join(domains, ", "), fmt.Sprint(len(p.Rules))})
		}
		return c.print(env, list, table("There is no identity provider. Add one: oriel provider add-oidc --help", []string{"SLUG", "NAME", "KIND", "STATE", "DOMAINS", "MAPPINGS"}, rows))
	})
}

// providerRef names a provider.
type providerRef struct {
	Provider string `required:"" help:"Slug of the provider (oriel provider list shows it)." placeholder:"P"`
}

type providerEnable struct {
	adminFlags
	providerRef
}

// Run switches a provider on.
func (c *providerEnable) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, _, err := a.Providers.SetEnabled(env.ctx, c.Provider, true, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONProvider(p), fmt.Sprintf("People can sign in with %s.\n", p.Name))
	})
}

type providerDisable struct {
	adminFlags
	providerRef
}

// Run switches a provider off.
func (c *providerDisable) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, ended, err := a.Providers.SetEnabled(env.ctx, c.Provider, false, operator())
		if err != nil {
			return err
		}
		text := fmt.Sprintf("Nobody can sign in with %s. %d sessions and %d connections ended.\n", p.Name, ended.Sessions, ended.Connections)
		for _, d := range p.Domains {
			if d.SSOOnly {
				text += fmt.Sprintf("Passwords stay refused for %s; to take them again: oriel provider sso-only --domain %s --off\n", d.Name, d.Name)
			}
		}
		return c.print(env, toJSONProvider(p), text)
	})
}

type providerRemove struct {
	adminFlags
	providerRef
}

// Run forgets a provider.
func (c *providerRemove) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		ended, err := a.Providers.Remove(env.ctx, c.Provider, operator())
		if err != nil {
			return err
		}
		return c.print(env, map[string]any{"slug": c.Provider, "removed": true, "sessions": ended.Sessions, "connections": ended.Connections},
			fmt.Sprintf("%s is forgotten. %d sessions and %d connections ended.\n", c.Provider, ended.Sessions, ended.Connections))
	})
}

type providerDomain struct {
	adminFlags
	providerRef
	Domain string `required:"" help:"E-mail domain." placeholder:"D"`
}

// Run gives a provider a domain.
func (c *providerDomain) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Providers.AddDomain(env.ctx, c.Provider, c.Domain, operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"slug": c.Provider, "domain": c.Domain}, fmt.Sprintf("People of %s sign in with %s.\n", c.Domain, c.Provider))
	})
}

type providerSSOOnly struct {
	adminFlags
	Domain string `required:"" help:"E-mail domain of a provider." placeholder:"D"`
	Off    bool   `help:"Take passwords again."`
}

// Run changes whether passwords are refused.
func (c *providerSSOOnly) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Providers.SetSSOOnly(env.ctx, c.Domain, !c.Off, operator()); err != nil {
			return err
		}
		text := fmt.Sprintf("Passwords are refused for %s, but for break-glass owners. Browser sessions that began with one have ended.\n", c.Domain)
		if c.Off {
			text = fmt.Sprintf("Passwords are taken for %s.\n", c.Domain)
		}
		return c.print(env, jsonDomain{c.Domain, !c.Off}, text)
	})
}

type providerBreakGlass struct {
	adminFlags
	Email string `required:"" help:"E-mail address of an owner." placeholder:"E"`
	Off   bool   `help:"Take it back."`
}

// Run changes who may use a password whatever the domain says.
func (c *providerBreakGlass) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		p, err := a.Providers.SetBreakGlass(env.ctx, c.Email, !c.Off, operator())
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s may sign in with a password whatever their domain says. Keep that password in a safe place.\n", p.Email)
		if c.Off {
			text = fmt.Sprintf("%s signs in as their domain says.\n", p.Email)
		}
		return c.print(env, map[string]any{"email": p.Email, "break_glass": !c.Off}, text)
	})
}

type providerRule struct {
	providerRef
	Group string `required:"" help:"Group, exactly as the provider writes it." placeholder:"G"`
	Team  string `required:"" help:"Slug of the team." placeholder:"S"`
	Role  string `required:"" help:"Role in the team." placeholder:"R"`
}

func (c *providerRule) rule() sso.Rule { return sso.Rule{Group: c.Group, Team: c.Team, Role: c.Role} }

type providerMap struct {
	adminFlags
	providerRule
}

// Run adds a mapping.
func (c *providerMap) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		r, err := a.Providers.Map(env.ctx, c.Provider, c.rule(), operator())
		if err != nil {
			return err
		}
		return c.print(env, jsonRule{r.Group, r.Team, r.Role}, fmt.Sprintf("Members of %s have the role %s in %s from their next sign-in on.\n", r.Group, r.Role, r.Team))
	})
}

type providerUnmap struct {
	adminFlags
	providerRule
}

// Run takes a mapping away.
func (c *providerUnmap) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Providers.Unmap(env.ctx, c.Provider, c.rule(), operator()); err != nil {
			return err
		}
		return c.print(env, jsonRule{c.Group, c.Team, c.Role}, fmt.Sprintf("Members of %s lose the role %s in %s at their next sign-in.\n", c.Group, c.Role, c.Team))
	})
}

type providerUnlink struct {
	adminFlags
	providerRef
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
}

// Run forgets a link.
func (c *providerUnlink) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Providers.Unlink(env.ctx, c.Provider, c.Email, operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"email": c.Email, "provider": c.Provider}, fmt.Sprintf("%s is linked to nobody at %s any more.\n", c.Email, c.Provider))
	})
}
