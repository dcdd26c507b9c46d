package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/scim"
	"github.com/orielhq/oriel/internal/store"
)

// Admin is what the administration commands work with. They open the same
// store as the server, whether it runs or not; a running server follows what
// they change through the change feed.
type Admin struct {
	Directory *org.Directory
	Authority *grant.Authority
	// SCIM keeps the tokens of identity providers that provision.
	SCIM      scim.TokenStore
	Providers *sso.Registry
	db        *store.DB
}

// OpenAdmin opens the store of an installation. Close it after use.
func OpenAdmin(ctx context.Context, c config.Store) (*Admin, error) {
	master, err := c.Prepare()
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, storeConfig(c))
	if err != nil {
		return nil, err
	}
	a, err := newAdmin(ctx, db, master)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return a, nil
}

func newAdmin(ctx context.Context, db *store.DB, master grant.MasterKey) (*Admin, error) {
	keys, err := grant.OpenKeyring(ctx, db, master, time.Now)
	if err != nil {
		return nil, err
	}
	// The commands end grants and list them; they issue no tokens, so the
	// issuer is never written anywhere.
	authority, err := grant.New(grant.Config{
		Store: db, Keys: keys, Master: master, Issuer: "administration", Lifetimes: grant.DefaultLifetimes(), Now: time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	directory := org.NewDirectory(db, time.Now)
	providers, err := sso.NewRegistry(db, directory, master.Derive(providerSecrets), time.Now)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &Admin{Directory: directory, Authority: authority, SCIM: db, Providers: providers, db: db}, nil
}

// storeConfig says where the store is.
func storeConfig(c config.Store) store.Config {
	return store.Config{Path: c.Path(storeFile), URL: c.DatabaseURL}
}

// Close closes the store.
func (a *Admin) Close() error { return a.db.Close() }

// Explain says what a person may do in a team, and why.
func (a *Admin) Explain(ctx context.Context, email, slug string) (access.Explanation, error) {
	person, err := a.Directory.PersonByEmail(ctx, email)
	if err != nil {
		return access.Explanation{}, err
	}
	team, err := a.Directory.Team(ctx, slug)
	if err != nil {
		return access.Explanation{}, err
	}
	return access.Explain(ctx, a.Directory, a.Authority, person, team, time.Now())
}

// Events reads the audit log, oldest first; with a limit, the newest so many.
func (a *Admin) Events(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	return a.db.Events(ctx, f)
}
