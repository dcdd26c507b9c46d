package oauth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/testkit"
)

// A fixture is how one client product behaves (testdata/clients).
type fixture struct {
	About string `json:"about"`
	// Probe is the request without a token with which it begins.
	Probe string `json:"probe"`
	// Discovery is where it looks for metadata, in this order; {mcp} stands
	// for the path of the MCP server. Real clients stop at the first answer;
	// each place must give one.
	Discovery    []string        `json:"discovery"`
	Registration json.RawMessage `json:"registration"`
	RegisterPath string          `json:"register_path"`
	// Document is what it has instead of a registration: the address that is
	// its client_id, and what is served there. Without a body its host cannot
	// be reached, and the built-in copy must do.
	Document *struct {
		URL  string          `json:"url"`
		Body json.RawMessage `json:"body"`
	} `json:"document"`
	// Redirects are those that it uses, which may differ in their port from
	// the registered ones.
	Redirects []string `json:"redirects"`
	Authorize habits   `json:"authorize"`
	Redeem    habits   `json:"redeem"`
	Refresh   habits   `json:"refresh"`
	// AfterInvalidGrant is how it comes back: with the client id it has
	// (authorize), or with a new one (register).
	AfterInvalidGrant string `json:"after_invalid_grant"`
	// Revokes says that it calls the revocation endpoint when it disconnects.
	Revokes bool              `json:"revokes"`
	Header  map[string]string `json:"header"`
}

// habits are how a client fills in a request.
type habits struct {
	// Path is where it sends the request without looking at metadata.
	Path string `json:"path"`
	// Resource is none, exact, slash, origin or "origin slash".
	Resource string `json:"resource"`
	// Scope is none, or a sum of: challenge, resource and server (what these
	// list), registration (what its answer said), granted, or scopes.
	Scope  string `json:"scope"`
	State  string `json:"state"`
	Prompt string `json:"prompt"`
	// VerifierLength is that of the PKCE verifier.
	VerifierLength int `json:"verifier_length"`
	// Auth is how it says who it is: none, post, basic, "basic
	// percent-encoded" or private_key_jwt; a secret that it has not is sent
	// empty.
	Auth string `json:"auth"`
	// RedirectURI is what the token request says: the same, absent or "other
	// port".
	RedirectURI string `json:"redirect_uri"`
	// Parallel is how many processes refresh with one token at once.
	Parallel int `json:"parallel"`
	// Again is how often one process presents the same token.
	Again int `json:"again"`
	// GenerationsLate is how old a token some process still has.
	GenerationsLate int `json:"generations_late"`
}

const mcpPath = "/mgmt/api/v1/mcp"

func fixtures(t *testing.T) map[string]fixture {
	t.Helper()
	files, err := filepath.Glob("testdata/clients/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := make(map[string]fixture)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f fixture
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = f
	}
	return all
}

