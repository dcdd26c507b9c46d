package oauth

import (
	"fmt"
	"net/http"

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
	members, err := s.Directory.Memberships(r.Context(), client.Service)
	if err != nil {
		return grant.Tokens{}, fmt.Errorf("find the team of service %s: %w", client.Key(), err)
	}
	member, target, err := s.serviceTarget(members, resource)
	if err != nil {
		return grant.Tokens{}, err
	}
	standing, err := s.Directory.Standing(r.Context(), member)
	if err != nil {
		return grant.Tokens{}, err
	}
	var allowed spec.Scopes
	for _, p := range org.Permissions() {
		if scope, ok := access.ScopeFor(p); ok && standing.May(p) {
			allowed = allowed.Union(spec.NewScopes(scope))
		}
	}
	wanted := allowed
	if req.ScopeGiven {
		if wanted = req.Scopes.Intersect(spec.ResourceScopes()); wanted.IsEmpty() || !allowed.Contains(wanted) {
			return grant.Tokens{}, spec.NewError(spec.InvalidScope, "the roles of the client do not allow this scope")
		}
	}
	return s.Authority.ServiceToken(r.Context(), grant.ServiceRequest{
		Client: client, Team: member.Team, Resource: target, Scopes: wanted, Address: s.Site.ClientAddress(r).String(), Key: key,
	})
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
