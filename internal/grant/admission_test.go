package grant

import (
	"testing"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

func clientWith(t *testing.T, kind ClientKind, id string, redirects ...string) Client {
	t.Helper()
	c := Client{ID: ClientID(id), Kind: kind}
	for _, text := range redirects {
		u, err := spec.ParseRedirectURI(text)
		if err != nil {
			t.Fatal(err)
		}
		c.Metadata.RedirectURIs = append(c.Metadata.RedirectURIs, u)
	}
	return c
}

func TestAdmissionLists(t *testing.T) {
	const doc = "https://app.example.com/c.json"
	for _, c := range []struct {
		name    string
		client  Client
		allowed []string
		want    bool
	}{
		{"host", clientWith(t, Document, doc), []string{"app.example.com"}, true},
		{"host in capitals", clientWith(t, Document, doc), []string{"App.Example.COM"}, true},
		{"name below", clientWith(t, Document, doc), []string{"*.example.com"}, true},
		{"the name itself is not below", clientWith(t, Document, "https://example.com/c.json"), []string{"*.example.com"}, false},
		{"a name that only ends alike", clientWith(t, Document, "https://notexample.com/c.json"), []string{"*.example.com", "example.com"}, false},
		{"document", clientWith(t, Document, doc), []string{doc}, true},
		{"another document", clientWith(t, Document, doc+"x"), []string{doc}, false},
		{"redirect host does not vouch for a document", clientWith(t, Document, "https://evil.example.net/c.json", "https://app.example.com/cb"), []string{"app.example.com"}, false},
		{"every redirect", clientWith(t, SelfRegistered, "", "https://app.example.com/cb", "http://localhost:1/"), []string{"app.example.com", "localhost"}, true},
		{"one is missing", clientWith(t, SelfRegistered, "", "https://app.example.com/cb", "https://evil.example.net/"), []string{"app.example.com"}, false},
		{"loopback is listed by its name", clientWith(t, SelfRegistered, "", "http://127.0.0.1:1/"), []string{"localhost"}, false},
		{"IPv6 loopback", clientWith(t, SelfRegistered, "", "http://[::1]:1/"), []string{"::1"}, true},
		{"scheme", clientWith(t, SelfRegistered, "", "cursor://anysphere.cursor-mcp/x"), []string{"cursor:"}, true},
		{"another scheme", clientWith(t, SelfRegistered, "", "vscode://x/y"), []string{"cursor:"}, false},
		{"product, any port", clientWith(t, SelfRegistered, "", "http://127.0.0.1:4711/callback"), []string{"claude-code"}, true},
		{"product, another path", clientWith(t, SelfRegistered, "", "http://127.0.0.1:4711/other"), []string{"claude-code"}, false},
		{"no redirects", clientWith(t, SelfRegistered, ""), []string{"localhost"}, false},
		{"registered", clientWith(t, Registered, "reg_x"), nil, true},
	} {
		a := Admission{AdmitListed, c.allowed}
		if err := a.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := a.Admits(c.client); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
	if (Admission{}).Admits(clientWith(t, SelfRegistered, "", "http://localhost/")) || (Admission{}).Admits(clientWith(t, Document, doc)) {
		t.Error("the zero value admits somebody")
	}
	for _, bad := range []string{"", "*.com", "nonsense", "http://example.com/x", "example.com/path", "a b.c", "*"} {
		if (Admission{AdmitListed, []string{bad}}).Check() == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for name, uris := range products {
		for _, text := range uris {
			if _, err := spec.ParseRedirectURI(text); err != nil {
				t.Errorf("%s: %q: %v", name, text, err)
			}
		}
	}
}

func TestHosts(t *testing.T) {
	c := clientWith(t, Document, "https://App.Example.com/c", "https://cb.example.com:8443/x", "https://cb.example.com/y", "http://localhost/", "cursor://host/x")
	if got := c.Hosts(); len(got) != 2 || got[0] != "app.example.com" || got[1] != "cb.example.com" {
		t.Errorf("%v", got)
	}
}
