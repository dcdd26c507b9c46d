package grant

import (
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/org"
)

// maxHintBytes is far above any ID token of ours, whose audience may be a
// self-contained client id of 3 KB.
const maxHintBytes = 8 << 10

// IDTokenHint is what a request's id_token_hint says (OpenID Connect Core
// §3.1.2.1).
type IDTokenHint struct {
	Person org.PersonID
	Client ClientID
}

// ReadIDTokenHint checks that this server signed an ID token, with a key that
// is still published, and says for whom. The token may have expired: a hint
// proves nothing but that its bearer once had it (OpenID Connect RP-Initiated
// Logout §2). Errors wrap ErrTokenInvalid.
func (a *Authority) ReadIDTokenHint(token string) (IDTokenHint, error) {
	if len(token) > maxHintBytes {
		return IDTokenHint{}, fmt.Errorf("%w: longer than %d bytes", ErrTokenInvalid, maxHintBytes)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return IDTokenHint{}, fmt.Errorf("%w: %w", ErrTokenInvalid, err)
	}
	header := parsed.Headers[0]
	// An access token is no ID token, whoever signed it.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); len(parsed.Headers) != 1 || typ != typeIDToken {
		return IDTokenHint{}, fmt.Errorf("%w: not an ID token", ErrTokenInvalid)
	}
	key, ok := a.Keys.keys.Load().verifier[header.KeyID]
	if !ok {
		return IDTokenHint{}, fmt.Errorf("%w: signed with an unknown key", ErrTokenInvalid)
	}
	var c idClaims
	if err := parsed.Claims(key, &c); err != nil {
		return IDTokenHint{}, fmt.Errorf("%w: %w", ErrTokenInvalid, err)
	}
	if c.Issuer != a.Issuer {
		return IDTokenHint{}, fmt.Errorf("%w: of another issuer", ErrTokenInvalid)
	}
	return IDTokenHint{Person: org.PersonID(c.Subject), Client: ClientID(c.Audience)}, nil
}
