package spec

import (
	"net/url"
	"strconv"
	"strings"
)

// Values of the prompt parameter (OpenID Connect Core §3.1.2.1).
const (
	PromptNone          = "none"
	PromptLogin         = "login"
	PromptConsent       = "consent"
	PromptSelectAccount = "select_account"
)

// PushedRequestPrefix begins the request_uri of a pushed authorization request (RFC 9126 §2.2).
const PushedRequestPrefix = "urn:ietf:params:oauth:request_uri:"

const (
	maxStateBytes     = 4096 // VS Code sends a whole URI, some gateways a sealed session
	maxNonceBytes     = 1024
	maxLoginHintBytes = 320 // an e-mail address and some
	maxAgeSeconds     = 10 * 365 * 24 * 60 * 60
	maxHintTokenBytes = 8192 // an ID token of ours, whose audience may be a long client id
	// MaxPushedURIBytes bounds the request_uri of a pushed request: with the longest client_id beside it the URL stays
	// under the 8 KiB at which proxies stop.
	MaxPushedURIBytes = 4800
)

// AuthorizeStart is an authorization request of which only the client and the redirect URI have been looked at. Nothing
// may be redirected on its word: find the client, match the redirect URI, then call Validate.
type AuthorizeStart struct {
	ClientID    string // never empty
	RedirectURI string // as sent, for MatchRedirectURI; empty when absent
	RequestURI  string // empty when absent

	values url.Values
}

// ParseAuthorize reads client_id, redirect_uri and request_uri of an authorization request (RFC 6749 §4.1.1). Errors
// are *Error and must be shown on a page: it is not known yet whom a redirect would serve (OAuth 2.1 §4.1.2.1).
func ParseAuthorize(values url.Values) (AuthorizeStart, error) {
	s := AuthorizeStart{values: values}
	for _, p := range []struct {
		name  string
		into  *string
		limit int
	}{
		{"client_id", &s.ClientID, MaxClientIDBytes},
		{"redirect_uri", &s.RedirectURI, maxURIBytes},
		{"request_uri", &s.RequestURI, MaxPushedURIBytes},
	} {
		if len(values[p.name]) > 1 {
			return AuthorizeStart{}, NewError(InvalidRequest, p.name+" is given more than once")
		}
		if *p.into = values.Get(p.name); len(*p.into) > p.limit {
			return AuthorizeStart{}, NewError(InvalidRequest, p.name+" is too long")
		}
	}
	if s.ClientID == "" {
		return AuthorizeStart{}, NewError(InvalidRequest, "client_id is missing")
	}
	return s, nil
}

// IsPushed reports whether the request was pushed before (RFC 9126 §4): its parameters are then to be taken from there,
// and parsed anew.
func (s AuthorizeStart) IsPushed() bool { return strings.HasPrefix(s.RequestURI, PushedRequestPrefix) }

// Prompt is the set of prompt values; unknown ones are dropped.
type Prompt struct{ None, Login, Consent, SelectAccount bool }

// AuthorizeRequest is a validated authorization request.
type AuthorizeRequest struct {
	ClientID      string
	Redirect      RedirectURI // where the answer goes: registered, and with the port asked for
	RedirectGiven bool        // redirect_uri was in the request
	ResponseMode  string      // query or form_post
	State         string      // as sent; empty when absent
	Challenge     CodeChallenge
	Scopes        Scopes // the known ones of those asked for; may be empty, see Scopes.OrDefault
	Resource      Resource
	Prompt        Prompt
	MaxAge        int // seconds; -1 when absent
	Nonce         string
	LoginHint     string
	IDTokenHint   string
	Claims        ClaimsRequest
	DPoPKey       string // dpop_jkt (RFC 9449 §10), empty when absent
}

