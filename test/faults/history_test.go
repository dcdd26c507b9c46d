package faults

import (
	"testing"
	"time"
)

const second = time.Second

var rules = Rules{
	Bound: 5 * second, CodeRetry: 5 * second, CodeLife: 60 * second,
	Healed: 50 * second, Recovery: 10 * second, Recovers: []Kind{Call}, Workers: 1,
}

// good is a history that breaks nothing, in seconds.
func good() []Event {
	at := func(start, end int, e Event) Event {
		e.Start, e.End, e.Person, e.Grant = time.Duration(start)*second, time.Duration(end)*second, "ada", "g"
		e.Expires = 1000 * second
		if e.Outcome == "" {
			e.Outcome = OK
		}
		return e
	}
	other := func(e Event) Event {
		e.Grant, e.Person = "other", "bob"
		return e
	}
	return []Event{
		at(0, 1, Event{Kind: SignIn, Code: "c"}),
		at(1, 3, Event{Kind: Redeem, Code: "c", Received: "r1"}),
		at(1, 2, Event{Kind: Redeem, Code: "c", Received: "r1"}),
		at(3, 4, Event{Kind: Call}),
		// Raced, and one of them again when the chain had gone on.
		at(4, 5, Event{Kind: Refresh, Presented: "r1", Received: "r2"}),
		at(4, 5, Event{Kind: Refresh, Presented: "r1", Received: "r2"}),
		at(6, 7, Event{Kind: Refresh, Presented: "r2", Received: "r3"}),
		at(8, 9, Event{Kind: Refresh, Presented: "r1", Received: "r3"}),
		// A step that nobody saw.
		at(9, 10, Event{Kind: Refresh, Presented: "r3", Outcome: Lost}),
		at(10, 11, Event{Kind: Refresh, Presented: "r2", Received: "r4"}),
		at(11, 12, Event{Kind: Call, Outcome: Retry}),
		at(20, 21, Event{Kind: Revoke}),
		at(20, 25, Event{Kind: Call}),                   // under way
		at(24, 25, Event{Kind: Call}),                   // within the bound
		at(27, 28, Event{Kind: Call, Outcome: Refused}), // as it should
		at(27, 28, Event{Kind: Refresh, Presented: "r4", Outcome: Refused}),
		other(at(30, 31, Event{Kind: Disable})),
		other(at(37, 38, Event{Kind: Call, Outcome: Refused})),
		other(at(40, 41, Event{Kind: Enable})),
		other(at(40, 41, Event{Kind: Call})),
		other(at(52, 53, Event{Kind: Call})),
	}
}

func TestGoodHistory(t *testing.T) {
	t.Parallel()
	for _, v := range Check(good(), rules) {
		t.Error(v)
	}
	if worst := WorstRevocation(good()); worst != 3*second {
		t.Errorf("the worst revocation took %s, want 3s", worst)
	}
}

// Each rule catches what breaks it, and no other rule cries with it.
func TestPlantedViolations(t *testing.T) {
	t.Parallel()
	e := func(start, end int, e Event) Event {
		e.Start, e.End = time.Duration(start)*second, time.Duration(end)*second
		return e
	}
	for _, tt := range []struct {
		name, rule string
		planted    []Event
	}{
		{"other tokens for the code", RuleCode, []Event{e(2, 3, Event{Kind: Redeem, Outcome: OK, Grant: "g", Code: "c", Received: "x"})}},
		{"another grant for the code", RuleCode, []Event{e(2, 3, Event{Kind: Redeem, Outcome: OK, Grant: "h", Code: "c", Received: "r1"})}},
		{"the code long after", RuleCode, []Event{e(9, 10, Event{Kind: Redeem, Outcome: OK, Grant: "g", Code: "c", Received: "r1"})}},
		{"two successors", RuleSuccessor, []Event{e(4, 5, Event{Kind: Refresh, Outcome: OK, Grant: "g", Presented: "r2", Received: "x"})}},
		{"two successors, raced", RuleSuccessor, []Event{
			e(4, 5, Event{Kind: Refresh, Outcome: OK, Presented: "q", Received: "x"}),
			e(4, 5, Event{Kind: Refresh, Outcome: OK, Presented: "q", Received: "y"}),
		}},
		{"two successors, one of them long alive", RuleSuccessor, []Event{
			e(4, 5, Event{Kind: Refresh, Outcome: OK, Presented: "q", Received: "x"}),
			e(5, 6, Event{Kind: Refresh, Outcome: OK, Presented: "x", Received: "x2"}),
			e(6, 7, Event{Kind: Refresh, Outcome: OK, Presented: "q", Received: "y"}),
		}},
		{"a call after the bound", RuleRevocation, []Event{e(27, 28, Event{Kind: Call, Outcome: OK, Grant: "g"})}},
		{"a refresh after the bound", RuleRevocation, []Event{e(27, 28, Event{Kind: Refresh, Outcome: OK, Grant: "g", Presented: "r4", Received: "r5"})}},
		{"a call of somebody shut out", RuleRevocation, []Event{e(37, 38, Event{Kind: Call, Outcome: OK, Grant: "h", Person: "bob"})}},
		{"500", RuleAnswers, []Event{e(2, 3, Event{Kind: Call, Outcome: Wrong})}},
		{"a call refused for nothing", RuleAnswers, []Event{e(2, 3, Event{Kind: Call, Outcome: Refused, Grant: "g", Expires: 1000 * second})}},
		{"a refresh refused for nothing", RuleAnswers, []Event{e(2, 3, Event{Kind: Refresh, Outcome: Refused, Grant: "g", Presented: "r1"})}},
		{"a new code refused", RuleAnswers, []Event{
			e(2, 3, Event{Kind: SignIn, Outcome: OK, Code: "n"}), e(3, 4, Event{Kind: Redeem, Outcome: Refused, Code: "n"}),
		}},
		{"a sign-in refused", RuleAnswers, []Event{e(2, 3, Event{Kind: SignIn, Outcome: Refused, Person: "ada"})}},
		{"a revocation refused", RuleAnswers, []Event{e(2, 3, Event{Kind: Revoke, Outcome: Refused, Grant: "h"})}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Check(append(good(), tt.planted...), rules)
			if len(got) == 0 {
				t.Error("it was not seen")
			}
			for _, v := range got {
				if v.Rule != tt.rule {
					t.Errorf("another rule: %s", v)
				}
			}
		})
	}
	t.Run("nobody comes back", func(t *testing.T) {
		t.Parallel()
		late, gone := rules, rules
		late.Recovery = second
		late.Healed -= 5 * second
		gone.Healed = 60 * second
		for _, r := range []Rules{late, gone} {
			if got := Check(good(), r); len(got) != 1 || got[0].Rule != RuleRecovery {
				t.Errorf("%v", got)
			}
		}
	})
}
