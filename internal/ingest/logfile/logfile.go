// Package logfile reads log files that programs have written into log records:
// plain lines, JSON lines, syslog (RFC 5424, RFC 3164) and logfmt.
//
// A file is read twice: [ScanFile] learns its format, its first and last time
// and, where lines do not tell it, the year; then a [Reader] yields the records.
// Memory stays bounded whatever the file holds, and nothing is dropped without
// being counted: a line that is not of the file's format is kept as plain text.
package logfile

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Formats of a file.
const (
	FormatAuto   = "auto"
	FormatPlain  = "plain"
	FormatJSONL  = "jsonl"
	FormatSyslog = "syslog"
	FormatLogfmt = "logfmt"
)

// Formats lists the values that Options.Format takes.
func Formats() []string {
	return []string{FormatAuto, FormatPlain, FormatJSONL, FormatSyslog, FormatLogfmt}
}

const (
	// headLines and headBytes bound what is looked at to tell the format.
	headLines = 200
	headBytes = 1 << 20
	// maxJoinedLines bounds the lines joined to one record, such as a stack
	// trace's; the next one starts a record of its own.
	maxJoinedLines = 1000
)

// Options say how to read a file. The zero value reads any format as UTC.
type Options struct {
	// Format is one of Formats; empty is auto.
	Format string
	// Location is where times without a zone were written; nil is UTC.
	Location *time.Location
	// Now is the time of the import: lines without any time get it, and a
	// year is chosen so that no file ends after it. Required.
	Now time.Time
	// FileName names the file in records (log.file.name); may be empty.
	FileName string
	// Service is the records' service.name; empty means the file's name
	// without its extensions.
	Service string
	// Shift is added to every time read from the file.
	Shift time.Duration
	// Scan is what ScanFile found in the same file. Without it the head of
	// the file alone decides, and a file without years that runs over New
	// Year beyond its head ends after Now.
	Scan *Scan
}

// Stats counts what was met in a file.
type Stats struct {
	// Lines is all lines, empty ones included.
	Lines int64 `json:"lines"`
	// Records is the records read.
	Records int64 `json:"records"`
	// Empty is the lines skipped because nothing is on them.
	Empty int64 `json:"empty"`
	// Joined is the lines without a time-stamp that went to the record before.
	Joined int64 `json:"joined"`
	// Cut is the lines and members that were longer than can be stored.
	Cut int64 `json:"cut"`
	// Unparsed is the lines that are not of the file's format, stored as plain
	// text.
	Unparsed int64 `json:"unparsed"`
	// NoTime is the records without a readable time of their own; they have
	// the time of a neighbour, or the import's.
	NoTime int64 `json:"no_time"`
}

// A Problem is what is wrong with one line.
type Problem struct {
	Line int64 `json:"line"`
	// Text says what is wrong and what would be right.
	Text string `json:"problem"`
}

// MaxProblems bounds the problems that are kept of a file: the first ones.
const MaxProblems = 5

// A Scan is what the first pass over a file found.
type Scan struct {
	Stats
	// Format is one of Formats other than FormatAuto.
	Format string
	// TimeFormat shows how most lines write their time, in Go's layout.
	TimeFormat string
	// First and Last are the earliest and the latest time in the file, zero
	// where it has none.
	First, Last time.Time

	profile  profile
	baseYear int
}

// profile is what a file's head tells about all its lines.
type profile struct {
	format string
	shape  shape
	first  stamp // the first time in the head, shapeNone where there is none
}

// A Reader yields the records of one file. It is not safe for concurrent use.
type Reader struct {
	o        Options
	lines    *lineReader
	head     []headLine
	profile  profile
	resource []telemetry.Field

	stats    Stats
	problems []Problem
	years    yearCounter
	baseYear int
	raw      bool      // first pass: times keep leapYear
	last     meta      // of the record before, for lines without a time
	noTimes  int64     // records that have the import's time
	pending  *pending  // the record that further lines may join
	err      error     // what ended the file
	found    scanTimes // first pass only
}

type headLine struct {
	text string
	cut  bool
}

// meta is a record's time with what is needed to give it a year.
type meta struct {
	time   time.Time
	noYear bool
	turn   int
	ok     bool
}

