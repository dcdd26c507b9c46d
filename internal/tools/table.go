package tools

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/orielhq/oriel/internal/telemetry"
)

// clip cuts s to at most most bytes, on a rune's boundary.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// cell makes a value fit for one cell of a table: on one line, valid UTF-8,
// without characters that are invisible or turn the text around, and with its
// middle cut out where it is longer than most bytes, which counts in cut.
//
// A backslash stays as it is: doubling it would make most messages with JSON
// or paths longer and harder to search for.
func cell(s string, most int, cut *int) string {
	if len(s) <= most {
		return escape(s)
	}
	head, tail := most*2/3, len(s)-most/3
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	if cut != nil {
		*cut++
	}
	return fmt.Sprintf("%s … (+%d bytes) … %s", escape(s[:head]), tail-head, escape(s[tail:]))
}

// escape writes control, format and separator characters as escapes.
func escape(s string) string {
	if plainASCII(s) || !strings.ContainsFunc(s, needsEscape) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // invalid bytes come out as U+FFFD
		switch {
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case !needsEscape(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// needsEscape holds for what a reader does not see or takes for a new line.
func needsEscape(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// plainToken is what may stand outside of the fence: too poor for a sentence.
var plainToken = regexp.MustCompile(`^[A-Za-z0-9_.:/@+-]{1,80}$`)

// A table is rows of an answer, as text.
type table struct {
	// head is a line with the names of the columns, and before it lines about
	// columns that follow from another one; rows is a line for each row.
	head, rows []string
	// plain and fenced are the fields with the same value in all rows, as
	// name=value; fenced ones hold text that must stay inside of the fence.
	plain, fenced []string
	// cut is how many values were cut, dropped how many fields are not shown.
	cut, dropped int
}

// columnTitles are the names of reserved fields in tables of records.
var columnTitles = map[string]string{telemetry.FieldMessage: "message"}

// firstColumns stand before all others, in this order.
var firstColumns = []string{telemetry.FieldSeverity, telemetry.FieldService, telemetry.FieldMessage}

// A grid is rows by columns. It is made once and then laid out as often as it
// takes to find how much of it fits.
type grid struct {
	times   []time.Time
	stamps  []string // of times, "" where not yet written
	columns []*column
	// rows are the fields of each row that have a value, in the row's order.
	rows [][]gridField
}

// A gridField is a field of a row: which column, and which of its values.
type gridField struct{ column, value int }

// A column is a field of some rows.
type column struct {
	name string
	// ids tells by row which value, 0 is none. values[0] is "".
	ids    []int
	values []string
	// cells are the values as they are shown at cellMost, "" where not yet
	// written.
	cells    []string
	cellMost int
}

func newGrid(rows []telemetry.LogRow) *grid {
	g := &grid{times: make([]time.Time, len(rows)), stamps: make([]string, len(rows)), rows: make([][]gridField, len(rows))}
	byName := make(map[string]int)
	var valueIDs []map[string]int // by column
	total := 0
	for _, r := range rows {
		total += len(r.Fields)
	}
	fields := make([]gridField, 0, total)
	for n, r := range rows {
		g.times[n] = r.Time
		first := len(fields)
		for _, f := range r.Fields {
			if f.Value == "" {
				continue
			}
			at, ok := byName[f.Name]
			if !ok {
				at = len(g.columns)
				byName[f.Name] = at
				g.columns = append(g.columns, &column{name: f.Name, ids: make([]int, len(rows)), values: []string{""}})
				valueIDs = append(valueIDs, make(map[string]int))
			}
			c := g.columns[at]
			id, ok := valueIDs[at][f.Value]
			if !ok {
				id = len(c.values)
				valueIDs[at][f.Value] = id
				c.values = append(c.values, f.Value)
			}
			c.ids[n] = id
			fields = append(fields, gridField{at, id})
		}
		g.rows[n] = fields[first:len(fields):len(fields)]
	}
	return g
}

// stamp is the time of a row, "" where it has none.
func (g *grid) stamp(row int) string {
	if g.stamps[row] == "" && !g.times[row].IsZero() {
		g.stamps[row] = stamp(g.times[row])
	}
	return g.stamps[row]
}

// cell is a value as it is shown.
func (c *column) cell(value, most int, cut *int) string {
	if c.cellMost != most || c.cells == nil {
		c.cells, c.cellMost = make([]string, len(c.values)), most
	}
	if text := c.cells[value]; text != "" || value == 0 {
		if len(c.values[value]) > most {
			*cut++
		}
		return text
	}
	c.cells[value] = cell(c.values[value], most, cut)
	return c.cells[value]
}

// among says how many of the first n rows have a value, and whether all have
// the same.
func (c *column) among(n int) (count int, same bool) {
	same = n > 0 && c.ids[0] != 0
	for _, id := range c.ids[:n] {
		if id != 0 {
			count++
		}
		same = same && id == c.ids[0]
	}
	return count, same
}

// A laidColumn is a column in a table.
type laidColumn struct {
	*column
	index int
	count int // rows that have it
	// sparse ones are written as name=value in the rows that have them.
	sparse bool
	// each is how many bytes a cell has besides its value.
	each int
}

// layOut writes the first n rows. Values longer than cellMost bytes are cut;
// fieldsMost bounds how many fields are shown besides those that come first,
// -1 is all.
func (g *grid) layOut(n, cellMost, fieldsMost int) table {
	var t table
	timed := slices.ContainsFunc(g.times[:n], func(at time.Time) bool { return !at.IsZero() })
	first := make([]*laidColumn, len(firstColumns))
	var others []*laidColumn
	seen := 0
	for i, c := range g.columns {
		count, same := c.among(n)
		if count == 0 {
			continue
		}
		place := -1
		if timed {
			place = slices.Index(firstColumns, c.name)
		}
		if place < 0 {
			if seen++; fieldsMost >= 0 && seen > fieldsMost {
				t.dropped++
				continue
			}
		}
		laid := &laidColumn{column: c, index: i, count: count, each: len("\t")}
		switch {
		case n > 1 && same:
			t.addSame(c.name, c.values[c.ids[0]], cellMost)
		case place >= 0:
			first[place] = laid
		default:
			if laid.sparse = count*2 < n; laid.sparse {
				laid.each = len(c.name) + len("=; ")
			}
			others = append(others, laid)
		}
	}
	if timed {
		others = t.addLegend(n, others, cellMost)
	}
	var shown []*laidColumn
	sparse := make([]bool, len(g.columns))
	anySparse := false
	for _, c := range append(first, others...) {
		switch {
		case c == nil:
		case c.sparse:
			sparse[c.index], anySparse = true, true
		default:
			shown = append(shown, c)
		}
	}
	t.head = append(t.head, titles(shown, timed, anySparse))
	t.rows = make([]string, n)
	var line []byte
	for row := range n {
		line = line[:0]
		if timed {
			line = append(append(line, g.stamp(row)...), '\t')
		}
		for _, c := range shown {
			line = append(append(line, c.cell(c.ids[row], cellMost, &t.cut)...), '\t')
		}
		if anySparse {
			some := false
			for _, f := range g.rows[row] {
				if !sparse[f.column] {
					continue
				}
				if some {
					line = append(line, "; "...)
				}
				some = true
				c := g.columns[f.column]
				line = append(line, pair(c.name, c.values[f.value], cellMost, &t.cut)...)
			}
			line = append(line, '\t')
		}
		t.rows[row] = string(line[:max(len(line)-1, 0)])
	}
	return t
}

// leastSaved is how many bytes a legend must save for the reader to look
// values up in it.
const leastSaved = 200

// addLegend takes out columns whose values follow from that of another one, as
// region, host and version do from a pod, and returns the other columns. It
// adds a line for each value of that one: where k8s.pod.name=a: host.name=b; psp=c
func (t *table) addLegend(n int, columns []*laidColumn, cellMost int) (left []*laidColumn) {
	var key *laidColumn
	var following []*laidColumn
	saved := leastSaved
	for _, k := range columns {
		if k.sparse || k.count < n {
			continue
		}
		values := k.distinct(n)
		if (len(values)+1)*2 > n {
			continue
		}
		var follow []*laidColumn
		saves := 0
		for _, c := range columns {
			if c == k {
				continue
			}
			if s := k.follower(c, n); s > 0 {
				follow = append(follow, c)
				saves += s
			}
		}
		for _, v := range values {
			saves -= len("where =:\n") + len(k.name) + len(k.values[v])
		}
		if saves > saved {
			key, saved, following = k, saves, follow
		}
	}
	if key == nil {
		return columns
	}
	for _, c := range columns {
		if !slices.Contains(following, c) {
			left = append(left, c)
		}
	}
	said := make([]bool, len(key.values))
	for row, id := range key.ids[:n] {
		if said[id] {
			continue
		}
		said[id] = true
		var pairs []string
		for _, c := range following {
			if v := c.values[c.ids[row]]; v != "" {
				pairs = append(pairs, pair(c.name, v, cellMost, &t.cut))
			}
		}
		t.head = append(t.head, "where "+pair(key.name, key.values[id], cellMost, &t.cut)+": "+strings.Join(pairs, "; "))
	}
	return left
}

// distinct returns the values of the first n rows, in the order in which they
// come.
func (c *column) distinct(n int) (values []int) {
	// Values are numbered in that order.
	for id := 1; id <= slices.Max(c.ids[:n]); id++ {
		values = append(values, id)
	}
	return values
}

// follower returns how many bytes it saves to say the values of c in the first
// n rows once for each value of k, or 0 where they do not follow from that.
func (k *laidColumn) follower(c *laidColumn, n int) (saves int) {
	from := make([]int, len(k.values)) // which value follows, plus one
	for row, id := range k.ids[:n] {
		v := c.values[c.ids[row]]
		if v != "" || !c.sparse {
			saves += len(v) + c.each
		}
		switch from[id] {
		case 0:
			from[id] = c.ids[row] + 1
			if v != "" {
				saves -= len(c.name) + len("=; ") + len(v)
			}
		case c.ids[row] + 1:
		default:
			return 0
		}
	}
	return max(saves, 0)
}

func (t *table) addSame(name, value string, cellMost int) {
	if plainToken.MatchString(name) && plainToken.MatchString(value) && len(value) <= cellMost {
		t.plain = append(t.plain, name+"="+value)
		return
	}
	t.fenced = append(t.fenced, pair(name, value, cellMost, &t.cut))
}

// pair writes name=value so that several can stand in a line.
func pair(name, value string, most int, cut *int) string {
	v := cell(value, most, cut)
	if strings.ContainsAny(v, ";\"= ") {
		v = `"` + strings.ReplaceAll(v, `"`, `\"`) + `"`
	}
	return cell(name, most, cut) + "=" + v
}

func titles(shown []*laidColumn, timed, sparse bool) string {
	var out []string
	if timed {
		out = append(out, "time")
	}
	for _, c := range shown {
		title, reserved := columnTitles[c.name]
		switch {
		case timed && reserved:
		case c.name == "time" || c.name == "message" || c.name == "fields":
			// An attribute of that name is not the column of that name.
			title = `"` + c.name + `"`
		default:
			title = cell(c.name, maxNameBytes, nil)
		}
		out = append(out, title)
	}
	if sparse {
		out = append(out, "fields")
	}
	return strings.Join(out, "\t")
}
