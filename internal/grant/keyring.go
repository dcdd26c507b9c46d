package grant

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/audit"
)

const (
	// KeyRotation is how long a signing key signs.
	KeyRotation = 90 * 24 * time.Hour
	// JWKSAge is how long anybody may cache the published keys.
	JWKSAge = 5 * time.Minute
	// KeyLead is how long a new key is published before it signs: by then no
	// cache holds a key set without it. Twice the cache's age leaves room for
	// slow caches and clocks that differ.
	KeyLead = 2 * JWKSAge
	// keyOverlap is how long a key that signs no more is still published:
	// longer than any token that it signed.
	keyOverlap = 48 * time.Hour
	// rsaBits is the size of RS256 keys: RFC 7518 §3.3 asks for 2048 at least.
	rsaBits = 3072

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
	ID string
	// Algorithm is ES256 or RS256 (RFC 7518 §3.1). Access tokens are ES256;
	// RS256 is for the ID tokens of clients that registered for it.
	Algorithm string
	// CreatedAt is when the key was made and published, ActiveAt from when on
	// it signs.
	CreatedAt, ActiveAt time.Time
	// Sealed is an AES-256-GCM nonce and ciphertext of the PKCS #8 form, empty
	// for a key that was withdrawn.
	Sealed []byte
}

// Keyring holds the signing keys. It is safe for concurrent use: verification
// and signing take no lock.
type Keyring struct {
	store Store
	aead  cipher.AEAD
	now   func() time.Time
	// reading orders those who read the keys from the store: what was read
	// first must not take the place of what was read later.
	reading sync.Mutex
	keys    atomic.Pointer[keySet]
}

// keySet is one immutable state of a Keyring.
type keySet struct {
	// signers are the published keys by algorithm, the newest first: of those
	// that are active, the newest signs.
	signers  map[string][]*signingKey
	verifier map[string]*ecdsa.PublicKey
	jwks     []byte
	// made is the keys as they were read, for listing.
	made []SealedKey
	// lastMade is when the newest key of an algorithm was made, withdrawn ones
	// included.
	lastMade map[string]time.Time
}

type signingKey struct {
	activeAt   time.Time
	access, id jose.Signer
}

// signer returns the key that signs at an instant, nil for none.
func (s *keySet) signer(alg string, now time.Time) *signingKey {
	keys := s.signers[alg]
	for _, k := range keys {
		if !now.Before(k.activeAt) {
			return k
		}
	}
	if len(keys) > 0 {
		// The clock went back behind the first key: better that one than none.
		return keys[len(keys)-1]
	}
	return nil
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

// Rotate makes a new signing key where the newest of its algorithm is old
// enough, and reads all keys again. It is called at start and then once an
// hour by whoever runs the server. The first key signs at once, each later one
// KeyLead after it was published.
func (k *Keyring) Rotate(ctx context.Context) error {
	if err := k.Reload(ctx); err != nil {
		return err
	}
	now := k.now()
	for _, alg := range []string{string(jose.ES256), string(jose.RS256)} {
		newest := k.newest(alg)
		switch {
		case newest.ID == "" && alg == string(jose.RS256):
			// Made when the first client wants it.
		case newest.ID == "":
			if err := k.add(ctx, alg, now, now.Add(-KeyRotation), audit.System()); err != nil {
				return err
			}
		case now.Sub(newest.ActiveAt) >= KeyRotation:
			if err := k.add(ctx, alg, now.Add(KeyLead), now.Add(-KeyRotation), audit.System()); err != nil {
				return err
			}
		}
	}
	return nil
}

// RotateNow makes a new key for each algorithm in use whatever the age of the
// present one, and returns the keys made. They sign after KeyLead, or at once: then
// whoever caches the key set refuses new tokens until it reads it again, so
// that is for a key that somebody else may know.
func (k *Keyring) RotateNow(ctx context.Context, atOnce bool, by audit.Actor) ([]KeyState, error) {
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	now := k.now()
	before := make(map[string]bool)
	for _, s := range k.States() {
		before[s.ID] = true
	}
	active := now.Add(KeyLead)
	if atOnce {
		active = now
	}
	for _, alg := range []string{string(jose.ES256), string(jose.RS256)} {
		newest := k.newest(alg)
		if newest.ID == "" {
			continue
		}
		// Where the clock went back, the new key must still be the newest.
		made := now
		if last := k.keys.Load().lastMade[alg]; !made.After(last) {
			made = last.Add(time.Millisecond)
		}
		if err := k.addAt(ctx, alg, made, active, made.Add(-time.Millisecond), by); err != nil {
			return nil, err
		}
	}
	var made []KeyState
	for _, s := range k.States() {
		if !before[s.ID] {
			made = append(made, s)
		}
	}
	return made, nil
}

// EnsureRS256 makes the first RS256 key if there is none yet.
func (k *Keyring) EnsureRS256(ctx context.Context) error {
	if k.newest(string(jose.RS256)).ID != "" {
		return nil
	}
	now := k.now()
	return k.add(ctx, string(jose.RS256), now, now.Add(-KeyRotation), audit.System())
}

// Reload reads the keys again: another process may have made one.
func (k *Keyring) Reload(ctx context.Context) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	sealed, err := k.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	set, err := k.open(sealed, k.now())
	if err != nil {
		return err
	}
	k.keys.Store(set)
	return nil
}

