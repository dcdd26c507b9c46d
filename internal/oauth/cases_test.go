package oauth_test

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to lock the server's database from outside

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestCase003_RootMetadataNamesTheBareResource(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/"} {
		res := s.Do(http.MethodGet, path, "")
		wantStatus(t, res, http.StatusOK)
		if got := res.Member("resource"); got != s.URL+mcpPath {
			t.Errorf("%s: resource %q", path, got)
		}
	}
}

func TestCase004_OneIssuerEverywhere(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		for _, path := range []string{
			"/.well-known/" + name, "/.well-known/" + name + mcpPath, "/.well-known/" + name + "/mgmt/api/v1/teams/shop/mcp",
			mcpPath + "/.well-known/" + name, "/mgmt/api/v1/teams/shop/mcp/.well-known/" + name,
		} {
			res := s.Do(http.MethodGet, path, "")
			wantStatus(t, res, http.StatusOK)
			if got := res.Member("issuer"); got != s.URL || strings.HasSuffix(got, "/") {
				t.Errorf("%s: issuer %q", path, got)
			}
		}
	}
}

// Metadata says what works, and what it says works.
func TestCase005_MetadataSaysWhatWorks(t *testing.T) {
	s := newServer(t)
	var m map[string]any
	s.Must(s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "").JSON(&m))
	for name, want := range map[string]string{
		"code_challenge_methods_supported":               `["S256"]`,
		"response_types_supported":                       `["code"]`,
		"authorization_response_iss_parameter_supported": `true`,
	} {
		if got, _ := json.Marshal(m[name]); string(got) != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	for name, v := range m {
		u, ok := v.(string)
		if !ok || !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		if !strings.HasPrefix(u, s.URL+"/") {
			t.Errorf("%s = %q is elsewhere", name, u)
			continue
		}
		if res := s.Do(http.MethodPost, u, "", "Content-Type", formType); res.Status == http.StatusNotFound {
			t.Errorf("%s = %s does not exist", name, u)
		}
	}
	c := s.Register()
	grants, _ := m["grant_types_supported"].([]any)
	for _, g := range grants {
		if res := c.Token(url.Values{"grant_type": {fmt.Sprint(g)}}); res.Member("error") == "unsupported_grant_type" {
			t.Errorf("grant type %s is advertised and not supported", g)
		}
	}
	for _, g := range []string{"password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer"} {
		wantOAuthError(t, c.Token(url.Values{"grant_type": {g}}), 400, "unsupported_grant_type")
	}
}

func TestCase006_UnknownPathsAreJSON(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{
		"/.well-known/nothing", "/.well-known/oauth-authorization-server/elsewhere", "/oauth/nothing", "/oauth/", "/oauth/token/x",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			res := s.Do(method, path, "")
			if res.Status != http.StatusNotFound || !json.Valid([]byte(res.Body)) || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s: %d %s %q", method, path, res.Status, res.Header.Get("Content-Type"), res.Body)
			}
		}
	}
}

func TestCase007_MetadataIsOpenAndBrieflyCached(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/.well-known/oauth-protected-resource", "/oauth/jwks",
	} {
		res := s.Do(http.MethodGet, path, "")
		wantStatus(t, res, http.StatusOK)
		var seconds int
		_, control, _ := strings.Cut(res.Header.Get("Cache-Control"), "max-age=")
		if _, err := fmt.Sscanf(control, "%d", &seconds); err != nil || seconds > 300 {
			t.Errorf("%s: Cache-Control %q", path, res.Header.Get("Cache-Control"))
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no script may read it", path)
		}
	}
}

func TestCase008_RequestsDoNotNameTheServer(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	lies := []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.example;proto=https", "X-Original-Host", "evil.example"}
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/.well-known/oauth-protected-resource" + mcpPath, mcpPath,
		strings.TrimPrefix(c.AuthorizeURL(), s.URL), "/login",
	} {
		res := s.Do(http.MethodGet, path, "", lies...)
		if strings.Contains(res.Body, "evil.example") || strings.Contains(fmt.Sprint(res.Header), "evil.example") {
			t.Errorf("%s repeats a host that the request named: %v\n%s", path, res.Header, res.Body)
		}
	}
}

