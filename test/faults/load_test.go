package faults

import (
	"context"
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
	"strings"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/test/testenv"
)

const (
	redirect = "http://127.0.0.1:7777/callback"
	// patience is how long a client waits for an answer, pause how long after
	// an answer that asks for it before it tries again.
	patience = 4 * time.Second
	pause    = 200 * time.Millisecond
	team     = "shop"
)

// recorder holds the history. It is safe for concurrent use.
type recorder struct {
	start time.Time

	mu     sync.Mutex // guards events
	events []Event
}

func (r *recorder) now() time.Duration { return time.Since(r.start) }

func (r *recorder) add(e Event) {
	e.End = r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// site is what the clients use.
type site struct {
	*recorder
	r *testenv.Replicas
	// urls are those of the replicas: a test starts them again meanwhile.
	urls []string
	mcp  string
}

func (s *site) base(replica int) string {
	if replica == Through {
		return s.r.URL
	}
	return s.urls[replica]
}

// worker is a person with a client, doing one thing after the other.
type worker struct {
	*site
	n      int
	email  string
	random *mathrand.Rand
	http   *http.Client

	client  string
	grant   string
	access  string
	refresh string
	expires time.Duration
	// older are refresh tokens that were good before.
	older []string
}

func newWorker(s *site, n int, seed uint64) *worker {
	return &worker{site: s, n: n, email: fmt.Sprintf("w%d@example.com", n), random: mathrand.New(mathrand.NewPCG(seed, uint64(n)))}
}

// run goes on until ctx is done, and never gives up.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if w.grant == "" {
			if !w.connect(ctx) {
				wait(ctx, pause)
			}
			continue
		}
		var good bool
		switch p := w.random.IntN(100); {
		case p < 70:
			good = w.call(ctx, w.random.IntN(len(w.urls)))
		case p < 85:
			good = w.renew(ctx, w.random.IntN(len(w.urls)))
		case p < 91:
			good = w.race(ctx)
		case p < 97:
			good = w.revoke(ctx, w.random.IntN(len(w.urls)))
		case p < 98:
			good = w.shutOut(ctx)
		default:
			w.forget() // a new client, a new sign-in
			good = true
		}
		if !good {
			wait(ctx, pause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *worker) forget() {
	w.client, w.grant, w.access, w.refresh, w.older = "", "", "", "", nil
}

// answer is what came back, or the error.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

// outcome says what an answer other than success means. no is the status with
// which this kind of request is refused.
func (a answer) outcome(no int) (Outcome, string) {
	switch {
	case a.err != nil:
		return Lost, a.err.Error()
	case a.status < http.StatusBadRequest:
		return OK, ""
	case a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout:
		return Lost, fmt.Sprint(a.status)
	case a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests:
		return Retry, fmt.Sprintf("%d %.100s", a.status, a.body)
	case a.status == no:
		return Refused, fmt.Sprintf("%d %.200s", a.status, a.body)
	default:
		return Wrong, fmt.Sprintf("%d %.400s", a.status, a.body)
	}
}

func do(ctx context.Context, client *http.Client, method, target, contentType, body string, header ...string) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text), err}
}

const form = "application/x-www-form-urlencoded"

// connect registers a client, signs in and redeems the code.
func (w *worker) connect(ctx context.Context) bool {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return false
	}
	if w.http == nil || w.random.IntN(4) == 0 {
		// A browser that knows nothing: the password is asked for.
		w.http = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	e := Event{Worker: w.n, Replica: Through, Kind: SignIn, Start: w.now(), Person: w.email}
	client, verifier, code, a := w.signIn(ctx)
	if e.Outcome, e.Detail = a.outcome(http.StatusUnauthorized); e.Outcome == OK && code == "" {
		// A page where a redirect was due: it says why.
		e.Outcome, e.Detail = Refused, a.body[:min(len(a.body), 3000)]
		w.http = nil
	}
	e.Code = code
	w.add(e)
	if e.Outcome != OK {
		return false
	}
	values := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
	if w.random.IntN(3) > 0 {
		return w.redeem(ctx, Through, client, code, values) || w.redeem(ctx, w.random.IntN(len(w.urls)), client, code, values)
	}
	// At two replicas at once.
	first := w.random.IntN(len(w.urls))
	both := []*worker{w.twin(), w.twin()}
	var all sync.WaitGroup
	for i, t := range both {
		all.Go(func() { t.redeem(ctx, (first+i)%len(w.urls), client, code, values) })
	}
	all.Wait()
	for _, t := range both {
		if t.grant != "" {
			w.take(t)
			return true
		}
	}
	return false
}

// twin is a second process of the same client.
func (w *worker) twin() *worker {
	return &worker{site: w.site, n: w.n, email: w.email, client: w.client, grant: w.grant, access: w.access, refresh: w.refresh, expires: w.expires}
}

