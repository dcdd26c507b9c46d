// Command telemetrybench measures how quickly the built program takes logs and
// spans in and answers about them, beside the same questions sent straight to
// its engines. "make bench-telemetry" runs it; docs/benchmarks.md has figures.
//
// The telemetry is a shop's (test/incident), made and compressed before the
// clock starts and sent over OTLP/HTTP by a few senders; it counts as taken in
// when a query in the engines finds all of it. Questions are asked in turns:
// our tool over MCP, then the engine over its socket, with the same window and
// limit.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type options struct {
	binary, profile, update, encoding, keep, only string
	logs, spans, rounds, senders, batch           int
	minutes                                       int
	seed                                          uint64
}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "server" || os.Args[1] == "engine") {
		if err := runServer(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "telemetrybench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	// The engine's modules add their settings to the flags of every program.
	flags := flag.NewFlagSet("telemetrybench", flag.ExitOnError)
	flags.StringVar(&o.binary, "binary", "bin/oriel", "the built program")
	flags.IntVar(&o.logs, "logs", 5_000_000, "log records")
	flags.IntVar(&o.spans, "spans", 1_000_000, "spans")
	flags.IntVar(&o.minutes, "minutes", 120, "the time that they are spread over; what is asked about is the last 2 hours of it")
	flags.IntVar(&o.rounds, "rounds", 31, "how often each question is asked")
	flags.StringVar(&o.only, "only", "", "ask only the questions whose names hold this")
	flags.IntVar(&o.senders, "senders", 4, "requests under way at once")
	flags.IntVar(&o.batch, "batch", 8192, "records of a request; 8192 is the Collector's default")
	flags.StringVar(&o.encoding, "encoding", "gzip", "compression of requests: gzip, zstd or none")
	flags.Uint64Var(&o.seed, "seed", 1, "what the telemetry follows from")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of the server to this file; then the server is not the built program but the same code in this one")
	flags.StringVar(&o.update, "update", "", "write the table into this file, between the lines that mark it")
	flags.StringVar(&o.keep, "data", "", "data directory to use and keep; default: one that is removed")
	_ = flags.Parse(os.Args[1:]) // it exits where it cannot
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "telemetrybench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "telemetrybench"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a left-over is visible
	}
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

	began := time.Now()
	load, err := prepare(o)
	if err != nil {
		return err
	}
	say("%d log records and %d spans, %d MiB as OTLP protobuf, %d MiB as %s, made in %s",
		load.logs, load.spans, load.plain>>20, load.bytes>>20, o.encoding, time.Since(began).Round(time.Second))

	s, err := startServer(ctx, o, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer func() {
		if e := s.stop(); err == nil {
			err = e
		}
	}()
	busy := loadAverage()
	watch := watchMemory(s.pid)
	taken, err := s.ingest(ctx, o, load)
	if err != nil {
		return err
	}
	peak := watch.stop()
	load.requests = nil // they are memory of the same machine
	say("acknowledged after %s, searchable after %s: %.0f records/s; memory at most %d MiB",
		taken.acknowledged.Round(time.Millisecond), taken.searchable.Round(time.Millisecond), taken.rate(load), peak.sum>>20)
	say("processor time: %s a record; server %s, log engine %s, span engine %s", taken.each(load), taken.cpu[0], taken.cpu[1], taken.cpu[2])
	watch = watchMemory(s.pid)
	results, err := s.ask(ctx, o, load)
	if err != nil {
		return err
	}
	asking := watch.stop()
	table := report(o, load, taken, results, peak, asking, busy)
	fmt.Print(table)
	if o.update == "" {
		return nil
	}
	return replace(o.update, table)
}

// targetRate is how many records a second are to be taken in.
const targetRate = 100_000

// The table stands between these lines.
const (
	tableBegin = "<!-- telemetry: written by make bench-telemetry -->\n"
	tableEnd   = "<!-- end of telemetry -->\n"
)

func replace(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", path, tableBegin, tableEnd)
	}
	return os.WriteFile(path, []byte(before+tableBegin+table+tableEnd+after), 0o644)
}

func milliseconds(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	if ms < 10 && ms > -10 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func added(tool, raw time.Duration) string {
	return fmt.Sprintf("%+.0f %%, %s", 100*(float64(tool)/float64(raw)-1), milliseconds(tool-raw))
}

func (t times) String() string {
	return fmt.Sprintf("%s (%s), %s", milliseconds(t.quantile(0.5)), milliseconds(t.quantile(0.95)), milliseconds(t.quantile(0)))
}

func report(o options, l *load, t ingested, results []result, peak, asking memory, busy string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("| what | figure | target |")
	line("|---|---|---|")
	line("| records taken in, until all can be found | %.0f records/s (%d log records, %d spans, %s) | ≥ 100,000 |", t.rate(l), l.logs, l.spans, t.searchable.Round(100*time.Millisecond))
	line("| until all were acknowledged, which is on disk | %s | |", t.acknowledged.Round(100*time.Millisecond))
	line("| processor time of a record: server + log engine + span engine | %.1f µs (%s, %s, %s in all) | < %.0f µs for the rate on %d cores |",
		float64(t.each(l).Nanoseconds())/1000, t.cpu[0].Round(100*time.Millisecond), t.cpu[1].Round(100*time.Millisecond), t.cpu[2].Round(100*time.Millisecond),
		float64(runtime.NumCPU())*1e6/targetRate, runtime.NumCPU())
	line("| memory while taking in: server + log engine + span engine, at most | %d MiB (each at most %d, %d, %d) | < 2 GiB |", peak.sum>>20, peak.each[0]>>20, peak.each[1]>>20, peak.each[2]>>20)
	line("| the same while asking | %d MiB (%d, %d, %d) | < 2 GiB |", asking.sum>>20, asking.each[0]>>20, asking.each[1]>>20, asking.each[2]>>20)
	line("")
	line("| question | tool over MCP: median (p95), least | straight to the engine: median (p95), least | added to the median | to the least |")
	line("|---|---|---|---|---|")
	for _, r := range results {
		line("| %s | %s | %s | %s | %s |", r.name, r.tool, r.raw, added(r.tool.quantile(0.5), r.raw.quantile(0.5)), added(r.tool.quantile(0), r.raw.quantile(0)))
	}
	line("")
	line("Each question was asked %d times, in turns with the engine and by turns before and after it. %d senders, %d records in a request, %s. Load of the machine before: %s.",
		o.rounds, o.senders, o.batch, o.encoding, busy)
	return b.String()
}
