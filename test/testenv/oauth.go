package testenv

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// OAuthClient is a client made of plain HTTP requests, for tests that look at
// single answers or misuse a token. It is not safe for concurrent use.
type OAuthClient struct {
	// ID is the client_id that the registration gave.
	ID string
	// RedirectURI is the first registered one.
	RedirectURI string

	o        *Oriel
	answers  chan url.Values
	verifier string
	state    string
}

// Register registers a public client. Without redirects it listens on a
// loopback port for the browser's answer.
func (o *Oriel) Register(t testing.TB, name string, redirects ...string) *OAuthClient {
	t.Helper()
	c := &OAuthClient{o: o, answers: make(chan url.Values, 4)}
	if len(redirects) == 0 {
		redirects = []string{c.listen(t, nil)}
	}
	c.RedirectURI = redirects[0]
	return c.register(t, map[string]any{
		"client_name": name, "redirect_uris": redirects, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
}

// RegisterAs registers a public client with the metadata given, which names
// its redirect URIs.
func (o *Oriel) RegisterAs(t testing.TB, metadata map[string]any) *OAuthClient {
	t.Helper()
	c := &OAuthClient{o: o, answers: make(chan url.Values, 4)}
	if redirects, ok := metadata["redirect_uris"].([]string); ok && len(redirects) > 0 {
		c.RedirectURI = redirects[0]
	}
	return c.register(t, metadata)
}

// AddClient registers a client as an administrator does.
func (o *Oriel) AddClient(t testing.TB, name, redirect string) *OAuthClient {
	t.Helper()
	var added struct {
		ID string `json:"client_id"`
	}
	out := o.Admin("client", "add", "--name", name, "--redirect-uri", redirect, "--json")
	if err := json.Unmarshal([]byte(out), &added); err != nil || added.ID == "" {
		t.Fatalf("client add: %v: %s", err, out)
	}
	return &OAuthClient{ID: added.ID, RedirectURI: redirect, o: o, answers: make(chan url.Values, 4)}
}

func (c *OAuthClient) register(t testing.TB, metadata map[string]any) *OAuthClient {
	t.Helper()
	o := c.o
	body, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(o.URL+"/oauth/register", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	var registered struct {
		ClientID string `json:"client_id"`
	}
	if err := json.Unmarshal(answer, &registered); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("register: %s: %s", resp.Status, answer)
	}
	c.ID = registered.ClientID
	return c
}

// listen starts a loopback listener. After an answer it redirects to onward,
// or shows a page when that is nil.
func (c *OAuthClient) listen(t testing.TB, onward func(url.Values) string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r)
			return
		}
		if onward != nil {
			w.Header().Set("Location", onward(r.URL.Query()))
			w.WriteHeader(http.StatusFound)
		} else {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<!doctype html><title>Done</title><h1>The client has its answer</h1>")
		}
		c.answers <- r.URL.Query()
	}))
	t.Cleanup(s.Close)
	return s.URL + "/callback"
}

// RegisterHop registers a client whose loopback redirect sends the browser on
// to another address, as hosted callbacks do that end in an app.
func (o *Oriel) RegisterHop(t testing.TB, name string, onward func(url.Values) string) *OAuthClient {
	t.Helper()
	hop := &OAuthClient{o: o, answers: make(chan url.Values, 4)}
	c := o.Register(t, name, hop.listen(t, onward))
	c.answers = hop.answers
	return c
}

// AuthorizationURL returns the address that a person opens; extra is a list of
// names and values of further parameters. Each call begins a new request.
func (c *OAuthClient) AuthorizationURL(resource string, extra ...string) string {
	c.verifier, c.state = rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(c.verifier))
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURI}, "state": {c.state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
		"resource": {resource},
	}
	for i := 0; i+1 < len(extra); i += 2 {
		v.Set(extra[i], extra[i+1])
	}
	return c.o.URL + "/oauth/authorize?" + v.Encode()
}

// Answer returns what the browser brought back, after checking state and iss.
func (c *OAuthClient) Answer(t testing.TB) url.Values {
	t.Helper()
	select {
	case a := <-c.answers:
		if a.Get("state") != c.state {
			t.Errorf("state came back as %q, want %q", a.Get("state"), c.state)
		}
		if a.Get("iss") != c.o.URL {
			t.Errorf("iss is %q, want %q (RFC 9207)", a.Get("iss"), c.o.URL)
		}
		return a
	case <-time.After(stepLimit):
		t.Fatal("the browser brought no answer to the client")
		return nil
	}
}

// Tokens is an answer of the token endpoint.
type Tokens struct {
	Status       int    `json:"-"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

func (c *OAuthClient) token(t testing.TB, form url.Values) Tokens {
	t.Helper()
	return c.o.Token(t, c.ID, form)
}

// Token posts to the token endpoint as a public client.
func (o *Oriel) Token(t testing.TB, clientID string, form url.Values) Tokens {
	t.Helper()
	form.Set("client_id", clientID)
	resp, err := http.PostForm(o.URL+"/oauth/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	tokens := Tokens{Status: resp.StatusCode}
	body, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(body, &tokens); err != nil {
		t.Fatalf("the token endpoint answers %s, not JSON: %s", resp.Status, body)
	}
	return tokens
}

// Redeem exchanges a code.
func (c *OAuthClient) Redeem(t testing.TB, code string) Tokens {
	t.Helper()
	return c.token(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.RedirectURI}, "code_verifier": {c.verifier},
	})
}

// Refresh presents a refresh token.
func (c *OAuthClient) Refresh(t testing.TB, refreshToken string) Tokens {
	t.Helper()
	return c.token(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

// SignIn goes through the whole flow with a browser and returns good tokens.
func (c *OAuthClient) SignIn(t testing.TB, b *Browser, resource, email, team string) Tokens {
	t.Helper()
	b.Consent(c.AuthorizationURL(resource), email, team)
	tokens := c.Redeem(t, c.Answer(t).Get("code"))
	if tokens.Status != http.StatusOK || tokens.AccessToken == "" || tokens.RefreshToken == "" {
		t.Fatalf("redeem: %+v", tokens)
	}
	return tokens
}

// PostMCP sends an initialize of revision 2025-06-18 and returns the answer's
// status and challenge.
func PostMCP(t testing.TB, endpoint, token string) (status int, challenge string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, endpoint, bytes.NewReader([]byte(
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
}

// FreePort returns a loopback port that was free a moment ago, for programs
// that must be told one.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(fmt.Errorf("unexpected address %v", l.Addr()))
	}
	return a.Port
}
