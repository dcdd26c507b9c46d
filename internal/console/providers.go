package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	providersPath = "/providers"
	// maxProviderForm bounds the form for a new provider, which may hold
	// metadata.
	maxProviderForm = 512 << 10
)

// providerRoutes are those of the page about identity providers.
func (c *Console) providerRoutes() []web.Route {
	if c.Providers == nil {
		return nil
	}
	return []web.Route{
		c.page("GET "+providersPath, web.Owner, c.providers),
		{Pattern: "POST " + providersPath, Who: web.Owner, Handler: c.Site.WithBodyLimit(maxProviderForm).Form(c.only(web.Owner, c.addProvider))},
		c.form("POST "+providersPath+"/{slug}/enable", web.Owner, c.enableProvider),
		c.form("POST "+providersPath+"/{slug}/disable", web.Owner, c.disableProvider),
		c.form("POST "+providersPath+"/{slug}/map", web.Owner, c.mapGroup),
		c.form("POST "+providersPath+"/{slug}/unmap", web.Owner, c.unmapGroup),
	}
}

func (c *Console) providers(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.providersPage(r.Context(), s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) providersPage(ctx context.Context, s login.Session) (web.ProvidersPage, error) {
	page := web.ProvidersPage{Account: account(s)}
	all, err := c.Providers.Registry.Providers(ctx)
	if err != nil {
		return page, err
	}
	for _, p := range all {
		item, err := c.providerItem(ctx, p)
		if err != nil {
			return page, err
		}
		page.Providers = append(page.Providers, item)
	}
	teams, err := c.Directory.Teams(ctx)
	if err != nil {
		return page, err
	}
	for _, t := range teams {
		page.Teams = append(page.Teams, web.Option{Value: t.Slug, Text: t.Name})
		roles, err := c.Directory.Roles(ctx, t.Slug)
		if err != nil {
			return page, err
		}
		for _, role := range roles {
			if !slices.Contains(page.Roles, role.Name) {
				page.Roles = append(page.Roles, role.Name)
			}
		}
	}
	glass, err := c.Providers.Registry.BreakGlass(ctx)
	if err != nil {
		return page, err
	}
	for _, p := range glass {
		page.BreakGlass = append(page.BreakGlass, p.Name+" ("+p.Email+")")
	}
	return page, nil
}

func (c *Console) providerItem(ctx context.Context, p sso.Provider) (web.ProviderItem, error) {
	item := web.ProviderItem{Slug: p.Slug, Name: p.Name, Enabled: p.Enabled, CreateAccounts: p.Settings.CreateAccounts}
	if p.Kind == sso.SAML {
		item.Kind, item.At = "SAML 2.0", p.Settings.EntityID()
		item.Copy = []web.CopyItem{
			{Label: "Entity id, and address of our metadata", Value: c.Providers.EntityID(p.Slug)},
			{Label: "ACS URL", Value: c.Providers.ACSURL(p.Slug)},
			{Label: "Single logout URL", Value: c.Providers.SLOURL(p.Slug)},
		}
	} else {
		item.Kind, item.At = "OpenID Connect", p.Settings.Issuer
		item.Copy = []web.CopyItem{
			{Label: "Redirect URI", Value: c.Providers.RedirectURI(p.Slug)},
			{Label: "Back-channel logout URI", Value: c.Providers.BackchannelURI(p.Slug)},
			{Label: "Post-logout redirect URI", Value: c.Providers.SignedOutURI(p.Slug)},
		}
	}
	for _, d := range p.Domains {
		item.Domains = append(item.Domains, web.ProviderDomain(d))
	}
	for _, rule := range p.Rules {
		item.Rules = append(item.Rules, web.ProviderRule{Group: rule.Group, Team: rule.Team, Role: rule.Role})
	}
	ends, err := c.Providers.Registry.CountSignIns(ctx, p)
	if err != nil {
		return item, err
	}
	item.Ends = fmt.Sprintf("Nobody can sign in with %s then. What came from it ends at once: %s and %s.",
		p.Name, count(ends.Sessions, "browser session"), count(ends.Connections, "connection"))
	return item, nil
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func (c *Console) addProvider(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	f := r.PostForm
	form := web.NewProviderForm{
		Kind: f.Get("kind"), Name: strings.TrimSpace(f.Get("name")), Domains: f.Get("domains"), Issuer: strings.TrimSpace(f.Get("issuer")), ClientID: strings.TrimSpace(f.Get("client_id")),
		MetadataURL: strings.TrimSpace(f.Get("metadata_url")), Metadata: f.Get("metadata"), Scopes: f.Get("scopes"),
		GroupClaim: strings.TrimSpace(f.Get("group_claim")), SubjectClaim: strings.TrimSpace(f.Get("subject_claim")), EmailClaim: strings.TrimSpace(f.Get("email_claim")),
		CreateAccounts: f.Has("create_accounts"), TrustEmail: f.Has("trust_email"), AllowPrivate: f.Has("allow_private"),
	}
	p, err := c.storeProvider(r, s, form, sso.Secret(strings.TrimSpace(f.Get("client_secret"))))
	if refused, ok := errors.AsType[*sso.FieldError](err); ok {
		page, err := c.providersPage(r.Context(), s)
		if err != nil {
			return err
		}
		field := refused.Field
		if field == "slug" {
			field = "name" // of which it is made
		}
		page.New, page.Errors = form, map[string]string{field: sentence(refused)}
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, c.withNotice(providersPath, p.Name+" is added. Enter at the provider what is shown below."), http.StatusSeeOther)
	return nil
}

func (c *Console) storeProvider(r *http.Request, s login.Session, form web.NewProviderForm, secret sso.Secret) (sso.Provider, error) {
	n := sso.NewProvider{
		Slug: login.SlugFor(form.Name), Name: form.Name, ClientSecret: secret,
		Domains: strings.FieldsFunc(form.Domains, func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) }),
		Settings: sso.Settings{
			CreateAccounts: form.CreateAccounts, AllowPrivate: form.AllowPrivate, TrustEmail: form.TrustEmail,
			GroupClaim: form.GroupClaim, SubjectClaim: form.SubjectClaim, EmailClaim: form.EmailClaim,
			Issuer: form.Issuer, ClientID: form.ClientID, Metadata: form.Metadata, MetadataURL: form.MetadataURL,
		},
	}
	if scopes := strings.Fields(form.Scopes); len(scopes) > 0 {
		n.Settings.Scopes = scopes
	}
	switch sso.Kind(form.Kind) {
	case sso.OIDC:
		n.Settings.Metadata, n.Settings.MetadataURL = "", ""
		return c.Providers.Registry.AddOIDC(r.Context(), n, c.actor(s, r))
	case sso.SAML:
		n.Settings.Issuer, n.Settings.ClientID = "", ""
		if strings.TrimSpace(form.Metadata) == "" && form.MetadataURL != "" {
			text, err := c.Providers.FetchMetadata(r.Context(), form.MetadataURL, form.AllowPrivate)
			if err != nil {
				c.Logger.WarnContext(r.Context(), "metadata not fetched", "err", err)
				return sso.Provider{}, &sso.FieldError{Field: "metadata_url", Err: errors.New("the metadata could not be fetched from there; paste them instead, or see the log for the reason")}
			}
			n.Settings.Metadata = text
		}
		return c.Providers.Registry.AddSAML(r.Context(), n, c.actor(s, r))
	}
	return sso.Provider{}, &web.Error{Status: http.StatusBadRequest, Public: "The form does not say what kind of provider it is about."}
}

