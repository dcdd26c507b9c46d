// Package spantree makes a tree of the spans of a trace, and says which of them
// matter: on the critical path, alike, with how much time of their own. The
// tools and the console show the same tree.
package spantree

import (
	"cmp"
	"container/heap"
	"slices"
	"strconv"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// A Span is a span in its trace. New sets what follows from the others.
type Span struct {
	ID, Parent, Service, Name, Message string
	Kind                               telemetry.SpanKind
	Status                             telemetry.SpanStatus
	Start, End                         int64 // nanoseconds since 1970

	// Orphan says that the parent is missing or not visible.
	Orphan   bool
	Children []*Span // by start
	// Self is the time in which no child ran.
	Self time.Duration
	// Critical says that the trace would have ended earlier without it.
	Critical bool
	// Below counts the spans under it.
	Below int
}

// Fields are what Of reads of a span.
func Fields() []string {
	return []string{
		telemetry.FieldSpanID, telemetry.FieldParentSpanID, telemetry.FieldSpanName, telemetry.FieldSpanKind, telemetry.FieldStartTime, telemetry.FieldEndTime,
		telemetry.FieldStatusCode, telemetry.FieldStatusMessage, telemetry.FieldSpanService,
	}
}

// Of returns the span that a row has.
func Of(r telemetry.LogRow) *Span {
	number := func(field string) int64 {
		n, _ := strconv.ParseInt(r.Get(field), 10, 64) // 0 where it is hidden
		return n
	}
	return &Span{
		ID: r.Get(telemetry.FieldSpanID), Parent: r.Get(telemetry.FieldParentSpanID), Service: r.Get(telemetry.FieldSpanService), Name: r.Get(telemetry.FieldSpanName),
		Message: r.Get(telemetry.FieldStatusMessage), Kind: telemetry.SpanKind(number(telemetry.FieldSpanKind)),
		Status: telemetry.SpanStatus(number(telemetry.FieldStatusCode)), Start: number(telemetry.FieldStartTime), End: number(telemetry.FieldEndTime),
	}
}

// Duration is how long the span lasted.
func (s *Span) Duration() time.Duration { return time.Duration(max(0, s.End-s.Start)) }

// Failed says that the span reports an error.
func (s *Span) Failed() bool { return s.Status == telemetry.StatusError }

// A Tree is all spans of a trace that somebody may see.
type Tree struct {
	Spans      []*Span // by start
	Roots      []*Span // by start
	Start, End int64   // nanoseconds since 1970
	// Orphans counts roots that name a parent; Skewed counts spans that begin
	// before their parent or, being waited for, end after it.
	Orphans, Skewed int
}

// skewSlack is how much clocks and rounding may differ unmentioned.
const skewSlack = int64(time.Millisecond)

// New makes a tree of spans, which it changes. Of several with one id the first
// counts; one that ends before it begins lasts no time.
func New(spans []*Span) *Tree {
	t := &Tree{}
	byID := make(map[string]*Span, len(spans))
	for _, s := range spans {
		if byID[s.ID] == nil {
			byID[s.ID] = s
			s.End = max(s.Start, s.End)
			t.Spans = append(t.Spans, s)
		}
	}
	delete(byID, "") // nobody's parent
	slices.SortStableFunc(t.Spans, func(a, b *Span) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End)) })
	for i, s := range t.Spans {
		if i == 0 || s.Start < t.Start {
			t.Start = s.Start
		}
		t.End = max(t.End, s.End)
		parent := byID[s.Parent]
		switch {
		case parent != nil && !under(byID, parent, s):
			parent.Children = append(parent.Children, s)
			if s.Start < parent.Start-skewSlack || s.End > parent.End+skewSlack && s.Kind != telemetry.KindConsumer && s.Kind != telemetry.KindProducer {
				t.Skewed++
			}
		default:
			s.Orphan = s.Parent != ""
			if s.Orphan {
				t.Orphans++
			}
			t.Roots = append(t.Roots, s)
		}
	}
	for _, r := range t.Roots {
		r.finish()
	}
	if len(t.Roots) > 0 {
		// Somebody waits for the root, and for what only seems to be one rather
		// not.
		first := slices.MinFunc(t.Roots, func(a, b *Span) int {
			if a.Orphan != b.Orphan {
				if b.Orphan {
					return -1
				}
				return 1
			}
			return cmp.Compare(b.Duration(), a.Duration())
		})
		first.markCritical(first.End)
	}
	return t
}

// maxTraceDepth bounds how far up a chain of parents is followed.
const maxTraceDepth = 500

// under says whether s is in a circle with, or too far below, its parent.
func under(byID map[string]*Span, parent, s *Span) bool {
	for range maxTraceDepth {
		if parent == s {
			return true
		}
		if parent = byID[parent.Parent]; parent == nil {
			return false
		}
	}
	return true
}

