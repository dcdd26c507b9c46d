package tools

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits bound what calls may cost the engines. Zero fields mean the defaults.
type Limits struct {
	// Concurrent is how many queries of one person run at once; further ones
	// wait their turn.
	Concurrent int
	// Seconds of queries that one person may spend at once, and that come
	// back at a second for every two.
	Seconds int
	// CallQueries and CallTime bound one call.
	CallQueries int
	CallTime    time.Duration
}

// Defaults of Limits, and what stands around them.
const (
	defaultConcurrent  = 4
	defaultSeconds     = 180
	defaultCallQueries = 40 // compare asks most: about 12
	defaultCallTime    = 40 * time.Second
	// turnTimeout is how long a query waits for one of its person's to end.
	turnTimeout = 10 * time.Second
	// refill is how many seconds of queries come back in a second.
	refill = 0.5
	// maxAccounts is when accounts that are full again are forgotten.
	maxAccounts = 1000
)

func (l Limits) withDefaults() Limits {
	if l.Concurrent <= 0 {
		l.Concurrent = defaultConcurrent
	}
	if l.Seconds <= 0 {
		l.Seconds = defaultSeconds
	}
	if l.CallQueries <= 0 {
		l.CallQueries = defaultCallQueries
	}
	if l.CallTime <= 0 {
		l.CallTime = defaultCallTime
	}
	return l
}

// A limiter keeps every person to their share of the engines.
type limiter struct {
	limits Limits
	now    func() time.Time

	mu       sync.Mutex // guards accounts and what they hold
	accounts map[org.PersonID]*account
}

type account struct {
	turns chan struct{}
	left  float64 // seconds of queries
	at    time.Time
	users int // queries that run or wait
}

func newLimiter(l Limits, now func() time.Time) *limiter {
	return &limiter{limits: l.withDefaults(), now: now, accounts: make(map[org.PersonID]*account)}
}

// begin waits for the person's turn and returns what ends it. Errors are
// problems, or the context's.
func (l *limiter) begin(ctx context.Context, person org.PersonID) (end func(), err error) {
	l.mu.Lock()
	a := l.accounts[person]
	if a == nil {
		l.forgetLocked()
		a = &account{turns: make(chan struct{}, l.limits.Concurrent), left: float64(l.limits.Seconds), at: l.now()}
		l.accounts[person] = a
	}
	l.refillLocked(a)
	if a.left <= 0 {
		wait := time.Duration(math.Ceil((1-a.left)/refill)) * time.Second
		l.mu.Unlock()
		return nil, problemf("Your queries have used up their share of the engine's time. Wait %s, then narrow the window "+
			"(start, end) or name a service: smaller queries cost less.", wait)
	}
	a.users++
	l.mu.Unlock()
	leave := func(spent time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refillLocked(a)
		a.left -= spent.Seconds()
		a.users--
	}
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	select {
	case a.turns <- struct{}{}:
	case <-ctx.Done():
		leave(0)
		return nil, ctx.Err()
	case <-timer.C:
		leave(0)
		return nil, problemf("%d of your queries are running already. Wait until they have answered, and call again; ask fewer things at once.", l.limits.Concurrent)
	}
	began := l.now()
	return func() {
		<-a.turns
		leave(l.now().Sub(began))
	}, nil
}

func (l *limiter) refillLocked(a *account) {
	now := l.now()
	if d := now.Sub(a.at); d > 0 {
		a.left = min(float64(l.limits.Seconds), a.left+d.Seconds()*refill)
	}
	a.at = now
}

// forgetLocked drops accounts that nobody would tell from new ones.
func (l *limiter) forgetLocked() {
	if len(l.accounts) < maxAccounts {
		return
	}
	for person, a := range l.accounts {
		if l.refillLocked(a); a.users == 0 && a.left >= float64(l.limits.Seconds) {
			delete(l.accounts, person)
		}
	}
}

// progressPeriod is how often a query that runs on is reported.
const progressPeriod = time.Second

// query runs one query to an engine for the call: in its person's turn, within
// what is left to the call, reporting progress. most is the longest the query
// itself may take.
func (c *call) query(ctx context.Context, what string, most time.Duration, run func(ctx context.Context, most time.Duration) error) error {
	return c.set.spend(ctx, c.caller.Person().ID, &c.usage, most, func(ctx context.Context, most time.Duration) error {
		stop := c.reportWhile(what, most)
		defer stop()
		return run(ctx, most)
	})
}

// reportWhile reports that something is being done, at once and again while it
// lasts, until stop is called.
func (c *call) reportWhile(what string, most time.Duration) (stop func()) {
	if c.progress == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	base := float64(c.queries - 1)
	c.progress(base, what)
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressPeriod)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
				lasted := time.Duration(n) * progressPeriod
				c.progress(base+min(0.99, lasted.Seconds()/most.Seconds()), fmt.Sprintf("%s, %s of at most %s", what, lasted, most.Round(time.Second)))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// engineError turns an engine's error into what the assistant can do about
// it. kind names what was asked for: logs, spans.
func (c *call) engineError(ctx context.Context, kind, example string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if _, ok := errors.AsType[problem](err); ok {
		return err
	}
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok {
		return problemf("The query cannot be run: %s.\n%s", trimDot(cell(q.Error(), maxShownQuery, nil)), example)
	}
	switch {
	case errors.Is(err, telemetry.ErrUnavailable):
		return problemf("%s are temporarily unavailable: the engine is restarting or busy. Try again in a few seconds.", upper(kind))
	case errors.Is(err, telemetry.ErrTooExpensive):
		return problemf("This needs more time or memory than one call may use. Narrow the window with start and end, "+
			"name a service or a severity, or write a simpler query, and call %s again.", c.tool.Name)
	}
	return fmt.Errorf("read %s: %w", kind, err)
}
