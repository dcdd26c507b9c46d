// Package login knows who is at the browser. Its [Desk] shows the sign-in
// page, checks passwords, keeps browser sessions on the server, slows down
// guessing, and lets the holder of a one-time link create the first owner.
//
// It never decides what somebody may do, and it knows no OAuth: a door that
// needs a person asks [Desk.Session], and where there is none sends the
// browser to [Desk.SignInURL] with the local path to come back to. That path
// travels as a signed step ([Steps]), never as a free URL.
package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Lifetimes of a browser session.
const (
	// SessionIdle is how long a session lives without being used.
	SessionIdle = 12 * time.Hour
	// SessionAbsolute is how long it lives at the most.
	SessionAbsolute = 7 * 24 * time.Hour
	// touchInterval is how old the last use on record may be: not every
	// request needs a write.
	touchInterval = time.Minute
)

// Errors that a Store and the Desk return.
var (
	ErrNoSession    = errors.New("nobody is signed in")
	ErrNoSetupToken = errors.New("there is no owner link")
)

// SessionState is a browser session as the store keeps it.
type SessionState struct {
	// Hash is the SHA-256 of the session id, in hexadecimal.
	Hash   string
	Person org.PersonID
	// AuthTime is when the person last proved who they are, AMR and ACR how
	// (OpenID Connect Core §2).
	AuthTime  time.Time
	AMR       []string
	ACR       string
	CreatedAt time.Time
	LastUsed  time.Time
	// ExpiresAt is when the session ends even if it is used.
	ExpiresAt time.Time
	// Partial says that another factor is waited for: the session opens
	// nothing but the page that asks for it.
	Partial bool
	// Demanded is what the organization demands of sign-ins now. Stores fill
	// it in; CreateSession does not look at it.
	Demanded org.MFA
	// Continues says that the session goes on from the one that it replaces:
	// it came from the same identity provider, if that came from one. It is
	// written only.
	Continues bool
	// Upstream says which identity provider the sign-in came from, nil for
	// none. It is written only.
	Upstream *Upstream
}

// Store keeps browser sessions and the owner link. Implementations are safe
// for concurrent use.
type Store interface {
	LinkStore
	SessionStore

	// CreateSession stores a session together with its audit event. If
	// replaces is not "", the session of that hash is removed in the same
	// transaction; it need not exist.
	CreateSession(ctx context.Context, s SessionState, replaces string, ev audit.Event) error
	// SessionByHash returns a session and its person as they are now. Errors:
	// ErrNoSession.
	SessionByHash(ctx context.Context, hash string) (SessionState, org.Person, error)
	// TouchSession notes that a session was used. A session that is gone is
	// no error.
	TouchSession(ctx context.Context, hash string, at time.Time) error
	// EndSession removes a session. Errors: ErrNoSession, and then nothing is
	// recorded.
	EndSession(ctx context.Context, hash string, ev audit.Event) error
	// SweepSessions removes sessions last used before idle or expired before
	// now.
	SweepSessions(ctx context.Context, idle, now time.Time) error
	// ChangePassword replaces a person's password hash and removes all of
	// their sessions but the one with the hash keep, and their account link.
	// Errors: org.ErrPersonNotFound.
	ChangePassword(ctx context.Context, person org.PersonID, hash, keep string, ev audit.Event) error
	// RecordEvent stores an audit event that changes nothing else.
	RecordEvent(ctx context.Context, ev audit.Event) error

	// SetSetupToken stores the hash (SHA-256, hexadecimal) of the owner link's
	// token in the place of any before it.
	SetSetupToken(ctx context.Context, hash string, expiresAt time.Time) error
	// SetupToken returns what SetSetupToken stored last. Errors:
	// ErrNoSetupToken.
	SetupToken(ctx context.Context) (hash string, expiresAt time.Time, err error)
	// DropSetupToken removes it; it need not exist.
	DropSetupToken(ctx context.Context) error
}

// People is what the desk asks about people: a part of org.Store, whose words
// about errors hold.
type People interface {
	PersonByEmail(ctx context.Context, email string) (org.Person, error)
	PasswordHash(ctx context.Context, id org.PersonID) (string, error)
	SetPasswordHash(ctx context.Context, id org.PersonID, hash string, ev audit.Event) error
}

// Config is what a Desk needs.
type Config struct {
	Store     Store
	People    People
	Directory *org.Directory
	Factors   *mfa.Factors
	Site      *web.Site
	// Key signs steps: 32 random bytes, the same on every replica.
	Key []byte
	// PublicURL is the origin under which people reach this server, without a
	// trailing slash.
	PublicURL string
	Now       func() time.Time
	Logger    *slog.Logger
	// Providers are the organization's identity providers; nil for none.
	Providers Providers
	// Mail sends letters; nil where none can be sent.
	Mail Mailer
}