// Validate checks the rest of the request, once the client is known and its redirect URI has been matched. Errors are
// *Error and go to the redirect URI; the AuthorizeRequest returned beside one has ClientID, Redirect, ResponseMode and State
// filled for that purpose and nothing else.
func (s AuthorizeStart) Validate(redirect RedirectURI, resources Resources) (AuthorizeRequest, error) {
	v := s.values
	back := AuthorizeRequest{
		ClientID: s.ClientID, Redirect: redirect, RedirectGiven: s.RedirectURI != "", ResponseMode: ResponseModeQuery, MaxAge: -1,
	}
	// A state given twice is ambiguous: none is sent back.
	if len(v["state"]) == 1 {
		if len(v.Get("state")) > maxStateBytes {
			return back, NewError(InvalidRequest, "state is longer than 4096 bytes")
		}
		back.State = v.Get("state")
	}
	// The mode comes before everything that can fail, so that failures take it.
	if len(v["response_mode"]) == 1 {
		switch v.Get("response_mode") {
		case "", ResponseModeQuery:
		case ResponseModeFormPost:
			// A browser can post to a web address only.
			if redirect.IsPrivateUse() {
				return back, NewError(InvalidRequest, "response_mode form_post needs an http or https redirect_uri")
			}
			back.ResponseMode = ResponseModeFormPost
		default:
			return back, NewError(InvalidRequest, "response_mode must be query or form_post")
		}
	}
	if err := refuseRepeated(v, "resource"); err != nil {
		return back, err
	}
	// OpenID Connect Core §3.1.2.6.
	if v.Get("request") != "" {
		return back, NewError(RequestNotSupported, "request objects are not supported")
	}
	if s.RequestURI != "" {
		return back, NewError(RequestURINotSupported, "request_uri is not supported")
	}
	if v.Get("registration") != "" {
		return back, NewError(RegistrationNotSupported, "the registration parameter is not supported")
	}
	switch v.Get("response_type") {
	case ResponseTypeCode:
	case "":
		return back, NewError(InvalidRequest, "response_type is missing")
	default:
		return back, NewError(UnsupportedResponseType, "response_type must be code")
	}
	r := back
	var err error
	if r.Challenge, err = ParseCodeChallenge(v.Get("code_challenge_method"), v.Get("code_challenge")); err != nil {
		return back, err
	}
	if r.Resource, err = resources.Parse(v["resource"]); err != nil {
		return back, err
	}
	r.Scopes = ParseScopes(v.Get("scope"))
	if r.Prompt, err = parsePrompt(v.Get("prompt")); err != nil {
		return back, err
	}
	if age := v.Get("max_age"); age != "" {
		n, err := strconv.ParseUint(age, 10, 31)
		if err != nil || n > maxAgeSeconds {
			return back, NewError(InvalidRequest, "max_age must be a number of seconds")
		}
		r.MaxAge = int(n)
	}
	if r.Nonce = v.Get("nonce"); len(r.Nonce) > maxNonceBytes {
		return back, NewError(InvalidRequest, "nonce is longer than 1024 bytes")
	}
	if r.Claims, err = ParseClaims(v.Get("claims")); err != nil {
		return back, err
	}
	if jkt := v.Get("dpop_jkt"); jkt != "" {
		// A thumbprint has the form of an S256 challenge (RFC 7638 §3).
		if _, err := ParseCodeChallenge(PKCEMethod, jkt); err != nil {
			return back, NewError(InvalidRequest, "dpop_jkt must be a SHA-256 thumbprint")
		}
		r.DPoPKey = jkt
	}
	// Hints may be ignored, so ones of an absurd length are.
	if hint := v.Get("login_hint"); len(hint) <= maxLoginHintBytes {
		r.LoginHint = hint
	}
	if hint := v.Get("id_token_hint"); len(hint) <= maxHintTokenBytes {
		r.IDTokenHint = hint
	}
	return r, nil
}

func parsePrompt(s string) (Prompt, error) {
	var p Prompt
	words := 0
	for w := range strings.SplitSeq(s, " ") {
		switch w {
		case "":
			continue
		case PromptNone:
			p.None = true
		case PromptLogin:
			p.Login = true
		case PromptConsent:
			p.Consent = true
		case PromptSelectAccount:
			p.SelectAccount = true
		}
		words++
	}
	// OpenID Connect Core §3.1.2.1: none with any other value is an error.
	if p.None && words > 1 {
		return Prompt{}, NewError(InvalidRequest, "prompt none cannot be combined with another value")
	}
	return p, nil
}

// refuseRepeated refuses parameters that are given more than once (RFC 6749 §3.1), known or not, but for some.
func refuseRepeated(v url.Values, except ...string) error {
next:
	for name, vs := range v {
		if len(vs) < 2 {
			continue
		}
		for _, e := range except {
			if name == e {
				continue next
			}
		}
		return NewError(InvalidRequest, cut(name, 64)+" is given more than once")
	}
	return nil
}

// AuthorizationResponse is what goes to a redirect URI: a code or an error, never both.
type AuthorizationResponse struct {
	Code   Secret
	Error  *Error
	State  string // as the request had it; empty when it had none
	Issuer string // RFC 9207 §2: in every response
}

// Values returns the parameters. An error wins over a code.
func (r AuthorizationResponse) Values() url.Values {
	v := url.Values{"iss": {r.Issuer}}
	switch {
	case r.Error != nil:
		v.Set("error", r.Error.Code)
		if r.Error.Description != "" {
			v.Set("error_description", r.Error.Description)
		}
	case r.Code != "":
		v.Set("code", string(r.Code))
	default:
		v.Set("error", ServerError)
	}
	if r.State != "" {
		v.Set("state", r.State)
	}
	return v
}

// Location returns where the browser goes in response mode query.
func (r AuthorizationResponse) Location(redirect RedirectURI) string {
	return redirect.With(r.Values())
}
