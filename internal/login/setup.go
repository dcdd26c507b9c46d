package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// setupLifetime is how long an owner link is good for.
const setupLifetime = time.Hour

// NewSetupURL makes a one-time link for creating the first owner, in the
// place of any made before. It returns "" if there is an owner. The link is a
// secret: whoever has it owns the installation.
func (d *Desk) NewSetupURL(ctx context.Context) (string, error) {
	has, err := d.Directory.HasOwner(ctx)
	if err != nil {
		return "", fmt.Errorf("look for an owner: %w", err)
	}
	if has {
		return "", nil
	}
	token := rand.Text() + rand.Text()
	if err := d.Store.SetSetupToken(ctx, hashOf(token), d.Now().Add(setupLifetime)); err != nil {
		return "", fmt.Errorf("store owner link: %w", err)
	}
	return d.PublicURL + "/login/setup?token=" + url.QueryEscape(token), nil
}

// checkSetupToken returns nil for the token of the link that is good now.
func (d *Desk) checkSetupToken(ctx context.Context, token string) error {
	has, err := d.Directory.HasOwner(ctx)
	if err != nil {
		return fmt.Errorf("look for an owner: %w", err)
	}
	if has {
		return errOwnerExists()
	}
	hash, expires, err := d.Store.SetupToken(ctx)
	if err != nil && !errors.Is(err, ErrNoSetupToken) {
		return fmt.Errorf("look up owner link: %w", err)
	}
	if err != nil || subtle.ConstantTimeCompare([]byte(hash), []byte(hashOf(token))) != 1 || !d.Now().Before(expires) {
		return &web.Error{
			Status: http.StatusGone, Cause: err,
			Public: "This link has been replaced or has expired: an owner link is good once and for one hour.",
			Next:   "Restart the server and use the link that it prints, or run “oriel user add --owner” in its shell.",
		}
	}
	return nil
}

func errOwnerExists() error {
	return &web.Error{
		Status: http.StatusGone,
		Public: "This installation has an owner already, so the link is of no use any more.",
		Next:   "Sign in, or ask an owner to add you. In the server's shell, “oriel user add --owner” makes another owner.",
		Links:  []web.Link{{Text: "Sign in", URL: "/login"}},
	}
}

func (d *Desk) showSetup(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	if err := d.checkSetupToken(r.Context(), token); err != nil {
		return err
	}
	return d.Site.Render(w, http.StatusOK, web.SetupPage{Token: token, MinPassword: org.MinPasswordRunes})
}

func (d *Desk) setup(w http.ResponseWriter, r *http.Request) error {
	if err := web.ReadForm(r); err != nil {
		return err
	}
	ctx, f := r.Context(), r.PostForm
	if err := d.checkSetupToken(ctx, f.Get("token")); err != nil {
		return err
	}
	page := web.SetupPage{
		Token: f.Get("token"), Name: f.Get("name"), Email: f.Get("email"), Team: f.Get("team"),
		MinPassword: org.MinPasswordRunes, Errors: make(map[string]string),
	}
	password := org.Password(f.Get("password"))
	slug := SlugFor(page.Team)
	email, err := org.ParseEmail(page.Email)
	note(page.Errors, "email", err)
	note(page.Errors, "password", password.Check(email, page.Name))
	note(page.Errors, "name", CheckName(page.Name))
	if err := CheckName(page.Team); err != nil {
		note(page.Errors, "team", err)
	} else if _, err := d.Directory.Team(ctx, slug); err == nil {
		note(page.Errors, "team", fmt.Errorf("there is a team at %q already; choose another name", slug))
	} else if !errors.Is(err, org.ErrTeamNotFound) {
		return fmt.Errorf("look up team: %w", err)
	}
	if len(page.Errors) > 0 {
		return d.Site.Render(w, http.StatusUnprocessableEntity, page)
	}

	done, err := d.compute(ctx)
	if err != nil {
		return err
	}
	by := audit.Actor{Kind: audit.BySystem, Address: d.Site.ClientAddress(r).String()}
	p, err := d.Directory.AddFirstOwner(ctx, org.NewPerson{Email: email, Name: page.Name, Password: password}, by)
	done()
	switch {
	case errors.Is(err, org.ErrOwnerExists):
		return errOwnerExists()
	case errors.Is(err, org.ErrEmailTaken):
		note(page.Errors, "email", org.ErrEmailTaken)
		return d.Site.Render(w, http.StatusUnprocessableEntity, page)
	case err != nil:
		return fmt.Errorf("create first owner: %w", err)
	}
	// From here on there is an owner: what fails now can be made up for on
	// the start page, and is no reason to leave them standing here.
	if err := d.firstTeam(ctx, slug, page.Team, p, r); err != nil {
		d.Logger.ErrorContext(ctx, "first team not created", "err", err, "request_id", web.RequestID(ctx))
	}
	if err := d.Store.DropSetupToken(ctx); err != nil {
		d.Logger.WarnContext(ctx, "owner link not removed", "err", err)
	}
	if err := d.begin(w, r, p, proof{amr: []string{AMRPassword}, at: d.Now()}, "password"); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (d *Desk) firstTeam(ctx context.Context, slug, name string, p org.Person, r *http.Request) error {
	by := d.actor(p.ID, r)
	if _, err := d.Directory.AddTeam(ctx, slug, name, by); err != nil {
		return err
	}
	_, err := d.Directory.SetMember(ctx, slug, p.Email, []string{"admin"}, by)
	return err
}

func note(errs map[string]string, field string, err error) {
	if err == nil {
		return
	}
	// Errors are sentences in lower case; on a page they stand alone.
	text := []rune(err.Error())
	text[0] = unicode.ToUpper(text[0])
	errs[field] = strings.TrimSuffix(string(text), ".") + "."
}

// maxNameRunes is org's limit for names.
const maxNameRunes = 100

// CheckName says what is wrong with the display name of a person or team.
func CheckName(s string) error {
	switch s = strings.TrimSpace(s); {
	case s == "":
		return errors.New("a name is needed")
	case len([]rune(norm.NFC.String(s))) > maxNameRunes:
		return fmt.Errorf("the name is longer than %d characters", maxNameRunes)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return errors.New("the name holds control characters")
	}
	return nil
}

// maxSlugBytes is org's limit for slugs.
const maxSlugBytes = 40

// SlugFor makes a team's slug from its name: letters without their accents,
// in lower case, everything else a hyphen. A name without any Latin letter or
// digit gives "team".
func SlugFor(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(norm.NFKD.String(name)) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
			// The accent of the letter before it.
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	if len(s) > maxSlugBytes {
		s = s[:maxSlugBytes]
	}
	if s = strings.Trim(s, "-"); s == "" {
		return "team"
	}
	return s
}
