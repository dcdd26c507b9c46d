package server

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/ingest/importer"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
	"github.com/orielhq/oriel/internal/telemetry/promremote"
	"github.com/orielhq/oriel/internal/telemetry/remote"
	"github.com/orielhq/oriel/internal/telemetry/spool"
)

// metricStore is where metrics are kept: here, or on another machine.
type metricStore interface {
	telemetry.Metrics
	ingest.MetricWriter
	ingest.RemoteWriter
	// past takes metrics of any age.
	past() importer.MetricWriter
	// settle makes what was written before it visible to queries.
	settle(ctx context.Context) error
	usage() ([]prom.Usage, error)
	// ready says why it does not serve or takes nothing in, "" where all is
	// well.
	ready() (engine, spool string)
	close(ctx context.Context) error
}

var (
	_ metricStore = embeddedMetrics{}
	_ metricStore = (*remoteMetrics)(nil)
)

// embeddedMetrics are kept in this process.
type embeddedMetrics struct{ *prom.Store }

// WriteRemote implements ingest.RemoteWriter.
func (m embeddedMetrics) WriteRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (ingest.RemoteWritten, map[string]int64, error) {
	w, rejected, err := m.Store.WriteRemote(ctx, tenant, version, data)
	return ingest.RemoteWritten(w), rejected, err
}

func (m embeddedMetrics) past() importer.MetricWriter      { return pastWriter{m.Past()} }
func (m embeddedMetrics) settle(ctx context.Context) error { return m.Past().Settle(ctx) }
func (m embeddedMetrics) usage() ([]prom.Usage, error)     { return m.Usage() }
func (m embeddedMetrics) ready() (engine, spool string)    { return "", "" }
func (m embeddedMetrics) close(context.Context) error      { return m.Close() }

// metricSpoolDir begins the names of the spools of metrics' engines.
const metricSpoolDir = "telemetry/spool/metrics"

// remoteMetrics are kept on another machine, with a spool in front.
type remoteMetrics struct {
	store *promremote.Store
	spool *spool.Spool
	state *remoteState
}

var metricServers = map[string]promremote.Server{
	"prometheus": promremote.Prometheus, "mimir": promremote.Prometheus, "thanos": promremote.Thanos, "victoriametrics": promremote.VictoriaMetrics,
}

// startRemoteMetrics is startRemote for metrics.
func startRemoteMetrics(ctx context.Context, c engineConfig, endpoint remote.Metrics) (m *remoteMetrics, err error) {
	limit, err := c.options.SpoolBytes()
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(endpoint.URL)
	if err != nil {
		return nil, fmt.Errorf("%s engine: %w", c.signal, err)
	}
	m = &remoteMetrics{state: &remoteState{name: "the " + c.signal + " engine at " + address.Host}}
	if m.state.client, err = remote.NewClient(c.signal, endpoint.Endpoint); err != nil {
		return nil, err
	}
	m.state.client.Overrun = promremote.Overrun
	m.store, err = promremote.Open(promremote.Config{
		URL: endpoint.URL, WriteURL: endpoint.WriteURL, Server: metricServers[endpoint.Server],
		Tenancy: promremote.Tenancy{Header: endpoint.TenantHeader, Label: endpoint.TenantLabel},
		HTTP:    m.state.client.HTTP, Logger: c.log,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.state.name, err)
	}
	m.state.prove = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, proofTimeout)
		defer cancel()
		return m.store.Prove(ctx)
	}
	// It has no question that every kind answers and nobody pays for; what
	// fails is seen when it is used.
	m.state.ask = func(context.Context) error { return nil }
	if err := m.state.first(ctx, c.log); err != nil {
		return nil, err
	}
	m.spool, err = openSpool(ctx, spool.Config{
		Name: c.signal, Dir: c.store.Path(spoolOf(metricSpoolDir, endpoint.Endpoint)), Sink: provenSink{m.state, m.store}, MaxBytes: limit, Settle: time.Second,
		Check: c.watermark.Check, Logger: c.log, Registerer: c.registererOf(address.Host + address.Path + "#" + engineID(endpoint.Endpoint)),
	})
	if err != nil {
		return nil, err
	}
	m.state.start(ctx, c.log)
	return m, nil
}

// WriteOTLP implements ingest.MetricWriter: when it returns, the data points
// are safe.
func (m *remoteMetrics) WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (map[string]int64, error) {
	payload, rejected, err := m.store.EncodeOTLP(ctx, tenant, md)
	if err != nil {
		return nil, err
	}
	return rejected, m.keep(ctx, tenant, payload)
}

