package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/proof"
	"github.com/orielhq/oriel/internal/telemetry/remote"
	"github.com/orielhq/oriel/internal/telemetry/spool"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// engines are those of one signal: one for all teams, and those of teams that
// have their own. It reads and writes with each team's.
type engines struct {
	signal string
	usual  *engine
	teams  map[telemetry.TenantID]*engine
	// slugs names the teams for those who look after the server.
	slugs map[telemetry.TenantID]string
}

var (
	_ telemetry.Logs       = (*engines)(nil)
	_ telemetry.Spans      = (*engines)(nil)
	_ telemetry.Writer     = (*engines)(nil)
	_ telemetry.SpanWriter = (*engines)(nil)
)

func (e *engines) of(tenant telemetry.TenantID) *engine {
	if own := e.teams[tenant]; own != nil {
		return own
	}
	return e.usual
}

// all returns every engine once.
func (e *engines) all() []*engine {
	if e == nil {
		return nil
	}
	var list []*engine
	for _, one := range append([]*engine{e.usual}, slices.Collect(maps.Values(e.teams))...) {
		if one != nil && !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

// QueryLogs implements telemetry.Logs.
func (e *engines) QueryLogs(ctx context.Context, view telemetry.View, q telemetry.LogQuery, b telemetry.Budget) (telemetry.LogResult, error) {
	tenant, _ := view.Tenant()
	one := e.of(tenant)
	if one.unproven() != "" {
		return telemetry.LogResult{}, telemetry.ErrUnavailable
	}
	return one.client.QueryLogs(ctx, view, q, b)
}

// QuerySpans implements telemetry.Spans.
func (e *engines) QuerySpans(ctx context.Context, view telemetry.View, q telemetry.SpanQuery, b telemetry.Budget) (telemetry.SpanResult, error) {
	tenant, _ := view.Tenant()
	one := e.of(tenant)
	if one.unproven() != "" {
		return telemetry.SpanResult{}, telemetry.ErrUnavailable
	}
	return one.client.QuerySpans(ctx, view, q, b)
}

// WriteLogs implements telemetry.Writer: when it returns, the records are safe.
func (e *engines) WriteLogs(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	one := e.of(tenant)
	return spool.LogWriter{Spool: one.spool, Encode: one.client.EncodeLogs}.WriteLogs(ctx, tenant, batch)
}

// WriteSpans implements telemetry.SpanWriter: when it returns, the spans are
// safe.
func (e *engines) WriteSpans(ctx context.Context, tenant telemetry.TenantID, batch []telemetry.SpanRecord) error {
	one := e.of(tenant)
	return spool.SpanWriter{Spool: one.spool, Encode: one.client.EncodeSpans}.WriteSpans(ctx, tenant, batch)
}

// startEngines starts the signal's engines: embedded ones, or those that the
// file names. usual and team pick the signal's endpoint.
func startEngines(ctx context.Context, c engineConfig, f remote.File, tenants map[string]telemetry.TenantID, usual *remote.Endpoint, team func(remote.Signals) *remote.Endpoint) (e *engines, err error) {
	e = &engines{signal: c.signal, teams: make(map[telemetry.TenantID]*engine), slugs: make(map[telemetry.TenantID]string)}
	if usual == nil {
		e.usual, err = startEngine(ctx, c)
	} else {
		e.usual, err = startRemote(ctx, c, *usual)
	}
	if err != nil {
		return e, err
	}
	byEndpoint := make(map[remote.Endpoint]*engine)
	if usual != nil {
		byEndpoint[*usual] = e.usual
	}
	for _, slug := range f.Slugs() {
		endpoint := team(f.Teams[slug])
		if endpoint == nil {
			continue
		}
		tenant, ok := tenants[slug]
		if !ok {
			return e, fmt.Errorf("the engines' file names the team %q, which there is not; create it first (oriel team add), or take it out of the file", slug)
		}
		one := byEndpoint[*endpoint]
		if one == nil {
			if one, err = startRemote(ctx, c, *endpoint); err != nil {
				return e, fmt.Errorf("team %s: %w", slug, err)
			}
			byEndpoint[*endpoint] = one
		}
		e.teams[tenant], e.slugs[tenant] = one, slug
	}
	return e, nil
}

// Timing of remote engines.
const (
	// proofTimeout bounds one proof, and what a start waits for it.
	proofTimeout = time.Minute
	// probePeriod is how often an engine is asked whether it answers, and an
	// unproven one proven again; probeTimeout bounds the question.
	probePeriod  = 5 * time.Second
	probeTimeout = 3 * time.Second
)

// A remoteState is what is known of an engine on another machine.
type remoteState struct {
	name   string // for messages
	client *remote.Client
	prove  func(context.Context) error
	stop   context.CancelFunc
	ended  sync.WaitGroup

	mu sync.Mutex // guards the rest
	// proven holds once the proof succeeded; until then nothing is asked of
	// the engine, and nobody's rows are sent to it.
	proven bool
	// reason says why it does not serve, "" where it does.
	reason string
}

// startRemote connects to an engine on another machine. One that fails its
// proof is an error; one that cannot be reached is not used until it passes.
func startRemote(ctx context.Context, c engineConfig, endpoint remote.Endpoint) (e *engine, err error) {
	limit, err := c.options.SpoolBytes()
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(endpoint.URL)
	if err != nil {
		return nil, fmt.Errorf("%s engine: %w", c.signal, err)
	}
	state := &remoteState{name: "the " + c.signal + " engine at " + address.Host}
	if state.client, err = remote.NewClient(c.signal, endpoint); err != nil {
		return nil, err
	}
	e = &engine{signal: c.signal, remote: state}
	e.client, err = victoria.NewClient(victoria.ClientConfig{URL: endpoint.URL, WriteURL: endpoint.WriteURL, HTTP: state.client.HTTP})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", state.name, err)
	}
	state.prove = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, proofTimeout)
		defer cancel()
		if c.signal == "span" {
			return proof.Spans(ctx, time.Now(), e.client, e.client)
		}
		return proof.Logs(ctx, time.Now(), e.client, e.client)
	}
	err = state.prove(ctx)
	if _, ok := errors.AsType[*proof.RefusedError](err); ok {
		return nil, fmt.Errorf("%s cannot be used: %w", state.name, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	state.proved(err)
	if err != nil {
		c.log.WarnContext(ctx, state.name+" is not used until it has proven that it keeps teams apart", "err", err)
	}
	// Each engine has a spool of its own, and keeps it wherever else in the
	// file it moves.
	sum := sha256.Sum256([]byte(endpoint.WriteURL))
	e.spool, err = openSpool(ctx, spool.Config{
		Name: c.signal, Dir: c.store.Path(c.spool + "-" + hex.EncodeToString(sum[:6])), Sink: provenSink{e}, MaxBytes: limit, Settle: victoria.WrittenAfter,
		Check: c.watermark.Check, Logger: c.log, Registerer: c.registererOf(address.Host + address.Path),
	})
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	state.stop = stop
	state.ended.Go(func() { state.watch(watching, e, c) })
	return e, nil
}

// proved notes how a proof went.
func (s *remoteState) proved(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused, isRefused := errors.AsType[*proof.RefusedError](err)
	switch {
	case err == nil:
		s.proven, s.reason = true, ""
	case isRefused:
		s.reason = s.name + " cannot be used: " + refused.Reason
	default:
		s.reason = s.name + " does not answer, and has not yet proven that it keeps teams apart"
	}
}

// watch asks whether the engine answers, and proves it where that is still to
// be done, until ctx ends.
func (s *remoteState) watch(ctx context.Context, e *engine, c engineConfig) {
	tick := time.NewTicker(probePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if e.unproven() != "" {
			err := s.prove(ctx)
			s.proved(err)
			if err == nil {
				c.log.Info(s.name + " has proven that it keeps teams apart, and is used now")
			} else if _, ok := errors.AsType[*proof.RefusedError](err); ok {
				c.log.Error(s.name+" cannot be used", "err", err)
			}
			continue
		}
		ask, cancel := context.WithTimeout(ctx, probeTimeout)
		err := e.client.Ready(ask)
		cancel()
		reason := ""
		if err != nil || s.client.Open() {
			reason = s.name + " does not answer"
		}
		s.mu.Lock()
		if s.reason != reason && ctx.Err() == nil {
			c.log.Warn(s.name, "answers", reason == "")
			s.reason = reason
		}
		s.mu.Unlock()
	}
}

// unproven says why nothing may be asked of the engine, "" where it may.
func (e *engine) unproven() string {
	if e.remote == nil {
		return ""
	}
	e.remote.mu.Lock()
	defer e.remote.mu.Unlock()
	if e.remote.proven {
		return ""
	}
	return e.remote.reason
}

// state says why the engine does not answer, "" where it does.
func (s *remoteState) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" && s.client.Open() {
		return s.name + " does not answer"
	}
	return s.reason
}