type pending struct {
	rec   telemetry.LogRecord
	text  []string // lines joined so far
	bytes int
}

// ScanFile makes the first pass over r.
func ScanFile(r io.Reader, o Options) (*Scan, error) {
	o.Shift, o.Scan = 0, nil
	rd, err := NewReader(r, o)
	if err != nil {
		return nil, err
	}
	rd.raw = true
	for _, err := range rd.Records() {
		if err != nil {
			return nil, err
		}
	}
	s := &Scan{Stats: rd.stats, Format: rd.profile.format, TimeFormat: rd.profile.shape.String(), profile: rd.profile}
	if s.Format == FormatJSONL || s.Format == FormatLogfmt {
		s.TimeFormat = "a member of each line"
		if !rd.found.any() {
			s.TimeFormat = shapeNone.String()
		}
	}
	s.First, s.Last, s.baseYear = rd.found.settle(o.Now)
	return s, nil
}

// NewReader returns a Reader of r, which may be compressed with gzip.
func NewReader(r io.Reader, o Options) (*Reader, error) {
	if o.Format == "" {
		o.Format = FormatAuto
	}
	if !slices.Contains(Formats(), o.Format) {
		return nil, fmt.Errorf("unknown format %q; one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	if o.Now.IsZero() {
		return nil, errors.New("logfile: Options.Now is required")
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	if o.Service == "" {
		o.Service = ServiceOf(o.FileName)
	}
	lines, err := newLineReader(r, o.Format == FormatAuto || o.Format == FormatSyslog)
	if err != nil {
		return nil, err
	}
	rd := &Reader{o: o, lines: lines, resource: []telemetry.Field{{Name: telemetry.FieldService, Value: o.Service}}}
	if o.FileName != "" {
		rd.resource = append(rd.resource, telemetry.Field{Name: "log.file.name", Value: filepath.Base(o.FileName)})
	}
	rd.readHead()
	if o.Scan != nil {
		rd.profile, rd.baseYear = o.Scan.profile, o.Scan.baseYear
		return rd, nil
	}
	rd.profile = detect(rd.head, o)
	var found scanTimes
	var years yearCounter
	for _, l := range rd.head {
		if st, ok := rd.plainStamp(l.text); ok {
			m := meta{time: st.time, noYear: !st.shape.hasYear(), ok: true}
			if m.noYear {
				m.turn = years.next(st.time)
			}
			found.add(m)
		}
	}
	_, _, rd.baseYear = found.settle(o.Now)
	return rd, nil
}

// ServiceOf derives a service's name from a file's: app-2.log.1.gz is app-2.
func ServiceOf(fileName string) string {
	name := filepath.Base(fileName)
	for {
		ext := filepath.Ext(name)
		switch strings.ToLower(ext) {
		case ".gz", ".log", ".txt", ".json", ".jsonl", ".ndjson", ".out", ".err":
		default:
			if len(ext) < 2 || !isDigits(ext[1:]) {
				ext = ""
			}
		}
		if ext == "" || ext == name {
			break
		}
		name = strings.TrimSuffix(name, ext)
	}
	if name == "" || name == "." || name == "-" || name == string(filepath.Separator) {
		return "import"
	}
	return name
}

func (r *Reader) readHead() {
	bytes := 0
	for len(r.head) < headLines && bytes < headBytes {
		text, err := r.lines.next()
		if err != nil {
			r.err = err
			return
		}
		bytes += len(text)
		r.head = append(r.head, headLine{text, r.lines.cut})
	}
}

func detect(head []headLine, o Options) profile {
	var p profile
	lines, objects, headers, pairs := 0, 0, 0, 0
	found := make(map[shape]int)
	for _, l := range head {
		if strings.TrimSpace(l.text) == "" {
			continue
		}
		lines++
		if looksLikeJSON(l.text) {
			objects++
			continue
		}
		switch {
		case looksLikeSyslog(l.text):
			headers++
		case o.Format == FormatAuto && looksLikeLogfmt(l.text):
			pairs++
		}
		if st, ok := findStamp(l.text, shapeNone, o.Location); ok && !indented(l.text) {
			found[st.shape]++
		}
	}
	p.format = o.Format
	if p.format == FormatAuto {
		switch {
		case 2*objects > lines:
			p.format = FormatJSONL
		case 2*headers > lines:
			p.format = FormatSyslog
		case 2*pairs > lines:
			p.format = FormatLogfmt
		default:
			p.format = FormatPlain
		}
	}
	for sh := shapeISO; sh <= shapeUnix; sh++ {
		if n := found[sh]; n > found[p.shape] && (!sh.weak() || 2*n >= lines) {
			p.shape = sh
		}
	}
	if p.shape == shapeNone {
		return p
	}
	for _, l := range head {
		if st, ok := findStamp(l.text, p.shape, o.Location); ok && !indented(l.text) {
			p.first = st
			break
		}
	}
	return p
}

func indented(line string) bool { return line != "" && (line[0] == ' ' || line[0] == '\t') }

// Stats returns what was counted so far.
func (r *Reader) Stats() Stats { return r.stats }

// Problems returns the first lines that are not of the file's format.
func (r *Reader) Problems() []Problem { return r.problems }

// unparsed counts the line last read as not of the file's format.
func (r *Reader) unparsed(format string, args ...any) {
	r.stats.Unparsed++
	if len(r.problems) < MaxProblems {
		r.problems = append(r.problems, Problem{Line: r.stats.Lines, Text: fmt.Sprintf(format, args...)})
	}
}

// Records yields the records in the order of the file. It can be ranged over
// once. An error ends it.
func (r *Reader) Records() iter.Seq2[telemetry.LogRecord, error] {
	return func(yield func(telemetry.LogRecord, error) bool) {
		for {
			text, wasCut, err := r.nextLine()
			if err != nil {
				if rec, ok := r.takePending(); ok && !yield(rec, nil) {
					return
				}
				if err != io.EOF {
					yield(telemetry.LogRecord{}, fmt.Errorf("read %s: %w", r.o.FileName, err))
				}
				return
			}
			r.stats.Lines++
			if wasCut {
				r.stats.Cut++
			}
			if strings.TrimSpace(text) == "" {
				r.stats.Empty++
				continue
			}
			rec, ok := r.line(text)
			if ok && !yield(rec, nil) {
				return
			}
		}
	}
}

// line takes one line and returns the record that is complete by it.
func (r *Reader) line(text string) (telemetry.LogRecord, bool) {
	switch r.profile.format {
	case FormatJSONL:
		return r.jsonLine(text), true
	case FormatLogfmt:
		return r.logfmtLine(text), true
	case FormatSyslog:
		return r.syslogLine(text)
	}
	return r.plainLine(text)
}

func (r *Reader) nextLine() (text string, wasCut bool, err error) {
	if len(r.head) > 0 {
		l := r.head[0]
		r.head = r.head[1:]
		return l.text, l.cut, nil
	}
	if r.err != nil {
		return "", false, r.err
	}
	text, err = r.lines.next()
	return text, r.lines.cut, err
}

// stampTime gives a time-stamp its year and the shift.
func (r *Reader) stampTime(st stamp) time.Time {
	m := meta{time: st.time, noYear: !st.shape.hasYear(), ok: true}
	if m.noYear {
		m.turn = r.years.next(st.time)
	}
	r.last = m
	if r.raw {
		r.found.add(m)
	}
	return r.settled(m)
}

func (r *Reader) settled(m meta) time.Time {
	t := m.time
	if m.noYear && !r.raw {
		t = withYear(t, r.baseYear+m.turn)
	}
	return t.Add(r.o.Shift)
}

// neighbourTime is for records without a time: that of the record before, of
// the first time-stamp in the head, or the import's.
func (r *Reader) neighbourTime() time.Time {
	r.stats.NoTime++
	if r.last.ok {
		return r.settled(r.last)
	}
	if st := r.profile.first; st.shape != shapeNone {
		return r.settled(meta{time: st.time, noYear: !st.shape.hasYear()})
	}
	// One nanosecond apart, so that engines, which order by time, give the
	// lines back in their order.
	r.noTimes++
	return r.o.Now.Add(time.Duration(r.noTimes - 1))
}
