package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/test/incident/shop"
)

// rareWord is in one log record of rareEvery.
const (
	rareWord  = "zyzzyva"
	rareEvery = 100_000
)

// What the shop makes of a request, roughly: with it the set gets its size.
const (
	spansOfRequest = 5.4
	logsOfRequest  = 3.8
)

// load is everything to send, ready to be sent.
type load struct {
	requests    []otlp
	logs, spans int
	plain       int // bytes before compression
	bytes       int
	rare        int
	trace       string
	traceTime   time.Time
	traceSpans  int
	start, end  time.Time
	// asked is from when on questions are asked.
	asked time.Time
}

type otlp struct {
	path string
	body []byte
}

func prepare(o options) (*load, error) {
	perMinute := float64(o.spans) / spansOfRequest / float64(o.minutes)
	set := shop.New(shop.Config{
		Seed: o.seed, End: time.Now(), Minutes: o.minutes, Alone: true,
		Requests: int(perMinute) + 1, Chatter: max(0, int(float64(o.logs)/float64(o.minutes)*1.03-perMinute*logsOfRequest)),
	})
	l := &load{start: set.Start, end: set.End, asked: set.End.Add(-min(asked, set.End.Sub(set.Start)))}
	compress := func(b []byte) ([]byte, error) { return b, nil }
	switch o.encoding {
	case "gzip":
		compress = func(b []byte) ([]byte, error) {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			if _, err := w.Write(b); err != nil {
				return nil, err
			}
			err := w.Close() // which writes the rest
			return out.Bytes(), err
		}
	case "zstd":
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, err
		}
		compress = func(b []byte) ([]byte, error) { return w.EncodeAll(b, nil), nil }
	}
	add := func(path string, body []byte, err error) error {
		if err != nil {
			return err
		}
		packed, err := compress(body)
		if err != nil {
			return err
		}
		l.plain += len(body)
		l.bytes += len(packed)
		l.requests = append(l.requests, otlp{path, packed})
		return nil
	}
	for m := range set.All() {
		logs, spans := m.Logs, m.Spans
		if i := slices.IndexFunc(spans, func(s shop.Span) bool {
			return s.Name == "POST /checkout" && s.Resource.Service == "gateway" && !s.Error
		}); i >= 0 && m.Index <= o.minutes/2 {
			l.trace, l.traceTime = spans[i].TraceID, spans[i].Start
		}
		// What is too much is left out at the end.
		logs, spans = logs[:min(len(logs), o.logs-l.logs)], spans[:min(len(spans), o.spans-l.spans)]
		for part := range slices.Chunk(logs, o.batch) {
			for i := range part {
				if l.logs++; l.logs%rareEvery == 0 {
					part[i].Body += " " + rareWord
					if t := part[i].Time; !t.Before(l.asked) && t.Before(l.end) {
						l.rare++
					}
				}
			}
			body, err := plogotlp.NewExportRequestFromLogs((&shop.Minute{Logs: part}).OTLPLogs(shop.Team)).MarshalProto()
			if err := add("/v1/logs", body, err); err != nil {
				return nil, err
			}
		}
		for part := range slices.Chunk(spans, o.batch) {
			l.spans += len(part)
			body, err := ptraceotlp.NewExportRequestFromTraces((&shop.Minute{Spans: part}).OTLPTraces(shop.Team)).MarshalProto()
			if err := add("/v1/traces", body, err); err != nil {
				return nil, err
			}
		}
	}
	if l.logs != o.logs || l.spans != o.spans {
		return nil, fmt.Errorf("the shop made %d log records and %d spans of %d and %d: it is smaller than thought", l.logs, l.spans, o.logs, o.spans)
	}
	for m := range set.All() {
		for i := range m.Spans {
			if m.Spans[i].TraceID == l.trace {
				l.traceSpans++
			}
		}
		if m.Index > o.minutes/2 {
			break
		}
	}
	return l, nil
}

// ingested is how long it took until every request was answered, and until
// everything could be found.
type ingested struct {
	acknowledged, searchable time.Duration
	// cpu is the processor time of the server and its engines.
	cpu [3]time.Duration
}

// each is the processor time of one record, in all three processes.
func (i ingested) each(l *load) time.Duration {
	return (i.cpu[0] + i.cpu[1] + i.cpu[2]) / time.Duration(l.logs+l.spans)
}

func (i ingested) rate(l *load) float64 { return float64(l.logs+l.spans) / i.searchable.Seconds() }

// everything is the first team's telemetry.
func everything() telemetry.View { return telemetry.NewView(1, telemetry.Restriction{}) }

const searchablePoll = 50 * time.Millisecond

func (s *subject) ingest(ctx context.Context, o options, l *load) (ingested, error) {
	sender := shop.Sender{URL: s.url, Key: s.key, Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.senders}}}
	encoding := o.encoding
	if encoding == "none" {
		encoding = ""
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	requests := make(chan otlp)
	before, began := processorTime(s.pid), time.Now()
	var wg sync.WaitGroup
	for range o.senders {
		wg.Go(func() {
			for r := range requests {
				if err := sender.Post(ctx, r.path, r.body, encoding); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, r := range l.requests {
		select {
		case requests <- r:
		case <-ctx.Done():
		}
	}
	close(requests)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return ingested{}, err
	}
	took := ingested{acknowledged: time.Since(began)}
	for _, part := range []struct {
		signal string
		want   int
	}{{"logs", l.logs}, {"spans", l.spans}} {
		engine, err := s.engine(part.signal)
		if err != nil {
			return took, err
		}
		for {
			// A clock that is behind wrote records from before the start.
			n, err := count(ctx, engine, l.start.Add(-time.Hour), l.end.Add(time.Hour))
			if err != nil {
				return took, err
			}
			if n >= part.want {
				break
			}
			select {
			case <-time.After(searchablePoll):
			case <-ctx.Done():
				return took, ctx.Err()
			}
		}
	}
	took.searchable = time.Since(began)
	took.cpu = processorTime(s.pid)
	for i := range took.cpu {
		took.cpu[i] -= before[i]
	}
	return took, nil
}

func count(ctx context.Context, engine *victoria.Client, start, end time.Time) (int, error) {
	res, err := engine.QueryLogs(ctx, everything(), telemetry.LogQuery{Text: "* | stats count() as n", Start: start, End: end}, telemetry.Budget{})
	if err != nil {
		return 0, fmt.Errorf("count what can be found: %w", err)
	}
	if len(res.Rows) == 0 {
		return 0, nil
	}
	return strconv.Atoi(res.Rows[0].Get("n"))
}
