package clientdoc

import (
	"io"
	"net"
	"net/http"
	"time"
)

// ClientOptions say what an HTTP client for an identity provider may do.
type ClientOptions struct {
	// Ports beside 443.
	Ports []uint16
	// Private lets it reach private addresses and any port. An administrator
	// said so for this one provider.
	Private bool
	// Timeout bounds each request, MaxBytes each answer.
	Timeout  time.Duration
	MaxBytes int64
}

// Client returns an HTTP client for what an administrator has named, over the
// same guarded way out as documents: no proxy, no redirects, public addresses.
func (n Network) Client(o ClientOptions) *http.Client {
	ports := append([]uint16{443}, o.Ports...)
	c := newHTTPClient(n, ports)
	// A network for tests keeps leading to where it leads.
	if transport, ok := c.Transport.(*http.Transport); ok && o.Private && !n.to.IsValid() {
		transport.DialContext = (&net.Dialer{}).DialContext
	}
	c.Timeout = o.Timeout
	c.Transport = &limited{c.Transport, o.MaxBytes}
	return c
}

// limited cuts answers that are longer than they may be.
type limited struct {
	http.RoundTripper
	bytes int64
}

// RoundTrip is that of http.RoundTripper.
func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &limitedBody{io.LimitReader(res.Body, l.bytes), res.Body}
	}
	return res, err
}

type limitedBody struct {
	io.Reader
	io.Closer
}
