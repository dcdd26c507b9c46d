package login

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// partialLifetime is how long somebody who has typed the password may look for
// their second factor.
const partialLifetime = 15 * time.Minute

// AMROneTimePassword is the authentication method reference of a code (RFC
// 8176 §2), of an app as of a list. ACRMultiFactor is the class of a sign-in
// with two factors, ACRPasskey that of one with a passkey or security key.
const (
	AMROneTimePassword = "otp"
	ACRMultiFactor     = "urn:oriel:acr:mfa"
	ACRPasskey         = "urn:oriel:acr:passkey"
)

// acrOf returns the class of a sign-in.
func acrOf(amr []string) string {
	switch {
	case org.MFAPasskey.MetBy(amr):
		return ACRPasskey
	case org.MFARequired.MetBy(amr):
		return ACRMultiFactor
	default:
		return ACRPassword
	}
}

// Demand returns what a sign-in must have had to be of one of the classes, ""
// where any does or where the weakest is among them.
func Demand(classes []string) org.MFA {
	switch {
	case len(classes) == 0 || slices.Contains(classes, ACRPassword):
		return ""
	case slices.Contains(classes, ACRMultiFactor):
		return org.MFARequired
	case slices.Contains(classes, ACRPasskey):
		return org.MFAPasskey
	default:
		return ""
	}
}

// proof is how somebody has proved who they are so far.
type proof struct {
	amr []string
	at  time.Time
	// partial says that a factor is waited for.
	partial bool
	// continues says that it adds to what the browser's session had.
	continues bool
}

// and returns the proof with another factor.
func (p proof) and(amr ...string) proof {
	p.amr = slices.DeleteFunc(slices.Clone(p.amr), func(a string) bool { return a == org.AMRMultiFactor || slices.Contains(amr, a) })
	for _, a := range amr {
		if a != org.AMRMultiFactor {
			p.amr = append(p.amr, a)
		}
	}
	// What two together amount to comes last.
	p.amr = append(p.amr, org.AMRMultiFactor)
	return p
}

// halfway is somebody at the browser with what they have proved and what they
// could.
type halfway struct {
	person  org.Person
	proof   proof
	factors []mfa.Factor
	// need is what the sign-in must have had.
	need org.MFA
	// fresh says that the proof is from just now: factors may be enrolled.
	fresh bool
}

func (h halfway) has(k mfa.Kind) bool {
	return slices.ContainsFunc(h.factors, func(f mfa.Factor) bool { return f.Kind == k })
}

// missing is what comes next.
type missing int

const (
	nothing missing = iota
	aFactor
	anEnrolment
)

// missing says what comes next: whoever has factors must show one, and who
// has none, or none that is enough, must set one up.
func (h halfway) missing() missing {
	multi := org.MFARequired.MetBy(h.proof.amr)
	switch {
	case !multi && len(h.factors) > 0:
		return aFactor
	case h.need.MetBy(h.proof.amr):
		return nothing
	case h.need == org.MFAPasskey && h.has(mfa.Passkey):
		return aFactor
	default:
		return anEnrolment
	}
}

func secondURL(token string) string {
	if token == "" {
		return "/login/second"
	}
	return "/login/second?step=" + url.QueryEscape(token)
}

func enrolURL(kind mfa.Kind, token string) string {
	q := url.Values{"kind": {string(kind)}}
	if token != "" {
		q.Set("step", token)
	}
	return "/login/enrol?" + q.Encode()
}

