package login

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// SessionStore looks at the sessions and sign-ins of people. Implementations
// are safe for concurrent use.
type SessionStore interface {
	// SessionsOf lists a person's sessions, the one used last first; some may
	// have expired. Demanded is not filled in.
	SessionsOf(ctx context.Context, person org.PersonID) ([]SessionState, error)
	// EndSessionsOf ends a person's sessions but the one with the hash keep.
	// Where there is none, nothing is recorded.
	EndSessionsOf(ctx context.Context, person org.PersonID, keep string, ev audit.Event) error
	// LastSignIns says when people signed in last, as far as the audit goes.
	LastSignIns(ctx context.Context) (map[org.PersonID]time.Time, error)
	// SignIns returns the last sign-ins of a person and attempts that were
	// refused, the newest first.
	SignIns(ctx context.Context, person org.PersonID, limit int) ([]audit.Event, error)
	// InvitedPeople are those with an invitation that is good now.
	InvitedPeople(ctx context.Context, now time.Time) (map[org.PersonID]bool, error)
}

// SessionsOf lists the browsers at which a person is signed in, the one used
// last first.
func (d *Desk) SessionsOf(ctx context.Context, id org.PersonID) ([]SessionState, error) {
	all, err := d.Store.SessionsOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("list sessions of %s: %w", id, err)
	}
	now := d.Now()
	return slices.DeleteFunc(all, func(s SessionState) bool {
		return s.Partial || !now.Before(s.ExpiresAt) || !now.Before(s.LastUsed.Add(SessionIdle))
	}), nil
}

// SignOutEverywhere ends all browser sessions of a person but the one with the
// hash keep, "" for none. Connections of assistants stay.
func (d *Desk) SignOutEverywhere(ctx context.Context, id org.PersonID, keep string, by audit.Actor) error {
	detail := "in every browser"
	if keep != "" {
		detail = "in every other browser"
	}
	ev := audit.Event{At: d.Now(), Actor: by, Kind: audit.SignedOutEverywhere, Target: string(id), Detail: detail}
	if err := d.Store.EndSessionsOf(ctx, id, keep, ev); err != nil {
		return fmt.Errorf("sign %s out everywhere: %w", id, err)
	}
	return nil
}
