package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// metadataAge is how long metadata and keys may be cached: clients must learn
// of a change soon.
const metadataAge = "public, max-age=300"

// keysAge is how long keys may be cached: grant.JWKSAge. A new key is
// published for longer than that before it signs.
func keysAge() string {
	return fmt.Sprintf("public, max-age=%d, must-revalidate", int(grant.JWKSAge.Seconds()))
}

// ensureSigner makes the key that a client's ID tokens need, if it is the
// first to need it.
func (s *Server) ensureSigner(ctx context.Context, m spec.ClientMetadata) error {
	if m.IDTokenSigningAlg != "RS256" {
		return nil
	}
	if err := s.Authority.Keys.EnsureRS256(ctx); err != nil {
		return fmt.Errorf("make RS256 key: %w", err)
	}
	return nil
}

// documents are the metadata documents, which never change while the server
// runs.
type documents map[string][]byte

// newDocuments advertises no way in that the admission policy keeps shut.
func newDocuments(public spec.PublicURL, admission grant.Admission, classes []string) (documents, error) {
	f := features()
	f.ACRValues = classes
	f.Registration = f.Registration && admission.RegistersItself()
	f.ClientDocuments = f.ClientDocuments && admission.Policy != grant.AdmitRegistered
	server, err := json.Marshal(spec.NewServerMetadata(public, f))
	if err != nil {
		return nil, fmt.Errorf("encode server metadata: %w", err)
	}
	openid, err := json.Marshal(spec.NewOpenIDMetadata(public, f))
	if err != nil {
		return nil, fmt.Errorf("encode OpenID metadata: %w", err)
	}
	return documents{"oauth-authorization-server": server, "openid-configuration": openid}, nil
}

// serve answers with one of the documents (RFC 8414 §3.2, OpenID Connect
// Discovery §4.2).
func (d documents) serve(name string) web.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error { return writeCached(w, d[name], metadataAge) }
}

// jwks answers with the signing keys (RFC 7517 §5).
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) error {
	return writeCached(w, s.Authority.Keys.JWKS(), keysAge())
}

func writeCached(w http.ResponseWriter, body []byte, age string) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", age)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return nil
}
