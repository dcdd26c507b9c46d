package victoria

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
)

// The test binary is also the engine's process, and a parent that dies.
const (
	envEngine = "ORIEL_TEST_ENGINE" // data folder and socket
	envParent = "ORIEL_TEST_PARENT" // the same; starts an engine and waits
)

func TestMain(m *testing.M) {
	if dir, socket, ok := strings.Cut(os.Getenv(envEngine), "|"); ok {
		err := RunEngine(context.Background(), EngineConfig{DataDir: dir, Socket: socket, Parent: os.Stdin, MinFreeBytes: 1 << 20, MemoryBytes: 256 << 20})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir, socket, ok := strings.Cut(os.Getenv(envParent), "|"); ok {
		s, err := Supervise(SupervisorConfig{Command: engineCommand(dir, socket), Socket: socket, Logger: slog.Default()})
		if err == nil {
			err = s.WaitReady(context.Background())
		}
		fmt.Println(s.PID(), err)
		select {}
	}
	if onCluster() {
		// Tests wait for it most of the time.
		flag.Parse()
		if err := flag.Set("test.parallel", "12"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// onCluster says that tests ask a cluster instead of an embedded engine, as far
// as they do not start their own.
func onCluster() bool { return os.Getenv("ORIEL_TEST_LOG_ENGINE") == "cluster" }

func engineCommand(dir, socket string) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), envEngine+"="+dir+"|"+socket, envParent+"=")
		return cmd
	}
}

// sharedEngine is one engine for all tests that do not hurt it: each takes
// tenants of its own.
type sharedEngine struct {
	once   sync.Once
	tenant atomic.Uint32
	dir    string
	sup    *Supervisor
	client *Client
	// cluster is used instead, see onCluster.
	cluster  *victoriatest.Cluster
	parallel sync.Map // names of the tests that run side by side
	err      error
}

var shared sharedEngine

func (e *sharedEngine) stop() {
	if e.cluster != nil {
		e.cluster.Stop()
	}
	if e.sup != nil {
		_ = e.sup.Stop(context.Background())
	}
	if e.dir != "" {
		_ = os.RemoveAll(e.dir)
	}
}

func (e *sharedEngine) start() {
	if onCluster() {
		if e.cluster, e.err = victoriatest.Start(); e.err == nil {
			e.client, e.err = NewClient(ClientConfig{URL: e.cluster.Select.URL, WriteURL: e.cluster.Insert.URL, Retention: DefaultRetention})
		}
		return
	}
	if e.dir, e.err = os.MkdirTemp("", "engine"); e.err != nil {
		return
	}
	e.sup, e.client, e.err = start(e.dir)
}

