package spec

import (
	"fmt"
	"strings"
	"testing"
)

const documentURL = "https://client.example/oauth/client.json"

// Case 20 of the authorization cases, as far as no name need be resolved.
func TestClientIDMetadataDocument_3_URL(t *testing.T) {
	for _, s := range []string{
		documentURL,
		"https://vscode.dev/oauth/client-metadata.json",
		"https://claude.ai/oauth/claude-code-client-metadata",
		"https://chatgpt.com/oauth/codex/abc/client.json",
		"https://www.mcpjam.com/.well-known/oauth/client-metadata.json",
		"https://client.example:8443/c?v=1",
	} {
		if u, err := ParseClientIDURL(s); err != nil || u.String() != s || !IsClientIDURL(s) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "client", "http://client.example/c", "HTTPS://client.example/c", "https://Client.example/c", "https://client.example", "https://client.example/",
		"https://client.example/c#", "https://client.example/c#x", "https://u@client.example/c", "https://u:p@client.example/c",
		"https://client.example/a/../c", "https://client.example/./c", "https://client.example/c/..", "https://client.example/%2e%2e/c",
		"https://client.example/%2E/c", "https://127.0.0.1/c", "https://10.0.0.1/c", "https://169.254.169.254/latest", "https://8.8.8.8/c",
		"https://2130706433/c", "https://0x7f000001/c", "https://0x7f.1/c", "https://127.1/c", "https://0177.0.0.1/c", "https://[::1]/c",
		"https://[::ffff:127.0.0.1]/c", "https://[fe80::1]/c", "https://localhost/c", "https://a.localhost/c", "https://localhost./c",
		"https:///c", "https:client.example/c", "https://client.example\\@evil/c", "https://client.example/ c", "https://client.example/é",
		"https://client.example:0/c", "https://client.example:/c", "https://client.example/" + strings.Repeat("a", maxURIBytes),
	} {
		if _, err := ParseClientIDURL(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// Cases 18 and 23 of the authorization cases.
func TestClientIDMetadataDocument_4_Accepted(t *testing.T) {
	for _, tc := range []struct {
		rest   string
		method string
		public bool
	}{
		{`"redirect_uris":["http://localhost/callback"]`, AuthNone, true},
		{`"redirect_uris":["http://localhost/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","urn:x:unknown"]`, AuthNone, true},
		{`"redirect_uris":["https://c.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://c.example/jwks"`, AuthPrivateKeyJWT, false},
		{`"redirect_uris":["https://c.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://c.example/jwks","token_endpoint_auth_methods_supported":["none","private_key_jwt"]`, AuthPrivateKeyJWT, true},
		{`"redirect_uris":["https://c.example/cb"],"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"]`, AuthNone, true},
		{`"redirect_uris":["https://c.example/cb"],"jwks_uri":"https://c.example/jwks","token_endpoint_auth_methods_supported":["private_key_jwt"]`, AuthPrivateKeyJWT, false},
		{`"redirect_uris":["http://dev.internal/cb","https://c.example/cb"]`, AuthNone, true},
	} {
		m, err := ParseClientDocument(documentURL, fmt.Appendf(nil, `{"client_id":%q,%s}`, documentURL, tc.rest))
		if err != nil || m.TokenEndpointAuthMethod != tc.method || m.IsPublic() != tc.public || len(m.RedirectURIs) != 1 || m.NeedsSecret() {
			t.Errorf("%s: %+v, %v", tc.rest, m, err)
		}
	}
}

// Case 19 of the authorization cases.
func TestClientIDMetadataDocument_4_Refused(t *testing.T) {
	const uris = `"redirect_uris":["https://c.example/cb"]`
	id := fmt.Sprintf(`"client_id":%q`, documentURL)
	for _, body := range []string{
		``, `<html>`, `{}`, `{` + uris + `}`, `{` + id + `}`, `{` + id + `,"redirect_uris":[]}`,
		`{` + id + `,"redirect_uris":["javascript:alert(1)"]}`,
		`{"client_id":"https://evil.example/c",` + uris + `}`,
		`{"client_id":"https://client.example/oauth/client.json/",` + uris + `}`,
		`{"client_id":"https://CLIENT.example/oauth/client.json",` + uris + `}`,
		`{` + id + `,` + id + `,` + uris + `}`,
		`{` + id + `,` + uris + `,"client_secret":"x"}`,
		`{` + id + `,` + uris + `,"client_secret":null}`,
		`{` + id + `,` + uris + `,"client_secret_expires_at":0}`,
		`{` + id + `,` + uris + `,"token_endpoint_auth_method":"client_secret_basic"}`,
		`{` + id + `,` + uris + `,"token_endpoint_auth_method":"client_secret_post"}`,
		`{` + id + `,` + uris + `,"token_endpoint_auth_method":"client_secret_jwt"}`,
		`{` + id + `,` + uris + `,"token_endpoint_auth_method":"private_key_jwt"}`,
		`{` + id + `,` + uris + `,"token_endpoint_auth_methods_supported":["client_secret_basic"]}`,
		`{` + id + `,` + uris + `,"jwks":{"keys":[{"kty":"oct","k":"AA"}]}}`,
		`{` + id + `,` + uris + `} trailing`,
		`{` + id + `,` + uris + `,"x":"` + strings.Repeat("x", MaxClientDocumentBytes) + `"}`,
	} {
		if _, err := ParseClientDocument(documentURL, []byte(body)); code(err) != InvalidClientMetadata && code(err) != InvalidRedirectURI {
			t.Errorf("%.150s: %v", body, err)
		}
	}
	if _, err := ParseClientDocument("http://client.example/c", []byte(`{"client_id":"http://client.example/c",`+uris+`}`)); err == nil {
		t.Error("a document from http was accepted")
	}
}

func FuzzClientDocument(f *testing.F) {
	for _, u := range []string{documentURL, "https://10.0.0.1/c", "https://a.example/%2e%2e/c"} {
		f.Add(u, fmt.Appendf(nil, `{"client_id":%q,"redirect_uris":["http://localhost/cb","x"],"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"]}`, u))
		f.Add(u, fmt.Appendf(nil, `{"client_id":%q,"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/k"}`, u))
		f.Add(u, fmt.Appendf(nil, `{"client_id":%q,"redirect_uris":["https://a.example/"],"client_secret":"x"}`, u))
	}
	f.Fuzz(func(t *testing.T, documentURL string, body []byte) {
		m, err := ParseClientDocument(documentURL, body)
		if err != nil {
			if c := code(err); c != InvalidClientMetadata && c != InvalidRedirectURI {
				t.Fatal(err)
			}
			return
		}
		u, err := ParseClientIDURL(documentURL)
		if err != nil || u.String() != documentURL || u.Scheme != "https" || u.User != nil || strings.Contains(u.Path, "/../") {
			t.Fatalf("%q was fetched: %v", documentURL, err)
		}
		if m.NeedsSecret() || len(m.RedirectURIs) == 0 || (m.TokenEndpointAuthMethod == AuthPrivateKeyJWT && m.JWKS == nil && m.JWKSURI == "") {
			t.Fatalf("%+v", m)
		}
		if ms, err := parseMembers(body); err != nil || ms.has("client_secret") {
			t.Fatal("a document with a secret was accepted")
		}
	})
}
