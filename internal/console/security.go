package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const securityPath = "/security"

// securityRoutes are those of the page on which people change how they sign
// in.
func (c *Console) securityRoutes() []web.Route {
	return []web.Route{
		c.page("GET /security", web.SignedIn, c.security),
		c.form("POST /security/factors/{id}/rename", web.SignedIn, c.renameFactor),
		c.form("POST /security/factors/{id}/remove", web.SignedIn, c.removeFactor),
		c.form("POST /security/recovery-codes", web.SignedIn, c.newRecoveryCodes),
		c.form("POST /security/password", web.SignedIn, c.changePassword),
		c.form("POST /security/sign-out-elsewhere", web.SignedIn, c.signOutElsewhere),
	}
}

func (c *Console) security(w http.ResponseWriter, r *http.Request, s login.Session) error {
	page, _, err := c.securityPage(r.Context(), s)
	if err != nil {
		return err
	}
	page.Notice = c.notice(r)
	return c.Site.Render(w, http.StatusOK, page)
}

func (c *Console) securityPage(ctx context.Context, s login.Session) (web.SecurityPage, []mfa.Factor, error) {
	page := web.SecurityPage{
		Account: account(s), Now: c.Now(), MinPassword: org.MinPasswordRunes,
		AppURL: c.Desk.EnrolURL(mfa.TOTP, securityPath), PasskeyURL: c.Desk.EnrolURL(mfa.Passkey, securityPath),
	}
	if ok, why := c.Desk.Factors.Passkeys(); !ok {
		page.PasskeyURL, page.NoPasskeys = "", why
	}
	factors, err := c.Desk.Factors.List(ctx, s.Person.ID)
	if err != nil {
		return page, nil, err
	}
	demanded, err := c.Directory.MFA(ctx, "")
	if err != nil {
		return page, nil, fmt.Errorf("read policy: %w", err)
	}
	switch demanded {
	case org.MFARequired:
		page.Demand = "Your organization requires a second factor."
	case org.MFAPasskey:
		page.Demand = "Your organization requires a passkey or security key."
	}
	for _, f := range factors {
		shown := web.SecurityFactor{
			ID: string(f.ID), Name: f.Name, Kind: kindInWords(f.Kind), Added: f.CreatedAt, LastUse: f.LastUsedAt, Needed: needed(demanded, factors, f),
		}
		if at := f.ClonedAt(); !at.IsZero() {
			shown.Trouble = fmt.Sprintf("On %s it was shown with an older counter than before, and refused: somebody may have a copy of it. If that was not you, remove it and set up a new one.",
				at.UTC().Format("2 January 2006"))
		}
		page.Factors = append(page.Factors, shown)
	}
	if page.RecoveryLeft, err = c.Desk.Factors.RecoveryCodesLeft(ctx, s.Person.ID); err != nil {
		return page, nil, err
	}
	sessions, err := c.Desk.SessionsOf(ctx, s.Person.ID)
	if err != nil {
		return page, nil, err
	}
	page.Browsers = shownSessions(sessions, s)
	events, err := c.Desk.Store.SignIns(ctx, s.Person.ID, maxSignIns)
	if err != nil {
		return page, nil, err
	}
	page.SignIns = shownSignIns(events)
	page.HasPassword, err = c.Desk.HasPassword(ctx, s.Person.ID)
	return page, factors, err
}

func kindInWords(k mfa.Kind) string {
	if k == mfa.Passkey {
		return "passkey"
	}
	return "authenticator app"
}

// needed says whether nothing that is enough would be left without a factor.
func needed(demanded org.MFA, all []mfa.Factor, f mfa.Factor) bool {
	return demanded != org.MFAOptional && !slices.ContainsFunc(all, func(other mfa.Factor) bool {
		return other.ID != f.ID && (demanded == org.MFARequired || other.Kind == mfa.Passkey)
	})
}

// mayChange says whether somebody has just proved who they are, with a factor
// if they have one. Where not, they are asked to, and it returns false.
func (c *Console) mayChange(w http.ResponseWriter, r *http.Request, s login.Session, factors []mfa.Factor) bool {
	return c.proven(w, r, s, factors, securityPath)
}

