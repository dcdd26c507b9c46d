package proof_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/proof"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
)

// behind returns a client of the cluster through proxies that change what is
// sent.
func behind(t *testing.T, c *victoriatest.Cluster, change func(header http.Header, form url.Values)) *victoria.Client {
	t.Helper()
	proxy := func(to string) string {
		target, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			if p.Out.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
				change(p.Out.Header, url.Values{})
				return
			}
			text, err := io.ReadAll(p.Out.Body)
			if err != nil {
				t.Error(err)
			}
			form, err := url.ParseQuery(string(text))
			if err != nil {
				t.Error(err)
			}
			change(p.Out.Header, form)
			body := form.Encode()
			p.Out.Body, p.Out.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}})
		t.Cleanup(s.Close)
		return s.URL
	}
	client, err := victoria.NewClient(victoria.ClientConfig{URL: proxy(c.Select.URL), WriteURL: proxy(c.Insert.URL)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// A cluster that keeps apart what must be kept apart is taken, for logs and for
// spans; one behind something that drops what that needs is not.
func TestProof(t *testing.T) {
	c := victoriatest.StartCluster(t)
	prove := map[string]func(*victoria.Client) error{
		"logs":  func(e *victoria.Client) error { return proof.Logs(t.Context(), time.Now(), e, e) },
		"spans": func(e *victoria.Client) error { return proof.Spans(t.Context(), time.Now(), e, e) },
	}
	for name, tt := range map[string]struct {
		change func(http.Header, url.Values)
		want   string // in the reason
	}{
		"nothing": {func(http.Header, url.Values) {}, ""},
		"tenants": {func(h http.Header, _ url.Values) { h.Del("AccountID") }, "AccountID"},
		"scopes":  {func(_ http.Header, v url.Values) { v.Del("extra_filters") }, "extra_filters"},
		"hiding":  {func(_ http.Header, v url.Values) { v.Del("hidden_fields_filters") }, "hidden_fields_filters"},
		"one scope": {func(_ http.Header, v url.Values) {
			if f := v["extra_filters"]; len(f) > 0 && strings.Contains(f[0], "_time") {
				v.Del("extra_filters")
			}
		}, "look-back"},
	} {
		for signal, prove := range prove {
			t.Run(name+" of "+signal, func(t *testing.T) {
				t.Parallel()
				err := prove(behind(t, c, tt.change))
				if tt.want == "" {
					if err != nil {
						t.Errorf("it is refused: %v", err)
					}
					return
				}
				refused, ok := errors.AsType[*proof.RefusedError](err)
				if !ok || !strings.Contains(refused.Reason, tt.want) {
					t.Errorf("%v, want a refusal because of %s", err, tt.want)
				}
			})
		}
	}
}

// What cannot be reached is not refused: it may come back.
func TestProofOfNobody(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	e, err := victoria.NewClient(victoria.ClientConfig{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.Logs(t.Context(), time.Now(), e, e); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("an engine that is not there: %v", err)
	}
}
