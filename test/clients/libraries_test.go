package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/orielhq/oriel/test/testenv"
)

// scriptLimit bounds a script, the browser included.
const scriptLimit = 2 * time.Minute

// runScript runs a script of test/node to its end, opens the pages that it
// asks for, and returns its result.
func runScript(t *testing.T, open person, name string, args ...string) json.RawMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Node(t), append([]string{name}, args...)...)
	cmd.Dir = testenv.NodeDir(t)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var result json.RawMessage
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			Event, URL string
			Result     json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Errorf("%s printed %q", name, lines.Text())
			continue
		}
		if m.Event == "authorize" {
			open(m.URL)
		}
		if m.Result != nil {
			result = m.Result
		}
	}
	if err := cmd.Wait(); err != nil || result == nil {
		t.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	return result
}

// TestOpenIDClient: a certified relying-party library completes its flow, as a
// public and as a confidential client.
func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			result := runScript(t, s.consents("Web Shop"), "openid.mjs", "--issuer", s.URL, "--resource", s.MCPURL(), "--auth", method)
			var got struct {
				Info struct{ Email, Name string }
			}
			if err := json.Unmarshal(result, &got); err != nil || got.Info.Email != email || got.Info.Name != name {
				t.Errorf("%v %s", err, result)
			}
		})
	}
}

// TestOAuth4WebAPI: a library that leaves no check out goes from the MCP
// server's own metadata to the end of its grant.
func TestOAuth4WebAPI(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			runScript(t, s.consents("Web Shop"), "oauth4webapi.mjs", "--resource", s.MCPURL(), "--auth", method)
		})
	}
}

var anyURL = regexp.MustCompile(`http://\S+/oauth/authorize\?\S+`)

// startRemote starts mcp-remote, with which clients without OAuth connect,
// and a client that speaks to it over its standard input and output. Pages
// that it wants a person to see go to open.
func startRemote(t *testing.T, home, url string, open person) *mcp.ClientSession {
	t.Helper()
	cmd := exec.Command(testenv.Node(t), filepath.Join("node_modules", "mcp-remote", "dist", "proxy.js"), url, "--transport", "http-only", "--auth-timeout", "60")
	cmd.Dir = testenv.NodeDir(t)
	// It opens a browser by itself; this one does nothing. The address is also
	// in what it prints.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "DISPLAY=") || strings.HasPrefix(e, "WAYLAND_DISPLAY=")
	}),
		"HOME="+home, "MCP_REMOTE_CONFIG_DIR="+filepath.Join(home, ".mcp-auth"), "BROWSER=true")
	r, w := io.Pipe()
	cmd.Stderr = w
	printed := make(chan string, 1)
	go func() {
		var all strings.Builder
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			if url := anyURL.FindString(lines.Text()); url != "" && open != nil {
				open(url)
				open = nil // it prints the address more than once
			}
		}
		printed <- all.String()
	}()
	m := mcp.NewClient(&mcp.Implementation{Name: clientName, Version: "1.0.0"}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), scriptLimit)
	t.Cleanup(cancel)
	session, err := m.Connect(ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		_ = w.Close()
		t.Fatalf("connect through mcp-remote: %v\n%s", err, <-printed)
	}
	t.Cleanup(func() {
		_ = session.Close()
		_ = w.Close()
		if text := <-printed; t.Failed() {
			t.Logf("mcp-remote printed:\n%s", text)
		}
	})
	return session
}

// TestMCPRemote: mcp-remote connects through the browser, and again by itself
// with what it remembers, also after the server was started anew.
func TestMCPRemote(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	home := t.TempDir()
	lists := func(session *mcp.ClientSession) {
		t.Helper()
		list, err := session.ListTools(t.Context(), nil)
		if err != nil || !slices.Contains(toolNames(list.Tools), "search_logs") {
			t.Fatalf("tools/list through mcp-remote: %v %+v", err, list)
		}
		who, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
		if err != nil || !strings.Contains(toResult(who).Text, email) {
			t.Fatalf("whoami through mcp-remote: %v %+v", err, who)
		}
	}
	first := startRemote(t, home, s.MCPURL(), s.consents("Web Shop"))
	lists(first)
	if err := first.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	asked := func(url string) { t.Errorf("it asked a person again: %s", url) }
	lists(startRemote(t, home, s.MCPURL(), asked))
	s.Oriel.Restart()
	lists(startRemote(t, home, s.MCPURL(), asked))
	if grants := s.Grants("--email", email); len(grants) != 1 || !strings.Contains(grants[0].ClientName, "MCP CLI Proxy") {
		t.Errorf("grants: %+v", grants)
	}
}
