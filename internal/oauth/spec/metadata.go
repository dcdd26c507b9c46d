package spec

// Grant types.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628 §3.4
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523 §2.1
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
)

// knownGrantTypes are those a client may register for; others are dropped. The implicit and password grants do not exist.
var knownGrantTypes = []string{
	GrantAuthorizationCode, GrantRefreshToken, GrantClientCredentials, GrantDeviceCode, GrantJWTBearer, GrantTokenExchange,
}

// Token endpoint authentication methods (RFC 7591 §2, OpenID Connect Core §9).
const (
	AuthNone          = "none"
	AuthBasic         = "client_secret_basic"
	AuthPost          = "client_secret_post"
	AuthPrivateKeyJWT = "private_key_jwt"
)

// ResponseTypeCode is the only response type.
const ResponseTypeCode = "code"

// Response modes.
const (
	ResponseModeQuery    = "query"
	ResponseModeFormPost = "form_post"
)

// Locations of metadata.
const (
	ServerMetadataPath = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	OpenIDMetadataPath = "/.well-known/openid-configuration"       // OpenID Connect Discovery §4
)

// Paths of the authorization server's endpoints under the public URL.
const (
	AuthorizePath           = "/oauth/authorize"
	TokenPath               = "/oauth/token"
	RegisterPath            = "/oauth/register"
	RevokePath              = "/oauth/revoke"
	IntrospectPath          = "/oauth/introspect"
	UserInfoPath            = "/oauth/userinfo"
	JWKSPath                = "/oauth/jwks"
	PushedAuthorizationPath = "/oauth/par"
	DeviceAuthorizationPath = "/oauth/device_authorization"
	LogoutPath              = "/oauth/logout"
)

// Features says what of the optional parts is live, so that metadata advertises only what works. The zero value is the
// core: code with PKCE, refresh tokens, public clients, response mode query, and the keys.
type Features struct {
	Registration        bool // RFC 7591
	ClientDocuments     bool // client ID metadata documents
	ClientSecrets       bool // client_secret_basic and client_secret_post
	PrivateKeyJWT       bool // RFC 7523 client authentication
	FormPost            bool // response mode form_post
	Revocation          bool // RFC 7009
	Introspection       bool // RFC 7662
	UserInfo            bool // OpenID Connect Core §5.3
	Logout              bool // OpenID Connect RP-Initiated Logout
	PushedAuthorization bool // RFC 9126
	DeviceAuthorization bool // RFC 8628
	ClientCredentials   bool // RFC 6749 §4.4
	JWTBearer           bool // RFC 7523 §2.1, for identity assertion grants
	TokenExchange       bool // RFC 8693
	DPoP                bool // RFC 9449
	// ACRValues are the classes of sign-in (OpenID Connect Core §2, acr).
	ACRValues []string
}

// GrantTypes returns the grant types that are live.
func (f Features) GrantTypes() []string {
	types := []string{GrantAuthorizationCode, GrantRefreshToken}
	for _, t := range []struct {
		live bool
		name string
	}{
		{f.DeviceAuthorization, GrantDeviceCode},
		{f.ClientCredentials, GrantClientCredentials},
		{f.JWTBearer, GrantJWTBearer},
		{f.TokenExchange, GrantTokenExchange},
	} {
		if t.live {
			types = append(types, t.name)
		}
	}
	return types
}

// AuthMethods returns the token endpoint authentication methods that are live.
func (f Features) AuthMethods() []string {
	methods := []string{AuthNone}
	if f.ClientSecrets {
		methods = append(methods, AuthPost, AuthBasic)
	}
	if f.PrivateKeyJWT {
		methods = append(methods, AuthPrivateKeyJWT)
	}
	return methods
}

// signingAlgorithms are the algorithms of assertions and proofs that are accepted: asymmetric, no "none".
func signingAlgorithms() []string { return []string{"ES256", "EdDSA", "PS256", "RS256"} }

