package mfa

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// What authenticator apps take for granted; many ignore anything else that a
// QR code says.
const (
	totpPeriod = 30 // seconds (RFC 6238 §4.1)
	totpDigits = 6
	// totpDrift is how many steps a clock may be off, each way (RFC 6238
	// §5.2 recommends one).
	totpDrift = 1
	// totpSecretBytes is the size that RFC 4226 §4 recommends.
	totpSecretBytes = 20
)

var totpEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Enrolment is an authenticator app that waits for its first code. It is kept
// nowhere: the page hands it back.
type Enrolment struct {
	ID ID `json:"i"`
	// Sealed is the secret, which only this server can read.
	Sealed string       `json:"s"`
	Person org.PersonID `json:"p"`
}

// BeginTOTP makes a secret for an authenticator app.
func (f *Factors) BeginTOTP(person org.PersonID) Enrolment {
	secret := make([]byte, totpSecretBytes)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	e := Enrolment{ID: newID(), Person: person}
	e.Sealed = f.seal.seal(secret, about(e.ID, person))
	return e
}

func about(id ID, person org.PersonID) string { return string(id) + " of " + string(person) }

// TOTPSecret is what a person puts into an authenticator app.
type TOTPSecret struct {
	// Text is the secret in base 32.
	Text string
	// URL is the otpauth URL of the QR code.
	URL string
}

// Show returns what an app needs to know. Errors: ErrEnrolment.
func (f *Factors) Show(e Enrolment, email string) (TOTPSecret, error) {
	secret, err := f.seal.open(e.Sealed, about(e.ID, e.Person))
	if err != nil {
		return TOTPSecret{}, fmt.Errorf("%w: %w", ErrEnrolment, err)
	}
	text := totpEncoding.EncodeToString(secret)
	issuer := "Oriel " + f.host
	q := url.Values{
		"secret": {text}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {strconv.Itoa(totpDigits)}, "period": {strconv.Itoa(totpPeriod)},
	}
	// Some apps show a plus sign where a space was meant.
	u := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + email,
		RawQuery: strings.ReplaceAll(q.Encode(), "+", "%20"),
	}
	return TOTPSecret{Text: text, URL: u.String()}, nil
}

// ConfirmTOTP stores an app that shows the right code. Recovery codes are
// returned with somebody's first factor, and at no other time. Errors:
// ErrCodeWrong, ErrEnrolment, ErrExists, ErrTooMany, those of ParseName.
func (f *Factors) ConfirmTOTP(ctx context.Context, e Enrolment, person org.PersonID, code, name string, by audit.Actor) ([]string, error) {
	if e.Person != person {
		return nil, ErrEnrolment
	}
	name, err := ParseName(name, TOTP)
	if err != nil {
		return nil, err
	}
	secret, err := f.seal.open(e.Sealed, about(e.ID, person))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnrolment, err)
	}
	step, err := matchTOTP(secret, code, f.Now())
	if err != nil {
		return nil, err
	}
	now := f.Now()
	return f.add(ctx, Factor{
		ID: e.ID, Person: person, Kind: TOTP, Name: name, CreatedAt: now, LastUsedAt: now, Secret: e.Sealed, LastStep: step,
	}, by)
}

// CheckTOTP takes a code of one of a person's authenticator apps; it is good
// once (RFC 6238 §5.2). Errors: ErrCodeWrong, ErrCodeUsed.
func (f *Factors) CheckTOTP(ctx context.Context, person org.PersonID, code string) (Factor, error) {
	list, err := f.List(ctx, person)
	if err != nil {
		return Factor{}, err
	}
	refused := ErrCodeWrong
	for _, factor := range list {
		if factor.Kind != TOTP {
			continue
		}
		secret, err := f.seal.open(factor.Secret, about(factor.ID, person))
		if err != nil {
			return Factor{}, fmt.Errorf("factor %s: %w", factor.ID, err)
		}
		step, err := matchTOTP(secret, code, f.Now())
		if err != nil {
			continue
		}
		err = f.Store.TakeStep(ctx, factor.ID, step, f.Now())
		if errors.Is(err, ErrCodeUsed) {
			refused = ErrCodeUsed
			continue
		}
		if err != nil {
			return Factor{}, fmt.Errorf("take code: %w", err)
		}
		return factor, nil
	}
	return Factor{}, refused
}

// matchTOTP returns the time step that a code belongs to: this one, or one of
// its neighbours. Errors: ErrCodeWrong.
func matchTOTP(secret []byte, code string, now time.Time) (int64, error) {
	code = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code)
	text := totpEncoding.EncodeToString(secret)
	step, found := now.Unix()/totpPeriod, int64(-1)
	// All are compared, so that the time taken says nothing about which; the
	// newest one that fits counts.
	for s := max(0, step-totpDrift); s <= step+totpDrift; s++ {
		ok, err := hotp.ValidateCustom(code, uint64(s), text, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil && !errors.Is(err, otp.ErrValidateInputInvalidLength) {
			return 0, fmt.Errorf("compute code: %w", err)
		}
		if ok {
			found = s
		}
	}
	if found < 0 {
		return 0, ErrCodeWrong
	}
	return found, nil
}
