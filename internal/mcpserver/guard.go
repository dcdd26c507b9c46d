package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/dpop"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// grantToken is what the guard finds in the Authorization header.
type grantToken = grant.AccessToken

// retryAfter is what a client is told to wait while access cannot be decided.
const retryAfter = time.Second

// serve is the guard: Origin and Host, preflight, token, scope. Only then
// does the SDK see the request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	if err := s.checkSource(r); err != nil {
		return err
	}
	cors(w.Header(), r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	at, err := s.resource(r)
	if err != nil {
		// A path that is no resource gets the answer that any other without a
		// good token gets: it says nothing about which teams exist.
		at = s.Resources.Bare()
	}
	token, dpopScheme, err := spec.ParseAccessToken(r.Header.Values("Authorization"))
	if err != nil {
		return s.challenge(w, at, nil, err)
	}
	caller, err := s.Gate.Check(r.Context(), grantToken(token), at)
	if refused, ok := errors.AsType[*access.RefusedError](err); ok {
		return s.challenge(w, at, spec.NewError(spec.InvalidToken, refused.Reason), err)
	}
	if err != nil {
		return &web.Error{
			Status: http.StatusServiceUnavailable, Code: spec.TemporarilyUnavailable, RetryAfter: retryAfter,
			Public: "Access cannot be decided right now.", Next: "Try again in a moment.", Cause: err,
		}
	}
	if dpopScheme || caller.Key() != "" {
		if err := s.checkPossession(w, r, at, caller.Key(), token, dpopScheme); err != nil {
			return err
		}
	}
	if err := s.checkScope(w, r, at, caller); err != nil {
		return err
	}
	ctx, stop := s.Gate.Watch(r.Context(), caller)
	defer stop()
	answer := &watchedWriter{ResponseWriter: w, watched: ctx}
	handler := s.sdk
	if progress, err := wantsProgress(r); err != nil {
		return err
	} else if progress {
		handler = s.streaming
	}
	handler.ServeHTTP(answer, r.WithContext(context.WithValue(ctx, callKey{}, &call{caller, ctx})))
	if answer.withheld || (!answer.begun && answer.over()) {
		return s.challenge(w, at, spec.NewError(spec.InvalidToken, access.ErrStreamOver.Error()), context.Cause(ctx))
	}
	return nil
}

// wantsProgress says whether a request asks to be told how it goes, which needs
// a stream for its answer.
func wantsProgress(r *http.Request) (bool, error) {
	if r.Method != http.MethodPost || !strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "text/event-stream") {
		return false, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// Taking it for asked where the word is but text costs nothing: clients
	// read either kind of answer.
	return bytes.Contains(body, []byte(`"progressToken"`)), nil
}

// watchedWriter withholds an answer that is not begun when the caller's grant
// or hour ends: the client is told to connect again instead. The SDK itself
// then writes either an answer nobody asked for or none at all.
type watchedWriter struct {
	http.ResponseWriter
	watched         context.Context //nolint:containedctx // it belongs to this one answer
	begun, withheld bool
}

func (w *watchedWriter) over() bool { return errors.Is(context.Cause(w.watched), access.ErrStreamOver) }

