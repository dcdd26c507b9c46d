package oauth

import (
	"errors"
	"net/http"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// introspection is the answer about a token (RFC 7662 §2.2). For a token that
// is worth nothing now, or is none of the asker's business, it holds active
// alone.
type introspection struct {
	Active       bool                `json:"active"`
	Scope        string              `json:"scope,omitempty"`
	ClientID     string              `json:"client_id,omitempty"`
	Username     string              `json:"username,omitempty"`
	TokenType    string              `json:"token_type,omitempty"`
	ExpiresAt    int64               `json:"exp,omitempty"`
	IssuedAt     int64               `json:"iat,omitempty"`
	Subject      string              `json:"sub,omitempty"`
	Audience     string              `json:"aud,omitempty"`
	Issuer       string              `json:"iss,omitempty"`
	TokenID      string              `json:"jti,omitempty"`
	Team         string              `json:"team,omitempty"`
	Grant        grant.ID            `json:"grant,omitempty"`
	Actor        *grant.Actor        `json:"act,omitempty"`
	Confirmation *grant.Confirmation `json:"cnf,omitempty"`
}

// introspect is the introspection endpoint (RFC 7662). Only a client that
// proves who it is may ask, and only about tokens of its own: another's are
// answered like ones that do not exist (§4). Whether a token is active is
// decided as for a call made with it, at this moment.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) error {
	client, form, err := s.clientRequest(r)
	if err != nil {
		return err
	}
	if client.Metadata.IsPublic() {
		return spec.NewError(spec.InvalidClient, "only a client that authenticates itself may introspect tokens")
	}
	if len(form["token"]) != 1 || form.Get("token") == "" {
		return spec.NewError(spec.InvalidRequest, "token is missing or given more than once")
	}
	token := form.Get("token")
	answer, err := s.inspectRefreshToken(r, client, grant.RefreshToken(token))
	if err == nil && !answer.Active {
		answer, err = s.inspectAccessToken(r, client, grant.AccessToken(token))
	}
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

func (s *Server) inspectAccessToken(r *http.Request, client grant.Client, token grant.AccessToken) (introspection, error) {
	caller, err := s.Gate.CheckAny(r.Context(), token)
	if _, refused := errors.AsType[*access.RefusedError](err); refused {
		return introspection{}, nil
	}
	if err != nil {
		return introspection{}, err
	}
	if caller.Client().ID != client.ID {
		return introspection{}, nil
	}
	claims := caller.Claims()
	typ := "Bearer"
	if claims.Confirmation != nil {
		typ = "DPoP"
	}
	return introspection{
		Confirmation: claims.Confirmation, Active: true, Scope: claims.Scope, ClientID: string(client.ID), Username: claims.Username, TokenType: typ,
		ExpiresAt: claims.ExpiresAt, IssuedAt: claims.IssuedAt, Subject: claims.Subject, Audience: claims.Audience,
		Issuer: claims.Issuer, TokenID: claims.TokenID, Team: claims.Team, Grant: claims.Grant, Actor: claims.Actor,
	}, nil
}

func (s *Server) inspectRefreshToken(r *http.Request, client grant.Client, token grant.RefreshToken) (introspection, error) {
	standing, err := s.Authority.LookUpRefreshToken(r.Context(), token)
	if err != nil {
		if oauthError(err).Code == spec.InvalidGrant {
			return introspection{}, nil
		}
		return introspection{}, err
	}
	if standing.Client.ID != client.ID {
		return introspection{}, nil
	}
	g := standing.Grant
	return introspection{
		Active: true, Scope: g.Scopes.String(), ClientID: string(client.ID), Username: standing.Person.Email,
		Subject: string(g.Person), Audience: g.Resource, Issuer: s.Authority.Issuer, Team: standing.Team.Slug, Grant: g.ID,
	}, nil
}
