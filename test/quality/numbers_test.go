package quality

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/incident/shop"
)

// rows reads the tables of an answer; what is the same for all rows is in each.
func rows(t *testing.T, text string) (out []map[string]string) {
	t.Helper()
	var columns []string
	same := make(map[string]string)
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		constant, isSame := strings.CutPrefix(strings.Replace(line, "for all series:", "for all rows:", 1), "same for all rows: ")
		switch {
		case isSame:
			for pair := range strings.SplitSeq(constant, "; ") {
				name, value, _ := strings.Cut(pair, "=")
				same[name] = strings.Trim(value, `"`)
			}
		case strings.HasPrefix(line, "--- end of "):
			inside = false
		case strings.HasPrefix(line, "--- "):
			inside = true
		case !inside, strings.HasPrefix(line, "where "), columns == nil && !strings.Contains(line, "\t") && strings.HasPrefix(line, "metric "):
		case columns == nil:
			columns = strings.Split(line, "\t")
		default:
			cells := strings.Split(line, "\t")
			if len(cells) != len(columns) {
				t.Fatalf("a row has %d cells of %d: %q", len(cells), len(columns), line)
			}
			row := maps.Clone(same)
			for i, name := range columns {
				row[name] = cells[i]
			}
			out = append(out, row)
		}
	}
	return out
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// near says that two numbers differ by at most a share.
func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Max(math.Abs(want), 1)
}

// quantile of the values that are at or below it, by nearest rank.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

// within keeps the records of a part of the set, in minutes.
func (w *world) within(from, until int) (start, end time.Time, keep func(time.Time) bool) {
	start, end = w.set.Start.Add(time.Duration(from)*time.Minute), w.set.Start.Add(time.Duration(until)*time.Minute)
	return start, end, func(t time.Time) bool { return !t.Before(start) && t.Before(end) }
}

