package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/web"
)

const (
	integrationsPath = "/integrations"
	clientsPath      = "/clients"
)

func (c *Console) integrations(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.integrationsPage(r, s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) integrationsPage(r *http.Request, s login.Session) (web.IntegrationsPage, error) {
	page := web.IntegrationsPage{Account: account(s), Now: c.Now()}
	all, err := c.Authority.Integrations(r.Context())
	if err != nil {
		return page, err
	}
	for _, i := range all {
		if len(i.Connections) > 0 || i.Blocked {
			page.Integrations = append(page.Integrations, shownIntegration(i))
		}
	}
	return page, nil
}

// shownIntegration returns an integration as pages show it.
func shownIntegration(i grant.Integration) web.Integration {
	out := web.Integration{
		ID: i.ID, Name: i.Product, Connections: len(i.Connections), LastUsed: i.LastUsed(), Blocked: i.Blocked,
	}
	for _, h := range i.BlockedHosts {
		out.BlockedWith = append(out.BlockedWith, strings.TrimPrefix(h, grant.HostProduct))
	}
	if len(i.Clients) > 0 {
		newest := i.Clients[0]
		out.Name, out.Host, out.Registered = newest.Name(), verifiedHost(newest), newest.Kind == grant.Registered
		out.Destination = destination(newest)
	} else if host, ok := strings.CutPrefix(i.Product, grant.HostProduct); ok {
		out.Name, out.Whole = host, true
	} else if u, err := url.Parse(i.Product); err == nil {
		out.Host = u.Hostname() // a document that nobody has used
	}
	for _, con := range i.Connections {
		list, name := &out.People, fmt.Sprintf("%s (%s)", con.Person.Name, con.Person.Email)
		if con.Person.Service {
			list, name = &out.Programs, con.Person.Name
		}
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	return out
}

// integration finds the one that a request is about.
func (c *Console) integration(r *http.Request) (grant.Integration, error) {
	i, err := c.Authority.Integration(r.Context(), r.PathValue("id"))
	if errors.Is(err, grant.ErrIntegrationUnknown) {
		return i, &web.Error{
			Status: http.StatusNotFound, Public: "There is no such integration.", Links: []web.Link{{Text: "Integrations", URL: integrationsPath}},
		}
	}
	return i, err
}

// listOf returns the page that an integration is listed on.
func listOf(i grant.Integration) string {
	if len(i.Clients) > 0 && i.Clients[0].Kind == grant.Registered {
		return clientsPath
	}
	return integrationsPath
}

func (c *Console) confirmRevoke(w http.ResponseWriter, r *http.Request, s login.Session) error {
	return c.confirm(w, r, s, false)
}

func (c *Console) confirmBlock(w http.ResponseWriter, r *http.Request, s login.Session) error {
	return c.confirm(w, r, s, true)
}

// confirm says what would end before it does.
func (c *Console) confirm(w http.ResponseWriter, r *http.Request, s login.Session, block bool) error {
	i, err := c.integration(r)
	if err != nil {
		return err
	}
	return c.Site.Render(w, http.StatusOK, web.IntegrationPage{
		Account: account(s), Integration: shownIntegration(i), Block: block, Back: listOf(i),
	})
}

func (c *Console) revokeIntegration(w http.ResponseWriter, r *http.Request, s login.Session) error {
	i, err := c.integration(r)
	if err != nil {
		return err
	}
	shown := shownIntegration(i)
	if _, err := c.Authority.RevokeIntegration(r.Context(), i, c.actor(s, r)); err != nil {
		return err
	}
	words := fmt.Sprintf("%s is revoked: %s. Their next call is refused.", web.DisplayName(shown.Name), shown.Extent())
	http.Redirect(w, r, c.withNotice(listOf(i), words), http.StatusSeeOther)
	return nil
}

func (c *Console) blockIntegration(w http.ResponseWriter, r *http.Request, s login.Session) error {
	return c.setBlocked(w, r, s, true)
}

func (c *Console) unblockIntegration(w http.ResponseWriter, r *http.Request, s login.Session) error {
	return c.setBlocked(w, r, s, false)
}

func (c *Console) setBlocked(w http.ResponseWriter, r *http.Request, s login.Session, blocked bool) error {
	i, err := c.integration(r)
	if err != nil {
		return err
	}
	if err := c.Authority.SetIntegrationBlocked(r.Context(), i, blocked, c.actor(s, r)); err != nil {
		return err
	}
	words := web.DisplayName(shownIntegration(i).Name) + " is unblocked. Connections that have not ended work again."
	if blocked {
		words = web.DisplayName(shownIntegration(i).Name) + " is blocked. Everything of it is refused from the next call on."
	}
	http.Redirect(w, r, c.withNotice(listOf(i), words), http.StatusSeeOther)
	return nil
}

// blockBeforehand blocks a host, or a document that nobody has used.
func (c *Console) blockBeforehand(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("block"))
	product, err := c.Authority.BlockIntegration(r.Context(), name, true, c.actor(s, r))
	if errors.Is(err, grant.ErrClientUnknown) || errors.Is(err, grant.ErrIntegrationName) {
		page, pageErr := c.integrationsPage(r, s)
		if pageErr != nil {
			return pageErr
		}
		page.Block = name
		page.BlockError = "Write a host, like example.com, or the address of a metadata document, like https://example.com/client.json."
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err != nil {
		return err
	}
	words := web.DisplayName(strings.TrimPrefix(product, grant.HostProduct)) + " is blocked."
	http.Redirect(w, r, c.withNotice(integrationsPath, words), http.StatusSeeOther)
	return nil
}
