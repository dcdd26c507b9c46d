package spec

import (
	"bytes"
	"compress/flate"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// ClientKeyBytes is the length of the key that authenticates client ids and from which secrets are derived.
	ClientKeyBytes = 32

	// MaxClientIDBytes bounds a client id: it travels in URLs beside a state of up to 4 KiB, and proxies stop at 8 KiB.
	MaxClientIDBytes = 3072

	// clientIDPrefix names the format. Ids with a prefix that was once given out must be read for ever: clients keep them.
	clientIDPrefix = "c1."

	// clientMACBytes is HMAC-SHA-256 cut to 128 bits (RFC 2104 §5): forging needs 2^127 tries against the server, and
	// every registration's id is 21 characters shorter.
	clientMACBytes = 16

	// maxInflatedBytes bounds what a client id may unfold to; ids are authenticated before, this is the second lock.
	maxInflatedBytes = 64 << 10

	clientIDDomain     = "oriel client id v1\x00"
	clientSecretDomain = "oriel client secret v1\x00"

	registrationTokenDomain = "oriel registration access token v1\x00"
)

// How the metadata inside a client id is kept.
const (
	clientBodyPlain   = 0
	clientBodyDeflate = 1
)

// clientDictionary is what DEFLATE may refer back to in format c1: what registrations usually say, the most usual
// last. It is part of the format and never changes; a better one is format c2.
const clientDictionary = `"p":["private_key_jwt"client_secret_post"client_secret_basic","k":{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","kid":"","use":"sig","alg":"ES256","i":"","v":"1.0.0","t":"web","u":"https://github.com/","l":"https://.com/favicon.ico.svg.png","s":"openid profile email offline_access logs:read traces:read metrics:read alerts:read alerts:write` +
	`windsurf://codeium.windsurf/","grokbot://mcp/oauth/callback","mcpjam://oauth/callback","https://global.consent.azure-apim.net/redirect/","https://chatgpt.com/connector/oauth/","https://chatgpt.com/connector_platform_oauth_redirect","https://claude.com/api/mcp/auth_callback","https://claude.ai/api/mcp/auth_callback","claude://claude.ai/mcp-auth-callback/sdk","http://localhost:6274/oauth/callback/debug","http://localhost:3334/oauth/callback","http://127.0.0.1:1456/mcp/oauth/callback","http://127.0.0.1:19876/mcp/oauth/callback","` +
	`2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","n":"MCP CLI Proxy","n":"Gemini CLI MCP Client","n":"Copilot","n":"Cline","n":"Codex","n":"goose","n":"Cursor","n":"Claude Code (` +
	`urn:ietf:params:oauth:grant-type:device_code","n":"Visual Studio Code","u":"https://code.visualstudio.com","t":"native","r":["https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"]}` +
	`{"r":["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"]}` +
	`{"r":["http://127.0.0.1:{"r":["http://localhost:/oauth/callback"]}/callback"]}`

// clientRecord is ClientMetadata as a client id carries it. Members that have their usual value are left out: grant
// types of a code client, response types (they follow from the grants), method none.
type clientRecord struct {
	Grants     []string        `json:"g,omitempty"`
	Method     string          `json:"m,omitzero"`
	AllowsNone bool            `json:"a,omitzero"`
	Name       string          `json:"n,omitzero"`
	SoftwareID string          `json:"i,omitzero"`
	Version    string          `json:"v,omitzero"`
	ClientURI  string          `json:"u,omitzero"`
	LogoURI    string          `json:"l,omitzero"`
	TOSURI     string          `json:"o,omitzero"`
	PolicyURI  string          `json:"y,omitzero"`
	JWKSURI    string          `json:"j,omitzero"`
	JWKS       json.RawMessage `json:"k,omitempty"`
	Contacts   []string        `json:"c,omitempty"`
	Scope      string          `json:"s,omitzero"`
	AppType    string          `json:"t,omitzero"`
	Logout     []string        `json:"p,omitempty"`
	IDTokenAlg string          `json:"z,omitzero"`
	Redirects  []string        `json:"r,omitempty"`
}

// Letters for grant types, to be read for ever.
var grantLetters = map[string]string{
	"c": GrantAuthorizationCode, "r": GrantRefreshToken, "d": GrantDeviceCode,
	"s": GrantClientCredentials, "j": GrantJWTBearer, "x": GrantTokenExchange,
}

