package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry/disk"
	"github.com/orielhq/oriel/internal/telemetry/spool"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// EngineSettings is what the engine's process is told.
type EngineSettings struct {
	DataDir, Socket string
	Retention       time.Duration
	MemoryBytes     int64
	// MinFreeBytes of disk stay free; 0 is the engine's default.
	MinFreeBytes int64
}

// RunEngine runs the engine in this process until ctx is done or parent ends.
func RunEngine(ctx context.Context, s EngineSettings, parent io.Reader) error {
	return victoria.RunEngine(ctx, victoria.EngineConfig{
		DataDir: s.DataDir, Socket: s.Socket, Parent: parent, Retention: s.Retention, MemoryBytes: s.MemoryBytes, MinFreeBytes: s.MinFreeBytes,
	})
}

// EngineCommand makes the command that runs RunEngine with the settings.
type EngineCommand func(context.Context, EngineSettings) *exec.Cmd

const (
	// drainTimeout is how long a stopping server hands over what waits in a
	// spool; what is left is handed over by the next one.
	drainTimeout = 2 * time.Second
	// spoolWait is how long a start waits for another process, e.g. an
	// import, that has a spool open.
	spoolWait = 10 * time.Second
	spoolPoll = 50 * time.Millisecond
)

// engineConfig says which engine to run.
type engineConfig struct {
	// signal is what it stores: logs or spans.
	signal    string
	dir       string // of its files
	spool     string // folder of its spool
	store     *config.Store
	options   *config.Telemetry
	retention time.Duration
	// memory is the engine's share of what telemetry may use, in percent.
	memory     int64
	command    EngineCommand
	watermark  *disk.Watermark
	log        *slog.Logger
	registerer prometheus.Registerer
}

// An engine is a child process or one on another machine, a client of it, and
// the spool in front of it. The server works without it, telemetry apart.
type engine struct {
	signal string
	// supervisor is of a child process, remote of another machine's engine.
	supervisor *victoria.Supervisor
	remote     *remoteState
	client     *victoria.Client
	spool      *spool.Spool
}

// startEngine starts an engine over the data directory.
func startEngine(ctx context.Context, c engineConfig) (*engine, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	limit, err := c.options.SpoolBytes()
	if err != nil {
		return nil, err
	}
	e := &engine{signal: c.signal}
	e.client, err = victoria.NewClient(victoria.ClientConfig{Socket: settings.Socket, Retention: settings.Retention})
	if err != nil {
		return nil, fmt.Errorf("connect to the %s engine: %w", c.signal, err)
	}
	// Before the engine: whoever has the spool open also has the engine.
	e.spool, err = openSpool(ctx, spool.Config{
		Name: c.signal, Dir: c.store.Path(c.spool), Sink: e.client, MaxBytes: limit, Settle: victoria.WrittenAfter,
		Check: c.watermark.Check, Logger: c.log, Registerer: c.registererOf("embedded"),
	})
	if err != nil {
		return nil, err
	}
	e.supervisor, err = victoria.Supervise(victoria.SupervisorConfig{
		Command: func(ctx context.Context) *exec.Cmd { return c.command(ctx, settings) },
		Socket:  settings.Socket,
		Name:    c.signal + " engine",
		Logger:  c.log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s engine: %w", c.signal, err), e.stop(ctx))
	}
	return e, nil
}

// registererOf tells the metrics of an engine's spool from those of another's
// of the same signal.
func (c engineConfig) registererOf(engine string) prometheus.Registerer {
	if c.registerer == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"engine": engine}, c.registerer)
}

func (c engineConfig) settings() (EngineSettings, error) {
	dir := c.store.Path(c.dir)
	socket, err := victoria.SocketPath(dir)
	if err != nil {
		return EngineSettings{}, err
	}
	memory, err := c.options.EngineMemory()
	if err != nil {
		return EngineSettings{}, err
	}
	free, err := c.options.MinFreeBytes()
	if err != nil {
		return EngineSettings{}, err
	}
	return EngineSettings{
		DataDir: dir, Socket: socket, Retention: c.retention, MemoryBytes: memory * c.memory / 100,
		// Below the watermark: what the spool took, the engine must take too.
		MinFreeBytes: max(free/2, 1),
	}, nil
}

// openSpool waits a little for a process that is about to leave.
func openSpool(ctx context.Context, c spool.Config) (*spool.Spool, error) {
	ctx, cancel := context.WithTimeout(ctx, spoolWait)
	defer cancel()
	for {
		s, err := spool.Open(c)
		if !errors.Is(err, spool.ErrLocked) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the telemetry of this data directory is in use by another process, a server or an import; wait for it or stop it: %w", err)
		case <-time.After(spoolPoll):
		}
	}
}

// stop ends the engine. What it has surely written is not delivered again at
// the next start.
func (e *engine) stop(ctx context.Context) error {
	var errs []error
	drain, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	starts := 0
	if e.remote != nil {
		e.remote.end()
		if e.remote.trouble() != "" {
			cancel()
		}
	}
	if e.supervisor != nil {
		starts, _ = e.supervisor.Starts()
		if ok, _ := e.supervisor.Ready(); !ok {
			cancel() // nobody takes anything
		}
	}
	drained := e.spool.Stop(drain) // what is left stays in the spool
	// What another machine's engine has taken is its own to keep.
	written := e.remote != nil && drained == nil
	if e.supervisor != nil {
		errs = append(errs, e.supervisor.Stop(ctx))
		n, clean := e.supervisor.Starts()
		written = drained == nil && clean && n == starts
	}
	e.client.Close()
	return errors.Join(append(errs, e.spool.Close(written))...)
}

// ready says why the engine does not answer or takes nothing in, "" where
// all is well.
func (e *engine) ready() (engine, spool string) {
	if e.remote != nil {
		engine = e.remote.trouble()
	} else if ok, reason := e.supervisor.Ready(); !ok {
		engine = reason
	}
	if err := e.spool.Ready(); err != nil {
		spool = err.Error()
	}
	return engine, spool
}

// keyChecker asks the gate about ingest keys in the words of package ingest.
type keyChecker struct{ gate *access.Gate }

// CheckKey implements ingest.KeyChecker.
func (k keyChecker) CheckKey(ctx context.Context, key string) (ingest.Key, error) {
	use, err := k.gate.CheckKey(ctx, org.KeySecret(key))
	if errors.Is(err, access.ErrKeyUnknown) {
		return ingest.Key{}, ingest.ErrKeyRefused
	}
	return ingest.Key{ID: string(use.ID), Tenant: use.Tenant, Signals: use.Signals, BytesPerSecond: use.BytesPerSecond}, err
}
