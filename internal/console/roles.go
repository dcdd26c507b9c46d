package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// previewRows is how many rows a preview shows, previewWindow how far back
	// it looks.
	previewRows   = 10
	previewWindow = time.Hour
	// previewTime bounds what the engine works on one of its two queries.
	previewTime = 10 * time.Second
	// maxPreviewRunes bounds a row's message on the page.
	maxPreviewRunes = 200
)

func roleRow(r org.Role) web.RoleRow {
	row := web.RoleRow{
		Name: r.Name, Kind: r.Kind(), Permissions: permissionWords(r.Permissions),
		HiddenFields: strings.Join(r.HiddenFields, ", "), LookBack: org.FormatLookBack(r.LookBack),
	}
	if r.DataScope != nil {
		row.DataScope = r.DataScope.String()
	}
	return row
}

func (c *Console) teamRoles(w http.ResponseWriter, r *http.Request, m manager) error {
	return c.rolesPage(w, r, m)
}

func (c *Console) organizationRoles(w http.ResponseWriter, r *http.Request, s login.Session) error {
	return c.rolesPage(w, r, manager{Session: s})
}

func (c *Console) rolesPage(w http.ResponseWriter, r *http.Request, m manager) error {
	roles, err := c.Directory.Roles(r.Context(), m.team.Slug)
	if err != nil {
		return err
	}
	page := web.RolesPage{Account: account(m.Session), Nav: m.nav("roles"), Notice: c.notice(r)}
	if m.admin() {
		page.NewURL = m.base() + "/new-role"
	}
	for _, role := range roles {
		row := roleRow(role)
		row.URL = m.base() + "/roles/" + role.Name
		page.Roles = append(page.Roles, row)
	}
	return c.Site.Render(w, http.StatusOK, page)
}

// roleOf returns the role that the path names, the zero role for a new one.
func (c *Console) roleOf(r *http.Request, m manager) (org.Role, error) {
	name := r.PathValue("role")
	if name == "" {
		return org.Role{}, nil
	}
	roles, err := c.Directory.Roles(r.Context(), m.team.Slug)
	if err != nil {
		return org.Role{}, err
	}
	if i := slices.IndexFunc(roles, func(role org.Role) bool { return role.Name == name }); i >= 0 {
		return roles[i], nil
	}
	return org.Role{}, notThere("role")
}

// whyFixed says why a role cannot be changed on these pages, "" where it can.
func whyFixed(m manager, role org.Role) string {
	switch {
	case role.BuiltIn():
		return "This role is built in: it is the same everywhere and cannot be changed."
	case role.Name != "" && role.Team != m.team.ID && m.Person.Owner:
		return "This role belongs to the whole organization. You can change it under Roles."
	case role.Name != "" && role.Team != m.team.ID:
		return "This role belongs to the whole organization. Only an owner can change it."
	case !m.admin():
		return "Administrators of the team can change this role."
	}
	return ""
}

// rolePage is the page of a role as it is, or of a new one.
func (c *Console) rolePage(r *http.Request, m manager, role org.Role) (web.RolePage, error) {
	page := web.RolePage{
		Account: account(m.Session), Nav: m.nav("roles"), Role: roleRow(role), New: role.Name == "", Why: whyFixed(m, role), Errors: map[string]string{},
	}
	if page.Why != "" {
		return page, nil
	}
	page.Action = m.base() + "/new-role"
	if !page.New {
		page.Action = m.base() + "/roles/" + role.Name
		page.RemoveURL = page.Action + "/remove"
		var err error
		if page.Holders, err = c.holders(r.Context(), m, role.Name); err != nil {
			return page, err
		}
	}
	page.Permissions = permissionChoices(m, role.Permissions)
	if m.team.ID != "" {
		return page, nil
	}
	own, err := c.Directory.Memberships(r.Context(), m.Person.ID)
	if err != nil {
		return page, err
	}
	for _, o := range own {
		page.Teams = append(page.Teams, web.Choice{Value: o.Team.Slug, Label: o.Team.Name, Checked: o.Team.Slug == r.PostForm.Get("preview_team")})
	}
	return page, nil
}

func permissionChoices(m manager, ticked []org.Permission) []web.Choice {
	var out []web.Choice
	for _, p := range org.Permissions() {
		ch := web.Choice{
			ID: "permission-" + strings.ReplaceAll(string(p), ":", "-"), Field: "permission", Value: string(p), Label: upperFirst(p.Words()), About: string(p),
			Checked: slices.Contains(ticked, p),
		}
		if !m.Person.Owner && !m.standing.May(p) {
			ch.Why, ch.Disabled = "– you do not hold it yourself.", !ch.Checked
		}
		out = append(out, ch)
	}
	return out
}

