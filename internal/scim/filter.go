package scim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on filters: a client that needs more asks for all and looks itself.
const (
	maxFilterBytes = 4096
	maxFilterDepth = 20
)

// filter is a parsed filter (RFC 7644 §3.4.2.2). It is applied to resources as
// JSON has them.
type filter interface {
	matches(resource map[string]any) bool
}

type (
	and  struct{ left, right filter }
	or   struct{ left, right filter }
	not  struct{ of filter }
	some struct { // emails[type eq "work"]
		attribute path
		of        filter
	}
	comparison struct {
		attribute path
		op        string // in lower case
		value     any    // nil, bool, float64 or string
	}
)

// path names an attribute, and maybe one inside it, both in lower case.
type path struct{ attribute, sub string }

func (f and) matches(r map[string]any) bool { return f.left.matches(r) && f.right.matches(r) }
func (f or) matches(r map[string]any) bool  { return f.left.matches(r) || f.right.matches(r) }
func (f not) matches(r map[string]any) bool { return !f.of.matches(r) }

func (f some) matches(r map[string]any) bool {
	for _, v := range values(member(r, f.attribute.attribute)) {
		if m, ok := v.(map[string]any); ok && f.of.matches(m) {
			return true
		}
	}
	return false
}

// matches holds if any value of the attribute does (RFC 7644 §3.4.2.2), for ne
// if none equals.
func (f comparison) matches(r map[string]any) bool {
	found := f.attribute.of(r)
	switch f.op {
	case "pr":
		for _, v := range found {
			if present(v) {
				return true
			}
		}
		return false
	case "ne":
		for _, v := range found {
			if f.holds("eq", v) {
				return false
			}
		}
		return true
	}
	if f.op == "eq" && f.value == nil {
		return len(found) == 0
	}
	for _, v := range found {
		if f.holds(f.op, v) {
			return true
		}
	}
	return false
}

