// Package mfa owns second factors: authenticator apps (TOTP, RFC 6238),
// passkeys and security keys (WebAuthn), and recovery codes. [Factors] enrols,
// checks, names and removes them, each change in one transaction with its
// audit event.
//
// It decides neither when a factor is asked for nor what is enough; packages
// login and org do. It knows neither HTTP nor SQL: the [Store] it declares is
// implemented in package store.
package mfa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// ID identifies a factor for ever.
type ID string

// Kind says what sort of factor it is. Names are stored.
type Kind string

// The kinds of factor.
const (
	TOTP    Kind = "totp"
	Passkey Kind = "passkey"
)

// Factor is a second factor of a person.
type Factor struct {
	ID     ID
	Person org.PersonID
	Kind   Kind
	// Name is what the person calls it.
	Name      string
	CreatedAt time.Time
	// LastUsedAt is zero for a factor that was never used after enrolment.
	LastUsedAt time.Time

	// Secret is the sealed secret of an authenticator app, and LastStep the
	// newest time step whose code was taken (RFC 6238 §5.2).
	Secret   string
	LastStep int64

	// CredentialID names a passkey (base64url), and Credential is its public
	// part as JSON.
	CredentialID string
	Credential   string
}

// Errors of this package. Their text is for people.
var (
	ErrNotFound      = errors.New("there is no such factor")
	ErrExists        = errors.New("this was set up already")
	ErrTooMany       = errors.New("you have as many of these as anybody may; remove one first")
	ErrCodeWrong     = errors.New("the code is not right")
	ErrCodeUsed      = errors.New("this code was used before; wait for the next one")
	ErrRecoveryCode  = errors.New("the recovery code is not right, or was used before")
	ErrEnrolment     = errors.New("the page is too old")
	ErrPasskey       = errors.New("the passkey was not accepted")
	ErrPasskeyCloned = errors.New("this passkey may have been copied, so it was not accepted")
	ErrNoPasskeys    = errors.New("passkeys do not work at this address")
)

// Store keeps factors. Every change is one transaction with its audit event.
// Implementations are safe for concurrent use.
type Store interface {
	// Factors lists a person's factors, the first enrolled first.
	Factors(ctx context.Context, person org.PersonID) ([]Factor, error)
	// FactorKinds lists the kinds of everybody's factors.
	FactorKinds(ctx context.Context) (map[org.PersonID][]Kind, error)
	// FactorByCredential finds a passkey. Errors: ErrNotFound.
	FactorByCredential(ctx context.Context, credentialID string) (Factor, error)
	// AddFactor stores a factor and, where there are any, the hashes of
	// recovery codes in the place of those before. Errors: ErrExists for an id
	// or credential that is stored, ErrTooMany.
	AddFactor(ctx context.Context, f Factor, ceiling int, recovery []string, events ...audit.Event) error
	// RenameFactor and RemoveFactor change a person's own factor; with the
	// last one, the recovery codes go too. Errors: ErrNotFound.
	RenameFactor(ctx context.Context, person org.PersonID, id ID, name string, ev audit.Event) error
	RemoveFactor(ctx context.Context, person org.PersonID, id ID, ev audit.Event) error
	// ResetFactors removes all factors, recovery codes and browser sessions of
	// a person.
	ResetFactors(ctx context.Context, person org.PersonID, ev audit.Event) error

	// TakeStep notes that the code of a time step was used. Errors:
	// ErrCodeUsed where that step or a later one was before.
	TakeStep(ctx context.Context, id ID, step int64, at time.Time) error
	// TakeAssertion notes the use of a passkey and of the challenge that it
	// answered, with the passkey as it is from now on. The events are stored
	// even where at is zero: then the passkey was not accepted. Errors:
	// ErrPasskey where the challenge was answered before.
	TakeAssertion(ctx context.Context, id ID, credential string, c Challenge, at time.Time, events ...audit.Event) error

	// SetRecoveryCodes replaces a person's recovery codes by these hashes.
	SetRecoveryCodes(ctx context.Context, person org.PersonID, hashes []string, ev audit.Event) error
	// UseRecoveryCode uses one up and returns how many are left. Errors:
	// ErrRecoveryCode.
	UseRecoveryCode(ctx context.Context, person org.PersonID, hash string, ev audit.Event) (left int, err error)
	// RecoveryCodes returns how many are left.
	RecoveryCodes(ctx context.Context, person org.PersonID) (left int, err error)
}

// Challenge is what an authenticator signs, good once until ExpiresAt.
type Challenge struct {
	Text      string
	ExpiresAt time.Time
}

// Config is what Factors needs.
type Config struct {
	Store Store
	// Derive returns a key of 32 bytes for one purpose, the same on every
	// replica.
	Derive func(purpose string) []byte
	// PublicURL is the origin under which people reach this server.
	PublicURL string
	Now       func() time.Time
}

