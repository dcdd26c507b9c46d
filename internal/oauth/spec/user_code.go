package spec

import (
	"crypto/rand"
	"errors"
	"math/big"
	"strings"
)

const (
	// userCodeAlphabet has no vowels, so that codes make no words, and no letter that looks like a digit (RFC 8628 §6.1).
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	// userCodeLetters gives 20^8, about 2^34.5, codes.
	userCodeLetters = 8
	// maxUserCodeBytes bounds what is looked at: a code with any sensible separators.
	maxUserCodeBytes = 64
)

// ErrUserCode says that a text has not the form of a user code.
var ErrUserCode = errors.New("the code has 8 letters, like WDJB-MJHT")

// UserCode is the code that a person carries from a device to a browser (RFC 8628 §3.2): eight letters in upper case,
// without separator. The zero value is no code.
type UserCode struct{ letters string }

// NewUserCode returns a random code.
func NewUserCode() UserCode {
	b := make([]byte, userCodeLetters)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(userCodeAlphabet))))
		if err != nil {
			panic(err) // unreachable: crypto/rand does not fail
		}
		b[i] = userCodeAlphabet[n.Int64()]
	}
	return UserCode{string(b)}
}

// ParseUserCode reads a code as somebody types it (RFC 8628 §6.1): case does not matter, and neither do spaces,
// dashes, dots and underscores. Every other text is ErrUserCode.
func ParseUserCode(s string) (UserCode, error) {
	if len(s) > maxUserCodeBytes {
		return UserCode{}, ErrUserCode
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		case strings.ContainsRune(" \t\r\n-–—._\u00a0", r):
			continue
		}
		if !strings.ContainsRune(userCodeAlphabet, r) {
			return UserCode{}, ErrUserCode
		}
		b.WriteRune(r)
	}
	if b.Len() != userCodeLetters {
		return UserCode{}, ErrUserCode
	}
	return UserCode{b.String()}, nil
}

// String returns the code as it is shown: four letters, a dash, four letters; "" for the zero value.
func (c UserCode) String() string {
	if c.letters == "" {
		return ""
	}
	return c.letters[:userCodeLetters/2] + "-" + c.letters[userCodeLetters/2:]
}

// DeviceAuthorizationResponse is the answer of the device authorization endpoint (RFC 8628 §3.2).
type DeviceAuthorizationResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"` // seconds
	Interval                int64  `json:"interval"`   // seconds
}
