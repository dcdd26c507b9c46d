package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// ACMEConfig says how to obtain a certificate (RFC 8555).
type ACMEConfig struct {
	// Host is the name that the certificate is for.
	Host string
	// Dir keeps the account, the certificate and its key.
	Dir string
	// Email is where the authority writes to; may be empty.
	Email string
	// Directory is the authority's address; empty is Let's Encrypt's.
	Directory string
	// Roots is a PEM file of who vouches for the authority itself; empty is
	// the system's.
	Roots string
	// TLSPort is where the server answers HTTPS: the authority's TLS-ALPN
	// challenge (RFC 8737) must arrive there. HTTPPort is where Challenge
	// answers, 0 for nowhere.
	TLSPort, HTTPPort int
	Logger            *slog.Logger
}

// ACME is a certificate that is obtained and renewed. It is safe for
// concurrent use.
type ACME struct {
	host   string
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// FromACME prepares everything; Obtain begins.
func FromACME(c ACMEConfig) (*ACME, error) {
	var roots *x509.CertPool
	if c.Roots != "" {
		text, err := os.ReadFile(c.Roots)
		if err != nil {
			return nil, fmt.Errorf("read who vouches for the certificate authority: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("there is no certificate in %s", c.Roots)
		}
	}
	a := &ACME{host: c.Host}
	quiet := zap.NewNop() // events below say what matters
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		Logger: quiet, GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: c.Dir}, Logger: quiet,
		OnEvent: func(ctx context.Context, event string, data map[string]any) error {
			switch event {
			case "cert_obtained":
				c.Logger.InfoContext(ctx, "the certificate was obtained", "host", data["identifier"], "renewal", data["renewal"])
			case "cert_failed":
				c.Logger.ErrorContext(ctx, "the certificate could not be obtained; it is tried again: the authority must reach this server at the host's port 443, or 80",
					"host", data["identifier"], "renewal", data["renewal"], "err", data["error"])
			}
			return nil
		},
	})
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Logger: quiet,
		AltTLSALPNPort: c.TLSPort, AltHTTPPort: c.HTTPPort, DisableHTTPChallenge: c.HTTPPort == 0,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

// TLS returns the settings of a server with this certificate, which also
// answers the challenge by TLS.
func (a *ACME) TLS() *tls.Config {
	c := a.config.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	c.NextProtos = append([]string{"h2", "http/1.1"}, c.NextProtos...)
	return c
}

// Challenge answers the authority's HTTP challenge (RFC 8555 §8.3), and leaves
// everything else to next.
func (a *ACME) Challenge(next http.Handler) http.Handler { return a.issuer.HTTPChallengeHandler(next) }

// Obtain begins to obtain the certificate and to keep it renewed until ctx is
// done. The server must answer already. It does not wait.
func (a *ACME) Obtain(ctx context.Context) error {
	if err := a.config.ManageAsync(ctx, []string{a.host}); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("obtain a certificate for %s: %w", a.host, err)
	}
	return nil
}

// Close ends the renewals.
func (a *ACME) Close() { a.cache.Stop() }
