package server

import (
	"context"
	"time"

	"github.com/orielhq/oriel/internal/audit"
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
