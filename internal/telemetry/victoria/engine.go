// Package victoria stores and searches logs with the VictoriaLogs engine. It
// owns everything that knows this engine: the child process that runs it
// ([RunEngine], [Supervisor]), the HTTP client that speaks to it ([Client]),
// and the guard that decides which queries reach it ([Guard]). No other
// package imports the engine's modules.
//
// The engine runs in a child process because it panics on purpose when it
// meets the impossible, and may run out of memory; neither may take sign-in
// with it. A record goes Client.WriteLogs → unix socket → engine; a query goes
// Guard → Client.QueryLogs → unix socket → engine, with the tenant and the
// data scope always set by the client from a telemetry.View, never from text.
package victoria

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
)

// Defaults of an EngineConfig.
const (
	DefaultRetention     = 30 * 24 * time.Hour
	DefaultMemoryBytes   = 512 << 20
	DefaultMinFreeBytes  = 512 << 20
	DefaultFlushInterval = time.Second
	DefaultQueryTimeout  = 30 * time.Second

	// WrittenAfter is how long after a Flush an engine with the default
	// FlushInterval has surely written everything to disk: three times what
	// was ever measured.
	WrittenAfter = 10 * time.Second

	// FutureRetention is how far ahead of the clock a record may lie.
	FutureRetention = 48 * time.Hour

	// minRetention is what the engine accepts: it drops whole days.
	minRetention = 24 * time.Hour

	// drainTimeout bounds how long running requests may go on at a stop.
	drainTimeout = 3 * time.Second
	// lastBytesTimeout bounds how long finished answers may take to leave.
	lastBytesTimeout = time.Second
	// exitTimeout is when a stop that hangs is ended by force, so that an
	// orphan never holds the data folder's lock.
	exitTimeout = 20 * time.Second
)

// EngineConfig says what the engine process does.
type EngineConfig struct {
	// DataDir holds the engine's files; one engine per folder.
	DataDir string
	// Socket is the path of the unix socket to serve, see SocketPath.
	Socket string
	// Parent reads as long as the parent process lives: its end stops the
	// engine. A child's standard input; nil where there is no parent.
	Parent io.Reader
	// Retention is how long records are kept, in whole days; at least one.
	Retention time.Duration
	// MemoryBytes is the memory the engine plans with for caches and queries.
	MemoryBytes int64
	// MinFreeBytes of disk space stay free: below, records are refused.
	MinFreeBytes int64
	// FlushInterval is how often rows in memory go to disk; a hard kill may
	// lose about twice as much. At least one second.
	FlushInterval time.Duration
	// QueryTimeout is the longest a query may run whatever its caller says.
	QueryTimeout time.Duration
}

func (c EngineConfig) withDefaults() (EngineConfig, error) {
	if c.DataDir == "" || c.Socket == "" {
		return c, errors.New("the engine needs a data folder and a socket")
	}
	if c.Retention == 0 {
		c.Retention = DefaultRetention
	}
	if c.Retention < minRetention {
		return c, fmt.Errorf("logs must be kept for at least %s, not %s", minRetention, c.Retention)
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = DefaultMemoryBytes
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = DefaultMinFreeBytes
	}
	if c.FlushInterval == 0 {
		c.FlushInterval = DefaultFlushInterval
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = DefaultQueryTimeout
	}
	return c, nil
}

// flags are the engine's settings: it knows no other way to be configured.
func (c EngineConfig) flags() []string {
	return []string{
		"-storageDataPath=" + c.DataDir,
		fmt.Sprintf("-retentionPeriod=%dd", (c.Retention+24*time.Hour-1)/(24*time.Hour)),
		fmt.Sprintf("-futureRetention=%dh", FutureRetention/time.Hour),
		fmt.Sprintf("-memory.allowedBytes=%d", c.MemoryBytes),
		fmt.Sprintf("-storage.minFreeDiskSpaceBytes=%d", c.MinFreeBytes),
		fmt.Sprintf("-inmemoryDataFlushInterval=%s", c.FlushInterval),
		fmt.Sprintf("-search.maxQueryDuration=%s", c.QueryTimeout),
		"-search.maxQueueDuration=5s",
		"-search.logSlowQueryDuration=0",
		// An empty message stays empty instead of becoming a hint.
		"-defaultMsgValue=",
		// Warnings quote the tenant's rows.
		"-loggerLevel=ERROR",
		"-loggerOutput=stderr",
		"-loggerMaxArgLen=200",
		"-insert.maxFieldsPerLine=2000",
		"-internalinsert.disable",
		"-internalselect.disable",
	}
}

