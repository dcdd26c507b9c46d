package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

func (c *Console) groups(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.groupsPage(r, s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) groupsPage(r *http.Request, s login.Session) (web.GroupsPage, error) {
	ctx := r.Context()
	page := web.GroupsPage{Account: account(s), Errors: map[string]string{}}
	groups, err := c.Directory.Groups(ctx)
	if err != nil {
		return page, err
	}
	given, err := c.Directory.AllGroupRoles(ctx)
	if err != nil {
		return page, err
	}
	for _, g := range groups {
		people, err := c.Directory.GroupMembers(ctx, g.ID)
		if err != nil {
			return page, err
		}
		page.Groups = append(page.Groups, groupRow(g, people, given))
	}
	return page, nil
}

func groupRow(g org.Group, people []org.Person, given []org.GroupRoles) web.GroupRow {
	row := web.GroupRow{ID: string(g.ID), Name: g.Name, External: g.ExternalID != "", People: len(people)}
	for _, gives := range given {
		if gives.Group.ID == g.ID {
			row.Gives = append(row.Gives, web.GroupGives{TeamSlug: gives.Team.Slug, TeamNm: gives.Team.Name, Roles: gives.Roles})
		}
	}
	return row
}

// nameProblem says what is wrong with a group's name, "" for an error that is
// no such thing.
func nameProblem(err error) string {
	if errors.Is(err, org.ErrGroupNameTaken) {
		return "There is a group of this name already. Choose another one."
	}
	return ""
}

func (c *Console) addGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	problem := ""
	if err := login.CheckName(name); err != nil {
		problem = sentence(err)
	} else {
		g, err := c.Directory.AddGroup(r.Context(), name, "", c.actor(s, r))
		if err == nil {
			return c.done(w, r, "/groups/"+string(g.ID), fmt.Sprintf("The group %s is added. Put people into it and say what it gives.", g.Name))
		}
		if problem = nameProblem(err); problem == "" {
			return err
		}
	}
	page, err := c.groupsPage(r, s)
	if err != nil {
		return err
	}
	page.Name, page.Errors["name"] = name, problem
	return c.Site.Render(w, http.StatusUnprocessableEntity, page)
}

// groupOf returns the group that the path names.
func (c *Console) groupOf(r *http.Request) (org.Group, error) {
	g, err := c.Directory.Group(r.Context(), org.GroupID(r.PathValue("group")))
	if errors.Is(err, org.ErrGroupNotFound) {
		return g, notThere("group")
	}
	return g, err
}

func (c *Console) group(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	page, err := c.groupPage(r, s, g)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) groupPage(r *http.Request, s login.Session, g org.Group) (web.GroupPage, error) {
	ctx := r.Context()
	page := web.GroupPage{Account: account(s), NewName: g.Name, Errors: map[string]string{}}
	people, err := c.Directory.GroupMembers(ctx, g.ID)
	if err != nil {
		return page, err
	}
	given, err := c.Directory.AllGroupRoles(ctx)
	if err != nil {
		return page, err
	}
	page.Group = groupRow(g, people, given)
	for _, p := range people {
		page.Members = append(page.Members, personRow(p))
	}
	teams, err := c.Directory.Teams(ctx)
	if err != nil {
		return page, err
	}
	for _, t := range teams {
		if !slices.ContainsFunc(page.Group.Gives, func(g web.GroupGives) bool { return g.TeamSlug == t.Slug }) {
			page.Teams = append(page.Teams, web.TeamRow{Slug: t.Slug, Name: t.Name})
		}
	}
	return page, nil
}

func (c *Console) renameGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	problem := ""
	if err := login.CheckName(name); err != nil {
		problem = sentence(err)
	} else {
		_, err := c.Directory.UpdateGroup(r.Context(), g.ID, name, g.ExternalID, c.actor(s, r))
		if err == nil {
			return c.done(w, r, "/groups/"+string(g.ID), fmt.Sprintf("The group is called %s now.", name))
		}
		if problem = nameProblem(err); problem == "" {
			return err
		}
	}
	page, err := c.groupPage(r, s, g)
	if err != nil {
		return err
	}
	page.NewName, page.Errors["name"] = name, problem
	return c.Site.Render(w, http.StatusUnprocessableEntity, page)
}

func (c *Console) addToGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	email, problem := r.PostForm.Get("email"), ""
	var p org.Person
	if _, err := org.ParseEmail(email); err != nil {
		problem = sentence(err)
	} else if p, err = c.Directory.PersonByEmail(r.Context(), email); errors.Is(err, org.ErrPersonNotFound) {
		problem = "Nobody with this address has an account here."
	} else if err != nil {
		return err
	} else if p.Service {
		problem = "This is the account of a program, which cannot be in a group."
	}
	if problem != "" {
		page, err := c.groupPage(r, s, g)
		if err != nil {
			return err
		}
		page.Email, page.Errors["email"] = email, problem
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Directory.ChangeGroupMembers(r.Context(), g.ID, org.MemberChange{Add: []org.PersonID{p.ID}}, c.actor(s, r)); err != nil {
		return err
	}
	return c.done(w, r, "/groups/"+string(g.ID), fmt.Sprintf("%s is in the group now.", p.Name))
}