// newest returns the newest key of an algorithm, the zero key for none.
func (k *Keyring) newest(alg string) SealedKey {
	for _, s := range k.keys.Load().made {
		if s.Algorithm == alg {
			return s
		}
	}
	return SealedKey{}
}

// add makes a key unless one newer than notBefore exists, and reads all again.
func (k *Keyring) add(ctx context.Context, alg string, active, notBefore time.Time, by audit.Actor) error {
	return k.addAt(ctx, alg, k.now(), active, notBefore, by)
}

func (k *Keyring) addAt(ctx context.Context, alg string, made, active, notBefore time.Time, by audit.Actor) error {
	fresh, err := k.generate(alg, made, active)
	if err != nil {
		return err
	}
	if err := k.store.AddSigningKey(ctx, fresh, notBefore, madeEvent(fresh, by)); err != nil {
		return fmt.Errorf("store signing key: %w", err)
	}
	return k.Reload(ctx)
}

func madeEvent(k SealedKey, by audit.Actor) audit.Event {
	return audit.Event{
		At: k.CreatedAt, Kind: audit.SigningKeyMade, Actor: by, Target: k.ID, Detail: k.Algorithm + ", signs from " + k.ActiveAt.UTC().Format(time.RFC3339),
	}
}

// KeyState is a published signing key as an administrator sees it.
type KeyState struct {
	ID, Algorithm       string
	CreatedAt, ActiveAt time.Time
	// Signs says that it is the one that signs now.
	Signs bool
	// NextAt is when its successor is made, zero for keys that have one.
	NextAt time.Time
}

// States lists the published keys, the newest first.
func (k *Keyring) States() []KeyState {
	set, now := k.keys.Load(), k.now()
	var out []KeyState
	signs, newest := make(map[string]bool), make(map[string]bool)
	for _, s := range set.made {
		st := KeyState{ID: s.ID, Algorithm: s.Algorithm, CreatedAt: s.CreatedAt, ActiveAt: s.ActiveAt}
		if !signs[s.Algorithm] && !now.Before(s.ActiveAt) {
			st.Signs, signs[s.Algorithm] = true, true
		}
		if !newest[s.Algorithm] {
			st.NextAt, newest[s.Algorithm] = s.ActiveAt.Add(KeyRotation), true
		}
		out = append(out, st)
	}
	return out
}

