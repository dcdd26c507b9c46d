// Package faults loads several replicas on one PostgreSQL while parts of them
// are killed and cut off, writes down everything that clients saw, and checks
// that history against what Oriel promises.
package faults

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kind is what a client did.
type Kind string

// Kinds of events.
const (
	// SignIn is the way of a browser from the authorization request to a code.
	SignIn  Kind = "sign in"
	Redeem  Kind = "redeem"
	Refresh Kind = "refresh"
	Call    Kind = "call"
	// Revoke ends Event.Grant.
	Revoke Kind = "revoke"
	// Disable shuts Event.Person out, Enable lets them in again.
	Disable Kind = "disable"
	Enable  Kind = "enable"
)

// Outcome is what came of it.
type Outcome string

// Outcomes of events.
const (
	// OK is success, acknowledged.
	OK Outcome = "ok"
	// Refused is an answer that says no for good: 401 to a call, invalid_grant
	// to a token request.
	Refused Outcome = "refused"
	// Retry is an answer that asks to come again: 503, 429.
	Retry Outcome = "retry"
	// Lost is no answer, or the proxy's 502 and 504: what was asked may have
	// happened.
	Lost Outcome = "lost"
	// Wrong is any other answer.
	Wrong Outcome = "wrong"
)

// Through is the Event.Replica of what went through the proxy.
const Through = -1

// Event is one thing that a client did and what it saw. Tokens and codes are
// themselves: they are worth nothing after the run.
type Event struct {
	Worker  int
	Replica int
	Kind    Kind
	// Start and End are on one monotonic clock, since the start of the run.
	Start, End time.Duration
	Outcome    Outcome
	// Detail is the answer, for reports.
	Detail string

	Person string
	Grant  string
	// Code was redeemed.
	Code string
	// Presented is the refresh token that was sent, Received the one that came.
	Presented, Received string
	// Expires is when the access token of a call ends by itself.
	Expires time.Duration
}

func (e Event) String() string {
	return fmt.Sprintf("%s by worker %d at replica %d, %s to %s: %s (%s) grant %s",
		e.Kind, e.Worker, e.Replica, e.Start.Round(time.Millisecond), e.End.Round(time.Millisecond), e.Outcome, e.Detail, e.Grant)
}

// Rules are the bounds that a history is checked against.
type Rules struct {
	// Bound is how long after its acknowledgement a revocation may take.
	Bound time.Duration
	// CodeRetry is how long an identical redemption is answered again, with
	// the same tokens, CodeLife how long a code waits.
	CodeRetry, CodeLife time.Duration
	// Healed is when the last fault was lifted; every worker succeeds in every
	// kind of Recovers within Recovery of it.
	Healed, Recovery time.Duration
	Recovers         []Kind
	Workers          int
}

// Violation is a promise that the history shows broken.
type Violation struct {
	Rule string
	What string
}

func (v Violation) String() string { return v.Rule + ": " + v.What }

// Names of the rules.
const (
	RuleCode       = "a code is redeemed once"
	RuleSuccessor  = "a refresh token has one live successor"
	RuleRevocation = "nothing revoked works beyond the bound"
	RuleRecovery   = "every client recovers"
	RuleAnswers    = "clients see only what the protocol allows"
)

// Check returns every promise that the history breaks.
func Check(events []Event, r Rules) []Violation {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.Start, b.Start) })
	return slices.Concat(checkCodes(events, r), checkSuccessors(events), checkRevocations(events, r), checkRecovery(events, r), checkAnswers(events, r))
}

// checkCodes: all successes with one code bring the same tokens, and all of
// them lie within the time in which a lost answer is given again.
func checkCodes(events []Event, r Rules) []Violation {
	var out []Violation
	first := make(map[string]Event)
	for _, e := range events {
		if e.Kind != Redeem || e.Outcome != OK {
			continue
		}
		f, ok := first[e.Code]
		switch {
		case !ok:
			first[e.Code] = e
			continue
		case e.Received != f.Received || e.Grant != f.Grant:
			out = append(out, Violation{RuleCode, fmt.Sprintf("two successes with different tokens: %s, and %s", f, e)})
		case e.Start > f.End+r.CodeRetry:
			out = append(out, Violation{RuleCode, fmt.Sprintf("again after the time for lost answers: %s, and %s", f, e)})
		}
		if e.End < f.End {
			first[e.Code] = e
		}
	}
	return out
}

// checkSuccessors: the refresh tokens of a grant form one chain. A token that
// is presented again within its window gets the newest of the chain, so two
// answers to one token may differ, but only where one of them leads to the
// other. An answer that was lost may have made a step that nobody saw.
func checkSuccessors(events []Event) []Violation {
	var out []Violation
	steps := make(map[string]map[string]bool) // presented: received
	unseen := make(map[string]bool)           // presented, answer lost
	var order []string
	for _, e := range events {
		if e.Kind != Refresh {
			continue
		}
		switch e.Outcome {
		case OK:
			if steps[e.Presented] == nil {
				steps[e.Presented] = make(map[string]bool)
				order = append(order, e.Presented)
			}
			steps[e.Presented][e.Received] = true
		case Lost, Retry:
			unseen[e.Presented] = true
		case Refused, Wrong:
		}
	}
	leads := func(from, to string) bool {
		seen := map[string]bool{from: true}
		for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			if at == to || unseen[at] {
				return true
			}
			for next := range steps[at] {
				if !seen[next] {
					seen[next] = true
					queue = append(queue, next)
				}
			}
		}
		return false
	}
	for _, presented := range order {
		received := make([]string, 0, len(steps[presented]))
		for s := range steps[presented] {
			received = append(received, s)
		}
		slices.Sort(received)
		for i, a := range received {
			for _, b := range received[i+1:] {
				if !leads(a, b) && !leads(b, a) {
					out = append(out, Violation{RuleSuccessor, fmt.Sprintf("%.12s… led to %.12s… and to %.12s…", presented, a, b)})
				}
			}
		}
	}
	return out
}

