package mcpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
)

// ask sends one request through the guard and returns its answer.
func ask(t *testing.T, mux http.Handler, token, method, params string) string {
	t.Helper()
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, newRequest(t, token, method, params))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", method, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPromptsResourcesAndCompletions(t *testing.T) {
	f, _, _, mux := newEndpoint(t, emptyLogs{})
	token := string(f.Connect("c").Access)
	for method, want := range map[string]string{
		"prompts/list":             `"name":"investigate_alert"`,
		"resources/list":           `"uri":"oriel://logs/services"`,
		"resources/templates/list": `"uriTemplate":"oriel://logs/fields/{field}"`,
	} {
		answer := ask(t, mux, token, method, `{}`)
		if !strings.Contains(answer, want) {
			t.Errorf("%s: %s", method, answer)
		}
	}
	for _, tt := range []struct{ method, params, want string }{
		{"prompts/get", `{"name":"explain_errors","arguments":{"service":"checkout"}}`, `Explain the errors of service \"checkout\"`},
		{"prompts/get", `{"name":"investigate_alert"}`, `investigate_alert needs alert`},
		{"resources/read", `{"uri":"oriel://help/logsql"}`, `LogsQL: a filter`},
		{"resources/read", `{"uri":"oriel://logs/fields/a%2Fb"}`, `list_field_values · team shop`},
		{"resources/read", `{"uri":"oriel://logs/nothing"}`, `"error"`},
		{"resources/read", `{"uri":"oriel://help/promql"}`, `PromQL: expressions`},
		{"resources/read", `{"uri":"oriel://metrics/up"}`, `list_metrics · team shop`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"explain_errors"},"argument":{"name":"service","value":"c"}}`, `"values":[]`},
		{"completion/complete", `{"ref":{"type":"ref/resource","uri":"oriel://metrics/{metric}"},"argument":{"name":"metric","value":"c"}}`, `"values":[]`},
	} {
		if answer := ask(t, mux, token, tt.method, tt.params); !strings.Contains(answer, tt.want) {
			t.Errorf("%s %s: %s\nwant %s", tt.method, tt.params, answer, tt.want)
		}
	}
}

// A person whose roles do not let them read logs sees none of it.
func TestPromptsAndResourcesNeedPermission(t *testing.T) {
	f, _, _, mux := newEndpoint(t, emptyLogs{})
	_, err := f.Directory.SetRole(t.Context(), "shop", "alerts-only", []org.Permission{org.AlertsRead}, "", audit.System())
	f.Must(err)
	f.SetRoles("alerts-only")
	token := string(f.Connect("c").Access)
	for _, tt := range []struct{ method, params, want string }{
		{"tools/list", `{}`, `"name":"whoami"`},
		{"prompts/list", `{}`, `"prompts":[]`},
		{"resources/list", `{}`, `"resources":[]`},
		{"resources/templates/list", `{}`, `"resourceTemplates":[]`},
		{"prompts/get", `{"name":"explain_errors"}`, `explain_errors was refused: it needs the permission logs:Read`},
		{"resources/read", `{"uri":"oriel://help/logsql"}`, `query_help for logsql was refused: it needs the permission logs:Read`},
		{"resources/read", `{"uri":"oriel://logs/services"}`, `was refused`},
		{"resources/read", `{"uri":"oriel://help/promql"}`, `query_help for promql was refused: it needs the permission metrics:Read`},
		{"resources/read", `{"uri":"oriel://metrics"}`, `was refused`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"explain_errors"},"argument":{"name":"service","value":""}}`, `"values":[]`},
	} {
		answer := ask(t, mux, token, tt.method, tt.params)
		if !strings.Contains(answer, tt.want) || strings.Contains(answer, "search_logs") {
			t.Errorf("%s %s: %s\nwant %s", tt.method, tt.params, answer, tt.want)
		}
	}
}

// emptyLogs has no rows.
type emptyLogs struct{}

func (emptyLogs) QueryLogs(context.Context, telemetry.View, telemetry.LogQuery, telemetry.Budget) (telemetry.LogResult, error) {
	return telemetry.LogResult{}, nil
}

// stuckLogs answers nobody and says when it was asked and when it was left.
type stuckLogs struct{ asked, left chan struct{} }

func (l stuckLogs) QueryLogs(ctx context.Context, _ telemetry.View, _ telemetry.LogQuery, _ telemetry.Budget) (telemetry.LogResult, error) {
	l.asked <- struct{}{}
	<-ctx.Done()
	l.left <- struct{}{}
	return telemetry.LogResult{}, ctx.Err()
}

// A client that asks for progress hears of it while the call is under way, and
// its going away ends the engine's query.
func TestProgressAndCancellation(t *testing.T) {
	logs := stuckLogs{make(chan struct{}, 1), make(chan struct{}, 1)}
	f, _, _, mux := newEndpoint(t, logs)
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req := newRequest(t, string(f.Connect("c").Access), "tools/call", `{"name":"search_logs","arguments":{},"_meta":{"progressToken":"p1"}}`)
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+mcpPath, req.Body)
	f.Must(err)
	out.Header = req.Header
	res, err := http.DefaultClient.Do(out)
	f.Must(err)
	defer res.Body.Close()
	if res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	<-logs.asked
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "" {
			continue
		}
		var message struct {
			Method string
			Params struct {
				ProgressToken string
				Message       string
			}
		}
		f.Must(json.Unmarshal([]byte(data), &message))
		if message.Method != "notifications/progress" || message.Params.ProgressToken != "p1" || message.Params.Message != "searching" {
			t.Errorf("the first message is %s", data)
		}
		break
	}
	cancel()
	select {
	case <-logs.left:
	case <-time.After(10 * time.Second):
		t.Error("the query goes on though nobody waits for it")
	}
}

// The engine's request itself ends when its caller is gone.
func TestCancellationReachesTheEngine(t *testing.T) {
	asked, left := make(chan struct{}, 1), make(chan struct{}, 1)
	engine := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // only a body that was read tells the client's end
		asked <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	}))
	defer engine.Close()
	client, err := victoria.NewClient(victoria.ClientConfig{URL: engine.URL})
	if err != nil {
		t.Fatal(err)
	}
	f, gate, set, _ := newEndpoint(t, client)
	caller, err := gate.Check(t.Context(), f.Connect("c").Access, f.Resources.Bare())
	f.Must(err)
	search, _ := set.Lookup("search_logs")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := search.Call(ctx, caller, nil)
		done <- err
	}()
	<-asked
	cancel()
	<-left
	if err := <-done; err == nil {
		t.Error("a cancelled call has an answer")
	}
}
