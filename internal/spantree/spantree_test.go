package spantree

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Self-times against counting instants one by one.
func TestSelfTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		spans := []*Span{{ID: "0", Start: 0, End: 100}}
		for i := 1; i <= 1+r.IntN(12); i++ {
			parent := spans[r.IntN(len(spans))]
			start := parent.Start - 5 + r.Int64N(max(1, parent.End-parent.Start+5))
			spans = append(spans, &Span{ID: strconv.Itoa(i), Parent: parent.ID, Start: start, End: start + r.Int64N(60)})
		}
		tr := New(slices.Clone(spans))
		for _, s := range tr.Spans {
			want := 0
			for at := s.Start; at < s.End; at++ {
				if !slices.ContainsFunc(spans, func(c *Span) bool { return c.Parent == s.ID && c.Start <= at && at < c.End }) {
					want++
				}
			}
			if int(s.Self) != want {
				t.Fatalf("span %s of %+v: self %d, want %d", s.ID, spans, s.Self, want)
			}
		}
	}
}

func TestCriticalPath(t *testing.T) {
	ms := int64(time.Millisecond)
	tr := New([]*Span{
		{ID: "root", Start: 0, End: 100 * ms},
		{ID: "auth", Parent: "root", Start: 0, End: 20 * ms},
		{ID: "fast", Parent: "root", Start: 25 * ms, End: 40 * ms},
		{ID: "slow", Parent: "root", Start: 25 * ms, End: 90 * ms},
		{ID: "db", Parent: "slow", Start: 30 * ms, End: 80 * ms},
		{ID: "cache", Parent: "slow", Start: 30 * ms, End: 32 * ms},
		{ID: "after", Parent: "root", Start: 99 * ms, End: 500 * ms, Kind: telemetry.KindConsumer},
	})
	var critical []string
	for _, s := range tr.Spans {
		if s.Critical {
			critical = append(critical, s.ID)
		}
	}
	if got := strings.Join(critical, " "); got != "root auth slow db" {
		t.Errorf("critical: %s", got)
	}
}

func TestOddTraces(t *testing.T) {
	for name, c := range map[string]struct {
		spans                []*Span
		roots, orphans, skew int
	}{
		"no spans":         {},
		"a circle":         {[]*Span{{ID: "a", Parent: "b"}, {ID: "b", Parent: "a"}}, 2, 2, 0},
		"its own parent":   {[]*Span{{ID: "a", Parent: "a"}}, 1, 1, 0},
		"no parent there":  {[]*Span{{ID: "a", Parent: "x"}, {ID: "b", Parent: "a"}}, 1, 1, 0},
		"without ids":      {[]*Span{{}, {Parent: "a"}, {ID: "a"}}, 2, 0, 0},
		"the same twice":   {[]*Span{{ID: "a"}, {ID: "a"}}, 1, 0, 0},
		"before its begin": {[]*Span{{ID: "a", Start: 1e9, End: 2e9}, {ID: "b", Parent: "a", Start: 5e8, End: 1.5e9}}, 1, 0, 1},
	} {
		tr := New(c.spans)
		if len(tr.Roots) != c.roots || tr.Orphans != c.orphans || tr.Skewed != c.skew {
			t.Errorf("%s: %d roots, %d orphans, %d skewed", name, len(tr.Roots), tr.Orphans, tr.Skewed)
		}
		tr.Lines(10, "")
	}
	var deep []*Span
	for i := range 5000 {
		deep = append(deep, &Span{ID: strconv.Itoa(i), Parent: strconv.Itoa(i - 1), Start: int64(i), End: 10_000})
	}
	if tr := New(deep); len(tr.Roots) < 2 {
		t.Error("a chain of 5,000 spans is one tree")
	}
}

// A large trace is shown in few lines, with what was asked for.
func TestLargeTrace(t *testing.T) {
	var rows []*Span
	r := rand.New(rand.NewPCG(5, 6))
	rows = append(rows, &Span{ID: "0", Start: 0, End: 1e12, Service: "s", Name: "root"})
	for i := 1; i < 10_000; i++ {
		p := rows[max(0, i-1-r.IntN(min(i, 40)))]
		start := p.Start + r.Int64N(max(1, p.End-p.Start))
		rows = append(rows, &Span{ID: strconv.Itoa(i), Parent: p.ID, Service: fmt.Sprint("s", r.IntN(30)), Name: fmt.Sprint("op", r.IntN(200)), Start: start, End: min(p.End, start+r.Int64N(1e9))})
	}
	tr := New(rows)
	lines := tr.Lines(60, "9000")
	shown := 0
	for _, l := range lines {
		if l.Span != nil {
			shown++
		}
	}
	if shown != 60 {
		t.Errorf("%d lines of spans", shown)
	}
	if !slices.ContainsFunc(lines, func(l Line) bool { return l.Span != nil && l.Span.ID == "9000" }) && len(tr.wayTo("9000")) <= 60 {
		t.Error("the focused span is not shown")
	}
}

// Many siblings that look the same are one line, in the place of the first; a
// line is critical where one of its spans is.
func TestFold(t *testing.T) {
	spans := []*Span{
		{ID: "r", End: 100},
		{ID: "a", Parent: "r", Name: "first", End: 5},
		{ID: "x1", Parent: "r", Name: "x", Start: 10, End: 20},
		{ID: "y", Parent: "r", Name: "y", Start: 12, End: 13},
		{ID: "x2", Parent: "r", Name: "x", Start: 20, End: 30},
		{ID: "xe", Parent: "r", Name: "x", Status: telemetry.StatusError, Start: 25, End: 28},
		{ID: "x3", Parent: "r", Name: "x", Start: 30, End: 40},
		{ID: "x4", Parent: "r", Name: "x", Start: 40, End: 100},
	}
	root := New(spans).Roots[0]
	show := func(lines []Line) (out []string) {
		for _, l := range lines {
			s := l.Span.ID
			if l.Critical {
				s += "*"
			}
			for _, other := range l.Alike {
				s += " " + other.ID
			}
			out = append(out, s)
		}
		return out
	}
	if diff := cmp.Diff([]string{"a*", "x1* x2 x3 x4", "y", "xe"}, show(Fold(root.Children, nil))); diff != "" {
		t.Error(diff)
	}
	// Without the one that is wanted too few are left to fold.
	if diff := cmp.Diff([]string{"a*", "x1*", "y", "x2*", "xe", "x3*", "x4*"}, show(Fold(root.Children, map[*Span]bool{spans[6]: true}))); diff != "" {
		t.Error(diff)
	}
}
