package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/importer"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestOperations(t *testing.T) {
	s := testkit.Start(t)
	if res := s.Do(http.MethodGet, "/healthz", ""); res.Status != http.StatusOK || res.Body != "ok\n" {
		t.Errorf("healthz: %d %q", res.Status, res.Body)
	}
	s.WaitReady()
	res := s.Do(http.MethodGet, "/readyz", "")
	var parts map[string]string
	s.Must(res.JSON(&parts))
	for _, part := range []string{"store", "access", "logs", "spans", "ingest"} {
		if parts[part] != "ok" {
			t.Errorf("readyz: %s is %q", part, parts[part])
		}
		delete(parts, part)
	}
	if len(parts) != 0 {
		t.Errorf("readyz: %s", res.Body)
	}
	s.Browser().Get("/login")
	res = s.Do(http.MethodGet, "/metrics", "")
	for _, want := range []string{`oriel_http_requests_total{class="2xx",route="`, "go_goroutines ", "process_resident_memory_bytes "} {
		if res.Status != http.StatusOK || !strings.Contains(res.Body, want) {
			t.Errorf("metrics: %d, without %s", res.Status, want)
		}
	}
	if res := s.Do(http.MethodGet, "/no/such/page", ""); res.Status != http.StatusNotFound || !strings.Contains(res.Body, "<h1") {
		t.Errorf("an unknown path: %d %s", res.Status, res.Body)
	}
}

