package server_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/server"
	"github.com/orielhq/oriel/internal/testkit"
)

// wire forwards connections, and while it is cut swallows everything: what is
// on it hangs, as behind a firewall that drops.
type wire struct {
	listener net.Listener
	to       string

	mu  sync.Mutex // guards cut
	cut chan struct{}
}

func newWire(t *testing.T, socket string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: socket}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.forward(conn)
		}
	}()
	return w
}

func (w *wire) forward(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // either side may have
	w.wait()
	up, err := net.Dial("unix", w.to)
	if err != nil {
		return
	}
	defer up.Close() //nolint:errcheck // either side may have
	var both sync.WaitGroup
	pump := func(to, from net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			w.wait()
			if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
				_ = to.Close()
				return
			}
		}
	}
	both.Go(func() { pump(up, conn) })
	both.Go(func() { pump(conn, up) })
	both.Wait()
}

// wait returns when the wire is whole.
func (w *wire) wait() {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut != nil {
		<-cut
	}
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = make(chan struct{})
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut != nil {
		close(w.cut)
		w.cut = nil
	}
}

// A replica that cannot reach the database refuses once the bound is over, and
// says so; it never lets in what was ended meanwhile. It comes back by itself.
func TestReplicaThatIsCutOff(t *testing.T) {
	t.Parallel()
	direct := pgtest.Empty(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, u.Query().Get("host")+"/.s.PGSQL.5432")
	t.Cleanup(w.mend) // before the server stops
	through := *u
	through.Host, through.RawQuery = w.listener.Addr().String(), "sslmode=disable"
	s := testkit.Start(t, func(c *config.Server) { c.DatabaseURL = through.String() })
	here := s.Settings().Store
	here.DatabaseURL = direct
	beside, err := server.OpenAdmin(t.Context(), here)
	s.Must(err)
	defer beside.Close() //nolint:errcheck // what it did is looked at
	s.AddPerson("ada@example.com", true)
	s.AddTeam("shop")
	s.SetMember("shop", "ada@example.com", "viewer")
	kept, ended := s.Register().Connect("ada@example.com", "shop"), s.Register().Connect("ada@example.com", "shop")
	for _, c := range []*testkit.Client{kept, ended} {
		if res := c.Call("tools/list", "{}"); res.Status != http.StatusOK {
			t.Fatalf("%d %s", res.Status, res.Body)
		}
	}
	s.WaitReady()

	w.sever()
	s.Must(beside.Authority.EndGrant(t.Context(), ended.Grant(), "test", audit.System()))
	since := time.Now()
	const bound = 5 * time.Second
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		asked := time.Now()
		res := ended.Call("tools/list", "{}")
		if res.Status == http.StatusOK {
			if late := asked.Sub(since); late > bound+time.Second {
				t.Fatalf("a call succeeded %s after its grant was ended", late)
			}
			continue
		}
		if res.Status != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Fatalf("%d %v %s", res.Status, res.Header, res.Body)
		}
		break
	}
	t.Logf("refused %s after the cut", time.Since(since).Round(time.Millisecond))
	ready := s.Do(http.MethodGet, "/readyz", "")
	if ready.Status != http.StatusServiceUnavailable || !strings.Contains(ready.Member("access"), "nothing heard from the store") {
		t.Errorf("readyz: %d %s", ready.Status, ready.Body)
	}

	w.mend()
	s.Eventually(15*time.Second, "calls work again", func() bool { return kept.Call("tools/list", "{}").Status == http.StatusOK })
	if res := ended.Call("tools/list", "{}"); res.Status != http.StatusUnauthorized {
		t.Errorf("what was ended meanwhile: %d %s", res.Status, res.Body)
	}
	s.WaitReady()
}
