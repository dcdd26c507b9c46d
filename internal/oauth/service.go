package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// clientCredentials gives a token to a client that acts by itself (RFC 6749
// §4.4): one that an administrator bound to a team and roles there. It may do
// what these roles allow, at that moment, as a person might.
func (s *Server) clientCredentials(r *http.Request, client grant.Client, req spec.TokenRequest, resource, key string) (grant.Tokens, error) {
	if client.Metadata.IsPublic() || client.Service == "" {
		return grant.Tokens{}, spec.NewError(spec.UnauthorizedClient, "the client may not act by itself; an administrator can register one that may: oriel client add --team …")
	}
	target := serviceKey{client.Key(), resource}
	if tokens, err := s.clientCredentialsAgain(r, target, req, key); !errors.Is(err, errNotRemembered) {
		return tokens, err
	}
	members, err := s.Directory.Memberships(r.Context(), client.Service)
	if err != nil {
		return grant.Tokens{}, fmt.Errorf("find the team of service %s: %w", client.Key(), err)
	}
	member, at, err := s.serviceTarget(members, resource)
	if err != nil {
		return grant.Tokens{}, err
	}
	standing, err := s.Directory.Standing(r.Context(), member)
	if err != nil {
		return grant.Tokens{}, err
	}
	wanted, err := serviceScopes(standing, req)
	if err != nil {
		return grant.Tokens{}, err
	}
	tokens, err := s.Authority.ServiceToken(r.Context(), grant.ServiceRequest{
		Client: client, Team: member.Team, Resource: at, Scopes: wanted, Address: s.Site.ClientAddress(r).String(), Key: key,
	})
	if err == nil {
		s.services.remember(target, tokens.Grant, s.Now())
	}
	return tokens, err
}

// errNotRemembered says that the store must be asked.
var errNotRemembered = errors.New("no grant of the service is remembered")

// clientCredentialsAgain answers from memory: programs ask often.
func (s *Server) clientCredentialsAgain(r *http.Request, target serviceKey, req spec.TokenRequest, key string) (grant.Tokens, error) {
	id, ok := s.services.recall(target, s.Now())
	if !ok {
		return grant.Tokens{}, errNotRemembered
	}
	standing, err := s.Gate.Standing(r.Context(), id)
	if err != nil || standing.Verdict(s.Now(), s.Authority.Lifetimes) != nil {
		s.services.forget(target)
		return grant.Tokens{}, errNotRemembered
	}
	wanted, err := serviceScopes(standing.Roles, req)
	if err != nil {
		return grant.Tokens{}, err
	}
	return s.Authority.ServiceTokenAgain(standing, wanted, key)
}

// serviceScopes returns what was asked for, or all that the roles allow.
func serviceScopes(standing org.Standing, req spec.TokenRequest) (spec.Scopes, error) {
	var allowed spec.Scopes
	for _, p := range org.Permissions() {
		if scope, ok := access.ScopeFor(p); ok && standing.May(p) {
			allowed = allowed.Union(spec.NewScopes(scope))
		}
	}
	if !req.ScopeGiven {
		return allowed, nil
	}
	wanted := req.Scopes.Intersect(spec.ResourceScopes())
	if wanted.IsEmpty() || !allowed.Contains(wanted) {
		return spec.Scopes{}, spec.NewError(spec.InvalidScope, "the roles of the client do not allow this scope")
	}
	return wanted, nil
}

// serviceKey is a service and the resource that it asks for.
type serviceKey struct {
	client   grant.ClientKey
	resource string
}

// services remembers which grant a service has. Only clients that an
// administrator registered get here, with resources that they may use: there
// are few.
type services struct {
	mu     sync.RWMutex // guards grants
	grants map[serviceKey]serviceGrant
}

type serviceGrant struct {
	id grant.ID
	at time.Time
}

// recall returns the grant unless its last use must be noted again.
func (m *services) recall(k serviceKey, now time.Time) (grant.ID, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	g, ok := m.grants[k]
	return g.id, ok && now.Sub(g.at) < grant.ServiceTouch
}

func (m *services) remember(k serviceKey, id grant.ID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.grants == nil {
		m.grants = make(map[serviceKey]serviceGrant)
	}
	m.grants[k] = serviceGrant{id, now}
}

func (m *services) forget(k serviceKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.grants, k)
}

// serviceTarget finds the team that a request is about. Without a resource it
// is the one team of the client, at that team's own resource.
func (s *Server) serviceTarget(members []org.Member, resource string) (org.Member, string, error) {
	for _, m := range members {
		team, err := s.Resources.Team(m.Team.Slug)
		if err != nil {
			return org.Member{}, "", fmt.Errorf("resource of team %s: %w", m.Team.Slug, err)
		}
		own := team.URL()
		if resource == own || (len(members) == 1 && (resource == "" || resource == s.Resources.Bare().URL())) {
			if resource == "" {
				resource = own
			}
			return m, resource, nil
		}
	}
	if len(members) == 0 {
		return org.Member{}, "", &grant.EndedError{Reason: "the client is in no team any more"}
	}
	return org.Member{}, "", spec.NewError(spec.InvalidTarget, "the client is not in that team; name its team's own resource")
}
