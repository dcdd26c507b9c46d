package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

func (c *Console) clients(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.clientsPage(r, s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

// clientsPage lists the clients that were added beforehand; the one that was
// added last comes first.
func (c *Console) clientsPage(r *http.Request, s login.Session) (web.ClientsPage, error) {
	ctx := r.Context()
	page := web.ClientsPage{Account: account(s), Now: c.Now()}
	all, err := c.Authority.Integrations(ctx)
	if err != nil {
		return page, err
	}
	for _, i := range all {
		if len(i.Clients) == 0 || i.Clients[0].Kind != grant.Registered {
			continue
		}
		client := i.Clients[0] // a registered client is a product of its own
		shown := web.RegisteredClient{
			Integration: shownIntegration(i), ClientID: string(client.ID), Secret: client.SecretHash != "",
			RedirectURIs: texts(client.Metadata.RedirectURIs), LogoutURIs: texts(client.Metadata.PostLogoutRedirectURIs),
			IDTokenAlg: "ES256", Since: client.CreatedAt,
		}
		if alg := client.Metadata.IDTokenSigningAlg; alg != "" {
			shown.IDTokenAlg = alg
		}
		if shown.Does, err = c.does(r, client); err != nil {
			return page, err
		}
		page.Clients = append(page.Clients, shown)
	}
	teams, err := c.Directory.Teams(ctx)
	if err != nil {
		return page, fmt.Errorf("list teams: %w", err)
	}
	for _, t := range teams {
		page.Form.Teams = append(page.Form.Teams, web.StartTeam{Slug: t.Slug, Name: t.Name})
	}
	return page, nil
}

func texts(uris []spec.RedirectURI) []string {
	var out []string
	for _, u := range uris {
		out = append(out, u.String())
	}
	return out
}

// does says for whom a client acts.
func (c *Console) does(r *http.Request, client grant.Client) (string, error) {
	if client.Service == "" {
		return "for the people who allow it", nil
	}
	members, err := c.Directory.Memberships(r.Context(), client.Service)
	if err != nil {
		return "", fmt.Errorf("list memberships of %s: %w", client.Key(), err)
	}
	var where []string
	for _, m := range members {
		where = append(where, fmt.Sprintf("in %s as %s", m.Team.Name, strings.Join(m.Roles, ", ")))
	}
	if len(where) == 0 {
		return "by itself, but it is in no team any more", nil
	}
	return "by itself " + strings.Join(where, "; "), nil
}

// addClient adds a client and leads to the page that shows its credentials,
// this once: see handOut.
func (c *Console) addClient(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	form := web.ClientForm{
		Name: strings.TrimSpace(r.PostForm.Get("name")), Kind: r.PostForm.Get("kind"),
		RedirectURIs: r.PostForm.Get("redirect_uris"), LogoutURIs: r.PostForm.Get("logout_uris"), IDTokenAlg: r.PostForm.Get("id_token_alg"),
		Team: r.PostForm.Get("team"), Roles: strings.TrimSpace(r.PostForm.Get("roles")),
	}
	n := grant.NewClient{
		Name: form.Name, RedirectURIs: lines(form.RedirectURIs), PostLogoutRedirectURIs: lines(form.LogoutURIs),
		IDTokenAlg: form.IDTokenAlg, Confidential: form.Kind == web.ConfidentialClient,
	}
	form.Errors = checkClient(n, form)
	by := c.actor(s, r)
	if len(form.Errors) == 0 && form.Kind == web.ServiceClient {
		service, err := c.Directory.AddService(r.Context(), form.Name, form.Team, strings.Split(form.Roles, ","), by)
		switch {
		case errors.Is(err, org.ErrTeamNotFound):
			form.Errors["team"] = "There is no such team any more."
		case errors.Is(err, org.ErrRoleNotFound):
			form.Errors["roles"] = sentence(err)
		case err != nil:
			return err
		}
		n.Service = service.ID
	}
	if len(form.Errors) > 0 {
		page, err := c.clientsPage(r, s)
		if err != nil {
			return err
		}
		form.Teams = page.Form.Teams
		page.Form = form
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	client, secret, err := c.Authority.AddClient(r.Context(), n, by)
	if err != nil {
		return err
	}
	if err := c.handOut(w, s, addedClient{client.Name(), string(client.ID), secret, n.Service != ""}); err != nil {
		return err
	}
	http.Redirect(w, r, clientAddedPath, http.StatusSeeOther)
	return nil
}

// checkClient says what is wrong with a form, by field.
func checkClient(n grant.NewClient, form web.ClientForm) map[string]string {
	problems := make(map[string]string)
	if err := login.CheckName(n.Name); err != nil {
		problems["name"] = sentence(err)
	}
	service := form.Kind == web.ServiceClient
	switch {
	case (grant.NewClient{RedirectURIs: n.RedirectURIs}).Check() != nil:
		problems["redirect_uris"] = sentence((grant.NewClient{RedirectURIs: n.RedirectURIs}).Check())
	case len(n.RedirectURIs) == 0 && !service:
		problems["redirect_uris"] = "At least one address is needed, to which answers are sent."
	}
	if err := (grant.NewClient{PostLogoutRedirectURIs: n.PostLogoutRedirectURIs}).Check(); err != nil {
		problems["logout_uris"] = sentence(err)
	}
	if err := (grant.NewClient{IDTokenAlg: n.IDTokenAlg}).Check(); err != nil {
		problems["id_token_alg"] = sentence(err)
	}
	if service && form.Team == "" {
		problems["team"] = "Choose the team that it acts in."
	}
	if service && strings.Trim(form.Roles, ", ") == "" {
		problems["roles"] = "At least one role is needed: it says what the program may do."
	}
	return problems
}

// lines returns the lines of a text that say something.
func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