func TestCase010_SecretExactlyWhereOneIsNeeded(t *testing.T) {
	s := newServer(t)
	for method, secret := range map[string]bool{"": true, "client_secret_basic": true, "client_secret_post": true, "none": false} {
		body := map[string]any{"redirect_uris": []string{testkit.DefaultRedirect}}
		if method != "" {
			body["token_endpoint_auth_method"] = method
		}
		raw, err := json.Marshal(body)
		s.Must(err)
		res := s.PostJSON("/oauth/register", string(raw))
		wantStatus(t, res, http.StatusCreated)
		var m map[string]any
		s.Must(res.JSON(&m))
		expires, has := m["client_secret_expires_at"]
		if _, got := m["client_secret"]; got != secret || has != secret || (has && expires != float64(0)) {
			t.Errorf("%q: %s", method, res.Body)
		}
		if want := map[bool]string{true: "client_secret_basic", false: method}[method == ""]; m["token_endpoint_auth_method"] != want {
			t.Errorf("%q: method %v", method, m["token_endpoint_auth_method"])
		}
	}
}

func TestCase011_DangerousRedirects(t *testing.T) {
	s := newServer(t)
	for _, uri := range []string{
		"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "blob:https://a/b", "vbscript:x", "about:blank",
		"http://evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/cb", "http://localhost@evil.example/cb",
		"http://2130706433/cb", "http://0x7f.1/cb", "http://[::ffff:127.0.0.1]/cb", "http://0.0.0.0/cb",
		"https://a.example/cb#fragment", "https://user:pw@a.example/cb", "/cb", "//a.example/cb", "https:///cb", "",
		"https://a.example/c\nb", "https://a.example\\@evil.example/", "https://a.example/\x00",
	} {
		raw, err := json.Marshal(map[string]any{"redirect_uris": []string{testkit.DefaultRedirect, uri}})
		s.Must(err)
		res := s.PostJSON("/oauth/register", string(raw))
		if res.Status != http.StatusBadRequest || res.Member("error") != "invalid_redirect_uri" {
			t.Errorf("%q: %d %s", uri, res.Status, res.Body)
		}
	}
}

func TestCase012_MixedRedirects(t *testing.T) {
	s := newServer(t)
	uris := []string{
		"cursor://anysphere.cursor-mcp/oauth/callback", "com.example.app:/callback", "vscode://x.y/z", "https://a.example/cb?tenant=1",
		"http://localhost/cb", "http://127.0.0.1:33418/", "http://[::1]:9/cb",
	}
	raw, err := json.Marshal(map[string]any{"redirect_uris": uris, "token_endpoint_auth_method": "none", "application_type": "native"})
	s.Must(err)
	res := s.PostJSON("/oauth/register", string(raw))
	wantStatus(t, res, http.StatusCreated)
	var echoed struct {
		Redirects []string `json:"redirect_uris"`
	}
	s.Must(res.JSON(&echoed))
	if strings.Join(echoed.Redirects, " ") != strings.Join(uris, " ") {
		t.Errorf("echoed %q", echoed.Redirects)
	}
	c := s.Register(string(raw))
	for _, uri := range uris {
		res := s.Browser().Get(c.AuthorizeURL(func(v url.Values) { v.Set("redirect_uri", uri) }))
		if res.Status != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), "/login?") {
			t.Errorf("%s: %d to %q", uri, res.Status, res.Header.Get("Location"))
		}
	}
}

func TestCase013_RegistrationIsForgivingWhereItMayBe(t *testing.T) {
	s := newServer(t)
	res := s.PostJSON("/oauth/register", `{"redirect_uris":["`+testkit.DefaultRedirect+`"],"grant_types":["authorization_code","magic","refresh_token"],
		"scope":"","unknown":{"a":[1]},"contacts":[],"software_version":"","client_name":""}`)
	wantStatus(t, res, http.StatusCreated)
	if strings.Contains(res.Body, "magic") || strings.Contains(res.Body, "unknown") || strings.Contains(res.Body, "null") || strings.Contains(res.Body, `""`) {
		t.Errorf("answer: %s", res.Body)
	}
	wantOAuthError(t, s.PostJSON("/oauth/register", `{"client_name":"x"}`), 400, "invalid_redirect_uri")
	wantOAuthError(t, s.PostJSON("/oauth/register", `{"redirect_uris":["https://a.example/"],"jwks":{"keys":[]},"jwks_uri":"https://a.example/k"}`), 400, "invalid_client_metadata")
}

