package spec

import (
	"net/url"
)

const (
	maxCodeBytes  = 1024
	maxTokenBytes = 8 << 10 // refresh and subject tokens, assertions
	maxTargets    = 8       // values of resource and audience
)

// TokenRequest is a token request's grant and its parameters. Client authentication is read by ParseClientAuth.
type TokenRequest struct {
	GrantType string // one of the Grant constants

	// authorization_code (RFC 6749 §4.1.3, RFC 7636 §4.5).
	Code         Secret
	CodeVerifier Secret // may be missing or malformed: VerifyPKCE says invalid_grant
	RedirectURI  string // empty when absent, which OAuth 2.1 allows

	RefreshToken Secret // refresh_token (RFC 6749 §6)
	DeviceCode   Secret // device_code (RFC 8628 §3.4)
	Assertion    Secret // jwt-bearer (RFC 7523 §2.1)

	// token-exchange (RFC 8693 §2.1).
	SubjectToken       Secret
	SubjectTokenType   string
	ActorToken         Secret
	ActorTokenType     string
	RequestedTokenType string
	Audiences          []string

	Scopes     Scopes // the known ones
	ScopeGiven bool   // a scope parameter with a value was there, known or not
	Resources  []string
}

// ParseToken reads a token request (RFC 6749 §3.2). A parameter without a value counts as omitted (§3.1 there); one given
// twice is refused, but for resource (RFC 8707 §2) and audience (RFC 8693 §2.1). Errors are *Error: invalid_request, or
// unsupported_grant_type for grants that do not exist. Whether a grant is live here is for the endpoint to say.
func ParseToken(values url.Values) (TokenRequest, error) {
	if err := refuseRepeated(values, "resource", "audience"); err != nil {
		return TokenRequest{}, err
	}
	t := TokenRequest{GrantType: values.Get("grant_type")}
	p := tokenParams{values: values}
	switch t.GrantType {
	case "":
		return TokenRequest{}, NewError(InvalidRequest, "grant_type is missing")
	case GrantAuthorizationCode:
		t.Code = p.required("code", maxCodeBytes)
		t.CodeVerifier = p.secret("code_verifier", maxCodeBytes)
		t.RedirectURI = p.text("redirect_uri", maxURIBytes)
	case GrantRefreshToken:
		t.RefreshToken = p.required("refresh_token", maxTokenBytes)
	case GrantDeviceCode:
		t.DeviceCode = p.required("device_code", maxCodeBytes)
	case GrantJWTBearer:
		t.Assertion = p.required("assertion", maxTokenBytes)
	case GrantTokenExchange:
		t.SubjectToken = p.required("subject_token", maxTokenBytes)
		t.SubjectTokenType = string(p.required("subject_token_type", maxURIBytes))
		t.ActorToken = p.secret("actor_token", maxTokenBytes)
		t.ActorTokenType = p.text("actor_token_type", maxURIBytes)
		t.RequestedTokenType = p.text("requested_token_type", maxURIBytes)
		if p.err == nil && (t.ActorToken == "") != (t.ActorTokenType == "") {
			// RFC 8693 §2.1.
			p.err = NewError(InvalidRequest, "actor_token and actor_token_type must come together")
		}
	case GrantClientCredentials:
	default:
		return TokenRequest{}, NewError(UnsupportedGrantType, "grant_type is not supported")
	}
	t.Resources = p.targets("resource")
	t.Audiences = p.targets("audience")
	scope := values.Get("scope")
	t.Scopes, t.ScopeGiven = ParseScopes(scope), scope != ""
	if p.err != nil {
		return TokenRequest{}, p.err
	}
	return t, nil
}

// tokenParams reads parameters until the first error.
type tokenParams struct {
	values url.Values
	err    error
}

func (p *tokenParams) text(name string, limit int) string {
	s := p.values.Get(name)
	if len(s) > limit && p.err == nil {
		p.err = NewError(InvalidRequest, name+" is too long")
	}
	return s
}

func (p *tokenParams) secret(name string, limit int) Secret { return Secret(p.text(name, limit)) }

func (p *tokenParams) required(name string, limit int) Secret {
	s := p.secret(name, limit)
	if s == "" && p.err == nil {
		p.err = NewError(InvalidRequest, name+" is missing")
	}
	return s
}

// targets returns the values of a parameter that may be repeated, without the empty ones.
func (p *tokenParams) targets(name string) []string {
	var ts []string
	for _, v := range p.values[name] {
		if v == "" {
			continue
		}
		if (len(v) > maxURIBytes || len(ts) == maxTargets) && p.err == nil {
			p.err = NewError(InvalidRequest, name+" is too long or given too often")
		}
		ts = append(ts, v)
	}
	return ts
}

// TokenResponse is the answer to a token request that succeeded (RFC 6749 §5.1). Clients want all of the first four and no null.
type TokenResponse struct {
	AccessToken     string `json:"access_token"`
	TokenType       string `json:"token_type"` // Bearer or DPoP
	ExpiresIn       int64  `json:"expires_in"` // seconds
	Scope           string `json:"scope"`
	RefreshToken    string `json:"refresh_token,omitzero"`
	IDToken         string `json:"id_token,omitzero"`
	IssuedTokenType string `json:"issued_token_type,omitzero"` // RFC 8693 §2.2.1
}
