package mcpserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/tools"
)

// call is what the guard hands to the tools through the SDK, which has no
// other way to pass it on. Nothing but this file takes it out.
type call struct {
	caller *access.Caller
	// watched ends when the caller's grant or hour does; the SDK's context
	// does not.
	watched context.Context //nolint:containedctx // it belongs to this one request
}

type callKey struct{}

// errNoCaller is unreachable: the guard puts a call into every request.
var errNoCaller = errors.New("the request did not pass the guard")

func callFrom(ctx context.Context) (*call, error) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return nil, errNoCaller
	}
	return c, nil
}

// describe returns a tool in the SDK's words.
func describe(t *tools.Tool) *mcp.Tool {
	return &mcp.Tool{
		Name: t.Name, Title: t.Title, Description: t.Description, InputSchema: t.InputSchema,
		Annotations: &mcp.ToolAnnotations{
			Title: t.Title, ReadOnlyHint: t.ReadOnly, IdempotentHint: t.Idempotent,
			DestructiveHint: new(!t.ReadOnly), OpenWorldHint: new(t.OpenWorld),
		},
	}
}

// handler calls a tool for the caller of the request.
func (s *Server) handler(t *tools.Tool) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		c, err := callFrom(ctx)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(context.Canceled)
		defer context.AfterFunc(c.watched, func() { cancel(context.Cause(c.watched)) })()
		res, err := t.Call(ctx, c.caller, req.Params.Arguments)
		if err != nil {
			// The cause is for the log: it may name what is nobody's business.
			s.Logger.ErrorContext(ctx, "tool failed", "tool", t.Name, "grant", string(c.caller.Grant()), "err", err)
			return nil, fmt.Errorf("%s failed on the server's side; try again, and tell an administrator if it goes on", t.Name)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: res.Text}}, IsError: res.IsError}, nil
	}
}

// listOnlyWhatMayBeCalled leaves out of tools/list what the caller may not
// call now.
func (s *Server) listOnlyWhatMayBeCalled(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, req)
		list, ok := res.(*mcp.ListToolsResult)
		if err != nil || !ok {
			return res, err
		}
		c, err := callFrom(ctx)
		if err != nil {
			return nil, err
		}
		kept := make([]*mcp.Tool, 0, len(list.Tools))
		for _, listed := range list.Tools {
			if t, ok := s.Tools.Lookup(listed.Name); ok && (t.Permission == "" || c.caller.May(t.Permission)) {
				kept = append(kept, listed)
			}
		}
		list.Tools = kept
		// What may be called depends on the person and may change at any
		// time: nobody may keep the answer, least of all for others.
		list.TTLMs, list.CacheScope = 0, "private"
		return list, nil
	}
}
