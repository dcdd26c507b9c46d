package spec

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func basic(s string) []string {
	return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(s))}
}

// Case 57 of the authorization cases.
func TestRFC6749_2_3_1_ClientAuth(t *testing.T) {
	const documentID = "https://c.example/oauth/client.json"
	for _, tc := range []struct {
		name   string
		header []string
		form   url.Values
		want   ClientAuth
	}{
		{"public", nil, url.Values{"client_id": {"a"}}, ClientAuth{Method: AuthNone, Candidates: []Credentials{{"a", ""}}}},
		{"empty secret in body", nil, url.Values{"client_id": {"a"}, "client_secret": {""}}, ClientAuth{Method: AuthNone, Candidates: []Credentials{{"a", ""}}}},
		{"post", nil, url.Values{"client_id": {"a"}, "client_secret": {"s"}}, ClientAuth{Method: AuthPost, Candidates: []Credentials{{"a", "s"}}}},
		{"basic", basic("a:s"), nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "s"}}}},
		{"scheme in capitals", []string{"BASIC " + base64.StdEncoding.EncodeToString([]byte("a:s"))}, nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "s"}}}},
		{"no padding", []string{"Basic " + base64.RawStdEncoding.EncodeToString([]byte("a:s"))}, nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "s"}}}},
		{"basic and the same id", basic("a:s"), url.Values{"client_id": {"a"}}, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "s"}}}},
		{"basic with empty secret", basic("a:"), nil, ClientAuth{Method: AuthNone, UsedBasic: true, Candidates: []Credentials{{"a", ""}}}},
		{"basic with empty secret, secret in body", basic("a:"), url.Values{"client_id": {"a"}, "client_secret": {"s"}}, ClientAuth{Method: AuthPost, UsedBasic: true, Candidates: []Credentials{{"a", "s"}}}},
		{"encoded", basic("a%2Fb:s%3A+x"), nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a/b", "s: x"}, {"a%2Fb", "s%3A+x"}}}},
		{"raw with percent", basic("a:50%"), nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "50%"}}}},
		{"raw with colon", basic("a:x:y"), nil, ClientAuth{Method: AuthBasic, UsedBasic: true, Candidates: []Credentials{{"a", "x:y"}}}},
		{"encoded URL", basic(url.QueryEscape(documentID) + ":"), url.Values{"client_id": {documentID}}, ClientAuth{Method: AuthNone, UsedBasic: true, Candidates: []Credentials{{documentID, ""}}}},
		{"raw URL", basic(documentID + ":"), nil, ClientAuth{Method: AuthNone, UsedBasic: true, Candidates: []Credentials{{documentID, ""}}}},
		{
			"assertion", nil,
			url.Values{"client_assertion": {"j"}, "client_assertion_type": {ClientAssertionJWT}},
			ClientAuth{Method: AuthPrivateKeyJWT, Assertion: "j"},
		},
	} {
		got, err := ParseClientAuth(tc.header, tc.form)
		reveal := cmp.Transformer("reveal", func(s Secret) string { return string(s) })
		if d := cmp.Diff(tc.want, got, reveal); err != nil || d != "" {
			t.Errorf("%s: %v %s", tc.name, err, d)
		}
	}
}

func TestRFC6749_2_3_RefusedClientAuth(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header []string
		form   url.Values
		want   string
	}{
		{"nothing", nil, nil, InvalidClient},
		{"two ways", basic("a:s"), url.Values{"client_id": {"a"}, "client_secret": {"s"}}, InvalidRequest},
		{"secret and assertion", nil, url.Values{"client_id": {"a"}, "client_secret": {"s"}, "client_assertion": {"j"}, "client_assertion_type": {ClientAssertionJWT}}, InvalidRequest},
		{"basic and assertion", basic("a:s"), url.Values{"client_assertion": {"j"}, "client_assertion_type": {ClientAssertionJWT}}, InvalidRequest},
		{"other id beside basic", basic("a:s"), url.Values{"client_id": {"b"}}, InvalidRequest},
		{"two headers", append(basic("a:s"), basic("a:s")...), nil, InvalidRequest},
		{"two ids", nil, url.Values{"client_id": {"a", "a"}}, InvalidRequest},
		{"two secrets", nil, url.Values{"client_id": {"a"}, "client_secret": {"s", "s"}}, InvalidRequest},
		{"other scheme", []string{"Bearer x"}, url.Values{"client_id": {"a"}}, InvalidClient},
		{"not base64", []string{"Basic !"}, nil, InvalidClient},
		{"no colon", basic("a"), nil, InvalidClient},
		{"no id", basic(":s"), nil, InvalidClient},
		{"URL without secret", basic("https://c.example/c"), nil, InvalidClient},
		{"assertion type unknown", nil, url.Values{"client_assertion": {"j"}, "client_assertion_type": {"x"}}, InvalidClient},
		{"assertion without type", nil, url.Values{"client_assertion": {"j"}}, InvalidClient},
		{"type without assertion", nil, url.Values{"client_assertion_type": {ClientAssertionJWT}}, InvalidClient},
		{"too long", nil, url.Values{"client_id": {"a"}, "client_secret": {strings.Repeat("s", maxSecretBytes+1)}}, InvalidClient},
		{"header too long", []string{"Basic " + strings.Repeat("A", maxBasicBytes+4)}, nil, InvalidClient},
	} {
		if _, err := ParseClientAuth(tc.header, tc.form); code(err) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func FuzzClientAuth(f *testing.F) {
	f.Add("Basic YTpz", "client_id=a")
	f.Add("Basic YSUyRmI6", "client_id=a%2Fb&client_secret=s")
	f.Add("", "client_id=a&client_secret=s")
	f.Add("Bearer x", "client_assertion=x&client_assertion_type="+ClientAssertionJWT)
	f.Fuzz(func(t *testing.T, header, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		var headers []string
		if header != "" {
			headers = []string{header}
		}
		a, err := ParseClientAuth(headers, form)
		if err != nil {
			if c := code(err); c != InvalidClient && c != InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		hasSecret := len(a.Candidates) > 0 && a.Candidates[0].Secret != ""
		if hasSecret != (a.Method == AuthBasic || a.Method == AuthPost) || (a.Assertion != "") != (a.Method == AuthPrivateKeyJWT) {
			t.Fatalf("method %s, secret %v", a.Method, hasSecret)
		}
		if a.ClientID() == "" && a.Assertion == "" {
			t.Fatal("nobody")
		}
		if id := form.Get("client_id"); id != "" && id != a.ClientID() {
			t.Fatalf("body says %q, we say %q", id, a.ClientID())
		}
	})
}
