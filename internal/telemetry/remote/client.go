package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = time.Minute
	// maxIdleConns to one engine are kept: as many as may query and write at
	// once on a large machine.
	maxIdleConns = 64
	// authorizationFresh is how long a file's content counts.
	authorizationFresh    = time.Second
	maxAuthorizationBytes = 8 << 10

	// tripAfter failures in a row an engine is not asked for openFor; then a
	// single request tries it.
	tripAfter = 5
	openFor   = 5 * time.Second

	// retryShare of requests may be repeated, and retryMost at once: an engine
	// that is slow does not become slower by it.
	retryShare = 0.1
	retryMost  = 10.0
)

// A Client is an HTTP client of one engine. It is safe for concurrent use.
type Client struct {
	// HTTP does the requests. It follows no redirects: an answer from elsewhere
	// is not the engine's.
	HTTP *http.Client
	// Overrun tells an answer of 503 that is about one question, which took
	// longer than it may, from one about the engine; it gets the answer's
	// first KiB. nil is none. It is set before the first request.
	Overrun func(answer []byte) bool

	// Questions and rows have a breaker each: the processes behind them may
	// be different ones, and what succeeds in one says nothing of the other.
	questions, rows *side
}

// A side is one of the two ways to an engine.
type side struct {
	breaker *gobreaker.CircuitBreaker[*http.Response]
	// denied holds while the engine refuses who Oriel says it is.
	denied atomic.Bool
}

func newSide(name string) *side {
	return &side{breaker: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name: name, Timeout: openFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		// Whoever hangs up, or asks too much, says nothing about the engine.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, errOverrun) },
	})}
}

// NewClient makes a client. name is the engine's in messages. Errors are of
// files that cannot be used.
func NewClient(name string, e Endpoint) (*Client, error) {
	config, err := e.tls()
	if err != nil {
		return nil, fmt.Errorf("%s engine: %w", name, err)
	}
	authorization := &authorization{path: e.AuthorizationFile}
	if _, err := authorization.value(time.Now()); err != nil {
		return nil, fmt.Errorf("%s engine: %w", name, err)
	}
	c := &Client{questions: newSide(name), rows: newSide(name)}
	c.HTTP = &http.Client{
		Transport: &transport{
			client: c,
			next: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: handshakeTimeout, ForceAttemptHTTP2: true,
				DialContext:  (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext,
				MaxIdleConns: maxIdleConns, MaxIdleConnsPerHost: maxIdleConns, IdleConnTimeout: idleTimeout,
				ResponseHeaderTimeout: e.Timeout,
			},
			authorization: authorization, budget: &budget{left: retryMost},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Trouble says, after the engine's name, why it does not serve, "" where
// nothing is known: it is not asked at the moment, because it failed too often
// in a row, or it refuses who Oriel says it is.
func (c *Client) Trouble() string {
	for _, s := range []*side{c.questions, c.rows} {
		if s.breaker.State() == gobreaker.StateOpen {
			return "does not answer"
		}
	}
	switch questions, rows := c.questions.denied.Load(), c.rows.denied.Load(); {
	case questions && rows:
		return "refuses the authorization that it is given"
	case questions:
		return "refuses the authorization that it is given with questions"
	case rows:
		return "refuses the authorization that it is given with rows"
	}
	return ""
}

func (e *Endpoint) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CAFile != "" {
		text, err := os.ReadFile(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", e.CAFile)
		}
	}
	if e.CertFile != "" {
		// Read for each handshake: certificates are renewed.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
			return &pair, err
		}
		if _, err := config.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
	}
	return config, nil
}

// authorization is the value of a header, in a file.
type authorization struct {
	path string

	mu   sync.Mutex
	text string
	read time.Time
}

func (a *authorization) value(now time.Time) (string, error) {
	if a.path == "" {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.read) < authorizationFresh {
		return a.text, nil
	}
	info, err := os.Stat(a.path)
	if err == nil && info.Size() > maxAuthorizationBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxAuthorizationBytes)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(a.path)
	}
	value := strings.TrimSpace(string(text))
	if err == nil && (value == "" || strings.ContainsAny(value, "\r\n")) {
		err = errors.New("it must be one line, such as Bearer and a token")
	}
	if err != nil {
		return "", fmt.Errorf("authorization_file %s: %w", a.path, err)
	}
	a.text, a.read = value, now
	return value, nil
}

// budget is how many requests may still be repeated.
type budget struct {
	mu   sync.Mutex
	left float64
}

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+retryShare, retryMost)
}

func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

type transport struct {
	client        *Client
	next          http.RoundTripper
	authorization *authorization
	budget        *budget
}

// errAnswer is an answer of an engine, or of what stands before it, that
// cannot serve.
type errAnswer struct{ status string }

func (e errAnswer) Error() string { return "the engine answers " + e.status }

// errOverrun is an answer that is about one question.
var errOverrun = errors.New("the question took longer than it may")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	value, err := t.authorization.value(time.Now())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	if value != "" {
		r.Header.Set("Authorization", value)
	}
	if strings.HasSuffix(r.URL.Path, "/health") {
		// Asked to find out, so always, and its answers open nothing and close
		// nothing: it may be another process' that stands before the engine.
		return t.next.RoundTrip(r)
	}
	t.budget.earn()
	res, err := t.once(r)
	if err == nil && !t.failing(res) || !repeatable(r) || r.Context().Err() != nil || errors.Is(err, gobreaker.ErrOpenState) || !t.budget.spend() {
		return res, err
	}
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		body, bodyErr := r.GetBody()
		if bodyErr != nil {
			return res, err
		}
		again.Body = body
	}
	if res != nil {
		_ = res.Body.Close()
	}
	return t.once(again)
}

// once sends a request past its breaker.
func (t *transport) once(r *http.Request) (res *http.Response, err error) {
	side := t.client.rows
	if question(r) {
		side = t.client.questions
	}
	_, err = side.breaker.Execute(func() (*http.Response, error) {
		switch res, err = t.next.RoundTrip(r); {
		case err != nil:
			return nil, err
		case t.failing(res):
			return nil, errAnswer{res.Status}
		case res.StatusCode == http.StatusServiceUnavailable:
			return nil, errOverrun
		}
		return nil, nil
	})
	if _, ok := errors.AsType[errAnswer](err); ok || errors.Is(err, errOverrun) {
		err = nil // whoever asked reads its status
	}
	if err == nil {
		side.denied.Store(res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden)
	}
	return res, err
}

// overrunBytes of an answer of 503 are read to tell what it is about.
const overrunBytes = 1 << 10

// failing says that the engine could not answer.
func (t *transport) failing(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusServiceUnavailable:
		return t.client.Overrun == nil || !t.client.Overrun(peek(res))
	}
	return false
}

// peek returns the beginning of an answer, which stays to be read.
func peek(res *http.Response) []byte {
	begin, err := io.ReadAll(io.LimitReader(res.Body, overrunBytes))
	rest := io.Reader(res.Body)
	if err != nil {
		rest = failedReader{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), rest), res.Body}
	return begin
}

// A failedReader goes on failing.
type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }

// repeatable holds for questions. Rows are repeated by the spool.
func repeatable(r *http.Request) bool { return (r.Body == nil || r.GetBody != nil) && question(r) }

// question tells requests that change nothing.
func question(r *http.Request) bool {
	return r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/select/") || strings.HasSuffix(r.URL.Path, "/api/v1/read") ||
		r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
}
