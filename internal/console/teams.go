package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// teams lists the teams of the person, and to owners all.
func (c *Console) teams(w http.ResponseWriter, r *http.Request, s login.Session) error {
	ctx := r.Context()
	own, err := c.Directory.Memberships(ctx, s.Person.ID)
	if err != nil {
		return err
	}
	var teams []org.Team
	if s.Person.Owner {
		if teams, err = c.Directory.Teams(ctx); err != nil {
			return err
		}
	} else {
		for _, m := range own {
			teams = append(teams, m.Team)
		}
	}
	page := web.TeamsPage{Account: account(s), Notice: c.notice(r)}
	for _, t := range teams {
		members, err := c.Directory.Members(ctx, t.Slug)
		if err != nil {
			return err
		}
		row := web.TeamRow{Slug: t.Slug, Name: t.Name, Members: len(members)}
		if i := slices.IndexFunc(own, func(m org.Member) bool { return m.Team.ID == t.ID }); i >= 0 {
			row.Roles = own[i].Roles
		}
		page.Teams = append(page.Teams, row)
	}
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) team(w http.ResponseWriter, r *http.Request, m manager) error {
	page, err := c.teamPageOf(r, m)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) teamPageOf(r *http.Request, m manager) (web.TeamPage, error) {
	ctx := r.Context()
	page := web.TeamPage{Account: account(m.Session), Nav: *m.nav("members"), Admin: m.admin(), NewName: m.team.Name, Errors: map[string]string{}}
	members, err := c.Directory.Members(ctx, m.team.Slug)
	if err != nil {
		return page, err
	}
	for _, member := range members {
		page.Members = append(page.Members, memberRow(member, m.Session))
	}
	if m.admin() {
		roles, err := c.Directory.Roles(ctx, m.team.Slug)
		if err != nil {
			return page, err
		}
		page.Roles, page.Now = roleChoices(m, roles, nil, nil), c.Now()
		if page.Connections, err = c.teamConnections(ctx, m.team); err != nil {
			return page, err
		}
	}
	return page, nil
}

func (c *Console) renameTeam(w http.ResponseWriter, r *http.Request, m manager) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	name := r.PostForm.Get("name")
	problem := login.CheckName(strings.TrimSpace(name))
	if problem == nil {
		t, err := c.Directory.RenameTeam(r.Context(), m.team.Slug, name, c.actor(m.Session, r))
		if err != nil {
			return err
		}
		return c.done(w, r, "/teams/"+m.team.Slug, fmt.Sprintf("The team is called %s now.", t.Name))
	}
	page, err := c.teamPageOf(r, m)
	if err != nil {
		return err
	}
	page.NewName, page.Errors["name"] = name, sentence(problem)
	return c.Site.Render(w, http.StatusUnprocessableEntity, page)
}

// addMember gives somebody who is not in the team yet roles in it.
func (c *Console) addMember(w http.ResponseWriter, r *http.Request, m manager) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, email, wanted := r.Context(), r.PostForm.Get("email"), r.PostForm["role"]
	refuse := func(field, words string) error {
		page, err := c.teamPageOf(r, m)
		if err != nil {
			return err
		}
		for i := range page.Roles {
			page.Roles[i].Checked = slices.Contains(wanted, page.Roles[i].Value)
		}
		page.Email, page.Errors[field] = email, words
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if _, err := org.ParseEmail(email); err != nil {
		return refuse("email", sentence(err))
	}
	p, err := c.Directory.PersonByEmail(ctx, email)
	if errors.Is(err, org.ErrPersonNotFound) {
		return refuse("email", "Nobody with this address has an account here. Ask an owner to add them first.")
	}
	if err != nil {
		return err
	}
	if in, err := c.Directory.Membership(ctx, p.ID, m.team.ID); err == nil && len(in.Direct) > 0 {
		return refuse("email", p.Name+" is in the team already. Change their roles in the list above.")
	} else if err != nil && !errors.Is(err, org.ErrNotMember) {
		return err
	}
	if len(wanted) == 0 {
		return refuse("roles", "Choose at least one role.")
	}
	if problem, err := c.giveRoles(r, m, p, wanted, nil); err != nil || problem != "" {
		if err != nil {
			return err
		}
		return refuse("roles", problem)
	}
	return c.done(w, r, "/teams/"+m.team.Slug, fmt.Sprintf("%s is in %s now, as %s.", p.Name, m.team.Name, strings.Join(wanted, ", ")))
}

