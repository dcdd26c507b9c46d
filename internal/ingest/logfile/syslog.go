package logfile

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// facilities are the names of RFC 5424's facilities (§6.2.1), as syslog
// daemons write them.
var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// A message is one of RFC 5424.
type message struct {
	priority int
	time     time.Time // zero where the sender had none
	// The parts of the header are empty where the sender had none.
	host, app, process, id string
	data                   memberList // sd.<id>.<parameter>
	structured             string     // data as it was written
	text                   string
}

// looksLikeSyslog reports whether a line begins as one of RFC 5424 does:
// priority, version, and a time or none.
func looksLikeSyslog(line string) bool {
	rest, ok := version(line)
	return ok && (strings.HasPrefix(rest, "- ") || len(rest) > 4 && isDigits(rest[:4]) && rest[4] == '-')
}

// version reads priority and version; rest follows the space after them.
func version(line string) (rest string, ok bool) {
	_, rest, ok = priority(line)
	v, rest, space := strings.Cut(rest, " ")
	return rest, ok && space && len(v) <= 2 && isDigits(v) && v[0] != '0'
}

// priority reads <34> at the start of a line (RFC 5424 §6.2.1).
func priority(line string) (value int, rest string, ok bool) {
	end := strings.IndexByte(line, '>')
	if end < 2 || end > 4 || line[0] != '<' || !isDigits(line[1:end]) {
		return 0, line, false
	}
	value, err := strconv.Atoi(line[1:end])
	if err != nil || value > 8*len(facilities)-1 {
		return 0, line, false
	}
	return value, line[end+1:], true
}

// syslogLine takes one line of a syslog file and returns the record that is
// complete by it. Lines of RFC 3164 are read as in a plain file.
func (r *Reader) syslogLine(line string) (done telemetry.LogRecord, ok bool) {
	if _, ok := version(line); !ok {
		before := r.pending
		done, ok = r.plainLine(line)
		if p, _, found := priority(line); found && r.pending != before {
			r.pending.rec.Attributes = append(r.pending.rec.Attributes, telemetry.Field{Name: "syslog.facility", Value: facilities[p/8]})
		}
		return done, ok
	}
	m, problem := parseMessage(line, r.o.Location)
	done, ok = r.takePending()
	var rec telemetry.LogRecord
	if problem != "" {
		r.unparsed("not syslog as RFC 5424 has it: %s", problem)
		st, found := r.plainStamp(line)
		rec = r.plainRecord(line, st, found)
		if rec.Severity == "" {
			rec.Severity = prioritySeverity(line)
		}
	} else {
		rec = r.messageRecord(line, &m)
	}
	r.pending = &pending{rec: rec, bytes: len(rec.Message)}
	return done, ok
}

func (r *Reader) messageRecord(line string, m *message) telemetry.LogRecord {
	r.stats.Records++
	r.stats.Cut += int64(m.data.cut)
	rec := telemetry.LogRecord{Resource: r.resource, Message: m.text, Severity: prioritySeverity(line)}
	for _, instead := range []string{m.structured, m.id, line} {
		if strings.TrimSpace(rec.Message) == "" {
			rec.Message = instead
		}
	}
	if m.time.IsZero() {
		rec.Time = r.neighbourTime()
	} else {
		rec.Time = r.stampTime(stamp{shape: shapeISO, time: m.time})
	}
	add := func(name, value string) {
		if value != "" {
			rec.Attributes = append(rec.Attributes, telemetry.Field{Name: name, Value: value})
		}
	}
	add("host.name", m.host)
	add("process.name", m.app)
	if isDigits(m.process) {
		add("process.pid", m.process)
	} else {
		add("syslog.procid", m.process)
	}
	add("syslog.facility", facilities[m.priority/8])
	add("syslog.msgid", m.id)
	for _, d := range m.data.members {
		add(d.name, d.value)
	}
	return rec
}

// parseMessage reads a line of RFC 5424 §6, with fields of any length. problem
// says what is wrong, "" where nothing is.
func parseMessage(line string, loc *time.Location) (m message, problem string) {
	var rest string
	var ok bool
	if m.priority, _, ok = priority(line); !ok {
		return m, "it does not begin with a priority such as <34>"
	}
	if rest, ok = version(line); !ok {
		return m, "there is no version 1 after the priority"
	}
	var stamp string
	for _, part := range []struct {
		name string
		to   *string
	}{{"time", &stamp}, {"host", &m.host}, {"program", &m.app}, {"process id", &m.process}, {"message id", &m.id}} {
		if *part.to, rest, ok = strings.Cut(rest, " "); !ok || *part.to == "" {
			return m, fmt.Sprintf("it ends at the %s; time, host, program, process id, message id and structured data must be there, - for none", part.name)
		}
		if *part.to == "-" { // NILVALUE
			*part.to = ""
		}
	}
	if stamp != "" {
		t, n, ok := parseISO(stamp, loc)
		if !ok || n != len(stamp) || !plausible(t) {
			return m, "the time cannot be read; write it as 2006-01-02T15:04:05.000Z"
		}
		m.time = t
	}
	structured := rest
	if rest, problem = m.parseData(rest); problem != "" {
		return m, problem
	}
	m.structured = structured[:len(structured)-len(rest)]
	if m.structured == "-" {
		m.structured = ""
	}
	if rest != "" && rest[0] != ' ' {
		return m, "no space after the structured data"
	}
	m.text = strings.TrimPrefix(strings.TrimPrefix(rest, " "), "\uFEFF")
	return m, ""
}

// parseData reads structured data (RFC 5424 §6.3) and returns what follows.
// A parameter may be repeated (§6.3.3): its values are joined.
func (m *message) parseData(s string) (rest, problem string) {
	if strings.HasPrefix(s, "-") {
		return s[1:], ""
	}
	if !strings.HasPrefix(s, "[") {
		return s, `no structured data; write [id name="value"] or -`
	}
	at := make(map[string]int)
	var all []member
	for strings.HasPrefix(s, "[") {
		end := strings.IndexAny(s, " ]")
		if end < 2 {
			return s, "structured data without a name"
		}
		id := s[1:end]
		s = s[end:]
		for strings.HasPrefix(s, " ") {
			name, value, after, ok := parameter(s[1:])
			if !ok {
				return s, `structured data that does not end; write [id name="value"], and \" \\ \] inside of values`
			}
			s = after
			if name == "" {
				continue // only a space before the end
			}
			name = "sd." + id + "." + name
			i, seen := at[name]
			switch {
			case !seen:
				at[name] = len(all)
				all = append(all, member{name: name, value: value})
			case value != "":
				all[i].value = strings.TrimPrefix(all[i].value+", "+value, ", ")
			}
		}
		if !strings.HasPrefix(s, "]") {
			return s, "structured data that does not end with ]"
		}
		s = s[1:]
	}
	for _, d := range all {
		m.data.add(d)
	}
	return s, ""
}

// parameter reads name="value" of structured data; name is empty where its
// end follows at once.
func parameter(s string) (name, value, rest string, ok bool) {
	if strings.HasPrefix(s, "]") {
		return "", "", s, true
	}
	name, s, ok = strings.Cut(s, `="`)
	if !ok || name == "" || strings.ContainsAny(name, ` ]"`) {
		return "", "", s, false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return name, b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`"\]`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", s, false
}
