package oauth

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// FuzzParseAssertion: whatever a stranger sends, nothing is accepted without a
// key, and what has a form is of the one type and an asymmetric algorithm.
func FuzzParseAssertion(f *testing.F) {
	for _, s := range []string{
		"", "x.y.z", "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtaWQtamFnK2p3dCJ9.e30.",
		"eyJhbGciOiJFUzI1NiIsInR5cCI6Im9hdXRoLWlkLWphZytqd3QifQ.eyJpc3MiOiJhIiwicmVzb3VyY2UiOlsiYiJdfQ.AAAA",
		`{"payload":"e30","signatures":[]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAssertion(s)
		if err != nil {
			return
		}
		switch a.token.Headers[0].Algorithm {
		case "ES256", "ES384", "RS256", "PS256", "EdDSA":
		default:
			t.Errorf("algorithm %q", a.token.Headers[0].Algorithm)
		}
		if _, err := a.verify(nil); err == nil {
			t.Error("verified without a key")
		}
		if _, err := a.verify([]jose.JSONWebKey{{Key: []byte("secret"), KeyID: a.keyID}}); err == nil {
			t.Error("verified with a shared secret")
		}
	})
}
