package spec

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

var (
	// ErrRedirectURIMissing says that the request names no redirect URI and the client has none or several.
	ErrRedirectURIMissing = errors.New("the request names no redirect_uri and the client has not registered exactly one")
	// ErrRedirectURINotRegistered says that the requested redirect URI is none of the client's.
	ErrRedirectURINotRegistered = errors.New("the redirect_uri is none of those that the client registered")
)

// RedirectURI is a place where an authorization response may go. It is made only by ParseRedirectURI, so whoever holds
// one knows that its scheme and host are acceptable; whether it belongs to a client is what MatchRedirectURI says.
// The zero value is no place: it matches nothing and prints as the empty string. Values can be compared with ==.
type RedirectURI struct {
	raw    string
	scheme string // lower case
	host   string // without port, brackets kept, case kept
	port   string // "" when absent
	rest   string // path and query, byte for byte
}

// loopbackHosts are different hosts to a browser, so they are never exchanged for one another.
var loopbackHosts = []string{"localhost", "127.0.0.1", "[::1]"}

// refusedSchemes are schemes that run something, read or show local content, or hand the response to a program that
// did not ask for it. http is treated apart: it is accepted for loopback hosts.
var refusedSchemes = []string{
	// Scripts and documents made of their own address.
	"javascript", "vbscript", "vbs", "jscript", "livescript", "mocha", "data", "blob", "about", "srcdoc", "wyciwyg",
	"view-source", "filesystem", "feed", "pcast", "mhtml", "mk", "its", "jar", "cid", "mid", "unsafe", "null",
	// Insides of browsers.
	"resource", "res", "moz", "opera", "brave", "vivaldi", "edge", "safari", "microsoft-edge", "devtools", "isolated-app",
	// Local and remote files.
	"file", "content", "android-app", "android-resource", "intent", "intents", "shell", "smb", "cifs", "nfs", "afp", "dav",
	"davs", "webdav", "ftp", "ftps", "sftp", "tftp", "scp", "rsync", "ipfs", "ipns", "magnet", "torrent",
	// Other protocols that programs open without asking.
	"ws", "wss", "gopher", "dict", "ldap", "ldaps", "news", "nntp", "snews", "imap", "imaps", "pop", "smtp", "irc", "ircs",
	"ssh", "telnet", "tn3270", "rlogin", "rdp", "vnc", "git", "svn", "cvs", "hg", "jdbc", "redis", "mongodb", "postgres",
	"postgresql", "mysql", "amqp", "mqtt", "stun", "turn", "coap", "coaps",
	// Messages, calls, money, shops.
	"mailto", "tel", "telprompt", "sms", "smsto", "mms", "mmsto", "facetime", "facetime-audio", "callto", "sip", "sips",
	"xmpp", "im", "geo", "maps", "market", "itms", "itmss", "itms-apps", "itms-appss", "itms-services", "bitcoin",
	"ethereum", "lightning", "payto", "upi", "wtai", "otpauth",
	// Handlers that run or configure things.
	"search", "search-ms", "hcp", "help", "cmd", "powershell", "pwsh", "terminal", "applescript", "shortcuts", "workflow",
	"automator", "prefs", "app-prefs", "app-settings", "jnlp", "jnlps", "steam", "bluetooth", "onenote", "onenote-cmd",
	// Names, not places.
	"urn", "acct", "tag", "did", "doi", "info", "openpgp4fpr", "localhost",
}

// refusedSchemePrefixes are families of such schemes: browsers' insides, and Windows' and Apple's handlers.
var refusedSchemePrefixes = []string{"chrome", "moz-", "ms-", "edge-", "x-apple", "x-man-page", "x-help", "safari-", "web+", "ext+", "itms-", "intent+"}

// refusedScheme reports whether a lower-case scheme is never a redirect target.
func refusedScheme(scheme string) bool {
	// One letter is a drive on Windows, not a scheme.
	return len(scheme) < 2 || slices.Contains(refusedSchemes, scheme) ||
		slices.ContainsFunc(refusedSchemePrefixes, func(p string) bool { return strings.HasPrefix(scheme, p) })
}

// ParseRedirectURI accepts https for any host, http for the hosts localhost, 127.0.0.1 and [::1], and private-use
// schemes (RFC 8252 §7) with or without authority. It refuses everything else: dangerous schemes, fragments, user
// information, relative references, characters outside RFC 3986, more than 2048 bytes. The same rules hold at
// registration and at the authorization endpoint. Errors say what is wrong without repeating the text.
//
// Departure: OAuth 2.1 and MCP want private-use schemes to be reverse domain names; cursor:, vscode: and claude: are not.
func ParseRedirectURI(s string) (RedirectURI, error) {
	u, err := parseURI(s)
	if err != nil {
		return RedirectURI{}, fmt.Errorf("redirect URI %w", err)
	}
	r := RedirectURI{raw: s, scheme: strings.ToLower(u.Scheme), port: u.Port()}
	r.host = strings.TrimSuffix(u.Host, ":"+r.port)
	after := s[len(u.Scheme)+1:]
	authority := strings.HasPrefix(after, "//")
	r.rest = after
	if authority {
		r.rest = after[2+len(u.Host):]
	}
	switch {
	case refusedScheme(r.scheme):
		return RedirectURI{}, errors.New("redirect URI has a scheme that is not allowed")
	case r.scheme == "https" || r.scheme == "http":
		if !authority {
			return RedirectURI{}, errors.New("redirect URI has no host")
		}
		if err := checkWebHost(u.Hostname()); err != nil {
			return RedirectURI{}, fmt.Errorf("redirect URI %w", err)
		}
		if r.scheme == "http" && !slices.Contains(loopbackHosts, r.host) {
			return RedirectURI{}, errors.New("redirect URI uses http with a host other than localhost, 127.0.0.1 or [::1]")
		}
	case !strings.HasPrefix(after, "/"):
		// RFC 8252 §7.1 has at least one slash. Without this rule "localhost:8080/cb" would be a scheme of its own.
		return RedirectURI{}, errors.New("redirect URI has no slash after its scheme")
	case strings.HasPrefix(r.host, "["):
		return RedirectURI{}, errors.New("redirect URI has a private-use scheme with an IP address")
	}
	return r, nil
}

