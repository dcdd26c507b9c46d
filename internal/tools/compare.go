package tools

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of compare.
const (
	// compareRows is how many records of each side are looked at; of more, a
	// random part.
	compareRows = 200_000
	// compareValues of each field are looked at, the most frequent ones, of
	// fields with at most compareUnique.
	compareValues = 40
	compareUnique = 5000
	// leastRecords must a side have, and leastSupport of the bad records a
	// value, for a difference to mean anything.
	leastRecords = 5
	leastSupport = 3
	// leastLift and leastPoints are how much more frequent among the bad a
	// value must be, as a factor and in percentage points.
	leastLift   = 1.3
	leastPoints = 2.0
	// candidates are counted exactly.
	maxCandidates = 60
)

// notCompared are fields whose values say nothing about a cause.
var notCompared = []string{
	telemetry.FieldTime, telemetry.FieldMessage, telemetry.FieldTraceID, telemetry.FieldSpanID, telemetry.FieldParentSpanID, telemetry.FieldTraceState,
	telemetry.FieldDuration,
}

func newCompare() *Tool {
	return &Tool{
		Name: "compare", Title: "Compare bad with good",
		Description: "Finds what is different about bad log records, or spans: field values and message patterns that are more frequent than among good ones. " +
			"bad says which are bad (LogsQL, such as severity:ERROR or took:>500; of spans status_code:=2 or duration:>500000000), all others of the window are good; " +
			"without bad, the whole window is bad and the baseline is good. An association, not a cause.",
		Permission: org.LogsRead, Other: org.SpansRead,
		params: append([]param{textParam("bad", "LogsQL")}, append(append([]param{signalParam}, plainFilterParams...), baselineParam, startParam, endParam,
			numberParam("limit", "most rows of each kind", 1, 100, 10), tokensParam)...),
		ReadOnly: true, Idempotent: true,
		handle: compare,
	}
}

// A side is one of the two sets of records that are compared.
type side struct {
	q     logQuestion
	total int64
	// part is how many of the total the field values were counted on.
	part int64
	// by are the fields that make a record bad: they differ by definition.
	by []string
}

// sampled returns the text that field values are counted on.
func (s *side) sampled() string {
	every := (s.total + compareRows - 1) / compareRows
	s.part = s.total
	if every <= 1 {
		return s.q.text
	}
	s.part = s.total / every
	return s.q.with("sample " + strconv.FormatInt(every, 10))
}

// A difference is a value of a field, with its share on both sides.
type difference struct {
	field, value string
	bad, good    int64
	badTotal     int64
	goodTotal    int64
}

func (d difference) badShare() float64  { return share(d.bad, d.badTotal) }
func (d difference) goodShare() float64 { return share(d.good, d.goodTotal) }
func (d difference) points() float64    { return d.badShare() - d.goodShare() }

// lift is how many times more frequent it is among the bad.
func (d difference) lift() float64 {
	if d.good == 0 {
		return math.Inf(1)
	}
	return d.badShare() / d.goodShare()
}

func (d difference) matters() bool {
	return d.bad >= leastSupport && d.points() >= leastPoints && d.lift() >= leastLift
}

func share(n, all int64) float64 {
	if all == 0 {
		return 0
	}
	return 100 * float64(n) / float64(all)
}

func liftText(l float64) string {
	if math.IsInf(l, 1) {
		return "only bad"
	}
	return decimals(l)
}