// TestClientMatrix takes every client through its life: from the first
// request without a token over every redirect URI, the refresh, a restart of
// the server, the full hour and the end of its grant to its return. All live
// on one server, and each step is taken by all before the next.
func TestClientMatrix(t *testing.T) {
	s, rest := newWebServer(t)
	browser, key := s.Browser(), newSigner(t, "matrix", jose.RS256)
	all := fixtures(t)
	rest.JSON("https://chatgpt.com/oauth/jwks.json", keySet(t, key))
	clients := make(map[string]*matrixClient)
	for name, f := range all {
		clients[name] = &matrixClient{s: s, fixture: f, browser: browser, key: key}
		if f.Document != nil && f.Document.Body != nil {
			rest.JSON(f.Document.URL, string(f.Document.Body))
		}
	}
	step := func(what string, do func(*matrixClient)) {
		t.Run(what, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(clients)) {
				c := clients[name]
				if !t.Run(name, func(t *testing.T) { c.t = t; do(c) }) {
					delete(clients, name) // what follows would fail for the same reason
				}
			}
		})
	}
	step("connects", func(c *matrixClient) {
		c.discover()
		c.register()
		for _, redirect := range c.Redirects {
			c.other = c.refresh
			c.authorize(redirect)
			c.works("after the sign-in by " + redirect)
		}
	})
	step("refreshes", (*matrixClient).refreshes)
	s.Restart()
	step("survives a restart", func(c *matrixClient) {
		c.works("after a restart of the server")
		c.renews("after a restart of the server")
		c.authorize(c.Redirects[0])
		c.works("with its old id after a restart of the server")
	})
	s.Clock.ToNextHour(time.Second)
	step("survives the hour", func(c *matrixClient) {
		c.refused("after the hour")
		c.renews("after the hour")
	})
	step("is ended", func(c *matrixClient) {
		if c.Revokes {
			c.revoke()
		} else {
			s.Must(s.Admin.Authority.EndGrant(c.t.Context(), c.grant(), "a test", shell))
		}
		s.Eventually(time.Second, "the end takes hold", func() bool { return c.call().Status == http.StatusUnauthorized })
		c.refused("after its end")
		for range max(c.Refresh.Again, 1) {
			wantOAuthError(c.t, c.token(c.renewal(c.refresh), c.Refresh), http.StatusBadRequest, "invalid_grant")
		}
		if c.other != "" { // another connection of the same client lives on
			wantStatus(c.t, c.token(c.renewal(c.other), c.Refresh), http.StatusOK)
		}
	})
	step("comes back", func(c *matrixClient) {
		if c.AfterInvalidGrant == "register" {
			c.register()
		}
		c.authorize(c.Redirects[0])
		c.works("after coming back")
	})
	if len(clients) != len(all) {
		t.Errorf("%d of %d clients made it", len(clients), len(all))
	}
}

// matrixClient is one installation of a client product.
type matrixClient struct {
	fixture
	t       *testing.T
	s       *testkit.Server
	browser *testkit.Browser
	key     signer // of the clients that have one

	resource, issuer                   string
	challengeScope, resourceScope      string
	serverScope                        string
	authorizeURL, tokenURL, revokeURL  string
	registerURL                        string
	id, secret, method, registeredWith string
	verifier                           string
	access, refresh, granted           string
	other                              string // the refresh token of an earlier sign-in
}

// do sends a request as this client does, without cookies.
func (c *matrixClient) do(method, target, body string, header ...string) testkit.Response {
	for k, v := range c.Header {
		header = append(header, k, v)
	}
	return c.s.Do(method, target, body, header...)
}

func (c *matrixClient) wantCORS(res testkit.Response) {
	c.t.Helper()
	if origin := c.Header["Origin"]; origin != "" {
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "*" && got != origin {
			c.t.Errorf("a page at %s may not read the answer (Access-Control-Allow-Origin %q)", origin, got)
		}
	}
}

var challengeParameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

func challenge(res testkit.Response) map[string]string {
	all := make(map[string]string)
	for _, m := range challengeParameter.FindAllStringSubmatch(res.Header.Get("WWW-Authenticate"), -1) {
		all[m[1]] = m[2]
	}
	return all
}

