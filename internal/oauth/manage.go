package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// manage is the client configuration endpoint (RFC 7592 §2). A registration
// can be read, and, once somebody has connected with it, be deleted for good.
// It cannot be changed: its client_id is the metadata.
func (s *Server) manage(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPut {
		w.Header().Set("Allow", "GET, DELETE, OPTIONS")
		return spec.NewError(spec.InvalidRequest, "a registration cannot be changed, since its client_id is made of what was registered: register again, and forget this one").
			WithStatus(http.StatusMethodNotAllowed)
	}
	id := r.PathValue("id")
	meta, issued, err := spec.DecodeClientID(s.clientKey, id)
	if err != nil && !errors.Is(err, spec.ErrClientID) {
		return fmt.Errorf("read client id: %w", err)
	}
	c := grant.Client{ID: grant.ClientID(id), Kind: grant.SelfRegistered, Metadata: meta, CreatedAt: issued}
	// RFC 7592 §2: a wrong token and a client that is gone get one answer.
	known := err == nil && spec.VerifyRegistrationToken(s.clientKey, id, bearerToken(r))
	if known {
		deleted, err := s.isDeleted(r, c)
		if err != nil {
			return err
		}
		known = !deleted
	}
	if !known {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="the registration access token is not that of a registration that exists"`)
		return spec.NewError("invalid_token", "the registration access token is not that of a registration that exists").WithStatus(http.StatusUnauthorized)
	}
	if r.Method == http.MethodDelete {
		return s.deleteClient(w, r, c)
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, s.registration(c))
}

// registration is what a client is told about itself, when it registers and
// whenever it asks.
func (s *Server) registration(c grant.Client) spec.RegistrationResponse {
	id := string(c.ID)
	var secret string
	if c.Metadata.NeedsSecret() {
		secret = spec.ClientSecret(s.clientKey, id)
	}
	res := spec.NewRegistrationResponse(id, secret, c.Metadata, c.CreatedAt)
	res.RegistrationClientURI = s.PublicURL.String() + spec.RegisterPath + "/" + id
	res.RegistrationAccessToken = spec.RegistrationToken(s.clientKey, id)
	return res
}

// deleteClient ends everything of a registration and takes its client_id out
// of use. What nobody has connected with is stored nowhere, and remembering
// that it was deleted would let strangers fill the store: that is refused
// rather than promised.
func (s *Server) deleteClient(w http.ResponseWriter, r *http.Request, c grant.Client) error {
	err := s.Authority.DeleteClient(r.Context(), c, s.clientActor(r, c))
	if errors.Is(err, grant.ErrClientUnknown) {
		return spec.NewError(spec.AccessDenied, "nobody has connected with this registration, so nothing of it is stored here that could be deleted: forget its client_id").
			WithStatus(http.StatusForbidden)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// isDeleted says whether a registration was deleted by its client.
func (s *Server) isDeleted(r *http.Request, c grant.Client) (bool, error) {
	if c.Kind != grant.SelfRegistered {
		return false, nil
	}
	return s.Clients.ProductBlocked(r.Context(), c.DeletedName())
}

// bearerToken returns the token of a request's only Authorization header, ""
// for none.
func bearerToken(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
