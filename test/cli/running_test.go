package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// finding is a check of the doctor.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Next   string `json:"next"`
}

// doctor examines an installation and returns its findings by their check,
// and whether it ended well.
func doctor(t *testing.T, o *testenv.Oriel, flags ...string) (found map[string]finding, well bool) {
	t.Helper()
	args := append([]string{"doctor", "--json", "--listen", strings.TrimPrefix(o.URL, "http://")}, flags...)
	out, logs, err := o.Command("", args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("doctor: %v\n%s", err, logs)
	}
	var list []finding
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	found = make(map[string]finding)
	for _, f := range list {
		found[f.Check] = f
	}
	return found, err == nil
}

// TestDoctorOfARunningServer: what the doctor says about a server that runs
// well, that has lost its engine, and that does not run.
func TestDoctorOfARunningServer(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AddTeam("web", "Web")
	found, well := doctor(t, o)
	if well || found["owner"].State != "fail" || !strings.Contains(found["owner"].Next, "oriel user add --owner") {
		t.Errorf("without an owner: well %t, %+v", well, found["owner"])
	}
	o.AdminInput(testenv.Password+"\n", "user", "add", "--owner", "--email", "owner@example.com", "--name", "Owner", "--password-stdin")
	found, well = doctor(t, o)
	if !well {
		t.Errorf("a server that is well: %+v", found)
	}
	for _, check := range []string{"data directory", "disk space", "migrations", "master key", "integrity", "signing key", "owner", "teams", "public URL", "clock", "server"} {
		if found[check].State != "ok" && check != "disk space" { // that is for the machine to say
			t.Errorf("%s: %+v", check, found[check])
		}
	}
	if !strings.Contains(found["server"].Detail, "ready") {
		t.Errorf("server: %+v", found["server"])
	}

	// Another program at the address that was given.
	if found, _ = doctor(t, o, "--listen", "127.0.0.1:1"); found["server"].State != "warn" {
		t.Errorf("at an address where nobody listens: %+v", found["server"])
	}

	// Without its engine the server runs and is not ready. It is started again
	// at once at first, and after a while each time that it is lost.
	testenv.Within(t, 20*time.Second, "the doctor sees that the engine is gone", func() error {
		if pid, err := o.EnginePID(); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if found, well := doctor(t, o); well || found["server"].State != "fail" || !strings.Contains(found["server"].Detail, "not ready") {
			return fmt.Errorf("well %t, %+v", well, found["server"])
		}
		return nil
	})
	o.Ready(30 * time.Second)

	// Others can read the data.
	if err := os.Chmod(o.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if found, well = doctor(t, o); well || found["data directory"].State != "fail" || !strings.Contains(found["data directory"].Next, "chmod 700") {
		t.Errorf("a directory that others can read: well %t, %+v", well, found["data directory"])
	}
	if err := os.Chmod(o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}

	o.Stop()
	if found, well = doctor(t, o); !well || found["server"].State != "warn" || found["integrity"].State != "ok" {
		t.Errorf("a server that is stopped: well %t, %+v, %+v", well, found["server"], found["integrity"])
	}
}

// event is a line of the audit.
type event struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	By      string    `json:"actor_kind"`
	ActorID string    `json:"actor_id"`
	Kind    string    `json:"kind"`
	Target  string    `json:"target"`
	Team    string    `json:"team"`
	Address string    `json:"address"`
	Detail  string    `json:"detail"`
}

// follow starts "oriel audit --follow" and returns the events that it prints,
// and a function that interrupts it.
func follow(t *testing.T, o *testenv.Oriel, flags ...string) (events <-chan string, interrupt func() error) {
	t.Helper()
	cmd := exec.Command(testenv.Binary(t), append([]string{"audit", "--follow", "--data-dir", o.DataDir}, flags...)...)
	cmd.Env = o.Environment()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, ended := make(chan string, 100), false
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	interrupt = func() error {
		ended = true
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		for range lines { // what it still prints
		}
		return cmd.Wait()
	}
	t.Cleanup(func() {
		if !ended {
			_ = interrupt()
		}
	})
	return lines, interrupt
}

// next waits for an event of a kind and returns the line as well.
func next(t *testing.T, lines <-chan string, kind string) (event, string) {
	t.Helper()
	limit := time.After(5 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("it ended before it printed %s", kind)
			}
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if e.Kind == kind {
				return e, line
			}
		case <-limit:
			t.Fatalf("%s was not printed", kind)
		}
	}
}

// TestAuditFollowsARunningServer: what the server and the shell do is printed
// as it happens, over a restart of the server, until somebody interrupts it.
func TestAuditFollowsARunningServer(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AddTeam("before", "Before")
	lines, interrupt := follow(t, o, "--json")
	next(t, lines, "team.created") // what there was comes first
	only, stopOnly := follow(t, o, "--json", "--kind", "service.connected")

	o.AddTeam("web", "Web")
	e, _ := next(t, lines, "team.created")
	if e.Team != "web" || e.By != "shell" || e.ActorID == "" || time.Since(e.At).Abs() > time.Minute {
		t.Errorf("%+v", e)
	}

	// Something that the server does.
	c := testenv.AdminJSON[struct {
		ID     string `json:"client_id"`
		Key    string `json:"key"`
		Secret string `json:"client_secret"`
	}](o, "client", "add", "--name", "Nightly report", "--team", "web", "--role", "viewer")
	last, _ := next(t, lines, "client.registered")
	tokens := o.Token(t, c.ID, url.Values{"grant_type": {"client_credentials"}, "client_secret": {c.Secret}})
	if tokens.Status != 200 {
		t.Fatalf("%+v", tokens)
	}
	e, line := next(t, lines, "service.connected")
	if e.By != "client" || e.ActorID != c.Key || e.Team != "web" || e.Address != "127.0.0.1" || e.Seq <= last.Seq {
		t.Errorf("%+v", e)
	}
	if strings.Contains(line, c.Secret) || strings.Contains(line, tokens.AccessToken) {
		t.Errorf("a secret is recorded: %s", line)
	}
	if again, _ := next(t, only, "service.connected"); again != e {
		t.Errorf("with --kind: %+v, want %+v", again, e)
	}

	o.Restart()
	o.Admin("client", "revoke", "--id", c.ID)
	if e, _ := next(t, lines, "client.revoked"); e.Target != c.Key {
		t.Errorf("%+v", e)
	}
	for _, stop := range []func() error{interrupt, stopOnly} {
		if err := stop(); err != nil {
			t.Errorf("interrupted: %v", err)
		}
	}
	if line, more := <-only; more {
		t.Errorf("--kind printed %s", line)
	}

	// As a table, each event once, under one heading.
	table, stop := follow(t, o, "--kind", "team.created")
	testenv.Within(t, 5*time.Second, "the table", func() error {
		if len(table) < 3 {
			return fmt.Errorf("%d lines so far", len(table))
		}
		return nil
	})
	if head := <-table; !strings.HasPrefix(head, "TIME ") {
		t.Errorf("heading %q", head)
	}
	o.AddTeam("after", "After")
	var seen []string
	testenv.Within(t, 5*time.Second, "the new team", func() error {
		for len(table) > 0 {
			seen = append(seen, <-table)
		}
		if len(seen) != 3 || !strings.Contains(seen[2], "after") {
			return fmt.Errorf("lines %q", seen)
		}
		return nil
	})
	if err := stop(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}