// Desk signs people in and out. It is safe for concurrent use.
type Desk struct {
	Config
	// Steps signs what travels through the browser.
	Steps    *Steps
	throttle *throttle
	// second counts failures of those who knew the password.
	second *throttle
	// asked counts those who asked for a new password; letters wait in letters.
	asked   *throttle
	letters chan func(context.Context) error
	// computing holds a place for each argon2id computation under way: each
	// takes 64 MiB.
	computing chan struct{}
	// dummyHash is compared with when there is no other hash, so that an
	// unknown address costs the same time as a known one.
	dummyHash string
}

// New returns a Desk, or an error that names what Config lacks.
func New(c Config) (*Desk, error) {
	if c.Store == nil || c.People == nil || c.Directory == nil || c.Factors == nil || c.Site == nil || c.PublicURL == "" || c.Now == nil || c.Logger == nil {
		return nil, errors.New("login: Config needs Store, People, Directory, Factors, Site, Key, PublicURL, Now and Logger")
	}
	steps, err := NewSteps(c.Key, c.Now)
	if err != nil {
		return nil, err
	}
	dummy, err := org.Password("nobody has this password").Hash()
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return &Desk{
		Config: c, Steps: steps, throttle: newThrottle(c.Now), second: newSecondThrottle(c.Now), dummyHash: dummy,
		asked: newForgotThrottle(c.Now), letters: make(chan func(context.Context) error, maxLetters),
		computing: make(chan struct{}, 2*runtime.NumCPU()),
	}, nil
}

// Routes returns the desk's route table.
func (d *Desk) Routes() []web.Route {
	return append([]web.Route{
		{Pattern: "GET /login", Who: web.Anyone, Handler: d.Site.Page(d.showSignIn)},
		{Pattern: "POST /login", Who: web.Anyone, Handler: d.Site.Form(d.signIn)},
		{Pattern: "GET /login/setup", Who: web.Anyone, Handler: d.Site.Page(d.showSetup)},
		{Pattern: "POST /login/setup", Who: web.Anyone, Handler: d.Site.Form(d.setup)},
		{Pattern: "GET /login/second", Who: web.Anyone, Handler: d.Site.Page(d.showSecond)},
		{Pattern: "POST /login/second", Who: web.Anyone, Handler: d.Site.Form(d.takeSecond)},
		{Pattern: "POST /login/passkey", Who: web.Anyone, Handler: d.Site.Form(d.signInByPasskey)},
		{Pattern: "GET /login/enrol", Who: web.Anyone, Handler: d.Site.Page(d.showEnrol)},
		{Pattern: "POST /login/enrol", Who: web.Anyone, Handler: d.Site.Form(d.enrol)},
		{Pattern: "POST /logout", Who: web.Anyone, Handler: d.Site.Form(d.signOut)},
	}, append(d.accountRoutes(), d.letterRoutes()...)...)
}

// Mount adds the desk's routes to a mux.
func (d *Desk) Mount(mux *http.ServeMux) { web.Mount(mux, d.Routes()) }

// SignInOptions change what the sign-in page does.
type SignInOptions struct {
	// Reauthenticate shows the page to somebody who is signed in, too.
	Reauthenticate bool
	// LoginHint fills in the e-mail address (OpenID Connect Core §3.1.2.1).
	LoginHint string
	// Need is what the sign-in must have had, beyond what the organization
	// demands; "" for nothing.
	Need org.MFA
}

// returnStep is what a step to the sign-in page holds.
type returnStep struct {
	Return         string `json:"r"`
	Reauthenticate bool   `json:"a,omitempty"`
	LoginHint      string `json:"h,omitempty"`
	// Need is what the sign-in must have had, "" for what the organization
	// demands alone.
	Need org.MFA `json:"n,omitempty"`
}

const (
	purposeReturn = "sign-in return"
	// returnLifetime is how long somebody may take to sign in.
	returnLifetime = time.Hour
)

// SignInURL returns the local URL of a sign-in page that goes to returnTo
// afterwards, a local path with its query. Anything else goes to the start
// page.
func (d *Desk) SignInURL(returnTo string, o SignInOptions) string {
	if !isLocalPath(returnTo) {
		returnTo = "/"
	}
	step := d.Steps.Sign(purposeReturn, returnStep{returnTo, o.Reauthenticate, o.LoginHint, o.Need}, returnLifetime)
	return "/login?step=" + url.QueryEscape(step)
}

// SignOutStep returns the value for the hidden field "step" of a form that
// posts to /logout, so that somebody else can sign in and go on at returnTo.
func (d *Desk) SignOutStep(returnTo string) string {
	if !isLocalPath(returnTo) {
		returnTo = "/"
	}
	return d.Steps.Sign(purposeReturn, returnStep{Return: returnTo}, returnLifetime)
}

// isLocalPath says whether a browser takes s as a path on this server: not
// "//host" nor "/\host", which lead elsewhere.
func isLocalPath(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Host == "" && u.Scheme == "" && !strings.HasPrefix(u.Path, "//")
}

func (d *Desk) actor(p org.PersonID, r *http.Request) audit.Actor {
	return audit.Person(string(p), d.Site.ClientAddress(r).String())
}
