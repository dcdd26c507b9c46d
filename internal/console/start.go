package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

func (c *Console) start(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.startPage(r, s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) startPage(r *http.Request, s login.Session) (web.StartPage, error) {
	ctx := r.Context()
	page := web.StartPage{Account: account(s), Owner: s.Person.Owner, MCPURL: c.MCPURL, LogsURL: c.LogsURL}
	members, err := c.Directory.Memberships(ctx, s.Person.ID)
	if err != nil {
		return page, fmt.Errorf("list memberships: %w", err)
	}
	for _, m := range members {
		standing, err := c.Directory.Standing(ctx, m)
		if err != nil {
			return page, err
		}
		if !standing.Member() {
			continue
		}
		page.Teams = append(page.Teams, web.StartTeam{
			Slug: m.Team.Slug, Name: m.Team.Name, Roles: standing.RoleNames(), Admin: standing.May(org.TeamAdmin),
		})
	}
	if s.Person.Owner && c.Engines != nil {
		page.Engines = c.Engines()
	}
	if len(page.Teams) == 0 && !s.Person.Owner {
		if page.AskWhom, err = Helpers(ctx, c.Directory, s.Person.ID); err != nil {
			return page, err
		}
	}
	return page, nil
}

// createTeam adds a team and makes the owner who asked for it its admin.
func (c *Console) createTeam(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, by := r.Context(), c.actor(s, r)
	name := strings.TrimSpace(r.PostForm.Get("name"))
	slug := login.SlugFor(name)
	err := login.CheckName(name)
	if err == nil {
		_, err = c.Directory.AddTeam(ctx, slug, name, by)
		if err != nil && !errors.Is(err, org.ErrSlugTaken) {
			return err
		}
	}
	if err != nil {
		page, pageErr := c.startPage(r, s)
		if pageErr != nil {
			return pageErr
		}
		page.TeamName, page.TeamError = name, sentence(err)
		if errors.Is(err, org.ErrSlugTaken) {
			page.TeamError = fmt.Sprintf("There is a team with the short name %s already. Choose another name.", slug)
		}
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if _, err := c.Directory.SetMember(ctx, slug, s.Person.Email, []string{"admin"}, by); err != nil {
		return err
	}
	http.Redirect(w, r, c.withNotice("/", fmt.Sprintf("The team %s is created, and you are its administrator.", name)), http.StatusSeeOther)
	return nil
}

// sentence makes an error's text stand alone on a page.
func sentence(err error) string {
	text := []rune(err.Error())
	text[0] = unicode.ToUpper(text[0])
	return string(text) + "."
}
