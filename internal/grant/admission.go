package grant

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

// The admission policies: which clients people may connect at all.
const (
	AdmitAnyone     = "anyone"
	AdmitDocuments  = "documents"
	AdmitListed     = "listed"
	AdmitRegistered = "registered"
)

// Admission says which clients an organization lets in. Clients that an
// administrator registered are always in. The zero value admits only those.
type Admission struct {
	// Policy is one of the Admit constants.
	Policy string
	// Allowed says who is listed. An entry is a host ("claude.ai"), any name
	// below one ("*.example.com"), a loopback host ("localhost"), an app's
	// scheme ("cursor:"), a document's URL, or the name of a product that we
	// know ("cursor").
	Allowed []string
}

// products are the redirect URIs of well-known products that register
// themselves; a loopback port is free, as everywhere.
var products = map[string][]string{
	"chatgpt":     {"https://chatgpt.com/connector_platform_oauth_redirect", "https://chatgpt.com/oauth/callback", "https://chat.openai.com/oauth/callback"},
	"claude":      {"https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"},
	"claude-code": {"http://localhost/callback", "http://127.0.0.1/callback", "claude://claude.ai/mcp-auth-callback/sdk"},
	"cline":       {"http://127.0.0.1/mcp/oauth/callback"},
	"codex":       {"http://localhost/callback", "http://127.0.0.1/callback"},
	"cursor":      {"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"},
	"gemini-cli":  {"http://localhost/oauth/callback"},
	"goose":       {"http://localhost/oauth_callback"},
	"inspector":   {"http://localhost:6274/oauth/callback", "http://localhost:6274/oauth/callback/debug", "http://127.0.0.1:6276/oauth/callback"},
	"mcp-remote":  {"http://localhost/oauth/callback", "http://127.0.0.1/oauth/callback"},
	"vscode":      {"https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect", "http://127.0.0.1:33418/"},
	"zed":         {"http://127.0.0.1/callback"},
}

// Check refuses a policy that does not exist and entries that can match
// nothing.
func (a Admission) Check() error {
	if !slices.Contains([]string{AdmitAnyone, AdmitDocuments, AdmitListed, AdmitRegistered}, a.Policy) {
		return fmt.Errorf("clients admission %q: choose anyone, documents, listed or registered", a.Policy)
	}
	for _, e := range a.Allowed {
		switch {
		case strings.Contains(e, "://"):
			if _, err := spec.ParseClientIDURL(e); err != nil {
				return fmt.Errorf("allowed client %q: %w", e, err)
			}
		case strings.HasSuffix(e, ":"), isLoopbackName(e), products[e] != nil:
		case !strings.Contains(strings.TrimPrefix(e, "*."), ".") || strings.ContainsAny(e, "/:@ "):
			return fmt.Errorf("allowed client %q: write a host (claude.ai, *.example.com, localhost), an app's scheme (cursor:), a document's URL, or one of %s",
				e, strings.Join(slices.Sorted(maps.Keys(products)), ", "))
		}
	}
	return nil
}

// Admits says whether a client may connect.
func (a Admission) Admits(c Client) bool {
	if c.Kind == Registered {
		return true
	}
	switch a.Policy {
	case AdmitAnyone:
		return true
	case AdmitDocuments:
		return c.Kind == Document
	case AdmitListed:
		return a.lists(c)
	}
	return false
}

// RegistersItself says whether any client that registers itself may be let
// in.
func (a Admission) RegistersItself() bool { return a.Policy == AdmitAnyone || a.Policy == AdmitListed }

// lists says whether the list has the client. What a self-registered client
// says about itself proves nothing but where the answers go: every one of its
// redirect URIs must be listed.
func (a Admission) lists(c Client) bool {
	switch c.Kind {
	case Document:
		hosts := Client{ID: c.ID, Kind: Document}.Hosts()
		return slices.Contains(a.Allowed, string(c.ID)) || (len(hosts) == 1 && a.listsHost(hosts[0]))
	case SelfRegistered:
		return len(c.Metadata.RedirectURIs) > 0 && !slices.ContainsFunc(c.Metadata.RedirectURIs, func(u spec.RedirectURI) bool { return !a.listsRedirect(u) })
	}
	return false
}

func (a Admission) listsHost(host string) bool {
	return slices.ContainsFunc(a.Allowed, func(e string) bool {
		below, wild := strings.CutPrefix(strings.ToLower(e), "*")
		return strings.EqualFold(e, host) || (wild && strings.HasPrefix(below, ".") && strings.HasSuffix(host, below) && len(host) > len(below))
	})
}

func (a Admission) listsRedirect(u spec.RedirectURI) bool {
	if u.IsPrivateUse() {
		if slices.Contains(a.Allowed, u.Scheme()+":") {
			return true
		}
	} else if a.listsHost(hostOf(u)) {
		return true
	}
	for _, e := range a.Allowed {
		for _, text := range products[e] {
			if known, err := spec.ParseRedirectURI(text); err == nil && known.SameButLoopbackPort(u) {
				return true
			}
		}
	}
	return false
}

// hostOf returns the host of an http or https redirect, without its port.
func hostOf(u spec.RedirectURI) string {
	host := u.Host()
	if strings.HasPrefix(host, "[") {
		return strings.Trim(host[:strings.IndexByte(host, ']')+1], "[]")
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

func isLoopbackName(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
