package grant

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/audit"
)

const (
	// keyRotation is how long a signing key signs.
	keyRotation = 90 * 24 * time.Hour
	// keyOverlap is how long a key that signs no more is still published:
	// longer than any token that it signed.
	keyOverlap = 48 * time.Hour

	typeAccessToken = "at+jwt" // RFC 9068 §2.1
	typeIDToken     = "JWT"

	// maxTokenBytes is far above any token that we sign.
	maxTokenBytes = 4 << 10
)

// ErrTokenInvalid is wrapped by every reason to refuse an access token that
// needs no look at its grant.
var ErrTokenInvalid = errors.New("the access token is not valid")

// SealedKey is a signing key as the store keeps it: encrypted with a key
// derived from the master key.
type SealedKey struct {
	// ID is the kid of the tokens it signs.
	ID        string
	CreatedAt time.Time
	// Sealed is an AES-256-GCM nonce and ciphertext of the PKCS #8 form.
	Sealed []byte
}

// Keyring holds the signing keys. It is safe for concurrent use: verification
// and signing take no lock.
type Keyring struct {
	store Store
	aead  cipher.AEAD
	now   func() time.Time
	keys  atomic.Pointer[keySet]
}

// keySet is one immutable state of a Keyring.
type keySet struct {
	signer   *signingKey
	verifier map[string]*ecdsa.PublicKey
	jwks     []byte
}

type signingKey struct {
	access, id jose.Signer
}

// OpenKeyring reads the signing keys, and makes the first one or the next one
// where that is due.
func OpenKeyring(ctx context.Context, store Store, master MasterKey, now func() time.Time) (*Keyring, error) {
	block, err := aes.NewCipher(master.Derive("signing key encryption"))
	if err != nil {
		return nil, fmt.Errorf("prepare signing key encryption: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("prepare signing key encryption: %w", err)
	}
	k := &Keyring{store: store, aead: aead, now: now}
	return k, k.Rotate(ctx)
}

// Rotate makes a new signing key if the newest is old enough, and reads all
// keys again. It is called at start and then once an hour by whoever runs
// the server.
func (k *Keyring) Rotate(ctx context.Context) error {
	now := k.now()
	sealed, err := k.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	if len(sealed) == 0 || now.Sub(sealed[0].CreatedAt) >= keyRotation {
		fresh, err := k.generate(now)
		if err != nil {
			return err
		}
		ev := audit.Event{At: now, Kind: audit.SigningKeyMade, Actor: audit.System(), Target: fresh.ID}
		if err := k.store.AddSigningKey(ctx, fresh, now.Add(-keyRotation), ev); err != nil {
			return fmt.Errorf("store signing key: %w", err)
		}
		if sealed, err = k.store.SigningKeys(ctx); err != nil {
			return fmt.Errorf("read signing keys: %w", err)
		}
	}
	set, err := k.open(sealed, now)
	if err != nil {
		return err
	}
	k.keys.Store(set)
	return nil
}

func (k *Keyring) generate(now time.Time) (SealedKey, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SealedKey{}, fmt.Errorf("generate signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return SealedKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	id := strings.ToLower(rand.Text())[:16]
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return SealedKey{}, fmt.Errorf("seal signing key: %w", err)
	}
	return SealedKey{ID: id, CreatedAt: now, Sealed: k.aead.Seal(nonce, nonce, der, []byte(id))}, nil
}

func (k *Keyring) open(sealed []SealedKey, now time.Time) (*keySet, error) {
	set := &keySet{verifier: make(map[string]*ecdsa.PublicKey)}
	var public jose.JSONWebKeySet
	for i, s := range sealed {
		// A key stops signing when its successor is made.
		if i > 0 && now.Sub(sealed[i-1].CreatedAt) > keyOverlap {
			break
		}
		if len(s.Sealed) < k.aead.NonceSize() {
			return nil, fmt.Errorf("signing key %s is cut short", s.ID)
		}
		nonce, box := s.Sealed[:k.aead.NonceSize()], s.Sealed[k.aead.NonceSize():]
		der, err := k.aead.Open(nil, nonce, box, []byte(s.ID))
		if err != nil {
			return nil, fmt.Errorf("signing key %s cannot be decrypted: the master key is not the one it was stored with", s.ID)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("decode signing key %s: %w", s.ID, err)
		}
		priv, ok := parsed.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("signing key %s is a %T", s.ID, parsed)
		}
		if i == 0 {
			if set.signer, err = newSigningKey(priv, s.ID); err != nil {
				return nil, err
			}
		}
		set.verifier[s.ID] = &priv.PublicKey
		public.Keys = append(public.Keys, jose.JSONWebKey{Key: &priv.PublicKey, KeyID: s.ID, Algorithm: string(jose.ES256), Use: "sig"})
	}
	if set.signer == nil {
		return nil, errors.New("there is no signing key")
	}
	var err error
	if set.jwks, err = json.Marshal(public); err != nil {
		return nil, fmt.Errorf("encode key set: %w", err)
	}
	return set, nil
}

