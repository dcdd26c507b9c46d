package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOpenIDCore5_5_Claims(t *testing.T) {
	for text, want := range map[string]ClaimsRequest{
		``:                                {},
		`{}`:                              {},
		`{"id_token":null,"userinfo":{}}`: {},
		`{"id_token":{"auth_time":{"essential":true}},"userinfo":{"email":null,"http://example.com/x":{"value":7}}}`: {},
		`{"id_token":{"acr":{"essential":true,"values":["a","b"]}}}`:                                                 {ACR: []string{"a", "b"}},
		`{"id_token":{"acr":{"essential":true,"value":"a"}}}`:                                                        {ACR: []string{"a"}},
		`{"id_token":{"acr":{"values":["a"]}}}`:                                                                      {},
		`{"id_token":{"acr":{"essential":true}}}`:                                                                    {},
		`{"id_token":{"sub":{"value":"p_1"}}}`:                                                                       {Subject: "p_1"},
		`{"userinfo":{"sub":{"value":"p_1"}},"id_token":{"sub":{"value":"p_1"}}}`:                                    {Subject: "p_1"},
		`{"other":[1,2]}`: {},
	} {
		got, err := ParseClaims(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestOpenIDCore5_5_MalformedClaims(t *testing.T) {
	for _, text := range []string{
		`x`, `[]`, `null`, `"a"`, `{"id_token":[]}`, `{"id_token":{"acr":1}}`, `{"id_token":{"acr":{"essential":"yes"}}}`,
		`{"id_token":{"acr":{"values":"a"}}}`, `{"id_token":{"acr":{"essential":true,"values":[1]}}}`, `{"id_token":{},"id_token":{}}`,
		`{"id_token":{"sub":{"values":["a","b"]}}}`, `{"userinfo":{"sub":{"value":"a"}},"id_token":{"sub":{"value":"b"}}}`,
		`{"a":"` + strings.Repeat("x", 5000) + `"}`, `{} {}`,
	} {
		_, err := ParseClaims(text)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != InvalidRequest {
			t.Errorf("%.60s: error %v, want invalid_request", text, err)
		}
	}
}

// FuzzParseClaims: whatever is accepted asks for at most one subject, and for
// classes only when it says essential.
func FuzzParseClaims(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{"id_token":{"acr":{"essential":true,"values":["a"]},"sub":{"value":"p"}}}`, `{"id_token":null}`, `{"userinfo":{"a":{}}}`, `[[[[`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseClaims(s)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error of another type: %v", err)
			}
			return
		}
		if len(r.ACR) > 0 && !strings.Contains(s, "essential") && !strings.Contains(s, `\`) {
			t.Fatalf("%q asks for classes without saying essential", s)
		}
		if len(r.ACR) > maxClaimValues+1 {
			t.Fatalf("%d classes", len(r.ACR))
		}
	})
}
