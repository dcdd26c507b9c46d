package sso

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Path is where all endpoints of providers are.
const Path = "/login/sso/"

// Config is what a Server needs.
type Config struct {
	Registry *Registry
	Site     *web.Site
	Steps    *login.Steps
	// Key makes PKCE verifiers, nonces and request ids: 32 random bytes, the
	// same on every replica.
	Key []byte
	// PublicURL is the origin under which people reach this server, without a
	// trailing slash.
	PublicURL string
	// Network is the way out to providers; the zero value is the guarded one.
	Network clientdoc.Network
	Now     func() time.Time
	Logger  *slog.Logger
}

// Server has the endpoints that browsers and providers call, and answers the
// sign-in page's questions about providers (login.Providers). It is safe for
// concurrent use once Desk is set.
type Server struct {
	Config
	desk *login.Desk

	// discovering has one fetch of a provider's metadata at a time.
	discovering singleflight.Group

	mu sync.Mutex // guards all below
	// upstreams are the OpenID Connect providers in use, failures those that
	// did not answer.
	upstreams map[ID]*upstream
	failures  map[ID]failure
}

var _ login.Providers = (*Server)(nil)

// New returns a Server, or an error that names what Config lacks. Attach must
// be called before it answers requests.
func New(c Config) (*Server, error) {
	if c.Registry == nil || c.Site == nil || c.Steps == nil || len(c.Key) == 0 || c.PublicURL == "" || c.Now == nil || c.Logger == nil {
		return nil, errors.New("sso: Config needs Registry, Site, Steps, Key, PublicURL, Now and Logger")
	}
	return &Server{Config: c, upstreams: make(map[ID]*upstream), failures: make(map[ID]failure)}, nil
}

// Attach says at which desk people are signed in.
func (s *Server) Attach(d *login.Desk) { s.desk = d }

// Routes returns the server's route table.
func (s *Server) Routes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + Path + "{provider}", Who: web.Anyone, Handler: s.Site.Page(s.start)},
		{Pattern: "GET " + Path + "{provider}/callback", Who: web.Anyone, Handler: s.Site.Page(s.callback)},
		{Pattern: "POST " + Path + "{provider}/backchannel", Who: web.Anyone, Handler: s.Site.API(s.backchannel)},
		{Pattern: "GET " + Path + "{provider}/metadata", Who: web.Anyone, Handler: s.Site.Page(s.metadata)},
		// Another site posts here by right; what it posts is signed, and bound
		// to the browser.
		{Pattern: "POST " + Path + "{provider}/acs", Who: web.Anyone, Handler: s.Site.WithBodyLimit(maxACSBytes).Page(s.acs)},
		{Pattern: "GET " + Path + "{provider}/slo", Who: web.Anyone, Handler: s.Site.Page(s.slo)},
		// So here: whom it is about stands in what is signed.
		{Pattern: "POST " + Path + "{provider}/slo", Who: web.Anyone, Handler: s.Site.WithBodyLimit(maxACSBytes).Page(s.slo)},
		{Pattern: "POST " + Path + "{provider}/sign-out", Who: web.Anyone, Handler: s.Site.Form(s.signOutSAML)},
		{Pattern: "GET " + Path + "{provider}/signed-out", Who: web.Anyone, Handler: s.Site.Page(s.signedOut)},
	}
}

// The addresses of a provider here.

// StartPath is where a sign-in begins.
func StartPath(slug string) string { return Path + slug }

// RedirectURI is where an OpenID Connect provider sends the answer.
func (s *Server) RedirectURI(slug string) string { return s.PublicURL + Path + slug + "/callback" }

// BackchannelURI is where it says that somebody signed out.
func (s *Server) BackchannelURI(slug string) string {
	return s.PublicURL + Path + slug + "/backchannel"
}

// SignedOutURI is where it sends somebody who signed out there.
func (s *Server) SignedOutURI(slug string) string { return s.PublicURL + Path + slug + "/signed-out" }

