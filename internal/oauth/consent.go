package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	purposeConsent = "consent"
	consentPath    = "/consent"
)

// consentStep ties a consent form to the page it was shown on.
type consentStep struct {
	// ID is unique to the page, so that a form sent twice is one consent.
	ID string `json:"i"`
	// Person is who saw the page. Their browser session may be another by
	// now: signing in again in a second tab must not spoil the first.
	Person org.PersonID `json:"p"`
	// Query is the authorization request, read again when the form comes.
	Query  string `json:"q"`
	Scopes string `json:"o"`
	// Remembered is the team of a consent that need not be asked for, "" for
	// a page that asks.
	Remembered string `json:"r,omitempty"`
}

// signConsent returns the step of a page. remembered is "" for one that asks.
func (s *Server) signConsent(auth authorization, session login.Session, id, remembered string) string {
	return s.Desk.Steps.Sign(purposeConsent, consentStep{
		ID: id, Person: session.Person.ID, Query: auth.query.Encode(), Scopes: auth.Scopes.String(), Remembered: remembered,
	}, interactionLifetime)
}

// consentRetry is what a person pressed on a page that is shown again.
type consentRetry struct {
	// id is that of the page before, "" for none.
	id      string
	team    string
	ticked  spec.Scopes
	problem string
}

// showConsent asks the person.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, k known, retry consentRetry) error {
	status, id := http.StatusOK, auth.pageID()
	if retry.problem != "" {
		status, id = http.StatusUnprocessableEntity, retry.id
	}
	builtIn, err := s.isBuiltIn(r.Context(), auth.client)
	if err != nil {
		return err
	}
	page := web.ConsentPage{
		Action: consentPath,
		Step:   s.signConsent(auth, session, id, ""),
		Client: web.ConsentClient{
			Name: auth.client.Name(), Host: verifiedHost(auth.client), BuiltIn: builtIn, Registered: auth.client.Kind == grant.Registered,
			Destination: auth.Redirect.Destination(),
		},
		Person:      web.Account{Name: session.Person.Name, Email: session.Person.Email},
		SignOutStep: s.Desk.SignOutStep(spec.AuthorizePath + "?" + auth.query.Encode()),
		Fixed:       auth.Resource.TeamSlug() != "",
		Error:       retry.problem,
	}
	for _, name := range auth.Scopes.Without(spec.ResourceScopes()).List() {
		if words := web.ScopeInWords(name); words != "" {
			page.OtherScopes = append(page.OtherScopes, words)
		}
	}
	for _, t := range k.teams {
		shown := t.shown(auth.Scopes)
		shown.StepUp, shown.Until = s.stepUpInWords(t, session), until(t.lifetimes)
		shown.Checked = len(k.teams) == 1 || t.Team.Slug == retry.team
		if t.Team.Slug == retry.team {
			for i, can := range shown.Can {
				shown.Can[i].Unticked = !retry.ticked.Has(can.Scope)
			}
		}
		page.Teams = append(page.Teams, shown)
	}
	sameUntil(&page)
	if len(page.Teams) == 0 {
		if page.AskWhom, err = s.askWhom(r); err != nil {
			return err
		}
	}
	if auth.device != (spec.UserCode{}) {
		s.asDevice(&page, auth, session)
	}
	return s.Site.Render(w, status, page)
}

// sameUntil says once how long access lasts where that is the same for all
// teams.
func sameUntil(page *web.ConsentPage) {
	for _, t := range page.Teams {
		if t.Until != page.Teams[0].Until {
			return
		}
	}
	for i := range page.Teams {
		page.Until, page.Teams[i].Until = page.Teams[i].Until, ""
	}
}

// shown says what a client would be able to do in a team: what it asks for or
// has already, and what of that the person's roles withhold.
func (t knownTeam) shown(asked spec.Scopes) web.ConsentTeam {
	offer := t.offer(asked)
	allowed := t.allowed.Intersect(spec.ResourceScopes())
	out := web.ConsentTeam{Slug: t.Team.Slug, Name: t.Team.Name, Roles: t.Roles, Connected: !allowed.IsEmpty()}
	for _, p := range org.Permissions() {
		scope, ok := access.ScopeFor(p)
		if !ok || !asked.Has(scope) && !offer.Has(scope) {
			continue
		}
		can := web.ConsentPermission{Scope: scope, Text: web.ScopeInWords(scope), Allowed: allowed.Has(scope)}
		if !offer.Has(scope) {
			can.Withheld = true
			can.Why = fmt.Sprintf("your role there (%s) does not allow it", strings.Join(t.Roles, ", "))
		}
		out.Can = append(out.Can, can)
	}
	return out
}

