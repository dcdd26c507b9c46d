package testenv

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/orielhq/oriel/internal/pgtest"
)

// ReplicasVariable chooses how many processes StartOriel starts. What looks
// into one process, or at telemetry that came in otherwise than by SendLogs
// and SendOTLP, does not work with several: each has an engine of its own.
const ReplicasVariable = "ORIEL_TEST_REPLICAS"

// Processes returns how many processes StartOriel starts.
func Processes(t testing.TB) int {
	t.Helper()
	text := os.Getenv(ReplicasVariable)
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: write a number", ReplicasVariable, text)
	}
	return n
}

// engines are the installations to which telemetry is sent.
func (o *Oriel) engines() []*Oriel {
	if len(o.each) > 0 {
		return o.each
	}
	return []*Oriel{o}
}

// Replicas are several processes of the program on one PostgreSQL, behind a
// proxy that sends each request to the next one.
type Replicas struct {
	// Oriel is the installation as its users see it: URL is the proxy's, and
	// commands run on its database. It is not a process.
	*Oriel
	// Each are the processes; their URL is their own address.
	Each []*Oriel

	mu     sync.Mutex // guards all below
	next   int
	served map[int]int
}

// StartReplicas starts n replicas with an empty database, with more flags of
// "oriel serve" if given, and stops them when the test ends.
func StartReplicas(t testing.TB, n int, flags ...string) *Replicas {
	t.Helper()
	database := pgtest.Empty(t)
	return StartReplicasOn(t, database, slices.Repeat([]string{database}, n), flags...)
}

// StartReplicasOn is StartReplicas for one replica at each address of a
// database, which commands reach at database.
func StartReplicasOn(t testing.TB, database string, addresses []string, flags ...string) *Replicas {
	t.Helper()
	r := &Replicas{served: make(map[int]int)}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetXForwarded()
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "replica", p.In.Host
		},
		Transport: r, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	front.Start()
	t.Cleanup(front.Close)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	env := func(database string) []string {
		return append(environment(), "ORIEL_DATABASE_URL="+database, "ORIEL_MASTER_KEY="+hex.EncodeToString(key))
	}
	flags = append([]string{"--public-url", front.URL, "--trusted-proxies", "127.0.0.1"}, flags...)
	for _, address := range addresses {
		o := &Oriel{t: t, DataDir: filepath.Join(t.TempDir(), "data"), flags: flags, http: http.DefaultClient, env: env(address), behind: true}
		o.start("127.0.0.1:0")
		t.Cleanup(func() {
			if o.cmd != nil {
				o.Stop()
			}
			if t.Failed() {
				t.Logf("what %s printed:\n%s", o.URL, tail(o.out.String()+o.logs.String()))
			}
		})
		r.Each = append(r.Each, o)
	}
	r.Oriel = &Oriel{URL: front.URL, DataDir: r.Each[0].DataDir, t: t, http: http.DefaultClient, env: env(database)}
	return r
}

// Served returns how many requests each replica has answered through the
// proxy.
func (r *Replicas) Served() map[int]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[int]int)
	for i, n := range r.served {
		out[i] = n
	}
	return out
}

// RoundTrip implements http.RoundTripper: it asks the next replica, and the
// one after it where that one takes no connections.
func (r *Replicas) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	var last error
	for range r.Each {
		r.mu.Lock()
		i := r.next % len(r.Each)
		r.next++
		r.mu.Unlock()
		u, err := url.Parse(r.Each[i].URL)
		if err != nil {
			return nil, err
		}
		again := req.Clone(req.Context())
		again.URL.Host = u.Host
		if body != nil {
			again.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := http.DefaultTransport.RoundTrip(again)
		if err == nil {
			r.mu.Lock()
			r.served[i]++
			r.mu.Unlock()
			return resp, nil
		}
		var op *net.OpError
		if last = err; !errors.As(err, &op) || op.Op != "dial" {
			return nil, err
		}
	}
	return nil, last
}

// Pin binds a process of the program, and none of its children, to one
// processor, counted from 0.
func (o *Oriel) Pin(processor int) {
	o.t.Helper()
	out, err := exec.Command("taskset", "--all-tasks", "--cpu-list", "--pid", strconv.Itoa(processor), strconv.Itoa(o.cmd.Process.Pid)).CombinedOutput()
	if err != nil {
		o.t.Fatalf("taskset: %v\n%s", err, out)
	}
}
