package testkit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

// Response is an HTTP answer, read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body.
func (r Response) JSON(into any) error { return json.Unmarshal([]byte(r.Body), into) }

// Member returns a text member of the body's JSON object, "" for none.
func (r Response) Member(name string) string {
	var m map[string]any
	if json.Unmarshal([]byte(r.Body), &m) != nil {
		return ""
	}
	s, _ := m[name].(string)
	return s
}

// Browser keeps cookies and follows no redirects by itself.
type Browser struct {
	s    *Server
	http *http.Client
}

// Browser returns a browser without cookies.
func (s *Server) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	s.Must(err)
	return &Browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *Browser) do(req *http.Request) Response {
	b.s.TB.Helper()
	res, err := b.http.Do(req)
	b.s.Must(err)
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	body, err := io.ReadAll(res.Body)
	b.s.Must(err)
	return Response{res.StatusCode, res.Header, string(body)}
}

// absolute completes a path of the server.
func (s *Server) absolute(target string) string {
	if strings.HasPrefix(target, "/") {
		return s.URL + target
	}
	return target
}

// Get opens a page; header is a list of names and values.
func (b *Browser) Get(target string, header ...string) Response {
	b.s.TB.Helper()
	return b.open(http.MethodGet, target, header)
}

// Head asks about a page.
func (b *Browser) Head(target string) Response {
	b.s.TB.Helper()
	return b.open(http.MethodHead, target, nil)
}

func (b *Browser) open(method, target string, header []string) Response {
	b.s.TB.Helper()
	req, err := http.NewRequestWithContext(b.s.TB.Context(), method, b.s.absolute(target), nil)
	b.s.Must(err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return b.do(req)
}

// Post sends a form, as a page of this server would, or as header says.
func (b *Browser) Post(target string, form url.Values, header ...string) Response {
	b.s.TB.Helper()
	req, err := http.NewRequestWithContext(b.s.TB.Context(), http.MethodPost, b.s.absolute(target), strings.NewReader(form.Encode()))
	b.s.Must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.do(req)
}

// SignIn signs a person in and goes where the sign-in leads, starting from a
// sign-in page's address. Passwords are slow by design, so a second browser of
// a person borrows the session of the first; TypePassword does not.
func (b *Browser) SignIn(at, email string) Response {
	b.s.TB.Helper()
	origin, err := url.Parse(b.s.URL)
	b.s.Must(err)
	if lent := b.s.session(email); lent != nil && len(b.http.Jar.Cookies(origin)) == 0 {
		b.http.Jar.SetCookies(origin, lent)
		if res := b.Get(at); res.Status == http.StatusSeeOther {
			if res = b.Get(res.Header.Get("Location")); !strings.HasPrefix(res.Header.Get("Location"), "/login") {
				return res
			}
			at = res.Header.Get("Location") // the session is too old for it
		}
	}
	defer func() { b.s.lend(email, b.http.Jar.Cookies(origin)) }()
	return b.TypePassword(at, email)
}

// TypePassword is SignIn with a password.
func (b *Browser) TypePassword(at, email string) Response {
	b.s.TB.Helper()
	page := b.Get(at)
	res := b.Post("/login", url.Values{"step": {Field(page.Body, "step")}, "email": {email}, "password": {Password}})
	if res.Status != http.StatusSeeOther {
		b.s.TB.Fatalf("sign-in of %s: status %d\n%s", email, res.Status, res.Body)
	}
	return b.Get(res.Header.Get("Location"))
}

func (s *Server) session(email string) []*http.Cookie {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[email]
}

func (s *Server) lend(email string, cookies []*http.Cookie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[email] = cookies
}

// Field returns the value of an input of a page, "" for none.
func Field(page, name string) string {
	m := regexp.MustCompile(`<input[^>]*\bname="` + regexp.QuoteMeta(name) + `"[^>]*>`).FindString(page)
	v := regexp.MustCompile(`\bvalue="([^"]*)"`).FindStringSubmatch(m)
	if v == nil {
		return ""
	}
	return html.UnescapeString(v[1])
}

// Client is an OAuth client of a server.
type Client struct {
	s        *Server
	ID       string
	Secret   string
	Redirect string
	Resource string
	// Verifier is the PKCE verifier of the last authorization.
	Verifier string
	Access   string
	Refresh  string
	IDToken  string
}

// DefaultRedirect is where clients that name nothing else want their answers.
const DefaultRedirect = "http://127.0.0.1:7777/callback"

// Register registers a client by itself. body replaces the usual one.
func (s *Server) Register(body ...string) *Client {
	s.TB.Helper()
	text := `{"client_name":"Test client","redirect_uris":["` + DefaultRedirect + `"],"token_endpoint_auth_method":"none"}`
	if len(body) > 0 {
		text = body[0]
	}
	res := s.PostJSON("/oauth/register", text)
	if res.Status != http.StatusCreated {
		s.TB.Fatalf("register: status %d\n%s", res.Status, res.Body)
	}
	var reg struct {
		ID        string   `json:"client_id"`
		Secret    string   `json:"client_secret"`
		Redirects []string `json:"redirect_uris"`
	}
	s.Must(res.JSON(&reg))
	return &Client{s: s, ID: reg.ID, Secret: reg.Secret, Redirect: reg.Redirects[0], Resource: s.URL + "/mgmt/api/v1/mcp"}
}

// AddClient registers a client as an administrator does.
func (s *Server) AddClient(name string, confidential bool, redirects ...string) *Client {
	s.TB.Helper()
	c, secret, err := s.Admin.Authority.RegisterClient(s.TB.Context(), name, redirects, confidential, audit.Shell("test"))
	s.Must(err)
	return &Client{s: s, ID: string(c.ID), Secret: secret, Redirect: redirects[0], Resource: s.URL + "/mgmt/api/v1/mcp"}
}

// PostJSON posts JSON without any cookie.
func (s *Server) PostJSON(target, body string) Response {
	s.TB.Helper()
	return s.Do(http.MethodPost, target, body, "Content-Type", "application/json")
}

// Do sends a request without cookies; header is a list of names and values.
func (s *Server) Do(method, target, body string, header ...string) Response {
	s.TB.Helper()
	req, err := http.NewRequestWithContext(s.TB.Context(), method, s.absolute(target), bytes.NewReader([]byte(body)))
	s.Must(err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return (&Browser{s, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}).do(req)
}

// AuthorizeURL starts an authorization; change may alter its parameters.
func (c *Client) AuthorizeURL(change ...func(url.Values)) string {
	c.Verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(c.Verifier))
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.Redirect}, "state": {"some state"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {c.Resource},
	}
	for _, ch := range change {
		ch(v)
	}
	return c.s.URL + "/oauth/authorize?" + v.Encode()
}