// holders counts the people who hold a role: in the team, or anywhere.
func (c *Console) holders(ctx context.Context, m manager, name string) (int, error) {
	teams := []org.Team{m.team}
	if m.team.ID == "" {
		var err error
		if teams, err = c.Directory.Teams(ctx); err != nil {
			return 0, err
		}
	}
	people := make(map[org.PersonID]bool)
	for _, t := range teams {
		members, err := c.Directory.Members(ctx, t.Slug)
		if err != nil {
			return 0, err
		}
		for _, member := range members {
			if slices.Contains(member.Roles, name) {
				people[member.Person.ID] = true
			}
		}
	}
	return len(people), nil
}

func (c *Console) role(w http.ResponseWriter, r *http.Request, m manager) error {
	role, err := c.roleOf(r, m)
	if err != nil {
		return err
	}
	page, err := c.rolePage(r, m, role)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

// saveRole stores what the form says, or shows what it would leave visible.
func (c *Console) saveRole(w http.ResponseWriter, r *http.Request, m manager) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	before, err := c.roleOf(r, m)
	if err != nil {
		return err
	}
	if why := whyFixed(m, before); why != "" {
		return &web.Error{Status: http.StatusForbidden, Public: why, Links: []web.Link{{Text: "Roles", URL: m.base() + "/roles"}}}
	}
	form := r.PostForm
	text := org.RoleText{
		Team: m.team.Slug, Name: before.Name, DataScope: form.Get("data_scope"),
		HiddenFields: strings.Split(form.Get("hidden_fields"), ","), LookBack: form.Get("look_back"),
	}
	if text.Name == "" {
		text.Name = strings.TrimSpace(form.Get("name"))
	}
	for _, p := range form["permission"] {
		text.Permissions = append(text.Permissions, org.Permission(p))
	}
	page, err := c.rolePage(r, m, before)
	if err != nil {
		return err
	}
	page.Role.Name, page.Role.DataScope, page.Role.HiddenFields, page.Role.LookBack = text.Name, text.DataScope, form.Get("hidden_fields"), text.LookBack
	page.Permissions = permissionChoices(m, text.Permissions)

	preview := form.Get("do") == "preview"
	check := text
	if preview && check.Name == "" {
		check.Name = "preview" // a name is not needed yet
	}
	role, err := check.Parse()
	if err == nil {
		err = m.mayGive(role)
	}
	if err == nil && before.Name == "" && !preview {
		err = c.nameFree(r.Context(), m, text.Name)
	}
	if err == nil && preview {
		if page.Preview, err = c.preview(r, m, role); err != nil {
			return err
		}
		return c.Site.Render(w, http.StatusOK, page)
	}
	if err == nil {
		_, err = c.Directory.SaveRole(r.Context(), text, c.actor(m.Session, r))
	}
	if err == nil {
		words := fmt.Sprintf("The role %s is saved. It holds from the next call on.", text.Name)
		return c.done(w, r, m.base()+"/roles", words)
	}
	if !explainRoleError(&page, text, err) {
		return err
	}
	return c.Site.Render(w, http.StatusUnprocessableEntity, page)
}

// nameFree refuses a new role that would take the place of another.
func (c *Console) nameFree(ctx context.Context, m manager, name string) error {
	roles, err := c.Directory.Roles(ctx, m.team.Slug)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(roles, func(role org.Role) bool { return role.Name == name }) {
		return &org.RoleError{Field: "name", Err: fmt.Errorf("there is a role %q already; choose another name", name)}
	}
	return nil
}

// explainRoleError puts an error beside the field that it is about; false says
// that the error is our own fault.
func explainRoleError(page *web.RolePage, text org.RoleText, err error) bool {
	wrong, ok := errors.AsType[*org.RoleError](err)
	if !ok {
		if errors.Is(err, access.ErrBeyondOwn) {
			page.Errors["role"] = sentence(err)
			return true
		}
		return false
	}
	field := wrong.Field
	if field == "name" && !page.New {
		field = "role" // there is no field for it
	}
	page.Errors[field] = sentence(wrong.Err)
	if f, ok := errors.AsType[*telemetry.FilterError](wrong.Err); ok {
		page.Mistake = mistakeAt(text.DataScope, f.Offset)
		page.Errors[field] = fmt.Sprintf("%s, at character %d.", upperFirst(f.Problem), utf8.RuneCountInString(page.Mistake.Before)+1)
	}
	return true
}

// mistakeAt cuts a text around the word at a byte offset.
func mistakeAt(text string, offset int) *web.Mistake {
	offset = min(max(offset, 0), len(text))
	for offset > 0 && offset < len(text) && !utf8.RuneStart(text[offset]) {
		offset--
	}
	at := text[offset:]
	_, first := utf8.DecodeRuneInString(at)
	if end := strings.IndexAny(at[first:], " \t\r\n(),"); end >= 0 {
		at = at[:first+end]
	}
	return &web.Mistake{Before: text[:offset], At: at, After: text[offset+len(at):]}
}

