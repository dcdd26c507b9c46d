package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

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
	if c.Blocked, err = s.Clients.ProductBlocked(ctx, c.Integrations()...); err != nil || !c.Blocked {
		return c, err
	}
	// One that its client deleted is not blocked but gone (RFC 7592 §2.3): to
	// the token endpoint it is as one that never was (RFC 6749 §5.2).
	deleted, err := s.Clients.ProductBlocked(ctx, c.DeletedName())
	if err != nil {
		return grant.Client{}, err
	}
	if deleted {
		return grant.Client{}, grant.ErrClientUnknown
	}
	return c, nil
}

// clientAgain is client for endpoints where the same clients come again and
// again: it remembers them. What another process changes takes hold as soon as
// the gate hears of it; whoever gives out tokens asks for the grant as well,
// whose standing is never that old.
func (s *Server) clientAgain(ctx context.Context, id string) (grant.Client, error) {
	epoch, err := s.Gate.Epoch(ctx)
	if err != nil || isDocumentID(id) {
		// A document has a cache of its own, and without word from the store
		// nothing that is remembered can be trusted.
		return s.client(ctx, id)
	}
	if c, ok := s.identified.recall(id, epoch); ok {
		return c, nil
	}
	c, err := s.client(ctx, id)
	if err == nil {
		s.identified.remember(id, c, epoch)
	}
	return c, err
}

// maxKnownClients bounds the remembered clients, of 4 KB at the most each.
const maxKnownClients = 2000

// knownClients remembers who client ids are until something changes that any
// decision rests on: clients come often, changes seldom. It is safe for
// concurrent use; what it returns must not be changed.
type knownClients struct {
	mu      sync.RWMutex // guards both
	epoch   uint64
	clients map[string]grant.Client
}

func (k *knownClients) recall(id string, epoch uint64) (grant.Client, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.epoch != epoch {
		return grant.Client{}, false
	}
	c, ok := k.clients[id]
	return c, ok
}

// remember keeps a client that was read in an epoch.
func (k *knownClients) remember(id string, c grant.Client, epoch uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.clients == nil || k.epoch != epoch || len(k.clients) >= maxKnownClients {
		k.epoch, k.clients = epoch, make(map[string]grant.Client)
	}
	k.clients[id] = c
}

// authenticate finds the client that a request to an endpoint for clients
// comes from, and checks its secret if it has one (RFC 6749 §2.3). Unknown
// clients and wrong secrets get the same answer.
func (s *Server) authenticate(ctx context.Context, a spec.ClientAuth) (grant.Client, error) {
	if a.Method == spec.AuthPrivateKeyJWT {
		return s.authenticateAssertion(ctx, a)
	}
	for _, cred := range a.Candidates {
		c, err := s.clientAgain(ctx, cred.ClientID)
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

func errBlocked() *spec.Error {
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
