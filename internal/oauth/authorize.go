package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// purposeReauth marks the way back from a sign-in.
const (
	purposeReauth = "reauthentication"
	reauthParam   = "oriel_reauth"
	// interactionLifetime is how long somebody may take over a page.
	interactionLifetime = time.Hour
)

// reauthStep says since when a person must have signed in: since the moment at
// which prompt=login or max_age demanded it, or ever.
type reauthStep struct {
	Since int64 `json:"s"` // Unix milliseconds; 0 ever
	// Of is the hash of the request: a sign-in for one meets no demand of
	// another.
	Of string `json:"o"`
}

func hashOfRequest(query url.Values) string {
	sum := sha256.Sum256([]byte(query.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorization is a validated authorization request with its client.
type authorization struct {
	spec.AuthorizeRequest
	client grant.Client
	// query is the request as it came, to come back to it.
	query url.Values
	// pushed is the id of a pushed request, "" for one that was not.
	pushed string
	// signedIn says that the browser comes from a sign-in that this request
	// led to.
	signedIn bool
	// device is the user code where a device asks (RFC 8628).
	device spec.UserCode
}

// authorize is the authorization endpoint (RFC 6749 §3.1, OAuth 2.1 §3.1).
// It changes nothing: it finds out what the next step is and shows it, and
// every step comes back here.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		// OpenID Connect Core §3.1.2.1 allows POST. Our cookies do not come
		// along from another site, so the request goes on as a GET.
		form, err := readForm(r)
		if err != nil {
			return &web.Error{Status: http.StatusBadRequest, Public: "The request of the app cannot be read.", Cause: err}
		}
		http.Redirect(w, r, spec.AuthorizePath+"?"+form.Encode(), http.StatusSeeOther)
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, POST")
		return &web.Error{Status: http.StatusMethodNotAllowed, Public: "This page can only be opened or posted to."}
	}
	query := r.URL.Query()
	since, err := s.reauthenticated(query)
	if err != nil {
		return err
	}
	auth, err := s.readAuthorize(r, query)
	if refused, ok := errors.AsType[*redirectError](err); ok {
		refused.auth.signedIn = !since.IsZero()
		return s.refuse(w, r, refused.auth, refused.err)
	}
	if err != nil {
		return err
	}
	auth.signedIn = !since.IsZero()
	return s.next(w, r, auth, since)
}

// reauthenticated takes the mark of a sign-in out of the query and returns
// since when it must have been, zero where there was none.
func (s *Server) reauthenticated(query url.Values) (time.Time, error) {
	token := query.Get(reauthParam)
	if token == "" {
		return time.Time{}, nil
	}
	query.Del(reauthParam)
	var step reauthStep
	if err := s.Desk.Steps.Open(purposeReauth, token, &step); err != nil {
		return time.Time{}, &web.Error{
			Status: http.StatusBadRequest, Public: "This page is too old.", Next: "Go back to the app and connect again.", Cause: err,
		}
	}
	if step.Of != hashOfRequest(query) {
		return time.Time{}, nil
	}
	return time.UnixMilli(step.Since), nil
}

// redirectError is an error that the client may be told at its redirect URI:
// client and redirect URI are beyond doubt (OAuth 2.1 §4.1.2.1).
type redirectError struct {
	auth authorization
	err  *spec.Error
}

func (e *redirectError) Error() string { return e.err.Error() }

// readAuthorize validates a request. Errors: *redirectError, or *web.Error for
// what must be shown rather than redirected.
func (s *Server) readAuthorize(r *http.Request, query url.Values) (authorization, error) {
	start, err := spec.ParseAuthorize(query)
	if err != nil {
		return authorization{}, &web.Error{
			Status: http.StatusBadRequest, Public: "The request of the app is not complete: " + oauthError(err).Description + ".",
			Next: "Go back to the app and connect again.", Cause: err,
		}
	}
	client, err := s.client(r.Context(), start.ClientID)
	if errors.Is(err, grant.ErrClientUnknown) {
		return authorization{}, unknownClient()
	}
	if page := documentPage(err); page != nil {
		return authorization{}, page
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
	var pushed pushedRequest
	if start.IsPushed() {
		// RFC 9126 §4: what else is in the query counts for nothing.
		if pushed, err = s.pushed.open(client.ID, start.RequestURI, s.Now()); err != nil {
			return authorization{}, &web.Error{
				Status: http.StatusBadRequest, Public: "The app's request is too old, or was not made for it (invalid_request_uri).",
				Next: "Go back to the app and connect again.", Cause: err,
			}
		}
		again, err := s.pushed.again(client.ID, pushed, s.Now())
		if err != nil {
			return authorization{}, err
		}
		query = url.Values{"client_id": {string(client.ID)}, "request_uri": {again}}
		if start, err = spec.ParseAuthorize(pushed.values); err != nil {
			return authorization{}, fmt.Errorf("read pushed request: %w", err)
		}
	}
	auth, err := s.checkAuthorize(client, start)
	auth.query, auth.pushed = query, pushed.ID
	if refused, ok := errors.AsType[*spec.Error](err); ok {
		return authorization{}, &redirectError{auth, refused}
	}
	if err != nil {
		return authorization{}, &web.Error{
			Status: http.StatusBadRequest,
			Public: "The app asked for the answer to be sent to an address that it has not registered, so nothing was sent.",
			Next:   "Remove the connection in the app and add it again. If that does not help, tell the app's maker.",
			Cause:  fmt.Errorf("redirect_uri %q of client %s: %w", start.RedirectURI, client.Key(), err),
		}
	}
	return auth, nil
}

// checkAuthorize validates what a client asks for. Errors: *spec.Error for
// what may be told at the redirect URI, which the authorization beside it
// then holds; any other means that there is no such place.
func (s *Server) checkAuthorize(client grant.Client, start spec.AuthorizeStart) (authorization, error) {
	redirect, err := matchRedirect(client.Metadata.RedirectURIs, start.RedirectURI)
	if err != nil {
		return authorization{}, err
	}
	req, err := start.Validate(redirect, s.Resources)
	auth := authorization{AuthorizeRequest: req, client: client}
	if err != nil {
		return auth, oauthError(err)
	}
	auth.Scopes = auth.Scopes.OrDefault()
	return auth, nil
}

// matchRedirect returns where the answer goes. A client with one redirect URI
// need not name it.
func matchRedirect(registered []spec.RedirectURI, requested string) (spec.RedirectURI, error) {
	if requested == "" && len(registered) == 1 {
		return registered[0], nil
	}
	return spec.MatchRedirectURI(registered, requested)
}

// unknownClient says how to get rid of a registration that this server does
// not know: some clients keep theirs for ever.
func unknownClient() error {
	return &web.Error{
		Status: http.StatusUnauthorized,
		Public: "The app presented a registration that this server did not make.",
		Next: "Make the app forget it and connect again. In VS Code: run “Authentication: Remove Dynamic Authentication Providers”. " +
			"In Cursor: remove the server in the MCP settings and add it again. " +
			"In Claude Code: run “/mcp”, choose this server and clear its authentication.",
	}
}

// next decides the next step of an authorization from what is known now. No
// step decides it for itself.
func (s *Server) next(w http.ResponseWriter, r *http.Request, auth authorization, since time.Time) error {
	session, err := s.Desk.Session(r)
	if err != nil && !errors.Is(err, login.ErrNoSession) {
		return fmt.Errorf("look up session: %w", err)
	}
	found := err == nil
	canMeet, err := s.Desk.CanMeet(r.Context(), auth.Claims.ACR)
	if err != nil {
		return err
	}
	now := s.Now()
	// prompt=login and max_age want the person to prove who they are again
	// (OpenID Connect Core §3.1.2.1).
	fresh := auth.Prompt.Login || auth.Prompt.SelectAccount ||
		(found && auth.MaxAge >= 0 && now.Sub(session.AuthTime) > time.Duration(auth.MaxAge)*time.Second)
	unfit := s.unfit(auth, session)
	stale := found && (fresh || unfit != nil)
	if auth.signedIn {
		stale = found && session.AuthTime.Before(since)
	}
	switch {
	case !canMeet:
		return s.refuse(w, r, auth, spec.NewError(spec.UnmetAuthenticationRequirements, "nobody can sign in here as the claims parameter demands"))
	case auth.Prompt.None && (!found || stale):
		return s.refuse(w, r, auth, spec.NewError(spec.LoginRequired, "the person must sign in"))
	case !found || stale:
		step := reauthStep{Of: hashOfRequest(auth.query)}
		if fresh || stale {
			step.Since = now.UnixMilli()
		}
		back := cloneValues(auth.query)
		back.Set(reauthParam, s.Desk.Steps.Sign(purposeReauth, step, interactionLifetime))
		http.Redirect(w, r, s.Desk.SignInURL(spec.AuthorizePath+"?"+back.Encode(),
			login.SignInOptions{Reauthenticate: stale, LoginHint: auth.LoginHint, Need: login.Demand(auth.Claims.ACR)}), http.StatusSeeOther)
		return nil
	case unfit != nil:
		return s.refuse(w, r, auth, unfit)
	}
	known, err := s.known(r.Context(), auth, session.Person.ID)
	if err != nil {
		return err
	}
	team, why := known.remembers(auth)
	if why == nil && s.tooWeak(team, session) && auth.Prompt.None {
		why = spec.NewError(spec.InteractionRequired, "the person must sign in with another factor")
	}
	switch {
	case why == nil && s.tooWeak(team, session):
		return s.stepUp(w, r, auth, session, team, since)
	case why != nil && !auth.Prompt.None && len(known.teams) == 1 && s.tooWeak(known.teams[0], session):
		// There is nothing to choose, so they need not press anything first.
		return s.stepUp(w, r, auth, session, known.teams[0], since)
	case why == nil && auth.Prompt.None:
		return s.answerSilently(w, r, auth, session, team)
	case why == nil:
		return s.showContinue(w, r, auth, session, team)
	case auth.Prompt.None:
		return s.refuse(w, r, auth, why)
	}
	return s.showConsent(w, r, auth, session, known, consentRetry{})
}

// unfit says why somebody's sign-in does not do for a request: it is about
// another person (OpenID Connect Core §3.1.2.2), or must be of another class
// (§5.5.1.1).
func (s *Server) unfit(auth authorization, session login.Session) *spec.Error {
	subject := org.PersonID(auth.Claims.Subject)
	if hint, err := s.Authority.ReadIDTokenHint(auth.IDTokenHint); err == nil && subject == "" {
		// A hint that cannot be read is none: its key may be long gone.
		subject = hint.Person
	}
	switch {
	case subject != "" && session.Person.ID != subject:
		return spec.NewError(spec.LoginRequired, "another person is signed in than the request is about")
	case len(auth.Claims.ACR) > 0 && !slices.Contains(auth.Claims.ACR, session.ACR):
		return spec.NewError(spec.UnmetAuthenticationRequirements, "the person did not sign in as the claims parameter demands")
	}
	return nil
}

func cloneValues(v url.Values) url.Values {
	c := make(url.Values, len(v)+1)
	for k, vs := range v {
		c[k] = slices.Clone(vs)
	}
	return c
}

// askWhom lists who can make somebody a member.
func (s *Server) askWhom(r *http.Request) ([]string, error) {
	people, err := s.Directory.People(r.Context())
	if err != nil {
		return nil, fmt.Errorf("list owners: %w", err)
	}
	var owners []string
	for _, p := range people {
		if p.Owner && p.Active() {
			owners = append(owners, p.Name+" ("+p.Email+")")
		}
	}
	return owners, nil
}

// verifiedHost returns the host that a client is known to belong to.
func verifiedHost(c grant.Client) string {
	if c.Kind != grant.Document {
		return ""
	}
	u, err := url.Parse(string(c.ID))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// until says how long access lasts, in words.
func until(l grant.Lifetimes) string {
	switch {
	case l.Hourly && l.Interactive:
		return "Access ends at every full hour. To go on you sign in again."
	case l.Hourly:
		return "Access ends at every full hour; the app comes back by itself until you disconnect it."
	default:
		return "Access lasts until you disconnect the app."
	}
}
