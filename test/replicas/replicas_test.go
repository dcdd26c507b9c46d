// Package replicas holds tests with several processes of the program on one
// PostgreSQL, behind a proxy that knows no sticky sessions.
package replicas

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/testenv"
)

const (
	replicas = 3
	// runners is how many do the same at once.
	runners = 12
	// revocations is how many are measured.
	revocations = 100
)

// person is somebody with a browser that keeps cookies.
type person struct {
	t     testing.TB
	http  *http.Client
	email string
}

func newPerson(t testing.TB, email string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, email}
}

func (p *person) do(method, target string, form url.Values) (body, location string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 {
		p.t.Fatalf("%s %s: %s %v\n%s", method, target, resp.Status, err, text)
	}
	return string(text), resp.Header.Get("Location")
}

// connection is a client that somebody is about to connect, or has connected.
type connection struct {
	r        *testenv.Replicas
	id       string
	verifier string
	testenv.Tokens
}

const redirect = "http://127.0.0.1:7777/callback"

func register(t testing.TB, r *testenv.Replicas) *connection {
	t.Helper()
	c := r.RegisterAs(t, map[string]any{"client_name": "Test", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	return &connection{r: r, id: c.ID}
}

// code takes a person through sign-in and consent.
func (c *connection) code(p *person) string {
	p.t.Helper()
	c.verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(c.verifier))
	base := c.r.URL
	body, to := p.do(http.MethodGet, base+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {redirect}, "state": {"s"}, "resource": {c.r.MCPURL()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	absolute := func(u string) string {
		if strings.HasPrefix(u, "/") {
			return base + u
		}
		return u
	}
	for to != "" { // to the sign-in page, or with a session back at once
		body, to = p.do(http.MethodGet, absolute(to), nil)
	}
	if strings.Contains(body, `name="password"`) {
		_, to = p.do(http.MethodPost, base+"/login", url.Values{"step": {testkit.Field(body, "step")}, "email": {p.email}, "password": {testenv.Password}})
		body, _ = p.do(http.MethodGet, absolute(to), nil)
	}
	_, to = p.do(http.MethodPost, base+"/consent", testkit.ConsentForm(body, "shop"))
	u, err := url.Parse(to)
	if err != nil || u.Query().Get("code") == "" {
		p.t.Fatalf("consent led to %q", to)
	}
	return u.Query().Get("code")
}

func (c *connection) redeem(t testing.TB, o *testenv.Oriel, code string) testenv.Tokens {
	t.Helper()
	return o.Token(t, c.id, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {c.verifier}})
}

func (c *connection) refresh(t testing.TB, o *testenv.Oriel, token string) testenv.Tokens {
	t.Helper()
	return o.Token(t, c.id, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

func connect(t testing.TB, r *testenv.Replicas, p *person) *connection {
	t.Helper()
	c := register(t, r)
	if c.Tokens = c.redeem(t, r.Oriel, c.code(p)); c.Status != http.StatusOK {
		t.Fatalf("redeem: %+v", c.Tokens)
	}
	return c
}

// call calls the MCP server at one replica and returns the status.
func call(t *testing.T, o *testenv.Oriel, token string) int {
	t.Helper()
	status, _ := testenv.PostMCP(t, o.URL+"/mgmt/api/v1/mcp", token)
	return status
}

// TestReplicas: whatever is begun at one replica goes on at any other.
func TestReplicas(t *testing.T) {
	t.Parallel()
	r := testenv.StartReplicas(t, replicas)
	r.AddPerson("ada@example.com", "Ada")
	r.AddTeam("shop", "Shop")
	r.SetMember("shop", "ada@example.com", "viewer")
	ada := newPerson(t, "ada@example.com")

	t.Run("sign-in goes from one to the other", func(t *testing.T) {
		before := r.Served()
		c := connect(t, r, ada)
		after := r.Served()
		for i := range replicas {
			if after[i] == before[i] {
				t.Errorf("replica %d had no part in it", i)
			}
			if status := call(t, r.Each[i], c.AccessToken); status != http.StatusOK {
				t.Errorf("replica %d answers a call with %d", i, status)
			}
		}
	})

	t.Run("a code is redeemed once", func(t *testing.T) {
		c := register(t, r)
		code := c.code(ada)
		got := make([]testenv.Tokens, runners)
		atOnce(func(n int) { got[n] = c.redeem(t, r.Each[n%replicas], code) })
		// An identical redemption within seconds is answered again, with the
		// same tokens: a client whose connection broke must not lose its sign-in.
		if tokens := refreshTokens(got); len(tokens) != 1 {
			t.Errorf("one code gave %d different refresh tokens", len(tokens))
		}
	})

	t.Run("a raced refresh has one live successor", func(t *testing.T) {
		c := connect(t, r, ada)
		token := c.RefreshToken
		for range 5 {
			got := make([]testenv.Tokens, runners)
			atOnce(func(n int) { got[n] = c.refresh(t, r.Each[n%replicas], token) })
			tokens := refreshTokens(got)
			if len(tokens) != 1 {
				t.Fatalf("%d successors: %+v", len(tokens), got)
			}
			for i, g := range got {
				if status := call(t, r.Each[(i+1)%replicas], g.AccessToken); status != http.StatusOK {
					t.Errorf("an access token of it: %d", status)
				}
			}
			token = tokens[0]
		}
	})

	t.Run("a revocation takes hold everywhere", func(t *testing.T) {
		var spread []time.Duration
		for n := range revocations {
			c := connect(t, r, ada)
			for i, o := range r.Each {
				if status := call(t, o, c.AccessToken); status != http.StatusOK {
					t.Fatalf("before it, replica %d: %d", i, status)
				}
			}
			at := r.Each[n%replicas]
			resp, err := http.PostForm(at.URL+"/oauth/revoke", url.Values{"client_id": {c.id}, "token": {c.RefreshToken}})
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("revoke: %s", resp.Status)
			}
			answered := time.Now()
			took := make([]time.Duration, replicas)
			atOnceFor(replicas, func(i int) {
				for {
					asked := time.Now()
					status := call(t, r.Each[i], c.AccessToken)
					if status == http.StatusUnauthorized {
						took[i] = max(0, asked.Sub(answered))
						return
					}
					if time.Since(answered) > 5*time.Second {
						t.Errorf("replica %d still answers %d", i, status)
						return
					}
				}
			})
			if took[n%replicas] > 20*time.Millisecond {
				t.Errorf("the replica that answered the revocation refused only %s later", took[n%replicas])
			}
			spread = append(spread, slices.Max(took))
		}
		slices.Sort(spread)
		t.Logf("%d revocations: from the answer to the last refusal needed p50 %s, p99 %s, at the most %s",
			len(spread), spread[len(spread)/2], spread[len(spread)*99/100], spread[len(spread)-1])
		if p99 := spread[len(spread)*99/100]; p99 > time.Second {
			t.Errorf("p99 is %s", p99)
		}
	})

	t.Run("keys are rotated for all", func(t *testing.T) {
		old := connect(t, r, ada)
		r.Admin("signing-key", "rotate", "--at-once")
		testenv.Within(t, testenv.TakesHold, "every replica publishes the new key", func() error {
			for i, o := range r.Each {
				resp, err := http.Get(o.URL + "/oauth/jwks")
				if err != nil {
					return err
				}
				var set struct{ Keys []json.RawMessage }
				err = json.NewDecoder(resp.Body).Decode(&set)
				_ = resp.Body.Close()
				if err != nil || len(set.Keys) != 2 {
					return fmt.Errorf("replica %d has %d keys, %v", i, len(set.Keys), err)
				}
			}
			return nil
		})
		for i, at := range r.Each {
			fresh := old.refresh(t, at, old.RefreshToken)
			if fresh.Status != http.StatusOK {
				t.Fatalf("refresh: %+v", fresh)
			}
			old.RefreshToken = fresh.RefreshToken
			for j, o := range r.Each {
				if status := call(t, o, fresh.AccessToken); status != http.StatusOK {
					t.Errorf("a token of replica %d at replica %d: %d", i, j, status)
				}
				if status := call(t, o, old.AccessToken); status != http.StatusOK {
					t.Errorf("a token of before at replica %d: %d", j, status)
				}
			}
		}
	})

	t.Run("the others go on when one is killed", func(t *testing.T) {
		c := connect(t, r, ada)
		r.Each[0].Kill()
		for range 2 * replicas {
			if status := call(t, r.Oriel, c.AccessToken); status != http.StatusOK {
				t.Errorf("a call: %d", status)
			}
		}
		if next := c.refresh(t, r.Oriel, c.RefreshToken); next.Status != http.StatusOK {
			t.Errorf("a refresh: %+v", next)
		}
		connect(t, r, newPerson(t, "ada@example.com"))
	})
}

func atOnce(do func(n int)) { atOnceFor(runners, do) }

func atOnceFor(n int, do func(n int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// refreshTokens returns the different ones of answers that all are good.
func refreshTokens(answers []testenv.Tokens) []string {
	var out []string
	for _, a := range answers {
		if a.Status != http.StatusOK {
			out = append(out, fmt.Sprintf("%d %s %s", a.Status, a.Error, a.Description))
			continue
		}
		if !slices.Contains(out, a.RefreshToken) {
			out = append(out, a.RefreshToken)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
