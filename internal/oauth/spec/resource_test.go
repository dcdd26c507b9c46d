package spec

import (
	"strings"
	"testing"
)

func testResources(t testing.TB) Resources {
	t.Helper()
	p, err := ParsePublicURL("https://oriel.example", false)
	if err != nil {
		t.Fatal(err)
	}
	return NewResources(p)
}

func TestParsePublicURL(t *testing.T) {
	for _, tc := range []struct {
		in    string
		plain bool
		want  string
	}{
		{"https://oriel.example", false, "https://oriel.example"},
		{"https://Oriel.Example:443/", false, "https://oriel.example"},
		{"HTTPS://oriel.example:8443", false, "https://oriel.example:8443"},
		{"http://127.0.0.1:8080", false, "http://127.0.0.1:8080"},
		{"http://localhost:80/", false, "http://localhost"},
		{"http://[::1]:8080", false, "http://[::1]:8080"},
		{"http://oriel.internal:8080", true, "http://oriel.internal:8080"},
		{"http://oriel.internal", false, ""},
		{"http://localhost.evil.example", false, ""},
		{"https://oriel.example/path", false, ""},
		{"https://oriel.example//", false, ""},
		{"https://oriel.example?", false, ""},
		{"https://oriel.example/?x=1", false, ""},
		{"https://oriel.example/#", false, ""},
		{"https://u@oriel.example", false, ""},
		{"ftp://oriel.example", true, ""},
		{"oriel.example", true, ""},
		{"https://", true, ""},
		{"", true, ""},
	} {
		p, err := ParsePublicURL(tc.in, tc.plain)
		if p.String() != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v", tc.in, p, err)
		}
	}
}

func TestRFC9728_3_1_ResourceURLs(t *testing.T) {
	rs := testResources(t)
	bare := rs.Bare()
	team, err := rs.Team("pay-ments")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ got, want string }{
		{bare.URL(), "https://oriel.example/mgmt/api/v1/mcp"},
		{bare.Path(), "/mgmt/api/v1/mcp"},
		{bare.MetadataURL(), "https://oriel.example/.well-known/oauth-protected-resource/mgmt/api/v1/mcp"},
		{bare.TeamSlug(), ""},
		{team.URL(), "https://oriel.example/mgmt/api/v1/teams/pay-ments/mcp"},
		{team.Path(), "/mgmt/api/v1/teams/pay-ments/mcp"},
		{team.MetadataURL(), "https://oriel.example/.well-known/oauth-protected-resource/mgmt/api/v1/teams/pay-ments/mcp"},
		{team.TeamSlug(), "pay-ments"},
		{Resource{}.URL() + Resource{}.Path() + Resource{}.MetadataURL() + Resources{}.Bare().URL(), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	for _, slug := range []string{"", "A", "a/b", "..", "a b", "-a", "a-", "é", "a%2fb", strings.Repeat("a", 64)} {
		if r, err := rs.Team(slug); err == nil || !r.IsZero() {
			t.Errorf("slug %q was accepted", slug)
		}
	}
}

// Case 31 of the authorization cases.
func TestRFC8707_2_Resource(t *testing.T) {
	rs := testResources(t)
	bare, team := rs.Bare().URL(), "https://oriel.example/mgmt/api/v1/teams/blue/mcp"
	for _, tc := range []struct {
		values []string
		want   string
	}{
		{nil, bare},
		{[]string{""}, bare},
		{[]string{bare}, bare},
		{[]string{bare + "/"}, bare},
		{[]string{"https://oriel.example"}, bare},
		{[]string{"https://oriel.example/"}, bare},
		{[]string{"HTTPS://ORIEL.example:443/mgmt/api/v1/mcp"}, bare},
		{[]string{team}, team},
		{[]string{team + "/"}, team},

		{[]string{bare, bare}, ""},
		{[]string{bare, team}, ""},
		{[]string{bare + "//"}, ""},
		{[]string{bare + "?"}, ""},
		{[]string{bare + "?x=1"}, ""},
		{[]string{bare + "#"}, ""},
		{[]string{bare + "/x"}, ""},
		{[]string{"https://oriel.example/MGMT/api/v1/mcp"}, ""},
		{[]string{"https://oriel.example/mgmt/api/v1/%6dcp"}, ""},
		{[]string{"https://oriel.example/mgmt/api/v1/teams//mcp"}, ""},
		{[]string{"https://oriel.example/mgmt/api/v1/teams/mcp"}, ""},
		{[]string{"https://oriel.example/mgmt/api/v1/teams/a/b/mcp"}, ""},
		{[]string{"https://oriel.example/mgmt/api/v1/teams/../mcp"}, ""},
		{[]string{"https://oriel.example:8443/mgmt/api/v1/mcp"}, ""},
		{[]string{"http://oriel.example/mgmt/api/v1/mcp"}, ""},
		{[]string{"https://evil.example/mgmt/api/v1/mcp"}, ""},
		{[]string{"https://oriel.example.evil.example/"}, ""},
		{[]string{"https://oriel.example@evil.example/"}, ""},
		{[]string{"https:oriel.example"}, ""},
		{[]string{"/mgmt/api/v1/mcp"}, ""},
		{[]string{"urn:x"}, ""},
		{[]string{"x"}, ""},
	} {
		r, err := rs.Parse(tc.values)
		if r.URL() != tc.want || (tc.want == "" && code(err) != InvalidTarget) || (tc.want != "" && err != nil) {
			t.Errorf("%q: %q, %v", tc.values, r, err)
		}
	}
	if _, err := (Resources{}).Parse(nil); code(err) != InvalidTarget {
		t.Errorf("no public URL: %v", err)
	}
}
