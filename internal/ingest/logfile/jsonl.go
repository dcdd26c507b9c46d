package logfile

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// maxMembers bounds the attributes of one line.
	maxMembers = ingest.MaxFields - 10
	// maxMemberBytes bounds names and values of one line's attributes together.
	maxMemberBytes = 800 << 10
)

// Names, in order of preference, under which libraries write the parts that a
// record has fields of its own for; compared without regard to case.
var (
	timeNames    = []string{"@timestamp", "timestamp", "time", "ts", "t", "@t", "_time", "date", "datetime", "eventTime", "event_time", "asctime"}
	messageNames = []string{"message", "msg", "_msg", "@m", "log", "body", "event", "text", "short_message"}
	levelNames   = []string{"level", "severity", "lvl", "log.level", "loglevel", "log_level", "levelname", "severity_text", "severityText", "@l", "severity_number", "severityNumber"}
	traceNames   = []string{"trace_id", "traceId", "trace.id"}
	spanNames    = []string{"span_id", "spanId", "span.id"}
	serviceNames = []string{"service.name", "service", "service_name", "app", "application"}
)

// member is one leaf of an object, its name joined with dots, or one pair of
// a logfmt line.
type member struct {
	name, value string
	number      bool
	used        bool
}

func looksLikeJSON(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "{") && json.Valid([]byte(line))
}

// jsonLine makes a record of one line of a JSON-lines file.
func (r *Reader) jsonLine(line string) telemetry.LogRecord {
	members, cutMembers, ok := parseObject(line)
	if !ok {
		r.unparsed("not a JSON object; each line must hold one")
		st, found := r.plainStamp(line)
		return r.plainRecord(line, st, found)
	}
	return r.memberRecord(line, members, cutMembers)
}

// memberRecord makes a record of the members of a line.
func (r *Reader) memberRecord(line string, members []member, cutMembers int) telemetry.LogRecord {
	r.stats.Records++
	r.stats.Cut += int64(cutMembers)
	rec := telemetry.LogRecord{Resource: r.resource, Message: line}

	timed := false
	pick(members, timeNames, func(m *member) bool {
		st, ok := timeOf(m.value, m.number, r.o.Location)
		if ok {
			rec.Time, timed = r.stampTime(st), true
		}
		return ok
	})
	if !timed {
		rec.Time = r.neighbourTime()
	}
	pick(members, messageNames, func(m *member) bool {
		text := strings.TrimRight(m.value, "\r\n") // Docker keeps the line's end
		if text == "" {
			return false
		}
		rec.Message = text
		return true
	})
	pick(members, levelNames, func(m *member) bool {
		rec.Severity = jsonLevel(m)
		return rec.Severity != ""
	})
	pick(members, traceNames, func(m *member) bool {
		if id := strings.ToLower(m.value); isID(id, 32) {
			rec.TraceID = id
		}
		return rec.TraceID != ""
	})
	pick(members, spanNames, func(m *member) bool {
		if id := strings.ToLower(m.value); isID(id, 16) {
			rec.SpanID = id
		}
		return rec.SpanID != ""
	})
	pick(members, serviceNames, func(m *member) bool {
		if m.number || m.value == "" {
			return false
		}
		rec.Resource = slices.Clone(r.resource)
		rec.Resource[0].Value = m.value
		return true
	})

	for _, m := range members {
		if m.used || m.value == "" {
			continue
		}
		name := ingest.AttributeName(m.name)
		if name == "log.file.name" && len(r.resource) > 1 {
			name = telemetry.AttributePrefix + name
		}
		rec.Attributes = append(rec.Attributes, telemetry.Field{Name: name, Value: m.value})
	}
	return rec
}

// pick offers the members with one of the names, best first, until use takes
// one; that one becomes no attribute.
func pick(members []member, names []string, use func(*member) bool) {
	for _, name := range names {
		for i := range members {
			m := &members[i]
			if m.used || !strings.EqualFold(m.name, name) {
				continue
			}
			if use(m) {
				m.used = true
				return
			}
		}
	}
}

