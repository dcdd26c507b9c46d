package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/spool"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// The inlet is how commands reach the telemetry of a running server: HTTP on
// a unix socket in a folder that only this user can open, which is its only
// guard. It takes payloads that are encoded already.
const (
	inletDir = "telemetry/server"

	inletPing = "/ping"
	// Payloads for the spools.
	inletLogs  = "/logs"
	inletSpans = "/spans"
	// An ExportMetricsServiceRequest in protobuf, and a remote write request
	// of version 2.0; the answer is what was rejected, in JSON by reason.
	inletMetrics = "/metrics/otlp"
	inletSamples = "/metrics/samples"
	inletFlush   = "/flush"
	// flushLogs of a flush is not empty where only logs were written.
	flushLogs = "logs-only"

	// maxInletBytes bounds one payload.
	maxInletBytes = 64 << 20
	// maxAnswerBytes bounds an answer.
	maxAnswerBytes = 16 << 20
	// attachTimeout is how long a server that runs may take to say so.
	attachTimeout = 2 * time.Second
)

// listenInlet opens the inlet. The spool's lock says that no other server is
// behind the socket that may be left.
func listenInlet(c *config.Store) (net.Listener, error) {
	path, err := victoria.SocketPath(c.Path(inletDir))
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the stale socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the socket for commands: %w", err), l.Close())
	}
	return l, nil
}

// commands returns what answers commands.
func (s *Server) commands() *http.Server {
	t := s.telemetry
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+inletUsage, s.answerUsage)
	mux.HandleFunc("GET "+inletPing, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	take := func(path string, write func(ctx context.Context, tenant telemetry.TenantID, payload []byte) (rejected map[string]int64, err error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			tenant, err := strconv.ParseUint(r.URL.Query().Get("tenant"), 10, 32)
			if err != nil {
				http.Error(w, "tenant must be a number", http.StatusBadRequest)
				return
			}
			payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInletBytes))
			var rejected map[string]int64
			if err == nil {
				rejected, err = write(r.Context(), telemetry.TenantID(tenant), payload)
			}
			if err != nil || len(rejected) == 0 {
				answerInlet(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(rejected)
		})
	}
	for path, e := range map[string]*engines{inletLogs: t.logs, inletSpans: t.spans} {
		take(path, func(ctx context.Context, tenant telemetry.TenantID, payload []byte) (map[string]int64, error) {
			return nil, e.of(tenant).spool.Append(ctx, spool.Record{Tenant: tenant, Payload: payload})
		})
	}
	past := t.metrics.past()
	take(inletSamples, past.WriteSamples)
	take(inletMetrics, func(ctx context.Context, tenant telemetry.TenantID, payload []byte) (map[string]int64, error) {
		req := pmetricotlp.NewExportRequest()
		if err := req.UnmarshalProto(payload); err != nil {
			return nil, fmt.Errorf("read metrics: %w", err)
		}
		return past.WriteOTLP(ctx, tenant, req.Metrics())
	})
	mux.HandleFunc("POST "+inletFlush, func(w http.ResponseWriter, r *http.Request) {
		answerInlet(w, t.flush(r.Context(), r.URL.Query().Has(flushLogs)))
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}
}

// serveInlet answers commands until ctx is done.
func serveInlet(ctx context.Context, server *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer commands: %w", err)
	}
	return nil
}

// flush makes what was written before it visible to queries, of logs alone or
// of all signals.
func (t *telemetryStore) flush(ctx context.Context, logsOnly bool) error {
	list := t.logs.all()
	if !logsOnly {
		list = append(list, t.spans.all()...)
	}
	for _, e := range list {
		if err := e.spool.Drain(ctx); err != nil {
			return err
		}
		if err := e.client.Flush(ctx); err != nil {
			return err
		}
	}
	if logsOnly {
		return nil
	}
	return t.metrics.settle(ctx)
}

func answerInlet(w http.ResponseWriter, err error) {
	if o, ok := errors.AsType[*telemetry.OverloadError](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(o.RetryAfter.Seconds())))
		http.Error(w, o.Reason, http.StatusTooManyRequests)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// An inletClient speaks to the inlet of a running server.
type inletClient struct{ http *http.Client }

// attach returns a client of the server that runs over the data directory; ok
// is false where none does.
func attach(ctx context.Context, c *config.Store) (client *inletClient, ok bool, err error) {
	path, err := victoria.FindSocket(c.Path(inletDir))
	if err != nil {
		return nil, false, fmt.Errorf("find the server: %w", err)
	}
	var dialer net.Dialer
	client = &inletClient{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) },
	}}}
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if client.ask(ctx, http.MethodGet, inletPing, nil) != nil {
		client.close()
		return nil, false, nil
	}
	return client, true, nil
}

func (i *inletClient) close() { i.http.CloseIdleConnections() }

func (i *inletClient) flush(ctx context.Context, logsOnly bool) error {
	path := inletFlush
	if logsOnly {
		path += "?" + flushLogs
	}
	return i.ask(ctx, http.MethodPost, path, nil)
}

// write hands a payload to the server.
func (i *inletClient) write(ctx context.Context, path string, tenant telemetry.TenantID, payload []byte) (rejected map[string]int64, err error) {
	text, err := i.do(ctx, http.MethodPost, path+"?tenant="+strconv.FormatUint(uint64(tenant), 10), payload)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	if err := json.Unmarshal(text, &rejected); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return rejected, nil
}

func (i *inletClient) get(ctx context.Context, path string) ([]byte, error) {
	return i.do(ctx, http.MethodGet, path, nil)
}

func (i *inletClient) ask(ctx context.Context, method, path string, body []byte) error {
	_, err := i.do(ctx, method, path, body)
	return err
}

func (i *inletClient) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://server"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	resp, err := i.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", errors.Join(telemetry.ErrUnavailable, err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the server: %w", errors.Join(telemetry.ErrUnavailable, err))
	case resp.StatusCode == http.StatusTooManyRequests:
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return nil, &telemetry.OverloadError{Reason: strings.TrimSpace(string(text)), RetryAfter: time.Duration(after) * time.Second}
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("ask the server: %w: %s", telemetry.ErrUnavailable, strings.TrimSpace(string(text)))
	}
	return text, nil
}
