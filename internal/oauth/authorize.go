package oauth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// purposeReauth marks the way back from a sign-in that prompt=login or
// max_age demanded.
const (
	purposeReauth = "reauthentication"
	reauthParam   = "oriel_reauth"
	// interactionLifetime is how long somebody may take over a page.
	interactionLifetime = time.Hour
)

// reauthStep says since when a person must have signed in.
type reauthStep struct {
	Since int64 `json:"s"` // Unix milliseconds
}

// authorization is a validated authorization request with its client.
type authorization struct {
	spec.AuthorizeRequest
	client grant.Client
	// query is the request as it came, to come back to it.
	query url.Values
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
		return s.respond(w, r, refused.auth, spec.AuthorizationResponse{Error: refused.err})
	}
	if err != nil {
		return err
	}
	return s.next(w, r, auth, since)
}

// reauthenticated takes the mark of a demanded sign-in out of the query and
// returns when it was demanded.
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
	if err != nil {
		return authorization{}, fmt.Errorf("find client: %w", err)
	}
	if client.Blocked {
		return authorization{}, &web.Error{
			Status: http.StatusForbidden, Public: client.Name() + " has been blocked by an administrator of this server.",
			Next: "Ask an administrator if you need it.",
		}
	}
	redirect, err := matchRedirect(client.Metadata.RedirectURIs, start.RedirectURI)
	if err != nil {
		return authorization{}, &web.Error{
			Status: http.StatusBadRequest,
			Public: "The app asked for the answer to be sent to an address that it has not registered, so nothing was sent.",
			Next:   "Remove the connection in the app and add it again. If that does not help, tell the app's maker.",
			Cause:  fmt.Errorf("redirect_uri %q of client %s: %w", start.RedirectURI, client.Key(), err),
		}
	}
	req, err := start.Validate(redirect, s.Resources)
	auth := authorization{AuthorizeRequest: req, client: client, query: query}
	if err != nil {
		return authorization{}, &redirectError{auth, oauthError(err)}
	}
	if req.ResponseMode != spec.ResponseModeQuery {
		auth.ResponseMode = spec.ResponseModeQuery
		return authorization{}, &redirectError{auth, spec.NewError(spec.InvalidRequest, "response_mode must be query")}
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
	signedIn := err == nil
	// prompt=login and max_age want the person to prove who they are again
	// (OpenID Connect Core §3.1.2.1).
	now := s.Now()
	stale := signedIn && session.AuthTime.Before(since)
	if signedIn && since.IsZero() {
		stale = auth.Prompt.Login || auth.Prompt.SelectAccount ||
			(auth.MaxAge >= 0 && now.Sub(session.AuthTime) > time.Duration(auth.MaxAge)*time.Second)
	}
	switch {
	case auth.Prompt.None && (!signedIn || stale):
		return s.respond(w, r, auth, spec.AuthorizationResponse{Error: spec.NewError(spec.LoginRequired, "nobody is signed in at this browser")})
	case auth.Prompt.None:
		return s.respond(w, r, auth, spec.AuthorizationResponse{Error: spec.NewError(spec.ConsentRequired, "the person must agree")})
	case !signedIn || stale:
		back := auth.query
		if stale {
			back = cloneValues(back)
			back.Set(reauthParam, s.Desk.Steps.Sign(purposeReauth, reauthStep{now.UnixMilli()}, interactionLifetime))
		}
		http.Redirect(w, r, s.Desk.SignInURL(spec.AuthorizePath+"?"+back.Encode(),
			login.SignInOptions{Reauthenticate: stale, LoginHint: auth.LoginHint}), http.StatusSeeOther)
		return nil
	}
	return s.showConsent(w, r, auth, session)
}

func cloneValues(v url.Values) url.Values {
	c := make(url.Values, len(v)+1)
	for k, vs := range v {
		c[k] = slices.Clone(vs)
	}
	return c
}

