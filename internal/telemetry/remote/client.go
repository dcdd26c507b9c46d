package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
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

	breaker *gobreaker.CircuitBreaker[*http.Response]
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
	c := &Client{}
	c.breaker = gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name: name, Timeout: openFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		// Whoever hangs up says nothing about the engine.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	c.HTTP = &http.Client{
		Transport: &transport{
			next: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: handshakeTimeout, ForceAttemptHTTP2: true,
				DialContext:  (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext,
				MaxIdleConns: maxIdleConns, MaxIdleConnsPerHost: maxIdleConns, IdleConnTimeout: idleTimeout,
				ResponseHeaderTimeout: e.Timeout,
			},
			authorization: authorization, breaker: c.breaker, budget: &budget{left: retryMost},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Open says that the engine is not asked at the moment, because it failed too
// often in a row.
func (c *Client) Open() bool { return c.breaker.State() == gobreaker.StateOpen }

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
	next          http.RoundTripper
	authorization *authorization
	breaker       *gobreaker.CircuitBreaker[*http.Response]
	budget        *budget
}

// errAnswer is an answer of an engine, or of what stands before it, that
// cannot serve.
type errAnswer struct{ status string }

func (e errAnswer) Error() string { return "the engine answers " + e.status }

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
	t.budget.earn()
	res, err := t.once(r)
	if err == nil && !failing(res) || !repeatable(r) || r.Context().Err() != nil || errors.Is(err, gobreaker.ErrOpenState) || !t.budget.spend() {
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

// once sends a request past the breaker.
func (t *transport) once(r *http.Request) (res *http.Response, err error) {
	_, err = t.breaker.Execute(func() (*http.Response, error) {
		if res, err = t.next.RoundTrip(r); err == nil && failing(res) {
			return nil, errAnswer{res.Status}
		}
		return nil, err
	})
	if _, ok := errors.AsType[errAnswer](err); ok {
		return res, nil // whoever asked reads its status
	}
	return res, err
}

func failing(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// repeatable holds for questions. Rows are repeated by the spool.
func repeatable(r *http.Request) bool {
	return (r.Body == nil || r.GetBody != nil) && (r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/select/"))
}
