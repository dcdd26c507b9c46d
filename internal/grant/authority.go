package grant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// Limits of the authorization code.
const (
	// codeLifetime is how long a code may travel (RFC 6749 §4.1.2 allows ten
	// minutes; clients redeem at once).
	codeLifetime = 60 * time.Second
	// codeRetryWindow is how long an identical redemption is answered again:
	// a client whose connection broke must not lose its sign-in. It departs
	// from OAuth 2.1 §4.1.3 and is listed in docs/standards.md.
	codeRetryWindow = 5 * time.Second
)

// Authority begins, continues and ends grants. It is safe for concurrent use.
type Authority struct {
	Config
	mint minter
}

// Config is what an Authority needs.
type Config struct {
	Store  Store
	Keys   *Keyring
	Master MasterKey
	// Issuer is the authorization server's identifier (RFC 8414 §2).
	Issuer    string
	Lifetimes Lifetimes
	Now       func() time.Time
}

// New returns an Authority, or an error that names what Config lacks.
func New(c Config) (*Authority, error) {
	if c.Store == nil || c.Keys == nil || c.Now == nil || c.Issuer == "" || c.Master == (MasterKey{}) {
		return nil, errors.New("grant: Config needs Store, Keys, Master, Issuer and Now")
	}
	if err := c.Lifetimes.Check(); err != nil {
		return nil, err
	}
	return &Authority{Config: c, mint: newMinter(c.Master)}, nil
}

// Consent is what a person agreed to.
type Consent struct {
	// ID is unique to the page the person pressed Allow access on.
	ID          string
	Person      org.PersonID
	Client      Client
	Team        org.TeamID
	TeamSlug    string
	Resource    string
	Scopes      spec.Scopes
	AuthTime    time.Time
	AMR         []string
	ACR         string
	RedirectURI string
	Challenge   spec.CodeChallenge
	Nonce       string
	// Key is the thumbprint that the client announced (RFC 9449 §10).
	Key string
	// How says what the consent rests on.
	How ConsentKind
}

// ConsentKind says what a consent rests on.
type ConsentKind int

// The kinds of consent.
const (
	// Fresh: the person was asked, and there was nothing before.
	Fresh ConsentKind = iota
	// Remembered: the person was not asked, having agreed to as much before.
	Remembered
	// SteppedUp: the person was asked and allowed more than before.
	SteppedUp
)

// event is the audit's word for the kind.
func (k ConsentKind) event() audit.Kind {
	switch k {
	case Remembered:
		return audit.GrantRemembered
	case SteppedUp:
		return audit.GrantSteppedUp
	default:
		return audit.GrantApproved
	}
}

// Approve stores a consent as a grant and returns the code for its client.
// Called again with the same consent within the code's life it returns the
// same code and changes nothing; later, ErrConsentUsed. Where the person has
// too many living grants of the same kind, the longest unused one ends.
func (a *Authority) Approve(ctx context.Context, c Consent, by audit.Actor) (Code, error) {
	now := a.Now()
	code := a.mint.code(c.ID)
	g := Grant{
		ID: newID(), Person: c.Person, Client: c.Client.Key(), Team: c.Team, Resource: c.Resource, Scopes: c.Scopes,
		AuthTime: c.AuthTime, AMR: c.AMR, ACR: c.ACR, CreatedAt: now,
	}
	state := CodeState{
		Hash: code.Hash(), Grant: g.ID, RedirectURI: c.RedirectURI, Challenge: c.Challenge.String(), Nonce: c.Nonce, Key: c.Key,
		CreatedAt: now, ExpiresAt: now.Add(codeLifetime),
	}
	ev := audit.Event{
		At: now, Actor: by, Kind: c.How.event(), Target: string(g.ID), Team: c.TeamSlug,
		Detail: fmt.Sprintf("%s (%s), scopes: %s", c.Client.Name(), g.Client, c.Scopes),
	}
	err := a.Store.Approve(ctx, g, state, c.Client, ev)
	if errors.Is(err, ErrConsentUsed) {
		return code, a.consentAgain(ctx, code, c)
	}
	if err != nil {
		return "", fmt.Errorf("store consent: %w", err)
	}
	if err := a.makeRoom(ctx, c); err != nil {
		return "", fmt.Errorf("make room for the consent: %w", err)
	}
	return code, nil
}

// consentAgain says whether a consent that is stored already may be answered
// with its code once more: a double click, not a page from long ago.
func (a *Authority) consentAgain(ctx context.Context, code Code, c Consent) error {
	return a.Store.ChangeByCode(ctx, code.Hash(), func(s *CodeState, st *Standing) ([]audit.Event, error) {
		if st.Grant.Person != c.Person || !a.Now().Before(s.ExpiresAt) {
			return nil, ErrConsentUsed
		}
		return nil, nil
	})
}

