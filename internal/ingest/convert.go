package ingest

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Reasons for which a record is rejected; they are label values of a metric.
const (
	// ReasonTooOld and ReasonTooNew are those of records whose time is out of
	// range.
	ReasonTooOld = "too_old"
	ReasonTooNew = "too_far_in_future"

	reasonRowTooLarge   = "row_too_large"
	reasonTooManyFields = "too_many_fields"
	reasonExpanded      = "request_expands_too_much"
	reasonNoID          = "no_id"
	reasonEngine        = "engine"
	reasonUnsupported   = "unsupported"
)

// A converter turns one request into records.
type converter struct {
	now       time.Time
	retention time.Duration

	total    int64
	expanded int
	rejected map[string]int64
	namesCut int64
}

func (c *converter) convert(logs plog.Logs) []telemetry.LogRecord {
	c.rejected = make(map[string]int64)
	out := make([]telemetry.LogRecord, 0, min(logs.LogRecordCount(), maxRecords))
	for _, rl := range logs.ResourceLogs().All() {
		resource := c.fields(nil, "", rl.Resource().Attributes(), renameNone)
		taken := make(map[string]bool, len(resource))
		for _, f := range resource {
			taken[f.Name] = true
		}
		resourceBytes := 2 * fieldBytes(resource)
		rename := func(name string) string {
			if taken[name] {
				return telemetry.AttributePrefix + name
			}
			return AttributeName(name)
		}
		for _, sl := range rl.ScopeLogs().All() {
			scope := c.scopeFields(sl.Scope(), rename)
			scopeBytes := fieldBytes(scope)
			for _, lr := range sl.LogRecords().All() {
				c.total++
				rec, reason := c.record(lr, rename, scope)
				rec.Resource = resource
				size := resourceBytes + scopeBytes + recordBytes(rec, len(scope))
				switch {
				case reason != "":
				case len(resource)+len(rec.Attributes) > MaxFields:
					reason = reasonTooManyFields
				case size > MaxRowBytes:
					reason = reasonRowTooLarge
				case c.expanded+size > maxExpandedBytes:
					reason = reasonExpanded
				}
				if reason != "" {
					c.rejected[reason]++
					continue
				}
				c.expanded += size
				out = append(out, rec)
			}
		}
	}
	return out
}

// record converts one log record. reason is not empty where it is rejected for
// its time, which is looked at first.
func (c *converter) record(lr plog.LogRecord, rename func(string) string, scope []telemetry.Field) (rec telemetry.LogRecord, reason string) {
	ts := lr.Timestamp()
	if ts == 0 {
		ts = lr.ObservedTimestamp()
	}
	rec.Time = c.now
	if ts != 0 {
		if ts > math.MaxInt64 {
			return rec, ReasonTooNew
		}
		rec.Time = ts.AsTime()
	}
	switch {
	case rec.Time.Before(c.now.Add(-c.retention)):
		return rec, ReasonTooOld
	case rec.Time.After(c.now.Add(futureTolerance)):
		return rec, ReasonTooNew
	}

	rec.Message = valueText(lr.Body())
	text := strings.ToValidUTF8(lr.SeverityText(), "\uFFFD")
	rec.Severity = telemetry.SeverityOfNumber(int32(lr.SeverityNumber()))
	known := telemetry.ParseSeverity(text)
	if rec.Severity == "" {
		rec.Severity = known
	}
	if id := lr.TraceID(); !id.IsEmpty() {
		rec.TraceID = id.String()
	}
	if id := lr.SpanID(); !id.IsEmpty() {
		rec.SpanID = id.String()
	}

	attrs := make([]telemetry.Field, 0, lr.Attributes().Len()+len(scope)+2)
	attrs = append(attrs, scope...)
	attrs = c.fields(attrs, "", lr.Attributes(), rename)
	if text != "" && known == "" {
		attrs = append(attrs, telemetry.Field{Name: "severity_text", Value: text})
	}
	if name := strings.ToValidUTF8(lr.EventName(), "\uFFFD"); name != "" {
		attrs = append(attrs, telemetry.Field{Name: "event.name", Value: name})
		if rec.Message == "" {
			rec.Message = name // a row without a message shows as nothing
		}
	}
	if lr.Body().Type() == pcommon.ValueTypeMap {
		attrs = c.bodyFields(attrs, lr.Body().Map(), rename)
	}
	rec.Attributes = attrs
	return rec, ""
}

