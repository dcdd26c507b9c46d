package ingest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// A failure is an answer other than 200. Its cause is for the log alone.
type failure struct {
	status int
	code   codes.Code
	public string
	cause  error
	// after is when to send again; 0 means the usual pause.
	after time.Duration
}

func (f *failure) Error() string { return f.public }

func refuse(status int, code codes.Code, cause error, format string, args ...any) *failure {
	return &failure{status: status, code: code, cause: cause, public: fmt.Sprintf(format, args...)}
}

// A taker decodes, converts and writes the body of one signal's request.
type taker func(ctx context.Context, tenant telemetry.TenantID, contentType string, data []byte) (outcome, *failure)

// An outcome is what became of a request that was understood.
type outcome struct {
	signal   signal
	accepted int64
	// rejected counts by reason what can never be stored; message says so to
	// the sender.
	rejected map[string]int64
	response message
}

// A message is an OTLP message of pdata.
type message interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

// Logs answers POST /v1/logs (OTLP specification 1.x, "OTLP/HTTP"). It answers
// 200 after the writer has taken the records, with the number of those
// rejected as partial success; 400, 401, 408, 413 and 415 where sending again is
// no use, 429 and 503 with Retry-After where it is. Answers are in the request's
// content type, errors as google.rpc.Status.
func (s *Server) Logs(w http.ResponseWriter, r *http.Request) { s.serve(w, r, signalLogs, s.takeLogs) }

// Traces answers POST /v1/traces as Logs does. It needs Config.Spans.
func (s *Server) Traces(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, signalSpans, s.takeSpans)
}

// Metrics answers POST /v1/metrics as Logs does. It needs Config.Metrics.
func (s *Server) Metrics(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, signalMetrics, s.takeMetrics)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, sig signal, take taker) {
	contentType, body, f := s.answer(w, r, sig, take)
	if f != nil {
		s.failed(r.Context(), f)
		writeStatus(w, contentType, f)
		return
	}
	s.metrics.Requests.WithLabelValues("200").Inc()
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func (s *Server) failed(ctx context.Context, f *failure) {
	if f.cause != nil {
		s.log.WarnContext(ctx, "OTLP request not stored", "status", f.status, "reason", f.public, "error", f.cause)
	}
	s.metrics.Requests.WithLabelValues(strconv.Itoa(f.status)).Inc()
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, sig signal, take taker) (contentType string, body []byte, f *failure) {
	contentType, err := requestType(r)
	key, f := s.key(r, sig) // before anything else: a stranger learns only that
	if f != nil {
		return contentType, nil, f
	}
	if err != nil {
		return contentType, nil, refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, nil,
			"content type %q is not supported; send %s or %s", cut(r.Header.Get("Content-Type"), 100), typeProtobuf, typeJSON)
	}
	if err := s.ready(); err != nil {
		return contentType, nil, notNow(err)
	}

	lease := s.newLease()
	defer lease.release()
	data, f := readBody(w, r, lease)
	if f != nil {
		return contentType, nil, f
	}
	body, f = s.take(r.Context(), key, contentType, data, take)
	return contentType, body, f
}

// take works off a body and returns the answer's.
func (s *Server) take(ctx context.Context, key Key, contentType string, data []byte, take taker) ([]byte, *failure) {
	s.metrics.Bytes.Add(float64(len(data)))
	s.rates.spend(key, s.now(), len(data))
	o, f := take(ctx, key.Tenant, contentType, data)
	if f != nil {
		return nil, f
	}
	if o.accepted > 0 {
		s.metrics.Accepted.WithLabelValues(string(o.signal)).Add(float64(o.accepted))
		s.metrics.Batches.Inc()
	}
	for reason, n := range o.rejected {
		s.metrics.Rejected.WithLabelValues(string(o.signal), reason).Add(float64(n))
	}
	var body []byte
	var err error
	if contentType == typeJSON {
		body, err = o.response.MarshalJSON()
	} else {
		body, err = o.response.MarshalProto()
	}
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, codes.Internal, err, "the answer could not be written")
	}
	return body, nil
}

// notNow answers what a writer failed with.
func notNow(err error) *failure {
	overload, ok := errors.AsType[*telemetry.OverloadError](err)
	switch {
	case ok:
		f := refuse(http.StatusTooManyRequests, codes.ResourceExhausted, nil, "%s", overload.Reason)
		f.after = overload.RetryAfter
		return f
	case errors.Is(err, telemetry.ErrUnavailable):
		return refuse(http.StatusServiceUnavailable, codes.Unavailable, err, "storage is temporarily unavailable; send again later")
	default:
		// Not knowing what went wrong is no reason to let the sender throw
		// its records away: 503 is what makes it keep and resend them.
		return refuse(http.StatusServiceUnavailable, codes.Unavailable, err, "the records could not be stored; send again later")
	}
}

