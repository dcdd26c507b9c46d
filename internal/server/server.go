// Package server builds the whole program from its parts: it opens the store,
// starts the engine, wires every package, holds the route table, and starts
// and stops it all. It has no behaviour of its own.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/console"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/mcpserver"
	"github.com/orielhq/oriel/internal/oauth"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/dpop"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/scim"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/telemetry/prom"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

// Names inside the data directory.
const (
	storeFile = "oriel.db"
)

// Where OTLP exporters send to (OTLP specification, "OTLP/HTTP Request").
const (
	otlpLogsPath    = "/v1/logs"
	otlpTracesPath  = "/v1/traces"
	otlpMetricsPath = "/v1/metrics"
	// remoteWritePath is where Prometheus writes to.
	remoteWritePath = "/api/v1/write"
	// lokiPushPath is where shippers of logs write to.
	lokiPushPath = "/loki/api/v1/push"
)

const (
	// maxHeaderBytes bounds a request's header: self-contained client ids of
	// up to 3 KB travel in it, beside a state of up to 4 KB.
	maxHeaderBytes = 64 << 10
	// headerTimeout and readTimeout bound how slowly a request may come in;
	// answers may take as long as their streams live.
	headerTimeout = 10 * time.Second
	readTimeout   = 60 * time.Second
	idleTimeout   = 2 * time.Minute
	// streamGrace is how long requests under way may go on when the server
	// stops before their contexts end; stopTimeout is when it stops waiting.
	streamGrace = 2 * time.Second
	stopTimeout = 8 * time.Second
	// sweepInterval is how often what nobody needs any more is removed, and
	// sweepAge how long it is kept to answer questions.
	sweepInterval = time.Hour
	sweepAge      = 7 * 24 * time.Hour
	changesAge    = 24 * time.Hour
	// selfInterval is how often the team that receives Oriel's own logs is
	// looked up: it may be created at any time.
	selfInterval = 2 * time.Second
)

// Config is what a Server needs beside its settings.
type Config struct {
	Settings config.Server
	// Now is the clock that everything goes by.
	Now func() time.Time
	// Logs receives Oriel's own log records, beside the telemetry store.
	Logs slog.Handler
	// Engine makes the command that runs RunEngine in a process of its own.
	Engine EngineCommand
	// Network is the way out to client metadata documents; the zero value is
	// the guarded one.
	Network clientdoc.Network
	// Version is shown to clients and in the logs.
	Version string
	// UnsafeStore is store.Config.Unsafe. No setting leads here: only the
	// benchmark asks what the wait for the disk costs.
	UnsafeStore bool
}

// Server is the whole program, ready to run.
type Server struct {
	Config
	public       spec.PublicURL
	listener     net.Listener
	mux          *http.ServeMux
	http         *http.Server
	log          *slog.Logger
	registry     *prometheus.Registry
	db           *store.DB
	keys         *grant.Keyring
	authority    *grant.Authority
	directory    *org.Directory
	gate         *access.Gate
	desk         *login.Desk
	self         *ingest.SelfHandler
	telemetry    *telemetryStore
	inlet        net.Listener
	grpc         *grpc.Server
	grpcListener net.Listener
	secure       secure
	routes       []web.Route
}

