package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// EngineSettings is what the engine's process is told.
type EngineSettings struct {
	DataDir, Socket string
	Retention       time.Duration
	MemoryBytes     int64
}

// RunEngine runs the engine in this process until ctx is done or parent ends.
func RunEngine(ctx context.Context, s EngineSettings, parent io.Reader) error {
	return victoria.RunEngine(ctx, victoria.EngineConfig{
		DataDir: s.DataDir, Socket: s.Socket, Parent: parent, Retention: s.Retention, MemoryBytes: s.MemoryBytes,
	})
}

// startEngine starts the engine over the data directory as a child process,
// and a client of it. The server works without it, telemetry apart.
func (s *Server) startEngine() error {
	settings, err := engineSettings(&s.Settings.Store, &s.Settings.Telemetry)
	if err != nil {
		return err
	}
	s.engine, s.logs, err = superviseEngine(settings, s.Engine, s.log)
	return err
}

func engineSettings(c *config.Store, t *config.Telemetry) (EngineSettings, error) {
	dir := c.Path(logsDir)
	socket, err := victoria.SocketPath(dir)
	if err != nil {
		return EngineSettings{}, err
	}
	memory, err := t.EngineMemory()
	if err != nil {
		return EngineSettings{}, err
	}
	return EngineSettings{DataDir: dir, Socket: socket, Retention: t.Retention, MemoryBytes: memory}, nil
}

// EngineCommand makes the command that runs RunEngine with the settings.
type EngineCommand func(context.Context, EngineSettings) *exec.Cmd

func superviseEngine(settings EngineSettings, command EngineCommand, log *slog.Logger) (*victoria.Supervisor, *victoria.Client, error) {
	supervisor, err := victoria.Supervise(victoria.SupervisorConfig{
		Command: func(ctx context.Context) *exec.Cmd { return command(ctx, settings) },
		Socket:  settings.Socket,
		Logger:  log,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start the log engine: %w", err)
	}
	client, err := victoria.NewClient(victoria.ClientConfig{Socket: settings.Socket, Retention: settings.Retention})
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the log engine: %w", err)
	}
	return supervisor, client, nil
}

// keyChecker asks the gate about ingest keys in the words of package ingest.
type keyChecker struct{ gate *access.Gate }

// CheckKey implements ingest.KeyChecker.
func (k keyChecker) CheckKey(ctx context.Context, key string) (telemetry.TenantID, error) {
	tenant, err := k.gate.CheckKey(ctx, org.KeySecret(key))
	if errors.Is(err, access.ErrKeyUnknown) {
		return 0, ingest.ErrKeyRefused
	}
	return tenant, err
}
