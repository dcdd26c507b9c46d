package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Mortal is a server of one test's own, which can be killed and started again
// on the same data. A commit that it has acknowledged outlives its death.
type Mortal struct {
	Server
	data    string
	program string
	as      *syscall.SysProcAttr
	cmd     *exec.Cmd
	gone    chan struct{}
	log     bytes.Buffer // of the process that runs; read when it is gone
}

// NewMortal starts a server for a test, which ends with it.
func NewMortal(tb testing.TB) *Mortal {
	tb.Helper()
	initdb, err := program("initdb")
	if err != nil {
		tb.Fatal(err)
	}
	m := &Mortal{as: &syscall.SysProcAttr{}}
	if m.program, err = program("postgres"); err != nil {
		tb.Fatal(err)
	}
	if m.dir, err = os.MkdirTemp("", "oriel-pg-"); err != nil {
		tb.Fatal(err)
	}
	m.data = filepath.Join(m.dir, "data")
	tb.Cleanup(func() {
		if m.cmd != nil {
			m.Kill(tb)
		}
		if err := os.RemoveAll(m.dir); err != nil {
			tb.Error(err)
		}
	})
	if os.Getuid() == 0 {
		if m.as.Credential, err = credential("postgres"); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chown(m.dir, int(m.as.Credential.Uid), int(m.as.Credential.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	initialize := exec.Command(initdb, "-D", m.data, "-U", "oriel", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initialize.SysProcAttr, initialize.Dir = m.as, m.dir
	if out, err := initialize.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	m.Start(tb)
	return m
}

// Socket returns the path of the Unix socket that it listens on.
func (m *Mortal) Socket() string { return filepath.Join(m.dir, ".s.PGSQL.5432") }

// Start starts it and waits until it answers.
func (m *Mortal) Start(tb testing.TB) {
	tb.Helper()
	args := []string{"-D", m.data, "-k", m.dir, "-p", "5432"}
	// The machine does not fall over, only the server: what the kernel has is
	// safe without fsync, and a commit waits until the kernel has it.
	for _, setting := range []string{"listen_addresses=", "fsync=off", "synchronous_commit=on", "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal"} {
		args = append(args, "-c", setting)
	}
	m.log.Reset()
	cmd := exec.Command(m.program, args...)
	attr := *m.as
	attr.Pdeathsig = syscall.SIGQUIT // it ends with the test process, however that ends
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = &attr, m.dir, &m.log, &m.log
	// Others of its processes may hold the output after it.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	m.cmd, m.gone = cmd, make(chan struct{})
	go func() {
		defer close(m.gone)
		_ = cmd.Wait()
	}()
	deadline := time.After(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := m.Exec(context.Background(), "SELECT 1")
		if err == nil {
			return
		}
		select {
		case <-m.gone:
			tb.Fatalf("PostgreSQL ended: %v\n%s", err, m.log.String())
		case <-deadline:
			tb.Fatalf("PostgreSQL does not start: %v", err)
		case <-tick.C:
		}
	}
}

// Kill ends all of its processes with SIGKILL.
func (m *Mortal) Kill(tb testing.TB) {
	tb.Helper()
	parent := m.cmd.Process.Pid
	children, err := childrenOf(parent)
	if err != nil {
		tb.Error(err)
	}
	for _, pid := range append([]int{parent}, children...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			tb.Errorf("kill PostgreSQL: %v", err)
		}
	}
	<-m.gone
	m.cmd = nil
	for _, pid := range children {
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	// Its number may be another process's by now.
	if err := os.Remove(filepath.Join(m.data, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Error(err)
	}
}

// alive says whether a process still runs; one that nobody has asked after
// since its end does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z ")) && !bytes.Contains(stat, []byte(") X "))
}

// childrenOf returns the processes that a process has started, on Linux.
func childrenOf(pid int) ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var out []int
	for child := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// Empty returns the URL of a new database with nothing in it.
func (m *Mortal) Empty(tb testing.TB) string {
	tb.Helper()
	return m.URL(m.make(tb, "template0"))
}
