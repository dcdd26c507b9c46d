package grant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// Issuer is an identity provider that an administrator trusts to say who a
// person is and which client may act for them (RFC 7523, ID-JAG).
type Issuer struct {
	// URL is the issuer identifier, compared byte for byte with iss.
	URL string
	// JWKSURI is where its keys are.
	JWKSURI string
	// Audience is accepted beside our own issuer identifier, "" for none.
	Audience string
	// Private says that the keys may be at a private address (RFC 1918, RFC
	// 4193). Without it a name that leads to one is refused.
	Private bool
	// Teams are the slugs of the teams it may open; none means all.
	Teams     []string
	CreatedAt time.Time
}

// Errors of issuers and their assertions.
var (
	ErrIssuerUnknown = errors.New("no such issuer is trusted here")
	ErrIssuerExists  = errors.New("the issuer is trusted already; remove it first to change it")
	ErrAssertionUsed = errors.New("the assertion was used before; ask the identity provider for a new one")
)

// ACRAssertion marks the grants that came from an identity provider's
// assertion: its profile, as metadata names it.
const ACRAssertion = "urn:ietf:params:oauth:grant-profile:id-jag"

// Check refuses an issuer that could not be relied on: all its addresses must
// be https, or all on this computer.
func (i Issuer) Check() error {
	loopback, err := checkIssuerURL("issuer", i.URL)
	if err != nil {
		return err
	}
	if strings.ContainsAny(i.URL, "?#") {
		return errors.New("the issuer has no query and no fragment (RFC 8414 §2)") //nolint:staticcheck // it is for people
	}
	jwksLoopback, err := checkIssuerURL("jwks-uri", i.JWKSURI)
	if err != nil {
		return err
	}
	if u, err := url.Parse(i.JWKSURI); err == nil && !jwksLoopback {
		switch ip := net.ParseIP(u.Hostname()); {
		case ip.IsLinkLocalUnicast(), ip.IsLinkLocalMulticast(), ip.IsMulticast(), ip.IsUnspecified():
			return fmt.Errorf("jwks-uri %q: no keys are fetched from such an address", i.JWKSURI)
		case ip.IsPrivate() && !i.Private:
			return fmt.Errorf("jwks-uri %q: this is a private address; if the keys are there, add --private", i.JWKSURI)
		}
	}
	if strings.HasPrefix(i.JWKSURI, "http:") && (!loopback || !jwksLoopback) {
		return fmt.Errorf("jwks-uri %q: plain http is only possible for an issuer on this computer", i.JWKSURI)
	}
	return nil
}

func checkIssuerURL(what, s string) (loopback bool, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(s) > 1024 {
		return false, fmt.Errorf("%s %q: it must be a URL like https://idp.example.com", what, s)
	}
	host := u.Hostname()
	loopback = host == "localhost" || net.ParseIP(host).IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return loopback, fmt.Errorf("%s %q: it must be https, or http on this computer", what, s)
	}
	return loopback, nil
}

// AddIssuer trusts an identity provider from now on. Errors: ErrIssuerExists,
// org.ErrTeamNotFound is for the caller to find out.
func (a *Authority) AddIssuer(ctx context.Context, i Issuer, by audit.Actor) (Issuer, error) {
	if err := i.Check(); err != nil {
		return Issuer{}, err
	}
	i.CreatedAt = a.Now()
	ev := audit.Event{At: i.CreatedAt, Actor: by, Kind: audit.IssuerAdded, Target: i.URL, Detail: "keys at " + i.JWKSURI}
	if err := a.Store.AddIssuer(ctx, i, ev); err != nil {
		return Issuer{}, fmt.Errorf("trust %s: %w", i.URL, err)
	}
	return i, nil
}

// RemoveIssuer ends the trust; grants that came from it end within the hour,
// since nothing renews them. Errors: ErrIssuerUnknown.
func (a *Authority) RemoveIssuer(ctx context.Context, issuer string, by audit.Actor) error {
	ev := audit.Event{At: a.Now(), Actor: by, Kind: audit.IssuerRemoved, Target: issuer}
	if err := a.Store.RemoveIssuer(ctx, issuer, ev); err != nil {
		return fmt.Errorf("remove %s: %w", issuer, err)
	}
	return nil
}

// Assertion is a verified assertion of a trusted issuer, with the person and
// the team that it was found to mean.
type Assertion struct {
	Issuer string
	// ID is its jti, good once.
	ID        string
	ExpiresAt time.Time
	// AuthTime is when the person signed in at the issuer, zero if unknown.
	AuthTime time.Time
	AMR      []string

	Person   org.PersonID
	Client   Client
	Team     org.Team
	Resource string
	Scopes   spec.Scopes
	Address  string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// Assert gives an access token for an assertion, and no refresh token: the
// client comes back with a new assertion (ID-JAG, "Refresh Tokens"). The grant
// is a normal one, so that people see it and can end it; while it lives, later
// assertions of the same kind continue it. Errors: ErrAssertionUsed,
// *EndedError; any other is our own fault.
func (a *Authority) Assert(ctx context.Context, as Assertion) (Tokens, error) {
	now := a.Now()
	authTime := as.AuthTime
	if authTime.IsZero() {
		authTime = now
	}
	g := Grant{
		ID: newID(), Person: as.Person, Client: as.Client.Key(), Team: as.Team.ID, Resource: as.Resource, Scopes: as.Scopes,
		AuthTime: authTime, AMR: as.AMR, ACR: ACRAssertion, CreatedAt: now, RedeemedAt: now, LastUsedAt: now,
	}
	sum := sha256.Sum256([]byte(as.Issuer + "\x00" + as.ID))
	actor := audit.Client(string(g.Client), as.Address)
	var standing Standing
	err := a.Store.UseAssertion(ctx, hex.EncodeToString(sum[:]), as.ExpiresAt, g, as.Client, func(s *Standing) ([]audit.Event, error) {
		if err := s.mayContinue(now, a.Lifetimes); err != nil {
			return nil, err
		}
		s.Grant.LastUsedAt = now
		standing = *s
		return []audit.Event{{
			At: now, Actor: actor, Kind: audit.AssertionTaken, Target: string(s.Grant.ID), Team: as.Team.Slug,
			Detail: fmt.Sprintf("for %s, from %s", s.Person.Email, as.Issuer),
		}}, nil
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("use assertion: %w", err)
	}
	t, err := a.issueAccess(&standing, as.Scopes, a.Lifetimes.Under(standing.Policy).AccessExpiry(now), now, "", as.Key)
	if err != nil {
		return Tokens{}, err
	}
	return a.identify(t, &standing, "", now)
}

// IssuerStore keeps trusted issuers and used assertions. Each change is one
// transaction with its audit events.
type IssuerStore interface {
	// AddIssuer returns ErrIssuerExists where it is there.
	AddIssuer(ctx context.Context, i Issuer, ev audit.Event) error
	// RemoveIssuer returns ErrIssuerUnknown where it is not there.
	RemoveIssuer(ctx context.Context, issuer string, ev audit.Event) error
	// Issuer returns ErrIssuerUnknown where it is not there.
	Issuer(ctx context.Context, issuer string) (Issuer, error)
	// Issuers lists them by their URL.
	Issuers(ctx context.Context) ([]Issuer, error)
	// UseAssertion notes an assertion's hash until it expires, finds a living
	// grant that came from an assertion for the same person, client, team and
	// resource or stores g, and calls change as Store.ChangeGrant does.
	// Errors: ErrAssertionUsed.
	UseAssertion(ctx context.Context, hash string, expires time.Time, g Grant, c Client, change func(*Standing) ([]audit.Event, error)) error
}
