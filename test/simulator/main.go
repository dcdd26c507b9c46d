// Command simulator loads a store with very many people, teams and grants and
// measures what that costs. "make simulate" runs it; docs/benchmarks.md has
// figures.
//
// The rows go into the real tables, which the store itself has made; then
// three replicas (each with connections, keys and a gate of its own) work on
// them in this process, and the built program is started over them. Who and
// what there is follows from the numbers and the seed alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/pgtest"
)

type options struct {
	people, teams, connections int
	// grants are the sizes at which is measured.
	grants                                 []int
	databaseURL, databases, binary, update string
	data                                   string
	seed                                   uint64
}

func main() {
	var o options
	var grants string
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: simulator [flags]\n\nLoads a store with very many people, teams and grants and measures what that costs.\n\nFlags:")
		flag.PrintDefaults()
	}
	flag.IntVar(&o.people, "people", 1_000_000, "`number` of people")
	flag.IntVar(&o.teams, "teams", 10_000, "`number` of teams")
	flag.StringVar(&grants, "grants", "10000,500000,5000000", "`numbers` of grants at which to measure, going up")
	flag.IntVar(&o.connections, "connections", 10_000, "`number` of grants in use at once")
	flag.StringVar(&o.databases, "databases", "sqlite,postgres", "`names` of the databases to load")
	flag.StringVar(&o.databaseURL, "database-url", "", "`URL` of an empty PostgreSQL database; default: one of an own server, which does not wait for the disk")
	flag.StringVar(&o.binary, "binary", "bin/oriel", "`file` of the built program; \"\" leaves its part out")
	flag.StringVar(&o.data, "data", "", "`folder` for data; default: one that is removed")
	flag.StringVar(&o.update, "update", "", "write the tables into this `file`, between the lines that mark them")
	flag.Uint64Var(&o.seed, "seed", 1, "`number` that everything follows from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := o.parse(grants)
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(1)
	}
}

func (o *options) parse(grants string) error {
	for text := range strings.SplitSeq(grants, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("--grants: %w", err)
		}
		o.grants = append(o.grants, n)
	}
	if !slices.IsSorted(o.grants) || o.grants[0] < smallEvery || o.people < 1 || o.teams < 1 || o.connections < 1 {
		return fmt.Errorf("numbers must be above 0, and those of --grants go up from %d", smallEvery)
	}
	return nil
}

func run(ctx context.Context, o options) (err error) {
	dir := o.data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "simulator"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a left-over is visible
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
	}
	for name := range strings.SplitSeq(o.databases, ",") {
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o700); err != nil {
			return err
		}
		p := place{path: filepath.Join(own, "oriel.db")}
		if name == "postgres" {
			if p.url = o.databaseURL; p.url == "" {
				s, err := pgtest.Start()
				if err != nil {
					return err
				}
				// The server ends when nobody holds it any more.
				defer runtime.KeepAlive(s)
				if err := s.Exec(ctx, "CREATE DATABASE simulator ENCODING 'UTF8' TEMPLATE template0"); err != nil {
					return err
				}
				p.url = s.URL("simulator")
			}
		}
		busy := loadAverage()
		all, err := simulate(ctx, o, p, own, say)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
		text := report(o, p, all, busy)
		fmt.Print(text)
		if o.update != "" {
			if err := replace(o.update, name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// simulate loads a store step by step and measures at each.
func simulate(ctx context.Context, o options, p place, dir string, say func(string, ...any)) (all []figures, err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	issuer := "http://" + port
	public, err := spec.ParsePublicURL(issuer, false)
	if err != nil {
		return nil, err
	}
	settings := config.Store{DataDir: dir, DatabaseURL: p.url}
	master, err := settings.Prepare()
	if err != nil {
		return nil, err
	}
	w := &world{place: p, master: master, issuer: issuer, at: spec.NewResources(public).Bare(), newest: make(map[int]grant.RefreshToken), ended: make(map[int]bool)}
	w.who = population{seed: o.seed, people: o.people, teams: o.teams, resource: w.at.URL(), now: time.Now()}
	began := time.Now()
	if err := p.prepare(ctx, w.who); err != nil {
		return nil, err
	}
	say("%s: %d people and %d teams in %s", p.name(), o.people, o.teams, time.Since(began).Round(time.Millisecond))
	_, _, _, grants := w.who.tables()
	loaded := 0
	for step, size := range o.grants {
		f := figures{grants: size}
		began := time.Now()
		if err := p.fill(ctx, grants, loaded, size); err != nil {
			return all, err
		}
		f.load, loaded = time.Since(began), size
		if f.size, err = p.size(ctx); err != nil {
			return all, err
		}
		say("%s: %d grants after %s more, %d MiB", p.name(), size, f.load.Round(time.Millisecond), f.size>>20)
		if f.open, err = w.start(ctx, p.replicas()); err != nil {
			return all, err
		}
		if err = w.step(ctx, o, &f, uint64(step), step == len(o.grants)-1, say); err != nil {
			return all, errors.Join(err, w.stop())
		}
		if err = w.stop(); err != nil {
			return all, err
		}
		if o.binary != "" {
			if err := w.serve(ctx, o, &f, dir, port); err != nil {
				return all, err
			}
			say("%s: program ready after %s, %d MiB, %d MiB after %d connections", p.name(), f.ready.Round(time.Millisecond), f.resident>>20, f.residentAfter>>20, f.served)
		}
		all = append(all, f)
	}
	return all, nil
}

func (w *world) step(ctx context.Context, o options, f *figures, salt uint64, last bool, say func(string, ...any)) error {
	if _, err := w.each(ctx, f, salt); err != nil {
		return err
	}
	say("%s: refresh %s, first check %s, check %s (p99 %s), own list %s, sweep %s", w.place.name(),
		f.refresh.quantile(0.5), f.cold.quantile(0.5), f.hot.quantile(0.5), f.hot.quantile(0.99), f.ownList.quantile(0.5), f.sweep)
	if !last {
		return nil
	}
	if err := w.inUse(ctx, f, min(o.connections, f.grants/5)); err != nil {
		return err
	}
	say("%s: %d bytes a connection; hour: all ended after %s, all back after %s", w.place.name(), f.perConnection, f.hourEnd, f.hourBack)
	err := w.revoke(ctx, f)
	say("%s: revoked in %s, everywhere after %s more (p99 %s); %d grants of an app in %s, %d in %s", w.place.name(),
		f.revoke.quantile(0.5), f.spread.quantile(0.5), f.spread.quantile(0.99), f.small, f.smallTook, f.large, f.largeTook)
	return err
}

// freePort returns an address that nothing listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:2], ", ")
}
