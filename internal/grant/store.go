package grant

import (
	"context"
	"errors"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// CodeState is an authorization code as the store keeps it.
type CodeState struct {
	Hash  CodeHash
	Grant ID
	// RedirectURI is where the code was sent.
	RedirectURI string
	// Challenge is the S256 code challenge (RFC 7636 §4.2).
	Challenge string
	Nonce     string
	// Key is the thumbprint of the key that the client must prove (RFC 9449
	// §10), "" for any or none.
	Key       string
	CreatedAt time.Time
	ExpiresAt time.Time
	// UsedAt is zero for a code that was not redeemed.
	UsedAt time.Time
}

// ErrConsentUsed is returned by Store.Approve for a consent that was stored
// before.
var ErrConsentUsed = errors.New("this consent was given before")

// Store keeps clients, grants, codes and signing keys. Every change is one
// transaction with its audit events and, where it touches whether a grant is
// alive, its entry in the change feed. Implementations are safe for
// concurrent use.
type Store interface {
	DeviceStore
	IssuerStore
	IntegrationStore
	SigningKeyStore

	// Approve stores a grant with its code, and the client if it is new.
	// Errors: ErrConsentUsed where the code's hash exists.
	Approve(ctx context.Context, g Grant, code CodeState, c Client, ev audit.Event) error
	// AddGrant stores a grant without a code, of a client that is stored.
	AddGrant(ctx context.Context, g Grant, ev audit.Event) error
	// ChangeByCode calls change with the code and the standing of its grant,
	// then stores what change did to the code and to the grant together with
	// the events it returned. An error of change is returned as it is and
	// stores nothing; change may be called more than once. Errors:
	// ErrCodeUnknown.
	ChangeByCode(ctx context.Context, h CodeHash, change func(*CodeState, *Standing) ([]audit.Event, error)) error
	// ChangeGrant does the same for a grant alone. Errors: ErrNotFound.
	ChangeGrant(ctx context.Context, id ID, change func(*Standing) ([]audit.Event, error)) error
	// Standing reads a grant with all that its life depends on. Errors:
	// ErrNotFound.
	Standing(ctx context.Context, id ID) (*Standing, error)
	// Connections lists redeemed grants that have not ended, the last used
	// first.
	Connections(ctx context.Context, f ConnectionFilter) ([]Connection, error)

	// OpenGrants lists the grants of a person with a client for a resource
	// that have not ended, redeemed or not.
	OpenGrants(ctx context.Context, person org.PersonID, client ClientKey, resource string) ([]Grant, error)

	// EndedConnections lists a person's redeemed grants that ended after a
	// moment, the last ended first.
	EndedConnections(ctx context.Context, person org.PersonID, after time.Time) ([]Connection, error)

	// SaveClient stores a client that does not exist yet.
	SaveClient(ctx context.Context, c Client, ev audit.Event) error
	// ClientByKey returns ErrClientUnknown where none is stored.
	ClientByKey(ctx context.Context, key ClientKey) (Client, error)
	// Clients lists the stored clients by name.
	Clients(ctx context.Context) ([]Client, error)
	// ProductBlocked says whether any of these integrations is blocked.
	ProductBlocked(ctx context.Context, products ...string) (bool, error)
	// SetProductBlocked blocks or unblocks an integration: a product, or with
	// HostProduct before it a host with all clients that belong to it.
	SetProductBlocked(ctx context.Context, product string, blocked bool, ev audit.Event) error
	// EndClientGrants ends all living grants of a client and returns their
	// number.
	EndClientGrants(ctx context.Context, key ClientKey, reason string, at time.Time, ev audit.Event) (int, error)

	// SigningKeys lists the stored keys, the one made last first.
	SigningKeys(ctx context.Context) ([]SealedKey, error)
	// AddSigningKey stores a key unless one of the same algorithm that is
	// newer than notBefore exists, so that two starting replicas make one key
	// between them. Its entry in the change feed has every keyring read again.
	AddSigningKey(ctx context.Context, k SealedKey, notBefore time.Time, ev audit.Event) error

	// SweepGrants removes codes and grants that nobody can use any more and
	// that ended, or expired, before the time given.
	SweepGrants(ctx context.Context, before time.Time, l Lifetimes) error
}

// ConnectionFilter narrows a list of connections; zero fields match all.
type ConnectionFilter struct {
	Person org.PersonID
	Client ClientKey
	Team   org.TeamID
}
