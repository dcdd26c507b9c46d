package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type keyCommand struct {
	Add    keyAdd    `cmd:"" help:"Make an ingest key for a team and print it, once."`
	List   keyList   `cmd:"" help:"List a team's ingest keys."`
	Revoke keyRevoke `cmd:"" help:"End an ingest key."`
}

type jsonKey struct {
	ID        string     `json:"id"`
	Team      string     `json:"team"`
	Name      string     `json:"name"`
	Key       string     `json:"key,omitempty"`
	CreatedAt *time.Time `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	// Signals that it may send, all where there are none; Rate in bytes a
	// second, 0 for any.
	Signals []string `json:"signals,omitempty"`
	Rate    int64    `json:"rate,omitempty"`
}

type keyAdd struct {
	adminFlags
	Team    string   `required:"" help:"Slug of the team that the telemetry goes to." placeholder:"S"`
	Name    string   `required:"" help:"What the key is for." placeholder:"N"`
	Signals []string `help:"What it may send: logs, spans, metrics. Default: all." placeholder:"S"`
	Rate    string   `help:"How much it may send in a second, decompressed, like 5MiB. Default: no limit." placeholder:"SIZE"`
}

func (c *keyAdd) limits() (org.KeyLimits, error) {
	l := org.KeyLimits{Signals: c.Signals}
	if c.Rate != "" {
		n, err := humanize.ParseBytes(c.Rate)
		if err != nil || n == 0 || n > 1<<40 {
			return l, fmt.Errorf("--rate %q: write it like 5MiB", c.Rate)
		}
		l.BytesPerSecond = int64(n)
	}
	return l, nil
}

// limitsText shows limits in a table.
func limitsText(l org.KeyLimits) string {
	text := "all"
	if len(l.Signals) > 0 {
		text = strings.Join(l.Signals, ",")
	}
	if l.BytesPerSecond > 0 {
		text += " " + humanize.IBytes(uint64(l.BytesPerSecond)) + "/s"
	}
	return text
}

// Run makes a key. On standard output there is the key alone, so that it can
// be piped; what to do with it is on standard error.
func (c *keyAdd) Run(env *environment) error {
	limits, err := c.limits()
	if err != nil {
		return err
	}
	return c.with(env, func(a *server.Admin) error {
		k, secret, err := a.Directory.AddLimitedKey(env.ctx, c.Team, c.Name, limits, operator())
		if err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintf(env.stderr, "Ingest key %q (%s) for team %s. It is shown this once; send with \"Authorization: Bearer KEY\" to /v1/logs, /v1/traces and /v1/metrics (OTLP over HTTP).\n", k.Name, k.ID, c.Team)
		}
		return c.print(env, jsonKey{string(k.ID), c.Team, k.Name, secret.Reveal(), jsonTime(k.CreatedAt), nil, k.Limits.Signals, k.Limits.BytesPerSecond}, secret.Reveal()+"\n")
	})
}

type keyList struct {
	adminFlags
	Team string `required:"" help:"Slug of the team." placeholder:"S"`
}

// Run lists keys.
func (c *keyList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		keys, err := a.Directory.Keys(env.ctx, c.Team)
		if err != nil {
			return err
		}
		list, rows := make([]jsonKey, 0, len(keys)), make([][]string, 0, len(keys))
		for _, k := range keys {
			state := "works"
			if !k.RevokedAt.IsZero() {
				state = "revoked " + stamp(k.RevokedAt)
			}
			list = append(list, jsonKey{string(k.ID), c.Team, k.Name, "", jsonTime(k.CreatedAt), jsonTime(k.RevokedAt), k.Limits.Signals, k.Limits.BytesPerSecond})
			rows = append(rows, []string{string(k.ID), k.Name, limitsText(k.Limits), stamp(k.CreatedAt), state})
		}
		return c.print(env, list, table("The team has no ingest keys yet. Make one: oriel key add --team "+c.Team+" --name N", []string{"ID", "NAME", "SENDS", "CREATED", "STATE"}, rows))
	})
}

type keyRevoke struct {
	adminFlags
	ID string `required:"" help:"Id of the key (oriel key list shows it)." placeholder:"K"`
}

// Run ends a key.
func (c *keyRevoke) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Directory.RevokeKey(env.ctx, org.KeyID(c.ID), operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"id": c.ID, "revoked": "true"}, fmt.Sprintf("Key %s is revoked.\n", c.ID))
	})
}
