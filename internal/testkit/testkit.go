// Package testkit gives tests a whole server on a port of its own, with a
// clock to turn, a real database (see package storetest), the real log engine, and a client that signs in
// and connects without a browser.
//
// A package that uses it calls [Main] from its TestMain: the engine runs in a
// process of its own, which is the test binary once more.
package testkit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/store/storetest"
	"github.com/orielhq/oriel/internal/web"
)

// engineVariable tells a test binary that it is the engine.
const engineVariable = "ORIEL_TESTKIT_ENGINE"

// Main runs a package's tests, or the engine.
func Main(m *testing.M) {
	if args := os.Getenv(engineVariable); args != "" {
		if err := runEngine(args); err != nil {
			fmt.Fprintln(os.Stderr, "engine:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runEngine(args string) error {
	var settings server.EngineSettings
	if err := json.Unmarshal([]byte(args), &settings); err != nil {
		return fmt.Errorf("read the engine's settings: %w", err)
	}
	return server.RunEngine(context.Background(), settings, os.Stdin)
}

// withoutEngine is set before any test runs.
var withoutEngine bool

// MainWithoutEngine is Main for packages whose tests need no telemetry: their
// servers get a process that never becomes ready, and start much quicker.
func MainWithoutEngine(m *testing.M) {
	withoutEngine = true
	os.Exit(m.Run())
}

func engineProcess(ctx context.Context, s server.EngineSettings) *exec.Cmd {
	if withoutEngine {
		return exec.CommandContext(ctx, "cat") // until its input ends, as the engine
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	args, err := json.Marshal(s)
	if err != nil {
		panic(err) // it is a struct of numbers and texts
	}
	cmd.Env = append(os.Environ(), engineVariable+"="+string(args))
	return cmd
}

// Clock is a clock that runs and can be turned.
type Clock struct {
	mu     sync.Mutex // guards offset
	offset time.Duration
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Advance turns the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// ToNextHour turns the clock to the next full hour and d more.
func (c *Clock) ToNextHour(d time.Duration) {
	now := c.Now()
	c.Advance(now.Truncate(time.Hour).Add(time.Hour + d).Sub(now))
}

// ToMinute turns the clock to that minute of an hour, so that a test does not
// happen to run over the full one.
func (c *Clock) ToMinute(m int) {
	now := c.Now()
	to := now.Truncate(time.Hour).Add(time.Duration(m) * time.Minute)
	if to.Before(now) {
		to = to.Add(time.Hour)
	}
	c.Advance(to.Sub(now))
}

// Server is a server that runs until its test ends.
type Server struct {
	TB    testing.TB
	URL   string
	Dir   string
	Clock *Clock
	// Admin works on the server's store from outside, as the administration
	// commands do.
	Admin *server.Admin

	settings config.Server
	routes   []web.Route
	network  clientdoc.Network
	stop     context.CancelFunc
	done     chan error
	logs     *lockedBuffer

	mu       sync.Mutex // guards sessions
	sessions map[string][]*http.Cookie
}

// Password is that of everybody whom AddPerson adds.
const Password = "correct horse battery staple"

// Start starts a server whose clock stands early in an hour.
func Start(tb testing.TB, change ...func(*config.Server)) *Server {
	tb.Helper()
	return StartOn(tb, clientdoc.Network{}, change...)
}

// StartOn is Start with another way out to client metadata documents.
func StartOn(tb testing.TB, network clientdoc.Network, change ...func(*config.Server)) *Server {
	tb.Helper()
	s := &Server{TB: tb, Dir: tb.TempDir(), Clock: &Clock{}, logs: &lockedBuffer{}, network: network, sessions: make(map[string][]*http.Cookie)}
	s.Clock.ToMinute(5)
	s.settings = config.Server{Store: config.Store{DataDir: s.Dir}, Listen: "127.0.0.1:0", OTLPGRPCListen: config.NoListen}
	if pgtest.Wanted() {
		s.settings.DatabaseURL = storetest.URL(tb)
	}
	s.settings.Sessions.Disconnect, s.settings.Sessions.Reconnect = "hourly", "refresh"
	s.settings.Sessions.Idle = 30 * 24 * time.Hour
	s.settings.Tokens.Lifetime, s.settings.Tokens.ReuseWindow = time.Hour, 10*time.Minute
	s.settings.Clients.Admission = "anyone"
	s.settings.Telemetry = config.Telemetry{Retention: 30 * 24 * time.Hour, Memory: "256MiB"}
	for _, c := range change {
		c(&s.settings)
	}
	s.start()
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("server log:\n%s", s.logs)
		}
	})
	admin, err := server.OpenAdmin(tb.Context(), s.settings.Store)
	s.Must(err)
	tb.Cleanup(func() { s.Must(admin.Close()) })
	s.Admin = admin
	return s
}

// Interactive makes clients come back through the browser after the hour.
func Interactive(c *config.Server) { c.Sessions.Reconnect = "interactive" }

func (s *Server) start() {
	s.TB.Helper()
	srv, err := server.New(context.Background(), server.Config{
		Settings: s.settings, Now: s.Clock.Now, Version: "test", Engine: engineProcess, Network: s.network,
		Logs: slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}),
	})
	s.Must(err)
	s.URL, s.routes = srv.PublicURL(), srv.Routes()
	// A restart must come back at the same address.
	s.settings.Listen = s.URL[len("http://"):]
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan error, 1)
	go func() { s.done <- srv.Run(ctx) }()
}

