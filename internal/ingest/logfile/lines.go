package logfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxLineBytes bounds a line, and a record's joined lines; what is longer
	// is cut and counted. The engine takes rows of up to 2 MiB.
	maxLineBytes = 1 << 20
	// maxCutNote leaves room for the note on a line that was cut.
	maxCutNote = 64
)

// lineReader reads lines with bounded memory. It removes a byte order mark and
// line ends (LF, CRLF), replaces invalid UTF-8, and reads gzip by its magic.
// In a file of syslog messages with their lengths in front (RFC 6587 §3.4.1) a
// line is such a message, whatever it holds.
type lineReader struct {
	r      *bufio.Reader
	line   []byte
	cut    bool // the last line was cut
	framed bool
	lines  int64
}

// newLineReader returns a reader of lines. With frames it looks for lengths in
// front of messages.
func newLineReader(r io.Reader, frames bool) (*lineReader, error) {
	br, err := Decompress(r)
	if err != nil {
		return nil, err
	}
	l := &lineReader{r: br}
	if frames {
		l.framed = l.frame() > 0
	}
	return l, nil
}

// Decompress returns what r holds, unpacked where it is compressed with gzip,
// and without a byte order mark.
func Decompress(r io.Reader) (*bufio.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		br = bufio.NewReaderSize(zr, 64<<10)
	}
	if bom, _ := br.Peek(3); bytes.Equal(bom, []byte{0xef, 0xbb, 0xbf}) {
		_, _ = br.Discard(3)
	}
	return br, nil
}

// maxFrameDigits bounds the length in front of a message.
const maxFrameDigits = 7

// frame returns the length of "123 <" where the next message is one with its
// length in front, else 0.
func (l *lineReader) frame() (header int) {
	head, _ := l.r.Peek(maxFrameDigits + 2)
	digits := 0
	for digits < len(head) && head[digits] >= '0' && head[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits > maxFrameDigits || head[0] == '0' || !bytes.HasPrefix(head[digits:], []byte(" <")) {
		return 0
	}
	return digits + 1
}

// message reads a message with its length in front.
func (l *lineReader) message(header int) (dropped int64, err error) {
	head, err := l.r.Peek(header)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(head[:header-1]))
	if err != nil {
		return 0, err
	}
	if _, err := l.r.Discard(header); err != nil {
		return 0, err
	}
	keep := min(n, maxLineBytes-maxCutNote)
	l.line = append(l.line, make([]byte, keep)...)
	got, err := io.ReadFull(l.r, l.line)
	l.line = l.line[:got]
	if err == nil && n > keep {
		dropped, err = io.CopyN(io.Discard, l.r, int64(n-keep))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return dropped, nil // a message that is cut off is kept
	}
	if err != nil {
		return dropped, err
	}
	// Some senders end messages with a line all the same.
	if end, _ := l.r.Peek(1); len(end) > 0 && end[0] == '\n' {
		_, err = l.r.Discard(1)
	}
	return dropped, err
}

// next returns the next line, io.EOF after the last.
func (l *lineReader) next() (string, error) {
	l.line, l.cut = l.line[:0], false
	var dropped int64
	seen := false
	if header := l.frameHeader(); header > 0 {
		var err error
		if dropped, err = l.message(header); err != nil {
			return "", err
		}
		return l.text(dropped), nil
	}
	for {
		part, err := l.r.ReadSlice('\n')
		seen = seen || len(part) > 0
		if room := maxLineBytes - maxCutNote - len(l.line); len(part) > room {
			dropped += int64(len(part) - room)
			part = part[:room]
		}
		l.line = append(l.line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (err != io.EOF || !seen) {
			return "", err
		}
		break
	}
	return l.text(dropped), nil
}

func (l *lineReader) frameHeader() int {
	if !l.framed {
		return 0
	}
	return l.frame()
}

// text returns the line that was read.
func (l *lineReader) text(dropped int64) string {
	l.lines++
	if dropped == 0 {
		l.line = bytes.TrimRight(l.line, "\r\n")
	}
	s := string(l.line)
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
		if over := len(s) - (maxLineBytes - maxCutNote); over > 0 {
			dropped += int64(over)
			s = s[:len(s)-over]
		}
	}
	if dropped > 0 {
		l.cut = true
		s = strings.ToValidUTF8(s, "") + fmt.Sprintf(" … [cut: %d bytes more]", dropped)
	}
	return s
}
