package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// organizationRoutes are the pages on which owners and team administrators
// decide who may do what.
func (c *Console) organizationRoutes() []web.Route {
	return []web.Route{
		c.page("GET /teams", web.SignedIn, c.teams),
		c.teamPage("GET /teams/{slug}", web.Member, c.team),
		c.teamForm("POST /teams/{slug}/rename", web.TeamAdmin, c.renameTeam),
		c.teamForm("POST /teams/{slug}/members", web.TeamAdmin, c.addMember),
		c.teamPage("GET /teams/{slug}/members/{person}", web.TeamAdmin, c.member),
		c.teamForm("POST /teams/{slug}/members/{person}", web.TeamAdmin, c.setMember),
		c.teamPage("GET /teams/{slug}/members/{person}/remove", web.TeamAdmin, c.askRemoveMember),
		c.teamForm("POST /teams/{slug}/members/{person}/remove", web.TeamAdmin, c.removeMember),
		c.teamForm("POST /teams/{slug}/connections/{id}/disconnect", web.TeamAdmin, c.disconnectFrom),
		c.teamPage("GET /teams/{slug}/access", web.Member, c.ownAccess),
		c.teamPage("GET /teams/{slug}/access/{person}", web.Member, c.access),
		c.teamPage("GET /teams/{slug}/roles", web.Member, c.teamRoles),
		c.teamPage("GET /teams/{slug}/new-role", web.TeamAdmin, c.role),
		c.teamForm("POST /teams/{slug}/new-role", web.TeamAdmin, c.saveRole),
		c.teamPage("GET /teams/{slug}/roles/{role}", web.Member, c.role),
		c.teamForm("POST /teams/{slug}/roles/{role}", web.TeamAdmin, c.saveRole),
		c.teamPage("GET /teams/{slug}/roles/{role}/remove", web.TeamAdmin, c.askRemoveRole),
		c.teamForm("POST /teams/{slug}/roles/{role}/remove", web.TeamAdmin, c.removeRole),
		c.page("GET /roles", web.Owner, c.organizationRoles),
		c.page("GET /new-role", web.Owner, c.organization(c.role)),
		c.form("POST /new-role", web.Owner, c.organization(c.saveRole)),
		c.page("GET /roles/{role}", web.Owner, c.organization(c.role)),
		c.form("POST /roles/{role}", web.Owner, c.organization(c.saveRole)),
		c.page("GET /roles/{role}/remove", web.Owner, c.organization(c.askRemoveRole)),
		c.form("POST /roles/{role}/remove", web.Owner, c.organization(c.removeRole)),
		c.page("GET /groups", web.Owner, c.groups),
		c.form("POST /groups", web.Owner, c.addGroup),
		c.page("GET /groups/{group}", web.Owner, c.group),
		c.form("POST /groups/{group}", web.Owner, c.renameGroup),
		c.page("GET /groups/{group}/remove", web.Owner, c.askRemoveGroup),
		c.form("POST /groups/{group}/remove", web.Owner, c.removeGroup),
		c.form("POST /groups/{group}/members", web.Owner, c.addToGroup),
		c.page("GET /groups/{group}/members/{person}/remove", web.Owner, c.askTakeOut),
		c.form("POST /groups/{group}/members/{person}/remove", web.Owner, c.takeOut),
		c.page("GET /groups/{group}/teams/{slug}", web.Owner, c.groupTeam),
		c.form("POST /groups/{group}/teams/{slug}", web.Owner, c.setGroupTeam),
	}
}

// manager is somebody at the pages of a team, or with the zero team of the
// organization, and what they may do there. It is the one place that says who
// may change what.
type manager struct {
	login.Session
	team     org.Team
	standing org.Standing
}

// admin says whether they may change the team.
func (m manager) admin() bool { return m.Person.Owner || m.standing.May(org.TeamAdmin) }

