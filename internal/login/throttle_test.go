package login

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	home  = netip.MustParseAddr("192.0.2.1")
	start = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
)

func TestThrottlePair(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	for i := range pairFailures {
		if _, wait := th.begin("ada@example.com", home); wait != 0 {
			t.Fatalf("attempt %d waits %s", i+1, wait)
		}
	}
	for _, want := range []time.Duration{
		time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second,
		128 * time.Second, 256 * time.Second, 512 * time.Second, maxDelay, maxDelay,
	} {
		_, wait := th.begin("ada@example.com", home)
		if wait != want {
			t.Fatalf("waits %s, want %s", wait, want)
		}
		// Knocking while one waits makes it no longer.
		if _, wait := th.begin("ada@example.com", home); wait != want {
			t.Fatalf("second knock waits %s, want %s", wait, want)
		}
		now = now.Add(wait)
		if _, wait := th.begin("ada@example.com", home); wait != 0 {
			t.Fatalf("still waits %s", wait)
		}
	}
	// The account itself is not locked for its owner elsewhere.
	if _, wait := th.begin("ada@example.com", netip.MustParseAddr("198.51.100.7")); wait != 0 {
		t.Errorf("elsewhere waits %s", wait)
	}
	now = now.Add(forgetAfter + time.Second)
	if _, wait := th.begin("ada@example.com", home); wait != 0 {
		t.Errorf("an hour later waits %s", wait)
	}
	if _, wait := th.begin("ada@example.com", home); wait != 0 {
		t.Errorf("an hour later the second waits %s", wait)
	}
}

func TestThrottleSuccessForgets(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	for range 100 {
		a, wait := th.begin("ada@example.com", home)
		if wait != 0 {
			t.Fatalf("waits %s", wait)
		}
		th.succeeded(a)
	}
	for range pairFailures - 1 {
		th.begin("ada@example.com", home)
	}
	a, _ := th.begin("ada@example.com", home)
	th.succeeded(a)
	for i := range pairFailures {
		if _, wait := th.begin("ada@example.com", home); wait != 0 {
			t.Fatalf("attempt %d after a success waits %s", i+1, wait)
		}
	}
}

// TestThrottleSuccessIsNoAlibi: one's own password does not clear an address
// for guessing at others.
func TestThrottleSuccessIsNoAlibi(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	for i := range 10 * addressFailures {
		if _, wait := th.begin(fmt.Sprintf("victim%d@example.com", i), home); wait != 0 {
			if i != addressFailures {
				t.Errorf("waits after %d failures, want %d", i, addressFailures)
			}
			return
		}
		a, wait := th.begin("mallory@example.com", home)
		if wait == 0 {
			th.succeeded(a)
		}
	}
	t.Error("an address that fails for others now and then guesses for ever")
}

func TestThrottleAddressIsA64(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	addr := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1)) }
	for i := range addressFailures {
		if _, wait := th.begin(fmt.Sprintf("p%d@example.com", i), addr(i)); wait != 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
	}
	if _, wait := th.begin("x@example.com", addr(1000)); wait != time.Second {
		t.Errorf("another address of the same /64 waits %s", wait)
	}
	if _, wait := th.begin("x@example.com", netip.MustParseAddr("2001:db8:1:3::1")); wait != 0 {
		t.Errorf("another /64 waits %s", wait)
	}
}

// TestThrottleNoLockOut: strangers all over the world can delay a victim by 30
// seconds at the most.
func TestThrottleNoLockOut(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	var longest time.Duration
	for i := range 3000 {
		_, wait := th.begin("ada@example.com", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		longest = max(longest, wait)
		now = now.Add(wait)
	}
	if longest != maxAccountDelay {
		t.Errorf("longest delay %s, want %s", longest, maxAccountDelay)
	}
}

// TestThrottleCountsAtOnce: attempts under way count before they have failed.
func TestThrottleCountsAtOnce(t *testing.T) {
	th := newThrottle(func() time.Time { return start })
	passed := 0
	for range 1000 {
		if _, wait := th.begin("ada@example.com", home); wait == 0 {
			passed++
		}
	}
	if passed != pairFailures {
		t.Errorf("%d attempts at once, want %d", passed, pairFailures)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	for i := range 3 * maxThrottled {
		th.begin(fmt.Sprintf("p%d@example.com", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		now = now.Add(time.Millisecond)
	}
	if n := max(len(th.pairs.entries), len(th.address.entries), len(th.accounts.entries)); n > maxThrottled {
		t.Errorf("%d entries", n)
	}
}

func TestThrottleClockSetBack(t *testing.T) {
	now := start
	th := newThrottle(func() time.Time { return now })
	for range pairFailures {
		th.begin("ada@example.com", home)
	}
	now = now.Add(-24 * time.Hour)
	if _, wait := th.begin("ada@example.com", home); wait > maxDelay {
		t.Errorf("waits %s", wait)
	}
}