func TestCase015_TamperedClientIDsAreUnknown(t *testing.T) {
	s, elsewhere := newServer(t), newServer(t)
	c := s.Register()
	middle := len(c.ID) / 2
	flipped := byte('A')
	if c.ID[middle] == 'A' {
		flipped = 'B'
	}
	for name, id := range map[string]string{
		"flipped": c.ID[:middle] + string(flipped) + c.ID[middle+1:], "truncated": c.ID[:len(c.ID)-1], "longer": c.ID + "A",
		"foreign": elsewhere.Register().ID, "empty": "c1.", "upper case": strings.ToUpper(c.ID),
	} {
		bad := *c
		bad.ID = id
		if res := s.Browser().Get(bad.AuthorizeURL()); res.Status != http.StatusUnauthorized || res.Header.Get("Location") != "" {
			t.Errorf("%s at authorize: %d to %q", name, res.Status, res.Header.Get("Location"))
		}
		wantOAuthError(t, bad.Renew("orl_rt_x"), 401, "invalid_client")
		res := s.Do(http.MethodPost, "/oauth/revoke", url.Values{"token": {"x"}, "client_id": {id}}.Encode(), "Content-Type", formType)
		wantOAuthError(t, res, 401, "invalid_client")
	}
}

func TestCase017_RegistrationsOfOneBodyAreIndependent(t *testing.T) {
	s := newServer(t)
	one, other := s.Register(), s.Register()
	if one.ID == other.ID {
		t.Fatal("two registrations got one id")
	}
	one.Connect("ada@example.com", "shop")
	other.Connect("ada@example.com", "shop")
	_, err := s.Admin.Authority.RevokeClient(t.Context(), one.Key(), shell)
	s.Must(err)
	wantOAuthError(t, one.Renew(one.Refresh), 400, "invalid_grant")
	wantStatus(t, other.Renew(other.Refresh), http.StatusOK)
}

