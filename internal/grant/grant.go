// Package grant owns what hangs on a consent: clients, grants, authorization
// codes, access and refresh tokens, signing keys and the hour. [Authority]
// begins and ends all of them.
//
// It never decides whether a call may go ahead; package access does, with the
// same [Standing.Verdict] that a refresh must pass. It knows neither HTTP nor
// SQL: the [Store] it declares is implemented in package store.
package grant

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// ID identifies a grant: 128 random bits in base 32.
type ID string

func newID() ID {
	var b [grantIDBytes]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return ID(strings.ToLower(grantIDEncoding.EncodeToString(b[:])))
}

// A Grant is one consent: person, client, team, resource, scopes. Tokens hang
// off it, and ending it ends them all.
type Grant struct {
	ID     ID
	Person org.PersonID
	Client ClientKey
	Team   org.TeamID
	// Resource is the URL that the grant's tokens are for (RFC 8707).
	Resource string
	Scopes   spec.Scopes
	// AuthTime is when the person last proved who they are, AMR and ACR how
	// (OpenID Connect Core §2).
	AuthTime time.Time
	AMR      []string
	ACR      string

	CreatedAt time.Time
	// RedeemedAt is zero until the client has redeemed the code.
	RedeemedAt time.Time
	// LastUsedAt is when a token was last issued.
	LastUsedAt time.Time
	// EndedAt is zero for a grant that is alive.
	EndedAt   time.Time
	EndReason string

	// Generation numbers the newest refresh token; 0 before the first.
	Generation uint32
	// Superseded tells when the last few generations before the newest were
	// rotated out, oldest first.
	Superseded []Rotation
	// Key is the thumbprint of the key that a public client's refresh tokens
	// are bound to (RFC 9449 §5), "" for none.
	Key string
}

// Rotation is the moment at which a refresh token gave way to its successor.
type Rotation struct {
	Generation uint32
	At         time.Time
}

// Connection is a grant in use, as people see it.
type Connection struct {
	Grant  Grant
	Client Client
	Person org.Person
	Team   org.Team
}

// Errors of this package that a client or a person is told about. Each is
// wrapped with the detail for the log.
var (
	ErrNotFound      = errors.New("no such grant")
	ErrCodeUnknown   = errors.New("the authorization code is unknown or expired")
	ErrCodeMismatch  = errors.New("the authorization code was issued to another request")
	ErrCodeUsed      = errors.New("the authorization code was used before")
	ErrTokenUnknown  = errors.New("the refresh token is not one of ours")
	ErrTokenMismatch = errors.New("the refresh token belongs to another client")
	ErrTokenReused   = errors.New("the refresh token was replaced too long ago")
	ErrReconnect     = errors.New("the hour is over and the person must sign in again")
	ErrKey           = errors.New("the token is bound to another key")
	ErrScope         = errors.New("the scope goes beyond what was granted")
	ErrTarget        = errors.New("the grant is for another resource")
	ErrClientUnknown = errors.New("no such client")
)

// EndedError says that a grant gives nothing any more, and why.
type EndedError struct {
	// Reason is for the client's error_description and the log: it says
	// nothing about anybody else.
	Reason string
}

func (e *EndedError) Error() string { return e.Reason }

// ErrBlocked is the *EndedError of a grant whose integration is blocked.
var ErrBlocked error = &EndedError{"the integration has been blocked by an administrator"}

// Standing is a grant with everything that its life depends on, as it is now.
type Standing struct {
	Grant  Grant
	Person org.Person
	Team   org.Team
	// Roles is what the person may do in the grant's team.
	Roles  org.Standing
	Client Client
	// MFA is what the team and the organization demand of sign-ins.
	MFA org.MFA
	// Policy is what they ask of connections.
	Policy Policy
}