// giveRoles sets somebody's own roles if the manager may. problem says why
// not, to them.
func (c *Console) giveRoles(r *http.Request, m manager, p org.Person, wanted, held []string) (problem string, err error) {
	roles, err := c.Directory.Roles(r.Context(), m.team.Slug)
	if err != nil {
		return "", err
	}
	if err := m.added(roles, wanted, held); err != nil {
		return sentence(err), nil
	}
	_, err = c.Directory.SetMember(r.Context(), m.team.Slug, p.Email, wanted, c.actor(m.Session, r))
	if errors.Is(err, org.ErrRoleNotFound) {
		return sentence(err), nil
	}
	return "", err
}

func (c *Console) member(w http.ResponseWriter, r *http.Request, m manager) error {
	page, _, err := c.memberPage(r, m)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

// membership returns the membership that the path names.
func (c *Console) membership(r *http.Request, m manager) (org.Member, error) {
	p, err := c.person(r)
	if err != nil {
		return org.Member{}, err
	}
	member, err := c.Directory.Membership(r.Context(), p.ID, m.team.ID)
	if errors.Is(err, org.ErrNotMember) {
		return member, notThere("member")
	}
	return member, err
}

func (c *Console) memberPage(r *http.Request, m manager) (web.MemberPage, org.Member, error) {
	member, err := c.membership(r, m)
	if err != nil {
		return web.MemberPage{}, member, err
	}
	roles, err := c.Directory.Roles(r.Context(), m.team.Slug)
	if err != nil {
		return web.MemberPage{}, member, err
	}
	page := web.MemberPage{
		Account: account(m.Session), Nav: *m.nav("members"), Member: memberRow(member, m.Session), Direct: len(member.Direct) > 0,
		Roles: roleChoices(m, roles, member.Direct, member.Direct), Errors: map[string]string{},
	}
	for _, g := range member.Through {
		page.Groups = append(page.Groups, web.GroupGives{ID: string(g.Group.ID), Name: g.Group.Name, Roles: g.Roles})
	}
	return page, member, nil
}

func (c *Console) setMember(w http.ResponseWriter, r *http.Request, m manager) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	page, member, err := c.memberPage(r, m)
	if err != nil {
		return err
	}
	wanted := r.PostForm["role"]
	problem := "Choose at least one role, or remove the person from the team."
	if len(wanted) > 0 {
		if problem, err = c.giveRoles(r, m, member.Person, wanted, member.Direct); err != nil {
			return err
		}
	}
	if problem != "" {
		for i := range page.Roles {
			page.Roles[i].Checked = slices.Contains(wanted, page.Roles[i].Value)
		}
		page.Errors["roles"] = problem
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	return c.done(w, r, "/teams/"+m.team.Slug, fmt.Sprintf("%s is in %s as %s now.", member.Person.Name, m.team.Name, strings.Join(wanted, ", ")))
}

func (c *Console) askRemoveMember(w http.ResponseWriter, r *http.Request, m manager) error {
	member, err := c.membership(r, m)
	if err != nil {
		return err
	}
	p, back := member.Person, "/teams/"+m.team.Slug
	page := web.RemovePage{
		Account: account(m.Session), Section: "/teams", Title: "Remove " + p.Name + " from " + m.team.Name + "?",
		What:   "The person keeps their account, and can be added again later. Connections that end do not come back by that.",
		Action: back + "/members/" + string(p.ID) + "/remove", Button: "Remove from the team", Back: back,
	}
	if len(member.Through) > 0 {
		var groups []string
		for _, g := range member.Through {
			groups = append(groups, g.Group.Name)
		}
		page.What = fmt.Sprintf("This takes away the roles that were given directly. %s stays in the team through %s: an owner takes them out of the group.", p.Name, strings.Join(groups, ", "))
	}
	leaving, connections, err := c.consequences(r, []org.Person{p}, func(o org.Member) bool { return o.Team.ID == m.team.ID && len(o.Through) == 0 })
	if err != nil {
		return err
	}
	page.Ends = endsWords(leaving, connections)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) removeMember(w http.ResponseWriter, r *http.Request, m manager) error {
	member, err := c.membership(r, m)
	if err != nil {
		return err
	}
	path := "/teams/" + m.team.Slug
	if len(member.Direct) == 0 {
		return &web.Error{
			Status: http.StatusConflict, Public: member.Person.Name + " is in the team through a group only, so nothing was changed.",
			Next: "Ask an owner to take them out of the group.", Links: []web.Link{{Text: "The team", URL: path}},
		}
	}
	if err := c.Directory.RemoveMember(r.Context(), m.team.Slug, member.Person.Email, c.actor(m.Session, r)); err != nil {
		return err
	}
	words := fmt.Sprintf("%s is out of %s. What connected them is refused from its next call on.", member.Person.Name, m.team.Name)
	if len(member.Through) > 0 {
		words = fmt.Sprintf("%s has no roles of their own any more, and stays in the team through a group.", member.Person.Name)
	}
	if member.Person.ID == m.Person.ID && !m.Person.Owner && len(member.Through) == 0 {
		path = "/teams"
	}
	return c.done(w, r, path, words)
}

func (c *Console) ownAccess(w http.ResponseWriter, r *http.Request, m manager) error {
	return c.explain(w, r, m, m.Person)
}

// access explains somebody's access: to themselves, and to those who
// administer the team.
func (c *Console) access(w http.ResponseWriter, r *http.Request, m manager) error {
	if r.PathValue("person") != string(m.Person.ID) && !m.admin() {
		return notAdmin(m.team)
	}
	p, err := c.person(r)
	if err != nil {
		return err
	}
	if _, err := c.Directory.Membership(r.Context(), p.ID, m.team.ID); p.ID != m.Person.ID && !m.Person.Owner && err != nil {
		if errors.Is(err, org.ErrNotMember) {
			return notThere("person") // not a directory of everybody
		}
		return err
	}
	return c.explain(w, r, m, p)
}

func (c *Console) explain(w http.ResponseWriter, r *http.Request, m manager, p org.Person) error {
	e, err := access.Explain(r.Context(), c.Directory, c.Authority, p, m.team, c.Now())
	if err != nil {
		return err
	}
	page := web.AccessPage{Account: account(m.Session), Nav: *m.nav(""), Person: personRow(p), Refused: e.Refused}
	if p.ID == m.Person.ID {
		page.Nav.Current = "access"
	}
	for _, h := range e.Roles {
		row := web.AccessRole{RoleRow: roleRow(h.Role), From: h.From(), Missing: !h.Exists}
		if !h.Exists {
			row.Kind = ""
		}
		page.Roles = append(page.Roles, row)
	}
	for _, ep := range e.Permissions {
		out := web.AccessPermission{Words: upperFirst(ep.Permission.Words()), Name: string(ep.Permission), Given: ep.Given, NoRows: ep.NoRows}
		if !ep.Given {
			out.From = ep.WouldGive
		}
		for _, h := range ep.By {
			out.From = append(out.From, h.Role.Name+" ("+h.From()+")")
		}
		if ep.Given && ep.Reads {
			out.Rows, out.LookBack, out.Hidden = ep.Rows, ep.LookBack(), strings.Join(ep.Restriction.Hidden, ", ")
		}
		page.Permissions = append(page.Permissions, out)
	}
	for _, ec := range e.Connections {
		page.Connections = append(page.Connections, web.AccessConnection{
			ID: string(ec.Connection.Grant.ID), ClientName: ec.Connection.Client.Name(), Refused: ec.Refused,
			May: permissionWords(ec.May), NoScope: permissionWords(ec.NoScope), NoRole: permissionWords(ec.NoRole),
		})
	}
	return c.Site.Render(w, http.StatusOK, page)
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