// New opens and starts everything but the answering of requests. A server
// that was made must be run, which also closes it.
func New(ctx context.Context, c Config) (_ *Server, err error) {
	if c.Now == nil || c.Logs == nil || c.Engine == nil {
		return nil, errors.New("server: Config needs Now, Logs and Engine")
	}
	s := &Server{Config: c, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	if err := s.Settings.Check(); err != nil {
		return nil, err
	}
	if s.public, err = s.Settings.Public(); err != nil {
		return nil, err
	}
	s.self = ingest.NewSelfHandler(c.Logs, ingest.SelfConfig{Version: c.Version, Host: hostName(), InstanceID: rand.Text()[:12]})
	s.log = slog.New(s.self)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.openState(ctx); err != nil {
		return nil, err
	}
	if err := s.openTelemetry(ctx); err != nil {
		return nil, err
	}
	if err := s.openTLS(ctx); err != nil {
		return nil, err
	}
	if err := s.mount(); err != nil {
		return nil, err
	}
	if err := s.listenGRPC(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// listen takes the address first, so that a second server on it fails before
// it touches anything, and so that port 0 becomes a real one.
func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Settings.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w (is another server running there? choose another address with --listen)", s.Settings.Listen, err)
	}
	s.listener = l
	if host, port, err := net.SplitHostPort(s.Settings.Listen); err == nil && port == "0" {
		_, port, _ = net.SplitHostPort(l.Addr().String())
		s.Settings.Listen = net.JoinHostPort(host, port)
	}
	return nil
}

func (s *Server) openState(ctx context.Context) error {
	master, err := s.Settings.Prepare()
	if err != nil {
		return err
	}
	where := storeConfig(s.Settings.Store)
	where.Unsafe, where.Logger = s.UnsafeStore, s.log
	if s.db, err = store.Open(ctx, where); err != nil {
		return err
	}
	s.countRepeatedWrites()
	if err := s.db.SetPublicURL(ctx, s.public.String()); err != nil {
		return err
	}
	if s.keys, err = grant.OpenKeyring(ctx, s.db, master, s.Now); err != nil {
		return err
	}
	if s.authority, err = grant.New(grant.Config{
		Store: s.db, Keys: s.keys, Master: master, Issuer: s.public.String(), Lifetimes: s.Settings.Lifetimes(), Now: s.Now,
	}); err != nil {
		return err
	}
	s.directory = org.NewDirectory(s.db, s.Now)
	s.gate, err = access.NewGate(ctx, access.Config{
		Source: s.db, Keys: s.keys, Issuer: s.public.String(), Now: s.Now, Lifetimes: s.Settings.Lifetimes(), Logger: s.log,
	})
	return err
}

// mount builds the doors and the route table.
func (s *Server) mount() error {
	pages, err := web.NewPages()
	if err != nil {
		return err
	}
	proxies, err := s.Settings.Proxies()
	if err != nil {
		return err
	}
	site, err := web.New(web.Config{Pages: pages, Logger: s.log, Now: s.Now, PublicURL: s.public.String(), TrustedProxies: proxies, Unavailable: unavailable})
	if err != nil {
		return err
	}
	if err := site.Instrument(s.registry); err != nil {
		return err
	}
	factors, err := mfa.New(mfa.Config{Store: s.db, Derive: s.authority.Master.Derive, PublicURL: s.public.String(), Now: s.Now})
	if err != nil {
		return err
	}
	providers, err := s.providers(site)
	if err != nil {
		return err
	}
	letters, err := s.mailer()
	if err != nil {
		return err
	}
	s.desk, err = login.New(login.Config{
		Store: s.db, People: s.db, Directory: s.directory, Factors: factors, Providers: providers,
		Site: site, Key: s.authority.Master.Derive("signed steps"),
		PublicURL: s.public.String(), Now: s.Now, Logger: s.log, Mail: letters,
	})
	if err != nil {
		return err
	}
	providers.Attach(s.desk)
	resources := spec.NewResources(s.public)
	documents, err := clientdoc.New(clientdoc.Config{Store: s.db, Now: s.Now, Network: s.Network})
	if err != nil {
		return err
	}
	proofs, err := dpop.New(dpop.Config{PublicURL: s.public, NonceKey: s.authority.Master.Derive("dpop nonce"), Now: s.Now})
	if err != nil {
		return err
	}
	as, err := oauth.New(oauth.Config{
		Site: site, Desk: s.desk, Directory: s.directory, Authority: s.authority, Gate: s.gate, Clients: s.db,
		Documents: documents, Admission: s.Settings.Admission(),
		Proofs: proofs, Resources: resources, PublicURL: s.public, Now: s.Now, Once: s.once(),
	})
	if err != nil {
		return err
	}
	set, err := tools.NewSet(tools.Config{
		Logs: s.telemetry.logs, Spans: s.telemetry.spans, Metrics: s.telemetry.metrics,
		CheckLogs: victoria.Guard, CheckMetrics: prom.Check, CursorKey: s.authority.Master.Derive("tool cursor"), Now: s.Now,
		ConsoleURL: s.public.String(),
	})
	if err != nil {
		return err
	}
	con, err := console.New(console.Config{
		Site: site, Desk: s.desk, Directory: s.directory, Authority: s.authority, Audit: s.db, Providers: providers, Now: s.Now, Logger: s.log,
		MCPURL: resources.Bare().URL(), LogsURL: s.public.String() + otlpLogsPath, Logs: s.telemetry.logs, Engines: s.engineLines, Explore: set,
	})
	if err != nil {
		return err
	}
	mcp, err := mcpserver.New(mcpserver.Config{
		Site: site, Gate: s.gate, Proofs: proofs, Resources: resources, PublicURL: s.public, Tools: set, Logger: s.log, Now: s.Now,
		AllowedOrigins: s.Settings.AllowedOrigins, Version: s.Version,
	})
	if err != nil {
		return err
	}
	provisioning, err := scim.New(scim.Config{
		Site: site, Store: s.db, Groups: s.directory, PublicURL: s.public.String(), Now: s.Now, Logger: s.log,
	})
	if err != nil {
		return err
	}
	in, err := ingest.New(ingest.Config{
		Keys: keyChecker{s.gate}, Writer: s.telemetry.logs, Spans: s.telemetry.spans, Metrics: s.telemetry.metrics, Remote: s.telemetry.metrics, Ready: s.telemetry.watermark.Check, Logger: s.log, Now: s.Now,
		Retention: s.Settings.Telemetry.Retention, SpanRetention: s.Settings.Traces, Registerer: s.registry,
	})
	if err != nil {
		return err
	}
	s.grpc = in.GRPC(s.grpcOptions()...)
	s.routes = append(s.routes, site.AssetRoutes()...)
	s.routes = append(s.routes, s.desk.Routes()...)
	s.routes = append(s.routes, providers.Routes()...)
	s.routes = append(s.routes, as.Routes()...)
	s.routes = append(s.routes, con.Routes()...)
	s.routes = append(s.routes, mcp.Routes()...)
	s.routes = append(s.routes, provisioning.Routes()...)
	s.routes = append(s.routes, web.Route{Pattern: "POST " + otlpLogsPath, Who: web.Anyone, Handler: http.HandlerFunc(in.Logs)})
	s.routes = append(s.routes, web.Route{Pattern: "POST " + otlpTracesPath, Who: web.Anyone, Handler: http.HandlerFunc(in.Traces)})
	s.routes = append(s.routes, web.Route{Pattern: "POST " + otlpMetricsPath, Who: web.Anyone, Handler: http.HandlerFunc(in.Metrics)})
	s.routes = append(s.routes, web.Route{Pattern: "POST " + remoteWritePath, Who: web.Anyone, Handler: http.HandlerFunc(in.RemoteWrite)})
	s.routes = append(s.routes, web.Route{Pattern: "POST " + lokiPushPath, Who: web.Anyone, Handler: http.HandlerFunc(in.LokiPush)})
	s.routes = append(s.routes, s.operations(site)...)
	s.mux = http.NewServeMux()
	web.Mount(s.mux, s.routes)
	s.http = &http.Server{
		Handler: s.mux, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.self, slog.LevelDebug),
	}
	return nil
}

