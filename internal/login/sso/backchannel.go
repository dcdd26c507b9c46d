package sso

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// maxLogoutTokenBytes is far above any logout token.
	maxLogoutTokenBytes = 16 << 10
	// maxLogoutTokenAge is how old a logout token may be, and how long it may
	// be good for: until then its jti is kept (OpenID Connect Back-Channel
	// Logout 1.0 §2.6 and §4).
	maxLogoutTokenAge = 15 * time.Minute
	maxLogoutTokenTTL = 24 * time.Hour
)

// backchannel takes a provider's word that somebody has signed out there
// (OpenID Connect Back-Channel Logout 1.0 §2.5). Their browser sessions end,
// and with them the connections that they allowed from these sign-ins: the
// next call is refused, and the next sign-in makes a new connection.
func (s *Server) backchannel(w http.ResponseWriter, r *http.Request) error {
	// §2.7: the answer is not kept anywhere.
	w.Header().Set("Cache-Control", "no-store")
	p, err := s.provider(r, OIDC)
	if err != nil {
		return err
	}
	if err := web.ReadForm(r); err != nil {
		return err
	}
	refuse := func(cause error) error {
		return &web.Error{Status: http.StatusBadRequest, Code: "invalid_request", Public: "The logout token cannot be accepted.", Cause: cause}
	}
	if len(r.PostForm["logout_token"]) != 1 {
		return refuse(errors.New("there is not one logout_token"))
	}
	up, err := s.upstream(r.Context(), p)
	if err != nil {
		return unreachable(p, err)
	}
	token, err := s.readLogoutToken(r.Context(), p, up, r.PostForm.Get("logout_token"))
	if err != nil {
		return refuse(err)
	}
	which := SignIns{Provider: p.ID, Subject: token.Subject}
	if token.SessionID != "" {
		which.SessionIDs = []string{token.SessionID}
	}
	ev := audit.Event{At: s.Now(), Actor: s.providerActor(r, p), Kind: audit.ProviderLogout, Target: p.Slug, Detail: "subject " + clip(token.Subject)}
	_, err = s.Registry.store.EndSignIns(r.Context(), which, "the identity provider signed the person out",
		hashOf("logout", string(p.ID), token.TokenID), token.Expiry.Add(clockSkew), ev)
	if errors.Is(err, ErrTokenUsed) {
		return refuse(err)
	}
	if err != nil {
		return fmt.Errorf("end sign-ins of %s: %w", p.Slug, err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// readLogoutToken checks a logout token (§2.6).
func (s *Server) readLogoutToken(ctx context.Context, p *Provider, up *upstream, raw string) (*oidc.LogoutToken, error) {
	if len(raw) > maxLogoutTokenBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxLogoutTokenBytes)
	}
	if err := checkLogoutType(raw); err != nil {
		return nil, err
	}
	// Signature and its algorithm, iss, aud, exp, events, jti, sub or sid, and
	// no nonce.
	t, err := s.verifier(p, up).VerifyLogout(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("logout token: %w", err)
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return nil, fmt.Errorf("logout token: %w", err)
	}
	now := s.Now()
	switch {
	// §2.4: iat is required, and the value of the event is an object.
	case t.IssuedAt.IsZero() || !c.has("iat"):
		return nil, errors.New("logout token: no iat")
	case t.IssuedAt.After(now.Add(clockSkew)):
		return nil, errors.New("logout token: issued in the future")
	case now.Sub(t.IssuedAt) > maxLogoutTokenAge:
		return nil, errors.New("logout token: too old")
	case t.Expiry.Sub(now) > maxLogoutTokenTTL:
		return nil, errors.New("logout token: good for too long")
	case !c.eventIsObject():
		return nil, errors.New("logout token: the event is no JSON object")
	}
	return t, nil
}

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

func (c claims) eventIsObject() bool {
	var events claims
	var event map[string]any
	return unmarshal(c["events"], &events) && unmarshal(events[logoutEvent], &event) && event != nil
}

// checkLogoutType refuses a token that says it is something else (§2.4: typ
// should be logout+jwt; tokens of older providers say JWT or nothing).
func checkLogoutType(raw string) error {
	algs := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		algs[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(raw, algs)
	if err != nil || len(jws.Signatures) != 1 {
		return fmt.Errorf("logout token: %w", errors.Join(err, errors.New("not one signature with a public key")))
	}
	typ, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "logout+jwt":
		return nil
	}
	return fmt.Errorf("logout token: it says that it is %q", clip(typ))
}
