package grant

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// AccessToken is a JWT access token (RFC 9068). It prints as nothing.
type AccessToken string

// String hides the token from logs and formatted output.
func (AccessToken) String() string { return "[access token]" }

// LogValue hides the token from structured logs.
func (AccessToken) LogValue() slog.Value { return slog.StringValue("[access token]") }

// Claims are the claims of an access token (RFC 9068 §2.2), with the grant
// and team that Oriel adds.
type Claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	// ClientID is the client's id where that is short (RFC 8693 §4.3) and
	// otherwise its ClientKey, so that a token stays below 1.5 KB.
	ClientID  string   `json:"client_id"`
	ExpiresAt int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	TokenID   string   `json:"jti"`
	Scope     string   `json:"scope"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	Grant     ID       `json:"grant"`
	Team      string   `json:"team"`
	Name      string   `json:"name,omitempty"`
	Username  string   `json:"preferred_username,omitempty"`
	// Actor is the client that exchanged a token for this one.
	Actor *Actor `json:"act,omitempty"`
	// Confirmation binds the token to a key.
	Confirmation *Confirmation `json:"cnf,omitempty"`
}

// Confirmation names the key that whoever presents a token must prove to hold
// (RFC 9449 §6.1).
type Confirmation struct {
	Thumbprint string `json:"jkt"`
}

// Actor is who acts with a token in its person's place (RFC 8693 §4.1).
type Actor struct {
	Subject string `json:"sub"`
}

// maxClientIDClaim is the longest client id that a token carries as it is.
const maxClientIDClaim = 200

// idClaims are the claims of an ID token (OpenID Connect Core §2).
type idClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	ExpiresAt int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	Nonce     string   `json:"nonce,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	Name      string   `json:"name,omitempty"`
	Username  string   `json:"preferred_username,omitempty"`
	Email     string   `json:"email,omitempty"`
}

// issueAccess signs an access token for a grant that has just passed its
// verdict.
func (a *Authority) issueAccess(s *Standing, scopes spec.Scopes, expires, now time.Time, actor, key string) (Tokens, error) {
	g := s.Grant
	clientID := string(s.Client.ID)
	if len(clientID) > maxClientIDClaim {
		clientID = string(g.Client)
	}
	claims := Claims{
		Issuer: a.Issuer, Subject: string(g.Person), Audience: g.Resource, ClientID: clientID,
		ExpiresAt: expires.Unix(), IssuedAt: now.Unix(), TokenID: rand.Text(), Scope: scopes.String(),
		AuthTime: unixOrZero(g.AuthTime), ACR: g.ACR, AMR: g.AMR,
		Grant: g.ID, Team: s.Team.Slug, Name: s.Person.Name, Username: s.Person.Email,
	}
	if actor != "" {
		claims.Actor = &Actor{Subject: actor}
	}
	if key != "" {
		claims.Confirmation = &Confirmation{Thumbprint: key}
	}
	access, err := a.Keys.sign(typeAccessToken, claims)
	if err != nil {
		return Tokens{}, fmt.Errorf("sign access token: %w", err)
	}
	return Tokens{Access: AccessToken(access), ExpiresAt: expires, Scopes: scopes, Grant: g.ID, Bound: key != ""}, nil
}

// issue signs tokens for a grant that has just passed its verdict, after
// somebody signed in.
func (a *Authority) issue(s *Standing, nonce, key string, now time.Time) (Tokens, error) {
	t, err := a.issueAgain(s, s.Grant.Scopes, key, now)
	if err != nil {
		return Tokens{}, err
	}
	return a.identify(t, s, nonce, now)
}

// issueAgain is issue for a client that has its ID token already.
func (a *Authority) issueAgain(s *Standing, scopes spec.Scopes, key string, now time.Time) (Tokens, error) {
	t, err := a.issueAccess(s, scopes, a.Lifetimes.Under(s.Policy).AccessExpiry(now), now, "", key)
	if err != nil {
		return Tokens{}, err
	}
	if t.Refresh, err = a.mint.refreshToken(s.Grant.ID, s.Grant.Generation); err != nil {
		return Tokens{}, fmt.Errorf("make refresh token: %w", err)
	}
	return t, nil
}

// identify adds an ID token if the tokens' scopes have openid (OpenID Connect
// Core §3.1.3.3).
func (a *Authority) identify(t Tokens, s *Standing, nonce string, now time.Time) (Tokens, error) {
	if !t.Scopes.Has(spec.ScopeOpenID) {
		return t, nil
	}
	g := s.Grant
	id := idClaims{
		Issuer: a.Issuer, Subject: string(g.Person), Audience: string(s.Client.ID), ExpiresAt: t.ExpiresAt.Unix(), IssuedAt: now.Unix(),
		AuthTime: unixOrZero(g.AuthTime), Nonce: nonce, ACR: g.ACR, AMR: g.AMR,
	}
	id.Name, id.Username, id.Email = PersonClaims(s.Person, t.Scopes)
	var err error
	if t.IDToken, err = a.Keys.signID(s.Client.Metadata.IDTokenSigningAlg, id); err != nil {
		return Tokens{}, fmt.Errorf("sign id token: %w", err)
	}
	return t, nil
}

// PersonClaims returns what the scopes profile and email let a client know
// about a person (OpenID Connect Core §5.4); "" for what they do not.
func PersonClaims(p org.Person, scopes spec.Scopes) (name, username, email string) {
	if scopes.Has(spec.ScopeProfile) {
		name, username = p.Name, p.Email
	}
	if scopes.Has(spec.ScopeEmail) {
		email = p.Email
	}
	return name, username, email
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