// mayGive returns why they must not hand out a role, or make it what it is.
// Owners may give everything; whoever administers a team gives what they have
// there and no more, so that nobody can help themselves to more through
// somebody else.
func (m manager) mayGive(r org.Role) error {
	if m.Person.Owner {
		return nil
	}
	if !m.admin() {
		return access.ErrBeyondOwn
	}
	return access.Within(m.standing, r)
}

// teamHandler is a handler for somebody at the pages of a team.
type teamHandler func(http.ResponseWriter, *http.Request, manager) error

func (c *Console) teamPage(pattern string, who web.Audience, h teamHandler) web.Route {
	return web.Route{Pattern: pattern, Who: who, Handler: c.Site.Page(c.only(web.SignedIn, c.inTeam(who, h)))}
}

func (c *Console) teamForm(pattern string, who web.Audience, h teamHandler) web.Route {
	return web.Route{Pattern: pattern, Who: who, Handler: c.Site.Form(c.only(web.SignedIn, c.inTeam(who, h)))}
}

// inTeam lets through those whom the route is for, in the team that its path
// names. To others a team looks like one that does not exist.
func (c *Console) inTeam(who web.Audience, h teamHandler) handler {
	return func(w http.ResponseWriter, r *http.Request, s login.Session) error {
		m, err := c.managerOf(r.Context(), r.PathValue("slug"), s)
		if err != nil {
			return err
		}
		switch {
		case !m.standing.Member() && !s.Person.Owner:
			return noTeam()
		case who == web.Member, who == web.TeamAdmin && m.admin():
			return h(w, r, m)
		}
		return notAdmin(m.team)
	}
}

func notAdmin(t org.Team) error {
	return &web.Error{
		Status: http.StatusForbidden, Public: "Only an administrator of the team, or an owner of the organization, may do this.", Next: "Ask one of them to do it for you.",
		Links: []web.Link{{Text: "The team", URL: "/teams/" + t.Slug}},
	}
}

func noTeam() error {
	return &web.Error{
		Status: http.StatusNotFound, Public: "There is no such team, or you are not in it.",
		Links: []web.Link{{Text: "Teams", URL: "/teams"}},
	}
}

func (c *Console) managerOf(ctx context.Context, slug string, s login.Session) (manager, error) {
	m := manager{Session: s}
	var err error
	m.team, err = c.Directory.Team(ctx, slug)
	if errors.Is(err, org.ErrTeamNotFound) {
		return m, noTeam()
	}
	if err != nil {
		return m, err
	}
	membership, err := c.Directory.Membership(ctx, s.Person.ID, m.team.ID)
	if errors.Is(err, org.ErrNotMember) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	m.standing, err = c.Directory.Standing(ctx, membership)
	return m, err
}

// organization is for handlers that serve a team and the whole organization.
func (c *Console) organization(h teamHandler) handler {
	return func(w http.ResponseWriter, r *http.Request, s login.Session) error {
		return h(w, r, manager{Session: s})
	}
}

// nav is the team's navigation, nil for the organization.
func (m manager) nav(current string) *web.TeamNav {
	if m.team.ID == "" {
		return nil
	}
	return &web.TeamNav{Slug: m.team.Slug, Name: m.team.Name, Current: current}
}

// base is the path below which the team's, or the organization's, roles are.
func (m manager) base() string {
	if m.team.ID == "" {
		return ""
	}
	return "/teams/" + m.team.Slug
}

// done goes to a page that says what was done.
func (c *Console) done(w http.ResponseWriter, r *http.Request, path, words string) error {
	http.Redirect(w, r, c.withNotice(path, words), http.StatusSeeOther)
	return nil
}

// roleChoices are roles as tick boxes. held are ticked and can be kept; others
// only where the manager may give them.
func roleChoices(m manager, roles []org.Role, ticked, held []string) []web.Choice {
	var out []web.Choice
	for _, r := range roles {
		ch := web.Choice{
			ID: "role-" + r.Name, Field: "role", Value: r.Name, Label: r.Name, About: roleAbout(r),
			Checked: slices.Contains(ticked, r.Name),
		}
		if err := m.mayGive(r); err != nil && !slices.Contains(held, r.Name) {
			ch.Disabled, ch.Why = true, "You cannot give it: it goes beyond what you have."
		}
		out = append(out, ch)
	}
	return out
}