// bodyFields makes the entries of a structured body searchable by name, as the
// attributes are, beside the message that keeps the whole body as JSON. An
// attribute of the same name wins. A body that alone would exceed the fields
// of a row stays text only.
func (c *converter) bodyFields(attrs []telemetry.Field, body pcommon.Map, rename func(string) string) []telemetry.Field {
	have := make(map[string]bool, len(attrs))
	for _, f := range attrs {
		have[f.Name] = true
	}
	n := len(attrs)
	body.Range(func(k string, v pcommon.Value) bool {
		c.field(func(f telemetry.Field) {
			if !have[f.Name] && len(attrs) < MaxFields/2 {
				attrs = append(attrs, f)
			}
		}, k, v, rename)
		return true
	})
	if len(attrs) >= MaxFields/2 {
		return attrs[:n]
	}
	return attrs
}

func (c *converter) scopeFields(s pcommon.InstrumentationScope, rename func(string) string) []telemetry.Field {
	var out []telemetry.Field
	if name := strings.ToValidUTF8(s.Name(), "\uFFFD"); name != "" {
		out = append(out, telemetry.Field{Name: rename("scope.name"), Value: name})
	}
	if version := strings.ToValidUTF8(s.Version(), "\uFFFD"); version != "" {
		out = append(out, telemetry.Field{Name: rename("scope.version"), Value: version})
	}
	return c.fields(out, "scope.", s.Attributes(), rename)
}

// fields appends the entries of m, nested ones under names joined with dots.
func (c *converter) fields(dst []telemetry.Field, prefix string, m pcommon.Map, rename func(string) string) []telemetry.Field {
	m.Range(func(k string, v pcommon.Value) bool {
		c.field(func(f telemetry.Field) { dst = append(dst, f) }, prefix+k, v, rename)
		return len(dst) <= MaxFields // one more than allowed is enough to be rejected
	})
	return dst
}

func (c *converter) field(add func(telemetry.Field), name string, v pcommon.Value, rename func(string) string) {
	if v.Type() == pcommon.ValueTypeMap && flattens(name, v.Map()) {
		v.Map().Range(func(k string, v pcommon.Value) bool {
			c.field(add, name+"."+k, v, rename)
			return true
		})
		return
	}
	value := valueText(v)
	if value == "" {
		return // engines do not tell empty from absent
	}
	name = strings.ToValidUTF8(name, "\uFFFD")
	name = rename(name)
	if len(name) > MaxFieldNameBytes {
		name = strings.ToValidUTF8(name[:MaxFieldNameBytes], "")
		c.namesCut++
	}
	add(telemetry.Field{Name: name, Value: value})
}

// flattens reports whether the entries of m become fields of their own. Where a
// joined name would be too long, the map stays one field with a JSON value, so
// that names cannot multiply the size of a request.
func flattens(name string, m pcommon.Map) bool {
	if m.Len() == 0 {
		return false
	}
	ok := true
	m.Range(func(k string, _ pcommon.Value) bool {
		ok = len(name)+1+len(k) <= MaxFieldNameBytes-len(telemetry.AttributePrefix)
		return ok
	})
	return ok
}

func renameNone(name string) string {
	if name == "" {
		return emptyName
	}
	return name
}

// emptyName stands for the empty field name, which the engine takes for the
// message's.
const emptyName = "unnamed"

