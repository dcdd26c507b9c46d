package mcpserver_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

const mcpPath = "/mgmt/api/v1/mcp"

var shell = audit.Shell("test")

// wantChallenge checks a 401 down to its header.
func wantChallenge(t *testing.T, s *testkit.Server, res testkit.Response, resource, errorCode string) {
	t.Helper()
	if res.Status != http.StatusUnauthorized {
		t.Fatalf("status %d, want 401\n%s", res.Status, res.Body)
	}
	values := res.Header.Values("WWW-Authenticate")
	if len(values) != 1 || !strings.HasPrefix(values[0], "Bearer ") {
		t.Fatalf("WWW-Authenticate = %q", values)
	}
	metadata := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource%s"`, s.URL, resource)
	if strings.Count(values[0], metadata) != 1 || strings.Count(values[0], `scope="logs:read traces:read metrics:read alerts:read"`) != 1 {
		t.Errorf("challenge %q", values[0])
	}
	if errorCode == "" && strings.Contains(values[0], "error=") {
		t.Errorf("an error for a request without a token: %q", values[0])
	}
	if errorCode != "" && !strings.HasPrefix(values[0], `Bearer error="`+errorCode+`", error_description="`) {
		t.Errorf("challenge %q, want error %s", values[0], errorCode)
	}
	if res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", res.Header)
	}
}

func TestCase001_UnauthenticatedRequestsAreChallenged(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{mcpPath, mcpPath + "/", "/mgmt/api/v1/teams/shop/mcp", "/mgmt/api/v1/teams/shop/mcp/"} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			for name, body := range map[string]string{"empty": "", "junk": "{{{", "initialize": `{"jsonrpc":"2.0","id":1,"method":"initialize"}`} {
				t.Run(method+" "+name, func(t *testing.T) {
					wantChallenge(t, s, s.Do(method, path, body), strings.TrimSuffix(path, "/"), "")
				})
			}
		}
	}
}

func TestCase002_ResourceMetadata(t *testing.T) {
	s := newServer(t)
	for path, resource := range map[string]string{
		"":                            mcpPath,
		"/":                           mcpPath,
		mcpPath:                       mcpPath,
		mcpPath + "/":                 mcpPath,
		"/mgmt/api/v1/teams/shop/mcp": "/mgmt/api/v1/teams/shop/mcp",
	} {
		res := s.Do(http.MethodGet, "/.well-known/oauth-protected-resource"+path, "")
		var m struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
			Name     string   `json:"resource_name"`
		}
		s.Must(res.JSON(&m))
		if res.Status != 200 || m.Resource != s.URL+resource || len(m.Servers) != 1 || m.Servers[0] != s.URL || m.Name == "" {
			t.Errorf("%s: %d %s", path, res.Status, res.Body)
		}
		for _, scope := range m.Scopes {
			if scope == "offline_access" || scope == "openid" {
				t.Errorf("%s lists %s", path, scope)
			}
		}
		if head := s.Do(http.MethodHead, "/.well-known/oauth-protected-resource"+path, ""); head.Status != 200 {
			t.Errorf("HEAD %s: status %d", path, head.Status)
		}
	}
	if res := s.Do(http.MethodGet, "/.well-known/oauth-protected-resource/elsewhere", ""); res.Status != 404 || res.Member("error") == "" {
		t.Errorf("unknown resource: %d %s", res.Status, res.Body)
	}
}

func TestCase076_TokensOnlyInTheHeader(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	wantChallenge(t, s, s.Do("POST", mcpPath+"?access_token="+c.Access, "access_token="+c.Access, "Content-Type", "application/x-www-form-urlencoded"), mcpPath, "")
	wantChallenge(t, s, s.Do("POST", mcpPath, "", "Authorization", "Basic "+c.Access), mcpPath, "")
	wantChallenge(t, s, s.Do("POST", mcpPath, "", "Authorization", "Bearer "+c.Access, "Authorization", "Bearer "+c.Access), mcpPath, "")
}

func TestCase077_BadTokensAreInvalid(t *testing.T) {
	s := newServer(t)
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		wantChallenge(t, s, s.Do(method, mcpPath, "", "Authorization", "Bearer nonsense"), mcpPath, "invalid_token")
	}
}