func newSigningKey(priv *ecdsa.PrivateKey, id string) (*signingKey, error) {
	signer := func(typ jose.ContentType) (jose.Signer, error) {
		s, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: priv, KeyID: id}},
			(&jose.SignerOptions{}).WithType(typ))
		if err != nil {
			return nil, fmt.Errorf("prepare signer: %w", err)
		}
		return s, nil
	}
	access, err := signer(typeAccessToken)
	if err != nil {
		return nil, err
	}
	idToken, err := signer(typeIDToken)
	if err != nil {
		return nil, err
	}
	return &signingKey{access: access, id: idToken}, nil
}

// JWKS returns the published keys (RFC 7517 §5) as JSON.
func (k *Keyring) JWKS() []byte { return k.keys.Load().jwks }

func (k *Keyring) sign(typ string, claims any) (string, error) {
	s := k.keys.Load().signer.id
	if typ == typeAccessToken {
		s = k.keys.Load().signer.access
	}
	// Not with jwt.Signed, which encodes claims, decodes them and encodes them
	// again: a fifth of what a refresh cost.
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed.CompactSerialize()
}

// VerifyAccess checks a token's form, type, signature and issuer (RFC 9068
// §4, RFC 8725) and returns its claims. It looks at neither time, audience
// nor grant. Errors wrap ErrTokenInvalid.
func (k *Keyring) VerifyAccess(t AccessToken, issuer string) (Claims, error) {
	if len(t) > maxTokenBytes {
		return Claims{}, fmt.Errorf("%w: longer than %d bytes", ErrTokenInvalid, maxTokenBytes)
	}
	// RFC 8725 §3.1: the algorithm is ours to choose, never the token's.
	parsed, err := jwt.ParseSigned(string(t), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrTokenInvalid, err)
	}
	if len(parsed.Headers) != 1 {
		return Claims{}, fmt.Errorf("%w: not exactly one signature", ErrTokenInvalid)
	}
	header := parsed.Headers[0]
	// RFC 9068 §4: an ID token or any other JWT of ours is no access token.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != typeAccessToken {
		return Claims{}, fmt.Errorf("%w: not of type %s", ErrTokenInvalid, typeAccessToken)
	}
	// The key comes from our own set; a jwk, jku or x5c in the token is never
	// looked at.
	key, ok := k.keys.Load().verifier[header.KeyID]
	if !ok {
		return Claims{}, fmt.Errorf("%w: signed with an unknown key", ErrTokenInvalid)
	}
	var c Claims
	if err := parsed.Claims(key, &c); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrTokenInvalid, err)
	}
	if c.Issuer != issuer {
		return Claims{}, fmt.Errorf("%w: of another issuer", ErrTokenInvalid)
	}
	return c, nil
}
