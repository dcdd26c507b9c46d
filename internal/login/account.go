package login

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Errors of account links. Their text is for people.
var (
	ErrNoAccountLink   = errors.New("the link has been used or replaced, or has expired")
	ErrPasswordRefused = errors.New("people of this domain sign in at their identity provider and cannot use a password")
	ErrNoLinkForThem   = errors.New("the account is disabled or a program's, so it gets no link")
)

// LinkKind says what an account link is for.
type LinkKind string

// The kinds of account link.
const (
	// InviteLink is for somebody new, ResetLink for somebody who has lost
	// their password.
	InviteLink LinkKind = "invite"
	ResetLink  LinkKind = "reset"
)

// Lifetimes of account links. An invitation may lie in a mailbox over a
// weekend; whoever asks for a new password is waiting for it.
const (
	inviteLifetime = 7 * 24 * time.Hour
	resetLifetime  = time.Hour
)

// AccountLink is a link with which a person chooses a password, as the store
// keeps it.
type AccountLink struct {
	// Hash is the SHA-256 of the token, in hexadecimal.
	Hash string
	Kind LinkKind
	// Person is whose link it is, as they are now.
	Person    org.Person
	ExpiresAt time.Time
}

// LinkStore keeps account links. Implementations are safe for concurrent use.
type LinkStore interface {
	// SetAccountLink stores a link in the place of any before it of the
	// person. Errors: org.ErrPersonNotFound, also for somebody disabled.
	SetAccountLink(ctx context.Context, l AccountLink, ev audit.Event) error
	// AccountLinkByHash returns a link, which may have expired. Errors:
	// ErrNoAccountLink.
	AccountLinkByHash(ctx context.Context, hash string) (AccountLink, error)
	// UseAccountLink removes a link that is good at the time of the event, sets
	// the person's password and ends all of their browser sessions. Errors:
	// ErrNoAccountLink.
	UseAccountLink(ctx context.Context, hash, passwordHash string, ev audit.Event) error
}

// Links makes links with which people choose a password. It is safe for
// concurrent use.
type Links struct {
	Store LinkStore
	// Refused says whether an address must not sign in with a password; nil
	// for none.
	Refused func(ctx context.Context, email string) (bool, error)
	Now     func() time.Time
}

// MadeLink is a link that was just made. Its path is a secret: whoever has it
// gets the account's password.
type MadeLink struct {
	// Path is the local path with its query.
	Path      string
	ExpiresAt time.Time
}

// Check says whether an address could use a link. Errors: ErrPasswordRefused.
func (l *Links) Check(ctx context.Context, email string) error {
	if l.Refused == nil {
		return nil
	}
	refused, err := l.Refused(ctx, email)
	if err != nil {
		return fmt.Errorf("read the sign-in policy: %w", err)
	}
	if refused {
		return ErrPasswordRefused
	}
	return nil
}

// Make makes a link for a person, in the place of any made before. Errors:
// ErrPasswordRefused, ErrNoLinkForThem.
func (l *Links) Make(ctx context.Context, p org.Person, kind LinkKind, by audit.Actor) (MadeLink, error) {
	if p.Service || !p.Active() {
		return MadeLink{}, fmt.Errorf("%s: %w", p.Email, ErrNoLinkForThem)
	}
	if err := l.Check(ctx, p.Email); err != nil {
		return MadeLink{}, fmt.Errorf("%s: %w", p.Email, err)
	}
	now, lifetime, what := l.Now(), inviteLifetime, audit.InvitationMade
	if kind == ResetLink {
		lifetime, what = resetLifetime, audit.ResetLinkMade
	}
	token := rand.Text() + rand.Text()
	made := MadeLink{Path: "/login/account?token=" + url.QueryEscape(token), ExpiresAt: now.Add(lifetime)}
	link := AccountLink{Hash: hashOf(token), Kind: kind, Person: p, ExpiresAt: made.ExpiresAt}
	err := l.Store.SetAccountLink(ctx, link, audit.Event{At: now, Actor: by, Kind: what, Target: string(p.ID), Detail: p.Email})
	if errors.Is(err, org.ErrPersonNotFound) {
		return MadeLink{}, fmt.Errorf("%s: %w", p.Email, ErrNoLinkForThem)
	}
	if err != nil {
		return MadeLink{}, fmt.Errorf("make link for %s: %w", p.ID, err)
	}
	return made, nil
}