// roleAbout says in one sentence what a role gives.
func roleAbout(r org.Role) string {
	s := "Gives nothing."
	if words := permissionWords(r.Permissions); len(words) > 0 {
		s = "May " + strings.Join(words, ", ")
		if r.DataScope != nil {
			s += "; only where " + r.DataScope.String()
		}
		if len(r.HiddenFields) > 0 {
			s += "; without " + strings.Join(r.HiddenFields, ", ")
		}
		if r.LookBack > 0 {
			s += "; of the last " + org.FormatLookBack(r.LookBack)
		}
		s += "."
	}
	return s
}

func permissionWords(ps []org.Permission) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Words()
	}
	return out
}

// added checks the roles that somebody is to have against what the manager may
// give; those held already may stay.
func (m manager) added(roles []org.Role, wanted, held []string) error {
	for _, name := range wanted {
		i := slices.IndexFunc(roles, func(r org.Role) bool { return r.Name == name })
		if i < 0 || slices.Contains(held, name) {
			continue // the directory knows what to say about those that do not exist
		}
		if err := m.mayGive(roles[i]); err != nil {
			return err
		}
	}
	return nil
}

// consequences counts who would leave teams, and the connections that would
// end, if the ways into teams for which lost says yes were gone.
func (c *Console) consequences(r *http.Request, people []org.Person, lost func(org.Member) bool) (leaving, connections int, err error) {
	for _, p := range people {
		memberships, err := c.Directory.Memberships(r.Context(), p.ID)
		if err != nil {
			return 0, 0, err
		}
		leaves := false
		for _, m := range memberships {
			if !lost(m) {
				continue
			}
			leaves = true
			list, err := c.Authority.Connections(r.Context(), grant.ConnectionFilter{Person: p.ID, Team: m.Team.ID})
			if err != nil {
				return 0, 0, err
			}
			connections += len(list)
		}
		if leaves {
			leaving++
		}
	}
	return leaving, connections, nil
}

// onlyThrough says whether a group is the only way into the team.
func onlyThrough(id org.GroupID) func(org.Member) bool {
	return func(m org.Member) bool {
		return len(m.Direct) == 0 && len(m.Through) == 1 && m.Through[0].Group.ID == id
	}
}

// endsWords says what ends, in numbers.
func endsWords(leaving, connections int) string {
	switch {
	case leaving == 0:
		return "Nobody leaves a team by this, and no connection ends."
	case connections == 0:
		return fmt.Sprintf("This takes %s out of a team. No connection ends.", are(leaving, "person", "people"))
	}
	return fmt.Sprintf("This takes %s out of a team and ends %s: the next call of each is refused.",
		are(leaving, "person", "people"), are(connections, "connection", "connections"))
}

func are(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// person returns the person whom the path names.
func (c *Console) person(r *http.Request) (org.Person, error) {
	p, err := c.Directory.Person(r.Context(), org.PersonID(r.PathValue("person")))
	if errors.Is(err, org.ErrPersonNotFound) {
		return p, notThere("person")
	}
	return p, err
}

func notThere(what string) error {
	return &web.Error{
		Status: http.StatusNotFound, Public: "There is no such " + what + " here. It may have been removed.",
		Links: []web.Link{{Text: "Teams", URL: "/teams"}},
	}
}

func memberRow(m org.Member, s login.Session) web.MemberRow {
	row := personRow(m.Person)
	row.Roles, row.You = m.Roles, m.Person.ID == s.Person.ID
	for _, g := range m.Through {
		row.Through = append(row.Through, "the group "+g.Group.Name)
	}
	return row
}

func personRow(p org.Person) web.MemberRow {
	return web.MemberRow{ID: string(p.ID), Name: p.Name, Email: p.Email, Disabled: !p.Active(), Program: p.Service}
}
