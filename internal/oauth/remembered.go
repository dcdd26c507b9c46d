package oauth

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// known is what is known about a person and a client before either is asked.
type known struct {
	// teams are those that the person may choose.
	teams []knownTeam
	// elsewhere says that the client has living grants in a team that is not
	// among them.
	elsewhere bool
}

// knownTeam is a team of the person.
type knownTeam struct {
	org.Member
	standing org.Standing
	// allowed are the scopes that the person has allowed the client there,
	// by grants that are alive.
	allowed spec.Scopes
	// mfa is what the team and the organization demand of sign-ins.
	mfa org.MFA
	// lifetimes are those that hold for connections to the team.
	lifetimes grant.Lifetimes
}

// known reads the person's teams and what the client may do in them already.
func (s *Server) known(ctx context.Context, auth authorization, person org.PersonID) (known, error) {
	members, err := s.Directory.Memberships(ctx, person)
	if err != nil {
		return known{}, fmt.Errorf("list teams of %s: %w", person, err)
	}
	grants, err := s.Authority.Living(ctx, person, auth.client.Key(), auth.Resource.URL())
	if err != nil {
		return known{}, err
	}
	everybody, err := s.Directory.Reconnect(ctx, "")
	if err != nil {
		return known{}, err
	}
	fixed := auth.Resource.TeamSlug()
	var k known
	for _, m := range members {
		if fixed != "" && m.Team.Slug != fixed {
			continue
		}
		standing, err := s.Directory.Standing(ctx, m)
		if err != nil {
			return known{}, err
		}
		demanded, err := s.Directory.MFA(ctx, m.Team.ID)
		if err != nil {
			return known{}, fmt.Errorf("read policy of %s: %w", m.Team.Slug, err)
		}
		own, err := s.Directory.Reconnect(ctx, m.Team.ID)
		if err != nil {
			return known{}, err
		}
		k.teams = append(k.teams, knownTeam{
			Member: m, standing: standing, allowed: grant.Allowed(grants, m.Team.ID), mfa: demanded,
			lifetimes: s.Authority.Lifetimes.Under(grant.Policy{Organization: everybody, Team: own}),
		})
	}
	k.elsewhere = slices.ContainsFunc(grants, func(g grant.Grant) bool {
		return !g.RedeemedAt.IsZero() && !slices.ContainsFunc(k.teams, func(t knownTeam) bool { return t.Team.ID == g.Team })
	})
	return k, nil
}

// team returns one of the teams by its slug.
func (k known) team(slug string) (knownTeam, bool) {
	i := slices.IndexFunc(k.teams, func(t knownTeam) bool { return t.Team.Slug == slug })
	if i < 0 {
		return knownTeam{}, false
	}
	return k.teams[i], true
}

// within returns those of the scopes that the person's roles do not withhold
// in the team. Scopes that are about the person are never withheld.
func (t knownTeam) within(scopes spec.Scopes) spec.Scopes {
	for _, p := range org.Permissions() {
		if scope, ok := access.ScopeFor(p); ok && !t.standing.May(p) {
			scopes = scopes.Without(spec.NewScopes(scope))
		}
	}
	return scopes
}

// offer returns what of the resource may be allowed in the team: what the
// client asks for and what it has, so that a new consent adds to the old ones
// rather than starting over.
func (t knownTeam) offer(asked spec.Scopes) spec.Scopes {
	return t.within(asked.Union(t.allowed).Intersect(spec.ResourceScopes()))
}

// remembers returns the team of a request that asks for nothing that the
// person has not allowed already, or why the person must be asked. They always
// are for a client that somebody else could pretend to be: one that registered
// itself, or whose answers go to a port or an app of the person's computer
// (RFC 8252 §8.6).
func (k known) remembers(auth authorization) (knownTeam, *spec.Error) {
	agree := spec.NewError(spec.ConsentRequired, "the person must agree")
	identified := auth.client.Kind == grant.Document || auth.client.Kind == grant.Registered
	if !identified || auth.Redirect.IsLoopback() || auth.Redirect.IsPrivateUse() || auth.Prompt.Consent {
		return knownTeam{}, agree
	}
	var found []knownTeam
	for _, t := range k.teams {
		if !t.allowed.IsEmpty() {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 0:
		return knownTeam{}, agree
	case len(found) > 1 || k.elsewhere:
		// Which of several teams is meant only the person knows.
		return knownTeam{}, spec.NewError(spec.InteractionRequired, "the person must choose a team")
	}
	asked := found[0].within(auth.Scopes)
	if asked.Intersect(spec.ResourceScopes()).IsEmpty() || !found[0].allowed.Contains(asked) {
		return knownTeam{}, agree
	}
	return found[0], nil
}

// showContinue goes on without asking, by a page that posts itself: opening
// an address must give no code.
func (s *Server) showContinue(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, team knownTeam) error {
	return s.Site.Render(w, http.StatusOK, web.ContinuePage{
		Action: consentPath, Step: s.signConsent(auth, session, auth.pageID(), team.Team.Slug), ClientName: auth.client.Name(), Team: team.Team.Name,
	})
}

// answerSilently answers prompt=none with a code: the one GET that begins
// something, because OpenID Connect Core §3.1.2.1 forbids any page. It gives
// nothing that the person has not given this client before, to an address
// that only this client can have.
func (s *Server) answerSilently(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, team knownTeam) error {
	if lookAhead(r) {
		return notAhead()
	}
	return s.approve(w, r, auth, session, decision{
		id: auth.pageID(), team: team.Team, scopes: team.again(auth), how: grant.Remembered,
	})
}

// again returns the scopes of a consent that is remembered.
func (t knownTeam) again(auth authorization) spec.Scopes {
	return t.offer(auth.Scopes).Union(auth.Scopes.Without(spec.ResourceScopes()))
}

// pageID names the page that a consent is given on. All pages of one pushed
// request are one, so that it gives one code at the most (RFC 9126 §4).
func (auth authorization) pageID() string {
	if auth.pushed != "" {
		return "pushed " + auth.pushed
	}
	return rand.Text()
}
