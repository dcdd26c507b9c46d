package tools

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
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
	if !strings.ContainsFunc(s, needsEscape) && utf8.ValidString(s) {
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
	// lines are a line with the names of the columns and one per row.
	lines []string
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

// column is what is known about one field of all rows.
type column struct {
	name  string
	count int // rows that have it
	value string
	same  bool // in all rows that have it
}

// newTable lays out rows. Values longer than cellMost bytes are cut; fieldsMost
// bounds how many fields are shown besides those that come first, -1 is all.
func newTable(rows []telemetry.LogRow, cellMost, fieldsMost int) table {
	var t table
	columns := countColumns(rows)
	timed := false
	for _, r := range rows {
		timed = timed || !r.Time.IsZero()
	}
	isFirst := make(map[string]bool)
	if timed {
		for _, name := range firstColumns {
			isFirst[name] = true
		}
	}
	var first, wide []*column
	sparse := make(map[string]bool)
	others := 0
	for _, c := range columns {
		if !isFirst[c.name] {
			if others++; fieldsMost >= 0 && others > fieldsMost {
				t.dropped++
				continue
			}
		}
		switch {
		case len(rows) > 1 && c.same && c.count == len(rows):
			t.addSame(c, cellMost)
		case isFirst[c.name]:
			first = append(first, c)
		case c.count*2 >= len(rows):
			wide = append(wide, c)
		default:
			sparse[c.name] = true
		}
	}
	shown := make([]*column, 0, len(first)+len(wide))
	for _, name := range firstColumns {
		for _, c := range first {
			if c.name == name {
				shown = append(shown, c)
			}
		}
	}
	var legend []string
	if timed {
		wide, legend = t.addLegend(rows, columns, wide, sparse, cellMost)
	}
	shown = append(shown, wide...)
	t.lines = append(append(t.lines, legend...), titles(shown, timed, len(sparse) > 0))
	for _, r := range rows {
		t.addRow(r, shown, sparse, timed, cellMost)
	}
	return t
}

func countColumns(rows []telemetry.LogRow) []*column {
	var order []*column
	byName := make(map[string]*column)
	for _, r := range rows {
		for _, f := range r.Fields {
			c, ok := byName[f.Name]
			if !ok {
				c = &column{name: f.Name, value: f.Value, same: true}
				byName[f.Name] = c
				order = append(order, c)
			}
			c.count++
			c.same = c.same && c.value == f.Value
		}
	}
	return order
}

// leastSaved is how many bytes a legend must save for the reader to look
// values up in it.
const leastSaved = 200

// A coded column has a number for each of its values.
type coded struct {
	*column
	ids    []int // by row: which value, 0 is none
	values []string
	// each is how many bytes a cell has besides its value.
	each int
}

// code numbers the values of columns.
func code(rows []telemetry.LogRow, columns []*coded) {
	byName := make(map[string]*coded, len(columns))
	of := make(map[*coded]map[string]int, len(columns))
	for _, c := range columns {
		c.ids, c.values = make([]int, len(rows)), []string{""}
		byName[c.name], of[c] = c, make(map[string]int)
	}
	for n, r := range rows {
		for _, f := range r.Fields {
			c := byName[f.Name]
			if c == nil {
				continue
			}
			id, ok := of[c][f.Value]
			if !ok {
				id = len(c.values)
				of[c][f.Value] = id
				c.values = append(c.values, f.Value)
			}
			c.ids[n] = id
		}
	}
}

// addLegend takes out columns whose values follow from that of another one, as
// region, host and version do from a pod, and returns the other wide ones and a
// line for each value of that one: where k8s.pod.name=a: host.name=b; psp=c
func (t *table) addLegend(rows []telemetry.LogRow, all, wide []*column, sparse map[string]bool, cellMost int) (left []*column, lines []string) {
	var columns []*coded
	for _, c := range wide {
		columns = append(columns, &coded{column: c, each: len("\t")})
	}
	for _, c := range all {
		if sparse[c.name] {
			columns = append(columns, &coded{column: c, each: len(c.name) + len("=; ")})
		}
	}
	code(rows, columns)
	var key *coded
	var following []*coded
	saved := leastSaved
	for _, k := range columns[:len(wide)] {
		if k.count < len(rows) || len(k.values)*2 > len(rows) {
			continue
		}
		var follow []*coded
		saves := 0
		for _, c := range columns {
			if c == k {
				continue
			}
			if s := k.follower(c); s > 0 {
				follow = append(follow, c)
				saves += s
			}
		}
		for _, v := range k.values[1:] {
			saves -= len("where =:\n") + len(k.name) + len(v)
		}
		if saves > saved {
			key, saved, following = k, saves, follow
		}
	}
	if key == nil {
		return wide, nil
	}
	for _, c := range columns {
		switch {
		case !slices.Contains(following, c):
			if !sparse[c.name] {
				left = append(left, c.column)
			}
		default:
			delete(sparse, c.name)
		}
	}
	said := make([]bool, len(key.values))
	for n, id := range key.ids {
		if said[id] {
			continue
		}
		said[id] = true
		var pairs []string
		for _, c := range following {
			if v := c.values[c.ids[n]]; v != "" {
				pairs = append(pairs, pair(c.name, v, cellMost, &t.cut))
			}
		}
		lines = append(lines, "where "+pair(key.name, key.values[id], cellMost, &t.cut)+": "+strings.Join(pairs, "; "))
	}
	return left, lines
}

// follower returns how many bytes it saves to say a column's value once for
// each value of k, or 0 where it does not follow from that.
func (k *coded) follower(c *coded) (saves int) {
	from := make([]int, len(k.values)) // which value follows, plus one
	for n, id := range k.ids {
		v := c.values[c.ids[n]]
		if v != "" || c.each == len("\t") {
			saves += len(v) + c.each
		}
		switch from[id] {
		case 0:
			from[id] = c.ids[n] + 1
			if v != "" {
				saves -= len(c.name) + len("=; ") + len(v)
			}
		case c.ids[n] + 1:
		default:
			return 0
		}
	}
	return max(saves, 0)
}

func (t *table) addSame(c *column, cellMost int) {
	if plainToken.MatchString(c.name) && plainToken.MatchString(c.value) && len(c.value) <= cellMost {
		t.plain = append(t.plain, c.name+"="+c.value)
		return
	}
	t.fenced = append(t.fenced, pair(c.name, c.value, cellMost, &t.cut))
}

// pair writes name=value so that several can stand in a line.
func pair(name, value string, most int, cut *int) string {
	v := cell(value, most, cut)
	if strings.ContainsAny(v, ";\"= ") {
		v = `"` + strings.ReplaceAll(v, `"`, `\"`) + `"`
	}
	return cell(name, most, cut) + "=" + v
}

func titles(shown []*column, timed, sparse bool) string {
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

func (t *table) addRow(r telemetry.LogRow, shown []*column, sparse map[string]bool, timed bool, cellMost int) {
	values := make(map[string]string, len(r.Fields))
	for _, f := range r.Fields {
		values[f.Name] = f.Value
	}
	var cells []string
	if timed {
		at := ""
		if !r.Time.IsZero() {
			at = stamp(r.Time)
		}
		cells = append(cells, at)
	}
	for _, c := range shown {
		cells = append(cells, cell(values[c.name], cellMost, &t.cut))
	}
	if len(sparse) > 0 {
		var pairs []string
		for _, f := range r.Fields {
			if sparse[f.Name] {
				pairs = append(pairs, pair(f.Name, f.Value, cellMost, &t.cut))
			}
		}
		cells = append(cells, strings.Join(pairs, "; "))
	}
	t.lines = append(t.lines, strings.Join(cells, "\t"))
}
