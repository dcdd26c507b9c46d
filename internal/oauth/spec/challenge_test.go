package spec

import (
	"errors"
	"strings"
	"testing"
)

// Cases 1 and 79 of the authorization cases.
func TestRFC6750_3_Challenge(t *testing.T) {
	res := testResources(t).Bare()
	for _, tc := range []struct {
		c    Challenge
		want string
	}{
		{Challenge{}, `Bearer`},
		{
			Challenge{ResourceMetadata: res.MetadataURL(), Scope: DefaultScopes()},
			`Bearer resource_metadata="https://oriel.example/.well-known/oauth-protected-resource/mgmt/api/v1/mcp", scope="logs:read traces:read metrics:read alerts:read"`,
		},
		{
			Challenge{Error: NewError(InvalidToken, "expired"), ResourceMetadata: res.MetadataURL(), Scope: NewScopes(ScopeLogsRead)},
			`Bearer error="invalid_token", error_description="expired", resource_metadata="https://oriel.example/.well-known/oauth-protected-resource/mgmt/api/v1/mcp", scope="logs:read"`,
		},
		{Challenge{Error: &Error{Code: InvalidToken, Description: "a\"b\\c\r\nX: y"}}, `Bearer error="invalid_token", error_description="a'b/c  X: y"`},
	} {
		if got := tc.c.Bearer(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
	if got := (Challenge{Error: NewError(UseDPoPNonce, "")}).DPoP(); got != `DPoP error="use_dpop_nonce", algs="ES256 EdDSA PS256 RS256"` {
		t.Error(got)
	}
}

// Case 76 of the authorization cases.
func TestRFC6750_2_1_Bearer(t *testing.T) {
	for _, tc := range []struct {
		header []string
		token  string
		want   string
	}{
		{[]string{"Bearer abc.DEF-_~+/09=="}, "abc.DEF-_~+/09==", ""},
		{[]string{"bEaReR abc"}, "abc", ""},
		{[]string{"Bearer  abc "}, "abc", ""},
		{[]string{"Bearer " + strings.Repeat("a", maxBearerBytes)}, strings.Repeat("a", maxBearerBytes), ""},
		{nil, "", ErrNoBearer.Error()},
		{[]string{""}, "", ErrNoBearer.Error()},
		{[]string{"Basic abc"}, "", ErrNoBearer.Error()},
		{[]string{"DPoP abc"}, "", ErrNoBearer.Error()},
		{[]string{"Bearerabc"}, "", ErrNoBearer.Error()},
		{[]string{"Bearer abc", "Bearer abc"}, "", InvalidToken},
		{[]string{"Basic abc", "Bearer abc"}, "", InvalidToken},
		{[]string{"Bearer"}, "", InvalidToken},
		{[]string{"Bearer "}, "", InvalidToken},
		{[]string{"Bearer ="}, "", InvalidToken},
		{[]string{"Bearer a=b"}, "", InvalidToken},
		{[]string{"Bearer a b"}, "", InvalidToken},
		{[]string{"Bearer a,Bearer b"}, "", InvalidToken},
		{[]string{"Bearer \"a\""}, "", InvalidToken},
		{[]string{"Bearer\tabc"}, "", ErrNoBearer.Error()},
		{[]string{"Bearer a\x00"}, "", InvalidToken},
		{[]string{"Bearer é"}, "", InvalidToken},
		{[]string{"Bearer " + strings.Repeat("a", maxBearerBytes+1)}, "", InvalidToken},
	} {
		got, err := ParseBearer(tc.header)
		if got != tc.token || code(err) != tc.want {
			t.Errorf("%.60q: %.40q, %v", tc.header, got, err)
		}
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer abc.def==")
	f.Add("bearer a b")
	f.Add("Basic YTpz")
	f.Add("Bearer \"x\", realm=\"y\"")
	f.Fuzz(func(t *testing.T, header string) {
		token, err := ParseBearer([]string{header})
		if _, err := ParseBearer([]string{header, header}); err == nil {
			t.Fatal("two headers were accepted")
		}
		// Whatever was sent, the challenge that answers is one line and its quotes are balanced.
		c := Challenge{Error: &Error{Code: InvalidToken, Description: header}, ResourceMetadata: header}.Bearer()
		if strings.ContainsAny(c, "\r\n\\") || header != "" && strings.Count(c, `"`) != 6 {
			t.Fatalf("%q", c)
		}
		if err != nil {
			if code(err) != InvalidToken && !errors.Is(err, ErrNoBearer) || token != "" {
				t.Fatalf("%q, %v", token, err)
			}
			return
		}
		if len(token) > maxBearerBytes || strings.ContainsAny(token, " \t\r\n\",;\\") || !strings.EqualFold(header[:7], "bearer ") || !strings.Contains(header, token) {
			t.Fatalf("%q gives %q", header, token)
		}
	})
}
