package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

const (
	verifier = "the-verifier-of-the-benchmark-is-long-enough-for-anybody"
	redirect = "http://127.0.0.1:7777/callback"
)

// paths are where a server has what is loaded.
type paths struct {
	token, introspect, discovery string
}

// subject is a running server that is loaded.
type subject struct {
	url, resource string
	paths
	// client redeems and refreshes; machine, with its secret, does the rest.
	client, machine, secret string
	// codes makes fresh authorization codes.
	codes func(n int) ([]string, error)
	// introspectsRefresh: the peer answers questions about tokens that it
	// keeps, which its JWT access tokens are not among.
	introspectsRefresh bool

	pid  int
	stop func() error
}

// rss returns the memory of the server's process in MiB.
func (s *subject) rss() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return float64(kb) / 1024
}

// cpu returns the processor time that the server's process has used.
func (s *subject) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		return 0
	}
	// After the name, which may hold spaces: state is field 3, utime and stime
	// are 14 and 15, in hundredths of a second.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// started waits for a line that matches and returns its first group.
func started(cmd *exec.Cmd, line *regexp.Regexp) (string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := line.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return m[len(m)-1], nil
		}
	}
	return "", errors.Join(fmt.Errorf("%s ended before it was ready", filepath.Base(cmd.Path)), cmd.Wait())
}

func stopper(cmd *exec.Cmd) func() error {
	return func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		err := cmd.Wait()
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == -1 {
			return nil // ended by the signal
		}
		return err
	}
}

// startPeer starts oidc-provider.
func startPeer(node, scope string) (*subject, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	cmd := exec.Command(node, "peer.mjs", port, scope)
	cmd.Dir, cmd.Stderr = "test/bench", os.Stderr
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	if _, err := started(cmd, regexp.MustCompile(`^(ready)`)); err != nil {
		return nil, err
	}
	s := &subject{
		url: "http://127.0.0.1:" + port, client: "public", machine: "machine", secret: "machine-secret-of-the-benchmark",
		paths: paths{token: "/token", introspect: "/token/introspection", discovery: "/.well-known/openid-configuration"},
		pid:   cmd.Process.Pid, stop: stopper(cmd), introspectsRefresh: true,
	}
	s.codes = func(n int) ([]string, error) {
		res, err := http.Get(fmt.Sprintf("%s/seed/code?n=%d&verifier=%s", s.url, n, verifier))
		if err != nil {
			return nil, err
		}
		defer res.Body.Close() //nolint:errcheck // it was read to its end
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		var codes []string
		if err := json.Unmarshal(body, &codes); err != nil {
			return nil, fmt.Errorf("seed: %w: %s", err, body)
		}
		return codes, nil
	}
	return s, nil
}

// startOriel starts the built program over a fresh data directory, or, for
// unsafe, the same server in a process of this program, without the wait for
// the disk: there is no setting for that, on purpose.
func startOriel(binary, dir string, unsafe, logs bool, profile, scope string) (*subject, error) {
	args := []string{"serve"}
	if unsafe || profile != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		binary, args = self, []string{"server", strconv.FormatBool(unsafe), profile}
	}
	args = append(args, "--listen", "127.0.0.1:0", "--data-dir", dir)
	if !logs {
		args = append(args, "--self-team", "-", "--log-level", "error")
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "GOGC=400") // what the program sets for itself
	var errs bytes.Buffer
	if !logs {
		cmd.Stderr = &errs
	}
	url, err := started(cmd, regexp.MustCompile(`Oriel is running at (http\S+)`))
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, errs.String())
	}
	s := &subject{
		url: url, paths: paths{token: spec.TokenPath, introspect: spec.IntrospectPath, discovery: "/.well-known/openid-configuration"},
		pid: cmd.Process.Pid, stop: stopper(cmd), resource: url + "/mgmt/api/v1/mcp",
	}
	return s, errors.Join(err, s.seed(dir, scope))
}

// consentsOfOne is how many grants one person gets: fewer than may live beside
// each other.
const consentsOfOne = 40

