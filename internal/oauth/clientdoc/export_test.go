package clientdoc

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"
)

// Lookup is a resolver for tests.
type Lookup func(host string) []netip.Addr

// LookupNetIP answers a look-up.
func (l Lookup) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return l(host), nil
}

// GuardedWith is the real guard behind a resolver that an attacker controls.
func GuardedWith(l Lookup, roots *x509.CertPool) Network { return Network{resolver: l, roots: roots} }

// SetTimeout makes fetches end earlier.
func (d *Documents) SetTimeout(t time.Duration) { d.documents.fetcher.timeout = t }

// Held says how many documents and failures are in memory.
func (d *Documents) Held() (good, failures int) {
	d.documents.mu.Lock()
	defer d.documents.mu.Unlock()
	return len(d.documents.good), len(d.documents.failures)
}

// BuiltInURLs lists the built-in documents.
func (d *Documents) BuiltInURLs() []string {
	var urls []string
	for u := range d.builtin {
		urls = append(urls, u)
	}
	return urls
}
