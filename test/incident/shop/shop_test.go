package shop

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
)

var end = time.Date(2026, 11, 23, 12, 0, 40, 0, time.UTC)

func first(s *Set, minutes int) (out []*Minute) {
	for m := range s.All() {
		if out = append(out, m); len(out) == minutes {
			break
		}
	}
	return out
}

func TestASetFollowsFromItsSeed(t *testing.T) {
	once, again := New(Config{Seed: 7, End: end}), New(Config{Seed: 7, End: end.Add(10 * time.Second)})
	if diff := cmp.Diff(first(once, 5), first(again, 5)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(once.Truth, again.Truth); diff != "" {
		t.Error(diff)
	}
	other := New(Config{Seed: 8, End: end})
	if cmp.Equal(first(once, 1), first(other, 1)) {
		t.Error("another seed gives the same")
	}
	text := func(m *Minute) string {
		b, err := (&plog.JSONMarshaler{}).MarshalLogs(m.OTLPLogs(Team))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if text(first(once, 2)[1]) != text(first(again, 2)[1]) {
		t.Error("the same minute is written in two ways")
	}
}

// What the truth says is in the telemetry, and traces hang together.
func TestTheTruthIsInTheTelemetry(t *testing.T) {
	s := New(Config{Seed: 1, End: end, Requests: 40})
	spans := make(map[string]map[string]*Span) // by trace and id
	services := make(map[string]bool)
	rows := make(map[string]int)
	count := func(m *Minute, what, team, text string) {
		for i := range m.Logs {
			if l := &m.Logs[i]; l.Resource.Team == team && strings.Contains(l.Body, text) {
				rows[what]++
			}
		}
	}
	for m := range s.All() {
		for i := range m.Spans {
			sp := &m.Spans[i]
			if spans[sp.TraceID] == nil {
				spans[sp.TraceID] = make(map[string]*Span)
			}
			if spans[sp.TraceID][sp.SpanID] != nil {
				t.Fatalf("two spans %s in a trace", sp.SpanID)
			}
			if sp.End.Before(sp.Start) {
				t.Errorf("%s ends before it starts", sp.Name)
			}
			spans[sp.TraceID][sp.SpanID] = sp
		}
		for i := range m.Logs {
			services[m.Logs[i].Resource.Service] = true
		}
		if m.Index < paymentsDeploy {
			count(m, "too early", Team, "sca_exemption")
		} else {
			count(m, "bad deploy", Team, "sca_exemption")
		}
		count(m, "elsewhere", OtherTeam, "sca_exemption")
		count(m, "cache", Team, "redis-cart:6379: connection refused")
		count(m, "certificate", Team, "x509")
		count(m, "killed", Team, "OOMKilled")
		count(m, "limited", Team, "rate limit exceeded by customer "+floodCustomer)
		count(m, "clock", Team, "clock unsynchronised")
		count(m, "noise", Team, "directory referral")
		if m.Index >= consumerFrom {
			for i := range m.Logs {
				if l := &m.Logs[i]; l.Resource.Team == Team && l.Resource.Environment == Production && strings.HasPrefix(l.Body, "mail ") {
					rows["mail while stuck"]++
				}
			}
		}
	}
	for what, least := range map[string]int{"bad deploy": 50, "cache": 100, "certificate": 100, "killed": 6, "limited": 1000, "clock": 18, "noise": 700} {
		if rows[what] < least {
			t.Errorf("%s: %d rows, want %d", what, rows[what], least)
		}
	}
	for _, never := range []string{"too early", "elsewhere", "mail while stuck"} {
		if rows[never] > 0 {
			t.Errorf("%s: %d rows", never, rows[never])
		}
	}
	if len(services) != 12 {
		t.Errorf("%d services", len(services))
	}
	for _, trace := range spans {
		for _, sp := range trace {
			parent := trace[sp.ParentID]
			if sp.ParentID != "" && parent == nil {
				t.Fatalf("%s has no parent", sp.Name)
			}
			if parent != nil && parent.Start.After(sp.Start) != (sp.Resource.Host == skewedHost && parent.Resource.Host != skewedHost) {
				t.Fatalf("%s on %s begins at %s, its parent at %s", sp.Name, sp.Resource.Host, sp.Start, parent.Start)
			}
		}
	}
	var ids []string
	for _, f := range s.Truth.Faults {
		ids = append(ids, f.ID)
		for _, fact := range f.Facts {
			if _, err := regexp.Compile(fact.Pattern); err != nil {
				t.Errorf("%s, %s: %v", f.ID, fact.Name, err)
			}
		}
		if !f.Start.Before(f.End) || f.Symptom == "" || f.Cause == "" || len(f.Services) == 0 {
			t.Errorf("%s is incomplete: %+v", f.ID, f)
		}
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 8 {
		t.Errorf("faults: %q", ids)
	}
}