// of returns the values of the attribute in a resource. A complex attribute
// stands for its value.
func (p path) of(r map[string]any) []any {
	var out []any
	for _, v := range values(member(r, p.attribute)) {
		if m, ok := v.(map[string]any); ok {
			sub := p.sub
			if sub == "" {
				sub = "value"
			}
			v = member(m, sub)
		} else if p.sub != "" {
			continue
		}
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// member finds a member of an object, whose names know no case (RFC 7643 §2.1).
func member(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func values(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

func present(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// exact are attributes whose values know case (RFC 7643 §7, caseExact).
var exact = map[string]bool{"id": true, "externalid": true}

func (f comparison) holds(op string, v any) bool {
	switch want := f.value.(type) {
	case string:
		have, ok := v.(string)
		if !ok {
			return false
		}
		if !exact[f.attribute.attribute] {
			have, want = strings.ToLower(have), strings.ToLower(want)
		}
		if f.attribute.attribute == "meta" {
			then, err := time.Parse(time.RFC3339, f.value.(string))
			at, err2 := time.Parse(time.RFC3339, v.(string))
			if err == nil && err2 == nil {
				return compares(op, at.Compare(then))
			}
		}
		switch op {
		case "co":
			return strings.Contains(have, want)
		case "sw":
			return strings.HasPrefix(have, want)
		case "ew":
			return strings.HasSuffix(have, want)
		default:
			return compares(op, strings.Compare(have, want))
		}
	case float64:
		have, ok := v.(float64)
		if !ok {
			return false
		}
		switch {
		case have < want:
			return compares(op, -1)
		case have > want:
			return compares(op, 1)
		}
		return compares(op, 0)
	case bool:
		have, ok := v.(bool)
		return ok && op == "eq" && have == want
	}
	return false
}

func compares(op string, sign int) bool {
	switch op {
	case "eq":
		return sign == 0
	case "gt":
		return sign > 0
	case "ge":
		return sign >= 0
	case "lt":
		return sign < 0
	case "le":
		return sign <= 0
	}
	return false
}

// parseFilter reads a filter. Errors are *Error with scimType invalidFilter.
func parseFilter(text string) (filter, error) {
	if len(text) > maxFilterBytes {
		return nil, invalidFilter("the filter is longer than %d bytes", maxFilterBytes)
	}
	if !utf8.ValidString(text) {
		return nil, invalidFilter("the filter is no valid UTF-8")
	}
	p := filterParser{rest: text, whole: text}
	f, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.skip(); p.rest != "" {
		return nil, p.unexpected("the end, and, or or")
	}
	return f, nil
}

type filterParser struct{ rest, whole string }

func (p *filterParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *filterParser) unexpected(wanted string) error {
	at := len(p.whole) - len(p.rest) + 1
	if p.rest == "" {
		return invalidFilter("the filter ends where %s should follow", wanted)
	}
	found, _, _ := strings.Cut(p.rest, " ")
	if r := []rune(found); len(r) > 20 {
		found = string(r[:20]) + "…"
	}
	return invalidFilter("at character %d of the filter: found %q where %s should stand", at, found, wanted)
}

// word takes a keyword if it is next.
func (p *filterParser) word(w string) bool {
	p.skip()
	if len(p.rest) < len(w) || !strings.EqualFold(p.rest[:len(w)], w) {
		return false
	}
	if after := p.rest[len(w):]; after != "" && isNameByte(after[0]) {
		return false
	}
	p.rest = p.rest[len(w):]
	return true
}

func (p *filterParser) or(depth int) (filter, error) {
	left, err := p.and(depth)
	for err == nil && p.word("or") {
		var right filter
		if right, err = p.and(depth); err == nil {
			left = or{left, right}
		}
	}
	return left, err
}

func (p *filterParser) and(depth int) (filter, error) {
	left, err := p.term(depth)
	for err == nil && p.word("and") {
		var right filter
		if right, err = p.term(depth); err == nil {
			left = and{left, right}
		}
	}
	return left, err
}

func (p *filterParser) term(depth int) (filter, error) {
	if depth > maxFilterDepth {
		return nil, invalidFilter("the filter is nested deeper than %d", maxFilterDepth)
	}
	if p.word("not") {
		p.skip()
		if !strings.HasPrefix(p.rest, "(") {
			return nil, p.unexpected("( after not")
		}
		f, err := p.term(depth + 1)
		return not{f}, err
	}
	p.skip()
	if rest, ok := strings.CutPrefix(p.rest, "("); ok {
		p.rest = rest
		f, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		return f, p.close(")")
	}
	attribute, err := p.path()
	if err != nil {
		return nil, err
	}
	if rest, ok := strings.CutPrefix(p.rest, "["); ok {
		p.rest = rest
		f, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if err := p.close("]"); err != nil {
			return nil, err
		}
		// emails[type eq "work"].value eq "…" is not in the grammar of RFC
		// 7644, but providers send it.
		if rest, ok := strings.CutPrefix(p.rest, "."); ok {
			p.rest = rest
			sub, err := p.path()
			if err != nil {
				return nil, err
			}
			c, err := p.comparison(sub)
			return some{attribute, and{f, c}}, err
		}
		return some{attribute, f}, nil
	}
	return p.comparison(attribute)
}

func (p *filterParser) close(bracket string) error {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, bracket)
	if !ok {
		return p.unexpected(bracket)
	}
	p.rest = rest
	return nil
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("_-$.:", b) >= 0
}

func (p *filterParser) path() (path, error) {
	p.skip()
	end := 0
	for end < len(p.rest) && isNameByte(p.rest[end]) {
		end++
	}
	if end == 0 || !unicode.IsLetter(rune(p.rest[0])) {
		return path{}, p.unexpected("the name of an attribute")
	}
	name := p.rest[:end]
	out, ok := parsePath(name)
	if !ok {
		return path{}, p.unexpected("the name of an attribute")
	}
	p.rest = p.rest[end:]
	return out, nil
}

// parsePath reads attribute or attribute.sub, with or without the URN of our
// schemas before it.
func parsePath(name string) (path, bool) {
	name = strings.ToLower(name)
	for _, urn := range []string{schemaUser, schemaGroup} {
		if rest, ok := strings.CutPrefix(name, strings.ToLower(urn)+":"); ok {
			name = rest
		}
	}
	if strings.HasPrefix(name, "urn:") {
		// An extension that we do not have: it has no values here.
		return path{attribute: name}, true
	}
	attribute, sub, dotted := strings.Cut(name, ".")
	if attribute == "" || dotted && sub == "" || strings.ContainsAny(sub, ".:") || strings.Contains(attribute, ":") {
		return path{}, false
	}
	return path{attribute, sub}, true
}

func (p *filterParser) comparison(attribute path) (filter, error) {
	for _, op := range []string{"pr", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"} {
		if !p.word(op) {
			continue
		}
		if op == "pr" {
			return comparison{attribute: attribute, op: op}, nil
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if _, text := v.(string); !text && (op == "co" || op == "sw" || op == "ew") {
			return nil, invalidFilter("%s compares text: put the value in quotation marks", op)
		}
		return comparison{attribute, op, v}, nil
	}
	p.skip()
	return nil, p.unexpected("one of eq, ne, co, sw, ew, pr, gt, ge, lt, le")
}

// value reads a JSON value that is neither object nor list.
func (p *filterParser) value() (any, error) {
	p.skip()
	d := json.NewDecoder(strings.NewReader(p.rest))
	var v any
	if strings.HasPrefix(p.rest, "{") || strings.HasPrefix(p.rest, "[") || d.Decode(&v) != nil {
		// Some clients write True and False.
		for word, v := range map[string]bool{"true": true, "false": false} {
			if p.word(word) {
				return v, nil
			}
		}
		return nil, p.unexpected(`a value like "text", 12, true or null`)
	}
	p.rest = p.rest[d.InputOffset():]
	return v, nil
}

// only returns the value that a filter asks an attribute to be equal to, where
// it asks for nothing else: such a question has an index.
func only(f filter, attribute string) (string, bool) {
	c, ok := f.(comparison)
	if !ok || c.op != "eq" || c.attribute != (path{attribute: attribute}) {
		return "", false
	}
	s, ok := c.value.(string)
	return s, ok
}

func invalidFilter(format string, args ...any) error {
	return &Error{Status: 400, Type: "invalidFilter", Detail: fmt.Sprintf(format, args...)}
}
