package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/store"
)

const (
	// sample is how many grants are looked at one by one.
	sample = 2000
	// hotChecks is how often a token that is known is checked.
	hotChecks = 400_000
	// revocations is how many grants are ended one by one.
	revocations = 200
	// workers is how many clients refresh at once.
	workers = 32
)

// times are durations, in order once quantile was called.
type times []time.Duration

func (t times) quantile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	slices.Sort(t)
	return t[min(int(q*float64(len(t))), len(t)-1)]
}

// clock is one that can be turned.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// replica is what a process has of the store: its own connections, keys and
// gate.
type replica struct {
	db        *store.DB
	gate      *access.Gate
	authority *grant.Authority
	stop      func() error
}

func startReplica(ctx context.Context, w place, master grant.MasterKey, issuer string, now func() time.Time) (*replica, error) {
	db, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := grant.OpenKeyring(ctx, db, master, now)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	authority, err := grant.New(grant.Config{Store: db, Keys: keys, Master: master, Issuer: issuer, Lifetimes: grant.DefaultLifetimes(), Now: now})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	gate, err := access.NewGate(ctx, access.Config{
		Source: db, Keys: keys, Issuer: issuer, Now: now, Lifetimes: grant.DefaultLifetimes(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { gate.Run(running) })
	return &replica{db: db, gate: gate, authority: authority, stop: func() error {
		stop()
		wg.Wait()
		return db.Close()
	}}, nil
}

// figures are what was measured at one number of grants.
type figures struct {
	grants             int
	load               time.Duration
	size               int64
	open               time.Duration
	refresh, cold, hot times
	sweep              time.Duration
	ready              time.Duration // of the built program; 0 where it was not started
	resident           int64
	perConnection      int64 // bytes of heap
	inUse              int
	revoke, spread     times
	small, large       int
	smallTook          time.Duration
	largeTook          time.Duration
	largeRefused       time.Duration
	waited             times // refreshes of others meanwhile
	hourEnd, hourBack  time.Duration
	ownList            times
	residentAfter      int64
	served             int
	servedRefresh      times
	servedCall         times
}

// world is a loaded store with three replicas on it.
type world struct {
	place    place
	who      population
	master   grant.MasterKey
	issuer   string
	clock    clock
	at       spec.Resource
	replicas []*replica

	mu sync.Mutex // guards all below
	// newest are the refresh tokens of grants that have been refreshed, ended
	// the grants that have ended one by one.
	newest map[int]grant.RefreshToken
	ended  map[int]bool
}

func (w *world) start(ctx context.Context, n int) (time.Duration, error) {
	var first time.Duration
	for i := range n {
		began := time.Now()
		r, err := startReplica(ctx, w.place, w.master, w.issuer, w.clock.now)
		if err != nil {
			return 0, errors.Join(err, w.stop())
		}
		if i == 0 {
			first = time.Since(began)
		}
		w.replicas = append(w.replicas, r)
	}
	return first, nil
}

func (w *world) stop() error {
	var errs []error
	for _, r := range w.replicas {
		errs = append(errs, r.stop())
	}
	w.replicas = nil
	return errors.Join(errs...)
}

func (w *world) refresh(ctx context.Context, n int) (grant.Tokens, error) {
	t, err := w.replicas[0].authority.Refresh(ctx, grant.RefreshRequest{Token: w.token(n), Client: w.who.client(w.who.app(n)).ID})
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.newest[n] = t.Refresh
	}
	return t, err
}

// token is the newest refresh token of a grant.
func (w *world) token(n int) grant.RefreshToken {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.newest[n]; ok {
		return t
	}
	return w.who.refreshToken(w.master, n)
}

// pick returns n different grants of those below size whose app is the one
// (or any, for -1), by chance and the same in every run.
func (w *world) pick(n, size, app int, salt uint64) []int {
	r := rand.New(rand.NewPCG(w.who.seed, salt))
	seen, out := make(map[int]bool), make([]int, 0, n)
	for tries := 0; len(out) < n && tries < 1000*n; tries++ {
		g := r.IntN(size)
		is := w.who.app(g)
		if !seen[g] && !w.ended[g] && (is == app || app < 0 && is != smallApp && is != largeApp) {
			seen[g] = true
			out = append(out, g)
		}
	}
	return out
}

// each measures what holds at every size: refresh, first and further checks.
func (w *world) each(ctx context.Context, f *figures, salt uint64) ([]grant.Tokens, error) {
	gate := w.replicas[0].gate
	picked := w.pick(min(sample, f.grants/10), f.grants, -1, salt)
	tokens := make([]grant.Tokens, len(picked))
	for i, n := range picked {
		began := time.Now()
		t, err := w.refresh(ctx, n)
		if err != nil {
			return nil, err
		}
		f.refresh = append(f.refresh, time.Since(began))
		tokens[i] = t
	}
	for _, t := range tokens {
		began := time.Now()
		if _, err := gate.Check(ctx, t.Access, w.at); err != nil {
			return nil, err
		}
		f.cold = append(f.cold, time.Since(began))
	}
	f.hot = make(times, 0, hotChecks)
	for i := range hotChecks {
		began := time.Now()
		if _, err := gate.Check(ctx, tokens[i%len(tokens)].Access, w.at); err != nil {
			return nil, err
		}
		f.hot = append(f.hot, time.Since(began))
	}
	for _, n := range picked[:min(len(picked), 100)] {
		began := time.Now()
		person := w.who.grantPerson(n)
		list, err := w.replicas[0].authority.Connections(ctx, grant.ConnectionFilter{Person: person})
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("person %s has no connection", person)
		}
		f.ownList = append(f.ownList, time.Since(began))
	}
	began := time.Now()
	if err := w.replicas[0].db.SweepGrants(ctx, w.clock.now().Add(-7*24*time.Hour), grant.DefaultLifetimes()); err != nil {
		return nil, err
	}
	f.sweep = time.Since(began)
	return tokens, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// many refreshes grants by several clients at once.
func (w *world) many(ctx context.Context, picked []int) ([]grant.Tokens, error) {
	tokens, errs := make([]grant.Tokens, len(picked)), make([]error, len(picked))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(picked) {
					return
				}
				tokens[i], errs[i] = w.refresh(ctx, picked[i])
			}
		})
	}
	wg.Wait()
	return tokens, errors.Join(errs...)
}

