package clientdoc

import (
	"fmt"
	"time"
)

// Reason says why a document was refused, for the audit log.
type Reason string

// The reasons. They are stored in audit events: added to, never renamed.
const (
	ReasonURL          Reason = "url"           // the client_id is not a URL that may be fetched
	ReasonScheme       Reason = "scheme"        // not https
	ReasonPort         Reason = "port"          // a port that is not allowed
	ReasonAddress      Reason = "address"       // the host is, or resolves to, an address that is not public
	ReasonUnreachable  Reason = "unreachable"   // no such name, or no connection
	ReasonTLS          Reason = "tls"           // the certificate is not valid for the host
	ReasonRedirect     Reason = "redirect"      // the host sent us elsewhere
	ReasonStatus       Reason = "status"        // not 200
	ReasonGone         Reason = "gone"          // 410: the host says that the document was withdrawn
	ReasonTooLarge     Reason = "too large"     // more than 64 KiB
	ReasonTooSlow      Reason = "too slow"      // more than 5 s
	ReasonMediaType    Reason = "media type"    // not JSON by its Content-Type
	ReasonNotJSON      Reason = "not JSON"      // not one JSON object
	ReasonMismatch     Reason = "client_id"     // client_id is not the URL
	ReasonSecret       Reason = "secret"        // the document holds a client_secret
	ReasonRedirectURIs Reason = "redirect_uris" // none that we accept
	ReasonMetadata     Reason = "metadata"      // another member is not acceptable
	ReasonBusy         Reason = "busy"          // too many documents are being fetched
)

// Error is a document that was refused.
type Error struct {
	URL    string
	Reason Reason
	// Cause says what happened. It is for the log and the audit only: it may
	// tell what our network looks like.
	Cause error
	// RetryAfter is when it is worth trying again.
	RetryAfter time.Duration
}

// Error says which document was refused and why.
func (e *Error) Error() string {
	return fmt.Sprintf("client document %s: %s: %v", clip(e.URL), e.Reason, e.Cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Permanent says whether the document itself is to blame, rather than the way
// to it: its client is refused as unknown. Otherwise trying again may help,
// and nobody should forget anything.
func (e *Error) Permanent() bool {
	switch e.Reason {
	case ReasonURL, ReasonScheme, ReasonPort, ReasonAddress, ReasonGone, ReasonMismatch, ReasonSecret, ReasonRedirectURIs, ReasonMetadata:
		return true
	}
	return false
}

// Public says what a stranger may know: what is wrong with a document is its
// author's to mend, but how far we got on the way to it would tell about our
// network.
func (e *Error) Public() string {
	switch e.Reason {
	case ReasonURL, ReasonScheme, ReasonPort:
		return "The app's client_id is an address that cannot hold a client metadata document: it must be https on the usual port, with a path and without user name, fragment or dot segments."
	case ReasonRedirect:
		return "The app's metadata document is not at its client_id: the address redirects elsewhere."
	case ReasonTooLarge:
		return "The app's metadata document is larger than 64 KiB."
	case ReasonMediaType, ReasonNotJSON:
		return "The app's client_id does not lead to a JSON document."
	case ReasonMismatch:
		return "The app's metadata document names another client_id than its own address."
	case ReasonSecret:
		return "The app's metadata document holds a client_secret, which everybody can read there."
	case ReasonRedirectURIs:
		return "The app's metadata document has no acceptable redirect_uris."
	case ReasonMetadata:
		return "The app's metadata document has a member that is not acceptable."
	case ReasonGone:
		return "The app's maker has withdrawn its metadata document."
	case ReasonBusy:
		return "Too many apps are asking at this moment."
	}
	return "The app's metadata document could not be fetched."
}

// Next says what to do about it.
func (e *Error) Next() string {
	if e.Permanent() {
		return "Tell the app's maker; nothing here can change it."
	}
	return "Try again in a minute. If it does not help, connect the app with a client_id that an owner of this server registers."
}

// clip bounds what a stranger can write into our logs, in bytes.
func clip(s string) string {
	const longest = 300
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