func (w *worker) take(t *worker) {
	w.client, w.grant, w.access, w.refresh, w.expires = t.client, t.grant, t.access, t.refresh, t.expires
}

// signIn returns a code, "" where the pages led elsewhere; a is the last
// answer.
func (w *worker) signIn(ctx context.Context) (client, verifier, code string, a answer) {
	base := w.base(Through)
	a = do(ctx, w.http, http.MethodPost, base+"/oauth/register", "application/json", `{"client_name":"Load","redirect_uris":["`+redirect+`"],"token_endpoint_auth_method":"none"}`)
	if a.err != nil || a.status >= 400 {
		return "", "", "", a
	}
	var registered struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &registered); err != nil {
		return "", "", "", answer{err: err}
	}
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	to := base + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {registered.ID}, "redirect_uri": {redirect}, "state": {"s"}, "resource": {w.mcp},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	next := func(method, target string, values url.Values) bool {
		if strings.HasPrefix(target, "/") {
			target = base + target
		}
		contentType := ""
		if method == http.MethodPost {
			contentType = form
		}
		a = do(ctx, w.http, method, target, contentType, values.Encode())
		to = ""
		if a.err != nil || a.status >= 400 {
			return false
		}
		to = a.header.Get("Location")
		return true
	}
	follow := func() bool {
		for to != "" {
			if !next(http.MethodGet, to, nil) {
				return false
			}
		}
		return true
	}
	if !follow() {
		return "", "", "", a
	}
	if strings.Contains(a.body, `name="password"`) {
		if !next(http.MethodPost, "/login", url.Values{"step": {testkit.Field(a.body, "step")}, "email": {w.email}, "password": {testenv.Password}}) || !follow() {
			return "", "", "", a
		}
	}
	if !strings.Contains(a.body, "Allow access") || !next(http.MethodPost, "/consent", testkit.ConsentForm(a.body, team)) {
		return "", "", "", a
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", "", "", answer{err: err}
	}
	return registered.ID, verifier, u.Query().Get("code"), a
}

// redeem and renew keep what they get.
func (w *worker) redeem(ctx context.Context, replica int, client, code string, values url.Values) bool {
	e := Event{Worker: w.n, Replica: replica, Kind: Redeem, Start: w.now(), Person: w.email, Code: code}
	good := w.token(ctx, &e, values)
	w.add(e)
	if good {
		w.client = client
	}
	return good
}

func (w *worker) renew(ctx context.Context, replica int) bool {
	return w.present(ctx, replica, w.refresh)
}

func (w *worker) present(ctx context.Context, replica int, token string) bool {
	e := Event{Worker: w.n, Replica: replica, Kind: Refresh, Start: w.now(), Person: w.email, Grant: w.grant, Presented: token}
	grant := w.grant
	good := w.token(ctx, &e, url.Values{"grant_type": {"refresh_token"}, "client_id": {w.client}, "refresh_token": {token}})
	if good && w.grant != grant {
		e.Outcome, e.Detail = Wrong, "a refresh of grant "+grant+" gave one of "+w.grant
	}
	w.add(e)
	if e.Outcome == Refused {
		w.forget()
	}
	return good
}

// token makes a token request and fills in the event.
func (w *worker) token(ctx context.Context, e *Event, values url.Values) bool {
	a := do(ctx, http.DefaultClient, http.MethodPost, w.base(e.Replica)+"/oauth/token", form, values.Encode())
	if e.Outcome, e.Detail = a.outcome(http.StatusBadRequest); e.Outcome == Refused && !strings.Contains(a.body, `"invalid_grant"`) {
		e.Outcome = Wrong
	}
	if e.Outcome != OK {
		return false
	}
	grant, access, refresh, expires, err := parse(a.body)
	if err != nil {
		e.Outcome, e.Detail = Wrong, err.Error()
		return false
	}
	e.Received, e.Grant = refresh, grant
	w.grant, w.access, w.refresh, w.expires = grant, access, refresh, expires.Sub(w.start)
	return true
}

