package mfa_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
)

const (
	rpID   = "oriel.example.com"
	origin = "https://oriel.example.com"
)

// Flags of authenticator data (WebAuthn §6.1).
const (
	userPresent    = 0x01
	userVerified   = 0x04
	backupEligible = 0x08
	backedUp       = 0x10
	attested       = 0x40
)

// key is a security key made of software. Tests change what it says.
type key struct {
	private *ecdsa.PrivateKey
	id      []byte
	handle  []byte
	count   uint32
	flags   byte
	// What an honest one says, to be changed.
	origin, rpID, kind string
	challenge          string
	crossOrigin        bool
}

func newKey(t *testing.T) *key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return &key{private: private, id: id, flags: userPresent | userVerified, origin: origin, rpID: rpID}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// clientData is WebAuthn §5.8.1.
func (k *key) clientData(options, kind string) []byte {
	var o struct {
		Challenge string `json:"challenge"`
	}
	_ = json.Unmarshal([]byte(options), &o)
	if k.challenge != "" {
		o.Challenge = k.challenge
	}
	if k.kind != "" {
		kind = k.kind
	}
	b, _ := json.Marshal(map[string]any{"type": kind, "challenge": o.Challenge, "origin": k.origin, "crossOrigin": k.crossOrigin})
	return b
}

// authenticatorData is WebAuthn §6.1.
func (k *key) authenticatorData(flags byte) []byte {
	sum := sha256.Sum256([]byte(k.rpID))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), k.count)
}

// create answers options for a new credential, with attestation "none".
func (k *key) create(options string) string {
	var o struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	_ = json.Unmarshal([]byte(options), &o)
	k.handle, _ = base64.RawURLEncoding.DecodeString(o.User.ID)

	data := append(k.authenticatorData(k.flags|attested), make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.id)))
	data = append(data, k.id...)
	point, _ := k.private.PublicKey.Bytes() // 4, x, y
	// A COSE key: EC2, ES256, P-256 (RFC 9053 §7.1.1).
	data = append(data, 0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20)
	data = append(data, point[1:33]...)
	data = append(data, 0x22, 0x58, 0x20)
	data = append(data, point[33:]...)

	object := []byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59")
	object = binary.BigEndian.AppendUint16(object, uint16(len(data)))
	object = append(object, data...)
	out, _ := json.Marshal(map[string]any{
		"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": b64(k.clientData(options, "webauthn.create")), "attestationObject": b64(object)},
	})
	return string(out)
}

// get answers options for an assertion.
func (k *key) get(options string) string {
	k.count++
	client, data := k.clientData(options, "webauthn.get"), k.authenticatorData(k.flags)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(slices.Clone(data), hash[:]...))
	signature, _ := ecdsa.SignASN1(rand.Reader, k.private, sum[:])
	out, _ := json.Marshal(map[string]any{
		"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": b64(k.handle),
		},
	})
	return string(out)
}

type house struct {
	t       *testing.T
	db      *store.DB
	factors *mfa.Factors
	ada     org.Person
	eve     org.Person
}

