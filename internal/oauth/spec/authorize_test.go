package spec

import (
	"maps"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func authorizeValues(change url.Values) url.Values {
	v := url.Values{
		"client_id": {"c1.x.y"}, "redirect_uri": {"http://localhost:5/cb"}, "response_type": {"code"}, "state": {"s"},
		"code_challenge": {exampleChallenge}, "code_challenge_method": {"S256"}, "scope": {"logs:read nonsense"},
	}
	maps.Copy(v, change)
	return v
}

// Case 30 of the authorization cases: these may never be redirected.
func TestOAuth2_1_4_1_2_1_ShownNotRedirected(t *testing.T) {
	for _, change := range []url.Values{
		{"client_id": nil},
		{"client_id": {""}},
		{"client_id": {"a", "b"}},
		{"client_id": {"a", "a"}},
		{"client_id": {strings.Repeat("a", MaxClientIDBytes+1)}},
		{"redirect_uri": {"http://localhost/", "http://localhost/"}},
		{"redirect_uri": {"http://localhost/" + strings.Repeat("a", maxURIBytes)}},
		{"request_uri": {"a", "b"}},
	} {
		if s, err := ParseAuthorize(authorizeValues(change)); code(err) != InvalidRequest || s.ClientID != "" || s.RedirectURI != "" {
			t.Errorf("%.60v: %v", change, err)
		}
	}
}

// Cases 28 to 35 of the authorization cases.
func TestRFC6749_4_1_2_1_RedirectedErrors(t *testing.T) {
	rs := testResources(t)
	redirect := redirects(t, "http://localhost:5/cb")[0]
	for _, tc := range []struct {
		change url.Values
		want   string
	}{
		{nil, ""},
		{url.Values{"code_challenge": nil}, InvalidRequest},
		{url.Values{"code_challenge_method": nil}, InvalidRequest},
		{url.Values{"code_challenge_method": {"plain"}}, InvalidRequest},
		{url.Values{"code_challenge": {"short"}}, InvalidRequest},
		{url.Values{"response_type": nil}, InvalidRequest},
		{url.Values{"response_type": {"token"}}, UnsupportedResponseType},
		{url.Values{"response_type": {"id_token"}}, UnsupportedResponseType},
		{url.Values{"response_type": {"code token"}}, UnsupportedResponseType},
		{url.Values{"response_type": {"none"}}, UnsupportedResponseType},
		{url.Values{"response_type": {"code", "code"}}, InvalidRequest},
		{url.Values{"scope": {"a", "b"}}, InvalidRequest},
		{url.Values{"nonce": {"a", "a"}}, InvalidRequest},
		{url.Values{"unknown": {"a", "a"}}, InvalidRequest},
		{url.Values{"unknown": {"a"}}, ""},
		{url.Values{"response_mode": {"fragment"}}, InvalidRequest},
		{url.Values{"response_mode": {"query.jwt"}}, InvalidRequest},
		{url.Values{"response_mode": {"query"}}, ""},
		{url.Values{"response_mode": {"form_post", "query"}}, InvalidRequest},
		{url.Values{"resource": {rs.Bare().URL() + "/"}}, ""},
		{url.Values{"resource": {"https://evil.example/"}}, InvalidTarget},
		{url.Values{"resource": {rs.Bare().URL(), rs.Bare().URL()}}, InvalidTarget},
		{url.Values{"request": {"x"}}, RequestNotSupported},
		{url.Values{"request_uri": {"https://a.example/r"}}, RequestURINotSupported},
		{url.Values{"request_uri": {PushedRequestPrefix + "x"}}, RequestURINotSupported},
		{url.Values{"registration": {"{}"}}, RegistrationNotSupported},
		{url.Values{"prompt": {"none login"}}, InvalidRequest},
		{url.Values{"prompt": {"none nonsense"}}, InvalidRequest},
		{url.Values{"prompt": {"none"}}, ""},
		{url.Values{"prompt": {"login consent create"}}, ""},
		{url.Values{"max_age": {"-1"}}, InvalidRequest},
		{url.Values{"max_age": {"1e3"}}, InvalidRequest},
		{url.Values{"max_age": {"99999999999"}}, InvalidRequest},
		{url.Values{"max_age": {"0"}}, ""},
		{url.Values{"nonce": {strings.Repeat("n", maxNonceBytes+1)}}, InvalidRequest},
		{url.Values{"dpop_jkt": {"x"}}, InvalidRequest},
		{url.Values{"dpop_jkt": {exampleChallenge}}, ""},
	} {
		s, err := ParseAuthorize(authorizeValues(tc.change))
		if err != nil {
			t.Errorf("%v: %v", tc.change, err)
			continue
		}
		r, err := s.Validate(redirect, rs)
		if code(err) != tc.want {
			t.Errorf("%v: %v, want %q", tc.change, err, tc.want)
		}
		if r.State != "s" || r.Redirect != redirect || r.ClientID != "c1.x.y" {
			t.Errorf("%v: cannot be answered: %+v", tc.change, r)
		}
		if err != nil && (r.Challenge != (CodeChallenge{}) || !r.Resource.IsZero() || !r.Scopes.IsEmpty()) {
			t.Errorf("%v: filled beside an error: %+v", tc.change, r)
		}
	}
}

func TestAuthorizeRequestIsRead(t *testing.T) {
	rs := testResources(t)
	redirect := redirects(t, "http://localhost:5/cb")[0]
	s, err := ParseAuthorize(authorizeValues(url.Values{
		"prompt": {"consent select_account"}, "max_age": {"60"}, "nonce": {"n"}, "login_hint": {"a@b.example"}, "response_mode": {"form_post"},
		"id_token_hint": {"x.y.z"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Validate(redirect, rs)
	if err != nil {
		t.Fatal(err)
	}
	want := AuthorizeRequest{
		ClientID: "c1.x.y", Redirect: redirect, RedirectGiven: true, ResponseMode: ResponseModeFormPost, State: "s",
		Challenge: CodeChallenge{exampleChallenge}, Scopes: NewScopes(ScopeLogsRead), Resource: rs.Bare(),
		Prompt: Prompt{Consent: true, SelectAccount: true}, MaxAge: 60, Nonce: "n", LoginHint: "a@b.example", IDTokenHint: "x.y.z",
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
	s, _ = ParseAuthorize(authorizeValues(url.Values{"redirect_uri": nil, "max_age": nil}))
	if r, err := s.Validate(redirect, rs); err != nil || r.RedirectGiven || r.MaxAge != -1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Case 33 of the authorization cases.
func TestRFC6749_4_1_1_StateComesBackExactly(t *testing.T) {
	redirect := redirects(t, "https://a.example/cb?keep=1")[0]
	for _, state := range []string{
		"", "plain", "vscode://vendor.ext/cb?a=b&c=d+e%20f", "YWI+/w==", "日本 \x00\x7f\r\n\"'<>#", strings.Repeat("s", maxStateBytes),
	} {
		s, err := ParseAuthorize(authorizeValues(url.Values{"state": {state}}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Validate(redirect, testResources(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, answer := range []AuthorizationResponse{
			{Code: "c0de", State: r.State, Issuer: "https://oriel.example"},
			{Error: NewError(AccessDenied, "no"), State: r.State, Issuer: "https://oriel.example"},
		} {
			u, err := url.Parse(answer.Location(redirect))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			if q.Get("state") != state || q.Has("state") != (state != "") || q.Get("keep") != "1" {
				t.Errorf("state %q: %s", state, u)
			}
			// RFC 9207 §2, case 36.
			if q.Get("iss") != "https://oriel.example" || q.Has("code") == q.Has("error") {
				t.Errorf("%s", u)
			}
		}
	}
	s, err := ParseAuthorize(authorizeValues(url.Values{"state": {strings.Repeat("s", maxStateBytes+1)}}))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Validate(redirect, testResources(t)); code(err) != InvalidRequest || r.State != "" {
		t.Errorf("long state: %v", err)
	}
	s, _ = ParseAuthorize(authorizeValues(url.Values{"state": {"a", "b"}}))
	if r, err := s.Validate(redirect, testResources(t)); code(err) != InvalidRequest || r.State != "" {
		t.Errorf("two states: %v, %q", err, r.State)
	}
}

func TestResponseWithoutCodeIsAnError(t *testing.T) {
	if v := (AuthorizationResponse{Issuer: "i"}).Values(); v.Get("error") != ServerError || v.Has("code") {
		t.Errorf("%v", v)
	}
	if v := (AuthorizationResponse{Issuer: "i", Code: "c", Error: NewError(AccessDenied, "")}).Values(); v.Has("code") {
		t.Errorf("%v", v)
	}
}

func FuzzParseAuthorize(f *testing.F) {
	for _, change := range []url.Values{
		nil,
		{"state": {"a b&c"}},
		{"client_id": {"a", "b"}},
		{"resource": {"https://oriel.example/", "x"}},
		{"prompt": {"none login"}},
		{"response_mode": {"form_post"}, "max_age": {"1"}},
		{"request_uri": {PushedRequestPrefix + "x"}},
	} {
		f.Add(authorizeValues(change).Encode())
	}
	rs := testResources(f)
	redirect, err := ParseRedirectURI("http://localhost:5/cb")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		s, err := ParseAuthorize(v)
		if err != nil {
			if code(err) != InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		if len(v["client_id"]) != 1 || len(v["redirect_uri"]) > 1 {
			t.Fatalf("not beyond doubt: %v", v)
		}
		r, err := s.Validate(redirect, rs)
		if r.Redirect != redirect || r.ClientID != v.Get("client_id") || (r.State != "" && r.State != v.Get("state")) {
			t.Fatalf("%+v", r)
		}
		u, uerr := url.Parse(AuthorizationResponse{Code: "x", State: r.State, Issuer: "i"}.Location(redirect))
		if uerr != nil || u.Query().Get("state") != r.State || u.Host != "localhost:5" {
			t.Fatalf("%v, %v", u, uerr)
		}
		if err != nil {
			if code(err) == "" || Describe(err.Error()) != err.Error() && len(err.Error()) <= maxDescriptionBytes {
				t.Fatalf("%v", err)
			}
			return
		}
		for name, vs := range v {
			if len(vs) > 1 {
				t.Fatalf("%s is given %d times", name, len(vs))
			}
		}
		if v.Get("response_type") != "code" || r.Challenge.String() != v.Get("code_challenge") || v.Get("code_challenge_method") != "S256" ||
			r.Resource.IsZero() || r.Prompt.None && (r.Prompt.Login || r.Prompt.Consent || r.Prompt.SelectAccount) || r.State != v.Get("state") {
			t.Fatalf("%v gives %+v", v, r)
		}
	})
}
