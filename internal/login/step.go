package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of Steps.Open.
var (
	// ErrStepInvalid: not made by us, or made for another purpose.
	ErrStepInvalid = errors.New("the step was not made here")
	// ErrStepExpired: made by us, too long ago.
	ErrStepExpired = errors.New("the step has expired")
)

// Steps signs small payloads that travel through the browser, each for one
// purpose and a time. A step is readable by its bearer, and good as often as
// it is presented: it must hold no secret and confer nothing by itself. It is
// safe for concurrent use.
type Steps struct {
	key []byte
	now func() time.Time
}

// stepKeyBytes is the size of the key, that of the hash.
const stepKeyBytes = sha256.Size

// NewSteps returns steps signed with a key of 32 bytes.
func NewSteps(key []byte, now func() time.Time) (*Steps, error) {
	if len(key) != stepKeyBytes {
		return nil, fmt.Errorf("login: the key for steps has %d bytes, not %d", len(key), stepKeyBytes)
	}
	if now == nil {
		return nil, errors.New("login: steps need a clock")
	}
	return &Steps{key: append([]byte(nil), key...), now: now}, nil
}

// stepEncoding refuses what it would not have written itself, so that one
// step has one text.
var stepEncoding = base64.RawURLEncoding.Strict()

type step struct {
	Expires int64           `json:"e"` // Unix seconds
	Payload json.RawMessage `json:"p"`
}

// Sign returns a URL-safe step that holds payload as JSON and is good for
// ttl, in whole seconds. It panics if payload cannot be JSON: that is a
// mistake in the program.
func (s *Steps) Sign(purpose string, payload any, ttl time.Duration) string {
	p, err := json.Marshal(payload)
	if err == nil {
		p, err = json.Marshal(step{Expires: s.now().Add(ttl).Unix(), Payload: p})
	}
	if err != nil {
		panic(fmt.Sprintf("login: payload of a step for %s: %v", purpose, err))
	}
	return stepEncoding.EncodeToString(p) + "." + stepEncoding.EncodeToString(s.mac(purpose, p))
}

// Open checks a step made for the purpose and decodes its payload into the
// value pointed to. Errors: ErrStepInvalid, ErrStepExpired, each wrapped.
func (s *Steps) Open(purpose, token string, payload any) error {
	body, sum, ok := strings.Cut(token, ".")
	if !ok {
		return ErrStepInvalid
	}
	// The strict decoder ignores line breaks all the same.
	if strings.ContainsAny(token, "\r\n") {
		return ErrStepInvalid
	}
	raw, err := stepEncoding.DecodeString(body)
	if err != nil {
		return ErrStepInvalid
	}
	given, err := stepEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(given, s.mac(purpose, raw)) {
		return ErrStepInvalid
	}
	var st step
	if err := json.Unmarshal(raw, &st); err != nil {
		return fmt.Errorf("%w: %w", ErrStepInvalid, err)
	}
	if s.now().Unix() >= st.Expires {
		return ErrStepExpired
	}
	if err := json.Unmarshal(st.Payload, payload); err != nil {
		return fmt.Errorf("%w: payload: %w", ErrStepInvalid, err)
	}
	return nil
}

// mac signs with a key of the purpose's own, so that a step made for one is
// worth nothing for another, whatever the two payloads look like.
func (s *Steps) mac(purpose string, body []byte) []byte {
	k := hmac.New(sha256.New, s.key)
	k.Write([]byte("oriel step v1\x00" + purpose))
	m := hmac.New(sha256.New, k.Sum(nil))
	m.Write(body)
	return m.Sum(nil)
}
