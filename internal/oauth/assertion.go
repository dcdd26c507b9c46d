package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

const (
	// assertionLifetime is how far ahead an assertion may expire, and how old
	// it may be: it is made for one request.
	assertionLifetime = 10 * time.Minute
	// assertionLeeway is how far clocks may differ.
	assertionLeeway = 30 * time.Second
	// maxJTIBytes bounds what is remembered of an assertion.
	maxJTIBytes = 256
	// maxAssertions bounds the assertions remembered of all clients, and
	// maxClientAssertions those of one: 65,536 are about 6 MB.
	maxAssertions       = 1 << 16
	maxClientAssertions = 1 << 12
)

// assertionAlgorithms are accepted: asymmetric ones only (RFC 8725 §3.1 and
// §3.2). Metadata lists the same.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256, jose.RS256}

// assertionError is what a client is told, whatever is wrong: the rest is for
// the log.
func assertionError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", spec.NewError(spec.InvalidClient, "the client assertion is not acceptable"), fmt.Errorf(format, args...))
}

// authenticateAssertion authenticates a client by a JWT that it signed with a
// key of its metadata: private_key_jwt (RFC 7523 §3, OpenID Connect Core §9).
func (s *Server) authenticateAssertion(ctx context.Context, a spec.ClientAuth) (grant.Client, error) {
	token, err := jwt.ParseSigned(string(a.Assertion), assertionAlgorithms)
	if err != nil || len(token.Headers) != 1 {
		return grant.Client{}, assertionError("parse: %w", err)
	}
	var claims jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return grant.Client{}, assertionError("read claims: %w", err)
	}
	// RFC 7523 §3: iss and sub are the client_id.
	id := claims.Subject
	if id == "" || claims.Issuer != id || (a.ClientID() != "" && a.ClientID() != id) {
		return grant.Client{}, assertionError("iss %q, sub %q and client_id %q differ", claims.Issuer, claims.Subject, a.ClientID())
	}
	c, err := s.client(ctx, id)
	if errors.Is(err, grant.ErrClientUnknown) {
		return grant.Client{}, assertionError("%w", err)
	}
	if err != nil {
		return grant.Client{}, err
	}
	if c.Blocked {
		return grant.Client{}, errBlocked()
	}
	if c.Kind == grant.Document && !s.Admission.Admits(c) {
		return c, errNotAdmitted // nothing was fetched to authenticate it with
	}
	if c.Metadata.TokenEndpointAuthMethod != spec.AuthPrivateKeyJWT {
		return grant.Client{}, assertionError("the client is registered for %q", c.Metadata.TokenEndpointAuthMethod)
	}
	// The cheap checks come before the keys, which may have to be fetched.
	if err := s.checkAssertion(claims); err != nil {
		return grant.Client{}, err
	}
	keys, err := s.clientKeys(ctx, c, token.Headers[0].KeyID)
	if err != nil {
		return grant.Client{}, err
	}
	if !verifies(token, keys) {
		return grant.Client{}, assertionError("no key of the client made the signature")
	}
	until := claims.Expiry.Time().Add(assertionLeeway)
	if err := s.assertions.use(id, claims.ID, until, s.Now()); err != nil {
		return grant.Client{}, err
	}
	if s.Once != nil {
		key := assertionKey(id, claims.ID)
		first, err := s.Once(ctx, "client "+hex.EncodeToString(key[:]), until)
		if err != nil {
			return grant.Client{}, fmt.Errorf("note client assertion: %w", err)
		}
		if !first {
			return grant.Client{}, assertionError("jti was used before")
		}
	}
	return c, nil
}