// consent takes the person's decision.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Public: "The form cannot be read.", Cause: err}
	}
	var step consentStep
	if err := s.Desk.Steps.Open(purposeConsent, form.Get("step"), &step); err != nil {
		return &web.Error{
			Status: http.StatusBadRequest, Public: "This page is too old, so nothing was changed.",
			Next: "Go back to the app and connect again.", Cause: err,
		}
	}
	session, err := s.Desk.Session(r)
	if errors.Is(err, login.ErrNoSession) || (err == nil && session.Person.ID != step.Person) {
		return &web.Error{
			Status: http.StatusForbidden, Public: "You are no longer signed in as the person who opened this page, so nothing was changed.",
			Next: "Go back to the app and connect again.",
		}
	}
	if err != nil {
		return fmt.Errorf("look up session: %w", err)
	}
	query, err := url.ParseQuery(step.Query)
	if err != nil {
		return fmt.Errorf("read signed request: %w", err)
	}
	auth, err := s.readAuthorize(r, query)
	if refused, ok := errors.AsType[*redirectError](err); ok {
		return s.refuse(w, r, refused.auth, refused.err)
	}
	if err != nil {
		return err
	}
	auth.Scopes = spec.ParseScopes(step.Scopes)
	if form.Get("decision") != "allow" {
		return s.deny(w, r, auth, session)
	}
	// The team and the ticks come from a form: only what is known now counts.
	k, err := s.known(r.Context(), auth, session.Person.ID)
	if err != nil {
		return err
	}
	if step.Remembered != "" {
		return s.allowAgain(w, r, auth, session, k, step)
	}
	return s.allow(w, r, auth, session, k, step, form)
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session) error {
	ev := audit.Event{
		At: s.Now(), Actor: s.personActor(r, session.Person), Kind: audit.GrantDenied,
		Target: string(auth.client.Key()), Detail: auth.client.Name(),
	}
	if err := s.Desk.Store.RecordEvent(r.Context(), ev); err != nil {
		return fmt.Errorf("record denial: %w", err)
	}
	return s.refuse(w, r, auth, spec.NewError(spec.AccessDenied, "the person denied the request"))
}

// choose reads which team and scopes a form names. Both come from a browser:
// only a membership that exists now counts, and only what was offered. problem
// is what to say on the page where nothing is left to allow.
func choose(k known, asked spec.Scopes, form url.Values) (team knownTeam, ticked spec.Scopes, problem string, err error) {
	slug := form.Get("team")
	team, ok := k.team(slug)
	switch {
	case slug == "":
		return team, ticked, "", &web.Error{
			Status: http.StatusBadRequest, Public: "No team was chosen, so nothing was changed.",
			Next: "Go back one page, choose a team and press Allow access.",
		}
	case !ok:
		return team, ticked, "", &web.Error{
			Status: http.StatusForbidden, Public: "You are not a member of that team, so nothing was changed.",
			Next: "Go back to the app and connect again.",
		}
	}
	offer := team.offer(asked)
	ticked = spec.NewScopes(form[web.ConsentField(slug)]...).Intersect(offer)
	switch {
	case offer.IsEmpty():
		problem = fmt.Sprintf("Your role in %s allows nothing of what it asks for, so nothing was changed. Choose another team, or press Deny.", team.Team.Name)
	case ticked.IsEmpty():
		problem = "Nothing is ticked, so nothing was changed. Tick at least one thing that it may do, or press Deny."
	}
	return team, ticked, problem, nil
}

// allow grants what is ticked of what is offered.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, k known, step consentStep, form url.Values) error {
	team, ticked, problem, err := choose(k, auth.Scopes, form)
	if err != nil {
		return err
	}
	if problem != "" {
		return s.showConsent(w, r, auth, session, k, consentRetry{id: step.ID, team: team.Team.Slug, problem: problem})
	}
	if s.tooWeak(team, session) {
		return s.stepUp(w, r, auth, session, team, time.Time{})
	}
	d := decision{id: step.ID, team: team.Team, scopes: ticked.Union(auth.Scopes.Without(spec.ResourceScopes()))}
	if !team.allowed.IsEmpty() && !team.allowed.Contains(ticked) {
		d.how = grant.SteppedUp
	}
	return s.approve(w, r, auth, session, d)
}

// allowAgain answers the page that goes on by itself. If what it rests on has
// ended meanwhile, the person is asked.
func (s *Server) allowAgain(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, k known, step consentStep) error {
	team, why := k.remembers(auth)
	if why != nil || team.Team.Slug != step.Remembered || s.tooWeak(team, session) {
		http.Redirect(w, r, spec.AuthorizePath+"?"+auth.query.Encode(), http.StatusSeeOther)
		return nil
	}
	return s.approve(w, r, auth, session, decision{id: step.ID, team: team.Team, scopes: team.again(auth), how: grant.Remembered})
}

// decision is what was decided.
type decision struct {
	id     string
	team   org.Team
	scopes spec.Scopes
	how    grant.ConsentKind
}

// approve stores the consent and answers with its code.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, d decision) error {
	code, err := s.Authority.Approve(r.Context(), grant.Consent{
		ID: d.id, Person: session.Person.ID, Client: auth.client, Team: d.team.ID, TeamSlug: d.team.Slug,
		Resource: auth.Resource.URL(), Scopes: d.scopes,
		AuthTime: session.AuthTime, AMR: session.AMR, ACR: session.ACR,
		RedirectURI: auth.Redirect.String(), Challenge: auth.Challenge, Nonce: auth.Nonce, Key: auth.DPoPKey, How: d.how,
	}, s.personActor(r, session.Person))
	if errors.Is(err, grant.ErrConsentUsed) {
		return &web.Error{
			Status: http.StatusConflict, Public: "This consent was used before.", Next: "Go back to the app; if it is not connected, connect again.",
		}
	}
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	return s.respond(w, r, auth, spec.AuthorizationResponse{Code: spec.Secret(code)})
}

func (s *Server) personActor(r *http.Request, p org.Person) audit.Actor {
	return audit.Person(string(p.ID), s.Site.ClientAddress(r).String())
}

func (s *Server) clientActor(r *http.Request, c grant.Client) audit.Actor {
	return audit.Client(string(c.Key()), s.Site.ClientAddress(r).String())
}
