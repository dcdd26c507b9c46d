package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/disk"
	"github.com/orielhq/oriel/internal/telemetry/spool"
)

// Names inside the data directory.
const (
	telemetryDir = "telemetry"
	logsDir      = "telemetry/logs"
	logSpoolDir  = "telemetry/spool/logs"
)

// logMemory is the log engine's share of the telemetry's memory, in percent.
const logMemory = 100

// telemetryConfig is what the telemetry store of one process needs.
type telemetryConfig struct {
	store      *config.Store
	options    *config.Telemetry
	command    EngineCommand
	log        *slog.Logger
	registerer prometheus.Registerer
}

// telemetryStore is everything that keeps telemetry: one process has it open
// at a time, a server or, where none runs, an import.
type telemetryStore struct {
	watermark *disk.Watermark
	logs      *engine
}

func openTelemetry(ctx context.Context, c telemetryConfig) (t *telemetryStore, err error) {
	free, err := c.options.MinFreeBytes()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.store.Path(telemetryDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the telemetry's folder: %w", err)
	}
	t = &telemetryStore{watermark: disk.New(c.store.Path(telemetryDir), free, c.log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close(context.WithoutCancel(ctx)))
			t = nil
		}
	}()
	t.logs, err = startEngine(ctx, engineConfig{
		signal: "log", dir: logsDir, spool: logSpoolDir, store: c.store, options: c.options, memory: logMemory,
		command: c.command, watermark: t.watermark, log: c.log, registerer: c.registerer,
	})
	return t, err
}

// openTelemetry opens the server's telemetry store and the inlet to it.
func (s *Server) openTelemetry(ctx context.Context) (err error) {
	s.telemetry, err = openTelemetry(ctx, telemetryConfig{
		store: &s.Settings.Store, options: &s.Settings.Telemetry, command: s.Engine, log: s.log, registerer: s.registry,
	})
	if err != nil {
		return err
	}
	s.inlet, err = listenInlet(&s.Settings.Store)
	return err
}

// close stops everything, as far as it was started.
func (t *telemetryStore) close(ctx context.Context) error {
	if t.logs == nil {
		return nil
	}
	return t.logs.stop(ctx)
}

// logWriter returns what takes log records: when it returns, they are safe.
func (t *telemetryStore) logWriter() telemetry.Writer {
	return spool.LogWriter{Spool: t.logs.spool, Encode: t.logs.client.EncodeLogs}
}