// showConsent asks the person.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session) error {
	members, err := s.Directory.Memberships(r.Context(), session.Person.ID)
	if err != nil {
		return fmt.Errorf("list teams of %s: %w", session.Person.ID, err)
	}
	fixed := auth.Resource.TeamSlug()
	page := web.ConsentPage{
		Action: "/consent",
		Step: s.Desk.Steps.Sign(purposeConsent, consentStep{
			ID: rand.Text(), Person: session.Person.ID, Query: auth.query.Encode(), Scopes: auth.Scopes.String(),
		}, interactionLifetime),
		Client: web.ConsentClient{Name: auth.client.Name(), Host: verifiedHost(auth.client), Destination: auth.Redirect.Destination()},
		Person: web.Account{Name: session.Person.Name, Email: session.Person.Email},
		Fixed:  fixed != "",
		Until:  s.until(),
	}
	page.SignOutStep = s.Desk.SignOutStep(spec.AuthorizePath + "?" + auth.query.Encode())
	for _, name := range auth.Scopes.Without(spec.ResourceScopes()).List() {
		if words := web.ScopeInWords(name); words != "" && name != spec.ScopeAlertsWrite {
			page.OtherScopes = append(page.OtherScopes, words)
		}
	}
	for _, m := range members {
		if fixed != "" && m.Team.Slug != fixed {
			continue
		}
		team, err := s.consentTeam(r, m, auth.Scopes)
		if err != nil {
			return err
		}
		page.Teams = append(page.Teams, team)
	}
	if len(page.Teams) == 1 {
		page.Teams[0].Checked = true
	}
	if len(page.Teams) == 0 {
		if page.AskWhom, err = s.askWhom(r); err != nil {
			return err
		}
	}
	if auth.device != (spec.UserCode{}) {
		s.asDevice(&page, auth, session)
	}
	return s.Site.Render(w, http.StatusOK, page)
}

// consentTeam says what a client would be able to do in a team: what it asks
// for, and what of that the person's roles withhold.
func (s *Server) consentTeam(r *http.Request, m org.Member, asked spec.Scopes) (web.ConsentTeam, error) {
	standing, err := s.Directory.Standing(r.Context(), m)
	if err != nil {
		return web.ConsentTeam{}, err
	}
	t := web.ConsentTeam{Slug: m.Team.Slug, Name: m.Team.Name, Roles: m.Roles}
	for _, p := range org.Permissions() {
		scope, ok := access.ScopeFor(p)
		if !ok || !asked.Has(scope) {
			continue
		}
		can := web.ConsentPermission{Text: web.ScopeInWords(scope)}
		if !standing.May(p) {
			can.Withheld = true
			can.Why = fmt.Sprintf("your role there (%s) does not allow it", strings.Join(m.Roles, ", "))
		}
		t.Can = append(t.Can, can)
	}
	return t, nil
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
func (s *Server) until() string {
	l := s.Authority.Lifetimes
	switch {
	case l.Hourly && l.Interactive:
		return "Access ends at every full hour. To go on you sign in again."
	case l.Hourly:
		return "Access ends at every full hour; the app comes back by itself until you disconnect it."
	default:
		return "Access lasts until you disconnect the app."
	}
}

// respond sends the browser back to the client (RFC 6749 §4.1.2, RFC 9207
// §2).
func (s *Server) respond(w http.ResponseWriter, r *http.Request, auth authorization, res spec.AuthorizationResponse) error {
	res.State, res.Issuer = auth.State, s.Authority.Issuer
	location := res.Location(auth.Redirect)
	if !auth.Redirect.IsPrivateUse() {
		// OAuth 2.1 §7.5.3: 303, so that no form is posted on.
		http.Redirect(w, r, location, http.StatusSeeOther)
		return nil
	}
	// The operating system hands a private-use scheme to an app and leaves
	// the browser where it is: it needs a page that says so.
	return s.Site.Render(w, http.StatusOK, web.ReturnPage{
		ClientName: auth.client.Name(),
		URL:        template.URL(location), //nolint:gosec // validated by spec.ParseRedirectURI
		Denied:     res.Error != nil,
	})
}
