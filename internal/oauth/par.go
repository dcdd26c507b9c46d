package oauth

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// pushedLifetime is how long a client may take to open the browser.
	pushedLifetime = 90 * time.Second
	// maxPushedInflated is the second lock against a request that unfolds:
	// only what we sealed is unfolded at all.
	maxPushedInflated = 64 << 10
)

// errPushed says that a request_uri is not one of ours for this client, or
// has expired.
var errPushed = errors.New("the pushed request is unknown or expired")

// clientParameters authenticate a client. They are no part of its request and
// never travel on.
var clientParameters = []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"}

// pushedRequest is a request that a client pushed (RFC 9126 §2).
type pushedRequest struct {
	// ID names the request on all its pages.
	ID string `json:"i"`
	// Expires is in Unix seconds.
	Expires int64  `json:"e"`
	Query   string `json:"q"`

	values url.Values
}

// sealer keeps pushed requests in their own request_uri, compressed and
// encrypted, so that there is nothing to store and a flood has nothing to
// fill. Each is bound to its client and its expiry.
type sealer struct{ aead cipher.AEAD }

func newSealer(master grant.MasterKey) (sealer, error) {
	block, err := aes.NewCipher(master.Derive("pushed request"))
	if err != nil {
		return sealer{}, fmt.Errorf("prepare pushed requests: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("prepare pushed requests: %w", err)
	}
	return sealer{aead}, nil
}

// bound is what a sealed request is good for.
func bound(client grant.ClientID) []byte {
	return []byte("oriel pushed request v1\x00" + string(client))
}

func (s sealer) seal(client grant.ClientID, p pushedRequest) (string, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode pushed request: %w", err)
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", fmt.Errorf("compress pushed request: %w", err)
	}
	if _, err := z.Write(plain); err != nil {
		return "", fmt.Errorf("compress pushed request: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("compress pushed request: %w", err)
	}
	return spec.PushedRequestPrefix + base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, b.Bytes(), bound(client))), nil
}

// open returns the request that a request_uri holds. Errors wrap errPushed.
func (s sealer) open(client grant.ClientID, uri string, now time.Time) (pushedRequest, error) {
	text, ok := strings.CutPrefix(uri, spec.PushedRequestPrefix)
	// The strict decoder ignores line breaks all the same.
	if !ok || len(uri) > spec.MaxPushedURIBytes || strings.ContainsAny(text, "\r\n") {
		return pushedRequest{}, errPushed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return pushedRequest{}, errPushed
	}
	packed, err := s.aead.Open(nil, nil, sealed, bound(client))
	if err != nil {
		return pushedRequest{}, errPushed
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxPushedInflated))
	if err != nil {
		return pushedRequest{}, fmt.Errorf("%w: %w", errPushed, err)
	}
	var p pushedRequest
	if err := json.Unmarshal(plain, &p); err != nil {
		return pushedRequest{}, fmt.Errorf("%w: %w", errPushed, err)
	}
	if now.Unix() >= p.Expires {
		return pushedRequest{}, errPushed
	}
	if p.values, err = url.ParseQuery(p.Query); err != nil {
		return pushedRequest{}, fmt.Errorf("%w: %w", errPushed, err)
	}
	p.values.Set("client_id", string(client))
	return p, nil
}

// again seals a request that a browser has brought once more: the person may
// take longer over our pages than the client over opening them.
func (s sealer) again(client grant.ClientID, p pushedRequest, now time.Time) (string, error) {
	p.Expires = now.Add(interactionLifetime).Unix()
	return s.seal(client, p)
}

// par is the pushed authorization request endpoint (RFC 9126 §2).
func (s *Server) par(w http.ResponseWriter, r *http.Request) error {
	client, form, err := s.clientRequest(r)
	if err != nil {
		return err
	}
	// RFC 9126 §2.1.
	if form.Has("request_uri") {
		return spec.NewError(spec.InvalidRequest, "request_uri cannot be pushed")
	}
	values := cloneValues(form)
	for _, name := range clientParameters {
		values.Del(name)
	}
	p := pushedRequest{ID: rand.Text(), Expires: s.Now().Add(pushedLifetime).Unix(), Query: values.Encode()}
	values.Set("client_id", string(client.ID))
	start, err := spec.ParseAuthorize(values)
	if err != nil {
		return err
	}
	if _, err := s.checkAuthorize(client, start); err != nil {
		if e, ok := errors.AsType[*spec.Error](err); ok {
			return e.WithStatus(http.StatusBadRequest)
		}
		return spec.Errorf(spec.InvalidRequest, "redirect_uri: %v", err)
	}
	uri, err := s.pushed.seal(client.ID, p)
	if err != nil {
		return err
	}
	if len(uri) > spec.MaxPushedURIBytes {
		return spec.NewError(spec.InvalidRequest, "the request is too large to be pushed; a shorter state helps").
			WithStatus(http.StatusRequestEntityTooLarge)
	}
	return web.WriteJSON(w, http.StatusCreated, struct {
		RequestURI string `json:"request_uri"`
		ExpiresIn  int64  `json:"expires_in"` // seconds
	}{uri, int64(pushedLifetime / time.Second)})
}
