package tools

import (
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/grant/granttest"
)

func TestParseTime(t *testing.T) {
	now := granttest.Start // 2026-11-23T09:20:00Z
	tests := []struct{ text, want string }{
		{"now", "2026-11-23T09:20:00Z"},
		{" NOW ", "2026-11-23T09:20:00Z"},
		{"now-15m", "2026-11-23T09:05:00Z"},
		{"now - 15 min", "2026-11-23T09:05:00Z"},
		{"now-2d", "2026-11-21T09:20:00Z"},
		{"now-1w", "2026-11-16T09:20:00Z"},
		{"now-1h30m", "2026-11-23T07:50:00Z"},
		{"now-1.5h", "2026-11-23T07:50:00Z"},
		{"now-250ms", "2026-11-23T09:19:59.75Z"},
		{"now+1h", "2026-11-23T10:20:00Z"},
		{"-15m", "2026-11-23T09:05:00Z"},
		{"15m", "2026-11-23T09:05:00Z"},
		{"15M", "15M has no unit"},
		{"15m ago", "2026-11-23T09:05:00Z"},
		{"15 minutes ago", "2026-11-23T09:05:00Z"},
		{"2 Days 3 hours ago", "2026-11-21T06:20:00Z"},
		{"2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"},
		{"2026-11-23t09:00:00z", "2026-11-23T09:00:00Z"},
		{"2026-11-23T09:00:00.123456789Z", "2026-11-23T09:00:00.123456789Z"},
		{"2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z"},
		{"2026-11-23 10:00:00 +0100", "2026-11-23T09:00:00Z"},
		{"2026-11-23T10:00+01:00", "2026-11-23T09:00:00Z"},
		{"2026-11-23 09:00:00 UTC", "2026-11-23T09:00:00Z"},
		{"2026-11-23T09:00:00", "2026-11-23T09:00:00Z"},
		{"2026-11-23 09:00:00.5", "2026-11-23T09:00:00.5Z"},
		{"2026-11-23T09:00", "2026-11-23T09:00:00Z"},
		{"2026-11-23", "2026-11-23T00:00:00Z"},
		{"1795424400", "2026-11-23T09:00:00Z"},
		{"1795424400.25", "2026-11-23T09:00:00.25Z"},
		{"1.7954244e9", "2026-11-23T09:00:00Z"},
		{"1795424400123", "2026-11-23T09:00:00.123Z"},
		{"1795424400123456", "2026-11-23T09:00:00.123456Z"},
		{"1795424400123456789", "2026-11-23T09:00:00.123456789Z"},

		{"", `"" is no time`},
		{"yesterday", `"yesterday" is no time`},
		{"now15m", `"now15m" is no time`},
		{"now-15m ago", "is no time"},
		{"+15m", "is no time"},
		{"now-3months", "has no unit"},
		{"now-100000000d", "too long ago"},
		{"now-100y", "has no unit"},
		{"now-60y", "has no unit"},
		{"now-5000w", "outside of the years"},
		{"now+10000w", "outside of the years"},
		{"15", "too small"},
		{"2026", "too small"},
		{"20261123", "too small"},
		{"-1795424400", "is no time"},
		{"99999999999999999999", "too large"},
		{"1e300", "is no time"},
		{"1969-12-31", "outside of the years"},
		{"2200-01-01", "outside of the years"},
		{"2026-13-01", "is no time"},
		{"2026-02-30", "is no time"},
		{"09:00", "is no time"},
		{"23/11/2026", "is no time"},
		{strings.Repeat("9", 65), "is no time"},
	}
	for _, tt := range tests {
		got, _, err := parseTime(tt.text, now)
		if err == nil {
			if exact(got) != tt.want {
				t.Errorf("%q = %s, want %s", tt.text, exact(got), tt.want)
			}
			continue
		}
		if want := strings.TrimPrefix(tt.want, tt.text+" "); !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
		if !strings.Contains(err.Error(), "2026-11-23T09:00:00Z") {
			t.Errorf("%q: the error shows no example: %v", tt.text, err)
		}
	}
}

func TestParseTimeSaysWhatMoves(t *testing.T) {
	for text, want := range map[string]bool{"now": true, "now-1h": true, "15m ago": true, "2026-11-23": false, "1795424400": false} {
		if _, relative, err := parseTime(text, granttest.Start); err != nil || relative != want {
			t.Errorf("%q: relative %v, %v", text, relative, err)
		}
	}
}

// FuzzParseTime holds that an accepted time is within bounds, in UTC, prints to
// a text that is read as the same instant, and moves with the clock exactly
// where it says so.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{
		"now", "now-15m", "-2d", "15m ago", "1h30m", "2026-11-23T09:00:00Z", "2026-11-23 10:00:00 +0100",
		"2026-11-23", "1795424400", "1795424400.25", "1.7e9", "1795424400123456789", "now+1w", "9e99", "0x10", "15mago",
	} {
		f.Add(s)
	}
	now := granttest.Start
	f.Fuzz(func(t *testing.T, s string) {
		got, relative, err := parseTime(s, now)
		if err != nil {
			if _, ok := err.(problem); !ok || len(err.Error()) > 1000 {
				t.Fatalf("%q: error %#v", s, err)
			}
			return
		}
		if got.Before(earliestTime) || !got.Before(latestTime) || got.Location() != time.UTC {
			t.Fatalf("%q = %v", s, got)
		}
		again, moves, err := parseTime(exact(got), now)
		if err != nil || moves || !again.Equal(got) {
			t.Fatalf("%q = %v, which is read as %v, %v", s, got, again, err)
		}
		later, _, err := parseTime(s, now.Add(time.Second))
		if err == nil && later.Equal(got) == relative {
			t.Fatalf("%q: relative %v, but %v a second after %v", s, relative, later, got)
		}
	})
}
