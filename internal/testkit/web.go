package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/oauth/clientdoc"
)

// Web is the rest of the web: one TLS server on this computer that is every
// host, with a valid certificate for each.
type Web struct {
	TB testing.TB
	// Network leads there without the guard.
	Network clientdoc.Network
	// Roots is the authority that signs the certificates.
	Roots  *x509.CertPool
	Listen netip.AddrPort

	mu    sync.Mutex // guards all below
	pages map[string]http.HandlerFunc
	hits  map[string]int
}

// NewWeb starts a web that lives as long as the test.
func NewWeb(tb testing.TB) *Web {
	tb.Helper()
	w := &Web{TB: tb, pages: make(map[string]http.HandlerFunc), hits: make(map[string]int)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test web"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	w.must(err)
	root, err := x509.ParseCertificate(der)
	w.must(err)
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(root)

	srv := httptest.NewUnstartedServer(w)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), DNSNames: []string{hello.ServerName}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}}
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	w.Listen, err = netip.ParseAddrPort(srv.Listener.Addr().String())
	w.must(err)
	w.Network = clientdoc.LoopbackForTests(w.Listen, w.Roots)
	return w
}

func (w *Web) must(err error) {
	w.TB.Helper()
	if err != nil {
		w.TB.Fatal(err)
	}
}

// ServeHTTP answers for every host.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	url := "https://" + r.Host + r.URL.Path
	w.mu.Lock()
	w.hits[url]++
	page := w.pages[url]
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

// Handle answers a URL from now on; nil takes it away.
func (w *Web) Handle(url string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[url] = h
}

// JSON answers a URL with JSON; header is a list of names and values.
func (w *Web) JSON(url, body string, header ...string) {
	w.Handle(url, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(rw, body)
	})
}

// Hits says how often a URL was asked for.
func (w *Web) Hits(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits[url]
}

// Known returns a client that has a metadata document instead of a
// registration.
func (s *Server) Known(documentURL, redirect string) *Client {
	return &Client{s: s, ID: documentURL, Redirect: redirect, Resource: s.URL + "/mgmt/api/v1/mcp"}
}
