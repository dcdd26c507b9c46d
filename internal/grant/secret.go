package grant

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// MasterKey is the installation's one secret, from the environment or a file
// in the data directory. Everything else that must stay secret is derived
// from it or encrypted with it. It prints as nothing.
type MasterKey [32]byte

// String hides the key from logs and formatted output.
func (MasterKey) String() string { return "[master key]" }

// GoString hides the key from %#v.
func (MasterKey) GoString() string { return "[master key]" }

// LogValue hides the key from structured logs.
func (MasterKey) LogValue() slog.Value { return slog.StringValue("[master key]") }

// ParseMasterKey reads a key as 64 hexadecimal digits.
func ParseMasterKey(s string) (MasterKey, error) {
	var k MasterKey
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != len(k) {
		return k, errors.New("the master key must be 64 hexadecimal digits")
	}
	copy(k[:], b)
	return k, nil
}

// Derive returns a key of 32 bytes for one purpose (RFC 5869).
func (k MasterKey) Derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k[:], nil, "oriel "+purpose, 32)
	if err != nil {
		panic(err) // unreachable: HKDF-SHA-256 gives 32 bytes for any input
	}
	return key
}

// Code is an authorization code. It prints as nothing; the store keeps its
// Hash.
type Code string

// String hides the code from logs and formatted output.
func (Code) String() string { return "[authorization code]" }

// LogValue hides the code from structured logs.
func (Code) LogValue() slog.Value { return slog.StringValue("[authorization code]") }

// Hash returns what the store keeps of the code.
func (c Code) Hash() CodeHash {
	sum := sha256.Sum256([]byte(c))
	return CodeHash(hex.EncodeToString(sum[:]))
}

// CodeHash is the SHA-256 of an authorization code in hexadecimal.
type CodeHash string

// RefreshToken is a refresh token as a client presents it. It prints as
// nothing.
//
// A refresh token is made of the grant's id, its generation and a MAC over
// both: the server can always make the newest one of a grant again, which is
// how every racer gets the same successor and how a lost answer can be
// repeated, and the store needs to keep neither tokens nor their hashes.
type RefreshToken string

// String hides the token from logs and formatted output.
func (RefreshToken) String() string { return "[refresh token]" }

// LogValue hides the token from structured logs.
func (RefreshToken) LogValue() slog.Value { return slog.StringValue("[refresh token]") }

// refreshPrefix makes a leaked token recognisable to secret scanners.
const refreshPrefix = "orl_rt_"

const (
	grantIDBytes    = 16
	refreshMACBytes = 24
	refreshBytes    = grantIDBytes + 4 + refreshMACBytes
)

var grantIDEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// minter makes and opens the tokens that are derived rather than stored.
type minter struct {
	refreshKey, codeKey, userCodeKey []byte
}

func newMinter(k MasterKey) minter {
	return minter{
		refreshKey: k.Derive("refresh token"), codeKey: k.Derive("authorization code"), userCodeKey: k.Derive("user code"),
	}
}

func (m minter) refreshToken(id ID, generation uint32) (RefreshToken, error) {
	raw, err := grantIDEncoding.DecodeString(strings.ToUpper(string(id)))
	if err != nil || len(raw) != grantIDBytes {
		return "", fmt.Errorf("grant id %q is not 128 bits in base 32", id)
	}
	b := binary.BigEndian.AppendUint32(raw, generation)
	return RefreshToken(refreshPrefix + base64.RawURLEncoding.EncodeToString(append(b, m.refreshMAC(b)...))), nil
}

func (m minter) refreshMAC(b []byte) []byte {
	mac := hmac.New(sha256.New, m.refreshKey)
	mac.Write(b)
	return mac.Sum(nil)[:refreshMACBytes]
}

// open returns the grant and generation of a refresh token that this server
// made, and ErrTokenUnknown for anything else.
func (m minter) open(t RefreshToken) (ID, uint32, error) {
	rest, ok := strings.CutPrefix(string(t), refreshPrefix)
	if !ok || base64.RawURLEncoding.DecodedLen(len(rest)) != refreshBytes {
		return "", 0, ErrTokenUnknown
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) != refreshBytes {
		return "", 0, ErrTokenUnknown
	}
	body := b[:grantIDBytes+4]
	if !hmac.Equal(b[grantIDBytes+4:], m.refreshMAC(body)) {
		return "", 0, ErrTokenUnknown
	}
	id := ID(strings.ToLower(grantIDEncoding.EncodeToString(body[:grantIDBytes])))
	return id, binary.BigEndian.Uint32(body[grantIDBytes:]), nil
}

// code returns the authorization code of one consent. It depends on nothing
// but the consent's id, so that a form sent twice is answered with one code.
func (m minter) code(consentID string) Code {
	mac := hmac.New(sha256.New, m.codeKey)
	mac.Write([]byte(consentID))
	return Code(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}