func (k *Keyring) generate(alg string, now, active time.Time) (SealedKey, error) {
	var (
		priv any
		err  error
	)
	if alg == string(jose.RS256) {
		priv, err = rsa.GenerateKey(rand.Reader, rsaBits)
	} else {
		priv, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
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
	return SealedKey{ID: id, Algorithm: alg, CreatedAt: now, ActiveAt: active, Sealed: k.aead.Seal(nonce, nonce, der, []byte(id))}, nil
}

func (k *Keyring) open(sealed []SealedKey, now time.Time) (*keySet, error) {
	set := &keySet{
		signers: make(map[string][]*signingKey), verifier: make(map[string]*ecdsa.PublicKey), lastMade: make(map[string]time.Time),
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	successor := make(map[string]time.Time)
	for _, s := range sealed {
		if s.CreatedAt.After(set.lastMade[s.Algorithm]) {
			set.lastMade[s.Algorithm] = s.CreatedAt
		}
		// A key stops signing when the first of its successors becomes active.
		next, replaced := successor[s.Algorithm]
		if !replaced || s.ActiveAt.Before(next) {
			successor[s.Algorithm] = s.ActiveAt
		}
		if replaced && now.Sub(next) > keyOverlap {
			continue
		}
		if s.withdrawn() {
			continue // it counts as a successor all the same
		}
		priv, err := k.unseal(s)
		if err != nil {
			return nil, err
		}
		var pub crypto.PublicKey = priv.Public()
		switch p := pub.(type) {
		case *ecdsa.PublicKey:
			if s.Algorithm != string(jose.ES256) {
				return nil, fmt.Errorf("signing key %s is no %s key", s.ID, s.Algorithm)
			}
			set.verifier[s.ID] = p
		case *rsa.PublicKey:
			if s.Algorithm != string(jose.RS256) {
				return nil, fmt.Errorf("signing key %s is no %s key", s.ID, s.Algorithm)
			}
		default:
			return nil, fmt.Errorf("signing key %s is a %T", s.ID, priv)
		}
		signer, err := newSigningKey(priv, s)
		if err != nil {
			return nil, err
		}
		set.signers[s.Algorithm] = append(set.signers[s.Algorithm], signer)
		set.made = append(set.made, s)
		public.Keys = append(public.Keys, jose.JSONWebKey{Key: pub, KeyID: s.ID, Algorithm: s.Algorithm, Use: "sig"})
	}
	var err error
	if set.jwks, err = json.Marshal(public); err != nil {
		return nil, fmt.Errorf("encode key set: %w", err)
	}
	return set, nil
}

func (k *Keyring) unseal(s SealedKey) (crypto.Signer, error) {
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
	priv, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s is a %T", s.ID, parsed)
	}
	return priv, nil
}

func newSigningKey(priv crypto.Signer, k SealedKey) (*signingKey, error) {
	signer := func(typ jose.ContentType) (jose.Signer, error) {
		s, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: jose.JSONWebKey{Key: priv, KeyID: k.ID}},
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
	return &signingKey{activeAt: k.ActiveAt, access: access, id: idToken}, nil
}

// JWKS returns the published keys (RFC 7517 §5) as JSON.
func (k *Keyring) JWKS() []byte { return k.keys.Load().jwks }

func (k *Keyring) sign(typ string, claims any) (string, error) {
	return k.signWith(string(jose.ES256), typ, claims)
}

// signID signs an ID token with the algorithm that the client registered
// (OpenID Connect Registration §2), ES256 where it registered none.
func (k *Keyring) signID(alg string, claims any) (string, error) {
	if alg != string(jose.RS256) {
		alg = string(jose.ES256)
	}
	return k.signWith(alg, typeIDToken, claims)
}

func (k *Keyring) signWith(alg, typ string, claims any) (string, error) {
	key := k.keys.Load().signer(alg, k.now())
	if key == nil {
		return "", fmt.Errorf("there is no %s signing key", alg)
	}
	s := key.id
	if typ == typeAccessToken {
		s = key.access
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
