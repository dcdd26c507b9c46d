package org

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// PersonID identifies a person for ever; it is the sub claim of tokens.
type PersonID string

// A Person has an account in the organization.
type Person struct {
	ID    PersonID
	Email string
	Name  string
	// Owner says that the person administers the whole organization. It
	// gives no sight of any team's telemetry; membership does.
	Owner bool
	// Service says that the account is a program's: it has no password, and
	// nobody can sign in with it.
	Service   bool
	CreatedAt time.Time
	// DisabledAt is zero for a person who may sign in.
	DisabledAt time.Time
}

// Active says whether the person may sign in and use grants.
func (p Person) Active() bool { return p.ID != "" && p.DisabledAt.IsZero() }

// newID returns an identifier with 130 bits of randomness after its prefix.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// NewPersonID returns an identifier that nobody has.
func NewPersonID() PersonID { return PersonID(newID("per_")) }

// ParsePersonName checks a person's display name and returns the form in which
// it is stored.
func ParsePersonName(s string) (string, error) { return parseName("a person", s) }

const (
	maxEmailBytes = 254 // RFC 5321 §4.5.3.1.3 less the angle brackets
	maxNameRunes  = 100
)

// ParseEmail checks an e-mail address and returns the form under which it is
// stored and looked up: trimmed, NFC, in lower case. It takes the bare
// address only, without a display name.
func ParseEmail(s string) (string, error) {
	s = norm.NFC.String(strings.TrimSpace(s))
	if s == "" {
		return "", errors.New("an e-mail address is required")
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > maxEmailBytes || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%q is not an e-mail address (write it like ada@example.com)", s)
	}
	return strings.ToLower(s), nil
}

// parseName checks a display name of a person, team or key.
func parseName(what, s string) (string, error) {
	s = strings.TrimSpace(norm.NFC.String(s))
	switch {
	case s == "":
		return "", fmt.Errorf("%s needs a name", what)
	case len([]rune(s)) > maxNameRunes:
		return "", fmt.Errorf("the name of %s is longer than %d characters", what, maxNameRunes)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return "", fmt.Errorf("the name of %s holds control characters", what)
	}
	return s, nil
}
