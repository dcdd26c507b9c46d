package ingest

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/orielhq/oriel/internal/telemetry"
)

// remoteRecorder answers as it is told.
type remoteRecorder struct {
	version  int
	data     []byte
	rejected map[string]int64
	err      error
}

func (w *remoteRecorder) WriteRemote(_ context.Context, _ telemetry.TenantID, version int, data []byte) (RemoteWritten, map[string]int64, error) {
	w.version, w.data = version, data
	return RemoteWritten{Samples: 3}, w.rejected, w.err
}

func TestRemoteWriteAnswers(t *testing.T) {
	body := []byte("a request")
	packed := snappy.Encode(nil, body)
	const v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	tests := []struct {
		name, key, contentType, encoding string
		body                             []byte
		w                                remoteRecorder
		status, version                  int
	}{
		{"version 1", "good", typeProtobuf, "snappy", packed, remoteRecorder{}, 204, 1},
		{"version 2", "good", v2, "snappy", packed, remoteRecorder{}, 204, 2},
		{"a bad key", "bad", v2, "snappy", packed, remoteRecorder{}, 401, 0},
		{"a key for logs", "logs-only", v2, "snappy", packed, remoteRecorder{}, 403, 0},
		{"another message", "good", "application/x-protobuf;proto=other", "snappy", packed, remoteRecorder{}, 415, 0},
		{"JSON", "good", typeJSON, "snappy", packed, remoteRecorder{}, 415, 0},
		{"not packed", "good", v2, "", body, remoteRecorder{}, 415, 0},
		{"not snappy", "good", v2, "snappy", body, remoteRecorder{}, 400, 0},
		{"a lie about its size", "good", v2, "snappy", append([]byte{0xff, 0xff, 0xff, 0x1f}, packed[1:]...), remoteRecorder{}, 400, 0},
		{"too large", "good", v2, "snappy", []byte{0xff, 0xff, 0xff, 0xff, 0x01}, remoteRecorder{}, 413, 0},
		{"some rejected", "good", v2, "snappy", packed, remoteRecorder{rejected: map[string]int64{"too_old": 2}}, 400, 2},
		{"unreadable", "good", v2, "snappy", packed, remoteRecorder{err: telemetry.ErrRefused}, 400, 2},
		// Prometheus takes 429 as final.
		{"a full disk", "good", v2, "snappy", packed, remoteRecorder{err: &telemetry.OverloadError{Reason: "full"}}, 503, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, &recorder{}, func(c *Config) { c.Remote = &tt.w })
			r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			r.Header.Set("Content-Encoding", tt.encoding)
			r.Header.Set("Authorization", "Bearer "+tt.key)
			res := httptest.NewRecorder()
			s.RemoteWrite(res, r)
			if res.Code != tt.status || tt.w.version != tt.version {
				t.Errorf("%d %s, version %d", res.Code, res.Body, tt.w.version)
			}
			if tt.status == 204 && (!bytes.Equal(tt.w.data, body) || res.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "3") {
				t.Errorf("%q, %v", tt.w.data, res.Header())
			}
			if (res.Header().Get("Retry-After") != "") != (tt.status == 503) {
				t.Errorf("Retry-After %q", res.Header().Get("Retry-After"))
			}
			if s.inFlight.Load() != 0 {
				t.Errorf("%d bytes still held", s.inFlight.Load())
			}
		})
	}
}
