package login

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/web"
)

// Limits of guessing. Nobody is ever locked out: each limit only delays, and
// the one that strangers can trip for a victim delays little.
const (
	// pairFailures is how often one address may fail for one account.
	pairFailures = 5
	// addressFailures is how often one address may fail for any accounts: an
	// office behind one address mistypes more often than a person.
	addressFailures = 20
	// accountFailures is how often all addresses together may fail for one
	// account.
	accountFailures = 50
	// maxDelay bounds the delay of an address, maxAccountDelay that of an
	// account, which anybody can cause.
	maxDelay        = 15 * time.Minute
	maxAccountDelay = 30 * time.Second
	// forgetAfter is how long a failure counts; longer than any delay.
	forgetAfter = time.Hour
	// maxThrottled bounds each kind of entry: 10,000 are about 2 MB.
	maxThrottled = 10_000
)

// throttle counts failed sign-ins in memory. It is safe for concurrent use.
type throttle struct {
	now func() time.Time

	mu       sync.Mutex // guards all below
	pairs    tally[[sha256.Size]byte]
	address  tally[string]
	accounts tally[[sha256.Size]byte]
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		now:      now,
		pairs:    tally[[sha256.Size]byte]{free: pairFailures, longest: maxDelay},
		address:  tally[string]{free: addressFailures, longest: maxDelay},
		accounts: tally[[sha256.Size]byte]{free: accountFailures, longest: maxAccountDelay},
	}
}

// Limits of guessing codes, by those who know the password: a stranger cannot
// trip them for a victim, so they may delay more. That leaves 300 guesses a
// day. Of a million codes three are good at a time for each app, so the chance
// is one in a thousand a day, and every guess is in the audit log.
const (
	secondAccountFailures = 10
	maxSecondDelay        = 5 * time.Minute
)

func newSecondThrottle(now func() time.Time) *throttle {
	t := newThrottle(now)
	t.accounts.free, t.accounts.longest = secondAccountFailures, maxSecondDelay
	return t
}

// attempt is a sign-in that may go ahead.
type attempt struct {
	account, pair [sha256.Size]byte
	address       string
}

// begin asks whether an attempt may go ahead. It counts as a failure from
// now on, so that many at once are no way around the count; succeeded takes
// it back. wait is how long to wait where it may not go ahead.
func (t *throttle) begin(email string, from netip.Addr) (a attempt, wait time.Duration) {
	key := web.AddressKey(from)
	a = attempt{account: sha256.Sum256([]byte(email)), pair: sha256.Sum256([]byte(email + "\x00" + key)), address: key}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = max(t.pairs.wait(a.pair, now), t.address.wait(a.address, now), t.accounts.wait(a.account, now))
	if wait > 0 {
		return a, wait
	}
	t.pairs.fail(a.pair, now)
	t.address.fail(a.address, now)
	t.accounts.fail(a.account, now)
	return a, 0
}

// succeeded forgets the failures of the pair and takes back that of this
// attempt for the others: somebody who knows one password must not be able to
// clear an address for guessing at others.
func (t *throttle) succeeded(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pairs.forget(a.pair)
	t.address.takeBack(a.address)
	t.accounts.takeBack(a.account)
}

// tally counts failures by key.
type tally[K comparable] struct {
	free    int
	longest time.Duration
	entries map[K]*failures
}

type failures struct {
	count int
	last  time.Time
	// until is when the next attempt may go ahead.
	until time.Time
}

func (t *tally[K]) wait(k K, now time.Time) time.Duration {
	f, ok := t.entries[k]
	if !ok {
		return 0
	}
	// A clock that was set back must not make anybody wait longer.
	return min(max(0, f.until.Sub(now)), t.longest)
}

func (t *tally[K]) fail(k K, now time.Time) {
	f, ok := t.entries[k]
	if !ok {
		t.makeRoom(now)
		f = new(failures)
		t.entries[k] = f
	}
	if now.Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.count++
	f.last = now
	f.until = now.Add(t.delay(f.count))
}

// delay is 1 s after the first failure too many and doubles with each.
func (t *tally[K]) delay(count int) time.Duration {
	over := count - t.free
	switch {
	case over < 0:
		return 0
	case over > 20:
		return t.longest
	}
	return min(time.Second<<over, t.longest)
}

func (t *tally[K]) forget(k K) { delete(t.entries, k) }

func (t *tally[K]) takeBack(k K) {
	if f, ok := t.entries[k]; ok {
		f.count--
		f.until = time.Time{}
		if f.count <= 0 {
			delete(t.entries, k)
		}
	}
}

// makeRoom drops what no longer counts, and if that is not enough the tenth
// that failed longest ago.
func (t *tally[K]) makeRoom(now time.Time) {
	if t.entries == nil {
		t.entries = make(map[K]*failures)
	}
	if len(t.entries) < maxThrottled {
		return
	}
	maps.DeleteFunc(t.entries, func(_ K, f *failures) bool { return now.Sub(f.last) > forgetAfter })
	if len(t.entries) < maxThrottled {
		return
	}
	byAge := slices.SortedFunc(maps.Keys(t.entries), func(a, b K) int {
		return cmp.Compare(t.entries[a].last.UnixNano(), t.entries[b].last.UnixNano())
	})
	for _, k := range byAge[:maxThrottled/10] {
		delete(t.entries, k)
	}
}
