// Package access answers one question: may this grant do this, here, now?
//
// [Gate.Check] verifies an access token, which needs no database, and then
// asks for the grant that the token names, as it stands at that moment: its
// person, membership, roles and client. Standings are read on first use and
// kept in memory; the change feed of the store says which of them to forget.
// Only signatures are remembered for longer, never decisions.
//
// A [Caller] is what a door gets for a token that is good now, and the only
// way to a [telemetry.View].
package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// ErrNotCurrent is returned while the gate cannot be sure to know of every
// change: the door answers 503 with Retry-After.
var ErrNotCurrent = errors.New("access cannot be decided right now")

// ErrKeyUnknown is returned for an ingest key that does not work.
var ErrKeyUnknown = errors.New("the ingest key is unknown or revoked")

// RefusedError says why a token is not good now. Door answers 401
// invalid_token with Reason as the description.
type RefusedError struct {
	// Reason is one short sentence that the holder of the token may read.
	Reason string
	cause  error
}

func (e *RefusedError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.Reason, e.cause)
	}
	return e.Reason
}

func (e *RefusedError) Unwrap() error { return e.cause }

// Caller is a token that is good now, with what its person may do now. Its
// zero value may nothing. A Caller is valid for one request: doors ask again
// for the next.
type Caller struct {
	standing *grant.Standing
	scopes   spec.Scopes
	expires  time.Time
	claims   grant.Claims
	// lifetimes are those that hold for the caller's team.
	lifetimes grant.Lifetimes
}

// Person returns who is calling.
func (c *Caller) Person() org.Person { return c.standing.Person }

// Team returns the team that the grant is for.
func (c *Caller) Team() org.Team { return c.standing.Team }

// Roles returns the names of the roles that the person holds in the team.
func (c *Caller) Roles() []string { return c.standing.Roles.RoleNames() }

// Client returns the client that holds the token.
func (c *Caller) Client() grant.Client { return c.standing.Client }

// Grant returns the id of the grant that the token hangs on.
func (c *Caller) Grant() grant.ID { return c.standing.Grant.ID }

// Resource returns the URL that the grant is for.
func (c *Caller) Resource() string { return c.standing.Grant.Resource }

// Key returns the thumbprint of the key that the token is bound to, "" for a
// bearer token. A door that takes the token of a caller with a key must see
// that key proved (RFC 9449 §7).
func (c *Caller) Key() string {
	if c.claims.Confirmation == nil {
		return ""
	}
	return c.claims.Confirmation.Thumbprint
}

// Claims returns what the token says. What of it holds now, the other methods
// say.
func (c *Caller) Claims() grant.Claims { return c.claims }

// Scopes returns the scopes of the token, which may be fewer than the grant's.
func (c *Caller) Scopes() spec.Scopes { return c.scopes }

// GrantedScopes returns the scopes of the grant.
func (c *Caller) GrantedScopes() spec.Scopes { return c.standing.Grant.Scopes }

// Expires returns when the token ends: with hourly disconnects, the full hour
// at the latest.
func (c *Caller) Expires() time.Time { return c.expires }

// Hourly says whether access ends at every full hour, Interactive whether the
// person must then come back through the browser.
func (c *Caller) Hourly() bool { return c.lifetimes.Hourly }

// Interactive: see Hourly.
func (c *Caller) Interactive() bool { return c.lifetimes.Interactive }

// HasScope says whether the token carries the scope that p needs.
func (c *Caller) HasScope(p org.Permission) bool {
	s, ok := ScopeFor(p)
	return ok && c != nil && c.standing != nil && c.scopes.Has(s)
}

// HasPermission says whether the person's roles give p in the team now.
func (c *Caller) HasPermission(p org.Permission) bool {
	return c != nil && c.standing != nil && c.standing.Roles.May(p)
}

// May says whether the call may use p: both the token's scope and the
// person's roles must give it.
func (c *Caller) May(p org.Permission) bool { return c.HasScope(p) && c.HasPermission(p) }

// Permissions lists what the call may use.
func (c *Caller) Permissions() []org.Permission {
	var out []org.Permission
	for _, p := range org.Permissions() {
		if c.May(p) {
			out = append(out, p)
		}
	}
	return out
}

// View returns what the caller may see with the permission p. The view of
// somebody who may not use p sees nothing.
func (c *Caller) View(p org.Permission) telemetry.View {
	if !c.May(p) {
		return telemetry.View{}
	}
	r, ok := Restrict(c.standing.Roles.Roles(), p)
	if !ok {
		return telemetry.View{}
	}
	return telemetry.NewView(c.standing.Team.Tenant, r)
}

// DataScope returns the filter that narrows p for this caller, as text, "" for
// none.
func (c *Caller) DataScope(p org.Permission) string {
	if f := c.View(p).Filter(); f != nil {
		return f.String()
	}
	return ""
}

// ScopeFor returns the OAuth scope that a permission needs. Permissions
// without one cannot be used over OAuth at all.
func ScopeFor(p org.Permission) (scope string, ok bool) {
	switch p {
	case org.LogsRead:
		return spec.ScopeLogsRead, true
	case org.SpansRead:
		return spec.ScopeTracesRead, true
	case org.MetricsRead:
		return spec.ScopeMetricsRead, true
	case org.AlertsRead:
		return spec.ScopeAlertsRead, true
	case org.AlertsWrite:
		return spec.ScopeAlertsWrite, true
	default:
		return "", false
	}
}

// ChangeKind says what a change in the feed is about.
type ChangeKind string

// The kinds of change. Names are stored.
const (
	PersonChanged ChangeKind = "person"
	MemberChanged ChangeKind = "member" // id: person
	RoleChanged   ChangeKind = "role"   // id: team, or AnyTeam
	ClientChanged ChangeKind = "client" // id: client key, or AnyClient
	GrantChanged  ChangeKind = "grant"
	KeyChanged    ChangeKind = "key"    // id: key hash
	PolicyChanged ChangeKind = "policy" // id: team, or AnyTeam

	SigningKeyChanged ChangeKind = "signing_key" // id: kid
	// EverythingChanged is never in the feed: a source says so where it cannot
	// tell what has changed.
	EverythingChanged ChangeKind = "everything"
)

// AnyClient is the id of a change that may concern every client: a product was
// blocked or unblocked.
const AnyClient = "*"

// AnyTeam is the id of a change that may concern every team: a role or a
// policy of the whole organization was changed.
const AnyTeam = "*"

// Change is one entry of the change feed.
type Change struct {
	Seq  int64
	Kind ChangeKind
	ID   string
}

// Source is what the gate reads. Implementations are safe for concurrent use.
type Source interface {
	// Standing reads a grant as it is now. Errors: grant.ErrNotFound.
	Standing(ctx context.Context, id grant.ID) (*grant.Standing, error)
	// KeyUse returns what a working ingest key is good for by the hash of
	// its secret. Errors: org.ErrKeyNotFound.
	KeyUse(ctx context.Context, hash string) (org.KeyUse, error)
	// ChangesAfter returns the changes after seq in order, and the newest
	// sequence number of all, which is less than seq where the store went back.
	ChangesAfter(ctx context.Context, seq int64) (changes []Change, newest int64, err error)
	// Head returns the newest sequence number that this process committed. It
	// costs no query.
	Head() int64
	// Committed is signalled after a commit of this process that changed the
	// feed.
	Committed() <-chan struct{}
}
