package clientdoc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	// failureAge is for how long a failure is remembered: strangers cannot
	// make us ask one host more often than this.
	failureAge = 30 * time.Second

	// maxStale is for how long a last good copy is served when its host fails
	// or sends rubbish.
	maxStale = 7 * 24 * time.Hour

	// maxHeld bounds the documents, and again the failures, that are kept in
	// memory: 256 × 64 KiB at worst.
	maxHeld = 256

	// newPerMinute bounds how many documents that we have no copy of are
	// fetched, newBurst how many at once, and newPerSite how many of one
	// registrable domain: names below it cost nothing. Those that we have a
	// copy of count apart, so that a flood of new ones cannot starve them.
	newPerMinute   = 60
	newBurst       = 20
	newPerSite     = 10
	knownPerMinute = 240
	knownBurst     = 60
	// maxSites bounds the sites that are counted apart.
	maxSites = 1024
)

// held is a good copy in memory.
type held[T any] struct {
	value T
	copy  Copy
	used  time.Time
}

// failure is a refused fetch in memory.
type failure struct {
	err   *Error
	until time.Time
}

// cache fetches and keeps one kind of document.
type cache[T any] struct {
	fetcher *fetcher
	budget  *budget
	now     func() time.Time
	// parse reads a body. Errors: *Error.
	parse func(url string, body []byte) (T, error)
	// load returns the stored copy, nil for none; save stores one. They may
	// be nil.
	load func(ctx context.Context, url string) (*Copy, error)
	save func(ctx context.Context, have *Copy, c Copy) error
	// refused reports a fetch that was refused, once per fetch.
	refused func(ctx context.Context, err *Error)
	// wellKnown says that a URL counts as known without a copy.
	wellKnown func(url string) bool

	flights singleflight.Group

	mu       sync.Mutex // guards good and failures
	good     map[string]held[T]
	failures map[string]failure
}

// result is what a flight brings home.
type result[T any] struct {
	held[T]
	// err is why the newest fetch gave nothing; held is then the last good
	// copy, if it has one.
	err *Error
}

// get returns a document and, where the newest fetch was refused, why: the
// document is then the last good copy, or has no URL. With renew it asks the
// host even if the copy is fresh, unless it was asked just now. The error is
// our own fault.
func (c *cache[T]) get(ctx context.Context, url string, renew bool) (result[T], error) {
	if r, ok := c.recall(url, renew); ok {
		return r, nil
	}
	key := url
	if renew {
		key = "renew " + url
	}
	// The flight is everybody's who asks for the URL: one who gives up must
	// not end it for the others. The fetch has its own time-out.
	flight := c.flights.DoChan(key, func() (any, error) { return c.fly(context.WithoutCancel(ctx), url, renew) })
	select {
	case <-ctx.Done():
		return result[T]{}, fmt.Errorf("wait for client document: %w", ctx.Err())
	case r := <-flight:
		if r.Err != nil {
			return result[T]{}, r.Err
		}
		return r.Val.(result[T]), nil
	}
}

// recall answers from memory.
func (c *cache[T]) recall(url string, renew bool) (result[T], bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	h, has := c.good[url]
	if has {
		h.used = now
		c.good[url] = h
	}
	f, failed := c.failures[url]
	switch {
	case failed && now.Before(f.until):
		if has && now.Before(h.copy.FreshUntil) {
			return result[T]{held: h}, true
		}
		return result[T]{h.servable(now), f.err}, true
	case !has:
		return result[T]{}, false
	case renew:
		return result[T]{held: h}, now.Before(h.copy.FetchedAt.Add(failureAge))
	}
	return result[T]{held: h}, now.Before(h.copy.FreshUntil)
}

// servable returns the copy if it may still stand in for a failing host.
func (h held[T]) servable(now time.Time) held[T] {
	if h.copy.URL == "" || now.After(h.copy.FetchedAt.Add(maxStale)) {
		return held[T]{}
	}
	return h
}

