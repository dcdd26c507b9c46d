package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/importer"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
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
	Retention config.Retention
	Engine    EngineCommand
	Logger    *slog.Logger
	// Options say what to import; Open and Retention are set here.
	Options importer.Options
	Files   []string
	// Finishing is called when all is read and may take a while to be
	// written: where metrics are old, some seconds for each month of them.
	Finishing func()
}

// Import brings files into the telemetry store: through a running server, or
// through engines of its own where none runs. When it returns, what it counts
// as stored is on disk and can be found.
func Import(ctx context.Context, c ImportConfig) (sum importer.Summary, err error) {
	var out *outlet
	c.Options.Open = func(ctx context.Context, logsOnly bool) (w importer.Writers, err error) {
		if out, err = openOutlet(ctx, c, logsOnly); err != nil {
			return w, err
		}
		return importer.Writers{Logs: patientWriter{out}, Spans: patientWriter{out}, Metrics: patientWriter{out}}, nil
	}
	c.Options.Retention = importer.Retention{
		Logs:    c.Telemetry.Retention,
		Spans:   cmp.Or(c.Retention.Traces, c.Telemetry.Retention),
		Metrics: cmp.Or(c.Retention.Metrics, c.Telemetry.Retention),
	}
	sum, err = importer.Import(ctx, c.Files, c.Options)
	if out == nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	if sum.Total.Stored == 0 || ctx.Err() != nil {
		return sum, err
	}
	if _, ok := sum.Total.Signals["metrics"]; ok && c.Finishing != nil {
		c.Finishing()
	}
	// Let the next query find what was imported. A store that has failed is
	// not waited for.
	if err != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, engineFinish)
		defer cancel()
	}
	return sum, errors.Join(err, out.flush(ctx))
}

// An outlet is where an import writes to.
type outlet struct {
	telemetry.Writer
	telemetry.SpanWriter
	importer.MetricWriter
	flush func(context.Context) error
	close func() error
}

// openOutlet finds a running server, or opens the store.
func openOutlet(ctx context.Context, c ImportConfig, logsOnly bool) (*outlet, error) {
	server, ok, err := attach(ctx, &c.Store)
	if err != nil {
		return nil, err
	}
	if ok {
		logs, err := victoria.NewClient(victoria.ClientConfig{Socket: logsDir, Retention: c.Options.Retention.Logs})
		if err != nil {
			return nil, fmt.Errorf("prepare the import: %w", err)
		}
		spans, err := victoria.NewClient(victoria.ClientConfig{Socket: spansDir, Retention: c.Options.Retention.Spans})
		if err != nil {
			return nil, fmt.Errorf("prepare the import: %w", err)
		}
		w := inletWriter{server, logs, spans}
		return &outlet{
			Writer: w, SpanWriter: w, MetricWriter: w,
			flush: func(ctx context.Context) error { return server.flush(ctx, logsOnly) },
			close: func() error { server.close(); return nil },
		}, nil
	}
	store, err := openTelemetry(ctx, telemetryConfig{store: &c.Store, options: &c.Telemetry, command: c.Engine, log: c.Logger, keep: true, logsOnly: logsOnly})
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
	if err := store.waitReady(start); err != nil {
		return nil, errors.Join(err, end())
	}
	out := &outlet{
		Writer: store.logs, flush: func(ctx context.Context) error { return store.flush(ctx, logsOnly) }, close: end,
	}
	if !logsOnly {
		out.SpanWriter, out.MetricWriter = store.spans, store.metrics.past()
	}
	return out, nil
}

// A pastWriter writes metrics of any age.
type pastWriter struct{ prom.Past }

// WriteSamples implements importer.MetricWriter.
func (w pastWriter) WriteSamples(ctx context.Context, tenant telemetry.TenantID, request []byte) (map[string]int64, error) {
	const version = 2
	_, rejected, err := w.WriteRemote(ctx, tenant, version, request)
	return rejected, err
}

// An inletWriter writes through a running server: logs and spans into its
// spools, metrics into its databases.
type inletWriter struct {
	server      *inletClient
	logs, spans *victoria.Client // encode only
}

// WriteLogs implements telemetry.Writer.
func (w inletWriter) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	return w.logs.EncodeLogs(tenant, batch, func(payload []byte) error {
		_, err := w.server.write(ctx, inletLogs, tenant, payload)
		return err
	})
}

// WriteSpans implements telemetry.SpanWriter.
func (w inletWriter) WriteSpans(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.SpanRecord) error {
	return w.spans.EncodeSpans(tenant, batch, func(payload []byte) error {
		_, err := w.server.write(ctx, inletSpans, tenant, payload)
		return err
	})
}

// WriteOTLP implements importer.MetricWriter.
func (w inletWriter) WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (map[string]int64, error) {
	payload, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	return w.server.write(ctx, inletMetrics, tenant, payload)
}

// WriteSamples implements importer.MetricWriter.
func (w inletWriter) WriteSamples(ctx context.Context, tenant telemetry.TenantID, request []byte) (map[string]int64, error) {
	return w.server.write(ctx, inletSamples, tenant, request)
}

// A patientWriter waits where it is asked to: a file can be read as slowly as
// the store likes.
type patientWriter struct{ *outlet }

// WriteLogs implements telemetry.Writer.
func (w patientWriter) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	return patiently(ctx, func() error { return w.outlet.WriteLogs(ctx, tenant, batch) })
}

// WriteSpans implements telemetry.SpanWriter.
func (w patientWriter) WriteSpans(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.SpanRecord) error {
	return patiently(ctx, func() error { return w.outlet.WriteSpans(ctx, tenant, batch) })
}

// WriteOTLP implements importer.MetricWriter. What was refused was not
// changed: stores look at their limits first.
func (w patientWriter) WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (rejected map[string]int64, err error) {
	err = patiently(ctx, func() error {
		rejected, err = w.outlet.WriteOTLP(ctx, tenant, md)
		return err
	})
	return rejected, err
}

// WriteSamples implements importer.MetricWriter.
func (w patientWriter) WriteSamples(ctx context.Context, tenant telemetry.TenantID, request []byte) (rejected map[string]int64, err error) {
	err = patiently(ctx, func() error {
		rejected, err = w.outlet.WriteSamples(ctx, tenant, request)
		return err
	})
	return rejected, err
}

// patiently tries until there is no overload.
func patiently(ctx context.Context, try func() error) error {
	for {
		err := try()
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
