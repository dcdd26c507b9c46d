package oauth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	devicePath        = "/device"
	deviceConsentPath = "/device/consent"
	userCodeParam     = "user_code"
	purposeDevice     = "device consent"
)

// deviceStep ties the form of a device's consent page to who saw it.
type deviceStep struct {
	ID     string       `json:"i"`
	Person org.PersonID `json:"p"`
	Code   string       `json:"c"`
}

func (s *Server) deviceRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + devicePath, Who: web.SignedIn, Handler: s.Site.Page(s.showDevice)},
		{Pattern: "POST " + devicePath, Who: web.SignedIn, Handler: s.Site.Form(s.enterDevice)},
		{Pattern: "POST " + deviceConsentPath, Who: web.SignedIn, Handler: s.Site.Form(s.consentDevice)},
	}
}

// deviceAuthorization begins a device authorization (RFC 8628 §3.1, §3.2).
func (s *Server) deviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	client, form, err := s.clientRequest(r)
	if err != nil {
		return err
	}
	if err := mayUseDevice(client); err != nil {
		return err
	}
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return spec.NewError(spec.InvalidRequest, "a parameter is given more than once")
		}
	}
	resource, err := s.Resources.Parse(form["resource"])
	if err != nil {
		return err
	}
	d, err := s.Authority.BeginDevice(r.Context(), grant.DeviceRequest{
		Client: client.ID, Resource: resource.URL(), Scopes: spec.ParseScopes(form.Get("scope")).OrDefault(),
		Address: web.AddressKey(s.Site.ClientAddress(r)),
	})
	if err != nil {
		return err
	}
	at := s.PublicURL.String() + devicePath
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, spec.DeviceAuthorizationResponse{
		DeviceCode: d.Code.Reveal(), UserCode: d.User.String(),
		VerificationURI: at, VerificationURIComplete: at + "?" + url.Values{userCodeParam: {d.User.String()}}.Encode(),
		ExpiresIn: int64(d.ExpiresIn.Seconds()), Interval: int64(d.Interval.Seconds()),
	})
}

// mayUseDevice refuses confidential clients that registered themselves for
// other grants (RFC 6749 §5.2, unauthorized_client). Public ones often leave
// out what they use.
func mayUseDevice(c grant.Client) error {
	if c.Kind == grant.SelfRegistered && !c.Metadata.IsPublic() && !slices.Contains(c.Metadata.GrantTypes, spec.GrantDeviceCode) {
		return spec.NewError(spec.UnauthorizedClient, "the client is not registered for the device grant")
	}
	return nil
}

// redeemDevice is the token endpoint's part of the device grant.
func (s *Server) redeemDevice(r *http.Request, client grant.Client, req spec.TokenRequest, resource, address, key string) (grant.Tokens, error) {
	if err := mayUseDevice(client); err != nil {
		return grant.Tokens{}, err
	}
	t, err := s.Authority.RedeemDevice(r.Context(), grant.DeviceRedemption{
		Code: grant.DeviceCode(req.DeviceCode), Client: client.ID, Resource: resource, Address: address, Key: key,
	})
	// RFC 8628 §3.5.
	for known, code := range map[error]string{
		grant.ErrDevicePending: spec.AuthorizationPending, grant.ErrDeviceSlowDown: spec.SlowDown,
		grant.ErrDeviceExpired: spec.ExpiredToken, grant.ErrDeviceDenied: spec.AccessDenied, grant.ErrDeviceUnknown: spec.InvalidGrant,
	} {
		if errors.Is(err, known) {
			return grant.Tokens{}, spec.NewError(code, known.Error())
		}
	}
	return t, err
}

// deviceSession returns who is at the browser, or sends them to sign in and
// back here; ok says which.
func (s *Server) deviceSession(w http.ResponseWriter, r *http.Request, code string) (session login.Session, ok bool, err error) {
	session, err = s.Desk.Session(r)
	if errors.Is(err, login.ErrNoSession) {
		http.Redirect(w, r, s.Desk.SignInURL(deviceURL(code), login.SignInOptions{}), http.StatusSeeOther)
		return session, false, nil
	}
	if err != nil {
		return session, false, fmt.Errorf("look up session: %w", err)
	}
	return session, true, nil
}

// deviceURL is the page with a code filled in, or without one.
func deviceURL(code string) string {
	if c, err := spec.ParseUserCode(code); err == nil {
		return devicePath + "?" + url.Values{userCodeParam: {c.String()}}.Encode()
	}
	return devicePath
}

// showDevice asks for the code, or, with verification_uri_complete, whether
// the device shows the same one (RFC 8628 §3.3.1). It looks nothing up.
func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) error {
	code := r.URL.Query().Get(userCodeParam)
	session, ok, err := s.deviceSession(w, r, code)
	if !ok || err != nil {
		return err
	}
	page := s.devicePage(session)
	if c, err := spec.ParseUserCode(code); err == nil {
		page.Code = c.String()
	}
	return s.Site.Render(w, http.StatusOK, page)
}

