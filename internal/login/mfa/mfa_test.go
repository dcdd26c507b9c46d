package mfa

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// codeAt computes a code from the text of RFC 4226 §5.3 and RFC 6238 §4.2
// alone.
func codeAt(secret []byte, at time.Time, digits int) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(at.Unix()/30))
	mac := hmac.New(sha1.New, secret)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	o := sum[len(sum)-1] & 0x0f
	n := uint64(binary.BigEndian.Uint32(sum[o:o+4]) & 0x7fffffff)
	pow := uint64(1)
	for range digits {
		pow *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%pow)
}

// TestRFC6238_AppendixB: the vectors of the RFC, shortened to six digits, are
// what is accepted at their times.
func TestRFC6238_AppendixB_Vectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, eight := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		now := time.Unix(at, 0)
		if got := codeAt(secret, now, 8); got != eight {
			t.Fatalf("the test's own code at %d is %s, the RFC says %s", at, got, eight)
		}
		step, err := matchTOTP(secret, eight[2:], now)
		if err != nil || step != at/30 {
			t.Errorf("at %d: step %d, %v", at, step, err)
		}
		// As people type it.
		if _, err := matchTOTP(secret, " "+eight[2:5]+" "+eight[5:], now); err != nil {
			t.Errorf("at %d, with spaces: %v", at, err)
		}
	}
}

// TestRFC6238_5_2_OneStepOfDrift: a code of the step before or after is taken,
// one further away is not.
func TestRFC6238_5_2_OneStepOfDrift(t *testing.T) {
	secret, now := []byte("a secret of twenty b"), time.Unix(1_800_000_000, 0)
	for steps, want := range map[int]error{-3: ErrCodeWrong, -2: ErrCodeWrong, -1: nil, 0: nil, 1: nil, 2: ErrCodeWrong, 3: ErrCodeWrong} {
		at := now.Add(time.Duration(steps) * 30 * time.Second)
		step, err := matchTOTP(secret, codeAt(secret, at, 6), now)
		if !errors.Is(err, want) || err == nil && step != at.Unix()/30 {
			t.Errorf("%d steps away: step %d, %v", steps, step, err)
		}
	}
	for _, junk := range []string{"", "1", "12345", "1234567", "abcdef", "000000\n", strings.Repeat("0", 1<<16), "\xff\xfe\xfd\xfc\xfb\xfa"} {
		if _, err := matchTOTP(secret, junk, now); !errors.Is(err, ErrCodeWrong) {
			t.Errorf("%.20q: %v", junk, err)
		}
	}
}

func FuzzMatchTOTP(f *testing.F) {
	secret, now := []byte("a secret of twenty b"), time.Unix(1_800_000_000, 0)
	good := make(map[string]bool)
	for _, d := range []time.Duration{-30, 0, 30} {
		good[codeAt(secret, now.Add(d*time.Second), 6)] = true
	}
	for code := range good {
		f.Add(code)
	}
	f.Add("12345")
	f.Add("")
	f.Add(" 1-2")
	f.Fuzz(func(t *testing.T, code string) {
		_, err := matchTOTP(secret, code, now)
		bare := strings.NewReplacer(" ", "", "-", "").Replace(code)
		if (err == nil) != good[strings.TrimSpace(bare)] {
			t.Errorf("%q: %v", code, err)
		}
	})
}

// aStore keeps nothing; tests of the whole are in package login.
type aStore struct{ Store }