// discover finds everything from the URL of the MCP server alone.
func (c *matrixClient) discover() {
	c.t.Helper()
	method, kind, _ := strings.Cut(c.Probe, " ")
	var body string
	header := []string{"Accept", "application/json, text/event-stream"}
	if kind == "initialize" {
		body = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`
		header = append(header, "Content-Type", "application/json")
	}
	res := c.do(method, mcpPath, body, header...)
	ch := challenge(res)
	if res.Status != http.StatusUnauthorized || len(res.Header.Values("WWW-Authenticate")) != 1 || ch["error"] != "" {
		c.t.Fatalf("probe %s: %d %q", c.Probe, res.Status, res.Header.Values("WWW-Authenticate"))
	}
	c.wantCORS(res)
	c.challengeScope = ch["scope"]
	if want := c.s.URL + "/.well-known/oauth-protected-resource" + mcpPath; ch["resource_metadata"] != want {
		c.t.Errorf("resource_metadata = %q, want %q", ch["resource_metadata"], want)
	}
	c.issuer = c.s.URL // where no resource metadata is looked for
	c.resource = c.s.URL + mcpPath
	for _, path := range c.Discovery {
		path = strings.ReplaceAll(path, "{mcp}", mcpPath)
		res := c.do(http.MethodGet, path, "", "Accept", "application/json")
		wantStatus(c.t, res, http.StatusOK)
		c.wantCORS(res)
		if ct := res.Header.Get("Content-Type"); ct != "application/json" || res.Header.Get("Location") != "" {
			c.t.Errorf("%s: content type %q", path, ct)
		}
		var m struct {
			Resource  string   `json:"resource"`
			Servers   []string `json:"authorization_servers"`
			Scopes    []string `json:"scopes_supported"`
			Issuer    string   `json:"issuer"`
			Authorize string   `json:"authorization_endpoint"`
			Token     string   `json:"token_endpoint"`
			Register  string   `json:"registration_endpoint"`
			Revoke    string   `json:"revocation_endpoint"`
			Methods   []string `json:"token_endpoint_auth_methods_supported"`
			PKCE      []string `json:"code_challenge_methods_supported"`
			JWKS      string   `json:"jwks_uri"`
			Documents bool     `json:"client_id_metadata_document_supported"`
			Subjects  []string `json:"subject_types_supported"`
			Algs      []string `json:"id_token_signing_alg_values_supported"`
		}
		c.s.Must(res.JSON(&m))
		if strings.Contains(path, "oauth-protected-resource") {
			// VS Code, the Go SDK, Claude, Gemini and Spring compare byte for byte.
			if m.Resource != c.s.URL+mcpPath || len(m.Servers) != 1 || m.Scopes == nil {
				c.t.Errorf("%s: %s", path, res.Body)
			}
			c.resource, c.issuer, c.resourceScope = m.Resource, m.Servers[0], strings.Join(m.Scopes, " ")
			continue
		}
		if m.Issuer != c.issuer || strings.HasSuffix(m.Issuer, "/") || !slices.Contains(m.PKCE, "S256") || !slices.Contains(m.Methods, "none") {
			c.t.Errorf("%s: %s", path, res.Body)
		}
		if strings.Contains(path, "openid-configuration") && (m.JWKS == "" || len(m.Subjects) == 0 || len(m.Algs) == 0) {
			c.t.Errorf("%s lacks what OpenID Connect demands: %s", path, res.Body)
		}
		if !m.Documents { // clients would register instead
			c.t.Errorf("%s does not say that client documents are read: %s", path, res.Body)
		}
		c.serverScope = strings.Join(m.Scopes, " ")
		c.authorizeURL, c.tokenURL, c.registerURL, c.revokeURL = m.Authorize, m.Token, m.Register, m.Revoke
	}
	for path, target := range map[string]*string{c.Authorize.Path: &c.authorizeURL, c.Redeem.Path: &c.tokenURL, c.RegisterPath: &c.registerURL} {
		if path != "" {
			*target = c.s.URL + path
		}
	}
}

func (c *matrixClient) register() {
	c.t.Helper()
	if c.Document != nil {
		c.id = c.Document.URL
		return
	}
	res := c.do(http.MethodPost, c.registerURL, string(c.Registration), "Content-Type", "application/json")
	wantStatus(c.t, res, http.StatusCreated)
	c.wantCORS(res)
	var asked, got map[string]any
	c.s.Must(json.Unmarshal(c.Registration, &asked))
	c.s.Must(res.JSON(&got))
	for name, v := range got {
		if v == nil || v == "" {
			c.t.Errorf("the registration answers %s with %v, at which clients fail", name, v)
		}
	}
	for name, v := range asked {
		if name == "scope" || name == "grant_types" {
			continue // no ceiling, and never more than there is
		}
		if fmt.Sprint(got[name]) != fmt.Sprint(v) {
			c.t.Errorf("registration: %s came back as %v, want %v", name, got[name], v)
		}
	}
	c.method, _ = got["token_endpoint_auth_method"].(string)
	want, ok := asked["token_endpoint_auth_method"].(string)
	if !ok {
		want = "client_secret_basic" // RFC 7591 §2
	}
	c.id, _ = got["client_id"].(string)
	c.secret, _ = got["client_secret"].(string)
	c.registeredWith, _ = got["scope"].(string)
	_, expires := got["client_secret_expires_at"]
	if c.method != want || c.id == "" || (c.secret != "") != (want != "none") || expires != (c.secret != "") {
		c.t.Errorf("registration: %s", res.Body)
	}
	if _, managed := got["registration_client_uri"]; managed != (got["registration_access_token"] != nil) {
		c.t.Errorf("registration: half of RFC 7592: %s", res.Body)
	}
	// What manages it is there, and says what the registration said.
	uri, _ := got["registration_client_uri"].(string)
	token, _ := got["registration_access_token"].(string)
	read := c.s.Do(http.MethodGet, uri, "", "Authorization", "Bearer "+token)
	if read.Status != http.StatusOK || read.Body != res.Body {
		c.t.Errorf("registration as it is read: %d %s, not %s", read.Status, read.Body, res.Body)
	}
}

// scope is the scope parameter of a request, "" for none.
func (c *matrixClient) scope(h habits) string {
	var all []string
	for part := range strings.SplitSeq(h.Scope, "+") {
		switch part {
		case "", "none":
		case "challenge":
			all = append(all, c.challengeScope)
		case "resource":
			all = append(all, c.resourceScope)
		case "server":
			all = append(all, c.serverScope)
		case "registration":
			all = append(all, c.registeredWith)
		case "granted":
			all = append(all, c.granted)
		default:
			all = append(all, part)
		}
	}
	return strings.Join(all, " ")
}

// target sets the resource parameter of a request.
func (c *matrixClient) target(v url.Values, h habits) {
	switch h.Resource {
	case "exact":
		v.Set("resource", c.resource)
	case "slash":
		v.Set("resource", c.resource+"/")
	case "origin":
		v.Set("resource", c.s.URL)
	case "origin slash":
		v.Set("resource", c.s.URL+"/")
	case "", "none":
	default:
		c.t.Fatalf("unknown habit of resource %q", h.Resource)
	}
}

// submit presses Allow access on a consent page as it was rendered.
func submit(b *testkit.Browser, page testkit.Response, team string) testkit.Response {
	_, form, _ := strings.Cut(page.Body, `action="/consent"`)
	form, _, _ = strings.Cut(form, "</form>")
	v := url.Values{"team": {team}, "decision": {"allow"}}
	attribute := func(input, name string) string {
		m := regexp.MustCompile(`\b` + name + `="([^"]*)"`).FindStringSubmatch(input)
		if m == nil {
			return ""
		}
		return html.UnescapeString(m[1])
	}
	for _, input := range regexp.MustCompile(`<input[^>]*>`).FindAllString(form, -1) {
		switch attribute(input, "type") {
		case "hidden":
			v.Add(attribute(input, "name"), attribute(input, "value"))
		case "checkbox":
			if strings.Contains(input, " checked") {
				v.Add(attribute(input, "name"), attribute(input, "value"))
			}
		}
	}
	return b.Post("/consent", v)
}

