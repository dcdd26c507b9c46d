// Package dpop checks proofs of possession (RFC 9449): that whoever presents a
// token also holds the private key that the token is bound to.
//
// A Checker keeps what must be kept: the key of its nonces, and the proofs it
// has seen. It knows neither HTTP handlers nor grants; who calls it says which
// request the proof must be for and which key it must be made with.
package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

const (
	// maxProofBytes bounds the header: a proof with an RSA key of 4096 bits
	// is about 2 KiB.
	maxProofBytes = 4 << 10
	// maxTokenIDBytes bounds jti; a UUID has 36 bytes.
	maxTokenIDBytes = 256
	// iatWindow is how far iat may be from our clock, either way. It is wide
	// because the nonce already says when a proof was made (RFC 9449 §11.1),
	// and the clocks of people's machines are wrong.
	iatWindow = 5 * time.Minute
	// RSA keys below are weak (RFC 7518 §3.3); above they cost us time.
	minRSABits, maxRSABits = 2048, 4096

	proofType = "dpop+jwt"
)

// Algorithms are the accepted signature algorithms: asymmetric, no "none".
func Algorithms() []string {
	algs := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		algs = append(algs, string(a))
	}
	return algs
}

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256, jose.RS256}

// ErrNoProof says that a request carries no proof at all.
var ErrNoProof = errors.New("the request has no DPoP proof")

// Thumbprint is the SHA-256 thumbprint of a public key (RFC 7638) in base64url,
// as in cnf.jkt and dpop_jkt.
type Thumbprint string

// Config is what a Checker needs.
type Config struct {
	// PublicURL is where clients see the server.
	PublicURL spec.PublicURL
	// NonceKey is a secret of 32 bytes that all replicas share.
	NonceKey []byte
	Now      func() time.Time
}

// Checker checks proofs. It is safe for concurrent use.
type Checker struct {
	nonces nonces
	seen   memory
	origin target
	now    func() time.Time
}

// New returns a Checker, or an error that names what Config lacks.
func New(c Config) (*Checker, error) {
	if len(c.NonceKey) != nonceKeyBytes || c.Now == nil {
		return nil, errors.New("dpop: Config needs a NonceKey of 32 bytes and Now")
	}
	origin, err := parseTarget(c.PublicURL.String())
	if err != nil {
		return nil, fmt.Errorf("dpop: public URL: %w", err)
	}
	return &Checker{nonces: nonces{key: c.NonceKey}, seen: memory{limit: maxRemembered}, origin: origin, now: c.Now}, nil
}

// Request is what a proof must be for.
type Request struct {
	// Method is the HTTP method, Path the escaped path below the public URL.
	Method, Path string
	// AccessToken is the token presented with the proof; "" at the token
	// endpoint, where there is none.
	AccessToken string
	// Bound is the key that the proof must be made with; "" takes any key.
	Bound Thumbprint
}

// claims are the claims of a proof (RFC 9449 §4.2).
type claims struct {
	TokenID   string   `json:"jti"`
	Method    string   `json:"htm"`
	Target    string   `json:"htu"`
	IssuedAt  *float64 `json:"iat"`
	TokenHash string   `json:"ath"`
	Nonce     string   `json:"nonce"`
}

// Check checks the values of a request's DPoP header by RFC 9449 §4.3 and
// returns the thumbprint of the key. Errors: ErrNoProof where there is no
// header; *spec.Error with use_dpop_nonce (answer it with Nonce) or
// invalid_dpop_proof; *spec.Error with temporarily_unavailable while more
// proofs arrive than can be remembered.
//
// A proof counts as used only once everything else about it was right.
func (c *Checker) Check(header []string, r Request) (Thumbprint, error) {
	switch {
	case len(header) == 0:
		return "", ErrNoProof
	case len(header) > 1:
		return "", invalid("there is more than one DPoP header")
	case len(header[0]) > maxProofBytes:
		return "", invalid("the proof is too long")
	}
	key, got, err := verify(header[0])
	if err != nil {
		return "", err
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", invalid("the key of the proof has no thumbprint")
	}
	jkt := Thumbprint(base64.RawURLEncoding.EncodeToString(sum))
	now := c.now()
	if err := c.checkClaims(got, r, now); err != nil {
		return "", err
	}
	if r.Bound != "" && subtle.ConstantTimeCompare([]byte(r.Bound), []byte(jkt)) != 1 {
		return "", invalid("the proof is made with another key than the token is bound to")
	}
	// Last, so that a clock that is wrong is told apart from a nonce that is old.
	if !c.nonces.valid(got.Nonce, now) {
		return "", spec.NewError(spec.UseDPoPNonce, "the proof needs the nonce of the DPoP-Nonce header")
	}
	switch c.seen.add(sha256.Sum256([]byte(string(jkt)+"\x00"+got.TokenID)), now) {
	case addedBefore:
		return "", invalid("the proof was used before")
	case memoryFull:
		// Forgetting proofs early would let them be used again.
		return "", spec.NewError(spec.TemporarilyUnavailable, "too many proofs right now, please try again")
	}
	return jkt, nil
}

