package testenv

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/pgtest"
)

const (
	// startLimit is how long a start may take until everything is ready: the
	// engine opens its folders meanwhile, and the machine may be busy.
	startLimit = 30 * time.Second
	// stopLimit is how long a graceful stop may take: the server gives requests
	// and what it keeps 8 seconds each.
	stopLimit = 20 * time.Second
	// commandLimit bounds one administration command.
	commandLimit = 30 * time.Second
)

// Password is that of every person a test makes.
const Password = "three lamps behind an oriel"

// Oriel is one running installation.
type Oriel struct {
	// URL is the public URL, without a slash at its end.
	URL string
	// DataDir is the folder of its state.
	DataDir string

	t     testing.TB
	flags []string
	// http asks readyz; listen is the address, "" for that in URL.
	http   *http.Client
	listen string
	// env is the environment of its processes.
	env []string
	// behind says that a proxy has the public URL, and URL is another one.
	behind bool
	// each are the processes behind the proxy, where it is several.
	each []*Oriel
	cmd  *exec.Cmd
	done chan error
	out  *lockedBuffer
	logs *lockedBuffer
}

// lockedBuffer is written by a process and read by a test.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var announced = regexp.MustCompile(`Oriel is running at (http\S+)`)

var listening = regexp.MustCompile(`"msg":"serving".*"listen":"([^"]+)"`)

// StartOriel starts the program with an empty data directory on a free port,
// with more flags of "oriel serve" if given, and stops it when the test ends.
// If the test has failed, what the program logged is shown. Where
// ReplicasVariable says so it is several, on one PostgreSQL behind a proxy.
func StartOriel(t testing.TB, flags ...string) *Oriel {
	t.Helper()
	if n := Processes(t); n > 1 {
		r := StartReplicas(t, n, flags...)
		r.each = r.Each
		return r.Oriel
	}
	o := &Oriel{t: t, DataDir: filepath.Join(t.TempDir(), "data"), flags: flags, http: http.DefaultClient, env: environment()}
	if pgtest.Wanted() {
		o.env = append(o.env, "ORIEL_DATABASE_URL="+pgtest.Empty(t))
	}
	// A start is used by others, ports go to who comes first: 0 lets the
	// program take a free one itself.
	o.start("127.0.0.1:0")
	o.stopAtEnd()
	return o
}

// StartOrielTLS is StartOriel for a server that answers HTTPS at listen, as
// flags say. client trusts its certificate and finds it.
func StartOrielTLS(t testing.TB, client *http.Client, listen string, flags ...string) *Oriel {
	t.Helper()
	o := &Oriel{t: t, DataDir: filepath.Join(t.TempDir(), "data"), flags: flags, http: client, listen: listen, env: environment()}
	o.start(listen)
	o.stopAtEnd()
	return o
}

func (o *Oriel) stopAtEnd() {
	o.t.Cleanup(func() {
		if o.cmd != nil {
			o.Stop()
		}
		if o.t.Failed() {
			o.t.Logf("what oriel serve printed:\n%s", tail(o.out.String()+o.logs.String()))
		}
	})
}

// tail keeps the end of a long text.
func tail(s string) string {
	const most = 16 << 10
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (o *Oriel) start(listen string) {
	o.t.Helper()
	o.out, o.logs = new(lockedBuffer), new(lockedBuffer)
	args := append([]string{"serve", "--listen", listen, "--data-dir", o.DataDir}, o.flags...)
	cmd := exec.Command(Binary(o.t), args...)
	cmd.Stdout, cmd.Stderr = o.out, o.logs
	cmd.Env = o.env
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.cmd, o.done = cmd, make(chan error, 1)
	go func() { o.done <- cmd.Wait() }()

	Within(o.t, startLimit, "oriel serve announces itself", func() error {
		if err := o.exited(); err != nil {
			return err
		}
		m := announced.FindStringSubmatch(o.out.String())
		if m == nil {
			return errors.New("it printed no address yet")
		}
		at := m[1]
		if o.behind {
			if m = listening.FindStringSubmatch(o.logs.String()); m == nil {
				return errors.New("it logged no address yet")
			}
			at = "http://" + m[1]
		}
		if o.URL != at { // others read it while a process is started again
			o.URL = at
		}
		return nil
	})
	o.Ready(startLimit)
}

// exited fails the test if the process is gone.
func (o *Oriel) exited() error {
	select {
	case err := <-o.done:
		o.cmd = nil
		o.t.Fatalf("oriel serve ended by itself: %v\n%s", err, tail(o.out.String()+o.logs.String()))
		return err
	default:
		return nil
	}
}

// environment is that of the test without settings of Oriel, which would
// change what is tested.
func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ORIEL_") {
			env = append(env, e)
		}
	}
	return env
}

// Environment returns the environment for commands on the installation.
func (o *Oriel) Environment() []string { return slices.Clone(o.env) }

// Ready waits until /readyz says that everything works.
func (o *Oriel) Ready(limit time.Duration) {
	o.t.Helper()
	Within(o.t, limit, "readyz", func() error {
		if o.cmd != nil {
			_ = o.exited()
		}
		resp, err := o.http.Get(o.URL + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return nil
	})
}

// Stop ends the program with SIGTERM and fails the test if it takes too long
// or reports a failure.
func (o *Oriel) Stop() {
	o.t.Helper()
	cmd := o.cmd
	o.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		o.t.Errorf("stop oriel serve: %v", err)
	}
	select {
	case err := <-o.done:
		if err != nil {
			o.t.Errorf("oriel serve after SIGTERM: %v", err)
		}
	case <-time.After(stopLimit):
		o.t.Errorf("oriel serve did not stop within %s of SIGTERM", stopLimit)
		_ = cmd.Process.Kill()
		<-o.done
	}
}

