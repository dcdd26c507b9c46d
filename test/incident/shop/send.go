package shop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// sendTries is how often a request is sent that the server has no room for.
const sendTries = 30

// A Sender sends OTLP over HTTP with protobuf.
type Sender struct {
	// URL is the server's, without a slash at its end; Key an ingest key.
	URL, Key string
	// Client is used where it is set.
	Client *http.Client
}

// Minute sends everything of a team's minute.
func (s Sender) Minute(ctx context.Context, m *Minute, team string) error {
	logs, err := plogotlp.NewExportRequestFromLogs(m.OTLPLogs(team)).MarshalProto()
	if err != nil {
		return fmt.Errorf("encode logs: %w", err)
	}
	traces, err := ptraceotlp.NewExportRequestFromTraces(m.OTLPTraces(team)).MarshalProto()
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	metrics, err := pmetricotlp.NewExportRequestFromMetrics(m.OTLPMetrics(team)).MarshalProto()
	if err != nil {
		return fmt.Errorf("encode metrics: %w", err)
	}
	for _, part := range []struct {
		path string
		body []byte
	}{{"/v1/logs", logs}, {"/v1/traces", traces}, {"/v1/metrics", metrics}} {
		if err := s.Post(ctx, part.path, part.body, ""); err != nil {
			return err
		}
	}
	return nil
}

// Post sends one request, again where the server asks to wait. encoding is
// that of the body, "" for none.
func (s Sender) Post(ctx context.Context, path string, body []byte, encoding string) error {
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+path, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Authorization", "Bearer "+s.Key)
		if encoding != "" {
			req.Header.Set("Content-Encoding", encoding)
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		answer, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("send: %w", err)
		case res.StatusCode == http.StatusOK && bytes.Contains(answer, []byte("rejected")):
			return fmt.Errorf("send to %s: partly rejected: %s", path, answer)
		case res.StatusCode == http.StatusOK:
			return nil
		case (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) && try < sendTries:
			wait, err := strconv.Atoi(res.Header.Get("Retry-After"))
			if err != nil {
				wait = 1
			}
			select {
			case <-time.After(time.Duration(wait) * time.Second):
			case <-ctx.Done():
				return fmt.Errorf("send: %w", ctx.Err())
			}
		default:
			return fmt.Errorf("send to %s: %s: %.300s", path, res.Status, answer)
		}
	}
}
