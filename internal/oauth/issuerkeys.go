package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// Limits of the key sets of trusted issuers.
const (
	// issuerTimeout bounds a fetch from the look-up of the name to the last
	// byte.
	issuerTimeout  = 5 * time.Second
	maxIssuerBytes = 64 << 10
	// issuerKeysAge is for how long keys are used without asking, and
	// issuerKeysRetry how long apart two questions are.
	issuerKeysAge   = 10 * time.Minute
	issuerKeysRetry = 30 * time.Second
	// issuerKeysStale is for how long keys are used while the issuer does not
	// answer: a withdrawn key must not sign for ever because its host is down.
	issuerKeysStale = 24 * time.Hour
	maxIssuerKeys   = 100 // issuers whose keys are remembered; administrators name few
)

// issuerKeys fetches and remembers the keys of trusted issuers. now, network
// and timeout are needed. It is safe for concurrent use.
type issuerKeys struct {
	now     func() time.Time
	network clientdoc.Network
	timeout time.Duration

	flights singleflight.Group

	mu   sync.Mutex // guards sets
	sets map[string]issuerSet
}

// issuerSet is what is known of a key set. The zero value is nothing.
type issuerSet struct {
	keys []jose.JSONWebKey
	// fetched is when they came, tried when they were last asked for, and
	// failed why that gave nothing, nil where it did.
	fetched, tried time.Time
	failed         error
}

// verify checks an assertion with its issuer's keys, which are fetched again
// where they are old or do not fit. Errors wrap a *spec.Error.
func (ik *issuerKeys) verify(ctx context.Context, issuer grant.Issuer, a unverifiedAssertion) (idJAG, error) {
	ik.mu.Lock()
	set := ik.sets[issuer.JWKSURI]
	ik.mu.Unlock()
	now := ik.now()
	c, err := a.verify(set.usable(now))
	if err == nil && now.Sub(set.fetched) < issuerKeysAge {
		return c, nil
	}
	if set.tried.IsZero() || now.Sub(set.tried) >= issuerKeysRetry {
		if set, err = ik.renew(ctx, issuer, set); err != nil {
			return idJAG{}, err
		}
		c, err = a.verify(set.usable(now))
	}
	if err != nil && set.failed != nil {
		// The key may be one that we could not read, so nothing is said about
		// the assertion.
		return idJAG{}, fmt.Errorf("%w: %w", spec.NewError(spec.TemporarilyUnavailable, "the keys of the issuer cannot be read at present"), set.failed)
	}
	return c, err
}

// usable returns the keys that may still be believed.
func (s issuerSet) usable(now time.Time) []jose.JSONWebKey {
	if now.Sub(s.fetched) >= issuerKeysStale {
		return nil
	}
	return s.keys
}

// renew asks for the keys, once for all who want them at the same time. The
// error is that of ctx.
func (ik *issuerKeys) renew(ctx context.Context, issuer grant.Issuer, set issuerSet) (issuerSet, error) {
	// Whoever gives up must not end it for the others; it has its own time-out.
	flight := ik.flights.DoChan(issuer.JWKSURI, func() (any, error) {
		now := ik.now()
		next := issuerSet{keys: set.keys, fetched: set.fetched, tried: now}
		keys, err := ik.fetch(context.WithoutCancel(ctx), issuer)
		if err != nil {
			next.failed = err
		} else {
			next.keys, next.fetched = keys, now
		}
		ik.mu.Lock()
		defer ik.mu.Unlock()
		if ik.sets == nil || len(ik.sets) >= maxIssuerKeys {
			ik.sets = make(map[string]issuerSet)
		}
		ik.sets[issuer.JWKSURI] = next
		return next, nil
	})
	select {
	case <-ctx.Done():
		return set, fmt.Errorf("wait for the keys of the issuer: %w", ctx.Err())
	case r := <-flight:
		return r.Val.(issuerSet), r.Err
	}
}

// fetch reads a key set that an administrator named. The address is theirs,
// but what its name leads to, and what is there, is somebody else's: it is
// fetched as a stranger's document is. No redirect is followed: it would lead
// where nobody named.
func (ik *issuerKeys) fetch(ctx context.Context, issuer grant.Issuer) ([]jose.JSONWebKey, error) {
	if err := issuer.Check(); err != nil {
		return nil, err
	}
	client, err := ik.client(issuer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ik.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer.JWKSURI, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "Oriel (keys of a trusted issuer)")
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read as far as wanted
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for keys: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxIssuerBytes+1))
	if err == nil {
		err = ctx.Err() // what ends because we hang up may look complete
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(body) > maxIssuerBytes {
		return nil, fmt.Errorf("read keys: more than %d bytes", maxIssuerBytes)
	}
	return parseIssuerKeys(body)
}

// client returns the client whose reach is what the administrator named: this
// computer where the URL says so, private addresses where the issuer may have
// them, public ones otherwise.
func (ik *issuerKeys) client(issuer grant.Issuer) (*http.Client, error) {
	u, err := url.Parse(issuer.JWKSURI)
	if err != nil {
		return nil, fmt.Errorf("read the address of the keys: %w", err)
	}
	text := u.Port()
	switch {
	case text != "":
	case u.Scheme == "http":
		text = "80"
	default:
		text = "443"
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("read the port of the keys: %w", err)
	}
	reach := clientdoc.Public
	host, ipErr := netip.ParseAddr(u.Hostname())
	switch {
	case u.Hostname() == "localhost", ipErr == nil && host.IsLoopback():
		reach = clientdoc.Loopback
	case issuer.Private:
		reach = clientdoc.Private
	}
	return ik.network.KeyClient(reach, uint16(port)), nil
}

// parseIssuerKeys leaves out keys that we cannot use.
func parseIssuerKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("decode keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.Valid() && k.IsPublic() {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("decode keys: there is none that can be used")
	}
	return keys, nil
}
