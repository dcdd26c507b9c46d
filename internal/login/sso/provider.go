// Package sso signs people in through the identity providers of their
// organization, with OpenID Connect or SAML 2.0. [Registry] keeps the
// providers; [Server] has the endpoints that browsers and providers call.
//
// A provider says who somebody is and which groups they are in. It says so
// for its own e-mail domains only: an account is found by the provider's
// subject, and the first time by an address in a domain that the provider
// owns. What a group gives is written down in a mapping, which at each sign-in
// adds what is missing and takes what it gave before; what an administrator
// set by hand it leaves alone. The browser session itself is package login's.
package sso

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso/saml"
	"github.com/orielhq/oriel/internal/org"
)

// ID identifies a provider for ever.
type ID string

// Kind is the protocol that a provider speaks.
type Kind string

// The kinds.
const (
	OIDC Kind = "oidc"
	SAML Kind = "saml"
)

// Errors of this package. Their text is for people.
var (
	ErrNotFound       = errors.New("no such identity provider")
	ErrSlugTaken      = errors.New("an identity provider with this slug exists already")
	ErrDomainTaken    = errors.New("the domain belongs to another identity provider")
	ErrDomainNotFound = errors.New("no identity provider has this domain")
	ErrRuleNotFound   = errors.New("no such mapping")
	ErrGroupName      = errors.New("a group needs a name, exactly as the provider writes it")
	ErrRuleExists     = errors.New("this mapping is there already")
	ErrTokenUsed      = errors.New("the token or assertion was used before")
	ErrLinkNotFound   = errors.New("the person is linked to nobody at an identity provider")
	ErrNoBreakGlass   = errors.New("there is no active owner with a password who may sign in when the identity provider does not work; name one first: oriel provider break-glass --email E")
)

// Provider is an identity provider.
type Provider struct {
	ID ID
	// Slug names the provider in URLs and commands; it never changes.
	Slug string
	// Name is what people see: "Sign in with <Name>".
	Name      string
	Kind      Kind
	Settings  Settings
	Domains   []Domain
	Rules     []Rule
	Enabled   bool
	CreatedAt time.Time
	// Sealed is the secret as the store keeps it.
	Sealed []byte
}

// Settings are a provider's settings. The names of the members are stored.
type Settings struct {
	// CreateAccounts makes an account for somebody of the provider's domains
	// who has none.
	CreateAccounts bool `json:"create_accounts,omitempty"`
	// AllowPrivate lets the provider be at a private address, over http too
	// where that is on this computer.
	AllowPrivate bool `json:"allow_private,omitempty"`
	// GroupClaim is the claim or attribute that lists groups; "" takes
	// DefaultGroupClaim.
	GroupClaim string `json:"group_claim,omitempty"`
	// SubjectClaim names somebody for ever; "" takes sub or the NameID.
	SubjectClaim string `json:"subject_claim,omitempty"`
	// EmailClaim holds the e-mail address; "" takes email, and for SAML the
	// usual attributes, else a NameID that is an address.
	EmailClaim string `json:"email_claim,omitempty"`
	// TrustEmail takes an address without email_verified. The administrator
	// vouches that only the organization gives out addresses there.
	TrustEmail bool `json:"trust_email,omitempty"`
	// Classes says what the provider's authentication classes mean here.
	Classes []Class `json:"classes,omitempty"`

	// Of OpenID Connect.
	Issuer   string `json:"issuer,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// Scopes are asked for beside openid; nil asks for profile and email.
	Scopes []string `json:"scopes,omitempty"`
	// Require are claims that must have a value, as name=value: where a
	// provider signs in people of other organizations too, the one that tells
	// them apart.
	Require []string `json:"require,omitempty"`
	// ACRValues are asked for (OpenID Connect Core §3.1.2.1).
	ACRValues []string `json:"acr_values,omitempty"`

	// Of SAML.

	// Metadata is the provider's metadata document, MetadataURL where it
	// came from, "" for a file.
	Metadata    string `json:"metadata,omitempty"`
	MetadataURL string `json:"metadata_url,omitempty"`
}

// EntityID returns the name of a SAML provider, "" for none.
func (s *Settings) EntityID() string {
	entity, err := saml.CheckMetadata([]byte(s.Metadata))
	if err != nil {
		return ""
	}
	return entity
}

// DefaultGroupClaim is the usual name of the claim that lists groups.
const DefaultGroupClaim = "groups"

// Class says what one authentication class of a provider means: an acr value
// or a SAML authentication context.
type Class struct {
	From string `json:"from"`
	// ACR is put in its place, "" leaves it as it is.
	ACR string `json:"acr,omitempty"`
	// AMR are methods (RFC 8176) that it implies.
	AMR []string `json:"amr,omitempty"`
}

// Domain is an e-mail domain whose people sign in at a provider.
type Domain struct {
	Name string
	// SSOOnly says that passwords are refused for addresses in it.
	SSOOnly bool
}

// Rule says that members of a group have a role in a team.
type Rule struct {
	Group string
	// Team is the team's slug.
	Team   string
	TeamID org.TeamID
	Role   string
}

// TeamRole is a role in a team.
type TeamRole struct {
	Team org.TeamID
	Slug string
	Role string
}

// Owns says whether an address is in one of the provider's domains.
func (p *Provider) Owns(email string) bool {
	d := DomainOf(email)
	return slices.ContainsFunc(p.Domains, func(own Domain) bool { return own.Name == d })
}

// DomainOf returns the domain of an e-mail address, in lower case.
func DomainOf(email string) string {
	at := strings.LastIndexByte(email, '@')
	if at < 0 {
		return ""
	}
	return strings.ToLower(email[at+1:])
}

// Wanted returns what the rules give somebody in these groups, each once.
func (p *Provider) Wanted(groups []string) []TeamRole {
	var out []TeamRole
	for _, r := range p.Rules {
		tr := TeamRole{Team: r.TeamID, Slug: r.Team, Role: r.Role}
		if slices.Contains(groups, r.Group) && !slices.Contains(out, tr) {
			out = append(out, tr)
		}
	}
	return out
}

var domainPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$`)

