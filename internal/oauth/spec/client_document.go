package spec

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// MaxClientDocumentBytes bounds a client ID metadata document.
const MaxClientDocumentBytes = 64 << 10

// IsClientIDURL reports whether a client id has the form of a URL; whether it may be fetched is what ParseClientIDURL says.
func IsClientIDURL(id string) bool { return strings.HasPrefix(strings.ToLower(id), "https:") }

// ParseClientIDURL checks the form of a client id that is the address of its own metadata (draft-ietf-oauth-client-id-
// metadata-document §3): https, a path other than "/", no fragment, no user information, no dot segments, plain or
// encoded. Beyond the draft it refuses IP addresses in any spelling, localhost and capitals in scheme or host. Names that resolve to
// private addresses are for whoever dials.
func ParseClientIDURL(s string) (*url.URL, error) {
	u, err := parseURI(s)
	if err != nil {
		return nil, fmt.Errorf("client_id URL %w", err)
	}
	host := u.Hostname()
	switch {
	case !strings.HasPrefix(s, "https://"):
		return nil, errors.New("client_id URL must begin with https://")
	case strings.HasPrefix(u.Host, "[") || isIPv4(host):
		return nil, errors.New("client_id URL must have a name for a host, not an address")
	case host != strings.ToLower(host):
		return nil, errors.New("client_id URL has capitals in its host")
	case strings.HasSuffix("."+strings.TrimSuffix(host, "."), ".localhost"):
		return nil, errors.New("client_id URL must not point to this computer")
	}
	if err := checkWebHost(host); err != nil {
		return nil, fmt.Errorf("client_id URL %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		return nil, errors.New("client_id URL has no path")
	}
	for segment := range strings.SplitSeq(u.Path, "/") { // decoded, so %2e%2e counts
		if segment == "." || segment == ".." {
			return nil, errors.New("client_id URL has dot segments")
		}
	}
	return u, nil
}

func isIPv4(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// ParseClientDocument reads a client ID metadata document that was fetched from the URL. Its client_id must equal the
// URL byte for byte; it must have redirect URIs and no shared secret. Such documents serve a whole product, so what we
// do not understand is dropped rather than refused: unknown members and grant types, and redirect URIs that our rules refuse
// as long as one is left. A document that prefers private_key_jwt but lists none among
// token_endpoint_auth_methods_supported may be used either way. Errors are *Error with invalid_client_metadata or
// invalid_redirect_uri, for the audit and for a page.
func ParseClientDocument(documentURL string, body []byte) (ClientMetadata, error) {
	if _, err := ParseClientIDURL(documentURL); err != nil {
		return ClientMetadata{}, NewError(InvalidClientMetadata, err.Error())
	}
	if len(body) > MaxClientDocumentBytes {
		return ClientMetadata{}, NewError(InvalidClientMetadata, "the document is larger than 64 KiB").WithStatus(http.StatusRequestEntityTooLarge)
	}
	ms, err := parseMembers(body)
	if err != nil {
		return ClientMetadata{}, NewError(InvalidClientMetadata, err.Error())
	}
	id, err := ms.text("client_id")
	if err != nil {
		return ClientMetadata{}, asError(err)
	}
	if id != documentURL {
		return ClientMetadata{}, NewError(InvalidClientMetadata, "client_id is not the document's own address")
	}
	if ms.has("client_secret") || ms.has("client_secret_expires_at") {
		return ClientMetadata{}, NewError(InvalidClientMetadata, "a document must not hold a client_secret")
	}
	m, err := ms.clientMetadata()
	if err != nil {
		return ClientMetadata{}, asError(err)
	}
	if err := m.negotiateDocumentAuth(ms); err != nil {
		return ClientMetadata{}, asError(err)
	}
	if m.RedirectURIs, err = ms.documentRedirectURIs(); err != nil {
		return ClientMetadata{}, asError(err)
	}
	return m, nil
}

// negotiateDocumentAuth settles how a document client authenticates: without a method it is public, since the default
// of RFC 7591 is a shared secret, which nobody could have shared.
func (m *ClientMetadata) negotiateDocumentAuth(ms members) error {
	listed, err := ms.texts("token_endpoint_auth_methods_supported")
	if err != nil {
		return err
	}
	listsNone := slices.Contains(listed, AuthNone)
	hasKeys := m.JWKSURI != "" || m.JWKS != nil
	switch m.TokenEndpointAuthMethod {
	case AuthNone:
	case "":
		m.TokenEndpointAuthMethod = AuthNone
		if len(listed) > 0 && !listsNone {
			if !slices.Contains(listed, AuthPrivateKeyJWT) || !hasKeys {
				return errors.New("token_endpoint_auth_methods_supported has no method that a document client can use")
			}
			m.TokenEndpointAuthMethod = AuthPrivateKeyJWT
		}
	case AuthPrivateKeyJWT:
		m.AllowsNone = listsNone
		if !hasKeys && !listsNone {
			return errors.New("private_key_jwt needs jwks or jwks_uri")
		}
		if !hasKeys {
			m.TokenEndpointAuthMethod, m.AllowsNone = AuthNone, false
		}
	default:
		return errors.New("token_endpoint_auth_method must be none or private_key_jwt in a document")
	}
	return nil
}

// documentRedirectURIs keeps the acceptable redirect URIs of a document.
func (ms members) documentRedirectURIs() ([]RedirectURI, error) {
	texts, err := ms.texts("redirect_uris")
	if err != nil {
		return nil, NewError(InvalidRedirectURI, err.Error())
	}
	if len(texts) > maxDocumentURIs {
		return nil, Errorf(InvalidRedirectURI, "redirect_uris has more than %d entries", maxDocumentURIs)
	}
	var uris []RedirectURI
	for _, t := range texts {
		if u, err := ParseRedirectURI(t); err == nil && !slices.Contains(uris, u) {
			uris = append(uris, u)
		}
	}
	if uris == nil {
		return nil, NewError(InvalidRedirectURI, "redirect_uris is missing or has no acceptable entry")
	}
	return uris, nil
}
