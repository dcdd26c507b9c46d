// Package console serves the pages on which people see and change what is
// theirs: the start page, their connections and teams, and, for owners and
// team administrators, who may do what, which integrations are in use, and what
// happened.
//
// It decides nothing by itself: package login says who is at the browser,
// [org.Directory] and [grant.Authority] make the changes. Every route stands in
// [Console.Routes] with the people it is for, and checks that itself.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

// Config is what a Console needs.
type Config struct {
	Site      *web.Site
	Desk      *login.Desk
	Directory *org.Directory
	Authority *grant.Authority
	Audit     AuditLog
	// MCPURL is what assistants connect to: the resource that is bound to no
	// team.
	MCPURL string
	// LogsURL is where logs are sent (OTLP over HTTP); "" hides how to.
	LogsURL string
	// Logs shows previews of roles; nil does without them.
	Logs   telemetry.Logs
	Now    func() time.Time
	Logger *slog.Logger
	// Engines says how those are that telemetry is kept in; nil shows none.
	Engines func() []web.Engine
	// Explore reads telemetry for members; nil shows none.
	Explore *tools.Set
	// Providers are the identity providers; nil has no page about them.
	Providers *sso.Server
}

// Console serves the pages. It is safe for concurrent use.
type Console struct{ Config }

// New returns a Console, or an error that names what Config lacks.
func New(c Config) (*Console, error) {
	if c.Site == nil || c.Desk == nil || c.Directory == nil || c.Authority == nil || c.Audit == nil || c.MCPURL == "" || c.Now == nil || c.Logger == nil {
		return nil, errors.New("console: Config needs Site, Desk, Directory, Authority, Audit, MCPURL, Now and Logger")
	}
	return &Console{c}, nil
}

// Routes returns the console's route table.
func (c *Console) Routes() []web.Route {
	return slices.Concat([]web.Route{
		c.page("GET /{$}", web.SignedIn, c.start),
		c.page("GET /connections", web.SignedIn, c.connections),
		c.form("POST /connections/{id}/disconnect", web.SignedIn, c.disconnect),
		c.form("POST /teams", web.Owner, c.createTeam),
		c.page("GET /audit", web.Owner, c.auditLog),
		c.page("GET /audit/export", web.Owner, c.exportAudit),
		c.page("GET /integrations", web.Owner, c.integrations),
		c.form("POST /integrations/block", web.Owner, c.blockBeforehand),
		c.page("GET /integrations/{id}/revoke", web.Owner, c.confirmRevoke),
		c.form("POST /integrations/{id}/revoke", web.Owner, c.revokeIntegration),
		c.page("GET /integrations/{id}/block", web.Owner, c.confirmBlock),
		c.form("POST /integrations/{id}/block", web.Owner, c.blockIntegration),
		c.form("POST /integrations/{id}/unblock", web.Owner, c.unblockIntegration),
		c.page("GET /clients", web.Owner, c.clients),
		c.form("POST /clients", web.Owner, c.addClient),
		c.page("GET "+clientAddedPath, web.Owner, c.clientAdded),
	}, c.securityRoutes(), c.policyRoutes(), c.providerRoutes(), c.organizationRoutes(), c.peopleRoutes(), c.exploreRoutes())
}

// handler is a handler for somebody who is signed in.
type handler func(http.ResponseWriter, *http.Request, login.Session) error

func (c *Console) page(pattern string, who web.Audience, h handler) web.Route {
	return web.Route{Pattern: pattern, Who: who, Handler: c.Site.Page(c.only(who, h))}
}

func (c *Console) form(pattern string, who web.Audience, h handler) web.Route {
	return web.Route{Pattern: pattern, Who: who, Handler: c.Site.Form(c.only(who, h))}
}

// only lets through the people that a route is for. Whoever is not signed in
// is sent to sign in, and comes back to the page; a form is not sent again.
func (c *Console) only(who web.Audience, h handler) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, err := c.Desk.Session(r)
		if errors.Is(err, login.ErrNoSession) {
			back := "/"
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				back = r.URL.RequestURI()
			}
			http.Redirect(w, r, c.Desk.SignInURL(back, login.SignInOptions{}), http.StatusSeeOther)
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case who == web.SignedIn, who == web.Owner && s.Person.Owner:
			return h(w, r, s)
		default:
			return &web.Error{
				Status: http.StatusForbidden, Public: "Only an owner of the organization may do this.", Next: "Ask an owner to do it for you.",
				Links: []web.Link{{Text: "Start page", URL: "/"}},
			}
		}
	}
}

func account(s login.Session) web.Account {
	return web.Account{Name: s.Person.Name, Email: s.Person.Email, Owner: s.Person.Owner}
}

func (c *Console) actor(s login.Session, r *http.Request) audit.Actor {
	return audit.Person(string(s.Person.ID), c.Site.ClientAddress(r).String())
}

const (
	purposeNotice = "console notice"
	// noticeLifetime is how long a page that was just reached by a redirect
	// still says what was done.
	noticeLifetime = time.Minute
)

// withNotice returns the address of a page that says what was just done. The
// words travel signed, so that nobody can make our pages say theirs.
func (c *Console) withNotice(path, words string) string {
	return path + "?notice=" + c.Desk.Steps.Sign(purposeNotice, words, noticeLifetime)
}

func (c *Console) notice(r *http.Request) string {
	var words string
	if c.Desk.Steps.Open(purposeNotice, r.URL.Query().Get("notice"), &words) != nil {
		return ""
	}
	return words
}

// maxHelpers is how many people a page names as those who can help.
const maxHelpers = 3

// Helpers names the people who can add somebody to a team: the active owners,
// a few at the most.
func Helpers(ctx context.Context, d *org.Directory, except org.PersonID) ([]string, error) {
	people, err := d.People(ctx)
	if err != nil {
		return nil, fmt.Errorf("list owners: %w", err)
	}
	var names []string
	for _, p := range people {
		if p.Owner && p.Active() && p.ID != except && len(names) < maxHelpers {
			names = append(names, fmt.Sprintf("%s (%s)", p.Name, p.Email))
		}
	}
	return names, nil
}
