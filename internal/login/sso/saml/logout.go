package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	// requestLifetime is for how long our own requests are good.
	requestLifetime = 5 * time.Minute
	// maxRelayState is far above the 80 bytes of SAML Bindings 2.0 §3.4.3,
	// which not all providers keep to.
	maxRelayState = 1024
	// maxSessionIndexes bounds a logout request; a person has a few sessions.
	maxSessionIndexes = 50
)

const (
	formatEntity        = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
	reasonUser          = "urn:oasis:names:tc:SAML:2.0:logout:user"
	statusPartialLogout = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"
)

// CanLogout says whether the identity provider has an address to sign out at.
func (sp *ServiceProvider) CanLogout() bool { return sp.idp.logout != "" }

// protocolMessage begins a message of ours.
func (sp *ServiceProvider) protocolMessage(tag, id, to string) *etree.Element {
	e := etree.NewElement("samlp:" + tag)
	e.CreateAttr("xmlns:samlp", nsProtocol)
	e.CreateAttr("xmlns:saml", nsAssertion)
	e.CreateAttr("ID", id)
	e.CreateAttr("Version", "2.0")
	e.CreateAttr("IssueInstant", sp.stamp(0))
	e.CreateAttr("Destination", to)
	e.CreateElement("saml:Issuer").SetText(sp.EntityID)
	return e
}

func (sp *ServiceProvider) stamp(after time.Duration) string {
	return sp.Now().Add(after).UTC().Format("2006-01-02T15:04:05.000Z")
}

// LogoutRequest asks the identity provider to end somebody's session (SAML
// Core 2.0 §3.7.1), or all of them where sessionIndex is "". id names the
// request, as in Request.
func (sp *ServiceProvider) LogoutRequest(id, relayState string, name NameID, sessionIndex string) (Request, error) {
	if !sp.CanLogout() {
		return Request{}, errors.New("saml: the provider has no address to sign out at")
	}
	e := sp.protocolMessage("LogoutRequest", id, sp.idp.logout)
	e.CreateAttr("NotOnOrAfter", sp.stamp(requestLifetime))
	e.CreateAttr("Reason", reasonUser)
	n := e.CreateElement("saml:NameID")
	for key, value := range map[string]string{"Format": name.Format, "NameQualifier": name.NameQualifier, "SPNameQualifier": name.SPNameQualifier} {
		if value != "" {
			n.CreateAttr(key, value)
		}
	}
	n.SetText(name.Value)
	if sessionIndex != "" {
		e.CreateElement("samlp:SessionIndex").SetText(sessionIndex)
	}
	return sp.send(e, asRequest, relayState, sp.idp.logout, sp.idp.logoutBinding)
}

// LogoutResponse answers a logout request of the identity provider: whom it
// meant is signed out (SAML Core 2.0 §3.7.2).
func (sp *ServiceProvider) LogoutResponse(id, relayState, inResponseTo string) (Request, error) {
	if !sp.CanLogout() {
		return Request{}, errors.New("saml: the provider has no address to answer at")
	}
	e := sp.protocolMessage("LogoutResponse", id, sp.idp.answers)
	e.CreateAttr("InResponseTo", inResponseTo)
	e.CreateElement("samlp:Status").CreateElement("samlp:StatusCode").CreateAttr("Value", statusSuccess)
	return sp.send(e, asResponse, relayState, sp.idp.answers, sp.idp.logoutBinding)
}

// Incoming is a message of single logout as it came, not yet checked.
type Incoming struct {
	// Response says that it answers us.
	Response   bool
	RelayState string

	message string
	// covered, algorithm and signature belong to the Redirect binding.
	redirect                      bool
	covered, algorithm, signature string
}

// FromQuery takes a message out of a query as it stands in the URL: the
// signature of the Redirect binding is over the text of the parameters, which
// can be written in more ways than one (SAML Bindings 2.0 §3.4.4.1).
func FromQuery(raw string) (Incoming, error) {
	if len(raw) > MaxResponseBytes {
		return Incoming{}, fmt.Errorf("longer than %d bytes", MaxResponseBytes)
	}
	written, meant := make(map[string]string), make(map[string]string)
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case asRequest, asResponse, "RelayState", "SigAlg", "Signature", "SAMLEncoding":
			text, err := url.QueryUnescape(value)
			if err != nil {
				return Incoming{}, fmt.Errorf("%s: %w", key, err)
			}
			if _, twice := written[key]; twice {
				return Incoming{}, fmt.Errorf("%s stands twice", key)
			}
			written[key], meant[key] = pair, text
		}
	}
	if e := meant["SAMLEncoding"]; e != "" && e != "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE" {
		return Incoming{}, fmt.Errorf("its encoding is %q", e)
	}
	in, err := incoming(meant)
	if err != nil {
		return in, err
	}
	in.redirect, in.algorithm, in.signature = true, meant["SigAlg"], meant["Signature"]
	for _, key := range []string{asRequest, asResponse, "RelayState", "SigAlg"} {
		if pair, ok := written[key]; ok {
			in.covered += "&" + pair
		}
	}
	in.covered = strings.TrimPrefix(in.covered, "&")
	return in, nil
}

