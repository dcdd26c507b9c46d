package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orielhq/oriel/internal/config"
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
	if one.remote.unproven() != "" {
		return telemetry.LogResult{}, telemetry.ErrUnavailable
	}
	return one.client.QueryLogs(ctx, view, q, b)
}

// QuerySpans implements telemetry.Spans.
func (e *engines) QuerySpans(ctx context.Context, view telemetry.View, q telemetry.SpanQuery, b telemetry.Budget) (telemetry.SpanResult, error) {
	tenant, _ := view.Tenant()
	one := e.of(tenant)
	if one.remote.unproven() != "" {
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
	// ask asks whether the engine answers.
	ask   func(context.Context) error
	stop  context.CancelFunc
	ended sync.WaitGroup

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
	state.client.Overrun = victoria.Overrun
	e = &engine{signal: c.signal, remote: state}
	e.client, err = victoria.NewClient(victoria.ClientConfig{URL: endpoint.URL, WriteURL: endpoint.WriteURL, HTTP: state.client.HTTP})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", state.name, err)
	}
	state.ask = e.client.Ready
	state.prove = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, proofTimeout)
		defer cancel()
		if c.signal == "span" {
			return proof.Spans(ctx, time.Now(), e.client, e.client)
		}
		return proof.Logs(ctx, time.Now(), e.client, e.client)
	}
	if err := state.first(ctx, c.log); err != nil {
		return nil, err
	}
	e.spool, err = openSpool(ctx, spool.Config{
		Name: c.signal, Dir: c.store.Path(spoolOf(c.spool, endpoint)), Sink: provenSink{state, e.client}, MaxBytes: limit, Settle: victoria.WrittenAfter,
		Check: c.watermark.Check, Logger: c.log, Registerer: c.registererOf(address.Host + address.Path + "#" + engineID(endpoint)),
	})
	if err != nil {
		return nil, err
	}
	state.start(ctx, c.log)
	return e, nil
}

// spoolOf is the folder of the spool of one of several engines: an engine keeps
// it wherever else in the file it moves.
func spoolOf(dir string, endpoint remote.Endpoint) string { return dir + "-" + engineID(endpoint) }

// engineID tells engines apart, also those at one address.
func engineID(endpoint remote.Endpoint) string {
	sum := sha256.Sum256([]byte(endpoint.Identity()))
	return hex.EncodeToString(sum[:6])
}

// lookForLeft warns of rows in spools of engines that are no longer in use:
// what was accepted shall not be forgotten.
func lookForLeft(ctx context.Context, c *config.Store, log *slog.Logger) {
	entries, err := os.ReadDir(c.Path(spoolsDir))
	if err != nil {
		return // there are none
	}
	for _, entry := range entries {
		dir := filepath.Join(c.Path(spoolsDir), entry.Name())
		bytes, err := spool.Left(dir)
		if err != nil || bytes > 0 {
			log.WarnContext(ctx, "the spool of an engine that is no longer in use holds what may not have reached it; to hand it over, start with the settings of engines as they were; else delete the folder",
				"folder", dir, "bytes", bytes, "err", err)
		}
	}
}

// first runs the proof of a start, which does not wait for an engine that
// hangs.
func (s *remoteState) first(ctx context.Context, log *slog.Logger) error {
	ask, cancel := context.WithTimeout(ctx, probeTimeout)
	err := s.ask(ask)
	cancel()
	if err == nil {
		err = s.prove(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	s.proved(err)
	switch {
	case err == nil:
	case refusedBy(err):
		return fmt.Errorf("%s cannot be used: %w", s.name, err)
	default:
		log.WarnContext(ctx, s.name+" is not used until it has proven that it keeps teams apart", "err", err)
	}
	return nil
}

// refusedBy tells an engine that must not be used from one that was not
// reached.
func refusedBy(err error) bool {
	return err != nil && !errors.Is(err, telemetry.ErrUnavailable) && !errors.Is(err, telemetry.ErrTooExpensive) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}

// proved notes how a proof went.
func (s *remoteState) proved(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.proven, s.reason = true, ""
	case refusedBy(err):
		s.reason = s.name + " cannot be used: " + err.Error()
	default:
		s.reason = s.name + " " + cmp.Or(s.client.Trouble(), "does not answer") + ", and has not yet proven that it keeps teams apart"
	}
}

// start begins to watch the engine, until end.
func (s *remoteState) start(ctx context.Context, log *slog.Logger) {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.ended.Go(func() { s.watch(watching, log) })
}

func (s *remoteState) end() {
	s.stop()
	s.ended.Wait()
}

// watch asks whether the engine answers, and proves it where that is still to
// be done, until ctx ends.
func (s *remoteState) watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(probePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.unproven() != "" {
			err := s.prove(ctx)
			s.proved(err)
			switch {
			case err == nil:
				log.Info(s.name + " has proven that it keeps teams apart, and is used now")
			case refusedBy(err):
				log.Error(s.name+" cannot be used", "err", err)
			}
			continue
		}
		ask, cancel := context.WithTimeout(ctx, probeTimeout)
		err := s.ask(ask)
		cancel()
		reason := ""
		if trouble := s.client.Trouble(); trouble != "" {
			reason = s.name + " " + trouble
		} else if err != nil {
			reason = s.name + " does not answer"
		}
		s.mu.Lock()
		if s.reason != reason && ctx.Err() == nil {
			log.Warn(s.name, "answers", reason == "")
			s.reason = reason
		}
		s.mu.Unlock()
	}
}

// unproven says why nothing may be asked of the engine, "" where it may.
func (s *remoteState) unproven() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proven {
		return ""
	}
	return s.reason
}

// trouble says why the engine does not serve, "" where it does.
func (s *remoteState) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if trouble := s.client.Trouble(); s.reason == "" && trouble != "" {
		return s.name + " " + trouble
	}
	return s.reason
}

// A provenSink sends nobody's rows to an engine that may mix them up.
type provenSink struct {
	state *remoteState
	spool.Sink
}

// Deliver implements spool.Sink.
func (s provenSink) Deliver(ctx context.Context, tenant telemetry.TenantID, payload []byte) (string, error) {
	if reason := s.state.unproven(); reason != "" {
		return "", fmt.Errorf("%w: %s", telemetry.ErrUnavailable, reason)
	}
	return s.Sink.Deliver(ctx, tenant, payload)
}

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
			if reason := one.remote.trouble(); reason != "" {
				return errors.New(reason)
			}
			return nil
		})
	}
	if t.metrics != nil {
		if reason, _ := t.metrics.ready(); reason != "" {
			return errors.Join(g.Wait(), errors.New(reason))
		}
	}
	return g.Wait()
}
