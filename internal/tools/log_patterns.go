package tools

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/tools/patterns"
)

// messageBytes bounds the sum of the messages that are read of a window.
const messageBytes = 24 << 20

// severe are the severities that are read apart.
const severe = `severity:in("WARN","ERROR","FATAL")`

// A logPattern is a pattern with what is known of its records.
type logPattern struct {
	text string
	// n is how many records it has in the window, base in the baseline.
	n, base     int64
	first, last time.Time
	services    map[string]int64
	severities  map[string]int64
	// example is one of the messages, trace the trace of a record.
	example, trace string
}

// add joins what is known of two parts of a pattern.
func (p *logPattern) add(o *logPattern) {
	p.n += o.n
	p.base += o.base
	if p.first.IsZero() || !o.first.IsZero() && o.first.Before(p.first) {
		p.first = o.first
	}
	if o.last.After(p.last) {
		p.last = o.last
	}
	for k, v := range o.services {
		p.services[k] += v
	}
	for k, v := range o.severities {
		p.severities[k] += v
	}
	p.example, p.trace = cmp.Or(p.example, o.example), cmp.Or(p.trace, o.trace)
}

func newLogPattern() *logPattern {
	return &logPattern{services: make(map[string]int64), severities: make(map[string]int64)}
}

// patternMine collects the messages of a window and of its baseline.
type patternMine struct {
	call  *call
	miner *patterns.Miner
	// byService keeps patterns of different services apart.
	byService bool
	parts     map[patternPart]*logPattern
	// every says that of the less severe and of the severe records one in so
	// many was read, left how many were not counted at all.
	every [2]int64
	left  int64
}

type patternPart struct {
	shape   int
	service string
}

func (c *call) newPatternMine(byService bool) *patternMine {
	return &patternMine{call: c, miner: patterns.NewMiner(), byService: byService, parts: make(map[patternPart]*logPattern)}
}

// read adds the messages of the question's records and returns how many there
// are.
func (m *patternMine) read(ctx context.Context, q logQuestion, baseline bool) (total int64, err error) {
	res, err := m.call.askLogs(ctx, "counting records", q, q.with("stats "+q.counting()+" as n, "+q.counting()+" if ("+severe+") as severe"), 1)
	if err != nil || len(res.Rows) == 0 {
		return 0, err
	}
	total = integer(res.Rows[0].Get("n"))
	high := integer(res.Rows[0].Get("severe"))
	if total <= m.call.set.messages {
		return total, m.readPart(ctx, q, q.text, 0, total, baseline)
	}
	for i, part := range []struct {
		condition string
		n         int64
	}{{"!" + severe, total - high}, {severe, high}} {
		text := fmt.Sprintf("(%s) %s", q.text, part.condition)
		if q.pipes {
			text = q.with("filter " + part.condition)
		}
		if err := m.readPart(ctx, q, text, i, part.n, baseline); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// readPart adds the messages of the n records that text finds.
func (m *patternMine) readPart(ctx context.Context, q logQuestion, text string, part int, n int64, baseline bool) error {
	if n == 0 {
		return nil
	}
	most := m.call.set.messages
	every := (n + most - 1) / most
	m.every[part] = max(m.every[part], every)
	if every > 1 {
		text += " | sample " + strconv.FormatInt(every, 10)
	}
	limit := int(most + most/8) // a random part may be larger
	by := telemetry.FieldMessage + ", " + telemetry.FieldService + ", " + telemetry.FieldSeverity
	text += " | stats by (" + by + ") " + q.counting() + " as n, min(_time) as first, max(_time) as last, max(" + telemetry.FieldTraceID + ") as trace" +
		" | sort by (n desc, " + by + ") limit " + strconv.Itoa(limit)
	res, err := m.call.queryLogs(ctx, "reading messages", telemetry.LogQuery{
		Text: text, Services: q.services, Severities: q.severity, Start: q.window.start, End: q.window.end, Limit: limit,
	}, messageBytes)
	if err != nil {
		return err
	}
	seen := int64(0)
	for _, r := range res.Rows {
		count := integer(r.Get("n")) * every
		message := r.Get(telemetry.FieldMessage)
		if shape := m.miner.Add(message, count); shape >= 0 {
			seen += count
			m.keep(shape, r, message, count, baseline)
		} else if every > 1 {
			m.left += count
		}
	}
	if every == 1 {
		m.left += max(0, n-seen)
	}
	return nil
}

func (m *patternMine) keep(shape int, r telemetry.LogRow, message string, n int64, baseline bool) {
	k := patternPart{shape: shape}
	if m.byService {
		k.service = r.Get(telemetry.FieldService)
	}
	p := m.parts[k]
	if p == nil {
		p = newLogPattern()
		m.parts[k] = p
	}
	if baseline {
		p.base += n
		p.example = cmp.Or(p.example, message)
		return
	}
	one := &logPattern{n: n, example: message, trace: r.Get("trace")}
	if p.n == 0 {
		p.example = "" // rather one of the window
	}
	one.first, _, _ = parseTime(r.Get("first"), m.call.now)
	one.last, _, _ = parseTime(r.Get("last"), m.call.now)
	p.add(one)
	p.services[r.Get(telemetry.FieldService)] += n
	p.severities[r.Get(telemetry.FieldSeverity)] += n
}

// patterns returns what was found, those with most records first.
func (m *patternMine) patterns() []*logPattern {
	groups, ofShape := m.miner.Groups()
	type key struct {
		group   int
		service string
	}
	byKey := make(map[key]*logPattern)
	parts := slices.SortedFunc(maps.Keys(m.parts), func(a, b patternPart) int {
		return cmp.Or(cmp.Compare(a.shape, b.shape), strings.Compare(a.service, b.service))
	})
	var out []*logPattern
	for _, part := range parts {
		k := key{ofShape[part.shape], part.service}
		p := byKey[k]
		if p == nil {
			p = newLogPattern()
			p.text = groups[k.group].Pattern
			byKey[k] = p
			out = append(out, p)
		}
		p.add(m.parts[part])
	}
	slices.SortStableFunc(out, func(a, b *logPattern) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(b.base, a.base), strings.Compare(a.text, b.text))
	})
	return out
}

