package mcpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// fiveLogs answers each count with five.
type fiveLogs struct{}

func (fiveLogs) QueryLogs(_ context.Context, _ telemetry.View, q telemetry.LogQuery, _ telemetry.Budget) (telemetry.LogResult, error) {
	return telemetry.LogResult{Rows: []telemetry.LogRow{{
		Time: q.Start.Truncate(time.Minute).Add(time.Minute), Fields: []telemetry.Field{{Name: "n", Value: "5"}, {Name: "a0", Value: "5"}},
	}}}, nil
}

// A chart is MCP image content behind the text.
func TestChartIsImageContent(t *testing.T) {
	f, _, _, mux := newEndpoint(t, fiveLogs{})
	token := string(f.Connect("c").Access)
	var answer struct {
		Result struct {
			Content []struct {
				Type, Text, MIMEType string
				Data                 []byte // base64
			}
		}
	}
	text := ask(t, mux, token, "tools/call", `{"name":"aggregate_logs","arguments":{"chart":true}}`)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	content := answer.Result.Content
	if len(content) != 2 || content[0].Type != "text" || content[1].Type != "image" || content[1].MIMEType != "image/png" {
		t.Fatalf("%.500s", text)
	}
	if _, err := png.Decode(bytes.NewReader(content[1].Data)); err != nil {
		t.Error(err)
	}
}