// RunEngine runs the log engine in this process until ctx is done, the parent
// is gone or, where there is none, SIGTERM arrives, then writes everything to
// disk and returns. It takes the process over: it parses flag.CommandLine from a
// fixed list, ignores signals that are sent to the whole group, ends the process
// when a request panics (the engine's state is then unknown), and can be
// called once.
func RunEngine(ctx context.Context, cfg EngineConfig) (err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	signal.Ignore(os.Interrupt)
	if cfg.Parent == nil {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGTERM)
		defer stop()
	} else {
		// Service managers send it to every process; the parent still has rows
		// to hand over, and says when it is done.
		signal.Ignore(syscall.SIGTERM)
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, cfg.Parent)
			cancel()
		}()
	}

	if err := startEngine(cfg); err != nil {
		return err
	}
	// Only the holder of the data folder's lock gets here, so whatever socket
	// is left belongs to an engine that is gone.
	if err := os.Remove(cfg.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale engine socket: %w", err)
	}
	listener, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		return fmt.Errorf("listen on the engine socket: %w", err)
	}
	if err := os.Chmod(cfg.Socket, 0o600); err != nil {
		return fmt.Errorf("protect the engine socket: %w", err)
	}

	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	handler := &drainable{next: serveEngine(rand.Text())}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
		// The engine writes errors after its header, which net/http reports.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the engine socket: %w", err)
	case <-ctx.Done():
	}

	time.AfterFunc(exitTimeout, func() {
		fmt.Fprintln(os.Stderr, "engine: stopping takes too long, exiting")
		os.Exit(1)
	})
	if err := stopServing(server, handler, cancelRequests); err != nil {
		return err
	}
	vlinsert.Stop()
	vlselect.Stop()
	vlstorage.Stop()
	return nil
}

// stopServing returns once no request runs: first they may finish, then they
// are canceled.
//
// Shutdown alone does not answer the question: for five seconds it also waits
// for connections that were opened ahead of a request that never came.
func stopServing(server *http.Server, handler *drainable, cancelRequests context.CancelFunc) error {
	drained := handler.drain()
	select {
	case <-drained:
	case <-time.After(drainTimeout):
		cancelRequests()
		select {
		case <-drained:
		case <-time.After(drainTimeout):
			// Closing the storage under a running query panics.
			return errors.New("stop the engine: requests are still running")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastBytesTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
	return nil
}

// drainable answers 503 once it is being drained.
type drainable struct {
	next http.Handler
	// running is held for reading by every request that runs.
	running sync.RWMutex
}

func (d *drainable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !d.running.TryRLock() {
		http.Error(w, "the engine is stopping", http.StatusServiceUnavailable)
		return
	}
	defer d.running.RUnlock()
	d.next.ServeHTTP(w, r)
}

// drain lets no further request in, for good. The channel is closed when the
// last one has ended.
func (d *drainable) drain() <-chan struct{} {
	drained := make(chan struct{})
	go func() {
		d.running.Lock()
		close(drained)
	}()
	return drained
}

// startEngine opens the storage. The engine reports what is wrong by panics.
func startEngine(cfg EngineConfig) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open the log storage: %v", p)
		}
	}()
	flag.CommandLine.Init("engine", flag.ContinueOnError)
	flag.CommandLine.SetOutput(io.Discard)
	if err := flag.CommandLine.Parse(cfg.flags()); err != nil {
		return fmt.Errorf("configure the engine: %w", err)
	}
	buildinfo.Init()
	logger.Init()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the engine's data folder: %w", err)
	}
	vlstorage.Init()
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{})
	vlinsert.Init()
	return nil
}

const (
	pathHealth = "/health"
	pathFlush  = "/internal/force_flush"
	pathInsert = "/insert/native"
	pathQuery  = "/select/logsql/query"

	// instanceHeader of every answer names this run of the engine: what an
	// earlier one has not written to disk is lost.
	instanceHeader = "Oriel-Engine-Instance"
)

// serveEngine passes on what Oriel uses and nothing else: the engine has
// doors that delete or list across tenants.
func serveEngine(instance string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(instanceHeader, instance)
		serveRequest(w, r)
	}
}

func serveRequest(w http.ResponseWriter, r *http.Request) {
	defer func() {
		// net/http would go on after a panic; the engine's locks and buffers
		// may be in any state, so the supervisor starts a new process instead.
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			fmt.Fprintf(os.Stderr, "engine: panic in %s: %s\n", r.URL.Path, firstFrames(debug.Stack()))
			os.Exit(3)
		}
	}()
	switch path := r.URL.Path; {
	case path == pathHealth:
		_, _ = io.WriteString(w, "OK")
	case path == pathFlush:
		vlstorage.RequestHandler(w, r)
	case path == pathInsert:
		vlinsert.RequestHandler(w, r)
	case strings.HasPrefix(path, "/select/logsql/"):
		if !vlselect.RequestHandler(w, r) {
			http.NotFound(w, r)
		}
	default:
		http.NotFound(w, r)
	}
}

// firstFrames returns a stack on one line, without the panic's message: that
// may hold a row.
func firstFrames(stack []byte) string {
	var frames []string
	for line := range strings.Lines(string(stack)) {
		if file, ok := strings.CutPrefix(line, "\t"); ok {
			frames = append(frames, file[strings.LastIndexByte(file, '/')+1:])
		}
	}
	return strings.ReplaceAll(strings.Join(frames, "< "), "\n", " ")
}