// wayBack finds the address to which the browser takes the answer: by a
// redirect, or by a page that leads on.
func wayBack(t *testing.T, res testkit.Response, redirect string) *url.URL {
	t.Helper()
	target := res.Header.Get("Location")
	if target == "" {
		for _, m := range regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(res.Body, -1) {
			if text := html.UnescapeString(m[1]); strings.HasPrefix(text, redirect+"?") {
				target = text
			}
		}
	}
	if !strings.HasPrefix(target, redirect+"?") {
		t.Fatalf("no way back to %s: status %d, Location %q\n%s", redirect, res.Status, res.Header.Get("Location"), res.Body)
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var urlSafe = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// authorize takes the person through the browser and redeems the code.
func (c *matrixClient) authorize(redirect string) {
	c.t.Helper()
	length := c.Authorize.VerifierLength
	if length == 0 {
		length = 43
	}
	c.verifier = (rand.Text() + rand.Text() + rand.Text() + rand.Text() + rand.Text())[:length]
	sum := sha256.Sum256([]byte(c.verifier))
	state := c.Authorize.State
	if state == "" {
		state = rand.Text()
	}
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {redirect}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if scope := c.scope(c.Authorize); scope != "" {
		v.Set("scope", scope)
	}
	if c.Authorize.Prompt != "" {
		v.Set("prompt", c.Authorize.Prompt)
	}
	c.target(v, c.Authorize)
	page := c.browser.Get(c.authorizeURL + "?" + v.Encode())
	if page.Status == http.StatusSeeOther { // the first of all
		page = c.browser.SignIn(page.Header.Get("Location"), "ada@example.com")
	}
	// A document client whose answer stays on the web is not asked again for
	// what it has: that page goes on by itself.
	asks := strings.Contains(page.Body, "Allow access")
	remembered := c.Document != nil && c.access != "" && strings.HasPrefix(redirect, "https://")
	if page.Status != http.StatusOK || asks == remembered {
		c.t.Fatalf("authorize with %s: status %d, to %q\n%s", redirect, page.Status, page.Header.Get("Location"), page.Body)
	}
	if asks && c.Document != nil {
		host, err := url.Parse(c.id)
		c.s.Must(err)
		if !strings.Contains(page.Body, "<bdi>"+host.Hostname()+`</bdi> <span class="badge good">verified`) {
			c.t.Errorf("the page does not name the verified host:\n%s", page.Body)
		}
	}
	if asks {
		builtIn := c.Document != nil && c.Document.Body == nil
		if strings.Contains(page.Body, "built into Oriel") != builtIn {
			c.t.Errorf("the page says or hides wrongly that a built-in copy is used:\n%s", page.Body)
		}
	}
	back := wayBack(c.t, submit(c.browser, page, "shop"), redirect)
	q := back.Query()
	if q.Get("state") != state || q.Get("iss") != c.issuer || q.Get("error") != "" || !urlSafe.MatchString(q.Get("code")) {
		c.t.Fatalf("the answer %s, want state %q and iss %q", back, state, c.issuer)
	}

	form := url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "code_verifier": {c.verifier}}
	switch c.Redeem.RedirectURI {
	case "":
		form.Set("redirect_uri", redirect)
	case "absent":
	case "other port":
		u, err := url.Parse(redirect)
		c.s.Must(err)
		u.Host = u.Hostname() + ":1"
		form.Set("redirect_uri", u.String())
	default:
		c.t.Fatalf("unknown habit of redirect_uri %q", c.Redeem.RedirectURI)
	}
	c.target(form, c.Redeem)
	res := c.token(form, c.Redeem)
	wantStatus(c.t, res, http.StatusOK)
	c.keep(res)
}

// token sends a token request; it may be called from several goroutines.
func (c *matrixClient) token(form url.Values, h habits) testkit.Response {
	target := c.tokenURL
	if h.Path != "" {
		target = c.s.URL + h.Path
	}
	header := []string{"Content-Type", formType}
	switch h.Auth {
	case "", "none":
		form.Set("client_id", c.id)
	case "post":
		form.Set("client_id", c.id)
		form.Set("client_secret", c.secret)
	case "basic":
		header = append(header, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.id+":"+c.secret)))
	case "basic percent-encoded":
		header = append(header, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.id)+":"+url.QueryEscape(c.secret))))
	case "private_key_jwt":
		form.Set("client_assertion", c.key.sign(c.t, claims(c.s, c.id)))
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	default:
		c.t.Errorf("unknown habit of authentication %q", h.Auth)
	}
	return c.do(http.MethodPost, target, form.Encode(), header...)
}

