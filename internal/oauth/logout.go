package oauth

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	purposeLogout = "logout"
	logoutParam   = "oriel_logout"
	confirmPath   = spec.LogoutPath + "/confirm"
	// logoutLifetime is how long somebody may take to confirm.
	logoutLifetime = 10 * time.Minute
)

// logoutRequest is a validated request to sign somebody out (OpenID Connect
// RP-Initiated Logout 1.0 §2).
type logoutRequest struct {
	// Person is whom an ID token names, "" without one.
	Person org.PersonID `json:"p,omitempty"`
	// ClientName is who asks, "" where that is not known.
	ClientName string `json:"n,omitempty"`
	// Redirect is where the browser goes afterwards, with state; "" for our
	// own page.
	Redirect string `json:"r,omitempty"`
	// App says that Redirect belongs to an app on this computer.
	App bool `json:"a,omitempty"`
}

// logout is the end session endpoint. It ends the browser session, at once
// where the client's ID token proves that it knows whom it signs out, and
// otherwise when the person confirms. Connections stay: they end on their own
// page.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodPost:
		// Our cookies do not come along from another site, so the request
		// goes on as a GET, without the ID token in the address.
		form, err := readForm(r)
		if err != nil {
			return logoutProblem("The request of the app cannot be read.", err)
		}
		req, err := s.readLogout(r, form)
		if err != nil {
			return err
		}
		step := s.Desk.Steps.Sign(purposeLogout, req, logoutLifetime)
		http.Redirect(w, r, spec.LogoutPath+"?"+url.Values{logoutParam: {step}}.Encode(), http.StatusSeeOther)
		return nil
	case http.MethodGet, http.MethodHead:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return &web.Error{Status: http.StatusMethodNotAllowed, Public: "This page can only be opened or posted to."}
	}
	req, err := s.readLogout(r, r.URL.Query())
	if err != nil {
		return err
	}
	session, err := s.Desk.Session(r)
	switch {
	case errors.Is(err, login.ErrNoSession):
		return s.signedOut(w, r, req)
	case err != nil:
		return fmt.Errorf("look up session: %w", err)
	case req.Person != session.Person.ID:
		return s.Site.Render(w, http.StatusOK, web.LogoutPage{
			Action: confirmPath, Step: s.Desk.Steps.Sign(purposeLogout, req, logoutLifetime), ClientName: req.ClientName,
			Person: web.Account{Name: session.Person.Name, Email: session.Person.Email},
		})
	case lookAhead(r):
		return notAhead()
	}
	if err := s.Desk.SignOut(w, r); err != nil {
		return err
	}
	return s.signedOut(w, r, req)
}

// confirmLogout takes the person's word.
func (s *Server) confirmLogout(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return logoutProblem("The form cannot be read.", err)
	}
	var req logoutRequest
	if err := s.Desk.Steps.Open(purposeLogout, form.Get("step"), &req); err != nil {
		return logoutProblem("This page is too old, so you are still signed in.", err)
	}
	if err := s.Desk.SignOut(w, r); err != nil {
		return err
	}
	return s.signedOut(w, r, req)
}

// signedOut goes where the request wants to, or says that it is done.
func (s *Server) signedOut(w http.ResponseWriter, r *http.Request, req logoutRequest) error {
	switch {
	case req.Redirect == "":
		return s.Site.Render(w, http.StatusOK, web.SignedOutPage{})
	case req.App:
		return s.Site.Render(w, http.StatusOK, web.ReturnPage{
			ClientName: req.ClientName, What: "You are signed out.",
			URL: template.URL(req.Redirect), //nolint:gosec // validated by spec.ParseRedirectURI, and signed since
		})
	}
	http.Redirect(w, r, req.Redirect, http.StatusSeeOther)
	return nil
}

// readLogout validates a request. Whatever is wrong is shown: nothing is
// redirected on the word of a request that does not hold.
func (s *Server) readLogout(r *http.Request, v url.Values) (logoutRequest, error) {
	var req logoutRequest
	if step := v.Get(logoutParam); step != "" {
		if err := s.Desk.Steps.Open(purposeLogout, step, &req); err != nil {
			return req, logoutProblem("This page is too old.", err)
		}
		return req, nil
	}
	for name, values := range v {
		if len(values) > 1 {
			return req, logoutProblem("The request of the app is ambiguous.", fmt.Errorf("%q is given more than once", name))
		}
	}
	id := grant.ClientID(v.Get("client_id"))
	// A hint that cannot be read is none: its key may be long gone.
	if hint, err := s.Authority.ReadIDTokenHint(v.Get("id_token_hint")); err == nil {
		if id != "" && id != hint.Client {
			return req, logoutProblem("The request of the app contradicts itself.", errors.New("client_id is not the audience of id_token_hint"))
		}
		id, req.Person = hint.Client, hint.Person
	}
	target := v.Get("post_logout_redirect_uri")
	if id == "" {
		if target != "" {
			return req, logoutProblem("The app does not say who it is, so there is nowhere to go afterwards.", errors.New("post_logout_redirect_uri without a client"))
		}
		return req, nil
	}
	client, err := s.client(r.Context(), string(id))
	if errors.Is(err, grant.ErrClientUnknown) {
		return req, logoutProblem("The app is not known here.", err)
	}
	if err != nil {
		return req, fmt.Errorf("find client: %w", err)
	}
	req.ClientName = client.Name()
	if target == "" {
		return req, nil
	}
	redirect, err := spec.MatchRedirectURI(client.Metadata.PostLogoutRedirectURIs, target)
	if err != nil {
		return req, logoutProblem("The app wants to go on at an address that it has not registered.", fmt.Errorf("post_logout_redirect_uri: %w", err))
	}
	back := url.Values{}
	if state := v.Get("state"); state != "" {
		back.Set("state", state)
	}
	req.Redirect, req.App = redirect.With(back), redirect.IsPrivateUse()
	return req, nil
}

func logoutProblem(public string, cause error) error {
	return &web.Error{
		Status: http.StatusBadRequest, Public: public, Next: "You can sign out on the start page.", Cause: cause,
		Links: []web.Link{{Text: "Start page", URL: "/"}},
	}
}
