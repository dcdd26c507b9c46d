package grant

import (
	"crypto/sha256"
	"encoding/base32"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// ClientID is a client's identifier as it presents it: a metadata document's
// URL, a self-contained id, or the id of a registered client.
type ClientID string

// ClientKey is a short name for a client id, for the store, the shell and
// tokens: self-contained ids are hundreds of bytes long.
type ClientKey string

const (
	clientKeyPrefix = "cl_"
	clientKeyLength = len(clientKeyPrefix) + 24 // 120 bits in base 32
)

// Key returns the client's short name.
func (id ClientID) Key() ClientKey {
	sum := sha256.Sum256([]byte(id))
	return ClientKey(clientKeyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15])))
}

// ClientKind says how a client is known.
type ClientKind string

// The kinds of client.
const (
	SelfRegistered ClientKind = "self-registered"
	Document       ClientKind = "document"
	Registered     ClientKind = "registered"
)

// Client is an OAuth client.
type Client struct {
	ID       ClientID
	Kind     ClientKind
	Metadata spec.ClientMetadata
	// SecretHash is the SHA-256 of the secret of a Registered confidential
	// client, in hexadecimal.
	SecretHash string
	// Service is the account of a client that acts by itself, "" for others.
	Service   org.PersonID
	CreatedAt time.Time
	// Blocked says that an administrator blocked the client's integration.
	Blocked bool
}

// Key returns the client's short name.
func (c Client) Key() ClientKey { return c.ID.Key() }

// Name returns what people see the client called.
func (c Client) Name() string {
	if c.Metadata.Name != "" {
		return c.Metadata.Name
	}
	if len(c.Metadata.RedirectURIs) > 0 {
		return c.Metadata.RedirectURIs[0].Destination()
	}
	return "Unnamed client"
}

// Product names the integration that the client is an installation of: all
// registrations of one product share it. For a metadata document it is the
// document's URL, otherwise the name together with where answers are sent,
// because anybody can register under any name.
func (c Client) Product() string {
	if c.Kind != SelfRegistered {
		return string(c.ID)
	}
	var dest []string
	for _, u := range c.Metadata.RedirectURIs {
		if d := u.Destination(); !slices.Contains(dest, d) {
			dest = append(dest, d)
		}
	}
	slices.Sort(dest)
	return strings.ToLower(c.Metadata.Name) + " → " + strings.Join(dest, ", ")
}

// HostProduct begins the name of an integration that is a whole host.
const HostProduct = "host:"

// Hosts returns the hosts on the web that the client belongs to, in lower
// case: the one of its document and those of its redirect URIs. Loopback and
// private-use redirects belong to no host.
func (c Client) Hosts() []string {
	var hosts []string
	add := func(h string) {
		if h = strings.ToLower(strings.TrimSuffix(h, ".")); h != "" && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	if c.Kind == Document {
		if u, err := url.Parse(string(c.ID)); err == nil {
			add(u.Hostname())
		}
	}
	for _, u := range c.Metadata.RedirectURIs {
		if u.Scheme() == "https" {
			host, _, _ := strings.Cut(u.Host(), ":")
			add(host)
		}
	}
	return hosts
}

// deletedPrefix begins the name under which one registration is taken out of
// use for good, whatever becomes of its product.
const deletedPrefix = "deleted:"

// DeletedName is the name under which the client is taken out of use when it
// deletes its registration (RFC 7592 §2.3).
func (c Client) DeletedName() string { return deletedPrefix + string(c.Key()) }

// Integrations returns every name under which the client may be blocked, or
// taken out of use: its product first.
func (c Client) Integrations() []string {
	names := []string{c.Product()}
	if c.Kind == SelfRegistered {
		names = append(names, c.DeletedName())
	}
	for _, h := range c.Hosts() {
		names = append(names, HostProduct+h)
	}
	return names
}

// ParseClientKey takes a client's key, or its client_id, and returns the key.
func ParseClientKey(s string) ClientKey {
	if strings.HasPrefix(s, clientKeyPrefix) && len(s) == clientKeyLength {
		return ClientKey(s)
	}
	return ClientID(s).Key()
}
