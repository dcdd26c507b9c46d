package victoria

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"

	"github.com/orielhq/oriel/internal/telemetry"
)

// WriteSpans implements telemetry.SpanWriter. Spans are stored under the
// names of spans.go in package telemetry; the row's time is the span's end.
func (c *Client) WriteSpans(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.SpanRecord) error {
	return c.EncodeSpans(tenant, batch, func(payload []byte) error {
		_, err := c.Deliver(ctx, tenant, payload)
		return err
	})
}

// EncodeSpans is EncodeLogs for spans.
func (c *Client) EncodeSpans(tenant telemetry.TenantID, batch []telemetry.SpanRecord, send func(payload []byte) error) error {
	w, err := c.newRowWriter(tenant)
	if err != nil {
		return fmt.Errorf("write spans: %w", err)
	}
	now := c.now()
	return w.each(len(batch), send, func(i int) string {
		s := &batch[i]
		if s.TraceID == "" || s.SpanID == "" {
			return "the span has no trace id or no span id"
		}
		if s.Start.IsZero() {
			return "the span has no start"
		}
		if reason := c.checkTime(now, s.End); reason != "" {
			return reason
		}
		return w.addSpan(s)
	})
}

// addSpan appends the span, or returns why it cannot be stored.
func (w *rowWriter) addSpan(s *telemetry.SpanRecord) (reason string) {
	clear(w.taken)
	w.row.Fields = w.row.Fields[:0]

	w.add1(telemetry.FieldTraceID, s.TraceID)
	w.add1(telemetry.FieldSpanID, s.SpanID)
	w.add1(telemetry.FieldParentSpanID, s.ParentSpanID)
	w.add1(telemetry.FieldTraceState, s.TraceState)
	w.add1(telemetry.FieldSpanName, s.Name)
	w.add1(telemetry.FieldSpanKind, strconv.Itoa(int(s.Kind)))
	w.add1(telemetry.FieldStartTime, nanos(s.Start))
	w.add1(telemetry.FieldEndTime, nanos(s.End))
	w.add1(telemetry.FieldDuration, strconv.FormatInt(max(0, s.End.Sub(s.Start).Nanoseconds()), 10))
	w.add1(telemetry.FieldStatusCode, strconv.Itoa(int(s.Status)))
	w.add1(telemetry.FieldStatusMessage, s.StatusMessage)
	w.add1(telemetry.FieldScopeName, s.ScopeName)
	w.add1(telemetry.FieldScopeVersion, s.ScopeVersion)
	w.addAll(telemetry.ResourcePrefix, s.Resource, "")
	w.addAll(telemetry.ScopeAttributePrefix, s.Scope, "")
	w.addAll(telemetry.SpanAttributePrefix, s.Attributes, "")
	for i, e := range s.Events {
		at := ":" + strconv.Itoa(i)
		w.add1(telemetry.EventNamePrefix+at, e.Name)
		w.add1(telemetry.EventTimePrefix+at, nanos(e.Time))
		w.addAll(telemetry.EventAttributePrefix, e.Attributes, at)
	}
	for i, l := range s.Links {
		at := ":" + strconv.Itoa(i)
		w.add1(telemetry.LinkTraceIDPrefix+at, l.TraceID)
		w.add1(telemetry.LinkSpanIDPrefix+at, l.SpanID)
		w.addAll(telemetry.LinkAttributePrefix, l.Attributes, at)
	}

	// The fields by which spans are looked for and scoped most; from the row,
	// where each name is once.
	addTags := func(to *logstorage.StreamTags) {
		for _, f := range w.row.Fields {
			switch f.Name {
			case telemetry.FieldSpanName, telemetry.FieldSpanService,
				telemetry.ResourcePrefix + "service.namespace", telemetry.ResourcePrefix + "deployment.environment.name":
				if len(f.Value) <= maxStreamValueBytes {
					to.Add(f.Name, f.Value)
				}
			}
		}
	}
	tags := logstorage.GetStreamTags()
	defer logstorage.PutStreamTags(tags)
	addTags(tags)
	return w.finish(s.End, string(tags.MarshalCanonical(nil)), addTags)
}

// add1 stores a value under a name that only this package makes; the first
// of a name wins.
func (w *rowWriter) add1(name, value string) {
	if !w.taken[name] {
		w.reserve(name, value)
	}
}

func (w *rowWriter) addAll(prefix string, fields []telemetry.Field, suffix string) {
	for _, f := range fields {
		if f.Value != "" {
			w.add1(prefix+f.Name+suffix, f.Value)
		}
	}
}

func nanos(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixNano(), 10)
}
