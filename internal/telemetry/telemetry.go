// Package telemetry owns the words in which the rest of Oriel speaks about
// logs, spans and metrics: tenants, filters, views, budgets, records, and the
// interfaces that an engine implements.
//
// It never talks to an engine, a database or the network. Engines live in the
// folders below it; which person may see what is decided in package access,
// the only caller of [NewView].
package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// TenantID numbers a team inside the engines. Zero is never a team: engines
// read a missing tenant as zero, so no data may live there.
type TenantID uint32

// A View is what somebody may see of one tenant's telemetry. Its zero value
// sees nothing, and every read of an engine demands one. Only package access
// makes views (held by a test in internal/arch).
//
// A View is immutable and safe for concurrent use.
type View struct {
	tenant   TenantID
	filter   *Filter
	lookBack time.Duration
	hidden   []string
	// ok tells a view that NewView made from the zero value.
	ok bool
}

// Restriction narrows a view. Its zero value leaves the whole tenant visible.
type Restriction struct {
	// Filter hides every row it does not match; nil hides none.
	Filter *Filter
	// LookBack is the longest age of a row that may be seen; 0 is no bound
	// but the retention.
	LookBack time.Duration
	// Hidden are the fields that are never shown nor compared with, as
	// ParseHiddenFields returns them. Filter must not name any of them.
	Hidden []string
}

// NewView returns a view of the tenant's rows that r leaves visible. A zero
// tenant gives a view that sees nothing.
func NewView(tenant TenantID, r Restriction) View {
	return View{tenant: tenant, filter: r.Filter, lookBack: r.LookBack, hidden: slices.Clone(r.Hidden), ok: tenant != 0}
}

// Tenant returns the tenant to ask the engine for. ok is false for a view
// that sees nothing; the engine must then return no row without asking.
func (v View) Tenant() (id TenantID, ok bool) { return v.tenant, v.ok && v.tenant != 0 }

// Filter returns the row filter to hand to the engine, nil for none.
func (v View) Filter() *Filter { return v.filter }

// LookBack returns the longest age of a visible row, 0 for no bound.
func (v View) LookBack() time.Duration { return v.lookBack }

// Hidden returns the fields that an engine must neither show nor compare with:
// to a query they do not exist. Hides says which stored fields that concerns.
func (v View) Hidden() []string { return slices.Clone(v.hidden) }

// Budget bounds what one query may cost. A zero field means the engine's
// default, never "unlimited".
type Budget struct {
	// Rows is the largest number of rows returned.
	Rows int
	// Bytes is the largest sum of the sizes of the rows returned.
	Bytes int
	// Time is the longest an engine may work on the query.
	Time time.Duration
}

// ErrUnavailable is returned when an engine cannot answer now but may soon:
// it is starting, restarting after a crash, or unreachable.
var ErrUnavailable = errors.New("the telemetry engine is temporarily unavailable")

// ErrTooExpensive is returned when a query ran out of its budget of time or
// memory before it had an answer.
var ErrTooExpensive = errors.New("the query needs more time or memory than it may use")

// A QueryError says what is wrong with a query's text. Its message is for the
// person or assistant who wrote the query and discloses nothing else.
type QueryError struct {
	// Problem is one sentence: what is wrong and, where known, what to write
	// instead.
	Problem string
	// Offset is the byte offset of the fault in the query's text, -1 where it
	// is not known.
	Offset int
}

func (e *QueryError) Error() string {
	if e.Offset >= 0 {
		return fmt.Sprintf("%s (at byte %d of the query)", e.Problem, e.Offset)
	}
	return e.Problem
}
