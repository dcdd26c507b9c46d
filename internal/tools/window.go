package tools

import (
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
)

// A window is the time range of a call: [start, end).
type window struct {
	start, end time.Time
	// notes say what of the arguments was changed.
	notes []string
}

// String is the window as the first line of an answer has it.
func (w window) String() string { return stamp(w.start) + " to " + stamp(w.end) + " (UTC)" }

// before is the window of the same length that ends where w starts.
func (w window) before() window {
	return window{start: w.start.Add(w.start.Sub(w.end)), end: w.start}
}

// window reads the arguments start and end, the cursor's first: the window of
// the first page holds for all. p is what the caller reads with. Errors are
// problems.
func (c *call) window(p org.Permission) (window, error) {
	if c.cursor != nil {
		return window{start: c.cursor.start, end: c.cursor.end}, nil
	}
	w, err := c.parseWindow("start", "end", c.now.Add(-defaultWindow), c.now)
	if err != nil {
		return w, err
	}
	return w, c.clampToLookBack(&w, p)
}

// clampToLookBack moves a start that lies further back than the caller may
// look, and says so.
func (c *call) clampToLookBack(w *window, p org.Permission) error {
	most := c.caller.View(p).LookBack()
	if most <= 0 {
		return nil
	}
	first := c.now.Add(-most)
	if !w.start.Before(first) {
		return nil
	}
	if !first.Before(w.end) {
		return problemf("Your roles let you look back %s, to %s; the window ends before that. Give a later start and end.", org.FormatLookBack(most), exact(first))
	}
	w.start = first
	w.notes = append(w.notes, fmt.Sprintf("start was taken as %s: your roles let you look back %s.", exact(first), org.FormatLookBack(most)))
	return nil
}

// parseWindow reads a pair of arguments.
func (c *call) parseWindow(startName, endName string, start, end time.Time) (window, error) {
	w := window{start: start, end: end}
	for _, arg := range []struct {
		name string
		t    *time.Time
	}{{startName, &w.start}, {endName, &w.end}} {
		text, err := c.args.text(arg.name)
		if err != nil {
			return w, err
		}
		if text == "" {
			continue
		}
		if *arg.t, _, err = parseTime(text, c.now); err != nil {
			return w, problemf("%s: %s.", arg.name, err)
		}
	}
	if !w.start.Before(c.now) {
		return w, problemf("%s (%s) is not in the past; it is now %s. Give an earlier one, such as now-1h.", startName, exact(w.start), exact(c.now))
	}
	if w.end.After(c.now) {
		w.notes = append(w.notes, fmt.Sprintf("%s (%s) is in the future and was taken as now.", endName, exact(w.end)))
		w.end = c.now
	}
	if !w.start.Before(w.end) {
		return w, problemf("%s (%s) is not before %s (%s); it is now %s. Give a start before the end.", startName, exact(w.start), endName, exact(w.end), exact(c.now))
	}
	return w, nil
}

// period returns a duration argument, such as 5m, zero where it is absent.
func (c *call) period(name string, least, most time.Duration) (time.Duration, error) {
	text, err := c.args.text(name)
	if err != nil || text == "" {
		return 0, err
	}
	t, relative, err := parseTime("now-"+strings.TrimPrefix(text, "-"), c.now)
	if d := c.now.Sub(t); err == nil && relative && d >= least && d <= most {
		return d, nil
	}
	return 0, problemf("%s is %s; it must be a duration from %s to %s, such as 5m or 1h.", name, quoteArgument(text), short(least), short(most))
}

// short prints a duration without its zero parts: 5m, 1h30m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
