package sso

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/sso/saml"
	"github.com/orielhq/oriel/internal/org"
)

// Secret is a client secret or a private key. It prints as nothing.
type Secret []byte

// String hides the secret from logs and formatted output.
func (Secret) String() string { return "[secret]" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "[secret]" }

// Registry makes changes to the identity providers: it checks what was asked,
// seals secrets, and stores each change with its audit event. It is safe for
// concurrent use.
type Registry struct {
	store     Store
	directory *org.Directory
	aead      cipher.AEAD
	now       func() time.Time
}

// NewRegistry returns a registry that seals secrets with a key of 32 bytes.
func NewRegistry(store Store, directory *org.Directory, key []byte, now func() time.Time) (*Registry, error) {
	if store == nil || directory == nil || now == nil {
		return nil, errors.New("sso: a registry needs a store, a directory and a clock")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sso: key for secrets: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("sso: key for secrets: %w", err)
	}
	return &Registry{store, directory, aead, now}, nil
}

// seal encrypts, bound to what it is for.
func (g *Registry) seal(plain []byte, of string) []byte {
	return g.aead.Seal(nil, nil, plain, []byte(of))
}

func (g *Registry) open(sealed []byte, of string) ([]byte, error) {
	plain, err := g.aead.Open(nil, nil, sealed, []byte(of))
	if err != nil {
		return nil, fmt.Errorf("the secret of %s cannot be decrypted: the master key is not the one it was stored with", of)
	}
	return plain, nil
}

// secret returns a provider's client secret or private key.
func (g *Registry) secret(p *Provider) (Secret, error) { return g.open(p.Sealed, string(p.ID)) }

// NewProvider is what it takes to add a provider.
type NewProvider struct {
	Slug, Name string
	Domains    []string
	Settings   Settings
	// ClientSecret is "" for a provider that takes public clients.
	ClientSecret Secret
}

// AddOIDC adds an OpenID Connect provider.
func (g *Registry) AddOIDC(ctx context.Context, n NewProvider, by audit.Actor) (Provider, error) {
	n.Settings.Issuer = strings.TrimSpace(n.Settings.Issuer)
	return g.add(ctx, OIDC, n, n.ClientSecret, n.Settings.Issuer, by)
}

// AddSAML adds a SAML provider, from its metadata, and makes the key with
// which Oriel signs requests and reads encrypted assertions.
func (g *Registry) AddSAML(ctx context.Context, n NewProvider, by audit.Actor) (Provider, error) {
	entity, err := saml.CheckMetadata([]byte(n.Settings.Metadata))
	if err != nil {
		return Provider{}, wrong("metadata", err)
	}
	key, err := saml.NewKey(n.Name, g.now())
	if err != nil {
		return Provider{}, err
	}
	return g.add(ctx, SAML, n, key, entity, by)
}

func (g *Registry) add(ctx context.Context, kind Kind, n NewProvider, secret Secret, at string, by audit.Actor) (Provider, error) {
	p := Provider{
		ID: ID("idp_" + strings.ToLower(rand.Text())), Slug: strings.TrimSpace(n.Slug), Name: strings.TrimSpace(n.Name), Kind: kind,
		Settings: n.Settings, Enabled: true, CreatedAt: g.now(),
	}
	for _, text := range n.Domains {
		d, err := ParseDomain(text)
		if err != nil {
			return Provider{}, wrong("domains", err)
		}
		if !slices.Contains(p.Domains, Domain{Name: d}) {
			p.Domains = append(p.Domains, Domain{Name: d})
		}
	}
	if err := p.check(); err != nil {
		return Provider{}, err
	}
	p.Sealed = g.seal(secret, string(p.ID))
	ev := g.event(by, audit.ProviderAdded, &p, fmt.Sprintf("%s (%s) at %s, for %s", p.Name, kind, at, strings.Join(domainNames(p.Domains), ", ")))
	err := g.store.CreateProvider(ctx, p, ev)
	switch {
	case errors.Is(err, ErrSlugTaken):
		return Provider{}, wrong("slug", err)
	case errors.Is(err, ErrDomainTaken):
		return Provider{}, wrong("domains", err)
	case err != nil:
		return Provider{}, fmt.Errorf("add %s: %w", p.Slug, err)
	}
	return p, nil
}

