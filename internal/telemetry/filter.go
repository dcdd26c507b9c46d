package telemetry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a filter's text. A filter is compiled into every query of every
// person who has it, so it stays small.
const (
	maxFilterBytes      = 4 << 10 // of the text, and of the canonical text
	maxFilterDepth      = 32      // nested parentheses and nots
	maxFilterConditions = 256     // values compared with, all together
)

// A Filter is a parsed data scope: a condition on resource attributes. See
// ParseFilter for the language. Its zero value matches nothing.
//
// A Filter is immutable and safe for concurrent use.
type Filter struct {
	root Node
	text string
}

// A Node is one part of a filter: *Condition, *Not, *All or *Any.
type Node interface {
	match(lookup func(string) string) bool
	write(b *strings.Builder, inAll bool)
}

// A Condition holds where the attribute has one of the values. It does not
// hold where the attribute is missing.
type Condition struct {
	name   string
	values []string
}

// Name returns the resource attribute's name.
func (c *Condition) Name() string { return c.name }

// Values returns the values that match, at least one, none of them empty.
func (c *Condition) Values() []string { return slices.Clone(c.values) }

// A Not holds where its node does not, so also where an attribute is missing.
type Not struct{ node Node }

// Node returns what must not hold.
func (n *Not) Node() Node { return n.node }

// All holds where each of its nodes does.
type All struct{ nodes []Node }

// Nodes returns at least two nodes, none of them an *All.
func (a *All) Nodes() []Node { return slices.Clone(a.nodes) }

// Any holds where one of its nodes does.
type Any struct{ nodes []Node }

// Nodes returns at least two nodes, none of them an *Any.
func (a *Any) Nodes() []Node { return slices.Clone(a.nodes) }

// A FilterError says what is wrong with a filter's text, for the person who
// wrote it.
type FilterError struct {
	// Problem is one sentence: what is wrong and what would be right.
	Problem string
	// Offset is the byte offset of the fault in the text.
	Offset int
}

func (e *FilterError) Error() string {
	return fmt.Sprintf("%s (at byte %d of the filter)", e.Problem, e.Offset)
}

// ParseFilter parses a data scope: conditions on resource attributes,
//
//	service.name in ("checkout", "cart") and not (k8s.namespace.name = test)
//	deployment.environment.name = prod or service.namespace != "back office"
//
// combined with not, and, or (binding in this order) and parentheses.
// Keywords are case-insensitive. Names and values stand bare where they
// consist of letters, digits and _ - . / : only, else in double quotes with
// Go's escapes. Comparison is exact. A missing attribute equals nothing: =
// and in are false for it, != and not are true. Errors are *FilterError.
func ParseFilter(text string) (*Filter, error) {
	if len(text) > maxFilterBytes {
		return nil, &FilterError{Problem: fmt.Sprintf("the filter is longer than %d bytes; write a shorter one", maxFilterBytes), Offset: maxFilterBytes}
	}
	root, err := parseFilter(text)
	if err != nil {
		return nil, err
	}
	// The canonical text may be longer or deeper than the text: it adds quotes,
	// and parentheses after not. It is what is stored, so the limits hold for it.
	f := newFilter(root)
	if len(f.text) > maxFilterBytes {
		return nil, &FilterError{Problem: fmt.Sprintf("the filter is longer than %d bytes when its values are quoted; write a shorter one", maxFilterBytes), Offset: len(text)}
	}
	if _, err := parseFilter(f.text); err != nil {
		return nil, &FilterError{Problem: err.(*FilterError).Problem, Offset: len(text)}
	}
	return f, nil
}

func parseFilter(text string) (Node, error) {
	p := filterParser{text: text}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokenEnd {
		return nil, p.fail("the filter is empty; write a condition such as service.name = checkout")
	}
	root, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokenEnd {
		return nil, p.fail("expected and, or, or the end of the filter")
	}
	return root, nil
}

// Union returns a filter that matches what any of the filters matches. A nil
// filter hides nothing, so neither does a union that contains one: it is nil.
// The union of no filters matches nothing.
func Union(filters ...*Filter) *Filter {
	var nodes []Node
	for _, f := range filters {
		if f == nil {
			return nil
		}
		if f.root != nil && !slices.ContainsFunc(nodes, func(n Node) bool { return nodeText(n) == f.text }) {
			nodes = append(nodes, f.root)
		}
	}
	switch len(nodes) {
	case 0:
		return &Filter{}
	case 1:
		return newFilter(nodes[0])
	}
	return newFilter(newAny(nodes))
}

