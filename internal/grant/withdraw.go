package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
)

// ErrSigningKeyUnknown is returned for a signing key that is not published.
var ErrSigningKeyUnknown = errors.New("no such published signing key")

// SigningKeyStore is what the store does to withdrawn signing keys.
type SigningKeyStore interface {
	// WithdrawSigningKey destroys what is sealed in a key and stores its
	// replacement, if there is one, in one transaction. The emptied row stays:
	// it keeps the keys before it, which it replaced, from being published
	// again. Its entry in the change feed names the key that is withdrawn.
	// Errors: ErrSigningKeyUnknown where it is not stored, or withdrawn
	// already.
	WithdrawSigningKey(ctx context.Context, id string, replacement *SealedKey, events ...audit.Event) error
}

// withdrawn says that only the memory of a key is left.
func (k SealedKey) withdrawn() bool { return len(k.Sealed) == 0 }

// Withdrawal is what was done about a leaked key.
type Withdrawal struct {
	Withdrawn KeyState
	// Replacement is the key made in its place, the zero value for none: a key
	// that signs no more needs none.
	Replacement KeyState
}

// Withdraw takes a published key out at once, for one that somebody else may
// know: it leaves the key set, and no token that it signed is good any more,
// here and, by the change feed, in every running server. Refresh tokens are
// not signed with these keys and go on. If the key signed, its replacement
// signs at once; if it was to sign later, so is its replacement. Errors:
// ErrSigningKeyUnknown.
func (k *Keyring) Withdraw(ctx context.Context, id string, by audit.Actor) (Withdrawal, error) {
	if err := k.Reload(ctx); err != nil {
		return Withdrawal{}, err
	}
	w, ok := Withdrawal{}, false
	for _, s := range k.States() {
		if s.ID == id {
			w.Withdrawn, ok = s, true
		}
	}
	if !ok {
		return Withdrawal{}, fmt.Errorf("withdraw signing key %s: %w", id, ErrSigningKeyUnknown)
	}
	now, alg := k.now(), w.Withdrawn.Algorithm
	events := []audit.Event{{At: now, Actor: by, Kind: audit.SigningKeyWithdrawn, Target: id, Detail: alg}}
	var replacement *SealedKey
	if pending := now.Before(w.Withdrawn.ActiveAt); w.Withdrawn.Signs || pending {
		active := now
		if pending {
			active = now.Add(KeyLead)
		}
		made := now
		if last := k.keys.Load().lastMade[alg]; !made.After(last) {
			made = last.Add(time.Millisecond) // the clock went back
		}
		fresh, err := k.generate(alg, made, active)
		if err != nil {
			return Withdrawal{}, err
		}
		replacement = &fresh
		events = append(events, madeEvent(fresh, by))
	}
	if err := k.store.WithdrawSigningKey(ctx, id, replacement, events...); err != nil {
		return Withdrawal{}, fmt.Errorf("withdraw signing key %s: %w", id, err)
	}
	if err := k.Reload(ctx); err != nil {
		return Withdrawal{}, err
	}
	for _, s := range k.States() {
		if replacement != nil && s.ID == replacement.ID {
			w.Replacement = s
		}
	}
	return w, nil
}

// Published says whether a key is in the key set.
func (k *Keyring) Published(id string) bool {
	for _, s := range k.keys.Load().made {
		if s.ID == id {
			return true
		}
	}
	return false
}
