package victoria

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of a stored record. The engine drops what exceeds its own without
// telling the sender, so records are checked before they are sent.
const (
	maxFieldNameBytes = 128
	maxRowBytes       = 2 << 20
	// maxRowFields counts resource attributes twice, as they are stored twice.
	maxRowFields = 1000
	// maxStreamValueBytes keeps the engine's index entries small: a longer
	// value is stored but is no stream field.
	maxStreamValueBytes = 256
	// maxStreamNames bounds the different field names of one stream in one
	// request: above 2,000 in one block the engine drops the rest of it.
	maxStreamNames = 500

	// maxInsertBytes is when rows are sent; the engine takes 64 MiB.
	maxInsertBytes = 4 << 20
	// usualRowBytes is what room is made for beforehand.
	usualRowBytes = 768
)

// insertVersion is of the engine's native insert format.
const insertVersion = "v1"

// isStreamField tells the resource attributes that identify a sender. The
// engine keeps the rows of one stream together and finds them by these fields
// without reading rows.
func isStreamField(name string) bool {
	switch name {
	case "service.name", "service.namespace", "service.instance.id",
		"deployment.environment.name", "deployment.environment", "host.name",
		"k8s.cluster.name", "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name",
		"k8s.daemonset.name", "k8s.pod.name", "k8s.node.name", "k8s.container.name":
		return true
	}
	return false
}

// WriteLogs implements telemetry.Writer.
//
// A record is stored with _time, _msg, severity, trace_id and span_id; each
// resource attribute under telemetry.ResourcePrefix and its name, and under
// its plain name; and its own attributes under their plain names, or with
// telemetry.AttributePrefix where that name is reserved, taken, or could pass
// for a resource's.
func (c *Client) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	return c.EncodeLogs(tenant, batch, func(payload []byte) error {
		_, err := c.Deliver(ctx, tenant, payload)
		return err
	})
}

// EncodeLogs calls send with payloads for Deliver that hold the records, each
// a few MiB, and returns its first error. send must not keep its argument.
// What can never be stored is left out and returned as
// *telemetry.RejectedError, see WriteLogs.
func (c *Client) EncodeLogs(tenant telemetry.TenantID, batch []telemetry.LogRecord, send func(payload []byte) error) error {
	w, err := c.newRowWriter(tenant)
	if err != nil {
		return fmt.Errorf("write logs: %w", err)
	}
	now := c.now()
	return w.each(len(batch), send, func(i int) string {
		if reason := c.checkTime(now, batch[i].Time); reason != "" {
			return reason
		}
		return w.add(&batch[i])
	})
}

// Deliver stores an encoded payload, or several joined together, and returns
// when the engine has it in memory. instance tells one run of an engine from
// the next; it is empty for an engine that is not ours. Errors: telemetry.ErrRefused
// where the engine can never take it, the context's, or
// telemetry.ErrUnavailable.
func (c *Client) Deliver(ctx context.Context, tenant telemetry.TenantID, payload []byte) (instance string, err error) {
	resp, err := c.do(ctx, http.MethodPost, c.writeBase+pathInsert+"?version="+insertVersion, tenant, "application/octet-stream", payload)
	if err != nil {
		return "", fmt.Errorf("write rows: %w", err)
	}
	if resp.StatusCode == http.StatusBadRequest {
		_ = discard(resp) // what it says may quote rows
		return "", fmt.Errorf("write rows: %w", telemetry.ErrRefused)
	}
	if err := discard(resp); err != nil {
		return "", fmt.Errorf("write rows: %w", err)
	}
	return resp.Header.Get(instanceHeader), nil
}

func (c *Client) checkTime(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "the record has no time"
	case c.retention > 0 && t.Before(now.Add(-c.retention)):
		return fmt.Sprintf("the record is older than the retention of %d days", int(c.retention/(24*time.Hour)))
	case t.After(now.Add(FutureRetention)):
		return fmt.Sprintf("the record's time is more than %d hours in the future", int(FutureRetention/time.Hour))
	case t.Before(time.Unix(0, 0)):
		return "the record's time is before 1970"
	}
	return ""
}

