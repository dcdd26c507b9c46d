package login

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// freshFor is how long after proving who they are somebody may change how
	// they do it.
	freshFor = 15 * time.Minute
	// purposeEnrol marks an enrolment under way; enrolLifetime is how long it
	// may take.
	purposeEnrol  = "enrolment"
	enrolLifetime = 30 * time.Minute
)

// Fresh says whether a session's sign-in is recent enough to change how its
// person signs in.
func (d *Desk) Fresh(s Session) bool { return d.Now().Sub(s.AuthTime) < freshFor }

// EnrolURL returns the local URL of the page that sets up a factor and then
// goes to returnTo.
func (d *Desk) EnrolURL(kind mfa.Kind, returnTo string) string {
	return enrolURL(kind, d.Steps.Sign(purposeReturn, returnStep{Return: returnTo}, returnLifetime))
}

// enrolChoice is the page of somebody who must set up a factor.
func (d *Desk) enrolChoice(h halfway, token string) web.EnrolChoicePage {
	page := web.EnrolChoicePage{
		Person: account(h.person), SignOutStep: token, OnlyPasskey: h.need == org.MFAPasskey,
		AppURL: enrolURL(mfa.TOTP, token), PasskeyURL: enrolURL(mfa.Passkey, token),
	}
	if ok, why := d.Factors.Passkeys(); !ok {
		page.PasskeyURL, page.NoPasskeys = "", why
	}
	return page
}

// atEnrol is what both pages of an enrolment begin with: somebody whose proof
// is fresh, and who has shown a factor if they have one. It returns false
// where the answer has been given.
func (d *Desk) atEnrol(w http.ResponseWriter, r *http.Request, token string, kind mfa.Kind) (halfway, returnStep, bool, error) {
	h, st, ok, err := d.atSecond(w, r, token)
	if !ok || err != nil {
		return h, st, false, err
	}
	switch {
	case kind != mfa.TOTP && kind != mfa.Passkey:
		return h, st, false, web.NotFound(w, r)
	case len(h.factors) > 0 && !org.MFARequired.MetBy(h.proof.amr):
		http.Redirect(w, r, secondURL(token), http.StatusSeeOther)
		return h, st, false, nil
	case !h.fresh:
		again := SignInOptions{Reauthenticate: true, LoginHint: h.person.Email, Need: st.Need}
		to := enrolURL(kind, token)
		if h.missing() == anEnrolment {
			// The sign-in leads here by itself, and then on.
			to = st.Return
		}
		http.Redirect(w, r, d.SignInURL(to, again), http.StatusSeeOther)
		return h, st, false, nil
	}
	return h, st, true, nil
}

func (d *Desk) showEnrol(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	token, kind := q.Get("step"), mfa.Kind(q.Get("kind"))
	h, st, ok, err := d.atEnrol(w, r, token, kind)
	if !ok || err != nil {
		return err
	}
	if kind == mfa.Passkey {
		return d.renderPasskey(r.Context(), w, http.StatusOK, h, st, token, web.EnrolPasskeyPage{})
	}
	return d.renderApp(w, http.StatusOK, h, st, token, d.Factors.BeginTOTP(h.person.ID), web.EnrolAppPage{})
}

// renderApp shows the secret of an enrolment; typed holds what was typed and
// what is wrong with it.
func (d *Desk) renderApp(w http.ResponseWriter, status int, h halfway, st returnStep, token string, e mfa.Enrolment, typed web.EnrolAppPage) error {
	secret, err := d.Factors.Show(e, h.person.Email)
	if err != nil {
		return err
	}
	typed.Step, typed.Person, typed.Cancel = token, account(h.person), cancelURL(h, st)
	typed.Enrolment = d.Steps.Sign(purposeEnrol, e, enrolLifetime)
	typed.Secret = inGroups(secret.Text)
	if typed.QR, err = web.NewQR(secret.URL); err != nil {
		return fmt.Errorf("draw QR code: %w", err)
	}
	return d.Site.Render(w, status, typed)
}