// Consent opens the consent page for a person, signing them in if need be.
func (c *Client) Consent(b *Browser, email, authorizeURL string) Response {
	c.s.TB.Helper()
	page := b.Get(authorizeURL)
	if page.Status == http.StatusSeeOther {
		page = b.SignIn(page.Header.Get("Location"), email)
	}
	if page.Status != http.StatusOK {
		c.s.TB.Fatalf("consent page: status %d, to %q\n%s", page.Status, page.Header.Get("Location"), page.Body)
	}
	return page
}

// Allow presses Allow access on a consent page and returns the redirect.
func (c *Client) Allow(b *Browser, page Response, team string) *url.URL {
	c.s.TB.Helper()
	res := b.Post("/consent", ConsentForm(page.Body, team))
	if res.Status != http.StatusSeeOther {
		c.s.TB.Fatalf("allow: status %d\n%s", res.Status, res.Body)
	}
	u, err := url.Parse(res.Header.Get("Location"))
	c.s.Must(err)
	return u
}

// ConsentStep returns the signed step of a consent page's own form.
func ConsentStep(page string) string {
	if _, form, ok := strings.Cut(page, `action="/consent"`); ok {
		return Field(form, "step")
	}
	return ""
}

// ConsentForm returns what a browser sends when somebody chooses a team on a
// consent page and presses Allow access, with everything ticked that was.
func ConsentForm(page, team string) url.Values {
	form := url.Values{"step": {ConsentStep(page)}, "team": {team}, "decision": {"allow"}}
	field := "may-" + team
	for _, input := range regexp.MustCompile(`<input type="checkbox"[^>]*>`).FindAllString(page, -1) {
		if strings.Contains(input, ` name="`+field+`"`) && strings.HasSuffix(input, " checked>") {
			form.Add(field, Field(input, field))
		}
	}
	return form
}

// Token sends a token request with the client's credentials.
func (c *Client) Token(form url.Values) Response {
	c.s.TB.Helper()
	form.Set("client_id", c.ID)
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	return c.s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// Redeem sends the token request for a code.
func (c *Client) Redeem(code string) Response {
	c.s.TB.Helper()
	return c.keep(c.Token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.Redirect}, "code_verifier": {c.Verifier}, "resource": {c.Resource}}))
}

// Renew sends the token request for a refresh token.
func (c *Client) Renew(token string) Response {
	c.s.TB.Helper()
	return c.keep(c.Token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "resource": {c.Resource}}))
}

func (c *Client) keep(res Response) Response {
	if res.Status == http.StatusOK {
		c.Access, c.Refresh, c.IDToken = res.Member("access_token"), res.Member("refresh_token"), res.Member("id_token")
	}
	return res
}

// Connect takes a person through everything and leaves the client with tokens.
func (c *Client) Connect(email, team string, change ...func(url.Values)) *Client {
	c.s.TB.Helper()
	b := c.s.Browser()
	back := c.Allow(b, c.Consent(b, email, c.AuthorizeURL(change...)), team)
	if res := c.Redeem(back.Query().Get("code")); res.Status != http.StatusOK {
		c.s.TB.Fatalf("redeem: status %d\n%s", res.Status, res.Body)
	}
	return c
}

// Call sends one JSON-RPC request to the MCP endpoint with the client's token.
func (c *Client) Call(method, params string) Response {
	c.s.TB.Helper()
	return c.s.MCP(c.Resource, c.Access, method, params)
}

// MCP sends one JSON-RPC request of revision 2025-11-25.
func (s *Server) MCP(resource, token, method, params string) Response {
	s.TB.Helper()
	if params == "" {
		params = "{}"
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	return s.Do(http.MethodPost, resource, body, "Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"Authorization", "Bearer "+token, "MCP-Protocol-Version", "2025-11-25")
}

// Key returns the client's short name in the store.
func (c *Client) Key() grant.ClientKey { return grant.ClientID(c.ID).Key() }

// Grant returns the id of the grant that the client's tokens hang on.
func (c *Client) Grant() grant.ID {
	c.s.TB.Helper()
	claims, err := c.s.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(c.Access), c.s.URL)
	c.s.Must(err)
	return claims.Grant
}
