package ingest

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// selfQueueRecords bounds the lines that wait to be written.
	selfQueueRecords = 8192
	// selfQueueNoTarget bounds them while there is no team to write to yet.
	selfQueueNoTarget = 1000
	// selfBatchRecords is the most records written at once.
	selfBatchRecords = 500
	// selfInterval is how long a line may wait, and the pause after a failure.
	selfInterval = time.Second
	// selfFlushTimeout bounds the last writes at the end.
	selfFlushTimeout = 5 * time.Second
	// selfValueBytes bounds a message and each attribute's value.
	selfValueBytes = 64 << 10
)

// SelfConfig describes this process to its own logs.
type SelfConfig struct {
	// Version, Host and InstanceID become service.version, host.name and
	// service.instance.id; empty ones are left out.
	Version, Host, InstanceID string
	// Level is the least level that is kept; nil means Info. What the next
	// handler prints is its own affair.
	Level slog.Leveler
}

// A SelfHandler is a slog.Handler that passes records on to the next handler
// and also queues them for the telemetry store. It never blocks its caller:
// when the queue is full the oldest record is dropped and counted. It is safe
// for concurrent use. Nothing is written until Run runs and SetTarget has named
// a team; until then the newest 1,000 records wait.
type SelfHandler struct {
	next   slog.Handler
	queue  *selfQueue
	groups []string          // open groups
	attrs  []telemetry.Field // of WithAttrs, with the groups in their names
}

// NewSelfHandler returns a handler that is not running yet.
func NewSelfHandler(next slog.Handler, c SelfConfig) *SelfHandler {
	if c.Level == nil {
		c.Level = slog.LevelInfo
	}
	resource := []telemetry.Field{{Name: telemetry.FieldService, Value: "oriel"}}
	for _, f := range []telemetry.Field{
		{Name: "service.version", Value: c.Version},
		{Name: "host.name", Value: c.Host},
		{Name: "service.instance.id", Value: c.InstanceID},
	} {
		if f.Value != "" {
			resource = append(resource, f)
		}
	}
	return &SelfHandler{next: next, queue: &selfQueue{
		next: next, level: c.Level, resource: resource, kick: make(chan struct{}, 1),
	}}
}

// SetTarget names the tenant to write to from now on; 0 means none.
func (h *SelfHandler) SetTarget(tenant telemetry.TenantID) {
	h.queue.mu.Lock()
	h.queue.target = tenant
	h.queue.mu.Unlock()
	h.queue.wake()
}

// Dropped returns how many records were lost since the start.
func (h *SelfHandler) Dropped() uint64 {
	h.queue.mu.Lock()
	defer h.queue.mu.Unlock()
	return h.queue.dropped
}

// Run writes what is queued until ctx ends, then what is left, for at most five
// seconds. It runs once. Its failures go to the next handler only, one line for
// each time that writing stops working.
func (h *SelfHandler) Run(ctx context.Context, w telemetry.Writer) { h.queue.run(ctx, w) }

// Enabled implements slog.Handler.
func (h *SelfHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.queue.level.Level() || h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *SelfHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= h.queue.level.Level() && ctx.Value(ownWrite{}) == nil {
		h.queue.push(h.record(r))
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *SelfHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next = h.next.WithAttrs(attrs)
	c.attrs = append([]telemetry.Field(nil), h.attrs...)
	prefix := groupPrefix(h.groups)
	for _, a := range attrs {
		c.attrs = appendAttr(c.attrs, prefix, a)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *SelfHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.next = h.next.WithGroup(name)
	c.groups = append(append([]string(nil), h.groups...), name)
	return &c
}

func (h *SelfHandler) record(r slog.Record) telemetry.LogRecord {
	rec := telemetry.LogRecord{
		Time:     r.Time,
		Resource: h.queue.resource,
		Severity: severityOfLevel(r.Level),
		Message:  cut(strings.ToValidUTF8(r.Message, "\uFFFD"), selfValueBytes),
	}
	if rec.Time.IsZero() {
		rec.Time = time.Now() // slog leaves out zero times; the store cannot
	}
	rec.Attributes = make([]telemetry.Field, len(h.attrs), len(h.attrs)+r.NumAttrs())
	copy(rec.Attributes, h.attrs)
	prefix := groupPrefix(h.groups)
	r.Attrs(func(a slog.Attr) bool {
		rec.Attributes = appendAttr(rec.Attributes, prefix, a)
		return len(rec.Attributes) < MaxFields
	})
	return rec
}

func severityOfLevel(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return telemetry.SeverityTrace
	case l < slog.LevelInfo:
		return telemetry.SeverityDebug
	case l < slog.LevelWarn:
		return telemetry.SeverityInfo
	case l < slog.LevelError:
		return telemetry.SeverityWarn
	case l < slog.LevelError+4:
		return telemetry.SeverityError
	}
	return telemetry.SeverityFatal
}

func groupPrefix(groups []string) string {
	if len(groups) == 0 {
		return ""
	}
	return strings.Join(groups, ".") + "."
}

func appendAttr(dst []telemetry.Field, prefix string, a slog.Attr) []telemetry.Field {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			dst = appendAttr(dst, prefix, g)
		}
		return dst
	}
	text := cut(strings.ToValidUTF8(slogText(v), "\uFFFD"), selfValueBytes)
	if a.Equal(slog.Attr{}) || text == "" {
		return dst
	}
	return append(dst, telemetry.Field{Name: AttributeName(cut(prefix+a.Key, MaxFieldNameBytes-8)), Value: text})
}

