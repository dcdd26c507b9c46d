package mcpserver

import (
	"context"
	"errors"

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
		ctx, stop := c.bind(ctx)
		defer stop()
		res, err := t.CallWithProgress(ctx, c.caller, req.Params.Arguments, progressOf(ctx, req))
		if err != nil {
			return nil, s.fault(ctx, c, "tool", t.Name, err)
		}
		content := []mcp.Content{&mcp.TextContent{Text: res.Text}}
		if res.Image != nil {
			content = append(content, &mcp.ImageContent{Data: res.Image, MIMEType: "image/png"})
		}
		return &mcp.CallToolResult{Content: content, IsError: res.IsError}, nil
	}
}

// progressOf returns what tells the client how a call goes, nil where it did
// not ask.
func progressOf(ctx context.Context, req *mcp.CallToolRequest) tools.Progress {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	return func(done float64, message string) {
		// A client that is gone hears nothing; its call ends by the context.
		_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: done, Message: message})
	}
}

// listOnlyWhatMayBeUsed leaves out of lists what the caller may not use now.
func (s *Server) listOnlyWhatMayBeUsed(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, req)
		if err != nil {
			return res, err
		}
		var cache *mcp.Cacheable
		switch list := res.(type) {
		case *mcp.ListToolsResult:
			cache = &list.Cacheable
		case *mcp.ListPromptsResult:
			cache = &list.Cacheable
		case *mcp.ListResourcesResult:
			cache = &list.Cacheable
		case *mcp.ListResourceTemplatesResult:
			cache = &list.Cacheable
		default:
			return res, nil
		}
		c, err := callFrom(ctx)
		if err != nil {
			return nil, err
		}
		// What may be used depends on the person and may change at any time:
		// nobody may keep the answer, least of all for others.
		cache.TTLMs, cache.CacheScope = 0, "private"
		switch list := res.(type) {
		case *mcp.ListToolsResult:
			list.Tools = keep(list.Tools, func(listed *mcp.Tool) bool {
				t, ok := s.Tools.Lookup(listed.Name)
				return ok && t.MayCall(c.caller)
			})
		case *mcp.ListPromptsResult:
			list.Prompts = keep(list.Prompts, func(listed *mcp.Prompt) bool {
				p, ok := s.Tools.LookupPrompt(listed.Name)
				return ok && c.caller.May(p.Permission)
			})
		case *mcp.ListResourcesResult:
			list.Resources = keep(list.Resources, func(listed *mcp.Resource) bool { return s.mayRead(c, listed.URI) })
		case *mcp.ListResourceTemplatesResult:
			list.ResourceTemplates = keep(list.ResourceTemplates, func(listed *mcp.ResourceTemplate) bool { return s.mayRead(c, listed.URITemplate) })
		}
		return res, nil
	}
}

func (s *Server) mayRead(c *call, uri string) bool {
	r, _, ok := s.Tools.LookupResource(uri)
	return ok && c.caller.May(r.Permission)
}

// keep returns a new list: the SDK's own is for everybody.
func keep[T any](list []T, wanted func(T) bool) []T {
	kept := make([]T, 0, len(list))
	for _, v := range list {
		if wanted(v) {
			kept = append(kept, v)
		}
	}
	return kept
}