func domainNames(ds []Domain) []string {
	names := make([]string, len(ds))
	for i, d := range ds {
		names[i] = d.Name
	}
	return names
}

func (g *Registry) event(by audit.Actor, kind audit.Kind, p *Provider, detail string) audit.Event {
	return audit.Event{At: g.now(), Actor: by, Kind: kind, Target: p.Slug, Detail: detail}
}

// Provider finds a provider by its slug.
func (g *Registry) Provider(ctx context.Context, slug string) (Provider, error) {
	p, err := g.store.Provider(ctx, slug)
	if err != nil {
		return Provider{}, fmt.Errorf("identity provider %q: %w", slug, err)
	}
	return p, nil
}

// Providers lists the providers by name.
func (g *Registry) Providers(ctx context.Context) ([]Provider, error) { return g.store.Providers(ctx) }

// CountSignIns says what would end if a provider were switched off.
func (g *Registry) CountSignIns(ctx context.Context, p Provider) (Ended, error) {
	return g.store.CountSignIns(ctx, p.ID)
}

// SetEnabled lets people sign in through a provider, or not any more; then
// the sessions and connections that came from it end.
func (g *Registry) SetEnabled(ctx context.Context, slug string, enabled bool, by audit.Actor) (Provider, Ended, error) {
	p, err := g.Provider(ctx, slug)
	if err != nil || p.Enabled == enabled {
		return p, Ended{}, err
	}
	kind := audit.ProviderEnabled
	if !enabled {
		kind = audit.ProviderDisabled
	}
	ended, err := g.store.SetProviderEnabled(ctx, p.ID, enabled, "the identity provider was switched off", g.event(by, kind, &p, p.Name))
	if err != nil {
		return Provider{}, Ended{}, fmt.Errorf("switch %s: %w", slug, err)
	}
	p.Enabled = enabled
	return p, ended, nil
}

// Remove forgets a provider. Accounts stay; sessions, connections and roles
// that came from it end.
func (g *Registry) Remove(ctx context.Context, slug string, by audit.Actor) (Ended, error) {
	p, err := g.Provider(ctx, slug)
	if err != nil {
		return Ended{}, err
	}
	ended, err := g.store.RemoveProvider(ctx, p.ID, "the identity provider was removed", g.event(by, audit.ProviderRemoved, &p, p.Name))
	if err != nil {
		return Ended{}, fmt.Errorf("remove %s: %w", slug, err)
	}
	return ended, nil
}

// SetMetadata replaces the metadata of a SAML provider.
func (g *Registry) SetMetadata(ctx context.Context, slug, metadata string, by audit.Actor) error {
	p, err := g.Provider(ctx, slug)
	if err != nil {
		return err
	}
	if p.Kind != SAML {
		return fmt.Errorf("%s is not a SAML provider", slug)
	}
	entity, err := saml.CheckMetadata([]byte(metadata))
	if err != nil {
		return err
	}
	p.Settings.Metadata = metadata
	if err := p.check(); err != nil {
		return err
	}
	if err := g.store.UpdateProvider(ctx, p, g.event(by, audit.ProviderChanged, &p, "metadata of "+entity)); err != nil {
		return fmt.Errorf("change %s: %w", slug, err)
	}
	return nil
}

// AddDomain gives a provider another e-mail domain.
func (g *Registry) AddDomain(ctx context.Context, slug, domain string, by audit.Actor) error {
	p, err := g.Provider(ctx, slug)
	if err != nil {
		return err
	}
	d, err := ParseDomain(domain)
	if err != nil {
		return err
	}
	if err := g.store.SetDomain(ctx, p.ID, d, g.event(by, audit.ProviderChanged, &p, "domain "+d)); err != nil {
		return fmt.Errorf("give %s to %s: %w", d, slug, err)
	}
	return nil
}

// SetSSOOnly refuses passwords for a domain, or takes them again. Somebody
// must be left who can sign in when the provider cannot.
func (g *Registry) SetSSOOnly(ctx context.Context, domain string, only bool, by audit.Actor) error {
	d, err := ParseDomain(domain)
	if err != nil {
		return err
	}
	kind := audit.SSOOnlySet
	if !only {
		kind = audit.SSOOnlyLifted
	}
	if err := g.store.SetSSOOnly(ctx, d, only, audit.Event{At: g.now(), Actor: by, Kind: kind, Target: d}); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	return nil
}

