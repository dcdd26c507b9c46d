package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
)

// maxNameBytes bounds the names of people, teams and clients in an answer.
const maxNameBytes = 200

func newWhoami() *Tool {
	return &Tool{
		Name: "whoami", Title: "Who am I",
		Description: "Tells whose connection this is: person, team, roles, what may be read and what is withheld and why, " +
			"the data scope in force, the server's time (UTC), and when the connection ends. Call it first, and when a call was refused.",
		ReadOnly: true, Idempotent: true,
		handle: whoami,
	}
}

func whoami(_ context.Context, call *call) (Result, error) {
	c, cfg := call.caller, call.set.Config
	call.link("/access", window{})
	var b strings.Builder
	line := func(key, format string, a ...any) { fmt.Fprintf(&b, key+": "+format+"\n", a...) }
	name := func(s string) string { return cell(s, maxNameBytes, nil) }

	line("person", "%s", name(c.Person().Name))
	line("e-mail", "%s", name(c.Person().Email))
	line("team", "%s (%s)", name(c.Team().Name), c.Team().Slug)
	line("roles", "%s", strings.Join(c.Roles(), ", "))
	// A client that registered itself chose its own name.
	line("client", "%q (the client's own words)", name(c.Client().Name()))
	line("scopes", "%s", c.Scopes().String())
	var may, console []string
	for _, p := range org.Permissions() {
		_, usable := access.ScopeFor(p)
		switch {
		case c.May(p):
			may = append(may, fmt.Sprintf("%s (%s)", p.Words(), p))
		case !usable && c.HasPermission(p):
			console = append(console, fmt.Sprintf("%s (%s)", p.Words(), p))
		}
	}
	if len(may) == 0 {
		may = []string{"nothing but whoami"}
	}
	line("may", "%s", strings.Join(may, ", "))
	for _, p := range org.Permissions() {
		if _, usable := access.ScopeFor(p); usable && !c.May(p) {
			line("withheld", "%s (%s): %s", p.Words(), p, whyWithheld(c, p))
		}
	}
	if len(console) > 0 {
		line("only in the console", "%s", strings.Join(console, ", "))
	}
	for _, p := range org.Permissions() {
		if p.ReadsTelemetry() && c.May(p) {
			line("data scope of "+string(p), "%s", dataScope(c, p))
		}
	}
	now := cfg.Now()
	line("server time", "%s", now.UTC().Format(time.RFC3339))
	ends := "access token ends"
	if c.Hourly() {
		ends = "connection ends"
	}
	line(ends, "%s (in %s)", c.Expires().UTC().Format(time.RFC3339), c.Expires().Sub(now).Round(time.Second))
	line("then", "%s", afterwards(c))
	return Result{Text: b.String()}, nil
}

// dataScope says which rows the caller sees with p.
func dataScope(c *access.Caller, p org.Permission) string {
	s := "everything of team " + c.Team().Slug
	if filter := c.DataScope(p); filter != "" {
		s = "only where " + cell(filter, maxShownQuery, nil)
	}
	view := c.View(p)
	if d := view.LookBack(); d > 0 {
		s += ", of the last " + org.FormatLookBack(d)
	}
	if hidden := view.Hidden(); len(hidden) > 0 {
		s += ", without the fields " + cell(strings.Join(hidden, ", "), maxShownQuery, nil)
	}
	return s
}

// afterwards says what happens when the access token ends.
func afterwards(c *access.Caller) string {
	hour, ends := "", c.Expires()
	onHour := ends.Truncate(time.Hour).Equal(ends)
	if c.Hourly() && onHour {
		hour = "it is the full hour: "
	}
	if c.Interactive() && (onHour || !c.Hourly()) {
		return hour + "the person must sign in again in the browser"
	}
	return hour + "the client comes back by itself, nobody needs to do anything"
}
