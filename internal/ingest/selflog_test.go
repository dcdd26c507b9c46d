package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

// start runs a handler in a synctest bubble; stop ends it and waits.
func start(t *testing.T, h *SelfHandler, w telemetry.Writer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx, w)
	}()
	return func() {
		cancel()
		<-done
	}
}

type secret string

func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

func TestSelfHandlerConverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var printed bytes.Buffer
		h := NewSelfHandler(slog.NewTextHandler(&printed, nil), SelfConfig{Version: "1.0", Host: "h", InstanceID: "i"})
		w := &recorder{}
		stop := start(t, h, w)
		h.SetTarget(7)
		now := time.Now()
		log := slog.New(h).With("component", "oauth").WithGroup("req").With("id", 3)
		log.Error("refused", "error", errors.New("no such client"), "key", secret("s3cret"), slog.Group("user", "id", 9), "took", 3*time.Second,
			"list", []string{"<a>"}, "bad", panics{}, "nothing", nil)
		slog.New(h).Log(t.Context(), slog.LevelError+4, "end", "service.name", "forged", "_time", "forged")
		slog.New(h).Debug("not kept")
		time.Sleep(selfInterval)
		synctest.Wait()
		stop()

		resource := []telemetry.Field{{Name: "service.name", Value: "oriel"}, {Name: "service.version", Value: "1.0"}, {Name: "host.name", Value: "h"}, {Name: "service.instance.id", Value: "i"}}
		want := []telemetry.LogRecord{
			{Time: now, Severity: "ERROR", Message: "refused", Resource: resource, Attributes: []telemetry.Field{
				{Name: "component", Value: "oauth"},
				{Name: "req.id", Value: "3"},
				{Name: "req.error", Value: "no such client"},
				{Name: "req.key", Value: "hidden"},
				{Name: "req.user.id", Value: "9"},
				{Name: "req.took", Value: "3s"},
				{Name: "req.list", Value: `["\u003ca\u003e"]`},
				{Name: "req.bad", Value: "!PANIC: no"},
			}},
			{Time: now, Severity: "FATAL", Message: "end", Resource: resource, Attributes: []telemetry.Field{
				{Name: "attr:service.name", Value: "forged"}, {Name: "attr:_time", Value: "forged"},
			}},
		}
		if diff := cmp.Diff(want, w.records()); diff != "" || w.tenant != 7 {
			t.Errorf("tenant %d (-want +got):\n%s", w.tenant, diff)
		}
		if out := printed.String(); strings.Count(out, "\n") != 2 || !strings.Contains(out, "req.user.id=9") {
			t.Errorf("printed %s", out)
		}
	})
}

func TestSelfHandlerKeepsFirstLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewSelfHandler(slog.DiscardHandler, SelfConfig{})
		w := &recorder{}
		stop := start(t, h, w)
		log := slog.New(h)
		for i := range selfQueueNoTarget + 200 {
			log.Info(fmt.Sprint(i))
		}
		time.Sleep(time.Hour)
		if len(w.records()) != 0 || h.Dropped() != 200 {
			t.Fatalf("%d written, %d dropped", len(w.records()), h.Dropped())
		}
		h.SetTarget(7)
		synctest.Wait() // at once, not after a second
		recs := w.records()
		if len(recs) != selfQueueNoTarget || recs[0].Message != "200" || w.tenant != 7 {
			t.Fatalf("%d written", len(recs))
		}
		for _, b := range w.batches {
			if len(b) > selfBatchRecords {
				t.Errorf("batch of %d", len(b))
			}
		}
		h.SetTarget(8)
		log.Info("moved")
		time.Sleep(selfInterval)
		synctest.Wait()
		if w.tenant != 8 {
			t.Errorf("tenant %d", w.tenant)
		}
		stop()
	})
}

func TestSelfHandlerBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewSelfHandler(slog.DiscardHandler, SelfConfig{})
		w := &recorder{}
		stop := start(t, h, w)
		h.SetTarget(7)
		synctest.Wait()
		log := slog.New(h)
		log.Info("waits")
		time.Sleep(selfInterval / 2)
		synctest.Wait()
		if n := len(w.records()); n != 0 {
			t.Errorf("%d written before the interval", n)
		}
		for range selfBatchRecords {
			log.Info("x")
		}
		synctest.Wait()
		if n := len(w.records()); n < selfBatchRecords {
			t.Errorf("%d written when a batch was full", n)
		}
		log.Info("last")
		stop()
		if n := len(w.records()); n != selfBatchRecords+2 || h.Dropped() != 0 {
			t.Errorf("%d written at the end, %d dropped", n, h.Dropped())
		}
	})
}

func TestSelfHandlerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var printed bytes.Buffer
		h := NewSelfHandler(slog.NewTextHandler(&printed, nil), SelfConfig{})
		w := &recorder{err: telemetry.ErrUnavailable}
		stop := start(t, h, w)
		h.SetTarget(7)
		log := slog.New(h)
		log.Info("before")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(printed.String(), "could not be stored"); n != 1 {
			t.Errorf("reported %d times", n)
		}
		// Far more than fits: the newest stay.
		const extra = 100
		for i := range selfQueueRecords + extra {
			log.Debug("not kept")
			h.queue.push(telemetry.LogRecord{Message: fmt.Sprint(i)})
		}
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		time.Sleep(2 * selfInterval)
		synctest.Wait()
		recs := w.records()
		if len(recs) != 1+selfQueueRecords || recs[0].Message != "before" || recs[len(recs)-1].Message != fmt.Sprint(selfQueueRecords+extra-1) || h.Dropped() != extra {
			t.Errorf("%d written, %d dropped", len(recs), h.Dropped())
		}
		// What is refused for good is not tried for ever.
		w.mu.Lock()
		w.err = errors.New("refused")
		w.mu.Unlock()
		log.Info("lost")
		time.Sleep(2 * selfInterval)
		synctest.Wait()
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		log.Info("kept")
		stop()
		if recs := w.records(); recs[len(recs)-1].Message != "kept" || h.Dropped() != extra+1 {
			t.Errorf("last %q, %d dropped", recs[len(recs)-1].Message, h.Dropped())
		}
	})
}

// chatty logs about its own writes, as an HTTP client may.
type chatty struct {
	recorder
	log *slog.Logger
}

func (w *chatty) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	w.log.InfoContext(ctx, "writing")
	return w.recorder.WriteLogs(ctx, tenant, batch)
}

func TestSelfHandlerDoesNotFeedItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewSelfHandler(slog.DiscardHandler, SelfConfig{})
		w := &chatty{log: slog.New(h)}
		stop := start(t, h, w)
		h.SetTarget(7)
		slog.New(h).Info("one")
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if n := len(w.records()); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}
