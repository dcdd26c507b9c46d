package sso

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// fetchTimeout bounds each request to a provider: a person is waiting.
	fetchTimeout = 10 * time.Second
	// maxAnswerBytes bounds each answer of a provider; key sets with
	// certificate chains are the longest.
	maxAnswerBytes = 1 << 20
	// discoveryFresh is for how long a provider's metadata is used.
	discoveryFresh = time.Hour
	// discoveryApart is how long a provider is left alone that did not answer.
	discoveryApart = 5 * time.Second
	// clockSkew is how far a provider's clock may be off.
	clockSkew = time.Minute
	// maxGroups bounds the groups that somebody comes with, maxClaimBytes
	// the length of a claim that is kept.
	maxGroups     = 2000
	maxClaimBytes = 512
)

// algorithms are those that a provider may sign with: public keys only. With
// a shared secret the client secret would be enough to be anybody, and "none"
// needs nothing at all.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// upstream is an OpenID Connect provider as it describes itself.
type upstream struct {
	provider *oidc.Provider
	client   *http.Client
	// keys are its signing keys.
	keys       *keySet
	issuer     string
	endSession string
	// style is how it wants us to prove who we are.
	style oauth2.AuthStyle
	// sendsIssuer says that the answer always carries iss (RFC 9207 §3).
	sendsIssuer bool
	fetched     time.Time
	// settings is what it was made from.
	settings string
}

// httpClient returns the way out to a provider.
func (s *Server) httpClient(p *Provider, addresses ...string) *http.Client {
	var ports []uint16
	for _, a := range addresses {
		if u, err := url.Parse(a); err == nil {
			if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
				ports = append(ports, uint16(n))
			}
		}
	}
	return s.Network.Client(clientdoc.ClientOptions{
		Ports: ports, Private: p.Settings.AllowPrivate, Timeout: fetchTimeout, MaxBytes: maxAnswerBytes,
	})
}

// upstream returns what a provider says about itself, asking it where that is
// not known or old. Where it does not answer, the last good answer goes on
// being used, and it is left alone for a moment: anybody can begin a sign-in.
func (s *Server) upstream(ctx context.Context, p *Provider) (*upstream, error) {
	settings := fmt.Sprintf("%s %t", p.Settings.Issuer, p.Settings.AllowPrivate)
	s.mu.Lock()
	known, failed := s.upstreams[p.ID], s.failures[p.ID]
	s.mu.Unlock()
	if known != nil && known.settings != settings {
		known = nil
	}
	now := s.Now()
	if known != nil && now.Before(known.fetched.Add(discoveryFresh)) {
		return known, nil
	}
	if failed.settings == settings && now.Before(failed.at.Add(discoveryApart)) {
		if known != nil {
			return known, nil
		}
		return nil, failed.err
	}
	// One fetch serves all who wait, and does not end with the first of them.
	v, err, _ := s.discovering.Do(string(p.ID)+" "+settings, func() (any, error) {
		return s.discover(context.WithoutCancel(ctx), p, settings, known)
	})
	up, _ := v.(*upstream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failures[p.ID] = failure{now, settings, err}
		if known != nil {
			s.Logger.WarnContext(ctx, "identity provider does not answer; what it said before is used", "provider", p.Slug, "err", err)
			return known, nil
		}
		return nil, err
	}
	s.upstreams[p.ID] = up
	return up, nil
}

// failure is a provider that did not answer.
type failure struct {
	at       time.Time
	settings string
	err      error
}

