// Package crash kills the built program at random points and looks at what it
// still knows afterwards.
package crash

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
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
	email    = "ada@example.com"
	redirect = "http://127.0.0.1:7777/callback"
	// rounds is how often the program is killed, workers how many clients use
	// it at the time, spanMin and spanMax when the kill comes.
	rounds  = 5
	workers = 8
	spanMin = 200 * time.Millisecond
	spanMax = 1500 * time.Millisecond
	// maxLive is how many grants a client has at once.
	maxLive = 5
)

// errLost says that no answer came: whether the request took effect, only the
// server knows.
var errLost = errors.New("no answer")

// connection is what a client knows of one grant, from answers only.
type connection struct {
	client, refresh, access string
	// revoked: the server said so.
	revoked bool
	// unsure: it was asked to revoke and never answered.
	unsure bool
}

// client is a person with a browser and a client of theirs.
type client struct {
	url, id string
	http    *http.Client
	seen    []*connection
}

// send returns the status and body of an answer, or errLost.
func (c *client) send(method, path string, form url.Values, header ...string) (int, http.Header, []byte, error) {
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", errLost, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", errLost, err)
	}
	return res.StatusCode, res.Header, body, nil
}

func newClient(t *testing.T, o *testenv.Oriel) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{url: o.URL, http: &http.Client{
		Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	_, _, page, err := c.send(http.MethodGet, "/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, body, err := c.send(http.MethodPost, "/login", url.Values{"step": {testkit.Field(string(page), "step")}, "email": {email}, "password": {testenv.Password}})
	if err != nil || status != http.StatusSeeOther {
		t.Fatalf("sign in: %d %v\n%s", status, err, body)
	}
	return c
}

// connect makes a grant; it is seen once the client has its tokens.
func (c *client) connect() error {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	_, _, page, err := c.send(http.MethodGet, "/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {redirect}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	if err != nil {
		return err
	}
	status, header, body, err := c.send(http.MethodPost, "/consent", testkit.ConsentForm(string(page), "shop"))
	if err != nil {
		return err
	}
	back, err := url.Parse(header.Get("Location"))
	if err != nil || status != http.StatusSeeOther {
		return fmt.Errorf("consent: %d %w\n%s", status, err, body)
	}
	return c.tokens(&connection{client: c.id}, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	})
}

// tokens sends a token request and keeps what it gave.
func (c *client) tokens(k *connection, form url.Values) error {
	form.Set("client_id", k.client)
	status, _, body, err := c.send(http.MethodPost, "/oauth/token", form)
	if err != nil {
		return err
	}
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		return fmt.Errorf("token: %d %s", status, body)
	}
	if k.refresh == "" {
		c.seen = append(c.seen, k)
	}
	k.access, k.refresh = answer.Access, answer.Refresh
	return nil
}

func (c *client) renew(k *connection) error {
	return c.tokens(k, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {k.refresh}})
}

func (c *client) revoke(k *connection) error {
	k.unsure = true
	status, _, body, err := c.send(http.MethodPost, "/oauth/revoke", url.Values{"token": {k.refresh}, "client_id": {k.client}})
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("revoke: %d %s", status, body)
	}
	k.unsure, k.revoked = false, true
	return nil
}

// use works with the server until it is gone.
func (c *client) use() error {
	for {
		var err error
		live := slices.DeleteFunc(c.live(), func(k *connection) bool { return k.client != c.id })
		switch n := mathrand.IntN(10); {
		case len(live) == 0 || (n == 0 && len(live) < maxLive):
			err = c.connect()
		case n == 1 && len(live) > 2:
			err = c.revoke(live[mathrand.IntN(len(live))])
		default:
			err = c.renew(live[mathrand.IntN(len(live))])
		}
		if err != nil {
			if errors.Is(err, errLost) {
				return nil
			}
			return err
		}
	}
}

func (c *client) live() []*connection {
	var live []*connection
	for _, k := range c.seen {
		if !k.revoked && !k.unsure {
			live = append(live, k)
		}
	}
	return live
}

// check looks at everything that the client was ever told.
func (c *client) check(t *testing.T, o *testenv.Oriel) (live, revoked int) {
	t.Helper()
	for _, k := range c.seen {
		status, _ := testenv.PostMCP(t, o.MCPURL(), k.access)
		switch {
		case k.unsure:
		case k.revoked:
			revoked++
			if status != http.StatusUnauthorized {
				t.Errorf("the access token of a revoked grant is answered %d", status)
			}
			if err := c.renew(&connection{client: k.client, refresh: k.refresh}); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("a revoked grant refreshes: %v", err)
			}
		default:
			live++
			if status != http.StatusOK {
				t.Errorf("an acknowledged access token is answered %d", status)
			}
			if err := c.renew(k); err != nil {
				t.Errorf("an acknowledged refresh token is dead: %v", err)
			}
		}
	}
	return live, revoked
}

// TestAcknowledgedSurvivesKill: after a kill at any point no revoked grant
// works, and no refresh token that a client was given is dead.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	// Tokens must outlive the test, whenever it runs.
	o := testenv.StartOriel(t, "--sessions-disconnect", "never")
	o.AddPerson(email, "Ada")
	o.AddTeam("shop", "Shop")
	o.SetMember("shop", email, "viewer")
	clients := make([]*client, workers)
	for i := range clients {
		clients[i] = newClient(t, o)
	}
	for round := range rounds {
		var wg sync.WaitGroup
		for _, c := range clients {
			// Another installation in each round: one may have only so many
			// grants, and what was lost on the way counts.
			c.id = o.Register(t, "Crash test", redirect).ID
			wg.Go(func() {
				if err := c.use(); err != nil {
					t.Error(err)
				}
			})
		}
		// The kill is to come at any moment of the work.
		<-time.After(spanMin + mathrand.N(spanMax-spanMin))
		o.Kill()
		wg.Wait()
		o.Start()
		var live, revoked int
		for _, c := range clients {
			l, r := c.check(t, o)
			live, revoked = live+l, revoked+r
		}
		t.Logf("round %d: %d grants alive, %d revoked", round+1, live, revoked)
		if live == 0 || (round == rounds-1 && revoked == 0) {
			t.Error("nothing happened before the kill")
		}
		if t.Failed() {
			return
		}
	}
}
