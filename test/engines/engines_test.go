// Package engines runs servers whose log engine is on other machines: real
// VictoriaLogs clusters on loopback, which are killed, hang, and come back.
package engines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/telemetry/proof"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// soon is how long what is expected may take: probes and new tries run every
// few seconds.
const soon = 40 * time.Second

// file writes a file of engines.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engines.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func logsOf(c *victoriatest.Cluster) string {
	return fmt.Sprintf("logs: {url: '%s', write_url: '%s', timeout: 2s}\n", c.Select.URL, c.Insert.URL)
}

// team is a team with somebody who asks and a key to send with.
type team struct {
	s    *testkit.Server
	slug string
	key  string
	*testkit.Client
}

func newTeam(s *testkit.Server, slug string) *team {
	s.TB.Helper()
	s.AddTeam(slug)
	return ofTeam(s, slug)
}

func ofTeam(s *testkit.Server, slug string) *team {
	s.TB.Helper()
	_, key, err := s.Admin.Directory.AddKey(s.TB.Context(), slug, "test", audit.System())
	s.Must(err)
	p := s.AddPerson(slug+"@example.com", false)
	s.SetMember(slug, p.Email, "viewer")
	return &team{s, slug, key.Reveal(), s.Register().Connect(p.Email, slug)}
}

// send sends a record.
func (m *team) send(message string) {
	m.s.TB.Helper()
	body := fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","body":{"stringValue":%q}}]}]}]}`,
		time.Now().UnixNano(), message)
	res := m.s.Do(http.MethodPost, "/v1/logs", body, "Authorization", "Bearer "+m.key, "Content-Type", "application/json")
	if res.Status != http.StatusOK {
		m.s.TB.Fatalf("send: %d %s", res.Status, res.Body)
	}
}

// search searches the last hour.
func (m *team) search(query string) string {
	m.s.TB.Helper()
	args, err := json.Marshal(map[string]any{"name": "search_logs", "arguments": map[string]any{"query": query, "start": "now-1h"}})
	m.s.Must(err)
	return m.Call("tools/call", string(args)).Body
}

func readyz(s *testkit.Server) (parts map[string]any, status int) {
	s.TB.Helper()
	res := s.Do(http.MethodGet, "/readyz", "")
	s.Must(json.Unmarshal([]byte(res.Body), &parts))
	return parts, res.Status
}

// An engine that cannot be reached when the server starts is not asked until it
// has proven itself; what is sent meanwhile waits, and is found then.
func TestEngineComesLater(t *testing.T) {
	t.Parallel()
	c := victoriatest.StartCluster(t)
	if err := c.Insert.Kill(); err != nil {
		t.Fatal(err)
	}
	s := testkit.Start(t, func(k *config.Server) { k.SelfTeam, k.Telemetry.Engines = "-", file(t, logsOf(c)) })
	shop := newTeam(s, "shop")
	shop.send("sent while nobody took it")
	if text := shop.search("sent"); !strings.Contains(text, "temporarily unavailable") {
		t.Errorf("a search meanwhile: %s", text)
	}
	parts, status := readyz(s)
	if text := fmt.Sprint(parts["logs"]); !strings.Contains(text, "the log engine at 127.0.0.1:") || !strings.Contains(text, "not yet proven") || status != http.StatusOK {
		t.Errorf("readyz meanwhile: %d %v", status, parts)
	}
	s.Must(c.Insert.Start())
	s.Eventually(soon, "the record is found", func() bool { return strings.Contains(shop.search("sent"), "matched 1") })
	if parts, _ := readyz(s); parts["logs"] != "ok" {
		t.Errorf("readyz afterwards: %v", parts)
	}

	// One of two storage nodes is away: an answer with half of the records is
	// no answer.
	for i := range 20 {
		shop.send(fmt.Sprintf("number %d", i))
	}
	s.Eventually(soon, "all are found", func() bool { return strings.Contains(shop.search("number"), "matched 20") })
	s.Must(c.Storage[0].Kill())
	if text := shop.search("number"); strings.Contains(text, "matched") {
		t.Errorf("with half of the storage: %s", text)
	}
	shop.send("sent to half of the storage")
	s.Must(c.Storage[0].Start())
	s.Eventually(soon, "everything is found again", func() bool {
		return strings.Contains(shop.search("number"), "matched 20") && strings.Contains(shop.search("half"), "matched 1")
	})

	// It hangs: it accepts and never answers.
	s.Must(c.Select.Signal(syscall.SIGSTOP))
	s.Eventually(soon, "readyz says so", func() bool {
		parts, _ := readyz(s)
		return strings.Contains(fmt.Sprint(parts["logs"]), "does not answer")
	})
	began := time.Now()
	if text := shop.search("number"); !strings.Contains(text, "temporarily unavailable") || time.Since(began) > 15*time.Second {
		t.Errorf("a search of an engine that hangs, after %s: %s", time.Since(began), text)
	}
	s.Must(c.Select.Signal(syscall.SIGCONT))
	s.Eventually(soon, "and back", func() bool { return strings.Contains(shop.search("number"), "matched 20") })
}

