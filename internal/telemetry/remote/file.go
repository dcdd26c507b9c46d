// Package remote reaches telemetry engines on other machines: it reads which
// there are ([Read]), and makes HTTP clients for them that authenticate, bound
// what they wait for, try again within a budget, and stop asking an engine that
// is down ([NewClient]).
//
// It knows nothing of any engine's API: packages victoria and prom speak it,
// over the clients made here.
package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// A File says which engines are used instead of the embedded ones.
type File struct {
	// Logs and Traces are of all teams; nil is the embedded engine.
	Logs   *Endpoint `yaml:"logs"`
	Traces *Endpoint `yaml:"traces"`
	// Metrics are of all teams; nil is the embedded storage.
	Metrics *Metrics `yaml:"metrics"`
	// Teams have engines of their own, by slug.
	Teams map[string]Signals `yaml:"teams"`
}

// Signals are the engines of one team; nil is that of all teams.
type Signals struct {
	Logs   *Endpoint `yaml:"logs"`
	Traces *Endpoint `yaml:"traces"`
}

// An Endpoint is an engine, and how it is reached.
type Endpoint struct {
	// URL is where queries go, without the paths of the engine's API;
	// WriteURL where rows go, the same if empty.
	URL      string `yaml:"url"`
	WriteURL string `yaml:"write_url"`
	// AuthorizationFile holds the value of the header Authorization, e.g.
	// "Bearer …". It is read again when it changes.
	AuthorizationFile string `yaml:"authorization_file"`
	// CAFile has the certificates (PEM) that the engine's must be signed by;
	// empty is what the machine trusts. CertFile and KeyFile are Oriel's own.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Timeout is how long an engine may take to begin its answer.
	Timeout time.Duration `yaml:"timeout"`
}

// Metrics are an engine that speaks Prometheus' HTTP API and remote write.
type Metrics struct {
	// Endpoint's WriteURL is the whole address of remote write; empty is URL
	// with /api/v1/write.
	Endpoint `yaml:",inline"`
	// Server is the kind: prometheus, mimir, thanos or victoriametrics.
	Server string `yaml:"server"`
	// TenantHeader or TenantLabel carries the team's number; where both are
	// empty, {tenant} in the paths of both URLs does.
	TenantHeader string `yaml:"tenant_header"`
	TenantLabel  string `yaml:"tenant_label"`
}

// servers are the kinds that Metrics.Server may name.
var servers = []string{"prometheus", "mimir", "thanos", "victoriametrics"}

func (m *Metrics) check() error {
	write := m.WriteURL
	err := m.Endpoint.check()
	m.WriteURL = write // the default is another one here
	if !slices.Contains(servers, m.Server) {
		err = errors.Join(err, fmt.Errorf("server %q: write one of %s", m.Server, strings.Join(servers, ", ")))
	}
	return err
}

// Identity tells engines apart: those with the same are one, which may be asked
// in one way only.
func (e *Endpoint) Identity() string {
	return strings.Join([]string{e.WriteURL, e.URL, e.AuthorizationFile, e.CertFile}, "\n")
}

// Bounds of an Endpoint's Timeout, and what an empty one is.
const (
	DefaultTimeout = 35 * time.Second
	minTimeout     = time.Second
	maxTimeout     = 5 * time.Minute
)

// maxFileBytes of configuration are read.
const maxFileBytes = 1 << 20

