// Package victoriatest starts real VictoriaLogs clusters for tests, on
// loopback, from the module that the embedded engine is of.
package victoriatest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	program = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
	// startLimit is how long a process may take until it answers.
	startLimit = 30 * time.Second
	startPoll  = 20 * time.Millisecond
)

// A Process is one process of a cluster.
type Process struct {
	// URL is where it listens.
	URL string

	args []string
	cmd  *exec.Cmd
}

// A Cluster is two storage nodes, and the two processes before them: one takes
// rows, the other answers queries.
type Cluster struct {
	Storage        [2]*Process
	Insert, Select *Process

	dir string
}

// StartCluster starts a cluster that ends with the test. Settings are flags of
// the process that answers queries.
func StartCluster(tb testing.TB, settings ...string) *Cluster {
	tb.Helper()
	c, err := Start(settings...)
	if c != nil {
		tb.Cleanup(c.Stop)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Start is StartCluster without a test. The caller must call Stop, also after
// an error.
func Start(settings ...string) (c *Cluster, err error) {
	c = &Cluster{}
	if c.dir, err = os.MkdirTemp("", "cluster"); err != nil {
		return nil, err
	}
	binary := filepath.Join(c.dir, "victoria-logs")
	build := exec.Command("go", "build", "-o", binary, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return c, fmt.Errorf("build %s: %w: %s", program, err, out)
	}
	var nodes []string
	for i := range c.Storage {
		c.Storage[i], err = start(binary, "-storageDataPath="+filepath.Join(c.dir, fmt.Sprint("data", i)), "-retentionPeriod=100y", "-futureRetention=2d",
			"-inmemoryDataFlushInterval=1s", "-defaultMsgValue=", "-insert.maxFieldsPerLine=2000")
		if err != nil {
			return c, err
		}
		nodes = append(nodes, strings.TrimPrefix(c.Storage[i].URL, "http://"))
	}
	storage := "-storageNode=" + strings.Join(nodes, ",")
	if c.Insert, err = start(binary, storage, "-select.disable", "-defaultMsgValue=", "-insert.maxFieldsPerLine=2000"); err != nil {
		return c, err
	}
	c.Select, err = start(binary, append([]string{storage, "-insert.disable"}, settings...)...)
	return c, err
}

// Stop ends all processes and deletes their data.
func (c *Cluster) Stop() {
	for _, p := range []*Process{c.Insert, c.Select, c.Storage[0], c.Storage[1]} {
		if p != nil && p.cmd != nil {
			_ = p.Kill()
		}
	}
	_ = os.RemoveAll(c.dir)
}

// insertDelay is how long a cluster gathers rows before it sends them on, with
// room for a busy machine.
const insertDelay = 2300 * time.Millisecond

// Flush returns when what was written before it can be found.
func (c *Cluster) Flush(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(insertDelay): // nothing says when it has
	}
	for _, p := range c.Storage {
		if err := get(ctx, p.URL+"/internal/force_flush"); err != nil {
			return err
		}
	}
	return nil
}

// StartProcess starts another program that takes -httpListenAddr and answers
// at /health, such as VictoriaMetrics, and ends it with the test.
func StartProcess(tb testing.TB, binary string, args ...string) *Process {
	tb.Helper()
	p, err := start(binary, args...)
	if p != nil {
		tb.Cleanup(func() {
			if p.cmd != nil {
				_ = p.Kill()
			}
		})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func start(binary string, args ...string) (*Process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	p := &Process{URL: "http://" + address, args: append([]string{binary, "-httpListenAddr=" + address, "-loggerLevel=ERROR"}, args...)}
	return p, p.Start()
}

// Start starts the process, at the same address and over the same data as
// before, and waits until it answers.
func (p *Process) Start() error {
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for {
		err := get(ctx, p.URL+"/health")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%v does not answer: %w", p.args, err)
		case <-tick.C:
		}
	}
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

// Kill ends the process as a crash would.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait() // it says that it was killed
	p.cmd = nil
	return err
}

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }
