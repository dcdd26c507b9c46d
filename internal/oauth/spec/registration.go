package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// MaxRegistrationBytes bounds the body of a registration; real ones are under 2 KiB, a key set may add some.
	MaxRegistrationBytes = 64 << 10

	maxRedirectURIs     = 32  // per registration; VS Code, the most eager, sends four
	maxDocumentURIs     = 128 // redirect URIs per client document, which serves every installation of a product
	maxClientNameRunes  = 200 // shown in a heading
	maxSoftwareRunes    = 200
	maxContacts         = 16
	maxContactRunes     = 254 // an e-mail address
	maxListedNames      = 64  // grant types, response types, methods
	maxApplicationRunes = 32
)

// ClientMetadata is what a client says about itself (RFC 7591 §2), checked and with defaults filled. None of it is
// proof of anything: names and pictures are claims.
type ClientMetadata struct {
	Name                    string        // cleaned for display, at most 200 characters; may be empty
	RedirectURIs            []RedirectURI // empty only for clients that never use the browser
	PostLogoutRedirectURIs  []RedirectURI
	GrantTypes              []string // known ones only
	ResponseTypes           []string // {"code"}, or empty for clients that never use the browser
	TokenEndpointAuthMethod string   // one of the Auth constants
	AllowsNone              bool     // a document that prefers private_key_jwt and also lists none
	ApplicationType         string   // as sent: "native", "web" or something else; decides nothing
	Scope                   string   // the known scopes that were sent, in the order sent; no ceiling for later requests
	ClientURI               string   // http or https, or empty, as the other addresses below
	LogoURI                 string
	TOSURI                  string
	PolicyURI               string
	JWKSURI                 string // https
	JWKS                    json.RawMessage
	Contacts                []string
	SoftwareID              string
	SoftwareVersion         string
	IDTokenSigningAlg       string // of id_tokens: ES256, RS256, or empty, which means ES256
}

// ParseRegistration reads the body of a registration request (RFC 7591 §3.1). Unknown members, grant types, response
// types and scopes are dropped rather than refused. Errors are *Error: invalid_redirect_uri for redirect URIs,
// invalid_client_metadata otherwise, with the member's name; status 413 for a body over 64 KiB.
func ParseRegistration(body []byte) (ClientMetadata, error) {
	if len(body) > MaxRegistrationBytes {
		return ClientMetadata{}, NewError(InvalidClientMetadata, "the body is larger than 64 KiB").WithStatus(http.StatusRequestEntityTooLarge)
	}
	ms, err := parseMembers(body)
	if err != nil {
		return ClientMetadata{}, NewError(InvalidClientMetadata, err.Error())
	}
	m, err := ms.clientMetadata()
	if err != nil {
		return ClientMetadata{}, asError(err)
	}
	// RFC 7591 §2: an absent method means client_secret_basic.
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = AuthBasic
	}
	if !slices.Contains([]string{AuthNone, AuthBasic, AuthPost, AuthPrivateKeyJWT}, m.TokenEndpointAuthMethod) {
		return ClientMetadata{}, NewError(InvalidClientMetadata,
			"token_endpoint_auth_method must be none, client_secret_basic, client_secret_post or private_key_jwt")
	}
	if m.TokenEndpointAuthMethod == AuthPrivateKeyJWT && m.JWKSURI == "" && m.JWKS == nil {
		return ClientMetadata{}, NewError(InvalidClientMetadata, "private_key_jwt needs jwks or jwks_uri")
	}
	if m.RedirectURIs, err = ms.redirectURIs("redirect_uris", maxRedirectURIs); err != nil {
		return ClientMetadata{}, asError(err)
	}
	if len(m.RedirectURIs) == 0 && m.UsesBrowser() {
		return ClientMetadata{}, NewError(InvalidRedirectURI, "redirect_uris is missing")
	}
	return m, nil
}