func compare(ctx context.Context, c *call) (Result, error) {
	limit, err := c.args.number("limit", 1, 100, 10)
	if err != nil {
		return Result{}, err
	}
	bad, good, lines, err := c.compareSides()
	if err != nil {
		return Result{}, err
	}
	for _, s := range []*side{bad, good} {
		if s.total, err = c.countLogs(ctx, s.q); err != nil {
			return Result{}, err
		}
	}
	if bad.total == 0 && good.total == 0 {
		return c.nothing(ctx, bad.q, bad.q.query)
	}
	a := &answer{call: c, window: &bad.q.window, kind: bad.q.kind(), unit: "differences", lines: lines}
	a.fact("%d bad", bad.total)
	a.fact("%d good", good.total)
	if bad.total < leastRecords || good.total < leastRecords {
		a.lines = append(a.lines, "outcome: no_data")
		a.note("A comparison needs at least %d %s on each side. Use a wider window, another baseline, or a broader bad.", leastRecords, bad.q.things())
		return a.render(), nil
	}
	fields, excluded, err := c.fieldDifferences(ctx, bad, good)
	if err != nil {
		return Result{}, err
	}
	var messages []difference
	var notes []string
	if !bad.q.spans {
		if messages, notes, err = c.patternDifferences(ctx, bad, good); err != nil {
			return Result{}, err
		}
	}
	outcome := "outcome: different"
	if len(fields)+len(messages) == 0 {
		outcome = "outcome: no_difference"
		a.note("No field value and no pattern is clearly more frequent among the bad %s; comparing again the same way will not find one.", bad.q.things())
	}
	a.lines = append(a.lines, outcome)
	columns := []string{"field", "value", "bad_%", "good_%", "points", "lift", "bad_n"}
	a.sections = []section{
		{title: "field values more frequent among the bad:", columns: columns, rows: differenceRows(fields, limit), fixed: -1},
		{title: "patterns more frequent among the bad:", columns: append([]string{"pattern"}, columns[2:]...), rows: patternRows(messages, limit), fixed: -1},
	}
	if more := max(0, len(fields)-limit) + max(0, len(messages)-limit); more > 0 {
		a.note("%s left out; call compare with a larger limit (at most 100) and the same other arguments.", count(more, "smaller difference is", "smaller differences are"))
	}
	if bad.part < bad.total || good.part < good.total {
		a.note("Field values were looked for in a random part of the %s (%d bad, %d good).", bad.q.things(), bad.part, good.part)
	}
	if len(excluded) > 0 {
		a.note("Not compared, because nearly every %s has its own value: %s.", strings.TrimSuffix(bad.q.things(), "s"), names(excluded))
	}
	a.notes = append(a.notes, notes...)
	return a.render(), nil
}

// compareSides reads which records are bad and which are good.
func (c *call) compareSides() (bad, good *side, lines []string, err error) {
	q, err := c.logQuestion()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := q.noPipes(c.tool.Name, "compare reads the "+q.things()+" themselves"); err != nil {
		return nil, nil, nil, err
	}
	which, err := c.args.query("bad")
	if err != nil {
		return nil, nil, nil, err
	}
	lines = q.describe()
	bad, good = &side{q: q}, &side{q: q}
	if which == "" {
		base, ok, err := c.baseline(q.window)
		if err != nil {
			return nil, nil, nil, err
		}
		if !ok {
			return nil, nil, nil, problem(`compare needs bad, such as bad="severity:ERROR", or a baseline other than none.`)
		}
		good.q.window = base
		return bad, good, append(lines, "bad: the window; good: "+base.String()), nil
	}
	text, pipes, err := c.checkLogs(q, which)
	if err != nil {
		return nil, nil, nil, err
	}
	if pipes {
		return nil, nil, nil, problem("bad must be a search without pipes (|): a condition on single records.")
	}
	bad.q.text = fmt.Sprintf("(%s) (%s)", q.text, text)
	good.q.text = fmt.Sprintf("(%s) !(%s)", q.text, text)
	bad.by = queryFields(which)
	bad.q.query = strings.TrimSpace(q.query + " " + which)
	return bad, good, append(lines, "bad: "+cell(which, maxShownQuery, nil)+"; good: all others"), nil
}

