// Command bench loads Oriel and oidc-provider (npm) side by side, on one
// machine in one run, and prints what each did. "make bench-peer" runs it;
// docs/benchmarks.md has figures.
//
// Oriel is the built program with a fresh SQLite file, where each answered
// write is on disk; and once more without the wait for the disk. The peer keeps
// everything in memory. Both sign with ES256, rotate refresh tokens, and give
// JWT access tokens for one resource. Neither writes logs of requests.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	warmUp = time.Second
	// codesAtOnce fit into the peer's memory, which keeps 1,000 things.
	codesAtOnce = 160
)

type options struct {
	binary, node, profile string
	conns, rounds         int
	span                  time.Duration
	only                  string
	logs                  bool
	scope                 string
}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "server" || os.Args[1] == "engine") {
		if err := runServer(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.binary, "binary", "bin/oriel", "the built program")
	flag.StringVar(&o.node, "node", "node", "Node.js for the peer")
	flag.IntVar(&o.conns, "conns", 16, "connections")
	flag.IntVar(&o.rounds, "rounds", 3, "how often everything is measured; the median counts")
	flag.DurationVar(&o.span, "time", 5*time.Second, "how long each load runs")
	flag.StringVar(&o.only, "only", "", "only the subjects and loads whose names hold one of these words, separated by commas")
	flag.BoolVar(&o.logs, "logs", false, "let Oriel write its log as it does by default, into the telemetry store too")
	flag.StringVar(&o.scope, "scope", "openid offline_access logs:read", "what the grants are for; without openid nobody signs an id_token, and most MCP clients do not ask for one")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the durable server to this file")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func profileTo(path string) (func(), error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// wanted says whether --only leaves something in. Words that name a subject
// choose among subjects, others among loads.
func (o *options) wanted(name string, among []string) bool {
	any := false
	for word := range strings.SplitSeq(o.only, ",") {
		if word == "" || !slices.ContainsFunc(among, func(s string) bool { return strings.Contains(s, word) }) {
			continue
		}
		if strings.Contains(name, word) {
			return true
		}
		any = true
	}
	return !any
}

const (
	peerName, durableName, unsafeName = "oidc-provider, in memory", "Oriel, on disk", "Oriel, synchronous=OFF"
)

var (
	subjects = []string{peerName, durableName, unsafeName}
	loads    = []string{"refresh", "redeem code", "client_credentials", "introspection", "discovery"}
)

// measured is one load on one subject, once for each round.
type measured struct {
	rates       []float64
	p50s, p99s  []time.Duration
	cpus        []time.Duration // for each request
	before, now float64         // MiB
	missing     string
}

func run(o options) error {
	all := make(map[string]map[string]*measured)
	for round := range o.rounds {
		for _, name := range subjects {
			if !o.wanted(name, subjects) {
				continue
			}
			if all[name] == nil {
				all[name] = make(map[string]*measured)
			}
			fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, name)
			if err := o.measure(name, all[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "load\tserver\trequests/s\tp50\tp99\tprocessor time each\tmemory before → after")
	for _, l := range loads {
		for _, name := range subjects {
			m := all[name][l]
			switch {
			case m == nil:
			case m.missing != "":
				fmt.Fprintf(w, "%s\t%s\tnot there\t\t\t\t%s\n", l, name, m.missing)
			default:
				slices.Sort(m.rates)
				slices.Sort(m.p50s)
				slices.Sort(m.p99s)
				slices.Sort(m.cpus)
				mid := len(m.rates) / 2
				fmt.Fprintf(w, "%s\t%s\t%.0f (%.0f–%.0f)\t%.1f ms\t%.1f ms\t%d µs\t%.0f → %.0f MiB\n", l, name,
					m.rates[mid], m.rates[0], m.rates[len(m.rates)-1], ms(m.p50s[mid]), ms(m.p99s[mid]), m.cpus[mid].Microseconds(), m.before, m.now)
			}
		}
	}
	return w.Flush()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (o *options) measure(name string, into map[string]*measured) (err error) {
	var s *subject
	if name == peerName {
		s, err = startPeer(o.node, o.scope)
	} else {
		dir, tempErr := os.MkdirTemp(".", ".bench-")
		if tempErr != nil {
			return tempErr
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a left-over is visible
		profile := ""
		if name == durableName {
			profile = o.profile
		}
		s, err = startOriel(o.binary, filepath.Join(dir, "data"), name == unsafeName, o.logs, profile, o.scope)
	}
	if err != nil {
		return err
	}
	defer func() {
		if e := s.stop(); err == nil {
			err = e
		}
	}()
	for _, l := range loads {
		if !o.wanted(l, loads) {
			continue
		}
		before := s.rss()
		r, err := o.load(l, s)
		if err != nil {
			return fmt.Errorf("%s: %w", l, err)
		}
		m := into[l]
		if m == nil {
			m = &measured{before: before, missing: r.missing}
			into[l] = m
		}
		m.now = s.rss()
		if r.missing == "" {
			m.rates, m.p50s, m.p99s = append(m.rates, r.rate()), append(m.p50s, r.quantile(0.5)), append(m.p99s, r.quantile(0.99))
			m.cpus = append(m.cpus, r.cpu/time.Duration(max(len(r.latencies), 1)))
		}
	}
	return nil
}

func (o *options) load(name string, s *subject) (*result, error) {
	switch name {
	case "refresh":
		return o.refresh(s)
	case "redeem code":
		return o.redeem(s)
	case "client_credentials":
		form := s.credentials()
		return o.steady(s, func(c *conn, _ int) error {
			_, err := c.form(s.token, "access_token", form)
			return err
		})
	case "introspection":
		token, err := s.introspected()
		if err != nil {
			return nil, err
		}
		form := url.Values{"token": {token}, "client_id": {s.machine}, "client_secret": {s.secret}}.Encode()
		return o.steady(s, func(c *conn, _ int) error {
			body, err := c.do("POST", s.introspect, form)
			if err == nil && !strings.Contains(string(body), `"active":true`) {
				err = fmt.Errorf("introspection: %s", body)
			}
			return err
		})
	default:
		return o.steady(s, func(c *conn, _ int) error {
			_, err := c.do("GET", s.discovery, "")
			return err
		})
	}
}

// steady is a load that asks the same again and again. What fails at once is
// not there.
func (o *options) steady(s *subject, step func(*conn, int) error) (*result, error) {
	c, err := dial(s.url)
	if err != nil {
		return nil, err
	}
	defer c.c.Close() //nolint:errcheck // nothing is lost
	if err := step(c, 0); err != nil {
		return &result{missing: short(err)}, nil //nolint:nilerr // it is part of the table
	}
	if _, err := load(s, o.conns, warmUp, step); err != nil {
		return nil, err
	}
	return load(s, o.conns, o.span, step)
}

func short(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if len(line) > 60 {
		line = line[:60] + "…"
	}
	return line
}

// refresh gives each connection a chain of refresh tokens of its own.
func (o *options) refresh(s *subject) (*result, error) {
	tokens, err := s.tokens(o.conns)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {s.client}}.Encode() + "&refresh_token="
	step := func(c *conn, i int) (err error) {
		tokens[i].Refresh, err = c.form(s.token, "refresh_token", form+url.QueryEscape(tokens[i].Refresh))
		return err
	}
	if _, err := load(s, o.conns, warmUp, step); err != nil {
		return nil, err
	}
	return load(s, o.conns, o.span, step)
}

// redeem exchanges codes, which are made between its parts.
func (o *options) redeem(s *subject) (*result, error) {
	total := &result{}
	for total.took < o.span/2 {
		codes, err := s.codes(codesAtOnce)
		if err != nil {
			return nil, err
		}
		each := len(codes) / o.conns
		next := make([]int, o.conns)
		part, err := load(s, o.conns, time.Minute, func(c *conn, i int) error {
			if next[i] == each {
				return errDone
			}
			code := codes[i*each+next[i]]
			next[i]++
			_, err := c.form(s.token, "refresh_token", redemption(s, code))
			return err
		})
		if err != nil {
			return nil, err
		}
		total.add(part)
	}
	return total, nil
}

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func redemption(s *subject, code string) string {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}, "client_id": {s.client},
	}.Encode()
}

// tokens makes grants and returns a pair of tokens of each.
func (s *subject) tokens(n int) ([]pair, error) {
	codes, err := s.codes(n)
	if err != nil {
		return nil, err
	}
	c, err := dial(s.url)
	if err != nil {
		return nil, err
	}
	defer c.c.Close() //nolint:errcheck // nothing is lost
	pairs := make([]pair, n)
	for i, code := range codes {
		body, err := c.do("POST", s.token, redemption(s, code))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &pairs[i]); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// introspected returns a token that the machine may ask about: of its own
// where a client learns about no others.
func (s *subject) introspected() (string, error) {
	if s.introspectsRefresh {
		tokens, err := s.tokens(1)
		if err != nil {
			return "", err
		}
		return tokens[0].Refresh, nil
	}
	c, err := dial(s.url)
	if err != nil {
		return "", err
	}
	defer c.c.Close() //nolint:errcheck // nothing is lost
	return c.form(s.token, "access_token", s.credentials())
}

func (s *subject) credentials() string {
	v := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.machine}, "client_secret": {s.secret}}
	if s.resource != "" {
		v.Set("resource", s.resource)
	}
	return v.Encode()
}