// slogText prints a value as slog's JSON handler does, without the quotes.
func slogText(v slog.Value) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("!PANIC: %v", p) // a log line must not end its caller
		}
	}()
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case nil:
			return ""
		case error:
			return x.Error()
		case fmt.Stringer:
			return x.String()
		case encoding.TextMarshaler:
			if b, err := x.MarshalText(); err == nil {
				return string(b)
			}
		case []byte:
			return string(x)
		default:
			if b, err := json.Marshal(x); err == nil {
				return string(b)
			}
		}
	}
	return v.String()
}

// ownWrite marks the context of our own writes: what the writer logs about
// them must not come back here as something to write.
type ownWrite struct{}

type selfQueue struct {
	next     slog.Handler
	level    slog.Leveler
	resource []telemetry.Field
	kick     chan struct{} // a full batch waits, or the target changed

	mu      sync.Mutex // guards the rest
	records []telemetry.LogRecord
	target  telemetry.TenantID
	dropped uint64
}

func (q *selfQueue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

func (q *selfQueue) push(r telemetry.LogRecord) {
	q.mu.Lock()
	limit := selfQueueRecords
	if q.target == 0 {
		limit = selfQueueNoTarget
	}
	q.records = append(q.records, r)
	if over := len(q.records) - limit; over > 0 {
		clear(q.records[:over]) // what the array still holds must not keep text alive
		q.records = q.records[over:]
		q.dropped += uint64(over)
	}
	full := q.target != 0 && len(q.records) >= selfBatchRecords
	q.mu.Unlock()
	if full {
		q.wake()
	}
}

// take removes the next batch; it is empty while there is no target.
func (q *selfQueue) take() (telemetry.TenantID, []telemetry.LogRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.target == 0 {
		return 0, nil
	}
	n := min(len(q.records), selfBatchRecords)
	batch := append([]telemetry.LogRecord(nil), q.records[:n]...)
	clear(q.records[:n])
	q.records = q.records[n:]
	if len(q.records) == 0 {
		q.records = nil
	}
	return q.target, batch
}

func (q *selfQueue) lose(n int) {
	q.mu.Lock()
	q.dropped += uint64(n)
	q.mu.Unlock()
}

func (q *selfQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.records)
}

func (q *selfQueue) run(ctx context.Context, w telemetry.Writer) {
	writeCtx := context.WithValue(ctx, ownWrite{}, true)
	tick := time.NewTicker(selfInterval)
	defer tick.Stop()
	var pending []telemetry.LogRecord // a batch that failed and is tried again
	failing := false
	for {
		select {
		case <-ctx.Done():
			q.flush(context.WithoutCancel(writeCtx), w, pending)
			return
		case <-tick.C:
		case <-q.kick:
			if failing {
				continue // the tick is the pause after a failure
			}
		}
		for {
			tenant, batch := q.nextBatch(pending)
			if len(batch) == 0 {
				break
			}
			pending = batch
			err := w.WriteLogs(writeCtx, tenant, batch)
			if err == nil {
				pending, failing = nil, false
				continue
			}
			if ctx.Err() != nil {
				break // the flush tries once more
			}
			if !failing {
				q.report(ctx, err)
			}
			failing = true
			_, full := errors.AsType[*telemetry.OverloadError](err)
			if !full && !errors.Is(err, telemetry.ErrUnavailable) {
				q.lose(len(batch)) // it would fail for ever and block the rest
				pending = nil
			}
			break
		}
	}
}

// nextBatch returns what to write and to whom: the batch that failed before, or
// the next one. A target that was taken away keeps the failed batch waiting.
func (q *selfQueue) nextBatch(pending []telemetry.LogRecord) (telemetry.TenantID, []telemetry.LogRecord) {
	if len(pending) == 0 {
		return q.take()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.target == 0 {
		return 0, nil
	}
	return q.target, pending
}

func (q *selfQueue) flush(ctx context.Context, w telemetry.Writer, pending []telemetry.LogRecord) {
	ctx, cancel := context.WithTimeout(ctx, selfFlushTimeout)
	defer cancel()
	for {
		tenant, batch := q.nextBatch(pending)
		if len(batch) == 0 {
			break
		}
		if err := w.WriteLogs(ctx, tenant, batch); err != nil {
			q.lose(len(batch))
			pending = nil
			q.report(ctx, err)
			break
		}
		pending = nil
	}
	q.lose(len(pending) + q.waiting())
}

// report tells the next handler, and it alone, that writing fails.
func (q *selfQueue) report(ctx context.Context, err error) {
	if !q.next.Enabled(ctx, slog.LevelWarn) {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "own log lines could not be stored", 0)
	r.AddAttrs(slog.String("error", err.Error()))
	_ = q.next.Handle(ctx, r)
}
