package clientdoc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"code.dny.dev/ssrf"
)

// Network is the way out. The zero value is the guarded one; nothing but
// LoopbackForTests makes another.
type Network struct {
	resolver resolver
	// permit replaces the check of addresses, and to the addresses dialled.
	permit func(netip.AddrPort) error
	to     netip.AddrPort
	roots  *x509.CertPool
}

type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// LoopbackForTests returns a network in which every name leads to one TLS
// server, and no address is checked. Only tests may use it; package arch
// holds them to it.
func LoopbackForTests(server netip.AddrPort, roots *x509.CertPool) Network {
	return Network{
		resolver: fixedResolver{server.Addr()}, permit: func(netip.AddrPort) error { return nil }, to: server, roots: roots,
	}
}

type fixedResolver struct{ addr netip.Addr }

func (f fixedResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{f.addr}, nil
}

// azureWireServer answers virtual machines of one cloud with their secrets at
// an address that the registries count as public. The other clouds use
// link-local, unique local or shared address space, which is refused anyway.
var azureWireServer = netip.MustParsePrefix("168.63.129.16/32")

// errAddress marks what the guard refused.
var errAddress = errors.New("not a public address")

// dialer connects to public addresses only. A name is resolved once, every
// address that it has must be public, and exactly those are dialled: a name
// that changes between check and connection (DNS rebinding) gains nothing.
// The guard looks again at the socket, before the first packet.
type dialer struct {
	resolver resolver
	permit   func(netip.AddrPort) error
	to       netip.AddrPort
	ports    []uint16
}

func newDialer(n Network, ports []uint16) *dialer {
	d := &dialer{resolver: n.resolver, permit: n.permit, to: n.to, ports: ports}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	if d.permit == nil {
		d.permit = ssrf.New(ssrf.WithPorts(ports...), ssrf.WithDeniedV4Prefixes(azureWireServer)).SafeAddrPort
	}
	return d
}

// DialContext is for http.Transport: addr has the name and port of the URL.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("read port: %w", err)
	}
	if !slices.Contains(d.ports, uint16(port)) {
		return nil, &Error{Reason: ReasonPort, Cause: fmt.Errorf("port %d is not allowed", port)}
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("look up the host: %w", err)
	}
	if len(addrs) == 0 {
		return nil, errors.New("the host has no address")
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		// The resolver may write IPv4 addresses as IPv6 ones.
		targets[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
		if a.Zone() != "" {
			return nil, fmt.Errorf("%w: %s has a zone", errAddress, a)
		}
		// One address of our own among public ones is an attack, or a
		// network that we do not understand.
		if err := d.permit(targets[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", errAddress, err)
		}
	}
	if d.to.IsValid() {
		targets = []netip.AddrPort{d.to}
	}
	return d.connect(ctx, network, targets)
}

// connect tries the addresses in the resolver's order.
func (d *dialer) connect(ctx context.Context, network string, targets []netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{Control: d.control}
	var errs []error
	for _, t := range targets {
		c, err := nd.DialContext(ctx, network, t.String())
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// control is the last look: at what the socket is about to connect to.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", errAddress, err)
	}
	if err := d.permit(ap); err != nil {
		return fmt.Errorf("%w: %w", errAddress, err)
	}
	return nil
}

// maxHeaderBytes bounds the header of an answer.
const maxHeaderBytes = 32 << 10

// newHTTPClient returns a client that knows no proxy, no cookies, follows no
// redirect and keeps no connection: each request is checked anew.
func newHTTPClient(n Network, ports []uint16) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // never from the environment: a proxy would dial for us, unguarded
			DialContext:            newDialer(n, ports).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: n.roots},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Reach says at which addresses a key set may be that an administrator named.
// The zero value is the narrowest that works for everybody.
type Reach int

// The reaches. None of them includes link-local addresses, where clouds keep
// the secrets of their machines.
const (
	Public   Reach = iota // public addresses only
	Private               // those of private networks too (RFC 1918, RFC 4193)
	Loopback              // this computer, and nothing else
)

// metadataV6 is where one cloud keeps secrets within the unique local range.
var metadataV6 = netip.MustParseAddr("fd00:ec2::254")

func (r Reach) permit(port uint16) func(netip.AddrPort) error {
	public := ssrf.New(ssrf.WithPorts(port), ssrf.WithDeniedV4Prefixes(azureWireServer)).SafeAddrPort
	switch r {
	case Loopback:
		return func(ap netip.AddrPort) error {
			if ap.Port() != port || !ap.Addr().IsLoopback() {
				return fmt.Errorf("%s is not this computer at port %d", ap, port)
			}
			return nil
		}
	case Private:
		return func(ap netip.AddrPort) error {
			if ap.Port() == port && ap.Addr().IsPrivate() && ap.Addr() != metadataV6 {
				return nil
			}
			return public(ap)
		}
	default:
		return public
	}
}

// KeyClient returns a client for the key set of an identity provider, at one
// port: guarded as the one for documents is, but for the addresses of its
// reach. Like that one it follows no redirect.
func (n Network) KeyClient(reach Reach, port uint16) *http.Client {
	if n.permit == nil {
		n.permit = reach.permit(port)
	}
	return newHTTPClient(n, []uint16{port})
}
