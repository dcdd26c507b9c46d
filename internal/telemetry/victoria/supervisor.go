package victoria

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"
)

// Timing of a Supervisor.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
	// healthyAfter is how long a child must have run for the next restart to
	// be immediate again.
	healthyAfter = time.Minute
	// readyPoll is how often a starting child is asked whether it is up.
	readyPoll = 20 * time.Millisecond
	// probePeriod is how often a child that is up is asked whether it still
	// answers, and probeTimeout how long it may take.
	probePeriod  = time.Second
	probeTimeout = 2 * time.Second
	// DefaultHungAfter is when a child that does not answer is killed: longer
	// than a machine under load may be silent.
	DefaultHungAfter = time.Minute
	// stopGrace is how long a child may take to write its rows to disk.
	stopGrace = exitTimeout + 5*time.Second
	// maxLogLineBytes of a child's line reach our log: long lines quote rows.
	maxLogLineBytes = 300
)

// SupervisorConfig says which child to keep running.
type SupervisorConfig struct {
	// Command makes a command that runs RunEngine with its standard input as
	// Parent. Stdin and Stderr are set by the supervisor. ctx ends when the
	// supervisor gives up waiting, and then kills.
	Command func(ctx context.Context) *exec.Cmd
	// Socket is where the child listens.
	Socket string
	// Name is what the engine is called in messages; empty is "log engine".
	Name string
	// HungAfter is how long a child that was up may not answer before it is
	// killed, to be started again; 0 is DefaultHungAfter.
	HungAfter time.Duration
	// Logger gets the child's lines and what happens to it.
	Logger *slog.Logger
}

// A Supervisor keeps an engine's process running until it is stopped. Its
// methods are safe for concurrent use.
type Supervisor struct {
	cfg    SupervisorConfig
	client *Client

	stopping context.Context // ends when the child shall stop
	stop     context.CancelFunc
	killing  context.Context // ends when the child shall die
	kill     context.CancelFunc
	stopped  chan struct{}

	mu     sync.Mutex // guards the rest
	ready  bool
	reason string
	pid    int
	starts int
	clean  bool // the last child left without an error
}

// Supervise starts the engine and returns at once: Ready says when it is up.
// The caller must call Stop.
func Supervise(cfg SupervisorConfig) (*Supervisor, error) {
	if cfg.Command == nil || cfg.Socket == "" || cfg.Logger == nil {
		return nil, errors.New("supervise the engine: Command, Socket and Logger are needed")
	}
	client, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		return nil, err
	}
	if cfg.Name == "" {
		cfg.Name = "log engine"
	}
	if cfg.HungAfter == 0 {
		cfg.HungAfter = DefaultHungAfter
	}
	s := &Supervisor{cfg: cfg, client: client, stopped: make(chan struct{}), reason: "the " + cfg.Name + " is starting"}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.killing, s.kill = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// Ready reports whether the engine answers, and if not, why.
func (s *Supervisor) Ready() (ok bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready, s.reason
}

// PID returns the child's process id, 0 while there is none.
func (s *Supervisor) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Starts returns how many children there have been, and whether the last one
// has left in good order: then it has written everything to disk.
func (s *Supervisor) Starts() (n int, clean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts, s.clean
}

// WaitReady returns when the engine answers, or with ctx's error.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		ok, reason := s.Ready()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", reason, ctx.Err())
		case <-s.stopped:
			return errors.New("the " + s.cfg.Name + " was stopped")
		case <-tick.C:
		}
	}
}

// Stop ends the child: it is asked to write its rows and leave, and killed
// when ctx ends first. It returns when the child is gone.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.stop()
	grace, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	defer s.client.Close()
	select {
	case <-s.stopped:
		s.kill()
		return nil
	case <-grace.Done():
		s.kill()
		<-s.stopped
		return fmt.Errorf("the %s was killed because it did not stop: %w", s.cfg.Name, grace.Err())
	}
}

func (s *Supervisor) set(ready bool, pid int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.pid, s.reason = ready, pid, reason
}