func TestCase078_TwoConnectionsToTwoTeams(t *testing.T) {
	s := newServer(t)
	shop, bank := s.Register(), s.Register()
	shop.Resource, bank.Resource = s.URL+"/mgmt/api/v1/teams/shop/mcp", s.URL+"/mgmt/api/v1/teams/bank/mcp"
	shop.Connect("ada@example.com", "shop")
	bank.Connect("ada@example.com", "bank")
	bare := s.Register().Connect("ada@example.com", "shop")
	for _, c := range []*testkit.Client{shop, bank, bare} {
		if res := c.Call("tools/list", ""); res.Status != 200 {
			t.Fatalf("status %d %s", res.Status, res.Body)
		}
	}
	wantChallenge(t, s, s.MCP(bank.Resource, shop.Access, "tools/list", ""), "/mgmt/api/v1/teams/bank/mcp", "invalid_token")
	wantChallenge(t, s, s.MCP(shop.Resource, bank.Access, "tools/list", ""), "/mgmt/api/v1/teams/shop/mcp", "invalid_token")
	wantChallenge(t, s, s.MCP(bare.Resource, shop.Access, "tools/list", ""), mcpPath, "invalid_token")
	wantChallenge(t, s, s.MCP(shop.Resource, bare.Access, "tools/list", ""), "/mgmt/api/v1/teams/shop/mcp", "invalid_token")
	wantChallenge(t, s, s.MCP(s.URL+"/mgmt/api/v1/teams/nothing/mcp", shop.Access, "tools/list", ""), "/mgmt/api/v1/teams/nothing/mcp", "invalid_token")
}

func TestCase079_InsufficientScope(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop", func(v url.Values) { v.Set("scope", "metrics:read") })
	res := c.Call("tools/call", `{"name":"search_logs","arguments":{}}`)
	if res.Status != http.StatusForbidden {
		t.Fatalf("status %d %s", res.Status, res.Body)
	}
	challenge := res.Header.Get("WWW-Authenticate")
	for _, part := range []string{`error="insufficient_scope"`, `scope="logs:read metrics:read"`, "resource_metadata="} {
		if !strings.Contains(challenge, part) {
			t.Errorf("challenge %q lacks %s", challenge, part)
		}
	}
	if res := c.Call("tools/call", `{"name":"whoami","arguments":{}}`); res.Status != 200 {
		t.Errorf("whoami: status %d", res.Status)
	}
	if res := c.Call("tools/list", ""); strings.Contains(res.Body, "search_logs") {
		t.Error("a tool is listed whose scope the token lacks")
	}
}

func TestCase080_MissingPermissionIsAToolError(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	if res := c.Call("tools/list", ""); !strings.Contains(res.Body, `"search_logs"`) || !strings.Contains(res.Body, `"whoami"`) {
		t.Fatalf("tools/list: %s", res.Body)
	}
	_, err := s.Admin.Directory.SetRole(t.Context(), "shop", "metrics-only", []org.Permission{org.MetricsRead}, "", shell)
	s.Must(err)
	s.SetMember("shop", "ada@example.com", "metrics-only")
	s.Eventually(time.Second, "search_logs is no longer listed", func() bool {
		return !strings.Contains(c.Call("tools/list", "").Body, "search_logs")
	})
	res := c.Call("tools/call", `{"name":"search_logs","arguments":{}}`)
	if res.Status != 200 || !strings.Contains(res.Body, `"isError":true`) || !strings.Contains(res.Body, "logs:Read") {
		t.Errorf("call without permission: %d %s", res.Status, res.Body)
	}
	s.SetMember("shop", "ada@example.com", "viewer")
	s.Eventually(time.Second, "search_logs is listed again", func() bool {
		return strings.Contains(c.Call("tools/list", "").Body, "search_logs")
	})
}

// The shell commands write to the store from outside; a running server must
// follow within a second.
func TestCase081_RefusedWithinASecond(t *testing.T) {
	for name, test := range map[string]struct {
		end, mend func(s *testkit.Server, c *testkit.Client) error
	}{
		"user disable": {
			func(s *testkit.Server, _ *testkit.Client) error {
				_, err := s.Admin.Directory.Disable(t.Context(), "ada@example.com", shell)
				return err
			},
			func(s *testkit.Server, _ *testkit.Client) error {
				_, err := s.Admin.Directory.Enable(t.Context(), "ada@example.com", shell)
				return err
			},
		},
		"member remove": {
			func(s *testkit.Server, _ *testkit.Client) error {
				return s.Admin.Directory.RemoveMember(t.Context(), "shop", "ada@example.com", shell)
			},
			func(s *testkit.Server, _ *testkit.Client) error {
				_, err := s.Admin.Directory.SetMember(t.Context(), "shop", "ada@example.com", []string{"viewer"}, shell)
				return err
			},
		},
		"grant revoke": {func(s *testkit.Server, c *testkit.Client) error {
			return s.Admin.Authority.EndGrant(t.Context(), c.Grant(), "revoked", shell)
		}, nil},
		"client revoke": {func(s *testkit.Server, c *testkit.Client) error {
			_, err := s.Admin.Authority.RevokeClient(t.Context(), c.Key(), shell)
			return err
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := s.Register().Connect("ada@example.com", "shop")
			if res := c.Call("tools/list", ""); res.Status != 200 {
				t.Fatalf("status %d", res.Status)
			}
			s.Must(test.end(s, c))
			s.Eventually(time.Second, "the call is refused", func() bool { return c.Call("tools/list", "").Status == 401 })
			wantChallenge(t, s, c.Call("tools/list", ""), mcpPath, "invalid_token")
			if res := c.Renew(c.Refresh); res.Status != 400 || res.Member("error") != "invalid_grant" {
				t.Errorf("refresh: %d %s", res.Status, res.Body)
			}
			if test.mend != nil {
				s.Must(test.mend(s, c))
				// Only a new consent brings a connection back.
				if res := c.Renew(c.Refresh); res.Status != 400 || res.Member("error") != "invalid_grant" {
					t.Errorf("refresh after the mending: %d %s", res.Status, res.Body)
				}
			}
			c.Connect("ada@example.com", "shop")
			if res := c.Call("tools/list", ""); res.Status != 200 {
				t.Errorf("after a new consent: status %d", res.Status)
			}
		})
	}
}

