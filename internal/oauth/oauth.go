// Package oauth is the authorization server's door: one file per endpoint. It
// reads requests by the rules of package spec, asks package login who is at
// the browser, shows the consent page, and lets package grant begin, continue
// and end grants.
//
// Requests move: authorize → sign-in (and back) → consent → code; then the
// client at token, again and again until revoke or the end of the grant. GET
// changes nothing, but where a standard demands it: prompt=none is answered
// at once, and so is the wish of a client to sign out the person it names.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/dpop"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Config is what the authorization server needs.
type Config struct {
	Site      *web.Site
	Desk      *login.Desk
	Directory *org.Directory
	Authority *grant.Authority
	Gate      *access.Gate
	Clients   ClientStore
	// Documents fetches client ID metadata documents.
	Documents *clientdoc.Documents
	// Admission says which clients may connect.
	Admission grant.Admission
	// Proofs checks proofs of possession.
	Proofs *dpop.Checker
	// Resources are the URLs that tokens can be for.
	Resources spec.Resources
	PublicURL spec.PublicURL
	Now       func() time.Time
	// Once notes for all replicas that what hash stands for was used, to be
	// remembered until then, and returns false for one that was used before.
	// nil where there is only this process.
	Once func(ctx context.Context, hash string, until time.Time) (bool, error)
}

// Server is the authorization server. It is safe for concurrent use.
type Server struct {
	Config
	clientKey  []byte
	documents  documents
	limits     limits
	pushed     sealer
	assertions assertions
	// refusals bounds how often refused clients are recorded.
	refusals   *rate.Limiter
	guesses    guesses
	services   services
	identified knownClients
	issuers    issuerKeys
}

// features is what is live, so that metadata advertises only what works.
func features() spec.Features {
	return spec.Features{
		Registration: true, ClientDocuments: true, PrivateKeyJWT: true, ClientSecrets: true, Revocation: true, UserInfo: true,
		FormPost: true, PushedAuthorization: true, Logout: true, Introspection: true, TokenExchange: true, ClientCredentials: true,
		DeviceAuthorization: true, JWTBearer: true, DPoP: true,
	}
}

// New returns the authorization server, or an error that names what Config
// lacks.
func New(c Config) (*Server, error) {
	if c.Site == nil || c.Desk == nil || c.Directory == nil || c.Authority == nil || c.Gate == nil || c.Clients == nil ||
		c.Documents == nil || c.Proofs == nil || c.Now == nil {
		return nil, errors.New("oauth: Config needs Site, Desk, Directory, Authority, Gate, Clients, Documents, Proofs and Now")
	}
	if err := c.Admission.Check(); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	s := &Server{
		Config: c, clientKey: c.Authority.Master.Derive("client id"), limits: newLimits(c.Now),
		guesses: guesses{now: c.Now}, issuers: issuerKeys{now: c.Now, network: c.Documents.Network, timeout: issuerTimeout},
		refusals: rate.NewLimiter(rate.Every(time.Minute/refusalsPerMinute), refusalsPerMinute),
	}
	var err error
	if s.pushed, err = newSealer(c.Authority.Master); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	if s.documents, err = newDocuments(c.PublicURL, c.Admission, c.Desk.Classes()); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	return s, nil
}

// Routes lists the endpoints. Those for clients answer any web page's script
// (CORS) and never look at cookies; those for people do the opposite.
func (s *Server) Routes() []web.Route {
	client := func(pattern string, methods []string, h web.HandlerFunc) web.Route {
		return web.Route{Pattern: pattern, Who: web.Anyone, Handler: s.Site.API(open(methods, h))}
	}
	begin := func(h web.HandlerFunc) web.HandlerFunc { return s.Site.Limited(s.limits.begin, h) }
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	routes := []web.Route{
		{Pattern: spec.AuthorizePath, Who: web.Anyone, Handler: s.Site.Page(begin(s.authorize))},
		{Pattern: "/authorize", Who: web.Anyone, Handler: s.Site.Page(begin(s.authorize))},
		{Pattern: "POST " + consentPath, Who: web.SignedIn, Handler: s.Site.Form(s.consent)},
		{Pattern: spec.LogoutPath, Who: web.Anyone, Handler: s.Site.Page(s.logout)},
		{Pattern: "POST " + confirmPath, Who: web.Anyone, Handler: s.Site.Form(s.confirmLogout)},
		client(spec.PushedAuthorizationPath, post, begin(s.limitFailures(s.par))),
		client("/oauth/token", post, s.limitFailures(s.token)),
		client("/token", post, s.limitFailures(s.token)),
		client("/oauth/register", post, begin(s.register)),
		client("/register", post, begin(s.register)),
		client(spec.RegisterPath+"/{id}", []string{http.MethodGet, http.MethodPut, http.MethodDelete}, begin(s.manage)),
		client("/oauth/revoke", post, s.limitFailures(s.revoke)),
		client(spec.IntrospectPath, post, s.limitFailures(s.introspect)),
		client(spec.DeviceAuthorizationPath, post, begin(s.limitFailures(s.deviceAuthorization))),
		client("/oauth/userinfo", []string{http.MethodGet, http.MethodHead, http.MethodPost}, s.userInfo),
		client("/oauth/jwks", get, s.jwks),
		client("/oauth/", nil, notFound),
		client("/.well-known/", nil, notFound),
	}
	routes = append(routes, s.deviceRoutes()...)
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		h := s.documents.serve(name)
		// Clients look in all these places, by the rules of RFC 8414 §3.1 and
		// OpenID Connect Discovery §4, and by habit with a slash at the end.
		for _, suffix := range []string{"", spec.BareResourcePattern, spec.TeamResourcePattern} {
			routes = append(routes,
				client("/.well-known/"+name+suffix, get, h),
				client("/.well-known/"+name+suffix+"/{$}", get, h))
			if suffix != "" {
				routes = append(routes, client(suffix+"/.well-known/"+name, get, h))
			}
		}
	}
	return routes
}

// maxPreflightAge is how long a browser may remember that an endpoint is open
// to scripts, in seconds.
const maxPreflightAge = "600"

// open lets scripts of any origin call an endpoint for clients, which knows
// no cookies, and holds it to its methods.
func open(methods []string, h web.HandlerFunc) web.HandlerFunc {
	allowed := strings.Join(append(slices.Clone(methods), http.MethodOptions), ", ")
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, DPoP-Nonce")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", allowed)
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, MCP-Protocol-Version, DPoP")
			w.Header().Set("Access-Control-Max-Age", maxPreflightAge)
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		if methods != nil && !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allowed)
			return &web.Error{
				Status: http.StatusMethodNotAllowed, Code: spec.InvalidRequest,
				Public: fmt.Sprintf("%s is not possible here.", r.Method), Next: "Use " + allowed + ".",
			}
		}
		return answer(w, r, h(w, r))
	}
}

// notFound answers paths that do not exist with JSON: clients that probe for
// metadata break on anything else.
func notFound(http.ResponseWriter, *http.Request) error {
	return &web.Error{Status: http.StatusNotFound, Code: "not_found", Public: "There is nothing at this address."}
}
