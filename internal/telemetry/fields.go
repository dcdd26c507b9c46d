package telemetry

import "strings"

// Names of the fields that every stored log record may have beside its own.
const (
	FieldTime     = "_time"
	FieldMessage  = "_msg"
	FieldSeverity = "severity"
	FieldService  = "service.name"
	FieldTraceID  = "trace_id"
	FieldSpanID   = "span_id"

	// ResourcePrefix starts the names under which an engine keeps resource
	// attributes for data scopes to match. Only ingest writes such names, so
	// a record cannot put itself into somebody's scope: a record's own
	// attribute of that form is renamed with AttributePrefix.
	ResourcePrefix = "resource_attr:"

	// AttributePrefix starts the names of record attributes that would
	// otherwise collide with a reserved or a resource attribute's name.
	AttributePrefix = "attr:"
)

// Severity names, the short names of the OpenTelemetry log data model, least
// severe first.
const (
	SeverityTrace = "TRACE"
	SeverityDebug = "DEBUG"
	SeverityInfo  = "INFO"
	SeverityWarn  = "WARN"
	SeverityError = "ERROR"
	SeverityFatal = "FATAL"
)

// Severities lists the severity names, least severe first.
func Severities() []string {
	return []string{SeverityTrace, SeverityDebug, SeverityInfo, SeverityWarn, SeverityError, SeverityFatal}
}

// SeverityOfNumber returns the name for an OpenTelemetry severity number (1
// to 24), "" for any other (OpenTelemetry log data model, "Severity").
func SeverityOfNumber(n int32) string {
	if n < 1 || n > 24 {
		return ""
	}
	return Severities()[(n-1)/4]
}

// ParseSeverity recognises the names that log libraries use (warning, err,
// critical, notice, …) in any case. It returns "" for what it does not know.
func ParseSeverity(s string) string {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "trace", "verbose", "finest", "finer":
		return SeverityTrace
	case "debug", "fine", "dbg":
		return SeverityDebug
	case "info", "information", "informational", "notice", "config":
		return SeverityInfo
	case "warn", "warning":
		return SeverityWarn
	case "error", "err", "severe":
		return SeverityError
	case "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic":
		return SeverityFatal
	}
	return ""
}
