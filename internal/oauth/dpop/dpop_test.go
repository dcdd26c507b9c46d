package dpop

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

const (
	origin      = "https://oriel.example"
	accessToken = "an access token"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// request is the one that the proofs of these tests are for.
var request = Request{Method: "POST", Path: "/oauth/token"}

type fixture struct {
	*Checker
	t   testing.TB
	now time.Time
	key crypto.Signer
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, now: start, key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	public := must(spec.ParsePublicURL(origin, false))(t)
	f.Checker = must(New(Config{PublicURL: public, NonceKey: bytes.Repeat([]byte{7}, nonceKeyBytes), Now: func() time.Time { return f.now }}))(t)
	return f
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// claims are those of a good proof, changed.
func (f *fixture) claims(change map[string]any) map[string]any {
	c := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": origin + "/oauth/token", "iat": f.now.Unix(), "nonce": f.Nonce()}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (f *fixture) proof(change map[string]any) string {
	f.t.Helper()
	return f.sign(jose.ES256, f.key, proofType, f.claims(change))
}

func (f *fixture) sign(alg jose.SignatureAlgorithm, key any, typ string, claims map[string]any) string {
	f.t.Helper()
	opts := &jose.SignerOptions{EmbedJWK: true}
	if typ != "" {
		opts.WithType(jose.ContentType(typ))
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts))(f.t)
	jws := must(signer.Sign(must(json.Marshal(claims))(f.t)))(f.t)
	return must(jws.CompactSerialize())(f.t)
}

func (f *fixture) thumbprint() Thumbprint {
	f.t.Helper()
	jwk := jose.JSONWebKey{Key: f.key.Public()}
	return Thumbprint(base64.RawURLEncoding.EncodeToString(must(jwk.Thumbprint(crypto.SHA256))(f.t)))
}

// want checks that a proof is answered with an error code; "" is success.
func (f *fixture) want(code, proof string, r Request) {
	f.t.Helper()
	_, err := f.Check([]string{proof}, r)
	if got := codeOf(err); got != code {
		f.t.Errorf("error %q (%v), want %q", got, err, code)
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*spec.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// raw makes a JWT with a header of any kind, signed with an ECDSA key.
func (f *fixture) raw(header map[string]any) string {
	f.t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	body := enc(must(json.Marshal(header))(f.t)) + "." + enc(must(json.Marshal(f.claims(nil)))(f.t))
	sum := sha256.Sum256([]byte(body))
	r, s, err := ecdsa.Sign(rand.Reader, f.key.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return body + "." + enc(sig)
}

func TestRFC9449_4_3_GoodProofs(t *testing.T) {
	f := newFixture(t)
	jkt, err := f.Check([]string{f.proof(nil)}, request)
	if err != nil || jkt != f.thumbprint() {
		t.Fatalf("thumbprint %q, %v", jkt, err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	f.want("", f.sign(jose.EdDSA, ed, proofType, f.claims(nil)), request)
	f.want("", f.sign(jose.PS256, rsaKey, proofType, f.claims(nil)), request)
	f.want("", f.sign(jose.RS256, rsaKey, proofType, f.claims(nil)), request)
}

func TestRFC9449_4_3_HeaderOnce(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Check(nil, request); !errors.Is(err, ErrNoProof) {
		t.Errorf("no header: %v", err)
	}
	if _, err := f.Check([]string{f.proof(nil), f.proof(nil)}, request); codeOf(err) != spec.InvalidDPoPProof {
		t.Errorf("two headers: %v", err)
	}
	f.want(spec.InvalidDPoPProof, "", request)
	f.want(spec.InvalidDPoPProof, f.proof(map[string]any{"more": strings.Repeat("x", maxProofBytes)}), request)
}

func TestRFC9449_4_3_TypeAlgorithmAndKey(t *testing.T) {
	f := newFixture(t)
	public := jose.JSONWebKey{Key: f.key.Public()}
	private := jose.JSONWebKey{Key: f.key}
	// The raw form is good where its header is: what follows fails for its
	// header alone.
	f.want("", f.raw(map[string]any{"typ": proofType, "alg": "ES256", "jwk": public}), request)
	for name, header := range map[string]map[string]any{
		"private key":   {"typ": proofType, "alg": "ES256", "jwk": private},
		"no key":        {"typ": proofType, "alg": "ES256"},
		"none":          {"typ": proofType, "alg": "none", "jwk": public},
		"HS256":         {"typ": proofType, "alg": "HS256", "jwk": map[string]any{"kty": "oct", "k": "AAAA"}},
		"symmetric key": {"typ": proofType, "alg": "ES256", "jwk": map[string]any{"kty": "oct", "k": "AAAA"}},
		"no type":       {"alg": "ES256", "jwk": public},
		"other type":    {"typ": "at+jwt", "alg": "ES256", "jwk": public},
		"other alg":     {"typ": proofType, "alg": "RS256", "jwk": public},
	} {
		if _, err := f.Check([]string{f.raw(header)}, request); codeOf(err) != spec.InvalidDPoPProof {
			t.Errorf("%s: %v", name, err)
		}
	}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	f.want(spec.InvalidDPoPProof, f.sign(jose.ES384, p384, proofType, f.claims(nil)), request)
	if fits(&p384.PublicKey, jose.ES256) {
		t.Error("a P-384 key fits ES256")
	}
	f.want(spec.InvalidDPoPProof, f.sign(jose.RS256, must(rsa.GenerateKey(rand.Reader, 1024))(t), proofType, f.claims(nil)), request)
	// The size alone counts here; nobody signs with such a key.
	for bits, fit := range map[int]bool{minRSABits - 1: false, minRSABits: true, maxRSABits: true, maxRSABits + 1: false} {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		if fits(&rsa.PublicKey{N: n, E: 65537}, jose.RS256) != fit {
			t.Errorf("an RSA key of %d bits: fits is not %v", bits, fit)
		}
	}
}

func TestRFC9449_4_3_Signature(t *testing.T) {
	f := newFixture(t)
	a, b := strings.Split(f.proof(nil), "."), strings.Split(f.proof(nil), ".")
	f.want(spec.InvalidDPoPProof, a[0]+"."+b[1]+"."+a[2], request)
	f.want("", strings.Join(a, "."), request)
}

func TestRFC9449_4_3_Claims(t *testing.T) {
	f := newFixture(t)
	iat := func(d time.Duration) map[string]any { return map[string]any{"iat": f.now.Add(d).Unix()} }
	for name, tt := range map[string]struct {
		change map[string]any
		code   string
	}{
		"no jti":          {map[string]any{"jti": nil}, spec.InvalidDPoPProof},
		"long jti":        {map[string]any{"jti": strings.Repeat("x", maxTokenIDBytes+1)}, spec.InvalidDPoPProof},
		"no htm":          {map[string]any{"htm": nil}, spec.InvalidDPoPProof},
		"other htm":       {map[string]any{"htm": "GET"}, spec.InvalidDPoPProof},
		"htm in case":     {map[string]any{"htm": "post"}, spec.InvalidDPoPProof},
		"no htu":          {map[string]any{"htu": nil}, spec.InvalidDPoPProof},
		"other path":      {map[string]any{"htu": origin + "/oauth/userinfo"}, spec.InvalidDPoPProof},
		"encoded slash":   {map[string]any{"htu": origin + "/oauth%2Ftoken"}, spec.InvalidDPoPProof},
		"slash at end":    {map[string]any{"htu": origin + "/oauth/token/"}, spec.InvalidDPoPProof},
		"other host":      {map[string]any{"htu": "https://elsewhere.example/oauth/token"}, spec.InvalidDPoPProof},
		"other port":      {map[string]any{"htu": origin + ":8443/oauth/token"}, spec.InvalidDPoPProof},
		"other scheme":    {map[string]any{"htu": "http://oriel.example/oauth/token"}, spec.InvalidDPoPProof},
		"user":            {map[string]any{"htu": "https://a@oriel.example/oauth/token"}, spec.InvalidDPoPProof},
		"path alone":      {map[string]any{"htu": "/oauth/token"}, spec.InvalidDPoPProof},
		"query":           {map[string]any{"htu": origin + "/oauth/token?a=b"}, ""},
		"fragment":        {map[string]any{"htu": origin + "/oauth/token#f"}, ""},
		"case and port":   {map[string]any{"htu": "HTTPS://ORIEL.example:443/oauth/token"}, ""},
		"no iat":          {map[string]any{"iat": nil}, spec.InvalidDPoPProof},
		"iat as text":     {map[string]any{"iat": "now"}, spec.InvalidDPoPProof},
		"huge iat":        {map[string]any{"iat": 1e300}, spec.InvalidDPoPProof},
		"old":             {iat(-iatWindow - time.Second), spec.InvalidDPoPProof},
		"early":           {iat(iatWindow + time.Second), spec.InvalidDPoPProof},
		"just in time":    {iat(-iatWindow), ""},
		"early but fine":  {iat(iatWindow), ""},
		"fraction":        {map[string]any{"iat": float64(f.now.Unix()) + 0.5}, ""},
		"no nonce":        {map[string]any{"nonce": nil}, spec.UseDPoPNonce},
		"unknown nonce":   {map[string]any{"nonce": "abc"}, spec.UseDPoPNonce},
		"ath not needed":  {map[string]any{"ath": "abc"}, ""},
		"malformed claim": {map[string]any{"jti": 1}, spec.InvalidDPoPProof},
	} {
		if _, err := f.Check([]string{f.proof(tt.change)}, request); codeOf(err) != tt.code {
			t.Errorf("%s: %v, want %q", name, err, tt.code)
		}
	}
}

func TestRFC9449_4_3_AccessTokenHashAndKey(t *testing.T) {
	f := newFixture(t)
	r := request
	r.AccessToken, r.Bound = accessToken, f.thumbprint()
	sum := sha256.Sum256([]byte(accessToken))
	good := map[string]any{"ath": base64.RawURLEncoding.EncodeToString(sum[:])}
	f.want("", f.proof(good), r)
	f.want(spec.InvalidDPoPProof, f.proof(nil), r)
	f.want(spec.InvalidDPoPProof, f.proof(map[string]any{"ath": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}), r)
	f.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	f.want(spec.InvalidDPoPProof, f.proof(good), r)
}

func TestRFC9449_8_NoncesChange(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Truncate(nonceSlot)
	first := f.Nonce()
	f.now = f.now.Add(maxNonceAge - time.Second)
	if f.Nonce() == first {
		t.Error("the nonce did not change")
	}
	f.want("", f.proof(map[string]any{"nonce": first}), request)
	f.now = f.now.Add(time.Second)
	f.want(spec.UseDPoPNonce, f.proof(map[string]any{"nonce": first}), request)
	other := nonces{key: bytes.Repeat([]byte{8}, nonceKeyBytes)}
	f.want(spec.UseDPoPNonce, f.proof(map[string]any{"nonce": other.current(f.now)}), request)
}

func TestRFC9449_11_1_ReplayedProof(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Truncate(nonceSlot)
	proof := f.proof(map[string]any{"jti": "one", "iat": f.now.Add(iatWindow).Unix()})
	// A request that the proof is not for does not use it up.
	f.want(spec.InvalidDPoPProof, proof, Request{Method: "GET", Path: request.Path})
	f.want("", proof, request)
	// It stays used for as long as its nonce is good, whatever comes between.
	for range int(maxNonceAge/time.Second) - 1 {
		f.now = f.now.Add(time.Second)
		f.seen.add(sha256.Sum256([]byte(rand.Text())), f.now)
		if f.now.Unix()%30 == 0 {
			f.want(spec.InvalidDPoPProof, proof, request)
		}
	}
	f.want(spec.InvalidDPoPProof, proof, request)
	// So does one that came just before the halves of the memory changed places.
	f.now = f.seen.began.Add(maxNonceAge - time.Second)
	late := f.proof(nil)
	f.want("", late, request)
	began := f.seen.began
	f.now = f.now.Add(time.Second)
	f.want("", f.proof(nil), request)
	if !f.seen.began.After(began) {
		t.Fatal("the halves did not change places")
	}
	f.want(spec.InvalidDPoPProof, late, request)
	// Another key may use the same jti.
	f.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	f.want("", f.proof(map[string]any{"jti": "one"}), request)
}

func TestReplayInParallel(t *testing.T) {
	f := newFixture(t)
	proof := f.proof(nil)
	var (
		wg   sync.WaitGroup
		good atomic.Int32
	)
	for range 50 {
		wg.Go(func() {
			if _, err := f.Check([]string{proof}, request); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("one proof was accepted %d times", good.Load())
	}
}

func TestMemoryIsBoundedAndRecovers(t *testing.T) {
	f := newFixture(t)
	f.seen.limit = 2
	first := f.proof(nil)
	f.want("", first, request)
	f.want("", f.proof(nil), request)
	f.want(spec.TemporarilyUnavailable, f.proof(nil), request)
	f.want(spec.InvalidDPoPProof, first, request)
	f.now = f.now.Add(maxNonceAge)
	f.want("", f.proof(nil), request)
}

func TestAlgorithmsAreThoseAdvertised(t *testing.T) {
	public := must(spec.ParsePublicURL(origin, false))(t)
	m := spec.NewServerMetadata(public, spec.Features{DPoP: true})
	if diff := cmp.Diff(m.DPoPSigningAlgsSupported, Algorithms()); diff != "" {
		t.Error(diff)
	}
}

func TestNewNeedsItsConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a Checker of nothing")
	}
}

// FuzzCheck: whatever is sent, an accepted proof names a key and is not
// accepted twice, and any error is one that a client can be told.
func FuzzCheck(f *testing.F) {
	c := newFixture(f)
	for _, seed := range []string{
		c.proof(nil), c.proof(map[string]any{"htu": "https://[::1"}), c.proof(map[string]any{"iat": -1e300}), "", "..", "a.b.c", "{}",
		`{"payload":"","signatures":[]}`, c.raw(map[string]any{"typ": proofType, "alg": "none"}), c.raw(map[string]any{"jwk": nil, "b64": false, "crit": []string{"b64"}}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, proof string) {
		jkt, err := c.Check([]string{proof}, request)
		if err == nil {
			if jkt == "" {
				t.Error("accepted without a key")
			}
			if _, err := c.Check([]string{proof}, request); codeOf(err) != spec.InvalidDPoPProof {
				t.Errorf("accepted twice: %v", err)
			}
			return
		}
		if e, ok := errors.AsType[*spec.Error](err); !ok || jkt != "" || spec.Describe(e.Description) != e.Description {
			t.Errorf("thumbprint %q, error %v", jkt, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	f := newFixture(b)
	f.seen.limit = 1 << 30
	proofs := make([]string, 0, 1024)
	for range cap(proofs) {
		proofs = append(proofs, f.proof(nil))
	}
	for i := 0; b.Loop(); i++ {
		if i%len(proofs) == 0 {
			f.seen.newer = nil
		}
		if _, err := f.Check([]string{proofs[i%len(proofs)]}, request); err != nil {
			b.Fatal(err)
		}
	}
}
