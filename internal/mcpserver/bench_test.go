package mcpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/mcpserver"
	"github.com/orielhq/oriel/internal/oauth/dpop"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

type noSpans struct{}

func (noSpans) QuerySpans(context.Context, telemetry.View, telemetry.SpanQuery, telemetry.Budget) (telemetry.SpanResult, error) {
	return telemetry.SpanResult{}, nil
}

// newEndpoint mounts the endpoint over a directory of people, with logs from
// anywhere.
func newEndpoint(tb testing.TB, logs telemetry.Logs) (*granttest.Fixture, *access.Gate, *tools.Set, *http.ServeMux) {
	tb.Helper()
	f := granttest.New(tb)
	log := slog.New(slog.DiscardHandler)
	gate, err := access.NewGate(tb.Context(), access.Config{
		Source: f.DB, Keys: f.Authority.Keys, Issuer: granttest.Issuer, Now: f.Now, Lifetimes: f.Authority.Lifetimes, Logger: log,
	})
	f.Must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); gate.Run(ctx) }()
	tb.Cleanup(func() { stop(); <-done })
	metrics, err := prom.Open(prom.Config{Dir: tb.TempDir(), Retention: victoria.DefaultRetention, Logger: log, Now: f.Now})
	f.Must(err)
	tb.Cleanup(func() {
		if err := metrics.Close(); err != nil {
			tb.Error(err)
		}
	})
	set, err := tools.NewSet(tools.Config{Logs: logs, Spans: noSpans{}, Metrics: metrics, CheckLogs: victoria.Guard, CheckMetrics: prom.Check, CursorKey: make([]byte, 32), Now: f.Now})
	f.Must(err)
	public, err := spec.ParsePublicURL(granttest.Issuer, false)
	f.Must(err)
	pages, err := web.NewPages()
	f.Must(err)
	site, err := web.New(web.Config{Pages: pages, Logger: log, Now: f.Now, PublicURL: granttest.Issuer})
	f.Must(err)
	proofs, err := dpop.New(dpop.Config{PublicURL: public, NonceKey: make([]byte, 32), Now: f.Now})
	f.Must(err)
	guarded, err := mcpserver.New(mcpserver.Config{
		Site: site, Gate: gate, Proofs: proofs, Resources: f.Resources, PublicURL: public, Tools: set, Logger: log, Now: f.Now, Version: "bench",
	})
	f.Must(err)
	mux := http.NewServeMux()
	web.Mount(mux, guarded.Routes())
	return f, gate, set, mux
}

// BenchmarkToolsCall compares a guarded call of whoami with the same tool on
// a bare SDK server, over real HTTP, with the same settings, in one run.
func BenchmarkToolsCall(b *testing.B) {
	f, gate, set, mux := newEndpoint(b, noLogs{})
	token := f.Connect("bench").Access

	whoami, ok := set.Lookup("whoami")
	if !ok {
		b.Fatal("there is no whoami")
	}
	caller, err := gate.Check(b.Context(), token, f.Resources.Bare())
	f.Must(err)
	plain := mcp.NewServer(&mcp.Implementation{Name: "bare", Version: "bench"}, nil)
	plain.AddTool(&mcp.Tool{Name: "whoami", Description: whoami.Description, InputSchema: whoami.InputSchema},
		func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := whoami.Call(ctx, caller, req.Params.Arguments)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: res.Text}}}, err
		})
	bare := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return plain },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, PropagateRequestCancellation: true})

	b.Run("bare", func(b *testing.B) {
		call := newBenchCall(b, bare, string(token))
		b.ReportAllocs()
		for b.Loop() {
			call()
		}
	})
	b.Run("guarded", func(b *testing.B) {
		call := newBenchCall(b, mux, string(token))
		b.ReportAllocs()
		for b.Loop() {
			call()
		}
	})
	// Machines are quicker at one minute than at the next. Calls that take
	// turns meet the same machine: overhead-% is what the guard costs.
	b.Run("turns", func(b *testing.B) {
		calls := []func(){newBenchCall(b, bare, string(token)), newBenchCall(b, mux, string(token))}
		var took [2]time.Duration
		for i := 0; b.Loop(); i++ {
			for n := range 2 {
				which := (i + n) % 2
				start := time.Now()
				calls[which]()
				took[which] += time.Since(start)
			}
		}
		b.ReportMetric(float64(took[0].Nanoseconds())/float64(b.N), "bare-ns")
		b.ReportMetric(float64(took[1].Nanoseconds())/float64(b.N), "guarded-ns")
		b.ReportMetric(100*(float64(took[1])/float64(took[0])-1), "overhead-%")
		b.ReportMetric(0, "ns/op")
	})
}

// newBenchCall returns a call of whoami over real HTTP.
func newBenchCall(b *testing.B, h http.Handler, token string) func() {
	b.Helper()
	srv := httptest.NewServer(h)
	b.Cleanup(srv.Close)
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": "whoami", "arguments": map[string]any{}}})
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/mgmt/api/v1/mcp", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("MCP-Protocol-Version", "2025-11-25")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("ada@example.com")) {
			b.Fatalf("status %d, %v\n%s", res.StatusCode, err, answer)
		}
	}
}

// noLogs is a telemetry store without any rows: whoami does not ask it.
type noLogs struct{ telemetry.Logs }
