package logfile

import (
	"strconv"
	"strings"
	"time"
)

// A shape is a form in which log files write the time of a line.
type shape uint8

const (
	shapeNone    shape = iota
	shapeISO           // 2006-01-02 15:04:05,000 and RFC 3339, also with slashes
	shapeSyslog        // Jan _2 15:04:05
	shapeANSI          // Sun Dec 04 04:47:44 2005
	shapeAccess        // 10/Oct/2000:13:55:36 -0700
	shapeCompact       // 081109 203615
	shapeKlog          // I0102 15:04:05.000000
	shapeUnix          // 1700000000.123, 1700000000123
)

var shapeNames = [...]string{
	shapeNone: "none", shapeISO: "2006-01-02 15:04:05", shapeSyslog: "Jan _2 15:04:05 (no year)",
	shapeANSI: "Mon Jan _2 15:04:05 2006", shapeAccess: "02/Jan/2006:15:04:05 -0700", shapeCompact: "060102 150405",
	shapeKlog: "I0102 15:04:05 (no year)", shapeUnix: "Unix time",
}

func (s shape) String() string { return shapeNames[s] }

// weak shapes look like ordinary numbers; they count only where most lines of
// the head have them.
func (s shape) weak() bool { return s == shapeUnix || s == shapeCompact }

// hasYear reports whether the shape tells the year.
func (s shape) hasYear() bool { return s != shapeSyslog && s != shapeKlog }

// A stamp is a time found in a line.
type stamp struct {
	shape shape
	// time is in leapYear where the shape has no year.
	time time.Time
	// start and end are its place in the line, brackets included.
	start, end int
	// severity is what klog's letter says.
	severity string
}

// leapYear stands for the unknown year, so that 29 February can be written.
const leapYear = 2000

// maxStampStart is how far into a line a time-stamp is looked for: behind a
// file name, a host, a level.
const maxStampStart = 200

// maxStampToken is the last word at which a time-stamp may start. Access logs
// have host, ident and user before theirs.
const maxStampToken = 4

// findStamp looks for a time-stamp in line. With only set, it looks for that
// shape alone, anywhere near the start; otherwise weak shapes must be first.
func findStamp(line string, only shape, loc *time.Location) (stamp, bool) {
	pos := 0
	for token := 0; token <= maxStampToken && pos < len(line) && pos <= maxStampStart; token++ {
		if st, ok := stampAt(line, pos, token, only, loc); ok {
			return st, true
		}
		next := strings.IndexAny(line[pos:], " \t")
		if next < 0 {
			break
		}
		pos += next
		for pos < len(line) && (line[pos] == ' ' || line[pos] == '\t') {
			pos++
		}
	}
	return stamp{}, false
}

func stampAt(line string, pos, token int, only shape, loc *time.Location) (stamp, bool) {
	s, start := line[pos:], pos
	if token == 0 && strings.HasPrefix(s, "<") { // <34>, the priority of syslog
		if end := strings.IndexByte(s, '>'); end > 0 && end <= 4 && isDigits(s[1:end]) {
			s, pos = s[end+1:], pos+end+1
			if strings.HasPrefix(s, "1 ") { // RFC 5424's version
				s, pos = s[2:], pos+2
			}
		}
	}
	closing := byte(0)
	if s != "" {
		switch s[0] {
		case '[':
			closing = ']'
		case '(':
			closing = ')'
		}
	}
	if closing != 0 {
		s, pos = s[1:], pos+1
	}
	for _, sh := range [...]shape{shapeISO, shapeSyslog, shapeANSI, shapeAccess, shapeCompact, shapeKlog, shapeUnix} {
		if only != shapeNone && sh != only || sh.weak() && token > 0 || sh == shapeKlog && token > 0 {
			continue
		}
		t, n, sev, ok := parseShape(sh, s, loc)
		if !ok || !plausible(t) {
			continue
		}
		end := pos + n
		if closing != 0 {
			if end >= len(line) || line[end] != closing {
				continue
			}
			end++
		}
		return stamp{shape: sh, time: t, start: start, end: end, severity: sev}, true
	}
	return stamp{}, false
}

// parseShape parses s, which must start with a time in shape sh; n is its length.
func parseShape(sh shape, s string, loc *time.Location) (t time.Time, n int, severity string, ok bool) {
	switch sh {
	case shapeISO:
		t, n, ok = parseISO(s, loc)
	case shapeSyslog:
		t, n, ok = parseSyslog(s, loc)
	case shapeANSI:
		t, n, ok = parseANSI(s, loc)
	case shapeAccess:
		const layout = "02/Jan/2006:15:04:05 -0700"
		if len(s) >= len(layout) && s[2] == '/' {
			if v, err := time.Parse(layout, s[:len(layout)]); err == nil {
				return v, len(layout), "", true
			}
		}
	case shapeCompact:
		const layout = "060102 150405"
		if len(s) >= len(layout) && s[6] == ' ' && boundary(s, len(layout)) && isDigits(s[:6]) {
			if v, err := time.ParseInLocation(layout, s[:len(layout)], loc); err == nil {
				return v, len(layout), "", true
			}
		}
	case shapeKlog:
		t, n, severity, ok = parseKlog(s, loc)
	case shapeUnix:
		end := 0
		for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.') {
			end++
		}
		if boundary(s, end) {
			if t, ok = parseUnix(s[:end]); ok {
				n = end
			}
		}
	}
	return t, n, severity, ok
}

