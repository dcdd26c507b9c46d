package org

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

// Password is a password in the clear, on its way to being hashed or
// compared. It prints as nothing.
type Password string

// String hides the password from logs and formatted output.
func (Password) String() string { return "[password]" }

// LogValue hides the password from structured logs.
func (Password) LogValue() slog.Value { return slog.StringValue("[password]") }

const (
	// MinPasswordRunes is the least length of a password that is the only
	// factor (NIST SP 800-63B-4 §3.1.1.2).
	MinPasswordRunes = 15
	maxPasswordBytes = 256
)

// hashParams are RFC 9106 §4's second recommended choice. A hash made with
// others is replaced when its owner next signs in.
var hashParams = argon2id.Params{Memory: 64 << 10, Iterations: 3, Parallelism: 4, SaltLength: 16, KeyLength: 32}

// obvious holds what people type when they are asked for something long.
var obvious = []string{"password", "passwort", "123456", "qwerty", "letmein", "iloveyou", "oriel", "admin", "welcome", "abcdef"}

// Check says what is wrong with a new password for the person named.
func (p Password) Check(email, name string) error {
	s := norm.NFC.String(string(p))
	switch {
	case !utf8.ValidString(string(p)):
		return errors.New("the password is not valid UTF-8 text")
	case utf8.RuneCountInString(s) < MinPasswordRunes:
		return fmt.Errorf("the password needs at least %d characters; a few unrelated words in a row are good", MinPasswordRunes)
	case len(s) > maxPasswordBytes:
		return fmt.Errorf("the password is longer than %d bytes", maxPasswordBytes)
	}
	rest := strings.ToLower(s)
	local, _, _ := strings.Cut(strings.ToLower(email), "@")
	for _, word := range append([]string{strings.ToLower(email), local, strings.ToLower(name)}, obvious...) {
		if len(word) >= 4 {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if distinctRunes(rest) < 5 {
		return errors.New("the password is easy to guess: it is made of little beside repetitions, your own name or a common password")
	}
	return nil
}

func distinctRunes(s string) int {
	seen := make(map[rune]bool)
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// Hash returns the argon2id hash in PHC form.
func (p Password) Hash() (string, error) {
	h, err := argon2id.CreateHash(norm.NFC.String(string(p)), &hashParams)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return h, nil
}

const (
	// maxHashMemory (KiB) and maxHashTime are the most that a stored hash may
	// ask for, well above any of ours: a corrupt one must not stop the server.
	maxHashMemory = 256 << 10
	maxHashTime   = 16
	// minHashBytes is the least of a salt or key: with none the key would be
	// cut out of nothing, and every password would match.
	minHashBytes = 8
)

var errHash = errors.New("the stored hash is corrupt")

// checkHash refuses a hash that no server of ours has written, before it is
// computed with: argon2 panics at parameters of zero.
func checkHash(hash string) error {
	params, salt, key, err := argon2id.DecodeHash(hash)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errHash, err)
	case len(salt) < minHashBytes || len(key) < minHashBytes || params.Iterations < 1 || params.Parallelism < 1,
		params.Memory > maxHashMemory || params.Iterations > maxHashTime || len(key) > maxPasswordBytes:
		return errHash
	}
	return nil
}

// Matches compares p with a hash in constant time. outdated says that the
// hash matches but should be made anew with today's parameters. A corrupt hash
// matches nothing, with an error.
func (p Password) Matches(hash string) (ok, outdated bool, err error) {
	if err := checkHash(hash); err != nil {
		return false, false, fmt.Errorf("compare password: %w", err)
	}
	ok, params, err := argon2id.CheckHash(norm.NFC.String(string(p)), hash)
	if err != nil {
		return false, false, fmt.Errorf("compare password: %w", err)
	}
	return ok, ok && *params != hashParams, nil
}