// Links makes account links.
func (d *Desk) Links() *Links {
	return &Links{Store: d.Store, Refused: d.passwordRefused, Now: d.Now}
}

// accountRoutes are those of the page that an account link leads to.
func (d *Desk) accountRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /login/account", Who: web.Anyone, Handler: d.Site.Page(d.showAccount)},
		{Pattern: "POST /login/account", Who: web.Anyone, Handler: d.Site.Form(d.takeAccount)},
	}
}

// accountLink returns the link of a token if it is good now. Errors:
// *web.Error; any other is our own fault.
func (d *Desk) accountLink(ctx context.Context, token string) (AccountLink, error) {
	l, err := d.Store.AccountLinkByHash(ctx, hashOf(token))
	switch {
	case errors.Is(err, ErrNoAccountLink), err == nil && (!l.Person.Active() || l.Person.Service || !d.Now().Before(l.ExpiresAt)):
		return l, errLinkGone()
	case err != nil:
		return l, fmt.Errorf("look up account link: %w", err)
	}
	// The domain may have got its policy after the link was made.
	refused, err := d.passwordRefused(ctx, l.Person.Email)
	if err != nil {
		return l, err
	}
	if refused {
		return l, &web.Error{
			Status: http.StatusForbidden, Public: "People with your e-mail domain sign in at their identity provider, so a password would not let you in.",
			Next:  "Sign in with your e-mail address alone; it leads to your identity provider.",
			Links: []web.Link{{Text: "Sign in", URL: "/login"}},
		}
	}
	return l, nil
}

func errLinkGone() error {
	return &web.Error{
		Status: http.StatusGone, Public: "This link has been used or replaced, or it has expired.",
		Next:  "If you have chosen your password already, sign in. Otherwise ask an owner for a new link.",
		Links: []web.Link{{Text: "Sign in", URL: "/login"}},
	}
}

func accountPage(l AccountLink, token string) web.AccountPage {
	return web.AccountPage{Token: token, Person: account(l.Person), New: l.Kind == InviteLink, MinPassword: org.MinPasswordRunes}
}

func (d *Desk) showAccount(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	l, err := d.accountLink(r.Context(), token)
	if err != nil {
		return err
	}
	return d.Site.Render(w, http.StatusOK, accountPage(l, token))
}

// takeAccount sets the password that the holder of a link has chosen, and
// signs them in with it: second factors and policies hold as for any password.
func (d *Desk) takeAccount(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, token := r.Context(), r.PostForm.Get("token")
	l, err := d.accountLink(ctx, token)
	if err != nil {
		return err
	}
	password := org.Password(r.PostForm.Get("password"))
	if err := password.Check(l.Person.Email, l.Person.Name); err != nil {
		page := accountPage(l, token)
		page.Error = sentence(err)
		return d.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	done, err := d.compute(ctx)
	if err != nil {
		return err
	}
	hash, err := password.Hash()
	done()
	if err != nil {
		return fmt.Errorf("choose password: %w", err)
	}
	detail := "by an invitation"
	if l.Kind == ResetLink {
		detail = "by a link for a new password; every browser session ended"
	}
	ev := audit.Event{At: d.Now(), Actor: d.actor(l.Person.ID, r), Kind: audit.PasswordChanged, Target: string(l.Person.ID), Detail: detail}
	err = d.Store.UseAccountLink(ctx, l.Hash, hash, ev)
	if errors.Is(err, ErrNoAccountLink) {
		return errLinkGone() // another tab was faster
	}
	if err != nil {
		return fmt.Errorf("choose password: %w", err)
	}
	if l.Kind == ResetLink {
		d.tell(l.Person, "Your password was changed with a link for a new one, and every browser was signed out.")
	}
	return d.proceed(w, r, l.Person, proof{amr: []string{AMRPassword}, at: d.Now()}, "password", "", returnStep{Return: "/"})
}
