package spec

import (
	"errors"
	"strings"
	"testing"
)

// The example of RFC 7636 appendix B.
const (
	exampleVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	exampleChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Case 28 of the authorization cases.
func TestRFC7636_4_3_Challenge(t *testing.T) {
	for _, tc := range []struct{ method, challenge, want string }{
		{"S256", exampleChallenge, ""},
		{"", exampleChallenge, InvalidRequest},
		{"plain", exampleChallenge, InvalidRequest},
		{"s256", exampleChallenge, InvalidRequest},
		{"S256", "", InvalidRequest},
		{"S256", exampleChallenge[1:], InvalidRequest},
		{"S256", exampleChallenge + "A", InvalidRequest},
		{"S256", exampleChallenge + "=", InvalidRequest},
		{"S256", exampleChallenge[:42] + "\n" + "M", InvalidRequest},
		{"S256", exampleChallenge[:42] + "N", InvalidRequest}, // trailing bits set
		{"S256", strings.Replace(exampleChallenge, "-", "+", 1), InvalidRequest},
	} {
		c, err := ParseCodeChallenge(tc.method, tc.challenge)
		if code(err) != tc.want {
			t.Errorf("%s %q: %v", tc.method, tc.challenge, err)
		}
		if err != nil && c != (CodeChallenge{}) {
			t.Errorf("%s %q: a challenge beside an error", tc.method, tc.challenge)
		}
	}
}

func TestRFC7636_4_6_VerifierMismatch(t *testing.T) {
	c, err := ParseCodeChallenge("S256", exampleChallenge)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyPKCE(c, exampleVerifier); err != nil {
		t.Errorf("the right verifier: %v", err)
	}
	for _, v := range []string{
		"", exampleChallenge, exampleVerifier[:42], exampleVerifier + "x", strings.Replace(exampleVerifier, "d", "e", 1),
	} {
		if !errors.Is(VerifyPKCE(c, v), ErrPKCE) {
			t.Errorf("verifier %q was accepted", v)
		}
	}
	if VerifyPKCE(CodeChallenge{}, exampleVerifier) == nil {
		t.Error("the zero challenge accepts a verifier")
	}
}

func TestRFC7636_4_1_VerifierForm(t *testing.T) {
	// Right by its hash, wrong by its form.
	for _, v := range []string{
		"", "short", strings.Repeat("a", 42), strings.Repeat("a", 129), strings.Repeat("a", 43) + "é",
		strings.Repeat("a", 42) + " ", strings.Repeat("a", 42) + "\n", strings.Repeat("a", 42) + "+",
	} {
		if VerifyPKCE(challengeOf(v), v) == nil {
			t.Errorf("verifier %q was accepted", v)
		}
	}
	for _, v := range []string{strings.Repeat("a", 43), strings.Repeat("~", 128)} {
		if err := VerifyPKCE(challengeOf(v), v); err != nil {
			t.Errorf("verifier of %d characters: %v", len(v), err)
		}
	}
}
