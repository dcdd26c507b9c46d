package login

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

const (
	// wrongSignIn is the one text for every reason not to let somebody in.
	wrongSignIn = "The e-mail address or the password is not right."
	// computeWait is how long a sign-in waits for its turn to compute.
	computeWait = 10 * time.Second
	// maxTypedBytes bounds a typed password before it is looked at; org
	// allows 256 bytes after normalisation.
	maxTypedBytes = 1024
)

// openReturn reads the step of a request to the sign-in page. Without one the
// way leads to the start page.
func (d *Desk) openReturn(token string) (returnStep, error) {
	if token == "" {
		return returnStep{Return: "/"}, nil
	}
	var st returnStep
	err := d.Steps.Open(purposeReturn, token, &st)
	if err == nil && !isLocalPath(st.Return) {
		err = ErrStepInvalid
	}
	if err != nil {
		return returnStep{}, &web.Error{
			Status: http.StatusBadRequest, Cause: fmt.Errorf("open sign-in step: %w", err),
			Public: "This sign-in page is too old, or its address is not complete.",
			Next:   "Go back to the app you came from and connect again.",
			Links:  []web.Link{{Text: "Sign in to Oriel itself", URL: "/login"}},
		}
	}
	return st, nil
}

func (d *Desk) showSignIn(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("step")
	st, err := d.openReturn(token)
	if err != nil {
		return err
	}
	h, err := d.halfway(r, st)
	switch {
	case err == nil && !st.Reauthenticate && h.missing() == nothing:
		http.Redirect(w, r, st.Return, http.StatusSeeOther)
		return nil
	case err == nil && !st.Reauthenticate:
		http.Redirect(w, r, secondURL(token), http.StatusSeeOther)
		return nil
	case err != nil && !errors.Is(err, ErrNoSession):
		return err
	}
	page := web.SignInPage{Step: token, Email: st.LoginHint, Reauthenticate: err == nil}
	if err := d.addOffers(r.Context(), &page); err != nil {
		return err
	}
	return d.renderSignIn(r.Context(), w, http.StatusOK, page)
}

// renderSignIn shows the sign-in page, with a question for a passkey where
// they work.
func (d *Desk) renderSignIn(ctx context.Context, w http.ResponseWriter, status int, page web.SignInPage) error {
	page.Forgot = d.CanMail()
	var err error
	if page.Message, err = d.Directory.SignInMessage(ctx); err != nil {
		return err
	}
	if page.Passkey, err = d.askPasskey(ctx, nil); err != nil {
		return err
	}
	return d.Site.Render(w, status, page)
}

func (d *Desk) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	token := r.PostForm.Get("step")
	st, err := d.openReturn(token)
	if err != nil {
		return err
	}
	page := web.SignInPage{Step: token, Email: r.PostForm.Get("email"), Reauthenticate: st.Reauthenticate}
	if err := d.addOffers(r.Context(), &page); err != nil {
		return err
	}
	password := org.Password(r.PostForm.Get("password"))
	home, hasHome, err := d.home(r.Context(), page.Email)
	if err != nil {
		return err
	}
	if hasHome {
		page.Home = web.Link{Text: home.Name, URL: offerURL(home, token, page.Email)}
		if password == "" {
			return d.Site.Render(w, http.StatusOK, web.HomePage{Provider: page.Home})
		}
	}
	if page.Email == "" || password == "" {
		page.Error = "Type your e-mail address and your password."
		return d.renderSignIn(r.Context(), w, http.StatusUnprocessableEntity, page)
	}

	// Addresses that cannot exist are treated like those that do not.
	email, err := org.ParseEmail(page.Email)
	if err != nil {
		email = page.Email
	}
	try, wait := d.throttle.begin(email, d.Site.ClientAddress(r))
	if wait > 0 {
		seconds := math.Ceil(wait.Seconds())
		page.Error = fmt.Sprintf("Too many attempts. Try again in %s.", inWords(time.Duration(seconds)*time.Second))
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
		return d.renderSignIn(r.Context(), w, http.StatusTooManyRequests, page)
	}
	mustGoHome, err := d.passwordRefused(r.Context(), email)
	if err != nil {
		return err
	}
	p, err := d.authenticate(r.Context(), email, password)
	if err == nil && mustGoHome {
		err = &refusedError{p.ID, "passwords are refused for the domain"}
	}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		ev := audit.Event{
			At: d.Now(), Actor: audit.Actor{Kind: audit.ByPerson, Address: d.Site.ClientAddress(r).String()},
			Kind: audit.SignInRefused, Target: string(refused.person), Detail: refused.reason,
		}
		if err := d.Store.RecordEvent(r.Context(), ev); err != nil {
			return fmt.Errorf("record refused sign-in: %w", err)
		}
		page.Error = wrongSignIn
		return d.renderSignIn(r.Context(), w, http.StatusUnauthorized, page)
	}
	if err != nil {
		return err
	}
	d.throttle.succeeded(try)
	return d.proceed(w, r, p, proof{amr: []string{AMRPassword}, at: d.Now()}, "password", token, st)
}

