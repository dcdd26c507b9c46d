package ingest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"
)

// maxZstdWindow is the largest window a zstd frame may ask for (RFC 8878 §3.1.1.1.2
// recommends to support at least 8 MiB).
const maxZstdWindow = 8 << 20

var (
	errBodyTooLarge = errors.New("body too large")
	errBusy         = errors.New("too many bytes in flight")
)

// A lease is one request's share of the memory for bodies.
type lease struct {
	s    *Server
	held int64
}

func (s *Server) newLease() *lease { return &lease{s: s} }

// grow takes n more bytes, or fails with errBusy.
func (l *lease) grow(n int64) error {
	if l.s.inFlight.Add(n) > l.s.maxInFlight {
		l.s.inFlight.Add(-n)
		return errBusy
	}
	l.held += n
	return nil
}

func (l *lease) release() { l.s.inFlight.Add(-l.held) }

// readBody reads and decompresses the body within the limits. Memory grows with
// the bytes that really arrived, never by what a header announces.
func readBody(w http.ResponseWriter, r *http.Request, l *lease) ([]byte, *failure) {
	if r.ContentLength > maxCompressedBytes {
		return nil, bodyTooLarge()
	}
	// A deadline of the connection, so the system's clock; connections
	// without one (tests, HTTP/2 behind some wrappers) go by the server's.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()

	var src io.Reader = http.MaxBytesReader(w, r.Body, maxCompressedBytes)
	switch enc := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ", ")); enc {
	case "", "identity":
	case "gzip":
		zr, err := gzip.NewReader(src)
		if err != nil {
			return nil, bodyFailure(err)
		}
		src = zr
	case "zstd":
		zr, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, bodyFailure(err)
		}
		defer zr.Close()
		src = zr
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, nil,
			"content encoding %q is not supported; use gzip, zstd or none", cut(enc, 100))
	}
	data, err := readBounded(src, l)
	if err != nil {
		return nil, bodyFailure(err)
	}
	return data, nil
}

func readBounded(src io.Reader, l *lease) ([]byte, error) {
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			size := min(max(2*cap(buf), 32<<10), maxBodyBytes+1)
			if err := l.grow(int64(size - cap(buf))); err != nil {
				return nil, err
			}
			next := make([]byte, len(buf), size)
			copy(next, buf)
			buf = next
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > maxBodyBytes {
			return nil, errBodyTooLarge
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func bodyTooLarge() *failure {
	return refuse(http.StatusRequestEntityTooLarge, codes.InvalidArgument, nil,
		"the body is too large: at most %d MiB as sent and %d MiB after decompression; send smaller batches", maxCompressedBytes>>20, maxBodyBytes>>20)
}

func bodyFailure(err error) *failure {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, errBodyTooLarge) {
		return bodyTooLarge()
	}
	switch {
	case errors.Is(err, errBusy):
		return refuse(http.StatusServiceUnavailable, codes.Unavailable, nil, "too many requests at once; send again later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, codes.DeadlineExceeded, nil, "the body did not arrive within %s", bodyReadTimeout)
	}
	return refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "the body cannot be read: %s", cut(fmt.Sprint(err), 200))
}