// ErrClientID says that a text is no client id that this server made with this key: unknown, not broken.
var ErrClientID = errors.New("the client_id was not made by this server")

// errClientKey is a fault of ours, never of a client.
var errClientKey = fmt.Errorf("the client key must be %d bytes", ClientKeyBytes)

// IsEncodedClientID reports whether a client id has the form of one that carries its own metadata. It says nothing
// about who made it.
func IsEncodedClientID(id string) bool { return strings.HasPrefix(id, clientIDPrefix) }

// EncodeClientID returns a client id that carries the client's metadata, authenticated with the key, so that nothing
// need be stored for it. The nonce keeps two registrations of one body apart. issuedAt is kept in whole seconds. The
// result has only the characters A-Z a-z 0-9 . - _ and is at most 3072 bytes long; metadata that does not fit is
// *Error with invalid_client_metadata.
func EncodeClientID(key []byte, m ClientMetadata, nonce [8]byte, issuedAt time.Time) (string, error) {
	if len(key) != ClientKeyBytes {
		return "", errClientKey
	}
	r := clientRecord{
		Method: m.TokenEndpointAuthMethod, AllowsNone: m.AllowsNone, Name: m.Name, SoftwareID: m.SoftwareID,
		Version: m.SoftwareVersion, ClientURI: m.ClientURI, LogoURI: m.LogoURI, TOSURI: m.TOSURI, PolicyURI: m.PolicyURI,
		JWKSURI: m.JWKSURI, JWKS: m.JWKS, Contacts: m.Contacts, Scope: m.Scope, AppType: m.ApplicationType,
		Logout: uriTexts(m.PostLogoutRedirectURIs), Redirects: uriTexts(m.RedirectURIs),
		IDTokenAlg: m.IDTokenSigningAlg,
	}
	if r.Method == AuthNone {
		r.Method = ""
	}
	for _, g := range m.GrantTypes {
		for letter, name := range grantLetters {
			if name == g {
				r.Grants = append(r.Grants, letter)
			}
		}
	}
	if strings.Join(r.Grants, "") == "cr" {
		r.Grants = nil
	}
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return "", fmt.Errorf("encode client id: %w", err)
	}
	body := bytes.TrimSuffix(plain.Bytes(), []byte("\n"))
	if len(body) > maxInflatedBytes {
		return "", NewError(InvalidClientMetadata, "the registration is too large")
	}
	kind := byte(clientBodyPlain)
	deflated, err := deflate(body)
	if err != nil {
		return "", fmt.Errorf("encode client id: %w", err)
	}
	if len(deflated) < len(body) {
		body, kind = deflated, clientBodyDeflate
	}
	payload := append([]byte{kind}, nonce[:]...)
	payload = binary.AppendUvarint(payload, uint64(max(issuedAt.Unix(), 0)))
	payload = append(payload, body...)
	id := clientIDPrefix + base64.RawURLEncoding.EncodeToString(payload)
	id += "." + clientMAC(key, id)
	if len(id) > MaxClientIDBytes {
		return "", NewError(InvalidClientMetadata, "the registration is too large")
	}
	return id, nil
}

// DecodeClientID returns the metadata inside a client id and when it was issued (UTC, whole seconds). Nothing is
// decoded before the text as a whole has proved authentic, in constant time. Every id that this server did not make
// with this key is ErrClientID; other errors are faults of ours.
func DecodeClientID(key []byte, id string) (ClientMetadata, time.Time, error) {
	if len(key) != ClientKeyBytes {
		return ClientMetadata{}, time.Time{}, errClientKey
	}
	if len(id) > MaxClientIDBytes || !IsEncodedClientID(id) {
		return ClientMetadata{}, time.Time{}, ErrClientID
	}
	dot := strings.LastIndexByte(id, '.')
	if dot < len(clientIDPrefix) || subtle.ConstantTimeCompare([]byte(clientMAC(key, id[:dot])), []byte(id[dot+1:])) != 1 {
		return ClientMetadata{}, time.Time{}, ErrClientID
	}
	m, issuedAt, err := decodeClientPayload(id[len(clientIDPrefix):dot])
	if err != nil {
		return ClientMetadata{}, time.Time{}, fmt.Errorf("decode client id: %w", err)
	}
	return m, issuedAt, nil
}

