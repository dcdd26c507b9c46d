// Command incident writes or sends the telemetry of a small shop with planted
// faults and distractors, and the truth about it as JSON.
//
//	go run ./test/incident --out DIR
//	go run ./test/incident --send http://127.0.0.1:8080 --key KEY
//
// It is what the answer-quality suite in test/quality asks about.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/orielhq/oriel/test/incident/shop"
)

type options struct {
	out, url, key, otherKey, end string
	config                       shop.Config
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "folder for logs, spans and metrics as OTLP JSON (one export request a minute and line, as \"oriel import\" and the Collector's file exporter have them) and truth.json")
	flag.StringVar(&o.url, "send", "", "address of a server to send to, such as http://127.0.0.1:8080")
	flag.StringVar(&o.key, "key", "", "ingest key of the team that gets the shop, for --send")
	flag.StringVar(&o.otherKey, "other-key", "", "ingest key of the team that gets the other shop; without one it is not sent")
	flag.StringVar(&o.end, "end", "", "when the set ends, RFC 3339; default: this minute")
	flag.Uint64Var(&o.config.Seed, "seed", 1, "what everything follows from, besides the end")
	flag.IntVar(&o.config.Requests, "requests", shop.DefaultRequests, "requests of customers a minute")
	flag.IntVar(&o.config.Chatter, "chatter", 0, "further log records a minute")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `Makes the telemetry of a shop of 12 services with planted faults, and says which (truth.json).

usage: incident --out DIR [flags]
       incident --send URL --key KEY [flags]

`)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "incident:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	o.config.End = time.Now()
	if o.end != "" {
		end, err := time.Parse(time.RFC3339, o.end)
		if err != nil {
			return fmt.Errorf("--end: %w", err)
		}
		o.config.End = end
	}
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("there are no arguments besides flags: %q", flag.Args())
	case o.out == "" && o.url == "":
		return fmt.Errorf("where to: --out DIR or --send URL --key KEY; see --help")
	case o.url != "" && o.key == "":
		return fmt.Errorf("--send needs --key: oriel key add --team TEAM --name shop")
	}
	set := shop.New(o.config)
	if o.out != "" {
		if err := write(set, o.out); err != nil {
			return err
		}
	}
	if o.url == "" {
		return nil
	}
	keys := map[string]string{shop.Team: o.key}
	if o.otherKey != "" {
		keys[shop.OtherTeam] = o.otherKey
	}
	logs, spans := 0, 0
	for m := range set.All() {
		for team, key := range keys {
			if err := (shop.Sender{URL: o.url, Key: key}).Minute(ctx, m, team); err != nil {
				return err
			}
			l, s := m.Count(team)
			logs, spans = logs+l, spans+s
		}
	}
	fmt.Printf("sent %d log records and %d spans from %s to %s\n", logs, spans, set.Start.Format(time.RFC3339), set.End.Format(time.RFC3339))
	return nil
}

// write writes the set's files.
func write(set *shop.Set, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	truth, err := json.MarshalIndent(set.Truth, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "truth.json"), append(truth, '\n'), 0o644); err != nil {
		return err
	}
	for _, team := range set.Truth.Teams {
		if err := writeTeam(set, dir, team); err != nil {
			return fmt.Errorf("write %s: %w", team, err)
		}
	}
	return nil
}

// writeTeam writes a team's three files: a line of JSON for each minute.
func writeTeam(set *shop.Set, dir, team string) (err error) {
	var files [3]*os.File
	for i, name := range []string{"logs", "traces", "metrics"} {
		if files[i], err = os.Create(filepath.Join(dir, team+"-"+name+".json")); err != nil {
			return err
		}
		defer func() {
			if e := files[i].Close(); err == nil {
				err = e
			}
		}()
	}
	for m := range set.All() {
		logs, err := (&plog.JSONMarshaler{}).MarshalLogs(m.OTLPLogs(team))
		if err != nil {
			return err
		}
		traces, err := (&ptrace.JSONMarshaler{}).MarshalTraces(m.OTLPTraces(team))
		if err != nil {
			return err
		}
		metrics, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(m.OTLPMetrics(team))
		if err != nil {
			return err
		}
		for i, line := range [][]byte{logs, traces, metrics} {
			if _, err := files[i].Write(append(line, '\n')); err != nil {
				return err
			}
		}
	}
	return nil
}
