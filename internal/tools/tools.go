// Package tools holds what assistants can call: per tool a file with its
// arguments, its schema, its query and the shape of its answer.
//
// It knows no HTTP and nothing of MCP. Who is calling and what they may see is
// an [access.Caller]; every read of telemetry goes through the caller's view.
// An answer is text of a bounded size that says what was left out and how to
// get it, and keeps what programs logged apart from what Oriel says.
package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Config is what the tools need.
type Config struct {
	Logs telemetry.Logs
	Now  func() time.Time
	// Hourly says that connections end on the full hour, Interactive that a
	// person must then sign in again.
	Hourly, Interactive bool
}

// Set is all tools. It is immutable and safe for concurrent use.
type Set struct{ tools []*Tool }

// NewSet returns the tools.
func NewSet(c Config) (*Set, error) {
	if c.Logs == nil || c.Now == nil {
		return nil, errors.New("tools: Config needs Logs and Now")
	}
	return &Set{tools: []*Tool{newWhoami(c), newSearchLogs(c)}}, nil
}

// Tools returns the tools in the order in which they are listed.
func (s *Set) Tools() []*Tool { return append([]*Tool(nil), s.tools...) }

// Lookup returns the tool of that name.
func (s *Set) Lookup(name string) (*Tool, bool) {
	for _, t := range s.tools {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

// A Tool is one thing that an assistant can call.
type Tool struct {
	// Name, Title and Description are for the assistant, the person in front
	// of it, and the assistant again.
	Name, Title, Description string
	// Permission is needed for every call; "" for tools that need none.
	Permission org.Permission
	// InputSchema is a JSON Schema 2020-12 object that admits no other
	// arguments than its own.
	InputSchema json.RawMessage
	// The hints of MCP's tool annotations: it changes nothing, a second call
	// does no more than the first, it reaches beyond this server.
	ReadOnly, Idempotent, OpenWorld bool

	handle func(ctx context.Context, c *access.Caller, args json.RawMessage) (Result, error)
}

// Result is the answer to a call.
type Result struct {
	Text string
	// IsError says that the call did nothing and Text says what to do about it.
	IsError bool
}

// problem is an error that the assistant can do something about.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, a ...any) error { return problem(fmt.Sprintf(format, a...)) }

// Call runs the tool for the caller. args is a JSON object, or empty. What the
// assistant can do something about, refusals included, is a Result; an error
// is a fault of ours, or the context's.
func (t *Tool) Call(ctx context.Context, c *access.Caller, args json.RawMessage) (Result, error) {
	if c == nil || c.Expires().IsZero() {
		return Result{}, fmt.Errorf("call %s: there is no caller", t.Name)
	}
	if t.Permission != "" && !c.May(t.Permission) {
		return Result{Text: t.Name + " was refused: " + whyWithheld(c, t.Permission) + ".", IsError: true}, nil
	}
	res, err := t.handle(ctx, c, args)
	if p, ok := errors.AsType[problem](err); ok {
		return Result{Text: string(p), IsError: true}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("call %s: %w", t.Name, err)
	}
	return res, nil
}

// whyWithheld says why the caller may not use p, and who can change that.
func whyWithheld(c *access.Caller, p org.Permission) string {
	scope, usable := access.ScopeFor(p)
	if !usable {
		return fmt.Sprintf("%s cannot be used through an assistant; use the console", p)
	}
	var why []string
	if !c.HasPermission(p) {
		s := fmt.Sprintf("it needs the permission %s, which your roles in team %s (%s) do not give; ask an admin of team %s",
			p, c.Team().Slug, strings.Join(c.Roles(), ", "), c.Team().Slug)
		if role := weakestRole(p); role != "" {
			s += " for a role that has it, such as " + role
		}
		why = append(why, s)
	}
	if !c.HasScope(p) {
		why = append(why, fmt.Sprintf("this connection was not allowed the scope %s; reconnect and allow %s", scope, scope))
	}
	return strings.Join(why, "; and ")
}

// weakestRole returns the built-in role that gives p and least besides.
func weakestRole(p org.Permission) string {
	for _, r := range org.BuiltInRoles() {
		if org.NewStanding([]org.Role{r}).May(p) {
			return r.Name
		}
	}
	return ""
}
