// Package proof finds out whether an engine that others run keeps apart what
// must be kept apart, before anybody's telemetry is asked of it: it writes
// marked rows into tenants that are never a team's, and reads them as people
// with different views would.
package proof

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Which of the tenants that are never a team's.
const (
	first = iota
	second
	empty
)

const (
	// visibleWithin is how long an engine may take to show what it took.
	visibleWithin = 30 * time.Second
	visiblePoll   = 250 * time.Millisecond

	scopeField  = "oriel.proof"
	secretField = "oriel.secret"
	oldAge      = 2 * time.Hour
	lookBack    = time.Hour
)

// A RefusedError says why an engine must not be used.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, a ...any) error { return &RefusedError{fmt.Sprintf(format, a...)} }

// A row is a marked row: which tenant's, of which data scope, how old.
type row struct {
	tenant int
	scope  string
	age    time.Duration
}

// rows are what is written.
var rows = []row{
	{first, "a", 0},
	{first, "b", 0},
	{first, "a", oldAge},
	{second, "a", 0},
	{second, "b", 0},
	{second, "a", oldAge},
}

// mark is what tells a row from all others.
func (r row) mark() string { return fmt.Sprintf("t%d-%s-%s", r.tenant, r.scope, r.age) }

// A signal is what is proven: how rows are written and read.
type signal struct {
	write func(ctx context.Context, rows []row) error
	// read returns what a view sees of the rows, for a query after the first
	// pipe; "" is none.
	read func(ctx context.Context, view telemetry.View, pipes string) ([]telemetry.LogRow, error)
	// mark is the field that has a row's mark, secret the one that is hidden.
	mark, secret string
	value        string // of the secret
}

// Logs proves an engine of logs: now is the time that rows get. Errors are
// *RefusedError, or wrap telemetry.ErrUnavailable where the engine cannot be
// asked, or are the context's.
func Logs(ctx context.Context, now time.Time, reader telemetry.Logs, writer telemetry.Writer) error {
	trace, value := random(), random()
	return prove(ctx, signal{
		mark: telemetry.FieldMessage, secret: secretField, value: value,
		write: func(ctx context.Context, rows []row) error {
			batch := make([]telemetry.LogRecord, len(rows))
			for i, r := range rows {
				batch[i] = telemetry.LogRecord{
					Time: now.Add(-r.age), Message: r.mark(), TraceID: trace, Resource: []telemetry.Field{{Name: scopeField, Value: r.scope}},
					Attributes: []telemetry.Field{{Name: secretField, Value: value}},
				}
			}
			return writer.WriteLogs(ctx, telemetry.ProofTenant(rows[0].tenant), batch)
		},
		read: func(ctx context.Context, view telemetry.View, pipes string) ([]telemetry.LogRow, error) {
			res, err := reader.QueryLogs(ctx, view, telemetry.LogQuery{Text: question(trace, pipes), Start: now.Add(-2 * oldAge), End: now.Add(time.Minute)}, telemetry.Budget{})
			return res.Rows, err
		},
	})
}

// Spans is Logs for an engine of spans.
func Spans(ctx context.Context, now time.Time, reader telemetry.Spans, writer telemetry.SpanWriter) error {
	trace, value := random(), random()
	return prove(ctx, signal{
		mark: telemetry.FieldSpanName, secret: telemetry.SpanAttributePrefix + secretField, value: value,
		write: func(ctx context.Context, rows []row) error {
			batch := make([]telemetry.SpanRecord, len(rows))
			for i, r := range rows {
				batch[i] = telemetry.SpanRecord{
					TraceID: trace, SpanID: random()[:16], Name: r.mark(), Start: now.Add(-r.age - time.Second), End: now.Add(-r.age),
					Resource: []telemetry.Field{{Name: scopeField, Value: r.scope}}, Attributes: []telemetry.Field{{Name: secretField, Value: value}},
				}
			}
			return writer.WriteSpans(ctx, telemetry.ProofTenant(rows[0].tenant), batch)
		},
		read: func(ctx context.Context, view telemetry.View, pipes string) ([]telemetry.LogRow, error) {
			res, err := reader.QuerySpans(ctx, view, telemetry.SpanQuery{Text: question(trace, pipes), Start: now.Add(-2 * oldAge), End: now.Add(time.Minute)}, telemetry.Budget{})
			return res.Rows, err
		},
	})
}

func question(trace, pipes string) string {
	text := telemetry.FieldTraceID + ":=" + trace
	if pipes != "" {
		text += " | " + strings.ReplaceAll(pipes, "THESE", text)
	}
	return text
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

func prove(ctx context.Context, s signal) error {
	for _, tenant := range []int{first, second} {
		if err := s.write(ctx, of(tenant)); err != nil {
			return fmt.Errorf("write rows to prove the engine: %w", err)
		}
	}
	for _, tenant := range []int{first, second} {
		if err := s.visible(ctx, tenant); err != nil {
			return err
		}
	}
	return errors.Join(s.tenants(ctx), s.scopes(ctx), s.hidden(ctx), s.lookBack(ctx))
}

func of(tenant int) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.tenant != tenant })
}

