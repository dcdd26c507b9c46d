package tools

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// A traceSpan is a span in its trace.
type traceSpan struct {
	id, parent, service, name, message string
	kind                               telemetry.SpanKind
	status                             telemetry.SpanStatus
	start, end                         int64 // nanoseconds since 1970

	// orphan says that the parent is missing or not visible.
	orphan   bool
	children []*traceSpan // by start
	// self is the time in which no child ran.
	self time.Duration
	// critical says that the trace would have ended earlier without it.
	critical bool
	// below counts the spans under it.
	below int
}

func (s *traceSpan) duration() time.Duration { return time.Duration(max(0, s.end-s.start)) }
func (s *traceSpan) failed() bool            { return s.status == telemetry.StatusError }

// A trace is all spans of one that somebody may see.
type trace struct {
	spans      []*traceSpan
	roots      []*traceSpan // by start
	start, end int64
	// orphans counts roots that name a parent; skewed counts spans that begin
	// before their parent or, being waited for, end after it.
	orphans, skewed int
}

// skewSlack is how much clocks and rounding may differ unmentioned.
const skewSlack = int64(time.Millisecond)

// newTrace makes a tree of spans. Of several with one id the first counts.
func newTrace(spans []*traceSpan) *trace {
	t := &trace{}
	byID := make(map[string]*traceSpan, len(spans))
	for _, s := range spans {
		if byID[s.id] == nil {
			byID[s.id] = s
			t.spans = append(t.spans, s)
		}
	}
	slices.SortStableFunc(t.spans, func(a, b *traceSpan) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	for i, s := range t.spans {
		if i == 0 || s.start < t.start {
			t.start = s.start
		}
		t.end = max(t.end, s.end)
		parent := byID[s.parent]
		switch {
		case parent != nil && !under(byID, parent, s):
			parent.children = append(parent.children, s)
			if s.start < parent.start-skewSlack || s.end > parent.end+skewSlack && s.kind != telemetry.KindConsumer && s.kind != telemetry.KindProducer {
				t.skewed++
			}
		default:
			s.orphan = s.parent != ""
			if s.orphan {
				t.orphans++
			}
			t.roots = append(t.roots, s)
		}
	}
	for _, r := range t.roots {
		r.finish()
	}
	if len(t.roots) > 0 {
		// Somebody waits for the root, and for what only seems to be one rather
		// not.
		first := slices.MinFunc(t.roots, func(a, b *traceSpan) int {
			if a.orphan != b.orphan {
				if b.orphan {
					return -1
				}
				return 1
			}
			return cmp.Compare(b.duration(), a.duration())
		})
		first.markCritical(first.end)
	}
	return t
}

// maxTraceDepth bounds how far up a chain of parents is followed.
const maxTraceDepth = 500

// under says whether s is in a circle with, or too far below, its parent.
func under(byID map[string]*traceSpan, parent, s *traceSpan) bool {
	for range maxTraceDepth {
		if parent == s {
			return true
		}
		if parent = byID[parent.parent]; parent == nil {
			return false
		}
	}
	return true
}

// finish computes what follows from the children.
func (s *traceSpan) finish() {
	for _, c := range s.children {
		c.finish()
		s.below += 1 + c.below
	}
	// Children are sorted by start: the union of their times, within this one.
	covered, at := int64(0), s.start
	for _, c := range s.children {
		from, to := max(c.start, at), min(c.end, s.end)
		if to > from {
			covered += to - from
			at = to
		}
	}
	s.self = max(0, s.duration()-time.Duration(covered))
}

// markCritical marks what ends last, again and again, back from until.
func (s *traceSpan) markCritical(until int64) {
	s.critical = true
	byEnd := slices.Clone(s.children)
	slices.SortStableFunc(byEnd, func(a, b *traceSpan) int { return cmp.Compare(b.end, a.end) })
	for _, c := range byEnd {
		if until <= s.start {
			return
		}
		if c.start < until && c.end > s.start && c.end <= until+skewSlack {
			c.markCritical(min(c.end, until))
			until = c.start
		}
	}
}

// A traceLine is a line of a tree: a span, several alike, or how many are left
// out.
type traceLine struct {
	span  *traceSpan
	depth int
	// alike are siblings of span of the same service, name and status, which
	// it stands for.
	alike []*traceSpan
	// left are children of a span shown that are not.
	left []*traceSpan
}

// fewAlike is how many siblings are shown one by one.
const fewAlike = 3

// lines returns at most most lines of the tree in its order: always parents
// before children, and first what is critical, failed, focused or long.
func (t *trace) lines(most int, focus string) []traceLine {
	shown := make(map[*traceSpan]bool)
	alike := make(map[*traceSpan][]*traceSpan) // by their first
	queue := &spanQueue{wanted: t.wayTo(focus)}
	push := func(list []*traceSpan) {
		for _, group := range groupAlike(list, queue.wanted) {
			if len(group) > fewAlike {
				alike[group[0]] = group[1:]
				group = group[:1]
			}
			for _, s := range group {
				heap.Push(queue, s)
			}
		}
	}
	push(t.roots)
	for queue.Len() > 0 && len(shown) < most {
		s := heap.Pop(queue).(*traceSpan)
		shown[s] = true
		if len(alike[s]) == 0 {
			push(s.children)
		}
	}
	var lines []traceLine
	var walk func(list []*traceSpan, depth int)
	walk = func(list []*traceSpan, depth int) {
		var left []*traceSpan
		hidden := make(map[*traceSpan]bool)
		for _, s := range list {
			for _, other := range alike[s] {
				hidden[other] = shown[s]
			}
		}
		for _, s := range list {
			switch {
			case hidden[s]:
			case shown[s]:
				lines = append(lines, traceLine{span: s, depth: depth, alike: alike[s]})
				if len(alike[s]) == 0 {
					walk(s.children, depth+1)
				}
			default:
				left = append(left, s)
			}
		}
		if len(left) > 0 {
			lines = append(lines, traceLine{depth: depth, left: left})
		}
	}
	walk(t.roots, 0)
	return lines
}

// wayTo returns the span of that id and those above it.
func (t *trace) wayTo(id string) map[*traceSpan]bool {
	way := make(map[*traceSpan]bool)
	if id == "" {
		return way
	}
	var find func(list []*traceSpan) bool
	find = func(list []*traceSpan) bool {
		for _, s := range list {
			if s.id == id || find(s.children) {
				way[s] = true
				return true
			}
		}
		return false
	}
	find(t.roots)
	return way
}

// groupAlike groups siblings that look the same; those wanted stand alone.
func groupAlike(list []*traceSpan, wanted map[*traceSpan]bool) [][]*traceSpan {
	type kind struct {
		service, name string
		status        telemetry.SpanStatus
	}
	var order []kind
	groups := make(map[kind][]*traceSpan)
	var out [][]*traceSpan
	for _, s := range list {
		if wanted[s] {
			out = append(out, []*traceSpan{s})
			continue
		}
		k := kind{s.service, s.name, s.status}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	for _, k := range order {
		out = append(out, groups[k])
	}
	return out
}

// A spanQueue gives the most telling span first. It implements heap.Interface.
type spanQueue struct {
	list   []*traceSpan
	wanted map[*traceSpan]bool
}

func (q *spanQueue) rank(s *traceSpan) int {
	switch {
	case q.wanted[s]:
		return 3
	case s.critical:
		return 2
	case s.failed():
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
	return cmp.Or(cmp.Compare(b.duration(), a.duration()), cmp.Compare(a.start, b.start)) < 0
}

// Swap implements heap.Interface.
func (q *spanQueue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }

// Push implements heap.Interface.
func (q *spanQueue) Push(s any) { q.list = append(q.list, s.(*traceSpan)) }

// Pop implements heap.Interface.
func (q *spanQueue) Pop() any {
	s := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return s
}
