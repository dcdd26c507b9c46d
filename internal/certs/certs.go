// Package certs gives the server the certificate with which it answers HTTPS:
// from files, or from an authority that speaks ACME.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkInterval is how often files are looked at, when somebody connects.
const checkInterval = 10 * time.Second

// Files is a certificate in two PEM files. It is safe for concurrent use.
type Files struct {
	chain, key string
	now        func() time.Time
	log        *slog.Logger

	mu       sync.Mutex // guards the rest
	current  *tls.Certificate
	checked  time.Time
	modified [2]time.Time
}

// FromFiles reads a certificate chain and its key. It reads them again when
// they change, so that whoever renews them need not restart the server; while
// the new ones are no pair, the old ones stay.
func FromFiles(chain, key string, now func() time.Time, log *slog.Logger) (*Files, error) {
	f := &Files{chain: chain, key: key, now: now, log: log}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// TLS returns the settings of a server with this certificate.
func (f *Files) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.certificate(), nil }}
}

func (f *Files) certificate() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.checked) >= checkInterval {
		f.checked = now
		if modified, err := f.times(); err != nil || modified != f.modified {
			if err := errors.Join(err, f.load()); err != nil {
				f.log.Error("the changed certificate is not used", "err", err)
			} else {
				f.log.Info("the certificate was read anew", "until", f.current.Leaf.NotAfter)
			}
		}
	}
	return f.current
}

func (f *Files) times() (modified [2]time.Time, err error) {
	for i, path := range []string{f.chain, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return modified, fmt.Errorf("look for the certificate: %w", err)
		}
		modified[i] = info.ModTime()
	}
	return modified, nil
}

func (f *Files) load() error {
	modified, err := f.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(f.chain, f.key)
	if err != nil {
		return fmt.Errorf("read the certificate in %s and its key in %s: %w", f.chain, f.key, err)
	}
	f.current, f.modified = &pair, modified
	return nil
}