func (s *Server) devicePage(session login.Session) web.DevicePage {
	return web.DevicePage{
		Action: devicePath, SignOutStep: s.Desk.SignOutStep(devicePath),
		Person: web.Account{Name: session.Person.Name, Email: session.Person.Email},
	}
}

// enterDevice takes a code and shows the consent page of the device that waits
// for it.
func (s *Server) enterDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Public: "The form cannot be read.", Cause: err}
	}
	typed := form.Get(userCodeParam)
	session, ok, err := s.deviceSession(w, r, typed)
	if !ok || err != nil {
		return err
	}
	again := func(status int, problem string) error {
		page := s.devicePage(session)
		page.Error, page.Typed = problem, typed
		return s.Site.Render(w, status, page)
	}
	code, err := spec.ParseUserCode(typed)
	if err != nil {
		// No guess at all, so it is not counted.
		return again(http.StatusBadRequest, "A code has eight letters, like WDJB-MJHT. Type it as your device shows it.")
	}
	done, wait := s.guesses.begin(string(session.Person.ID), web.AddressKey(s.Site.ClientAddress(r)))
	if wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		return again(http.StatusTooManyRequests, fmt.Sprintf("There were too many wrong codes. Wait %d minutes, then start again on your device.", int(wait.Minutes())+1))
	}
	auth, err := s.deviceRequest(r, code)
	if errors.Is(err, grant.ErrUserCodeUnknown) {
		ev := audit.Event{At: s.Now(), Actor: s.personActor(r, session.Person), Kind: audit.DeviceGuessed, Target: string(session.Person.ID)}
		if err := s.Desk.Store.RecordEvent(r.Context(), ev); err != nil {
			return fmt.Errorf("record wrong code: %w", err)
		}
		return again(http.StatusBadRequest, "No device is waiting for this code. It may have expired: start again on your device.")
	}
	if err != nil {
		return err
	}
	done()
	k, err := s.known(r.Context(), auth, session.Person.ID)
	if err != nil {
		return err
	}
	return s.showConsent(w, r, auth, session, k, consentRetry{})
}

// deviceRequest is a device authorization as the consent page wants it.
// Errors: grant.ErrUserCodeUnknown, *web.Error.
func (s *Server) deviceRequest(r *http.Request, code spec.UserCode) (authorization, error) {
	d, err := s.Authority.DeviceByUserCode(r.Context(), code)
	if err != nil {
		return authorization{}, err
	}
	client, err := s.client(r.Context(), string(d.Client))
	if errors.Is(err, grant.ErrClientUnknown) {
		return authorization{}, unknownClient()
	}
	if err != nil {
		return authorization{}, fmt.Errorf("find client: %w", err)
	}
	if client.Blocked {
		return authorization{}, &web.Error{
			Status: http.StatusForbidden, Public: client.Name() + " has been blocked by an administrator of this server.",
			Next: "Ask an administrator if you need it.",
		}
	}
	if !s.Admission.Admits(client) {
		return authorization{}, s.notAdmitted(r, client)
	}
	resource, err := s.Resources.Parse([]string{d.Resource})
	if err != nil {
		return authorization{}, fmt.Errorf("stored resource: %w", err)
	}
	auth := authorization{client: client, query: url.Values{}, device: code}
	auth.AuthorizeRequest.Resource, auth.Scopes = resource, d.Scopes
	return auth, nil
}

// asDevice makes a consent page that of a device: its form comes back here,
// and it shows the code to compare.
func (s *Server) asDevice(page *web.ConsentPage, auth authorization, session login.Session) {
	page.Action = deviceConsentPath
	page.Step = s.Desk.Steps.Sign(purposeDevice, deviceStep{ID: rand.Text(), Person: session.Person.ID, Code: auth.device.String()}, grant.DeviceLifetime)
	page.SignOutStep = s.Desk.SignOutStep(deviceURL(auth.device.String()))
	page.DeviceCode = auth.device.String()
}