// Read reads and checks a file. Errors say which line is wrong and what would
// be right.
func Read(path string) (f File, err error) {
	in, err := os.Open(path)
	if err != nil {
		return f, fmt.Errorf("read the engines' file: %w", err)
	}
	defer func() { _ = in.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return f, fmt.Errorf("read the engines' file: %w", err)
	}
	if len(text) > maxFileBytes {
		return f, fmt.Errorf("%s is larger than %d bytes", path, maxFileBytes)
	}
	if f, err = parse(text); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func parse(text []byte) (f File, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	switch err := d.Decode(&f); {
	case errors.Is(err, io.EOF):
		return f, errors.New("it is empty; it names an engine for a signal, e.g. logs: {url: https://logs.internal:9471}")
	case err != nil:
		return f, readable(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return f, errors.New("it has more than one document (---); write one")
	}
	var errs []error
	check := func(name string, e *Endpoint) {
		if e != nil {
			if err := e.check(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	check("logs", f.Logs)
	check("traces", f.Traces)
	if f.Metrics != nil {
		if err := f.Metrics.check(); err != nil {
			errs = append(errs, fmt.Errorf("metrics: %w", err))
		}
	}
	for _, slug := range f.Slugs() {
		team := f.Teams[slug]
		if team == (Signals{}) {
			errs = append(errs, fmt.Errorf("teams: %s: it names no engine; write logs or traces with a url, or leave the team out", slug))
		}
		check("teams: "+slug+": logs", team.Logs)
		check("teams: "+slug+": traces", team.Traces)
	}
	errs = append(errs, f.apart(), f.alike())
	if f.Logs == nil && f.Traces == nil && f.Metrics == nil && len(f.Teams) == 0 {
		errs = append(errs, errors.New("it names no engine; write logs, traces, metrics or teams"))
	}
	return f, errors.Join(errs...)
}

// apart refuses one engine for logs and spans: a team has the same tenant in
// both, and its log records and spans would be mixed.
func (f File) apart() error {
	logs := make(map[string]bool)
	every := []Signals{{f.Logs, f.Traces}}
	for _, slug := range f.Slugs() {
		every = append(every, f.Teams[slug])
	}
	for _, s := range every {
		if s.Logs != nil {
			logs[s.Logs.WriteURL], logs[s.Logs.URL] = true, true
		}
	}
	for _, s := range every {
		if s.Traces != nil && (logs[s.Traces.WriteURL] || logs[s.Traces.URL]) {
			return errors.New("logs and traces name the same engine, which would mix records and spans; give traces one of their own")
		}
	}
	return nil
}

// alike refuses one engine that is to be asked in two ways.
func (f File) alike() error {
	for _, of := range []func(Signals) *Endpoint{func(s Signals) *Endpoint { return s.Logs }, func(s Signals) *Endpoint { return s.Traces }} {
		known := make(map[string]Endpoint)
		for _, s := range append([]Signals{{f.Logs, f.Traces}}, slices.Collect(maps.Values(f.Teams))...) {
			e := of(s)
			if e == nil {
				continue
			}
			if other, ok := known[e.Identity()]; ok && other != *e {
				return fmt.Errorf("the engine at %s is named twice with another timeout, ca_file or key_file; write the same", e.URL)
			}
			known[e.Identity()] = *e
		}
	}
	return nil
}

// readable turns the decoder's words for Go types into ours.
func readable(err error) error {
	text := strings.NewReplacer(
		" in type remote.File", "; the keys are logs, traces, metrics and teams",
		" in type remote.Signals", "; the keys of a team are logs and traces",
		" in type remote.Metrics", "; the keys are url, write_url, server, tenant_header, tenant_label, authorization_file, ca_file, cert_file, key_file and timeout",
		" in type remote.Endpoint", "; the keys are url, write_url, authorization_file, ca_file, cert_file, key_file and timeout",
		"into time.Duration", "as a duration such as 30s",
		"into remote.Endpoint", "as an engine, which is written {url: https://…}",
		"into remote.Metrics", "as an engine, which is written {url: https://…, server: mimir, tenant_header: X-Scope-OrgID}",
		"into remote.Signals", "as a team's engines, which are written {logs: {url: https://…}}",
		"into remote.File", "as the file, which begins with logs:, traces: or teams:",
		"yaml: ", "", "unmarshal errors:\n  ", "", "unmarshal ", "read ", "cannot unmarshal", "cannot read",
	).Replace(err.Error())
	return errors.New(text)
}

// Slugs are the teams with engines of their own, in order.
func (f File) Slugs() []string {
	slugs := make([]string, 0, len(f.Teams))
	for slug := range f.Teams {
		slugs = append(slugs, slug)
	}
	slices.Sort(slugs)
	return slugs
}

func (e *Endpoint) check() error {
	var errs []error
	for _, u := range []struct {
		key, text string
		needed    bool
	}{{"url", e.URL, true}, {"write_url", e.WriteURL, false}} {
		if u.text == "" && !u.needed {
			continue
		}
		parsed, err := url.Parse(u.text)
		switch {
		case err != nil, parsed.Host == "", parsed.Scheme != "http" && parsed.Scheme != "https":
			errs = append(errs, fmt.Errorf("%s must be http:// or https:// and a host, such as https://logs.internal:9471", u.key))
		case parsed.User != nil:
			errs = append(errs, fmt.Errorf("%s has a password in it; write it as the header's value into a file, and name that in authorization_file", u.key))
		case parsed.RawQuery != "" || parsed.Fragment != "":
			errs = append(errs, fmt.Errorf("%s must end with its path, without ? or #", u.key))
		}
	}
	if e.Timeout != 0 && (e.Timeout < minTimeout || e.Timeout > maxTimeout) {
		errs = append(errs, fmt.Errorf("timeout %s: write one from %s to %s", e.Timeout, minTimeout, maxTimeout))
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		errs = append(errs, errors.New("cert_file and key_file go together"))
	}
	if e.WriteURL == "" {
		e.WriteURL = e.URL
	}
	if e.Timeout == 0 {
		e.Timeout = DefaultTimeout
	}
	return errors.Join(errs...)
}
