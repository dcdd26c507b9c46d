package oauth

import (
	"errors"
	"net/http"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/oauth/dpop"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// dpopNonce carries the next nonce to a client (RFC 9449 §8).
const dpopNonce = "DPoP-Nonce"

// proof checks the proof of possession of a token request (RFC 9449 §5) and
// returns the thumbprint of its key, "" for a request without a proof: its
// token is a bearer token.
func (s *Server) proof(w http.ResponseWriter, r *http.Request) (string, error) {
	key, err := s.Proofs.Check(r.Header.Values("DPoP"), dpop.Request{Method: r.Method, Path: r.URL.EscapedPath()})
	if errors.Is(err, dpop.ErrNoProof) {
		return "", nil
	}
	w.Header().Set(dpopNonce, s.Proofs.Nonce())
	return string(key), err
}

// possession checks that whoever presents a token holds the key that the token
// is bound to. dpopScheme says how it was presented: a bound token is worth
// nothing as a bearer token, and the other way round (RFC 9449 §7.1).
func (s *Server) possession(w http.ResponseWriter, r *http.Request, caller *access.Caller, token string, dpopScheme bool) error {
	if !dpopScheme && caller.Key() == "" {
		return nil
	}
	e := dpop.CheckPossession(s.Proofs, r, caller.Key(), token, dpopScheme)
	w.Header().Set(dpopNonce, s.Proofs.Nonce())
	if e == nil {
		return nil
	}
	w.Header().Set("WWW-Authenticate", spec.Challenge{Error: e}.DPoP())
	return e
}