func attr(attrs []shop.Attr, name string) any {
	for _, a := range attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// numbers compares answers with what plain Go computes over the same telemetry.
func (w *world) numbers(t *testing.T) {
	start, end, within := w.within(95, 155)
	window := func(args arguments) arguments {
		args["start"], args["end"], args["max_tokens"] = stamp(start), stamp(end), 12_000
		return args
	}
	logs := w.logs(func(l *shop.Log) bool { return within(l.Time) })

	t.Run("records per service and minute", func(t *testing.T) {
		want := make(map[string]map[string]int)
		for _, name := range shop.Services() {
			want[name] = make(map[string]int)
		}
		for _, l := range logs {
			want[l.Resource.Service][l.Time.Truncate(time.Minute).Format(time.RFC3339)]++
		}
		for _, name := range shop.Services() {
			got := rows(t, w.call(w.viewer, "aggregate_logs", window(arguments{"service": []string{name}, "step": "1m"})))
			if len(got) != 60 {
				t.Errorf("%s: %d minutes", name, len(got))
			}
			for _, row := range got {
				if n := number(t, row["count"]); n != float64(want[name][row["from"]]) {
					t.Errorf("%s at %s: %g records, want %d", name, row["from"], n, want[name][row["from"]])
				}
			}
		}
	})

	t.Run("services and their errors", func(t *testing.T) {
		all, errs := make(map[string]int), make(map[string]int)
		for _, l := range logs {
			key := l.Resource.Service + " " + l.Resource.Environment
			all[key]++
			if l.Severity == "ERROR" {
				errs[key]++
			}
		}
		for what, want := range map[string]map[string]int{"": all, "error+": errs} {
			got := rows(t, w.call(w.viewer, "aggregate_logs", window(arguments{"severity": what, "group_by": []string{"service.name", "deployment.environment.name"}, "limit": 100})))
			if len(got) != len(want) {
				t.Errorf("severity %q: %d groups, want %d", what, len(got), len(want))
			}
			for _, row := range got {
				key := row["service.name"] + " " + row["deployment.environment.name"]
				if n := number(t, row["count"]); n != float64(want[key]) {
					t.Errorf("severity %q: %s has %g, want %d", what, key, n, want[key])
				}
			}
		}
	})

	t.Run("percentiles of a field", func(t *testing.T) {
		want := make(map[string][]float64)
		for _, l := range logs {
			if d, ok := attr(l.Attributes, "duration_ms").(int64); ok && l.Resource.Service == "gateway" {
				route := attr(l.Attributes, "http.route").(string)
				want[route] = append(want[route], float64(d))
			}
		}
		got := rows(t, w.call(w.viewer, "aggregate_logs", window(arguments{
			"service": []string{"gateway"}, "query": "duration_ms:*", "aggregate": []string{"count", "p50", "p95", "p99", "max"}, "field": "duration_ms", "group_by": []string{"http.route"}, "limit": 50,
		})))
		if len(got) != len(want) {
			t.Errorf("%d routes, want %d", len(got), len(want))
		}
		for _, row := range got {
			values := want[row["http.route"]]
			if n := number(t, row["count"]); n != float64(len(values)) {
				t.Errorf("%s: %g records, want %d", row["http.route"], n, len(values))
				continue
			}
			for column, q := range map[string]float64{"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1} {
				if v := number(t, row[column+"(duration_ms)"]); !near(v, quantile(values, q), 0.05) {
					t.Errorf("%s: %s is %g, want %g", row["http.route"], column, v, quantile(values, q))
				}
			}
		}
	})

	t.Run("values of a field", func(t *testing.T) {
		want := make(map[string]int)
		for _, l := range logs {
			if v, ok := attr(l.Attributes, "http.response.status_code").(int64); ok {
				want[fmt.Sprint(v)]++
			}
		}
		got := rows(t, w.call(w.viewer, "list_field_values", window(arguments{"field": "http.response.status_code"})))
		if len(got) != len(want) {
			t.Errorf("%d values, want %d", len(got), len(want))
		}
		for _, row := range got {
			if n := number(t, row["records"]); n != float64(want[row["http.response.status_code"]]) {
				t.Errorf("%v, want %d", row, want[row["http.response.status_code"]])
			}
		}
	})

	t.Run("a trace's records", func(t *testing.T) {
		var id string
		var want []string
		for _, l := range logs {
			if strings.HasPrefix(l.Body, "order ") && strings.Contains(l.Body, " placed by ") {
				id = l.TraceID
			}
		}
		for _, l := range w.logs(func(l *shop.Log) bool { return l.TraceID == id }) {
			want = append(want, l.Body)
		}
		var got []string
		for _, row := range rows(t, w.call(w.viewer, "search_logs", arguments{"query": "trace_id:=" + id, "start": stamp(w.set.Start), "end": stamp(w.set.End.Add(time.Minute))})) {
			got = append(got, row["message"])
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
}

// scopes asks as people who see a part.
func (w *world) scopes(t *testing.T) {
	args := arguments{"start": stamp(w.set.Start), "end": stamp(w.set.End), "group_by": []string{"service.name", "deployment.environment.name", "team.name"}, "limit": 200, "max_tokens": 12_000}
	for name, tt := range map[string]struct {
		client *testkit.Client
		sees   func(*shop.Resource) bool
	}{
		"everything":      {w.viewer, func(*shop.Resource) bool { return true }},
		"production":      {w.production, func(r *shop.Resource) bool { return r.Environment == shop.Production }},
		"one team's part": {w.payments, func(r *shop.Resource) bool { return r.Owner == "payments" }},
	} {
		want := make(map[string]int)
		for _, l := range w.logs(func(l *shop.Log) bool { return tt.sees(l.Resource) }) {
			if !l.Time.Before(w.set.Start) && l.Time.Before(w.set.End) {
				want[l.Resource.Service+" "+l.Resource.Environment+" "+l.Resource.Owner]++
			}
		}
		got := make(map[string]int)
		text := w.call(tt.client, "aggregate_logs", args)
		for _, row := range rows(t, text) {
			got[row["service.name"]+" "+row["deployment.environment.name"]+" "+row["team.name"]] = int(number(t, row["count"]))
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v\nwant %v\n%s", name, got, want, text)
		}
	}
}

// halfOf is how much of the size of JSON lines the text of as many rows may
// have.
const halfOf = 0.5

// size compares the text of 100 rows with the same rows as JSON lines, each an
// object with every field of the row under its name.
func (w *world) size(t *testing.T) {
	for name, args := range map[string]arguments{
		"any rows":     {},
		"one service":  {"service": []string{"checkout"}},
		"errors":       {"severity": "error"},
		"warnings":     {"severity": "warn+"},
		"requests":     {"query": "http.route:*"},
		"one sentence": {"query": `"charged order"`},
	} {
		t.Run(name, func(t *testing.T) {
			args["start"], args["end"], args["limit"], args["max_tokens"] = stamp(w.set.Start), stamp(w.set.Start.Add(150*time.Minute)), 100, 12_000
			text := w.call(w.viewer, "search_logs", args)
			shown := rows(t, text)
			if len(shown) != 100 {
				t.Fatalf("%d rows", len(shown))
			}
			left := make(map[string][]*shop.Log)
			for _, l := range w.logs(nil) {
				key := l.Time.Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000Z") + " " + l.Body
				left[key] = append(left[key], l)
			}
			bytes := 0
			for _, row := range shown {
				key := row["time"] + " " + strings.NewReplacer(`\"`, `"`).Replace(row["message"])
				if len(left[key]) == 0 {
					t.Fatalf("no record is %q", key)
				}
				line, err := json.Marshal(object(left[key][0]))
				if err != nil {
					t.Fatal(err)
				}
				bytes += len(line) + 1
			}
			share := float64(len(text)) / float64(bytes)
			t.Logf("%d bytes of text, %d of JSON lines: %.0f %%", len(text), bytes, 100*share)
			if share > halfOf {
				t.Errorf("the text of 100 rows has %.0f %% of the size of JSON lines\n%.6000s", 100*share, text)
			}
		})
	}
}

// object is a record as JSON lines have it.
func object(l *shop.Log) map[string]any {
	r := l.Resource
	o := map[string]any{
		"time": l.Time.Format("2006-01-02T15:04:05.000Z"), "severity": l.Severity, "message": l.Body,
		"service.name": r.Service, "service.version": r.Version, "service.namespace": r.Team, "deployment.environment.name": r.Environment,
		"cloud.region": r.Region, "host.name": r.Host, "k8s.pod.name": r.Pod, "team.name": r.Owner,
	}
	if l.TraceID != "" {
		o["trace_id"], o["span_id"] = l.TraceID, l.SpanID
	}
	for _, a := range l.Attributes {
		o[a.Name] = a.Value
	}
	return o
}