// idTokenAlgorithms are the algorithms of ID tokens; OpenID Connect Discovery §3 asks for RS256 among them.
func idTokenAlgorithms() []string { return []string{"ES256", "RS256"} }

// ProfileIDJAG names the one kind of assertion that is taken (ID-JAG, authorization server metadata).
const ProfileIDJAG = "urn:ietf:params:oauth:grant-profile:id-jag"

// ResourceMetadata is protected resource metadata (RFC 9728 §2).
type ResourceMetadata struct {
	Resource                 string   `json:"resource"`
	AuthorizationServers     []string `json:"authorization_servers"`
	ScopesSupported          []string `json:"scopes_supported"`
	BearerMethodsSupported   []string `json:"bearer_methods_supported"`
	ResourceName             string   `json:"resource_name,omitzero"`
	ResourceDocumentation    string   `json:"resource_documentation,omitzero"`
	DPoPSigningAlgsSupported []string `json:"dpop_signing_alg_values_supported,omitempty"`
}

// NewResourceMetadata describes a resource. Its one authorization server is the issuer; tokens come in the header only.
// Name is what clients show as a label and may be empty.
func NewResourceMetadata(res Resource, issuer PublicURL, name string, f Features) ResourceMetadata {
	m := ResourceMetadata{
		Resource:               res.URL(),
		AuthorizationServers:   []string{issuer.String()},
		ScopesSupported:        ResourceScopes().List(),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           name,
	}
	if f.DPoP {
		m.DPoPSigningAlgsSupported = signingAlgorithms()
	}
	return m
}

// ServerMetadata is authorization server metadata (RFC 8414 §2, with the members that RFC 8628, 9126, 9207, 9449 and the
// client ID metadata document draft add).
type ServerMetadata struct {
	Issuer                                     string   `json:"issuer"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint"`
	TokenEndpoint                              string   `json:"token_endpoint"`
	JWKSURI                                    string   `json:"jwks_uri"`
	RegistrationEndpoint                       string   `json:"registration_endpoint,omitzero"`
	ScopesSupported                            []string `json:"scopes_supported"`
	ResponseTypesSupported                     []string `json:"response_types_supported"`
	ResponseModesSupported                     []string `json:"response_modes_supported"`
	GrantTypesSupported                        []string `json:"grant_types_supported"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthSigningAlgsSupported      []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported"`
	AuthorizationResponseISSParameterSupported bool     `json:"authorization_response_iss_parameter_supported"`
	ClientIDMetadataDocumentSupported          bool     `json:"client_id_metadata_document_supported,omitzero"`
	// OpenID Connect's default for this member is true (Discovery §3), so false is said aloud.
	RequestURIParameterSupported           bool     `json:"request_uri_parameter_supported"`
	RevocationEndpoint                     string   `json:"revocation_endpoint,omitzero"`
	RevocationEndpointAuthMethodsSupported []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpoint                  string   `json:"introspection_endpoint,omitzero"`
	IntrospectionEndpointAuthMethods       []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	PushedAuthorizationRequestEndpoint     string   `json:"pushed_authorization_request_endpoint,omitzero"`
	DeviceAuthorizationEndpoint            string   `json:"device_authorization_endpoint,omitzero"`
	DPoPSigningAlgsSupported               []string `json:"dpop_signing_alg_values_supported,omitempty"`
	RevocationEndpointAuthSigningAlgs      []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpointAuthSigningAlgs   []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	EndSessionEndpoint                     string   `json:"end_session_endpoint,omitzero"`
	AuthorizationGrantProfilesSupported    []string `json:"authorization_grant_profiles_supported,omitempty"`
}

