package scim

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/orielhq/oriel/internal/audit"
)

// Token lets an identity provider provision. The token itself is shown once
// and kept only as its hash.
type Token struct {
	ID, Name  string
	CreatedAt time.Time
	// LastUsedAt is zero for a token that was never used. It is exact to a
	// minute.
	LastUsedAt time.Time
	// RevokedAt is zero for a token that works.
	RevokedAt time.Time
}

// TokenSecret is a token as its holder presents it. It prints as nothing.
type TokenSecret string

// tokenPrefix makes a leaked token recognisable to secret scanners.
const tokenPrefix = "orl_scim_"

// maxTokenName bounds a token's name, in characters.
const maxTokenName = 100

// AddToken makes a token for a provider. Its secret is returned once. Errors:
// ErrTokenNameTaken.
func AddToken(ctx context.Context, s TokenStore, name string, now time.Time, by audit.Actor) (Token, TokenSecret, error) {
	name = strings.TrimSpace(name)
	if n := len([]rune(name)); n == 0 || n > maxTokenName || strings.ContainsFunc(name, unicode.IsControl) {
		return Token{}, "", fmt.Errorf("a token needs a name of 1 to %d characters, the provider's for example", maxTokenName)
	}
	t := Token{ID: "scim_" + strings.ToLower(rand.Text())[:16], Name: name, CreatedAt: now}
	secret := TokenSecret(tokenPrefix + rand.Text() + rand.Text())
	ev := audit.Event{At: now, Actor: by, Kind: audit.SCIMTokenCreated, Target: t.ID, Detail: name}
	if err := s.AddSCIMToken(ctx, t, secret.Hash(), ev); err != nil {
		return Token{}, "", fmt.Errorf("add token %s: %w", name, err)
	}
	return t, secret, nil
}

// RevokeToken ends a token. Errors: ErrTokenUnknown.
func RevokeToken(ctx context.Context, s TokenStore, id string, now time.Time, by audit.Actor) error {
	err := s.RevokeSCIMToken(ctx, id, audit.Event{At: now, Actor: by, Kind: audit.SCIMTokenRevoked, Target: id})
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	return nil
}

// Hash returns what the store keeps of the token.
func (t TokenSecret) Hash() string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// WellFormed says whether t looks like a token of ours, so that junk costs no
// look-up.
func (t TokenSecret) WellFormed() bool {
	return strings.HasPrefix(string(t), tokenPrefix) && len(t) == len(tokenPrefix)+52
}

// String hides the token from logs and formatted output.
func (TokenSecret) String() string { return "[provisioning token]" }

// LogValue hides the token from structured logs.
func (TokenSecret) LogValue() slog.Value { return slog.StringValue("[provisioning token]") }

// Reveal returns the token itself, for the one time that it is shown.
func (t TokenSecret) Reveal() string { return string(t) }

// TokenStore keeps provisioning tokens.
type TokenStore interface {
	// AddSCIMToken returns ErrTokenNameTaken where a working token has the name.
	AddSCIMToken(ctx context.Context, t Token, hash string, ev audit.Event) error
	SCIMTokens(ctx context.Context) ([]Token, error)
	// RevokeSCIMToken returns ErrTokenUnknown where no working token has the
	// id.
	RevokeSCIMToken(ctx context.Context, id string, ev audit.Event) error
	// UseSCIMToken finds a working token and notes its use. Errors:
	// ErrTokenUnknown.
	UseSCIMToken(ctx context.Context, hash string, now time.Time) (Token, error)
}
