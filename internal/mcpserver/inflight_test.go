package mcpserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/telemetry"
)

// slowLogs answers when the caller has given up, and says when it was asked.
type slowLogs struct {
	telemetry.Logs

	asked chan struct{}
}

func (l slowLogs) QueryLogs(ctx context.Context, _ telemetry.View, _ telemetry.LogQuery, _ telemetry.Budget) (telemetry.LogResult, error) {
	close(l.asked)
	<-ctx.Done()
	return telemetry.LogResult{}, context.Cause(ctx)
}

// A call under way when its grant ends gets the challenge, not its answer.
func TestCallUnderWayIsChallengedWhenItsGrantEnds(t *testing.T) {
	logs := slowLogs{asked: make(chan struct{})}
	f, _, _, mux := newEndpoint(t, logs)
	tokens := f.Connect("slow")
	go func() {
		<-logs.asked
		if err := f.Authority.EndGrant(context.WithoutCancel(t.Context()), tokens.Grant, "revoked", audit.System()); err != nil {
			t.Error(err)
		}
	}()
	req := newCall(t, string(tokens.Access), "search_logs")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, req)
	if w.Code != http.StatusUnauthorized || !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%d %s\n%s", w.Code, w.Header().Get("WWW-Authenticate"), w.Body)
	}
}

// newCall is the request with which a client calls a tool.
func newCall(t *testing.T, token, tool string) *http.Request {
	t.Helper()
	return newRequest(t, token, "tools/call", `{"name":"`+tool+`","arguments":{}}`)
}

func newRequest(t *testing.T, token, method, params string) *http.Request {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, mcpPath, strings.NewReader(body))
	req.Host = "127.0.0.1"
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}
