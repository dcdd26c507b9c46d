package mfa

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

const (
	// recoveryCodes is how many a person gets.
	recoveryCodes = 10
	// recoveryRunes of the alphabet are 80 bits: nobody guesses one, with or
	// without the store.
	recoveryRunes = 16
	// recoveryAlphabet leaves out what is misread (i, l, o) and u.
	recoveryAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
)

// newRecoveryCodes returns codes as people see them and as they are stored.
func (f *Factors) newRecoveryCodes(person org.PersonID) (codes, hashes []string) {
	for range recoveryCodes {
		raw := make([]byte, recoveryRunes)
		_, _ = rand.Read(raw) // never fails (crypto/rand)
		var b strings.Builder
		for i, r := range raw {
			if i > 0 && i%4 == 0 {
				b.WriteByte('-')
			}
			b.WriteByte(recoveryAlphabet[int(r)%len(recoveryAlphabet)]) // 32 divides 256
		}
		codes = append(codes, b.String())
		hashes = append(hashes, f.recoveryHash(person, b.String()))
	}
	return codes, hashes
}

// recoveryHash is keyed, so that the store alone says nothing about a code,
// and bound to its person.
func (f *Factors) recoveryHash(person org.PersonID, code string) string {
	code = strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(code))
	mac := hmac.New(sha256.New, f.recoveryKey)
	mac.Write([]byte(string(person) + "\x00" + code))
	return hex.EncodeToString(mac.Sum(nil))
}

// NewRecoveryCodes replaces a person's recovery codes. They are shown once and
// kept nowhere.
func (f *Factors) NewRecoveryCodes(ctx context.Context, person org.PersonID, by audit.Actor) ([]string, error) {
	codes, hashes := f.newRecoveryCodes(person)
	if err := f.Store.SetRecoveryCodes(ctx, person, hashes, f.event(by, audit.RecoveryCodesMade, person, "")); err != nil {
		return nil, fmt.Errorf("store recovery codes: %w", err)
	}
	return codes, nil
}

// UseRecoveryCode uses a code up and returns how many are left. Errors:
// ErrRecoveryCode.
func (f *Factors) UseRecoveryCode(ctx context.Context, person org.PersonID, code string, by audit.Actor) (left int, err error) {
	left, err = f.Store.UseRecoveryCode(ctx, person, f.recoveryHash(person, code), f.event(by, audit.RecoveryCodeUsed, person, ""))
	if err != nil {
		return 0, fmt.Errorf("use recovery code: %w", err)
	}
	return left, nil
}

// RecoveryCodesLeft returns how many unused codes a person has.
func (f *Factors) RecoveryCodesLeft(ctx context.Context, person org.PersonID) (int, error) {
	left, err := f.Store.RecoveryCodes(ctx, person)
	if err != nil {
		return 0, fmt.Errorf("count recovery codes: %w", err)
	}
	return left, nil
}