// proceed begins a session for what somebody has proved, and goes on to what
// is missing, or to where they were going.
func (d *Desk) proceed(w http.ResponseWriter, r *http.Request, p org.Person, proved proof, how, token string, st returnStep) error {
	h, err := d.with(r.Context(), p, proved, st)
	if err != nil {
		return err
	}
	next := h.missing()
	proved.partial = next == aFactor && !org.MFARequired.MetBy(proved.amr)
	if err := d.begin(w, r, p, proved, how); err != nil {
		return err
	}
	if next == nothing {
		http.Redirect(w, r, st.Return, http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, secondURL(token), http.StatusSeeOther)
	return nil
}

// with looks up what somebody could prove and what is demanded.
func (d *Desk) with(ctx context.Context, p org.Person, proved proof, st returnStep) (halfway, error) {
	h := halfway{person: p, proof: proved, fresh: d.Now().Sub(proved.at) < freshFor}
	var err error
	if h.factors, err = d.Factors.List(ctx, p.ID); err != nil {
		return h, err
	}
	if h.need, err = d.Directory.MFA(ctx, ""); err != nil {
		return h, fmt.Errorf("read policy: %w", err)
	}
	if st.Need != "" {
		h.need = h.need.Stricter(st.Need)
	}
	return h, nil
}

// halfway returns who is at the browser and how far they are. Errors:
// ErrNoSession.
func (d *Desk) halfway(r *http.Request, st returnStep) (halfway, error) {
	s, p, err := d.anySession(r)
	if err != nil {
		return halfway{}, err
	}
	h, err := d.with(r.Context(), p, proof{amr: s.AMR, at: s.AuthTime, partial: s.Partial, continues: true}, st)
	if err == nil && s.Partial && len(h.factors) == 0 {
		// What it waits for was removed meanwhile: signing in again asks for
		// what is asked for now.
		return halfway{}, ErrNoSession
	}
	return h, err
}

// atSecond is what both pages of the second step begin with. It returns false
// where the answer has been given.
func (d *Desk) atSecond(w http.ResponseWriter, r *http.Request, token string) (halfway, returnStep, bool, error) {
	st, err := d.openReturn(token)
	if err != nil {
		return halfway{}, st, false, err
	}
	h, err := d.halfway(r, st)
	if errors.Is(err, ErrNoSession) {
		to := "/login"
		if token != "" {
			to += "?step=" + url.QueryEscape(token)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return h, st, false, nil
	}
	return h, st, err == nil, err
}

func (d *Desk) showSecond(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("step")
	h, st, ok, err := d.atSecond(w, r, token)
	if !ok || err != nil {
		return err
	}
	switch h.missing() {
	case nothing:
		http.Redirect(w, r, st.Return, http.StatusSeeOther)
		return nil
	case anEnrolment:
		return d.Site.Render(w, http.StatusOK, d.enrolChoice(h, token))
	default:
		page, err := d.secondPage(r.Context(), h, token)
		if err != nil {
			return err
		}
		page.Recovery = r.URL.Query().Get("way") == "recovery"
		return d.Site.Render(w, http.StatusOK, page)
	}
}

// account is how a page shows somebody who is not signed in yet.
func account(p org.Person) web.Account { return web.Account{Name: p.Name, Email: p.Email} }

// takesCode says whether a code of an app helps: not where a passkey is
// demanded and there is one. Otherwise whoever was made to give a code away
// would have given away what protects from that.
func (h halfway) takesCode() bool {
	return h.has(mfa.TOTP) && (h.need != org.MFAPasskey || !h.has(mfa.Passkey))
}

func (d *Desk) secondPage(ctx context.Context, h halfway, token string) (web.SecondPage, error) {
	page := web.SecondPage{
		Step: token, Person: account(h.person), SignOutStep: token, Code: h.takesCode(), BackURL: secondURL(token),
	}
	if org.MFARequired.MetBy(h.proof.amr) {
		// They have shown something, only no passkey: perhaps a recovery code,
		// for want of one.
		page.Why = "A passkey or security key is required for where you are going."
		page.OtherPasskeyURL = enrolURL(mfa.Passkey, token)
	} else {
		page.RecoveryURL = secondURL(token) + separator(token) + "way=recovery"
	}
	ok, why := d.Factors.Passkeys()
	switch {
	case !h.has(mfa.Passkey):
	case ok:
		var err error
		page.Passkey, err = d.askPasskey(ctx, &h.person)
		return page, err
	case !page.Code:
		page.Why, page.OtherPasskeyURL = why, ""
	}
	return page, nil
}

func separator(token string) string {
	if token == "" {
		return "?"
	}
	return "&"
}

// takeSecond takes a code, a recovery code or a passkey.
func (d *Desk) takeSecond(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, form := r.Context(), r.PostForm
	token := form.Get("step")
	h, st, ok, err := d.atSecond(w, r, token)
	if !ok || err != nil {
		return err
	}
	if h.missing() != aFactor {
		// Another tab was faster.
		http.Redirect(w, r, secondURL(token), http.StatusSeeOther)
		return nil
	}
	again := func(status int, problem string) error {
		page, err := d.secondPage(ctx, h, token)
		if err != nil {
			return err
		}
		page.Recovery, page.Error = form.Has("recovery"), problem
		return d.Site.Render(w, status, page)
	}
	try, wait := attempt{}, time.Duration(0)
	if !form.Has("passkey") {
		// A passkey cannot be guessed, and must not be kept waiting by somebody
		// who guesses codes.
		try, wait = d.second.begin(string(h.person.ID), d.Site.ClientAddress(r))
	}
	if wait > 0 {
		seconds := math.Ceil(wait.Seconds())
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
		return again(http.StatusTooManyRequests, fmt.Sprintf("Too many attempts. Try again in %s.", inWords(time.Duration(seconds)*time.Second)))
	}
	proved, how, err := d.prove(ctx, h, form, d.actor(h.person.ID, r))
	if problem := wrongFactor(err); problem != "" {
		ev := audit.Event{At: d.Now(), Actor: d.actor(h.person.ID, r), Kind: audit.SignInRefused, Target: string(h.person.ID), Detail: "second factor: " + err.Error()}
		if err := d.Store.RecordEvent(ctx, ev); err != nil {
			return fmt.Errorf("record refused factor: %w", err)
		}
		return again(http.StatusUnauthorized, problem)
	}
	if err != nil {
		return err
	}
	if !form.Has("passkey") {
		d.second.succeeded(try)
	}
	return d.proceed(w, r, h.person, proved, how, token, st)
}

// prove checks what a form holds against what the person has.
func (d *Desk) prove(ctx context.Context, h halfway, form url.Values, by audit.Actor) (proof, string, error) {
	proved := h.proof
	if h.proof.partial {
		// The first factor was a moment ago; of a session of long ago, the
		// time stays what it was.
		proved.at = d.Now()
	}
	if form.Has("recovery") {
		if _, err := d.Factors.UseRecoveryCode(ctx, h.person.ID, form.Get("recovery"), by); err != nil {
			return proved, "", err
		}
		return proved.and(AMROneTimePassword), "recovery code", nil
	}
	if form.Has("passkey") {
		got, err := d.takePasskey(ctx, form, h.person.ID, by)
		if err != nil {
			return proved, "", err
		}
		// A passkey is two factors by itself, so this is a sign-in; what was
		// shown long ago is no part of it.
		if !h.proof.partial {
			proved.amr = nil
		}
		proved.at = d.Now()
		return proved.and(got.AMR...), "passkey: " + got.Factor.Name, nil
	}
	if !h.takesCode() {
		return proved, "", mfa.ErrCodeWrong
	}
	f, err := d.Factors.CheckTOTP(ctx, h.person.ID, form.Get("code"))
	if err != nil {
		return proved, "", err
	}
	return proved.and(AMROneTimePassword), "authenticator app: " + f.Name, nil
}

// wrongFactor returns what to say about a factor that was refused, "" for an
// error that is our own fault.
func wrongFactor(err error) string {
	for _, e := range []error{mfa.ErrCodeWrong, mfa.ErrCodeUsed, mfa.ErrRecoveryCode, mfa.ErrPasskey, mfa.ErrPasskeyCloned, mfa.ErrNoPasskeys, mfa.ErrEnrolment} {
		if errors.Is(err, e) {
			return sentence(e)
		}
	}
	return ""
}