// readSlowly sends a request of which the last byte is missing.
func readSlowly(t *testing.T, s *testkit.Server) (finish func() (*http.Response, error)) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	s.Must(err)
	t.Cleanup(func() { _ = conn.Close() })
	const body = `{"redirect_uris":["http://127.0.0.1/"]}`
	_, err = fmt.Fprintf(conn, "POST /oauth/register HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		strings.TrimPrefix(s.URL, "http://"), len(body))
	s.Must(err)
	r := bufio.NewReader(conn)
	// Once the handler reads, the server says so: the request is under way.
	line, err := r.ReadString('\n')
	s.Must(err)
	if !strings.Contains(line, "100 Continue") {
		t.Fatalf("the server answered %q", line)
	}
	_, err = r.ReadString('\n')
	s.Must(err)
	_, err = io.WriteString(conn, body[:len(body)-1])
	s.Must(err)
	return func() (*http.Response, error) {
		if _, err := io.WriteString(conn, body[len(body)-1:]); err != nil {
			return nil, err
		}
		return http.ReadResponse(r, nil)
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	s := testkit.Start(t)
	finish := readSlowly(t, s)
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	s.Eventually(5*time.Second, "nobody listens any more", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case <-stopped:
		t.Fatal("it stopped while a request was under way")
	default:
	}
	res, err := finish()
	if err != nil {
		t.Fatalf("the request under way was cut off: %v", err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing can be done
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusCreated {
		t.Errorf("status %d, %v\n%s", res.StatusCode, err, body)
	}
	<-stopped
}

func TestStopEndsStreams(t *testing.T) {
	s := testkit.Start(t)
	s.AddPerson("ada@example.com", true)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	c := s.Register().Connect("ada@example.com", "shop")
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	req, err := http.NewRequest(http.MethodPost, c.Resource, strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},`+meta+`}}`))
	s.Must(err)
	for k, v := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + c.Access,
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen",
	} {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	s.Must(err)
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("status %d %s: %s", res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, res.Body); ended <- err }()
	s.Stop() // fails the test if it had to give up waiting
	if err := <-ended; err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestSecondServerOnTheAddressSaysWhatToDo(t *testing.T) {
	s := testkit.Start(t)
	settings := s.Settings()
	settings.DataDir = filepath.Join(t.TempDir(), "other")
	_, err := server.New(t.Context(), server.Config{Settings: settings, Now: time.Now, Logs: slog.DiscardHandler, Engine: testkit.Engine})
	want := regexp.MustCompile(`^listen on 127\.0\.0\.1:\d+: .*address already in use \(is another server running there\? choose another address with --listen\)$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("error %q", err)
	}
	if _, err := os.Stat(settings.DataDir); err == nil {
		t.Error("it touched its data directory")
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() server.Config {
		c := server.Config{Now: time.Now, Logs: slog.DiscardHandler, Engine: testkit.Engine}
		c.Settings = config.Server{Store: config.Store{DataDir: t.TempDir()}, Listen: "127.0.0.1:0"}
		c.Settings.Tokens.Lifetime = time.Hour
		c.Settings.Clients.Admission = "anyone"
		c.Settings.Telemetry = config.Telemetry{Retention: 24 * time.Hour, Memory: "256MiB"}
		return c
	}
	for name, test := range map[string]struct {
		change func(*server.Config)
		want   string
	}{
		"no clock":          {func(c *server.Config) { c.Now = nil }, "needs Now"},
		"no logs":           {func(c *server.Config) { c.Logs = nil }, "needs Now, Logs"},
		"no engine":         {func(c *server.Config) { c.Engine = nil }, "Engine"},
		"bad settings":      {func(c *server.Config) { c.Settings.Telemetry.Memory = "x" }, "--telemetry-memory"},
		"bad listen":        {func(c *server.Config) { c.Settings.Listen = "nonsense" }, "listen on nonsense"},
		"everywhere":        {func(c *server.Config) { c.Settings.Listen = "0.0.0.0:0" }, "--public-url"},
		"no data directory": {func(c *server.Config) { c.Settings.DataDir = "/dev/null/x" }, "data directory"},
		"not a database": {func(c *server.Config) {
			if err := os.WriteFile(c.Settings.Path("oriel.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "oriel.db"},
		"another master key": {func(c *server.Config) {
			a, err := server.OpenAdmin(t.Context(), c.Settings.Store)
			if err == nil {
				err = errors.Join(a.Close(), os.Remove(c.Settings.Path("master.key")))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "key"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			test.change(&c)
			s, err := server.New(t.Context(), c)
			if err == nil {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				t.Fatalf("no error (run: %v)", s.Run(ctx))
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q in it", err, test.want)
			}
		})
	}
}

func TestAnnounce(t *testing.T) {
	dir := t.TempDir()
	announce := func(prepare func(*server.Admin)) (string, string) {
		c := server.Config{Now: time.Now, Logs: slog.DiscardHandler, Engine: testkit.Engine}
		c.Settings = config.Server{Store: config.Store{DataDir: dir}, Listen: "127.0.0.1:0"}
		c.Settings.Tokens.Lifetime = time.Hour
		c.Settings.Clients.Admission = "anyone"
		c.Settings.Telemetry = config.Telemetry{Retention: 24 * time.Hour, Memory: "256MiB"}
		admin, err := server.OpenAdmin(t.Context(), c.Settings.Store)
		if err != nil {
			t.Fatal(err)
		}
		prepare(admin)
		if err := admin.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := server.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		err = s.Announce(t.Context(), &b)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := errors.Join(err, s.Run(ctx)); err != nil {
			t.Fatal(err)
		}
		return b.String(), s.PublicURL()
	}

	text, url := announce(func(*server.Admin) {})
	if !strings.Contains(text, "Oriel is running at "+url+"\n") {
		t.Errorf("no address in %q", text)
	}
	link := regexp.MustCompile(`works once, for one hour\):\n    (\S+)\n`).FindStringSubmatch(text)
	if link == nil || !strings.HasPrefix(link[1], url+"/login/setup?token=") {
		t.Errorf("no link for the owner in %q", text)
	}
	entry := regexp.MustCompile(`(?m)^    (\{ "mcpServers.*\})$`).FindStringSubmatch(text)
	if entry == nil {
		t.Fatalf("no mcp.json entry in %q", text)
	}
	var config struct {
		Servers map[string]struct {
			URL string `json:"url"`
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal([]byte(entry[1]), &config); err != nil || config.Servers["oriel"].URL != url+"/mgmt/api/v1/mcp" {
		t.Errorf("the entry %s: %v", entry[1], err)
	}

	// Where there is an owner, nobody gets another link.
	text, url = announce(func(a *server.Admin) {
		if _, err := a.Directory.AddPerson(t.Context(), org.NewPerson{Email: "o@example.com", Name: "O", Owner: true}, audit.System()); err != nil {
			t.Fatal(err)
		}
	})
	if strings.Contains(text, "setup") || !strings.Contains(text, url+"/mgmt/api/v1/mcp") {
		t.Errorf("with an owner: %q", text)
	}
}

// searchFor returns what the tool search_logs answers to a client.
func searchFor(s *testkit.Server, c *testkit.Client, words string) string {
	args, err := json.Marshal(map[string]any{"name": "search_logs", "arguments": map[string]string{"query": words}})
	s.Must(err)
	return c.Call("tools/call", string(args)).Body
}

func TestOwnLogsReachTheFirstTeam(t *testing.T) {
	s := testkit.Start(t)
	s.AddPerson("ada@example.com", true)
	s.AddTeam("first")
	s.AddTeam("second")
	for _, team := range []string{"first", "second"} {
		s.SetMember(team, "ada@example.com", "viewer")
	}
	first := s.Register().Connect("ada@example.com", "first")
	second := s.Register().Connect("ada@example.com", "second")
	s.WaitReady()
	s.Eventually(20*time.Second, "the first team has the line", func() bool {
		return strings.Contains(searchFor(s, first, "serving"), s.URL)
	})
	if answer := searchFor(s, second, "serving"); strings.Contains(answer, "listen") {
		t.Errorf("the second team has it too: %s", answer)
	}
}

func TestImport(t *testing.T) {
	s := testkit.Start(t)
	s.AddPerson("ada@example.com", true)
	shop := s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	c := s.Register().Connect("ada@example.com", "shop")
	file := filepath.Join(t.TempDir(), "checkout.log")
	now := time.Now().UTC()
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "%s INFO order %d foxglove\n", now.Add(time.Duration(i-100)*time.Second).Format(time.RFC3339), i)
	}
	fmt.Fprintf(&b, "%s INFO order from long ago\n", now.AddDate(-1, 0, 0).Format(time.RFC3339))
	s.Must(os.WriteFile(file, []byte(b.String()), 0o600))
	settings := s.Settings()
	run := func() importer.Summary {
		t.Helper()
		sum, err := server.Import(t.Context(), server.ImportConfig{
			Store: settings.Store, Telemetry: settings.Telemetry, Engine: testkit.Engine, Logger: slog.New(slog.DiscardHandler),
			Options: importer.Options{Tenant: shop.Tenant, Now: time.Now, Format: "auto", Location: time.UTC},
			Files:   []string{file},
		})
		s.Must(err)
		return sum
	}

	s.WaitReady()
	if sum := run(); sum.Total.Stored != 100 || sum.Total.TooOld != 1 {
		t.Errorf("through the running server's engine: %s", sum.String())
	}
	if answer := searchFor(s, c, "foxglove"); !strings.Contains(answer, "order 99 foxglove") {
		t.Errorf("not found: %s", answer)
	}

	// Where no server runs, the import brings an engine of its own.
	s.Stop()
	if sum := run(); sum.Total.Stored != 100 {
		t.Errorf("through its own engine: %s", sum.String())
	}
}