// finish computes what follows from the children.
func (s *Span) finish() {
	for _, c := range s.Children {
		c.finish()
		s.Below += 1 + c.Below
	}
	// Children are sorted by start: the union of their times, within this one.
	covered, at := int64(0), s.Start
	for _, c := range s.Children {
		from, to := max(c.Start, at), min(c.End, s.End)
		if to > from {
			covered += to - from
			at = to
		}
	}
	s.Self = max(0, s.Duration()-time.Duration(covered))
}

// markCritical marks what ends last, again and again, back from until.
func (s *Span) markCritical(until int64) {
	s.Critical = true
	byEnd := slices.Clone(s.Children)
	slices.SortStableFunc(byEnd, func(a, b *Span) int { return cmp.Compare(b.End, a.End) })
	for _, c := range byEnd {
		if until <= s.Start {
			return
		}
		if c.Start < until && c.End > s.Start && c.End <= until+skewSlack {
			c.markCritical(min(c.End, until))
			until = c.Start
		}
	}
}

// A Line is a line of a tree: a span, several alike, or how many are left out.
type Line struct {
	Span  *Span
	Depth int
	// Alike are siblings of Span of the same service, name and status, which
	// it stands for.
	Alike []*Span
	// Critical says that one of them is.
	Critical bool
	// Left are children of a span shown that are not.
	Left []*Span
}

// All are the spans that the line stands for.
func (l Line) All() []*Span { return append([]*Span{l.Span}, l.Alike...) }

// fewAlike is how many siblings are shown one by one.
const fewAlike = 3

// Fold returns siblings as lines, in their order: many that look the same are
// one line, at the place of the first; those wanted stand alone.
func Fold(siblings []*Span, wanted map[*Span]bool) []Line {
	type look struct {
		service, name string
		status        telemetry.SpanStatus
	}
	groups := make(map[look][]*Span)
	for _, s := range siblings {
		if !wanted[s] {
			k := look{s.Service, s.Name, s.Status}
			groups[k] = append(groups[k], s)
		}
	}
	var lines []Line
	for _, s := range siblings {
		group := groups[look{s.Service, s.Name, s.Status}]
		switch {
		case wanted[s] || len(group) <= fewAlike:
			lines = append(lines, Line{Span: s, Critical: s.Critical})
		case group[0] == s:
			lines = append(lines, Line{Span: s, Alike: group[1:], Critical: slices.ContainsFunc(group, func(s *Span) bool { return s.Critical })})
		}
	}
	return lines
}

// Lines returns at most most lines of the tree in its order: always parents
// before children, and first what is critical, failed, focused or long.
func (t *Tree) Lines(most int, focus string) []Line {
	shown := make(map[*Span]bool)
	queue := &spanQueue{wanted: t.wayTo(focus)}
	push := func(list []*Span) {
		for _, l := range Fold(list, queue.wanted) {
			heap.Push(queue, l)
		}
	}
	push(t.Roots)
	for queue.Len() > 0 && len(shown) < most {
		l := heap.Pop(queue).(Line)
		shown[l.Span] = true
		if len(l.Alike) == 0 {
			push(l.Span.Children)
		}
	}
	var lines []Line
	var walk func(list []*Span, depth int)
	walk = func(list []*Span, depth int) {
		var left []*Span
		for _, l := range Fold(list, queue.wanted) {
			if !shown[l.Span] {
				left = append(left, l.All()...)
				continue
			}
			l.Depth = depth
			lines = append(lines, l)
			if len(l.Alike) == 0 {
				walk(l.Span.Children, depth+1)
			}
		}
		if len(left) > 0 {
			lines = append(lines, Line{Depth: depth, Left: left})
		}
	}
	walk(t.Roots, 0)
	return lines
}

// wayTo returns the span of that id and those above it.
func (t *Tree) wayTo(id string) map[*Span]bool {
	way := make(map[*Span]bool)
	if id == "" {
		return way
	}
	var find func(list []*Span) bool
	find = func(list []*Span) bool {
		for _, s := range list {
			if s.ID == id || find(s.Children) {
				way[s] = true
				return true
			}
		}
		return false
	}
	find(t.Roots)
	return way
}

// A spanQueue gives the most telling line first. It implements heap.Interface.
type spanQueue struct {
	list   []Line
	wanted map[*Span]bool
}

func (q *spanQueue) rank(l Line) int {
	switch {
	case q.wanted[l.Span]:
		return 3
	case l.Critical:
		return 2
	case l.Span.Failed():
		return 1
	}
	return 0
}

// Len implements heap.Interface.
func (q *spanQueue) Len() int { return len(q.list) }

// Less implements heap.Interface.
func (q *spanQueue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	if x, y := q.rank(a), q.rank(b); x != y {
		return x > y
	}
	return cmp.Or(cmp.Compare(b.Span.Duration(), a.Span.Duration()), cmp.Compare(a.Span.Start, b.Span.Start)) < 0
}

// Swap implements heap.Interface.
func (q *spanQueue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }

// Push implements heap.Interface.
func (q *spanQueue) Push(l any) { q.list = append(q.list, l.(Line)) }

// Pop implements heap.Interface.
func (q *spanQueue) Pop() any {
	l := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return l
}