// marks are what a view sees.
func (s signal) marks(ctx context.Context, view telemetry.View, pipes string) ([]string, error) {
	found, err := s.read(ctx, view, pipes)
	if _, ok := errors.AsType[*telemetry.QueryError](err); ok {
		return nil, refuse("it refuses a query that Oriel needs (%v): is it VictoriaLogs or VictoriaTraces, and not older than Oriel's own?", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read rows to prove the engine: %w", err)
	}
	var marks []string
	for _, r := range found {
		marks = append(marks, r.Get(s.mark))
	}
	slices.Sort(marks)
	return marks, nil
}

func wanted(keep func(row) bool) (marks []string) {
	for _, r := range rows {
		if keep(r) {
			marks = append(marks, r.mark())
		}
	}
	slices.Sort(marks)
	return marks
}

// visible waits until the tenant's rows are found.
func (s signal) visible(ctx context.Context, tenant int) error {
	want := wanted(func(r row) bool { return r.tenant == tenant })
	deadline := time.NewTimer(visibleWithin)
	defer deadline.Stop()
	tick := time.NewTicker(visiblePoll)
	defer tick.Stop()
	for {
		marks, err := s.marks(ctx, telemetry.ProofView(tenant, telemetry.Restriction{}), "")
		if err != nil {
			return err
		}
		if slices.Equal(marks, want) {
			return nil
		}
		if slices.ContainsFunc(marks, func(m string) bool { return !slices.Contains(want, m) }) {
			return refuse("a tenant is shown another tenant's rows: does it, or a proxy before it, drop the headers AccountID and ProjectID?")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return refuse("of %d rows that it took, it showed %d after %s: do url and write_url lead to the same engine, and does it keep data for %s at least?", len(want), len(marks), visibleWithin, oldAge)
		case <-tick.C:
		}
	}
}

func (s signal) tenants(ctx context.Context) error {
	marks, err := s.marks(ctx, telemetry.ProofView(empty, telemetry.Restriction{}), "")
	if err == nil && len(marks) > 0 {
		err = refuse("a tenant that has nothing is shown others' rows: does it, or a proxy before it, drop the headers AccountID and ProjectID?")
	}
	return err
}

func (s signal) scopes(ctx context.Context) error {
	filter, err := telemetry.ParseFilter(scopeField + " = a")
	if err != nil {
		return fmt.Errorf("prove the engine: %w", err)
	}
	view := telemetry.ProofView(first, telemetry.Restriction{Filter: filter})
	want := wanted(func(r row) bool { return r.tenant == first && r.scope == "a" })
	for _, pipes := range []string{"", "union (THESE) | uniq by (" + s.mark + ")"} {
		marks, err := s.marks(ctx, view, pipes)
		if err != nil {
			return err
		}
		if !slices.Equal(marks, want) {
			return refuse("a data scope shows %d rows of %d that it should: does it, or a proxy before it, drop the argument extra_filters?", len(marks), len(want))
		}
	}
	found, err := s.read(ctx, view, "stats count(_time) as n")
	if err != nil {
		return fmt.Errorf("read rows to prove the engine: %w", err)
	}
	if len(found) != 1 || found[0].Get("n") != fmt.Sprint(len(want)) {
		return refuse("it counts rows outside of a data scope, or none: %v of %d", found, len(want))
	}
	return nil
}

func (s signal) hidden(ctx context.Context) error {
	view := telemetry.ProofView(first, telemetry.Restriction{Hidden: []string{secretField}})
	found, err := s.read(ctx, view, "")
	if err != nil {
		return fmt.Errorf("read rows to prove the engine: %w", err)
	}
	for _, r := range found {
		if r.Get(s.secret) != "" {
			return refuse("it shows a hidden field: does it, or a proxy before it, drop the argument hidden_fields_filters?")
		}
	}
	marks, err := s.marks(ctx, view, fmt.Sprintf("filter %q:=%q", s.secret, s.value))
	if err != nil {
		return err
	}
	if len(marks) > 0 {
		return refuse("it finds rows by a hidden field: does it, or a proxy before it, drop the argument hidden_fields_filters?")
	}
	return nil
}

func (s signal) lookBack(ctx context.Context) error {
	marks, err := s.marks(ctx, telemetry.ProofView(first, telemetry.Restriction{LookBack: lookBack}), "")
	if err != nil {
		return err
	}
	if want := wanted(func(r row) bool { return r.tenant == first && r.age < lookBack }); !slices.Equal(marks, want) {
		return refuse("a look-back of %s shows %d rows of %d that it should", lookBack, len(marks), len(want))
	}
	return nil
}
