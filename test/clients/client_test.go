// Package clients holds tests with real MCP clients: the official SDKs for Go
// and TypeScript, each through the whole authorization and through everything
// that can happen to a connection.
package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/orielhq/oriel/test/testenv"
)

// clientName is what both clients call themselves, and what people see.
const clientName = "Lantern"

// errAskedToSignIn is what a client comes back with when it wants a person to
// open a page and the test has not allowed for one.
var errAskedToSignIn = errors.New("the client asked a person to sign in")

// result is the answer of a tool.
type result struct {
	// Text is everything that the answer says, structured content included.
	Text string
	// Failed says that the tool answered with an error.
	Failed bool
}

// client is an MCP client that is held by a test.
type client interface {
	// Connect connects. Where that needs a person, they open the page.
	Connect() error
	// Tools lists the names of the tools, in order.
	Tools() ([]string, error)
	// Call calls a tool.
	Call(tool string, arguments map[string]any) (result, error)
	// Refresh presents the refresh token, whatever the age of the access token.
	Refresh() error
	// Exchanges returns the HTTP requests since it was asked last.
	Exchanges() []testenv.Exchange
	// Restart is a new process with what the old one had saved.
	Restart()
}

// person opens the pages that a client asks for.
type person func(url string)

// setup makes a client of the MCP server at url.
type setup func(t *testing.T, url string, p *person) client

// kinds are the clients that every test runs with.
var kinds = []struct {
	name string
	new  setup
}{
	{"Go SDK", newGoClient},
	{"TypeScript SDK", newTSClient},
}

// ---- TypeScript ----

type tsClient struct {
	t          *testing.T
	url, state string
	person     *person
	c          *testenv.TSClient
}

func newTSClient(t *testing.T, url string, p *person) client {
	c := &tsClient{t: t, url: url, state: filepath.Join(t.TempDir(), "state.json"), person: p}
	c.c = testenv.StartTSClient(t, url, c.state, clientName)
	return c
}

func (c *tsClient) do(op string, fields map[string]any) (json.RawMessage, error) {
	c.t.Helper()
	pending := c.c.Begin(op, fields)
	if url := pending.AskedToSignIn(); url != "" {
		if *c.person == nil {
			return nil, errAskedToSignIn
		}
		(*c.person)(url)
	}
	return pending.Wait()
}

func (c *tsClient) Connect() error {
	c.t.Helper()
	_, err := c.do("connect", nil)
	return err
}

func (c *tsClient) Tools() ([]string, error) {
	c.t.Helper()
	answer, err := c.do("listTools", nil)
	if err != nil {
		return nil, err
	}
	var list mcp.ListToolsResult
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, err
	}
	return toolNames(list.Tools), nil
}

func (c *tsClient) Call(tool string, arguments map[string]any) (result, error) {
	c.t.Helper()
	answer, err := c.do("callTool", map[string]any{"name": tool, "arguments": arguments})
	if err != nil {
		return result{}, err
	}
	var called mcp.CallToolResult
	if err := json.Unmarshal(answer, &called); err != nil {
		return result{}, err
	}
	return toResult(&called), nil
}

func (c *tsClient) Refresh() error {
	c.t.Helper()
	_, err := c.c.Do("refresh", nil)
	return err
}

func (c *tsClient) Exchanges() []testenv.Exchange { return c.c.Exchanges() }

func (c *tsClient) Restart() {
	c.t.Helper()
	if _, err := c.c.Do("close", nil); err != nil {
		c.t.Fatalf("close: %v", err)
	}
	c.c = testenv.StartTSClient(c.t, c.url, c.state, clientName)
}

// ---- Go ----

type goClient struct {
	t       *testing.T
	url     string
	person  *person
	watch   *watcher
	answers chan *auth.AuthorizationResult
	handler *auth.AuthorizationCodeHandler
	session *mcp.ClientSession

	mu     sync.Mutex // guards config and token
	config *oauth2.Config
	token  *oauth2.Token
}

func newGoClient(t *testing.T, url string, p *person) client {
	c := &goClient{t: t, url: url, person: p, watch: new(watcher), answers: make(chan *auth.AuthorizationResult, 1)}
	callback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r)
			return
		}
		q := r.URL.Query()
		_, _ = io.WriteString(w, "Signed in")
		c.answers <- &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}
	}))
	t.Cleanup(callback.Close)
	c.handler = c.newHandler(callback.URL+"/callback", nil)
	t.Cleanup(func() {
		if c.session != nil {
			_ = c.session.Close()
		}
	})
	return c
}