// Intersection returns a filter that matches what each of the filters matches.
// A nil filter hides nothing and makes no difference; nil is returned where
// all are.
func Intersection(filters ...*Filter) *Filter {
	var nodes []Node
	for _, f := range filters {
		switch {
		case f == nil:
		case f.root == nil:
			return &Filter{}
		case !slices.ContainsFunc(nodes, func(n Node) bool { return nodeText(n) == f.text }):
			nodes = append(nodes, f.root)
		}
	}
	switch len(nodes) {
	case 0:
		return nil
	case 1:
		return newFilter(nodes[0])
	}
	return newFilter(newAll(nodes))
}

// String returns the filter's canonical text, which parses to an equal filter
// unless a Union made it longer than ParseFilter accepts.
func (f *Filter) String() string { return f.text }

// Node returns the condition to compile, nil for a filter that matches nothing.
func (f *Filter) Node() Node { return f.root }

// Names returns the resource attributes that the filter compares with.
func (f *Filter) Names() []string {
	var names []string
	var visit func(n Node)
	visit = func(n Node) {
		switch n := n.(type) {
		case *Condition:
			if !slices.Contains(names, n.name) {
				names = append(names, n.name)
			}
		case *Not:
			visit(n.node)
		case *All:
			for _, n := range n.nodes {
				visit(n)
			}
		case *Any:
			for _, n := range n.nodes {
				visit(n)
			}
		}
	}
	visit(f.root)
	return names
}

// Match reports whether a resource matches. lookup returns the value of the
// named attribute, "" where it is missing.
func (f *Filter) Match(lookup func(name string) string) bool {
	return f.root != nil && f.root.match(lookup)
}

func newFilter(root Node) *Filter { return &Filter{root: root, text: nodeText(root)} }

func nodeText(n Node) string {
	var b strings.Builder
	n.write(&b, false)
	return b.String()
}

func (c *Condition) match(lookup func(string) string) bool {
	v := lookup(c.name)
	return v != "" && slices.Contains(c.values, v)
}

func (n *Not) match(lookup func(string) string) bool { return !n.node.match(lookup) }

func (a *All) match(lookup func(string) string) bool {
	for _, n := range a.nodes {
		if !n.match(lookup) {
			return false
		}
	}
	return true
}

func (a *Any) match(lookup func(string) string) bool {
	for _, n := range a.nodes {
		if n.match(lookup) {
			return true
		}
	}
	return false
}

func (c *Condition) write(b *strings.Builder, _ bool) {
	writeFilterName(b, c.name)
	if len(c.values) == 1 {
		b.WriteString(" = ")
		b.WriteString(strconv.Quote(c.values[0]))
		return
	}
	b.WriteString(" in (")
	for i, v := range c.values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(v))
	}
	b.WriteByte(')')
}

func (n *Not) write(b *strings.Builder, _ bool) {
	if c, ok := n.node.(*Condition); ok && len(c.values) == 1 {
		writeFilterName(b, c.name)
		b.WriteString(" != ")
		b.WriteString(strconv.Quote(c.values[0]))
		return
	}
	b.WriteString("not (")
	n.node.write(b, false)
	b.WriteByte(')')
}

func (a *All) write(b *strings.Builder, _ bool) {
	for i, n := range a.nodes {
		if i > 0 {
			b.WriteString(" and ")
		}
		n.write(b, true)
	}
}

func (a *Any) write(b *strings.Builder, inAll bool) {
	if inAll {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	for i, n := range a.nodes {
		if i > 0 {
			b.WriteString(" or ")
		}
		n.write(b, false)
	}
}

func writeFilterName(b *strings.Builder, name string) {
	for i := range len(name) {
		if !isBareByte(name[i]) {
			b.WriteString(strconv.Quote(name))
			return
		}
	}
	switch strings.ToLower(name) {
	case "and", "or", "not", "in":
		b.WriteString(strconv.Quote(name))
	default:
		b.WriteString(name)
	}
}

func newNot(n Node) Node {
	if not, ok := n.(*Not); ok {
		return not.node
	}
	return &Not{node: n}
}

func newAll(nodes []Node) Node {
	var flat []Node
	for _, n := range nodes {
		if a, ok := n.(*All); ok {
			flat = append(flat, a.nodes...)
		} else {
			flat = append(flat, n)
		}
	}
	return &All{nodes: flat}
}

func newAny(nodes []Node) Node {
	var flat []Node
	for _, n := range nodes {
		if a, ok := n.(*Any); ok {
			flat = append(flat, a.nodes...)
		} else {
			flat = append(flat, n)
		}
	}
	return &Any{nodes: flat}
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenSign // = != ( ) ,
)

type filterToken struct {
	kind   tokenKind
	text   string // of a quoted token: without its quotes
	offset int
}

// filterParser descends recursively, one method per level of binding.
type filterParser struct {
	text       string
	pos        int
	tok        filterToken
	conditions int
}

func (p *filterParser) fail(problem string) error {
	return &FilterError{Problem: problem, Offset: p.tok.offset}
}

func isBareByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_-./:", c) >= 0
}

