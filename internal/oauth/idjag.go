package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// Limits of assertions from identity providers.
const (
	// typeIDJAG is the type of the only assertions that are taken: without it
	// any ID token of the provider would open this server (ID-JAG, "Processing
	// Rules"; RFC 8725 §3.11).
	typeIDJAG = "oauth-id-jag+jwt"
	// maxAssertionLife bounds exp, so that used ones need not be remembered
	// for long. Providers give five minutes.
	maxAssertionLife = time.Hour
	// assertionSkew is how much clocks may differ.
	assertionSkew = 30 * time.Second
	// maxAssertionID bounds jti.
	maxAssertionID = 512
	// maxCauseBytes bounds what is recorded of a fault on the way to an issuer.
	maxCauseBytes = 300
)

// identityAlgorithms are those of asymmetric keys: with one of a shared
// secret, or none, anybody could sign (RFC 8725 §3.1).
func identityAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.PS256, jose.EdDSA}
}

// idJAG are the claims of an assertion that we look at.
type idJAG struct {
	Issuer   string       `json:"iss"`
	Subject  string       `json:"sub"`
	Audience jwt.Audience `json:"aud"`
	ClientID string       `json:"client_id"`
	ID       string       `json:"jti"`
	Expires  int64        `json:"exp"`
	IssuedAt int64        `json:"iat"`
	// NotBefore and AuthTime are 0 where there is none.
	NotBefore int64    `json:"nbf"`
	AuthTime  int64    `json:"auth_time"`
	AMR       []string `json:"amr"`
	Email     string   `json:"email"`
	// EmailVerified is nil where the provider does not say.
	EmailVerified *bool     `json:"email_verified"`
	Resource      oneOrMany `json:"resource"`
	Scope         *string   `json:"scope"`
}

// oneOrMany is a text or a list of texts.
type oneOrMany []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*o = many
	return nil
}

// unverifiedAssertion is an assertion whose form has been read. Nothing in it
// may be believed but that it names whose keys to ask.
type unverifiedAssertion struct {
	token  *jwt.JSONWebToken
	keyID  string
	claims idJAG
}

// parseAssertion reads the form of an assertion. Errors are *spec.Error.
func parseAssertion(text string) (unverifiedAssertion, error) {
	token, err := jwt.ParseSigned(text, identityAlgorithms())
	if err != nil || len(token.Headers) != 1 {
		return unverifiedAssertion{}, spec.NewError(spec.InvalidGrant, "the assertion is not a JWT signed with ES256, ES384, RS256, PS256 or EdDSA")
	}
	h := token.Headers[0]
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(typ, "application/"), typeIDJAG) {
		return unverifiedAssertion{}, spec.NewError(spec.InvalidGrant, "the assertion is not of type "+typeIDJAG)
	}
	a := unverifiedAssertion{token: token, keyID: h.KeyID}
	if err := token.UnsafeClaimsWithoutVerification(&a.claims); err != nil {
		return unverifiedAssertion{}, spec.NewError(spec.InvalidGrant, "the claims of the assertion cannot be read")
	}
	return a, nil
}

// verify checks the signature with one of the keys and reads the claims again.
func (a unverifiedAssertion) verify(keys []jose.JSONWebKey) (idJAG, error) {
	for _, k := range keys {
		if (a.keyID != "" && k.KeyID != a.keyID) || k.Use == "enc" || !k.Valid() || !k.IsPublic() {
			continue
		}
		if k.Algorithm != "" && k.Algorithm != a.token.Headers[0].Algorithm {
			continue
		}
		var c idJAG
		if a.token.Claims(k, &c) == nil {
			return c, nil
		}
	}
	return idJAG{}, spec.NewError(spec.InvalidGrant, "the assertion is not signed with a key of its issuer")
}