func start(dir string) (*Supervisor, *Client, error) {
	socket, err := SocketPath(dir)
	if err != nil {
		return nil, nil, err
	}
	s, err := Supervise(SupervisorConfig{Command: engineCommand(dir, socket), Socket: socket, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		return s, nil, err
	}
	c, err := NewClient(ClientConfig{Socket: socket, Retention: DefaultRetention})
	return s, c, err
}

// engine returns the shared engine's client and a tenant nobody else uses.
func engine(t testing.TB) (*Client, telemetry.TenantID) {
	t.Helper()
	shared.once.Do(shared.start)
	if shared.cluster != nil {
		if _, again := shared.parallel.LoadOrStore(t.Name(), true); !again {
			t.(*testing.T).Parallel()
		}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.client, telemetry.TenantID(shared.tenant.Add(1))
}

// ownEngine starts an engine that the test may kill.
func ownEngine(t *testing.T, dir string) (*Supervisor, *Client) {
	t.Helper()
	s, c, err := start(dir)
	if s != nil {
		t.Cleanup(func() {
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func write(t testing.TB, c *Client, tenant telemetry.TenantID, batch ...telemetry.LogRecord) {
	t.Helper()
	if err := c.WriteLogs(t.Context(), tenant, batch); err != nil {
		t.Fatal(err)
	}
	flush(t, c)
}

// flush returns when what was written before it can be found.
func flush(t testing.TB, c *Client) {
	t.Helper()
	into := c.Flush
	if c.remote {
		into = shared.cluster.Flush
	}
	if err := into(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func whole(tenant telemetry.TenantID) telemetry.View {
	return telemetry.NewView(tenant, telemetry.Restriction{})
}

func lastHour(text string) telemetry.LogQuery {
	now := time.Now()
	return telemetry.LogQuery{Text: text, Start: now.Add(-time.Hour), End: now.Add(time.Minute)}
}

func messages(r telemetry.LogResult) []string {
	var m []string
	for _, row := range r.Rows {
		m = append(m, row.Get(telemetry.FieldMessage))
	}
	return m
}

func TestKilledEngineComesBack(t *testing.T) {
	s, c := ownEngine(t, t.TempDir())
	write(t, c, 1, telemetry.LogRecord{Time: time.Now(), Message: "before"})
	pid := s.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Until the restart every call fails with ErrUnavailable and nothing else.
	failed := false
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := c.QueryLogs(t.Context(), whole(1), lastHour(""), telemetry.Budget{})
		if err != nil && !errors.Is(err, telemetry.ErrUnavailable) {
			t.Fatalf("query of a killed engine: %v", err)
		}
		if ok, reason := s.Ready(); !ok && reason == "" {
			t.Fatal("not ready without a reason")
		}
		failed = failed || err != nil
		if failed && err == nil && s.PID() != pid {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine was not restarted: %v", err)
		}
	}
	write(t, c, 1, telemetry.LogRecord{Time: time.Now(), Message: "after"})
	r, err := c.QueryLogs(t.Context(), whole(1), lastHour("after"), telemetry.Budget{})
	if err != nil || len(r.Rows) != 1 {
		t.Fatalf("after the restart: %v, %v", r, err)
	}
}

// A child that hangs is told from one that answers, may recover, and is killed
// when it does not.
func TestHungEngine(t *testing.T) {
	dir := t.TempDir()
	socket, err := SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Supervise(SupervisorConfig{Command: engineCommand(dir, socket), Socket: socket, HungAfter: 6 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// It looks often, as whoever asks /readyz does.
	until := func(what string, done func(ok bool, reason string) bool) {
		t.Helper()
		tick := time.NewTicker(readyPoll)
		defer tick.Stop()
		for !done(s.Ready()) {
			select {
			case <-ctx.Done():
				t.Fatalf("never: %s", what)
			case <-tick.C:
			}
		}
	}
	until("ready", func(ok bool, _ string) bool { return ok })
	pid := s.PID()
	signal := func(to syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, to); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	until("seen to hang", func(ok bool, reason string) bool { return !ok && reason == "the log engine does not answer" })
	signal(syscall.SIGCONT)
	until("back", func(ok bool, _ string) bool { return ok })
	if s.PID() != pid {
		t.Error("it was killed for a moment of silence")
	}
	signal(syscall.SIGSTOP)
	until("started again", func(ok bool, _ string) bool { return ok && s.PID() != pid })
}

func TestStopKeepsRows(t *testing.T) {
	dir := t.TempDir()
	s, c, err := start(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteLogs(t.Context(), 1, []telemetry.LogRecord{{Time: time.Now(), Message: "kept"}}); err != nil {
		t.Fatal(err)
	}
	// Clients open connections ahead of requests that never come.
	socket, err := SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	unused, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unused.Close() }()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, reason := s.Ready(); ok || reason == "" {
		t.Errorf("a stopped engine is ready: %v %q", ok, reason)
	}
	_, again := ownEngine(t, dir)
	r, err := again.QueryLogs(t.Context(), whole(1), lastHour("kept"), telemetry.Budget{})
	if err != nil || len(r.Rows) != 1 {
		t.Fatalf("after a stop and a start: %v, %v", r, err)
	}
}

// TestParentDeathEndsEngine holds that a killed parent leaves no engine that
// holds the data folder: a second one can open it.
func TestParentDeathEndsEngine(t *testing.T) {
	dir := t.TempDir()
	socket, err := SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envParent+"="+dir+"|"+socket)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var result string
	if _, err := fmt.Fscan(out, &pid, &result); err != nil || result != "<nil>" {
		t.Fatalf("the parent said %d %s (%v)", pid, result, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	// The test's own engine restarts with back-off until the lock is free.
	_, c := ownEngine(t, dir)
	write(t, c, 1, telemetry.LogRecord{Time: time.Now(), Message: "mine"})
	for deadline := time.Now().Add(10 * time.Second); processRuns(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("the engine %d outlived its parent", pid)
		}
	}
}

// processRuns tells a running process from one that is gone or a zombie that
// nobody has reaped.
func processRuns(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) > 0 && after[0] != 'Z'
}

func TestSecondEngineIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, c := ownEngine(t, dir)
	socket, err := FindSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	second := engineCommand(dir, socket)(t.Context())
	if _, err := second.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	second.Stderr = &stderr
	if err := second.Run(); err == nil {
		t.Fatal("a second engine ran over the same folder")
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("the second engine took the first one's socket: %v", err)
	}
}

func TestLongSocketPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("path", 20))
	socket, err := SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(socket, dir) || len(socket) > maxSocketPathBytes {
		t.Fatalf("socket %q", socket)
	}
	t.Cleanup(func() { _ = os.Remove(socket) })
	ownEngine(t, dir)
	c, err := Attach(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("the engine does not answer at its long path: %v", err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(socket), 0o700) })
	if _, err := FindSocket(dir); err == nil {
		t.Error("a socket in a folder that is open to others was accepted")
	}
}

func TestSupervisorWithoutProgram(t *testing.T) {
	socket := filepath.Join(t.TempDir(), socketName)
	s, err := Supervise(SupervisorConfig{
		Command: func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, filepath.Join(t.TempDir(), "missing"))
		},
		Socket: socket, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReady = %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLineLogger(t *testing.T) {
	var out bytes.Buffer
	l := &lineLogger{logger: slog.New(slog.NewTextHandler(&out, nil))}
	for _, part := range []string{"one", " line\ntwo\n\n", strings.Repeat("x", 1000), "tail\nlast"} {
		if n, err := io.WriteString(l, part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.flush()
	got := out.String()
	if strings.Count(got, "\n") != 4 || !strings.Contains(got, "one line") || strings.Contains(got, "tail") || !strings.Contains(got, "last") {
		t.Errorf("log:\n%s", got)
	}
	if strings.Count(got, "x") != maxLogLineBytes {
		t.Errorf("%d bytes of a long line", strings.Count(got, "x"))
	}
}

func TestEngineConfig(t *testing.T) {
	for _, cfg := range []EngineConfig{{}, {DataDir: "d"}, {DataDir: "d", Socket: "s", Retention: time.Hour}} {
		if err := RunEngine(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
