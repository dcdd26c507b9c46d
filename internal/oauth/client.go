package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// ClientStore is where registered clients and blocked integrations are found.
type ClientStore interface {
	// ClientByKey returns grant.ErrClientUnknown where none is stored.
	ClientByKey(ctx context.Context, key grant.ClientKey) (grant.Client, error)
	// ProductBlocked says whether any of these integrations is blocked.
	ProductBlocked(ctx context.Context, products ...string) (bool, error)
}

// client finds out who a client id is: a URL is where the client's metadata
// is, a self-registered client carries its own, others are stored. Errors:
// grant.ErrClientUnknown, *clientdoc.Error.
func (s *Server) client(ctx context.Context, id string) (grant.Client, error) {
	if isDocumentID(id) {
		return s.documentClient(ctx, id)
	}
	if !spec.IsEncodedClientID(id) {
		return s.Clients.ClientByKey(ctx, grant.ClientID(id).Key())
	}
	meta, issued, err := spec.DecodeClientID(s.clientKey, id)
	if errors.Is(err, spec.ErrClientID) {
		return grant.Client{}, grant.ErrClientUnknown
	}
	if err != nil {
		return grant.Client{}, fmt.Errorf("read client id: %w", err)
	}
	c := grant.Client{ID: grant.ClientID(id), Kind: grant.SelfRegistered, Metadata: meta, CreatedAt: issued}
	if c.Blocked, err = s.Clients.ProductBlocked(ctx, c.Integrations()...); err != nil {
		return grant.Client{}, err
	}
	return c, nil
}

// authenticate finds the client that a request to an endpoint for clients
// comes from, and checks its secret if it has one (RFC 6749 §2.3). Unknown
// clients and wrong secrets get the same answer.
func (s *Server) authenticate(ctx context.Context, a spec.ClientAuth) (grant.Client, error) {
	if a.Method == spec.AuthPrivateKeyJWT {
		return s.authenticateAssertion(ctx, a)
	}
	for _, cred := range a.Candidates {
		c, err := s.client(ctx, cred.ClientID)
		if errors.Is(err, grant.ErrClientUnknown) {
			continue
		}
		if err != nil {
			return grant.Client{}, err
		}
		if c.Blocked {
			return grant.Client{}, errBlocked()
		}
		// The document of a client that is not admitted was not fetched, so
		// there is nothing to authenticate it with.
		if c.Kind == grant.Document && !s.Admission.Admits(c) {
			return c, errNotAdmitted
		}
		if s.secretMatches(c, string(cred.Secret)) {
			return c, nil
		}
	}
	return grant.Client{}, spec.NewError(spec.InvalidClient, "the client is unknown or its secret is wrong")
}

func errBlocked() error {
	return spec.NewError(spec.InvalidClient, "the integration has been blocked by an administrator")
}

// secretMatches compares in constant time. A public client has no secret to
// present.
func (s *Server) secretMatches(c grant.Client, secret string) bool {
	switch {
	case c.Metadata.IsPublic():
		return secret == ""
	case secret == "", !c.Metadata.NeedsSecret():
		return false
	case c.Kind == grant.SelfRegistered:
		return spec.VerifyClientSecret(s.clientKey, string(c.ID), secret)
	default:
		sum := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(c.SecretHash)) == 1
	}
}
