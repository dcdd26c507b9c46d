package clientdoc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeys bounds the keys of one set.
	maxKeys = 32
	// minRSABits is the least that RFC 7518 §3.3 allows.
	minRSABits = 2048
)

// keySet are a client's public keys.
type keySet []jose.JSONWebKey

// Keys returns the keys of a jwks_uri. Where none has the kid, the set is
// fetched once more: the client may have rotated. Errors: *Error; any other
// is our own fault.
func (d *Documents) Keys(ctx context.Context, jwksURI, kid string) ([]jose.JSONWebKey, error) {
	if err := d.checkURL(jwksURI); err != nil {
		return nil, err
	}
	r, err := d.keys.get(ctx, jwksURI, false)
	if err != nil {
		return nil, err
	}
	if r.copy.URL != "" && kid != "" && !r.value.has(kid) {
		if r, err = d.keys.get(ctx, jwksURI, true); err != nil {
			return nil, err
		}
	}
	if r.copy.URL == "" {
		return nil, r.err
	}
	// A withdrawn key must not sign for longer because its host is down.
	if r.err != nil && d.Now().After(r.copy.FetchedAt.Add(maxFresh)) {
		return nil, r.err
	}
	return r.value, nil
}

func (s keySet) has(kid string) bool {
	for _, k := range s {
		if k.KeyID == kid {
			return true
		}
	}
	return false
}

// ParseKeys reads a key set and keeps the keys that can verify signatures:
// public, asymmetric, strong enough and not meant for encryption. Keys that
// we do not understand are left out (RFC 7517 §5).
func ParseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) != nil || !k.Valid() || !k.IsPublic() || k.Use == "enc" {
			continue
		}
		if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSABits {
			continue
		}
		keys = append(keys, k)
	}
	if keys == nil {
		return nil, errors.New("the key set has no usable public key")
	}
	return keys, nil
}

func parseKeySet(url string, body []byte) (keySet, error) {
	if !json.Valid(body) {
		return nil, &Error{URL: url, Reason: ReasonNotJSON, Cause: errors.New("the key set is not JSON")}
	}
	keys, err := ParseKeys(body)
	if err != nil {
		return nil, &Error{URL: url, Reason: ReasonMetadata, Cause: err}
	}
	return keys, nil
}
