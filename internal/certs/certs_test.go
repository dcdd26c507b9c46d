package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a certificate of its own authority and returns its files.
func write(t *testing.T, dir, name string) (chain, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	chain, key = filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{chain: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return chain, key
}

func TestFilesAreReadAgain(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	chain, key := write(t, dir, "first.example.com")
	f, err := FromFiles(chain, key, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	shown := func(want string) {
		t.Helper()
		if c, err := f.TLS().GetCertificate(nil); err != nil || c.Leaf.DNSNames[0] != want {
			t.Fatalf("%v, %v, want %s", c.Leaf.DNSNames, err, want)
		}
	}
	later := func() {
		now = now.Add(checkInterval)
		for _, path := range []string{chain, key} {
			if err := os.Chtimes(path, now, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	shown("first.example.com")
	write(t, dir, "second.example.com")
	later()
	shown("second.example.com")

	// While the files are no pair, what was good stays.
	if err := os.WriteFile(key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	later()
	shown("second.example.com")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(checkInterval)
	shown("second.example.com")
	write(t, dir, "third.example.com")
	later()
	shown("third.example.com")
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	chain, key := write(t, dir, "a.example.com")
	if err := os.WriteFile(chain, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][2]string{{chain, key}, {filepath.Join(dir, "none.pem"), key}} {
		if _, err := FromFiles(files[0], files[1], time.Now, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), files[0]) {
			t.Errorf("%v", err)
		}
	}
	if _, err := FromACME(ACMEConfig{Host: "a.example.com", Dir: dir, Roots: chain, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), chain) {
		t.Errorf("roots: %v", err)
	}
}