func newFactors(t *testing.T, publicURL string) *Factors {
	t.Helper()
	f, err := New(Config{
		Store: aStore{}, PublicURL: publicURL, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
		Derive: func(purpose string) []byte { return append([]byte(purpose), make([]byte, 32)...)[:32] },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSecretIsSealedForItsPerson(t *testing.T) {
	f := newFactors(t, "https://oriel.example.com")
	e := f.BeginTOTP("per_ada")
	shown, err := f.Show(e, "ada@example.com")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := totpEncoding.DecodeString(shown.Text)
	if err != nil || len(secret) != totpSecretBytes {
		t.Fatalf("secret %q: %v", shown.Text, err)
	}
	if strings.Contains(e.Sealed, shown.Text) || strings.Contains(e.Sealed, string(secret)) {
		t.Error("the sealed secret shows the secret")
	}
	for name, change := range map[string]func(*Enrolment){
		"another person": func(e *Enrolment) { e.Person = "per_eve" },
		"another factor": func(e *Enrolment) { e.ID = "fac_other" },
		"changed":        func(e *Enrolment) { e.Sealed = "A" + e.Sealed[1:] },
		"nothing":        func(e *Enrolment) { e.Sealed = "" },
	} {
		other := e
		change(&other)
		if other == e {
			other.Sealed = "B" + e.Sealed[1:]
		}
		if _, err := f.Show(other, "x"); !errors.Is(err, ErrEnrolment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.ConfirmTOTP(context.Background(), e, "per_eve", codeAt(secret, f.Now(), 6), "", audit.System()); !errors.Is(err, ErrEnrolment) {
		t.Errorf("confirmed by somebody else: %v", err)
	}

	u, err := url.Parse(shown.URL)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Oriel oriel.example.com:ada@example.com" || strings.Contains(shown.URL, "+") {
		t.Errorf("URL %s: %v", shown.URL, err)
	}
	if q := u.Query(); q.Get("secret") != shown.Text || q.Get("digits") != "6" || q.Get("period") != "30" || q.Get("algorithm") != "SHA1" {
		t.Errorf("URL %s", shown.URL)
	}
}

func TestRecoveryCodes(t *testing.T) {
	f := newFactors(t, "https://oriel.example.com")
	codes, hashes := f.newRecoveryCodes("per_ada")
	if len(codes) != 10 {
		t.Fatalf("%d codes", len(codes))
	}
	form := regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){3}$`)
	for i, c := range codes {
		if !form.MatchString(c) || slices.Contains(codes[:i], c) {
			t.Errorf("code %q", c)
		}
		for _, typed := range []string{c, strings.ToUpper(c), strings.ReplaceAll(c, "-", ""), strings.ReplaceAll(c, "-", " "), strings.ReplaceAll(strings.ReplaceAll(c, "0", "O"), "1", "l")} {
			if f.recoveryHash("per_ada", typed) != hashes[i] {
				t.Errorf("%q is not taken for %q", typed, c)
			}
		}
		if f.recoveryHash("per_eve", c) == hashes[i] {
			t.Error("a code is good for somebody else")
		}
	}
}

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{"": "Passkey", "  ": "Passkey", " Telephone ": "Telephone", "a\nb": "!", "a\u202eb": "!", strings.Repeat("x", 61): "!"} {
		got, err := ParseName(in, Passkey)
		if (err != nil) != (want == "!") || err == nil && got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestPasskeysNeedADomain: WebAuthn §5.1.2 has no relying party at an IP
// address, and no secure context over plain http to another host.
func TestPasskeysNeedADomain(t *testing.T) {
	for at, want := range map[string]string{
		"https://oriel.example.com": "", "http://localhost:8080": "", "https://localhost": "",
		"http://127.0.0.1:8080": "http://localhost", "http://[::1]:8080": "http://localhost", "https://192.0.2.1": "--public-url", "http://oriel.example.com": "https",
	} {
		ok, why := newFactors(t, at).Passkeys()
		if ok != (want == "") || !strings.Contains(why, want) {
			t.Errorf("%s: %t, %q", at, ok, why)
		}
	}
	if _, _, err := newFactors(t, "http://127.0.0.1:8080").BeginPasskey(t.Context(), org.Person{}); !errors.Is(err, ErrNoPasskeys) {
		t.Errorf("begun: %v", err)
	}
}
