package telemetry

import (
	"context"
	"time"
)

// Names of the fields that every stored span may have, as VictoriaTraces
// names them, so that an installation of it can stand in for the engine.
// LogsQL wants names with a colon or a dot in double quotes.
//
// Resource attributes are stored under ResourcePrefix only, where no span can
// write; FieldTime is the span's end.
const (
	FieldParentSpanID  = "parent_span_id"
	FieldTraceState    = "trace_state"
	FieldSpanName      = "name"
	FieldSpanKind      = "kind"                 // number of SpanKind, in decimal
	FieldStartTime     = "start_time_unix_nano" // nanoseconds since 1970
	FieldEndTime       = "end_time_unix_nano"   // nanoseconds since 1970
	FieldDuration      = "duration"             // nanoseconds
	FieldStatusCode    = "status_code"          // number of SpanStatus, in decimal
	FieldStatusMessage = "status_message"
	FieldScopeName     = "scope_name"
	FieldScopeVersion  = "scope_version"

	// FieldSpanService is the stored name of service.name.
	FieldSpanService = ResourcePrefix + FieldService

	SpanAttributePrefix  = "span_attr:"  // before an attribute's name
	ScopeAttributePrefix = "scope_attr:" // before an attribute's name

	// Events and links are numbered from 0 in their order; the number ends
	// the name, after a colon: event:event_attr:exception.type:0.
	EventNamePrefix      = "event:event_name"
	EventTimePrefix      = "event:event_time_unix_nano"
	EventAttributePrefix = "event:event_attr:"
	LinkTraceIDPrefix    = "link:link_trace_id"
	LinkSpanIDPrefix     = "link:link_span_id"
	LinkAttributePrefix  = "link:link_attr:"
)

// A SpanKind is the OpenTelemetry kind of a span.
type SpanKind int32

// Kinds of spans (opentelemetry/proto/trace/v1/trace.proto, Span.SpanKind).
const (
	KindUnspecified SpanKind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// A SpanStatus is the OpenTelemetry status code of a span.
type SpanStatus int32

// Status codes (opentelemetry/proto/trace/v1/trace.proto, Status.StatusCode).
const (
	StatusUnset SpanStatus = iota
	StatusOK
	StatusError
)

// SpanRecord is one span on its way into an engine.
type SpanRecord struct {
	// TraceID, SpanID and ParentSpanID are lower-case hexadecimal; a span
	// without a parent leaves it empty. The first two are required.
	TraceID, SpanID, ParentSpanID string
	TraceState                    string
	Name                          string
	Kind                          SpanKind
	// Start and End are required.
	Start, End time.Time
	// Resource describes the sender. Data scopes match only these.
	Resource []Field
	// ScopeName, ScopeVersion and Scope describe the instrumentation.
	ScopeName, ScopeVersion string
	Scope                   []Field
	Attributes              []Field
	Status                  SpanStatus
	StatusMessage           string
	Events                  []SpanEvent
	Links                   []SpanLink
}

// SpanEvent is something that happened during a span.
type SpanEvent struct {
	Time       time.Time
	Name       string
	Attributes []Field
}

// SpanLink points to a span of the same or another trace.
type SpanLink struct {
	TraceID, SpanID string
	Attributes      []Field
}

// SpanQuery asks for spans.
type SpanQuery struct {
	// Text is LogsQL in the subset that Oriel allows, over the stored field
	// names above. Empty matches everything.
	Text string
	// Services restricts to these values of the resource's service.name;
	// empty is all.
	Services []string
	// Start is inclusive, End exclusive; both bound the spans' ends and are
	// required.
	Start, End time.Time
	// Limit is the most rows wanted, newest first; 0 means the budget's.
	Limit int
	// CountTotal asks for SpanResult.Total.
	CountTotal bool
}

// SpanResult is the answer to a SpanQuery.
type SpanResult struct {
	// Rows are spans under their stored field names, the latest end first
	// unless the query sorted them itself; or whatever the query's pipes made.
	Rows []LogRow
	// More says that rows were left out because of the limit or the budget.
	More bool
	// Total is how many rows match before the limit; -1 where not counted.
	Total int64
	// Query is the canonical text that was run, without the data scope.
	Query string
}

// Spans reads spans. Implementations are safe for concurrent use.
type Spans interface {
	// QuerySpans returns the rows of view that match q. A zero view gets an
	// empty result. Errors are those of Logs.QueryLogs.
	QuerySpans(ctx context.Context, view View, q SpanQuery, b Budget) (SpanResult, error)
}

// SpanWriter stores spans. Implementations are safe for concurrent use.
type SpanWriter interface {
	// WriteSpans stores the spans for the tenant and returns when the engine
	// has accepted all of them. Errors are those of Writer.WriteLogs.
	WriteSpans(ctx context.Context, tenant TenantID, batch []SpanRecord) error
}