func (p *filterParser) next() error {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.tok = filterToken{kind: tokenEnd, offset: p.pos}
	if p.pos == len(p.text) {
		return nil
	}
	rest := p.text[p.pos:]
	size := 0
	for size < len(rest) && isBareByte(rest[size]) {
		size++
	}
	switch {
	case size > 0:
		p.tok.kind, p.tok.text = tokenWord, rest[:size]
	case rest[0] == '"':
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return p.fail(`a quote is not closed, or an escape in it is unknown; write "…" with \" and \\ for quotes and backslashes`)
		}
		size = len(quoted)
		p.tok.kind = tokenQuoted
		if p.tok.text, err = strconv.Unquote(quoted); err != nil || !utf8.ValidString(p.tok.text) {
			return p.fail("quoted text must be valid UTF-8")
		}
	case strings.HasPrefix(rest, "!="):
		size = 2
		p.tok.kind, p.tok.text = tokenSign, "!="
	case strings.IndexByte("=(),", rest[0]) >= 0:
		size = 1
		p.tok.kind, p.tok.text = tokenSign, rest[:1]
	default:
		r, _ := utf8.DecodeRuneInString(rest)
		return p.fail(fmt.Sprintf("unexpected %q; put names and values with such characters in double quotes", r))
	}
	p.pos += size
	return nil
}

func (p *filterParser) isKeyword(word string) bool {
	return p.tok.kind == tokenWord && strings.EqualFold(p.tok.text, word)
}

func (p *filterParser) isSign(sign string) bool {
	return p.tok.kind == tokenSign && p.tok.text == sign
}

func (p *filterParser) or(depth int) (Node, error) {
	return p.list("or", newAny, func() (Node, error) {
		return p.list("and", newAll, func() (Node, error) { return p.not(depth) })
	})
}

func (p *filterParser) list(word string, combine func([]Node) Node, item func() (Node, error)) (Node, error) {
	var nodes []Node
	for {
		n, err := item()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if !p.isKeyword(word) {
			break
		}
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	if len(nodes) == 1 {
		return nodes[0], nil
	}
	return combine(nodes), nil
}

func (p *filterParser) not(depth int) (Node, error) {
	if depth > maxFilterDepth {
		return nil, p.fail(fmt.Sprintf("more than %d nested parentheses and nots; write a flatter filter", maxFilterDepth))
	}
	switch {
	case p.isKeyword("not"):
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return newNot(n), nil
	case p.isSign("("):
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		return n, p.sign(")", "expected and, or, or a closing parenthesis")
	}
	return p.condition()
}

// sign consumes the sign, or fails with the problem.
func (p *filterParser) sign(sign, problem string) error {
	if !p.isSign(sign) {
		return p.fail(problem)
	}
	return p.next()
}

func (p *filterParser) condition() (Node, error) {
	if p.isKeyword("and") || p.isKeyword("or") || p.isKeyword("in") ||
		p.tok.kind != tokenWord && p.tok.kind != tokenQuoted {
		return nil, p.fail("expected a condition such as service.name = checkout")
	}
	if p.tok.text == "" {
		return nil, p.fail("an attribute's name must not be empty")
	}
	c := &Condition{name: p.tok.text}
	if err := p.next(); err != nil {
		return nil, err
	}
	switch {
	case p.isSign("="), p.isSign("!="):
		negated := p.tok.text == "!="
		if err := p.next(); err != nil {
			return nil, err
		}
		if err := p.value(c); err != nil {
			return nil, err
		}
		if negated {
			return &Not{node: c}, nil
		}
		return c, nil
	case p.isKeyword("in"):
		if err := p.next(); err != nil {
			return nil, err
		}
		if err := p.sign("(", `expected the values of in, such as ("a", "b")`); err != nil {
			return nil, err
		}
		for {
			if err := p.value(c); err != nil {
				return nil, err
			}
			if !p.isSign(",") {
				break
			}
			if err := p.next(); err != nil {
				return nil, err
			}
		}
		return c, p.sign(")", "expected a comma or a closing parenthesis")
	}
	return nil, p.fail("expected =, != or in after the attribute's name")
}

func (p *filterParser) value(c *Condition) error {
	if p.tok.kind != tokenWord && p.tok.kind != tokenQuoted {
		return p.fail("expected a value, in double quotes if it has special characters")
	}
	if p.tok.text == "" {
		return p.fail("a value must not be empty: a missing attribute is found with not (… in (…))")
	}
	if p.conditions++; p.conditions > maxFilterConditions {
		return p.fail(fmt.Sprintf("more than %d values; write fewer", maxFilterConditions))
	}
	if !slices.Contains(c.values, p.tok.text) {
		c.values = append(c.values, p.tok.text)
	}
	return p.next()
}
