package login

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/mail"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// A Mailer sends letters. Implementations are safe for concurrent use.
type Mailer interface {
	// Send returns when the server has taken the letter.
	Send(ctx context.Context, to, subject, text string) error
}

const (
	// maxLetters wait to be sent; more are dropped, and logged.
	maxLetters = 100
	// askedFor is how often one account may ask for a new password before
	// each further time has to wait: letters nobody asked for are a nuisance.
	askedFor = 3
)

func newForgotThrottle(now func() time.Time) *throttle {
	t := newThrottle(now)
	t.pairs.free, t.accounts.free, t.accounts.longest = askedFor, askedFor, maxDelay
	return t
}

// CanMail says whether letters can be sent.
func (d *Desk) CanMail() bool { return d.Mail != nil }

// MailLink sends a link to the person whose it is. It waits for the server.
func (d *Desk) MailLink(ctx context.Context, p org.Person, kind LinkKind, made MadeLink) error {
	letter := mail.NewPassword
	if kind == InviteLink {
		letter = mail.Invitation
	}
	l := letter(web.DisplayName(p.Name), d.PublicURL+made.Path, made.ExpiresAt)
	return d.Mail.Send(ctx, p.Email, l.Subject, l.Text)
}

// later does something with letters soon, where letters can be sent.
func (d *Desk) later(do func(context.Context) error) {
	if d.Mail == nil {
		return
	}
	select {
	case d.letters <- do:
	default:
		d.Logger.Error("a letter is not sent: too many wait")
	}
}

// tell writes to somebody that their account has changed.
func (d *Desk) tell(p org.Person, what string) {
	d.later(func(ctx context.Context) error {
		l := mail.Changed(web.DisplayName(p.Name), what)
		return d.Mail.Send(ctx, p.Email, l.Subject, l.Text)
	})
}

// RunLetters sends what waits to be sent until ctx is done.
func (d *Desk) RunLetters(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case do := <-d.letters:
			if err := do(ctx); err != nil && ctx.Err() == nil {
				d.Logger.ErrorContext(ctx, "a letter was not sent", "err", err)
			}
		}
	}
}

func (d *Desk) letterRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /login/forgot", Who: web.Anyone, Handler: d.Site.Page(d.showForgot)},
		{Pattern: "POST /login/forgot", Who: web.Anyone, Handler: d.Site.Form(d.forgot)},
	}
}

// errNoMail is for installations that send no letters.
func errNoMail() error {
	return &web.Error{
		Status: http.StatusNotFound, Public: "This server sends no mail.", Next: "Ask an owner of your organization for a link to choose a new password.",
		Links: []web.Link{{Text: "Sign in", URL: "/login"}},
	}
}

func (d *Desk) showForgot(w http.ResponseWriter, r *http.Request) error {
	if !d.CanMail() {
		return errNoMail()
	}
	return d.Site.Render(w, http.StatusOK, web.ForgotPage{})
}

// forgot answers the same, and as fast, whoever asks: what becomes of it is
// found out afterwards.
func (d *Desk) forgot(w http.ResponseWriter, r *http.Request) error {
	if !d.CanMail() {
		return errNoMail()
	}
	if err := web.ReadForm(r); err != nil {
		return err
	}
	page := web.ForgotPage{Email: r.PostForm.Get("email")}
	email, err := org.ParseEmail(page.Email)
	if err != nil {
		page.Error = sentence(err)
		return d.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	address := d.Site.ClientAddress(r)
	if _, wait := d.asked.begin(email, address); wait > 0 {
		seconds := math.Ceil(wait.Seconds())
		page.Error = fmt.Sprintf("A letter was asked for several times already. Look into your mailbox, or try again in %s.", inWords(time.Duration(seconds)*time.Second))
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
		return d.Site.Render(w, http.StatusTooManyRequests, page)
	}
	from := address.String()
	d.later(func(ctx context.Context) error { return d.mailForgotten(ctx, email, from) })
	return d.Site.Render(w, http.StatusOK, web.ForgotPage{Email: email, Asked: true})
}

// mailForgotten sends a link to the person of an address, if somebody has it
// who may use a password.
func (d *Desk) mailForgotten(ctx context.Context, email, from string) error {
	p, err := d.People.PersonByEmail(ctx, email)
	if errors.Is(err, org.ErrPersonNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up who lost a password: %w", err)
	}
	made, err := d.Links().Make(ctx, p, ResetLink, audit.Actor{Kind: audit.ByPerson, Address: from})
	if errors.Is(err, ErrNoLinkForThem) || errors.Is(err, ErrPasswordRefused) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.MailLink(ctx, p, ResetLink, made)
}