// ParseDomain checks an e-mail domain and returns it in lower case, with or
// without an @ before it.
func ParseDomain(s string) (string, error) {
	d := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(s), "@"))
	if len(d) > 253 || !domainPattern.MatchString(d) {
		return "", fmt.Errorf("%q is not an e-mail domain (write it like example.com)", s)
	}
	return d, nil
}

// ParseClass reads a class as from=acr[,amr…]; the acr may be empty.
func ParseClass(s string) (Class, error) {
	from, to, ok := cutLast(s, "=")
	parts := strings.Split(to, ",")
	c := Class{From: strings.TrimSpace(from), ACR: strings.TrimSpace(parts[0])}
	for _, m := range parts[1:] {
		if m = strings.TrimSpace(m); m != "" {
			c.AMR = append(c.AMR, m)
		}
	}
	if !ok || c.From == "" || (c.ACR == "" && len(c.AMR) == 0) {
		return Class{}, fmt.Errorf("%q does not say what a class means (write it like phr=urn:example:mfa,mfa,hwk or phr=,mfa)", s)
	}
	return c, nil
}

// cutLast cuts around the last separator: classes may be URLs with a query.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

const (
	// maxMetadataBytes bounds a SAML metadata document: one provider, not a
	// federation.
	maxMetadataBytes = 256 << 10
	maxClaimName     = 200
	maxIssuerBytes   = 1024
)

// FieldError says which part of a new provider is wrong: slug, name, domains,
// client_id, issuer or metadata.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{field, err}
}

// check refuses settings that could not work or could not be relied on.
func (p *Provider) check() error {
	name := strings.TrimSpace(p.Name)
	if name == "" || len([]rune(name)) > 60 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return wrong("name", errors.New("an identity provider needs a name of 1 to 60 characters: people read it on a button"))
	}
	if _, err := org.ParseSlug(p.Slug); err != nil {
		return wrong("slug", err)
	}
	if len(p.Domains) == 0 {
		return wrong("domains", errors.New("an identity provider needs at least one e-mail domain: it speaks for the people of its domains only"))
	}
	s := &p.Settings
	for _, claim := range []string{s.GroupClaim, s.SubjectClaim, s.EmailClaim} {
		if len(claim) > maxClaimName {
			return fmt.Errorf("a claim's name is longer than %d bytes", maxClaimName)
		}
	}
	switch p.Kind {
	case OIDC:
		if s.ClientID == "" {
			return wrong("client_id", errors.New("a client id is required: the provider gives it to you when you register Oriel there"))
		}
		for _, r := range s.Require {
			if name, _, ok := strings.Cut(r, "="); !ok || name == "" {
				return fmt.Errorf("%q does not say which value a claim must have (write it like hd=example.com)", r)
			}
		}
		return wrong("issuer", checkProviderURL("issuer", s.Issuer, s.AllowPrivate))
	case SAML:
		if len(s.Metadata) > maxMetadataBytes {
			return wrong("metadata", fmt.Errorf("the metadata is longer than %d bytes", maxMetadataBytes))
		}
		return nil
	}
	return fmt.Errorf("%q is not a kind of identity provider", p.Kind)
}

// checkProviderURL takes https, and http only on this computer.
func checkProviderURL(what, s string, private bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?#") || len(s) > maxIssuerBytes {
		return fmt.Errorf("%s %q: it must be a URL like https://idp.example.com", what, s)
	}
	host := u.Hostname()
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback || !private) {
		return fmt.Errorf("%s %q: it must be https, or http on this computer where private addresses are allowed", what, s)
	}
	return nil
}

// Arrival is somebody whom a provider has vouched for.
type Arrival struct {
	Provider *Provider
	Subject  string
	// Email is "" unless it may be relied on.
	Email  string
	Name   string
	Groups []string
	// Address is the network address of the browser.
	Address string
	At      time.Time
}

