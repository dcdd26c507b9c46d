package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/grpc/codes"

	"github.com/orielhq/oriel/internal/telemetry"
)

// A RemoteWriter stores Prometheus remote write requests. Implementations are
// safe for concurrent use.
type RemoteWriter interface {
	// WriteRemote stores a decompressed request of version 1 or 2. Errors are
	// those of telemetry.Writer, and telemetry.ErrRefused for a request that
	// cannot be read.
	WriteRemote(ctx context.Context, tenant telemetry.TenantID, version int, data []byte) (RemoteWritten, map[string]int64, error)
}

// RemoteWritten counts what a remote write request stored.
type RemoteWritten struct{ Samples, Histograms, Exemplars int64 }

const (
	remoteV1 = "prometheus.WriteRequest"
	remoteV2 = "io.prometheus.write.v2.Request"
)

// RemoteWrite answers POST /api/v1/write (Prometheus remote write
// specification 1.0 and 2.0). It answers 204 when everything is stored; 400
// when some samples can never be, all others are; 503 with Retry-After when
// to send again, also where OTLP gets 429, which Prometheus takes as final.
func (s *Server) RemoteWrite(w http.ResponseWriter, r *http.Request) {
	written, f := s.remoteWrite(w, r)
	for name, n := range map[string]int64{"Samples": written.Samples, "Histograms": written.Histograms, "Exemplars": written.Exemplars} {
		w.Header().Set("X-Prometheus-Remote-Write-"+name+"-Written", strconv.FormatInt(n, 10))
	}
	if f == nil {
		s.metrics.Requests.WithLabelValues("204").Inc()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if f.status == http.StatusTooManyRequests {
		f.status = http.StatusServiceUnavailable
	}
	s.failed(r.Context(), f)
	setRetry(w, f)
	http.Error(w, f.public, f.status)
}

func (s *Server) remoteWrite(w http.ResponseWriter, r *http.Request) (written RemoteWritten, f *failure) {
	key, f := s.key(r, signalMetrics)
	if f != nil {
		return written, f
	}
	version, err := remoteVersion(r)
	if err != nil {
		return written, refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, nil, "%s", err)
	}
	if s.remote == nil {
		return written, refuse(http.StatusNotFound, codes.Unimplemented, errNoMetrics, "this server takes no metrics")
	}
	if err := s.ready(); err != nil {
		return written, notNow(err)
	}
	lease := s.newLease()
	defer lease.release()
	data, f := readSnappy(w, r, lease)
	if f != nil {
		return written, f
	}
	s.metrics.Bytes.Add(float64(len(data)))
	s.rates.spend(key, s.now(), len(data))
	written, rejected, err := s.remote.WriteRemote(r.Context(), key.Tenant, version, data)
	if errors.Is(err, telemetry.ErrRefused) {
		return written, refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "the request cannot be read: %s", cut(err.Error(), 200))
	}
	if err != nil {
		return written, notNow(err)
	}
	if n := written.Samples + written.Histograms; n > 0 {
		s.metrics.Accepted.WithLabelValues(string(signalMetrics)).Add(float64(n))
		s.metrics.Batches.Inc()
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(rejected)) {
		s.metrics.Rejected.WithLabelValues(string(signalMetrics), reason).Add(float64(rejected[reason]))
		parts = append(parts, fmt.Sprintf("%d %s", rejected[reason], strings.ReplaceAll(reason, "_", " ")))
	}
	if len(parts) > 0 {
		return written, refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "samples were rejected, all others are stored: %s", strings.Join(parts, "; "))
	}
	return written, nil
}

func remoteVersion(r *http.Request) (int, error) {
	if enc := r.Header.Get("Content-Encoding"); enc != "snappy" {
		return 0, fmt.Errorf("content encoding %q is not supported; use snappy", cut(enc, 100))
	}
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != typeProtobuf {
		return 0, fmt.Errorf("content type %q is not supported; send %s", cut(r.Header.Get("Content-Type"), 100), typeProtobuf)
	}
	switch params["proto"] {
	case "", remoteV1:
		return 1, nil
	case remoteV2:
		return 2, nil
	}
	return 0, fmt.Errorf("the message %q is not supported; send %s or %s", cut(params["proto"], 100), remoteV1, remoteV2)
}

// readSnappy reads a body in snappy's block format.
func readSnappy(w http.ResponseWriter, r *http.Request, l *lease) ([]byte, *failure) {
	if r.ContentLength > maxCompressedBytes {
		return nil, bodyTooLarge()
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	packed, err := readBounded(io.Reader(http.MaxBytesReader(w, r.Body, maxCompressedBytes)), l)
	if err != nil {
		return nil, bodyFailure(err)
	}
	size, err := snappy.DecodedLen(packed)
	if err == nil && size > maxBodyBytes {
		err = errBodyTooLarge
	}
	// What the header announces must be possible: snappy packs 64 bytes into
	// 3 at best.
	if err == nil && size > 22*len(packed)+64 {
		err = snappy.ErrCorrupt
	}
	if err == nil {
		err = l.grow(int64(size))
	}
	if err != nil {
		return nil, bodyFailure(err)
	}
	data, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, bodyFailure(err)
	}
	return data, nil
}