// boundary reports whether s does not go on with a letter or digit at i.
func boundary(s string, i int) bool {
	if i >= len(s) {
		return true
	}
	b := s[i]
	return !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_')
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// num reads the decimal s[from:to]; -1 where it is none.
func num(s string, from, to int) int {
	if to > len(s) || !isDigits(s[from:to]) {
		return -1
	}
	n, _ := strconv.Atoi(s[from:to])
	return n
}

// date refuses what time.Date would silently carry over, such as 31 April. A
// second of 60 is a leap second and becomes the next minute's first.
func date(y, mo, d, h, mi, s, ns int, loc *time.Location) (time.Time, bool) {
	if y < 1 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 60 || ns < 0 {
		return time.Time{}, false
	}
	if time.Date(y, time.Month(mo), d, 0, 0, 0, 0, time.UTC).Day() != d {
		return time.Time{}, false
	}
	return time.Date(y, time.Month(mo), d, h, mi, s, ns, loc), true
}

// fraction reads .000 or ,000 at i and returns nanoseconds and the end.
func fraction(s string, i int) (ns, end int) {
	if i+1 >= len(s) || s[i] != '.' && s[i] != ',' || s[i+1] < '0' || s[i+1] > '9' {
		return 0, i
	}
	end = i + 1
	scale := int(time.Second)
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		scale /= 10
		ns += int(s[end]-'0') * scale
		end++
	}
	return ns, end
}

// zone reads Z, +02:00, +0200 or +02 at i, also after one space; without one
// the location is loc.
func zone(s string, i int, loc *time.Location) (*time.Location, int) {
	if i < len(s) && (s[i] == 'Z' || s[i] == 'z') && boundary(s, i+1) {
		return time.UTC, i + 1
	}
	j := i
	if j < len(s) && s[j] == ' ' {
		j++
		if strings.HasPrefix(s[j:], "UTC") && boundary(s, j+3) {
			return time.UTC, j + 3
		}
	}
	if j >= len(s) || s[j] != '+' && s[j] != '-' {
		return loc, i
	}
	h, m, end := num(s, j+1, j+3), 0, j+3
	switch {
	case end < len(s) && s[end] == ':' && num(s, end+1, end+3) >= 0:
		m, end = num(s, end+1, end+3), end+3
	case num(s, end, end+2) >= 0:
		m, end = num(s, end, end+2), end+2
	case j > i:
		return loc, i // "15:04:05 -10 …" is not a zone
	}
	if h < 0 || h > 23 || m > 59 || !boundary(s, end) {
		return loc, i
	}
	offset := h*3600 + m*60
	if s[j] == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset), end
}

// clock reads 15:04:05 with an optional fraction at i.
func clock(s string, i int) (h, m, sec, ns, end int, ok bool) {
	if i+8 > len(s) || s[i+2] != ':' || s[i+5] != ':' {
		return 0, 0, 0, 0, 0, false
	}
	h, m, sec = num(s, i, i+2), num(s, i+3, i+5), num(s, i+6, i+8)
	ns, end = fraction(s, i+8)
	return h, m, sec, ns, end, h >= 0 && m >= 0 && sec >= 0
}

func parseISO(s string, loc *time.Location) (time.Time, int, bool) {
	if len(s) < 19 || s[4] != '-' && s[4] != '/' || s[7] != s[4] || s[10] != ' ' && s[10] != 'T' && s[10] != 't' && s[10] != '_' {
		return time.Time{}, 0, false
	}
	h, m, sec, ns, end, ok := clock(s, 11)
	if !ok {
		return time.Time{}, 0, false
	}
	in, end := zone(s, end, loc)
	if !boundary(s, end) {
		return time.Time{}, 0, false
	}
	t, ok := date(num(s, 0, 4), num(s, 5, 7), num(s, 8, 10), h, m, sec, ns, in)
	return t, end, ok
}

const monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"

func month(s string) int {
	if len(s) < 3 {
		return -1
	}
	if i := strings.Index(monthNames, s[:3]); i >= 0 && i%3 == 0 {
		return i/3 + 1
	}
	return -1
}

// monthDay reads "Jan _2 " or "Jan 02 " and returns where the clock starts.
func monthDay(s string) (mo, d, next int, ok bool) {
	mo = month(s)
	if mo < 0 || len(s) < 7 || s[3] != ' ' {
		return 0, 0, 0, false
	}
	i := 4
	if s[i] == ' ' {
		i++
	}
	end := i
	for end < len(s) && end < i+2 && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	d = num(s, i, end)
	if d < 1 || end >= len(s) || s[end] != ' ' {
		return 0, 0, 0, false
	}
	return mo, d, end + 1, true
}