// fly looks in the store and then asks the host. It runs outside of any
// request, so a panic over a stranger's document must end here: nobody else
// would catch it before it ends the process.
func (c *cache[T]) fly(ctx context.Context, url string, renew bool) (_ result[T], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic over client document %s: %v", clip(url), v)
		}
	}()
	if r, ok := c.recall(url, renew); ok { // somebody else just landed
		return r, nil
	}
	c.mu.Lock()
	h, has := c.good[url]
	c.mu.Unlock()
	if !has && c.load != nil {
		stored, err := c.load(ctx, url)
		if err != nil {
			return result[T]{}, fmt.Errorf("read stored client document: %w", err)
		}
		// A stored copy that our rules no longer accept is none.
		if stored != nil {
			if v, err := c.parse(url, stored.Body); err == nil {
				h, has = held[T]{v, *stored, c.now()}, true
				c.keep(url, h)
				if r, ok := c.recall(url, renew); ok {
					return r, nil
				}
			}
		}
	}
	fresh, err := c.ask(ctx, url, h, has)
	if refused, ok := errors.AsType[*Error](err); ok {
		if refused.Reason == ReasonGone {
			h = held[T]{} // the host says so: this is no failure to bridge
			c.mu.Lock()
			delete(c.good, url)
			c.mu.Unlock()
		}
		return result[T]{h.servable(c.now()), refused}, nil
	}
	return result[T]{held: fresh}, err
}

// ask fetches. Errors: *Error, or our own fault.
func (c *cache[T]) ask(ctx context.Context, url string, have held[T], has bool) (held[T], error) {
	now := c.now()
	if !c.budget.take(url, has || c.wellKnown(url), now) {
		// Not remembered and not reported: this is about us, not the URL.
		return held[T]{}, &Error{URL: url, Reason: ReasonBusy, Cause: errors.New("too many fetches per minute"), RetryAfter: time.Minute}
	}
	got, err := c.fetcher.fetch(ctx, url, have.copy)
	var v T
	if err == nil {
		v, err = c.parse(url, got.Body)
	}
	if err != nil {
		refused, ok := errors.AsType[*Error](err)
		if !ok {
			return held[T]{}, err
		}
		refused.RetryAfter = failureAge
		c.refused(ctx, refused)
		c.fail(url, refused)
		return held[T]{}, refused
	}
	h := held[T]{v, got, c.now()}
	if c.save != nil {
		var before *Copy
		if has {
			before = &have.copy
		}
		if err := c.save(ctx, before, got); err != nil {
			return held[T]{}, fmt.Errorf("store client document: %w", err)
		}
	}
	c.keep(url, h)
	return h, nil
}

func (c *cache[T]) keep(url string, h held[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good == nil {
		c.good = make(map[string]held[T])
	}
	if _, has := c.good[url]; !has && len(c.good) >= maxHeld {
		// The one that was not asked for the longest goes: it is stored, or
		// can be fetched again.
		var oldest string
		for u, g := range c.good {
			if oldest == "" || g.used.Before(c.good[oldest].used) {
				oldest = u
			}
		}
		delete(c.good, oldest)
	}
	c.good[url] = h
	delete(c.failures, url)
}

func (c *cache[T]) fail(url string, err *Error) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = make(map[string]failure)
	}
	if len(c.failures) >= maxHeld {
		var soonest string
		for u, f := range c.failures {
			if soonest == "" || f.until.Before(c.failures[soonest].until) {
				soonest = u
			}
		}
		delete(c.failures, soonest)
	}
	c.failures[url] = failure{err, now.Add(failureAge)}
}

// budget bounds how much is fetched. It is safe for concurrent use.
type budget struct {
	mu         sync.Mutex // guards all below
	fresh      *rate.Limiter
	known      *rate.Limiter
	sites      map[string]*rate.Limiter
	sitesSince time.Time
}

func perMinute(n, burst int) *rate.Limiter {
	return rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), burst)
}

func newBudget() *budget {
	return &budget{fresh: perMinute(newPerMinute, newBurst), known: perMinute(knownPerMinute, knownBurst)}
}

// take says whether one more document may be fetched now.
func (b *budget) take(target string, known bool, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known {
		return b.known.AllowN(now, 1)
	}
	site := siteOf(target)
	if b.sites == nil || len(b.sites) >= maxSites || now.Sub(b.sitesSince) > time.Hour {
		b.sites, b.sitesSince = make(map[string]*rate.Limiter), now
	}
	if b.sites[site] == nil {
		b.sites[site] = perMinute(newPerSite, newPerSite)
	}
	return b.sites[site].AllowN(now, 1) && b.fresh.AllowN(now, 1)
}

// siteOf returns the registrable domain of a URL.
func siteOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	site, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname())
	if err != nil {
		return u.Hostname()
	}
	return site
}