// seed makes a person, a team and two clients from outside, as the
// administration commands do.
func (s *subject) seed(dir, scope string) error {
	ctx := context.Background()
	admin, err := server.OpenAdmin(ctx, config.Store{DataDir: dir})
	if err != nil {
		return err
	}
	// It stays open: codes are made with it while the server runs.
	by := audit.Shell("bench")
	ada, err := admin.Directory.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada", Owner: true}, by)
	if err != nil {
		return err
	}
	team, err := admin.Directory.AddTeam(ctx, "bench", "Bench", by)
	if err != nil {
		return err
	}
	if _, err := admin.Directory.SetMember(ctx, "bench", ada.Email, []string{"viewer"}, by); err != nil {
		return err
	}
	client, _, err := admin.Authority.RegisterClient(ctx, "Benchmark", []string{redirect}, false, by)
	if err != nil {
		return err
	}
	service, err := admin.Directory.AddService(ctx, "Machine", "bench", []string{"viewer"}, by)
	if err != nil {
		return err
	}
	machine, secret, err := admin.Authority.RegisterService(ctx, service, []string{redirect}, by)
	if err != nil {
		return err
	}
	s.client, s.machine, s.secret = string(client.ID), string(machine.ID), secret
	sum := sha256.Sum256([]byte(verifier))
	challenge, err := spec.ParseCodeChallenge("S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	made, person := 0, ada
	s.codes = func(n int) ([]string, error) {
		codes := make([]string, n)
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range codes {
			made++
			id := strconv.Itoa(made)
			if made%consentsOfOne == 0 {
				var err error
				if person, err = admin.Directory.AddPerson(ctx, org.NewPerson{Email: "p" + id + "@example.com", Name: id}, by); err != nil {
					return nil, err
				}
				if _, err := admin.Directory.SetMember(ctx, "bench", person.Email, []string{"viewer"}, by); err != nil {
					return nil, err
				}
			}
			who := person.ID
			wg.Go(func() {
				code, err := admin.Authority.Approve(ctx, grant.Consent{
					ID: id, Person: who, Client: client, Team: team.ID, TeamSlug: team.Slug, Resource: s.resource,
					Scopes: spec.ParseScopes(scope), AuthTime: time.Now(), AMR: []string{"pwd"},
					RedirectURI: redirect, Challenge: challenge,
				}, by)
				codes[i], errs[i] = string(code), err
			})
		}
		wg.Wait()
		return codes, errors.Join(errs...)
	}
	return nil
}

// runServer is the program's part as a server or as an engine.
func runServer(args []string) error {
	if args[0] == "engine" {
		memory, err := strconv.ParseInt(args[4], 10, 64)
		if err != nil {
			return err
		}
		retention, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		return server.RunEngine(context.Background(), server.EngineSettings{DataDir: args[1], Socket: args[2], Retention: retention, MemoryBytes: memory}, os.Stdin)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	unsafe, profile := args[1] == "true", args[2]
	var settings config.Server
	settings.Listen = "127.0.0.1:0"
	for i, a := range args {
		if a == "--data-dir" {
			settings.DataDir = args[i+1]
		}
	}
	settings.Clients.Admission = "anyone"
	settings.Sessions.Disconnect, settings.Sessions.Reconnect = "hourly", "refresh"
	settings.Sessions.Idle = grant.DefaultLifetimes().Idle
	settings.Tokens.Lifetime, settings.Tokens.ReuseWindow = grant.DefaultLifetimes().Access, grant.DefaultLifetimes().ReuseWindow
	settings.Telemetry = config.Telemetry{Retention: 30 * 24 * time.Hour, Memory: "512MiB"}
	logs := slog.Handler(slog.NewJSONHandler(os.Stderr, nil))
	if strings.Contains(strings.Join(args, " "), "--self-team -") {
		settings.SelfTeam = "-"
		logs = slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Config{
		Settings: settings, Now: time.Now, Logs: logs, Version: "bench", UnsafeStore: unsafe,
		Engine: func(ctx context.Context, e server.EngineSettings) *exec.Cmd {
			return exec.CommandContext(ctx, self, "engine", e.DataDir, e.Socket, e.Retention.String(), strconv.FormatInt(e.MemoryBytes, 10))
		},
	})
	if err != nil {
		return err
	}
	if profile != "" {
		end, err := profileTo(profile)
		if err != nil {
			return err
		}
		defer end()
	}
	return errors.Join(s.Announce(ctx, os.Stdout), s.Run(ctx))
}
