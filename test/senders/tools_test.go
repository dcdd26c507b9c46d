package senders

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/testenv"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var grpcText = regexp.MustCompile(`otlp_grpc=(\S+)`)

// What the SDK sent is what each tool answers, a few seconds later.
func TestToolsKnowWhatTheSDKSent(t *testing.T) {
	s := testkit.Start(t, func(c *config.Server) { c.SelfTeam, c.OTLPGRPCListen = "-", "127.0.0.1:0" })
	s.AddTeam("shop")
	_, key, err := s.Admin.Directory.AddKey(t.Context(), "shop", "sdk", audit.System())
	s.Must(err)
	ada := s.AddPerson("ada@example.com", false)
	s.SetMember("shop", ada.Email, "viewer")
	client := s.Register().Connect(ada.Email, "shop")
	s.WaitReady()
	m := grpcText.FindStringSubmatch(s.Log())
	if m == nil {
		t.Fatal("the log does not say where OTLP over gRPC is taken")
	}
	for _, protocol := range []string{"http", "grpc"} {
		e, err := overHTTP(t.Context(), s.URL, key.Reveal())
		if protocol == "grpc" {
			e, err = overGRPC(t.Context(), m[1], key.Reveal())
		}
		s.Must(err)
		service := "pay-" + protocol
		s.Must(send(t.Context(), e, service))
		sent := time.Now()
		about := fmt.Sprintf(`"service":%q,"start":%q,"end":%q`, service, sent.Add(-time.Minute).Format(time.RFC3339), sent.Add(time.Minute).Format(time.RFC3339))
		window := about[strings.Index(about, `"start"`):]
		trace := regexp.MustCompile(`(?m)^([0-9a-f]{32})\b`)
		for _, c := range []struct{ tool, args, want string }{
			{"list_services", `{` + window + `}`, service},
			{"search_logs", `{` + about + `,"query":"declined"}`, "payment declined"},
			{"aggregate_logs", `{` + about + `,"group_by":"severity"}`, `ERROR\t1`},
			{"find_log_patterns", `{` + about + `,"baseline":"none"}`, "payment declined"},
			{"list_errors", `{` + about + `,"baseline":"none"}`, "payment declined"},
			{"list_fields", `{` + about + `}`, `service\.version`},
			{"list_field_values", `{"field":"service.version",` + window + `}`, `1\.2`},
			{"compare", `{` + about + `,"bad":"severity:ERROR"}`, "compare"},
			{"get_log_context", `{"time":"` + sent.Format(time.RFC3339) + `","service":"` + service + `","query":"declined"}`, "payment declined|get_log_context"},
			{"search_traces", `{` + about + `}`, `GET /pay`},
			{"aggregate_spans", `{` + about + `,"where":["http.response.status_code=500"]}`, "matched 1"},
			{"get_service_health", `{` + about + `,"baseline":"none"}`, "GET /pay"},
			{"get_service_map", `{` + window + `}`, "get_service_map"},
			{"list_metrics", `{"search":"requests",` + window + `}`, "requests_total"},
			{"query_metrics", fmt.Sprintf(`{"query":"sum(requests_total{service_name=\"%s\"})","time":%q}`, service, sent.Add(2*time.Second).Format(time.RFC3339)), `\t3\b|3`},
		} {
			last := ""
			testenv.Within(t, soon, service+" "+c.tool, func() error {
				last = call(t, client, c.tool, c.args)
				if !regexp.MustCompile(c.want).MatchString(last) {
					return fmt.Errorf("it answers %s", last)
				}
				return nil
			})
			if c.tool != "search_traces" {
				continue
			}
			id := trace.FindStringSubmatch(last)
			if id == nil {
				t.Fatalf("no trace in %s", last)
			}
			if tree := call(t, client, "get_trace", `{"trace_id":"`+id[1]+`"}`); !strings.Contains(tree, service+" · GET /pay") || !strings.Contains(tree, "payment declined") {
				t.Errorf("get_trace: %s", tree)
			}
		}
	}
}

// call calls a tool and returns what it says, also where it refuses.
func call(t *testing.T, c *testkit.Client, tool, args string) string {
	t.Helper()
	res := c.Call("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
	body := res.Body
	if _, data, ok := strings.Cut(body, "data: "); ok && !strings.HasPrefix(body, "{") {
		body = data
	}
	var answer struct {
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.Status != http.StatusOK || len(answer.Result.Content) == 0 {
		t.Fatalf("%s: status %d: %.500s", tool, res.Status, res.Body)
	}
	return answer.Result.Content[0].Text
}
