package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/test/incident/shop"
)

const (
	verifier = "the-verifier-of-the-benchmark-is-long-enough-for-anybody"
	redirect = "http://127.0.0.1:7777/callback"
	// readyLimit is how long a server may take to start.
	readyLimit = 30 * time.Second
)

// subject is a running server.
type subject struct {
	url, resource, dir string
	// key takes telemetry in, token asks for it.
	key, token string
	pid        int
	stop       func() error
	sockets    map[string]*http.Client
}

// startServer starts the built program over a fresh data directory, with a
// team, an ingest key and a person who may read everything.
func startServer(ctx context.Context, o options, dir string) (*subject, error) {
	args := []string{"serve"}
	if o.profile != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.binary, args = self, []string{"server", o.profile}
	}
	cmd := exec.Command(o.binary, append(args, "--listen", "127.0.0.1:0", "--data-dir", dir, "--self-team", "-", "--log-level", "warn")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &subject{dir: dir, pid: cmd.Process.Pid, sockets: make(map[string]*http.Client)}
	s.stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
	lines, announced := bufio.NewScanner(out), regexp.MustCompile(`Oriel is running at (http\S+)`)
	for s.url == "" && lines.Scan() {
		if m := announced.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
		}
	}
	if s.url == "" {
		return nil, errors.Join(errors.New("the server ended before it was ready"), cmd.Wait())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	s.resource = s.url + "/mgmt/api/v1/mcp"
	if err = s.seed(ctx); err == nil {
		err = s.ready()
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *subject) ready() error {
	for deadline := time.Now().Add(readyLimit); ; {
		res, err := http.Get(s.url + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server is not ready within %s", readyLimit)
		}
		<-time.After(searchablePoll)
	}
}

// seed makes what is needed from outside, as the administration commands do.
func (s *subject) seed(ctx context.Context) (err error) {
	admin, err := server.OpenAdmin(ctx, config.Store{DataDir: s.dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	by := audit.Shell("telemetrybench")
	ada, err := admin.Directory.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada", Owner: true}, by)
	if err != nil {
		return err
	}
	team, err := admin.Directory.AddTeam(ctx, shop.Team, "Shop", by)
	if err != nil {
		return err
	}
	if _, err := admin.Directory.SetMember(ctx, team.Slug, ada.Email, []string{"viewer"}, by); err != nil {
		return err
	}
	_, key, err := admin.Directory.AddKey(ctx, team.Slug, "telemetrybench", by)
	if err != nil {
		return err
	}
	s.key = key.Reveal()
	client, _, err := admin.Authority.RegisterClient(ctx, "Benchmark", []string{redirect}, false, by)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(verifier))
	challenge, err := spec.ParseCodeChallenge("S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	code, err := admin.Authority.Approve(ctx, grant.Consent{
		ID: "1", Person: ada.ID, Client: client, Team: team.ID, TeamSlug: team.Slug, Resource: s.resource,
		Scopes: spec.ParseScopes("logs:read traces:read metrics:read"), AuthTime: time.Now(), AMR: []string{"pwd"}, RedirectURI: redirect, Challenge: challenge,
	}, by)
	if err != nil {
		return err
	}
	res, err := http.PostForm(s.url+spec.TokenPath, url.Values{
		"grant_type": {"authorization_code"}, "code": {string(code)}, "redirect_uri": {redirect}, "code_verifier": {verifier}, "client_id": {string(client.ID)},
	})
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&tokens); err != nil || tokens.Access == "" {
		return fmt.Errorf("redeem the code: %s: %w", res.Status, err)
	}
	s.token = tokens.Access
	return nil
}

// memory is the most that was resident: of all processes at one time, and of
// each, the server first.
type memory struct {
	sum  int64
	each [3]int64
}

// processorTime is what the server and its engines have used so far.
func processorTime(pid int) (out [3]time.Duration) {
	for i, p := range append([]int{pid}, children(pid)...) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil || i >= len(out) {
			continue
		}
		// After the name, which may hold spaces: state is field 3, utime and
		// stime are 14 and 15, in hundredths of a second.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		out[i] = time.Duration(user+system) * 10 * time.Millisecond
	}
	return out
}

type watcher struct {
	end  chan struct{}
	done chan memory
}

// memoryPoll is how often memory is looked at.
const memoryPoll = 100 * time.Millisecond

// watchMemory follows a server and the engines under it.
func watchMemory(pid int) watcher {
	w := watcher{make(chan struct{}), make(chan memory)}
	pids := append([]int{pid}, children(pid)...)
	go func() {
		var most memory
		tick := time.NewTicker(memoryPoll)
		defer tick.Stop()
		for {
			sum := int64(0)
			for i, p := range pids[:min(len(pids), len(most.each))] {
				rss := resident(p)
				sum += rss
				most.each[i] = max(most.each[i], rss)
			}
			most.sum = max(most.sum, sum)
			select {
			case <-tick.C:
			case <-w.end:
				w.done <- most
				return
			}
		}
	}()
	return w
}

func (w watcher) stop() memory {
	close(w.end)
	return <-w.done
}

// children are the engines: that of logs first.
func children(pid int) (out []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended meanwhile
		}
		for child := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				out = append(out, n)
			}
		}
	}
	slices.SortFunc(out, func(a, b int) int { return strings.Compare(commandLine(a), commandLine(b)) })
	return out
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // "" where it is gone
	return string(text)
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	m := residentLine.FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:2], ", ")
}

// runServer is this program's part as a profiled server, or as its engine.
func runServer(args []string) error {
	if args[0] == "engine" {
		var settings server.EngineSettings
		if err := json.Unmarshal([]byte(args[1]), &settings); err != nil {
			return err
		}
		return server.RunEngine(context.Background(), settings, os.Stdin)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	settings := config.Server{Listen: "127.0.0.1:0", OTLPGRPCListen: config.NoListen}
	settings.DataDir = args[slices.Index(args, "--data-dir")+1]
	settings.SelfTeam = "-"
	settings.Clients.Admission = "anyone"
	settings.Sessions.Disconnect, settings.Sessions.Reconnect = "hourly", "refresh"
	settings.Sessions.Idle = grant.DefaultLifetimes().Idle
	settings.Tokens.Lifetime, settings.Tokens.ReuseWindow = grant.DefaultLifetimes().Access, grant.DefaultLifetimes().ReuseWindow
	settings.Telemetry = config.Telemetry{Retention: 30 * 24 * time.Hour, Memory: "512MiB"}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Config{
		Settings: settings, Now: time.Now, Logs: slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}), Version: "bench",
		Engine: func(ctx context.Context, e server.EngineSettings) *exec.Cmd {
			text, err := json.Marshal(e)
			if err != nil {
				panic(err) // it is a struct of numbers and texts
			}
			return exec.CommandContext(ctx, self, "engine", string(text))
		},
	})
	if err != nil {
		return err
	}
	f, err := os.Create(args[1])
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer func() { pprof.StopCPUProfile(); _ = f.Close() }()
	return errors.Join(s.Announce(ctx, os.Stdout), s.Run(ctx))
}
