package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const peoplePath = "/people"

// peopleRoutes are those of the pages on which owners look after accounts.
func (c *Console) peopleRoutes() []web.Route {
	routes := []web.Route{
		c.page("GET /people", web.Owner, c.people),
		c.form("POST /people", web.Owner, c.invite),
		c.page("GET /people/{person}", web.Owner, c.personPage),
		c.form("POST /people/{person}/link", web.Owner, c.newLink),
		c.form("POST /people/{person}/enable", web.Owner, c.doAccount(enabling)),
		c.form("POST /people/{person}/connections/{id}/disconnect", web.Owner, c.disconnectOf),
	}
	for _, a := range accountActions {
		pattern := " /people/{person}/" + a.path
		routes = append(routes, c.page("GET"+pattern, web.Owner, c.askAccount(a)), c.form("POST"+pattern, web.Owner, c.doAccount(a)))
	}
	return routes
}

// accountAction is something that an owner does to an account.
type accountAction struct {
	// path is the last element of its pages' path.
	path string
	// change is what happens, 0 for signing out everywhere.
	change org.AccountChange
	// title asks and done says what was done, with the name in them; what says
	// what will happen.
	title, what, button, done string
	// sessions and connections say what ends.
	sessions, connections bool
	// proven asks the owner to have signed in just now: whoever finds an open
	// browser must not be able to make its rights last.
	proven bool
}

var (
	enabling = accountAction{path: "enable", change: org.EnableAccount, done: "%s can sign in again. Connections that ended stay ended."}
	// accountActions are those that ask first.
	accountActions = []accountAction{
		{
			path: "sign-out", title: "Sign %s out everywhere?", button: "Sign out everywhere", done: "%s is signed out everywhere.", sessions: true,
			what: "They can sign in again at once. Connections of assistants go on.",
		},
		{
			path: "disable", change: org.DisableAccount, title: "Disable %s?", button: "Disable", done: "%s is disabled.", sessions: true, connections: true,
			what: "They cannot sign in until an owner enables them again. Teams and roles stay as they are; connections have to be made anew.",
		},
		{
			path: "owner", change: org.MakeOwner, proven: true, title: "Make %s an owner?", button: "Make owner", done: "%s is an owner now.",
			what: "Owners administer the whole organization: people, teams, roles, policies and integrations. They see a team's telemetry only as a member of it.",
		},
		{
			path: "not-owner", change: org.UnmakeOwner, title: "Take ownership from %s?", button: "Take ownership away", done: "%s is not an owner any more.",
			what: "They keep their account, their teams and their connections.",
		},
		{
			path: "delete", change: org.DeleteAccount, title: "Delete the account of %s?", button: "Delete account", done: "The account of %s is deleted.", sessions: true, connections: true,
			what: "This cannot be undone. Teams, roles and second factors go with it, and the e-mail address is free for somebody else. What the person did stays in the audit.",
		},
	}
)

