package spec

import (
	"errors"
	"strings"
)

// maxBearerBytes bounds an access token in a header; ours are under 2 KiB.
const maxBearerBytes = 8 << 10

// ErrNoBearer says that a request carries no bearer token at all. Its challenge has no error (RFC 6750 §3.1).
var ErrNoBearer = errors.New("the request has no bearer token")

// ParseBearer returns the token of the Authorization header (RFC 6750 §2.1): exactly one header, the scheme in any
// case, one token of at most 8 KiB in the characters of token68 (RFC 9110 §11.2). No header, or one with another scheme, is
// ErrNoBearer; everything else is *Error with invalid_token. Tokens in the query or the body are never looked for.
func ParseBearer(authorization []string) (string, error) {
	token, dpop, err := ParseAccessToken(authorization)
	if err == nil && dpop {
		return "", ErrNoBearer
	}
	return token, err
}

// ParseAccessToken is ParseBearer for resources that take the scheme DPoP as well (RFC 9449 §7.1).
func ParseAccessToken(authorization []string) (token string, dpop bool, err error) {
	if len(authorization) == 0 {
		return "", false, ErrNoBearer
	}
	if len(authorization) > 1 {
		// Two readers might take two different ones.
		return "", false, NewError(InvalidToken, "there is more than one Authorization header")
	}
	scheme, token, ok := strings.Cut(authorization[0], " ")
	dpop = strings.EqualFold(scheme, "DPoP")
	if !dpop && !strings.EqualFold(scheme, "Bearer") {
		return "", false, ErrNoBearer
	}
	token = strings.Trim(token, " ")
	switch {
	case !ok || token == "":
		return "", false, NewError(InvalidToken, "the Authorization header has no token")
	case len(token) > maxBearerBytes:
		return "", false, NewError(InvalidToken, "the token is too long")
	case !isToken68(token):
		return "", false, NewError(InvalidToken, "the token is malformed")
	}
	return token, dpop, nil
}

func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !token68[s[i]] {
			return false
		}
	}
	return s != ""
}

// token68 are the characters of token68 (RFC 9110 §11.2). It is a table
// because every call's token goes through it.
var token68 = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		t[c] = true
	}
	return t
}()

// Challenge is the content of a WWW-Authenticate header of a protected resource (RFC 6750 §3, RFC 9728 §5.1). Empty
// members are left out.
type Challenge struct {
	Error            *Error // nil when the request had no token
	ResourceMetadata string // URL of the resource's metadata
	Scope            Scopes
}

// Bearer returns the challenge with the scheme Bearer.
func (c Challenge) Bearer() string { return c.build("Bearer", "") }

// DPoP returns the challenge with the scheme DPoP and the accepted proof algorithms (RFC 9449 §7.1).
func (c Challenge) DPoP() string { return c.build("DPoP", strings.Join(signingAlgorithms(), " ")) }

// BasicChallenge is the challenge for a client whose Basic authentication failed (RFC 6749 §5.2, RFC 7617 §2).
const BasicChallenge = `Basic realm="oauth", charset="UTF-8"`

func (c Challenge) build(scheme, algs string) string {
	var b strings.Builder
	b.WriteString(scheme)
	sep := " "
	add := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString(sep + name + `="` + printable(value) + `"`)
		sep = ", "
	}
	if c.Error != nil {
		add("error", c.Error.Code)
		add("error_description", c.Error.Description)
	}
	add("resource_metadata", c.ResourceMetadata)
	add("scope", c.Scope.String())
	add("algs", algs)
	return b.String()
}
