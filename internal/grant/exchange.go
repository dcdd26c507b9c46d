package grant

import (
	"context"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// ExchangeRequest asks for a narrower access token in exchange for one that
// has just been checked (RFC 8693).
type ExchangeRequest struct {
	Grant  ID
	Client ClientID
	// Held are the scopes of the token that is exchanged, Wanted those of the
	// new one.
	Held, Wanted spec.Scopes
	// NotAfter is when the token that is exchanged ends.
	NotAfter time.Time
	Address  string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// Exchange returns an access token of the same grant, without a refresh token:
// it can do no more and lasts no longer than the one that was given for it, and
// ends with its grant. Errors: ErrTokenMismatch, ErrScope, ErrNotFound,
// *EndedError; any other is our own fault.
func (a *Authority) Exchange(ctx context.Context, r ExchangeRequest) (Tokens, error) {
	now := a.Now()
	var standing Standing
	err := a.Store.ChangeGrant(ctx, r.Grant, func(s *Standing) ([]audit.Event, error) {
		if s.Grant.Client != r.Client.Key() {
			return nil, ErrTokenMismatch
		}
		if err := s.Verdict(now, a.Lifetimes); err != nil {
			return nil, err
		}
		if !r.Held.Contains(r.Wanted) || !s.Grant.Scopes.Contains(r.Wanted) {
			return nil, ErrScope
		}
		standing = *s
		return []audit.Event{{
			At: now, Actor: audit.Client(string(s.Grant.Client), r.Address), Kind: audit.TokenExchanged, Target: string(s.Grant.ID),
			Team: s.Team.Slug, Detail: fmt.Sprintf("from scopes %s to %s", r.Held, r.Wanted),
		}}, nil
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("exchange a token of grant %s: %w", r.Grant, err)
	}
	expires := a.Lifetimes.Under(standing.Policy).AccessExpiry(now)
	if r.NotAfter.Before(expires) {
		expires = r.NotAfter
	}
	actor := string(r.Client)
	if len(actor) > maxClientIDClaim {
		actor = string(r.Client.Key())
	}
	return a.issueAccess(&standing, r.Wanted, expires, now, actor, r.Key)
}

// LookUpRefreshToken returns what a refresh token stands for, if it would be
// answered now, and consumes nothing. Errors are those of Refresh.
func (a *Authority) LookUpRefreshToken(ctx context.Context, t RefreshToken) (*Standing, error) {
	now := a.Now()
	id, generation, err := a.mint.open(t)
	if err != nil {
		return nil, fmt.Errorf("look up refresh token: %w", err)
	}
	s, err := a.Store.Standing(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("look up refresh token of grant %s: %w", id, err)
	}
	if err := s.mayContinue(now, a.Lifetimes); err != nil {
		return nil, err
	}
	if s.Grant.hourIsOver(now, a.Lifetimes.Under(s.Policy)) {
		return nil, ErrReconnect
	}
	if generation < s.Grant.Generation && !s.Grant.inWindow(generation, now, a.Lifetimes) {
		return nil, ErrTokenReused
	}
	return s, nil
}

// inWindow says whether an old generation still gets its newest successor.
func (g *Grant) inWindow(generation uint32, now time.Time, l Lifetimes) bool {
	for _, r := range g.Superseded {
		if r.Generation == generation && !now.After(r.At.Add(l.ReuseWindow)) {
			return true
		}
	}
	return false
}
