package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/logfile"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

const (
	// attachTimeout is how long an engine that runs may take to say so.
	attachTimeout = 2 * time.Second
	// engineStart is how long one that is started may take.
	engineStart = 30 * time.Second
)

// ImportConfig is what an import needs.
type ImportConfig struct {
	Store     config.Store
	Telemetry config.Telemetry
	Engine    EngineCommand
	Logger    *slog.Logger
	// Options say what to import; Writer is set here.
	Options logfile.ImportOptions
	Files   []string
}

// Import brings log files into the telemetry store: through the engine of a
// running server, or through one of its own where none runs.
func Import(ctx context.Context, c ImportConfig) (sum logfile.Summary, err error) {
	client, stop, err := openEngine(ctx, c)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	c.Options.Writer, c.Options.Retention = client, c.Telemetry.Retention
	if sum, err = logfile.Import(ctx, c.Files, c.Options); err != nil {
		return sum, err
	}
	// Let the next query find what was imported.
	return sum, client.Flush(ctx)
}

// openEngine finds the engine of a running server, or starts one.
func openEngine(ctx context.Context, c ImportConfig) (client *victoria.Client, stop func() error, err error) {
	settings, err := engineSettings(&c.Store, &c.Telemetry)
	if err != nil {
		return nil, nil, err
	}
	client, err = victoria.Attach(settings.DataDir, settings.Retention)
	if err != nil {
		return nil, nil, fmt.Errorf("find the log engine: %w", err)
	}
	attach, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if client.Ready(attach) == nil {
		return client, func() error { client.Close(); return nil }, nil
	}
	client.Close()
	supervisor, client, err := superviseEngine(settings, c.Engine, c.Logger)
	if err != nil {
		return nil, nil, err
	}
	stop = func() error {
		client.Close()
		return supervisor.Stop(context.WithoutCancel(ctx))
	}
	start, cancelStart := context.WithTimeout(ctx, engineStart)
	defer cancelStart()
	if err := supervisor.WaitReady(start); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start the log engine: %w", err), stop())
	}
	return client, stop, nil
}
