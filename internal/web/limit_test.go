package web

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 20, 0, 0, time.UTC)
	l := NewLimiter(2, 3, func() time.Time { return now })
	take := func(key string, want time.Duration) {
		t.Helper()
		if got := l.Take(key); got != want {
			t.Errorf("%s waits %s, want %s", key, got, want)
		}
	}
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
	take("a", 500*time.Millisecond) // what was refused does not count
	take("b", 0)
	now = now.Add(500 * time.Millisecond)
	take("a", 0)
	take("a", 500*time.Millisecond)
	now = now.Add(time.Hour)
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
}

func TestLimiterForgetsTheOldest(t *testing.T) {
	l := NewLimiter(0.001, 1, time.Now)
	for i := range 3 * maxLimited {
		l.Take(fmt.Sprint(i))
	}
	if n := len(l.young) + len(l.old); n > maxLimited {
		t.Errorf("%d keys are remembered, at most %d should be", n, maxLimited)
	}
	if l.Take(fmt.Sprint(3*maxLimited-1)) == 0 {
		t.Error("the newest key is forgotten")
	}
}

func TestClientAddress(t *testing.T) {
	pages, err := NewPages()
	if err != nil {
		t.Fatal(err)
	}
	site, err := New(Config{
		Pages: pages, Logger: slog.New(slog.DiscardHandler), Now: time.Now, PublicURL: "https://oriel.example",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:9", nil, "192.0.2.1"},
		{"192.0.2.1:9", []string{"203.0.113.5"}, "192.0.2.1"}, // nobody we trust says so
		{"10.0.0.1:9", nil, "10.0.0.1"},
		{"10.0.0.1:9", []string{"203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", []string{"1.1.1.1, 203.0.113.5"}, "203.0.113.5"}, // the left is the client's own word
		{"10.0.0.1:9", []string{"1.1.1.1", "203.0.113.5, 10.0.0.9"}, "203.0.113.5"},
		{"10.0.0.1:9", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:9", []string{"203.0.113.5:4711"}, "203.0.113.5"},
		{"[::1]:9", []string{"2001:db8::7"}, "2001:db8::7"},
		{"[::ffff:10.0.0.1]:9", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", []string{"203.0.113.5, unknown"}, "10.0.0.1"},
		{"10.0.0.1:9", []string{"unknown, 10.0.0.2"}, "10.0.0.2"},
		{"nothing", []string{"203.0.113.5"}, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		for _, f := range tt.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := site.ClientAddress(r).String(); got != tt.want {
			t.Errorf("%s forwarded for %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
