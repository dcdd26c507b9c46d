package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

func client(t *testing.T, e Endpoint) *Client {
	t.Helper()
	if err := e.check(); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient("log", e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t *testing.T, c *Client, method, url string) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close() //nolint:errcheck // it is read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), nil
}

// A question is asked twice where the engine could not answer; rows are not
// sent twice, and there is a budget.
func TestRetry(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "x" {
			t.Errorf("body %q, %v", body, err)
		}
		if calls.Add(1)%2 == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "rows")
	}))
	defer s.Close()
	c := client(t, Endpoint{URL: s.URL})
	if status, body, err := ask(t, c, http.MethodPost, s.URL+"/select/logsql/query"); err != nil || status != 200 || body != "rows" || calls.Load() != 2 {
		t.Errorf("a question: %d %q %v after %d calls", status, body, err, calls.Load())
	}
	if status, _, err := ask(t, c, http.MethodPost, s.URL+"/insert/native"); err != nil || status != 503 || calls.Load() != 3 {
		t.Errorf("rows: %d %v after %d calls", status, err, calls.Load())
	}
	b := &budget{left: 1}
	if !b.spend() || b.spend() {
		t.Error("the budget of one is not one")
	}
	for range 9 {
		b.earn()
	}
	if b.spend() {
		t.Error("nine requests earn a repetition")
	}
	b.earn()
	b.earn()
	if !b.spend() {
		t.Error("eleven requests earn none")
	}
}

// An engine that fails again and again is not asked for a while, and then by
// one request.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, Endpoint{URL: "http://engine"})
		var calls int
		fail := errors.New("refused")
		c.HTTP.Transport.(*transport).next = roundTrip(func(*http.Request) (*http.Response, error) {
			calls++
			if fail != nil {
				return nil, fail
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		for range 20 {
			if _, _, err := ask(t, c, http.MethodPost, "http://engine/insert/native"); err == nil {
				t.Fatal("no error")
			}
		}
		if calls != tripAfter || c.Trouble() == "" {
			t.Errorf("%d calls of an engine that is down, open %v", calls, c.Trouble() != "")
		}
		fail = nil
		if _, _, err := ask(t, c, http.MethodPost, "http://engine/insert/native"); !errors.Is(err, gobreaker.ErrOpenState) {
			t.Errorf("right after it came back: %v", err)
		}
		time.Sleep(openFor + time.Millisecond) // of the bubble's clock
		if status, _, err := ask(t, c, http.MethodPost, "http://engine/insert/native"); err != nil || status != 200 || c.Trouble() != "" {
			t.Errorf("later: %d %v, open %v", status, err, c.Trouble() != "")
		}
		// Whoever hangs up says nothing about the engine.
		fail = context.Canceled
		for range 2 * tripAfter {
			_, _, _ = ask(t, c, http.MethodPost, "http://engine/insert/native")
		}
		if c.Trouble() != "" {
			t.Error("canceled requests open it")
		}
	})
}

// Questions fail while rows are taken and the health is good: questions are no
// longer asked, and rows go on.
func TestSides(t *testing.T) {
	var asked, taken atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/select/logsql/query":
			asked.Add(1)
			w.WriteHeader(http.StatusBadGateway)
		case "/insert/native":
			taken.Add(1)
		}
	}))
	defer s.Close()
	c := client(t, Endpoint{URL: s.URL})
	c.HTTP.Transport.(*transport).budget.left = 0
	refused := 0
	for range 2 * tripAfter {
		if _, _, err := ask(t, c, http.MethodPost, s.URL+"/select/logsql/query"); errors.Is(err, gobreaker.ErrOpenState) {
			refused++
		}
		for method, path := range map[string]string{http.MethodPost: "/insert/native", http.MethodGet: "/health"} {
			if status, _, err := ask(t, c, method, s.URL+path); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %v", path, status, err)
			}
		}
	}
	if refused != tripAfter || taken.Load() != 2*tripAfter || c.Trouble() != "does not answer" {
		t.Errorf("%d questions asked, %d not; %d times rows were taken; %q", asked.Load(), refused, taken.Load(), c.Trouble())
	}
}

