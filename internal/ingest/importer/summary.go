package importer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/ingest/logfile"
)

// A Summary tells what became of every record of an import.
type Summary struct {
	Files []FileSummary `json:"files"`
	Total FileSummary   `json:"total"`
}

// A Tally tells what became of records.
// Records = Stored + TooOld + TooNew + all of Rejected, unless an error ended
// the import.
type Tally struct {
	// Records is what was read: log records, spans, or data points of metrics
	// (samples, where the file has those).
	Records int64 `json:"records"`
	// Stored is the records that the store took, and their times.
	Stored int64 `json:"stored"`
	Times  Span  `json:"times"`
	// TooOld is the records older than the retention.
	TooOld      int64 `json:"too_old"`
	TooOldTimes Span  `json:"too_old_times"`
	// TooNew is the records too far in the future.
	TooNew      int64 `json:"too_new"`
	TooNewTimes Span  `json:"too_new_times"`
	// Rejected is the records that can never be stored, by reason.
	Rejected map[string]int64 `json:"rejected,omitempty"`
}

func (t *Tally) reject(reason string, n int64) {
	if n == 0 {
		return
	}
	if t.Rejected == nil {
		t.Rejected = make(map[string]int64)
	}
	t.Rejected[reason] += n
}

func (t *Tally) rejected() (n int64) {
	for _, k := range t.Rejected {
		n += k
	}
	return n
}

func (t *Tally) add(o Tally) {
	t.Records += o.Records
	t.Stored += o.Stored
	t.Times.merge(o.Times)
	t.TooOld += o.TooOld
	t.TooOldTimes.merge(o.TooOldTimes)
	t.TooNew += o.TooNew
	t.TooNewTimes.merge(o.TooNewTimes)
	for reason, n := range o.Rejected {
		t.reject(reason, n)
	}
}

// A FileSummary tells what became of one file, or of all together.
type FileSummary struct {
	Name       string `json:"name,omitempty"`
	Format     string `json:"format,omitempty"`
	TimeFormat string `json:"time_format,omitempty"`
	// Tally is of all signals together.
	Tally
	// Signals is that of each: logs, spans and metrics, as far as they were met.
	Signals map[string]*Tally `json:"signals,omitempty"`

	// Lines is all lines, empty ones included; of a syslog file with lengths,
	// its messages.
	Lines int64 `json:"lines"`
	// Empty, Joined, Cut, Unparsed and NoTime are as in logfile.Stats.
	Empty    int64 `json:"empty"`
	Joined   int64 `json:"joined"`
	Cut      int64 `json:"cut"`
	Unparsed int64 `json:"unparsed"`
	NoTime   int64 `json:"no_time"`
	// Unreadable is the lines, or documents, of which nothing could be stored.
	Unreadable int64 `json:"unreadable"`
	// Problems are the first ones of Unparsed and Unreadable.
	Problems []logfile.Problem `json:"problems,omitempty"`
	// Shift is how far the times were moved.
	Shift Duration `json:"shift,omitempty"`
}

// signal returns the tally of one signal.
func (f *FileSummary) signal(name string) *Tally {
	if f.Signals == nil {
		f.Signals = make(map[string]*Tally)
	}
	t := f.Signals[name]
	if t == nil {
		t = new(Tally)
		f.Signals[name] = t
	}
	return t
}

// unreadable counts a line or document that could not be read.
func (f *FileSummary) unreadable(line int64, format string, args ...any) {
	f.Unreadable++
	f.problem(line, format, args...)
}

func (f *FileSummary) problem(line int64, format string, args ...any) {
	if len(f.Problems) < logfile.MaxProblems {
		f.Problems = append(f.Problems, logfile.Problem{Line: line, Text: fmt.Sprintf(format, args...)})
	}
}