// check looks at all claims that need no database (RFC 7523 §3, ID-JAG
// "Processing Rules").
func (c idJAG) check(now time.Time, audiences []string, client grant.Client) error {
	refuse := func(why string) error { return spec.NewError(spec.InvalidGrant, why) }
	expires := time.Unix(c.Expires, 0)
	switch {
	case c.Subject == "":
		return refuse("the assertion has no sub")
	// One audience: an assertion that is good elsewhere too could be replayed
	// from there.
	case len(c.Audience) != 1 || !slices.Contains(audiences, strings.TrimSuffix(c.Audience[0], "/")):
		return refuse("the assertion is for another audience; aud must be " + audiences[0])
	case c.ClientID == "" || grant.ClientID(c.ClientID) != client.ID:
		return refuse("the assertion is for another client: client_id is not the one that authenticated")
	case c.ID == "" || len(c.ID) > maxAssertionID:
		return refuse("the assertion has no usable jti")
	case c.Expires == 0 || !now.Before(expires.Add(assertionSkew)):
		return refuse("the assertion has expired; ask the identity provider for a new one")
	case expires.After(now.Add(maxAssertionLife + assertionSkew)):
		return refuse("the assertion is good for more than an hour")
	case c.IssuedAt == 0 || time.Unix(c.IssuedAt, 0).After(now.Add(assertionSkew)):
		return refuse("the assertion has no iat, or one in the future")
	case time.Unix(c.NotBefore, 0).After(now.Add(assertionSkew)):
		return refuse("the assertion is not good yet")
	case len(c.Resource) > 1:
		return spec.NewError(spec.InvalidTarget, "the assertion names more than one resource")
	case c.Email == "" || (c.EmailVerified != nil && !*c.EmailVerified):
		return refuse("the assertion has no verified email, by which people are known here")
	}
	return nil
}

// assert is the token endpoint's part of the JWT bearer grant (RFC 7523 §2.1)
// with identity assertions.
func (s *Server) assert(r *http.Request, client grant.Client, req spec.TokenRequest, resource, address, key string) (grant.Tokens, error) {
	// ID-JAG, "Client Authentication": for confidential clients only.
	if client.Metadata.IsPublic() {
		return grant.Tokens{}, spec.NewError(spec.UnauthorizedClient, "only a client that authenticates may present an assertion; an administrator registers one with: oriel client add --confidential")
	}
	a, issuer, err := s.verifyAssertion(r.Context(), client, req, resource)
	if err == nil {
		a.Client, a.Address = client, address
		var t grant.Tokens
		a.Key = key
		if t, err = s.Authority.Assert(r.Context(), a); err == nil {
			return t, nil
		}
		if errors.Is(err, grant.ErrAssertionUsed) {
			err = spec.NewError(spec.InvalidGrant, grant.ErrAssertionUsed.Error())
		}
	}
	refused, ok := errors.AsType[*spec.Error](err)
	if !ok || issuer == "" {
		return grant.Tokens{}, err
	}
	// The audit says what the client is not told, such as why keys could not
	// be read.
	ev := audit.Event{At: s.Now(), Actor: s.clientActor(r, client), Kind: audit.AssertionRefused, Target: issuer, Detail: refused.Description}
	if cause := err.Error(); cause != refused.Error() {
		ev.Detail = clipped(strings.TrimPrefix(cause, refused.Error()+": "), maxCauseBytes) + " (" + refused.Description + ")"
	}
	if err := s.Desk.Store.RecordEvent(r.Context(), ev); err != nil {
		return grant.Tokens{}, fmt.Errorf("record refused assertion: %w", err)
	}
	return grant.Tokens{}, refused
}

// verifyAssertion does all but use it up. issuer is "" unless it is trusted, so that
// strangers cannot fill the audit.
func (s *Server) verifyAssertion(ctx context.Context, client grant.Client, req spec.TokenRequest, resource string) (_ grant.Assertion, issuer string, _ error) {
	none := grant.Assertion{}
	read, err := parseAssertion(string(req.Assertion))
	if err != nil {
		return none, "", err
	}
	trusted, err := s.Authority.Store.Issuer(ctx, read.claims.Issuer)
	if errors.Is(err, grant.ErrIssuerUnknown) {
		return none, "", spec.NewError(spec.InvalidGrant, "the issuer of the assertion is not trusted here; an administrator can add it with: oriel issuer add")
	}
	if err != nil {
		return none, "", fmt.Errorf("look up issuer: %w", err)
	}
	c, err := s.issuers.verify(ctx, trusted, read)
	if err != nil {
		return none, trusted.URL, err
	}
	audiences := []string{s.Authority.Issuer}
	if trusted.Audience != "" {
		audiences = append(audiences, strings.TrimSuffix(trusted.Audience, "/"))
	}
	if err := c.check(s.Now(), audiences, client); err != nil {
		return none, trusted.URL, err
	}
	target, err := s.assertedResource(c, resource)
	if err != nil {
		return none, trusted.URL, err
	}
	person, team, err := s.assertedPerson(ctx, trusted, c.Email, target)
	if err != nil {
		return none, trusted.URL, err
	}
	scopes, err := c.scopes(req)
	if err != nil {
		return none, trusted.URL, err
	}
	out := grant.Assertion{
		Issuer: trusted.URL, ID: c.ID, ExpiresAt: time.Unix(c.Expires, 0), AMR: c.AMR,
		Person: person.ID, Team: team, Resource: target.URL(), Scopes: scopes,
	}
	if c.AuthTime > 0 {
		out.AuthTime = time.Unix(c.AuthTime, 0)
	}
	return out, trusted.URL, nil
}

