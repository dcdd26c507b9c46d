package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/orielhq/oriel/internal/telemetry"
)

// MaxDocumentBytes bounds a document of a file, as it does a request's body.
const MaxDocumentBytes = maxBodyBytes

// A Document is an OTLP request in JSON that was read from a file; each of its
// parts may be empty.
type Document struct {
	Logs    plog.Logs
	Traces  ptrace.Traces
	Metrics pmetric.Metrics
}

// ErrNotOTLP says that JSON is no request of OTLP.
var ErrNotOTLP = errors.New("not an OTLP request: it has no resourceLogs, resourceSpans or resourceMetrics")

// ParseDocument reads an ExportLogs-, ExportTrace- or ExportMetricsServiceRequest
// in JSON (OTLP, "JSON Protobuf Encoding"), or one that is several of them.
// Errors say what is wrong, for the person who has the file.
func ParseDocument(data []byte) (d Document, err error) {
	d = Document{Logs: plog.NewLogs(), Traces: ptrace.NewTraces(), Metrics: pmetric.NewMetrics()}
	signals, err := documentSignals(data)
	if err != nil {
		return d, err
	}
	for _, sig := range signals {
		var f *failure
		switch sig {
		case signalLogs:
			req := plogotlp.NewExportRequest()
			f = decode(sig, typeJSON, data, &req)
			d.Logs = req.Logs()
		case signalSpans:
			req := ptraceotlp.NewExportRequest()
			f = decode(sig, typeJSON, data, &req)
			d.Traces = req.Traces()
		case signalMetrics:
			req := pmetricotlp.NewExportRequest()
			f = decode(sig, typeJSON, data, &req)
			d.Metrics = req.Metrics()
		}
		if f != nil {
			return Document{Logs: plog.NewLogs(), Traces: ptrace.NewTraces(), Metrics: pmetric.NewMetrics()}, errors.New(f.public)
		}
	}
	return d, nil
}

// IsDocument reports whether the beginning of some JSON is that of an OTLP
// request: an object whose first member is one.
func IsDocument(head []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(head))
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
		return false
	}
	name, err := dec.Token()
	text, ok := name.(string)
	return err == nil && ok && documentSignal(text) != ""
}

func documentSignal(member string) signal {
	switch member {
	case "resourceLogs", "resource_logs":
		return signalLogs
	case "resourceSpans", "resource_spans":
		return signalSpans
	case "resourceMetrics", "resource_metrics":
		return signalMetrics
	}
	return ""
}

func documentSignals(data []byte) (signals []signal, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("not valid JSON: %s at byte %d", syntax, syntax.Offset)
		}
		return nil, fmt.Errorf("%w; it is no object", ErrNotOTLP)
	}
	for name := range members {
		if sig := documentSignal(name); sig != "" {
			signals = append(signals, sig)
		}
	}
	if len(signals) == 0 {
		return nil, ErrNotOTLP
	}
	return signals, nil
}

// A point is a data point of any kind of metric.
type point interface {
	Timestamp() pcommon.Timestamp
	SetTimestamp(pcommon.Timestamp)
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
}

// removePoints removes the data points for which drop returns true.
func (d *Document) removePoints(drop func(point) bool) {
	for _, rm := range d.Metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					m.Gauge().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return drop(p) })
				case pmetric.MetricTypeSum:
					m.Sum().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return drop(p) })
				case pmetric.MetricTypeHistogram:
					m.Histogram().DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool { return drop(p) })
				case pmetric.MetricTypeExponentialHistogram:
					m.ExponentialHistogram().DataPoints().RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool { return drop(p) })
				case pmetric.MetricTypeSummary:
					m.Summary().DataPoints().RemoveIf(func(p pmetric.SummaryDataPoint) bool { return drop(p) })
				}
			}
		}
	}
}

// RemovePoints removes the data points for whose time drop returns true, which
// is zero where a point has none.
func (d *Document) RemovePoints(drop func(time.Time) bool) {
	d.removePoints(func(p point) bool { return drop(timeOf(p.Timestamp())) })
}

// Last returns the latest time of the document's records, zero where none has
// one.
func (d *Document) Last() time.Time {
	var last pcommon.Timestamp
	see := func(t pcommon.Timestamp) {
		if t <= math.MaxInt64 {
			last = max(last, t)
		}
	}
	for _, rl := range d.Logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				if t := r.Timestamp(); t != 0 {
					see(t)
				} else {
					see(r.ObservedTimestamp())
				}
			}
		}
	}
	for _, rs := range d.Traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				see(s.StartTimestamp())
				see(s.EndTimestamp())
			}
		}
	}
	d.removePoints(func(p point) bool {
		see(p.Timestamp())
		return false
	})
	return timeOf(last)
}

// Shift moves every time of the document's records that is set.
func (d *Document) Shift(by time.Duration) {
	move := func(t pcommon.Timestamp, set func(pcommon.Timestamp)) {
		if t == 0 || t > math.MaxInt64 {
			return
		}
		// Times before 1970 cannot be written.
		set(pcommon.Timestamp(max(1, int64(t)+int64(by))))
	}
	for _, rl := range d.Logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				move(r.Timestamp(), r.SetTimestamp)
				move(r.ObservedTimestamp(), r.SetObservedTimestamp)
			}
		}
	}
	for _, rs := range d.Traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				move(s.StartTimestamp(), s.SetStartTimestamp)
				move(s.EndTimestamp(), s.SetEndTimestamp)
				for _, e := range s.Events().All() {
					move(e.Timestamp(), e.SetTimestamp)
				}
			}
		}
	}
	d.removePoints(func(p point) bool {
		move(p.Timestamp(), p.SetTimestamp)
		move(p.StartTimestamp(), p.SetStartTimestamp)
		if with, ok := p.(interface{ Exemplars() pmetric.ExemplarSlice }); ok {
			for _, e := range with.Exemplars().All() {
				move(e.Timestamp(), e.SetTimestamp)
			}
		}
		return false
	})
}

// anyAge is a retention that rejects nothing for its age.
const anyAge = 200 * 365 * 24 * time.Hour

// Records converts the document's log records and spans as those of a request
// are. They may be of any age, which is for the caller to look at; rejected
// counts the others by reason.
func (d *Document) Records(now time.Time) (logs []telemetry.LogRecord, logsRejected map[string]int64, spans []telemetry.SpanRecord, spansRejected map[string]int64) {
	c := converter{now: now, retention: anyAge}
	logs = c.convert(d.Logs)
	logsRejected = c.rejected
	c = converter{now: now, retention: anyAge}
	spans = c.convertSpans(d.Traces)
	return logs, logsRejected, spans, c.rejected
}