func (s *Supervisor) run() {
	defer close(s.stopped)
	backoff := minBackoff
	for s.stopping.Err() == nil {
		started := time.Now()
		err := s.runOnce()
		if s.stopping.Err() != nil {
			s.set(false, 0, "the "+s.cfg.Name+" is stopped")
			return
		}
		if time.Since(started) >= healthyAfter {
			backoff = minBackoff
		}
		s.set(false, 0, "the "+s.cfg.Name+" ended and is being restarted")
		s.cfg.Logger.Error("the "+s.cfg.Name+" ended, restarting it", "error", err, "in", backoff)
		select {
		case <-s.stopping.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// runOnce runs one child until it ends.
func (s *Supervisor) runOnce() error {
	cmd := s.cfg.Command(s.killing)
	// The child reads its standard input until we close it or are gone.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("connect to the engine: %w", err)
	}
	defer stdin.Close()
	lines := &lineLogger{logger: s.cfg.Logger, name: s.cfg.Name}
	defer lines.flush()
	cmd.Stderr = lines
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	s.mu.Lock()
	s.starts, s.clean = s.starts+1, false
	s.mu.Unlock()
	s.set(false, cmd.Process.Pid, "the "+s.cfg.Name+" is starting")

	ended := make(chan struct{})
	hung := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if s.awaitReady(ended, cmd.Process.Pid) {
			s.probe(ended, hung, cmd.Process.Pid)
		}
	})
	wg.Go(func() {
		select {
		case <-ended:
			return
		case <-hung:
			_ = cmd.Process.Kill()
			return
		case <-s.stopping.Done():
		}
		_ = stdin.Close()
		select {
		case <-ended:
		case <-s.killing.Done():
			_ = cmd.Process.Kill()
		}
	})
	err = cmd.Wait()
	close(ended)
	wg.Wait()
	s.mu.Lock()
	s.clean = err == nil
	s.mu.Unlock()
	if err == nil {
		err = errors.New("it left by itself")
	}
	return err
}

// awaitReady returns when the child answers, false when it never will.
func (s *Supervisor) awaitReady(ended <-chan struct{}, pid int) bool {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if s.answers(time.Second) {
			s.set(true, pid, "")
			s.cfg.Logger.Info("the "+s.cfg.Name+" is ready", "pid", pid)
			return true
		}
		select {
		case <-ended:
			return false
		case <-s.stopping.Done():
			return false
		case <-tick.C:
		}
	}
}

// probe asks a child that is up, again and again, whether it still answers,
// and closes hung when it has not for too long.
func (s *Supervisor) probe(ended <-chan struct{}, hung chan<- struct{}, pid int) {
	tick := time.NewTicker(probePeriod)
	defer tick.Stop()
	last, silent := time.Now(), false
	for {
		select {
		case <-ended:
			return
		case <-s.stopping.Done():
			return
		case <-tick.C:
		}
		answers := s.answers(probeTimeout)
		switch {
		case s.stopping.Err() != nil:
			return
		case answers:
			if silent {
				s.set(true, pid, "")
				s.cfg.Logger.Info("the "+s.cfg.Name+" answers again", "pid", pid)
			}
			last, silent = time.Now(), false
		case time.Since(last) >= s.cfg.HungAfter:
			s.cfg.Logger.Error("the "+s.cfg.Name+" hangs, killing it", "pid", pid, "silent", time.Since(last).Round(time.Second))
			close(hung)
			return
		case !silent:
			silent = true
			s.set(false, pid, "the "+s.cfg.Name+" does not answer")
			s.cfg.Logger.Warn("the "+s.cfg.Name+" does not answer", "pid", pid)
		}
	}
}

// answers asks the child once.
func (s *Supervisor) answers(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.stopping, timeout)
	defer cancel()
	return s.client.Ready(ctx) == nil
}

// lineLogger sends the lines written to it to a log, each cut short.
type lineLogger struct {
	logger *slog.Logger
	name   string
	line   []byte // what of the unfinished line will be logged
}

func (l *lineLogger) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, full := bytes.Cut(p, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLogLineBytes-len(l.line))]...)
		if full {
			l.flush()
		}
		p = rest
	}
	return n, nil
}

func (l *lineLogger) flush() {
	if len(l.line) > 0 {
		level := slog.LevelWarn
		if bytes.Contains(l.line, []byte(" INFO: ")) {
			// Its libraries' remarks about the machine at each start.
			level = slog.LevelDebug
		}
		l.logger.Log(context.Background(), level, l.name+": "+string(bytes.ToValidUTF8(l.line, []byte("?"))))
	}
	l.line = l.line[:0]
}
