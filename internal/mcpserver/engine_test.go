package mcpserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// What a client presented is for this server alone: the engine, which may be
// somebody else's cluster, never sees it.
func TestCase085_TokensAreNotPassedOn(t *testing.T) {
	var (
		mu   sync.Mutex
		seen strings.Builder
	)
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		_ = r.Header.Write(&seen)
		seen.WriteString(r.URL.String() + "\n" + string(body) + "\n")
		w.WriteHeader(http.StatusOK)
	}))
	defer engine.Close()
	logs, err := victoria.NewClient(victoria.ClientConfig{URL: engine.URL, Retention: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f, _, _, mux := newEndpoint(t, logs)
	tokens := f.Connect("c")
	req := newCall(t, string(tokens.Access), "search_logs")
	req.Header.Set("Cookie", "oriel=secret-cookie")
	req.Header.Set("X-Api-Key", "secret-key")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(seen.String(), "/select/logsql") {
		t.Fatalf("the engine was not asked:\n%s", &seen)
	}
	for _, secret := range []string{string(tokens.Access), "Authorization", "secret-cookie", "secret-key"} {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("the engine saw %q", secret)
		}
	}
}
