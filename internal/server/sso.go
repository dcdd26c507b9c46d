package server

import (
	"context"
	"fmt"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/web"
)

// providerSecrets is the purpose of the key that seals the secrets of
// identity providers.
const providerSecrets = "identity provider secrets"

// providers builds the endpoints for identity providers. A desk must be
// attached before they are used.
func (s *Server) providers(site *web.Site) (*sso.Server, error) {
	registry, err := sso.NewRegistry(s.db, s.directory, s.authority.Master.Derive(providerSecrets), s.Now)
	if err != nil {
		return nil, err
	}
	steps, err := login.NewSteps(s.authority.Master.Derive("signed steps"), s.Now)
	if err != nil {
		return nil, fmt.Errorf("sign-ins through identity providers: %w", err)
	}
	return sso.New(sso.Config{
		Registry: registry, Site: site, Steps: steps, Key: s.authority.Master.Derive("identity provider flows"),
		PublicURL: s.public.String(), Network: s.Network, Now: s.Now, Logger: s.log,
	})
}

// FetchMetadata gets a SAML provider's metadata over the guarded way out;
// private lets it be at a private address.
func (a *Admin) FetchMetadata(ctx context.Context, url string, private bool) (string, error) {
	return sso.FetchMetadata(ctx, clientdoc.Network{}, url, private)
}