// parse reads a token answer. Whose grant a token is stands in the token.
func parse(body string) (grant, access, refresh string, expires time.Time, err error) {
	var tokens testenv.Tokens
	if err := json.Unmarshal([]byte(body), &tokens); err != nil {
		return "", "", "", time.Time{}, fmt.Errorf("token answer: %w", err)
	}
	parts := strings.Split(tokens.AccessToken, ".")
	if len(parts) != 3 || tokens.RefreshToken == "" {
		return "", "", "", time.Time{}, errors.New("the token answer holds no tokens")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", "", time.Time{}, fmt.Errorf("access token: %w", err)
	}
	var claims struct {
		Grant   string `json:"grant"`
		Expires int64  `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Grant == "" {
		return "", "", "", time.Time{}, fmt.Errorf("access token names no grant: %w", err)
	}
	return claims.Grant, tokens.AccessToken, tokens.RefreshToken, time.Unix(claims.Expires, 0), nil
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}`

// call calls the MCP server at one replica. A client that is refused tries its
// refresh token next.
func (w *worker) call(ctx context.Context, replica int) bool {
	e := Event{Worker: w.n, Replica: replica, Kind: Call, Start: w.now(), Person: w.email, Grant: w.grant, Expires: w.expires}
	a := do(ctx, http.DefaultClient, http.MethodPost, w.base(replica)+"/mgmt/api/v1/mcp", "application/json", initialize,
		"Accept", "application/json, text/event-stream", "Authorization", "Bearer "+w.access)
	e.Outcome, e.Detail = a.outcome(http.StatusUnauthorized)
	if e.Outcome == OK && !strings.Contains(a.body, `"protocolVersion"`) {
		e.Outcome, e.Detail = Wrong, a.body
	}
	w.add(e)
	if e.Outcome == Refused {
		return w.renew(ctx, replica)
	}
	return e.Outcome == OK
}

// race presents the same refresh token at two replicas at once, at times an
// older one.
func (w *worker) race(ctx context.Context) bool {
	token := w.refresh
	if len(w.older) > 0 && w.random.IntN(3) == 0 {
		token = w.older[w.random.IntN(len(w.older))]
	}
	first := w.random.IntN(len(w.urls))
	both := []*worker{w.twin(), w.twin()}
	var all sync.WaitGroup
	for i, t := range both {
		all.Go(func() { t.present(ctx, (first+i)%len(w.urls), token) })
	}
	all.Wait()
	w.older = append(w.older, w.refresh)
	good := false
	for _, t := range both {
		if t.grant == "" {
			w.forget()
			return false
		}
		if t.access != w.access && !good {
			w.take(t)
			good = true
		}
	}
	return good
}

// revoke ends the grant at one replica and looks at once, and for a while, at
// all of them whether it is over.
func (w *worker) revoke(ctx context.Context, replica int) bool {
	e := Event{Worker: w.n, Replica: replica, Kind: Revoke, Start: w.now(), Person: w.email, Grant: w.grant}
	if w.random.IntN(8) == 0 {
		// As an administrator does.
		_, text, err := w.r.Command("", "grant", "revoke", "--id", w.grant)
		if e.Outcome = OK; err != nil {
			e.Outcome, e.Detail = Lost, fmt.Sprintf("%v %.300s", err, text)
		}
	} else {
		a := do(ctx, http.DefaultClient, http.MethodPost, w.base(replica)+"/oauth/revoke", form, url.Values{"client_id": {w.client}, "token": {w.refresh}}.Encode())
		e.Outcome, e.Detail = a.outcome(0)
	}
	w.add(e)
	if e.Outcome != OK {
		return false
	}
	w.probe(ctx)
	w.forget()
	return true
}

// probe calls every replica until each has refused, or well past the bound.
func (w *worker) probe(ctx context.Context) {
	until := time.Now().Add(2 * bound)
	var all sync.WaitGroup
	for i := range w.urls {
		all.Go(func() {
			for time.Now().Before(until) && ctx.Err() == nil {
				e := Event{Worker: w.n, Replica: i, Kind: Call, Start: w.now(), Person: w.email, Grant: w.grant, Expires: w.expires}
				a := do(ctx, http.DefaultClient, http.MethodPost, w.urls[i]+"/mgmt/api/v1/mcp", "application/json", initialize,
					"Accept", "application/json, text/event-stream", "Authorization", "Bearer "+w.access)
				e.Outcome, e.Detail = a.outcome(http.StatusUnauthorized)
				w.add(e)
				if e.Outcome == Refused {
					return
				}
				if e.Outcome != OK {
					wait(ctx, pause)
				}
			}
		})
	}
	all.Wait()
}

// shutOut disables the person, looks, and lets them in again.
func (w *worker) shutOut(ctx context.Context) bool {
	for i, command := range []string{"disable", "enable"} {
		for tries := 0; ; tries++ {
			e := Event{Worker: w.n, Replica: Through, Kind: []Kind{Disable, Enable}[i], Start: w.now(), Person: w.email}
			_, text, err := w.r.Command("", "user", command, "--email", w.email)
			if e.Outcome = OK; err != nil {
				e.Outcome, e.Detail = Lost, fmt.Sprintf("%v %.300s", err, text)
			}
			w.add(e)
			if err == nil {
				break
			}
			if i == 0 && tries == 2 {
				break // let them in again in any case
			}
			wait(context.WithoutCancel(ctx), pause)
		}
		if i == 0 {
			w.probe(ctx)
		}
	}
	w.forget()
	w.http = nil
	return true
}