// most lists the keys with most records.
func mostOf(counts map[string]int64, n int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	more := ""
	if len(keys) > n {
		keys, more = keys[:n], fmt.Sprintf(" +%d", len(keys)-n)
	}
	return strings.Join(keys, ",") + more
}

// notes says what of the messages was not looked at.
func (m *patternMine) notes() []string {
	var notes []string
	for i, what := range []string{"Records below warning", "Warnings and worse"} {
		if m.every[i] > 1 {
			notes = append(notes, fmt.Sprintf("%s: one in %d was read, at random, so their counts are estimates and rare patterns may be missing; narrow the window or name a service for more.", what, m.every[i]))
		}
	}
	if m.left > 0 {
		notes = append(notes, fmt.Sprintf("%s with the rarest messages not counted; narrow the window or name a service for them.", count(int(m.left), "record is", "records are")))
	}
	return notes
}

// baselineParam says what a window is compared with.
var baselineParam = textParam("baseline", "what before is: the same time right before (default), a day or a week before", "previous", "day", "week", "none")

// baseline returns the window to compare with; ok is false for none.
func (c *call) baseline(w window) (base window, ok bool, err error) {
	name, err := c.choice("baseline", "previous")
	if err != nil {
		return base, false, err
	}
	const day = 24 * time.Hour
	switch name {
	case "none":
		return base, false, nil
	case "day":
		base = window{start: w.start.Add(-day), end: w.end.Add(-day)}
	case "week":
		base = window{start: w.start.Add(-7 * day), end: w.end.Add(-7 * day)}
	default:
		base = w.before()
	}
	return base, true, nil
}

// change says how the pattern's records compare with the baseline's.
func (p *logPattern) change() string {
	switch {
	case p.base == 0:
		return "new"
	case p.n == 0:
		return "gone"
	case p.n == p.base:
		return "="
	case p.n >= p.base*2:
		return "x" + decimals(float64(p.n)/float64(p.base))
	}
	return fmt.Sprintf("%+.0f%%", 100*(float64(p.n)/float64(p.base)-1))
}