// refusedError says for the audit log why somebody was not let in. It never
// holds what was typed: people type passwords into the wrong field.
type refusedError struct {
	person org.PersonID
	reason string
}

func (e *refusedError) Error() string { return "sign-in refused: " + e.reason }

// authenticate returns the person who has the address and the password.
// Whatever the reason for a refusal, it costs one comparison. Errors:
// *refusedError, *web.Error; any other is our own fault.
func (d *Desk) authenticate(ctx context.Context, email string, password org.Password) (org.Person, error) {
	p, err := d.People.PersonByEmail(ctx, email)
	known := err == nil
	if err != nil && !errors.Is(err, org.ErrPersonNotFound) {
		return org.Person{}, fmt.Errorf("look up person: %w", err)
	}
	var hash string
	if known {
		if hash, err = d.People.PasswordHash(ctx, p.ID); err != nil {
			return org.Person{}, fmt.Errorf("look up password of %s: %w", p.ID, err)
		}
	}
	compared := hash
	if compared == "" {
		compared = d.dummyHash
	}
	done, err := d.compute(ctx)
	if err != nil {
		return org.Person{}, err
	}
	matches, outdated := false, false
	if len(password) <= maxTypedBytes {
		matches, outdated, err = password.Matches(compared)
	}
	done()
	switch {
	case err != nil:
		return org.Person{}, fmt.Errorf("person %s: %w", p.ID, err)
	case !known:
		return org.Person{}, &refusedError{reason: "unknown e-mail address"}
	case hash == "":
		return org.Person{}, &refusedError{p.ID, "the account has no password"}
	case !matches:
		return org.Person{}, &refusedError{p.ID, "wrong password"}
	case !p.Active():
		return org.Person{}, &refusedError{p.ID, "the account is disabled"}
	}
	if outdated {
		d.upgrade(ctx, p, password)
	}
	return p, nil
}

// upgrade hashes a password anew with today's parameters. The sign-in does
// not depend on it.
func (d *Desk) upgrade(ctx context.Context, p org.Person, password org.Password) {
	done, err := d.compute(ctx)
	if err == nil {
		var hash string
		hash, err = password.Hash()
		done()
		if err == nil {
			ev := audit.Event{At: d.Now(), Actor: audit.System(), Kind: audit.PasswordChanged, Target: string(p.ID), Detail: "hashed anew with today's parameters"}
			err = d.People.SetPasswordHash(ctx, p.ID, hash, ev)
		}
	}
	if err != nil {
		d.Logger.WarnContext(ctx, "password hash not upgraded", "person", string(p.ID), "err", err)
	}
}

// compute waits for a place to compute an argon2id hash in; done gives it
// back.
func (d *Desk) compute(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, computeWait)
	defer cancel()
	select {
	case d.computing <- struct{}{}:
		return func() { <-d.computing }, nil
	case <-ctx.Done():
		return nil, &web.Error{
			Status: http.StatusServiceUnavailable, Cause: ctx.Err(), RetryAfter: computeWait,
			Public: "Too many people are signing in at this moment.", Next: "Wait a few seconds and try again.",
		}
	}
}

func (d *Desk) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	provider, elsewhere, err := d.signOutURL(r)
	if err != nil {
		return err
	}
	if err := d.end(w, r); err != nil {
		return err
	}
	if token := r.PostForm.Get("step"); token != "" {
		if _, err := d.openReturn(token); err != nil {
			return err
		}
		http.Redirect(w, r, "/login?step="+token, http.StatusSeeOther)
		return nil
	}
	page := web.SignedOutPage{Provider: provider, ProviderURL: elsewhere}
	if strings.HasPrefix(elsewhere, "/") {
		page.ProviderURL, page.ProviderAction = "", elsewhere
	}
	return d.Site.Render(w, http.StatusOK, page)
}

// inWords says a duration of whole seconds as people do.
func inWords(d time.Duration) string {
	count := func(n int, one string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %ss", n, one)
	}
	if d < 2*time.Minute {
		return count(int(d/time.Second), "second")
	}
	return count(int((d+time.Minute-1)/time.Minute), "minute")
}