// preview shows what the role would leave visible of what the manager sees
// themselves.
func (c *Console) preview(r *http.Request, m manager, role org.Role) (*web.RolePreview, error) {
	if m.team.ID == "" {
		slug := r.PostForm.Get("preview_team")
		if slug == "" {
			return &web.RolePreview{Problem: "A preview shows logs only to those who may read them, and you are in no team."}, nil
		}
		in, err := c.managerOf(r.Context(), slug, m.Session)
		if err != nil {
			return nil, err
		}
		m = in
	}
	out := &web.RolePreview{Team: m.team.Name}
	demanded, err := c.Directory.MFA(r.Context(), m.team.ID)
	if err != nil {
		return nil, fmt.Errorf("preview: read policy: %w", err)
	}
	if !demanded.MetBy(m.AMR) {
		out.Problem = "The team demands a sign-in with more than yours had to see its logs. Saving works."
		return out, nil
	}
	shown, all, ok := access.Preview(m.standing, m.team.Tenant, role, org.LogsRead)
	if !ok {
		out.Problem = "A preview shows logs only to those who may read them, and you may not read the logs of this team."
		return out, nil
	}
	if c.Logs == nil {
		out.Problem = "There is no log store to take a preview from."
		return out, nil
	}
	end := c.Now()
	q := telemetry.LogQuery{Start: end.Add(-previewWindow), End: end, Limit: previewRows, CountTotal: true}
	budget := telemetry.Budget{Rows: previewRows, Time: previewTime}
	visible, err := c.Logs.QueryLogs(r.Context(), shown, q, budget)
	var whole telemetry.LogResult
	if err == nil {
		q.Limit = 1
		whole, err = c.Logs.QueryLogs(r.Context(), all, q, budget)
	}
	switch {
	case errors.Is(err, telemetry.ErrUnavailable):
		out.Problem = "Logs are temporarily unavailable. Try again in a few seconds; saving works."
		return out, nil
	case errors.Is(err, telemetry.ErrTooExpensive):
		out.Problem = "There are too many logs to look through in time. Saving works."
		return out, nil
	case err != nil:
		return nil, fmt.Errorf("preview: %w", err)
	}
	out.Visible, out.Hidden = visible.Total, -1
	if visible.Total >= 0 && whole.Total >= visible.Total {
		out.Hidden = whole.Total - visible.Total
	}
	for _, row := range visible.Rows {
		out.Rows = append(out.Rows, web.PreviewRow{
			At: row.Time, Severity: row.Get(telemetry.FieldSeverity), Service: row.Get(telemetry.FieldService), Message: clipped(row.Get(telemetry.FieldMessage)),
		})
	}
	return out, nil
}

func clipped(s string) string {
	if r := []rune(s); len(r) > maxPreviewRunes {
		return string(r[:maxPreviewRunes-1]) + "…"
	}
	return s
}

func (c *Console) askRemoveRole(w http.ResponseWriter, r *http.Request, m manager) error {
	role, err := c.roleOf(r, m)
	if err != nil {
		return err
	}
	back := m.base() + "/roles/" + role.Name
	if why := whyFixed(m, role); why != "" {
		return &web.Error{Status: http.StatusForbidden, Public: why, Links: []web.Link{{Text: "The role", URL: back}}}
	}
	holders, err := c.holders(r.Context(), m, role.Name)
	if err != nil {
		return err
	}
	page := web.RemovePage{
		Account: account(m.Session), Section: "/teams", Title: "Remove the role " + role.Name + "?",
		What: "A role that somebody holds, or that a group gives, cannot be removed: give them another one first.",
		Ends: fmt.Sprintf("%s now. No connection ends.", are(holders, "person holds it", "people hold it")), Action: back + "/remove", Button: "Remove role", Back: back,
	}
	if m.team.ID == "" {
		page.Section = "/roles"
	}
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) removeRole(w http.ResponseWriter, r *http.Request, m manager) error {
	role, err := c.roleOf(r, m)
	if err != nil {
		return err
	}
	why := whyFixed(m, role)
	if why == "" {
		err = c.Directory.RemoveRole(r.Context(), m.team.Slug, role.Name, c.actor(m.Session, r))
		if errors.Is(err, org.ErrRoleInUse) {
			return &web.Error{
				Status: http.StatusConflict, Public: "Somebody holds the role, or a group gives it, so it was not removed.", Next: "Give them another role first.",
				Links: []web.Link{{Text: "The role", URL: m.base() + "/roles/" + role.Name}},
			}
		}
		if err != nil {
			return err
		}
		return c.done(w, r, m.base()+"/roles", fmt.Sprintf("The role %s is removed.", role.Name))
	}
	return &web.Error{Status: http.StatusForbidden, Public: why, Links: []web.Link{{Text: "Roles", URL: m.base() + "/roles"}}}
}
