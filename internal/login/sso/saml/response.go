package saml

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml/xmlenc"
	xrv "github.com/mattermost/xml-roundtrip-validator"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

const (
	// MaxResponseBytes bounds a response as it comes in a form; hundreds of
	// groups fit.
	MaxResponseBytes = 512 << 10
	// clockSkew is how far the provider's clock may be off.
	clockSkew = time.Minute
	// maxAge is how long ago a response may have been issued: a person only
	// has to be redirected.
	maxAge = 10 * time.Minute
	// maxElements and maxDepth bound what is walked through.
	maxElements = 20_000
	maxDepth    = 40
)

// Namespaces.
const (
	nsProtocol   = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion  = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsSignature  = "http://www.w3.org/2000/09/xmldsig#"
	nsEncryption = "http://www.w3.org/2001/04/xmlenc#"
)

const (
	statusSuccess = "urn:oasis:names:tc:SAML:2.0:status:Success"
	methodBearer  = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	keyTransport  = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
)

// Assertion is what an identity provider says about somebody, checked.
type Assertion struct {
	// ID names the assertion; whoever uses it remembers it until Expires, so
	// that it is good once.
	ID      string
	Expires time.Time
	// Name is the subject, SessionIndex the provider's name for its session,
	// "" for none.
	Name         NameID
	SessionIndex string
	// AuthnInstant is when the person signed in, Class how
	// (AuthnContextClassRef).
	AuthnInstant time.Time
	Class        string
	// Attributes are by name and, where there is none of that name, by
	// friendly name.
	Attributes map[string][]string
}

// NameID is how a provider calls somebody (SAML Core 2.0 §2.2.3).
type NameID struct {
	Value string `json:"v"`
	// Format and the qualifiers are "" where the name had none.
	Format          string `json:"f,omitempty"`
	NameQualifier   string `json:"q,omitempty"`
	SPNameQualifier string `json:"s,omitempty"`
}

// ErrStatus is returned where the provider says that it did not do what it was
// asked for.
var ErrStatus = errors.New("the identity provider did not do it")

// Read checks a response, in base64 as a form holds it, to the request with an
// id (SAML Profiles 2.0 §4.1.4.2 and §4.1.4.3). Any error means that nobody is
// signed in; its text is for the log. That an assertion is used once is for
// the caller to see to.
func (sp *ServiceProvider) Read(message, requestID string) (Assertion, error) {
	if len(message) > MaxResponseBytes {
		return Assertion{}, fmt.Errorf("longer than %d bytes", MaxResponseBytes)
	}
	text, err := base64.StdEncoding.DecodeString(withoutSpace(message))
	if err != nil {
		return Assertion{}, fmt.Errorf("not base64: %w", err)
	}
	root, err := parse(text)
	if err != nil {
		return Assertion{}, err
	}
	if !is(root, nsProtocol, "Response") {
		return Assertion{}, fmt.Errorf("a %s, not a Response", root.Tag)
	}
	found, encrypted, err := theAssertion(root)
	if err != nil {
		return Assertion{}, err
	}
	if err := sp.checkResponse(root, requestID); err != nil {
		return Assertion{}, err
	}
	if encrypted {
		if found, err = sp.decrypt(found); err != nil {
			return Assertion{}, err
		}
	}
	// From here on only what the signature covers is looked at.
	verified, err := sp.verify(found)
	if err != nil {
		return Assertion{}, fmt.Errorf("assertion: %w", err)
	}
	return sp.readAssertion(verified, requestID)
}

// parse reads XML and refuses what leaves doubt about its meaning: what parsers
// read differently, document types, processing instructions, comments (which
// canonicalization drops and which cut a text in two: comment injection) and
// ids that stand twice (which of them is signed?).
func parse(text []byte) (*etree.Element, error) {
	if err := xrv.Validate(bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("not safe XML: %w", err)
	}
	doc := etree.NewDocument()
	doc.ReadSettings.Permissive = false
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, fmt.Errorf("not XML: %w", err)
	}
	if doc.Root() == nil {
		return nil, errors.New("not XML: no element")
	}
	for _, c := range doc.Child {
		switch t := c.(type) {
		case *etree.Element, *etree.CharData:
		case *etree.ProcInst:
			if t.Target != "xml" {
				return nil, errors.New("a processing instruction")
			}
		default:
			return nil, fmt.Errorf("a %T beside the document's element", c)
		}
	}
	s := survey{ids: make(map[string]bool)}
	return doc.Root(), s.walk(doc.Root(), 0)
}

