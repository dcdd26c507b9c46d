// Package ingest takes telemetry in: logs, spans and metrics over OTLP, and
// this server's own log lines ([SelfHandler]).
//
// A request passes key check, size limits, a scan of its structure, decoding
// and conversion, and is answered only after [telemetry.Writer] has accepted
// its records: an answer of 200 promises as much as the Writer does, and the
// server's writes to a spool that survives a crash. The tenant always comes
// from the ingest key, never from the request. Package ingest never reads
// telemetry back and decides nothing about people. Files are read by package importer, below this one.
package ingest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orielhq/oriel/internal/telemetry"
)

// ErrKeyRefused is returned by a KeyChecker for a key that is unknown, revoked
// or of no team that may send.
var ErrKeyRefused = errors.New("the ingest key is not valid")

// A Key is what a good ingest key stands for.
type Key struct {
	// ID tells keys apart.
	ID     string
	Tenant telemetry.TenantID
	// Signals are what it may send, of logs, spans and metrics; none is all.
	Signals []string
	// BytesPerSecond bounds what it sends, decompressed; 0 is no bound.
	BytesPerSecond int64
}

// A KeyChecker finds the team that an ingest key belongs to. Implementations
// are safe for concurrent use.
type KeyChecker interface {
	// CheckKey returns what the key is good for. Errors: ErrKeyRefused where the
	// key is no good; any other means that it could not be checked now.
	CheckKey(ctx context.Context, key string) (Key, error)
}

// Limits on one request. They bound the memory that a sender can take.
const (
	// maxCompressedBytes bounds the body as it travels.
	maxCompressedBytes = 16 << 20
	// maxBodyBytes bounds the body after decompression.
	maxBodyBytes = 64 << 20
	// maxRecords bounds the log records, and separately the resource and
	// scope groups, of one request.
	maxRecords = 100_000
	// maxValues bounds the attribute and array values of one request: an
	// empty one takes 2 bytes on the wire and about 50 decoded.
	maxValues = 4 << 20
	// maxValueDepth bounds the nesting of attribute values; decoders recurse,
	// and a Go stack that grows past its limit ends the process.
	maxValueDepth = 32
	// maxExpandedBytes bounds the sum of a request's rows. A large resource is
	// sent once and stored with each of its records.
	maxExpandedBytes = 256 << 20
	// defaultMaxInFlightBytes bounds the bodies held by all requests together.
	defaultMaxInFlightBytes = 256 << 20
	// bodyReadTimeout bounds how long a sender may take over its body.
	bodyReadTimeout = 60 * time.Second
	// retryAfter is what a sender is asked to wait after a 503.
	retryAfter = 5 * time.Second
)

// Limits on one row. The engine drops what exceeds its own silently, so these
// stay at or below them: 2,000 fields, names of 128 bytes, rows of 2 MiB.
const (
	// MaxFieldNameBytes bounds the name of one field.
	MaxFieldNameBytes = 128 - len(telemetry.ResourcePrefix)
	// MaxFields bounds the fields of one row: resource and attributes. The
	// engine may store a resource attribute twice.
	MaxFields = 900
	// MaxRowBytes bounds names and values of one row together, for the same
	// reason with the resource counted twice.
	MaxRowBytes = 2<<20 - 64<<10
)

// futureTolerance is how far ahead of now a record's time may lie; engines
// refuse rows beyond it.
const futureTolerance = 48 * time.Hour

// Config has what a Server needs. Keys, Writer, Logger, Now and Retention are
// required.
type Config struct {
	Keys   KeyChecker
	Writer telemetry.Writer
	// Spans takes spans; nil where none are taken.
	Spans telemetry.SpanWriter
	// Metrics takes metrics; nil where none are taken.
	Metrics MetricWriter
	// Remote takes Prometheus remote write; nil where it is not taken.
	Remote RemoteWriter
	Logger *slog.Logger
	Now    func() time.Time
	// Retention is the age at which the engine forgets; older records are
	// rejected with a reason rather than dropped in silence.
	Retention time.Duration
	// SpanRetention is that of spans; 0 is Retention.
	SpanRetention time.Duration
	// Ready says why new data would be refused now, so that it is refused
	// before it is read; nil is always ready.
	Ready func() error
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// MaxInFlightBytes bounds the memory for bodies of all requests together;
	// 0 means 256 MiB. Requests beyond it are answered 503.
	MaxInFlightBytes int64
}

// A Server answers OTLP requests. It is safe for concurrent use.
type Server struct {
	keys         KeyChecker
	writer       telemetry.Writer
	ready        func() error
	log          *slog.Logger
	now          func() time.Time
	retention    time.Duration
	spans        telemetry.SpanWriter
	spanAge      time.Duration
	metricWriter MetricWriter
	remote       RemoteWriter
	metrics      *Metrics
	rates        rates
	maxInFlight  int64
	inFlight     atomic.Int64
}

// New returns a Server. It refuses a Config with gaps and fails where the
// metrics' names are taken.
func New(c Config) (*Server, error) {
	if c.Keys == nil || c.Writer == nil || c.Logger == nil || c.Now == nil || c.Retention <= 0 {
		return nil, errors.New("ingest: Keys, Writer, Logger, Now and Retention are required")
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	if c.MaxInFlightBytes <= 0 {
		c.MaxInFlightBytes = defaultMaxInFlightBytes
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	return &Server{
		keys: c.Keys, writer: c.Writer, ready: c.Ready, log: c.Logger, now: c.Now, retention: c.Retention,
		metricWriter: c.Metrics, remote: c.Remote, spans: c.Spans, spanAge: cmp.Or(c.SpanRetention, c.Retention),
		metrics: m, maxInFlight: c.MaxInFlightBytes,
	}, nil
}
