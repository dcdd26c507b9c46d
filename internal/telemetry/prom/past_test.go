package prom

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"golang.org/x/sync/errgroup"

	"github.com/orielhq/oriel/internal/telemetry"
)

// old writes one sample of a series at each time, in one request.
func old(t *testing.T, p Past, name string, value float64, exemplar string, times ...time.Time) map[string]int64 {
	t.Helper()
	ts := writev2.TimeSeries{LabelsRefs: []uint32{1, 2}}
	for _, at := range times {
		ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: at.UnixMilli(), Value: value})
	}
	if exemplar != "" {
		ts.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{3, 4}, Timestamp: times[0].UnixMilli(), Value: 1}}
	}
	data, err := (&writev2.Request{Symbols: []string{"", "__name__", name, "trace_id", exemplar}, Timeseries: []writev2.TimeSeries{ts}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	w, rejected, err := p.WriteRemote(t.Context(), 1, 2, data)
	if err != nil {
		t.Fatal(err)
	}
	total := w.Samples
	for _, n := range rejected {
		total += n
	}
	if total != int64(len(times)) {
		t.Errorf("%d samples, %+v, %v", len(times), w, rejected)
	}
	return rejected
}

// Samples of any age are stored beside new ones, queried at once, in blocks,
// and after the store was opened again; other senders are not let in.
func TestPast(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(Config{Dir: dir, Retention: 7 * 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	now := time.Now().Truncate(time.Second)
	write(t, s, 1, from("service.name", "shop").gauge("live", now, 1).md)

	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	day := 24 * time.Hour
	// Newest first within the file, and around the head's own time.
	if r := old(t, s.Past(), "m", 1, "abc", ago(time.Minute), ago(90*time.Minute), ago(3*time.Hour), ago(2*day), ago(4*day), ago(6*day)); len(r) != 0 {
		t.Errorf("rejected %v", r)
	}
	if r := old(t, s.Past(), "m", 1, "", ago(8*day)); r[ReasonTooOld] != 1 {
		t.Errorf("beyond the retention: %v", r)
	}
	write(t, s, 1, from("service.name", "shop").gauge("late", ago(2*time.Hour), 1).md, ReasonTooOld)
	write(t, s, 1, from("service.name", "shop").gauge("live", now.Add(time.Second), 2).md)
	p := from("service.name", "old")
	p.gauge("otlp", ago(5*day), 3)
	if r, err := s.Past().WriteOTLP(t.Context(), 1, p.md); err != nil || len(r) != 0 {
		t.Errorf("OTLP: %v, %v", r, err)
	}

	check := func(when string) {
		t.Helper()
		for expr, want := range map[string]string{
			`count_over_time(m[6d1h])`:              "6",
			`count_over_time(m[6d1h] offset 1d)`:    "3",
			`count_over_time(otlp[6d])`:             "1",
			`count_over_time(live{job="shop"}[1h])`: "1",
			`count_over_time(late[1d])`:             "",
		} {
			got := text(query(t, s, whole(1), instant("sum("+expr+")", now)))
			if strings.Join(got, "; ") != want {
				t.Errorf("%s: %s is %v, want %s", when, expr, got, want)
			}
		}
	}
	check("at once")
	examples, _, err := s.Exemplars(t.Context(), whole(1), telemetry.SeriesQuery{Start: ago(day), End: now}, telemetry.Budget{})
	if err != nil || !slices.ContainsFunc(examples, func(e telemetry.Exemplar) bool { return e.Labels[0].Value == "abc" }) {
		t.Errorf("exemplars %+v, %v", examples, err)
	}
	if err := s.Past().Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "1", "01*", "meta.json"))
	if err != nil || len(blocks) < 4 {
		t.Errorf("blocks %v, %v", blocks, err)
	}
	check("in blocks")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	check("opened again")
	// A second import, into times of blocks, settled by nobody.
	old(t, s.Past(), "m2", 1, "", ago(2*day))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	check("opened a second time")
	if got := text(query(t, s, whole(1), instant("count_over_time(m2[3d])", now))); fmt.Sprint(got) != "[1]" {
		t.Errorf("without Settle: %v", got)
	}
}

// Imports beside each other and beside a sender: nothing is lost, and the
// window is closed at the end.
func TestPastBesideOthers(t *testing.T) {
	s := store(t)
	now := time.Now().Truncate(time.Second)
	var g errgroup.Group
	for i := range 3 {
		g.Go(func() error {
			for k := range 20 {
				if r := old(t, s.Past(), fmt.Sprintf("m%d", i), 1, "", now.Add(-time.Duration(k*100+i)*time.Minute)); len(r) != 0 {
					return fmt.Errorf("rejected %v", r)
				}
				if k%10 == 9 {
					if err := s.Past().Settle(t.Context()); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for k := range 20 {
			rejected, err := s.WriteOTLP(t.Context(), 1, from("service.name", "shop").gauge("live", now.Add(time.Duration(k)*time.Second), 1).md)
			if err != nil || len(rejected) != 0 {
				return fmt.Errorf("live: %v, %w", rejected, err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got := text(query(t, s, whole(1), instant(fmt.Sprintf("count_over_time(m%d[3d])", i), now))); fmt.Sprint(got) != "[20]" {
			t.Errorf("m%d: %v", i, got)
		}
	}
	write(t, s, 1, from("service.name", "shop").gauge("late", now.Add(-2*time.Hour), 1).md, ReasonTooOld)
}

// An import into a database of its own keeps what comes later.
func TestPastFirst(t *testing.T) {
	s := store(t)
	now := time.Now().Truncate(time.Second)
	var times []time.Time
	for i := range 200 {
		times = append(times, now.Add(time.Duration(i-200)*20*time.Minute))
	}
	old(t, s.Past(), "m", 1, "", times...)
	old(t, s.Past(), "n", 1, "", now.Add(-20*24*time.Hour))
	write(t, s, 1, from("service.name", "shop").gauge("live", now, 1).md)
	if err := s.Past().Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]string{`count_over_time(m[30d])`: "[200]", `count_over_time(n[30d])`: "[1]"} {
		if got := text(query(t, s, whole(1), instant(expr, now))); fmt.Sprint(got) != want {
			t.Errorf("%s: %v", expr, got)
		}
	}
}
