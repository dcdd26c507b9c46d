package web

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimited bounds the remembered keys of a Limiter: about 10 MB.
const maxLimited = 50_000

// Limiter counts events by key and says when one comes too fast. Keys that
// were quiet for long are forgotten, and so are the oldest when there are too
// many. It is safe for concurrent use.
type Limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu sync.Mutex // guards both
	// Keys live in young until it is full, then in old until it is full
	// again: the least recently used half goes at once.
	young, old map[string]*rate.Limiter
}

// NewLimiter lets burst events of a key happen at once and perSecond ever
// after.
func NewLimiter(perSecond float64, burst int, now func() time.Time) *Limiter {
	return &Limiter{rate: rate.Limit(perSecond), burst: burst, now: now, young: make(map[string]*rate.Limiter)}
}

// Take counts an event and returns 0, or how long to wait until one may
// happen, which then does not count.
func (l *Limiter) Take(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.young[key]
	if !ok {
		if b, ok = l.old[key]; !ok {
			b = rate.NewLimiter(l.rate, l.burst)
		}
		if len(l.young) >= maxLimited/2 {
			l.old, l.young = l.young, make(map[string]*rate.Limiter)
		}
		l.young[key] = b
	}
	now := l.now()
	r := b.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// Limited holds a handler to a rate per address. This computer itself is not
// held to it: behind a proxy that is not said to be one (TrustedProxies) all
// the world seems to come from there.
func (s *Site) Limited(l *Limiter, h HandlerFunc) HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if wait := s.TakeAddress(l, r); wait > 0 {
			return TooFast(wait)
		}
		return h(w, r)
	}
}

// TakeAddress counts an event of the request's address, see Limiter.Take and
// Limited.
func (s *Site) TakeAddress(l *Limiter, r *http.Request) time.Duration {
	a := s.ClientAddress(r)
	if a.IsLoopback() {
		return 0
	}
	return l.Take(AddressKey(a))
}

// TooFast is the answer to who must wait (RFC 6585 §4).
func TooFast(wait time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, RetryAfter: wait,
		Public: "There were too many requests from your address.", Next: "Wait a moment and try again.",
	}
}

// ClientAddress returns the address the request came from, the zero Addr if
// it cannot be read. What trusted proxies say counts: the last address in
// X-Forwarded-For that is not one of theirs.
func (s *Site) ClientAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if !s.trusts(a) {
		return a
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			return a // what stands to the left of rubbish is anybody's word
		}
		if a = hop; !s.trusts(a) {
			break
		}
	}
	return a
}

// parseHop reads an entry of X-Forwarded-For: some proxies add a port.
func parseHop(text string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), nil
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err
}

func (s *Site) trusts(a netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
