package mcpserver

import (
	"net/http"

	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// metadataPath is where protected resource metadata is, with the resource's
// own path behind it (RFC 9728 §3.1).
const metadataPath = "/.well-known/oauth-protected-resource"

// metadata describes a resource (RFC 9728 §3.2). At the root it describes the
// MCP endpoint too, never the origin: clients that look there first would ask
// for tokens for something that does not exist.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "MCP-Protocol-Version, Authorization, Content-Type, Accept")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: spec.InvalidRequest, Public: "Metadata can only be read."}
	}
	at, err := s.resource(r)
	if err != nil {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found", Public: "There is no such resource."}
	}
	h.Set("Cache-Control", "public, max-age=300")
	return web.WriteJSON(w, http.StatusOK, spec.NewResourceMetadata(at, s.PublicURL, "Oriel", spec.Features{DPoP: true}))
}
