package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/disk"
	"github.com/orielhq/oriel/internal/telemetry/remote"
)

// Names inside the data directory.
const (
	telemetryDir = "telemetry"
	logsDir      = "telemetry/logs"
	spansDir     = "telemetry/spans"
	metricsDir   = "telemetry/metrics"
	spoolsDir    = "telemetry/spool"
	logSpoolDir  = "telemetry/spool/logs"
	spanSpoolDir = "telemetry/spool/spans"
)

// The engines' shares of the telemetry's memory, in percent.
const (
	logMemory  = 60
	spanMemory = 40
)

// telemetryConfig is what the telemetry store of one process needs.
type telemetryConfig struct {
	store      *config.Store
	options    *config.Telemetry
	retention  config.Retention
	command    EngineCommand
	log        *slog.Logger
	registerer prometheus.Registerer
	// keep deletes nothing by age: for commands, which may not have been
	// given the server's settings.
	keep bool
	// teams are the tenants of teams, for those with engines of their own.
	teams func(context.Context) (map[string]telemetry.TenantID, error)
	// logsOnly opens the log engine alone.
	logsOnly bool
	// now is the metrics' clock; nil is time.Now.
	now func() time.Time
}

// forEver is the retention of those who delete nothing.
const forEver = 100 * 365 * 24 * time.Hour

func (c telemetryConfig) retentions() (logs, spans, metrics time.Duration) {
	if c.keep {
		return forEver, forEver, forEver
	}
	logs = c.options.Retention
	return logs, cmp.Or(c.retention.Traces, logs), cmp.Or(c.retention.Metrics, logs)
}

// telemetryStore is everything that keeps telemetry: one process has it open
// at a time, a server or, where none runs, an import.
type telemetryStore struct {
	watermark *disk.Watermark
	logs      *engines
	spans     *engines
	metrics   metricStore
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
	if c.registerer != nil {
		refusing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "oriel", Subsystem: "telemetry", Name: "disk_low", Help: "1 while new telemetry is refused because the disk is nearly full.",
		}, func() float64 {
			if t.watermark.Check() != nil {
				return 1
			}
			return 0
		})
		if err := c.registerer.Register(refusing); err != nil {
			return t, fmt.Errorf("register the telemetry's metrics: %w", err)
		}
	}
	logRetention, spanRetention, metricRetention := c.retentions()
	common := engineConfig{
		store: c.store, options: c.options, command: c.command, watermark: t.watermark, log: c.log, registerer: c.registerer,
	}
	file, tenants, err := c.engines(ctx)
	if err != nil {
		return t, err
	}
	logs := common
	logs.signal, logs.dir, logs.spool, logs.memory, logs.retention = "log", logsDir, logSpoolDir, logMemory, logRetention
	if t.logs, err = startEngines(ctx, logs, file, tenants, file.Logs, func(s remote.Signals) *remote.Endpoint { return s.Logs }); err != nil || c.logsOnly {
		return t, err
	}
	spans := common
	spans.signal, spans.dir, spans.spool, spans.memory, spans.retention = "span", spansDir, spanSpoolDir, spanMemory, spanRetention
	if t.spans, err = startEngines(ctx, spans, file, tenants, file.Traces, func(s remote.Signals) *remote.Endpoint { return s.Traces }); err != nil {
		return t, err
	}
	// After the engines: their spools' locks guard this folder too.
	t.metrics, err = startMetrics(ctx, c, common, file.Metrics, metricRetention)
	return t, err
}

// engines reads which engines are on other machines.
func (c telemetryConfig) engines(ctx context.Context) (f remote.File, tenants map[string]telemetry.TenantID, err error) {
	if c.options.Engines == "" {
		return f, nil, nil
	}
	if f, err = remote.Read(c.options.Engines); err != nil || len(f.Teams) == 0 {
		return f, nil, err
	}
	if c.teams == nil {
		return f, nil, errors.New("teams have engines of their own: start the server, and run this again beside it")
	}
	tenants, err = c.teams(ctx)
	return f, tenants, err
}

// tenants returns every team's tenant by its slug.
func (s *Server) tenants(ctx context.Context) (map[string]telemetry.TenantID, error) {
	teams, err := s.directory.Teams(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the teams: %w", err)
	}
	tenants := make(map[string]telemetry.TenantID)
	for _, t := range teams {
		tenants[t.Slug] = t.Tenant
	}
	return tenants, nil
}

// openTelemetry opens the server's telemetry store and the inlet to it.
func (s *Server) openTelemetry(ctx context.Context) (err error) {
	s.telemetry, err = openTelemetry(ctx, telemetryConfig{
		store: &s.Settings.Store, options: &s.Settings.Telemetry, retention: s.Settings.Retention, command: s.Engine, log: s.log, registerer: s.registry, now: s.Now, teams: s.tenants,
	})
	if err != nil {
		return err
	}
	lookForLeft(ctx, &s.Settings.Store, s.log)
	s.inlet, err = listenInlet(&s.Settings.Store)
	return err
}

// close stops everything, as far as it was started.
func (t *telemetryStore) close(ctx context.Context) error {
	var g errgroup.Group
	for _, e := range append(t.logs.all(), t.spans.all()...) {
		g.Go(func() error { return e.stop(ctx) })
	}
	err := g.Wait()
	if t.metrics != nil {
		err = errors.Join(err, t.metrics.close(ctx))
	}
	return err
}