// AttributeName returns the name under which a record's own attribute is kept.
// Names that the engine or the data scopes rely on get AttributePrefix, so that
// a sender cannot put a record under another service or into a data scope.
func AttributeName(name string) string {
	switch name {
	case "":
		return emptyName
	case telemetry.FieldTime, telemetry.FieldMessage, telemetry.FieldSeverity, telemetry.FieldService,
		telemetry.FieldTraceID, telemetry.FieldSpanID, "_stream", "_stream_id":
		return telemetry.AttributePrefix + name
	}
	if strings.HasPrefix(name, telemetry.ResourcePrefix) {
		return telemetry.AttributePrefix + name
	}
	return name
}

func fieldBytes(fields []telemetry.Field) int {
	n := 0
	for _, f := range fields {
		n += len(f.Name) + len(f.Value)
	}
	return n
}

// recordBytes leaves the resource and the first skip attributes to the caller.
func recordBytes(r telemetry.LogRecord, skip int) int {
	n := len(r.Message) + len(r.Severity) + len(r.TraceID) + len(r.SpanID)
	if skip < len(r.Attributes) {
		n += fieldBytes(r.Attributes[skip:])
	}
	return n
}

// rejectedSummary returns how many records were rejected, and a message for the
// sender's log where there is something to say.
func (c *converter) rejectedSummary(what string) (n int64, message string) {
	var parts []string
	for _, r := range []struct{ reason, text string }{
		{ReasonTooOld, fmt.Sprintf("older than the retention of %s", c.retention)},
		{ReasonTooNew, fmt.Sprintf("more than %s in the future", futureTolerance)},
		{reasonRowTooLarge, fmt.Sprintf("larger than %d bytes", MaxRowBytes)},
		{reasonTooManyFields, fmt.Sprintf("with more than %d attributes", MaxFields)},
		{reasonNoID, "without a trace id or span id"},
		{reasonEngine, "that the store cannot hold"},
		{reasonUnsupported, "of a kind that is not supported: only cumulative sums and histograms are"},
		{reasonExpanded, "because the request repeats large resource attributes for too many records; send smaller batches"},
	} {
		if k := c.rejected[r.reason]; k > 0 {
			n += k
			parts = append(parts, fmt.Sprintf("%d %s", k, r.text))
		}
	}
	if n == 0 {
		return 0, ""
	}
	return n, fmt.Sprintf("%d of %d %s were rejected: %s", n, c.total, what, strings.Join(parts, "; "))
}

// valueText returns a value as a field holds it: numbers and booleans in
// decimal and words, bytes as base64, arrays and maps as JSON.
func valueText(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return strings.ToValidUTF8(v.Str(), "\uFFFD")
	case pcommon.ValueTypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case pcommon.ValueTypeBool:
		return strconv.FormatBool(v.Bool())
	case pcommon.ValueTypeDouble:
		return floatText(v.Double())
	case pcommon.ValueTypeBytes:
		return base64.StdEncoding.EncodeToString(v.Bytes().AsRaw())
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return string(appendJSON(nil, v))
	}
	return ""
}

func floatText(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// appendJSON writes v as JSON. Unlike encoding/json it can write NaN (as a
// string) and leaves <, > and & as they are, so that they can be searched for.
func appendJSON(b []byte, v pcommon.Value) []byte {
	switch v.Type() {
	case pcommon.ValueTypeEmpty:
		return append(b, "null"...)
	case pcommon.ValueTypeInt, pcommon.ValueTypeBool:
		return append(b, valueText(v)...)
	case pcommon.ValueTypeDouble:
		if f := v.Double(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return append(b, floatText(f)...)
		}
		return appendJSONString(b, valueText(v))
	case pcommon.ValueTypeMap:
		b = append(b, '{')
		first := true
		v.Map().Range(func(k string, v pcommon.Value) bool {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(appendJSONString(b, k), ':')
			b = appendJSON(b, v)
			return true
		})
		return append(b, '}')
	case pcommon.ValueTypeSlice:
		b = append(b, '[')
		for i, e := range v.Slice().All() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	}
	return appendJSONString(b, valueText(v))
}

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // invalid UTF-8 comes out as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
