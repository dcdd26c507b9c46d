package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// registrations are bodies as real clients send them. Their member "client" names the product and is not sent by it.
func registrations(t testing.TB) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/registrations.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{}
	for line := range bytes.Lines(b) {
		var m struct {
			Client string `json:"client"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		bodies[m.Client] = bytes.TrimSpace(line)
	}
	if len(bodies) < 11 {
		t.Fatalf("only %d registrations", len(bodies))
	}
	return bodies
}

func TestRFC7591_3_2_1_RealRegistrationsAreEchoed(t *testing.T) {
	issued := time.Unix(1_790_000_000, 0)
	for client, body := range registrations(t) {
		m, err := ParseRegistration(body)
		if err != nil {
			t.Errorf("%s: %v", client, err)
			continue
		}
		b, err := json.Marshal(NewRegistrationResponse("id", "s3cret", m, issued))
		if err != nil {
			t.Fatal(err)
		}
		var sent, got map[string]any
		if json.Unmarshal(body, &sent) != nil || json.Unmarshal(b, &got) != nil {
			t.Fatal("not JSON")
		}
		for name, v := range sent {
			want, _ := json.Marshal(v)
			have, _ := json.Marshal(got[name])
			if name != "client" && v != "" && !bytes.Equal(want, have) {
				t.Errorf("%s: %s was %s and comes back as %s", client, name, want, have)
			}
		}
		for name, v := range got {
			if v == nil || v == "" {
				t.Errorf("%s: %s is %v", client, name, v)
			}
		}
		for _, name := range []string{"client_id", "client_id_issued_at", "grant_types", "response_types", "token_endpoint_auth_method", "scope"} {
			if _, ok := got[name]; !ok {
				t.Errorf("%s: %s is missing", client, name)
			}
		}
		_, hasSecret := got["client_secret"]
		expires, hasExpiry := got["client_secret_expires_at"]
		needs := got["token_endpoint_auth_method"] != "none"
		if hasSecret != needs || hasExpiry != needs || (hasExpiry && expires != 0.0) {
			t.Errorf("%s: method %v, answer %s", client, got["token_endpoint_auth_method"], b)
		}
	}
}

// Case 10 of the authorization cases.
func TestRFC7591_2_DefaultMethodIsBasic(t *testing.T) {
	m, err := ParseRegistration(registrations(t)["copilot-studio"])
	if err != nil || m.TokenEndpointAuthMethod != AuthBasic || !m.NeedsSecret() || m.IsPublic() {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestRFC7591_2_Defaults(t *testing.T) {
	m, err := ParseRegistration([]byte(`{"redirect_uris":["https://a.example/"],"grant_types":[],"x":{"y":null},"scope":"what ever"}`))
	if err != nil {
		t.Fatal(err)
	}
	r := NewRegistrationResponse("id", "s", m, time.Unix(1, 0))
	if !slices.Equal(r.GrantTypes, []string{"authorization_code", "refresh_token"}) || !slices.Equal(r.ResponseTypes, []string{"code"}) ||
		r.Scope != DefaultScopes().String() {
		t.Errorf("%+v", r)
	}
	if got := m.WithGrantTypes([]string{GrantAuthorizationCode}).GrantTypes; !slices.Equal(got, []string{GrantAuthorizationCode}) {
		t.Errorf("grant types %v", got)
	}
}

func TestRFC7591_3_2_2_RefusedRegistrations(t *testing.T) {
	const uris = `"redirect_uris":["https://a.example/"]`
	many := `{"redirect_uris":["https://a.example/0"` + strings.Repeat(`,"https://a.example/1"`, maxRedirectURIs) + `]}`
	for _, tc := range []struct{ body, code, mention string }{
		{``, InvalidClientMetadata, "JSON"},
		{`[]`, InvalidClientMetadata, "JSON object"},
		{`null`, InvalidClientMetadata, "JSON object"},
		{`{`, InvalidClientMetadata, "JSON"},
		{`{` + uris + `}x`, InvalidClientMetadata, "goes on"},
		{`{` + uris + `}{}`, InvalidClientMetadata, "goes on"},
		{`{` + uris + `,` + uris + `}`, InvalidClientMetadata, "redirect_uris"},
		{`{` + uris + `,"client_name":"\xff"}`, InvalidClientMetadata, ""},
		{`{` + uris + ",\"client_name\":\"\xff\"}", InvalidClientMetadata, "UTF-8"},
		{`{}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":[]}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":null}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":"https://a.example/"}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":[null]}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":[1]}`, InvalidRedirectURI, "redirect_uris"},
		{`{"redirect_uris":["https://a.example/","javascript:alert(1)"]}`, InvalidRedirectURI, "redirect_uris[1]"},
		{`{"redirect_uris":["http://a.example/"]}`, InvalidRedirectURI, "redirect_uris[0]"},
		{many, InvalidRedirectURI, "32"},
		{`{` + uris + `,"client_name":null}`, InvalidClientMetadata, "client_name"},
		{`{` + uris + `,"client_name":7}`, InvalidClientMetadata, "client_name"},
		{`{` + uris + `,"scope":["openid"]}`, InvalidClientMetadata, "scope"},
		{`{` + uris + `,"grant_types":"authorization_code"}`, InvalidClientMetadata, "grant_types"},
		{`{` + uris + `,"grant_types":["implicit","password"]}`, InvalidClientMetadata, "grant_types"},
		{`{` + uris + `,"response_types":["token"]}`, InvalidClientMetadata, "response_types"},
		{`{` + uris + `,"token_endpoint_auth_method":"client_secret_jwt"}`, InvalidClientMetadata, "token_endpoint_auth_method"},
		{`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt"}`, InvalidClientMetadata, "jwks"},
		{`{` + uris + `,"jwks":{"keys":[{"kty":"EC"}]},"jwks_uri":"https://a.example/k"}`, InvalidClientMetadata, "jwks_uri"},
		{`{` + uris + `,"jwks":{"keys":[{"kty":"oct","k":"AA"}]}}`, InvalidClientMetadata, "public"},
		{`{` + uris + `,"jwks":{"keys":[{"kty":"EC","d":"AA"}]}}`, InvalidClientMetadata, "public"},
		{`{` + uris + `,"jwks":{"keys":[]}}`, InvalidClientMetadata, "jwks"},
		{`{` + uris + `,"jwks":{"keys":[null]}}`, InvalidClientMetadata, "jwks"},
		{`{` + uris + `,"jwks":[]}`, InvalidClientMetadata, "jwks"},
		{`{` + uris + `,"jwks_uri":"http://a.example/k"}`, InvalidClientMetadata, "jwks_uri"},
		{`{` + uris + `,"client_uri":"javascript:alert(1)"}`, InvalidClientMetadata, "client_uri"},
		{`{` + uris + `,"logo_uri":"data:image/png,x"}`, InvalidClientMetadata, "logo_uri"},
		{`{` + uris + `,"tos_uri":"https://a.example/#\u0000"}`, InvalidClientMetadata, "tos_uri"},
		{`{` + uris + `,"contacts":"a@b"}`, InvalidClientMetadata, "contacts"},
		{`{` + uris + `,"post_logout_redirect_uris":["file:///x"]}`, InvalidRedirectURI, "post_logout_redirect_uris"},
	} {
		_, err := ParseRegistration([]byte(tc.body))
		if code(err) != tc.code && !(tc.mention == "" && err != nil) {
			t.Errorf("%.120s: %v", tc.body, err)
		} else if !strings.Contains(err.Error(), tc.mention) {
			t.Errorf("%.120s: %v does not mention %s", tc.body, err, tc.mention)
		}
	}
}

// Case 14 of the authorization cases.
func TestRegistrationBodyLimit(t *testing.T) {
	body := `{"redirect_uris":["https://a.example/"],"x":"` + strings.Repeat("x", MaxRegistrationBytes) + `"}`
	_, err := ParseRegistration([]byte(body))
	if e, ok := err.(*Error); !ok || e.Status != 413 {
		t.Errorf("%v", err)
	}
}

// Case 45 of the authorization cases.
func TestClientNameIsCleaned(t *testing.T) {
	for in, want := range map[string]string{
		"Cursor":                           "Cursor",
		"  Claude\tCode\r\n(x) ":           "Claude Code (x)",
		"abc\u202egnp.exe\u2066\u200b":     "abcgnp.exe",
		"a\u2028b\u0000\u0007\ufeff\ue000": "a b",
		"<b>Jo's</b> 日本":                   "<b>Jo's</b> 日本",
		strings.Repeat("é", 10_000):        strings.Repeat("é", maxClientNameRunes),
		"\u202e":                           "",
	} {
		body, _ := json.Marshal(map[string]any{"redirect_uris": []string{"https://a.example/"}, "client_name": in})
		m, err := ParseRegistration(body)
		if err != nil || m.Name != want {
			t.Errorf("%.40q becomes %.40q: %v", in, m.Name, err)
		}
	}
}

func FuzzRegistration(f *testing.F) {
	for _, b := range registrations(f) {
		f.Add(b)
	}
	f.Add([]byte(`{"redirect_uris":["https://a.example/"],"jwks":{"keys":[{"kty":"EC","crv":"P-256"}]},"token_endpoint_auth_method":"private_key_jwt","contacts":["a@b"],"client_uri":"https://a.example/#x"}`))
	f.Add([]byte(`{"grant_types":["client_credentials"],"client_name":"\ud800\u202e"}`))
	f.Add([]byte(`{"redirect_uris":["https://a.example/"],"redirect_uris":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ParseRegistration(body)
		if err != nil {
			if c := code(err); c != InvalidClientMetadata && c != InvalidRedirectURI {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, u := range m.RedirectURIs {
			if again, err := ParseRedirectURI(u.String()); err != nil || again != u {
				t.Fatalf("accepted %q, then not: %v", u, err)
			}
		}
		if m.UsesBrowser() && len(m.RedirectURIs) == 0 {
			t.Fatal("a browser client without redirect URI")
		}
		b, err := json.Marshal(NewRegistrationResponse("id", "s", m, time.Unix(1, 0)))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		for name, v := range got {
			if v == nil || v == "" {
				t.Fatalf("%s is %v", name, v)
			}
		}
		if (got["client_secret"] != nil) != m.NeedsSecret() {
			t.Fatalf("secret for method %s", m.TokenEndpointAuthMethod)
		}
		// What was answered can be registered again, and means the same.
		if again, err := ParseRegistration(b); err != nil {
			t.Fatalf("our own answer is refused: %v\n%s", err, b)
		} else if len(again.RedirectURIs) != len(m.RedirectURIs) || again.Name != m.Name || again.TokenEndpointAuthMethod != m.TokenEndpointAuthMethod {
			t.Fatalf("our own answer means something else: %s", b)
		}
	})
}
