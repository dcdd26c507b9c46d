package telemetry

import (
	"context"
	"time"
)

// Field is one named value of a record. Names are OpenTelemetry attribute
// names (service.name, http.route) or the names that fields.go reserves.
type Field struct {
	Name, Value string
}

// LogRecord is one log record on its way into an engine.
type LogRecord struct {
	// Time is when the event happened; the zero time is refused.
	Time time.Time
	// Resource describes the sender (service.name, host.name, …). Data scopes
	// match only these.
	Resource []Field
	// Attributes belong to this record alone.
	Attributes []Field
	// Severity is one of the Severity names, or empty where not known.
	Severity string
	// Message is the record's body as text.
	Message string
	// TraceID and SpanID are lower-case hexadecimal, or empty.
	TraceID, SpanID string
}

// LogRow is one row that a query returned.
type LogRow struct {
	// Time is zero where the query computed rows that have none (stats).
	Time time.Time
	// Fields are the row's non-empty fields in the engine's order, without
	// the engine's internal ones.
	Fields []Field
}

// Get returns the value of the named field, "" where the row has none.
func (r LogRow) Get(name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// LogQuery asks for log rows.
type LogQuery struct {
	// Text is LogsQL in the subset that Oriel allows (docs/logsql.md); plain
	// words are LogsQL too. Empty matches everything.
	Text string
	// Services restricts to these values of service.name; empty is all.
	Services []string
	// Severities restricts to these Severity names; empty is all.
	Severities []string
	// Start is inclusive, End exclusive. Both are required.
	Start, End time.Time
	// Limit is the most rows wanted, newest first; 0 means the budget's.
	Limit int
	// CountTotal asks for LogResult.Total, at the price of a second query
	// where there are more rows than Limit.
	CountTotal bool
}

// LogResult is the answer to a LogQuery.
type LogResult struct {
	// Rows are newest first unless the query sorted them itself.
	Rows []LogRow
	// More says that rows were left out because of the limit or the budget.
	More bool
	// Total is how many rows match before the limit; -1 where not counted.
	Total int64
	// Query is the canonical text that was run, without the data scope.
	Query string
}

// Logs reads log records. Implementations are safe for concurrent use.
type Logs interface {
	// QueryLogs returns the rows of view that match q. A zero view gets an
	// empty result. Errors: *QueryError for a fault in q.Text,
	// ErrUnavailable, ErrTooExpensive, or the context's error.
	QueryLogs(ctx context.Context, view View, q LogQuery, b Budget) (LogResult, error)
}

// Writer stores records. Implementations are safe for concurrent use.
type Writer interface {
	// WriteLogs stores the records for the tenant and returns when the engine
	// has accepted all of them. Errors: *RejectedError where some records can
	// never be stored and all others were; *OverloadError; ErrUnavailable, or the context's
	// error, after which some of the batch may have been stored.
	WriteLogs(ctx context.Context, tenant TenantID, batch []LogRecord) error
}
