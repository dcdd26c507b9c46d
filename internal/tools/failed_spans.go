package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// maxFailures bounds how many groups of failed spans are read.
	maxFailures = 2000
	// exceptionEvents of a span are looked at for its exception.
	exceptionEvents = 3
	// numbersInMessages finds numbers, and words of hexadecimal digits that
	// have a number in them.
	numbersInMessages = `\b[0-9a-fA-F]*[0-9][0-9a-fA-F-]*\b|[0-9]+`
	fieldErrorType    = telemetry.SpanAttributePrefix + "error.type"
)

// A failure is a group of failed spans.
type failure struct {
	service, operation, exception, message string

	n, before   int64
	first, last time.Time
	trace       string
}

// failures groups the failed spans of a window by service, operation, and the
// exception that they recorded; most come first. base is compared with where
// compared says so.
func (c *call) failures(ctx context.Context, services []string, w, base window, compared bool) ([]*failure, error) {
	by := make(map[[4]string]*failure)
	var list []*failure
	windows := []window{w, base}
	if !compared {
		windows = windows[:1]
	}
	for i, w := range windows {
		rows, err := c.failureRows(ctx, logQuestion{spans: true, text: isError(), services: services, window: window{start: w.start, end: w.end}})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			f := failureOf(r)
			key := [4]string{f.service, f.operation, f.exception, f.message}
			known := by[key]
			switch {
			case known == nil && i == 0:
				by[key] = f
				list = append(list, f)
			case known == nil: // gone
			case i == 0:
				known.n += f.n
				known.first, known.last = earlier(known.first, f.first), later(known.last, f.last)
			default:
				known.before += f.n
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *failure) int {
		return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.service, b.service), strings.Compare(a.operation, b.operation), strings.Compare(a.exception, b.exception))
	})
	return list, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func exceptionField(i int) string {
	return telemetry.EventAttributePrefix + "exception.type:" + strconv.Itoa(i)
}

func (c *call) failureRows(ctx context.Context, q logQuestion) ([]telemetry.LogRow, error) {
	fields := []string{telemetry.FieldSpanService, telemetry.FieldSpanName, fieldErrorType, telemetry.FieldStatusMessage}
	for i := range exceptionEvents {
		fields = append(fields, exceptionField(i))
	}
	// Messages hold ids and numbers; without these there are few.
	text := q.with(fmt.Sprintf("replace_regexp (%s, \"<N>\") at %s | stats by (%s) count(_time) as n, min(_time) as first, max(_time) as last, max(%s) as trace | sort by (n desc) limit %d",
		strconv.Quote(numbersInMessages), telemetry.FieldStatusMessage, quoteAll(fields), telemetry.FieldTraceID, maxFailures))
	res, err := c.askLogs(ctx, "reading failed spans", q, text, maxFailures)
	return res.Rows, err
}

func failureOf(r telemetry.LogRow) *failure {
	f := &failure{
		service: r.Get(telemetry.FieldSpanService), operation: r.Get(telemetry.FieldSpanName), message: r.Get(telemetry.FieldStatusMessage),
		n: integer(r.Get("n")), trace: r.Get("trace"),
	}
	for i := range exceptionEvents {
		f.exception = cmp.Or(f.exception, r.Get(exceptionField(i)))
	}
	f.exception = cmp.Or(f.exception, r.Get(fieldErrorType))
	f.first, _ = time.Parse(time.RFC3339Nano, r.Get("first"))
	f.last, _ = time.Parse(time.RFC3339Nano, r.Get("last"))
	return f
}

// addFailures adds the failed spans to an answer about errors in logs, at most
// limit groups, and returns how many spans failed.
func (c *call) addFailures(ctx context.Context, a *answer, q logQuestion, base window, compared bool, limit int) (failed int64, err error) {
	w := q.window
	switch {
	case !c.caller.May(org.SpansRead):
		a.note("Failed spans are left out: %s.", whyWithheld(c.caller, org.SpansRead))
		return 0, nil
	case q.query != "":
		a.note("Failed spans are left out, because query is about log records: aggregate_spans with status=error and group_by=service,operation counts them.")
		return 0, nil
	case c.clampToLookBack(&w, org.SpansRead) != nil:
		return 0, nil // they end before what may be seen
	}
	list, err := c.failures(ctx, q.services, w, base, compared)
	if err != nil {
		return 0, err
	}
	s := section{title: "failed spans:", columns: []string{"n", "before", "change", "service", "operation", "exception", "status_message", "first", "last", "trace_id"}, fixed: 1}
	for i, f := range list {
		failed += f.n
		if i >= limit {
			continue
		}
		before, change := "", ""
		if compared {
			before, change = strconv.FormatInt(f.before, 10), (&logPattern{n: f.n, base: f.before}).change()
		}
		s.rows = append(s.rows, []string{
			strconv.FormatInt(f.n, 10), before, change, f.service, f.operation, f.exception, cell(f.message, 120, nil), stamp(f.first), stamp(f.last), f.trace,
		})
	}
	if len(list) > 0 {
		a.fact("%s", count(int(failed), "failed span", "failed spans"))
		a.sections = append(a.sections, s)
	}
	if len(list) > limit {
		a.note("%d more groups of failed spans. Call %s with a larger limit (at most 200), or with a service.", len(list)-limit, c.tool.Name)
	}
	return failed, nil
}