// FromForm takes a message out of a form (SAML Bindings 2.0 §3.5.4).
func FromForm(form url.Values) (Incoming, error) {
	meant := make(map[string]string)
	for _, key := range []string{asRequest, asResponse, "RelayState"} {
		if len(form[key]) > 1 {
			return Incoming{}, fmt.Errorf("%s stands twice", key)
		}
		meant[key] = form.Get(key)
	}
	return incoming(meant)
}

func incoming(meant map[string]string) (Incoming, error) {
	request, response := meant[asRequest], meant[asResponse]
	switch {
	case (request == "") == (response == ""):
		return Incoming{}, errors.New("there is not one SAMLRequest or SAMLResponse")
	case len(meant["RelayState"]) > maxRelayState:
		return Incoming{}, fmt.Errorf("the RelayState is longer than %d bytes", maxRelayState)
	}
	return Incoming{Response: response != "", RelayState: meant["RelayState"], message: request + response}, nil
}

// open returns the message as its signature covers it. One without is refused
// (SAML Profiles 2.0 §4.4.4.1 and §4.4.4.2).
func (sp *ServiceProvider) open(in Incoming, tag string) (*etree.Element, error) {
	if len(in.message) > MaxResponseBytes {
		return nil, fmt.Errorf("longer than %d bytes", MaxResponseBytes)
	}
	text, err := base64.StdEncoding.DecodeString(withoutSpace(in.message))
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	if in.redirect {
		// Before anything is unpacked.
		if err := sp.verifyQuery(in); err != nil {
			return nil, err
		}
		if text, err = inflate(text); err != nil {
			return nil, err
		}
	}
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	if !is(root, nsProtocol, tag) {
		return nil, fmt.Errorf("a %s, not a %s", root.Tag, tag)
	}
	if within(root, tag) != 1 {
		return nil, fmt.Errorf("a %s within another", tag)
	}
	if in.redirect {
		// Bindings §3.4.4.1: a message in a query has no signature of its own.
		if err := checkSignatures(root); err != nil {
			return nil, err
		}
		return root, nil
	}
	if err := checkSignatures(root, root); err != nil {
		return nil, err
	}
	return sp.verify(root)
}

func inflate(packed []byte) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), MaxResponseBytes+1))
	if err != nil {
		return nil, fmt.Errorf("not compressed with DEFLATE: %w", err)
	}
	if len(text) > MaxResponseBytes {
		return nil, fmt.Errorf("longer than %d bytes", MaxResponseBytes)
	}
	return text, nil
}

// queryMethods are the signatureMethods with their hashes. The kind of key
// must be that of the method.
var queryMethods = map[string]struct {
	hash  crypto.Hash
	curve bool
}{
	dsig.RSASHA256SignatureMethod:   {crypto.SHA256, false},
	dsig.RSASHA384SignatureMethod:   {crypto.SHA384, false},
	dsig.RSASHA512SignatureMethod:   {crypto.SHA512, false},
	dsig.ECDSASHA256SignatureMethod: {crypto.SHA256, true},
	dsig.ECDSASHA384SignatureMethod: {crypto.SHA384, true},
	dsig.ECDSASHA512SignatureMethod: {crypto.SHA512, true},
}

// verifyQuery checks the signature of the Redirect binding.
func (sp *ServiceProvider) verifyQuery(in Incoming) error {
	if in.signature == "" {
		return errors.New("it is not signed")
	}
	method, ok := queryMethods[in.algorithm]
	if !ok {
		return fmt.Errorf("its signature method is %q", in.algorithm)
	}
	signature, err := base64.StdEncoding.DecodeString(withoutSpace(in.signature))
	if err != nil {
		return fmt.Errorf("its signature is not base64: %w", err)
	}
	h := method.hash.New()
	h.Write([]byte(in.covered))
	sum := h.Sum(nil)
	for _, c := range sp.idp.certificates {
		if verifySum(c, method.hash, method.curve, sum, signature) {
			return nil
		}
	}
	return errors.New("its signature does not hold")
}

func verifySum(c *x509.Certificate, hash crypto.Hash, curve bool, sum, signature []byte) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return !curve && rsa.VerifyPKCS1v15(key, hash, sum, signature) == nil
	case *ecdsa.PublicKey:
		// RFC 4050 §3.3: two numbers of the same length, one after the other.
		half := (key.Curve.Params().BitSize + 7) / 8
		if !curve || len(signature) != 2*half {
			return false
		}
		return ecdsa.Verify(key, sum, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	}
	return false
}

