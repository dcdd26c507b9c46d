package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/orielhq/oriel/internal/telemetry"
)

// LokiPush answers POST /loki/api/v1/push (Loki HTTP API, "Ingest logs"), JSON
// or snappy-compressed protobuf. It answers 204 when everything is stored, 400
// when some lines can never be, all others are; 429 and 503 with Retry-After
// when to send again.
//
// A stream's labels become the resource, with the names that shippers use put
// into OpenTelemetry's (service_name, pod, …); structured metadata becomes the
// record's attributes.
func (s *Server) LokiPush(w http.ResponseWriter, r *http.Request) {
	f := s.lokiPush(w, r)
	if f == nil {
		s.metrics.Requests.WithLabelValues("204").Inc()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.failed(r.Context(), f)
	setRetry(w, f)
	http.Error(w, f.public, f.status)
}

func (s *Server) lokiPush(w http.ResponseWriter, r *http.Request) *failure {
	key, f := s.key(r, signalLogs)
	if f != nil {
		return f
	}
	if err := s.ready(); err != nil {
		return notNow(err)
	}
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != typeJSON && t != typeProtobuf {
		return refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, nil, "content type %q is not supported; send %s or %s", cut(r.Header.Get("Content-Type"), 100), typeJSON, typeProtobuf)
	}
	lease := s.newLease()
	defer lease.release()
	var data []byte
	decode := decodeLokiProto
	if t == typeJSON {
		decode = decodeLokiJSON
		data, f = readBody(w, r, lease)
	} else {
		data, f = readSnappy(w, r, lease)
	}
	if f != nil {
		return f
	}
	s.metrics.Bytes.Add(float64(len(data)))
	s.rates.spend(key, s.now(), len(data))
	streams, err := decode(data)
	if tooLarge, ok := errors.AsType[*tooLargeError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, codes.InvalidArgument, nil, "%s", tooLarge)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "the request cannot be read: %s", cut(err.Error(), 200))
	}
	return s.storeLoki(r.Context(), key.Tenant, streams)
}

// A lokiStream is a stream of either encoding.
type lokiStream struct {
	labels  map[string]string
	entries []lokiEntry
}

type lokiEntry struct {
	at       time.Time
	line     string
	metadata map[string]string
}

func (s *Server) storeLoki(ctx context.Context, tenant telemetry.TenantID, streams []lokiStream) *failure {
	c := converter{now: s.now(), retention: s.retention, rejected: make(map[string]int64)}
	var records []telemetry.LogRecord
	for _, st := range streams {
		resource, severity := lokiResource(st.labels)
		size := 2 * fieldBytes(resource)
		for _, e := range st.entries {
			c.total++
			rec, reason := c.lokiRecord(e, resource, severity)
			n := size + recordBytes(rec, 0)
			switch {
			case reason != "":
			case len(resource)+len(rec.Attributes) > MaxFields:
				reason = reasonTooManyFields
			case n > MaxRowBytes:
				reason = reasonRowTooLarge
			case c.expanded+n > maxExpandedBytes:
				reason = reasonExpanded
			}
			if reason != "" {
				c.rejected[reason]++
				continue
			}
			c.expanded += n
			records = append(records, rec)
		}
	}
	accepted := int64(len(records))
	if accepted > 0 {
		n, err := rejectedBy(s.writer.WriteLogs(ctx, tenant, records), c.rejected)
		if err != nil {
			return notNow(err)
		}
		accepted -= n
		s.metrics.Accepted.WithLabelValues(string(signalLogs)).Add(float64(accepted))
		s.metrics.Batches.Inc()
	}
	for reason, n := range c.rejected {
		s.metrics.Rejected.WithLabelValues(string(signalLogs), reason).Add(float64(n))
	}
	if n, message := c.rejectedSummary("lines"); n > 0 {
		return refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "%s", message)
	}
	return nil
}

func (c *converter) lokiRecord(e lokiEntry, resource []telemetry.Field, severity string) (rec telemetry.LogRecord, reason string) {
	rec = telemetry.LogRecord{Time: e.at, Resource: resource, Severity: severity, Message: strings.ToValidUTF8(e.line, "\uFFFD")}
	switch {
	case e.at.Before(c.now.Add(-c.retention)):
		return rec, ReasonTooOld
	case e.at.After(c.now.Add(futureTolerance)):
		return rec, ReasonTooNew
	}
	for _, name := range slices.Sorted(maps.Keys(e.metadata)) {
		value := strings.ToValidUTF8(e.metadata[name], "\uFFFD")
		switch {
		case value == "":
		case name == "trace_id":
			rec.TraceID = value
		case name == "span_id":
			rec.SpanID = value
		case name == "level" || name == "detected_level" || name == "severity":
			if known := telemetry.ParseSeverity(value); known != "" {
				rec.Severity = known
			}
		default:
			name = AttributeName(cutName(name))
			for slices.ContainsFunc(resource, func(f telemetry.Field) bool { return f.Name == name }) {
				name = telemetry.AttributePrefix + name
			}
			rec.Attributes = append(rec.Attributes, telemetry.Field{Name: cutName(name), Value: value})
		}
	}
	return rec, ""
}

// lokiNames are labels that shippers use for what OpenTelemetry has a name
// for, the better ones first.
var lokiNames = []struct{ label, attribute string }{
	{"service_name", telemetry.FieldService},
	{"service", telemetry.FieldService},
	{"app", telemetry.FieldService},
	{"job", telemetry.FieldService},
	{"service_namespace", "service.namespace"},
	{"deployment_environment_name", "deployment.environment.name"},
	{"deployment_environment", "deployment.environment.name"},
	{"env", "deployment.environment.name"},
	{"host_name", "host.name"},
	{"hostname", "host.name"},
	{"host", "host.name"},
	{"cluster", "k8s.cluster.name"},
	{"namespace", "k8s.namespace.name"},
	{"pod", "k8s.pod.name"},
	{"container", "k8s.container.name"},
	{"node_name", "k8s.node.name"},
}

