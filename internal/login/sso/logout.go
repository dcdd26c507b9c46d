package sso

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/sso/saml"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	purposeSignOut = "saml sign-out"
	// signOutLifetime is how long somebody may look at the page that offers to
	// sign out of the provider, too.
	signOutLifetime = 10 * time.Minute
)

// signOutStep says whose session at a SAML provider is to end. The session
// here is over by then.
type signOutStep struct {
	Provider ID           `json:"p"`
	Person   org.PersonID `json:"w"`
	Name     saml.NameID  `json:"n"`
	Session  string       `json:"s,omitempty"`
}

// signOutPath is where the person of a sign-in signs out of a SAML provider,
// "" where that has no such place.
func (s *Server) signOutPath(in *SignIn) string {
	sp, err := s.serviceProvider(&in.Provider)
	if err != nil || !sp.CanLogout() {
		return ""
	}
	u := in.Upstream
	step := signOutStep{
		in.Provider.ID, in.Person,
		saml.NameID{Value: u.Subject, Format: u.NameFormat, NameQualifier: u.NameQualifier, SPNameQualifier: u.SPNameQualifier},
		u.SessionID,
	}
	return Path + in.Provider.Slug + "/sign-out?step=" + url.QueryEscape(s.Steps.Sign(purposeSignOut, step, signOutLifetime))
}

// signOutSAML ends what came from a session at a SAML provider, and sends the
// browser there to end that (SAML Profiles 2.0 §4.4.3.1). Nothing waits for
// the provider's answer.
func (s *Server) signOutSAML(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, SAML)
	if err != nil {
		return err
	}
	var step signOutStep
	if err := s.Steps.Open(purposeSignOut, r.URL.Query().Get("step"), &step); err != nil || step.Provider != p.ID {
		return &web.Error{
			Status: http.StatusBadRequest, Public: "This page has expired.",
			Next: "You are signed out here. Sign out at " + p.Name + " itself, or sign in and out again.", Cause: err, Links: signInLinks(),
		}
	}
	sp, err := s.serviceProvider(p)
	if err != nil {
		return err
	}
	relay := rand.Text()
	request, err := sp.LogoutRequest(s.logoutID(p, relay), relay, step.Name, step.Session)
	if err != nil {
		return err
	}
	which := SignIns{Provider: p.ID, Subject: step.Name.Value}
	if step.Session != "" {
		which.SessionIDs = []string{step.Session}
	}
	ev := audit.Event{
		At: s.Now(), Actor: audit.Person(string(step.Person), s.Site.ClientAddress(r).String()),
		Kind: audit.ProviderLogout, Target: p.Slug, Detail: "asked for here, subject " + clip(step.Name.Value),
	}
	if _, err := s.Registry.store.EndSignIns(r.Context(), which, "you signed out at the identity provider, too", "", time.Time{}, ev); err != nil {
		return fmt.Errorf("end sign-ins of %s: %w", p.Slug, err)
	}
	return s.sendSAML(w, r, p, request, relay)
}

// logoutID names the logout request that went out with a RelayState, so that
// its answer is known without anything being kept.
func (s *Server) logoutID(p *Provider, relay string) string {
	return "_" + s.derive("saml logout", string(p.ID)+" "+relay)
}

// slo is the single logout service: it takes a provider's requests, and its
// answers to ours.
func (s *Server) slo(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	p, err := s.provider(r, SAML)
	if err != nil {
		return err
	}
	var in saml.Incoming
	if r.Method == http.MethodPost {
		if err := web.ReadForm(r); err != nil {
			return err
		}
		in, err = saml.FromForm(r.PostForm)
	} else {
		in, err = saml.FromQuery(r.URL.RawQuery)
	}
	if err != nil {
		return badLogout(p, err)
	}
	sp, err := s.serviceProvider(p)
	if err != nil {
		return err
	}
	if in.Response {
		return s.signedOutThere(w, p, sp, in)
	}
	return s.obeyLogout(w, r, p, sp, in)
}

// badLogout refuses a message of single logout. Whoever sent it may be anybody,
// so that nothing is answered to the provider.
func badLogout(p *Provider, cause error) error {
	return &web.Error{
		Status: http.StatusBadRequest, Public: "The message of " + p.Name + " about signing out could not be accepted.",
		Next:  "To be sure, sign out here and at " + p.Name + " separately. If it happens again, tell an administrator: the reason is in the server's log.",
		Cause: cause, Links: []web.Link{{Text: "Start page", URL: "/"}},
	}
}

// signedOutThere takes the answer to a request of signOutSAML. It changes
// nothing, so that it need not be bound to the browser.
func (s *Server) signedOutThere(w http.ResponseWriter, p *Provider, sp *saml.ServiceProvider, in saml.Incoming) error {
	err := sp.ReadLogoutResponse(in, s.logoutID(p, in.RelayState))
	if err != nil && !errors.Is(err, saml.ErrStatus) {
		return badLogout(p, err)
	}
	return s.Site.Render(w, http.StatusOK, web.SignedOutPage{Provider: p.Name, There: true, Unsure: err != nil})
}

// obeyLogout takes a provider's word that somebody has signed out there (SAML
// Profiles 2.0 §4.4.3.2 and §4.4.3.3). What ends is what ends with an OpenID
// Connect back-channel logout.
//
// A name matches whatever its format and qualifiers: to end too much is safer
// than to go on for somebody who is called the same in other words.
func (s *Server) obeyLogout(w http.ResponseWriter, r *http.Request, p *Provider, sp *saml.ServiceProvider, in saml.Incoming) error {
	asked, err := sp.ReadLogoutRequest(in)
	if err != nil {
		return badLogout(p, err)
	}
	which := SignIns{Provider: p.ID, Subject: asked.Name.Value, SessionIDs: asked.SessionIndexes}
	ev := audit.Event{At: s.Now(), Actor: s.providerActor(r, p), Kind: audit.ProviderLogout, Target: p.Slug, Detail: "subject " + clip(asked.Name.Value)}
	_, err = s.Registry.store.EndSignIns(r.Context(), which, "the identity provider signed the person out",
		hashOf("saml logout", string(p.ID), asked.ID), asked.Expires, ev)
	if errors.Is(err, ErrTokenUsed) {
		return badLogout(p, err)
	}
	if err != nil {
		return fmt.Errorf("end sign-ins of %s: %w", p.Slug, err)
	}
	if !sp.CanLogout() {
		// It asked, and has no place for an answer.
		return s.Site.Render(w, http.StatusOK, web.SignedOutPage{Provider: p.Name, There: true})
	}
	answer, err := sp.LogoutResponse("_"+rand.Text(), in.RelayState, asked.ID)
	if err != nil {
		return err
	}
	return s.sendSAML(w, r, p, answer, in.RelayState)
}
