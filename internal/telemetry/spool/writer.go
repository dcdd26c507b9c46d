package spool

import (
	"context"

	"github.com/orielhq/oriel/internal/telemetry"
)

// An Encoder turns a batch into payloads that the spool's sink takes, and
// calls send with each; it returns send's first error, or a
// *telemetry.RejectedError for the records that it left out.
type Encoder[T any] func(tenant telemetry.TenantID, batch []T, send func(payload []byte) error) error

// A LogWriter writes log records through a spool: when WriteLogs returns, they
// are on disk.
type LogWriter struct {
	Spool  *Spool
	Encode Encoder[telemetry.LogRecord]
}

var _ telemetry.Writer = LogWriter{}

// WriteLogs implements telemetry.Writer.
func (w LogWriter) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	return w.Encode(tenant, batch, w.Spool.appender(ctx, tenant))
}

// A SpanWriter is the same for spans.
type SpanWriter struct {
	Spool  *Spool
	Encode Encoder[telemetry.SpanRecord]
}

var _ telemetry.SpanWriter = SpanWriter{}

// WriteSpans implements telemetry.SpanWriter.
func (w SpanWriter) WriteSpans(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.SpanRecord) error {
	return w.Encode(tenant, batch, w.Spool.appender(ctx, tenant))
}

func (s *Spool) appender(ctx context.Context, tenant telemetry.TenantID) func([]byte) error {
	return func(payload []byte) error { return s.Append(ctx, Record{Tenant: tenant, Payload: payload}) }
}