// consentDevice takes the person's decision.
func (s *Server) consentDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Public: "The form cannot be read.", Cause: err}
	}
	var step deviceStep
	if err := s.Desk.Steps.Open(purposeDevice, form.Get("step"), &step); err != nil {
		return deviceTooOld(err)
	}
	code, err := spec.ParseUserCode(step.Code)
	if err != nil {
		return deviceTooOld(err)
	}
	session, err := s.Desk.Session(r)
	if errors.Is(err, login.ErrNoSession) || (err == nil && session.Person.ID != step.Person) {
		return &web.Error{
			Status: http.StatusForbidden, Public: "You are no longer signed in as the person who opened this page, so nothing was changed.",
			Next: "Enter the code again.", Links: []web.Link{{Text: "Enter the code", URL: deviceURL(step.Code)}},
		}
	}
	if err != nil {
		return fmt.Errorf("look up session: %w", err)
	}
	auth, err := s.deviceRequest(r, code)
	allow := form.Get("decision") == "allow"
	if errors.Is(err, grant.ErrUserCodeUnknown) && allow {
		// Perhaps the same form a second time: the store knows.
		err = s.Authority.ApproveDevice(r.Context(), code, grant.Consent{Person: session.Person.ID}, s.personActor(r, session.Person))
		if err == nil {
			return s.Site.Render(w, http.StatusOK, web.DeviceDonePage{})
		}
	}
	if errors.Is(err, grant.ErrUserCodeUnknown) {
		return deviceTooOld(err)
	}
	if err != nil {
		return err
	}
	if !allow {
		if err := s.Authority.DenyDevice(r.Context(), code, auth.client, s.personActor(r, session.Person)); err != nil {
			return deviceTooOldOr(err)
		}
		return s.Site.Render(w, http.StatusOK, web.DeviceDonePage{ClientName: auth.client.Name(), Denied: true})
	}
	k, err := s.known(r.Context(), auth, session.Person.ID)
	if err != nil {
		return err
	}
	team, ticked, problem, err := choose(k, auth.Scopes, form)
	if err != nil {
		return err
	}
	if problem != "" {
		return s.showConsent(w, r, auth, session, k, consentRetry{team: team.Team.Slug, problem: problem})
	}
	switch {
	case team.lifetimes.SignInTooOld(session.AuthTime, s.Now()):
		http.Redirect(w, r, s.Desk.SignInURL(deviceURL(step.Code), login.SignInOptions{Reauthenticate: true, LoginHint: session.Person.Email, Need: team.mfa}), http.StatusSeeOther)
		return nil
	case s.tooWeak(team, session):
		http.Redirect(w, r, s.Desk.StepUpURL(deviceURL(step.Code), team.mfa), http.StatusSeeOther)
		return nil
	}
	err = s.Authority.ApproveDevice(r.Context(), code, grant.Consent{
		Person: session.Person.ID, Client: auth.client, Team: team.Team.ID, TeamSlug: team.Team.Slug,
		Resource: auth.Resource.URL(), Scopes: ticked.Union(auth.Scopes.Without(spec.ResourceScopes())), AuthTime: session.AuthTime, AMR: session.AMR, ACR: session.ACR,
	}, s.personActor(r, session.Person))
	if err != nil {
		return deviceTooOldOr(err)
	}
	return s.Site.Render(w, http.StatusOK, web.DeviceDonePage{ClientName: auth.client.Name()})
}

func deviceTooOldOr(err error) error {
	if errors.Is(err, grant.ErrUserCodeUnknown) {
		return deviceTooOld(err)
	}
	return err
}

func deviceTooOld(cause error) error {
	return &web.Error{
		Status: http.StatusBadRequest, Public: "This page is too old, so nothing was changed.", Next: "Start again on your device.", Cause: cause,
	}
}

// Limits of guessing user codes (RFC 8628 §5.1): with 2,000 codes pending at
// the most of 2^34, a person has about one chance in a million an hour.
const (
	personGuesses  = 5
	addressGuesses = 20 // an office behind one address
	guessWindow    = 10 * time.Minute
	maxGuessers    = 10_000 // each about 100 bytes
)

// guesses counts wrong user codes in memory. It is safe for concurrent use.
type guesses struct {
	now func() time.Time

	mu    sync.Mutex // guards wrong
	wrong map[string]guesser
}

type guesser struct {
	count int
	since time.Time
}

// begin counts a guess, or says how long to wait; done takes it back.
func (g *guesses) begin(person, address string) (done func(), wait time.Duration) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong == nil {
		g.wrong = make(map[string]guesser)
	}
	keys := map[string]int{"person " + person: personGuesses, "address " + address: addressGuesses}
	for k, limit := range keys {
		if e, ok := g.wrong[k]; ok && e.count >= limit {
			wait = max(wait, e.since.Add(guessWindow).Sub(now))
		}
	}
	if wait > 0 {
		return nil, wait
	}
	g.makeRoomLocked(now)
	for k := range keys {
		e := g.wrong[k]
		if e.count == 0 || now.Sub(e.since) >= guessWindow {
			e = guesser{}
		}
		// The window begins with the last guess, so that it is waited for in
		// full.
		g.wrong[k] = guesser{e.count + 1, now}
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for k := range keys {
			if e := g.wrong[k]; e.count > 0 {
				g.wrong[k] = guesser{e.count - 1, e.since}
			}
		}
	}, 0
}

// makeRoomLocked drops what is over, and where that is not enough anybody.
func (g *guesses) makeRoomLocked(now time.Time) {
	if len(g.wrong) < maxGuessers {
		return
	}
	for k, e := range g.wrong {
		if now.Sub(e.since) >= guessWindow {
			delete(g.wrong, k)
		}
	}
	for k := range g.wrong {
		if len(g.wrong) < maxGuessers {
			return
		}
		delete(g.wrong, k)
	}
}