func TestCase022_LogosAreNotLoaded(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"Logo","logo_uri":"https://tracker.example/logo.png","client_uri":"https://tracker.example/","redirect_uris":["` + testkit.DefaultRedirect + `"],"token_endpoint_auth_method":"none"}`)
	page := c.Consent(s.Browser(), "ada@example.com", c.AuthorizeURL())
	if strings.Contains(page.Body, "tracker.example/logo") || strings.Contains(page.Header.Get("Content-Security-Policy"), "tracker.example") {
		t.Errorf("the page would load a logo of the client's:\n%s", page.Body)
	}
}

// backErrors checks requests that are answered with an error at the redirect
// URI, with state and iss.
func backErrors(t *testing.T, tests map[string]func(url.Values), code string) {
	t.Helper()
	s := newServer(t)
	c := s.Register()
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			q := wantRedirectError(t, s, s.Browser().Get(c.AuthorizeURL(change)), code)
			if q.Get("state") != "some state" {
				t.Errorf("state = %q", q.Get("state"))
			}
		})
	}
}

func TestCase028_PKCEIsNeeded(t *testing.T) {
	backErrors(t, map[string]func(url.Values){
		"none":     func(v url.Values) { v.Del("code_challenge") },
		"plain":    set("code_challenge_method", "plain"),
		"default":  func(v url.Values) { v.Del("code_challenge_method") }, // RFC 7636 §4.3: plain
		"short":    set("code_challenge", "abc"),
		"long":     set("code_challenge", strings.Repeat("a", 44)),
		"alphabet": set("code_challenge", strings.Repeat("+", 43)),
	}, "invalid_request")
}

func TestCase036_IssBesideEveryAnswer(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	back := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop")
	if back.Query().Get("iss") != s.URL || back.Query().Get("code") == "" {
		t.Errorf("success: %s", back)
	}
	wantRedirectError(t, s, b.Get(c.AuthorizeURL(set("response_type", "token"))), "unsupported_response_type")
	var m map[string]any
	s.Must(s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "").JSON(&m))
	if m["authorization_response_iss_parameter_supported"] != true {
		t.Error("iss is sent and not advertised")
	}
}

func TestCase054_RedirectAtTheTokenEndpoint(t *testing.T) {
	s := newServer(t)
	for name, redirect := range map[string]string{"absent": "", "another port": "http://127.0.0.1:50000/callback"} {
		c := s.Register()
		b := s.Browser()
		code := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop").Query().Get("code")
		c.Redirect = redirect
		if res := c.Redeem(code); res.Status != http.StatusOK {
			t.Errorf("%s: %d %s", name, res.Status, res.Body)
		}
	}
	c := s.Register()
	b := s.Browser()
	code := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop").Query().Get("code")
	c.Redirect = "http://127.0.0.1:7777/elsewhere"
	wantOAuthError(t, c.Redeem(code), 400, "invalid_grant")
	c.Redirect = testkit.DefaultRedirect
	wantStatus(t, c.Redeem(code), http.StatusOK)
}

func TestCase055_ForeignResourceConsumesNothing(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	b := s.Browser()
	code := c.Allow(b, c.Consent(b, "ada@example.com", c.AuthorizeURL()), "shop").Query().Get("code")
	good := c.Resource
	for _, resource := range []string{"https://elsewhere.example/mcp", s.URL + "/mgmt/api/v1/teams/shop/mcp"} {
		c.Resource = resource
		wantOAuthError(t, c.Redeem(code), 400, "invalid_target")
	}
	c.Resource = good
	wantStatus(t, c.Redeem(code), http.StatusOK)
	token := c.Refresh
	c.Resource = "https://elsewhere.example/mcp"
	wantOAuthError(t, c.Renew(token), 400, "invalid_target")
	c.Resource = good
	wantStatus(t, c.Renew(token), http.StatusOK)
}

func TestCase057_ClientAuthentication(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"C","redirect_uris":["`+testkit.DefaultRedirect+`"]}`).Connect("ada@example.com", "shop")
	basic := func(user, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
	}
	refresh := func() url.Values {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}}
	}
	both := refresh()
	both.Set("client_id", c.ID)
	both.Set("client_secret", c.Secret)
	wantOAuthError(t, s.Do(http.MethodPost, "/oauth/token", both.Encode(), "Content-Type", formType, "Authorization", basic(c.ID, c.Secret)), 400, "invalid_request")
	for _, header := range []string{basic(c.ID, c.Secret), basic(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))} {
		wantStatus(t, s.Do(http.MethodPost, "/oauth/token", refresh().Encode(), "Content-Type", formType, "Authorization", header), http.StatusOK)
	}
	// Some clients repeat their id in the form, and send the header too.
	repeated := refresh()
	repeated.Set("client_id", c.ID)
	wantStatus(t, s.Do(http.MethodPost, "/oauth/token", repeated.Encode(), "Content-Type", formType, "Authorization", basic(c.ID, c.Secret)), http.StatusOK)
	// An empty secret is none.
	public := s.Register().Connect("ada@example.com", "shop")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {public.Refresh}, "client_id": {public.ID}, "client_secret": {""}}
	wantStatus(t, s.Do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", formType), http.StatusOK)
	wantStatus(t, s.Do(http.MethodPost, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {public.Refresh}}.Encode(),
		"Content-Type", formType, "Authorization", basic(public.ID, "")), http.StatusOK)
}

