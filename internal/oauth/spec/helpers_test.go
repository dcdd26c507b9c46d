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

// firstClientID is the VS Code registration of testdata, made with testKey when the format was new. Never regenerate it.
const firstClientID = "c1.AQECAwQFBgcIgPfE1QaqVkoH-wsctDpKKUqxwyG2AAEAAP__.VnSE9LCp8NBMf3cXzv8qug"