// EntityID is our name towards a SAML provider, and where our metadata is.
func (s *Server) EntityID(slug string) string { return s.PublicURL + Path + slug + "/metadata" }

// ACSURL is where a SAML provider sends its responses.
func (s *Server) ACSURL(slug string) string { return s.PublicURL + Path + slug + "/acs" }

// SLOURL is where it sends logout requests, and its answers to ours.
func (s *Server) SLOURL(slug string) string { return s.PublicURL + Path + slug + "/slo" }

// Offers implements login.Providers.
func (s *Server) Offers(ctx context.Context) ([]login.Offer, error) {
	all, err := s.Registry.Providers(ctx)
	if err != nil {
		return nil, err
	}
	var out []login.Offer
	for _, p := range all {
		if p.Enabled {
			out = append(out, login.Offer{Name: p.Name, Path: StartPath(p.Slug)})
		}
	}
	return out, nil
}

// Home implements login.Providers.
func (s *Server) Home(ctx context.Context, email string) (login.Offer, bool, error) {
	parsed, err := org.ParseEmail(email)
	if err != nil {
		return login.Offer{}, false, nil
	}
	all, err := s.Registry.Providers(ctx)
	if err != nil {
		return login.Offer{}, false, err
	}
	for _, p := range all {
		if p.Enabled && p.Owns(parsed) {
			return login.Offer{Name: p.Name, Path: StartPath(p.Slug)}, true, nil
		}
	}
	return login.Offer{}, false, nil
}

// PasswordRefused implements login.Providers.
func (s *Server) PasswordRefused(ctx context.Context, email string) (bool, error) {
	return s.Registry.PasswordRefused(ctx, email)
}

// PasswordRefused says whether an address must not sign in with a password.
func (r *Registry) PasswordRefused(ctx context.Context, email string) (bool, error) {
	return r.store.PasswordRefused(ctx, DomainOf(email), email)
}

// provider returns an enabled provider of a request's path.
func (s *Server) provider(r *http.Request, kind Kind) (*Provider, error) {
	p, err := s.Registry.store.Provider(r.Context(), r.PathValue("provider"))
	if errors.Is(err, ErrNotFound) || (err == nil && (!p.Enabled || (kind != "" && p.Kind != kind))) {
		return nil, &web.Error{
			Status: http.StatusNotFound, Public: "There is no such identity provider, or it is switched off.",
			Next: "Sign in another way, or ask an administrator.", Links: signInLinks(),
		}
	}
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func signInLinks() []web.Link { return []web.Link{{Text: "Sign in", URL: "/login"}} }

// start begins a sign-in.
func (s *Server) start(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, "")
	if err != nil {
		return err
	}
	back, err := s.desk.OpenReturn(r.URL.Query().Get("step"))
	if err != nil {
		return err
	}
	_, err = s.desk.Session(r)
	switch {
	case err == nil && !back.Reauthenticate:
		http.Redirect(w, r, back.Path, http.StatusSeeOther)
		return nil
	case err != nil && !errors.Is(err, login.ErrNoSession):
		return err
	}
	hint := r.URL.Query().Get("hint")
	if hint == "" {
		hint = back.LoginHint
	}
	if parsed, err := org.ParseEmail(hint); err != nil || !p.Owns(parsed) {
		hint = ""
	}
	f := flow{Provider: p.ID, Return: back.Path, Reauthenticate: back.Reauthenticate, Started: s.Now().UnixMilli()}
	if p.Kind == SAML {
		return s.startSAML(w, r, p, f)
	}
	return s.startOIDC(w, r, p, f, hint)
}

