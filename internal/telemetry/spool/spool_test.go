package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/orielhq/oriel/internal/telemetry"
)

// engine is a sink that loses, as real ones do, what it was given when it is
// killed before it had time to write.
type engine struct {
	mu       sync.Mutex // guards the rest
	instance int
	down     bool
	refuse   string
	memory   map[string]time.Time
	written  map[string]bool
	calls    int
}

// writes is how long the engine takes to write.
const writes = 50 * time.Millisecond

func newEngine() *engine {
	return &engine{memory: make(map[string]time.Time), written: make(map[string]bool)}
}

func (e *engine) settle() {
	for k, at := range e.memory {
		if time.Since(at) >= writes {
			e.written[k] = true
		}
	}
}

func (e *engine) Deliver(_ context.Context, tenant telemetry.TenantID, payload []byte) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.down {
		return "", telemetry.ErrUnavailable
	}
	if e.refuse != "" && strings.Contains(string(payload), e.refuse) {
		return "", telemetry.ErrRefused
	}
	e.settle()
	for word := range strings.FieldsSeq(string(payload)) {
		key := fmt.Sprintf("%d/%s", tenant, word)
		if _, ok := e.memory[key]; !ok {
			e.memory[key] = time.Now()
		}
	}
	return fmt.Sprint(e.instance), nil
}

func (e *engine) Instance(context.Context) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down {
		return "", telemetry.ErrUnavailable
	}
	return fmt.Sprint(e.instance), nil
}

func (e *engine) Flush(context.Context) error { return nil }

func (e *engine) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle()
	clear(e.memory)
	e.instance++
}

func (e *engine) setDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