// Questions that take too long are one team's business: they neither end those
// of others, nor are they asked again.
func TestOverrun(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		http.Error(w, "took too long"+strings.Repeat(".", 2*overrunBytes), http.StatusServiceUnavailable)
	}))
	defer s.Close()
	c := client(t, Endpoint{URL: s.URL})
	c.Overrun = func(answer []byte) bool {
		return len(answer) == overrunBytes && strings.HasPrefix(string(answer), "took too long")
	}
	for range 3 * tripAfter {
		status, body, err := ask(t, c, http.MethodPost, s.URL+"/select/logsql/query")
		if status != http.StatusServiceUnavailable || len(body) != len("took too long")+2*overrunBytes+1 || err != nil {
			t.Fatalf("%d %d bytes %v", status, len(body), err)
		}
	}
	if calls.Load() != 3*tripAfter || c.Trouble() != "" {
		t.Errorf("%d questions of %d, %q", calls.Load(), 3*tripAfter, c.Trouble())
	}
}

// An engine that refuses the authorization is in trouble until it takes it.
func TestDenied(t *testing.T) {
	var status atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(int(status.Load()))
		}
	}))
	defer s.Close()
	c := client(t, Endpoint{URL: s.URL})
	for _, step := range []struct {
		path   string
		status int64
		want   string
	}{
		{"/insert/native", 204, ""},
		{"/insert/native", 401, "refuses the authorization that it is given with rows"},
		{"/health", 200, "refuses the authorization that it is given with rows"},
		{"/select/logsql/query", 403, "refuses the authorization that it is given"},
		{"/insert/native", 204, "refuses the authorization that it is given with questions"},
		{"/select/logsql/query", 200, ""},
	} {
		status.Store(step.status)
		if _, _, err := ask(t, c, http.MethodPost, s.URL+step.path); err != nil || c.Trouble() != step.want {
			t.Errorf("%s answers %d: %q, %v, want %q", step.path, step.status, c.Trouble(), err, step.want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A hung engine, which accepts and never answers, ends with the timeout.
func TestHungEngine(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c := client(t, Endpoint{URL: s.URL, Timeout: time.Second})
	c.HTTP.Transport.(*transport).next.(*http.Transport).ResponseHeaderTimeout = 10 * time.Millisecond
	for range tripAfter {
		if _, _, err := ask(t, c, http.MethodPost, s.URL+"/insert/native"); err == nil {
			t.Fatal("no error")
		}
	}
	if c.Trouble() == "" {
		t.Error("it goes on being asked")
	}
}

func TestAuthorizationAndTLS(t *testing.T) {
	var seen atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	e := Endpoint{
		URL: s.URL, AuthorizationFile: write("auth", "Bearer one\n"), CAFile: write("ca.pem", string(certificate)),
		CertFile: write("cert.pem", string(certificate)), KeyFile: write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))),
	}
	c := client(t, e)
	if _, _, err := ask(t, c, http.MethodGet, s.URL); err != nil || seen.Load() != "Bearer one" {
		t.Errorf("with certificates: %v, authorization %v", err, seen.Load())
	}
	write("auth", "Bearer two")
	c.HTTP.Transport.(*transport).authorization.read = time.Time{}
	if _, _, err := ask(t, c, http.MethodGet, s.URL); err != nil || seen.Load() != "Bearer two" {
		t.Errorf("a new token: %v, authorization %v", err, seen.Load())
	}
	if status, _, err := ask(t, c, http.MethodGet, s.URL+"/elsewhere"); err != nil || status != http.StatusFound {
		t.Errorf("a redirect is followed: %d %v", status, err)
	}
	unknown := e
	unknown.CAFile = ""
	if _, _, err := ask(t, client(t, unknown), http.MethodGet, s.URL); err == nil {
		t.Error("a certificate that nobody trusts is trusted")
	}
	for name, bad := range map[string]Endpoint{
		"no authorization file":  {URL: s.URL, AuthorizationFile: filepath.Join(dir, "none")},
		"an empty one":           {URL: s.URL, AuthorizationFile: write("empty", "\n")},
		"two lines":              {URL: s.URL, AuthorizationFile: write("two", "Bearer a\nX: b")},
		"no certificate":         {URL: s.URL, CAFile: write("no.pem", "no")},
		"a key that is not that": {URL: s.URL, CertFile: e.CertFile, KeyFile: e.CAFile},
	} {
		if _, err := NewClient("log", bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
