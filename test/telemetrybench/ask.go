package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// asked is the longest window that is asked about: steps of a minute in it are
// as many as aggregate_logs gives.
const asked = 2 * time.Hour

// A question is asked in two ways.
type question struct {
	name string
	tool string
	args map[string]any
	// expect is in the tool's answer.
	expect string
	// raw are the queries that give the same to somebody who asks the engines.
	raw   []rawQuery
	limit int
}

// A rawQuery is in an engine's own words.
type rawQuery struct {
	signal string // of the engine
	text   string
	// start and end are zero where it is the question's time.
	start, end time.Time
}

func logs(texts ...string) (list []rawQuery) {
	for _, text := range texts {
		list = append(list, rawQuery{signal: "logs", text: text})
	}
	return list
}

type times []time.Duration

func (t times) quantile(q float64) time.Duration {
	slices.Sort(t)
	return t[min(len(t)-1, int(q*float64(len(t))))]
}

type result struct {
	question
	tool, raw times
}

func (s *subject) ask(ctx context.Context, o options, l *load) ([]result, error) {
	start, end := l.asked, l.end
	questions := []question{
		{
			name: "a rare word: `search_logs`", tool: "search_logs", args: map[string]any{"query": rareWord, "limit": 100},
			expect: fmt.Sprintf("matched %d", l.rare), raw: logs(rareWord), limit: 101,
		},
		{
			name: "the newest 100 records: `search_logs`", tool: "search_logs", args: map[string]any{"limit": 100, "max_tokens": 12_000},
			expect: "shown ", raw: logs("*", "* | stats count() as n"), limit: 101,
		},
		{
			name: "records per service and minute: `aggregate_logs`", tool: "aggregate_logs", args: map[string]any{"group_by": []string{"service.name"}, "step": "1m"},
			expect: "gateway", raw: logs("* | stats by (_time:1m, service.name) count() as n"), limit: 100_000,
		},
		{
			name: "the field list: `list_fields`", tool: "list_fields", args: map[string]any{},
			expect: "http.route", raw: logs("* | field_names", "* | facets 3"), limit: 10_000,
		},
	}
	trace := question{
		name: "a trace: `get_trace`", tool: "get_trace", args: map[string]any{"trace_id": l.trace, "max_tokens": 12_000},
		expect: l.trace, limit: 10_000, raw: []rawQuery{
			{signal: "spans", text: "trace_id:=" + l.trace},
			{signal: "logs", text: "trace_id:=" + l.trace, start: l.traceTime.Add(-time.Minute), end: l.traceTime.Add(2 * time.Minute)},
		},
	}
	questions = append(questions, trace)
	var results []result
	for _, q := range questions {
		if !strings.Contains(q.name, o.only) {
			continue
		}
		if q.tool != trace.tool { // which finds its time itself
			q.args["start"], q.args["end"] = start.Format(time.RFC3339), end.Format(time.RFC3339)
		}
		r := result{question: q}
		ours := func() error {
			took, err := s.askTool(ctx, q)
			r.tool = append(r.tool, took)
			return err
		}
		engine := func() error {
			took, err := s.askEngine(ctx, q, start, end)
			r.raw = append(r.raw, took)
			return err
		}
		// Who comes second finds caches warm, so they take turns; the first
		// round does not count.
		for i := range o.rounds + 1 {
			first, second := ours, engine
			if i%2 == 1 {
				first, second = engine, ours
			}
			if err := first(); err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
			if err := second(); err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
		}
		r.tool, r.raw = r.tool[1:], r.raw[1:]
		results = append(results, r)
	}
	return results, nil
}

// mcp sends one JSON-RPC request and decodes its result. took ends with the
// last byte of the answer, as it does for the engine.
func (s *subject) mcp(ctx context.Context, method string, params any, into any) (took time.Duration, err error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.resource, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Authorization": "Bearer " + s.token, "MCP-Protocol-Version": "2025-11-25",
	} {
		req.Header.Set(name, value)
	}
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	answer, err := io.ReadAll(res.Body)
	took = time.Since(began)
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(answer, []byte("{")) {
		if _, data, ok := bytes.Cut(answer, []byte("data: ")); ok {
			answer = data
		}
	}
	message := struct{ Result any }{into}
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&message); err != nil || res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %.500s", res.Status, answer)
	}
	return took, nil
}

func (s *subject) askTool(ctx context.Context, q question) (time.Duration, error) {
	var answer struct {
		IsError bool
		Content []struct{ Text string }
	}
	took, err := s.mcp(ctx, "tools/call", map[string]any{"name": q.tool, "arguments": q.args}, &answer)
	if err != nil {
		return 0, err
	}
	if answer.IsError || len(answer.Content) == 0 || !strings.Contains(answer.Content[0].Text, q.expect) {
		return 0, fmt.Errorf("no %q in %.500v", q.expect, answer.Content)
	}
	return took, nil
}

// engine returns a client of an engine of the server.
func (s *subject) engine(signal string) (*victoria.Client, error) {
	return victoria.Attach(filepath.Join(s.dir, "telemetry", signal), 0)
}

func (s *subject) askEngine(ctx context.Context, q question, start, end time.Time) (time.Duration, error) {
	began := time.Now()
	for _, raw := range q.raw {
		client, err := s.straight(raw.signal)
		if err != nil {
			return 0, err
		}
		if raw.start.IsZero() {
			raw.start, raw.end = start, end
		}
		form := url.Values{
			"query": {raw.text}, "start": {raw.start.Format(time.RFC3339Nano)}, "end": {raw.end.Add(-1).Format(time.RFC3339Nano)}, "limit": {strconv.Itoa(q.limit)},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/select/logsql/query", strings.NewReader(form.Encode()))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("AccountID", "1")
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("the engine answers %q with %s and %d bytes: %w", raw.text, res.Status, n, err)
		}
	}
	return time.Since(began), nil
}

// straight returns a client of an engine's socket that keeps its connection.
func (s *subject) straight(signal string) (*http.Client, error) {
	if c := s.sockets[signal]; c != nil {
		return c, nil
	}
	socket, err := victoria.FindSocket(filepath.Join(s.dir, "telemetry", signal))
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, DisableCompression: true}}
	s.sockets[signal] = c
	return c, nil
}
