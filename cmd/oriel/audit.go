package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/server"
)

type auditCommand struct {
	adminFlags
	Follow bool          `short:"f" help:"Go on printing what happens, until interrupted."`
	Since  time.Duration `help:"Only what happened so long ago at most, e.g. 1h." placeholder:"TIME"`
	Kind   string        `help:"Only events of this kind, e.g. grant.approved." placeholder:"K"`
	Email  string        `help:"Only what this person did or what concerns them." placeholder:"E"`
	Grant  string        `help:"Only what concerns this connection." placeholder:"G"`
	Limit  int           `help:"How many of the newest events are printed." default:"100" placeholder:"N"`
}

// followInterval is how often --follow asks for new events.
const followInterval = 300 * time.Millisecond

type jsonEvent struct {
	Seq     int64      `json:"seq"`
	At      *time.Time `json:"at"`
	By      string     `json:"actor_kind"`
	ActorID string     `json:"actor_id,omitempty"`
	Who     string     `json:"who,omitempty"`
	Kind    string     `json:"kind"`
	Target  string     `json:"target,omitempty"`
	Team    string     `json:"team,omitempty"`
	Address string     `json:"address,omitempty"`
	Detail  string     `json:"detail,omitempty"`
}

// Run prints events: a table, or with --json one object a line.
func (c *auditCommand) Run(env *environment) error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit %d: at least one event is printed", c.Limit)
	}
	return c.with(env, func(a *server.Admin) error {
		f := audit.Filter{Kind: audit.Kind(c.Kind), Email: strings.ToLower(strings.TrimSpace(c.Email)), Grant: c.Grant, Limit: c.Limit}
		if c.Since > 0 {
			f.Since = time.Now().Add(-c.Since)
		}
		head := true
		for {
			events, err := a.Events(env.ctx, f)
			if err != nil {
				if env.ctx.Err() != nil {
					return nil //nolint:nilerr // interrupted, which is how following ends
				}
				return err
			}
			if err := c.write(env.stdout, events, head); err != nil {
				return err
			}
			if n := len(events); n > 0 {
				f.After, head = events[n-1].Seq, false
			}
			if !c.Follow {
				if head && !c.JSON {
					_, err := io.WriteString(env.stdout, "Nothing was recorded that fits.\n")
					return err
				}
				return nil
			}
			f.Limit = 0
			select {
			case <-env.ctx.Done():
				return nil
			case <-time.After(followInterval):
			}
		}
	})
}

func (c *auditCommand) write(w io.Writer, events []audit.Entry, head bool) error {
	if len(events) == 0 {
		return nil
	}
	if c.JSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		for _, v := range events {
			if err := e.Encode(jsonEvent{
				v.Seq, jsonTime(v.At), string(v.Actor.Kind), v.Actor.ID, v.Who, string(v.Kind), v.Target, v.Team, v.Actor.Address, v.Detail,
			}); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if head {
		fmt.Fprintln(t, "TIME\tWHO\tWHAT\tTARGET\tTEAM\tFROM\tDETAIL")
	}
	for _, v := range events {
		who := v.Who
		if v.Actor.Kind != audit.ByPerson {
			who = strings.TrimSuffix(string(v.Actor.Kind)+" "+who, " ")
		}
		cells := []string{v.At.UTC().Format("2006-01-02 15:04:05Z"), who, string(v.Kind), v.Target, v.Team, v.Actor.Address, v.Detail}
		for i, s := range cells {
			if cells[i] = printable(s); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// printable keeps what strangers chose, such as the names of clients, from
// moving the terminal's cursor or making lines of its own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