// assertedResource is what the token will be for: the assertion's resource,
// which the request may repeat.
func (s *Server) assertedResource(c idJAG, requested string) (spec.Resource, error) {
	claimed := []string(c.Resource)
	if len(claimed) == 0 && requested != "" {
		claimed = []string{requested}
	}
	target, err := s.Resources.Parse(claimed)
	if err != nil {
		return spec.Resource{}, err
	}
	if requested != "" && requested != target.URL() {
		return spec.Resource{}, spec.NewError(spec.InvalidTarget, "resource is not that of the assertion, "+target.URL())
	}
	return target, nil
}

// assertedPerson finds who is meant and in which team.
func (s *Server) assertedPerson(ctx context.Context, trusted grant.Issuer, email string, target spec.Resource) (org.Person, org.Team, error) {
	fail := func(code, why string) (org.Person, org.Team, error) {
		return org.Person{}, org.Team{}, spec.NewError(code, why)
	}
	address, err := org.ParseEmail(email)
	if err != nil {
		return fail(spec.InvalidGrant, "email in the assertion is not an e-mail address")
	}
	person, err := s.Directory.PersonByEmail(ctx, address)
	if errors.Is(err, org.ErrPersonNotFound) {
		return fail(spec.InvalidGrant, "the person is not known here; an administrator can add them with: oriel user add")
	}
	if err != nil {
		return org.Person{}, org.Team{}, fmt.Errorf("find person: %w", err)
	}
	if !person.Active() {
		return fail(spec.InvalidGrant, "the account is disabled")
	}
	members, err := s.Directory.Memberships(ctx, person.ID)
	if err != nil {
		return org.Person{}, org.Team{}, fmt.Errorf("list teams of %s: %w", person.ID, err)
	}
	members = slices.DeleteFunc(slices.Clone(members), func(m org.Member) bool {
		return (len(trusted.Teams) > 0 && !slices.Contains(trusted.Teams, m.Team.Slug)) ||
			(target.TeamSlug() != "" && m.Team.Slug != target.TeamSlug())
	})
	switch {
	case len(members) == 1:
		return person, members[0].Team, nil
	case len(members) > 1:
		return fail(spec.InvalidTarget, "the person is in several teams; ask for the resource of one, like "+s.PublicURL.String()+"/mgmt/api/v1/teams/"+members[0].Team.Slug+"/mcp")
	case target.TeamSlug() != "":
		return fail(spec.InvalidGrant, "the person is not a member of the team, or the issuer may not open it; an administrator can change that")
	default:
		return fail(spec.InvalidGrant, "the person is in no team that the issuer may open; an administrator can add them with: oriel member set")
	}
}

// scopes is what both the assertion and the request ask for.
func (c idJAG) scopes(req spec.TokenRequest) (spec.Scopes, error) {
	var out spec.Scopes
	switch {
	case c.Scope != nil && req.ScopeGiven:
		out = spec.ParseScopes(*c.Scope).Intersect(req.Scopes)
	case c.Scope != nil:
		out = spec.ParseScopes(*c.Scope)
	default:
		out = req.Scopes.OrDefault()
	}
	// It confers no identity, and no refresh token.
	out = out.Intersect(spec.ResourceScopes())
	if out.IsEmpty() {
		return out, spec.NewError(spec.InvalidScope, "the assertion and the request have no scope of this resource in common")
	}
	return out, nil
}

func clipped(s string, longest int) string {
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
