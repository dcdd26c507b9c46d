// Package tls_test lets the program answer HTTPS by itself, with a certificate
// from a real ACME authority (pebble) on this computer.
package tls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/orielhq/oriel/test/testenv"
)

// pebble is the version of the authority that the tests build.
const pebble = "v2.10.1"

const host = "oriel.example.com"

// build makes a program of the authority.
func build(t *testing.T, dir, name string) string {
	t.Helper()
	cmd := exec.Command("go", "install", "github.com/letsencrypt/pebble/v2/cmd/"+name+"@"+pebble)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return filepath.Join(dir, name)
}

// run starts a program until the test ends.
func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestACME(t *testing.T) {
	dir := t.TempDir()
	authority, names := build(t, dir, "pebble"), build(t, dir, "pebble-challtestsrv")
	httpsPort, httpPort, grpcPort := freePort(t), freePort(t), freePort(t)
	directoryPort, managementPort, dnsPort := freePort(t), freePort(t), freePort(t)

	// Every name leads to this computer.
	run(t, nil, names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dnsPort),
		"-management", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	root := makeAuthority(t, dir)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", directoryPort), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", managementPort),
		"certificate": filepath.Join(dir, "server.pem"), "privateKey": filepath.Join(dir, "server-key.pem"),
		"httpPort": httpPort, "tlsPort": httpsPort, "profiles": map[string]any{"default": map[string]any{"description": "tests", "validityPeriod": 86400}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}, authority, "-config", configFile, "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dnsPort), "-strict")

	trust := client(t, root, "")
	var issuer []byte
	testenv.Within(t, 20*time.Second, "the authority answers", func() error {
		res, err := trust.Get(fmt.Sprintf("https://127.0.0.1:%d/roots/0", managementPort))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		issuer, err = io.ReadAll(res.Body)
		return err
	})

	public := fmt.Sprintf("https://%s:%d", host, httpsPort)
	visitor := client(t, issuer, fmt.Sprintf("127.0.0.1:%d", httpsPort))
	o := testenv.StartOrielTLS(t, visitor, fmt.Sprintf("127.0.0.1:%d", httpsPort),
		"--public-url", public, "--tls-acme", "--tls-acme-email", "ops@example.com", "--tls-acme-roots", filepath.Join(dir, "root.pem"),
		"--tls-acme-directory", fmt.Sprintf("https://127.0.0.1:%d/dir", directoryPort), "--tls-redirect-listen", fmt.Sprintf("127.0.0.1:%d", httpPort),
		"--otlp-grpc-listen", fmt.Sprintf("0.0.0.0:%d", grpcPort))

	res, err := visitor.Get(o.URL + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var metadata struct{ Issuer string }
	if err := json.NewDecoder(res.Body).Decode(&metadata); err != nil || metadata.Issuer != public {
		t.Errorf("issuer %q, %v", metadata.Issuer, err)
	}
	if res.ProtoMajor != 2 || res.TLS.PeerCertificates[0].DNSNames[0] != host {
		t.Errorf("HTTP/%d, certificate for %v", res.ProtoMajor, res.TLS.PeerCertificates[0].DNSNames)
	}

	t.Run("plain HTTP leads to HTTPS", func(t *testing.T) {
		plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		base := fmt.Sprintf("http://127.0.0.1:%d", httpPort)
		res, err := plain.Get(base + "/teams?a=b")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != public+"/teams?a=b" {
			t.Errorf("%s to %q", res.Status, res.Header.Get("Location"))
		}
		res, err = plain.Post(base+"/oauth/token", "application/x-www-form-urlencoded", strings.NewReader("refresh_token=secret"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("a secret in the clear: %s", res.Status)
		}
	})

	t.Run("OTLP over gRPC has the certificate too", func(t *testing.T) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(issuer)
		conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", grpcPort), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: host})))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequest())
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("without a key: %v", err)
		}
	})

	t.Run("after a restart it is there at once", func(t *testing.T) {
		o.Restart()
		if strings.Contains(o.Logged(), "certificate was obtained") {
			t.Error("the certificate was asked for again")
		}
	})
}

// client trusts root, and goes to address ("" for where it is told).
func client(t *testing.T, root []byte, address string) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		t.Fatal("no certificate to trust")
	}
	var d net.Dialer
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if address != "" {
				to = address
			}
			return d.DialContext(ctx, network, to)
		},
	}}
}
