package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// maxSuperseded bounds how many rotations a grant remembers. A token rotated
// out longer ago than these counts as replaced too long ago.
const maxSuperseded = 32

// RefreshRequest is a token request with a refresh token.
type RefreshRequest struct {
	Token  RefreshToken
	Client ClientID
	// Scopes narrows the access token; nil asks for all that was granted.
	Scopes *spec.Scopes
	// Resource is "" where the request had none.
	Resource string
	Address  string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// alwaysGranted returns offline_access, which a refresh may name whether it
// was granted or not: it opens nothing, since every grant has a refresh token,
// and clients on the Rust SDK add it to what was granted whenever they
// refresh. A departure from RFC 6749 §6, listed in docs/standards.md.
func alwaysGranted() spec.Scopes { return spec.NewScopes(spec.ScopeOfflineAccess) }

// Refresh answers a refresh token with a new pair, and with an ID token where
// the request names openid among its scopes: a refresh is no sign-in, and
// OpenID Connect Core §12.2 leaves it open. It consumes nothing unless
// it succeeds. Errors: ErrTokenUnknown, ErrTokenMismatch, ErrTokenReused,
// ErrReconnect, ErrScope, ErrTarget, ErrNotFound, *EndedError; any other is
// our own fault.
//
// Refresh tokens rotate (OAuth 2.1 §4.3.1), with one departure, listed in
// docs/standards.md: real clients share one refresh token between processes
// and present it at the same time, or present one from a few generations ago.
// Strict rotation signs them out. So within Lifetimes.ReuseWindow of its
// rotation an old token gets the same newest successor that its sibling got;
// after that, its use ends this grant and no other.
func (a *Authority) Refresh(ctx context.Context, r RefreshRequest) (Tokens, error) {
	now := a.Now()
	id, generation, err := a.mint.open(r.Token)
	if err != nil {
		return Tokens{}, fmt.Errorf("refresh: %w", err)
	}
	var (
		standing Standing
		scopes   spec.Scopes
		refused  error
	)
	err = a.Store.ChangeGrant(ctx, id, func(s *Standing) ([]audit.Event, error) {
		refused = nil
		if s.Grant.Client != r.Client.Key() {
			return nil, ErrTokenMismatch
		}
		if r.Resource != "" && r.Resource != s.Grant.Resource {
			return nil, ErrTarget
		}
		if s.Grant.Key != "" && s.Grant.Key != r.Key {
			return nil, ErrKey
		}
		scopes = s.Grant.Scopes
		if r.Scopes != nil {
			if !s.Grant.Scopes.Contains(r.Scopes.Without(alwaysGranted())) {
				return nil, ErrScope
			}
			scopes = s.Grant.Scopes.Intersect(*r.Scopes)
		}
		if err := s.mayContinue(now, a.Lifetimes); err != nil {
			return nil, err
		}
		if s.Grant.hourIsOver(now, a.Lifetimes.Under(s.Policy)) {
			return nil, ErrReconnect
		}
		events, err := a.rotate(s, generation, now, r.Address)
		if errors.Is(err, ErrTokenReused) {
			refused = err
			return events, nil
		}
		standing = *s
		return events, err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("refresh grant %s: %w", id, err)
	}
	tokens, err := a.issueAgain(&standing, scopes, r.Key, now)
	if err != nil || r.Scopes == nil {
		return tokens, err
	}
	return a.identify(tokens, &standing, "", now)
}

// rotate moves the grant to its next generation, or leaves it alone where
// somebody else just did. For ErrTokenReused it has ended the grant.
func (a *Authority) rotate(s *Standing, presented uint32, now time.Time, address string) ([]audit.Event, error) {
	g := &s.Grant
	if presented >= g.Generation {
		// A generation beyond the stored one is authentic too: the store came
		// back from an older backup. Going on from it keeps the client.
		cut := now.Add(-a.Lifetimes.ReuseWindow)
		for len(g.Superseded) > 0 && (g.Superseded[0].At.Before(cut) || len(g.Superseded) >= maxSuperseded) {
			g.Superseded = g.Superseded[1:]
		}
		g.Superseded = append(g.Superseded, Rotation{Generation: presented, At: now})
		g.Generation = presented + 1
		g.LastUsedAt = now
		return nil, nil
	}
	if g.inWindow(presented, now, a.Lifetimes) {
		return nil, nil
	}
	g.EndedAt, g.EndReason = now, "refresh token reused after its window"
	return []audit.Event{{
		At: now, Actor: audit.Client(string(g.Client), address), Kind: audit.RefreshReused, Target: string(g.ID), Team: s.Team.Slug,
		Detail: fmt.Sprintf("generation %d was presented, %d is the newest", presented, g.Generation),
	}}, ErrTokenReused
}
