package replicas

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

// connections is how many ask at once.
const connections = 16

// BenchmarkReplicas measures calls and refreshes with one and with two
// replicas, each bound to a processor of its own. PostgreSQL and the load take
// what is left, so it is the ratio that says something, and on two processors
// a careful one: see docs/benchmarks.md.
func BenchmarkReplicas(b *testing.B) {
	for n := 1; n <= 2; n++ {
		r := testenv.StartReplicas(b, n)
		for i, o := range r.Each {
			o.Pin(i)
		}
		r.AddTeam("shop", "Shop")
		r.AddPerson("ada@example.com", "Ada")
		r.SetMember("shop", "ada@example.com", "viewer")
		ada := newPerson(b, "ada@example.com")
		var all []*connection
		for range connections {
			all = append(all, connect(b, r, ada))
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
		send := func(i int, path, contentType, body, token string) ([]byte, error) {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, r.Each[i%n].URL+path, strings.NewReader(body))
			if err != nil {
				return nil, err
			}
			req.Header.Set("Content-Type", contentType)
			req.Header.Set("Accept", "application/json, text/event-stream")
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			resp, err := client.Do(req)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s: %s", resp.Status, text)
			}
			return text, err
		}
		for name, do := range map[string]func(i int, c *connection) error{
			"calls": func(i int, c *connection) error {
				_, err := send(i, "/mgmt/api/v1/mcp", "application/json",
					`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}`, c.AccessToken)
				return err
			},
			"refreshes": func(i int, c *connection) error {
				text, err := send(i, "/oauth/token", "application/x-www-form-urlencoded",
					url.Values{"grant_type": {"refresh_token"}, "client_id": {c.id}, "refresh_token": {c.RefreshToken}}.Encode(), "")
				if err != nil {
					return err
				}
				return json.Unmarshal(text, &c.Tokens) // each one rotates
			},
		} {
			b.Run(fmt.Sprintf("%s/replicas=%d", name, n), func(b *testing.B) {
				var next atomic.Int64
				var waiting sync.WaitGroup
				for i, c := range all {
					waiting.Go(func() {
						for k := i; next.Add(1) <= int64(b.N); k++ {
							if err := do(k, c); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				waiting.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "1/s")
			})
		}
		for _, o := range r.Each {
			o.Stop()
		}
	}
}
