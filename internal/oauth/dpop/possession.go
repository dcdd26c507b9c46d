package dpop

import (
	"errors"
	"net/http"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

// CheckPossession checks a request that presents an access token at a resource
// (RFC 9449 §7.1): a token bound to a key must come with the scheme DPoP and a
// proof of that key for this request and this token; a token that is not
// bound must not. The error, with status 401, belongs into a DPoP challenge;
// temporarily_unavailable keeps its own status.
func CheckPossession(c *Checker, r *http.Request, bound, token string, scheme bool) *spec.Error {
	switch {
	case bound == "" && scheme:
		return spec.NewError(spec.InvalidToken, "the access token is not bound to a key; present it as a bearer token")
	case bound == "":
		return nil
	case !scheme:
		return spec.NewError(spec.InvalidToken, "the access token is bound to a key; present it with the scheme DPoP and a proof")
	}
	_, err := c.Check(r.Header.Values("DPoP"), Request{
		Method: r.Method, Path: r.URL.EscapedPath(), AccessToken: token, Bound: Thumbprint(bound),
	})
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*spec.Error](err); ok {
		if e.Status >= http.StatusInternalServerError {
			return e
		}
		return e.WithStatus(http.StatusUnauthorized)
	}
	return spec.NewError(spec.InvalidDPoPProof, "the proof is missing").WithStatus(http.StatusUnauthorized)
}
