package oauth

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/orielhq/oriel/internal/grant"
)

func goodKeys(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fetcher(timeout time.Duration) *issuerKeys {
	return &issuerKeys{now: time.Now, timeout: timeout}
}

// fetchFrom fetches the keys of an issuer on this computer.
func fetchFrom(t *testing.T, timeout time.Duration, h http.HandlerFunc) ([]jose.JSONWebKey, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return fetcher(timeout).fetch(t.Context(), grant.Issuer{URL: srv.URL, JWKSURI: srv.URL + "/keys"})
}

func wantRefusal(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("error %v, want one that says %q", err, why)
	}
}

func TestIssuerKeysFetched(t *testing.T) {
	body := goodKeys(t)
	keys, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Accept-Encoding") == "gzip" {
			t.Errorf("the request says too much: %v", r.Header)
		}
		_, _ = w.Write(body)
	})
	if err != nil || len(keys) != 1 || keys[0].KeyID != "k1" {
		t.Errorf("%v, %v", keys, err)
	}
	// As long as is allowed, and in one piece.
	pad := bytes.Repeat([]byte(" "), maxIssuerBytes-len(body))
	if _, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(pad, body...)) }); err != nil {
		t.Errorf("%d bytes: %v", maxIssuerBytes, err)
	}
}

func TestIssuerKeysTooLargeRefused(t *testing.T) {
	body := goodKeys(t)
	_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(bytes.Repeat([]byte(" "), maxIssuerBytes+1-len(body)), body...))
	})
	wantRefusal(t, err, "more than")
}

func TestIssuerKeysEndlessRefused(t *testing.T) {
	_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
				return
			}
		}
	})
	wantRefusal(t, err, "more than")
}

func TestIssuerKeysLargeHeaderRefused(t *testing.T) {
	body := goodKeys(t)
	_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 64 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1024))
		}
		_, _ = w.Write(body)
	})
	wantRefusal(t, err, "exceeded")
}

// A small answer that unpacks to a large one is not unpacked at all.
func TestIssuerKeysPackedRefused(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(goodKeys(t))
	_ = z.Close()
	_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	})
	wantRefusal(t, err, "decode keys")
}

func TestIssuerKeysTooSlowRefused(t *testing.T) {
	body := goodKeys(t)
	for name, h := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"half a body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetchFrom(t, 100*time.Millisecond, h)
			wantRefusal(t, err, "deadline exceeded")
		})
	}
}

func TestIssuerKeysRedirectRefused(t *testing.T) {
	body := goodKeys(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				http.Redirect(w, r, "/elsewhere", status)
				return
			}
			t.Errorf("%d was followed to %s", status, r.URL)
			_, _ = w.Write(body)
		})
		wantRefusal(t, err, fmt.Sprintf("status %d", status))
	}
}

func TestIssuerKeysOtherStatusRefused(t *testing.T) {
	body := goodKeys(t)
	for _, status := range []int{201, 204, 206, 401, 404, 500, 503} {
		_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				_, _ = w.Write(body)
			}
		})
		wantRefusal(t, err, fmt.Sprintf("status %d", status))
	}
}

func TestIssuerKeysNotJSONRefused(t *testing.T) {
	for _, body := range []string{
		"", "<!doctype html><title>Sign in</title>", "null", "[]", `{"keys":`, `{"keys":{}}`, `{"keys":[]}`, `{"keys":[null,1,"x"]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, "\xff\xfe",
	} {
		_, err := fetchFrom(t, issuerTimeout, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		wantRefusal(t, err, "decode keys")
	}
}

// The environment's proxy would fetch for us, unguarded.
func TestIssuerKeysProxyNotAsked(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the proxy was asked for %s", r.URL) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	c, err := fetcher(issuerTimeout).client(grant.Issuer{JWKSURI: "https://idp.example.com/keys"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client asks a proxy")
	}
}

// TestIssuerKeysPrivateAddressRefused: an address that is not public is
// dialled only where the administrator said so. No test server is behind
// these: a refusal comes before the connection.
func TestIssuerKeysPrivateAddressRefused(t *testing.T) {
	for _, issuer := range []grant.Issuer{
		{JWKSURI: "https://10.0.0.1/keys"},
		{JWKSURI: "https://192.168.1.1:8443/keys"},
		{JWKSURI: "https://[fd00::1]/keys"},
		{JWKSURI: "https://169.254.169.254/keys", Private: true},
		{JWKSURI: "https://[fe80::1]/keys", Private: true},
		{JWKSURI: "https://0.0.0.0/keys", Private: true},
		{JWKSURI: "https://224.0.0.1/keys", Private: true},
	} {
		issuer.URL = "https://idp.example.com"
		if err := issuer.Check(); err == nil {
			t.Errorf("%+v can be added", issuer)
		}
	}
	for uri, private := range map[string]bool{
		"https://10.0.0.1/keys": false, "https://192.168.1.1:8443/keys": false, "https://[fd00::1]/keys": false, "https://100.64.0.1/keys": false,
		"https://169.254.169.254/keys": true, "https://168.63.129.16/keys": true, "https://[fd00:ec2::254]/keys": true, "https://0.0.0.0/keys": true,
		"https://[::ffff:169.254.169.254]/keys": true, "https://100.100.100.200/keys": true, "https://[64:ff9b::a9fe:a9fe]/keys": true,
	} {
		ik := fetcher(issuerTimeout)
		c, err := ik.client(grant.Issuer{JWKSURI: uri, Private: private})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		cancel()
		wantRefusal(t, err, "not a public address")
	}
}

// TestIssuerKeysWithdrawnKeyRefused: while the issuer does not answer, its
// last good keys are used for a day and no longer.
func TestIssuerKeysWithdrawnKeyRefused(t *testing.T) {
	now := time.Now()
	set := issuerSet{keys: []jose.JSONWebKey{{KeyID: "k1"}}, fetched: now}
	if len(set.usable(now.Add(issuerKeysStale-time.Second))) != 1 {
		t.Error("keys of a day ago are not used")
	}
	if len(set.usable(now.Add(issuerKeysStale))) != 0 {
		t.Error("older keys are used")
	}
}