// Map gives the members of a group a role in a team, from their next sign-in
// on.
func (g *Registry) Map(ctx context.Context, slug string, r Rule, by audit.Actor) (Rule, error) {
	p, r, err := g.rule(ctx, slug, r)
	if err != nil {
		return Rule{}, err
	}
	roles, err := g.directory.Roles(ctx, r.Team)
	if err != nil {
		return Rule{}, err
	}
	if !slices.ContainsFunc(roles, func(known org.Role) bool { return known.Name == r.Role }) {
		return Rule{}, fmt.Errorf("role %q: %w in team %s", r.Role, org.ErrRoleNotFound, r.Team)
	}
	ev := g.event(by, audit.ProviderMapped, &p, r.Group+": "+r.Role)
	ev.Team = r.Team
	if err := g.store.AddRule(ctx, p.ID, r, ev); err != nil {
		return Rule{}, fmt.Errorf("map group %q: %w", r.Group, err)
	}
	return r, nil
}

// Unmap takes a mapping away; what it gave goes at people's next sign-in.
func (g *Registry) Unmap(ctx context.Context, slug string, r Rule, by audit.Actor) error {
	p, r, err := g.rule(ctx, slug, r)
	if err != nil {
		return err
	}
	ev := g.event(by, audit.ProviderUnmapped, &p, r.Group+": "+r.Role)
	ev.Team = r.Team
	if err := g.store.RemoveRule(ctx, p.ID, r, ev); err != nil {
		return fmt.Errorf("group %q: %w", r.Group, err)
	}
	return nil
}

// maxGroupBytes bounds a group's name: LDAP paths are long.
const maxGroupBytes = 512

func (g *Registry) rule(ctx context.Context, slug string, r Rule) (Provider, Rule, error) {
	p, err := g.Provider(ctx, slug)
	if err != nil {
		return p, r, err
	}
	r.Group = strings.TrimSpace(r.Group)
	if r.Group == "" || len(r.Group) > maxGroupBytes {
		return p, r, fmt.Errorf("%w, of up to %d bytes", ErrGroupName, maxGroupBytes)
	}
	t, err := g.directory.Team(ctx, r.Team)
	r.TeamID = t.ID
	return p, r, err
}

// SetBreakGlass names an owner who may sign in with a password whatever their
// domain says, or takes that back.
func (g *Registry) SetBreakGlass(ctx context.Context, email string, may bool, by audit.Actor) (org.Person, error) {
	person, err := g.directory.PersonByEmail(ctx, email)
	if err != nil {
		return org.Person{}, err
	}
	if may && (!person.Owner || !person.Active()) {
		return org.Person{}, fmt.Errorf("%s is not an active owner: only an owner can put things right when the identity provider does not work", person.Email)
	}
	ev := audit.Event{At: g.now(), Actor: by, Kind: audit.BreakGlassSet, Target: string(person.ID), Detail: person.Email}
	if !may {
		ev.Kind = audit.BreakGlassTaken
	}
	if err := g.store.SetBreakGlass(ctx, person.ID, may, ev); err != nil {
		return org.Person{}, fmt.Errorf("%s: %w", person.Email, err)
	}
	return person, nil
}

// BreakGlass lists who may sign in with a password whatever their domain
// says.
func (g *Registry) BreakGlass(ctx context.Context) ([]org.Person, error) {
	return g.store.BreakGlass(ctx)
}

// Unlink forgets who somebody is at a provider, so that their next sign-in
// finds them by their address again.
func (g *Registry) Unlink(ctx context.Context, slug, email string, by audit.Actor) error {
	p, err := g.Provider(ctx, slug)
	if err != nil {
		return err
	}
	person, err := g.directory.PersonByEmail(ctx, email)
	if err != nil {
		return err
	}
	ev := g.event(by, audit.IdentityUnlinked, &p, person.Email)
	ev.Target = string(person.ID)
	if err := g.store.Unlink(ctx, p.ID, person.ID, ev); err != nil {
		return fmt.Errorf("%s at %s: %w", person.Email, p.Slug, err)
	}
	return nil
}
