package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// Page wraps a handler that answers with pages: its errors become one too.
func (s *Site) Page(h HandlerFunc) http.Handler {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		s.pageHeaders(w.Header(), nil)
		return h(w, r)
	}, s.problemPage)
}

// Form wraps a handler that takes a form: a request that a browser sends from
// another site is refused before h sees it (cross-site request forgery). Never
// put it around a protocol endpoint, which other sites call by right.
func (s *Site) Form(h HandlerFunc) http.Handler {
	return s.Page(func(w http.ResponseWriter, r *http.Request) error {
		if err := s.crossSite.Check(r); err != nil {
			return &Error{
				Status: http.StatusForbidden, Cause: err,
				Public: "This form was sent from another site, so nothing was changed.",
				Next:   "Open the page here and send the form again.",
			}
		}
		return h(w, r)
	})
}

// API wraps a handler that answers with JSON: its errors become
// {"error", "error_description", "request_id"}.
func (s *Site) API(h HandlerFunc) http.Handler { return s.handle(h, s.problemJSON) }

// NotFound is the handler for paths that do not exist.
func NotFound(http.ResponseWriter, *http.Request) error {
	return &Error{
		Status: http.StatusNotFound, Public: "There is no page at this address.",
		Next: "Check the address, or go on from the start page.", Links: []Link{{Text: "Start page", URL: "/"}},
	}
}

// ReadForm parses the body of a form into r.PostForm.
func ReadForm(r *http.Request) error {
	err := r.ParseForm()
	if err == nil || TooLarge(err) {
		return err
	}
	return &Error{Status: http.StatusBadRequest, Cause: err, Public: "The form could not be read.", Next: "Go back and send it again."}
}

// handle is the frame around every request.
func (s *Site) handle(h HandlerFunc, answer func(http.ResponseWriter, *http.Request, *Error)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := rand.Text()
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		rw.Header().Set("X-Request-Id", id)
		w := &recorder{ResponseWriter: rw}
		if r.Body != nil {
			r.Body = http.MaxBytesReader(rw, r.Body, s.BodyLimit)
		}

		err := s.recovered(h, w, r)
		aborted := errors.Is(err, http.ErrAbortHandler)
		if err != nil && !aborted {
			if w.status == 0 {
				answer(w, r, s.asError(err))
			} else {
				// The answer has begun: all that can still be done is to
				// end it visibly.
				aborted = true
			}
		}
		s.logRequest(r, w, err, time.Since(start))
		s.instrument.observe(r, w.statusCode(), time.Since(start))
		if aborted {
			panic(http.ErrAbortHandler)
		}
	})
}

// panicError is a panic of a handler as an error.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (s *Site) recovered(h HandlerFunc, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if e, ok := v.(error); ok && errors.Is(e, http.ErrAbortHandler) {
			err = http.ErrAbortHandler
			return
		}
		err = &panicError{value: v, stack: debug.Stack()}
	}()
	return h(w, r)
}

// awayFor is when whoever asked is told to come again while something that we
// need is away.
const awayFor = 2 * time.Second

// asError decides what the one who asked is told about an error.
func (s *Site) asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Status == 0 {
			c := *e
			c.Status = http.StatusInternalServerError
			return &c
		}
		return e
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Cause: err,
			Public: fmt.Sprintf("The request is larger than %d bytes.", tooLarge.Limit),
		}
	}
	if s.Unavailable != nil && s.Unavailable(err) {
		return &Error{
			Status: http.StatusServiceUnavailable, Cause: err, RetryAfter: awayFor,
			Public: "Oriel cannot answer this right now.",
			Next:   "Try again in a moment.",
		}
	}
	return &Error{
		Status: http.StatusInternalServerError, Cause: err,
		Public: "Something went wrong on our side.",
		Next:   "Try again. If it happens again, tell an administrator the request id below.",
	}
}

// logRequest writes the one line of a request. The query string, headers and
// bodies carry codes, tokens and passwords: none of them is ever logged.
func (s *Site) logRequest(r *http.Request, w *recorder, err error, took time.Duration) {
	level := slog.LevelInfo
	if err != nil {
		if e := s.asError(err); e.Status >= 500 || w.statusCode() < 400 {
			level = slog.LevelError
		}
	}
	if !s.Logger.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("method", r.Method),
		slog.String("route", routeOf(r)),
		slog.Int("status", w.statusCode()),
		slog.Duration("duration", took),
		slog.Int64("bytes", w.bytes),
		slog.String("request_id", RequestID(r.Context())),
		slog.String("client", s.ClientAddress(r).String()),
	)
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	s.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// routeOf returns the pattern that matched: the path itself may hold ids.
func routeOf(r *http.Request) string { return cmp.Or(r.Pattern, "none") }

func (s *Site) problemPage(w http.ResponseWriter, r *http.Request, e *Error) {
	retryAfter(w.Header(), e)
	p := ProblemPage{
		Title: problemTitle(e.Status), What: e.Public, Next: e.Next, Links: e.Links,
	}
	if e.Status >= 500 {
		p.RequestID = RequestID(r.Context())
	}
	if err := s.Render(w, e.Status, p); err != nil {
		s.Logger.ErrorContext(r.Context(), "render problem page", "err", err)
		http.Error(w, http.StatusText(e.Status), e.Status)
	}
}

func problemTitle(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "Not found"
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return "Not allowed"
	case status == http.StatusTooManyRequests:
		return "Too many attempts"
	case status == http.StatusServiceUnavailable:
		return "Temporarily unavailable"
	case status >= 500:
		return "Something went wrong"
	default:
		return "That did not work"
	}
}

func (s *Site) problemJSON(w http.ResponseWriter, r *http.Request, e *Error) {
	retryAfter(w.Header(), e)
	description := e.Public
	if e.Next != "" {
		description += " " + e.Next
	}
	body := struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
		RequestID   string `json:"request_id"`
	}{cmp.Or(e.Code, errorCode(e.Status)), description, RequestID(r.Context())}
	if err := WriteJSON(w, e.Status, body); err != nil {
		s.Logger.WarnContext(r.Context(), "write error answer", "err", err)
	}
}

// errorCode returns the usual error code of a status, in the words of RFC 6749
// where they fit.
func errorCode(status int) string {
	switch status {
	case http.StatusNotFound:
		return "not_found"
	case http.StatusForbidden:
		return "access_denied"
	case http.StatusUnauthorized:
		return "invalid_token"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "temporarily_unavailable"
	}
	if status >= 500 {
		return "server_error"
	}
	return "invalid_request"
}

// WriteJSON answers with v as JSON that no cache keeps.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	b = append(b, '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

func retryAfter(h http.Header, e *Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	// 1xx answers come before the real one.
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what is written so far, for streams that ask for http.Flusher.
func (w *recorder) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) statusCode() int { return cmp.Or(w.status, http.StatusOK) }

// TooLarge says whether err means that a body went over its limit.
func TooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