// discover asks a provider about itself (OpenID Connect Discovery 1.0 §4).
func (s *Server) discover(ctx context.Context, p *Provider, settings string, known *upstream) (*upstream, error) {
	client := s.httpClient(p, p.Settings.Issuer)
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, client), p.Settings.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover %s: %w", p.Settings.Issuer, err)
	}
	var more struct {
		JWKS        string   `json:"jwks_uri"`
		EndSession  string   `json:"end_session_endpoint"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", p.Settings.Issuer, err)
	}
	endpoint := found.Endpoint()
	for what, u := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": more.JWKS} {
		if err := checkEndpoint(what, u, p.Settings.AllowPrivate); err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", p.Settings.Issuer, err)
		}
	}
	if checkEndpoint("end_session_endpoint", more.EndSession, p.Settings.AllowPrivate) != nil {
		more.EndSession = ""
	}
	// Found out beforehand: the library would try the code a second time.
	style := oauth2.AuthStyleInHeader
	if len(more.AuthMethods) > 0 && !slices.Contains(more.AuthMethods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	// Its endpoints may be on other ports than the issuer; the administrator
	// named the issuer, and the issuer names them.
	client = s.httpClient(p, p.Settings.Issuer, endpoint.TokenURL, more.JWKS, found.UserInfoEndpoint())
	up := &upstream{
		provider: found, client: client, issuer: p.Settings.Issuer, endSession: more.EndSession, style: style, sendsIssuer: more.SendsIssuer,
		fetched: s.Now(), settings: settings, keys: newKeySet(client, more.JWKS, s.Now),
	}
	if known != nil && known.keys.url == up.keys.url {
		up.keys = known.keys
	}
	return up, nil
}

// checkEndpoint takes what checkProviderURL takes, with a query.
func checkEndpoint(what, s string, private bool) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	u.RawQuery = ""
	return checkProviderURL(what, u.String(), private)
}

func (s *Server) oauthConfig(p *Provider, up *upstream) (*oauth2.Config, error) {
	secret, err := s.Registry.secret(p)
	if err != nil {
		return nil, err
	}
	scopes := p.Settings.Scopes
	if scopes == nil {
		scopes = []string{"profile", "email"}
	}
	endpoint := up.provider.Endpoint()
	if endpoint.AuthStyle = up.style; len(secret) == 0 {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.Settings.ClientID, ClientSecret: string(secret), Endpoint: endpoint,
		RedirectURL: s.RedirectURI(p.Slug), Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
	}, nil
}

// startOIDC sends the browser to a provider (OpenID Connect Core §3.1.2.1,
// with PKCE S256, RFC 7636).
func (s *Server) startOIDC(w http.ResponseWriter, r *http.Request, p *Provider, f flow, hint string) error {
	up, err := s.upstream(r.Context(), p)
	if err != nil {
		return unreachable(p, err)
	}
	c, err := s.oauthConfig(p, up)
	if err != nil {
		return err
	}
	s.begin(w, r, &f)
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.derive("nonce", f.ID)), oauth2.S256ChallengeOption(s.derive("verifier", f.ID))}
	if f.Reauthenticate {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	if hint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", hint))
	}
	if len(p.Settings.ACRValues) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(p.Settings.ACRValues, " ")))
	}
	http.Redirect(w, r, c.AuthCodeURL(f.ID, options...), http.StatusSeeOther)
	return nil
}

// callback takes a provider's answer (OpenID Connect Core §3.1.2.5 and on).
func (s *Server) callback(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, OIDC)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	for name, values := range q {
		if len(values) > 1 {
			return s.distrust(r, p, fmt.Errorf("the answer has %q more than once", name))
		}
	}
	f, err := s.resume(r, p, q.Get("state"))
	if err != nil {
		return &web.Error{
			Status: http.StatusBadRequest, Public: "This sign-in was not begun in this browser, or took too long.",
			Next: "Sign in again from the start.", Cause: err, Links: signInLinks(),
		}
	}
	s.forget(w, r, f.ID)
	up, err := s.upstream(r.Context(), p)
	if err != nil {
		return unreachable(p, err)
	}
	// RFC 9207 §2.4: an answer that comes from another provider than was
	// asked is a mix-up attack.
	if iss := q.Get("iss"); (iss != "" || up.sendsIssuer) && iss != up.issuer {
		return s.distrust(r, p, fmt.Errorf("the answer is from issuer %q", iss))
	}
	if code := q.Get("error"); code != "" {
		return s.refuse(r, &RefusedError{
			Reason: fmt.Sprintf("at %s: the provider answered %q", p.Slug, clip(code)),
			Public: p.Name + " did not sign you in.", Next: "Try again, or ask the administrator of " + p.Name + ".",
		})
	}
	token, claims, err := s.redeem(r.Context(), p, up, f, q.Get("code"))
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return unreachable(p, transport)
	}
	if err != nil {
		return s.distrust(r, p, err)
	}
	for _, required := range p.Settings.Require {
		if name, value, _ := strings.Cut(required, "="); !slices.Contains(claims.list(name), value) {
			return s.refuse(r, &RefusedError{
				Reason: fmt.Sprintf("at %s: the claim %s is not as it must be", p.Slug, name),
				Public: "This account of " + p.Name + " does not belong to your organization.", Next: "Sign in there with the account of your organization.",
			})
		}
	}
	if len(p.Rules) > 0 && claims.elsewhere(p.groupClaim()) {
		// To take them for none would take away roles.
		return s.distrust(r, p, errors.New("the groups are too many for the token; have the provider send only those assigned to Oriel"))
	}
	v, err := s.vouched(p, f, claims)
	if err != nil {
		return s.distrust(r, p, err)
	}
	v.Upstream.SealedIDToken = s.Registry.seal([]byte(token), "id token of "+string(p.ID))
	a := Arrival{Provider: p, Subject: claims.text(p.Settings.SubjectClaim, "sub"), Name: claims.text("name"), Groups: claims.groups(p)}
	if a.Subject == "" {
		return s.distrust(r, p, errors.New("the answer does not say who it is about"))
	}
	a.Email = claims.email(p)
	return s.arrive(w, r, f, a, v)
}

// claims are what a provider says about somebody.
type claims map[string]json.RawMessage

// redeem exchanges the code and checks the ID token (OpenID Connect Core
// §3.1.3.7).
func (s *Server) redeem(ctx context.Context, p *Provider, up *upstream, f flow, code string) (string, claims, error) {
	if code == "" {
		return "", nil, errors.New("the answer has no code")
	}
	c, err := s.oauthConfig(p, up)
	if err != nil {
		return "", nil, err
	}
	ctx = oidc.ClientContext(ctx, up.client)
	tokens, err := c.Exchange(ctx, code, oauth2.VerifierOption(s.derive("verifier", f.ID)))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return "", nil, fmt.Errorf("exchange the code: %s %s", refused.ErrorCode, clip(refused.ErrorDescription))
		}
		return "", nil, fmt.Errorf("exchange the code: %w", err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return "", nil, errors.New("the provider sent no id_token")
	}
	id, err := s.verifier(p, up).Verify(ctx, raw)
	if err != nil {
		return "", nil, fmt.Errorf("id_token: %w", err)
	}
	var got claims
	if err := id.Claims(&got); err != nil {
		return "", nil, fmt.Errorf("id_token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(s.derive("nonce", f.ID))) != 1 {
		return "", nil, errors.New("id_token: the nonce is not that of this sign-in")
	}
	// §3.1.3.7 items 4 and 5.
	if azp := got.text("azp"); azp != p.Settings.ClientID && (azp != "" || len(id.Audience) > 1) {
		return "", nil, fmt.Errorf("id_token: it was issued to %q", clip(azp))
	}
	if id.IssuedAt.After(s.Now().Add(clockSkew)) {
		return "", nil, errors.New("id_token: it was issued in the future")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
			return "", nil, fmt.Errorf("id_token: %w", err)
		}
	}
	return raw, got, s.addUserInfo(ctx, p, up, tokens, id.Subject, got)
}

// verifier checks signatures, issuer, audience and expiry.
func (s *Server) verifier(p *Provider, up *upstream) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(up.issuer, up.keys, &oidc.Config{ClientID: p.Settings.ClientID, SupportedSigningAlgs: algorithms, Now: s.Now})
}

// addUserInfo asks for claims that the ID token does not have (OpenID Connect
// Core §5.3). Those that it has stay.
func (s *Server) addUserInfo(ctx context.Context, p *Provider, up *upstream, tokens *oauth2.Token, subject string, c claims) error {
	if up.provider.UserInfoEndpoint() == "" || (c.has(p.emailClaim()) && (len(p.Rules) == 0 || c.has(p.groupClaim()))) {
		return nil
	}
	if err := checkEndpoint("userinfo_endpoint", up.provider.UserInfoEndpoint(), p.Settings.AllowPrivate); err != nil {
		return err
	}
	info, err := up.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return fmt.Errorf("userinfo: %w", err)
	}
	// §5.3.2: an answer about somebody else must not be used.
	if info.Subject != subject {
		return errors.New("userinfo: it is about somebody else")
	}
	var more claims
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("userinfo: %w", err)
	}
	for name, value := range more {
		if !c.has(name) {
			c[name] = value
		}
	}
	return nil
}

// vouched says how somebody signed in at the provider.
func (s *Server) vouched(p *Provider, f flow, c claims) (login.Vouched, error) {
	now := s.Now()
	v := login.Vouched{AuthTime: now, Upstream: login.Upstream{Subject: c.text("sub"), SessionID: c.text("sid")}}
	var at float64
	if raw, ok := c["auth_time"]; ok && json.Unmarshal(raw, &at) != nil {
		return v, errors.New("id_token: auth_time is not a number")
	}
	if at > 0 {
		v.AuthTime = time.Unix(int64(at), 0).UTC()
	}
	when, err := authTime(f, v.AuthTime, at > 0, now)
	if err != nil {
		return v, err
	}
	v.AuthTime = when
	v.ACR, v.AMR = p.class(c.text("acr"), c.list("amr"))
	return v, nil
}

// authTime is the moment of a sign-in. Where the person had to prove
// themselves again, the provider must say that they did, after the request
// (OpenID Connect Core §3.1.2.1, max_age): an old one is no new one.
func authTime(f flow, at time.Time, said bool, now time.Time) (time.Time, error) {
	if f.Reauthenticate {
		switch {
		case !said:
			return at, errors.New("the provider does not say when the person signed in (auth_time), so it is not known whether they did so again")
		case at.Before(f.started().Add(-clockSkew)):
			return at, errors.New("the provider did not have the person sign in again")
		case at.Before(f.started()):
			// Whole seconds and another clock.
			at = f.started()
		}
	}
	if at.After(now.Add(clockSkew)) {
		return at, errors.New("the sign-in is in the future")
	}
	if at.After(now) {
		at = now
	}
	return at, nil
}

// ACR is the class of a sign-in at an identity provider that names none.
const ACR = "urn:oriel:acr:sso"

// ownClasses begin the classes that are ours to give.
const ownClasses = "urn:oriel:"

// class translates what a provider says about how somebody signed in.
func (p *Provider) class(acr string, amr []string) (string, []string) {
	// A provider cannot claim one of our own classes by itself; an
	// administrator can let it, below.
	given := acr
	if strings.HasPrefix(acr, ownClasses) {
		acr = ""
	}
	for _, c := range slices.Concat(p.Settings.Classes, wellKnownClasses()) {
		if c.From != given {
			continue
		}
		if c.ACR != "" {
			acr = c.ACR
		}
		for _, m := range c.AMR {
			if !slices.Contains(amr, m) {
				amr = append(amr, m)
			}
		}
		break
	}
	if acr == "" {
		acr = ACR
	}
	return acr, amr
}

// wellKnownClasses say what classes mean that several providers use.
func wellKnownClasses() []Class {
	return []Class{
		{From: "phr", AMR: []string{"mfa"}},         // OpenID EAP ACR Values: phishing-resistant
		{From: "phrh", AMR: []string{"mfa", "hwk"}}, // and hardware-protected
		{From: "https://refeds.org/profile/mfa", AMR: []string{"mfa"}},
		{From: "http://schemas.microsoft.com/claims/multipleauthn", AMR: []string{"mfa"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", AMR: []string{"pwd"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password", AMR: []string{"pwd"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:Kerberos", AMR: []string{"wia"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken", AMR: []string{"otp"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract", AMR: []string{"mfa"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:X509", AMR: []string{"swk"}},
		{From: "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI", AMR: []string{"sc"}},
	}
}

func (p *Provider) emailClaim() string {
	if p.Settings.EmailClaim != "" {
		return p.Settings.EmailClaim
	}
	return "email"
}

func (p *Provider) groupClaim() string {
	if p.Settings.GroupClaim != "" {
		return p.Settings.GroupClaim
	}
	return DefaultGroupClaim
}

func (c claims) has(name string) bool {
	raw, ok := c[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// elsewhere says whether a claim was left out for its size (OpenID Connect Core
// §5.6.2, as Microsoft Entra ID does with many groups).
func (c claims) elsewhere(name string) bool {
	var names map[string]string
	return !c.has(name) && unmarshal(c["_claim_names"], &names) && names[name] != ""
}

// text returns the first of the claims that is a text, "" for none. Of
// several names only the first that is not "" counts.
func (c claims) text(names ...string) string {
	for _, name := range names {
		if name == "" {
			continue
		}
		var s string
		if json.Unmarshal(c[name], &s) != nil || len(s) > maxClaimBytes {
			return ""
		}
		return s
	}
	return ""
}

// list returns a claim that is a text or a list of texts.
func (c claims) list(name string) []string {
	var many []string
	if json.Unmarshal(c[name], &many) != nil {
		if one := c.text(name); one != "" {
			many = []string{one}
		}
	}
	return bounded(many)
}

// bounded leaves out what is too long to be kept.
func bounded(values []string) []string {
	if len(values) > maxGroups {
		values = values[:maxGroups]
	}
	return slices.DeleteFunc(values, func(s string) bool { return s == "" || len(s) > maxClaimBytes })
}

func (c claims) groups(p *Provider) []string { return c.list(p.groupClaim()) }

// email returns the address that may be relied on, "" for none.
func (c claims) email(p *Provider) string {
	email, err := org.ParseEmail(c.text(p.emailClaim()))
	if err != nil {
		return ""
	}
	if p.Settings.TrustEmail {
		return email
	}
	// OpenID Connect Core §5.1; some providers write it as a text.
	var verified any
	_ = json.Unmarshal(c["email_verified"], &verified)
	if p.emailClaim() != "email" || (verified != true && verified != "true") {
		return ""
	}
	return email
}

func unmarshal(raw json.RawMessage, into any) bool { return json.Unmarshal(raw, into) == nil }
