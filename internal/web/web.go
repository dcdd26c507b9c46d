// Package web owns what every HTTP door shares: handlers that return errors,
// request ids, body limits, the one log line per request, metrics, the
// headers of pages, and the pages themselves with their templates and styles.
//
// It decides nothing: who is at the browser is known by package login, what a
// call may do by package access. It imports no other package of this module.
//
// A door wraps its handlers with [Site.Page], [Site.Form] or [Site.API] and
// answers people with [Site.Render]; whatever error a handler returns becomes
// a page or a JSON object here, and nowhere else.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// HandlerFunc answers a request or returns why it cannot. An error returned
// after the answer has begun is logged and ends the connection.
type HandlerFunc func(http.ResponseWriter, *http.Request) error

// Error is an error that says what whoever asked is told. Errors of any other
// type are our own fault: they become a 500 that shows only the request id, or
// a 503 where Config.Unavailable knows that they pass.
type Error struct {
	// Status is the HTTP status; 0 means 500.
	Status int
	// Code is the error code of JSON answers; "" takes the one usual for the
	// status.
	Code string
	// Public says what happened, in one sentence. It is shown.
	Public string
	// Next says what to do about it, in one sentence. It is shown.
	Next string
	// Links are shown on a problem page after Next.
	Links []Link
	// Cause is for the log only.
	Cause error
	// RetryAfter is sent in whole seconds, rounded up; 0 sends nothing.
	RetryAfter time.Duration
}

// Error says what happened and why, for the log.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Public, e.Cause)
	}
	return e.Public
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// defaultBodyLimit is enough for every form and JSON document of ours: the
// longest hold a signed step of a few kilobytes.
const defaultBodyLimit = 64 << 10

// Config is what a Site needs.
type Config struct {
	Pages  *Pages
	Logger *slog.Logger
	Now    func() time.Time
	// PublicURL is the origin under which people reach this server, without a
	// trailing slash.
	PublicURL string
	// BodyLimit bounds request bodies, in bytes; 0 means 64 KiB.
	BodyLimit int64
	// TrustedProxies may name the client's address in X-Forwarded-For. From
	// anybody else that header is worth nothing.
	TrustedProxies []netip.Prefix
	// Unavailable says of an error that is no *Error whether it will pass by
	// itself, such as a database that is away: whoever asked is told to come
	// again. nil is for none.
	Unavailable func(error) bool
}

// Site wraps handlers and renders pages. It is safe for concurrent use once
// Instrument has been called, if it is called at all.
type Site struct {
	Config
	public     *url.URL
	crossSite  *http.CrossOriginProtection
	instrument *instruments
}

// New returns a Site, or an error that names what Config lacks.
func New(c Config) (*Site, error) {
	if c.Pages == nil || c.Logger == nil || c.Now == nil {
		return nil, errors.New("web: Config needs Pages, Logger, Now and PublicURL")
	}
	public, err := url.Parse(c.PublicURL)
	if err != nil || public.Host == "" || (public.Scheme != "https" && public.Scheme != "http") || public.Path != "" {
		return nil, fmt.Errorf("web: %q is not a public URL (an origin like https://oriel.example.com)", c.PublicURL)
	}
	if c.BodyLimit == 0 {
		c.BodyLimit = defaultBodyLimit
	}
	cross := http.NewCrossOriginProtection()
	// A proxy may hand on another Host than the browser used.
	if err := cross.AddTrustedOrigin(c.PublicURL); err != nil {
		return nil, fmt.Errorf("web: public URL: %w", err)
	}
	return &Site{Config: c, public: public, crossSite: cross}, nil
}

// Secure says whether people reach this server over https.
func (s *Site) Secure() bool { return s.public.Scheme == "https" }

// WithBodyLimit returns a site that differs in its body limit, in bytes.
func (s *Site) WithBodyLimit(n int64) *Site {
	c := *s
	c.BodyLimit = n
	return &c
}

// Render writes a page with its headers. Nothing is written if it fails.
func (s *Site) Render(w http.ResponseWriter, status int, page Page) error {
	s.pageHeaders(w.Header(), page)
	return s.Pages.Render(w, status, page)
}

// Audience says who may use a route.
type Audience int

// The audiences. The zero value is nobody, so that a route which says nothing
// is noticed.
const (
	Nobody    Audience = iota
	Anyone             // no sign-in needed
	SignedIn           // any person with a session
	Owner              // owners of the organization
	Member             // members of the team that the path names, and owners
	TeamAdmin          // those who administer that team, and owners
)

// Route is one entry of a door's route table. Pattern is as http.ServeMux
// takes it, with a method.
type Route struct {
	Pattern string
	Handler http.Handler
	Who     Audience
}

// Mount adds routes to a mux.
func Mount(mux *http.ServeMux, routes []Route) {
	for _, r := range routes {
		mux.Handle(r.Pattern, r.Handler)
	}
}

type requestIDKey struct{}

// RequestID returns the id of the request that ctx belongs to, "" for none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