// cancelURL is where somebody goes who need not enrol, "" for who must.
func cancelURL(h halfway, st returnStep) string {
	if h.missing() == nothing {
		return st.Return
	}
	return ""
}

// inGroups makes a secret readable.
func inGroups(s string) string {
	var out []byte
	for i := range len(s) {
		if i > 0 && i%4 == 0 {
			out = append(out, ' ')
		}
		out = append(out, s[i])
	}
	return string(out)
}

// enrol takes the first code of an app, or a new passkey.
func (d *Desk) enrol(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	form := r.PostForm
	token, kind := form.Get("step"), mfa.Kind(form.Get("kind"))
	h, st, ok, err := d.atEnrol(w, r, token, kind)
	if !ok || err != nil {
		return err
	}
	if kind == mfa.Passkey {
		return d.enrolPasskey(w, r, h, st, token)
	}
	var e mfa.Enrolment
	if err := d.Steps.Open(purposeEnrol, form.Get("enrolment"), &e); err != nil {
		return enrolTooOld(err, enrolURL(kind, token))
	}
	if _, err := mfa.ParseName(form.Get("name"), kind); err != nil {
		return d.renderApp(w, http.StatusUnprocessableEntity, h, st, token, e, web.EnrolAppPage{Name: form.Get("name"), NameError: sentence(err)})
	}
	codes, err := d.Factors.ConfirmTOTP(r.Context(), e, h.person.ID, form.Get("code"), form.Get("name"), d.actor(h.person.ID, r))
	if errors.Is(err, mfa.ErrCodeWrong) {
		return d.renderApp(w, http.StatusUnprocessableEntity, h, st, token, e, web.EnrolAppPage{
			Name: form.Get("name"), Error: "The code is not right. Check that the clocks of both devices are, and type the code that the app shows now.",
		})
	}
	return d.enrolled(w, r, h, st, token, codes, []string{AMROneTimePassword}, "authenticator app, set up just now", err)
}

// enrolled goes on after an enrolment: the person has just shown the new
// factor, so it counts.
func (d *Desk) enrolled(w http.ResponseWriter, r *http.Request, h halfway, st returnStep, token string, codes, amr []string, how string, err error) error {
	if errors.Is(err, mfa.ErrExists) {
		http.Redirect(w, r, secondURL(token), http.StatusSeeOther) // a form sent twice
		return nil
	}
	if errors.Is(err, mfa.ErrEnrolment) {
		return enrolTooOld(err, "/")
	}
	if errors.Is(err, mfa.ErrTooMany) {
		return &web.Error{Status: http.StatusConflict, Public: sentence(mfa.ErrTooMany), Links: []web.Link{{Text: "Security", URL: "/security"}}}
	}
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	proved := h.proof.and(amr...)
	proved.partial = false
	if len(codes) == 0 {
		return d.proceed(w, r, h.person, proved, how, token, st)
	}
	if err := d.begin(w, r, h.person, proved, how); err != nil {
		return err
	}
	return d.Site.Render(w, http.StatusOK, web.RecoveryCodesPage{Codes: codes, Next: secondURL(token), First: true})
}

func enrolTooOld(cause error, again string) error {
	return &web.Error{
		Status: http.StatusBadRequest, Cause: cause, Public: "This page is too old, so nothing was changed.",
		Links: []web.Link{{Text: "Start again", URL: again}},
	}
}

// sentence makes an error's text stand alone on a page.
func sentence(err error) string {
	errs := make(map[string]string)
	note(errs, "", err)
	return errs[""]
}

// StepUpURL is SignInURL for somebody who is signed in and needs more: it asks
// only for what is missing.
func (d *Desk) StepUpURL(returnTo string, need org.MFA) string {
	return d.SignInURL(returnTo, SignInOptions{Need: need})
}
