package oauth

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// readForm reads the body of a request to an endpoint for clients. Parameters
// in the query are never looked at (RFC 6749 §3.2, OAuth 2.1 §3.2.2).
func readForm(r *http.Request) (url.Values, error) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/x-www-form-urlencoded" {
		return nil, spec.NewError(spec.InvalidRequest, "the request must be a form (Content-Type: application/x-www-form-urlencoded)").
			WithStatus(http.StatusUnsupportedMediaType)
	}
	if err := r.ParseForm(); err != nil {
		if web.TooLarge(err) {
			return nil, err
		}
		return nil, spec.NewError(spec.InvalidRequest, "the form cannot be read")
	}
	return r.PostForm, nil
}

// clientRequest reads a form and finds the client that sent it, which the
// organization must let in.
func (s *Server) clientRequest(r *http.Request) (grant.Client, url.Values, error) {
	c, form, err := s.readClient(r)
	if err == nil && !s.Admission.Admits(c) {
		err = errNotAdmitted
	}
	if errors.Is(err, errNotAdmitted) {
		if err := s.recordNotAdmitted(r, c); err != nil {
			return grant.Client{}, nil, err
		}
	}
	return c, form, err
}

// readClient reads a form and finds the client that sent it.
func (s *Server) readClient(r *http.Request) (grant.Client, url.Values, error) {
	form, err := readForm(r)
	if err != nil {
		return grant.Client{}, nil, err
	}
	auth, err := spec.ParseClientAuth(r.Header.Values("Authorization"), form)
	if err != nil {
		return grant.Client{}, nil, err
	}
	c, err := s.authenticate(r.Context(), auth)
	return c, form, err
}

// token is the token endpoint (RFC 6749 §3.2, OAuth 2.1 §3.2).
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	client, form, err := s.clientRequest(r)
	if err != nil {
		return err
	}
	req, err := spec.ParseToken(form)
	if err != nil {
		return err
	}
	resource, err := s.resource(req.Resources)
	if err != nil {
		return err
	}
	if err := s.ensureSigner(r.Context(), client.Metadata); err != nil {
		return err
	}
	key, err := s.proof(w, r)
	if err != nil {
		return err
	}
	address := s.Site.ClientAddress(r).String()
	var tokens grant.Tokens
	switch req.GrantType {
	case spec.GrantAuthorizationCode:
		tokens, err = s.Authority.Redeem(r.Context(), grant.Redemption{
			Code: grant.Code(req.Code), Client: client.ID, RedirectURI: req.RedirectURI, Verifier: string(req.CodeVerifier),
			Resource: resource, Address: address, Key: key,
		})
	case spec.GrantRefreshToken:
		// Every client that can redeem a code may refresh, whatever grant
		// types it registered: many leave refresh_token out and need it.
		refresh := grant.RefreshRequest{
			Token: grant.RefreshToken(req.RefreshToken), Client: client.ID, Resource: resource, Address: address, Key: key,
		}
		if req.ScopeGiven {
			refresh.Scopes = &req.Scopes
		}
		tokens, err = s.Authority.Refresh(r.Context(), refresh)
	case spec.GrantClientCredentials:
		tokens, err = s.clientCredentials(r, client, req, resource, key)
	case spec.GrantTokenExchange:
		tokens, err = s.exchange(r, client, req, resource, key)
	case spec.GrantDeviceCode:
		tokens, err = s.redeemDevice(r, client, req, resource, address, key)
	case spec.GrantJWTBearer:
		tokens, err = s.assert(r, client, req, resource, address, key)
	default:
		return spec.NewError(spec.UnsupportedGrantType, "grant_type is not supported")
	}
	if err != nil {
		return err
	}
	typ, issued := "Bearer", ""
	if tokens.Bound {
		typ = "DPoP"
	}
	if req.GrantType == spec.GrantTokenExchange {
		issued = typeAccessToken
	}
	return web.WriteJSON(w, http.StatusOK, spec.TokenResponse{
		IssuedTokenType: issued,
		AccessToken:     string(tokens.Access),
		TokenType:       typ,
		ExpiresIn:       int64(tokens.ExpiresAt.Sub(s.Now()).Seconds()),
		Scope:           tokens.Scopes.String(),
		RefreshToken:    string(tokens.Refresh),
		IDToken:         tokens.IDToken,
	})
}

// resource reads the resource parameter of a token request. Absent, or just
// our origin, it says nothing: the grant's resource stands (RFC 8707 §2.2;
// clients drop it or cut it on refresh).
func (s *Server) resource(values []string) (string, error) {
	if len(values) == 0 || (len(values) == 1 && strings.TrimSuffix(values[0], "/") == s.PublicURL.String()) {
		return "", nil
	}
	res, err := s.Resources.Parse(values)
	if err != nil {
		return "", err
	}
	return res.URL(), nil
}

// revoke is the revocation endpoint (RFC 7009). Revoking either token ends
// the grant: both hang on it.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) error {
	// A client that is no longer admitted may still give up what it has.
	client, form, err := s.readClient(r)
	if err != nil {
		return err
	}
	if len(form["token"]) != 1 || form.Get("token") == "" {
		return spec.NewError(spec.InvalidRequest, "token is missing or given more than once")
	}
	token, by := form.Get("token"), s.clientActor(r, client)
	if err := s.Authority.EndByRefreshToken(r.Context(), grant.RefreshToken(token), client.ID, by); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if err := s.Authority.EndByAccessToken(r.Context(), grant.AccessToken(token), client.ID, by); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}