// keep checks a token answer as the strictest clients do, and remembers it.
func (c *matrixClient) keep(res testkit.Response) {
	c.t.Helper()
	var m map[string]any
	c.s.Must(res.JSON(&m))
	for name, v := range m {
		if v == nil || v == "" {
			c.t.Errorf("the token answer has %s: %v", name, v)
		}
	}
	expires, _ := m["expires_in"].(float64)
	if m["token_type"] != "Bearer" || expires <= 0 || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("token answer %v %s", res.Header, res.Body)
	}
	c.wantCORS(res)
	c.access, c.refresh, c.granted = res.Member("access_token"), res.Member("refresh_token"), res.Member("scope")
	if !urlSafe.MatchString(c.access) || !urlSafe.MatchString(c.refresh) || len(c.access) > 1536 || !strings.Contains(c.granted, "logs:read") {
		c.t.Fatalf("token answer %s", res.Body)
	}
}

func (c *matrixClient) renewal(token string) url.Values {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if scope := c.scope(c.Refresh); scope != "" {
		form.Set("scope", scope)
	}
	c.target(form, c.Refresh)
	return form
}

func (c *matrixClient) renews(when string) {
	c.t.Helper()
	res := c.token(c.renewal(c.refresh), c.Refresh)
	if res.Status != http.StatusOK {
		c.t.Fatalf("refresh %s: status %d\n%s", when, res.Status, res.Body)
	}
	before := c.refresh
	c.keep(res)
	if c.refresh == before {
		c.t.Errorf("refresh %s: the refresh token did not rotate", when)
	}
	c.works("refreshed " + when)
}