// logoutMessage is what requests and responses have in common, and what either
// has (SAML Core 2.0 §3.2.1, §3.2.2, §3.7.1 and §3.7.2).
type logoutMessage struct {
	ID           string `xml:"ID,attr"`
	Version      string `xml:"Version,attr"`
	Destination  string `xml:"Destination,attr"`
	IssueInstant string `xml:"IssueInstant,attr"`
	InResponseTo string `xml:"InResponseTo,attr"`
	NotOnOrAfter string `xml:"NotOnOrAfter,attr"`
	Issuer       []struct {
		Format string `xml:"Format,attr"`
		Value  string `xml:",chardata"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	NameID         []nameID `xml:"urn:oasis:names:tc:SAML:2.0:assertion NameID"`
	SessionIndexes []string `xml:"urn:oasis:names:tc:SAML:2.0:protocol SessionIndex"`
	Status         struct {
		Code struct {
			Value string `xml:"Value,attr"`
			Sub   struct {
				Value string `xml:"Value,attr"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol Status"`
}

// readLogout opens a message and checks from whom, for whom and from when it
// is.
func (sp *ServiceProvider) readLogout(in Incoming, tag string) (logoutMessage, error) {
	var m logoutMessage
	e, err := sp.open(in, tag)
	if err == nil {
		err = unmarshal(e, &m)
	}
	if err != nil {
		return m, err
	}
	now := sp.Now()
	issued, err := instant(m.IssueInstant)
	switch {
	case m.ID == "" || m.Version != "2.0":
		return m, errors.New("no id, or another version than 2.0")
	case len(m.Issuer) != 1 || strings.TrimSpace(m.Issuer[0].Value) != sp.idp.entityID || (m.Issuer[0].Format != "" && m.Issuer[0].Format != formatEntity):
		return m, fmt.Errorf("it is from %q", m.Issuer)
	// A signed message says where it goes (Bindings §3.4.5.2 and §3.5.5.2).
	case m.Destination != sp.SLOURL:
		return m, fmt.Errorf("its destination is %q", m.Destination)
	case err != nil:
		return m, fmt.Errorf("IssueInstant: %w", err)
	case issued.After(now.Add(clockSkew)) || now.Sub(issued) > maxAge:
		return m, fmt.Errorf("issued at %s", issued)
	}
	return m, nil
}

// Logout is a logout request of the identity provider, checked.
type Logout struct {
	// ID names the request; whoever obeys it remembers it until Expires, so
	// that it is good once.
	ID      string
	Expires time.Time
	Name    NameID
	// SessionIndexes are the sessions that are meant, none means all.
	SessionIndexes []string
}

// ReadLogoutRequest checks a logout request (SAML Profiles 2.0 §4.4.4.1). Any
// error means that nobody is signed out; its text is for the log. That a
// request is used once is for the caller to see to. A name that is encrypted
// (EncryptedID) is not taken.
func (sp *ServiceProvider) ReadLogoutRequest(in Incoming) (Logout, error) {
	m, err := sp.readLogout(in, "LogoutRequest")
	if err != nil {
		return Logout{}, fmt.Errorf("logout request: %w", err)
	}
	out := Logout{ID: m.ID, Expires: sp.Now().Add(maxAge + clockSkew)}
	if m.NotOnOrAfter != "" {
		until, err := instant(m.NotOnOrAfter)
		if err != nil || !sp.Now().Before(until.Add(clockSkew)) {
			return Logout{}, fmt.Errorf("logout request: not valid on or after %q", m.NotOnOrAfter)
		}
	}
	if out.Name, err = theName(m.NameID); err != nil {
		return Logout{}, fmt.Errorf("logout request: %w", err)
	}
	if len(m.SessionIndexes) > maxSessionIndexes {
		return Logout{}, errors.New("logout request: too many sessions")
	}
	for _, index := range m.SessionIndexes {
		// To take an empty one for none would end all sessions.
		if index = strings.TrimSpace(index); index == "" {
			return Logout{}, errors.New("logout request: a SessionIndex is empty")
		}
		out.SessionIndexes = append(out.SessionIndexes, index)
	}
	return out, nil
}

// ReadLogoutResponse checks the answer to the logout request with an id (SAML
// Profiles 2.0 §4.4.4.2). It wraps ErrStatus where the provider says that it
// did not sign the person out, or not everywhere.
func (sp *ServiceProvider) ReadLogoutResponse(in Incoming, requestID string) error {
	m, err := sp.readLogout(in, "LogoutResponse")
	code := m.Status.Code
	switch {
	case err != nil:
		return fmt.Errorf("logout response: %w", err)
	case requestID == "" || m.InResponseTo != requestID:
		return fmt.Errorf("logout response: it answers the request %q", m.InResponseTo)
	case code.Value != statusSuccess || code.Sub.Value == statusPartialLogout:
		return fmt.Errorf("%w: %s %s", ErrStatus, code.Value, code.Sub.Value)
	}
	return nil
}
