package ingest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"

	"github.com/orielhq/oriel/internal/telemetry"
)

// maxSpanParts bounds the events, and separately the links, that are kept of
// a span, the first ones: twice the usual limit of SDKs (128).
const maxSpanParts = 256

var errNoSpans = errors.New("no writer for spans")

// takeSpans is the taker of spans.
func (s *Server) takeSpans(ctx context.Context, tenant telemetry.TenantID, contentType string, data []byte) (outcome, *failure) {
	if s.spans == nil {
		return outcome{}, refuse(http.StatusNotFound, codes.Unimplemented, errNoSpans, "this server takes no spans")
	}
	req := ptraceotlp.NewExportRequest()
	if f := decode(signalSpans, contentType, data, &req); f != nil {
		return outcome{}, f
	}
	c := converter{now: s.now(), retention: s.spanAge}
	spans := c.convertSpans(req.Traces())
	accepted := int64(len(spans))
	if accepted > 0 {
		n, err := rejectedBy(s.spans.WriteSpans(ctx, tenant, spans), c.rejected)
		if err != nil {
			return outcome{}, notNow(err)
		}
		accepted -= n
	}
	resp := ptraceotlp.NewExportResponse()
	if n, message := c.rejectedSummary("spans"); n > 0 {
		resp.PartialSuccess().SetRejectedSpans(n)
		resp.PartialSuccess().SetErrorMessage(message)
	}
	return outcome{signal: signalSpans, accepted: accepted, rejected: c.rejected, response: resp}, nil
}

func (c *converter) convertSpans(traces ptrace.Traces) []telemetry.SpanRecord {
	c.rejected = make(map[string]int64)
	out := make([]telemetry.SpanRecord, 0, min(traces.SpanCount(), maxRecords))
	for _, rs := range traces.ResourceSpans().All() {
		resource := c.fields(nil, "", rs.Resource().Attributes(), renameNone)
		resourceBytes := fieldBytes(resource)
		for _, ss := range rs.ScopeSpans().All() {
			scope := c.fields(nil, "", ss.Scope().Attributes(), renameNone)
			shared := resourceBytes + fieldBytes(scope)
			name, version := strings.ToValidUTF8(ss.Scope().Name(), "\uFFFD"), strings.ToValidUTF8(ss.Scope().Version(), "\uFFFD")
			for _, sp := range ss.Spans().All() {
				c.total++
				rec, reason := c.span(sp)
				rec.Resource, rec.Scope, rec.ScopeName, rec.ScopeVersion = resource, scope, name, version
				fields, size := spanSize(&rec)
				size += shared + len(name) + len(version)
				switch {
				case reason != "":
				case len(resource)+len(scope)+fields > MaxFields:
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

// span converts one span. reason is not empty where it is rejected.
func (c *converter) span(sp ptrace.Span) (rec telemetry.SpanRecord, reason string) {
	if sp.TraceID().IsEmpty() || sp.SpanID().IsEmpty() {
		return rec, reasonNoID
	}
	end := sp.EndTimestamp()
	if end == 0 {
		end = sp.StartTimestamp()
	}
	start := sp.StartTimestamp()
	if start == 0 || start > end {
		start = end
	}
	switch {
	case end == 0 || end > math.MaxInt64 || end.AsTime().After(c.now.Add(futureTolerance)):
		return rec, ReasonTooNew
	case end.AsTime().Before(c.now.Add(-c.retention)):
		return rec, ReasonTooOld
	}
	rec = telemetry.SpanRecord{
		TraceID: sp.TraceID().String(), SpanID: sp.SpanID().String(),
		TraceState:    strings.ToValidUTF8(sp.TraceState().AsRaw(), "\uFFFD"),
		Name:          strings.ToValidUTF8(sp.Name(), "\uFFFD"),
		Kind:          telemetry.SpanKind(sp.Kind()),
		Start:         start.AsTime(),
		End:           end.AsTime(),
		Attributes:    c.fields(nil, "", sp.Attributes(), renameNone),
		Status:        telemetry.SpanStatus(sp.Status().Code()),
		StatusMessage: strings.ToValidUTF8(sp.Status().Message(), "\uFFFD"),
	}
	if id := sp.ParentSpanID(); !id.IsEmpty() {
		rec.ParentSpanID = id.String()
	}
	for i, e := range sp.Events().All() {
		if i == maxSpanParts {
			break
		}
		rec.Events = append(rec.Events, telemetry.SpanEvent{
			Time: timeOf(e.Timestamp()), Name: strings.ToValidUTF8(e.Name(), "\uFFFD"), Attributes: c.partFields(e.Attributes()),
		})
	}
	for i, l := range sp.Links().All() {
		if i == maxSpanParts {
			break
		}
		rec.Links = append(rec.Links, telemetry.SpanLink{
			TraceID: l.TraceID().String(), SpanID: l.SpanID().String(), Attributes: c.partFields(l.Attributes()),
		})
	}
	return rec, ""
}

// partFields are those of an event or a link: their names are stored with a
// longer prefix and a number behind.
func (c *converter) partFields(m pcommon.Map) []telemetry.Field {
	const most = MaxFieldNameBytes - 8
	return c.fields(nil, "", m, func(name string) string {
		if len(name) > most {
			name = strings.ToValidUTF8(name[:most], "")
			c.namesCut++
		}
		return renameNone(name)
	})
}

func timeOf(t pcommon.Timestamp) time.Time {
	if t == 0 || t > math.MaxInt64 {
		return time.Time{}
	}
	return t.AsTime()
}

// spanSize returns the fields and bytes of what belongs to the span alone.
func spanSize(s *telemetry.SpanRecord) (fields, size int) {
	const own, part = 14, 48 // names and numbers of a span's own fields, and of an event's
	fields, size = own+len(s.Attributes), len(s.TraceState)+len(s.Name)+len(s.StatusMessage)+own*24+fieldBytes(s.Attributes)
	for _, e := range s.Events {
		fields, size = fields+2+len(e.Attributes), size+part+len(e.Name)+fieldBytes(e.Attributes)
	}
	for _, l := range s.Links {
		fields, size = fields+2+len(l.Attributes), size+2*part+fieldBytes(l.Attributes)
	}
	return fields, size
}