func (c *Console) people(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.peoplePage(r.Context(), s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) peoplePage(ctx context.Context, s login.Session) (web.PeoplePage, error) {
	page := web.PeoplePage{Account: account(s), Now: c.Now(), Errors: map[string]string{}}
	people, err := c.Directory.People(ctx)
	if err != nil {
		return page, err
	}
	last, err := c.Desk.Store.LastSignIns(ctx)
	if err != nil {
		return page, err
	}
	invited, err := c.Desk.Store.InvitedPeople(ctx, c.Now())
	if err != nil {
		return page, err
	}
	teams, err := c.Directory.Teams(ctx)
	if err != nil {
		return page, err
	}
	in := make(map[org.PersonID][]string)
	for _, t := range teams {
		page.Teams = append(page.Teams, web.TeamRow{Slug: t.Slug, Name: t.Name})
		members, err := c.Directory.Members(ctx, t.Slug)
		if err != nil {
			return page, err
		}
		for _, m := range members {
			in[m.Person.ID] = append(in[m.Person.ID], t.Name)
		}
	}
	for _, p := range people {
		if p.Service {
			continue // programs are on the page Clients
		}
		row := accountRow(p, s)
		row.Invited, row.Teams, row.LastSignIn = invited[p.ID], in[p.ID], last[p.ID]
		page.People = append(page.People, row)
	}
	return page, nil
}

func accountRow(p org.Person, s login.Session) web.PersonRow {
	return web.PersonRow{ID: string(p.ID), Name: p.Name, Email: p.Email, Owner: p.Owner, Disabled: !p.Active(), You: p.ID == s.Person.ID}
}

// invite adds somebody and shows the link with which they choose a password,
// this once.
func (c *Console) invite(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, f := r.Context(), r.PostForm
	name, typed, team, roles := strings.TrimSpace(f.Get("name")), f.Get("email"), f.Get("team"), strings.TrimSpace(f.Get("roles"))
	problems := make(map[string]string)
	if err := login.CheckName(name); err != nil {
		problems["name"] = sentence(err)
	}
	email, err := org.ParseEmail(typed)
	if err != nil {
		problems["email"] = sentence(err)
	} else if err := c.Desk.Links().Check(ctx, email); errors.Is(err, login.ErrPasswordRefused) {
		problems["email"] = "People of this domain sign in at their identity provider, so a password would not let them in. Let them sign in there."
	} else if err != nil {
		return err
	}
	wanted := slices.DeleteFunc(strings.Split(roles, ","), func(role string) bool { return strings.TrimSpace(role) == "" })
	switch {
	case team == "" && len(wanted) > 0:
		problems["team"] = "Roles are given in a team. Choose one."
	case team != "" && len(wanted) == 0:
		problems["roles"] = "At least one role is needed in a team, like viewer."
	}
	var p org.Person
	if len(problems) == 0 {
		p, err = c.Directory.Invite(ctx, org.NewPerson{Email: email, Name: name}, team, wanted, c.actor(s, r))
		switch {
		case errors.Is(err, org.ErrEmailTaken):
			problems["email"] = "Somebody with this address has an account already. A new link is on their page."
		case errors.Is(err, org.ErrTeamNotFound):
			problems["team"] = "There is no such team any more."
		case errors.Is(err, org.ErrRoleNotFound):
			problems["roles"] = sentence(err)
		case err != nil:
			return err
		}
	}
	if len(problems) > 0 {
		page, err := c.peoplePage(ctx, s)
		if err != nil {
			return err
		}
		page.Name, page.Email, page.Team, page.Roles, page.Errors = name, typed, team, roles, problems
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	return c.showLink(w, r, s, p, login.InviteLink)
}

// showLink makes a link and mails it, or shows it, this once: it is in no address and no
// redirect, and a page with no-store is kept nowhere.
func (c *Console) showLink(w http.ResponseWriter, r *http.Request, s login.Session, p org.Person, kind login.LinkKind) error {
	made, err := c.Desk.Links().Make(r.Context(), p, kind, c.actor(s, r))
	if errors.Is(err, login.ErrPasswordRefused) || errors.Is(err, login.ErrNoLinkForThem) {
		return &web.Error{
			Status: http.StatusConflict, Public: "No link was made: " + err.Error() + ".",
			Next:  "Where the domain signs in at an identity provider, let them sign in there; a disabled account has to be enabled first.",
			Links: []web.Link{{Text: "The person", URL: personPath(p)}},
		}
	}
	if err != nil {
		return err
	}
	page := web.AccountLinkPage{
		Account: account(s), ID: string(p.ID), Name: p.Name, Email: p.Email, Invited: kind == login.InviteLink,
		Expires: made.ExpiresAt,
	}
	if c.Desk.CanMail() && r.PostForm.Get("show") == "" {
		if err := c.Desk.MailLink(r.Context(), p, kind, made); err != nil {
			c.Logger.ErrorContext(r.Context(), "a link was not mailed", "person", p.ID, "err", err)
			page.Failed = true
		} else {
			page.Sent = true
		}
	}
	if !page.Sent {
		page.URL = c.Desk.PublicURL + made.Path
	}
	return c.Site.Render(w, http.StatusCreated, page)
}

func personPath(p org.Person) string { return peoplePath + "/" + string(p.ID) }

// accountOf returns the person whom the path names: nobody deleted, and no
// program.
func (c *Console) accountOf(r *http.Request) (org.Person, error) {
	p, err := c.Directory.Person(r.Context(), org.PersonID(r.PathValue("person")))
	if err == nil && (p.Deleted() || p.Service) {
		err = org.ErrPersonNotFound
	}
	if errors.Is(err, org.ErrPersonNotFound) {
		return p, &web.Error{
			Status: http.StatusNotFound, Public: "There is no such person. The account may have been deleted.",
			Links: []web.Link{{Text: "People", URL: peoplePath}},
		}
	}
	return p, err
}

func (c *Console) personPage(w http.ResponseWriter, r *http.Request, s login.Session) error {
	p, err := c.accountOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	page := web.PersonPage{Account: account(s), Now: c.Now(), Person: accountRow(p, s), Notice: c.notice(r)}
	if page.HasPassword, err = c.Desk.HasPassword(ctx, p.ID); err != nil {
		return err
	}
	invited, err := c.Desk.Store.InvitedPeople(ctx, c.Now())
	if err != nil {
		return err
	}
	page.Person.Invited = invited[p.ID]
	events, err := c.Desk.Store.SignIns(ctx, p.ID, maxSignIns)
	if err != nil {
		return err
	}
	page.SignIns = shownSignIns(events)
	memberships, err := c.Directory.Memberships(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		page.Teams = append(page.Teams, web.TeamRow{Slug: m.Team.Slug, Name: m.Team.Name, Roles: m.Roles})
	}
	sessions, err := c.Desk.SessionsOf(ctx, p.ID)
	if err != nil {
		return err
	}
	page.Sessions = len(sessions)
	list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Person: p.ID})
	if err != nil {
		return err
	}
	for _, con := range list {
		shown := c.shown(con)
		if shown.Trouble, err = c.trouble(ctx, con); err != nil {
			return err
		}
		page.Connections = append(page.Connections, shown)
	}
	if page.LastOwner, err = c.lastOwner(ctx, p); err != nil {
		return err
	}
	return c.Site.Render(w, http.StatusOK, page)
}