// clientMetadata reads all that registrations and documents have in common; redirect_uris is not.
func (ms members) clientMetadata() (ClientMetadata, error) {
	var m ClientMetadata
	var err error
	r := memberReader{members: ms}
	m.Name = r.clean("client_name", maxClientNameRunes)
	m.SoftwareID = r.clean("software_id", maxSoftwareRunes)
	m.SoftwareVersion = r.clean("software_version", maxSoftwareRunes)
	m.ApplicationType = r.clean("application_type", maxApplicationRunes)
	m.ClientURI = r.webURI("client_uri", false)
	m.LogoURI = r.webURI("logo_uri", false)
	m.TOSURI = r.webURI("tos_uri", false)
	m.PolicyURI = r.webURI("policy_uri", false)
	m.JWKSURI = r.webURI("jwks_uri", true)
	m.TokenEndpointAuthMethod = r.text("token_endpoint_auth_method")
	m.Scope = knownScopes(r.text("scope"))
	// OpenID Connect Registration §2. What we do not have is replaced by our default, as RFC 7591 §3.2.1 allows.
	if alg := r.text("id_token_signed_response_alg"); slices.Contains(idTokenAlgorithms(), alg) {
		m.IDTokenSigningAlg = alg
	}
	contacts := r.texts("contacts")
	grants := r.texts("grant_types")
	responses := r.texts("response_types")
	if r.err != nil {
		return ClientMetadata{}, r.err
	}
	if len(contacts) > maxContacts {
		return ClientMetadata{}, errors.New("contacts has too many entries")
	}
	for _, c := range contacts {
		if c = cleanText(c, maxContactRunes); c != "" {
			m.Contacts = append(m.Contacts, c)
		}
	}
	if m.GrantTypes, err = keepKnown("grant_types", grants, knownGrantTypes); err != nil {
		return ClientMetadata{}, err
	}
	if m.GrantTypes == nil {
		// RFC 7591 §2 defaults to the code grant alone, but lets the server replace values: every code grant here
		// comes with a refresh token, so the answer says so.
		m.GrantTypes = []string{GrantAuthorizationCode, GrantRefreshToken}
	}
	if m.UsesBrowser() {
		if m.ResponseTypes, err = keepKnown("response_types", responses, []string{ResponseTypeCode}); err != nil {
			return ClientMetadata{}, err
		}
		m.ResponseTypes = []string{ResponseTypeCode}
	}
	if m.JWKS, err = ms.jwks(); err != nil {
		return ClientMetadata{}, err
	}
	if m.JWKS != nil && m.JWKSURI != "" {
		// RFC 7591 §2: the two MUST NOT both be present.
		return ClientMetadata{}, errors.New("jwks and jwks_uri must not both be given")
	}
	m.PostLogoutRedirectURIs, err = ms.redirectURIs("post_logout_redirect_uris", maxRedirectURIs)
	return m, err
}

// UsesBrowser reports whether the client may use the authorization endpoint.
func (m ClientMetadata) UsesBrowser() bool {
	return slices.Contains(m.GrantTypes, GrantAuthorizationCode)
}

// NeedsSecret reports whether the client authenticates with a shared secret.
func (m ClientMetadata) NeedsSecret() bool {
	return m.TokenEndpointAuthMethod == AuthBasic || m.TokenEndpointAuthMethod == AuthPost
}

// IsPublic reports whether the client may come without authentication. The zero value may not.
func (m ClientMetadata) IsPublic() bool { return m.TokenEndpointAuthMethod == AuthNone || m.AllowsNone }

// WithGrantTypes returns the metadata with only those grant types that are also live here. When none is left, the code
// grant and its refresh stay.
func (m ClientMetadata) WithGrantTypes(live []string) ClientMetadata {
	var kept []string
	for _, t := range m.GrantTypes {
		if slices.Contains(live, t) {
			kept = append(kept, t)
		}
	}
	if kept == nil {
		kept = []string{GrantAuthorizationCode, GrantRefreshToken}
	}
	m.GrantTypes = kept
	return m
}