// A database that cannot be written is our fault, never the end of anybody's
// connection.
func TestCase060_StoreFailing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	driver, where, lock := "sqlite", filepath.Join(s.Dir, "oriel.db"), "BEGIN IMMEDIATE"
	if pgtest.Wanted() {
		driver, where, lock = "pgx", s.Settings().DatabaseURL, "BEGIN; LOCK TABLE grants"
	}
	db, err := sql.Open(driver, where)
	s.Must(err)
	defer db.Close() //nolint:errcheck // nothing is kept
	conn, err := db.Conn(t.Context())
	s.Must(err)
	_, err = conn.ExecContext(t.Context(), lock)
	s.Must(err)
	res := c.Renew(c.Refresh)
	wantOAuthError(t, res, http.StatusServiceUnavailable, "temporarily_unavailable")
	if res.Header.Get("Retry-After") == "" || strings.Contains(strings.ToLower(res.Body), "sql") {
		t.Errorf("%v %s", res.Header, res.Body)
	}
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	s.Must(err)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
}

func TestCase061_GrantsThatDoNotExist(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	for _, g := range []string{"password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer", "authorization_code "} {
		form := url.Values{"grant_type": {g}, "username": {"ada@example.com"}, "password": {testkit.Password}, "assertion": {"x"}}
		wantOAuthError(t, c.Token(form), 400, "unsupported_grant_type")
	}
}

func TestCase068_OldTokenInsideAndAfterTheWindow(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	other := s.Register().Connect("ada@example.com", "bank")
	first := c.Refresh
	for range 3 {
		wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	}
	newest := c.Refresh
	res := c.Renew(first)
	wantStatus(t, res, http.StatusOK)
	if got := res.Member("refresh_token"); got != newest {
		t.Error("an old token inside the window did not get the newest successor")
	}
	s.Clock.Advance(11 * time.Minute)
	wantOAuthError(t, c.Renew(first), 400, "invalid_grant")
	wantOAuthError(t, c.Renew(newest), 400, "invalid_grant")
	wantStatus(t, other.Renew(other.Refresh), http.StatusOK)
	if res := c.Call("tools/list", ""); res.Status != http.StatusUnauthorized {
		t.Errorf("the access token of the ended grant: %d", res.Status)
	}
}

func TestCase071_ResourceOnRefresh(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	for name, resource := range map[string]string{"none": "", "slash": s.URL + mcpPath + "/", "origin": s.URL, "origin slash": s.URL + "/"} {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}}
		if resource != "" {
			form.Set("resource", resource)
		}
		res := c.Token(form)
		wantStatus(t, res, http.StatusOK)
		claims, err := s.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(res.Member("access_token")), s.URL)
		s.Must(err)
		if claims.Audience != s.URL+mcpPath {
			t.Errorf("%s: audience %q", name, claims.Audience)
		}
	}
}

// The answer was lost and the server is another process by now.
func TestCase073_AnswerLost(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	token := c.Refresh
	lost := c.Renew(token)
	wantStatus(t, lost, http.StatusOK)
	s.Restart()
	again := c.Renew(token)
	wantStatus(t, again, http.StatusOK)
	if again.Member("refresh_token") != lost.Member("refresh_token") {
		t.Error("the retry got another successor")
	}
	wantStatus(t, c.Renew(again.Member("refresh_token")), http.StatusOK)
}

func TestCase090_BackThroughTheBrowserAfterRevocation(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	wantStatus(t, s.Do(http.MethodPost, "/oauth/revoke", url.Values{"token": {c.Refresh}, "client_id": {c.ID}}.Encode(), "Content-Type", formType), http.StatusOK)
	if res := c.Call("tools/list", ""); res.Status != http.StatusUnauthorized || !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%d %q", res.Status, res.Header.Get("WWW-Authenticate"))
	}
	wantOAuthError(t, c.Renew(c.Refresh), 400, "invalid_grant")
	c.Connect("ada@example.com", "shop")
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
}

// Fifty at once, over the wire.
func TestCase067_FiftyParallelRefreshes(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	token := c.Refresh
	answers := make([]testkit.Response, 50)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = c.Token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		})
	}
	wg.Wait()
	successors := make(map[string]int)
	for _, res := range answers {
		wantStatus(t, res, http.StatusOK)
		successors[res.Member("refresh_token")]++
	}
	if len(successors) != 1 {
		t.Errorf("%d successors", len(successors))
	}
}