// Nonce returns the nonce for the next proof, for the DPoP-Nonce header of any
// answer (RFC 9449 §8).
func (c *Checker) Nonce() string { return c.nonces.current(c.now()) }

// checkClaims checks what a proof says about its request and its time.
func (c *Checker) checkClaims(got claims, r Request, now time.Time) error {
	if got.TokenID == "" || len(got.TokenID) > maxTokenIDBytes {
		return invalid("jti is missing or too long")
	}
	if got.Method == "" || got.Method != r.Method {
		return invalid("htm is not the method of the request")
	}
	at, err := parseTarget(got.Target)
	if err != nil || at != (target{c.origin.scheme, c.origin.host, r.Path}) {
		return invalid("htu is not the address of the request")
	}
	if got.IssuedAt == nil {
		return invalid("iat is missing")
	}
	// Compared as numbers: the claim may be larger than any time.
	if age := float64(now.Unix()) - *got.IssuedAt; age > iatWindow.Seconds() || age < -iatWindow.Seconds() {
		return invalid("iat is too far from the server's time")
	}
	if r.AccessToken != "" {
		sum := sha256.Sum256([]byte(r.AccessToken))
		want := base64.RawURLEncoding.EncodeToString(sum[:])
		if subtle.ConstantTimeCompare([]byte(want), []byte(got.TokenHash)) != 1 {
			return invalid("ath is not the hash of the access token")
		}
	}
	return nil
}

// verify checks a proof's form, type and key, and its signature with that key.
func verify(proof string) (*jose.JSONWebKey, claims, error) {
	jws, err := jose.ParseSignedCompact(proof, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, claims{}, invalid("the proof is not a JWT signed with an accepted algorithm and a public key")
	}
	h := jws.Signatures[0].Protected
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); typ != proofType {
		return nil, claims{}, invalid("typ is not " + proofType)
	}
	key := h.JSONWebKey
	if key == nil || !key.IsPublic() || !key.Valid() || !fits(key.Key, jose.SignatureAlgorithm(h.Algorithm)) {
		return nil, claims{}, invalid("jwk is not a public key for the algorithm")
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return nil, claims{}, invalid("the signature is wrong")
	}
	var got claims
	if err := json.Unmarshal(payload, &got); err != nil {
		return nil, claims{}, invalid("the claims are malformed")
	}
	return key, got, nil
}

// fits says whether a key is of the kind and size that an algorithm needs.
func fits(key any, alg jose.SignatureAlgorithm) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		return (alg == jose.PS256 || alg == jose.RS256) && bits >= minRSABits && bits <= maxRSABits
	}
	return false
}

// target is an address as htu is compared: no query, no fragment, scheme and
// host in lower case, no default port (RFC 9449 §4.3, RFC 3986 §6.2).
type target struct{ scheme, host, path string }

func parseTarget(s string) (target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return target{}, fmt.Errorf("parse address: %w", err)
	}
	if u.Host == "" || u.User != nil {
		return target{}, errors.New("the address is not absolute, or names a user")
	}
	t := target{strings.ToLower(u.Scheme), strings.ToLower(u.Host), u.EscapedPath()}
	switch t.scheme {
	case "https":
		t.host = strings.TrimSuffix(t.host, ":443")
	case "http":
		t.host = strings.TrimSuffix(t.host, ":80")
	default:
		return target{}, errors.New("the address is not for HTTP")
	}
	if t.path == "" {
		t.path = "/"
	}
	return t, nil
}

func invalid(description string) error { return spec.NewError(spec.InvalidDPoPProof, description) }