// survey goes through all elements.
type survey struct {
	ids   map[string]bool
	count int
}

func (s *survey) walk(e *etree.Element, depth int) error {
	if s.count++; s.count > maxElements || depth > maxDepth {
		return errors.New("too many elements")
	}
	for _, a := range e.Attr {
		if a.Space != "" || !strings.EqualFold(a.Key, "id") {
			continue
		}
		if s.ids[a.Value] {
			return fmt.Errorf("the id %q stands twice", a.Value)
		}
		s.ids[a.Value] = true
	}
	for _, c := range e.Child {
		switch t := c.(type) {
		case *etree.Element:
			if err := s.walk(t, depth+1); err != nil {
				return err
			}
		case *etree.CharData:
		default:
			return fmt.Errorf("a %T inside %s (comments and instructions are refused)", c, e.Tag)
		}
	}
	return nil
}

func is(e *etree.Element, namespace, tag string) bool {
	return e.Tag == tag && e.NamespaceURI() == namespace
}

// children returns the children of that name.
func children(e *etree.Element, namespace, tag string) []*etree.Element {
	var out []*etree.Element
	for _, c := range e.ChildElements() {
		if is(c, namespace, tag) {
			out = append(out, c)
		}
	}
	return out
}

// within counts the elements of a name at any depth, e itself included,
// whatever their namespace: a decoy need not be in the right one.
func within(e *etree.Element, tag string) int {
	n := 0
	if e.Tag == tag {
		n = 1
	}
	for _, c := range e.ChildElements() {
		n += within(c, tag)
	}
	return n
}

// theAssertion returns the only assertion of a response. There must be no
// other one anywhere, and signatures only where they cover their parent: that
// leaves nothing to wrap (XML signature wrapping).
func theAssertion(root *etree.Element) (found *etree.Element, encrypted bool, err error) {
	plain, sealed := children(root, nsAssertion, "Assertion"), children(root, nsAssertion, "EncryptedAssertion")
	if len(plain)+len(sealed) != 1 || within(root, "Assertion")+within(root, "EncryptedAssertion") != 1 || within(root, "Response") != 1 {
		return nil, false, errors.New("there is not exactly one assertion")
	}
	found = append(plain, sealed...)[0]
	if err := checkSignatures(root, root, found); err != nil {
		return nil, false, err
	}
	return found, len(sealed) == 1, nil
}

// checkSignatures lets signatures stand as a child of some elements, one each.
func checkSignatures(e *etree.Element, allowed ...*etree.Element) error {
	n := 0
	for _, c := range e.ChildElements() {
		if c.Tag == "Signature" {
			if n++; n > 1 || c.NamespaceURI() != nsSignature || !slices.Contains(allowed, e) || within(c, "Signature") != 1 || within(c, "Object") != 0 {
				return errors.New("a signature where none belongs")
			}
			continue
		}
		if err := checkSignatures(c, allowed...); err != nil {
			return err
		}
	}
	return nil
}