// MatchRedirectURI returns where the response of a request goes. The requested text must equal a registered one byte
// for byte, but for the port of an http loopback redirect, which is free (RFC 8252 §7.3) whether or not one was
// registered; the result then carries the requested port. localhost, 127.0.0.1 and [::1] are different hosts.
// An empty requested text stands for the only registered URI (RFC 6749 §3.1.2.3).
//
// Errors: ErrRedirectURIMissing, ErrRedirectURINotRegistered, or what ParseRedirectURI says. They are shown on a page,
// never sent anywhere (OAuth 2.1 §4.1.2.1).
func MatchRedirectURI(registered []RedirectURI, requested string) (RedirectURI, error) {
	if requested == "" {
		if len(registered) != 1 || registered[0] == (RedirectURI{}) {
			return RedirectURI{}, ErrRedirectURIMissing
		}
		return registered[0], nil
	}
	want, err := ParseRedirectURI(requested)
	if err != nil {
		return RedirectURI{}, err
	}
	for _, r := range registered {
		if r.raw == want.raw || r.sameButPort(want) {
			return want, nil
		}
	}
	return RedirectURI{}, ErrRedirectURINotRegistered
}

// SameButLoopbackPort reports whether two redirect URIs are equal, the port of http loopback ones aside. The token
// endpoint compares redirect_uri this way: clients change their port between the two requests.
func (r RedirectURI) SameButLoopbackPort(o RedirectURI) bool {
	return r.raw != "" && (r.raw == o.raw || r.sameButPort(o))
}

func (r RedirectURI) sameButPort(o RedirectURI) bool {
	return r.IsLoopback() && o.IsLoopback() && r.host == o.host && r.rest == o.rest
}

// String returns the text that was parsed, byte for byte.
func (r RedirectURI) String() string { return r.raw }

// IsLoopback reports whether this is an http redirect to a program on the person's own computer.
func (r RedirectURI) IsLoopback() bool { return r.scheme == "http" }

// IsPrivateUse reports whether the scheme belongs to an app.
func (r RedirectURI) IsPrivateUse() bool {
	return r.raw != "" && r.scheme != "http" && r.scheme != "https"
}

// Scheme returns the scheme in lower case.
func (r RedirectURI) Scheme() string { return r.scheme }

// Host returns the host without port, IPv6 in brackets, in lower case; empty when there is none.
func (r RedirectURI) Host() string { return strings.ToLower(r.host) }

// Destination names the place for a person: the host of a web site, "localhost (this computer)", or the app's scheme.
// An app's authority is left out, since anyone may write any name there.
func (r RedirectURI) Destination() string {
	switch {
	case r.raw == "":
		return ""
	case r.IsPrivateUse():
		return r.scheme + ": (an app on this computer)"
	case slices.Contains(loopbackHosts, r.Host()):
		return r.Host() + " (this computer)"
	case r.port != "" && r.port != "443":
		return r.Host() + ":" + r.port
	}
	return r.Host()
}

// CSPSource returns the source expression that lets a form's redirect through in Content-Security-Policy form-action
// (CSP Level 3 §2.3.1): an origin, or "scheme:" for apps. It holds no character that could end the directive.
func (r RedirectURI) CSPSource() string {
	switch {
	case r.raw == "":
		return "'none'"
	case r.IsPrivateUse():
		return r.scheme + ":"
	case strings.HasPrefix(r.host, "["):
		// The grammar has no IPv6 hosts; browsers would drop the whole expression.
		return r.scheme + ":"
	case r.port != "":
		return r.scheme + "://" + r.Host() + ":" + r.port
	}
	return r.scheme + "://" + r.Host()
}

// With returns the URI with parameters added behind its own query, which stays as it is (RFC 6749 §4.1.2). Parameters
// are sorted by name, spaces become %20: apps that decode by RFC 3986 would keep a plus sign.
func (r RedirectURI) With(params url.Values) string {
	if len(params) == 0 {
		return r.raw
	}
	// A literal plus is already %2B here, so every plus left is a space.
	query := strings.ReplaceAll(params.Encode(), "+", "%20")
	switch {
	case !strings.Contains(r.raw, "?"):
		return r.raw + "?" + query
	case strings.HasSuffix(r.raw, "?") || strings.HasSuffix(r.raw, "&"):
		return r.raw + query
	}
	return r.raw + "&" + query
}

// MarshalText returns the URI as it was given.
func (r RedirectURI) MarshalText() ([]byte, error) { return []byte(r.raw), nil }

// UnmarshalText reads what MarshalText wrote, by the rules of ParseRedirectURI.
func (r *RedirectURI) UnmarshalText(b []byte) error {
	parsed, err := ParseRedirectURI(string(b))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
