package tools

import (
	"cmp"
	"slices"
	"strings"
)

// maxNearest is how many names an answer suggests instead of an unknown one.
const maxNearest = 3

// nearest returns the names most like want, the most alike first, none where
// nothing is alike. The caller sees to it that have holds only names that may
// be shown.
func nearest(want string, have []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var list []candidate
	w := strings.ToLower(want)
	if w == "" || len(w) > maxNameBytes {
		return nil
	}
	for _, name := range have {
		n := strings.ToLower(name)
		if name == want || n == "" || len(n) > maxNameBytes {
			continue
		}
		far := distance(w, n)
		switch {
		case far <= max(1, len(w)/3):
		case len(w) >= 3 && (strings.Contains(n, w) || len(n) >= 3 && strings.Contains(w, n)):
			far = 1 + max(len(w), len(n))/3 // a part of it: checkout for checkout-service
		case sameParts(w, n):
			far = len(w) / 3 // service_name for service.name
		default:
			continue
		}
		list = append(list, candidate{name, far})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.far, b.far), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range list[:min(len(list), maxNearest)] {
		names = append(names, c.name)
	}
	return names
}

// sameParts says that two names end in the same word: status_code and
// http.response.status_code.
func sameParts(a, b string) bool {
	split := func(r rune) bool { return r == '.' || r == '_' || r == '-' || r == ':' || r == '/' || r == ' ' }
	x, y := strings.FieldsFunc(a, split), strings.FieldsFunc(b, split)
	return len(x) > 0 && len(y) > 0 && len(x[len(x)-1]) >= 3 && x[len(x)-1] == y[len(y)-1]
}

// distance is the optimal string alignment distance in bytes: insertions,
// deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