// refreshes plays what the client's processes do with their refresh tokens.
func (c *matrixClient) refreshes() {
	c.t.Helper()
	c.renews("at first")
	token := c.refresh
	successors := make([]string, c.Refresh.Parallel)
	var wg sync.WaitGroup
	for i := range successors {
		wg.Go(func() {
			// c.token ends the test where it cannot send, which only its own
			// goroutine may; here it cannot fail but with the server.
			res := c.token(c.renewal(token), c.Refresh)
			if res.Status != http.StatusOK {
				c.t.Errorf("one of %d parallel refreshes: %d %s", c.Refresh.Parallel, res.Status, res.Body)
			}
			successors[i] = res.Member("refresh_token")
		})
	}
	wg.Wait()
	if len(successors) > 0 {
		slices.Sort(successors)
		if len(slices.Compact(successors)) != 1 {
			c.t.Error("parallel refreshes got different successors")
		}
		c.refresh = successors[0]
	}
	for range c.Refresh.Again {
		res := c.token(c.renewal(token), c.Refresh)
		wantStatus(c.t, res, http.StatusOK)
		c.keep(res)
	}
	late := c.refresh
	for range c.Refresh.GenerationsLate {
		c.renews("on the way")
	}
	res := c.token(c.renewal(late), c.Refresh)
	if res.Status != http.StatusOK {
		c.t.Fatalf("%d generations late: %d %s", c.Refresh.GenerationsLate, res.Status, res.Body)
	}
	newest := c.refresh
	c.keep(res)
	if c.Refresh.GenerationsLate > 0 && c.refresh != newest {
		c.t.Error("a process that came late did not get the newest refresh token")
	}
	c.works("after all processes refreshed")
}

// call lists the tools.
func (c *matrixClient) call() testkit.Response {
	return c.do(http.MethodPost, mcpPath, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`,
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Authorization", "Bearer "+c.access)
}

func (c *matrixClient) works(when string) {
	c.t.Helper()
	if res := c.call(); res.Status != http.StatusOK || !strings.Contains(res.Body, `"search_logs"`) {
		c.t.Fatalf("tools/list %s: %d %s", when, res.Status, res.Body)
	}
}

// refused checks the challenge from which each client finds its way.
func (c *matrixClient) refused(when string) {
	c.t.Helper()
	res := c.call()
	ch := challenge(res)
	if res.Status != http.StatusUnauthorized || ch["error"] != "invalid_token" || ch["error_description"] == "" ||
		ch["resource_metadata"] != c.s.URL+"/.well-known/oauth-protected-resource"+mcpPath || ch["scope"] == "" {
		c.t.Fatalf("%s: %d %q", when, res.Status, res.Header.Get("WWW-Authenticate"))
	}
	c.wantCORS(res)
}

func (c *matrixClient) revoke() {
	c.t.Helper()
	form := url.Values{"token": {c.refresh}, "token_type_hint": {"refresh_token"}}
	res := c.do(http.MethodPost, c.revokeURL, form.Encode(), "Content-Type", formType,
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.id+":"+c.secret)))
	wantStatus(c.t, res, http.StatusOK)
}

// grant is what the client's tokens hang on.
func (c *matrixClient) grant() grant.ID {
	c.t.Helper()
	claims, err := c.s.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(c.access), c.s.URL)
	c.s.Must(err)
	return claims.Grant
}
