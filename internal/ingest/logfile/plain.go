package logfile

import (
	"regexp"
	"strings"

	"github.com/orielhq/oriel/internal/telemetry"
)

// plainStamp finds a line's time-stamp: in the file's own shape, or in another
// that stands at the very start.
func (r *Reader) plainStamp(line string) (stamp, bool) {
	if r.profile.shape == shapeNone || indented(line) {
		return stamp{}, false
	}
	if st, ok := findStamp(line, r.profile.shape, r.o.Location); ok {
		return st, true
	}
	st, ok := stampAt(line, 0, 0, shapeNone, r.o.Location)
	return st, ok && !st.shape.weak()
}

// plainLine takes one line and returns the record that is complete by it.
func (r *Reader) plainLine(line string) (done telemetry.LogRecord, ok bool) {
	st, found := r.plainStamp(line)
	if !found && r.join(line) {
		return telemetry.LogRecord{}, false
	}
	done, ok = r.takePending()
	rec := r.plainRecord(line, st, found)
	r.pending = &pending{rec: rec, bytes: len(rec.Message)}
	return done, ok
}

// join adds a line without a time-stamp to the record before it. In a file
// without any time-stamps every line is a record.
func (r *Reader) join(line string) bool {
	p := r.pending
	if p == nil || r.profile.shape == shapeNone || len(p.text) == maxJoinedLines || p.bytes+1+len(line) > maxLineBytes {
		return false
	}
	p.text = append(p.text, line)
	p.bytes += 1 + len(line)
	r.stats.Joined++
	return true
}

func (r *Reader) takePending() (telemetry.LogRecord, bool) {
	p := r.pending
	if p == nil {
		return telemetry.LogRecord{}, false
	}
	r.pending = nil
	if len(p.text) > 0 {
		p.rec.Message += "\n" + strings.Join(p.text, "\n")
	}
	return p.rec, true
}

// syslogHeader is what follows the time in BSD syslog (RFC 3164 §4.1.2 and
// §4.1.3): host, program, optional process id.
var syslogHeader = regexp.MustCompile(`^(\S+) ([A-Za-z0-9_./()@+-]+?)(?:\[(\d+)\])?:(?: |$)`)

// plainRecord makes a record of a line. The message is the line without the
// time-stamp at its start, which would contradict a shifted time; a file name
// before the time-stamp becomes an attribute. All else stays in the message,
// so that what grep finds in the file a search finds in the messages.
func (r *Reader) plainRecord(line string, st stamp, found bool) telemetry.LogRecord {
	r.stats.Records++
	rec := telemetry.LogRecord{Resource: r.resource, Message: line}
	if !found {
		rec.Time = r.neighbourTime()
		rec.Severity = levelOf(line)
		return rec
	}
	rec.Time = r.stampTime(st)
	rest := line[st.end:]
	body := trimSeparator(rest)
	prefix := strings.TrimRight(line[:st.start], " \t")
	switch {
	case body == "":
	case prefix == "":
		rec.Message = body
	case strings.Contains(prefix, ".log") && !strings.ContainsAny(prefix, " \t"):
		rec.Message = body
		rec.Attributes = append(rec.Attributes, telemetry.Field{Name: "log.file.path", Value: prefix})
	}
	if st.start == 0 && (st.shape == shapeSyslog || st.shape == shapeISO) {
		m := syslogHeader.FindStringSubmatchIndex(body)
		// After other times than syslog's own, only a process id makes it
		// certain that this is a host and a program.
		if m != nil && (st.shape == shapeSyslog || m[6] >= 0) {
			rec.Attributes = append(rec.Attributes,
				telemetry.Field{Name: "host.name", Value: body[m[2]:m[3]]},
				telemetry.Field{Name: "process.name", Value: body[m[4]:m[5]]})
			if m[6] >= 0 {
				rec.Attributes = append(rec.Attributes, telemetry.Field{Name: "process.pid", Value: body[m[6]:m[7]]})
			}
			body = body[m[1]:]
		}
	}
	rec.Severity = st.severity
	if rec.Severity == "" {
		rec.Severity = levelOf(body)
	}
	if rec.Severity == "" && prefix != "" {
		rec.Severity = levelOf(prefix)
	}
	if rec.Severity == "" {
		rec.Severity = prioritySeverity(line)
	}
	return rec
}

// trimSeparator removes the space and the one mark that parts time and text.
func trimSeparator(s string) string {
	s = strings.TrimLeft(s, " \t")
	if len(s) > 1 && strings.IndexByte("-|:,", s[0]) >= 0 && s[1] == ' ' {
		s = strings.TrimLeft(s[1:], " \t")
	}
	return s
}