// checkAssertion checks all that needs no key.
func (s *Server) checkAssertion(claims jwt.Claims) error {
	now, ahead := s.Now(), assertionLifetime+assertionLeeway
	issuer := s.Authority.Issuer
	for _, aud := range claims.Audience {
		// Another audience beside ours could take the assertion and come here
		// with it, or the other way round.
		if aud != issuer && aud != issuer+spec.TokenPath {
			return assertionError("aud names %q", aud)
		}
	}
	switch {
	case len(claims.Audience) == 0:
		return assertionError("no aud")
	case claims.Expiry == nil:
		return assertionError("no exp")
	case !now.Before(claims.Expiry.Time().Add(assertionLeeway)):
		return assertionError("expired")
	case claims.Expiry.Time().After(now.Add(ahead)):
		return assertionError("exp is more than %s ahead", assertionLifetime)
	case claims.IssuedAt != nil && claims.IssuedAt.Time().After(now.Add(assertionLeeway)):
		return assertionError("iat is in the future")
	case claims.IssuedAt != nil && claims.IssuedAt.Time().Before(now.Add(-ahead)):
		return assertionError("iat is more than %s ago", assertionLifetime)
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(assertionLeeway)):
		return assertionError("not valid yet")
	case claims.ID == "" || len(claims.ID) > maxJTIBytes:
		return assertionError("jti is missing or too long")
	}
	return nil
}

// clientKeys returns the keys of a client that may have signed.
func (s *Server) clientKeys(ctx context.Context, c grant.Client, kid string) ([]jose.JSONWebKey, error) {
	var (
		keys []jose.JSONWebKey
		err  error
	)
	switch {
	case c.Metadata.JWKS != nil:
		if keys, err = clientdoc.ParseKeys(c.Metadata.JWKS); err != nil {
			return nil, assertionError("keys of the client: %w", err)
		}
	case c.Metadata.JWKSURI != "":
		if keys, err = s.Documents.Keys(ctx, c.Metadata.JWKSURI, kid); err != nil {
			return nil, fmt.Errorf("fetch keys of client %s: %w", c.Key(), err)
		}
	}
	if kid == "" {
		return keys, nil
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k jose.JSONWebKey) bool { return k.KeyID != kid }), nil
}

// verifies says whether one of the keys made the signature. A key that is
// meant for one algorithm is used for no other (RFC 8725 §3.1).
func verifies(token *jwt.JSONWebToken, keys []jose.JSONWebKey) bool {
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != token.Headers[0].Algorithm {
			continue
		}
		if token.Claims(k.Key) == nil {
			return true
		}
	}
	return false
}

// assertions remembers which assertions were used, until they expire. The
// memory is this process's own; with replicas, Config.Once is asked as well. It
// is safe for concurrent use.
type assertions struct {
	mu        sync.Mutex // guards all below
	used      map[[sha256.Size]byte]usedAssertion
	perClient map[string]int
	sweepAt   time.Time
}

type usedAssertion struct {
	client string
	until  time.Time
}

// assertionKey is one assertion's.
func assertionKey(client, jti string) [sha256.Size]byte {
	return sha256.Sum256([]byte(client + "\x00" + jti))
}

// use marks an assertion as used. Errors: invalid_client for one that was
// used before; temporarily_unavailable where no more can be remembered.
func (u *assertions) use(client, jti string, until, now time.Time) error {
	key := assertionKey(client, jti)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.used == nil {
		u.used, u.perClient = make(map[[sha256.Size]byte]usedAssertion), make(map[string]int)
	}
	if !now.Before(u.sweepAt) || len(u.used) >= maxAssertions {
		for k, a := range u.used {
			if now.Before(a.until) {
				continue
			}
			delete(u.used, k)
			if u.perClient[a.client]--; u.perClient[a.client] == 0 {
				delete(u.perClient, a.client)
			}
		}
		u.sweepAt = now.Add(time.Minute)
	}
	if a, used := u.used[key]; used && now.Before(a.until) {
		return assertionError("jti was used before")
	}
	if len(u.used) >= maxAssertions || u.perClient[client] >= maxClientAssertions {
		return spec.NewError(spec.TemporarilyUnavailable, "too many client assertions, please try again in a minute")
	}
	if _, again := u.used[key]; !again {
		u.perClient[client]++
	}
	u.used[key] = usedAssertion{client, until}
	return nil
}