func (c *Console) askRemoveGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	people, err := c.Directory.GroupMembers(r.Context(), g.ID)
	if err != nil {
		return err
	}
	return c.askGroup(w, r, s, g, people, web.RemovePage{
		Title: "Remove the group " + g.Name + "?", What: "Its people keep what they have directly or through other groups.", Action: "/groups/" + string(g.ID) + "/remove", Button: "Remove group",
	})
}

// askGroup asks before people lose what a group gives them.
func (c *Console) askGroup(w http.ResponseWriter, r *http.Request, s login.Session, g org.Group, people []org.Person, page web.RemovePage) error {
	leaving, connections, err := c.consequences(r, people, onlyThrough(g.ID))
	if err != nil {
		return err
	}
	page.Account, page.Section, page.Back, page.Ends = account(s), "/groups", "/groups/"+string(g.ID), endsWords(leaving, connections)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) removeGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	if err := c.Directory.RemoveGroup(r.Context(), g.ID, c.actor(s, r)); err != nil {
		return err
	}
	return c.done(w, r, "/groups", fmt.Sprintf("The group %s is removed.", g.Name))
}

func (c *Console) askTakeOut(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	p, err := c.person(r)
	if err != nil {
		return err
	}
	return c.askGroup(w, r, s, g, []org.Person{p}, web.RemovePage{
		Title: "Take " + p.Name + " out of " + g.Name + "?", What: "What the person has directly or through other groups stays.",
		Action: "/groups/" + string(g.ID) + "/members/" + string(p.ID) + "/remove", Button: "Take out",
	})
}

func (c *Console) takeOut(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, err := c.groupOf(r)
	if err != nil {
		return err
	}
	p, err := c.person(r)
	if err != nil {
		return err
	}
	if err := c.Directory.ChangeGroupMembers(r.Context(), g.ID, org.MemberChange{Remove: []org.PersonID{p.ID}}, c.actor(s, r)); err != nil {
		return err
	}
	return c.done(w, r, "/groups/"+string(g.ID), fmt.Sprintf("%s is out of the group.", p.Name))
}

// groupInTeam returns the group and the team that the path names, and what
// the one gives in the other.
func (c *Console) groupInTeam(r *http.Request) (g org.Group, t org.Team, has []string, err error) {
	if g, err = c.groupOf(r); err != nil {
		return g, t, nil, err
	}
	t, err = c.Directory.Team(r.Context(), r.PathValue("slug"))
	if errors.Is(err, org.ErrTeamNotFound) {
		return g, t, nil, notThere("team")
	}
	if err != nil {
		return g, t, nil, err
	}
	given, err := c.Directory.AllGroupRoles(r.Context())
	for _, gives := range given {
		if gives.Group.ID == g.ID && gives.Team.ID == t.ID {
			has = gives.Roles
		}
	}
	return g, t, has, err
}

func (c *Console) groupTeam(w http.ResponseWriter, r *http.Request, s login.Session) error {
	g, t, has, err := c.groupInTeam(r)
	if err != nil {
		return err
	}
	people, err := c.Directory.GroupMembers(r.Context(), g.ID)
	if err != nil {
		return err
	}
	roles, err := c.Directory.Roles(r.Context(), t.Slug)
	if err != nil {
		return err
	}
	page := web.GroupTeamPage{
		Account: account(s), Group: groupRow(g, people, nil), Team: web.TeamRow{Slug: t.Slug, Name: t.Name},
		Roles: roleChoices(manager{Session: s}, roles, has, has),
	}
	only := onlyThrough(g.ID)
	if page.People, page.Connections, err = c.consequences(r, people, func(m org.Member) bool { return m.Team.ID == t.ID && only(m) }); err != nil {
		return err
	}
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) setGroupTeam(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	g, t, _, err := c.groupInTeam(r)
	if err != nil {
		return err
	}
	roles := r.PostForm["role"]
	err = c.Directory.SetGroupRoles(r.Context(), g.ID, t.Slug, roles, c.actor(s, r))
	if errors.Is(err, org.ErrRoleNotFound) {
		return &web.Error{Status: http.StatusUnprocessableEntity, Public: sentence(err), Links: []web.Link{{Text: "The group", URL: "/groups/" + string(g.ID)}}}
	}
	if err != nil {
		return err
	}
	words := fmt.Sprintf("The group gives nothing in %s any more.", t.Name)
	if len(roles) > 0 {
		words = fmt.Sprintf("The group gives %s in %s.", strings.Join(roles, ", "), t.Name)
	}
	return c.done(w, r, "/groups/"+string(g.ID), words)
}
