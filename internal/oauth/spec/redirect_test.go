package spec

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

var acceptedRedirects = []string{
	"https://www.cursor.com/agents/mcp/oauth/callback",
	"https://claude.ai/api/mcp/auth_callback",
	"https://example.com",
	"https://example.com:8443/cb?a=b&c=d%20e",
	"https://xn--bcher-kva.example/cb",
	"https://192.0.2.1/cb",
	"https://[2001:db8::1]:444/cb",
	"https://localhost:3000/cb",
	"https://global.consent.azure-apim.net/redirect/cr938-5fexample-20mcp-5f43bcb8573bc3e84",
	"HTTPS://Example.com/Cb",
	"http://localhost/callback",
	"http://localhost:3118/callback",
	"http://127.0.0.1/",
	"http://127.0.0.1:33418",
	"http://[::1]:5000/cb",
	"http://[::1]/cb",
	"cursor://anysphere.cursor-mcp/oauth/callback",
	"cursor://anysphere.cursor-mcp/oauth/user-jo/callback",
	"claude://claude.ai/mcp-auth-callback/sdk",
	"com.example.app:/cb",
	"com.example.app:///cb",
	"vscode://saoudrizwan.claude-dev/mcp-auth/callback/abc",
	"vscode-insiders://vendor.ext/cb",
	"windsurf://codeium.windsurf/cb",
	"mcpjam://oauth/callback",
	"grokbot://mcp/oauth/callback",
	"x-my+app.v2://cb",
}

// Case 11 of the authorization cases.
var refusedRedirects = []string{
	"",
	"/cb", "cb", "//example.com/cb", "?x", "localhost:8080/cb", "example.com/cb", "127.0.0.1:80/cb", ":/cb", "://x/y",
	"javascript:alert(1)", "JavaScript:alert(1)", "javascript://example.com/%0aalert(1)", "java\nscript:alert(1)",
	" javascript:alert(1)", "\x01javascript:alert(1)", "data:text/html,x", "data://x/y", "file:///etc/passwd", "file://host/x",
	"blob:https://example.com/1", "blob:/x", "vbscript:x", "vbscript:/x", "about:blank", "about:/x", "view-source:https://example.com/",
	"view-source:/x", "filesystem:https://example.com/temporary/x", "filesystem:/x", "ws://example.com/", "wss://example.com/",
	"ftp://example.com/", "mailto:a@example.com", "mailto:/a", "tel:/1", "tel:+1", "sms:/1", "intent://x#Intent;end", "intent://x/y",
	"chrome://settings", "chrome-extension://abc/cb.html", "ms-settings:/x", "ms-msdt:/id", "ms-word:/ofe", "ms-appinstaller:/x",
	"jar:/x", "resource://x/y", "moz-extension://x/y", "search-ms:/q", "shell:/x", "smb://host/x", "ldap://h/x", "ssh://h/x",
	"itms-services://x/y", "shortcuts://run", "x-apple.systempreferences:/x", "microsoft-edge:/x", "c:/windows", "C:/x",
	"urn:ietf:wg:oauth:2.0:oob", "myapp:cb", "web+app://x/y", "android-app://x/y", "content://x/y", "steam://run/1",
	"http://example.com/cb", "http://localhost.evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://127.1/cb",
	"http://2130706433/cb", "http://0x7f.0.0.1/cb", "http://0x7f000001/cb", "http://0177.0.0.1/cb", "http://127.0.0.2/cb",
	"http://[::ffff:127.0.0.1]/cb", "http://[0:0:0:0:0:0:0:1]/cb", "http://[::1%25lo]/cb", "http://localhost./cb",
	"http://LOCALHOST/cb", "http://0.0.0.0/cb", "http://10.0.0.1/cb", "http://evil@localhost/cb", "http://localhost@evil.example/cb",
	"http://localhost:80@evil.example/cb", "http://localhost\\@evil.example/cb", "http://localhost%2eevil.example/cb",
	"http://localhost:/cb", "http://localhost:0/cb", "http://localhost:080/cb", "http://localhost:65536/cb", "http://localhost:a/cb",
	"http:/localhost/cb", "http:localhost/cb", "http:///cb",
	"https://127.1/cb", "https://0x7f.1/cb", "https://2130706433/cb", "https://1.2.3.4.5/", "https://a.0x10/",
	"https:///cb", "https:example.com/cb", "https:/example.com/cb", "https://:443/cb", "https://user@example.com/", "https://user:pw@example.com/",
	"https://@example.com/", "https://exa mple.com/", "https://example.com/a b", "https://example.com/\\x", "https://example.com\\@evil/",
	"https://example.com/#", "https://example.com/#x", "https://example.com/cb?x#y", "https://example.com/\tx", "https://example.com/\r\nX: y",
	"https://example.com/\x00", "https://example.com/é", "https://bücher.example/", "https://example.com/%", "https://example.com/%zz",
	"https://ex%61mple.com/", "https://example..com/", "https://.example.com/", "https://[::1", "https://[::1]x/", "https://[fe80::1%25en0]/",
	"https://exa;mple.com/", "https://exam'ple.com/", "https://example.com,evil.example/", "https://example.com/<x>", `https://example.com/"x"`,
	"cursor://user@host/cb", "cursor://ho st/cb", "cursor://h#x", "cursor:// /x", "cursor://[::1]/x", "cursor://h;script-src/x", "cur_sor://x/y", "1app://x/y",
	"https://example.com/" + strings.Repeat("a", maxURIBytes),
}

