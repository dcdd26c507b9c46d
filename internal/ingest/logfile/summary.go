package logfile

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Summary tells what became of every record of an import.
type Summary struct {
	Files []FileSummary `json:"files"`
	Total FileSummary   `json:"total"`
}

// A FileSummary tells it of one file, or of all together.
// Records = Stored + TooOld + TooNew, unless an error ended the import.
type FileSummary struct {
	Name       string `json:"name,omitempty"`
	Format     string `json:"format,omitempty"`
	TimeFormat string `json:"time_format,omitempty"`
	Stats
	// Stored is the records that the store took, and their times.
	Stored int64 `json:"stored"`
	Times  Span  `json:"times"`
	// TooOld is the records older than the retention.
	TooOld      int64 `json:"too_old"`
	TooOldTimes Span  `json:"too_old_times"`
	// TooNew is the records more than two days in the future.
	TooNew      int64 `json:"too_new"`
	TooNewTimes Span  `json:"too_new_times"`
	// Shift is how far the times were moved.
	Shift Duration `json:"shift,omitempty"`
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
	first, last := s.First.Format(layout), s.Last.Format(layout)
	if first == last {
		return first + " UTC"
	}
	return first + " to " + last + " UTC"
}

func (s *Summary) add(f FileSummary) {
	s.Files = append(s.Files, f)
	t := &s.Total
	t.Lines += f.Lines
	t.Records += f.Records
	t.Empty += f.Empty
	t.Joined += f.Joined
	t.Cut += f.Cut
	t.Unparsed += f.Unparsed
	t.NoTime += f.NoTime
	t.Stored += f.Stored
	t.Times.merge(f.Times)
	t.TooOld += f.TooOld
	t.TooOldTimes.merge(f.TooOldTimes)
	t.TooNew += f.TooNew
	t.TooNewTimes.merge(f.TooNewTimes)
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

func (f FileSummary) write(b *strings.Builder) {
	line := func(format string, args ...any) { fmt.Fprintf(b, "  "+format+"\n", args...) }
	fmt.Fprintf(b, "%s: %s read, %s stored\n", f.Name, count(f.Records, "record"), group(f.Stored))
	if f.Format != "" {
		line("format: %s, time-stamps: %s", f.Format, f.TimeFormat)
	}
	if f.Stored > 0 {
		line("times stored: %s", f.Times)
	}
	if f.Shift != 0 {
		line("times moved by %s, so that the last is now", time.Duration(f.Shift).Round(time.Second))
	}
	if f.TooOld > 0 {
		line("not stored: %s older than the retention (%s)", count(f.TooOld, "record"), f.TooOldTimes)
	}
	if f.TooNew > 0 {
		line("not stored: %s more than 48 hours in the future (%s); check the time zone and the dates", count(f.TooNew, "record"), f.TooNewTimes)
	}
	if left := f.Records - f.Stored - f.TooOld - f.TooNew; left > 0 {
		line("not stored: %s, because the import ended early", count(left, "record"))
	}
	if f.NoTime > 0 {
		line("%s without a readable time: stored with the time of the record before, or of the import", count(f.NoTime, "record"))
	}
	if f.Unparsed > 0 {
		line("%s not %s: stored as plain text", count(f.Unparsed, "line"), f.Format)
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

func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
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
