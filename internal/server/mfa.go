package server

import (
	"context"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
)

// ResetMFA removes the second factors and recovery codes of somebody who lost
// them all, and signs them out everywhere.
func (a *Admin) ResetMFA(ctx context.Context, email string, by audit.Actor) (org.Person, error) {
	p, err := a.Directory.PersonByEmail(ctx, email)
	if err != nil {
		return p, err
	}
	// The commands set up no passkeys, so no address is ever compared.
	factors, err := mfa.New(mfa.Config{Store: a.db, Derive: a.Authority.Master.Derive, PublicURL: "https://administration.invalid", Now: time.Now})
	if err != nil {
		return p, err
	}
	return p, factors.Reset(ctx, p.ID, by)
}

// policies warns of a demand that nobody can meet at the public URL.
func (d *doctor) policies(ctx context.Context, c config.Server) {
	const check = "sign-in policy"
	public, err := c.Public()
	if err != nil {
		return // the check of the public URL says so
	}
	a, err := OpenAdmin(ctx, c.Store)
	if err != nil {
		return // the check of the database says so
	}
	defer a.Close() //nolint:errcheck // it was read only
	strictest, err := a.Directory.MFA(ctx, "")
	if err != nil {
		d.note(check, Failed, "oriel policy show", "cannot be read: %v", err)
		return
	}
	text := fmt.Sprintf("second factor: %s", strictest)
	teams, err := a.Directory.Teams(ctx)
	if err != nil {
		return // the check of teams says so
	}
	for _, t := range teams {
		if own, err := a.Directory.OwnMFA(ctx, t.ID); err == nil && own != org.MFAOptional {
			text += fmt.Sprintf(", in %s %s", t.Slug, own)
			strictest = strictest.Stricter(own)
		}
	}
	factors, err := mfa.New(mfa.Config{Store: a.db, Derive: a.Authority.Master.Derive, PublicURL: public.String(), Now: time.Now})
	if err != nil {
		d.note(check, Failed, "", "%v", err)
		return
	}
	if ok, why := factors.Passkeys(); !ok && strictest == org.MFAPasskey {
		d.note(check, Warned, "give --public-url a name, or: oriel policy set --mfa required", "%s. Nobody can set up a passkey: %s", text, why)
		return
	}
	d.note(check, OK, "", "%s", text)
}
