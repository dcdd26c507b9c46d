package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/server"
)

type clientCommand struct {
	List    clientList    `cmd:"" help:"List the assistants that somebody connected."`
	Add     clientAdd     `cmd:"" help:"Register a client beforehand and print its id and secret, once."`
	Revoke  clientRevoke  `cmd:"" help:"End all connections of a client."`
	Block   clientBlock   `cmd:"" help:"Block an integration: every registration of the client's product."`
	Unblock clientUnblock `cmd:"" help:"Let a blocked integration connect again."`
}

type jsonClient struct {
	Key          string     `json:"key"`
	ClientID     string     `json:"client_id"`
	ClientSecret string     `json:"client_secret,omitempty"`
	Name         string     `json:"name"`
	Kind         string     `json:"kind"`
	Product      string     `json:"product"`
	Blocked      bool       `json:"blocked"`
	CreatedAt    *time.Time `json:"created_at"`
}

func toJSONClient(c grant.Client) jsonClient {
	return jsonClient{string(c.Key()), string(c.ID), "", c.Name(), string(c.Kind), c.Product(), c.Blocked, jsonTime(c.CreatedAt)}
}

type clientList struct{ adminFlags }

// Run lists clients.
func (c *clientList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		clients, err := a.Authority.Store.Clients(env.ctx)
		if err != nil {
			return err
		}
		list, rows := make([]jsonClient, 0, len(clients)), make([][]string, 0, len(clients))
		for _, k := range clients {
			state := ""
			if k.Blocked {
				state = "blocked"
			}
			list = append(list, toJSONClient(k))
			rows = append(rows, []string{string(k.Key()), k.Name(), string(k.Kind), stamp(k.CreatedAt), state})
		}
		return c.print(env, list, table("No assistant has been connected yet.", []string{"ID", "NAME", "KIND", "CREATED", "STATE"}, rows))
	})
}

type clientAdd struct {
	adminFlags
	Name         string   `required:"" help:"Name that people see when they are asked for consent." placeholder:"N"`
	RedirectURI  []string `sep:"none" help:"Where answers are sent; may be given several times." placeholder:"URI"`
	Confidential bool     `help:"Give the client a secret, which it must present."`
	Team         string   `help:"Let the client act by itself in this team, without a person (client_credentials)." placeholder:"S"`
	Role         []string `help:"Its roles in that team." placeholder:"R"`

	PostLogoutRedirectURI []string `sep:"none" help:"Where the browser may go after a logout; may be given several times." placeholder:"URI"`
	IDTokenAlg            string   `name:"id-token-alg" enum:"ES256,RS256" default:"ES256" help:"Algorithm of its ID tokens: ES256 or RS256." placeholder:"ALG"`
}

// Run registers a client.
func (c *clientAdd) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		client, secret, err := c.register(env, a)
		if err != nil {
			return err
		}
		j := toJSONClient(client)
		text := fmt.Sprintf("client_id:     %s\n", client.ID)
		if j.ClientSecret = secret; secret != "" {
			text += fmt.Sprintf("client_secret: %s   (shown this once)\n", secret)
		}
		return c.print(env, j, text)
	})
}

func (c *clientAdd) register(env *environment, a *server.Admin) (grant.Client, string, error) {
	switch {
	case (c.Team == "") != (len(c.Role) == 0):
		return grant.Client{}, "", errors.New("--team and --role go together: what the client may do by itself")
	case c.Team == "" && len(c.RedirectURI) == 0:
		return grant.Client{}, "", errors.New("--redirect-uri is missing: where answers are sent (or --team and --role for a client that acts by itself)")
	}
	n := grant.NewClient{
		Name: c.Name, RedirectURIs: c.RedirectURI, PostLogoutRedirectURIs: c.PostLogoutRedirectURI,
		IDTokenAlg: c.IDTokenAlg, Confidential: c.Confidential,
	}
	if c.Team == "" {
		return a.Authority.AddClient(env.ctx, n, operator())
	}
	if err := n.Check(); err != nil {
		return grant.Client{}, "", err // before there is an account for it
	}
	service, err := a.Directory.AddService(env.ctx, c.Name, c.Team, c.Role, operator())
	if err != nil {
		return grant.Client{}, "", err
	}
	n.Service = service.ID
	return a.Authority.AddClient(env.ctx, n, operator())
}

type clientRevoke struct {
	adminFlags
	ID string `required:"" help:"Id or client_id of the client (oriel client list shows it)." placeholder:"C"`
}

// Run ends all grants of a client.
func (c *clientRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		n, err := a.Authority.RevokeClient(env.ctx, grant.ParseClientKey(c.ID), operator())
		if err != nil {
			return err
		}
		return c.print(env, map[string]any{"id": c.ID, "ended": n}, fmt.Sprintf("Ended %d connections of client %s.\n", n, c.ID))
	})
}

type clientBlock struct {
	adminFlags
	ID string `required:"" help:"Id or client_id of one of its clients, the URL of its metadata document, or a host for all clients that belong to it." placeholder:"C"`
}

// Run blocks an integration.
func (c *clientBlock) Run(env *environment) error { return blockClient(env, &c.adminFlags, c.ID, true) }

type clientUnblock struct {
	adminFlags
	ID string `required:"" help:"Id or client_id of one of its clients, the URL of its metadata document, or a host for all clients that belong to it." placeholder:"C"`
}

// Run unblocks an integration.
func (c *clientUnblock) Run(env *environment) error {
	return blockClient(env, &c.adminFlags, c.ID, false)
}

func blockClient(env *environment, f *adminFlags, id string, blocked bool) error {
	return f.with(env, func(a *server.Admin) error {
		product, err := a.Authority.BlockIntegration(env.ctx, id, blocked, operator())
		if err != nil {
			return err
		}
		state := "unblocked; its connections that have not ended work again"
		if blocked {
			state = "blocked; its connections are refused from the next call on"
		}
		return f.print(env, map[string]any{"product": product, "blocked": blocked}, fmt.Sprintf("The integration %q is %s.\n", product, state))
	})
}