// lokiResource returns a stream's resource, and its severity where a label
// says it.
func lokiResource(l map[string]string) (resource []telemetry.Field, severity string) {
	taken := make(map[string]bool)
	add := func(name, value string) {
		name, value = cutName(strings.ToValidUTF8(name, "\uFFFD")), strings.ToValidUTF8(value, "\uFFFD")
		if name == "" || value == "" || taken[name] {
			return
		}
		taken[name] = true
		resource = append(resource, telemetry.Field{Name: name, Value: value})
	}
	for _, n := range lokiNames {
		add(n.attribute, l[n.label])
	}
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if name == "level" || name == "detected_level" || name == "severity" {
			if severity = telemetry.ParseSeverity(l[name]); severity != "" {
				continue
			}
		}
		add(name, l[name])
	}
	return resource, severity
}

func cutName(name string) string {
	if len(name) > MaxFieldNameBytes {
		return strings.ToValidUTF8(name[:MaxFieldNameBytes], "")
	}
	return name
}

func decodeLokiJSON(data []byte) ([]lokiStream, error) {
	if err := scanLoki(data); err != nil {
		return nil, err
	}
	var req struct {
		Streams []struct {
			Stream map[string]string   `json:"stream"`
			Values [][]json.RawMessage `json:"values"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(data, &req); err != nil {
		return nil, err
	}
	streams := make([]lokiStream, 0, len(req.Streams))
	for _, st := range req.Streams {
		one := lokiStream{labels: st.Stream}
		for _, v := range st.Values {
			var e lokiEntry
			var at string
			if len(v) < 2 || len(v) > 3 {
				return nil, errors.New("a value must be a time, a line and perhaps metadata")
			}
			err := json.Unmarshal(v[0], &at)
			if err == nil {
				err = json.Unmarshal(v[1], &e.line)
			}
			if err == nil && len(v) == 3 {
				err = json.Unmarshal(v[2], &e.metadata)
			}
			var ns int64
			if err == nil {
				ns, err = strconv.ParseInt(at, 10, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("a value must be [\"<nanoseconds>\", \"<line>\", {…}]: %w", err)
			}
			e.at = time.Unix(0, ns).UTC()
			one.entries = append(one.entries, e)
		}
		streams = append(streams, one)
	}
	return streams, nil
}

// scanLoki bounds what decoding may take: an empty value takes 8 bytes as text
// and some 200 decoded.
func scanLoki(data []byte) error {
	n := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if n++; n > 3*maxRecords {
				return errTooManyLines()
			}
		}
	}
	return nil
}

func errTooManyLines() error {
	return &tooLargeError{fmt.Sprintf("the request has more than %d lines; send smaller batches", maxRecords)}
}

// eachField calls do with the length-delimited fields of a message.
func eachField(data []byte, do func(num protowire.Number, value []byte) error, varint func(num protowire.Number, v uint64)) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(num, typ, data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		switch typ {
		case protowire.BytesType:
			value, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if err := do(num, value); err != nil {
				return err
			}
		case protowire.VarintType:
			if v, n := protowire.ConsumeVarint(data); n > 0 && varint != nil {
				varint(num, v)
			}
		}
		data = data[size:]
	}
	return nil
}

// decodeLokiProto reads a logproto.PushRequest.
func decodeLokiProto(data []byte) (streams []lokiStream, err error) {
	names := parser.NewParser(parser.Options{})
	lines := 0
	err = eachField(data, func(num protowire.Number, value []byte) error {
		if num != 1 {
			return nil
		}
		if lines++; lines > maxRecords {
			return errTooManyLines()
		}
		var st lokiStream
		err := eachField(value, func(num protowire.Number, value []byte) error {
			switch num {
			case 1:
				l, err := names.ParseMetric(string(value))
				if err != nil {
					return fmt.Errorf("a stream's labels: %w", err)
				}
				st.labels = make(map[string]string)
				l.Range(func(l labels.Label) { st.labels[l.Name] = l.Value })
			case 2:
				if lines++; lines > maxRecords {
					return errTooManyLines()
				}
				e, err := decodeLokiEntry(value)
				st.entries = append(st.entries, e)
				return err
			}
			return nil
		}, nil)
		streams = append(streams, st)
		return err
	}, nil)
	return streams, err
}

func decodeLokiEntry(data []byte) (e lokiEntry, err error) {
	var seconds, nanos int64
	none := func(protowire.Number, []byte) error { return nil }
	err = eachField(data, func(num protowire.Number, value []byte) error {
		switch num {
		case 1:
			return eachField(value, none, func(num protowire.Number, v uint64) {
				switch num {
				case 1:
					seconds = int64(v)
				case 2:
					nanos = int64(v)
				}
			})
		case 2:
			e.line = string(value)
		case 3:
			var name, text string
			err := eachField(value, func(num protowire.Number, value []byte) error {
				switch num {
				case 1:
					name = string(value)
				case 2:
					text = string(value)
				}
				return nil
			}, nil)
			if e.metadata == nil {
				e.metadata = make(map[string]string)
			}
			if len(e.metadata) <= MaxFields {
				e.metadata[name] = text
			}
			return err
		}
		return nil
	}, nil)
	e.at = time.Unix(seconds, nanos).UTC()
	return e, err
}
