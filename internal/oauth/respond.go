package oauth

import (
	"html/template"
	"maps"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// refuse tells the client an error at its redirect URI.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, auth authorization, e *spec.Error) error {
	return s.respond(w, r, auth, spec.AuthorizationResponse{Error: e})
}

// respond sends the browser back to the client (RFC 6749 §4.1.2, RFC 9207
// §2).
func (s *Server) respond(w http.ResponseWriter, r *http.Request, auth authorization, res spec.AuthorizationResponse) error {
	res.State, res.Issuer = auth.State, s.Authority.Issuer
	if auth.ResponseMode == spec.ResponseModeFormPost {
		page := web.FormPostPage{
			ClientName: auth.client.Name(), URL: auth.Redirect.String(), Source: auth.Redirect.CSPSource(), Denied: res.Error != nil,
		}
		values := res.Values()
		for _, name := range slices.Sorted(maps.Keys(values)) {
			page.Fields = append(page.Fields, web.FormField{Name: name, Value: values.Get(name)})
		}
		return s.Site.Render(w, http.StatusOK, page)
	}
	location := res.Location(auth.Redirect)
	if !auth.Redirect.IsPrivateUse() && !auth.signedIn {
		// OAuth 2.1 §7.5.3: 303, so that no form is posted on.
		http.Redirect(w, r, location, http.StatusSeeOther)
		return nil
	}
	// The operating system hands a private-use scheme to an app and leaves
	// the browser where it is: it needs a page that says so. And the policy
	// of the sign-in page, which allows its form to lead nowhere but here,
	// would stop a redirect right after it.
	page := web.ReturnPage{
		ClientName: auth.client.Name(),
		URL:        template.URL(location), //nolint:gosec // validated by spec.ParseRedirectURI
		Denied:     res.Error != nil,
	}
	if res.Error != nil && res.Error.Code != spec.AccessDenied {
		page.What = "That did not work out, and nothing was shared. The app says more."
	}
	return s.Site.Render(w, http.StatusOK, page)
}

// lookAhead says whether nobody opens the page: it is asked about, or fetched
// in case somebody might.
func lookAhead(r *http.Request) bool {
	if r.Method == http.MethodHead {
		return true
	}
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if v := r.Header.Get(name); len(v) >= len("prefetch") && v[:len("prefetch")] == "prefetch" {
			return true
		}
	}
	return false
}

// notAhead answers a request that looks ahead where opening the page would
// change something. Browsers keep no failed answer.
func notAhead() error {
	return &web.Error{Status: http.StatusServiceUnavailable, Public: "This page cannot be fetched ahead.", Next: "Open it."}
}