// memberReader reads members until the first error.
type memberReader struct {
	members
	err error
}

func (r *memberReader) text(name string) string {
	if r.err != nil {
		return ""
	}
	var s string
	s, r.err = r.members.text(name)
	return s
}

func (r *memberReader) texts(name string) []string {
	if r.err != nil {
		return nil
	}
	var ss []string
	ss, r.err = r.members.texts(name)
	return ss
}

func (r *memberReader) clean(name string, maxRunes int) string {
	return cleanText(r.text(name), maxRunes)
}

// webURI reads an address that a page may link to or that we may fetch: javascript: and the like must not get there.
func (r *memberReader) webURI(name string, httpsOnly bool) string {
	s := r.text(name)
	if r.err != nil || s == "" {
		return ""
	}
	checked := s
	if !httpsOnly {
		checked, _, _ = strings.Cut(s, "#") // a link may point into a page
		if rest := s[len(checked):]; rest != printable(rest) {
			checked = ""
		}
	}
	u, err := parseURI(checked)
	if err == nil {
		err = checkWebHost(u.Hostname())
	}
	switch {
	case err != nil:
		r.err = fmt.Errorf("%s %w", name, err)
	case strings.EqualFold(u.Scheme, "https"), !httpsOnly && strings.EqualFold(u.Scheme, "http"):
		return s
	default:
		r.err = fmt.Errorf("%s must be an https URL", name)
	}
	return ""
}

// redirectURIs reads a list of redirect URIs, all of which must be acceptable; repeated ones count once.
func (ms members) redirectURIs(name string, maxURIs int) ([]RedirectURI, error) {
	texts, err := ms.texts(name)
	if err != nil {
		return nil, NewError(InvalidRedirectURI, err.Error())
	}
	if len(texts) > maxURIs {
		return nil, Errorf(InvalidRedirectURI, "%s has more than %d entries", name, maxURIs)
	}
	var uris []RedirectURI
	for i, t := range texts {
		u, err := ParseRedirectURI(t)
		if err != nil {
			return nil, Errorf(InvalidRedirectURI, "%s[%d]: %v", name, i, err)
		}
		if !slices.Contains(uris, u) {
			uris = append(uris, u)
		}
	}
	return uris, nil
}

// jwks reads an inline key set of public keys (RFC 7517 §5).
func (ms members) jwks() (json.RawMessage, error) {
	if !ms.has("jwks") {
		return nil, nil
	}
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := ms.read("jwks", '{', "a key set", &set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("jwks has no keys")
	}
	for _, k := range set.Keys {
		// A shared or private key in a registration is a leaked key (RFC 7518 §6.2.2, §6.3.2, §6.4).
		for _, private := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth"} {
			if k[private] != nil {
				return nil, errors.New("jwks must hold public keys only")
			}
		}
		if k == nil || k["kty"] == nil {
			return nil, errors.New("jwks has a key without kty")
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, ms["jwks"]); err != nil {
		return nil, errors.New("jwks must be a key set")
	}
	return compact.Bytes(), nil
}

// keepKnown drops unknown and repeated names. It is an error if names were given and none is known: such a client
// cannot do here what it was made for.
func keepKnown(name string, given, known []string) ([]string, error) {
	if len(given) > maxListedNames {
		return nil, fmt.Errorf("%s has too many entries", name)
	}
	var kept []string
	for _, g := range given {
		if slices.Contains(known, g) && !slices.Contains(kept, g) {
			kept = append(kept, g)
		}
	}
	if len(given) > 0 && kept == nil {
		return nil, fmt.Errorf("%s has no value that is supported here", name)
	}
	return kept, nil
}