func newHouse(t *testing.T) *house {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f, err := mfa.New(mfa.Config{Store: db, PublicURL: origin, Now: time.Now, Derive: func(string) []byte { return make([]byte, 32) }})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, factors: f}
	directory := org.NewDirectory(db, time.Now)
	for name, p := range map[string]*org.Person{"ada": &h.ada, "eve": &h.eve} {
		if *p, err = directory.AddPerson(t.Context(), org.NewPerson{Email: name + "@example.com", Name: name}, audit.System()); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// enrol has somebody set up a key.
func (h *house) enrol(p org.Person, k *key) (amr []string, err error) {
	h.t.Helper()
	options, c, err := h.factors.BeginPasskey(h.t.Context(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	_, amr, err = h.factors.ConfirmPasskey(h.t.Context(), c, p, k.create(options), "Key", audit.System())
	return amr, err
}

// ask asks for a passkey: somebody's, or with nil anybody's.
func (h *house) ask(p *org.Person) (string, mfa.Ceremony) {
	h.t.Helper()
	options, c, err := h.factors.BeginAssertion(h.t.Context(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	return options, c
}

func (h *house) check(c mfa.Ceremony, response string) (mfa.Asserted, error) {
	return h.factors.CheckPasskey(h.t.Context(), c, response, audit.System())
}

func TestPasskey(t *testing.T) {
	h := newHouse(t)
	k := newKey(t)
	if amr, err := h.enrol(h.ada, k); err != nil || fmt.Sprint(amr) != "[hwk user mfa]" {
		t.Fatalf("enrolled: %v, %v", amr, err)
	}
	for name, p := range map[string]*org.Person{"as the only factor": nil, "as the second": &h.ada} {
		options, c := h.ask(p)
		got, err := h.check(c, k.get(options))
		if err != nil || got.Factor.Person != h.ada.ID || fmt.Sprint(got.AMR) != "[hwk user mfa]" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// RFC 8176 §2: a key that is copied between devices is no hardware key.
	synced := newKey(t)
	synced.flags |= backupEligible | backedUp
	if amr, err := h.enrol(h.ada, synced); err != nil || fmt.Sprint(amr) != "[swk user mfa]" {
		t.Errorf("enrolled: %v, %v", amr, err)
	}
	options, _ := h.ask(&h.ada)
	if !strings.Contains(options, b64(k.id)) || !strings.Contains(options, b64(synced.id)) || !strings.Contains(options, `"userVerification":"required"`) {
		t.Errorf("options: %s", options)
	}
	if options, _ := h.ask(nil); strings.Contains(options, "allowCredentials") {
		t.Errorf("anybody's options name somebody's keys: %s", options)
	}
	options, _, err := h.factors.BeginPasskey(t.Context(), h.ada)
	if err != nil || !strings.Contains(options, `"residentKey":"required"`) || !strings.Contains(options, `"excludeCredentials"`) || strings.Contains(options, "ada@example.com\",\"id\"") {
		t.Errorf("options: %s, %v", options, err)
	}
	if _, _, err := h.factors.BeginAssertion(t.Context(), &h.eve); !errors.Is(err, mfa.ErrNoPasskeys) {
		t.Errorf("somebody without passkeys is asked for one: %v", err)
	}
}

// TestWebAuthn_7_2 has an assertion refused for each thing that the relying
// party must verify, and the same one accepted with nothing changed.
func TestWebAuthn_7_2_VerifyingAnAssertion(t *testing.T) {
	for name, change := range map[string]func(k *key){
		"step 5: the credential is unknown":            func(k *key) { k.id = []byte("another credential") },
		"step 6: the user handle is somebody else's":   func(k *key) { k.handle = []byte("per_somebody") },
		"step 6: there is no user handle":              func(k *key) { k.handle = nil },
		"step 11: the type is that of a registration":  func(k *key) { k.kind = "webauthn.create" },
		"step 12: the challenge is another":            func(k *key) { k.challenge = b64(make([]byte, 32)) },
		"step 13: the origin is another":               func(k *key) { k.origin = "https://oriel.example.net" },
		"step 13: the origin has another scheme":       func(k *key) { k.origin = "http://oriel.example.com" },
		"step 13: the origin has another port":         func(k *key) { k.origin = "https://oriel.example.com:8443" },
		"step 14: it comes from a frame elsewhere":     func(k *key) { k.crossOrigin = true },
		"step 15: the relying party is another":        func(k *key) { k.rpID = "example.com" },
		"step 16: nobody was present":                  func(k *key) { k.flags &^= userPresent },
		"step 17: nobody was verified":                 func(k *key) { k.flags &^= userVerified },
		"step 18: backed up and not eligible":          func(k *key) { k.flags |= backedUp },
		"step 19: eligible all of a sudden":            func(k *key) { k.flags |= backupEligible },
		"step 21: the signature is of another key":     func(k *key) { k.private, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"step 22: the counter went back (cloned)":      func(k *key) { k.count = 0 },
		"step 22: the counter stood still (cloned)":    func(k *key) { k.count-- },
		"(nothing is changed: it is accepted, always)": func(*key) {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			k := newKey(t)
			k.count = 7
			if _, err := h.enrol(h.ada, k); err != nil {
				t.Fatal(err)
			}
			want := mfa.ErrPasskey
			switch {
			case strings.HasPrefix(name, "("):
				want = nil
			case strings.HasSuffix(name, "(cloned)"):
				want = mfa.ErrPasskeyCloned
			}
			change(k)
			options, c := h.ask(nil)
			got, err := h.check(c, k.get(options))
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%+v, %v", got, err)
			}
			if err != nil && (got.Factor.ID != "" || got.AMR != nil) {
				t.Errorf("refused, and yet %+v", got)
			}
		})
	}
}

// TestWebAuthn_7_1 does the same for a registration.
func TestWebAuthn_7_1_RegisteringACredential(t *testing.T) {
	for name, change := range map[string]func(k *key){
		"step 7: the type is that of an assertion": func(k *key) { k.kind = "webauthn.get" },
		"step 8: the challenge is another":         func(k *key) { k.challenge = b64(make([]byte, 32)) },
		"step 9: the origin is another":            func(k *key) { k.origin = "https://evil.example" },
		"step 10: it comes from a frame elsewhere": func(k *key) { k.crossOrigin = true },
		"step 13: the relying party is another":    func(k *key) { k.rpID = "evil.example" },
		"step 14: nobody was present":              func(k *key) { k.flags &^= userPresent },
		"step 15: nobody was verified":             func(k *key) { k.flags &^= userVerified },
		"step 17: backed up and not eligible":      func(k *key) { k.flags |= backedUp },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			k := newKey(t)
			change(k)
			if _, err := h.enrol(h.ada, k); !errors.Is(err, mfa.ErrPasskey) {
				t.Errorf("%v", err)
			}
			if list, err := h.factors.List(t.Context(), h.ada.ID); err != nil || len(list) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
	t.Run("step 26: the credential is registered already", func(t *testing.T) {
		h := newHouse(t)
		k := newKey(t)
		if _, err := h.enrol(h.ada, k); err != nil {
			t.Fatal(err)
		}
		if _, err := h.enrol(h.eve, k); !errors.Is(err, mfa.ErrExists) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the answer is somebody else's", func(t *testing.T) {
		h := newHouse(t)
		options, c, err := h.factors.BeginPasskey(t.Context(), h.ada)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.factors.ConfirmPasskey(t.Context(), c, h.eve, newKey(t).create(options), "", audit.System()); !errors.Is(err, mfa.ErrEnrolment) {
			t.Errorf("%v", err)
		}
	})
}

// TestWebAuthn_13_4_3_ChallengeIsGoodOnce: an assertion that was seen is worth
// nothing a second time, even from an authenticator that does not count.
func TestWebAuthn_13_4_3_ChallengeIsGoodOnce(t *testing.T) {
	h := newHouse(t)
	k := newKey(t)
	if _, err := h.enrol(h.ada, k); err != nil {
		t.Fatal(err)
	}
	options, c := h.ask(nil)
	k.count = ^uint32(0) // the next is 0, as of those that do not count
	answer := k.get(options)
	if _, err := h.check(c, answer); err != nil {
		t.Fatal(err)
	}
	if _, err := h.check(c, answer); !errors.Is(err, mfa.ErrPasskey) {
		t.Errorf("again: %v", err)
	}
	// Nor is an answer to a question for somebody else.
	options, c = h.ask(nil)
	c.Person = h.eve.ID
	if _, err := h.check(c, k.get(options)); !errors.Is(err, mfa.ErrPasskey) {
		t.Errorf("for somebody else: %v", err)
	}
}

// TestClonedPasskeyIsAudited, remembered, and good again with a counter that
// goes on.
func TestClonedPasskeyIsAudited(t *testing.T) {
	h := newHouse(t)
	k := newKey(t)
	k.count = 7
	if _, err := h.enrol(h.ada, k); err != nil {
		t.Fatal(err)
	}
	clone := *k
	options, c := h.ask(nil)
	if _, err := h.check(c, k.get(options)); err != nil {
		t.Fatal(err)
	}
	options, c = h.ask(nil)
	if _, err := h.check(c, clone.get(options)); !errors.Is(err, mfa.ErrPasskeyCloned) {
		t.Fatal(err)
	}
	events, err := h.db.Events(t.Context(), audit.Filter{Kind: audit.PasskeyCloned})
	if err != nil || len(events) != 1 || events[0].Target != string(h.ada.ID) || events[0].Detail != "Key: counter 8 after 8" {
		t.Errorf("events %+v, %v", events, err)
	}
	list, err := h.factors.List(t.Context(), h.ada.ID)
	if err != nil || len(list) != 1 || list[0].ClonedAt().IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	options, c = h.ask(nil)
	if _, err := h.check(c, k.get(options)); err != nil {
		t.Errorf("the true one: %v", err)
	}
}

// FuzzAssertion: whatever a stranger sends as the answer, nobody is signed in.
func FuzzAssertion(f *testing.F) {
	f.Add(`{}`)
	f.Add(`{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"AA","userHandle":"YQ"}}`)
	f.Add("null")
	f.Add("[")
	f.Fuzz(func(t *testing.T, response string) {
		factors, err := mfa.New(mfa.Config{Store: strangers{}, PublicURL: origin, Now: time.Now, Derive: func(string) []byte { return make([]byte, 32) }})
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := factors.BeginAssertion(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := factors.CheckPasskey(t.Context(), c, response, audit.System()); !errors.Is(err, mfa.ErrPasskey) {
			t.Errorf("%q: %+v, %v", response, got, err)
		}
		_, c, err = factors.BeginPasskey(t.Context(), org.Person{ID: "per_ada", Email: "ada@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := factors.ConfirmPasskey(t.Context(), c, org.Person{ID: "per_ada"}, response, "", audit.System()); !errors.Is(err, mfa.ErrPasskey) {
			t.Errorf("%q: %v", response, err)
		}
	})
}

// strangers is a store that knows nobody.
type strangers struct{ mfa.Store }

func (strangers) Factors(context.Context, org.PersonID) ([]mfa.Factor, error) { return nil, nil }

func (strangers) FactorByCredential(context.Context, string) (mfa.Factor, error) {
	return mfa.Factor{}, mfa.ErrNotFound
}
