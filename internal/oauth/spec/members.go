package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// members are the members of a JSON object that a stranger sent. Each of its methods answers with an error that names
// the member, in words for the client's author. Absent members are zero values; null is an error, since RFC 7591 §2
// has members left out instead.
type members map[string]json.RawMessage

// parseMembers reads exactly one JSON object. Names given twice are refused: two readers would see two clients.
func parseMembers(body []byte) (members, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the body is not a JSON object")
	}
	m := members{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("the body is not valid JSON")
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("member %q is given twice", cut(name, 64))
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("the value of %q is not valid JSON", cut(name, 64))
		}
		m[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("the body is not valid JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body goes on after its JSON object")
	}
	return m, nil
}

func (m members) has(name string) bool { return m[name] != nil }

// read decodes a member whose JSON value must begin with the given byte.
func (m members) read(name string, first byte, kind string, into any) error {
	v, ok := m[name]
	if !ok {
		return nil
	}
	if string(v) == "null" {
		return fmt.Errorf("%s is null: leave it out instead", name)
	}
	if v[0] != first {
		return fmt.Errorf("%s must be %s", name, kind)
	}
	if err := json.Unmarshal(v, into); err != nil {
		return fmt.Errorf("%s must be %s", name, kind)
	}
	return nil
}

func (m members) text(name string) (string, error) {
	var s string
	err := m.read(name, '"', "a string", &s)
	return s, err
}

// texts reads an array of strings. Its elements are pointers while decoding, so that a null among them is seen.
func (m members) texts(name string) ([]string, error) {
	var ps []*string
	if err := m.read(name, '[', "an array of strings", &ps); err != nil {
		return nil, err
	}
	var ss []string
	for _, p := range ps {
		if p == nil {
			return nil, fmt.Errorf("%s must be an array of strings", name)
		}
		ss = append(ss, *p)
	}
	return ss, nil
}

// cleanText makes a stranger's text fit for a page: control, format and bidirectional characters, surrogates and
// private use are removed, white space becomes single spaces, and the rest is cut to a number of characters.
func cleanText(s string, maxRunes int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(cut(strings.Join(strings.Fields(s), " "), maxRunes))
}

// cut returns the first characters of a text.
func cut(s string, maxRunes int) string {
	n := 0
	for i := range s {
		if n == maxRunes {
			return s[:i]
		}
		n++
	}
	return s
}