// proven is mayChange for a page that is come back to.
func (c *Console) proven(w http.ResponseWriter, r *http.Request, s login.Session, factors []mfa.Factor, back string) bool {
	var to string
	switch {
	case len(factors) > 0 && !org.MFARequired.MetBy(s.AMR):
		to = c.Desk.StepUpURL(back, org.MFARequired)
	case !c.Desk.Fresh(s):
		to = c.Desk.SignInURL(back, login.SignInOptions{Reauthenticate: true, LoginHint: s.Person.Email})
	default:
		return true
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return false
}

// ownFactor finds one of the person's own factors. Somebody else's is answered
// like one that does not exist.
func ownFactor(r *http.Request, factors []mfa.Factor) (mfa.Factor, error) {
	i := slices.IndexFunc(factors, func(f mfa.Factor) bool { return string(f.ID) == r.PathValue("id") })
	if i < 0 {
		return mfa.Factor{}, &web.Error{
			Status: http.StatusNotFound, Public: "You have no such factor. It may have been removed already.",
			Links: []web.Link{{Text: "Security", URL: securityPath}},
		}
	}
	return factors[i], nil
}

func (c *Console) renameFactor(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx := r.Context()
	page, factors, err := c.securityPage(ctx, s)
	if err != nil {
		return err
	}
	f, err := ownFactor(r, factors)
	if err != nil {
		return err
	}
	name, err := mfa.ParseName(r.PostForm.Get("name"), f.Kind)
	if err != nil {
		page.RenameID, page.RenameError = string(f.ID), sentence(err)
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Desk.Factors.Rename(ctx, s.Person.ID, f.ID, name, c.actor(s, r)); err != nil {
		return fmt.Errorf("rename factor: %w", err)
	}
	http.Redirect(w, r, c.withNotice(securityPath, name+" has its new name."), http.StatusSeeOther)
	return nil
}

// removeFactor asks first, and then removes.
func (c *Console) removeFactor(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx := r.Context()
	page, factors, err := c.securityPage(ctx, s)
	if err != nil {
		return err
	}
	if !c.mayChange(w, r, s, factors) {
		return nil
	}
	f, err := ownFactor(r, factors)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(page.Factors, func(shown web.SecurityFactor) bool { return shown.ID == string(f.ID) && shown.Needed }) {
		return &web.Error{
			Status: http.StatusConflict, Public: page.Demand + " This is your only one that is enough, so nothing was changed.",
			Next: "Set up another one first.", Links: []web.Link{{Text: "Security", URL: securityPath}},
		}
	}
	if r.PostForm.Get("sure") != "yes" {
		what := "You sign in without it from then on."
		if len(factors) == 1 {
			what = "It is your last one: from then on your password alone lets you in, and your recovery codes stop working."
		}
		return c.Site.Render(w, http.StatusOK, web.ConfirmPage{
			Account: account(s), Heading: "Remove " + web.DisplayName(f.Name) + "?", What: what,
			Action: r.URL.Path, Button: "Remove", Fields: []web.FormField{{Name: "sure", Value: "yes"}}, Cancel: securityPath,
		})
	}
	if err := c.Desk.Factors.Remove(ctx, s.Person.ID, f.ID, c.actor(s, r)); err != nil && !errors.Is(err, mfa.ErrNotFound) {
		return fmt.Errorf("remove factor: %w", err)
	}
	http.Redirect(w, r, c.withNotice(securityPath, f.Name+" is removed."), http.StatusSeeOther)
	return nil
}

func (c *Console) newRecoveryCodes(w http.ResponseWriter, r *http.Request, s login.Session) error {
	ctx := r.Context()
	factors, err := c.Desk.Factors.List(ctx, s.Person.ID)
	if err != nil {
		return err
	}
	if len(factors) == 0 {
		return &web.Error{
			Status: http.StatusConflict, Public: "Recovery codes stand in for a second factor, and you have none yet.",
			Links: []web.Link{{Text: "Security", URL: securityPath}},
		}
	}
	if !c.mayChange(w, r, s, factors) {
		return nil
	}
	codes, err := c.Desk.Factors.NewRecoveryCodes(ctx, s.Person.ID, c.actor(s, r))
	if err != nil {
		return err
	}
	return c.Site.Render(w, http.StatusOK, web.RecoveryCodesPage{Codes: codes, Next: securityPath})
}

func (c *Console) changePassword(w http.ResponseWriter, r *http.Request, s login.Session) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx := r.Context()
	page, factors, err := c.securityPage(ctx, s)
	if err != nil {
		return err
	}
	if !page.HasPassword {
		return &web.Error{
			Status: http.StatusConflict, Public: "You do not sign in with a password here.",
			Links: []web.Link{{Text: "Security", URL: securityPath}},
		}
	}
	if !c.mayChange(w, r, s, factors) {
		return nil
	}
	password := org.Password(r.PostForm.Get("new-password"))
	if err := password.Check(s.Person.Email, s.Person.Name); err != nil {
		page.PasswordError = sentence(err)
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	if err := c.Desk.ChangePassword(ctx, s, password, c.actor(s, r)); err != nil {
		return err
	}
	http.Redirect(w, r, c.withNotice(securityPath, "Your password is changed, and you are signed out in every other browser."), http.StatusSeeOther)
	return nil
}
