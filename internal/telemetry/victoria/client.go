package victoria

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// ClientConfig says where an engine is. Exactly one of Socket and URL is set.
type ClientConfig struct {
	// Socket is the path of the unix socket of an engine on this machine.
	Socket string
	// URL is the base address of an engine or a gateway elsewhere, without
	// the paths of its API, e.g. https://logs.internal:9428.
	URL string
	// WriteURL is the base address that rows go to where that is another one,
	// as in a cluster.
	WriteURL string
	// HTTP does the requests to URL; nil is a client of its own.
	HTTP *http.Client
	// Retention is how long the engine keeps records: older ones are reported
	// as rejected, which the engine itself does not. 0 does not check.
	Retention time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Client reads and writes logs or spans through an engine's HTTP API; one
// engine holds one of the two. It is safe for concurrent use.
type Client struct {
	base      string
	writeBase string
	// remote engines are others' to flush, and answer in the name of many.
	remote    bool
	http      *http.Client
	retention time.Duration
	now       func() time.Time
}

var (
	_ telemetry.Logs       = (*Client)(nil)
	_ telemetry.Spans      = (*Client)(nil)
	_ telemetry.Writer     = (*Client)(nil)
	_ telemetry.SpanWriter = (*Client)(nil)
)

// maxIdleConns to one engine are kept: as many as may query and write at once
// on a large machine.
const maxIdleConns = 64

// NewClient returns a client; it connects on first use.
func NewClient(cfg ClientConfig) (*Client, error) {
	c := &Client{retention: cfg.Retention, now: cfg.Now, http: cfg.HTTP}
	if c.now == nil {
		c.now = time.Now
	}
	switch {
	case (cfg.Socket == "") == (cfg.URL == ""):
		return nil, errors.New("the log engine's client needs a socket or a URL")
	case cfg.Socket != "":
		var dialer net.Dialer
		c.base = "http://engine"
		c.http = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", cfg.Socket)
			},
			MaxIdleConnsPerHost: maxIdleConns,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		}}
	default:
		u, err := url.Parse(cfg.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("the log engine's URL must be http:// or https:// and a host")
		}
		c.base, c.remote = strings.TrimSuffix(u.String(), "/"), true
		if cfg.WriteURL != "" {
			if u, err := url.Parse(cfg.WriteURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return nil, errors.New("the log engine's URL for writing must be http:// or https:// and a host")
			}
			c.writeBase = strings.TrimSuffix(cfg.WriteURL, "/")
		}
		if c.http == nil {
			c.http = &http.Client{}
		}
	}
	if c.writeBase == "" {
		c.writeBase = c.base
	}
	return c, nil
}

// Attach returns a client of the engine that another process runs over
// dataDir, e.g. for an import beside a running server.
func Attach(dataDir string, retention time.Duration) (*Client, error) {
	socket, err := FindSocket(dataDir)
	if err != nil {
		return nil, err
	}
	return NewClient(ClientConfig{Socket: socket, Retention: retention})
}

// Close drops idle connections. Requests under way are not affected.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ready returns nil when the engine answers, else an error that wraps
// telemetry.ErrUnavailable.
func (c *Client) Ready(ctx context.Context) error {
	bases := []string{c.base}
	if c.writeBase != c.base {
		bases = append(bases, c.writeBase)
	}
	for _, base := range bases {
		resp, err := c.do(ctx, http.MethodGet, base+pathHealth, 0, "", nil)
		if err != nil {
			return err
		}
		if err := discard(resp); err != nil {
			return err
		}
	}
	return nil
}

// Instance returns which run of the engine answers, see Deliver.
func (c *Client) Instance(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, http.MethodGet, c.writeBase+pathHealth, 0, "", nil)
	if err != nil {
		return "", err
	}
	return resp.Header.Get(instanceHeader), discard(resp)
}

// Flush makes every row written before it searchable, which else takes about
// a second. It does not make rows durable. An engine that is not ours is left
// to flush by itself.
func (c *Client) Flush(ctx context.Context) error {
	if c.remote {
		return nil
	}
	resp, err := c.do(ctx, http.MethodGet, c.base+pathFlush, 0, "", nil)
	if err != nil {
		return err
	}
	return discard(resp)
}

// discard reads a short answer to its end, so that its connection is used again.
func discard(resp *http.Response) error {
	defer resp.Body.Close()
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return unavailable(resp.Request.Context(), err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%w (status %d)", telemetry.ErrUnavailable, resp.StatusCode)
	}
	return nil
}

// do sends one request for the tenant. Errors are the context's, or wrap
// telemetry.ErrUnavailable; every status is returned to the caller.
func (c *Client) do(ctx context.Context, method, address string, tenant telemetry.TenantID, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the log engine: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	// Last, so that nothing above can name a tenant: a missing header would
	// mean the engine's tenant 0, where no team's data lives.
	req.Header.Set("AccountID", strconv.FormatUint(uint64(tenant), 10))
	req.Header.Set("ProjectID", "0")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return resp, nil
}

// unavailable hides a transport error, which names paths and addresses, from
// everyone but errors.Is.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &transportError{cause: err}
}

// A transportError reads as telemetry.ErrUnavailable and keeps its cause.
type transportError struct{ cause error }

func (e *transportError) Error() string   { return telemetry.ErrUnavailable.Error() }
func (e *transportError) Unwrap() []error { return []error{telemetry.ErrUnavailable, e.cause} }
