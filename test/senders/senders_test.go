// Package senders sends telemetry to the built program as its users do, with
// the OpenTelemetry SDK, and looks for it in the engines.
package senders

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/testenv"
)

// soon is how long after sending everything must be found.
const soon = 5 * time.Second

// exporters are those of the SDK for one protocol.
type exporters struct {
	logs    sdklog.Exporter
	spans   sdktrace.SpanExporter
	metrics sdkmetric.Exporter
}

func overHTTP(ctx context.Context, url, key string) (e exporters, err error) {
	header := map[string]string{"Authorization": "Bearer " + key}
	host := strings.TrimPrefix(url, "http://")
	if e.logs, err = otlploghttp.New(ctx, otlploghttp.WithEndpoint(host), otlploghttp.WithInsecure(), otlploghttp.WithHeaders(header), otlploghttp.WithCompression(otlploghttp.GzipCompression)); err != nil {
		return e, err
	}
	if e.spans, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(host), otlptracehttp.WithInsecure(), otlptracehttp.WithHeaders(header)); err != nil {
		return e, err
	}
	e.metrics, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(host), otlpmetrichttp.WithInsecure(), otlpmetrichttp.WithHeaders(header))
	return e, err
}

func overGRPC(ctx context.Context, address, key string) (e exporters, err error) {
	header := map[string]string{"authorization": "Bearer " + key}
	if e.logs, err = otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(address), otlploggrpc.WithInsecure(), otlploggrpc.WithHeaders(header)); err != nil {
		return e, err
	}
	if e.spans, err = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure(), otlptracegrpc.WithHeaders(header), otlptracegrpc.WithCompressor("gzip")); err != nil {
		return e, err
	}
	e.metrics, err = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithHeaders(header))
	return e, err
}

// send is a program that serves one request and leaves.
func send(ctx context.Context, e exporters, service string) error {
	about := resource.NewSchemaless(attribute.String("service.name", service), attribute.String("service.version", "1.2"))
	logs := sdklog.NewLoggerProvider(sdklog.WithResource(about), sdklog.WithProcessor(sdklog.NewBatchProcessor(e.logs)))
	traces := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(e.spans))
	// Exponential histograms are what native ones are made of.
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(about), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(e.metrics)),
		sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "latency"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})))

	ctx, span := traces.Tracer("shop").Start(ctx, "GET /pay")
	span.SetAttributes(attribute.Int("http.response.status_code", 500))
	span.AddEvent("retry")
	var r otellog.Record
	r.SetTimestamp(time.Now())
	r.SetSeverity(otellog.SeverityError)
	r.SetBody(attribute.StringValue("payment declined"))
	logs.Logger("shop").Emit(ctx, r)
	requests, err := meters.Meter("shop").Int64Counter("requests")
	if err != nil {
		return err
	}
	latency, err := meters.Meter("shop").Float64Histogram("latency")
	if err != nil {
		return err
	}
	requests.Add(ctx, 3)
	latency.Record(ctx, 0.2)
	latency.Record(ctx, 1.2)
	span.End()
	for _, stop := range []func(context.Context) error{logs.Shutdown, traces.Shutdown, meters.Shutdown} {
		if err := stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

var grpcAddress = regexp.MustCompile(`"otlp_grpc":"([^"]+)"`)

func TestSDKOverHTTPAndGRPC(t *testing.T) {
	o := testenv.StartOriel(t, "--otlp-grpc-listen", "127.0.0.1:0")
	o.AddTeam("shop", "Shop")
	key := o.IngestKey("shop")
	m := grpcAddress.FindStringSubmatch(o.Logged())
	if m == nil {
		t.Fatal("the log does not say where OTLP over gRPC is taken")
	}
	attach := func(signal string) *victoria.Client {
		c, err := victoria.Attach(filepath.Join(o.DataDir, "telemetry", signal), 0)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	logs, spans := attach("logs"), attach("spans")
	view := telemetry.NewView(1, telemetry.Restriction{})
	start := time.Now().Add(-time.Minute)
	for _, protocol := range []string{"http", "grpc"} {
		e, err := overHTTP(t.Context(), o.URL, key)
		if protocol == "grpc" {
			e, err = overGRPC(t.Context(), m[1], key)
		}
		if err != nil {
			t.Fatal(err)
		}
		service := "pay-" + protocol
		if err := send(t.Context(), e, service); err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		testenv.Within(t, soon, protocol+": everything is found", func() error {
			end := time.Now().Add(time.Minute)
			rows, err := logs.QueryLogs(t.Context(), view, telemetry.LogQuery{Text: `declined`, Services: []string{service}, Start: start, End: end}, telemetry.Budget{})
			if err != nil || len(rows.Rows) != 1 {
				return fmt.Errorf("%d log records, %w", len(rows.Rows), err)
			}
			found, err := spans.QuerySpans(t.Context(), view, telemetry.SpanQuery{Text: `name:="GET /pay"`, Services: []string{service}, Start: start, End: end}, telemetry.Budget{})
			if err != nil || len(found.Rows) != 1 {
				return fmt.Errorf("%d spans, %w", len(found.Rows), err)
			}
			span := found.Rows[0]
			if id := rows.Rows[0].Get(telemetry.FieldTraceID); id == "" || id != span.Get(telemetry.FieldTraceID) {
				return fmt.Errorf("the record's trace is %q, the span's %q", id, span.Get(telemetry.FieldTraceID))
			}
			if code := span.Get(telemetry.SpanAttributePrefix + "http.response.status_code"); code != "500" {
				return fmt.Errorf("the span's status code is %q", code)
			}
			return nil
		})
	}
	usage := testenv.AdminJSON[[]struct {
		Signal       string
		Rows, Series int64
	}](o, "telemetry", "usage")
	for i, want := range []string{"logs", "spans", "metrics"} {
		if u := usage[i]; u.Signal != want || u.Rows+u.Series < 2 {
			t.Errorf("usage of a running server: %+v", u)
		}
	}
	o.Stop()
	// Everything was handed over and written: the next start repeats nothing.
	for _, signal := range []string{"logs", "spans"} {
		files, err := filepath.Glob(filepath.Join(o.DataDir, "telemetry", "spool", signal, "0*"))
		if err != nil || len(files) > 0 {
			t.Errorf("the spool of %s holds %v, %v", signal, files, err)
		}
	}
	checkMetrics(t, o, view)
}

func checkMetrics(t *testing.T, o *testenv.Oriel, view telemetry.View) {
	t.Helper()
	store, err := prom.Open(prom.Config{Dir: filepath.Join(o.DataDir, "telemetry", "metrics"), Retention: 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	at := time.Now()
	for expr, want := range map[string]float64{
		`sum(requests_total{service_name="pay-http"})`: 3, `sum(requests_total{service_name="pay-grpc"})`: 3,
		`sum(histogram_count(latency))`: 4, `round(sum(histogram_sum(latency)), 0.1)`: 2.8,
	} {
		r, err := store.QueryMetrics(t.Context(), view, telemetry.MetricQuery{Expr: expr, Start: at, End: at}, telemetry.Budget{})
		if err != nil || len(r.Series) != 1 || r.Series[0].Points[0].Value != want {
			t.Errorf("%s: %+v, %v", expr, r.Series, err)
		}
	}
}