// ends is when something was surely shut out: from its acknowledgement until
// somebody began to let it in again.
type ends struct {
	begun, acknowledged, again time.Duration
}

const never = time.Duration(1<<63 - 1)

// revocations returns when each grant and each person was shut out, keyed by
// grant id or person.
func revocations(events []Event) map[string][]ends {
	out := make(map[string][]ends)
	for _, e := range events {
		switch e.Kind {
		case Revoke, Disable:
			if e.Outcome == Refused || e.Outcome == Wrong {
				continue
			}
			key := e.Grant
			if e.Kind == Disable {
				key = e.Person
			}
			acknowledged := e.End
			if e.Outcome != OK {
				acknowledged = never
			}
			out[key] = append(out[key], ends{e.Start, acknowledged, never})
		case Enable:
			for i, o := range out[e.Person] {
				if o.again == never {
					out[e.Person][i].again = e.Start
				}
			}
		case SignIn, Redeem, Refresh, Call:
		}
	}
	return out
}

// late returns how long after an acknowledged revocation a success began, 0
// for one that began before, or that may have been after the way back in.
func late(e Event, all map[string][]ends) time.Duration {
	if e.Outcome != OK || e.Kind != Call && e.Kind != Refresh {
		return 0
	}
	var worst time.Duration
	for _, key := range []string{e.Grant, e.Person} {
		for _, o := range all[key] {
			if o.acknowledged < e.Start && e.End < o.again {
				worst = max(worst, e.Start-o.acknowledged)
			}
		}
	}
	return worst
}

func checkRevocations(events []Event, r Rules) []Violation {
	var out []Violation
	all := revocations(events)
	for _, e := range events {
		if l := late(e, all); l > r.Bound {
			out = append(out, Violation{RuleRevocation, fmt.Sprintf("begun %s after it: %s", l, e)})
		}
	}
	return out
}

// WorstRevocation returns the longest time after an acknowledged revocation at
// which something that then succeeded began.
func WorstRevocation(events []Event) time.Duration {
	var worst time.Duration
	all := revocations(events)
	for _, e := range events {
		worst = max(worst, late(e, all))
	}
	return worst
}

// Recovery returns how long after at each worker had first succeeded in every
// one of kinds, never for one that has not.
func Recovery(events []Event, at time.Duration, workers int, kinds []Kind) []time.Duration {
	out := make([]time.Duration, workers)
	for w := range workers {
		for _, k := range kinds {
			first := never
			for _, e := range events {
				if e.Worker == w && e.Kind == k && e.Outcome == OK && e.Start >= at {
					first = min(first, e.End-at)
				}
			}
			out[w] = max(out[w], first)
		}
	}
	return out
}

func checkRecovery(events []Event, r Rules) []Violation {
	var out []Violation
	for w, took := range Recovery(events, r.Healed, r.Workers, r.Recovers) {
		switch {
		case took == never:
			out = append(out, Violation{RuleRecovery, fmt.Sprintf("worker %d never did all of %v again", w, r.Recovers)})
		case took > r.Recovery:
			out = append(out, Violation{RuleRecovery, fmt.Sprintf("worker %d needed %s", w, took)})
		}
	}
	return out
}

// checkAnswers: no answer is Wrong, and none says no for good without a reason
// in the history.
func checkAnswers(events []Event, r Rules) []Violation {
	var out []Violation
	all := revocations(events)
	begun := func(e Event, keys ...string) bool {
		for _, key := range keys {
			for _, o := range all[key] {
				if key != "" && o.begun <= e.End {
					return true
				}
			}
		}
		return false
	}
	redeemed := make(map[string]time.Duration) // code: start of the first try
	issued := make(map[string]time.Duration)   // code: when it came
	for _, e := range events {
		if e.Kind == SignIn && e.Outcome == OK {
			issued[e.Code] = e.Start
		}
		allowed := true
		switch {
		case e.Outcome == Wrong:
			allowed = false
		case e.Outcome != Refused:
		case e.Kind == Call:
			allowed = begun(e, e.Grant, e.Person) || e.End >= e.Expires
		case e.Kind == Refresh:
			allowed = begun(e, e.Grant, e.Person)
		case e.Kind == Redeem:
			first, again := redeemed[e.Code]
			allowed = begun(e, e.Person) || again && e.End > first+r.CodeRetry || e.End > issued[e.Code]+r.CodeLife
		case e.Kind == SignIn:
			allowed = begun(e, e.Person)
		default:
			allowed = false
		}
		if _, ok := redeemed[e.Code]; e.Kind == Redeem && !ok {
			redeemed[e.Code] = e.Start
		}
		if !allowed {
			out = append(out, Violation{RuleAnswers, e.String()})
		}
	}
	return out
}