// parseObject returns the leaves of the object on a line, ordered by name, and
// how many did not fit.
func parseObject(line string) (members []member, cutMembers int, ok bool) {
	if !strings.HasPrefix(strings.TrimLeft(line, " \t"), "{") || !json.Valid([]byte(line)) {
		return nil, 0, false
	}
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, 0, false
	}
	var list memberList
	var walk func(prefix string, object map[string]any)
	walk = func(prefix string, object map[string]any) {
		for _, key := range sortedKeys(object) {
			name, value := prefix+key, object[key]
			if nested, isObject := value.(map[string]any); isObject && flattens(name, nested) {
				walk(name+".", nested)
				continue
			}
			m := member{name: name}
			switch v := value.(type) {
			case nil:
				continue
			case string:
				m.value = v
			case json.Number:
				m.value, m.number = v.String(), true
			case bool:
				m.value = strconv.FormatBool(v)
			default:
				m.value = jsonText(v)
			}
			list.add(m)
		}
	}
	walk("", object)
	return list.members, list.cut, true
}

// A memberList collects members within the limits of a record.
type memberList struct {
	members   []member
	size, cut int
}

func (l *memberList) add(m member) {
	if len(m.name) > ingest.MaxFieldNameBytes-len(telemetry.AttributePrefix) {
		m.name = strings.ToValidUTF8(m.name[:ingest.MaxFieldNameBytes-len(telemetry.AttributePrefix)], "")
		l.cut++
	}
	if len(l.members) == maxMembers || l.size+len(m.name)+len(m.value) > maxMemberBytes {
		l.cut++
		return
	}
	l.size += len(m.name) + len(m.value)
	l.members = append(l.members, m)
}

// flattens reports whether an object's members become attributes of their own;
// not where a joined name would be too long.
func flattens(name string, object map[string]any) bool {
	for key := range object {
		if len(name)+1+len(key) > ingest.MaxFieldNameBytes-len(telemetry.AttributePrefix) {
			return false
		}
	}
	return len(object) > 0
}

func sortedKeys(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func jsonText(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func isID(s string, length int) bool {
	if len(s) != length || strings.Trim(s, "0") == "" {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// jsonLevel reads a level: a word, or the numbers of pino and bunyan (10 to 60)
// and, under its own name, of OpenTelemetry (1 to 24).
func jsonLevel(m *member) string {
	n, err := strconv.Atoi(m.value)
	if err != nil {
		return telemetry.ParseSeverity(m.value)
	}
	if strings.HasPrefix(strings.ToLower(m.name), "severity") && strings.HasSuffix(strings.ToLower(m.name), "number") {
		return telemetry.SeverityOfNumber(int32(min(max(n, 0), math.MaxInt32)))
	}
	if n%10 == 0 && n >= 10 && n <= 60 {
		return telemetry.Severities()[n/10-1]
	}
	return ""
}

// timeOf reads a member's time: a number of Unix seconds to nanoseconds, or
// text in any of the shapes.
func timeOf(s string, number bool, loc *time.Location) (stamp, bool) {
	if number && strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(f) > 1e19 {
			return stamp{}, false
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	s = strings.TrimSpace(s)
	if t, ok := parseUnix(s); ok {
		return stamp{shape: shapeUnix, time: t}, true
	}
	if number {
		return stamp{}, false
	}
	if st, ok := stampAt(s, 0, 0, shapeNone, loc); ok && st.end == len(s) {
		return st, true
	}
	for _, layout := range []string{time.RFC1123Z, time.RFC1123, time.RFC850, time.UnixDate, time.RubyDate} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil && plausible(t) {
			return stamp{shape: shapeISO, time: t}, true
		}
	}
	return stamp{}, false
}
