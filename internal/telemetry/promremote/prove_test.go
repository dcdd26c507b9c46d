package promremote

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestProve(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			if err := e.Prove(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// proxied is a store behind a proxy that changes requests.
func proxied(t *testing.T, c Config, change func(*http.Request)) *Store {
	t.Helper()
	target, err := url.Parse(newServer(t).url)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		change(r.Out)
	}})
	t.Cleanup(h.Close)
	c.URL = h.URL
	return open(t, c)
}

func TestProveRefuses(t *testing.T) {
	for name, s := range map[string]*Store{
		"no header": proxied(t, Config{Tenancy: Tenancy{Header: "X-Scope-OrgID"}}, func(r *http.Request) { r.Header.Del("X-Scope-OrgID") }),
		"one header for all, when reading": proxied(t, Config{Tenancy: Tenancy{Header: "X-Scope-OrgID"}}, func(r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/write") {
				r.Header.Set("X-Scope-OrgID", "4294967294")
			}
		}),
	} {
		err := s.Prove(t.Context())
		if err == nil || errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := open(t, Config{URL: "http://127.0.0.1:1", Tenancy: Tenancy{Header: "X-Scope-OrgID"}})
	if err := s.Prove(t.Context()); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Error(err)
	}
}

// A server that answers every question with everything it has.
func TestProveRefusesUnfiltered(t *testing.T) {
	real := newServer(t)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.FormValue("query") // parses the form
		for _, name := range []string{"query", "match[]"} {
			if text := r.Form.Get(name); text != "" {
				r.Form.Set(name, strings.ReplaceAll(text, `oriel_tenant=~`, `oriel_tenant!=`))
			}
		}
		real.ServeHTTP(w, r)
	}))
	defer h.Close()
	s := open(t, Config{URL: h.URL, Server: Thanos, Tenancy: Tenancy{Label: "oriel_tenant"}, Now: time.Now})
	if err := s.Prove(t.Context()); err == nil {
		t.Error("it was taken")
	}
}
