package server_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/testkit"
)

// registrations is how many clients the flood has. The race detector makes
// each ten times as dear, so the suite takes fewer than the hundred thousand
// that "go test ./internal/server -run Flood -registrations 100000" sends.
var registrations = flag.Int("registrations", 10_000, "clients that register in TestCase016_FloodOfRegistrationsLeavesNothingBehind")

// mostHeapGrowth is what may stay after the flood: buffers of connections and
// of the runtime, nothing for each registration (100 bytes each would show).
const mostHeapGrowth = 1 << 20

func TestCase016_FloodOfRegistrationsLeavesNothingBehind(t *testing.T) {
	c := server.Config{Now: time.Now, Logs: slog.DiscardHandler, Engine: testkit.Engine}
	c.Settings = config.Server{Store: config.Store{DataDir: t.TempDir()}, Listen: "127.0.0.1:0", SelfTeam: "-"}
	c.Settings.Tokens.Lifetime = time.Hour
	c.Settings.Clients.Admission = "anyone"
	c.Settings.Telemetry = config.Telemetry{Retention: 24 * time.Hour, Memory: "256MiB"}
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()

	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var done, refused atomic.Int64
	flood := func(n int) {
		t.Helper()
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				for i := w; i < n; i += 16 {
					body := fmt.Sprintf(`{"client_name":"Flood %d","redirect_uris":["https://flood%d.example/callback"],"token_endpoint_auth_method":"none"}`, i, i)
					res, err := client.Post(s.PublicURL()+"/oauth/register", "application/json", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					switch res.StatusCode {
					case http.StatusCreated:
						done.Add(1)
					case http.StatusTooManyRequests:
						refused.Add(1)
					default:
						t.Errorf("registration %d: %s", i, res.Status)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	size := func() (total int64) {
		t.Helper()
		for _, name := range []string{"oriel.db", "oriel.db-wal"} {
			info, err := os.Stat(c.Settings.Path(name))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		return total
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what finalizers and pools held goes with the second
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}

	flood(1000) // connections and pools are there now
	beforeSize, beforeHeap := size(), heap()
	done.Store(0)
	start := time.Now()
	flood(*registrations)
	t.Logf("%d registered, %d told to wait, in %s; store %d bytes; heap %d KiB → %d KiB",
		done.Load(), refused.Load(), time.Since(start).Round(time.Millisecond), size(), beforeHeap>>10, heap()>>10)
	if after := size(); after != beforeSize {
		t.Errorf("the store has %d bytes, %d before", after, beforeSize)
	}
	if after := heap(); after > beforeHeap+mostHeapGrowth {
		t.Errorf("the heap has %d KiB, %d before", after>>10, beforeHeap>>10)
	}
}