// inUse measures memory for each connection, and what the hour does to them.
func (w *world) inUse(ctx context.Context, f *figures, connections int) error {
	picked := w.pick(connections, f.grants, -1, 77)
	tokens, err := w.many(ctx, picked)
	if err != nil {
		return err
	}
	gate := w.replicas[1%len(w.replicas)].gate // one that has seen none of them
	var ended sync.WaitGroup
	stops := make([]func(), 0, len(tokens))
	before := heap()
	for _, t := range tokens {
		c, err := gate.Check(ctx, t.Access, w.at)
		if err != nil {
			return err
		}
		watched, stop := gate.Watch(ctx, c)
		stops = append(stops, stop)
		ended.Add(1)
		context.AfterFunc(watched, ended.Done)
	}
	f.inUse = len(tokens)
	f.perConnection = (heap() - before) / int64(len(tokens))

	// The full hour: every token and every stream ends at once.
	now := w.clock.now()
	w.clock.offset.Add(int64(grant.NextHour(now).Sub(now)))
	began := time.Now()
	ended.Wait()
	f.hourEnd = time.Since(began)
	for _, stop := range stops {
		stop()
	}
	var refused *access.RefusedError
	for _, t := range tokens {
		if _, err := gate.Check(ctx, t.Access, w.at); !errors.As(err, &refused) {
			return fmt.Errorf("a token after its hour: %v", err)
		}
	}
	began = time.Now()
	if _, err := w.many(ctx, picked); err != nil {
		return err
	}
	f.hourBack = time.Since(began)
	runtime.KeepAlive(tokens)
	return nil
}

