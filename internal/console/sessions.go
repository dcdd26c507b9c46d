package console

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// maxSignIns is how many sign-ins a page tells of.
const maxSignIns = 20

// shownSignIns are sign-ins and refused attempts as pages show them.
func shownSignIns(events []audit.Event) []web.SignIn {
	var out []web.SignIn
	for _, ev := range events {
		out = append(out, web.SignIn{At: ev.At, Address: ev.Actor.Address, How: ev.Detail, Refused: ev.Kind == audit.SignInRefused})
	}
	return out
}

// shownSessions are a person's browsers as their page shows them, this one
// first.
func shownSessions(sessions []login.SessionState, s login.Session) []web.BrowserSession {
	var out []web.BrowserSession
	for _, b := range sessions {
		shown := web.BrowserSession{Here: b.Hash == s.Hash, Since: b.CreatedAt, LastUsed: b.LastUsed, How: howInWords(b.AMR)}
		if shown.Here {
			out = slices.Insert(out, 0, shown)
		} else {
			out = append(out, shown)
		}
	}
	return out
}

// howInWords says how somebody signed in.
func howInWords(amr []string) string {
	switch {
	case org.MFAPasskey.MetBy(amr):
		return "with a passkey or security key"
	case org.MFARequired.MetBy(amr):
		return "with a second factor"
	case slices.Contains(amr, login.AMRPassword):
		return "with a password"
	}
	return "through an identity provider"
}

// signOutElsewhere asks first, and then ends the person's other sessions.
func (c *Console) signOutElsewhere(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	page, _, err := c.securityPage(r.Context(), s)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(page.Browsers), func(b web.BrowserSession) bool { return b.Here })
	if len(others) == 0 {
		page.Notice = "You are signed in nowhere else."
		return c.Site.Render(w, http.StatusOK, page)
	}
	if r.PostForm.Get("sure") != "yes" {
		ends := "s end"
		if len(others) == 1 {
			ends = " ends"
		}
		return c.Site.Render(w, http.StatusOK, web.ConfirmPage{
			Account: account(s), Heading: "Sign out everywhere else?",
			What:   fmt.Sprintf("%d other session%s. You stay signed in here, and assistants that you connected stay connected.", len(others), ends),
			Action: r.URL.Path, Button: "Sign out everywhere else", Fields: []web.FormField{{Name: "sure", Value: "yes"}}, Cancel: securityPath,
		})
	}
	if err := c.Desk.SignOutEverywhere(r.Context(), s.Person.ID, s.Hash, c.actor(s, r)); err != nil {
		return err
	}
	return c.done(w, r, securityPath, "You are signed out everywhere else.")
}