// A rowWriter writes records in the engine's native insert format.
type rowWriter struct {
	tenant logstorage.TenantID
	body   []byte
	// taken holds the field names of the row being built.
	taken map[string]bool
	// names holds, per stream, the field names of this batch.
	names map[string]map[string]bool
	row   logstorage.InsertRow
	// resource is what was made of the last record's resource: records come
	// grouped by it.
	resource storedResource
}

// A storedResource is how the fields of a resource are stored.
type storedResource struct {
	of []telemetry.Field
	// fields are under ResourcePrefix; those of stream tell the sender.
	fields []logstorage.Field
	stream []int
	// canonical is the stream that these make.
	canonical string
}

// store returns how a resource is stored.
func (w *rowWriter) store(resource []telemetry.Field) *storedResource {
	s := &w.resource
	if len(resource) > 0 && len(resource) == len(s.of) && &resource[0] == &s.of[0] {
		return s // the same memory, which nobody changes while we encode
	}
	*s = storedResource{of: resource, fields: s.fields[:0], stream: s.stream[:0]}
	clear(w.taken)
	for _, f := range resource {
		name := telemetry.ResourcePrefix + f.Name
		if f.Value == "" || w.taken[name] {
			continue
		}
		w.taken[name] = true
		if isStreamField(f.Name) && len(f.Value) <= maxStreamValueBytes {
			s.stream = append(s.stream, len(s.fields))
		}
		s.fields = append(s.fields, logstorage.Field{Name: name, Value: f.Value})
	}
	tags := logstorage.GetStreamTags()
	defer logstorage.PutStreamTags(tags)
	s.tags(tags)
	s.canonical = string(tags.MarshalCanonical(nil))
	return s
}

// tags adds what tells the sender.
func (s *storedResource) tags(to *logstorage.StreamTags) {
	for _, i := range s.stream {
		to.Add(s.fields[i].Name, s.fields[i].Value)
	}
}

func (c *Client) newRowWriter(tenant telemetry.TenantID) (*rowWriter, error) {
	if tenant == 0 {
		return nil, errors.New("tenant 0 is nobody's")
	}
	return &rowWriter{
		tenant: logstorage.TenantID{AccountID: uint32(tenant)},
		taken:  make(map[string]bool), names: make(map[string]map[string]bool),
	}, nil
}

// each appends n records with add, which says why one cannot be stored, and
// sends the rows in pieces.
func (w *rowWriter) each(n int, send func([]byte) error, add func(i int) (reason string)) error {
	w.body = slices.Grow(w.body, min(n*usualRowBytes, maxInsertBytes+maxInsertBytes/8))
	var rejected []telemetry.RejectedRecord
	for i := range n {
		if reason := add(i); reason != "" {
			rejected = append(rejected, telemetry.RejectedRecord{Index: i, Reason: reason})
			continue
		}
		if len(w.body) >= maxInsertBytes {
			if err := send(w.body); err != nil {
				return err
			}
			w.body = w.body[:0]
		}
	}
	if len(w.body) > 0 {
		if err := send(w.body); err != nil {
			return err
		}
	}
	if len(rejected) > 0 {
		return &telemetry.RejectedError{Records: rejected}
	}
	return nil
}

