package oauth

import (
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// register is the dynamic client registration endpoint (RFC 7591 §3). It
// stores nothing: the client id carries the metadata, authenticated with a
// key of ours, until somebody consents. A flood of registrations therefore
// has nothing to fill, and no registration can be lost.
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return spec.NewError(spec.InvalidClientMetadata, "the request must be JSON (Content-Type: application/json)").
			WithStatus(http.StatusUnsupportedMediaType)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read registration: %w", err)
	}
	meta, err := spec.ParseRegistration(body)
	if err != nil {
		return err
	}
	if c := (grant.Client{Kind: grant.SelfRegistered, Metadata: meta}); !s.Admission.Admits(c) {
		if err := s.recordNotAdmitted(r, c); err != nil {
			return err
		}
		return spec.NewError(spec.AccessDenied,
			"this organization does not let apps of this kind register themselves. Ask an owner of the server to allow the app, or to register it and give you its client_id").
			WithStatus(http.StatusForbidden)
	}
	meta = meta.WithGrantTypes(features().GrantTypes())
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("make client id: %w", err)
	}
	now := s.Now()
	if err := s.ensureSigner(r.Context(), meta); err != nil {
		return err
	}
	id, err := spec.EncodeClientID(s.clientKey, meta, nonce, now)
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache") // RFC 7591 §3.2.1's example, for very old caches
	return web.WriteJSON(w, http.StatusCreated, s.registration(grant.Client{ID: grant.ClientID(id), Kind: grant.SelfRegistered, Metadata: meta, CreatedAt: now}))
}
