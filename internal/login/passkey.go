package login

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Purposes of signed questions to passkeys: an answer to one is none to
// another.
const (
	purposeAssertion  = "passkey assertion"
	purposeNewPasskey = "new passkey"
)

// askPasskey returns the question for one of a person's passkeys, or with nil
// for anybody's; none where passkeys do not work.
func (d *Desk) askPasskey(ctx context.Context, p *org.Person) (web.PasskeyAsk, error) {
	options, c, err := d.Factors.BeginAssertion(ctx, p)
	if errors.Is(err, mfa.ErrNoPasskeys) {
		return web.PasskeyAsk{}, nil
	}
	if err != nil {
		return web.PasskeyAsk{}, err
	}
	return web.PasskeyAsk{Options: options, Ceremony: d.Steps.Sign(purposeAssertion, c, mfa.ChallengeLifetime)}, nil
}

// takePasskey checks the answer that a form holds. With a person it must be
// theirs, and the question must have been for them; with "" the question must
// have been for anybody. Errors: those of mfa.CheckPasskey, mfa.ErrEnrolment.
func (d *Desk) takePasskey(ctx context.Context, form url.Values, person org.PersonID, by audit.Actor) (mfa.Asserted, error) {
	var c mfa.Ceremony
	if err := d.Steps.Open(purposeAssertion, form.Get("ceremony"), &c); err != nil {
		return mfa.Asserted{}, fmt.Errorf("%w: %w", mfa.ErrEnrolment, err)
	}
	if c.Person != person {
		return mfa.Asserted{}, fmt.Errorf("%w: the question was for somebody else", mfa.ErrPasskey)
	}
	return d.Factors.CheckPasskey(ctx, c, form.Get("passkey"), by)
}

// signInByPasskey signs somebody in by a passkey alone: it is the device, and
// what unlocks it.
func (d *Desk) signInByPasskey(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, token, address := r.Context(), r.PostForm.Get("step"), d.Site.ClientAddress(r)
	st, err := d.openReturn(token)
	if err != nil {
		return err
	}
	page := web.SignInPage{Step: token, Email: st.LoginHint, Reauthenticate: st.Reauthenticate}
	// There is nothing to guess: the limit only spares the machine signatures,
	// and concerns nobody but the one who trips it.
	try, wait := d.throttle.begin("passkey "+web.AddressKey(address), address)
	if wait > 0 {
		seconds := math.Ceil(wait.Seconds())
		page.Error = fmt.Sprintf("Too many attempts. Try again in %s.", inWords(time.Duration(seconds)*time.Second))
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
		return d.renderSignIn(ctx, w, http.StatusTooManyRequests, page)
	}
	stranger := audit.Actor{Kind: audit.ByPerson, Address: address.String()}
	got, err := d.takePasskey(ctx, r.PostForm, "", stranger)
	var p org.Person
	if err == nil {
		if p, err = d.Directory.Person(ctx, got.Factor.Person); err != nil {
			return fmt.Errorf("look up person: %w", err)
		}
		if !p.Active() || p.Service {
			err = fmt.Errorf("%w: the account is disabled", mfa.ErrPasskey)
		}
		mustGoHome, homeErr := d.passwordRefused(ctx, p.Email)
		if homeErr != nil {
			return homeErr
		}
		if err == nil && mustGoHome {
			err = fmt.Errorf("%w: the domain signs in at its identity provider", mfa.ErrPasskey)
		}
	}
	if problem := wrongFactor(err); problem != "" {
		ev := audit.Event{At: d.Now(), Actor: stranger, Kind: audit.SignInRefused, Target: string(got.Factor.Person), Detail: "passkey: " + err.Error()}
		if err := d.Store.RecordEvent(ctx, ev); err != nil {
			return fmt.Errorf("record refused sign-in: %w", err)
		}
		page.Error = problem
		return d.renderSignIn(ctx, w, http.StatusUnauthorized, page)
	}
	if err != nil {
		return err
	}
	d.throttle.succeeded(try)
	return d.proceed(w, r, p, proof{amr: got.AMR, at: d.Now()}, "passkey: "+got.Factor.Name, token, st)
}

// renderPasskey shows the page that sets up a passkey; typed holds what was
// typed and what is wrong with it.
func (d *Desk) renderPasskey(ctx context.Context, w http.ResponseWriter, status int, h halfway, st returnStep, token string, typed web.EnrolPasskeyPage) error {
	options, c, err := d.Factors.BeginPasskey(ctx, h.person)
	if errors.Is(err, mfa.ErrNoPasskeys) {
		_, why := d.Factors.Passkeys()
		return &web.Error{Status: http.StatusConflict, Public: why, Links: []web.Link{{Text: "Back", URL: secondURL(token)}}}
	}
	if err != nil {
		return err
	}
	typed.Step, typed.Person, typed.Cancel = token, account(h.person), cancelURL(h, st)
	typed.Passkey = web.PasskeyAsk{Options: options, Ceremony: d.Steps.Sign(purposeNewPasskey, c, mfa.ChallengeLifetime)}
	return d.Site.Render(w, status, typed)
}

// enrolPasskey takes a new passkey.
func (d *Desk) enrolPasskey(w http.ResponseWriter, r *http.Request, h halfway, st returnStep, token string) error {
	ctx, form := r.Context(), r.PostForm
	var c mfa.Ceremony
	if err := d.Steps.Open(purposeNewPasskey, form.Get("ceremony"), &c); err != nil {
		return enrolTooOld(err, enrolURL(mfa.Passkey, token))
	}
	if _, err := mfa.ParseName(form.Get("name"), mfa.Passkey); err != nil {
		return d.renderPasskey(ctx, w, http.StatusUnprocessableEntity, h, st, token, web.EnrolPasskeyPage{Name: form.Get("name"), NameError: sentence(err)})
	}
	codes, amr, err := d.Factors.ConfirmPasskey(ctx, c, h.person, form.Get("passkey"), form.Get("name"), d.actor(h.person.ID, r))
	if errors.Is(err, mfa.ErrPasskey) {
		d.Logger.InfoContext(ctx, "passkey not accepted", "err", err, "request_id", web.RequestID(ctx))
		return d.renderPasskey(ctx, w, http.StatusUnprocessableEntity, h, st, token, web.EnrolPasskeyPage{Name: form.Get("name"), Error: sentence(mfa.ErrPasskey)})
	}
	return d.enrolled(w, r, h, st, token, codes, amr, "passkey, set up just now", err)
}
