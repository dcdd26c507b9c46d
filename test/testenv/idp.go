package testenv

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os/exec"
	"testing"
	"time"
)

// IDP is an identity provider of another make (test/node/idp.mjs).
type IDP struct {
	// Issuer is that of an OpenID Connect provider.
	Issuer string `json:"issuer"`
	// Metadata is where a SAML provider describes itself.
	Metadata string `json:"metadata"`
}

// IDPSecret is the client secret that the OpenID Connect provider gave out.
const IDPSecret = "secret-of-the-tests-with-enough-bits"

// StartOIDC starts an OpenID Connect provider for Oriel's provider of that
// slug.
func (o *Oriel) StartOIDC(t testing.TB, slug string) IDP {
	t.Helper()
	return startIDP(t, "oidc", map[string]any{"oriel": o.URL, "slug": slug})
}

// StartSAML starts a SAML provider for Oriel's provider of that slug. It takes
// requests over the binding of that name ("" is HTTP-Redirect).
func (o *Oriel) StartSAML(t testing.TB, slug, binding string, encrypted bool) IDP {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{
		"oriel": o.URL, "slug": slug, "encrypted": encrypted,
		"key":         string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
	}
	if binding != "" {
		settings["binding"] = "urn:oasis:names:tc:SAML:2.0:bindings:" + binding
	}
	return startIDP(t, "saml", settings)
}

func startIDP(t testing.TB, kind string, settings map[string]any) IDP {
	t.Helper()
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Node(t), "idp.mjs", kind, string(text))
	cmd.Dir = NodeDir(t)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := new(lockedBuffer)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		done := make(chan struct{})
		go func() { defer close(done); _ = cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(stopLimit):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("the identity provider printed:\n%s", tail(errs.String()))
		}
	})
	var p IDP
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p)
	}
	if err != nil {
		t.Fatalf("start the identity provider: %v: %s\n%s", err, line, errs)
	}
	return p
}