// knownScopes keeps the order in which known scopes were sent, so that the answer echoes it.
func knownScopes(scope string) string {
	var kept []string
	for _, s := range strings.Fields(scope) {
		if scopeBit(s) != 0 && !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, " ")
}

// asError makes invalid_client_metadata of what is not an *Error yet.
func asError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(InvalidClientMetadata, err.Error())
}

// RegistrationResponse is the answer to a registration (RFC 7591 §3.2.1). It has no null and no empty string: SDKs
// refuse both.
type RegistrationResponse struct {
	ClientID                string          `json:"client_id"`
	ClientIDIssuedAt        int64           `json:"client_id_issued_at"` // seconds since 1970
	ClientSecret            string          `json:"client_secret,omitzero"`
	ClientSecretExpiresAt   *int64          `json:"client_secret_expires_at,omitzero"` // 0: never; present exactly with a secret
	ClientName              string          `json:"client_name,omitzero"`
	RedirectURIs            []string        `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs  []string        `json:"post_logout_redirect_uris,omitempty"`
	GrantTypes              []string        `json:"grant_types"`
	ResponseTypes           []string        `json:"response_types,omitempty"`
	TokenEndpointAuthMethod string          `json:"token_endpoint_auth_method"`
	ApplicationType         string          `json:"application_type,omitzero"`
	Scope                   string          `json:"scope"`
	ClientURI               string          `json:"client_uri,omitzero"`
	LogoURI                 string          `json:"logo_uri,omitzero"`
	TOSURI                  string          `json:"tos_uri,omitzero"`
	PolicyURI               string          `json:"policy_uri,omitzero"`
	JWKSURI                 string          `json:"jwks_uri,omitzero"`
	JWKS                    json.RawMessage `json:"jwks,omitempty"`
	Contacts                []string        `json:"contacts,omitempty"`
	SoftwareID              string          `json:"software_id,omitzero"`
	SoftwareVersion         string          `json:"software_version,omitzero"`
	IDTokenSigningAlg       string          `json:"id_token_signed_response_alg,omitzero"`
	RegistrationClientURI   string          `json:"registration_client_uri,omitzero"` // RFC 7592 §3, with the next one
	RegistrationAccessToken string          `json:"registration_access_token,omitzero"`
}

// NewRegistrationResponse answers a registration. The secret is used only if the client's method needs one; without a
// known scope in the request, scope holds what a client gets by default.
func NewRegistrationResponse(clientID, secret string, m ClientMetadata, issuedAt time.Time) RegistrationResponse {
	r := RegistrationResponse{
		ClientID:                clientID,
		ClientIDIssuedAt:        issuedAt.Unix(),
		ClientName:              m.Name,
		RedirectURIs:            uriTexts(m.RedirectURIs),
		PostLogoutRedirectURIs:  uriTexts(m.PostLogoutRedirectURIs),
		GrantTypes:              m.GrantTypes,
		ResponseTypes:           m.ResponseTypes,
		TokenEndpointAuthMethod: m.TokenEndpointAuthMethod,
		ApplicationType:         m.ApplicationType,
		Scope:                   m.Scope,
		ClientURI:               m.ClientURI,
		LogoURI:                 m.LogoURI,
		TOSURI:                  m.TOSURI,
		PolicyURI:               m.PolicyURI,
		JWKSURI:                 m.JWKSURI,
		JWKS:                    m.JWKS,
		Contacts:                m.Contacts,
		SoftwareID:              m.SoftwareID,
		SoftwareVersion:         m.SoftwareVersion,
		IDTokenSigningAlg:       m.IDTokenSigningAlg,
	}
	if r.Scope == "" {
		r.Scope = DefaultScopes().String()
	}
	if m.NeedsSecret() {
		r.ClientSecret, r.ClientSecretExpiresAt = secret, new(int64)
	}
	return r
}

func uriTexts(uris []RedirectURI) []string {
	var texts []string
	for _, u := range uris {
		texts = append(texts, u.String())
	}
	return texts
}
