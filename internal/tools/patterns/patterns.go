// Package patterns groups log messages that one statement of a program wrote:
// messages that differ only in values get one pattern, such as
//
//	connection from <*> closed after <*> ms
//
// It needs no training and no list of formats. [Mine] reads each message once:
// what is surely a value (numbers, addresses, identifiers, paths) becomes <*>,
// which leaves few different shapes. Shapes of the same length are then grouped
// by the words that they share: for each shape, the largest set of words that
// occur equally often at their places is what its statement wrote, and the
// words that vary around it are values or, where they are few, other
// statements (the idea of frequent word combinations, as in Yu et al., "Brain:
// Log Parsing with Bidirectional Parallel Tree", 2023).
package patterns

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
)

// Wildcard stands for a value in a pattern.
const Wildcard = "<*>"

// Limits of a Miner.
const (
	// maxLineBytes of a message are looked at; the rest is a value.
	maxLineBytes = 2000
	// maxTokens of a message are looked at; the rest is a value.
	maxTokens = 120
	// maxShapes are kept; a message with a new shape beyond them counts as
	// Overflow. It bounds the time that Groups takes: a second or two at worst.
	maxShapes = 15_000
)

// A Group is the messages of one pattern.
type Group struct {
	// Pattern is the text with Wildcard where messages differ.
	Pattern string
	// Count is how many messages it has.
	Count int64

	shapes []int
}

// A Miner collects messages. Its zero value is not ready: use NewMiner. It is
// not safe for concurrent use.
type Miner struct {
	seed   maphash.Seed
	byHash map[uint64]int
	shapes []*shape
	cut    tokenizer
	// Overflow is how many messages had no room.
	Overflow int64
}

// A shape is all messages that are the same once values are masked.
type shape struct {
	id int
	// words are the masked tokens, raw those of the first message.
	words, raw []string
	// space says that white space stands before the token.
	space []bool
	// values are the masked places, with what their values have in common.
	values []value
	count  int64
}

// A value is a masked place of a shape.
type value struct {
	at int
	// prefix and suffix are how many bytes of the first message's value all
	// messages share; both are its length while all are the same. least is the
	// length of the shortest value.
	prefix, suffix, least int
}

// NewMiner returns an empty miner.
func NewMiner() *Miner {
	return &Miner{seed: maphash.MakeSeed(), byHash: make(map[uint64]int), cut: tokenizer{kinds: newKinds()}}
}

// Add counts a message n times and returns the number of its shape, which
// Groups translates, or -1 where there was no room.
func (m *Miner) Add(message string, n int64) int {
	tokens := m.cut.cut(message)
	var h maphash.Hash
	h.SetSeed(m.seed)
	for i := range tokens {
		t := &tokens[i]
		if t.masked {
			_ = h.WriteByte(255)
			continue
		}
		// The length first, so that no text reads as another token.
		n := len(t.text)
		_ = h.WriteByte(byte(n >> 8)) // below 255: maxLineBytes
		_ = h.WriteByte(byte(n))
		_, _ = h.WriteString(t.text)
	}
	sum := h.Sum64()
	id, ok := m.byHash[sum]
	if !ok {
		if len(m.shapes) >= maxShapes {
			m.Overflow += n
			return -1
		}
		id = len(m.shapes)
		m.byHash[sum] = id
		m.shapes = append(m.shapes, newShape(id, tokens))
	}
	s := m.shapes[id]
	s.count += n
	s.compare(tokens)
	return id
}

func newShape(id int, tokens []token) *shape {
	s := &shape{id: id, words: make([]string, len(tokens)), raw: make([]string, len(tokens)), space: make([]bool, len(tokens))}
	for i, t := range tokens {
		s.raw[i], s.space[i] = strings.Clone(t.text), t.space
		s.words[i] = s.raw[i]
		if t.masked {
			s.words[i] = Wildcard
			s.values = append(s.values, value{i, len(t.text), len(t.text), len(t.text)})
		}
	}
	return s
}

