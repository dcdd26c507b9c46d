package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// policyRoutes are those of the page on which owners and team administrators
// say what sign-ins must have had.
func (c *Console) policyRoutes() []web.Route {
	return []web.Route{
		c.page("GET /policies", web.SignedIn, c.policies),
		c.form("POST /policies", web.SignedIn, c.setPolicy),
		c.form("POST /policies/reconnect", web.SignedIn, c.setReconnect),
		c.form("POST /policies/message", web.Owner, c.setMessage),
	}
}

func (c *Console) policies(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, err := c.policiesPage(r.Context(), s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

// administered lists the teams whose policy a person may set: all for an
// owner, their own for an administrator.
func (c *Console) administered(ctx context.Context, p org.Person) ([]org.Team, error) {
	if p.Owner {
		return c.Directory.Teams(ctx)
	}
	members, err := c.Directory.Memberships(ctx, p.ID)
	if err != nil {
		return nil, fmt.Errorf("list memberships: %w", err)
	}
	var teams []org.Team
	for _, m := range members {
		standing, err := c.Directory.Standing(ctx, m)
		if err != nil {
			return nil, err
		}
		if standing.May(org.TeamAdmin) {
			teams = append(teams, m.Team)
		}
	}
	return teams, nil
}

func (c *Console) policiesPage(ctx context.Context, s login.Session) (web.PoliciesPage, error) {
	page := web.PoliciesPage{Account: account(s), Owner: s.Person.Owner}
	if page.Owner {
		var err error
		if page.Message, err = c.Directory.SignInMessage(ctx); err != nil {
			return page, err
		}
	}
	teams, err := c.administered(ctx, s.Person)
	if err != nil {
		return page, err
	}
	kinds, err := c.Desk.Factors.Kinds(ctx)
	if err != nil {
		return page, err
	}
	all, err := c.Directory.OwnMFA(ctx, "")
	if err != nil {
		return page, fmt.Errorf("read policy: %w", err)
	}
	if s.Person.Owner {
		people, err := c.Directory.People(ctx)
		if err != nil {
			return page, fmt.Errorf("list people: %w", err)
		}
		p, err := c.policy(ctx, org.Team{}, all, people, kinds)
		if err != nil {
			return page, err
		}
		page.Policies = append(page.Policies, p)
	}
	for _, t := range teams {
		members, err := c.Directory.Members(ctx, t.Slug)
		if err != nil {
			return page, fmt.Errorf("list members: %w", err)
		}
		var people []org.Person
		for _, m := range members {
			people = append(people, m.Person)
		}
		own, err := c.Directory.OwnMFA(ctx, t.ID)
		if err != nil {
			return page, fmt.Errorf("read policy: %w", err)
		}
		p, err := c.policy(ctx, t, own, people, kinds)
		if err != nil {
			return page, err
		}
		switch all {
		case org.MFARequired:
			p.Floor = "The organization requires a second factor in any case."
		case org.MFAPasskey:
			p.Floor = "The organization requires a passkey in any case."
		}
		page.Policies = append(page.Policies, p)
	}
	return page, nil
}

// policy says what is set for a team, or with the zero one for the
// organization, and what each choice would do now.
func (c *Console) policy(ctx context.Context, t org.Team, current org.MFA, people []org.Person, kinds map[org.PersonID][]mfa.Kind) (web.Policy, error) {
	p := web.Policy{Slug: t.Slug, Name: t.Name, Current: string(current)}
	connections, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Team: t.ID})
	if err != nil {
		return p, err
	}
	reconnect, err := c.Directory.Reconnect(ctx, t.ID)
	if err != nil {
		return p, err
	}
	p.Disconnect, p.Reconnect, p.SignInAge, p.Default = reconnect.Disconnect, reconnect.Return, org.FormatLookBack(reconnect.SignInAge), "with each token"
	if c.Authority.Lifetimes.Hourly {
		p.Default = "at every full hour"
	}
	people = slices.DeleteFunc(people, func(p org.Person) bool { return !p.Active() || p.Service })
	for _, m := range org.MFALevels() {
		lacking, refused := 0, 0
		for _, p := range people {
			if !enough(m, kinds[p.ID]) {
				lacking++
			}
		}
		for _, con := range connections {
			if !con.Person.Service && !m.MetBy(con.Grant.AMR) {
				refused++
			}
		}
		level := web.PolicyLevel{Value: string(m)}
		switch m {
		case org.MFAOptional:
			level.Text, level.Effect = "Optional", "Each person decides."
		case org.MFARequired:
			level.Text = "Required"
			level.Effect = fmt.Sprintf("%s no second factor yet. %s", haveOf(lacking, len(people)), refusedInWords(refused))
		case org.MFAPasskey:
			level.Text = "Passkey required"
			level.Effect = fmt.Sprintf("%s no passkey or security key yet. %s", haveOf(lacking, len(people)), refusedInWords(refused))
		}
		p.Levels = append(p.Levels, level)
	}
	return p, nil
}

