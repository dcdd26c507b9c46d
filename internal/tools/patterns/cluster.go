package patterns

import (
	"cmp"
	"slices"
	"strings"
)

// manyWords is from how many different words at a place they are values
// rather than parts of different statements.
const manyWords = 5

// manyFirstWords is the same for a message's first word, which more often
// tells statements apart.
const manyFirstWords = 12

// clusterShapes groups shapes of one length.
func clusterShapes(shapes []*shape) [][]*shape {
	if len(shapes) == 1 {
		return [][]*shape{shapes}
	}
	freq := countWords(shapes)
	roots := make(map[string][]*shape)
	var order []string
	for _, s := range shapes {
		k := rootOf(s, freq)
		if _, ok := roots[k]; !ok {
			order = append(order, k)
		}
		roots[k] = append(roots[k], s)
	}
	var out [][]*shape
	for _, k := range order {
		out = append(out, split(roots[k])...)
	}
	return joinRare(out, freq)
}

// joinRare joins groups that differ only in words much rarer than those that
// they share: values so rare that, occurring equally often, they passed for
// what a statement wrote.
func joinRare(groups [][]*shape, freq []map[string]int64) [][]*shape {
	alike := make(map[string][]int)
	var order []string
	for g, shapes := range groups {
		n := int64(0)
		for _, s := range shapes {
			n += s.count
		}
		var key strings.Builder
		kept, rare := 0, 0
		first := shapes[0]
		for i, w := range first.words {
			varies := slices.ContainsFunc(shapes, func(s *shape) bool { return s.words[i] != w })
			switch {
			case !isWord(w) && !varies:
				key.WriteString(w)
			case varies:
				rare++
			case freq[i][w] >= manyWords*n:
				kept++
				key.WriteString(w)
			case i == 0:
				key.WriteString(w)
			default:
				rare++
			}
			key.WriteByte(0)
		}
		k := key.String()
		if rare == 0 || kept <= rare {
			k = "" // nothing to join, or too little in common
		} else if _, ok := alike[k]; !ok {
			order = append(order, k)
		}
		alike[k] = append(alike[k], g)
	}
	var out [][]*shape
	for _, g := range alike[""] {
		out = append(out, groups[g])
	}
	for _, k := range order {
		var all []*shape
		for _, g := range alike[k] {
			all = append(all, groups[g]...)
		}
		if len(alike[k]) >= manyWords && len(split(all)) == 1 {
			out = append(out, all)
			continue
		}
		for _, g := range alike[k] {
			out = append(out, groups[g])
		}
	}
	return out
}

// countWords returns how many messages have each word at each place.
func countWords(shapes []*shape) []map[string]int64 {
	freq := make([]map[string]int64, len(shapes[0].words))
	for i := range freq {
		freq[i] = make(map[string]int64)
		for _, s := range shapes {
			freq[i][s.words[i]] += s.count
		}
	}
	return freq
}

// isWord says that a token is neither a value nor a punctuation mark.
func isWord(w string) bool {
	return w != Wildcard && (len(w) > 1 || isLetter(w[0]))
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80 }

// rootOf returns the words that the shape's statement wrote, as far as their
// equal frequency tells: a key.
func rootOf(s *shape, freq []map[string]int64) string {
	type combination struct {
		f int64
		n int
	}
	var list []combination
	most := int64(0)
	for i, w := range s.words {
		if !isWord(w) {
			continue
		}
		f := freq[i][w]
		most = max(most, f)
		if at := slices.IndexFunc(list, func(c combination) bool { return c.f == f }); at >= 0 {
			list[at].n++
		} else {
			list = append(list, combination{f, 1})
		}
	}
	best := combination{}
	for _, c := range list {
		if cmp.Or(cmp.Compare(c.n, best.n), cmp.Compare(c.f, best.f)) > 0 {
			best = c
		}
	}
	var b strings.Builder
	for i, w := range s.words {
		if isWord(w) && freq[i][w] == best.f {
			b.WriteString(w)
		}
		b.WriteByte(0)
	}
	return b.String()
}

// split divides shapes that share their root by the words around it.
func split(shapes []*shape) [][]*shape {
	places := make([]int, len(shapes[0].words))
	for i := range places {
		places[i] = i
	}
	return splitAt(shapes, places)
}

// splitAt looks at the given places; at all others the shapes are alike.
func splitAt(shapes []*shape, places []int) [][]*shape {
	if len(shapes) == 1 {
		return [][]*shape{shapes}
	}
	messages := int64(0)
	for _, s := range shapes {
		messages += s.count
	}
	// The place with fewest different words first: it is most likely one
	// where statements differ.
	best, fewest := -1, 0
	varying := make([]int, 0, len(places))
	for _, i := range places {
		n, values := distinct(shapes, i)
		if n < 2 {
			continue
		}
		varying = append(varying, i)
		if values || n >= manyFirstWords || i > 0 && (n >= manyWords || onceEach(n, messages) || looksLikeValue(shapes, i)) {
			continue
		}
		if best < 0 || n < fewest {
			best, fewest = i, n
		}
	}
	if best < 0 {
		return [][]*shape{shapes}
	}
	parts := make(map[string][]*shape)
	var order []string
	for _, s := range shapes {
		w := s.words[best]
		if _, ok := parts[w]; !ok {
			order = append(order, w)
		}
		parts[w] = append(parts[w], s)
	}
	var out [][]*shape
	for _, w := range order {
		out = append(out, splitAt(parts[w], varying)...)
	}
	return out
}

// onceEach says that words of which n different ones stand in so many messages
// hardly come again, as names do and statements do not.
func onceEach(n int, messages int64) bool { return n >= 3 && messages <= int64(n)+1 }

// distinct returns how many different words the shapes have at a place, where
// they are few, and whether one of them is a value.
func distinct(shapes []*shape, i int) (n int, values bool) {
	var seen [manyFirstWords]string
	for _, s := range shapes {
		w := s.words[i]
		if slices.Contains(seen[:n], w) {
			continue
		}
		values = values || w == Wildcard
		if n == len(seen) {
			return n, values
		}
		seen[n] = w
		n++
	}
	return n, values
}

// looksLikeValue says that the words at a place other than the first are values
// by what they look like, or by what stands before them.
func looksLikeValue(shapes []*shape, i int) bool {
	names := true
	for _, s := range shapes {
		names = names && isWord(s.words[i]) && strings.ContainsAny(s.words[i], "._-/$@\\:*")
	}
	if names {
		return true
	}
	words := shapes[0].words
	switch strings.ToLower(words[i-1]) {
	case "user", "username", "account", "host", "hostname", "named", "from":
		return isWord(words[i])
	case "to": // from one to another
		return i >= 3 && strings.EqualFold(words[i-3], "from")
	}
	return false
}