// Stop stops the server. It may be called again.
func (s *Server) Stop() {
	s.TB.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	if err := <-s.done; err != nil {
		s.TB.Errorf("stop the server: %v", err)
	}
}

// Restart stops the server and starts it again over the same data directory,
// at the same address.
func (s *Server) Restart() {
	s.TB.Helper()
	s.Stop()
	s.start()
}

// Reconfigure restarts the server with changed settings.
func (s *Server) Reconfigure(change func(*config.Server)) {
	s.TB.Helper()
	s.Stop()
	change(&s.settings)
	s.start()
}

// Routes returns the server's route table.
func (s *Server) Routes() []web.Route { return s.routes }

// Log returns what the server has logged.
func (s *Server) Log() string { return s.logs.String() }

// Must fails the test if err is not nil.
func (s *Server) Must(err error) {
	s.TB.Helper()
	if err != nil {
		s.TB.Fatal(err)
	}
}

// WaitReady waits until everything works, the engine included.
func (s *Server) WaitReady() {
	s.TB.Helper()
	s.Eventually(20*time.Second, "the server is ready", func() bool {
		res, err := http.Get(s.URL + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Eventually asks until the answer is yes, or fails the test.
func (s *Server) Eventually(within time.Duration, what string, yes func() bool) {
	s.TB.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !yes(); <-tick.C {
		if time.Now().After(deadline) {
			s.TB.Fatalf("not within %s: %s", within, what)
		}
	}
}

// passwordHash is that of Password, computed once: it takes its time by
// design, more under the race detector.
var passwordHash = sync.OnceValues(org.Password(Password).Hash)

// AddPerson adds a person with Password.
func (s *Server) AddPerson(email string, owner bool) org.Person {
	s.TB.Helper()
	p, err := s.Admin.Directory.AddPerson(s.TB.Context(), org.NewPerson{Email: email, Name: email, Owner: owner}, audit.System())
	s.Must(err)
	s.SetPassword(p.ID)
	return p
}

// SetPassword gives a person Password.
func (s *Server) SetPassword(id org.PersonID) {
	s.TB.Helper()
	people, ok := s.Admin.Authority.Store.(org.Store)
	if !ok {
		s.TB.Fatal("the store keeps no people")
	}
	hash, err := passwordHash()
	s.Must(err)
	s.Must(people.SetPasswordHash(s.TB.Context(), id, hash, audit.Event{At: s.Clock.Now(), Actor: audit.System(), Kind: audit.PasswordChanged, Target: string(id)}))
}

// AddTeam adds a team with its slug as its name.
func (s *Server) AddTeam(slug string) org.Team {
	s.TB.Helper()
	t, err := s.Admin.Directory.AddTeam(s.TB.Context(), slug, slug, audit.System())
	s.Must(err)
	return t
}

// SetMember gives a person roles in a team.
func (s *Server) SetMember(slug, email string, roles ...string) {
	s.TB.Helper()
	_, err := s.Admin.Directory.SetMember(s.TB.Context(), slug, email, roles, audit.System())
	s.Must(err)
}

// lockedBuffer collects what several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text []byte
}

var _ io.Writer = (*lockedBuffer)(nil)

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
