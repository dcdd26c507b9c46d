package tools

import (
	"context"
	"encoding/json"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

type Config struct {
	Logs                telemetry.Logs
	Now                 func() time.Time
	Hourly, Interactive bool
}
type Set struct{ tools []*Tool }

func NewSet(c Config) (*Set, error) {
	return &Set{[]*Tool{
		{Name: "whoami", InputSchema: json.RawMessage(`{"type":"object"}`), ReadOnly: true, run: func(ctx context.Context, c *access.Caller, _ json.RawMessage) (Result, error) {
			return Result{Text: "person: " + c.Person().Email}, nil
		}},
		{Name: "search_logs", Permission: org.LogsRead, InputSchema: json.RawMessage(`{"type":"object"}`), ReadOnly: true, run: func(ctx context.Context, c *access.Caller, _ json.RawMessage) (Result, error) {
			return Result{Text: "rows"}, nil
		}},
	}}, nil
}
func (s *Set) Tools() []*Tool { return s.tools }
func (s *Set) Lookup(n string) (*Tool, bool) {
	for _, t := range s.tools {
		if t.Name == n {
			return t, true
		}
	}
	return nil, false
}

type Tool struct {
	Name, Title, Description        string
	Permission                      org.Permission
	InputSchema                     json.RawMessage
	ReadOnly, Idempotent, OpenWorld bool
	run                             func(ctx context.Context, c *access.Caller, args json.RawMessage) (Result, error)
}

func (t *Tool) Call(ctx context.Context, c *access.Caller, args json.RawMessage) (Result, error) {
	if t.Permission != "" && !c.May(t.Permission) {
		return Result{Text: "needs " + string(t.Permission), IsError: true}, nil
	}
	return t.run(ctx, c, args)
}

type Result struct {
	Text    string
	IsError bool
}
