package grant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// maxLiving is how many living grants a person may have with one client, in
// one team, for one resource: a client that signs in anew on each computer,
// or at each start, must not leave keys behind without end.
const maxLiving = 50

// reasonCrowded is why a grant ended that was one too many. Clients and
// people are told.
const reasonCrowded = "newer sign-ins of the same client took its place"

// living says whether the grant can still give tokens, or its last ones still
// work: what counts as a connection. Whether person, team and client allow it
// at present is not looked at; that can come back.
func (g *Grant) living(now time.Time, l Lifetimes) bool {
	switch {
	case !g.EndedAt.IsZero(), g.idle(now, l):
		return false
	case l.Absolute > 0 && now.After(g.CreatedAt.Add(l.Absolute)):
		return false
	case g.RedeemedAt.IsZero():
		return now.Before(g.CreatedAt.Add(codeLifetime))
	case g.hourIsOver(now, l):
		return now.Before(l.AccessExpiry(g.LastUsedAt))
	}
	return true
}

// hourIsOver says whether the grant gives no more tokens because the person
// must come back through the browser.
func (g *Grant) hourIsOver(now time.Time, l Lifetimes) bool {
	return l.Interactive && !now.Before(NextHour(g.CreatedAt))
}

// Living lists the living grants of a person with a client for a resource, in
// whatever team, the last used first.
func (a *Authority) Living(ctx context.Context, person org.PersonID, client ClientKey, resource string) ([]Grant, error) {
	all, err := a.Store.OpenGrants(ctx, person, client, resource)
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	now := a.Now()
	all = slices.DeleteFunc(all, func(g Grant) bool { return !g.living(now, a.Lifetimes) })
	slices.SortStableFunc(all, func(x, y Grant) int { return y.lastActive().Compare(x.lastActive()) })
	return all, nil
}

// Allowed returns the scopes that redeemed ones of the grants hold in a team:
// what the person has allowed there already.
func Allowed(grants []Grant, team org.TeamID) spec.Scopes {
	var s spec.Scopes
	for _, g := range grants {
		if g.Team == team && !g.RedeemedAt.IsZero() {
			s = s.Union(g.Scopes)
		}
	}
	return s
}

// makeRoom ends the longest unused of the grants that are beside c's too many.
func (a *Authority) makeRoom(ctx context.Context, c Consent) error {
	living, err := a.Living(ctx, c.Person, c.Client.Key(), c.Resource)
	if err != nil {
		return err
	}
	living = slices.DeleteFunc(living, func(g Grant) bool { return g.Team != c.Team })
	for i := maxLiving; i < len(living); i++ {
		if err := a.EndGrant(ctx, living[i].ID, reasonCrowded, audit.System()); err != nil {
			return err
		}
	}
	return nil
}

// endedLately is how long a person is told that a connection ended, and why.
const endedLately = 3 * 24 * time.Hour

// EndedLately lists the connections of a person that ended a short time ago,
// the last ended first; their grants say why.
func (a *Authority) EndedLately(ctx context.Context, person org.PersonID) ([]Connection, error) {
	ended, err := a.Store.EndedConnections(ctx, person, a.Now().Add(-endedLately))
	if err != nil {
		return nil, fmt.Errorf("list ended connections: %w", err)
	}
	return ended, nil
}