// A provenSink sends nobody's rows to an engine that may mix them up.
type provenSink struct{ *engine }

// Deliver implements spool.Sink.
func (s provenSink) Deliver(ctx context.Context, tenant telemetry.TenantID, payload []byte) (string, error) {
	if reason := s.unproven(); reason != "" {
		return "", fmt.Errorf("%w: %s", telemetry.ErrUnavailable, reason)
	}
	return s.client.Deliver(ctx, tenant, payload)
}

// Instance implements spool.Sink.
func (s provenSink) Instance(ctx context.Context) (string, error) { return s.client.Instance(ctx) }

// Flush implements spool.Sink.
func (s provenSink) Flush(ctx context.Context) error { return s.client.Flush(ctx) }

// waitReady returns when all engines answer, for commands.
func (t *telemetryStore) waitReady(ctx context.Context) error {
	var g errgroup.Group
	for _, one := range append(t.logs.all(), t.spans.all()...) {
		g.Go(func() error {
			if one.supervisor != nil {
				if err := one.supervisor.WaitReady(ctx); err != nil {
					return fmt.Errorf("start the %s engine: %w", one.signal, err)
				}
				return nil
			}
			if reason := one.remote.state(); reason != "" {
				return errors.New(reason)
			}
			return nil
		})
	}
	return g.Wait()
}
