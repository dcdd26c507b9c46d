package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const purposeConsent = "consent"

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
		return s.respond(w, r, refused.auth, spec.AuthorizationResponse{Error: refused.err})
	}
	if err != nil {
		return err
	}
	auth.Scopes = spec.ParseScopes(step.Scopes)
	if form.Get("decision") != "allow" {
		return s.deny(w, r, auth, session)
	}
	return s.allow(w, r, auth, session, step, form.Get("team"))
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session) error {
	ev := audit.Event{
		At: s.Now(), Actor: s.personActor(r, session.Person), Kind: audit.GrantDenied,
		Target: string(auth.client.Key()), Detail: auth.client.Name(),
	}
	if err := s.Desk.Store.RecordEvent(r.Context(), ev); err != nil {
		return fmt.Errorf("record denial: %w", err)
	}
	return s.respond(w, r, auth, spec.AuthorizationResponse{Error: spec.NewError(spec.AccessDenied, "the person denied the request")})
}

func (s *Server) allow(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, step consentStep, slug string) error {
	team, err := s.chosenTeam(r, session.Person.ID, auth.Resource.TeamSlug(), slug)
	if err != nil {
		return err
	}
	code, err := s.Authority.Approve(r.Context(), grant.Consent{
		ID: step.ID, Person: session.Person.ID, Client: auth.client, Team: team.ID, TeamSlug: team.Slug,
		Resource: auth.AuthorizeRequest.Resource.URL(), Scopes: auth.Scopes,
		AuthTime: session.AuthTime, AMR: session.AMR, ACR: session.ACR,
		RedirectURI: auth.Redirect.String(), Challenge: auth.Challenge, Nonce: auth.Nonce,
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

// chosenTeam returns the team that a form names. It comes from a browser: only
// a membership that exists now counts, and only in the team that the resource
// fixes, if it does.
func (s *Server) chosenTeam(r *http.Request, person org.PersonID, fixed, slug string) (org.Team, error) {
	members, err := s.Directory.Memberships(r.Context(), person)
	if err != nil {
		return org.Team{}, fmt.Errorf("list teams of %s: %w", person, err)
	}
	i := slices.IndexFunc(members, func(m org.Member) bool { return m.Team.Slug == slug })
	switch {
	case i >= 0 && (fixed == "" || slug == fixed):
		return members[i].Team, nil
	case slug == "":
		return org.Team{}, &web.Error{
			Status: http.StatusBadRequest, Public: "No team was chosen, so nothing was changed.",
			Next: "Go back one page, choose a team and press Allow access.",
		}
	default:
		return org.Team{}, &web.Error{
			Status: http.StatusForbidden, Public: "You are not a member of that team, so nothing was changed.",
			Next: "Go back to the app and connect again.",
		}
	}
}

func (s *Server) personActor(r *http.Request, p org.Person) audit.Actor {
	return audit.Person(string(p.ID), s.Site.ClientAddress(r).String())
}

func (s *Server) clientActor(r *http.Request, c grant.Client) audit.Actor {
	return audit.Client(string(c.Key()), s.Site.ClientAddress(r).String())
}