// Tokens is what a client gets for a code or a refresh token.
type Tokens struct {
	Access AccessToken
	// ExpiresAt is when Access ends.
	ExpiresAt time.Time
	Refresh   RefreshToken
	Scopes    spec.Scopes
	// IDToken is "" where openid was not granted.
	IDToken string
	Grant   ID
	// Bound says that Access is bound to a key: its type is DPoP.
	Bound bool
}

// Redemption is a token request with an authorization code.
type Redemption struct {
	Code   Code
	Client ClientID
	// RedirectURI is "" where the request had none (OAuth 2.1 §4.1.3).
	RedirectURI string
	Verifier    string
	// Resource is "" where the request had none.
	Resource string
	Address  string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// Redeem exchanges a code for tokens. It consumes nothing unless it succeeds.
// Errors: ErrCodeUnknown, ErrCodeMismatch, ErrCodeUsed, ErrTarget,
// *EndedError; any other is our own fault.
//
// A code that is presented again within seconds, by the same client with the
// right verifier, gets the same answer; later, or with a wrong verifier, its
// grant ends (OAuth 2.1 §4.1.3).
func (a *Authority) Redeem(ctx context.Context, r Redemption) (Tokens, error) {
	now := a.Now()
	var (
		standing Standing
		nonce    string
		refused  error
	)
	err := a.Store.ChangeByCode(ctx, r.Code.Hash(), func(c *CodeState, s *Standing) ([]audit.Event, error) {
		refused = nil
		if s.Grant.Client != r.Client.Key() {
			return nil, ErrCodeMismatch
		}
		proof := a.checkRedemption(c, s, r)
		actor := audit.Client(string(s.Grant.Client), r.Address)
		if !c.UsedAt.IsZero() {
			if proof == nil && now.Before(c.UsedAt.Add(codeRetryWindow)) && s.Grant.Generation == 1 {
				standing, nonce = *s, c.Nonce
				return nil, s.mayContinue(now, a.Lifetimes)
			}
			refused = ErrCodeUsed
			if !s.Grant.EndedAt.IsZero() {
				return nil, ErrCodeUsed
			}
			s.Grant.EndedAt, s.Grant.EndReason = now, "authorization code used twice"
			return []audit.Event{{At: now, Actor: actor, Kind: audit.CodeReused, Target: string(s.Grant.ID), Team: s.Team.Slug}}, nil
		}
		if proof != nil {
			return nil, proof
		}
		if !now.Before(c.ExpiresAt) {
			return nil, ErrCodeUnknown
		}
		if err := s.mayContinue(now, a.Lifetimes); err != nil {
			return nil, err
		}
		c.UsedAt = now
		s.Grant.RedeemedAt, s.Grant.LastUsedAt, s.Grant.Generation = now, now, 1
		if s.Client.Metadata.IsPublic() {
			s.Grant.Key = r.Key
		}
		standing, nonce = *s, c.Nonce
		return []audit.Event{{At: now, Actor: actor, Kind: audit.GrantRedeemed, Target: string(s.Grant.ID), Team: s.Team.Slug}}, nil
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("redeem code: %w", err)
	}
	return a.issue(&standing, nonce, r.Key, now)
}

// checkRedemption compares a token request with the authorization request
// that its code was issued for.
func (a *Authority) checkRedemption(c *CodeState, s *Standing, r Redemption) error {
	// RFC 7636 §4.6. The verifier is what binds the code to its client.
	challenge, err := spec.ParseCodeChallenge("S256", c.Challenge)
	if err != nil {
		return fmt.Errorf("stored code challenge: %w", err)
	}
	if err := spec.VerifyPKCE(challenge, r.Verifier); err != nil {
		return fmt.Errorf("%w: %w", ErrCodeMismatch, err)
	}
	if c.Key != "" && c.Key != r.Key {
		return fmt.Errorf("%w: another key, or none, was proved (dpop_jkt)", ErrCodeMismatch)
	}
	// OAuth 2.1 dropped redirect_uri here; some clients send it with another
	// loopback port than in the authorization request.
	if r.RedirectURI != "" {
		sent, err := spec.ParseRedirectURI(c.RedirectURI)
		if err != nil {
			return fmt.Errorf("stored redirect URI: %w", err)
		}
		if _, err := spec.MatchRedirectURI([]spec.RedirectURI{sent}, r.RedirectURI); err != nil {
			return fmt.Errorf("%w: redirect_uri differs", ErrCodeMismatch)
		}
	}
	if r.Resource != "" && r.Resource != s.Grant.Resource {
		return ErrTarget
	}
	return nil
}

// EndGrant ends a grant; its tokens stop with the next call. Ending an ended
// grant changes nothing. Errors: ErrNotFound.
func (a *Authority) EndGrant(ctx context.Context, id ID, reason string, by audit.Actor) error {
	now := a.Now()
	err := a.Store.ChangeGrant(ctx, id, func(s *Standing) ([]audit.Event, error) {
		if !s.Grant.EndedAt.IsZero() {
			return nil, nil
		}
		s.Grant.EndedAt, s.Grant.EndReason = now, reason
		return []audit.Event{{At: now, Actor: by, Kind: audit.GrantEnded, Target: string(id), Team: s.Team.Slug, Detail: reason}}, nil
	})
	if err != nil {
		return fmt.Errorf("end grant %s: %w", id, err)
	}
	return nil
}

// EndByRefreshToken ends the grant of a refresh token if the client is its
// own, of whichever generation. Anything else changes nothing (RFC 7009 §2.1
// and §2.2: the answer is the same).
func (a *Authority) EndByRefreshToken(ctx context.Context, t RefreshToken, client ClientID, by audit.Actor) error {
	id, _, err := a.mint.open(t)
	if err != nil {
		return nil //nolint:nilerr // RFC 7009 §2.2: an unknown token is already revoked
	}
	return a.endIfOf(ctx, id, client, by)
}

// EndByAccessToken does the same for an access token that this server signed,
// expired or not.
func (a *Authority) EndByAccessToken(ctx context.Context, t AccessToken, client ClientID, by audit.Actor) error {
	claims, err := a.Keys.VerifyAccess(t, a.Issuer)
	if err != nil {
		return nil //nolint:nilerr // RFC 7009 §2.2: an unknown token is already revoked
	}
	return a.endIfOf(ctx, claims.Grant, client, by)
}

func (a *Authority) endIfOf(ctx context.Context, id ID, client ClientID, by audit.Actor) error {
	s, err := a.Store.Standing(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read grant to revoke: %w", err)
	}
	if s.Grant.Client != client.Key() {
		return nil
	}
	return a.EndGrant(ctx, id, "revoked by the client", by)
}

// Connections lists grants in use. Those that a verdict would refuse are left
// out only where they can never come back (ended, idle for too long, past
// their hour where the person must sign in again).
func (a *Authority) Connections(ctx context.Context, f ConnectionFilter) ([]Connection, error) {
	all, err := a.Store.Connections(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	now := a.Now()
	kept := all[:0]
	for _, c := range all {
		if c.Grant.living(now, a.Lifetimes) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// RevokeClient ends all grants of one client and returns their number.
// Errors: ErrClientUnknown.
func (a *Authority) RevokeClient(ctx context.Context, key ClientKey, by audit.Actor) (int, error) {
	c, err := a.Store.ClientByKey(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("revoke client %s: %w", key, err)
	}
	now := a.Now()
	n, err := a.Store.EndClientGrants(ctx, key, "the client was revoked by an administrator", now,
		audit.Event{At: now, Actor: by, Kind: audit.ClientRevoked, Target: string(key), Detail: c.Name()})
	if err != nil {
		return 0, fmt.Errorf("revoke client %s: %w", key, err)
	}
	return n, nil
}

// BlockClient blocks or unblocks the integration that a client belongs to:
// every registration of the same product. Errors: ErrClientUnknown.
func (a *Authority) BlockClient(ctx context.Context, key ClientKey, blocked bool, by audit.Actor) (product string, err error) {
	c, err := a.Store.ClientByKey(ctx, key)
	if err != nil {
		return "", fmt.Errorf("block client %s: %w", key, err)
	}
	kind := audit.ClientBlocked
	if !blocked {
		kind = audit.ClientUnblocked
	}
	ev := audit.Event{At: a.Now(), Actor: by, Kind: kind, Target: string(key), Detail: c.Product()}
	if err := a.Store.SetProductBlocked(ctx, c.Product(), blocked, ev); err != nil {
		return "", fmt.Errorf("block client %s: %w", key, err)
	}
	return c.Product(), nil
}

// BlockIntegration blocks or unblocks an integration by the name that an
// administrator has for it: a client's key or client_id, the URL of a
// metadata document, known here or not, or a host, which means every client
// that belongs to it. Errors: ErrClientUnknown.
func (a *Authority) BlockIntegration(ctx context.Context, id string, blocked bool, by audit.Actor) (product string, err error) {
	host, isHost := strings.CutPrefix(id, HostProduct)
	switch {
	case spec.IsClientIDURL(id):
		if _, err := spec.ParseClientIDURL(id); err != nil {
			return "", fmt.Errorf("block %s: %w: %w", id, ErrIntegrationName, err)
		}
		product = id
	case isHost, strings.Contains(id, ".") && !spec.IsEncodedClientID(id):
		if !isHost {
			host = id
		}
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if u, err := url.Parse("https://" + host + "/"); err != nil || u.Host != host || u.Port() != "" {
			return "", fmt.Errorf("block %s: %w", id, ErrIntegrationName)
		}
		product = HostProduct + host
	default:
		return a.BlockClient(ctx, ParseClientKey(id), blocked, by)
	}
	kind := audit.ClientBlocked
	if !blocked {
		kind = audit.ClientUnblocked
	}
	if err := a.Store.SetProductBlocked(ctx, product, blocked, audit.Event{At: a.Now(), Actor: by, Kind: kind, Target: product, Detail: product}); err != nil {
		return "", fmt.Errorf("block %s: %w", id, err)
	}
	return product, nil
}

// NewClient is what an administrator says about a client beforehand.
type NewClient struct {
	Name string
	// RedirectURIs are where answers are sent; a client that acts by itself
	// needs none.
	RedirectURIs []string
	// PostLogoutRedirectURIs are where the browser may go after a logout
	// (OpenID Connect RP-Initiated Logout §3.1).
	PostLogoutRedirectURIs []string
	// IDTokenAlg is ES256 or RS256; "" means ES256.
	IDTokenAlg string
	// Confidential clients have a secret, which they must present.
	Confidential bool
	// Service is the account of a client that acts by itself, "" for others.
	// Such a client is confidential.
	Service org.PersonID
}

// RegisterClient stores a client that an administrator vouches for. The
// secret of a confidential one is returned once and kept as its hash.
func (a *Authority) RegisterClient(ctx context.Context, name string, redirectURIs []string, confidential bool, by audit.Actor) (Client, string, error) {
	return a.AddClient(ctx, NewClient{Name: name, RedirectURIs: redirectURIs, Confidential: confidential}, by)
}

// RegisterService stores a client that acts by itself, with the account given,
// and returns it with its secret. It may have redirect URIs as well.
func (a *Authority) RegisterService(ctx context.Context, service org.Person, redirectURIs []string, by audit.Actor) (Client, string, error) {
	return a.AddClient(ctx, NewClient{Name: service.Name, RedirectURIs: redirectURIs, Service: service.ID}, by)
}

// Check says what is wrong with a new client, in words for who typed it.
func (n NewClient) Check() error {
	_, err := n.metadata()
	return err
}

func (n NewClient) metadata() (spec.ClientMetadata, error) {
	meta := spec.ClientMetadata{
		Name: n.Name, IDTokenSigningAlg: n.IDTokenAlg, GrantTypes: []string{spec.GrantAuthorizationCode, spec.GrantRefreshToken},
		ResponseTypes: []string{spec.ResponseTypeCode}, TokenEndpointAuthMethod: spec.AuthNone,
	}
	var err error
	if meta.RedirectURIs, err = redirectURIs(n.RedirectURIs); err != nil {
		return meta, fmt.Errorf("redirect URI %w", err)
	}
	if meta.PostLogoutRedirectURIs, err = redirectURIs(n.PostLogoutRedirectURIs); err != nil {
		return meta, fmt.Errorf("post-logout redirect URI %w", err)
	}
	if n.Service != "" {
		meta.GrantTypes = append(meta.GrantTypes, spec.GrantClientCredentials)
	}
	switch n.IDTokenAlg {
	case "", "ES256", "RS256":
		return meta, nil
	default:
		return meta, fmt.Errorf("%q is no algorithm for ID tokens (there are ES256 and RS256)", n.IDTokenAlg)
	}
}

func redirectURIs(texts []string) ([]spec.RedirectURI, error) {
	var all []spec.RedirectURI
	for _, text := range texts {
		u, err := spec.ParseRedirectURI(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		all = append(all, u)
	}
	return all, nil
}

// AddClient stores a client that an administrator vouches for, and returns it
// with its secret, "" for a public one. The secret is kept as its hash.
func (a *Authority) AddClient(ctx context.Context, n NewClient, by audit.Actor) (Client, string, error) {
	meta, err := n.metadata()
	if err != nil {
		return Client{}, "", err
	}
	if meta.IDTokenSigningAlg == "RS256" {
		if err := a.Keys.EnsureRS256(ctx); err != nil {
			return Client{}, "", fmt.Errorf("make a key for the client's ID tokens: %w", err)
		}
	}
	c := Client{ID: ClientID("reg_" + strings.ToLower(rand.Text())), Kind: Registered, Metadata: meta, Service: n.Service, CreatedAt: a.Now()}
	var secret string
	if n.Confidential || n.Service != "" {
		c.Metadata.TokenEndpointAuthMethod = spec.AuthBasic
		secret = rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(secret))
		c.SecretHash = hex.EncodeToString(sum[:])
	}
	ev := audit.Event{At: c.CreatedAt, Actor: by, Kind: audit.ClientRegistered, Target: string(c.Key()), Detail: n.Name}
	if err := a.Store.SaveClient(ctx, c, ev); err != nil {
		return Client{}, "", fmt.Errorf("register client: %w", err)
	}
	return c, secret, nil
}