// compare notes what the values of a further message have in common with the
// first one's.
func (s *shape) compare(tokens []token) {
	for i := range s.values {
		v := &s.values[i]
		first, this := s.raw[v.at], tokens[v.at].text
		if first == this {
			continue
		}
		v.least = min(v.least, len(this))
		for v.prefix > len(this) || first[:v.prefix] != this[:v.prefix] {
			v.prefix = commonPrefix(first[:v.prefix], this)
		}
		for v.suffix > len(this) || first[len(first)-v.suffix:] != this[len(this)-v.suffix:] {
			v.suffix = commonSuffix(first[len(first)-v.suffix:], this)
		}
		if v.prefix == len(first) {
			v.prefix-- // the first value is the beginning of this one
		}
	}
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// Groups returns the groups, those with most messages first, and for every
// shape the index of its group.
func (m *Miner) Groups() (groups []Group, ofShape []int) {
	byLength := make(map[int][]*shape)
	for _, s := range m.shapes {
		byLength[len(s.words)] = append(byLength[len(s.words)], s)
	}
	lengths := make([]int, 0, len(byLength))
	for n := range byLength {
		lengths = append(lengths, n)
	}
	slices.Sort(lengths)
	var clusters [][]*shape
	for _, n := range lengths {
		clusters = append(clusters, clusterShapes(byLength[n])...)
	}
	for _, c := range clusters {
		g := Group{Pattern: render(c)}
		for _, s := range c {
			g.Count += s.count
			g.shapes = append(g.shapes, s.id)
		}
		groups = append(groups, g)
	}
	groups = mergeEqual(groups)
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Pattern, b.Pattern))
	})
	ofShape = make([]int, len(m.shapes))
	for i, g := range groups {
		for _, s := range g.shapes {
			ofShape[s] = i
		}
	}
	return groups, ofShape
}

// mergeEqual joins groups that read the same.
func mergeEqual(groups []Group) []Group {
	at := make(map[string]int)
	out := groups[:0]
	for _, g := range groups {
		if i, ok := at[g.Pattern]; ok {
			out[i].Count += g.Count
			out[i].shapes = append(out[i].shapes, g.shapes...)
			continue
		}
		at[g.Pattern] = len(out)
		out = append(out, g)
	}
	return out
}

// render writes the pattern of shapes of one length.
func render(c []*shape) string {
	var b strings.Builder
	first := c[0]
	wild := false
	for i := range first.raw {
		text := place(c, i)
		if wild && text == Wildcard && first.space[i] {
			continue // one value of several words
		}
		if i > 0 && first.space[i] {
			b.WriteByte(' ')
		}
		b.WriteString(text)
		wild = text == Wildcard
	}
	return b.String()
}

// place returns what stands at a place of the pattern.
func place(c []*shape, i int) string {
	first := c[0]
	prefix, suffix, least, varies := first.around(i)
	for _, s := range c[1:] {
		p, q, l, v := s.around(i)
		if !varies && !v && p == prefix {
			continue
		}
		if s.words[i] != Wildcard || first.words[i] != Wildcard {
			return Wildcard // other words, not other values
		}
		varies, least = true, min(least, l)
		prefix, suffix = prefix[:commonPrefix(prefix, p)], suffix[len(suffix)-commonSuffix(suffix, q):]
	}
	if !varies {
		return prefix
	}
	prefix = namePart(prefix)
	if most := least - len(prefix); len(suffix) > most {
		suffix = suffix[len(suffix)-max(0, most):]
	}
	return prefix + Wildcard + unitPart(suffix)
}

// around returns what all values at a place begin and end with and the length
// of the shortest; both are its text where it does not vary.
func (s *shape) around(i int) (prefix, suffix string, least int, varies bool) {
	text := s.raw[i]
	at := slices.IndexFunc(s.values, func(v value) bool { return v.at == i })
	if at < 0 || s.values[at].prefix == len(text) {
		return text, text, len(text), false
	}
	v := s.values[at]
	return text[:v.prefix], text[len(text)-v.suffix:], v.least, true
}

// namePart is the part of a common beginning that names the value rather than
// being a part of it by chance: blk_ of blk_17 and blk_19.
func namePart(s string) string {
	if i := strings.IndexAny(s, "0123456789"); i >= 0 {
		s = s[:i]
	}
	return s[:strings.LastIndexAny(s, "_-:/#=.@(<")+1]
}

// unitPart is the part of a common end that belongs to all values: ms.
func unitPart(s string) string {
	s = s[strings.LastIndexAny(s, "0123456789")+1:]
	if i := strings.IndexAny(s, " /:%"); i >= 0 {
		return s[i:]
	}
	if isUnit(s) {
		return s
	}
	return ""
}