// refusedBy waits until a gate refuses a token and returns when.
func (w *world) refusedBy(ctx context.Context, r *replica, t grant.AccessToken) (time.Time, error) {
	var refused *access.RefusedError
	for {
		_, err := r.gate.Check(ctx, t, w.at)
		if errors.As(err, &refused) {
			return time.Now(), nil
		}
		if err != nil {
			return time.Time{}, err
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// everywhere waits until all replicas refuse a token.
func (w *world) everywhere(ctx context.Context, t grant.AccessToken) (last time.Time, err error) {
	ats, errs := make([]time.Time, len(w.replicas)), make([]error, len(w.replicas))
	var wg sync.WaitGroup
	for i, r := range w.replicas {
		wg.Go(func() { ats[i], errs[i] = w.refusedBy(ctx, r, t) })
	}
	wg.Wait()
	return slices.MaxFunc(ats, time.Time.Compare), errors.Join(errs...)
}

// revoke ends grants one by one, then all of a small and of a large app.
func (w *world) revoke(ctx context.Context, f *figures) error {
	first := w.replicas[0]
	by := audit.System()
	picked := w.pick(min(revocations, f.grants/20), f.grants, -1, 99)
	tokens, err := w.many(ctx, picked)
	if err != nil {
		return err
	}
	for i, t := range tokens {
		for _, r := range w.replicas {
			if _, err := r.gate.Check(ctx, t.Access, w.at); err != nil {
				return err
			}
		}
		began := time.Now()
		if err := first.authority.EndGrant(ctx, grant.ID(letters(w.who.id("grant", picked[i]))), "simulated", by); err != nil {
			return err
		}
		committed := time.Now()
		w.ended[picked[i]] = true
		last, err := w.everywhere(ctx, t.Access)
		if err != nil {
			return err
		}
		f.revoke, f.spread = append(f.revoke, committed.Sub(began)), append(f.spread, max(0, last.Sub(committed)))
	}
	if f.small, f.smallTook, _, err = w.revokeApp(ctx, f, smallApp); err != nil {
		return err
	}
	// Others go on refreshing meanwhile.
	others := w.pick(sample, f.grants, -1, 111)
	meanwhile, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var waitErr error
	wg.Go(func() {
		for _, n := range others {
			if meanwhile.Err() != nil {
				return
			}
			began := time.Now()
			if _, err := w.refresh(ctx, n); err != nil {
				var ended *grant.EndedError
				if !errors.As(err, &ended) && waitErr == nil {
					waitErr = err
				}
			}
			f.waited = append(f.waited, time.Since(began))
			time.Sleep(5 * time.Millisecond)
		}
	})
	f.large, f.largeTook, f.largeRefused, err = w.revokeApp(ctx, f, largeApp)
	stop()
	wg.Wait()
	return errors.Join(err, waitErr)
}

func (w *world) revokeApp(ctx context.Context, f *figures, app int) (n int, took, refused time.Duration, err error) {
	client := w.who.client(app)
	tokens, err := w.many(ctx, w.pick(min(20, f.grants/smallEvery), f.grants, app, 5))
	if err != nil {
		return 0, 0, 0, err
	}
	first := w.replicas[0]
	for _, t := range tokens {
		for _, r := range w.replicas {
			if _, err := r.gate.Check(ctx, t.Access, w.at); err != nil {
				return 0, 0, 0, err
			}
		}
	}
	began := time.Now()
	integration := grant.Integration{Product: client.Product()}
	n, err = first.authority.RevokeIntegration(ctx, integration, audit.System())
	took = time.Since(began)
	if err != nil {
		return n, took, 0, fmt.Errorf("revoke %s: %w", client.Product(), err)
	}
	for _, t := range tokens {
		last, err := w.everywhere(ctx, t.Access)
		if err != nil {
			return n, took, 0, err
		}
		refused = max(refused, last.Sub(began))
	}
	return n, took, refused, nil
}

func fileSize(path string) (int64, error) {
	var n int64
	for _, end := range []string{"", "-wal"} {
		info, err := os.Stat(path + end)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
}