// enough says whether somebody with factors of these kinds could sign in as
// demanded.
func enough(m org.MFA, kinds []mfa.Kind) bool {
	switch m {
	case org.MFAOptional:
		return true
	case org.MFARequired:
		return len(kinds) > 0
	default:
		return slices.Contains(kinds, mfa.Passkey)
	}
}

func haveOf(n, of int) string {
	if n == 1 {
		return fmt.Sprintf("1 person of %d has", of)
	}
	return fmt.Sprintf("%d people of %d have", n, of)
}

func refusedInWords(n int) string {
	switch n {
	case 0:
		return "No connection would be refused."
	case 1:
		return "1 connection is refused until its person has connected again with one."
	default:
		return fmt.Sprintf("%d connections are refused until their people have connected again with one.", n)
	}
}

func (c *Console) setPolicy(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, slug := r.Context(), r.PostForm.Get("team")
	m, err := org.ParseMFA(r.PostForm.Get("mfa"))
	if err != nil {
		return &web.Error{
			Status: http.StatusBadRequest, Public: "Nothing was chosen, so nothing was changed.", Cause: err,
			Links: []web.Link{{Text: "Policies", URL: "/policies"}},
		}
	}
	whom, err := c.mayDecide(ctx, s, slug)
	if err != nil {
		return err
	}
	if ok, why := c.Desk.Factors.Passkeys(); !ok && m == org.MFAPasskey {
		page, err := c.policiesPage(ctx, s)
		if err != nil {
			return err
		}
		for i := range page.Policies {
			if page.Policies[i].Slug == slug {
				page.Policies[i].Error = "Nothing was changed: nobody could set up a passkey. " + why
			}
		}
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Directory.SetMFA(ctx, slug, m, c.actor(s, r)); err != nil {
		return err
	}
	words := map[org.MFA]string{
		org.MFAOptional: "A second factor is optional for ", org.MFARequired: "A second factor is required for ", org.MFAPasskey: "A passkey is required for ",
	}[m]
	http.Redirect(w, r, c.withNotice("/policies", words+whom+" from now on."), http.StatusSeeOther)
	return nil
}

// mayDecide returns whose policy somebody sets, in words, or why they must not.
func (c *Console) mayDecide(ctx context.Context, s login.Session, slug string) (whom string, err error) {
	if slug == "" && s.Person.Owner {
		return "the whole organization", nil
	}
	teams, err := c.administered(ctx, s.Person)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(teams, func(t org.Team) bool { return t.Slug == slug }); i >= 0 {
		return teams[i].Name, nil
	}
	return "", &web.Error{
		Status: http.StatusForbidden, Public: "Only an owner of the organization, or an administrator of the team, may do this.", Next: "Ask one to do it for you.",
		Links: []web.Link{{Text: "Start page", URL: "/"}},
	}
}

// setReconnect sets how often connections must come back, and how.
func (c *Console) setReconnect(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, form := r.Context(), r.PostForm
	whom, err := c.mayDecide(ctx, s, form.Get("team"))
	if err != nil {
		return err
	}
	policy := org.Reconnect{Disconnect: form.Get("disconnect"), Return: form.Get("reconnect")}
	if policy.SignInAge, err = org.ParseLookBack(form.Get("age")); err != nil {
		err = fmt.Errorf("write a number and h, d or w, like 30d, or nothing")
	} else {
		err = policy.Check(form.Get("team") != "")
	}
	if err != nil {
		page, readErr := c.policiesPage(ctx, s)
		if readErr != nil {
			return readErr
		}
		for i := range page.Policies {
			if p := &page.Policies[i]; p.Slug == form.Get("team") {
				p.Disconnect, p.Reconnect, p.SignInAge, p.AgeError = policy.Disconnect, policy.Return, form.Get("age"), sentence(err)
			}
		}
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Directory.SetReconnect(ctx, form.Get("team"), policy, c.actor(s, r)); err != nil {
		return err
	}
	http.Redirect(w, r, c.withNotice("/policies", fmt.Sprintf("Connections of %s: %s.", whom, policy)), http.StatusSeeOther)
	return nil
}

// setMessage sets what the sign-in page says.
func (c *Console) setMessage(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx := r.Context()
	text, err := org.ParseSignInMessage(r.PostForm.Get("text"))
	if !r.PostForm.Has("text") {
		err = errors.New("the form came without the message, so it was left as it is") // an empty one would remove it
	}
	if err != nil {
		page, readErr := c.policiesPage(ctx, s)
		if readErr != nil {
			return readErr
		}
		page.Message, page.MessageError = r.PostForm.Get("text"), sentence(err)
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Directory.SetSignInMessage(ctx, text, c.actor(s, r)); err != nil {
		return err
	}
	notice := "The sign-in page shows the message now."
	if text == "" {
		notice = "The sign-in page shows no message any more."
	}
	return c.done(w, r, "/policies", notice)
}
