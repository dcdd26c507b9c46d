package oauth

import (
	"errors"
	"net/http"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// userInfo tells a client who its person is (OpenID Connect Core §5.3).
func (s *Server) userInfo(w http.ResponseWriter, r *http.Request) error {
	token, dpopScheme, err := spec.ParseAccessToken(r.Header.Values("Authorization"))
	if err != nil {
		return s.refuseToken(w, "", nil)
	}
	caller, err := s.Gate.CheckAny(r.Context(), grant.AccessToken(token))
	if refused, ok := errors.AsType[*access.RefusedError](err); ok {
		return s.refuseToken(w, spec.InvalidToken, refused)
	}
	if err != nil {
		return err
	}
	if err := s.possession(w, r, caller, token, dpopScheme); err != nil {
		return err
	}
	if !caller.Scopes().Has(spec.ScopeOpenID) {
		return s.refuseToken(w, spec.InsufficientScope, nil)
	}
	p := caller.Person()
	name, username, email := grant.PersonClaims(p, caller.Scopes())
	return web.WriteJSON(w, http.StatusOK, struct {
		Subject  string `json:"sub"`
		Name     string `json:"name,omitempty"`
		Username string `json:"preferred_username,omitempty"`
		Email    string `json:"email,omitempty"`
	}{string(p.ID), name, username, email})
}

// refuseToken answers a request whose token does not do (RFC 6750 §3).
func (s *Server) refuseToken(w http.ResponseWriter, code string, refused *access.RefusedError) error {
	c := spec.Challenge{}
	description := "an access token is needed"
	switch {
	case refused != nil:
		description = refused.Reason
	case code == spec.InsufficientScope:
		description, c.Scope = "the scope openid is needed", spec.NewScopes(spec.ScopeOpenID)
	}
	status := http.StatusUnauthorized
	if code != "" {
		c.Error = spec.NewError(code, description)
		status = c.Error.Status
	}
	w.Header().Set("WWW-Authenticate", c.Bearer())
	out := &web.Error{Status: status, Code: code, Public: description}
	if refused != nil {
		out.Cause = refused
	}
	return out
}
