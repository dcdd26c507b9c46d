package shop

import (
	"encoding/hex"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// byResource groups things by what sent them, in the order in which senders
// first come, for one team.
func byResource[T any](team string, all []T, of func(*T) *Resource) (order []*Resource, groups map[*Resource][]*T) {
	groups = make(map[*Resource][]*T)
	for i := range all {
		r := of(&all[i])
		if r.Team != team {
			continue
		}
		if groups[r] == nil {
			order = append(order, r)
		}
		groups[r] = append(groups[r], &all[i])
	}
	return order, groups
}

// Count returns how many log records and spans of a team are in the minute.
func (m *Minute) Count(team string) (logs, spans int) {
	for i := range m.Logs {
		if m.Logs[i].Resource.Team == team {
			logs++
		}
	}
	for i := range m.Spans {
		if m.Spans[i].Resource.Team == team {
			spans++
		}
	}
	return logs, spans
}

func (r *Resource) put(m pcommon.Map) {
	for _, a := range [][2]string{
		{"service.name", r.Service},
		{"service.version", r.Version},
		{"service.namespace", r.Team},
		{"deployment.environment.name", r.Environment},
		{"cloud.region", r.Region},
		{"host.name", r.Host},
		{"k8s.pod.name", r.Pod},
		{"team.name", r.Owner},
	} {
		m.PutStr(a[0], a[1])
	}
}

func put(m pcommon.Map, attrs []Attr) {
	m.EnsureCapacity(len(attrs))
	for _, a := range attrs {
		switch v := a.Value.(type) {
		case string:
			m.PutStr(a.Name, v)
		case int64:
			m.PutInt(a.Name, v)
		case float64:
			m.PutDouble(a.Name, v)
		case bool:
			m.PutBool(a.Name, v)
		}
	}
}

func traceID(s string) (id pcommon.TraceID) {
	_, _ = hex.Decode(id[:], []byte(s)) // we made it
	return id
}

func spanID(s string) (id pcommon.SpanID) {
	_, _ = hex.Decode(id[:], []byte(s)) // we made it
	return id
}

var severities = map[string]plog.SeverityNumber{
	"DEBUG": plog.SeverityNumberDebug, "INFO": plog.SeverityNumberInfo, "WARN": plog.SeverityNumberWarn, "ERROR": plog.SeverityNumberError, "FATAL": plog.SeverityNumberFatal,
}

// OTLPLogs returns the minute's log records of a team.
func (m *Minute) OTLPLogs(team string) plog.Logs {
	out := plog.NewLogs()
	order, groups := byResource(team, m.Logs, func(l *Log) *Resource { return l.Resource })
	for _, r := range order {
		rl := out.ResourceLogs().AppendEmpty()
		r.put(rl.Resource().Attributes())
		to := rl.ScopeLogs().AppendEmpty().LogRecords()
		to.EnsureCapacity(len(groups[r]))
		for _, l := range groups[r] {
			rec := to.AppendEmpty()
			rec.SetTimestamp(pcommon.NewTimestampFromTime(l.Time))
			rec.SetSeverityNumber(severities[l.Severity])
			rec.SetSeverityText(l.Severity)
			rec.Body().SetStr(l.Body)
			put(rec.Attributes(), l.Attributes)
			if l.TraceID != "" {
				rec.SetTraceID(traceID(l.TraceID))
				rec.SetSpanID(spanID(l.SpanID))
			}
		}
	}
	return out
}

var kinds = map[string]ptrace.SpanKind{
	KindInternal: ptrace.SpanKindInternal, KindServer: ptrace.SpanKindServer, KindClient: ptrace.SpanKindClient,
	KindProducer: ptrace.SpanKindProducer, KindConsumer: ptrace.SpanKindConsumer,
}

// OTLPTraces returns the minute's spans of a team.
func (m *Minute) OTLPTraces(team string) ptrace.Traces {
	out := ptrace.NewTraces()
	order, groups := byResource(team, m.Spans, func(s *Span) *Resource { return s.Resource })
	for _, r := range order {
		rs := out.ResourceSpans().AppendEmpty()
		r.put(rs.Resource().Attributes())
		to := rs.ScopeSpans().AppendEmpty().Spans()
		to.EnsureCapacity(len(groups[r]))
		for _, s := range groups[r] {
			sp := to.AppendEmpty()
			sp.SetTraceID(traceID(s.TraceID))
			sp.SetSpanID(spanID(s.SpanID))
			if s.ParentID != "" {
				sp.SetParentSpanID(spanID(s.ParentID))
			}
			sp.SetName(s.Name)
			sp.SetKind(kinds[s.Kind])
			sp.SetStartTimestamp(pcommon.NewTimestampFromTime(s.Start))
			sp.SetEndTimestamp(pcommon.NewTimestampFromTime(s.End))
			put(sp.Attributes(), s.Attributes)
			if s.Error {
				sp.Status().SetCode(ptrace.StatusCodeError)
				sp.Status().SetMessage(s.Problem)
			}
		}
	}
	return out
}

// cumulative sums that are no histograms.
var sums = []string{"k8s.container.restarts"}

// OTLPMetrics returns the minute's points of a team.
func (m *Minute) OTLPMetrics(team string) pmetric.Metrics {
	out := pmetric.NewMetrics()
	order, groups := byResource(team, m.Points, func(p *Point) *Resource { return p.Resource })
	for _, r := range order {
		rm := out.ResourceMetrics().AppendEmpty()
		r.put(rm.Resource().Attributes())
		to := rm.ScopeMetrics().AppendEmpty().Metrics()
		for _, p := range groups[r] {
			metric := to.AppendEmpty()
			metric.SetName(p.Metric)
			metric.SetUnit(p.Unit)
			metric.SetDescription(p.Help)
			if p.Buckets != nil {
				h := metric.SetEmptyHistogram()
				h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				dp := h.DataPoints().AppendEmpty()
				dp.SetStartTimestamp(pcommon.NewTimestampFromTime(p.Start))
				dp.SetTimestamp(pcommon.NewTimestampFromTime(p.Time))
				dp.SetCount(p.Count)
				dp.SetSum(p.Value)
				dp.ExplicitBounds().FromRaw(Bounds())
				dp.BucketCounts().FromRaw(p.Buckets)
				put(dp.Attributes(), p.Attributes)
				continue
			}
			var dp pmetric.NumberDataPoint
			if slices.Contains(sums, p.Metric) {
				s := metric.SetEmptySum()
				s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				s.SetIsMonotonic(true)
				dp = s.DataPoints().AppendEmpty()
				dp.SetStartTimestamp(pcommon.NewTimestampFromTime(p.Start))
			} else {
				dp = metric.SetEmptyGauge().DataPoints().AppendEmpty()
			}
			dp.SetTimestamp(pcommon.NewTimestampFromTime(p.Time))
			dp.SetDoubleValue(p.Value)
			put(dp.Attributes(), p.Attributes)
		}
	}
	return out
}