// add appends the record, or returns why it cannot be stored.
func (w *rowWriter) add(r *telemetry.LogRecord) (reason string) {
	resource := w.store(r.Resource)
	clear(w.taken)
	w.row.Fields = w.row.Fields[:0]

	// Reserved names are taken even where this record leaves them out, so that
	// an attribute never poses as the record's own.
	w.reserve(telemetry.FieldSeverity, r.Severity)
	w.reserve(telemetry.FieldTraceID, r.TraceID)
	w.reserve(telemetry.FieldSpanID, r.SpanID)
	// Without a message the engine keeps none, which is told from a "-".
	if r.Message != "" {
		w.row.Fields = append(w.row.Fields, logstorage.Field{Name: telemetry.FieldMessage, Value: r.Message})
	}
	w.row.Fields = append(w.row.Fields, resource.fields...)
	// Nothing else can take a name under ResourcePrefix: see attribute.
	for _, f := range resource.fields {
		w.attribute(f.Name[len(telemetry.ResourcePrefix):], f.Value)
	}
	for _, f := range r.Attributes {
		if f.Value != "" {
			w.attribute(f.Name, f.Value)
		}
	}

	return w.finish(r.Time, resource.canonical, resource.tags)
}

// finish checks the row that was built and appends it, or returns why it
// cannot be stored. canonical is its stream, which tags makes.
func (w *rowWriter) finish(at time.Time, canonical string, tags func(to *logstorage.StreamTags)) (reason string) {
	if len(w.row.Fields) > maxRowFields {
		return fmt.Sprintf("the record has more than %d fields, with those of its resource counted twice", maxRowFields)
	}
	for _, f := range w.row.Fields {
		if len(f.Name) > maxFieldNameBytes {
			return fmt.Sprintf("a field's name is longer than %d bytes", maxFieldNameBytes-len(telemetry.ResourcePrefix))
		}
	}
	if logstorage.EstimatedJSONRowLen(w.row.Fields) > maxRowBytes {
		return fmt.Sprintf("the record is larger than %d bytes, with its resource counted twice", maxRowBytes)
	}
	w.row.TenantID = w.tenant
	w.row.Timestamp = at.UnixNano()
	w.row.StreamTagsCanonical = w.stream(canonical, tags)
	w.body = w.row.Marshal(w.body)
	return ""
}

func (w *rowWriter) reserve(name, value string) {
	w.taken[name] = true
	if value != "" {
		w.row.Fields = append(w.row.Fields, logstorage.Field{Name: name, Value: value})
	}
}

// attribute stores a value under its plain name where that is harmless.
func (w *rowWriter) attribute(name, value string) {
	// An empty name is the engine's own name for the message, and names with
	// _ in front are its inner ones. A name under ResourcePrefix would put the
	// record into somebody else's data scope.
	if name == "" || name[0] == '_' || strings.HasPrefix(name, telemetry.ResourcePrefix) {
		name = telemetry.AttributePrefix + name
	}
	for w.taken[name] && len(name) <= maxFieldNameBytes {
		name = telemetry.AttributePrefix + name
	}
	w.reserve(name, value)
}

// stream returns the row's stream. Where the rows of a stream have very many
// different names, those that add more go to a stream of their own kind: the
// engine drops rows of a block with more than 2,000 names.
func (w *rowWriter) stream(canonical string, addTags func(to *logstorage.StreamTags)) string {
	known := w.names[canonical]
	if known == nil {
		known = make(map[string]bool)
		w.names[canonical] = known
	}
	added := 0
	for _, f := range w.row.Fields {
		if !known[f.Name] {
			added++
		}
	}
	if added == 0 {
		return canonical
	}
	if len(known)+added > maxStreamNames {
		tags := logstorage.GetStreamTags()
		defer logstorage.PutStreamTags(tags)
		addTags(tags)
		tags.Add("oriel.fields", fieldsID(w.row.Fields))
		return string(tags.MarshalCanonical(nil))
	}
	for _, f := range w.row.Fields {
		known[f.Name] = true
	}
	return canonical
}

// fieldsID is the same for rows with the same set of field names.
func fieldsID(fields []logstorage.Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	slices.Sort(names)
	h := fnv.New64a()
	for _, n := range names {
		_, _ = io.WriteString(h, n)
		_, _ = h.Write([]byte{0})
	}
	return strconv.FormatUint(h.Sum64(), 16)
}
