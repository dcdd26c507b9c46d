package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// metadataAge is how long metadata and keys may be cached: clients must learn
// of a change soon.
const metadataAge = "public, max-age=300"

// documents are the metadata documents, which never change while the server
// runs.
type documents map[string][]byte

// newDocuments advertises no way in that the admission policy keeps shut.
func newDocuments(public spec.PublicURL, admission grant.Admission) (documents, error) {
	f := features()
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
	return func(w http.ResponseWriter, _ *http.Request) error { return writeCached(w, d[name]) }
}

// jwks answers with the signing keys (RFC 7517 §5).
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) error {
	return writeCached(w, s.Authority.Keys.JWKS())
}

func writeCached(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", metadataAge)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return nil
}