func decodeClientPayload(text string) (ClientMetadata, time.Time, error) {
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return ClientMetadata{}, time.Time{}, err
	}
	const head = 1 + 8 // kind and nonce
	if len(payload) < head {
		return ClientMetadata{}, time.Time{}, io.ErrUnexpectedEOF
	}
	seconds, n := binary.Uvarint(payload[head:])
	if n <= 0 {
		return ClientMetadata{}, time.Time{}, io.ErrUnexpectedEOF
	}
	body := payload[head+n:]
	if payload[0] == clientBodyDeflate {
		if body, err = inflate(body); err != nil {
			return ClientMetadata{}, time.Time{}, err
		}
	}
	var r clientRecord
	if err := json.Unmarshal(body, &r); err != nil {
		return ClientMetadata{}, time.Time{}, err
	}
	m := ClientMetadata{
		Name: r.Name, TokenEndpointAuthMethod: r.Method, AllowsNone: r.AllowsNone, ApplicationType: r.AppType, Scope: r.Scope,
		ClientURI: r.ClientURI, LogoURI: r.LogoURI, TOSURI: r.TOSURI, PolicyURI: r.PolicyURI, JWKSURI: r.JWKSURI, JWKS: r.JWKS,
		Contacts: r.Contacts, SoftwareID: r.SoftwareID, SoftwareVersion: r.Version,
		IDTokenSigningAlg: r.IDTokenAlg,
		RedirectURIs:      stillAccepted(r.Redirects), PostLogoutRedirectURIs: stillAccepted(r.Logout),
	}
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = AuthNone
	}
	for _, g := range r.Grants {
		m.GrantTypes = append(m.GrantTypes, grantLetters[g])
	}
	if r.Grants == nil {
		m.GrantTypes = []string{GrantAuthorizationCode, GrantRefreshToken}
	}
	if m.UsesBrowser() {
		m.ResponseTypes = []string{ResponseTypeCode}
	}
	return m, time.Unix(int64(seconds), 0).UTC(), nil
}

// stillAccepted applies today's rules to what was registered under older ones. A URI that has since become unacceptable
// is forgotten; the rest of the registration lives on.
func stillAccepted(texts []string) []RedirectURI {
	var uris []RedirectURI
	for _, t := range texts {
		if u, err := ParseRedirectURI(t); err == nil {
			uris = append(uris, u)
		}
	}
	return uris
}

// ClientSecret derives a client's secret from its id, 43 characters. It panics if the key is not 32 bytes long: a secret made
// from no key could be made by anyone.
func ClientSecret(key []byte, id string) string {
	if len(key) != ClientKeyBytes {
		panic(errClientKey)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(clientSecretDomain))
	h.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// VerifyClientSecret compares a presented secret with the derived one in constant time.
func VerifyClientSecret(key []byte, id, secret string) bool {
	return subtle.ConstantTimeCompare([]byte(ClientSecret(key, id)), []byte(secret)) == 1
}

// RegistrationToken derives the registration access token (RFC 7592 §3) of a client from its id, 43 characters, as
// ClientSecret does: a token with which a registration can be read and deleted, and nothing else.
func RegistrationToken(key []byte, id string) string {
	if len(key) != ClientKeyBytes {
		panic(errClientKey)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(registrationTokenDomain))
	h.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// VerifyRegistrationToken compares a presented token with the derived one in constant time.
func VerifyRegistrationToken(key []byte, id, token string) bool {
	return subtle.ConstantTimeCompare([]byte(RegistrationToken(key, id)), []byte(token)) == 1
}

func clientMAC(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(clientIDDomain))
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:clientMACBytes])
}

// The state of a compressor takes 800 KB, that of a decompressor 40 KB. Made anew for each id, a flood of registrations
// would keep the garbage collector busier than the server; the pools give both back and hold nothing of any id.
var (
	deflaters = sync.Pool{New: func() any {
		w, err := flate.NewWriterDict(nil, flate.BestCompression, []byte(clientDictionary))
		if err != nil {
			panic(err) // unreachable: the level is a constant
		}
		return w
	}}
	inflaters = sync.Pool{New: func() any { return flate.NewReaderDict(nil, []byte(clientDictionary)) }}
)

func deflate(b []byte) ([]byte, error) {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer
	w.Reset(&out) // keeps the dictionary
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func inflate(b []byte) ([]byte, error) {
	r := inflaters.Get()
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(b), []byte(clientDictionary)); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r.(io.Reader), maxInflatedBytes+1))
	if err != nil {
		return nil, err
	}
	if len(out) > maxInflatedBytes {
		return nil, errors.New("more than 64 KiB inside")
	}
	return out, nil
}