func (e *engine) has() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := maps.Clone(e.written)
	for k := range e.memory {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func config(t *testing.T, e *engine) Config {
	return Config{
		Name: "logs", Dir: t.TempDir(), Sink: e, MaxBytes: minMaxBytes, Settle: 2 * writes,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func start(t *testing.T, c Config) *Spool {
	t.Helper()
	s, err := open(c, pace{segmentAge: 20 * time.Millisecond, housekeeping: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t *testing.T, s *Spool, words ...string) {
	t.Helper()
	for _, w := range words {
		if err := s.Append(t.Context(), Record{Tenant: 7, Payload: []byte(w + "\n")}); err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !yes(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

// end stops a spool as a server does whose engine stops in good order.
func end(t *testing.T, s *Spool, written bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(written); err != nil {
		t.Fatal(err)
	}
}

// abandon ends a spool as a kill does: nothing more is delivered or deleted.
func abandon(t *testing.T, s *Spool) {
	t.Helper()
	s.stopForward()
	<-s.forwarded
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err == nil {
		t.Fatal("stopped in good order")
	}
	if err := s.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func segments(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != lockName {
			n++
		}
	}
	return n
}

func want(t *testing.T, e *engine, words ...string) {
	t.Helper()
	keys := make([]string, len(words))
	for i, w := range words {
		keys[i] = "7/" + w
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, e.has()); diff != "" {
		t.Errorf("the engine has (-want +got):\n%s", diff)
	}
}

func TestDeliversAndDrops(t *testing.T) {
	e := newEngine()
	c := config(t, e)
	s := start(t, c)
	if _, err := Open(c); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	add(t, s, "a", "b")
	if n, err := Left(c.Dir); err != nil || n != 0 {
		t.Errorf("%d bytes are left of a spool in use, %v", n, err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, e, "a", "b")
	end(t, s, true)
	if n := segments(t, c.Dir); n != 0 {
		t.Errorf("%d files are left after an end in good order", n)
	}
	for _, dir := range []string{c.Dir, t.TempDir()} {
		if n, err := Left(dir); err != nil || n != 0 {
			t.Errorf("%d bytes are left of nothing, %v", n, err)
		}
	}
	if err := s.Append(t.Context(), Record{Tenant: 7, Payload: []byte("c")}); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("append to a stopped spool: %v", err)
	}
}

func TestReplaysAfterKillOfEverything(t *testing.T) {
	e := newEngine()
	c := config(t, e)
	s := start(t, c)
	add(t, s, "a")
	e.setDown(true)
	add(t, s, "b")
	abandon(t, s)
	e.kill()
	e.setDown(false)
	// Half a record at the end is what a kill in the middle of a write leaves.
	first, last, err := wlog.Segments(c.Dir)
	if err != nil || first != last {
		t.Fatal(first, last, err)
	}
	if n, err := Left(c.Dir); err != nil || n == 0 {
		t.Errorf("%d bytes are left, %v", n, err)
	}
	f, err := os.OpenFile(wlog.SegmentName(c.Dir, last), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{1, 0, 200, 1, 2, 3, 4, 5}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, c)
	add(t, s, "c")
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, e, "a", "b", "c")
	end(t, s, false)
	if n := segments(t, c.Dir); n == 0 {
		t.Error("nothing is kept, though nobody said that it was written")
	}
}

func TestReplaysAfterKillOfEngine(t *testing.T) {
	e := newEngine()
	s := start(t, config(t, e))
	defer end(t, s, false)
	var words []string
	for round := range 5 {
		for i := range 20 {
			w := fmt.Sprintf("%d-%d", round, i)
			words = append(words, w)
			add(t, s, w)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.kill()
	}
	eventually(t, "everything is delivered again", func() bool { return len(e.has()) == len(words) })
	want(t, e, words...)
	eventually(t, "everything is dropped", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.bytes == 0
	})
	e.kill()
	want(t, e, words...)
}

func TestRefusesWhenFull(t *testing.T) {
	e := newEngine()
	e.setDown(true)
	c := config(t, e)
	c.MaxBytes = 4 << 20
	var watermark error
	c.Check = func() error { return watermark }
	s := start(t, c)
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * i >> 7) // does not compress to nothing
	}
	var err error
	for range 1000 {
		if err = s.Append(t.Context(), Record{Tenant: 1, Payload: big}); err != nil {
			break
		}
		big[0]++
	}
	if o, ok := errors.AsType[*telemetry.OverloadError](err); !ok || o.RetryAfter <= 0 || !strings.Contains(o.Reason, "storage is behind") {
		t.Errorf("a full spool says %v", err)
	}
	e.setDown(false)
	eventually(t, "there is room again", func() bool { return s.Append(t.Context(), Record{Tenant: 1, Payload: []byte("x")}) == nil })
	watermark = &telemetry.OverloadError{Reason: "the disk is full"}
	if err := s.Append(t.Context(), Record{Tenant: 1, Payload: []byte("x")}); !errors.Is(err, watermark) {
		t.Errorf("a full disk says %v", err)
	}
	end(t, s, true)
}

func TestSetsAsideWhatTheEngineRefuses(t *testing.T) {
	e := newEngine()
	e.refuse = "poison"
	c := config(t, e)
	s := start(t, c)
	add(t, s, "poison")
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, s, "a")
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, e, "a")
	end(t, s, true)
	files, err := filepath.Glob(filepath.Join(c.Dir, refusedName, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("set aside: %v, %v", files, err)
	}
}

// Many senders share few syncs, and each tenant's records stay its own.
func TestGroups(t *testing.T) {
	e := newEngine()
	s := start(t, config(t, e))
	var wg sync.WaitGroup
	var expected []string
	for i := range 400 {
		tenant := telemetry.TenantID(i%3 + 1)
		expected = append(expected, fmt.Sprintf("%d/w%d", tenant, i))
		wg.Go(func() {
			if err := s.Append(t.Context(), Record{Tenant: tenant, Payload: fmt.Appendf(nil, "w%d\n", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(expected)
	if diff := cmp.Diff(expected, e.has()); diff != "" {
		t.Error(diff)
	}
	end(t, s, true)
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(Record{Tenant: 3, Payload: []byte("x")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err == nil && string(encode(r)) != string(b) {
			t.Errorf("%q decodes to %v", b, r)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(Config{Name: "logs", Dir: b.TempDir(), Sink: discard{}, MaxBytes: 8 << 30, Settle: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	payload := []byte(strings.Repeat(`2026-11-23T12:00:00Z level=info msg="payment taken" order=4711 `, 8<<10))
	b.SetBytes(int64(len(payload)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Append(context.Background(), Record{Tenant: 1, Payload: payload}); err != nil {
				b.Error(err)
			}
		}
	})
}

type discard struct{}

func (discard) Deliver(context.Context, telemetry.TenantID, []byte) (string, error) { return "", nil }

func (discard) Instance(context.Context) (string, error) { return "", nil }
func (discard) Flush(context.Context) error              { return nil }