// arrive lets somebody in whom a provider has vouched for, or says why not.
func (s *Server) arrive(w http.ResponseWriter, r *http.Request, f flow, a Arrival, v login.Vouched) error {
	a.Address, a.At = s.Site.ClientAddress(r).String(), s.Now()
	person, err := s.Registry.store.Arrive(r.Context(), a, a.decide)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return s.refuse(r, refused)
	}
	if err != nil {
		return fmt.Errorf("arrive from %s: %w", a.Provider.Slug, err)
	}
	v.Person = person
	v.Upstream.Provider = string(a.Provider.ID)
	v.Detail = string(a.Provider.Kind) + " " + a.Provider.Slug
	return s.desk.BeginVouched(w, r, v, f.Return)
}

// refuse records and shows why somebody is not let in.
func (s *Server) refuse(r *http.Request, e *RefusedError) error {
	if err := s.desk.RecordRefused(r, e.Person, e.Reason); err != nil {
		return err
	}
	return &web.Error{Status: http.StatusForbidden, Public: e.Public, Next: e.Next, Cause: e, Links: signInLinks()}
}

// distrust records and shows that what a provider sent does not hold. What
// exactly is for the log: a stranger may be trying.
func (s *Server) distrust(r *http.Request, p *Provider, cause error) error {
	if err := s.desk.RecordRefused(r, "", "at "+p.Slug+": "+clip(cause.Error())); err != nil {
		return err
	}
	return &web.Error{
		Status: http.StatusForbidden, Public: "The answer of " + p.Name + " could not be accepted.",
		Next: "Try once more. If it happens again, tell an administrator: the reason is in the audit log.", Cause: cause, Links: signInLinks(),
	}
}

// unreachable says that a provider does not answer.
func unreachable(p *Provider, cause error) error {
	return &web.Error{
		Status: http.StatusBadGateway, Public: p.Name + " could not be reached, or did not answer as it should.",
		Next: "Try again in a minute. If it happens again, tell an administrator.", Cause: cause, Links: signInLinks(),
	}
}

// clip bounds what a stranger can write into our logs, in bytes.
func clip(s string) string {
	const longest = 300
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// derive makes a secret of a flow, which nothing outside can foresee and
// nothing needs to keep.
func (s *Server) derive(purpose, flow string) string {
	m := hmac.New(sha256.New, s.Key)
	m.Write([]byte(purpose + "\x00" + flow))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// signedOut is where a provider sends somebody who signed out there.
func (s *Server) signedOut(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, OIDC)
	if err != nil {
		return err
	}
	return s.Site.Render(w, http.StatusOK, web.SignedOutPage{Provider: p.Name, There: true})
}

// SignOutURL implements login.Providers (OpenID Connect RP-Initiated Logout
// 1.0 §2). A provider that cannot be asked is one without such a place: it
// must not keep anybody signed in here.
func (s *Server) SignOutURL(ctx context.Context, sessionHash string) (provider, target string, err error) {
	in, err := s.Registry.store.SignInOf(ctx, sessionHash)
	if errors.Is(err, ErrNotFound) || (err == nil && !in.Provider.Enabled) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	p, sealed := in.Provider, in.Upstream.SealedIDToken
	if p.Kind == SAML {
		return p.Name, s.signOutPath(&in), nil
	}
	up, err := s.upstream(ctx, &p)
	if err != nil || up.endSession == "" {
		return "", "", nil //nolint:nilerr // see above
	}
	u, err := url.Parse(up.endSession)
	if err != nil {
		return "", "", nil //nolint:nilerr // see above
	}
	q := u.Query()
	q.Set("client_id", p.Settings.ClientID)
	q.Set("post_logout_redirect_uri", s.SignedOutURI(p.Slug))
	if hint, err := s.Registry.open(sealed, "id token of "+string(p.ID)); err == nil && len(hint) > 0 {
		q.Set("id_token_hint", string(hint))
	}
	u.RawQuery = q.Encode()
	return p.Name, u.String(), nil
}

// providerActor is the actor of what a provider makes us do.
func (s *Server) providerActor(r *http.Request, p *Provider) audit.Actor {
	return audit.Actor{Kind: audit.BySystem, ID: p.Slug, Address: s.Site.ClientAddress(r).String()}
}
