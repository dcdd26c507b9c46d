package spec

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// ClientAssertionJWT is the client_assertion_type of private_key_jwt (RFC 7523 §2.2).
const ClientAssertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxSecretBytes    = 1024
	maxAssertionBytes = 8 << 10
	maxBasicBytes     = 8 << 10
)

// Credentials are a client's id and secret, read in one way. An empty secret is none.
type Credentials struct {
	ClientID string
	Secret   Secret
}

// ClientAuth is how a client presents itself at an endpoint for clients. It is a claim: nothing is verified yet.
type ClientAuth struct {
	// Method is none, client_secret_basic, client_secret_post or private_key_jwt. Basic with an empty secret is none.
	Method string
	// Candidates are the ways to read the credentials, the likeliest first; never empty, except for an assertion
	// without client_id, whose sub names the client. RFC 6749 §2.3.1 has id and secret form-encoded inside Basic, but many
	// clients leave that out.
	Candidates []Credentials
	// Assertion is the JWT of private_key_jwt.
	Assertion Secret
	// UsedBasic says that an Authorization header was used, so that a 401 carries a Basic challenge (RFC 6749 §5.2).
	UsedBasic bool
}

// ClientID returns the likeliest client id, or "" if only an assertion names it.
func (a ClientAuth) ClientID() string {
	if len(a.Candidates) == 0 {
		return ""
	}
	return a.Candidates[0].ClientID
}

// ParseClientAuth reads client authentication from the values of the Authorization header and the form (RFC 6749
// §2.3). Two ways at once are invalid_request, but the same client_id beside Basic is fine, and an empty secret counts
// as none. Errors are *Error; the ClientAuth beside one has UsedBasic set if need be.
func ParseClientAuth(authorization []string, form url.Values) (ClientAuth, error) {
	a := ClientAuth{Method: AuthNone}
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if len(form[name]) > 1 {
			return a, NewError(InvalidRequest, name+" is given more than once")
		}
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	assertion := form.Get("client_assertion")
	if len(id) > MaxClientIDBytes || len(secret) > maxSecretBytes || len(assertion) > maxAssertionBytes {
		return a, NewError(InvalidClient, "the client's credentials are too long")
	}
	if len(authorization) > 1 {
		return a, NewError(InvalidRequest, "there is more than one Authorization header")
	}
	ways := 0
	if secret != "" {
		a.Method = AuthPost
		ways++
	}
	if id != "" {
		a.Candidates = []Credentials{{id, Secret(secret)}}
	}
	if assertion != "" || form.Get("client_assertion_type") != "" {
		if form.Get("client_assertion_type") != ClientAssertionJWT {
			return a, NewError(InvalidClient, "client_assertion_type is not supported")
		}
		if assertion == "" {
			return a, NewError(InvalidClient, "client_assertion is missing")
		}
		a.Method, a.Assertion = AuthPrivateKeyJWT, Secret(assertion)
		ways++
	}
	if len(authorization) == 1 {
		scheme, value, _ := strings.Cut(authorization[0], " ")
		if !strings.EqualFold(scheme, "Basic") {
			return a, NewError(InvalidClient, "the Authorization header must be Basic")
		}
		a.UsedBasic = true
		basic, err := parseBasic(strings.Trim(value, " "))
		if err != nil {
			return a, err
		}
		if id != "" {
			if basic = withID(basic, id); basic == nil {
				return a, NewError(InvalidRequest, "client_id differs from the Authorization header")
			}
		}
		if basic[0].Secret != "" {
			a.Method = AuthBasic
			ways++
		}
		if basic[0].Secret != "" || secret == "" {
			a.Candidates = basic
		}
	}
	if ways > 1 {
		return a, NewError(InvalidRequest, "the client authenticates in more than one way")
	}
	if len(a.Candidates) == 0 && a.Assertion == "" {
		return a, NewError(InvalidClient, "client_id is missing")
	}
	return a, nil
}

// parseBasic returns the ways to read Basic credentials: form-encoded as RFC 6749 §2.3.1 says, then as they stand.
func parseBasic(value string) ([]Credentials, error) {
	if len(value) > maxBasicBytes {
		return nil, NewError(InvalidClient, "the Authorization header is too long")
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(value)
	}
	if err != nil {
		return nil, NewError(InvalidClient, "the Authorization header is not base64")
	}
	id, secret, ok := strings.Cut(string(b), ":")
	if !ok || id == "" {
		return nil, NewError(InvalidClient, "the Authorization header has no client_id and secret")
	}
	// An id that is a URL has a colon of its own when it is not encoded.
	if rest, isURL := strings.CutPrefix(secret, "//"); isURL && strings.EqualFold(id, "https") {
		i := strings.LastIndexByte(rest, ':')
		if i < 0 {
			return nil, NewError(InvalidClient, "the Authorization header has no client_id and secret")
		}
		id, secret = id+"://"+rest[:i], rest[i+1:]
	}
	var cs []Credentials
	decodedID, err1 := url.QueryUnescape(id)
	decodedSecret, err2 := url.QueryUnescape(secret)
	if err1 == nil && err2 == nil && decodedID != "" {
		cs = append(cs, Credentials{decodedID, Secret(decodedSecret)})
	}
	if raw := (Credentials{id, Secret(secret)}); len(cs) == 0 || cs[0] != raw {
		cs = append(cs, raw)
	}
	return cs, nil
}

func withID(cs []Credentials, id string) []Credentials {
	var same []Credentials
	for _, c := range cs {
		if c.ClientID == id {
			same = append(same, c)
		}
	}
	return same
}