// NewServerMetadata describes the authorization server.
func NewServerMetadata(issuer PublicURL, f Features) ServerMetadata {
	at := func(live bool, path string) string {
		if !live {
			return ""
		}
		return issuer.String() + path
	}
	m := ServerMetadata{
		Issuer:                            issuer.String(),
		AuthorizationEndpoint:             at(true, AuthorizePath),
		TokenEndpoint:                     at(true, TokenPath),
		JWKSURI:                           at(true, JWKSPath),
		RegistrationEndpoint:              at(f.Registration, RegisterPath),
		ScopesSupported:                   AllScopes().List(),
		ResponseTypesSupported:            []string{ResponseTypeCode},
		ResponseModesSupported:            []string{ResponseModeQuery},
		GrantTypesSupported:               f.GrantTypes(),
		TokenEndpointAuthMethodsSupported: f.AuthMethods(),
		CodeChallengeMethodsSupported:     []string{PKCEMethod},
		// RFC 9207 §3. Advertised because it is always sent: clients fail on one without the other.
		AuthorizationResponseISSParameterSupported: true,
		ClientIDMetadataDocumentSupported:          f.ClientDocuments,
		RevocationEndpoint:                         at(f.Revocation, RevokePath),
		IntrospectionEndpoint:                      at(f.Introspection, IntrospectPath),
		PushedAuthorizationRequestEndpoint:         at(f.PushedAuthorization, PushedAuthorizationPath),
		DeviceAuthorizationEndpoint:                at(f.DeviceAuthorization, DeviceAuthorizationPath),
		EndSessionEndpoint:                         at(f.Logout, LogoutPath),
	}
	if f.JWTBearer {
		m.AuthorizationGrantProfilesSupported = []string{ProfileIDJAG}
	}
	if f.FormPost {
		m.ResponseModesSupported = append(m.ResponseModesSupported, ResponseModeFormPost)
	}
	if f.Revocation {
		m.RevocationEndpointAuthMethodsSupported = f.AuthMethods()
	}
	if f.Introspection {
		// Introspection is for confidential clients only (RFC 7662 §2.1).
		m.IntrospectionEndpointAuthMethods = f.AuthMethods()[1:]
	}
	if f.PrivateKeyJWT {
		m.TokenEndpointAuthSigningAlgsSupported = signingAlgorithms()
		if f.Revocation {
			m.RevocationEndpointAuthSigningAlgs = signingAlgorithms()
		}
		if f.Introspection {
			m.IntrospectionEndpointAuthSigningAlgs = signingAlgorithms()
		}
	}
	if f.DPoP {
		m.DPoPSigningAlgsSupported = signingAlgorithms()
	}
	return m
}

// OpenIDMetadata is OpenID Connect discovery metadata (Discovery §3): all of ServerMetadata and what OpenID adds.
type OpenIDMetadata struct {
	ServerMetadata
	UserInfoEndpoint            string   `json:"userinfo_endpoint,omitzero"`
	SubjectTypesSupported       []string `json:"subject_types_supported"`
	IDTokenSigningAlgsSupported []string `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported             []string `json:"claims_supported"`
	ClaimTypesSupported         []string `json:"claim_types_supported"`
	ACRValuesSupported          []string `json:"acr_values_supported,omitempty"`
	PromptValuesSupported       []string `json:"prompt_values_supported"`
	ClaimsParameterSupported    bool     `json:"claims_parameter_supported"`
	RequestParameterSupported   bool     `json:"request_parameter_supported"`
}

// NewOpenIDMetadata describes the authorization server as an OpenID provider.
func NewOpenIDMetadata(issuer PublicURL, f Features) OpenIDMetadata {
	m := OpenIDMetadata{
		ServerMetadata:              NewServerMetadata(issuer, f),
		SubjectTypesSupported:       []string{"public"},
		IDTokenSigningAlgsSupported: idTokenAlgorithms(),
		ClaimsSupported:             []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "name", "preferred_username", "email"},
		ClaimTypesSupported:         []string{"normal"},
		ACRValuesSupported:          f.ACRValues,
		PromptValuesSupported:       []string{PromptNone, PromptLogin, PromptConsent, PromptSelectAccount},
		ClaimsParameterSupported:    true,
	}
	if f.UserInfo {
		m.UserInfoEndpoint = issuer.String() + UserInfoPath
	}
	return m
}
