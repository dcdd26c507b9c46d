package spec

import (
	"crypto/sha256"
	"encoding/base64"
)

// challengeOf is the S256 challenge of any text, well-formed or not.
func challengeOf(verifier string) CodeChallenge {
	sum := sha256.Sum256([]byte(verifier))
	return CodeChallenge{base64.RawURLEncoding.EncodeToString(sum[:])}
}
