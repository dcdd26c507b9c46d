package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// ErrIntegrationUnknown is returned for an integration that no stored client
// belongs to and that is not blocked.
var ErrIntegrationUnknown = errors.New("no such integration")

// ErrIntegrationName is returned for a name that nothing can be blocked by.
var ErrIntegrationName = errors.New("this is neither a host nor the address of a metadata document")

// IntegrationStore is what the store does to whole integrations.
type IntegrationStore interface {
	// BlockedProducts lists the blocked integrations, the products as well as
	// the hosts.
	BlockedProducts(ctx context.Context) ([]string, error)
	// DeleteClient ends all living grants of a client and stores that its
	// DeletedName is blocked. Errors: ErrClientUnknown where it is not stored.
	DeleteClient(ctx context.Context, c Client, reason string, at time.Time, ev audit.Event) error
	// EndProductGrants ends all living grants of all clients of a product and
	// returns their number.
	EndProductGrants(ctx context.Context, product, reason string, at time.Time, ev audit.Event) (int, error)
}

// Integration is a client product as an administrator sees it: all clients of
// it together, with what they have.
type Integration struct {
	// ID is a short name for the product, for addresses.
	ID      string
	Product string
	// Clients are its stored clients, the one stored last first. There are
	// none of one that was blocked before anybody used it.
	Clients []Client
	// Connections are the living ones, the one used last first.
	Connections []Connection
	// Blocked says that the integration itself is blocked, BlockedHosts which
	// hosts are that it belongs to.
	Blocked      bool
	BlockedHosts []string
}

// People returns how many people the integration's connections belong to.
func (i Integration) People() int {
	seen := make(map[org.PersonID]bool)
	for _, c := range i.Connections {
		seen[c.Person.ID] = true
	}
	return len(seen)
}

// LastUsed returns when a connection was last used, zero for never.
func (i Integration) LastUsed() time.Time {
	var last time.Time
	for _, c := range i.Connections {
		if c.Grant.LastUsedAt.After(last) {
			last = c.Grant.LastUsedAt
		}
	}
	return last
}

func integrationID(product string) string { return string(ClientID(product).Key()) }

// Integrations lists what has clients here or is blocked: the ones used last
// first, then by name.
func (a *Authority) Integrations(ctx context.Context) ([]Integration, error) {
	clients, err := a.Store.Clients(ctx)
	if err != nil {
		return nil, fmt.Errorf("list integrations: %w", err)
	}
	connections, err := a.Connections(ctx, ConnectionFilter{})
	if err != nil {
		return nil, fmt.Errorf("list integrations: %w", err)
	}
	blocked, err := a.Store.BlockedProducts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list integrations: %w", err)
	}
	byProduct := make(map[string]*Integration)
	at := func(product string) *Integration {
		i := byProduct[product]
		if i == nil {
			i = &Integration{ID: integrationID(product), Product: product}
			byProduct[product] = i
		}
		return i
	}
	for _, c := range clients {
		i := at(c.Product())
		i.Clients = append(i.Clients, c)
		for _, name := range c.Integrations()[1:] {
			if strings.HasPrefix(name, HostProduct) && slices.Contains(blocked, name) && !slices.Contains(i.BlockedHosts, name) {
				i.BlockedHosts = append(i.BlockedHosts, name)
			}
		}
	}
	for _, c := range connections {
		i := at(c.Client.Product())
		i.Connections = append(i.Connections, c)
	}
	for _, product := range blocked {
		if strings.HasPrefix(product, deletedPrefix) {
			continue // by the client itself, for good
		}
		at(product).Blocked = true
	}
	all := make([]Integration, 0, len(byProduct))
	for _, i := range byProduct {
		slices.SortFunc(i.Clients, func(a, b Client) int { return b.CreatedAt.Compare(a.CreatedAt) })
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b Integration) int {
		return cmp.Or(b.LastUsed().Compare(a.LastUsed()), cmp.Compare(a.Product, b.Product))
	})
	return all, nil
}

// Integration finds one by its id. Errors: ErrIntegrationUnknown.
func (a *Authority) Integration(ctx context.Context, id string) (Integration, error) {
	all, err := a.Integrations(ctx)
	if err != nil {
		return Integration{}, err
	}
	for _, i := range all {
		if i.ID == id {
			return i, nil
		}
	}
	return Integration{}, ErrIntegrationUnknown
}

// RevokeIntegration ends all grants of all clients of an integration. They may
// connect again; blocking is what keeps them out.
func (a *Authority) RevokeIntegration(ctx context.Context, i Integration, by audit.Actor) (int, error) {
	now := a.Now()
	n, err := a.Store.EndProductGrants(ctx, i.Product, "the integration was revoked by an administrator", now,
		audit.Event{At: now, Actor: by, Kind: audit.ClientRevoked, Target: i.ID, Detail: i.Product})
	if err != nil {
		return 0, fmt.Errorf("revoke integration %s: %w", i.Product, err)
	}
	return n, nil
}

// SetIntegrationBlocked blocks or unblocks exactly this integration. Blocked
// connections are refused and not ended: unblocked, they work again.
func (a *Authority) SetIntegrationBlocked(ctx context.Context, i Integration, blocked bool, by audit.Actor) error {
	kind := audit.ClientBlocked
	if !blocked {
		kind = audit.ClientUnblocked
	}
	ev := audit.Event{At: a.Now(), Actor: by, Kind: kind, Target: i.ID, Detail: i.Product}
	if err := a.Store.SetProductBlocked(ctx, i.Product, blocked, ev); err != nil {
		return fmt.Errorf("block integration %s: %w", i.Product, err)
	}
	return nil
}

// DeleteClient takes a registration out of use for good at its own wish: its
// grants end, and its client_id is refused from now on. Errors:
// ErrClientUnknown for one that nobody has connected with, of which nothing is
// stored.
func (a *Authority) DeleteClient(ctx context.Context, c Client, by audit.Actor) error {
	now := a.Now()
	err := a.Store.DeleteClient(ctx, c, "the app deleted its registration", now,
		audit.Event{At: now, Actor: by, Kind: audit.ClientDeleted, Target: string(c.Key()), Detail: c.Name()})
	if err != nil {
		return fmt.Errorf("delete client %s: %w", c.Key(), err)
	}
	return nil
}