func parseSyslog(s string, loc *time.Location) (time.Time, int, bool) {
	mo, d, next, ok := monthDay(s)
	if !ok {
		return time.Time{}, 0, false
	}
	h, m, sec, ns, end, ok := clock(s, next)
	if !ok || !boundary(s, end) {
		return time.Time{}, 0, false
	}
	t, ok := date(leapYear, mo, d, h, m, sec, ns, loc)
	return t, end, ok
}

func parseANSI(s string, loc *time.Location) (time.Time, int, bool) {
	const days = "MonTueWedThuFriSatSun"
	if len(s) < 24 || s[3] != ' ' {
		return time.Time{}, 0, false
	}
	if i := strings.Index(days, s[:3]); i < 0 || i%3 != 0 {
		return time.Time{}, 0, false
	}
	mo, d, next, ok := monthDay(s[4:])
	if !ok {
		return time.Time{}, 0, false
	}
	h, m, sec, ns, end, ok := clock(s, 4+next)
	if !ok || end+5 > len(s) || s[end] != ' ' || !boundary(s, end+5) {
		return time.Time{}, 0, false
	}
	t, ok := date(num(s, end+1, end+5), mo, d, h, m, sec, ns, loc)
	return t, end + 5, ok
}

func parseKlog(s string, loc *time.Location) (time.Time, int, string, bool) {
	if len(s) < 14 || s[5] != ' ' {
		return time.Time{}, 0, "", false
	}
	severity := map[byte]string{'I': "INFO", 'W': "WARN", 'E': "ERROR", 'F': "FATAL"}[s[0]]
	h, m, sec, ns, end, ok := clock(s, 6)
	if severity == "" || !ok || !boundary(s, end) {
		return time.Time{}, 0, "", false
	}
	t, ok := date(leapYear, num(s, 1, 3), num(s, 3, 5), h, m, sec, ns, loc)
	return t, end, severity, ok
}

// plausible leaves out years that no log was written in, among them the zero
// time that programs print for an unset one.
func plausible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2200 }

// parseUnix reads Unix seconds (with a fraction), milli-, micro- or
// nanoseconds; the number of digits tells which.
func parseUnix(s string) (time.Time, bool) {
	whole, frac, hasFrac := strings.Cut(s, ".")
	if !isDigits(whole) || hasFrac && !isDigits(frac) || len(whole) < 9 || len(whole) > 19 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	var t time.Time
	switch {
	case len(whole) <= 10:
		ns, _ := fraction("."+frac, 0)
		t = time.Unix(n, int64(ns))
	case len(whole) <= 13:
		t = time.UnixMilli(n)
	case len(whole) <= 16:
		t = time.UnixMicro(n)
	default:
		t = time.Unix(0, n)
	}
	t = t.UTC()
	return t, t.Year() >= 1990 && plausible(t) // what is older is some other number
}

// yearDisorder is how far a line may lie behind the one before it without being
// taken for the next year's.
const yearDisorder = 30 * 24 * time.Hour

// A yearCounter gives years to times that were written without one. It counts
// the turns of the year from the first line on, so that two passes over a file
// count alike.
type yearCounter struct {
	started bool
	year    int       // turns of the year so far
	last    time.Time // in leapYear
}

// next returns the number of turns up to t, which is in leapYear. Lines may be
// out of order by yearDisorder, also across New Year.
func (y *yearCounter) next(t time.Time) int {
	if !y.started {
		y.started, y.last = true, t
		return y.year
	}
	year := 366 * 24 * time.Hour
	switch {
	case t.Before(y.last.Add(-yearDisorder)):
		y.year++
		y.last = t
		return y.year
	case t.After(y.last.Add(year - yearDisorder)):
		return y.year - 1 // a straggler of the old year just after New Year
	}
	if t.After(y.last) {
		y.last = t
	}
	return y.year
}

// withYear moves t, which is in leapYear, to year.
func withYear(t time.Time, year int) time.Time {
	return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}

// firstYear returns the year of turn 0, such that a file whose last time is at
// the given turn does not end after now. leapTurn is the turn of a 29 February, noTurn
// for none: years without that day are passed over.
func firstYear(last time.Time, lastTurn, leapTurn int, now time.Time) int {
	for back := range 12 {
		base := now.In(last.Location()).Year() - lastTurn - back
		if withYear(last, base+lastTurn).After(now) {
			continue
		}
		if leapTurn != noTurn && time.Date(base+leapTurn, 2, 29, 0, 0, 0, 0, time.UTC).Day() != 29 {
			continue
		}
		return base
	}
	return now.Year() - lastTurn - 1
}

// noTurn stands for no turn of the year; real ones are -1 and up.
const noTurn = -1 << 30