// An engine that hangs when the server starts holds nothing up, and one that
// stops believing who Oriel is is named.
func TestEngineHangsAtTheStart(t *testing.T) {
	t.Parallel()
	c := victoriatest.StartCluster(t)
	var denies atomic.Bool
	target, err := url.Parse(c.Select.URL)
	if err != nil {
		t.Fatal(err)
	}
	to := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: log.New(io.Discard, "", 0)}
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if denies.Load() && r.URL.Path != "/health" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		to.ServeHTTP(w, r)
	}))
	defer gate.Close()
	if err := c.Select.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	// Its time-out is the usual one, which is long.
	s := testkit.Start(t, func(k *config.Server) {
		k.SelfTeam, k.Telemetry.Engines = "-", file(t, fmt.Sprintf("logs: {url: '%s', write_url: '%s'}\n", gate.URL, c.Insert.URL))
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the start took %s", took)
	}
	shop := newTeam(s, "shop")
	shop.send("sent meanwhile")
	s.Must(c.Select.Signal(syscall.SIGCONT))
	s.Eventually(soon, "the record is found", func() bool { return strings.Contains(shop.search("sent"), "matched 1") })

	denies.Store(true)
	if text := shop.search("sent"); !strings.Contains(text, "temporarily unavailable") {
		t.Errorf("a search that is denied: %s", text)
	}
	if parts, _ := readyz(s); !strings.Contains(fmt.Sprint(parts["logs"]), "refuses the authorization") {
		t.Errorf("readyz when it is denied: %v", parts)
	}
	denies.Store(false)
	s.Eventually(soon, "it is found again", func() bool { return strings.Contains(shop.search("sent"), "matched 1") })
	if parts, _ := readyz(s); parts["logs"] != "ok" {
		t.Errorf("readyz afterwards: %v", parts)
	}
}

// A team has an engine of its own; the others stay where they are.
func TestEngineOfATeam(t *testing.T) {
	t.Parallel()
	c := victoriatest.StartCluster(t)
	s := testkit.Start(t, func(k *config.Server) { k.SelfTeam = "-" })
	s.WaitReady()
	shop, bank, mill := newTeam(s, "shop"), newTeam(s, "bank"), newTeam(s, "mill")
	// The same addresses with credentials of its own are another engine.
	own := file(t, "Bearer of the mill\n")
	path := file(t, fmt.Sprintf("teams:\n  shop: {logs: {url: '%[1]s', write_url: '%[2]s'}}\n  mill: {logs: {url: '%[1]s', write_url: '%[2]s', authorization_file: %[3]s}}\n",
		c.Select.URL, c.Insert.URL, own))
	s.Reconfigure(func(k *config.Server) { k.Telemetry.Engines = path })
	s.WaitReady()
	shop.send("a sale")
	bank.send("a loan")
	mill.send("a sack")
	s.Eventually(soon, "all are found", func() bool {
		return strings.Contains(shop.search("sale"), "matched 1") && strings.Contains(bank.search("loan"), "matched 1") && strings.Contains(mill.search("sack"), "matched 1")
	})
	if parts, _ := readyz(s); fmt.Sprint(parts["teams"]) != "map[logs of mill:ok logs of shop:ok]" {
		t.Errorf("readyz: %v", parts)
	}
	for team, want := range map[*team]bool{shop: true, bank: false} {
		org, err := s.Admin.Directory.Team(t.Context(), team.slug)
		s.Must(err)
		form := url.Values{"query": {"sale or loan"}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Select.URL+"/select/logsql/query?"+form.Encode(), nil)
		s.Must(err)
		req.Header.Set("AccountID", fmt.Sprint(org.Tenant))
		res, err := http.DefaultClient.Do(req)
		s.Must(err)
		if got := res.ContentLength != 0; got != want {
			t.Errorf("the cluster has records of %s: %v, want %v", team.slug, got, want)
		}
		_ = res.Body.Close()
	}
}

