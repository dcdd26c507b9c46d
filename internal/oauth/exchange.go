package oauth

import (
	"errors"
	"net/http"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// Token types of RFC 8693 §3.
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// exchange narrows an access token (RFC 8693): a client gives one of its own
// and gets one with fewer scopes, say to hand to a part of itself that it
// trusts less. There is no other use here: tokens of others are not taken, and
// nothing grows. Errors about the token are invalid_request (§2.2.2).
func (s *Server) exchange(r *http.Request, client grant.Client, req spec.TokenRequest, resource, key string) (grant.Tokens, error) {
	switch {
	case req.SubjectTokenType != typeAccessToken && req.SubjectTokenType != typeJWT:
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "subject_token_type must be "+typeAccessToken)
	case req.ActorToken != "":
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "actor_token is not supported")
	case req.RequestedTokenType != "" && req.RequestedTokenType != typeAccessToken && req.RequestedTokenType != typeJWT:
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "requested_token_type must be "+typeAccessToken)
	case len(req.Audiences) > 0:
		return grant.Tokens{}, spec.NewError(spec.InvalidTarget, "name the resource with resource, not with audience")
	}
	caller, err := s.Gate.CheckAny(r.Context(), grant.AccessToken(req.SubjectToken))
	if refused, ok := errors.AsType[*access.RefusedError](err); ok {
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "subject_token: "+refused.Reason)
	}
	if err != nil {
		return grant.Tokens{}, err
	}
	if caller.Client().ID != client.ID {
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "subject_token: it was issued to another client")
	}
	// What was bound stays bound, to the same key.
	if caller.Key() != "" && caller.Key() != key {
		return grant.Tokens{}, spec.NewError(spec.InvalidRequest, "subject_token: it is bound to a key that the request does not prove")
	}
	if resource != "" && resource != caller.Resource() {
		return grant.Tokens{}, grant.ErrTarget
	}
	wanted := caller.Scopes()
	if req.ScopeGiven {
		wanted = req.Scopes
	}
	return s.Authority.Exchange(r.Context(), grant.ExchangeRequest{
		Grant: caller.Grant(), Client: client.ID, Held: caller.Scopes(), Wanted: wanted, NotAfter: caller.Expires(),
		Address: s.Site.ClientAddress(r).String(), Key: key,
	})
}
