package faults

import (
	"context"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/test/testenv"
)

var (
	duration = flag.Duration("faults.time", 20*time.Second, "how long to load and break")
	seed     = flag.Uint64("faults.seed", 0, "of the load and the faults; 0 for another one each time")
)

const (
	replicas = 3
	workers  = 6
	// bound is how long a replica decides without having heard from the
	// database (access.Config.StaleAfter).
	bound = 5 * time.Second
	// recovery is how long after the last fault every client works again. A
	// connection that was swallowed may take the store's 15 seconds.
	recovery = 20 * time.Second
)

// breakage is something that goes wrong, and is put right again.
type breakage struct {
	name string
	// hold is how long it lasts, at the least and at the most.
	least, most time.Duration
	wrong       func(i int)
	right       func(i int)
}

// TestFaults: whatever is killed and cut off, no promise is broken.
func TestFaults(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-faults.seed=%d -faults.time=%s", *seed, *duration)
	random := mathrand.New(mathrand.NewPCG(*seed, 1<<32))

	database := pgtest.NewMortal(t)
	direct := database.Empty(t)
	cuts := make([]*testenv.Cut, replicas)
	addresses := make([]string, replicas)
	for i := range cuts {
		cuts[i] = testenv.NewCut(t, database.Socket())
		var err error
		if addresses[i], err = cuts[i].Address(direct); err != nil {
			t.Fatal(err)
		}
	}
	r := testenv.StartReplicasOn(t, direct, addresses)
	r.AddTeam(team, "Shop")
	s := &site{recorder: &recorder{start: time.Now()}, r: r, mcp: r.MCPURL()}
	for _, o := range r.Each {
		s.urls = append(s.urls, o.URL)
	}
	loaded := make([]*worker, workers)
	for n := range loaded {
		loaded[n] = newWorker(s, n, *seed)
		r.AddPerson(loaded[n].email, "Somebody")
		r.SetMember(team, loaded[n].email, "viewer")
	}

	breakages := []breakage{
		{"kill a replica", 100 * time.Millisecond, time.Second, func(i int) { r.Each[i].Kill() }, func(i int) { r.Each[i].Start() }},
		{"kill PostgreSQL", 100 * time.Millisecond, 3 * time.Second, func(int) { database.Kill(t) }, func(int) { database.Start(t) }},
		{"swallow", bound, 2 * bound, func(i int) { cuts[i].Swallow() }, func(i int) { cuts[i].Mend() }},
		{"swallow and forget", bound, 2 * bound, func(i int) { cuts[i].Swallow() }, func(i int) { cuts[i].MendAnew() }},
		{"reset", time.Second, 2 * bound, func(i int) { cuts[i].Reset() }, func(i int) { cuts[i].Mend() }},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	for _, w := range loaded {
		all.Go(func() { w.run(ctx) })
	}
	defer all.Wait()
	defer stop()

	counts := make(map[string]int)
	var lifted time.Duration
	kinds := []Kind{SignIn, Redeem, Refresh, Call}
	var recoveries []time.Duration
	end := time.Now().Add(*duration)
	for {
		order := random.Perm(len(breakages))
		for _, n := range order {
			if !time.Now().Before(end) {
				break
			}
			b := breakages[n]
			i := random.IntN(replicas)
			wait(ctx, time.Duration(random.Int64N(int64(2*time.Second))))
			t.Logf("%s: %s (replica %d)", s.now().Round(time.Millisecond), b.name, i)
			b.wrong(i)
			counts[b.name]++
			wait(ctx, b.least+time.Duration(random.Int64N(int64(b.most-b.least))))
			b.right(i)
			lifted = s.now()
			recoveries = append(recoveries, lifted)
			t.Logf("%s: lifted", lifted.Round(time.Millisecond))
		}
		if !time.Now().Before(end) {
			break
		}
	}
	// The clients go on until each has come back, or has had its time.
	for deadline := time.Now().Add(recovery + time.Second); time.Now().Before(deadline); {
		s.mu.Lock()
		events := slices.Clone(s.events)
		s.mu.Unlock()
		if slices.Max(Recovery(events, lifted, workers, kinds)) != never {
			break
		}
		wait(ctx, 200*time.Millisecond)
	}
	for i, u := range s.urls {
		testenv.Within(t, recovery, fmt.Sprintf("replica %d is ready", i), func() error {
			resp, err := http.Get(u + "/readyz")
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s", resp.Status)
			}
			return nil
		})
	}
	stop()
	all.Wait()

	report(t, s.events, counts, recoveries)
	for i, v := range Check(s.events, Rules{
		Bound: bound, CodeRetry: 5 * time.Second, CodeLife: time.Minute,
		Healed: lifted, Recovery: recovery, Recovers: kinds, Workers: workers,
	}) {
		if i == 20 {
			t.Error("… and more")
			break
		}
		t.Error(v)
	}
}

// report prints the figures of a run.
func report(t *testing.T, events []Event, faults map[string]int, lifted []time.Duration) {
	t.Helper()
	table := make(map[Kind]map[Outcome]int)
	for _, e := range events {
		if table[e.Kind] == nil {
			table[e.Kind] = make(map[Outcome]int)
		}
		table[e.Kind][e.Outcome]++
	}
	for _, k := range []Kind{SignIn, Redeem, Refresh, Call, Revoke, Disable, Enable} {
		t.Logf("%-8s %v", k, table[k])
	}
	t.Logf("%d operations, faults %v", len(events), faults)
	t.Logf("the latest success after an acknowledged revocation began %s after it", WorstRevocation(events))
	// How long until each client's next successful call after each fault.
	var took []time.Duration
	for _, at := range lifted {
		for _, d := range Recovery(events, at, workers, []Kind{Call}) {
			if d != never {
				took = append(took, d)
			}
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		t.Logf("from a fault's end to a client's next good call: median %s, p99 %s, at the most %s", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	}
}