// checkResponse checks what is around the assertion (SAML Core 2.0 §3.2.2).
// Where the response is signed, the signature must be good, and what it says
// is read from what was signed. Where it is not, what it says only refuses.
func (sp *ServiceProvider) checkResponse(root *etree.Element, requestID string) error {
	signed := len(children(root, nsSignature, "Signature")) > 0
	if signed {
		verified, err := sp.verify(root)
		if err != nil {
			return fmt.Errorf("response: %w", err)
		}
		root = verified
	}
	var r struct {
		Version      string `xml:"Version,attr"`
		Destination  string `xml:"Destination,attr"`
		InResponseTo string `xml:"InResponseTo,attr"`
		IssueInstant string `xml:"IssueInstant,attr"`
		Issuer       *struct {
			Value string `xml:",chardata"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
		Status struct {
			Code struct {
				Value string `xml:"Value,attr"`
				Sub   struct {
					Value string `xml:"Value,attr"`
				} `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:protocol Status"`
	}
	if err := unmarshal(root, &r); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	issued, err := instant(r.IssueInstant)
	now := sp.Now()
	switch {
	case r.Version != "2.0":
		return fmt.Errorf("response: version %q", r.Version)
	// §3.4.5.2 of SAML Bindings: a signed message must say where it goes.
	case r.Destination != sp.ACSURL && (r.Destination != "" || signed):
		return fmt.Errorf("response: its destination is %q", r.Destination)
	case requestID == "" || r.InResponseTo != requestID:
		return fmt.Errorf("response: it answers the request %q", r.InResponseTo)
	case r.Issuer != nil && strings.TrimSpace(r.Issuer.Value) != sp.idp.entityID:
		return fmt.Errorf("response: it is from %q", r.Issuer.Value)
	case err != nil:
		return fmt.Errorf("response: IssueInstant: %w", err)
	case issued.After(now.Add(clockSkew)) || now.Sub(issued) > maxAge:
		return fmt.Errorf("response: issued at %s", issued)
	case r.Status.Code.Value != statusSuccess:
		return fmt.Errorf("%w: %s %s", ErrStatus, r.Status.Code.Value, r.Status.Code.Sub.Value)
	}
	return nil
}

// Algorithms that are good enough, and that leave no choice to the message: a
// signature by one of the certificates in the metadata, over the element it
// stands in, and nothing else. In particular no HMAC, no SHA-1, no XPath.
var (
	signatureMethods = []string{
		dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod,
		dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod,
	}
	digestMethods = []string{
		"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512",
	}
	transforms = []string{dsig.EnvelopedSignatureAltorithmId.String(), dsig.CanonicalXML10ExclusiveAlgorithmId.String()}
)

// verify returns an element as its own enveloped signature covers it.
func (sp *ServiceProvider) verify(e *etree.Element) (*etree.Element, error) {
	id := e.SelectAttrValue("ID", "")
	signatures := children(e, nsSignature, "Signature")
	if len(signatures) != 1 || id == "" {
		return nil, errors.New("it is not signed")
	}
	if err := checkAlgorithms(signatures[0], id); err != nil {
		return nil, err
	}
	// The element may use prefixes that are declared around it.
	ctx, err := etreeutils.NSBuildParentContext(e)
	if err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	if ctx, err = ctx.SubContext(e); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	detached, err := etreeutils.NSDetatch(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	// What the message says about keys counts for nothing.
	for _, s := range children(detached, nsSignature, "Signature") {
		for _, k := range children(s, nsSignature, "KeyInfo") {
			s.RemoveChild(k)
		}
	}
	var errs []error
	for _, c := range sp.idp.certificates {
		v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{c}})
		v.IdAttribute = "ID"
		// A certificate in metadata is a wrapping for a key; when it expires
		// is no statement about the key (SAML Metadata Interoperability §2.6.1).
		v.Clock = dsig.NewFakeClockAt(c.NotBefore.Add(time.Second))
		verified, err := v.Validate(detached)
		if err == nil {
			return verified, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("its signature does not hold: %w", errors.Join(errs...))
}

// checkAlgorithms looks at a signature before it is believed in anything.
func checkAlgorithms(signature *etree.Element, id string) error {
	infos := children(signature, nsSignature, "SignedInfo")
	if len(infos) != 1 {
		return errors.New("its signature has not one SignedInfo")
	}
	one := func(e *etree.Element, tag string) *etree.Element {
		if found := children(e, nsSignature, tag); len(found) == 1 {
			return found[0]
		}
		return etree.NewElement("missing")
	}
	algorithm := func(e *etree.Element) string { return e.SelectAttrValue("Algorithm", "") }
	reference := one(infos[0], "Reference")
	switch {
	case !slices.Contains(signatureMethods, algorithm(one(infos[0], "SignatureMethod"))):
		return fmt.Errorf("its signature method is %q", algorithm(one(infos[0], "SignatureMethod")))
	case algorithm(one(infos[0], "CanonicalizationMethod")) != transforms[1]:
		return fmt.Errorf("its canonicalization method is %q", algorithm(one(infos[0], "CanonicalizationMethod")))
	case reference.SelectAttrValue("URI", "") != "#"+id:
		return fmt.Errorf("its signature is about %q", reference.SelectAttrValue("URI", ""))
	case !slices.Contains(digestMethods, algorithm(one(reference, "DigestMethod"))):
		return fmt.Errorf("its digest method is %q", algorithm(one(reference, "DigestMethod")))
	}
	steps := one(reference, "Transforms").ChildElements()
	if len(steps) != 2 || algorithm(steps[0]) != transforms[0] || algorithm(steps[1]) != transforms[1] {
		return errors.New("its signature has other transforms than enveloped-signature and exclusive canonicalization")
	}
	return nil
}

var errDecrypt = errors.New("the assertion cannot be decrypted")

// decrypt opens an EncryptedAssertion. Whatever goes wrong is one error: what
// can be told apart here tells about the plaintext (padding oracle).
func (sp *ServiceProvider) decrypt(e *etree.Element) (found *etree.Element, err error) {
	defer func() {
		// The library slices what it has not measured.
		if recover() != nil {
			found, err = nil, errDecrypt
		}
	}()
	data := children(e, nsEncryption, "EncryptedData")
	keys := append(e.FindElements("./EncryptedKey"), e.FindElements("./EncryptedData/KeyInfo/EncryptedKey")...)
	if len(data) != 1 || len(keys) != 1 {
		return nil, errDecrypt
	}
	// RSAES-PKCS1-v1_5 is open to Bleichenbacher's attack.
	if m := keys[0].FindElement("./EncryptionMethod"); m == nil || m.SelectAttrValue("Algorithm", "") != keyTransport {
		return nil, errDecrypt
	}
	var key any = sp.key
	if keys[0].Parent() == e {
		if key, err = xmlenc.Decrypt(sp.key, keys[0]); err != nil {
			return nil, errDecrypt
		}
	}
	plain, err := xmlenc.Decrypt(key, data[0])
	if err != nil {
		return nil, errDecrypt
	}
	root, err := parse(plain)
	if err != nil || !is(root, nsAssertion, "Assertion") || within(root, "Assertion")+within(root, "EncryptedAssertion")+within(root, "Response") != 1 ||
		checkSignatures(root, root) != nil {
		return nil, errDecrypt
	}
	return root, nil
}

// assertion is a SAML assertion as far as it concerns us (SAML Core 2.0 §2.3.3).
type assertion struct {
	ID      string `xml:"ID,attr"`
	Version string `xml:"Version,attr"`
	Issuer  string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Subject struct {
		NameID        []nameID       `xml:"urn:oasis:names:tc:SAML:2.0:assertion NameID"`
		Confirmations []confirmation `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmation"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Subject"`
	Conditions []struct {
		NotBefore    string `xml:"NotBefore,attr"`
		NotOnOrAfter string `xml:"NotOnOrAfter,attr"`
		Audiences    []struct {
			Audience []string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Audience"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AudienceRestriction"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Conditions"`
	Statements []struct {
		AuthnInstant        string `xml:"AuthnInstant,attr"`
		SessionIndex        string `xml:"SessionIndex,attr"`
		SessionNotOnOrAfter string `xml:"SessionNotOnOrAfter,attr"`
		Class               string `xml:"AuthnContext>AuthnContextClassRef"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AuthnStatement"`
	Attributes []struct {
		Attribute []struct {
			Name         string   `xml:"Name,attr"`
			FriendlyName string   `xml:"FriendlyName,attr"`
			Values       []string `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeValue"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Attribute"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeStatement"`
}

type nameID struct {
	Format          string `xml:"Format,attr"`
	NameQualifier   string `xml:"NameQualifier,attr"`
	SPNameQualifier string `xml:"SPNameQualifier,attr"`
	Value           string `xml:",chardata"`
}

// theName returns the only name of a list.
func theName(all []nameID) (NameID, error) {
	if len(all) != 1 || strings.TrimSpace(all[0].Value) == "" {
		return NameID{}, errors.New("not one NameID")
	}
	n := all[0]
	return NameID{strings.TrimSpace(n.Value), n.Format, n.NameQualifier, n.SPNameQualifier}, nil
}

type confirmation struct {
	Method string `xml:"Method,attr"`
	Data   []struct {
		InResponseTo string `xml:"InResponseTo,attr"`
		Recipient    string `xml:"Recipient,attr"`
		NotBefore    string `xml:"NotBefore,attr"`
		NotOnOrAfter string `xml:"NotOnOrAfter,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmationData"`
}

// readAssertion checks a verified assertion.
func (sp *ServiceProvider) readAssertion(e *etree.Element, requestID string) (Assertion, error) {
	var a assertion
	if err := unmarshal(e, &a); err != nil {
		return Assertion{}, fmt.Errorf("assertion: %w", err)
	}
	now := sp.Now()
	out := Assertion{ID: a.ID, Attributes: make(map[string][]string)}
	switch {
	case a.ID == "" || a.Version != "2.0":
		return out, errors.New("assertion: no id, or another version than 2.0")
	case strings.TrimSpace(a.Issuer) != sp.idp.entityID:
		return out, fmt.Errorf("assertion: it is from %q", a.Issuer)
	case len(a.Conditions) != 1:
		return out, errors.New("assertion: not one Conditions")
	case len(a.Statements) == 0:
		return out, errors.New("assertion: it does not say that somebody signed in (AuthnStatement)")
	}
	var err error
	if out.Name, err = theName(a.Subject.NameID); err != nil {
		return out, fmt.Errorf("assertion: %w", err)
	}
	if err := sp.checkConditions(&a, now); err != nil {
		return out, err
	}
	if out.Expires, err = sp.confirm(a.Subject.Confirmations, requestID, now); err != nil {
		return out, err
	}
	s := a.Statements[0]
	if out.AuthnInstant, err = instant(s.AuthnInstant); err != nil {
		return out, fmt.Errorf("assertion: AuthnInstant: %w", err)
	}
	if s.SessionNotOnOrAfter != "" {
		end, err := instant(s.SessionNotOnOrAfter)
		if err != nil || !now.Before(end.Add(clockSkew)) {
			return out, errors.New("assertion: the session at the provider is over")
		}
	}
	out.SessionIndex, out.Class = s.SessionIndex, strings.TrimSpace(s.Class)
	for _, statement := range a.Attributes {
		for _, attribute := range statement.Attribute {
			values := make([]string, len(attribute.Values))
			for i, v := range attribute.Values {
				values[i] = strings.TrimSpace(v)
			}
			out.Attributes[attribute.Name] = append(out.Attributes[attribute.Name], values...)
		}
	}
	for _, statement := range a.Attributes {
		for _, attribute := range statement.Attribute {
			if _, taken := out.Attributes[attribute.FriendlyName]; attribute.FriendlyName != "" && !taken {
				out.Attributes[attribute.FriendlyName] = out.Attributes[attribute.Name]
			}
		}
	}
	return out, nil
}

// checkConditions checks when and for whom an assertion is (SAML Core §2.5.1).
func (sp *ServiceProvider) checkConditions(a *assertion, now time.Time) error {
	c := a.Conditions[0]
	if c.NotBefore != "" {
		if from, err := instant(c.NotBefore); err != nil || now.Add(clockSkew).Before(from) {
			return fmt.Errorf("assertion: not valid before %q", c.NotBefore)
		}
	}
	until, err := instant(c.NotOnOrAfter)
	if err != nil || !now.Before(until.Add(clockSkew)) {
		return fmt.Errorf("assertion: not valid on or after %q", c.NotOnOrAfter)
	}
	if len(c.Audiences) == 0 {
		return errors.New("assertion: it does not say for whom it is (AudienceRestriction)")
	}
	for _, r := range c.Audiences {
		if !slices.ContainsFunc(r.Audience, func(s string) bool { return strings.TrimSpace(s) == sp.EntityID }) {
			return fmt.Errorf("assertion: it is for %q", r.Audience)
		}
	}
	return nil
}

// confirm finds the confirmation that lets the bearer use the assertion here
// and now (SAML Profiles 2.0 §4.1.4.2), and returns when it ends.
func (sp *ServiceProvider) confirm(all []confirmation, requestID string, now time.Time) (time.Time, error) {
	why := errors.New("assertion: no bearer may use it (SubjectConfirmation)")
	for _, c := range all {
		if c.Method != methodBearer || len(c.Data) != 1 {
			continue
		}
		d := c.Data[0]
		until, err := instant(d.NotOnOrAfter)
		switch {
		case d.Recipient != sp.ACSURL:
			why = fmt.Errorf("assertion: its recipient is %q", d.Recipient)
		case d.InResponseTo != requestID:
			why = fmt.Errorf("assertion: it answers the request %q", d.InResponseTo)
		case d.NotBefore != "":
			why = errors.New("assertion: a bearer's confirmation has no NotBefore")
		case err != nil || !now.Before(until.Add(clockSkew)):
			why = fmt.Errorf("assertion: its bearer had to use it before %q", d.NotOnOrAfter)
		default:
			return until.Add(clockSkew), nil
		}
	}
	return time.Time{}, why
}

// instant reads a time (SAML Core 2.0 §1.3.3: in UTC).
func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, fmt.Errorf("%q is not a time", s)
	}
	return t, nil
}

// unmarshal decodes an element that was walked through.
func unmarshal(e *etree.Element, into any) error {
	doc := etree.NewDocument()
	doc.SetRoot(e.Copy())
	text, err := doc.WriteToBytes()
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := xml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}
