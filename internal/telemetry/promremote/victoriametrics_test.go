package promremote

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// victoriaMetricsModule is what is installed where ORIEL_TEST_VICTORIAMETRICS
// names no program.
const victoriaMetricsModule = "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.135.0"

// victoriaMetrics starts one.
func victoriaMetrics(t testing.TB) engine {
	t.Helper()
	program := os.Getenv("ORIEL_TEST_VICTORIAMETRICS")
	if program == "" {
		dir, err := filepath.Abs("../../../bin")
		if err != nil {
			t.Fatal(err)
		}
		program = filepath.Join(dir, "victoria-metrics")
		if _, err := os.Stat(program); err != nil {
			install := exec.CommandContext(t.Context(), "go", "install", victoriaMetricsModule)
			install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
			if out, err := install.CombinedOutput(); err != nil {
				t.Fatalf("install VictoriaMetrics: %v: %s", err, out)
			}
		}
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=30d",
		"-search.latencyOffset=0s", "-memory.allowedBytes=128MB", "-loggerLevel=ERROR")
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	get := func(path string) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	tick, late := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !get("/health") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("VictoriaMetrics does not start")
		}
	}
	s := open(t, Config{URL: "http://" + address, Server: VictoriaMetrics, Tenancy: Tenancy{Label: "oriel_tenant"}, HTTP: &http.Client{Transport: flushing{get}}})
	return engine{"victoriametrics", s, func() { get("/internal/force_flush") }}
}

// flushing makes everything written visible at once: else it takes seconds.
type flushing struct{ get func(path string) bool }

// RoundTrip implements http.RoundTripper.
func (f flushing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if r.URL.Path == "/api/v1/write" {
		f.get("/internal/force_flush")
	}
	return resp, err
}