// WriteHeader implements http.ResponseWriter.
func (w *watchedWriter) WriteHeader(status int) {
	if !w.begun {
		w.begun, w.withheld = true, w.over()
	}
	if !w.withheld {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.withheld {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach what is beneath.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// challenge answers 401 and leads the client to the authorization server (RFC
// 6750 §3, RFC 9728 §5.1). A request without a token gets no error code.
func (s *Server) challenge(w http.ResponseWriter, at spec.Resource, e *spec.Error, cause error) error {
	c := spec.Challenge{Error: e, ResourceMetadata: at.MetadataURL(), Scope: spec.DefaultScopes()}
	w.Header().Set("WWW-Authenticate", c.Bearer())
	out := &web.Error{
		Status: http.StatusUnauthorized, Code: "unauthorized", Cause: cause,
		Public: "An access token is needed.", Next: "Connect again: the WWW-Authenticate header says where.",
	}
	if e != nil {
		out.Code, out.Public = e.Code, e.Description+"."
	}
	return out
}

// checkPossession holds a token that is bound to a key to it (RFC 9449 §7).
// The challenge of a refusal is one for the scheme DPoP.
func (s *Server) checkPossession(w http.ResponseWriter, r *http.Request, at spec.Resource, bound, token string, scheme bool) error {
	e := dpop.CheckPossession(s.Proofs, r, bound, token, scheme)
	w.Header().Set("DPoP-Nonce", s.Proofs.Nonce())
	switch {
	case e == nil:
		return nil
	case e.Status >= http.StatusInternalServerError:
		return &web.Error{Status: e.Status, Code: e.Code, RetryAfter: retryAfter, Public: e.Description + "."}
	}
	c := spec.Challenge{Error: e, ResourceMetadata: at.MetadataURL(), Scope: spec.DefaultScopes()}
	w.Header().Set("WWW-Authenticate", c.DPoP())
	return &web.Error{Status: http.StatusUnauthorized, Code: e.Code, Public: e.Description + "."}
}

// checkSource refuses requests that a foreign web page, or a rebound name,
// makes a browser send (MCP, "Streamable HTTP", security warning).
func (s *Server) checkSource(r *http.Request) error {
	if host := r.Host; host != s.host && !isLoopback(host) {
		return &web.Error{
			Status: http.StatusForbidden, Public: "This server is not reached under that host name.",
			Next: "Use " + s.PublicURL.String() + ".", Cause: fmt.Errorf("host %q", host),
		}
	}
	origins := r.Header.Values("Origin")
	for _, o := range origins {
		if o == s.PublicURL.String() || slices.Contains(s.AllowedOrigins, o) {
			continue
		}
		if u, err := url.Parse(o); err == nil && (u.Scheme == "http" || u.Scheme == "https") && isLoopback(u.Host) {
			continue
		}
		return &web.Error{
			Status: http.StatusForbidden, Public: "Web pages of that origin may not call this server.",
			Next: "An administrator can allow it with --allowed-origins.", Cause: fmt.Errorf("origin %q", o),
		}
	}
	return nil
}

// isLoopback says whether a host, with or without a port, is this computer.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// cors lets scripts of the allowed origins call and see what they need.
// Cookies play no part, so no credentials are allowed.
func cors(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, DPoP-Nonce")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID, DPoP")
		h.Set("Access-Control-Max-Age", "600")
	}
}

// checkScope answers a call of a tool whose scope the token lacks, though the
// person's roles would allow it, with 403 before any stream starts: the client
// can ask for the scope (MCP, "Runtime insufficient scope errors"). A lack of
// permission is the tool's to explain.
func (s *Server) checkScope(w http.ResponseWriter, r *http.Request, at spec.Resource, c *access.Caller) error {
	if r.Method != http.MethodPost || !s.lacksAnyScope(c) {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	needed := spec.Scopes{}
	for _, name := range calledTools(body) {
		t, ok := s.Tools.Lookup(name)
		if !ok || t.MayCall(c) || c.HasScope(t.Permission) || !c.HasPermission(t.Permission) {
			continue
		}
		if scope, ok := access.ScopeFor(t.Permission); ok {
			needed = needed.Union(spec.NewScopes(scope))
		}
	}
	if needed.IsEmpty() {
		return nil
	}
	e := spec.Errorf(spec.InsufficientScope, "this call needs the scope %s", needed)
	challenge := spec.Challenge{Error: e, ResourceMetadata: at.MetadataURL(), Scope: needed.Union(c.Scopes().Intersect(spec.ResourceScopes()))}
	w.Header().Set("WWW-Authenticate", challenge.Bearer())
	return &web.Error{Status: http.StatusForbidden, Code: e.Code, Public: e.Description + ".", Next: "Connect again and allow it."}
}

// lacksAnyScope says whether the token lacks a scope that some tool needs and
// the person could give, so that most requests are not looked into.
func (s *Server) lacksAnyScope(c *access.Caller) bool {
	for _, t := range s.Tools.Tools() {
		if !t.MayCall(c) && !c.HasScope(t.Permission) && c.HasPermission(t.Permission) {
			return true
		}
	}
	return false
}

// calledTools returns the names of the tools that a request calls; old
// revisions allow several calls in one request.
func calledTools(body []byte) []string {
	type message struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	var batch []message
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		if json.Unmarshal(trimmed, &batch) != nil {
			return nil // the SDK says what is wrong with it
		}
	} else {
		var one message
		if json.Unmarshal(trimmed, &one) != nil {
			return nil
		}
		batch = []message{one}
	}
	var names []string
	for _, m := range batch {
		if m.Method == "tools/call" {
			names = append(names, m.Params.Name)
		}
	}
	return names
}
