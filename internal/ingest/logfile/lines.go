package logfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
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
type lineReader struct {
	r     *bufio.Reader
	line  []byte
	cut   bool // the last line was cut
	lines int64
}

func newLineReader(r io.Reader) (*lineReader, error) {
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
	return &lineReader{r: br}, nil
}

// next returns the next line, io.EOF after the last.
func (l *lineReader) next() (string, error) {
	l.line, l.cut = l.line[:0], false
	var dropped int64
	seen := false
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
	return s, nil
}
