package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
)

// AccountLink is a link with which a person chooses a password. Whoever has it
// gets the account.
type AccountLink struct {
	Person org.Person
	// URL is the whole link; "" before the server was started for the first
	// time, when its address is not known. Path is the link without it.
	URL, Path string
	ExpiresAt time.Time
}

func (a *Admin) links() *login.Links {
	return &login.Links{Store: a.db, Refused: a.Providers.PasswordRefused, Now: time.Now}
}

// Invite adds somebody, in a team where team is not "", and makes the link with
// which they choose a password.
func (a *Admin) Invite(ctx context.Context, n org.NewPerson, team string, roles []string, by audit.Actor) (AccountLink, error) {
	email, err := org.ParseEmail(n.Email)
	if err != nil {
		return AccountLink{}, err
	}
	if err := a.links().Check(ctx, email); err != nil {
		return AccountLink{}, linkError(err)
	}
	p, err := a.Directory.Invite(ctx, n, team, roles, by)
	if err != nil {
		return AccountLink{}, linkError(err)
	}
	return a.link(ctx, p, login.InviteLink, by)
}

// ResetPassword makes a link with which somebody chooses a new password.
func (a *Admin) ResetPassword(ctx context.Context, email string, by audit.Actor) (AccountLink, error) {
	p, err := a.Directory.PersonByEmail(ctx, email)
	if err != nil {
		return AccountLink{}, err
	}
	return a.link(ctx, p, login.ResetLink, by)
}

func (a *Admin) link(ctx context.Context, p org.Person, kind login.LinkKind, by audit.Actor) (AccountLink, error) {
	public, err := a.db.PublicURL(ctx)
	if err != nil {
		return AccountLink{}, err
	}
	made, err := a.links().Make(ctx, p, kind, by)
	if err != nil {
		return AccountLink{}, linkError(err)
	}
	l := AccountLink{Person: p, Path: made.Path, ExpiresAt: made.ExpiresAt}
	if public != "" {
		l.URL = public + made.Path
	}
	return l, nil
}

// linkError adds what somebody at the shell can do.
func linkError(err error) error {
	switch {
	case errors.Is(err, login.ErrPasswordRefused):
		return fmt.Errorf("%w: let them sign in there, or exempt an owner with \"oriel provider break-glass\"", err)
	case errors.Is(err, org.ErrEmailTaken):
		return fmt.Errorf("%w; for a new link: oriel user reset-password", err)
	}
	return err
}

// mailer returns what sends letters, nil where none can be sent.
func (s *Server) mailer() (login.Mailer, error) {
	m, err := s.Settings.Mailer()
	if m == nil || err != nil {
		return nil, err
	}
	return m, nil
}