// WriteRemote implements ingest.RemoteWriter.
func (m *remoteMetrics) WriteRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (ingest.RemoteWritten, map[string]int64, error) {
	payload, w, rejected, err := m.store.EncodeRemote(ctx, tenant, version, data)
	if err != nil {
		return ingest.RemoteWritten{}, nil, err
	}
	return ingest.RemoteWritten(w), rejected, m.keep(ctx, tenant, payload)
}

func (m *remoteMetrics) keep(ctx context.Context, tenant telemetry.TenantID, payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	return m.spool.Append(ctx, spool.Record{Tenant: tenant, Payload: payload})
}

// WriteSamples implements importer.MetricWriter. How old samples may be is the
// engine's setting.
func (m *remoteMetrics) WriteSamples(ctx context.Context, tenant telemetry.TenantID, request []byte) (map[string]int64, error) {
	const version = 2
	_, rejected, err := m.WriteRemote(ctx, tenant, version, request)
	return rejected, err
}

func (m *remoteMetrics) past() importer.MetricWriter      { return m }
func (m *remoteMetrics) settle(ctx context.Context) error { return m.spool.Drain(ctx) }
func (m *remoteMetrics) usage() ([]prom.Usage, error)     { return nil, nil } // nothing is here

func (m *remoteMetrics) ready() (engine, spool string) {
	if err := m.spool.Ready(); err != nil {
		spool = err.Error()
	}
	return m.state.trouble(), spool
}

func (m *remoteMetrics) close(ctx context.Context) error {
	m.state.end()
	drain, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if m.state.trouble() != "" {
		cancel()
	}
	drained := m.spool.Stop(drain) // what is left stays in the spool
	return m.spool.Close(drained == nil)
}

// proven runs a question once the engine has proven itself.
func proven[T any](m *remoteMetrics, ask func() (T, error)) (answer T, err error) {
	if m.state.unproven() != "" {
		return answer, telemetry.ErrUnavailable
	}
	return ask()
}

// some is an answer that may go on.
type some[T any] struct {
	list []T
	more bool
}

func listed[T any](m *remoteMetrics, ask func() ([]T, bool, error)) ([]T, bool, error) {
	s, err := proven(m, func() (some[T], error) {
		list, more, err := ask()
		return some[T]{list, more}, err
	})
	return s.list, s.more, err
}

// QueryMetrics implements telemetry.Metrics, as the methods below do.
func (m *remoteMetrics) QueryMetrics(ctx context.Context, view telemetry.View, q telemetry.MetricQuery, b telemetry.Budget) (telemetry.MetricResult, error) {
	return proven(m, func() (telemetry.MetricResult, error) { return m.store.QueryMetrics(ctx, view, q, b) })
}

// Series returns label sets.
func (m *remoteMetrics) Series(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([][]telemetry.Field, bool, error) {
	return listed(m, func() ([][]telemetry.Field, bool, error) { return m.store.Series(ctx, view, q, b) })
}

// LabelNames returns the names of labels.
func (m *remoteMetrics) LabelNames(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	return listed(m, func() ([]string, bool, error) { return m.store.LabelNames(ctx, view, q, b) })
}

// LabelValues returns the values of a label.
func (m *remoteMetrics) LabelValues(ctx context.Context, view telemetry.View, name string, q telemetry.SeriesQuery, b telemetry.Budget) ([]string, bool, error) {
	return listed(m, func() ([]string, bool, error) { return m.store.LabelValues(ctx, view, name, q, b) })
}

// MetricInfos describes metrics.
func (m *remoteMetrics) MetricInfos(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]telemetry.MetricInfo, bool, error) {
	return listed(m, func() ([]telemetry.MetricInfo, bool, error) { return m.store.MetricInfos(ctx, view, q, b) })
}

// Exemplars returns exemplars.
func (m *remoteMetrics) Exemplars(ctx context.Context, view telemetry.View, q telemetry.SeriesQuery, b telemetry.Budget) ([]telemetry.Exemplar, bool, error) {
	return listed(m, func() ([]telemetry.Exemplar, bool, error) { return m.store.Exemplars(ctx, view, q, b) })
}

// startMetrics opens the embedded storage, or connects to another machine's.
func startMetrics(ctx context.Context, c telemetryConfig, ec engineConfig, endpoint *remote.Metrics, retention time.Duration) (metricStore, error) {
	if endpoint != nil {
		ec.signal = "metric"
		m, err := startRemoteMetrics(ctx, ec, *endpoint)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	store, err := prom.Open(prom.Config{Dir: c.store.Path(metricsDir), Retention: retention, Check: ec.watermark.Check, Logger: c.log, Now: c.now})
	if err != nil {
		return nil, err
	}
	return embeddedMetrics{store}, nil
}
