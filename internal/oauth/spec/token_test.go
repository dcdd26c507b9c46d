package spec

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestRFC6749_3_2_TokenRequests(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want TokenRequest
	}{
		{
			"grant_type=authorization_code&code=c&code_verifier=v&redirect_uri=http://localhost/&client_id=x&resource=a&resource=b",
			TokenRequest{GrantType: GrantAuthorizationCode, Code: "c", CodeVerifier: "v", RedirectURI: "http://localhost/", Resources: []string{"a", "b"}},
		},
		{"grant_type=authorization_code&code=c", TokenRequest{GrantType: GrantAuthorizationCode, Code: "c"}},
		{"grant_type=refresh_token&refresh_token=r&scope=", TokenRequest{GrantType: GrantRefreshToken, RefreshToken: "r"}},
		{
			"grant_type=refresh_token&refresh_token=r&scope=logs:read+offline_access+x&resource=",
			TokenRequest{GrantType: GrantRefreshToken, RefreshToken: "r", Scopes: NewScopes(ScopeLogsRead, ScopeOfflineAccess), ScopeGiven: true},
		},
		{"grant_type=refresh_token&refresh_token=r&scope=x", TokenRequest{GrantType: GrantRefreshToken, RefreshToken: "r", ScopeGiven: true}},
		{"grant_type=client_credentials", TokenRequest{GrantType: GrantClientCredentials}},
		{"grant_type=" + GrantDeviceCode + "&device_code=d", TokenRequest{GrantType: GrantDeviceCode, DeviceCode: "d"}},
		{"grant_type=" + GrantJWTBearer + "&assertion=a", TokenRequest{GrantType: GrantJWTBearer, Assertion: "a"}},
		{
			"grant_type=" + GrantTokenExchange + "&subject_token=s&subject_token_type=t&actor_token=a&actor_token_type=u&audience=x&audience=y",
			TokenRequest{
				GrantType: GrantTokenExchange, SubjectToken: "s", SubjectTokenType: "t", ActorToken: "a", ActorTokenType: "u",
				Audiences: []string{"x", "y"},
			},
		},
	} {
		v, err := url.ParseQuery(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseToken(v); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v", tc.in, err)
		}
	}
}

func TestRFC6749_5_2_RefusedTokenRequests(t *testing.T) {
	for in, want := range map[string]string{
		"":                               InvalidRequest,
		"grant_type=":                    InvalidRequest,
		"grant_type=password&username=u": UnsupportedGrantType,
		"grant_type=implicit":            UnsupportedGrantType,
		"grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion=x":                     UnsupportedGrantType,
		"grant_type=authorization_code":                                                            InvalidRequest,
		"grant_type=authorization_code&code=":                                                      InvalidRequest,
		"grant_type=authorization_code&code=" + strings.Repeat("c", 2000):                          InvalidRequest,
		"grant_type=refresh_token":                                                                 InvalidRequest,
		"grant_type=refresh_token&refresh_token=" + strings.Repeat("c", 9000):                      InvalidRequest,
		"grant_type=refresh_token&refresh_token=a&refresh_token=a":                                 InvalidRequest,
		"grant_type=refresh_token&grant_type=refresh_token&refresh_token=a":                        InvalidRequest,
		"grant_type=refresh_token&refresh_token=a&scope=a&scope=b":                                 InvalidRequest,
		"grant_type=refresh_token&refresh_token=a&other=&other=":                                   InvalidRequest,
		"grant_type=refresh_token&refresh_token=a" + strings.Repeat("&resource=a", 9):              InvalidRequest,
		"grant_type=" + GrantDeviceCode:                                                            InvalidRequest,
		"grant_type=" + GrantJWTBearer:                                                             InvalidRequest,
		"grant_type=" + GrantTokenExchange + "&subject_token=x":                                    InvalidRequest,
		"grant_type=" + GrantTokenExchange + "&subject_token=x&subject_token_type=t&actor_token=a": InvalidRequest,
	} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseToken(v); code(err) != want || got.GrantType != "" {
			t.Errorf("%.80s: %v, want %s", in, err, want)
		}
	}
}

func TestRFC6749_5_1_TokenResponseHasNoNull(t *testing.T) {
	b, err := json.Marshal(TokenResponse{AccessToken: "a", TokenType: "Bearer", ExpiresIn: 60, Scope: "logs:read"})
	if want := `{"access_token":"a","token_type":"Bearer","expires_in":60,"scope":"logs:read"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{
		"grant_type=authorization_code&code=c&code_verifier=v&redirect_uri=http://localhost/&resource=a&resource=b",
		"grant_type=refresh_token&refresh_token=r&scope=logs:read+x&scope=y",
		"grant_type=" + GrantTokenExchange + "&subject_token=s&subject_token_type=t&audience=x&audience=y",
		"grant_type=password",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		r, err := ParseToken(v)
		repeated := false
		for name, vs := range v {
			repeated = repeated || len(vs) > 1 && name != "resource" && name != "audience"
		}
		switch {
		case repeated && code(err) != InvalidRequest:
			t.Fatalf("repeated parameter: %v", err)
		case err != nil:
			if c := code(err); c != InvalidRequest && c != UnsupportedGrantType {
				t.Fatal(err)
			}
			return
		}
		if r.GrantType != v.Get("grant_type") || len(r.Resources) > maxTargets || len(r.Code) > maxCodeBytes || !AllScopes().Contains(r.Scopes) {
			t.Fatalf("%+v", r)
		}
		if r.Code+r.RefreshToken+r.DeviceCode+r.Assertion+r.SubjectToken == "" && r.GrantType != GrantClientCredentials {
			t.Fatalf("nothing to trade: %v", v)
		}
	})
}