// Factors enrols and checks second factors. It is safe for concurrent use.
type Factors struct {
	Config
	seal        sealer
	recoveryKey []byte
	host        string
	relying     *relyingParty // nil where passkeys cannot work
}

// New returns Factors, or an error that names what Config lacks.
func New(c Config) (*Factors, error) {
	if c.Store == nil || c.Derive == nil || c.Now == nil {
		return nil, errors.New("mfa: Config needs Store, Derive, PublicURL and Now")
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("mfa: %q is not a public URL", c.PublicURL)
	}
	f := &Factors{Config: c, host: u.Hostname(), recoveryKey: c.Derive("recovery codes")}
	if f.seal, err = newSealer(c.Derive("second factors")); err != nil {
		return nil, err
	}
	if f.relying, err = newRelyingParty(u); err != nil {
		return nil, err
	}
	return f, nil
}

const (
	// maxFactors is how many factors a person may have.
	maxFactors = 10
	// maxApps is how many of them may be authenticator apps: each makes
	// guessing a code easier.
	maxApps = 3
	// maxNameRunes bounds what a person calls a factor.
	maxNameRunes = 60
)

func newID() ID { return ID("fac_" + strings.ToLower(rand.Text())) }

// ParseName checks what somebody calls a factor; "" becomes the usual word for
// its kind.
func ParseName(s string, k Kind) (string, error) {
	s = strings.TrimSpace(norm.NFC.String(s))
	switch {
	case s == "" && k == Passkey:
		return "Passkey", nil
	case s == "":
		return "Authenticator app", nil
	case len([]rune(s)) > maxNameRunes:
		return "", fmt.Errorf("the name is longer than %d characters", maxNameRunes)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return "", errors.New("the name holds control characters")
	}
	return s, nil
}

// List lists a person's factors, the first enrolled first.
func (f *Factors) List(ctx context.Context, person org.PersonID) ([]Factor, error) {
	list, err := f.Store.Factors(ctx, person)
	if err != nil {
		return nil, fmt.Errorf("list factors of %s: %w", person, err)
	}
	return list, nil
}

// Kinds returns of what kinds everybody's factors are.
func (f *Factors) Kinds(ctx context.Context) (map[org.PersonID][]Kind, error) {
	kinds, err := f.Store.FactorKinds(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kinds of factors: %w", err)
	}
	return kinds, nil
}

// Rename changes what a person calls a factor of theirs. Errors: ErrNotFound,
// and those of ParseName.
func (f *Factors) Rename(ctx context.Context, person org.PersonID, id ID, name string, by audit.Actor) error {
	list, err := f.List(ctx, person)
	if err != nil {
		return err
	}
	for _, have := range list {
		if have.ID == id {
			if name, err = ParseName(name, have.Kind); err != nil {
				return err
			}
			return f.Store.RenameFactor(ctx, person, id, name, f.event(by, audit.FactorRenamed, person, name))
		}
	}
	return ErrNotFound
}

// Remove takes a factor of a person away. Errors: ErrNotFound.
func (f *Factors) Remove(ctx context.Context, person org.PersonID, id ID, by audit.Actor) error {
	return f.Store.RemoveFactor(ctx, person, id, f.event(by, audit.FactorRemoved, person, string(id)))
}

// Reset removes everything that a person has beside the password, and ends
// their browser sessions: for somebody who has lost it all.
func (f *Factors) Reset(ctx context.Context, person org.PersonID, by audit.Actor) error {
	if err := f.Store.ResetFactors(ctx, person, f.event(by, audit.FactorsReset, person, "")); err != nil {
		return fmt.Errorf("reset factors of %s: %w", person, err)
	}
	return nil
}

func (f *Factors) event(by audit.Actor, kind audit.Kind, person org.PersonID, detail string) audit.Event {
	return audit.Event{At: f.Now(), Actor: by, Kind: kind, Target: string(person), Detail: detail}
}

// add stores a factor; with the first one come recovery codes, which are
// returned.
func (f *Factors) add(ctx context.Context, factor Factor, by audit.Actor) ([]string, error) {
	have, err := f.List(ctx, factor.Person)
	if err != nil {
		return nil, err
	}
	apps := 0
	for _, other := range have {
		if other.Kind == TOTP {
			apps++
		}
	}
	if factor.Kind == TOTP && apps >= maxApps {
		return nil, ErrTooMany
	}
	events := []audit.Event{f.event(by, audit.FactorAdded, factor.Person, string(factor.Kind)+": "+factor.Name)}
	var codes, hashes []string
	if len(have) == 0 {
		codes, hashes = f.newRecoveryCodes(factor.Person)
		events = append(events, f.event(by, audit.RecoveryCodesMade, factor.Person, ""))
	}
	if err := f.Store.AddFactor(ctx, factor, maxFactors, hashes, events...); err != nil {
		return nil, fmt.Errorf("add factor: %w", err)
	}
	return codes, nil
}