// A Duration prints as Go durations do, also in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// A Span is the earliest and the latest of some times.
type Span struct {
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

func (s *Span) add(t time.Time) {
	t = t.UTC()
	if s.First.IsZero() || t.Before(s.First) {
		s.First = t
	}
	if s.Last.IsZero() || t.After(s.Last) {
		s.Last = t
	}
}

func (s *Span) merge(o Span) {
	if !o.First.IsZero() {
		s.add(o.First)
		s.add(o.Last)
	}
}

func (s Span) String() string {
	const layout = "2006-01-02 15:04:05"
	if s.First.IsZero() {
		return "times unknown"
	}
	first, last := s.First.Format(layout), s.Last.Format(layout)
	if first == last {
		return first + " UTC"
	}
	return first + " to " + last + " UTC"
}

func (s *Summary) add(f FileSummary) {
	for _, t := range f.Signals {
		f.Tally.add(*t)
	}
	s.Files = append(s.Files, f)
	t := &s.Total
	t.Tally.add(f.Tally)
	for name, tally := range f.Signals {
		t.signal(name).add(*tally)
	}
	t.Lines += f.Lines
	t.Empty += f.Empty
	t.Joined += f.Joined
	t.Cut += f.Cut
	t.Unparsed += f.Unparsed
	t.NoTime += f.NoTime
	t.Unreadable += f.Unreadable
}

// String returns the summary for a terminal, a paragraph for each file and,
// where there are several, one for all.
func (s Summary) String() string {
	var b strings.Builder
	for _, f := range s.Files {
		f.write(&b)
	}
	if len(s.Files) > 1 {
		t := s.Total
		t.Name = fmt.Sprintf("all %d files", len(s.Files))
		t.write(&b)
	}
	shifted := false
	for _, f := range s.Files {
		shifted = shifted || f.Shift != 0
	}
	if s.Total.TooOld > 0 && !shifted {
		b.WriteString("Records older than the retention would be dropped by the store; --shift-to-now moves a file's times so that its last is now.\n")
	}
	return b.String()
}

// nouns are what the records of the signals are called.
var nouns = map[string]string{signalLogs: "log record", signalSpans: "span", signalMetrics: "data point"}

func (f FileSummary) write(b *strings.Builder) {
	line := func(format string, args ...any) { fmt.Fprintf(b, "  "+format+"\n", args...) }
	noun := "record"
	if _, ok := f.Signals[signalMetrics]; ok && f.Format == FormatOpenMetrics {
		noun = "sample"
	}
	fmt.Fprintf(b, "%s: %s read, %s stored\n", f.Name, count(f.Records, noun), group(f.Stored))
	switch {
	case f.Format != "" && f.TimeFormat != "":
		line("format: %s, time-stamps: %s", f.Format, f.TimeFormat)
	case f.Format != "":
		line("format: %s", f.Format)
	}
	if f.Shift != 0 {
		line("times moved by %s, so that the last is now", time.Duration(f.Shift).Round(time.Second))
	}
	if len(f.Signals) > 1 || f.Format == FormatOTLP {
		for _, name := range []string{signalLogs, signalSpans, signalMetrics} {
			if t, ok := f.Signals[name]; ok {
				line("%s: %s read, %s stored", name, count(t.Records, nouns[name]), group(t.Stored))
				t.write(func(format string, args ...any) { line("  "+format, args...) }, nouns[name], name)
			}
		}
	} else {
		signal := signalLogs
		for signal = range f.Signals {
			break
		}
		f.Tally.write(line, noun, signal)
	}
	if f.NoTime > 0 && f.Format == FormatOpenMetrics {
		line("%s without a time: stored with the time of the import", count(f.NoTime, noun))
	} else if f.NoTime > 0 {
		line("%s without a readable time: stored with the time of the record before, or of the import", count(f.NoTime, noun))
	}
	if f.Unparsed > 0 {
		what := "not of their file's format"
		if f.Format != "" {
			what = "not " + f.Format
		}
		line("%s %s: stored as plain text", count(f.Unparsed, "line"), what)
	}
	if f.Unreadable > 0 {
		line("%s could not be read: nothing of them is stored", count(f.Unreadable, "line or document"))
	}
	for _, p := range f.Problems {
		line("line %s: %s", group(p.Line), p.Text)
	}
	if more := f.Unparsed + f.Unreadable - int64(len(f.Problems)); more > 0 && len(f.Problems) > 0 {
		line("and %s more like that", group(more))
	}
	if f.Joined > 0 {
		line("%s without a time-stamp joined to the record before", count(f.Joined, "line"))
	}
	if f.Empty > 0 {
		line("%s skipped", count(f.Empty, "empty line"))
	}
	if f.Cut > 0 {
		line("%s or members cut, being longer than can be stored", count(f.Cut, "line"))
	}
}

// write tells what became of the records of a signal.
func (t *Tally) write(line func(format string, args ...any), noun, signal string) {
	if t.Stored > 0 {
		line("times stored: %s", t.Times)
	}
	if t.TooOld > 0 {
		line("not stored: %s older than the retention (%s)", count(t.TooOld, noun), t.TooOldTimes)
	}
	if t.TooNew > 0 {
		ahead := "48 hours"
		if signal == signalMetrics {
			ahead = "10 minutes"
		}
		line("not stored: %s more than %s in the future (%s); check the time zone and the dates", count(t.TooNew, noun), ahead, t.TooNewTimes)
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Rejected)) {
		line("not stored: %s: %s", count(t.Rejected[reason], noun), strings.ReplaceAll(reason, "_", " "))
	}
	if left := t.Records - t.Stored - t.TooOld - t.TooNew - t.rejected(); left > 0 {
		line("not stored: %s, because the import ended early", count(left, noun))
	}
}

func count(n int64, noun string) string {
	if n != 1 {
		noun = strings.Replace(noun, " or ", "s or ", 1) + "s"
	}
	return group(n) + " " + noun
}

// group writes thousands with commas.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
