package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/orielhq/oriel/internal/access"
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

// engine starts the engine of a data directory as a child process.
func startEngine(c Config) (*victoria.Supervisor, *victoria.Client, error) {
	dir := c.Settings.Path(logsDir)
	socket, err := victoria.SocketPath(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("start the engine: %w", err)
	}
	memory, err := c.Settings.EngineMemory()
	if err != nil {
		return nil, nil, err
	}
	settings := EngineSettings{DataDir: dir, Socket: socket, Retention: c.Settings.Telemetry.Retention, MemoryBytes: memory}
	return nil, nil, errors.Join(err, fmt.Errorf("%v", settings))
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

var _ = exec.Command