// Verdict returns nil for a grant that is alive, and otherwise an
// *EndedError. Every use of a grant passes through here: each call at the MCP
// endpoint, each redemption and each refresh.
func (s *Standing) Verdict(now time.Time, l Lifetimes) error {
	l = l.Under(s.Policy)
	switch {
	case s.Grant.ID == "":
		return &EndedError{"the grant does not exist"}
	case !s.Person.Active():
		return &EndedError{"the account is disabled"}
	case !s.Roles.Member():
		return &EndedError{"the person is no longer a member of the team"}
	case s.Client.Blocked:
		return ErrBlocked
	case !s.Grant.EndedAt.IsZero():
		return &EndedError{s.Grant.endedBecause()}
	case l.Absolute > 0 && now.After(s.Grant.CreatedAt.Add(l.Absolute)):
		return &EndedError{"the connection has reached its longest lifetime"}
	// A program has no second factor; what it signs in with is a secret of
	// its own.
	case !s.Person.Service && !s.MFA.MetBy(s.Grant.AMR):
		return &EndedError{TooWeak(s.MFA)}
	case !s.Person.Service && l.SignInTooOld(s.Grant.AuthTime, now):
		return &EndedError{"the sign-in is older than the organization or the team allows; connect again"}
	}
	return nil
}

// TooWeak says what a sign-in lacks that did not have what is demanded. It is
// no end: the grant gives tokens again when less is demanded.
func TooWeak(m org.MFA) string {
	if m == org.MFAPasskey {
		return "the team now demands a sign-in with a passkey; connect again"
	}
	return "the team now demands a sign-in with a second factor; connect again"
}

// mayContinue is Verdict for who asks for new tokens: a grant that issued none
// for too long gives no more. The gate must not ask this: what it remembers of
// a grant does not follow the issuing of tokens.
func (s *Standing) mayContinue(now time.Time, l Lifetimes) error {
	if err := s.Verdict(now, l); err != nil {
		return err
	}
	if s.Grant.idle(now, l) {
		return &EndedError{"the connection has not been used for too long"}
	}
	return nil
}

// endedBecause says why the grant ended. Reasons are fixed sentences of ours.
func (g *Grant) endedBecause() string {
	if g.EndReason == "" {
		return "the connection has been ended"
	}
	return "the connection has been ended: " + g.EndReason
}

// idle says whether the grant issued no token for longer than it may.
func (g *Grant) idle(now time.Time, l Lifetimes) bool {
	return l.Idle > 0 && now.After(g.lastActive().Add(l.Idle))
}

func (g *Grant) lastActive() time.Time {
	if g.LastUsedAt.After(g.CreatedAt) {
		return g.LastUsedAt
	}
	return g.CreatedAt
}

// Lifetimes bounds how long things last.
type Lifetimes struct {
	// Access is the longest life of an access token; with Hourly it also ends
	// at the next full hour.
	Access time.Duration
	// Hourly ends every access token and stream at the full hour (UTC).
	Hourly bool
	// Interactive makes the client go through the browser after each hour.
	Interactive bool
	// Idle ends a grant that issued no token for so long; 0 never.
	Idle time.Duration
	// Absolute ends a grant so long after its consent; 0 never.
	Absolute time.Duration
	// SignInAge refuses a grant whose sign-in is older; 0 never. It comes from
	// policies alone.
	SignInAge time.Duration
	// ReuseWindow is how long after its rotation a refresh token still gives
	// its newest successor. See refresh.go for why.
	ReuseWindow time.Duration
}

// DefaultLifetimes are the settings of a new installation.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{Access: time.Hour, Hourly: true, Idle: 30 * 24 * time.Hour, ReuseWindow: 10 * time.Minute}
}

// Check refuses lifetimes that would break clients.
func (l Lifetimes) Check() error {
	switch {
	case l.Access <= 5*time.Minute:
		return fmt.Errorf("access tokens must live longer than 5 minutes (%s was asked): some clients refresh that early", l.Access)
	case l.Access > 24*time.Hour:
		return fmt.Errorf("access tokens may live 24 hours at most (%s was asked)", l.Access)
	case l.Idle < 0 || l.Absolute < 0 || l.ReuseWindow < 0:
		return errors.New("lifetimes cannot be negative")
	}
	return nil
}

// NextHour returns the first full hour (UTC minute 00) after now.
func NextHour(now time.Time) time.Time { return now.UTC().Truncate(time.Hour).Add(time.Hour) }

// AccessExpiry returns when an access token issued now ends.
func (l Lifetimes) AccessExpiry(now time.Time) time.Time {
	end := now.Add(l.Access)
	if l.Hourly {
		if hour := NextHour(now); hour.Before(end) {
			end = hour
		}
	}
	return end.Truncate(time.Second)
}