func TestCase083_OriginAndPreflight(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	auth := "Bearer " + c.Access
	for origin, want := range map[string]int{
		"https://evil.example": 403, "null": 403, "http://localhost.evil.example": 403,
		s.URL: 401, "http://localhost:6274": 401, "http://127.0.0.1:1": 401, "http://[::1]:6274": 401,
	} {
		if res := s.Do("POST", mcpPath, "", "Origin", origin); res.Status != want {
			t.Errorf("origin %s: status %d, want %d", origin, res.Status, want)
		}
	}
	if res := s.Do("POST", mcpPath, "", "Origin", "https://evil.example", "Authorization", auth); res.Status != 403 {
		t.Errorf("foreign origin with a good token: status %d", res.Status)
	}
	res := s.Do("OPTIONS", mcpPath, "", "Origin", "http://localhost:6274", "Access-Control-Request-Method", "POST")
	if res.Status != 204 || res.Header.Get("Access-Control-Allow-Origin") != "http://localhost:6274" ||
		!strings.Contains(res.Header.Get("Access-Control-Allow-Headers"), "Mcp-Session-Id") ||
		!strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
		t.Errorf("preflight: %d %v", res.Status, res.Header)
	}
}

func TestForeignHostIsRefused(t *testing.T) {
	s := newServer(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+mcpPath, nil)
	s.Must(err)
	req.Host = "rebound.example"
	res, err := http.DefaultClient.Do(req)
	s.Must(err)
	defer res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestCase074_TheHour(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	s.Clock.ToNextHour(0)
	wantChallenge(t, s, c.Call("tools/list", ""), mcpPath, "invalid_token")
	if res := c.Renew(c.Refresh); res.Status != 200 {
		t.Fatalf("refresh after the hour: %d %s", res.Status, res.Body)
	}
	if res := c.Call("tools/list", ""); res.Status != 200 {
		t.Errorf("after the refresh: status %d", res.Status)
	}
}

func TestCase074_InteractiveReconnect(t *testing.T) {
	s := testkit.Start(t, testkit.Interactive)
	s.AddPerson("ada@example.com", true)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	c := s.Register().Connect("ada@example.com", "shop")
	s.Clock.ToNextHour(0)
	wantChallenge(t, s, c.Call("tools/list", ""), mcpPath, "invalid_token")
	if res := c.Renew(c.Refresh); res.Status != 400 || res.Member("error") != "invalid_grant" {
		t.Fatalf("refresh after the hour: %d %s", res.Status, res.Body)
	}
	c.Connect("ada@example.com", "shop")
	if res := c.Call("tools/list", ""); res.Status != 200 {
		t.Errorf("after the new sign-in: status %d", res.Status)
	}
}

// There are no sessions: an id, whoever's it may have been, opens nothing and
// closes nothing.
func TestCase086_SessionIDsAreWorthNothing(t *testing.T) {
	s := newServer(t)
	ada := s.Register().Connect("ada@example.com", "shop")
	hello := `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}`
	res := ada.Call("initialize", hello)
	if res.Status != 200 || res.Header.Get("Mcp-Session-Id") != "" {
		t.Fatalf("initialize: %d, session %q", res.Status, res.Header.Get("Mcp-Session-Id"))
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`
	header := []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Mcp-Session-Id", "somebody-elses"}
	if res := s.Do(http.MethodPost, mcpPath, body, header...); res.Status != http.StatusUnauthorized {
		t.Errorf("a session id without a token: %d", res.Status)
	}
	header = append(header, "Authorization", "Bearer "+ada.Access)
	if res := s.Do(http.MethodPost, mcpPath, body, header...); res.Status != 200 && res.Status != http.StatusNotFound {
		t.Errorf("a session id beside a token: %d %s", res.Status, res.Body)
	}
	if res := s.Do(http.MethodDelete, mcpPath, "", header...); res.Status < 400 && res.Status != http.StatusNoContent {
		t.Errorf("DELETE: %d", res.Status)
	}
	if res := ada.Call("tools/list", ""); res.Status != 200 {
		t.Errorf("afterwards: %d", res.Status)
	}
}

func TestOversizedBodyIs413(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	res := c.Call("tools/call", `{"name":"whoami","arguments":{"x":"`+strings.Repeat("a", 2<<20)+`"}}`)
	if res.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", res.Status)
	}
}
