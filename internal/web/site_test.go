package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// newSite returns a site and what it logs, one JSON object per line.
func newSite(t *testing.T, publicURL string) (*Site, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := New(Config{
		Pages: newPages(t), Logger: slog.New(slog.NewJSONHandler(&log, nil)), Now: func() time.Time { return now }, PublicURL: publicURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func serve(pattern string, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	mux.Handle(pattern, h)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestNewRefusesGaps(t *testing.T) {
	p, logger, clock := newPages(t), slog.New(slog.DiscardHandler), func() time.Time { return now }
	for name, c := range map[string]Config{
		"empty":     {},
		"no pages":  {Logger: logger, Now: clock, PublicURL: "https://oriel.example"},
		"no URL":    {Pages: p, Logger: logger, Now: clock},
		"with path": {Pages: p, Logger: logger, Now: clock, PublicURL: "https://oriel.example/x"},
		"scheme":    {Pages: p, Logger: logger, Now: clock, PublicURL: "ftp://oriel.example"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestErrorsAsJSON(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		code   string
		text   string
	}{
		{"ours", errors.New("disk on fire"), 500, "server_error", "Something went wrong on our side."},
		{"wrapped", fmt.Errorf("x: %w", &Error{Status: 404, Public: "No such thing."}), 404, "not_found", "No such thing."},
		{"code", &Error{Status: 400, Code: "invalid_scope", Public: "No.", Next: "Ask for less."}, 400, "invalid_scope", "No. Ask for less."},
		{"busy", &Error{Status: 503, Public: "Busy.", RetryAfter: 1500 * time.Millisecond}, 503, "temporarily_unavailable", "Busy."},
		{"no status", &Error{Public: "Hm.", Cause: errors.New("disk on fire")}, 500, "server_error", "Hm."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSite(t, "https://oriel.example")
			w := serve("GET /x", s.API(func(http.ResponseWriter, *http.Request) error { return tt.err }), httptest.NewRequest("GET", "/x?secret=s3cret", nil))
			var got struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
				RequestID   string `json:"request_id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.status || got.Error != tt.code || !strings.HasPrefix(got.Description, tt.text) {
				t.Errorf("got %d %+v", w.Code, got)
			}
			if got.RequestID == "" || got.RequestID != w.Header().Get("X-Request-Id") {
				t.Errorf("request id %q in the body, %q in the header", got.RequestID, w.Header().Get("X-Request-Id"))
			}
			if strings.Contains(w.Body.String(), "fire") {
				t.Error("the cause is shown")
			}
			if strings.Contains(tt.err.Error(), "fire") && !strings.Contains(log.String(), "disk on fire") {
				t.Error("the cause is not in the log")
			}
			if strings.Contains(log.String(), "s3cret") {
				t.Error("the query string is in the log")
			}
			if tt.name == "busy" && w.Header().Get("Retry-After") != "2" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("an error may be cached")
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	away := errors.New("the database is on fire")
	s, log := newSite(t, "https://oriel.example")
	s.Unavailable = func(err error) bool { return errors.Is(err, away) }
	handler := func(http.ResponseWriter, *http.Request) error { return fmt.Errorf("read: %w", away) }
	for name, h := range map[string]http.Handler{"page": s.Page(handler), "API": s.API(handler)} {
		w := serve("GET /x", h, httptest.NewRequest("GET", "/x", nil))
		if w.Code != 503 || w.Header().Get("Retry-After") != "2" || strings.Contains(w.Body.String(), "fire") {
			t.Errorf("%s: %d, Retry-After %q: %s", name, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	if !strings.Contains(log.String(), "on fire") {
		t.Error("the cause is not in the log")
	}
}

func TestErrorsAsPage(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	w := serve("GET /x", s.Page(func(http.ResponseWriter, *http.Request) error { return errors.New("disk on fire") }), httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("headers %v", w.Header())
	}
	w = serve("GET /x", s.Page(NotFound), httptest.NewRequest("GET", "/x", nil))
	if w.Code != 404 || strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPanicIsLoggedOnce(t *testing.T) {
	s, log := newSite(t, "https://oriel.example")
	w := serve("GET /x", s.API(func(http.ResponseWriter, *http.Request) error { panic("oh") }), httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "oh\"") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := strings.Count(log.String(), "panic: oh"); n != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
	if !strings.Contains(log.String(), "site_test.go") {
		t.Error("no stack in the log")
	}
}

// TestErrorAfterAnswer: an answer that has begun cannot be taken back, only
// broken off.
func TestErrorAfterAnswer(t *testing.T) {
	s, log := newSite(t, "https://oriel.example")
	srv := httptest.NewServer(s.Page(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		return errors.New("disk on fire")
	}))
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil {
		t.Errorf("the connection was not broken off after %q", body)
	}
	srv.Close()
	if !strings.Contains(log.String(), `"level":"ERROR"`) || !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("log: %s", log)
	}
}

func TestLogLine(t *testing.T) {
	s, log := newSite(t, "https://oriel.example")
	r := httptest.NewRequest("POST", "/things/secret-id?code=s3cret", strings.NewReader("password=s3cret"))
	r.Header.Set("Authorization", "Bearer s3cret")
	r.RemoteAddr = "[::ffff:192.0.2.7]:1234"
	w := serve("POST /things/{id}", s.API(func(w http.ResponseWriter, r *http.Request) error {
		return WriteJSON(w, http.StatusCreated, map[string]string{"id": RequestID(r.Context())})
	}), r)
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	if d, ok := got["duration"].(float64); !ok || d < 0 {
		t.Errorf("duration %v", got["duration"])
	}
	delete(got, "duration")
	want := map[string]any{
		"level": "INFO", "msg": "request", "method": "POST", "route": "POST /things/{id}", "status": float64(201),
		"bytes": float64(w.Body.Len()), "request_id": w.Header().Get("X-Request-Id"), "client": "192.0.2.7",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestBodyLimit(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	read := func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}
	for _, tt := range []struct {
		site   *Site
		size   int
		status int
	}{
		{s, 64 << 10, 200},
		{s, 64<<10 + 1, 413},
		{s.WithBodyLimit(100), 101, 413},
		{s.WithBodyLimit(1 << 20), 1 << 20, 200},
	} {
		w := serve("POST /x", tt.site.API(read), httptest.NewRequest("POST", "/x", strings.NewReader(strings.Repeat("x", tt.size))))
		if w.Code != tt.status {
			t.Errorf("%d bytes: %d, want %d", tt.size, w.Code, tt.status)
		}
	}
}

func TestFormRefusesOtherSites(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	h := s.Form(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusNoContent); return nil })
	for _, tt := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"a program", nil, 204},
		{"our own page", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"our own page, no-referrer", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 204},
		{"typed", map[string]string{"Sec-Fetch-Site": "none"}, 204},
		{"behind a proxy", map[string]string{"Origin": "https://oriel.example"}, 204},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		{"a subdomain", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "https://x.oriel.example"}, 403},
		{"an old browser elsewhere", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a sandboxed frame", map[string]string{"Origin": "null"}, 403},
	} {
		r := httptest.NewRequest("POST", "http://127.0.0.1:9/x", nil)
		for k, v := range tt.header {
			r.Header.Set(k, v)
		}
		if w := serve("POST /x", h, r); w.Code != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.status)
		}
	}
}

func TestPageHeaders(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	for _, tt := range []struct {
		page       Page
		formAction bool
		opener     string
	}{{SignInPage{}, true, ""}, {ConsentPage{}, false, ""}, {LogoutPage{}, false, ""}, {ContinuePage{}, false, ""}, {FormPostPage{}, true, ""}, {ReturnPage{}, true, ""}, {ConnectionsPage{}, true, "same-origin"}} {
		w := serve("GET /x", s.Page(func(w http.ResponseWriter, _ *http.Request) error { return s.Render(w, 200, tt.page) }), httptest.NewRequest("GET", "/x", nil))
		csp := w.Header().Get("Content-Security-Policy")
		// Chromium would stop the consent form's redirect to the client.
		if got := strings.Contains(csp, "form-action"); got != tt.formAction {
			t.Errorf("%T: %s", tt.page, csp)
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%T: no %s in %s", tt.page, want, csp)
			}
		}
		for k, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			// An assistant's window that opened this one must not lose it.
			"Cross-Origin-Opener-Policy": tt.opener,
		} {
			if got := w.Header().Get(k); got != want {
				t.Errorf("%T: %s: %q", tt.page, k, got)
			}
		}
	}
	for publicURL, want := range map[string]string{
		"https://oriel.example": "no-referrer", "http://127.0.0.1:8080": "no-referrer", "http://[::1]:8080": "no-referrer",
		"http://localhost:8080": "no-referrer", "http://oriel.lan": "same-origin",
	} {
		s, _ := newSite(t, publicURL)
		w := serve("GET /x", s.Page(NotFound), httptest.NewRequest("GET", "/x", nil))
		if got := w.Header().Get("Referrer-Policy"); got != want {
			t.Errorf("%s: Referrer-Policy %q, want %q", publicURL, got, want)
		}
	}
}

func TestAssets(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	mux := http.NewServeMux()
	Mount(mux, s.AssetRoutes())
	for path, a := range s.Pages.assets {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != a.contentType || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/assets/other.css", nil))
	if w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("unknown asset: %d %v", w.Code, w.Header())
	}
}

func TestInstrument(t *testing.T) {
	s, _ := newSite(t, "https://oriel.example")
	reg := prometheus.NewRegistry()
	if err := s.Instrument(reg); err != nil {
		t.Fatal(err)
	}
	if err := s.Instrument(reg); err == nil {
		t.Error("registered twice")
	}
	h := s.API(func(_ http.ResponseWriter, r *http.Request) error {
		if r.PathValue("id") == "bad" {
			return errors.New("no")
		}
		return nil
	})
	for _, id := range []string{"a", "b", "bad"} {
		serve("GET /things/{id}", h, httptest.NewRequest("GET", "/things/"+id, nil))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"oriel_http_requests_total 2xx GET /things/{id}":           2,
		"oriel_http_requests_total 5xx GET /things/{id}":           1,
		"oriel_http_request_duration_seconds 2xx GET /things/{id}": 2,
		"oriel_http_request_duration_seconds 5xx GET /things/{id}": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
	} {
		if got := AddressKey(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := AddressKey(netip.Addr{}); got == "" {
		t.Error("no key for an unknown address")
	}
}