// PublicURL returns the address under which people and clients reach the
// server.
func (s *Server) PublicURL() string { return s.public.String() }

// Routes returns the route table.
func (s *Server) Routes() []web.Route { return slices.Clone(s.routes) }

// Run answers requests until ctx is done, then stops: requests under way
// finish, streams end, logs are flushed, the engine and the store close.
func (s *Server) Run(ctx context.Context) error {
	// What serves requests outlives ctx until the last one is answered.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var background errgroup.Group
	background.Go(func() error { s.gate.Run(serving); return nil })
	background.Go(func() error { s.self.Run(serving, s.telemetry.logs); return nil })
	background.Go(func() error { s.sweep(serving); return nil })
	background.Go(func() error { s.desk.RunLetters(serving); return nil })
	background.Go(func() error { s.followSelfTeam(serving); return nil })

	commands := s.commands()
	background.Go(func() error { return serveInlet(serving, commands, s.inlet) })

	// It ends with the requests: what it took must reach the spool before
	// that closes.
	grpcServing, stopGRPC := context.WithCancel(serving)
	defer stopGRPC()
	if s.grpcListener != nil {
		background.Go(func() error { return serveGRPC(grpcServing, s.grpc, s.grpcListener) })
	}

	served := make(chan error, 1)
	go func() { served <- s.serveHTTP() }()
	background.Go(func() error { return s.secure.run(serving) })
	s.log.InfoContext(ctx, "serving", "url", s.public.String(), "listen", s.listener.Addr().String(), "otlp_grpc", s.GRPCAddr(), "version", s.Version)

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		s.log.Info("stopping")
		stopGRPC()
		err = s.stopServing()
	}
	stopServing()
	return errors.Join(err, background.Wait(), s.close(context.WithoutCancel(ctx)))
}