func TestRFC8252_7_AcceptedRedirects(t *testing.T) {
	for _, s := range acceptedRedirects {
		u, err := ParseRedirectURI(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if u.String() != s {
			t.Errorf("%s prints as %s", s, u)
		}
	}
}

func TestRFC9700_4_1_RefusedRedirects(t *testing.T) {
	for _, s := range refusedRedirects {
		if u, err := ParseRedirectURI(s); err == nil || u != (RedirectURI{}) {
			t.Errorf("%q was accepted", s)
		} else if len(s) > 3 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the text: %v", err)
		}
	}
}

func TestEveryListedSchemeIsRefused(t *testing.T) {
	for _, scheme := range refusedSchemes {
		for _, s := range []string{scheme + "://x/y", scheme + ":/x", strings.ToUpper(scheme) + "://x/y"} {
			if _, err := ParseRedirectURI(s); err == nil {
				t.Errorf("%s was accepted", s)
			}
		}
	}
}

func redirects(t *testing.T, texts ...string) []RedirectURI {
	t.Helper()
	var us []RedirectURI
	for _, s := range texts {
		u, err := ParseRedirectURI(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		us = append(us, u)
	}
	return us
}

// Case 26 of the authorization cases.
func TestRFC8252_7_3_LoopbackPortIsFree(t *testing.T) {
	for _, tc := range []struct {
		registered, requested string
		match                 bool
	}{
		{"http://localhost:3118/callback", "http://localhost:50000/callback", true},
		{"http://localhost/callback", "http://localhost:50000/callback", true},
		{"http://localhost:3118/callback", "http://localhost/callback", true},
		{"http://127.0.0.1/", "http://127.0.0.1:9/", true},
		{"http://[::1]:1/cb", "http://[::1]:2/cb", true},
		{"http://[::1]/cb", "http://[::1]:2/cb", true},
		{"http://localhost/cb?x=1", "http://localhost:5/cb?x=1", true},
		{"https://example.com/cb", "https://example.com/cb", true},
		{"cursor://a/cb", "cursor://a/cb", true},

		{"http://localhost/cb", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1/cb", "http://[::1]/cb", false},
		{"http://127.0.0.1/cb", "http://localhost/cb", false},
		{"http://localhost/cb", "http://localhost:5/cb/", false},
		{"http://localhost/cb", "http://localhost:5/CB", false},
		{"http://localhost/cb", "http://localhost:5/cb?x=1", false},
		{"http://localhost/cb", "http://localhost:5/cb?", false},
		{"http://localhost", "http://localhost:5/", false},
		{"http://localhost/cb", "https://localhost/cb", false},
		{"https://localhost:1/cb", "https://localhost:2/cb", false},
		{"https://example.com/cb", "https://example.com:443/cb", false},
		{"https://example.com/cb", "https://EXAMPLE.com/cb", false},
		{"https://example.com/cb", "https://example.com/cb/", false},
		{"https://example.com/cb", "https://example.com/cb?x", false},
		{"https://example.com/cb", "https://example.com/c%62", false},
		{"https://example.com/cb", "https://evil.example/cb", false},
		{"cursor://a/cb", "cursor://a:1/cb", false},
		{"cursor://a/cb", "Cursor://a/cb", false},
	} {
		got, err := MatchRedirectURI(redirects(t, "https://other.example/", tc.registered), tc.requested)
		if (err == nil) != tc.match {
			t.Errorf("registered %s, requested %s: %v", tc.registered, tc.requested, err)
		}
		if tc.match && got.String() != tc.requested {
			t.Errorf("requested %s, got %s", tc.requested, got)
		}
		if !tc.match && !errors.Is(err, ErrRedirectURINotRegistered) {
			t.Errorf("requested %s: %v", tc.requested, err)
		}
	}
}

// Case 27 of the authorization cases.
func TestRFC6749_3_1_2_3_AbsentRedirect(t *testing.T) {
	one := redirects(t, "https://a.example/")
	if got, err := MatchRedirectURI(one, ""); err != nil || got != one[0] {
		t.Errorf("one registered: %v, %v", got, err)
	}
	for _, registered := range [][]RedirectURI{nil, {{}}, redirects(t, "https://a.example/", "https://b.example/")} {
		if _, err := MatchRedirectURI(registered, ""); !errors.Is(err, ErrRedirectURIMissing) {
			t.Errorf("%v registered: %v", registered, err)
		}
	}
	if _, err := MatchRedirectURI([]RedirectURI{{}}, "javascript:alert(1)"); err == nil {
		t.Error("a refused scheme matched")
	}
}

func TestRedirectURIShown(t *testing.T) {
	for _, tc := range []struct{ in, destination, csp, host string }{
		{"http://localhost:3118/cb", "localhost (this computer)", "http://localhost:3118", "localhost"},
		{"http://127.0.0.1/", "127.0.0.1 (this computer)", "http://127.0.0.1", "127.0.0.1"},
		{"http://[::1]:5/", "[::1] (this computer)", "http:", "[::1]"},
		{"https://localhost:5/", "localhost (this computer)", "https://localhost:5", "localhost"},
		{"https://Claude.ai/cb?x", "claude.ai", "https://claude.ai", "claude.ai"},
		{"https://a.example:8443/", "a.example:8443", "https://a.example:8443", "a.example"},
		{"claude://claude.ai/x", "claude: (an app on this computer)", "claude:", "claude.ai"},
		{"com.example.app:/cb", "com.example.app: (an app on this computer)", "com.example.app:", ""},
	} {
		u := redirects(t, tc.in)[0]
		if u.Destination() != tc.destination || u.CSPSource() != tc.csp || u.Host() != tc.host {
			t.Errorf("%s: %q %q %q", tc.in, u.Destination(), u.CSPSource(), u.Host())
		}
	}
	var zero RedirectURI
	if zero.IsLoopback() || zero.IsPrivateUse() || zero.CSPSource() != "'none'" || zero.SameButLoopbackPort(zero) {
		t.Error("the zero value is taken for a place")
	}
}

// Case 37 of the authorization cases.
func TestRFC6749_4_1_2_ExistingQueryStays(t *testing.T) {
	params := url.Values{"state": {"a b+c&d=e://ü"}, "code": {"xyz"}}
	const added = "code=xyz&state=a%20b%2Bc%26d%3De%3A%2F%2F%C3%BC"
	for in, want := range map[string]string{
		"https://a.example/cb":          "https://a.example/cb?" + added,
		"https://a.example":             "https://a.example?" + added,
		"https://a.example/cb?":         "https://a.example/cb?" + added,
		"https://a.example/cb?z=1+2&b=": "https://a.example/cb?z=1+2&b=&" + added,
		"https://a.example/cb?z&":       "https://a.example/cb?z&" + added,
		"com.example.app:/cb":           "com.example.app:/cb?" + added,
	} {
		got := redirects(t, in)[0].With(params)
		if got != want {
			t.Errorf("%s: got %s", in, got)
		}
		u, err := url.Parse(got)
		if err != nil || u.Query().Get("state") != "a b+c&d=e://ü" {
			t.Errorf("%s: does not read back: %v", got, err)
		}
	}
}

func FuzzParseRedirectURI(f *testing.F) {
	for _, s := range append(acceptedRedirects, refusedRedirects...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRedirectURI(s)
		if err != nil {
			return
		}
		if r.String() != s {
			t.Fatalf("%q prints as %q", s, r)
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", s, err)
		}
		if !strings.EqualFold(u.Scheme, r.Scheme()) || refusedScheme(strings.ToLower(u.Scheme)) {
			t.Fatalf("%q has scheme %q", s, u.Scheme)
		}
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if !strings.EqualFold(host, r.Host()) || u.User != nil || strings.ContainsAny(s, "# \\\r\n\t") {
			t.Fatalf("%q has host %q, we say %q", s, host, r.Host())
		}
		if u.Scheme == "http" && host != "localhost" && host != "127.0.0.1" && host != "[::1]" {
			t.Fatalf("%q is plain http", s)
		}
		if strings.ContainsAny(r.CSPSource(), " ;,'\"") {
			t.Fatalf("%q gives CSP source %q", s, r.CSPSource())
		}
		if m, err := MatchRedirectURI([]RedirectURI{r}, s); err != nil || m != r {
			t.Fatalf("%q does not match itself: %v", s, err)
		}
		with, err := url.Parse(r.With(url.Values{"code": {"a b"}}))
		if err != nil || with.Host != u.Host || with.Scheme != u.Scheme || with.Path != u.Path || !strings.HasPrefix(with.RawQuery, u.RawQuery) {
			t.Fatalf("%q becomes %v: %v", s, with, err)
		}
	})
}