// lastOwner says whether nobody else who is active owns the organization. The
// store decides; this is for what pages offer.
func (c *Console) lastOwner(ctx context.Context, p org.Person) (bool, error) {
	if !p.Owner {
		return false, nil
	}
	people, err := c.Directory.People(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(people, func(q org.Person) bool { return q.Owner && q.Active() && q.ID != p.ID }), nil
}

// justProven is proven for an owner at the page of somebody.
func (c *Console) justProven(w http.ResponseWriter, r *http.Request, s login.Session, p org.Person) (bool, error) {
	factors, err := c.Desk.Factors.List(r.Context(), s.Person.ID)
	if err != nil {
		return false, err
	}
	return c.proven(w, r, s, factors, personPath(p)), nil
}

// newLink shows a new link for choosing a password: an invitation for those who
// have none yet. It opens an account, perhaps the owner's own, so it is for
// owners who have just proved who they are.
func (c *Console) newLink(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	p, err := c.accountOf(r)
	if err != nil {
		return err
	}
	if ok, err := c.justProven(w, r, s, p); !ok || err != nil {
		return err
	}
	has, err := c.Desk.HasPassword(r.Context(), p.ID)
	if err != nil {
		return err
	}
	kind := login.InviteLink
	if has {
		kind = login.ResetLink
	}
	return c.showLink(w, r, s, p, kind)
}

func (c *Console) askAccount(a accountAction) handler {
	return func(w http.ResponseWriter, r *http.Request, s login.Session) error {
		p, err := c.accountOf(r)
		if err != nil {
			return err
		}
		page := web.RemovePage{
			Account: account(s), Section: peoplePath, Title: fmt.Sprintf(a.title, p.Name), What: a.what,
			Action: personPath(p) + "/" + a.path, Button: a.button, Back: personPath(p),
		}
		if page.Ends, err = c.accountEnds(r.Context(), p, a); err != nil {
			return err
		}
		return c.Site.Render(w, http.StatusOK, page)
	}
}

// accountEnds says in numbers what ends.
func (c *Console) accountEnds(ctx context.Context, p org.Person, a accountAction) (string, error) {
	const nothing = "No session and no connection ends."
	if !a.sessions {
		return nothing, nil
	}
	sessions, err := c.Desk.SessionsOf(ctx, p.ID)
	if err != nil {
		return "", err
	}
	words, n := are(len(sessions), "session", "sessions"), len(sessions)
	if a.connections {
		list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Person: p.ID})
		if err != nil {
			return "", err
		}
		words += " and " + are(len(list), "connection", "connections")
		n += len(list)
	}
	switch {
	case n == 0:
		return nothing, nil
	case n == 1 && !a.connections:
		return words + " ends.", nil
	}
	return words + " end.", nil
}

