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
	Logs    telemetry.Logs
	Spans   telemetry.Spans
	Metrics telemetry.Metrics
	// CheckLogs returns the canonical text of a query for Logs or Spans, and
	// whether it computes more than a search. Errors: *telemetry.QueryError.
	CheckLogs func(text string, now time.Time) (canonical string, hasPipes bool, err error)
	// CheckMetrics describes a query for Metrics. Errors: *telemetry.QueryError.
	CheckMetrics func(text string) (telemetry.MetricExpression, error)
	Now          func() time.Time
	// CursorKey authenticates cursors, at least 32 bytes, the same in all
	// replicas.
	CursorKey []byte
	// ConsoleURL is where the console is, without a slash at its end; answers
	// lead there. "" has them lead nowhere.
	ConsoleURL string
	// Limits bound what calls may cost.
	Limits Limits
}

// Set is all tools, and the prompts and resources beside them. It is safe for
// concurrent use.
type Set struct {
	Config
	tools     []*Tool
	prompts   []*Prompt
	resources []*Resource
	limiter   *limiter
	sizes
}

// minCursorKeyBytes is the size of the hash that the key goes into.
const minCursorKeyBytes = 32

// NewSet returns the tools.
func NewSet(c Config) (*Set, error) {
	if c.Logs == nil || c.Spans == nil || c.Metrics == nil || c.CheckLogs == nil || c.CheckMetrics == nil || c.Now == nil || len(c.CursorKey) < minCursorKeyBytes {
		return nil, errors.New("tools: Config needs Logs, Spans, Metrics, CheckLogs, CheckMetrics, Now and a CursorKey of 32 bytes")
	}
	s := &Set{Config: c, limiter: newLimiter(c.Limits, c.Now), prompts: newPrompts(), resources: newResources(), sizes: usualSizes()}
	for _, t := range []*Tool{
		newWhoami(), newListServices(), newListFields(), newListFieldValues(), newSearchLogs(), newAggregateLogs(), newGetLogContext(), newFindLogPatterns(), newListErrors(), newCompare(), newSearchTraces(), newGetTrace(), newAggregateSpans(), newGetServiceHealth(), newGetServiceMap(), newListMetrics(), newQueryMetrics(), newQueryHelp(),
	} {
		t.set = s
		t.InputSchema = schema(t.params)
		s.tools = append(s.tools, t)
	}
	return s, nil
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
	// Other opens the tool as well, for calls about another signal: then the
	// handler asks for the permission that a call needs.
	Other org.Permission
	// InputSchema is a JSON Schema 2020-12 object that admits no other
	// arguments than its own.
	InputSchema json.RawMessage
	// The hints of MCP's tool annotations: it changes nothing, a second call
	// does no more than the first, it reaches beyond this server.
	ReadOnly, Idempotent, OpenWorld bool

	set    *Set
	params []param
	handle func(ctx context.Context, c *call) (Result, error)
}

// Result is the answer to a call.
type Result struct {
	Text string
	// Image is a chart of what Text says, as PNG; nil for none.
	Image []byte
	// IsError says that the call did nothing and Text says what to do about it.
	IsError bool
}

// problem is an error that the assistant can do something about.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, a ...any) error { return problem(fmt.Sprintf(format, a...)) }

// A call is one call of a tool: who asks, what, and what it may still cost.
// It belongs to one goroutine.
type call struct {
	set    *Set
	tool   *Tool
	caller *access.Caller
	args   arguments
	// now is the instant that the whole call counts from.
	now       time.Time
	maxTokens int
	// console is the last line of the answer, see link.
	console string
	// cursor is where the answer goes on, nil for the first page.
	cursor *position

	progress Progress
	usage
}

// Progress is told what a call is doing. done grows from call to call; there
// is no knowing how far it goes.
type Progress func(done float64, message string)

// MayCall says whether the caller may use the tool for anything.
func (t *Tool) MayCall(c *access.Caller) bool {
	return t.Permission == "" || c.May(t.Permission) || t.Other != "" && c.May(t.Other)
}

// Call runs the tool for the caller. args is a JSON object, or empty. What the
// assistant can do something about, refusals included, is a Result; an error
// is a fault of ours, or the context's.
func (t *Tool) Call(ctx context.Context, c *access.Caller, args json.RawMessage) (Result, error) {
	return t.CallWithProgress(ctx, c, args, nil)
}

// CallWithProgress is Call for somebody who wants to know how it goes; nil is
// nobody. progress may be called from other goroutines, one at a time and not
// after the call.
func (t *Tool) CallWithProgress(ctx context.Context, c *access.Caller, args json.RawMessage, progress Progress) (Result, error) {
	if c == nil || c.Expires().IsZero() {
		return Result{}, fmt.Errorf("call %s: there is no caller", t.Name)
	}
	if !t.MayCall(c) {
		return Result{Text: t.Name + " was refused: " + whyWithheld(c, t.Permission) + ".", IsError: true}, nil
	}
	res, err := t.run(ctx, &call{set: t.set, tool: t, caller: c, now: t.set.Now().UTC(), maxTokens: defaultTokens, progress: progress}, args)
	if p, ok := errors.AsType[problem](err); ok {
		return Result{Text: string(p), IsError: true}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("call %s: %w", t.Name, err)
	}
	return res, nil
}

// run reads the arguments that many tools have, and handles the call.
func (t *Tool) run(ctx context.Context, c *call, args json.RawMessage) (Result, error) {
	var err error
	if c.args, err = parseArguments(t.Name, args, paramNames(t.params)...); err != nil {
		return Result{}, err
	}
	for _, p := range t.params {
		if p.required {
			if text, err := c.args.list(p.name); err != nil || len(text) == 0 {
				return Result{}, problemf("%s needs %s: %s.", t.Name, p.name, trimDot(p.text))
			}
		}
	}
	if hasParam(t.params, "max_tokens") {
		if c.maxTokens, err = c.args.number("max_tokens", minTokens, maxTokens, defaultTokens); err != nil {
			return Result{}, err
		}
	}
	if hasParam(t.params, "cursor") {
		text, err := c.args.query("cursor")
		if err != nil {
			return Result{}, err
		}
		if text != "" {
			p, err := c.unseal(text)
			if err != nil {
				return Result{}, err
			}
			c.cursor = &p
		}
	}
	res, err := t.handle(ctx, c)
	return c.linked(res), err
}

// choice returns an argument that takes only its parameter's choices, in any
// case; otherwise where it is absent.
func (c *call) choice(name, otherwise string) (string, error) {
	text, err := c.args.text(name)
	if err != nil || text == "" {
		return otherwise, err
	}
	for _, p := range c.tool.params {
		if p.name != name {
			continue
		}
		for _, choice := range p.choices {
			if strings.EqualFold(choice, text) {
				return choice, nil
			}
		}
		return "", problemf("%s is %s; it must be one of %s.", name, quoteArgument(text), strings.Join(p.choices, ", "))
	}
	return otherwise, nil
}

// whyWithheld says why the caller may not use p, and who can change that.
func whyWithheld(c *access.Caller, p org.Permission) string {
	scope, usable := access.ScopeFor(p)
	if !usable {
		return fmt.Sprintf("%s cannot be used through an assistant; use the console", p)
	}
	var why []string
	if !c.HasPermission(p) {
		why = append(why, "it "+NoPermission(c, p))
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