// Found is what the store knows about an arrival.
type Found struct {
	// Linked is who the subject is here, nil for nobody yet.
	Linked *org.Person
	// ByEmail is who has the address, nil for nobody.
	ByEmail *org.Person
	// Elsewhere says that ByEmail is linked to another subject of the
	// provider.
	Elsewhere bool
	// Given are the roles that the provider's mapping gave the person.
	Given []TeamRole
	// Members are the person's memberships.
	Members []org.Member
}

// Outcome is what a sign-in changes.
type Outcome struct {
	Person org.Person
	// Create adds the person, Link ties the subject to them.
	Create, Link bool
	// Set are the memberships that change, with all their roles; none takes
	// the person out of the team.
	Set []org.Member
	// Give and Take change what is known to come from the mapping.
	Give, Take []TeamRole
	Events     []audit.Event
}

// SignIns says which sign-ins of a provider are meant; at least one of the
// fields beside Provider is set.
type SignIns struct {
	Provider ID
	// Subject and SessionIDs narrow; "" and none match all.
	Subject    string
	SessionIDs []string
	// All means every sign-in of the provider.
	All bool
}

// SignIn is a sign-in through a provider.
type SignIn struct {
	Provider Provider
	Person   org.PersonID
	// Upstream says who signed in there, in which session.
	Upstream login.Upstream
}

// Ended counts what ended with sign-ins.
type Ended struct{ Sessions, Connections int }

// Store keeps providers and what hangs on them. Every change is one
// transaction with its audit events and its entries in the change feed.
// Implementations are safe for concurrent use.
type Store interface {
	// CreateProvider stores p with its domains. Errors: ErrSlugTaken,
	// ErrDomainTaken.
	CreateProvider(ctx context.Context, p Provider, ev audit.Event) error
	// UpdateProvider stores the name, settings and secret. Errors:
	// ErrNotFound.
	UpdateProvider(ctx context.Context, p Provider, ev audit.Event) error
	// Provider returns ErrNotFound where there is none of the slug.
	Provider(ctx context.Context, slug string) (Provider, error)
	// Providers lists them by name.
	Providers(ctx context.Context) ([]Provider, error)
	// SetProviderEnabled also ends all sign-ins of a provider that it
	// disables. Errors: ErrNotFound.
	SetProviderEnabled(ctx context.Context, id ID, enabled bool, reason string, ev audit.Event) (Ended, error)
	// RemoveProvider ends its sign-ins and forgets it; the roles that its
	// mapping gave go with it. Errors: ErrNotFound.
	RemoveProvider(ctx context.Context, id ID, reason string, ev audit.Event) (Ended, error)
	// SetDomain gives a domain to a provider. Errors: ErrDomainTaken.
	SetDomain(ctx context.Context, id ID, domain string, ev audit.Event) error
	// SetSSOOnly changes whether passwords are refused; if so, browser
	// sessions of the domain's people that came from one end, but for those
	// of break-glass owners. It needs an active owner with a password who
	// may break the glass. Errors: ErrDomainNotFound, ErrNoBreakGlass.
	SetSSOOnly(ctx context.Context, domain string, only bool, ev audit.Event) error
	// AddRule returns ErrRuleExists where it is there.
	AddRule(ctx context.Context, id ID, r Rule, ev audit.Event) error
	// RemoveRule returns ErrRuleNotFound where it is not there.
	RemoveRule(ctx context.Context, id ID, r Rule, ev audit.Event) error
	// SetBreakGlass changes whether a person may sign in with a password
	// whatever their domain says. Errors: org.ErrPersonNotFound.
	SetBreakGlass(ctx context.Context, id org.PersonID, may bool, ev audit.Event) error
	// BreakGlass lists who may.
	BreakGlass(ctx context.Context) ([]org.Person, error)
	// PasswordRefused says whether an address may not sign in with a
	// password. It takes the same time for every address.
	PasswordRefused(ctx context.Context, domain, email string) (bool, error)
	// Unlink forgets who somebody is at a provider. Errors: ErrLinkNotFound.
	Unlink(ctx context.Context, id ID, person org.PersonID, ev audit.Event) error

	// Arrive calls decide with what is known and stores what it decides. An
	// error of decide is returned as it is and stores nothing; decide may be
	// called more than once.
	Arrive(ctx context.Context, a Arrival, decide func(Found) (Outcome, error)) (org.Person, error)
	// UseToken notes a token until it expires. Errors: ErrTokenUsed.
	UseToken(ctx context.Context, hash string, expires, now time.Time) error
	// EndSignIns ends the sessions and grants that came from sign-ins. With a
	// hash it notes the token that asked for it, as UseToken does. Errors:
	// ErrTokenUsed.
	EndSignIns(ctx context.Context, which SignIns, reason, hash string, expires time.Time, ev audit.Event) (Ended, error)
	// SignInOf returns the sign-in that a browser session came from. Errors:
	// ErrNotFound.
	SignInOf(ctx context.Context, sessionHash string) (SignIn, error)
	// CountSignIns says what would end with all sign-ins of a provider.
	CountSignIns(ctx context.Context, id ID) (Ended, error)
	// SweepSignIns forgets sign-ins from which nothing lives any more.
	SweepSignIns(ctx context.Context, before time.Time) error
}