func (c *Console) doAccount(a accountAction) handler {
	return func(w http.ResponseWriter, r *http.Request, s login.Session) error {
		p, err := c.accountOf(r)
		if err != nil {
			return err
		}
		if a.proven {
			if ok, err := c.justProven(w, r, s, p); !ok || err != nil {
				return err
			}
		}
		by := c.actor(s, r)
		if a.change == 0 {
			err = c.Desk.SignOutEverywhere(r.Context(), p.ID, "", by)
		} else {
			_, err = c.Directory.ChangeAccount(r.Context(), p.ID, a.change, by)
		}
		if errors.Is(err, org.ErrLastOwner) {
			return &web.Error{
				Status: http.StatusConflict, Public: p.Name + " is the last owner who can sign in, so nothing was changed.", Next: "Make somebody else an owner first.",
				Links: []web.Link{{Text: "People", URL: peoplePath}},
			}
		}
		if errors.Is(err, org.ErrLastBreakGlass) {
			return &web.Error{
				Status: http.StatusConflict, Public: p.Name + " is the last owner who may use a password although passwords are refused for a domain, so nothing was changed.",
				Next:  "Name another break-glass owner first (oriel provider break-glass), or take passwords again (oriel provider sso-only --off): nobody could sign in while the identity provider does not work.",
				Links: []web.Link{{Text: "People", URL: peoplePath}},
			}
		}
		if err != nil {
			return err
		}
		to := personPath(p)
		switch {
		case p.ID == s.Person.ID:
			to = "/" // they may have lost the way to the other pages
		case a.change == org.DeleteAccount:
			to = peoplePath
		}
		return c.done(w, r, to, fmt.Sprintf(a.done, web.DisplayName(p.Name)))
	}
}

// reasonOwnerDisconnected is what the person reads on their own page.
const reasonOwnerDisconnected = "disconnected by an owner of the organization"

// disconnectOf ends a connection of somebody.
func (c *Console) disconnectOf(w http.ResponseWriter, r *http.Request, s login.Session) error {
	p, err := c.accountOf(r)
	if err != nil {
		return err
	}
	ctx, id := r.Context(), grant.ID(r.PathValue("id"))
	list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Person: p.ID})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(con grant.Connection) bool { return con.Grant.ID == id })
	if i < 0 {
		return &web.Error{
			Status: http.StatusNotFound, Public: "The person has no such connection. It may have ended already.",
			Links: []web.Link{{Text: "The person", URL: personPath(p)}},
		}
	}
	if err := c.Authority.EndGrant(ctx, id, reasonOwnerDisconnected, c.actor(s, r)); err != nil {
		return err
	}
	return c.done(w, r, personPath(p), fmt.Sprintf("%s is disconnected. Its next request is refused.", web.DisplayName(list[i].Client.Name())))
}