func (c *goClient) newHandler(redirect string, initial oauth2.TokenSource) *auth.AuthorizationCodeHandler {
	c.t.Helper()
	h, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: clientName, RedirectURIs: []string{redirect},
			TokenEndpointAuthMethod: "none", GrantTypes: []string{"authorization_code", "refresh_token"},
		}},
		RedirectURL:         redirect,
		RequestRefreshToken: true,
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			if *c.person == nil {
				return nil, errAskedToSignIn
			}
			(*c.person)(args.URL)
			select {
			case a := <-c.answers:
				return a, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Client: &http.Client{Transport: c.watch},
		NewTokenSource: func(ctx context.Context, config *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
			c.remember(config, token)
			return config.TokenSource(ctx, token), nil
		},
		InitialTokenSource: initial,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func (c *goClient) remember(config *oauth2.Config, token *oauth2.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config, c.token = config, token
}

// background is the context of every call. It is not the test's: a session
// outlives the call that opened it.
func (c *goClient) background() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *goClient) Connect() error {
	if c.session != nil {
		_ = c.session.Close()
		c.session = nil
	}
	m := mcp.NewClient(&mcp.Implementation{Name: clientName, Version: "1.0.0"}, nil)
	session, err := m.Connect(c.background(), &mcp.StreamableClientTransport{
		Endpoint: c.url, HTTPClient: &http.Client{Transport: c.watch}, OAuthHandler: c.handler, MaxRetries: -1,
	}, nil)
	if err != nil {
		return err
	}
	c.session = session
	return nil
}

// again runs a call and, as editors do, connects anew where the session has
// ended with the connection.
func (c *goClient) again(call func() error) error {
	if c.session == nil {
		if err := c.Connect(); err != nil {
			return err
		}
	}
	err := call()
	if errors.Is(err, mcp.ErrConnectionClosed) {
		if err := c.Connect(); err != nil {
			return err
		}
		return call()
	}
	return err
}

func (c *goClient) Tools() (names []string, err error) {
	err = c.again(func() error {
		list, err := c.session.ListTools(c.background(), nil)
		if err == nil {
			names = toolNames(list.Tools)
		}
		return err
	})
	return names, err
}

func (c *goClient) Call(tool string, arguments map[string]any) (res result, err error) {
	err = c.again(func() error {
		called, err := c.session.CallTool(c.background(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if err == nil {
			res = toResult(called)
		}
		return err
	})
	return res, err
}

func (c *goClient) Refresh() error {
	c.mu.Lock()
	config, old := c.config, *c.token
	c.mu.Unlock()
	if old.RefreshToken == "" {
		return errors.New("the client has no refresh token")
	}
	old.Expiry = time.Now().Add(-time.Minute)
	ctx := context.WithValue(c.background(), oauth2.HTTPClient, &http.Client{Transport: c.watch})
	fresh, err := config.TokenSource(ctx, &old).Token()
	if err != nil {
		return err
	}
	c.remember(config, fresh)
	return nil
}

func (c *goClient) Exchanges() []testenv.Exchange { return c.watch.take() }

func (c *goClient) Restart() {
	c.t.Helper()
	if c.session != nil {
		_ = c.session.Close()
		c.session = nil
	}
	c.mu.Lock()
	config, token := c.config, c.token
	c.mu.Unlock()
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: c.watch})
	c.handler = c.newHandler(config.RedirectURL, config.TokenSource(ctx, token))
}

// watcher is a transport that notes what the client sees.
type watcher struct {
	mu   sync.Mutex // guards seen
	seen []testenv.Exchange
}

func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	e := testenv.Exchange{Method: r.Method, URL: r.URL.String(), Status: resp.StatusCode, Challenge: resp.Header.Get("WWW-Authenticate")}
	if resp.StatusCode >= http.StatusBadRequest && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		var answer struct{ Error string }
		if json.Unmarshal(body, &answer) == nil {
			e.Error = answer.Error
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, e)
	return resp, nil
}

func (w *watcher) take() []testenv.Exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// ---- both ----

func toolNames(tools []*mcp.Tool) []string {
	var names []string
	for _, tool := range tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func toResult(r *mcp.CallToolResult) result {
	var b strings.Builder
	for _, content := range r.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			b.WriteString(text.Text + "\n")
		}
	}
	if r.StructuredContent != nil {
		if text, err := json.Marshal(r.StructuredContent); err == nil {
			b.Write(text)
		}
	}
	return result{b.String(), r.IsError}
}

// refusal returns the last 401 of the MCP server among exchanges.
func refusal(exchanges []testenv.Exchange) (testenv.Exchange, error) {
	for _, e := range slices.Backward(exchanges) {
		if e.Status == http.StatusUnauthorized && strings.HasSuffix(path(e.URL), "/mcp") {
			return e, nil
		}
	}
	return testenv.Exchange{}, fmt.Errorf("no 401 of the MCP server in %+v", exchanges)
}

func path(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Path
}