// stopServing lets requests finish and then ends what is left.
func (s *Server) stopServing() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	end := time.AfterFunc(streamGrace, s.gate.EndAll)
	defer end.Stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests did not finish in %s: %w", stopTimeout, err), s.http.Close())
	}
	return nil
}

// close undoes what New opened, as far as it got.
func (s *Server) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.grpcListener != nil {
		if err := s.grpcListener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.secure.close())
	if s.inlet != nil {
		if err := s.inlet.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.telemetry != nil {
		errs = append(errs, s.telemetry.close(ctx))
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// Announce writes what somebody who has just started the server wants to
// know.
func (s *Server) Announce(ctx context.Context, w io.Writer) error {
	has, err := s.directory.HasOwner(ctx)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("\nOriel is running at %s\n", s.public)
	if !has {
		link, err := s.desk.NewSetupURL(ctx)
		if err != nil {
			return err
		}
		text += fmt.Sprintf("\n  Create the owner account (the link works once, for one hour):\n    %s\n", link)
	}
	text += fmt.Sprintf("\n  Connect an assistant: add this to its mcp.json\n    { \"mcpServers\": { \"oriel\": { \"url\": %q } } }\n\n", spec.NewResources(s.public).Bare().URL())
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// leaderPause is waited before standing for leader again.
const leaderPause = 5 * time.Second

// sweep has one of the replicas remove what nobody needs any more.
func (s *Server) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.db.Lead(ctx, s.lead); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot stand for leader", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(leaderPause):
		}
	}
}

// lead removes what nobody needs any more, and rotates the signing key.
func (s *Server) lead(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		now := s.Now()
		err := errors.Join(
			s.keys.Rotate(ctx),
			s.db.SweepGrants(ctx, now.Add(-sweepAge), s.authority.Lifetimes),
			s.db.SweepSessions(ctx, now.Add(-login.SessionIdle), now),
			s.db.SweepChallenges(ctx, now),
			s.db.SweepAccountLinks(ctx, now),
			s.db.SweepAssertions(ctx, now),
			s.db.SweepSignIns(ctx, now.Add(-changesAge)),
			s.db.SweepChanges(ctx, now.Add(-changesAge)))
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "sweep failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// noSelfTeam is the value of --self-team that keeps Oriel's logs out of the
// telemetry store.
const noSelfTeam = "-"

// followSelfTeam sends Oriel's own logs to the team that is set, or the first
// one, as soon as it exists.
func (s *Server) followSelfTeam(ctx context.Context) {
	if s.Settings.SelfTeam == noSelfTeam {
		return
	}
	tick := time.NewTicker(selfInterval)
	defer tick.Stop()
	for {
		teams, err := s.directory.Teams(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot look up the team for own logs", "err", err)
		}
		for _, t := range teams {
			if s.Settings.SelfTeam == "" || t.Slug == s.Settings.SelfTeam {
				s.self.SetTarget(t.Tenant)
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hostName returns what the machine calls itself, "" where it does not say.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
