package mfa

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
)

// sealer encrypts what must be read again. What it seals says nothing without
// the master key, and opens only for what it was sealed for.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("mfa: key for secrets: %w", err)
	}
	// A random nonce for each of a few factors: far from the 2^32 messages
	// that one key allows (NIST SP 800-38D §8.3).
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("mfa: key for secrets: %w", err)
	}
	return sealer{aead}, nil
}

func (s sealer) seal(secret []byte, about string) string {
	return base64.RawStdEncoding.EncodeToString(s.aead.Seal(nil, nil, secret, []byte(about)))
}

func (s sealer) open(sealed, about string) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, fmt.Errorf("open sealed secret: %w", err)
	}
	secret, err := s.aead.Open(nil, nil, raw, []byte(about))
	if err != nil {
		return nil, fmt.Errorf("open sealed secret (was the master key replaced?): %w", err)
	}
	return secret, nil
}
