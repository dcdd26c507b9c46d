package tools

import (
	"context"
	"strconv"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/tools/patterns"
)

// exampleBytes bounds the example of a pattern.
const exampleBytes = 160

func newFindLogPatterns() *Tool {
	return &Tool{
		Name: "find_log_patterns", Title: "Find log patterns",
		Description: "Groups the log messages that a query finds into patterns (values become <*>), with counts, shares, services, first and last time and an example; " +
			"patterns that are new or gone against the baseline come first. The quickest way to see what thousands of rows say.",
		Permission: org.LogsRead,
		params: append(plainFilterParams[:3:3], baselineParam, startParam, endParam,
			numberParam("limit", "most patterns", 1, 200, 20), tokensParam),
		ReadOnly: true, Idempotent: true,
		handle: findLogPatterns,
	}
}

func findLogPatterns(ctx context.Context, c *call) (Result, error) {
	limit, err := c.args.number("limit", 1, 200, 20)
	if err != nil {
		return Result{}, err
	}
	q, err := c.logQuestion()
	if err != nil {
		return Result{}, err
	}
	base, compared, err := c.baseline(q.window)
	if err != nil {
		return Result{}, err
	}
	m := c.newPatternMine(false)
	total, err := m.read(ctx, q, false)
	if err != nil {
		return Result{}, err
	}
	baseTotal := int64(0)
	if compared {
		before := q
		before.window = base
		if baseTotal, err = m.read(ctx, before, true); err != nil {
			return Result{}, err
		}
	}
	if total+baseTotal == 0 {
		return c.nothing(ctx, q, q.query)
	}
	a := &answer{call: c, window: &q.window, kind: "log", unit: "patterns", lines: q.describe()}
	a.fact("matched %d", total)
	all := m.patterns()
	if compared {
		a.lines = append(a.lines, "baseline: "+base.String()+", matched "+strconv.FormatInt(baseTotal, 10))
		if baseTotal == 0 {
			a.note("The baseline has no records, so new, gone and changes say nothing.")
		}
	}
	showPatterns(a, all, total, compared && baseTotal > 0, limit)
	a.notes = append(a.notes, m.notes()...)
	return a.render(), nil
}

// showPatterns adds the sections of new, other and gone patterns.
func showPatterns(a *answer, all []*logPattern, total int64, compared bool, limit int) {
	columns := []string{"n", "share_%", "pattern", "severity", "services", "first", "last", "example"}
	if compared {
		columns = append(columns[:2:2], append([]string{"before", "change"}, columns[2:]...)...)
	}
	fresh := section{title: "new:", columns: columns, fixed: -1}
	known := section{columns: columns, fixed: -1}
	gone := section{title: "gone:", columns: []string{"before", "pattern", "example"}, fixed: -1}
	patternCount, left, rest := 0, 0, int64(0)
	for _, p := range all {
		if p.n == 0 {
			if p.base > 0 && len(gone.rows) < limit {
				gone.rows = append(gone.rows, []string{strconv.FormatInt(p.base, 10), p.text, p.shortExample()})
			}
			continue
		}
		patternCount++
		if len(fresh.rows)+len(known.rows) >= limit && (!compared || p.base > 0 || len(fresh.rows) >= limit/2) {
			left++
			rest += p.n
			continue
		}
		row := []string{strconv.FormatInt(p.n, 10), percent(p.n, total)}
		if compared {
			row = append(row, strconv.FormatInt(p.base, 10), p.change())
		}
		row = append(row, p.text, mostOf(p.severities, 3), mostOf(p.services, 3), stamp(p.first), stamp(p.last), p.shortExample())
		if compared && p.base == 0 {
			fresh.rows = append(fresh.rows, row)
		} else {
			known.rows = append(known.rows, row)
		}
	}
	if len(fresh.rows) > 0 || len(gone.rows) > 0 {
		known.title = "others:"
	}
	a.sections = []section{fresh, known, gone}
	a.fact("%s", count(patternCount, "pattern", "patterns"))
	if left > 0 {
		a.note("%s more, with %s %% of the records; the query can leave out the frequent ones (!\"their words\").", count(left, "pattern", "patterns"), percent(rest, total))
	}
	if patternCount > 0 {
		a.note("For the records of a pattern call search_logs with query=\"its words in quotes\"; for what stands around one, get_log_context with its time.")
	}
}

// shortExample is a message where the pattern does not say it all.
func (p *logPattern) shortExample() string {
	if !strings.Contains(p.text, patterns.Wildcard) {
		return ""
	}
	return cell(p.example, exampleBytes, nil)
}