// fieldDifferences returns the values that are more frequent among the bad,
// the largest difference first, and the fields that were not compared.
func (c *call) fieldDifferences(ctx context.Context, bad, good *side) (list []difference, excluded []string, err error) {
	text := bad.sampled()
	good.sampled()
	res, err := c.askLogs(ctx, "reading the bad records", bad.q, fmt.Sprintf("%s | facets %d max_values_per_field %d max_value_len 200 keep_const_fields",
		text, compareValues, compareUnique), maxFields*compareValues)
	if err != nil {
		return nil, nil, err
	}
	ownValues := make(map[string]int) // values of the field that come about once
	perField := make(map[string]int)
	for _, r := range res.Rows {
		d := difference{field: r.Get("field_name"), value: r.Get("field_value"), bad: integer(r.Get("hits")), badTotal: bad.part}
		if !bad.q.own(d.field) || slices.Contains(notCompared, d.field) || slices.Contains(bad.by, d.field) {
			continue
		}
		perField[d.field]++
		if d.bad*50 < bad.part {
			ownValues[d.field]++
		}
		if d.bad >= leastSupport && d.badShare() >= leastPoints {
			list = append(list, d)
		}
	}
	for f, n := range perField {
		if n == compareValues && ownValues[f] == n {
			excluded = append(excluded, bad.q.shown(f))
		}
	}
	slices.Sort(excluded)
	// Those with most bad records; a value of few is not what happened.
	slices.SortStableFunc(list, func(a, b difference) int {
		return cmp.Or(cmp.Compare(b.bad, a.bad), strings.Compare(a.field, b.field), strings.Compare(a.value, b.value))
	})
	list = list[:min(len(list), maxCandidates)]
	if len(list) == 0 {
		return nil, excluded, nil
	}
	for _, s := range []*side{bad, good} {
		counts := make([]string, len(list))
		for i, d := range list {
			counts[i] = fmt.Sprintf("count(_time) if (%s:=%s) as c%d", strconv.Quote(d.field), strconv.Quote(d.value), i)
		}
		res, err := c.askLogs(ctx, "counting values", s.q, s.q.with("stats "+strings.Join(counts, ", ")), 1)
		if err != nil {
			return nil, nil, err
		}
		for i := range list {
			n := int64(0)
			if len(res.Rows) > 0 {
				n = integer(res.Rows[0].Get("c" + strconv.Itoa(i)))
			}
			if s == bad {
				list[i].bad, list[i].badTotal = n, s.total
			} else {
				list[i].good, list[i].goodTotal = n, s.total
			}
		}
	}
	list = sortDifferences(list)
	for i, d := range list {
		list[i].field, list[i].value = bad.q.shown(d.field), spanValue(bad.q, d.field, d.value)
	}
	return list, excluded, nil
}

// sortDifferences keeps those that matter, the largest first.
func sortDifferences(list []difference) []difference {
	list = slices.DeleteFunc(list, func(d difference) bool { return !d.matters() })
	slices.SortStableFunc(list, func(a, b difference) int {
		return cmp.Or(cmp.Compare(b.points(), a.points()), cmp.Compare(b.lift(), a.lift()), strings.Compare(a.field, b.field), strings.Compare(a.value, b.value))
	})
	return list
}

// patternDifferences is fieldDifferences for messages.
func (c *call) patternDifferences(ctx context.Context, bad, good *side) ([]difference, []string, error) {
	m := c.newPatternMine(false)
	if _, err := m.read(ctx, bad.q, false); err != nil {
		return nil, nil, err
	}
	if _, err := m.read(ctx, good.q, true); err != nil {
		return nil, nil, err
	}
	var list []difference
	for _, p := range m.patterns() {
		list = append(list, difference{value: p.text, bad: p.n, good: p.base, badTotal: bad.total, goodTotal: good.total})
	}
	return sortDifferences(list), m.notes(), nil
}

func differenceRows(list []difference, limit int) [][]string {
	var rows [][]string
	for _, d := range list[:min(len(list), limit)] {
		rows = append(rows, append([]string{d.field, d.value}, d.numbers()...))
	}
	return rows
}

func patternRows(list []difference, limit int) [][]string {
	var rows [][]string
	for _, d := range list[:min(len(list), limit)] {
		rows = append(rows, append([]string{d.value}, d.numbers()...))
	}
	return rows
}

func (d difference) numbers() []string {
	return []string{decimals(d.badShare()), decimals(d.goodShare()), "+" + decimals(d.points()), liftText(d.lift()), strconv.FormatInt(d.bad, 10)}
}
