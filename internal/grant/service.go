package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// ServiceTouch is how old the note of a service grant's last use may be: its
// tokens are issued without a write in between.
const ServiceTouch = time.Hour

// ErrNoService is returned for a client that does not act by itself.
var ErrNoService = errors.New("the client is not bound to a team of its own")

// ServiceRequest asks for a token for a client that acts by itself (RFC 6749
// §4.4).
type ServiceRequest struct {
	Client   Client
	Team     org.Team
	Resource string
	// Scopes must be within what the client's roles give.
	Scopes  spec.Scopes
	Address string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// ServiceToken returns an access token for a client that acts by itself, and
// no refresh token: it can come again. All its tokens for a resource hang on
// one grant, made with the first, which ends as any other does. Errors:
// ErrNoService, *EndedError; any other is our own fault.
func (a *Authority) ServiceToken(ctx context.Context, r ServiceRequest) (Tokens, error) {
	if r.Client.Service == "" {
		return Tokens{}, ErrNoService
	}
	now := a.Now()
	s, err := a.serviceStanding(ctx, r, now)
	if err != nil {
		return Tokens{}, fmt.Errorf("issue a token to service %s: %w", r.Client.Key(), err)
	}
	return a.ServiceTokenAgain(s, r.Scopes, r.Key)
}

// ServiceTokenAgain is ServiceToken for a grant that exists, as it stands now.
// It makes no query. Errors: *EndedError; any other is our own fault.
func (a *Authority) ServiceTokenAgain(s *Standing, scopes spec.Scopes, key string) (Tokens, error) {
	now := a.Now()
	if err := s.Verdict(now, a.Lifetimes); err != nil {
		return Tokens{}, err
	}
	return a.issueAccess(s, scopes, a.Lifetimes.Under(s.Policy).AccessExpiry(now), now, "", key)
}

// serviceStanding finds the grant of a service, or makes it.
func (a *Authority) serviceStanding(ctx context.Context, r ServiceRequest, now time.Time) (*Standing, error) {
	living, err := a.Living(ctx, r.Client.Service, r.Client.Key(), r.Resource)
	if err != nil {
		return nil, err
	}
	for _, g := range living {
		if g.Team != r.Team.ID || g.RedeemedAt.IsZero() {
			continue
		}
		if now.Sub(g.LastUsedAt) < ServiceTouch {
			return a.Store.Standing(ctx, g.ID)
		}
		var standing *Standing
		err := a.Store.ChangeGrant(ctx, g.ID, func(s *Standing) ([]audit.Event, error) {
			s.Grant.LastUsedAt = now
			c := *s
			standing = &c
			return nil, nil
		})
		return standing, err
	}
	g := Grant{
		ID: newID(), Person: r.Client.Service, Client: r.Client.Key(), Team: r.Team.ID, Resource: r.Resource,
		Scopes: spec.ResourceScopes(), CreatedAt: now, RedeemedAt: now, LastUsedAt: now,
	}
	ev := audit.Event{
		At: now, Actor: audit.Client(string(r.Client.Key()), r.Address), Kind: audit.ServiceConnected, Target: string(g.ID), Team: r.Team.Slug,
		Detail: r.Client.Name(),
	}
	if err := a.Store.AddGrant(ctx, g, ev); err != nil {
		return nil, err
	}
	return a.Store.Standing(ctx, g.ID)
}