func (c *Console) enableProvider(w http.ResponseWriter, r *http.Request, s login.Session) error {
	p, _, err := c.Providers.Registry.SetEnabled(r.Context(), r.PathValue("slug"), true, c.actor(s, r))
	if err != nil {
		return providerProblem(err)
	}
	http.Redirect(w, r, c.withNotice(providersPath, "People can sign in with "+p.Name+"."), http.StatusSeeOther)
	return nil
}

func (c *Console) disableProvider(w http.ResponseWriter, r *http.Request, s login.Session) error {
	p, ended, err := c.Providers.Registry.SetEnabled(r.Context(), r.PathValue("slug"), false, c.actor(s, r))
	if err != nil {
		return providerProblem(err)
	}
	http.Redirect(w, r, c.withNotice(providersPath, fmt.Sprintf("%s is switched off. %s and %s ended.",
		p.Name, count(ended.Sessions, "browser session"), count(ended.Connections, "connection"))), http.StatusSeeOther)
	return nil
}

func providerProblem(err error) error {
	if errors.Is(err, sso.ErrNotFound) {
		return &web.Error{
			Status: http.StatusNotFound, Public: "There is no such identity provider.", Cause: err,
			Links: []web.Link{{Text: "Identity providers", URL: providersPath}},
		}
	}
	return err
}

func ruleOf(r *http.Request) sso.Rule {
	return sso.Rule{Group: r.PostForm.Get("group"), Team: r.PostForm.Get("team"), Role: r.PostForm.Get("role")}
}

func (c *Console) mapGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	slug := r.PathValue("slug")
	rule, err := c.Providers.Registry.Map(r.Context(), slug, ruleOf(r), c.actor(s, r))
	switch {
	case errors.Is(err, sso.ErrNotFound):
		return providerProblem(err)
	case errors.Is(err, sso.ErrRuleExists), errors.Is(err, sso.ErrGroupName), errors.Is(err, org.ErrRoleNotFound), errors.Is(err, org.ErrTeamNotFound):
		page, pageErr := c.providersPage(r.Context(), s)
		if pageErr != nil {
			return pageErr
		}
		for i := range page.Providers {
			if p := &page.Providers[i]; p.Slug == slug {
				p.Group, p.Error = r.PostForm.Get("group"), sentence(err)
			}
		}
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	case err != nil:
		return err
	}
	http.Redirect(w, r, c.withNotice(providersPath, fmt.Sprintf("Members of %s have the role %s in %s from their next sign-in on.", rule.Group, rule.Role, rule.Team)), http.StatusSeeOther)
	return nil
}

func (c *Console) unmapGroup(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	rule := ruleOf(r)
	err := c.Providers.Registry.Unmap(r.Context(), r.PathValue("slug"), rule, c.actor(s, r))
	// Pressed twice, it is gone all the same.
	if err != nil && !errors.Is(err, sso.ErrRuleNotFound) {
		return providerProblem(err)
	}
	http.Redirect(w, r, c.withNotice(providersPath, fmt.Sprintf("%s gives %s in %s no more; people lose it at their next sign-in.", rule.Group, rule.Role, rule.Team)), http.StatusSeeOther)
	return nil
}
