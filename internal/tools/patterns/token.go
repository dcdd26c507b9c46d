package patterns

import "strings"

// A token is a part of a message: a run of characters between spaces and
// punctuation, a punctuation mark, or a value with all that belongs to it.
type token struct {
	text string
	// masked says that it is surely a value.
	masked bool
	// space says that white space stands before it.
	space bool

	start int // in the message
}

// Kinds of bytes.
const (
	plain = iota
	space
	mark // a token of its own
)

// A kindTable says of each byte what it is.
type kindTable [256]uint8

func newKinds() *kindTable {
	var k kindTable
	for _, c := range []byte(" \t\r\n\v\f") {
		k[c] = space
	}
	for _, c := range []byte("=,;()[]{}\"'|<>") {
		k[c] = mark
	}
	return &k
}

// A tokenizer cuts messages into tokens. The tokens of a message are valid
// until the next one.
type tokenizer struct {
	kinds   *kindTable
	message string
	out     []token
	// calendar says that the message has a word that may be a part of a date.
	calendar bool
}

func (t *tokenizer) cut(message string) []token {
	t.message, t.out, t.calendar = message, t.out[:0], false
	end := min(len(message), maxLineBytes)
	spaced := false
	i := 0
	for i < end && len(t.out) < maxTokens {
		c := message[i]
		switch t.kinds[c] {
		case space:
			spaced = true
			i++
			continue
		case mark:
			switch {
			case c == '"' && t.lastIs("=") && quoteEnd(message, i) > 0:
				// key="some text" is one value.
				to := quoteEnd(message, i)
				t.value(i, to, spaced)
				i = to
			case (c == '<' || c == '>') && i+1 < end && isDigit(message[i+1]):
				i = t.word(i, i+1, end, spaced) // <1 sec
			case c == ',' && !spaced && i+1 < end && t.kinds[message[i+1]] == plain && t.lastMasked():
				// 10.0.0.1,10.0.0.2 is one value if the next word is one.
				to, digits := t.wordEnd(i+1, end)
				if isValue(message[i+1:to], digits) {
					t.extend(to)
					i = to
				} else {
					t.add(i, i+1, spaced)
					i++
				}
			default:
				t.add(i, i+1, spaced)
				i++
				if t.isLeftOut(c, i, spaced, end) {
					// () and (x), key= and key=x are of one statement.
					t.out = append(t.out, token{masked: true, start: i})
				}
			}
		default:
			i = t.word(i, i, end, spaced)
		}
		spaced = false
	}
	if i < len(message) {
		t.value(i, len(message), spaced)
	}
	if t.calendar {
		t.joinDates()
	}
	return t.out
}

// isLeftOut says that a value could stand at i, right after the mark c.
func (t *tokenizer) isLeftOut(c byte, i int, spaced bool, end int) bool {
	switch c {
	case '(', '[':
		return i < end && t.message[i] == c+1+(c>>6) // the closing one: ) is ( + 1, ] is [ + 2
	case '=':
		return !spaced && (i == end || t.kinds[t.message[i]] == space || strings.IndexByte(",;)]", t.message[i]) >= 0)
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// quoteEnd returns where the quoted text that starts at i ends, 0 if it does
// not.
func quoteEnd(s string, i int) int {
	if n := strings.IndexByte(s[i+1:], '"'); n >= 0 {
		return i + n + 2
	}
	return 0
}

func (t *tokenizer) lastIs(text string) bool {
	return len(t.out) > 0 && t.out[len(t.out)-1].text == text
}

func (t *tokenizer) lastMasked() bool { return len(t.out) > 0 && t.out[len(t.out)-1].masked }

func (t *tokenizer) add(from, to int, spaced bool) {
	t.out = append(t.out, token{text: t.message[from:to], space: spaced, start: from})
}

// value adds a value, joined with values right before it.
func (t *tokenizer) value(from, to int, spaced bool) {
	if t.lastMasked() {
		t.extend(to)
		return
	}
	t.out = append(t.out, token{text: t.message[from:to], masked: true, space: spaced, start: from})
}

// extend makes the last token longer.
func (t *tokenizer) extend(to int) {
	last := &t.out[len(t.out)-1]
	last.text = t.message[last.start:to]
}

// wordEnd returns where the word that starts at i ends, and whether it has
// digits.
func (t *tokenizer) wordEnd(i, end int) (to int, digits bool) {
	for i < end && t.kinds[t.message[i]] == plain {
		digits = digits || isDigit(t.message[i])
		i++
	}
	return i, digits
}

// word adds the word that starts at from and goes on at i, and returns where
// it ends. A path or an address goes on over most punctuation.
func (t *tokenizer) word(from, i, end int, spaced bool) int {
	s := t.message
	to, digits := t.wordEnd(i, end)
	if isPath(s[from:to]) {
		for to < end && t.kinds[s[to]] == mark && strings.IndexByte("=,;|", s[to]) >= 0 && to+1 < end && t.kinds[s[to+1]] == plain {
			to, _ = t.wordEnd(to+1, end)
		}
	}
	stop := to
	for to > from+1 && strings.IndexByte(":.!?", s[to-1]) >= 0 {
		to--
	}
	w := s[from:to]
	switch {
	case isValue(w, digits):
		t.value(from, to, spaced)
	case spaced && isUnit(w) && t.lastMasked() && endsInDigit(t.out[len(t.out)-1].text):
		t.extend(to)
	case (w == "null" || w == "None" || w == "nil") && (t.lastIs("=") || t.lastIs(":")):
		t.value(from, to, spaced)
	default:
		t.calendar = t.calendar || isCalendar(w)
		t.add(from, to, spaced)
	}
	for ; to < stop; to++ {
		t.add(to, to+1, false)
	}
	return stop
}

// joinDates makes weekdays and months next to values a part of them.
func (t *tokenizer) joinDates() {
	out := t.out
	for i := len(out) - 2; i >= 0; i-- {
		if !out[i].masked && out[i+1].masked && isCalendar(out[i].text) {
			next := out[i+1]
			out[i].masked = true
			out[i].text = t.message[out[i].start : next.start+len(next.text)]
			out = append(out[:i+1], out[i+2:]...)
			if i > 0 && out[i-1].masked {
				out[i-1].text = t.message[out[i-1].start : out[i].start+len(out[i].text)]
				out = append(out[:i], out[i+1:]...)
				i--
			}
		}
	}
	t.out = out
}

func isCalendar(w string) bool {
	switch w {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

// isUnit says that a word after a number belongs to it.
func isUnit(w string) bool {
	switch w {
	case "s", "sec", "secs", "second", "seconds", "ms", "msec", "msecs", "millis", "us", "µs", "ns", "min", "mins", "minute", "minutes",
		"h", "hour", "hours", "B", "byte", "bytes", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "%", "MHz", "GHz":
		return true
	}
	return false
}

func endsInDigit(s string) bool { return s != "" && isDigit(s[len(s)-1]) }

// isPath holds for paths and URLs.
func isPath(w string) bool {
	return len(w) > 1 && w[0] == '/' || strings.Contains(w, "://")
}

// isValue says whether a word is surely a value.
func isValue(w string, digits bool) bool {
	switch {
	case digits, isPath(w), w == "true", w == "false", w == "True", w == "False":
		return true
	case strings.IndexByte(w, '@') > 0:
		return true // an address
	}
	return len(w) >= 8 && isHex(w)
}

// isHex holds for words of the letters that are hexadecimal digits.
func isHex(w string) bool {
	for i := range len(w) {
		c := w[i] | 0x20
		if c < 'a' || c > 'f' {
			return false
		}
	}
	return true
}
