package spec

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

// PKCEMethod is the only code challenge method there is here: plain protects nothing once the request is seen.
const PKCEMethod = "S256"

const (
	minVerifierBytes = 43  // RFC 7636 §4.1
	maxVerifierBytes = 128 // RFC 7636 §4.1
)

// ErrPKCE says that a code verifier does not belong to a code challenge. At the token endpoint it is invalid_grant
// (RFC 7636 §4.6).
var ErrPKCE = errors.New("the code_verifier does not match the code_challenge")

// CodeChallenge is the S256 challenge of an authorization request. The zero value matches no verifier.
type CodeChallenge struct{ s string }

// ParseCodeChallenge accepts an S256 challenge: 32 bytes in unpadded base64url, 43 characters (RFC 7636 §4.2). An
// absent method means plain there and is refused like plain. Errors are *Error with invalid_request.
func ParseCodeChallenge(method, challenge string) (CodeChallenge, error) {
	if challenge == "" {
		return CodeChallenge{}, NewError(InvalidRequest, "code_challenge is missing: PKCE is required")
	}
	if method != PKCEMethod {
		return CodeChallenge{}, NewError(InvalidRequest, "code_challenge_method must be S256")
	}
	// The decoder skips line ends, hence the check of the text's length.
	b, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(b) != sha256.Size || len(challenge) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return CodeChallenge{}, NewError(InvalidRequest, "code_challenge must be 43 characters of base64url")
	}
	return CodeChallenge{challenge}, nil
}

// String returns the challenge as it was sent.
func (c CodeChallenge) String() string { return c.s }

// VerifyPKCE compares in constant time (RFC 7636 §4.6). Every failure is ErrPKCE: a missing, malformed or wrong
// verifier, or the zero challenge.
func VerifyPKCE(challenge CodeChallenge, verifier string) error {
	if challenge.s == "" || len(verifier) < minVerifierBytes || len(verifier) > maxVerifierBytes || !isUnreserved(verifier) {
		return ErrPKCE
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge.s)) != 1 {
		return ErrPKCE
	}
	return nil
}

// isUnreserved reports whether s has only the unreserved characters of RFC 3986 §2.3.
func isUnreserved(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && !strings.ContainsRune("-._~", rune(s[i])) {
			return false
		}
	}
	return true
}
