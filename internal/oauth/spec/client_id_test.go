package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	testKey  = []byte(strings.Repeat("k", ClientKeyBytes))
	otherKey = []byte(strings.Repeat("o", ClientKeyBytes))
	urlSafe  = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)
)

func sameMetadata(a, b ClientMetadata) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b RedirectURI) bool { return a == b }))
}

func TestClientIDRoundTrip(t *testing.T) {
	issued := time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC)
	for client, body := range registrations(t) {
		m, err := ParseRegistration(body)
		if err != nil {
			t.Fatal(err)
		}
		id, err := EncodeClientID(testKey, m, [8]byte{1, 2, 3}, issued)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", client, len(id))
		// None of the real clients needs more than this, also in a URL beside a long state.
		if len(id) > 200 || !urlSafe.MatchString(id) || !IsEncodedClientID(id) {
			t.Errorf("%s: %d bytes: %s", client, len(id), id)
		}
		got, at, err := DecodeClientID(testKey, id)
		if err != nil || !at.Equal(issued) {
			t.Errorf("%s: %v, %v", client, at, err)
		}
		if d := sameMetadata(m, got); d != "" {
			t.Errorf("%s: %s", client, d)
		}
	}
}

// The members that no listed client sends.
func TestClientIDKeepsEverything(t *testing.T) {
	m, err := ParseRegistration([]byte(`{"redirect_uris":["https://a.example/cb?x=1"],"post_logout_redirect_uris":["https://a.example/"],
		"grant_types":["refresh_token","authorization_code","client_credentials"],"token_endpoint_auth_method":"private_key_jwt",
		"jwks": {"keys": [{"kty":"EC","crv":"P-256","x":"<&>\u2028","y":"b"}]},"client_name":"<A & B>","client_uri":"https://a.example/",
		"logo_uri":"https://a.example/l.png","tos_uri":"https://a.example/t","policy_uri":"https://a.example/p","contacts":["x@a.example"],
		"software_id":"i","software_version":"1","application_type":"web","scope":"openid logs:read nonsense"}`))
	if err != nil {
		t.Fatal(err)
	}
	m.AllowsNone = true
	id, err := EncodeClientID(testKey, m, [8]byte{}, time.Unix(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := DecodeClientID(testKey, id)
	if err != nil {
		t.Fatal(err)
	}
	if d := sameMetadata(m, got); d != "" {
		t.Error(d)
	}
}

// An id that was once given out must be readable for ever: this one was made by the first version of the format.
func TestClientIDOfFirstVersionStillReads(t *testing.T) {
	m, at, err := DecodeClientID(testKey, firstClientID)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ParseRegistration(registrations(t)["vscode"])
	if err != nil {
		t.Fatal(err)
	}
	if d := sameMetadata(want, m); d != "" || at.Unix() != 1_790_000_000 {
		t.Errorf("%v %s", at, d)
	}
}

// Case 15 of the authorization cases.
func TestTamperedClientIDIsUnknown(t *testing.T) {
	m, err := ParseRegistration(registrations(t)["cursor"])
	if err != nil {
		t.Fatal(err)
	}
	id, err := EncodeClientID(testKey, m, [8]byte{1}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "c1.", "c1..", "c1.a", id + "A", id + "\n", id + ".", " " + id, "c2" + id[2:], strings.ToUpper(id), strings.Replace(id, ".", "..", 1), id + strings.Repeat("A", MaxClientIDBytes)}
	for i := range id {
		bad = append(bad, id[:i])
		c := byte('A')
		if id[i] == c {
			c = 'B'
		}
		bad = append(bad, id[:i]+string(c)+id[i+1:])
		bad = append(bad, id[:i]+"\n"+id[i:])
	}
	for _, b := range bad {
		if got, _, err := DecodeClientID(testKey, b); !errors.Is(err, ErrClientID) || got.IsPublic() || got.RedirectURIs != nil {
			t.Fatalf("%q: %v", b, err)
		}
	}
	if _, _, err := DecodeClientID(otherKey, id); !errors.Is(err, ErrClientID) {
		t.Errorf("another server's key: %v", err)
	}
	for _, key := range [][]byte{nil, {}, testKey[1:]} {
		if _, err := EncodeClientID(key, m, [8]byte{}, time.Unix(1, 0)); err == nil {
			t.Error("made an id with a short key")
		}
		if _, _, err := DecodeClientID(key, id); err == nil || errors.Is(err, ErrClientID) {
			t.Errorf("a short key of ours is the client's fault: %v", err)
		}
	}
}

// Case 17 of the authorization cases.
func TestClientIDsOfOneBodyDiffer(t *testing.T) {
	m, err := ParseRegistration(registrations(t)["cursor"])
	if err != nil {
		t.Fatal(err)
	}
	a, _ := EncodeClientID(testKey, m, [8]byte{1}, time.Unix(1, 0))
	b, _ := EncodeClientID(testKey, m, [8]byte{2}, time.Unix(1, 0))
	if a == b || ClientSecret(testKey, a) == ClientSecret(testKey, b) {
		t.Error("two registrations share an id or a secret")
	}
}

func TestTooLargeForClientID(t *testing.T) {
	var uris []string
	for i := range maxRedirectURIs {
		uri := "https://a.example/"
		for j := range 4 { // hashes, so that nothing compresses
			uri += challengeOf(fmt.Sprint(i, j)).String()
		}
		uris = append(uris, uri)
	}
	body, _ := json.Marshal(map[string]any{"redirect_uris": uris})
	m, err := ParseRegistration(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeClientID(testKey, m, [8]byte{}, time.Unix(1, 0)); code(err) != InvalidClientMetadata {
		t.Errorf("%v", err)
	}
}

func TestClientSecret(t *testing.T) {
	s := ClientSecret(testKey, "c1.x.y")
	if len(s) != 43 || !urlSafe.MatchString(s) || !VerifyClientSecret(testKey, "c1.x.y", s) {
		t.Errorf("secret %s", s)
	}
	for _, wrong := range []string{"", s[1:], s + "A", ClientSecret(testKey, "c1.x.z"), ClientSecret(otherKey, "c1.x.y"), clientMAC(testKey, "c1.x.y")} {
		if VerifyClientSecret(testKey, "c1.x.y", wrong) {
			t.Errorf("secret %q was accepted", wrong)
		}
	}
	// Without its own domain the secret would begin like the id's authenticator, which everybody sees.
	if strings.HasPrefix(s, clientMAC(testKey, "c1.x.y")[:20]) {
		t.Error("id and secret share a domain")
	}
	defer func() {
		if recover() == nil {
			t.Error("a secret was made without a key")
		}
	}()
	ClientSecret(nil, "c1.x.y")
}

func TestInflateIsBounded(t *testing.T) {
	bomb, err := deflate(make([]byte, maxInflatedBytes+1))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := inflate(bomb); err == nil {
		t.Errorf("inflated to %d bytes", len(b))
	}
}

func FuzzClientID(f *testing.F) {
	for _, b := range registrations(f) {
		f.Add(b, firstClientID)
	}
	f.Add([]byte(`{}`), "c1.AAAA.AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, body []byte, stranger string) {
		// What we did not make does not decode.
		if _, _, err := DecodeClientID(testKey, stranger); !errors.Is(err, ErrClientID) && stranger != firstClientID {
			t.Fatalf("%q: %v", stranger, err)
		}
		m, err := ParseRegistration(body)
		if err != nil {
			return
		}
		id, err := EncodeClientID(testKey, m, [8]byte{7}, time.Unix(1_790_000_000, 0))
		if err != nil {
			if code(err) != InvalidClientMetadata {
				t.Fatal(err)
			}
			return
		}
		if !urlSafe.MatchString(id) {
			t.Fatalf("%s", id)
		}
		got, at, err := DecodeClientID(testKey, id)
		if err != nil || at.Unix() != 1_790_000_000 {
			t.Fatalf("%v, %v", at, err)
		}
		if d := sameMetadata(m, got); d != "" {
			t.Fatal(d)
		}
	})
}

// What one id left in a compressor must not show in the next.
func TestClientIDsDoNotDependOnEachOther(t *testing.T) {
	key := make([]byte, ClientKeyBytes)
	metadata := func(name string) ClientMetadata {
		m, err := ParseRegistration([]byte(`{"client_name":"` + name + `","redirect_uris":["https://` + strings.ToLower(name) + `.example/callback"]}`))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	encode := func(name string) string {
		id, err := EncodeClientID(key, metadata(name), [8]byte{1}, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	alone := encode("Lantern")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			other := encode(strings.Repeat("Other", 1+i%7))
			if got := encode("Lantern"); got != alone {
				t.Errorf("%s after others, %s alone", got, alone)
			}
			if m, _, err := DecodeClientID(key, other); err != nil || !strings.HasPrefix(m.Name, "Other") {
				t.Errorf("%+v, %v", m, err)
			}
			if _, _, err := DecodeClientID(key, other[:len(other)/2]); err == nil {
				t.Error("half an id is read")
			}
		})
	}
	wg.Wait()
}

func BenchmarkEncodeClientID(b *testing.B) {
	key := make([]byte, ClientKeyBytes)
	m, err := ParseRegistration([]byte(`{"client_name":"Lantern","redirect_uris":["https://lantern.example/callback"]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeClientID(key, m, [8]byte{1}, time.Unix(1, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeClientID(b *testing.B) {
	key := make([]byte, ClientKeyBytes)
	m, err := ParseRegistration([]byte(`{"client_name":"Lantern","redirect_uris":["https://lantern.example/callback"]}`))
	if err != nil {
		b.Fatal(err)
	}
	id, err := EncodeClientID(key, m, [8]byte{1}, time.Unix(1, 0))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeClientID(key, id); err != nil {
			b.Fatal(err)
		}
	}
}