// Restart stops the program and starts it again at the same address with the
// same data.
// Several processes are restarted one after the other.
func (o *Oriel) Restart() {
	o.t.Helper()
	if len(o.each) > 0 {
		for _, one := range o.each {
			one.Restart()
		}
		return
	}
	o.Stop()
	o.start(cmp.Or(o.listen, strings.TrimPrefix(o.URL, "http://")))
}

// Printed returns what the program wrote to standard output.
func (o *Oriel) Printed() string { return o.out.String() }

// Logged returns what the program wrote to standard error.
func (o *Oriel) Logged() string { return o.logs.String() }

var ownerLink = regexp.MustCompile(`http\S+/login/setup\?token=\S+`)

// OwnerLink returns the one-time link that the first start prints.
func (o *Oriel) OwnerLink() string {
	o.t.Helper()
	link := ownerLink.FindString(o.out.String())
	if link == "" {
		o.t.Fatalf("the first start printed no link for the owner:\n%s", o.out.String())
	}
	return link
}

// MCPURL returns the address of the MCP server, or of one team's own.
func (o *Oriel) MCPURL(team ...string) string {
	if len(team) == 1 {
		return o.URL + "/mgmt/api/v1/teams/" + team[0] + "/mcp"
	}
	return o.URL + "/mgmt/api/v1/mcp"
}

// Command runs an administration command and returns its output and its
// error. Standard input is stdin.
func (o *Oriel) Command(stdin string, args ...string) (stdout, stderr string, err error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	var out, logs bytes.Buffer
	cmd := exec.CommandContext(ctx, Binary(o.t), append(args, "--data-dir", o.DataDir)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &logs
	cmd.Env = o.env
	err = cmd.Run()
	return out.String(), logs.String(), err
}

// Admin runs an administration command that must succeed and returns its
// standard output.
func (o *Oriel) Admin(args ...string) string {
	o.t.Helper()
	return o.AdminInput("", args...)
}

// AdminInput is Admin with something on standard input.
func (o *Oriel) AdminInput(stdin string, args ...string) string {
	o.t.Helper()
	out, logs, err := o.Command(stdin, args...)
	if err != nil {
		o.t.Fatalf("oriel %s: %v\n%s%s", strings.Join(args, " "), err, out, logs)
	}
	return out
}

// AdminJSON runs an administration command with --json and decodes its answer.
func AdminJSON[T any](o *Oriel, args ...string) T {
	o.t.Helper()
	var v T
	out := o.Admin(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		o.t.Fatalf("oriel %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
	return v
}

// AddPerson adds a person with Password.
func (o *Oriel) AddPerson(email, name string) {
	o.t.Helper()
	o.AdminInput(Password+"\n", "user", "add", "--email", email, "--name", name, "--password-stdin")
}

// AddTeam adds a team.
func (o *Oriel) AddTeam(slug, name string) {
	o.t.Helper()
	o.Admin("team", "add", "--slug", slug, "--name", name)
}

// SetMember gives a person exactly these roles in a team.
func (o *Oriel) SetMember(team, email, roles string) {
	o.t.Helper()
	o.Admin("member", "set", "--team", team, "--email", email, "--role", roles)
}

// Grant is a connection as "oriel grant list --json" shows it.
type Grant struct {
	ID         string `json:"id"`
	Email      string `json:"email"`
	Client     string `json:"client"`
	ClientName string `json:"client_name"`
	Team       string `json:"team"`
	Resource   string `json:"resource"`
	Scope      string `json:"scope"`
}

// Grants lists the connections; filter is more flags, e.g. "--team", "web".
func (o *Oriel) Grants(filter ...string) []Grant {
	o.t.Helper()
	return AdminJSON[[]Grant](o, append([]string{"grant", "list"}, filter...)...)
}

// EnginePID returns the process id of the log engine, a child of the server.
func (o *Oriel) EnginePID() (int, error) { return o.enginePID("logs") }

func (o *Oriel) enginePID(signal string) (int, error) {
	o.t.Helper()
	pid := o.cmd.Process.Pid
	// Linux only, as the engine's supervision by a parent-death signal is.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended meanwhile
		}
		for child := range strings.FieldsSeq(string(text)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err != nil || !bytes.Contains(line, []byte("\x00engine\x00")) || !bytes.Contains(line, []byte("telemetry/"+signal+"\x00")) {
				continue
			}
			return strconv.Atoi(child)
		}
	}
	return 0, errors.New("the server has no engine as a child")
}

// KillEngine kills the log engine as the kernel does when memory runs out.
func (o *Oriel) KillEngine() { o.KillEngineOf("logs") }

// KillEngineOf kills the engine of logs or spans.
func (o *Oriel) KillEngineOf(signal string) {
	o.t.Helper()
	pid, err := o.enginePID(signal)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		o.t.Fatal(err)
	}
}

// Kill ends the program as a power cut would, without a chance to say
// goodbye. Start brings it back.
func (o *Oriel) Kill() {
	o.t.Helper()
	cmd := o.cmd
	o.cmd = nil
	if err := cmd.Process.Kill(); err != nil {
		o.t.Fatal(err)
	}
	<-o.done
}

// Start starts a program that was killed, at the same address with the same
// data.
func (o *Oriel) Start() {
	o.t.Helper()
	o.start(cmp.Or(o.listen, strings.TrimPrefix(o.URL, "http://")))
}
