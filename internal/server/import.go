package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/logfile"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

const (
	// engineStart is how long an engine that an import starts may take.
	engineStart = 30 * time.Second
	// engineFinish is how long it may take to hand over and write everything.
	engineFinish = 2 * time.Minute
	// importPause is waited at least where the server takes nothing now.
	importPause = 200 * time.Millisecond
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

// Import brings log files into the telemetry store: through a running server,
// or through an engine of its own where none runs. When it returns, what it
// counts as stored is on disk and can be found.
func Import(ctx context.Context, c ImportConfig) (sum logfile.Summary, err error) {
	out, err := openOutlet(ctx, c)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	c.Options.Writer, c.Options.Retention = patientWriter{out.writer}, c.Telemetry.Retention
	if sum, err = logfile.Import(ctx, c.Files, c.Options); err != nil {
		return sum, err
	}
	// Let the next query find what was imported.
	return sum, out.flush(ctx)
}

// An outlet is where an import writes to.
type outlet struct {
	writer telemetry.Writer
	flush  func(context.Context) error
	close  func() error
}

// openOutlet finds a running server, or opens the store.
func openOutlet(ctx context.Context, c ImportConfig) (*outlet, error) {
	server, ok, err := attach(ctx, &c.Store)
	if err != nil {
		return nil, err
	}
	if ok {
		encoder, err := victoria.NewClient(victoria.ClientConfig{Socket: logsDir, Retention: c.Telemetry.Retention})
		if err != nil {
			return nil, fmt.Errorf("prepare the import: %w", err)
		}
		return &outlet{
			writer: inletWriter{server, encoder}, flush: server.flush,
			close: func() error { server.close(); return nil },
		}, nil
	}
	store, err := openTelemetry(ctx, telemetryConfig{store: &c.Store, options: &c.Telemetry, command: c.Engine, log: c.Logger, keep: true, logsOnly: true})
	if err != nil {
		return nil, err
	}
	end := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineFinish)
		defer cancel()
		return store.close(ctx)
	}
	start, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	if err := store.logs.supervisor.WaitReady(start); err != nil {
		return nil, errors.Join(fmt.Errorf("start the log engine: %w", err), end())
	}
	return &outlet{writer: store.logWriter(), flush: store.flush, close: end}, nil
}

// An inletWriter writes through a running server's spool.
type inletWriter struct {
	server  *inletClient
	encoder *victoria.Client
}

// WriteLogs implements telemetry.Writer.
func (w inletWriter) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	return w.encoder.EncodeLogs(tenant, batch, func(payload []byte) error { return w.server.appendLogs(ctx, tenant, payload) })
}

// A patientWriter waits where it is asked to: a file can be read as slowly as
// the store likes.
type patientWriter struct{ telemetry.Writer }

// WriteLogs implements telemetry.Writer.
func (w patientWriter) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	for {
		err := w.Writer.WriteLogs(ctx, tenant, batch)
		overload, ok := errors.AsType[*telemetry.OverloadError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", overload, ctx.Err())
		case <-time.After(max(importPause, overload.RetryAfter)):
		}
	}
}
