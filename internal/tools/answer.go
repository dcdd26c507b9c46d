package tools

import (
	"fmt"
	"strings"
)

// An answer is what a tool found: a headline, lines of Oriel's own, tables of
// telemetry inside of a fence, and notes that say what is missing and what to
// call next. Its render keeps within the call's tokens.
type answer struct {
	call   *call
	window *window
	// facts follow the window in the headline.
	facts []string
	// lines are Oriel's own words, under the headline.
	lines []string
	// kind is what the fence holds: log, span, metric.
	kind string
	// sections are shown in this order and cut from the end.
	sections []section
	notes    []string
	// more returns the note about the rows after the first shown ones; nil is
	// for tables that have no second page.
	more func(shown int) string
	// unit is what a row is, in the plural: services, patterns.
	unit string
	// cellBytes bounds one cell; 0 is maxCellBytes.
	cellBytes int
	// image is a chart of it.
	image []byte
}

// A section is a table of text. Cells hold telemetry as it is: rendering makes
// them fit for a line.
type section struct {
	title   string
	columns []string
	rows    [][]string
	// fixed is how many first columns stay columns when all their values are
	// the same; -1 is all.
	fixed int
}

func (a *answer) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

func (a *answer) noteIf(said bool, format string, args ...any) {
	if said {
		a.note(format, args...)
	}
}

func (a *answer) fact(format string, args ...any) {
	a.facts = append(a.facts, fmt.Sprintf(format, args...))
}

func (a *answer) count() int {
	n := 0
	for _, s := range a.sections {
		n += len(s.rows)
	}
	return n
}

// render returns the answer with as many rows as fit.
func (a *answer) render() Result {
	if a.cellBytes == 0 {
		a.cellBytes = maxCellBytes
	}
	most := a.call.room()
	f := newFence(a.kind)
	all := a.count()
	if text := a.compose(all, a.cellBytes, f); len(text) <= most {
		return Result{Text: text, Image: a.image}
	}
	for _, cellBytes := range []int{a.cellBytes, 200, 80, 30} {
		if cellBytes > a.cellBytes {
			continue
		}
		if best := fitting(all, most, func(n int) string { return a.compose(n, cellBytes, f) }); best != "" {
			return Result{Text: best, Image: a.image}
		}
	}
	return Result{Text: clip(fmt.Sprintf("%s\n# Nothing fits into max_tokens=%d. Call %s with a larger max_tokens (at most %d).\n",
		a.headline(), a.call.maxTokens, a.call.tool.Name, maxTokens), most-len("…"))}
}

// guesses is how often fitting goes by the sizes that it has seen before it
// halves.
const guesses = 4

// fitting returns the text of as many rows, up to all, as fit into most bytes,
// "" where not one does. Texts of more rows are assumed to be longer.
func fitting(all, most int, compose func(n int) string) (best string) {
	full := compose(all)
	if len(full) <= most {
		return full
	}
	// What fits has low rows, what does not has high.
	low, high, lowBytes, highBytes := 0, all, 0, len(full)
	for try := 0; high-low > 1; try++ {
		n := (low + high) / 2
		if try < guesses {
			n = low + int(float64(high-low)*float64(most-lowBytes)/float64(highBytes-lowBytes))
			n = min(max(n, low+1), high-1)
		}
		if text := compose(n); len(text) <= most {
			best, low, lowBytes = text, n, len(text)
		} else {
			high, highBytes = n, len(text)
		}
	}
	return best
}

func (a *answer) headline() string {
	head := a.call.tool.Name + " · team " + a.call.caller.Team().Slug
	if a.window != nil {
		head += " · " + a.window.String()
	}
	for _, fact := range a.facts {
		head += " · " + fact
	}
	return head
}

// compose writes the answer with the first n rows.
func (a *answer) compose(n, cellBytes int, f fence) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s); b.WriteByte('\n') }
	line(a.headline())
	for _, l := range a.lines {
		line(l)
	}
	if a.window != nil {
		for _, note := range a.window.notes {
			line("# " + note)
		}
	}
	cut := 0
	if a.count() > 0 {
		line(f.open())
		left, begun := n, false
		for _, s := range a.sections {
			rows := s.rows[:min(left, len(s.rows))]
			left -= len(rows)
			if len(rows) == 0 {
				continue
			}
			if s.title != "" {
				if begun {
					b.WriteByte('\n')
				}
				line(s.title)
			}
			begun = true
			s.write(line, rows, cellBytes, &cut)
		}
		line(f.close())
	}
	for _, note := range a.notes {
		line("# " + note)
	}
	if cut > 0 {
		line("# " + count(cut, "long value is", "long values are") + " cut in the middle.")
	}
	if all := a.count(); n < all {
		note := fmt.Sprintf("%d of %d %s are shown: no more fit into max_tokens=%d.", n, all, a.unit, a.call.maxTokens)
		if a.more == nil {
			line("# " + note + a.roomNote())
		} else {
			line("# " + note + " " + a.more(n))
		}
	} else if a.more != nil {
		if note := a.more(n); note != "" {
			line("# " + note)
		}
	}
	return b.String()
}

// roomNote says how a second call can show more.
func (a *answer) roomNote() string {
	if a.call.maxTokens < maxTokens {
		return fmt.Sprintf(" Call %s with a larger max_tokens (at most %d) and the same other arguments, or ask for less.", a.call.tool.Name, maxTokens)
	}
	return " Ask for less: a smaller limit, a narrower query or window."
}

// goOn is the note of an answer that goes on at a position.
func (c *call) goOn(what string, p position) string {
	return fmt.Sprintf("For %s call %s with cursor=%q and the same other arguments.", what, c.tool.Name, c.seal(p))
}

// write writes the rows as a tab-separated table; columns with one value in
// all rows become one line.
func (s section) write(line func(string), rows [][]string, cellBytes int, cut *int) {
	var shown []int
	var same []string
	for i := range s.columns {
		constant := len(rows) > 1 && s.fixed >= 0 && i >= s.fixed
		empty := true
		for _, r := range rows {
			constant = constant && r[i] == rows[0][i]
			empty = empty && r[i] == ""
		}
		switch {
		case empty && s.fixed >= 0 && i >= s.fixed:
		case constant:
			same = append(same, pair(s.columns[i], rows[0][i], cellBytes, cut))
		default:
			shown = append(shown, i)
		}
	}
	if len(same) > 0 {
		line("same for all rows: " + strings.Join(same, "; "))
	}
	cells := make([]string, len(shown))
	for j, i := range shown {
		cells[j] = cell(s.columns[i], maxNameBytes, nil)
	}
	line(strings.Join(cells, "\t"))
	for _, r := range rows {
		for j, i := range shown {
			cells[j] = cell(r[i], cellBytes, cut)
		}
		line(strings.Join(cells, "\t"))
	}
}

func trimDot(s string) string { return strings.TrimSuffix(strings.TrimSpace(s), ".") }

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