// rejectedBy adds what a writer rejected of a batch that it else took.
func rejectedBy(err error, rejected map[string]int64) (n int64, rest error) {
	r, ok := errors.AsType[*telemetry.RejectedError](err)
	if !ok {
		return 0, err
	}
	rejected[reasonEngine] += int64(len(r.Records))
	return int64(len(r.Records)), nil
}

// key reads the ingest key and says whether it may send now. Only the Authorization header counts: keys in
// addresses end up in access logs.
func (s *Server) key(r *http.Request, sig signal) (Key, *failure) {
	return s.admitted(r.Context(), r.Header.Values("Authorization"), sig)
}

func (s *Server) admitted(ctx context.Context, headers []string, sig signal) (Key, *failure) {
	if len(headers) != 1 {
		return Key{}, refuse(http.StatusUnauthorized, codes.Unauthenticated, nil, "send one header: Authorization: Bearer <ingest key>")
	}
	scheme, key, _ := strings.Cut(headers[0], " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return Key{}, refuse(http.StatusUnauthorized, codes.Unauthenticated, nil, "send the header as Authorization: Bearer <ingest key>")
	}
	k, err := s.keys.CheckKey(ctx, key)
	switch {
	case errors.Is(err, ErrKeyRefused):
		return Key{}, refuse(http.StatusUnauthorized, codes.Unauthenticated, nil, "the ingest key is not valid; a team's administrator can make a new one")
	case err != nil:
		return Key{}, refuse(http.StatusServiceUnavailable, codes.Unavailable, err, "the ingest key cannot be checked now; send again later")
	case k.Tenant == 0:
		return Key{}, refuse(http.StatusServiceUnavailable, codes.Unavailable, errors.New("key checker returned tenant 0"), "the ingest key cannot be checked now; send again later")
	case !k.maySend(sig):
		return Key{}, refuse(http.StatusForbidden, codes.PermissionDenied, nil, "this ingest key may send %s only", strings.Join(k.Signals, " and "))
	}
	if wait := s.rates.wait(k, s.now()); wait > 0 {
		f := refuse(http.StatusTooManyRequests, codes.ResourceExhausted, nil, "this ingest key may send %d bytes a second; send again later", k.BytesPerSecond)
		f.after = wait
		return Key{}, f
	}
	return k, nil
}

// requestType returns the encoding of the request, which is also the answer's.
// Errors to unknown types are answered as JSON, which people can read.
func requestType(r *http.Request) (string, error) {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && t == typeProtobuf:
		return typeProtobuf, nil
	case err == nil && t == typeJSON:
		return typeJSON, nil
	}
	return typeJSON, errors.New("unknown content type")
}

// A request is an OTLP request of pdata.
type request interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}

func decode(sig signal, contentType string, data []byte, req request) *failure {
	var err error
	if contentType == typeJSON {
		if !json.Valid(data) {
			return refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "the body is not valid JSON")
		}
		if err = scanJSON(sig, data); err == nil {
			err = req.UnmarshalJSON(data)
		}
	} else if err = scanProto(sig, data); err == nil {
		err = req.UnmarshalProto(data)
	}
	if tooLarge, ok := errors.AsType[*tooLargeError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, codes.InvalidArgument, nil, "%s", tooLarge)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, codes.InvalidArgument, nil, "the body is not an OTLP %s request: %s", sig.request(), cut(err.Error(), 200))
	}
	return nil
}

// writeStatus writes a google.rpc.Status ("Failures" in the specification).
func writeStatus(w http.ResponseWriter, contentType string, f *failure) {
	st := &spb.Status{Code: int32(f.code), Message: strings.ToValidUTF8(f.public, "\uFFFD")}
	var b []byte
	var err error
	if contentType == typeJSON {
		if b, err = protojson.Marshal(st); err == nil {
			var compact bytes.Buffer // protojson varies its white space on purpose
			if json.Compact(&compact, b) == nil {
				b = compact.Bytes()
			}
		}
	} else {
		b, err = proto.Marshal(st)
	}
	if err != nil {
		b = nil
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	setRetry(w, f)
	w.WriteHeader(f.status)
	_, _ = w.Write(b)
}

// setRetry says when to send again, where that is of use.
func setRetry(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		// Whole seconds, and never 0: RFC 9110 §10.2.3.
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(cmp.Or(f.after, retryAfter).Seconds()))))
	}
}

// cut shortens text that a sender chose before it is shown.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
