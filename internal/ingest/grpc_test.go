package ingest

import (
	"context"
	"net"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/orielhq/oriel/internal/telemetry"
)

func dial(t *testing.T, change ...func(*Config)) *grpc.ClientConn {
	t.Helper()
	g := newServer(t, &recorder{}, change...).GRPC()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func withKey(t *testing.T, key string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func TestGRPCTakesLogsAndSpans(t *testing.T) {
	logs, spans := &recorder{}, &spanRecorder{}
	conn := dial(t, func(c *Config) { c.Writer, c.Spans = logs, spans })
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		if _, err := plogotlp.NewGRPCClient(conn).Export(withKey(t, "good"), plogotlp.NewExportRequestFromLogs(sample()), options...); err != nil {
			t.Fatal(err)
		}
		resp, err := ptraceotlp.NewGRPCClient(conn).Export(withKey(t, "good"), ptraceotlp.NewExportRequestFromTraces(sampleSpans()), options...)
		if err != nil || resp.PartialSuccess().RejectedSpans() != 0 {
			t.Fatal(err)
		}
	}
	if len(logs.batches) != 2 || logs.tenant != 7 || len(spans.spans) != 2 {
		t.Errorf("%d batches for %d, %d spans", len(logs.batches), logs.tenant, len(spans.spans))
	}
	_, err := pmetricotlp.NewGRPCClient(conn).Export(withKey(t, "good"), pmetricotlp.NewExportRequest())
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("metrics without a writer: %v", err)
	}
}

func TestGRPCRefuses(t *testing.T) {
	full := &telemetry.OverloadError{Reason: "the disk is full", RetryAfter: 30 * time.Second}
	tests := []struct {
		name, key string
		change    func(*Config)
		code      codes.Code
		retry     time.Duration
	}{
		{"no key", "", nil, codes.Unauthenticated, 0},
		{"a bad key", "bad", nil, codes.Unauthenticated, 0},
		{"a key that cannot be checked", "broken", nil, codes.Unavailable, retryAfter},
		{"no room", "good", func(c *Config) { c.Ready = func() error { return full } }, codes.ResourceExhausted, 30 * time.Second},
		{"a full spool", "good", func(c *Config) { c.Writer = &recorder{err: full} }, codes.ResourceExhausted, 30 * time.Second},
		{"no engine", "good", func(c *Config) { c.Writer = &recorder{err: telemetry.ErrUnavailable} }, codes.Unavailable, retryAfter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var change []func(*Config)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			_, err := plogotlp.NewGRPCClient(dial(t, change...)).Export(withKey(t, tt.key), plogotlp.NewExportRequestFromLogs(sample()))
			st := status.Convert(err)
			if st.Code() != tt.code {
				t.Fatalf("%v, want %v", err, tt.code)
			}
			var retry time.Duration
			for _, d := range st.Details() {
				if info, ok := d.(*errdetails.RetryInfo); ok {
					retry = info.RetryDelay.AsDuration()
				}
			}
			if retry != tt.retry {
				t.Errorf("retry after %s, want %s", retry, tt.retry)
			}
		})
	}
}

// What the decoder must not see over HTTP it must not see here.
func TestGRPCScans(t *testing.T) {
	conn := dial(t)
	message := deepProto(5000)
	var answer []byte
	err := conn.Invoke(withKey(t, "good"), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", message, &answer, grpc.ForceCodecV2(rawCodec{}))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a deep value: %v", err)
	}
	err = conn.Invoke(withKey(t, "good"), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", make([]byte, maxMessageBytes+1), &answer, grpc.ForceCodecV2(rawCodec{}))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large message: %v", err)
	}
}
