package spec

import (
	"fmt"
	"net/http"
	"strings"
)

// Error codes, each with the standard that defines it.
const (
	// RFC 6749 §4.1.2.1 and §5.2.
	InvalidRequest          = "invalid_request"
	InvalidClient           = "invalid_client"
	InvalidGrant            = "invalid_grant"
	UnauthorizedClient      = "unauthorized_client"
	UnsupportedGrantType    = "unsupported_grant_type"
	UnsupportedResponseType = "unsupported_response_type"
	InvalidScope            = "invalid_scope"
	AccessDenied            = "access_denied"
	ServerError             = "server_error"
	TemporarilyUnavailable  = "temporarily_unavailable"

	// RFC 6750 §3.1.
	InvalidToken      = "invalid_token"
	InsufficientScope = "insufficient_scope"

	// RFC 7009 §2.2.1.
	UnsupportedTokenType = "unsupported_token_type"

	// RFC 7591 §3.2.2.
	InvalidRedirectURI          = "invalid_redirect_uri"
	InvalidClientMetadata       = "invalid_client_metadata"
	InvalidSoftwareStatement    = "invalid_software_statement"
	UnapprovedSoftwareStatement = "unapproved_software_statement"

	// RFC 8628 §3.5.
	AuthorizationPending = "authorization_pending"
	SlowDown             = "slow_down"
	ExpiredToken         = "expired_token"

	// RFC 8707 §2.
	InvalidTarget = "invalid_target"

	// RFC 9449 §5, §8 and §12.2.
	InvalidDPoPProof = "invalid_dpop_proof"
	UseDPoPNonce     = "use_dpop_nonce"

	// RFC 9470 §3.
	InsufficientUserAuthentication = "insufficient_user_authentication"

	// OpenID Connect Core Error Code unmet_authentication_requirements 1.0.
	UnmetAuthenticationRequirements = "unmet_authentication_requirements"

	// OpenID Connect Core §3.1.2.6; RFC 9126 §2.3 and RFC 9101 §6 use the request object codes too.
	LoginRequired            = "login_required"
	ConsentRequired          = "consent_required"
	InteractionRequired      = "interaction_required"
	AccountSelectionRequired = "account_selection_required"
	RequestNotSupported      = "request_not_supported"
	RequestURINotSupported   = "request_uri_not_supported"
	InvalidRequestURI        = "invalid_request_uri"
	InvalidRequestObject     = "invalid_request_object"
	RegistrationNotSupported = "registration_not_supported"
)

// maxDescriptionBytes bounds error_description: it travels in redirect URLs and response headers.
const maxDescriptionBytes = 400

// Error is an error answer of an OAuth endpoint. Its JSON form is the body of RFC 6749 §5.2. Make it with NewError,
// which keeps the description within the permitted characters.
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitzero"`
	// Status is the HTTP status when the error is answered directly; in a redirect it has no meaning.
	Status int `json:"-"`
}

// NewError returns an error with the code's usual HTTP status. The description is cleaned by Describe.
func NewError(code, description string) *Error {
	return &Error{Code: code, Description: Describe(description), Status: StatusOf(code)}
}

// Errorf is NewError with a formatted description.
func Errorf(code, format string, args ...any) *Error {
	return NewError(code, fmt.Sprintf(format, args...))
}

// WithStatus returns a copy that is answered with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// Error returns the code and the description.
func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// StatusOf returns the HTTP status with which a code is answered directly: 401 for invalid_client and invalid_token,
// 403 for insufficient_scope, 500 and 503 for our own faults, 400 for everything else (RFC 6749 §5.2, RFC 6750 §3.1).
func StatusOf(code string) int {
	switch code {
	case InvalidClient, InvalidToken, InsufficientUserAuthentication:
		return http.StatusUnauthorized
	case InsufficientScope:
		return http.StatusForbidden
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Describe makes text fit for error_description: only the characters of RFC 6749 §5.2 (%x20-21, %x23-5B, %x5D-7E)
// and at most 400 bytes. Double quotes become single ones, a backslash becomes a slash, line ends and tabs a space,
// anything else a question mark.
func Describe(s string) string {
	s = printable(s)
	return s[:min(len(s), maxDescriptionBytes)]
}

// printable is Describe without the limit. Its characters need no escape between the double quotes of a header, and
// none of them can end the quote or the line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, s)
}