// A server does not start over an engine that mixes teams up, nor over a file
// that is wrong.
func TestEngineIsRefused(t *testing.T) {
	t.Parallel()
	c := victoriatest.StartCluster(t)
	careless := func(to string) string {
		target, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		p := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("AccountID")
		}})
		t.Cleanup(p.Close)
		return p.URL
	}
	start := func(text string) error {
		settings := config.Server{Store: config.Store{DataDir: t.TempDir()}, Listen: "127.0.0.1:0", OTLPGRPCListen: config.NoListen}
		settings.Sessions.Disconnect, settings.Sessions.Reconnect, settings.Clients.Admission = "hourly", "refresh", "anyone"
		settings.Tokens.Lifetime = time.Hour
		settings.Telemetry = config.Telemetry{Retention: 30 * 24 * time.Hour, Memory: "256MiB", Engines: file(t, text)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := server.New(ctx, server.Config{Settings: settings, Now: time.Now, Version: "test", Engine: testkit.Engine, Logs: slog.NewTextHandler(t.Output(), nil)})
		if err == nil {
			stopped, stop := context.WithCancel(ctx)
			stop()
			t.Errorf("it starts with %s: %v", text, s.Run(stopped))
		}
		return err
	}
	err := start(fmt.Sprintf("logs: {url: '%s', write_url: '%s'}\n", careless(c.Select.URL), careless(c.Insert.URL)))
	if _, ok := errors.AsType[*proof.RefusedError](err); !ok || !strings.Contains(err.Error(), "the log engine at 127.0.0.1:") || !strings.Contains(err.Error(), "AccountID") {
		t.Errorf("an engine that mixes teams up: %v", err)
	}
	if err := start(fmt.Sprintf("teams: {nobody: {logs: {url: '%s'}}}\n", c.Select.URL)); err == nil || !strings.Contains(err.Error(), "oriel team") {
		t.Errorf("a team that there is not: %v", err)
	}
	if err := start("logs: {uri: 'http://a'}\n"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a wrong file: %v", err)
	}
}

// Metrics on a server of somebody else: they are found by whose they are, wait
// while it is away, and are found then.
func TestMetricsElsewhere(t *testing.T) {
	t.Parallel()
	binary := os.Getenv("ORIEL_TEST_VICTORIAMETRICS")
	if binary == "" {
		t.Fatal("ORIEL_TEST_VICTORIAMETRICS names no program: make test builds one")
	}
	vm := victoriatest.StartProcess(t, binary, "-storageDataPath="+t.TempDir(), "-retentionPeriod=1y", "-search.latencyOffset=0s", "-inmemoryDataFlushInterval=1s")
	s := testkit.Start(t, func(k *config.Server) {
		k.SelfTeam = "-"
		k.Telemetry.Engines = file(t, fmt.Sprintf("metrics: {url: '%s', server: victoriametrics, tenant_label: oriel_tenant}\n", vm.URL))
	})
	s.WaitReady()
	shop, bank := newTeam(s, "shop"), newTeam(s, "bank")
	gauge := func(m *team, name string, value int) {
		t.Helper()
		body := fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"svc"}}]},"scopeMetrics":[{"metrics":[{"name":%q,"gauge":{"dataPoints":[{"timeUnixNano":"%d","asInt":"%d"}]}}]}]}]}`,
			name, time.Now().UnixNano(), value)
		if res := s.Do(http.MethodPost, "/v1/metrics", body, "Authorization", "Bearer "+m.key, "Content-Type", "application/json"); res.Status != http.StatusOK {
			t.Fatalf("send: %d %s", res.Status, res.Body)
		}
	}
	ask := func(m *team, expr string) string {
		t.Helper()
		// The server's clock may be ahead by up to an hour.
		args, err := json.Marshal(map[string]any{"name": "query_metrics", "arguments": map[string]any{"query": "last_over_time(" + expr + "[2h])", "instant": true}})
		s.Must(err)
		return m.Call("tools/call", string(args)).Body
	}
	gauge(shop, "stock", 7)
	gauge(bank, "loans", 9)
	defer func() {
		if t.Failed() {
			t.Log(ask(shop, "stock"))
		}
	}()
	defer func() {
		if t.Failed() {
			t.Log(ask(shop, "stock"))
		}
	}()
	s.Eventually(soon, "both are found", func() bool {
		return strings.Contains(ask(shop, "stock"), `\t7`) && strings.Contains(ask(bank, "loans"), `\t9`)
	})
	if text := ask(bank, `{__name__=~"stock|loans"}`); strings.Contains(text, `\t7`) || !strings.Contains(text, `\t9`) || strings.Contains(text, "oriel_tenant") {
		t.Errorf("the bank sees: %s", text)
	}
	s.Must(vm.Kill())
	gauge(shop, "late", 5)
	if text := ask(shop, "late"); !strings.Contains(text, "temporarily unavailable") {
		t.Errorf("while it is away: %s", text)
	}
	s.Must(vm.Start())
	s.Eventually(soon, "what waited is found", func() bool { return strings.Contains(ask(shop, "late"), `\t5`) })
	if parts, _ := readyz(s); parts["metrics"] != "ok" {
		t.Errorf("readyz: %v", parts)
	}
}
