package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/orielhq/oriel/internal/tools"
)

// addPromptsAndResources mounts what is beside the tools. All of it asks the
// caller's permissions again, as tools do.
func (s *Server) addPromptsAndResources(server *mcp.Server) {
	for _, p := range s.Tools.Prompts() {
		described := &mcp.Prompt{Name: p.Name, Title: p.Title, Description: p.Description}
		for _, a := range p.Arguments {
			described.Arguments = append(described.Arguments, &mcp.PromptArgument{Name: a.Name, Description: a.Description, Required: a.Required})
		}
		server.AddPrompt(described, s.prompt(p))
	}
	for _, r := range s.Tools.Resources() {
		if r.IsTemplate() {
			server.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: r.URI, Name: r.Name, Title: r.Title, Description: r.Description, MIMEType: plainText}, s.read)
		} else {
			server.AddResource(&mcp.Resource{URI: r.URI, Name: r.Name, Title: r.Title, Description: r.Description, MIMEType: plainText}, s.read)
		}
	}
}

const plainText = "text/plain"

// prompt renders a prompt for the caller of the request.
func (s *Server) prompt(p *tools.Prompt) mcp.PromptHandler {
	return func(ctx context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		c, err := callFrom(ctx)
		if err != nil {
			return nil, err
		}
		res := p.Render(c.caller, req.Params.Arguments)
		if res.IsError {
			return nil, errors.New(res.Text)
		}
		return &mcp.GetPromptResult{
			Description: p.Description,
			Messages:    []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: res.Text}}},
		}, nil
	}
}

// read reads a resource for the caller of the request.
func (s *Server) read(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	c, err := callFrom(ctx)
	if err != nil {
		return nil, err
	}
	r, field, ok := s.Tools.LookupResource(req.Params.URI)
	if !ok {
		return nil, mcp.ResourceNotFoundError(req.Params.URI)
	}
	if field, err = url.PathUnescape(field); err != nil {
		return nil, mcp.ResourceNotFoundError(req.Params.URI)
	}
	ctx, stop := c.bind(ctx)
	defer stop()
	res, err := s.Tools.ReadResource(ctx, c.caller, r, field)
	if err != nil {
		return nil, s.fault(ctx, c, "resource", r.URI, err)
	}
	if res.IsError {
		return nil, errors.New(res.Text)
	}
	return &mcp.ReadResourceResult{
		Cacheable: mcp.Cacheable{CacheScope: "private"},
		Contents:  []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: plainText, Text: res.Text}},
	}, nil
}

// complete completes an argument for the caller of the request.
func (s *Server) complete(ctx context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	c, err := callFrom(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := c.bind(ctx)
	defer stop()
	values, total, err := s.Tools.Complete(ctx, c.caller, req.Params.Argument.Name, req.Params.Argument.Value)
	if err != nil {
		return nil, s.fault(ctx, c, "completion", req.Params.Argument.Name, err)
	}
	if values == nil {
		values = []string{} // null is not a list
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: total, HasMore: total > len(values)}}, nil
}

// bind returns a context that ends with the caller's grant or hour too, which
// the SDK's own does not.
func (c *call) bind(ctx context.Context) (bound context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(c.watched, func() { cancel(context.Cause(c.watched)) })
	return ctx, func() {
		unwatch()
		cancel(context.Canceled)
	}
}

// fault is what the client hears of an error of ours. The cause is for the
// log: it may name what is nobody's business.
func (s *Server) fault(ctx context.Context, c *call, kind, name string, err error) error {
	s.Logger.ErrorContext(ctx, kind+" failed", kind, name, "grant", string(c.caller.Grant()), "err", err)
	return fmt.Errorf("%s failed on the server's side; try again, and tell an administrator if it goes on", name)
}
