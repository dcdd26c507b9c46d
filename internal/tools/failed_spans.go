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

// A failure is a group of spans that failed, or that recorded an exception and
// did not fail.
type failure struct {
	failed                                 bool
	service, operation, exception, message string

	n, before   int64
	first, last time.Time
	trace       string
}

// failures groups the spans that failed or recorded an exception by service,
// operation and exception; most come first. They are those of the question,
// where it is about spans, else all of its services. base is compared with where
// compared says so.
func (c *call) failures(ctx context.Context, q logQuestion, w, base window, compared bool) ([]*failure, error) {
	type key struct {
		failed                                 bool
		service, operation, exception, message string
	}
	by := make(map[key]*failure)
	text := failureFilter()
	if q.spans {
		text = "(" + q.text + ") " + text
	}
	var list []*failure
	windows := []window{w, base}
	if !compared {
		windows = windows[:1]
	}
	for i, w := range windows {
		rows, err := c.failureRows(ctx, logQuestion{spans: true, text: text, services: q.services, window: window{start: w.start, end: w.end}})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			f := failureOf(r)
			k := key{f.failed, f.service, f.operation, f.exception, f.message}
			known := by[k]
			switch {
			case known == nil && i == 0:
				by[k] = f
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

func exceptionField(name string, i int) string {
	return telemetry.EventAttributePrefix + "exception." + name + ":" + strconv.Itoa(i)
}

// failureFilter is LogsQL for spans that failed or recorded an exception.
func failureFilter() string {
	parts := []string{isError()}
	for i := range exceptionEvents {
		parts = append(parts, FieldIs(telemetry.EventNamePrefix+":"+strconv.Itoa(i), "exception"))
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

func (c *call) failureRows(ctx context.Context, q logQuestion) ([]telemetry.LogRow, error) {
	fields := []string{telemetry.FieldStatusCode, telemetry.FieldSpanService, telemetry.FieldSpanName, fieldErrorType}
	messages := []string{telemetry.FieldStatusMessage}
	for i := range exceptionEvents {
		fields = append(fields, exceptionField("type", i))
		messages = append(messages, exceptionField("message", i))
	}
	// Messages hold ids and numbers; without these there are few.
	var pipes []string
	for _, m := range messages {
		pipes = append(pipes, fmt.Sprintf("replace_regexp (%s, \"<N>\") at %s", strconv.Quote(numbersInMessages), quoteLogs(m)))
	}
	text := q.with(fmt.Sprintf("%s | stats by (%s) count(_time) as n, min(_time) as first, max(_time) as last, max(%s) as trace | sort by (n desc) limit %d",
		strings.Join(pipes, " | "), quoteAll(append(fields, messages...)), telemetry.FieldTraceID, maxFailures))
	res, err := c.askLogs(ctx, "reading failed spans", q, text, maxFailures)
	return res.Rows, err
}

func failureOf(r telemetry.LogRow) *failure {
	f := &failure{
		failed:  r.Get(telemetry.FieldStatusCode) == strconv.Itoa(int(telemetry.StatusError)),
		service: r.Get(telemetry.FieldSpanService), operation: r.Get(telemetry.FieldSpanName), message: r.Get(telemetry.FieldStatusMessage),
		n: integer(r.Get("n")), trace: r.Get("trace"),
	}
	for i := range exceptionEvents {
		kind, message := r.Get(exceptionField("type", i)), r.Get(exceptionField("message", i))
		if kind+message == "" {
			continue
		}
		f.exception = kind
		if message != "" && message != f.message {
			f.exception = strings.TrimPrefix(kind+": "+message, ": ")
		}
		break
	}
	f.exception = cmp.Or(f.exception, r.Get(fieldErrorType))
	f.first, _ = time.Parse(time.RFC3339Nano, r.Get("first"))
	f.last, _ = time.Parse(time.RFC3339Nano, r.Get("last"))
	return f
}

// addFailures adds what failed in spans to an answer about errors, at most limit
// groups of each kind, and returns how many spans it is about.
func (c *call) addFailures(ctx context.Context, a *answer, q logQuestion, base window, compared bool, limit int) (total int64, err error) {
	w := q.window
	switch {
	case !c.caller.May(org.SpansRead):
		a.note("Failed spans are left out: %s.", whyWithheld(c.caller, org.SpansRead))
		return 0, nil
	case !q.spans && q.query != "":
		a.note("Failed spans are left out, because query is about log records: aggregate_spans with status=error and group_by=service,operation counts them.")
		return 0, nil
	case c.clampToLookBack(&w, org.SpansRead) != nil:
		return 0, nil // they end before what may be seen
	}
	list, err := c.failures(ctx, q, w, base, compared)
	if err != nil {
		return 0, err
	}
	for _, part := range []struct {
		failed           bool
		title, one, many string
	}{
		{true, "failed spans:", "failed span", "failed spans"},
		{false, "exceptions of spans that did not fail:", "other span with an exception", "other spans with an exception"},
	} {
		s := section{title: part.title, columns: []string{"n", "before", "change", "service", "operation", "exception", "status_message", "first", "last", "trace_id"}, fixed: 1}
		n, groups := int64(0), 0
		for _, f := range list {
			if f.failed != part.failed {
				continue
			}
			n += f.n
			if groups++; groups > limit {
				continue
			}
			before, change := "", ""
			if compared {
				before, change = strconv.FormatInt(f.before, 10), (&logPattern{n: f.n, base: f.before}).change()
			}
			s.rows = append(s.rows, []string{
				strconv.FormatInt(f.n, 10), before, change, f.service, f.operation, cell(f.exception, 160, nil), cell(f.message, 120, nil), stamp(f.first), stamp(f.last), f.trace,
			})
		}
		if groups == 0 {
			continue
		}
		a.fact("%s", count(int(n), part.one, part.many))
		a.sections = append(a.sections, s)
		total += n
		if groups > limit {
			a.note("%d more groups of %s. Call %s with a larger limit (at most 200), or with a service.", groups-limit, part.many, c.tool.Name)
		}
	}
	return total, nil
}
