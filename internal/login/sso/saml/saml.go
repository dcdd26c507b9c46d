// Package saml is a SAML 2.0 service provider: it describes itself, asks an
// identity provider to sign somebody in with a signed request, and reads the
// response. It knows the Web Browser SSO profile with the POST binding for
// responses, Single Logout with the Redirect and POST bindings, and nothing
// else; in particular it takes no response that nobody asked for.
//
// It hides what it is built on, so that this can be replaced: crewjam/saml
// describes, asks and decrypts, goxmldsig checks signatures. What a response
// says is read by own code, from the element that the signature covers as it
// was verified, and never from the document as it came: most attacks on SAML
// live on that difference. A response whose shape leaves any doubt about what
// is signed is refused before its signature is looked at.
package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	xrv "github.com/mattermost/xml-roundtrip-validator"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	// keyBits is the size of our RSA keys: the least that all providers take,
	// and the most that old ones do.
	keyBits = 2048
	// keyYears is for how long a key is good. Nothing checks it but providers
	// that refuse expired certificates; the trust is in the metadata.
	keyYears = 10
	// metadataValid is for how long our description is.
	metadataValid = 7 * 24 * time.Hour
)

// Names of the bindings (SAML Bindings 2.0 §3).
const (
	redirectBinding = saml.HTTPRedirectBinding
	postBinding     = saml.HTTPPostBinding
)

// Config is what a ServiceProvider needs.
type Config struct {
	// EntityID is our name, ACSURL where responses are sent, SLOURL where
	// logout requests and the responses to ours are.
	EntityID, ACSURL, SLOURL string
	// Key is what NewKey returned.
	Key []byte
	// Metadata is the identity provider's document.
	Metadata []byte
	Now      func() time.Time
}

// ServiceProvider speaks with one identity provider. It is safe for
// concurrent use.
type ServiceProvider struct {
	Config
	key         *rsa.PrivateKey
	certificate *x509.Certificate
	idp         idp
}

// idp is an identity provider.
type idp struct {
	entityID     string
	certificates []*x509.Certificate
	// endpoint is where requests go, with the binding.
	endpoint, binding string
	// logout is where logout requests go, "" for nowhere, answers where
	// responses to the provider's do.
	logout, answers, logoutBinding string
}

// New returns a ServiceProvider, or an error that says what is wrong with its
// Config.
func New(c Config) (*ServiceProvider, error) {
	if c.EntityID == "" || c.ACSURL == "" || c.SLOURL == "" || c.Now == nil {
		return nil, errors.New("saml: Config needs EntityID, ACSURL, SLOURL, Key, Metadata and Now")
	}
	sp := &ServiceProvider{Config: c}
	var err error
	if sp.idp, err = readMetadata(c.Metadata); err != nil {
		return nil, err
	}
	keyBlock, rest := pem.Decode(c.Key)
	certBlock, _ := pem.Decode(rest)
	if keyBlock == nil || certBlock == nil {
		return nil, errors.New("saml: the key cannot be read")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("saml: read the key: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("saml: the key is a %T", parsed)
	}
	sp.key = key
	if sp.certificate, err = x509.ParseCertificate(certBlock.Bytes); err != nil {
		return nil, fmt.Errorf("saml: read the certificate: %w", err)
	}
	return sp, nil
}

// NewKey makes a key with its certificate, as PEM. It is a secret.
func NewKey(name string, now time.Time) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("saml: make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("saml: make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Oriel at " + name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(keyYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("saml: make a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("saml: encode the key: %w", err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...), nil
}

// CheckMetadata reads an identity provider's document and returns its entity
// id.
func CheckMetadata(document []byte) (entityID string, err error) {
	p, err := readMetadata(document)
	return p.entityID, err
}

// minKeyBits is the least size of a provider's RSA key.
const minKeyBits = 2048

func readMetadata(document []byte) (idp, error) {
	var p idp
	if len(bytes.TrimSpace(document)) == 0 {
		return p, errors.New("the provider's metadata is empty")
	}
	if err := xrv.Validate(bytes.NewReader(document)); err != nil {
		return p, fmt.Errorf("the provider's metadata is not good XML: %w", err)
	}
	var entity saml.EntityDescriptor
	if err := xml.Unmarshal(document, &entity); err != nil {
		return p, fmt.Errorf("the provider's metadata is not one EntityDescriptor: %w", err)
	}
	if entity.EntityID == "" || len(entity.IDPSSODescriptors) != 1 {
		return p, errors.New("the metadata describes no identity provider, or several (is it the service provider's?)")
	}
	p.entityID = entity.EntityID
	d := entity.IDPSSODescriptors[0]
	for _, k := range d.KeyDescriptors {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, c := range k.KeyInfo.X509Data.X509Certificates {
			der, err := base64.StdEncoding.DecodeString(withoutSpace(c.Data))
			if err != nil {
				return p, fmt.Errorf("a certificate of the provider cannot be read: %w", err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return p, fmt.Errorf("a certificate of the provider cannot be read: %w", err)
			}
			if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minKeyBits {
				return p, fmt.Errorf("the provider's RSA key has %d bits; %d are needed", key.N.BitLen(), minKeyBits)
			}
			p.certificates = append(p.certificates, cert)
		}
	}
	if len(p.certificates) == 0 {
		return p, errors.New("the provider's metadata holds no signing certificate")
	}
	for _, e := range d.SingleSignOnServices {
		if (e.Binding == redirectBinding || e.Binding == postBinding) && p.binding != redirectBinding {
			p.endpoint, p.binding = e.Location, e.Binding
		}
	}
	if !isAddress(p.endpoint) {
		return p, errors.New("the provider's metadata names no address to sign in at (SingleSignOnService with HTTP-Redirect or HTTP-POST)")
	}
	return p, p.readLogout(d.SingleLogoutServices)
}

// isAddress says whether a browser can be sent there.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	return s != "" && err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// readLogout takes the address to sign out at; a provider need not have one.
func (p *idp) readLogout(services []saml.Endpoint) error {
	for _, e := range services {
		if (e.Binding == redirectBinding || e.Binding == postBinding) && p.logoutBinding != redirectBinding {
			p.logout, p.answers, p.logoutBinding = e.Location, e.ResponseLocation, e.Binding
		}
	}
	if p.answers == "" {
		p.answers = p.logout
	}
	if p.logout != "" && (!isAddress(p.logout) || !isAddress(p.answers)) {
		return errors.New("the provider's metadata names a bad address to sign out at (SingleLogoutService)")
	}
	return nil
}

func withoutSpace(s string) string {
	return string(bytes.Join(bytes.Fields([]byte(s)), nil))
}

// IDPEntityID returns the identity provider's name.
func (sp *ServiceProvider) IDPEntityID() string { return sp.idp.entityID }

// Metadata returns our own description (SAML Metadata 2.0), for the identity
// provider.
func (sp *ServiceProvider) Metadata() ([]byte, error) {
	yes, until := true, sp.Now().Add(metadataValid).UTC()
	certificate := saml.KeyInfo{X509Data: saml.X509Data{X509Certificates: []saml.X509Certificate{{Data: base64.StdEncoding.EncodeToString(sp.certificate.Raw)}}}}
	d := saml.EntityDescriptor{
		EntityID: sp.EntityID, ValidUntil: until,
		SPSSODescriptors: []saml.SPSSODescriptor{{
			SSODescriptor: saml.SSODescriptor{
				RoleDescriptor: saml.RoleDescriptor{
					ProtocolSupportEnumeration: "urn:oasis:names:tc:SAML:2.0:protocol", ValidUntil: &until,
					KeyDescriptors: []saml.KeyDescriptor{
						{Use: "signing", KeyInfo: certificate},
						{Use: "encryption", KeyInfo: certificate, EncryptionMethods: []saml.EncryptionMethod{
							{Algorithm: "http://www.w3.org/2009/xmlenc11#aes128-gcm"},
							{Algorithm: "http://www.w3.org/2001/04/xmlenc#aes256-cbc"},
							{Algorithm: "http://www.w3.org/2001/04/xmlenc#aes128-cbc"},
							{Algorithm: keyTransport},
						}},
					},
				},
				SingleLogoutServices: []saml.Endpoint{
					{Binding: redirectBinding, Location: sp.SLOURL}, {Binding: postBinding, Location: sp.SLOURL},
				},
				NameIDFormats: []saml.NameIDFormat{saml.PersistentNameIDFormat, saml.EmailAddressNameIDFormat, saml.UnspecifiedNameIDFormat},
			},
			AuthnRequestsSigned: &yes, WantAssertionsSigned: &yes,
			AssertionConsumerServices: []saml.IndexedEndpoint{{Binding: postBinding, Location: sp.ACSURL, Index: 1, IsDefault: &yes}},
		}},
	}
	text, err := xml.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("saml: write metadata: %w", err)
	}
	return append([]byte(xml.Header), text...), nil
}

// Request is a signed message on its way to the provider through the browser.
type Request struct {
	// URL is where the browser goes: with a GET where Message is "", and else
	// by posting Message as the field Name.
	URL, Message string
	// Name is SAMLRequest or SAMLResponse.
	Name string
}

// Request asks the identity provider to sign somebody in (SAML Core 2.0
// §3.4.1). id names the request; it must begin with a letter or an underscore
// and be unique. force has the person prove again who they are.
func (sp *ServiceProvider) Request(id, relayState string, force bool) (Request, error) {
	r := saml.AuthnRequest{
		ID: id, Version: "2.0", IssueInstant: sp.Now().UTC(), Destination: sp.idp.endpoint,
		AssertionConsumerServiceURL: sp.ACSURL, ProtocolBinding: postBinding,
		Issuer: &saml.Issuer{Format: "urn:oasis:names:tc:SAML:2.0:nameid-format:entity", Value: sp.EntityID},
	}
	if force {
		r.ForceAuthn = &force
	}
	return sp.send(r.Element(), asRequest, relayState, sp.idp.endpoint, sp.idp.binding)
}

// Names of the parameters that carry messages.
const (
	asRequest  = "SAMLRequest"
	asResponse = "SAMLResponse"
)

// send signs a message, whose first child is the issuer, for a binding.
func (sp *ServiceProvider) send(message *etree.Element, name, relayState, to, binding string) (Request, error) {
	if binding == redirectBinding {
		return sp.redirect(message, name, relayState, to)
	}
	signing, err := dsig.NewSigningContext(sp.key, [][]byte{sp.certificate.Raw})
	if err != nil {
		return Request{}, fmt.Errorf("saml: sign the message: %w", err)
	}
	signing.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := signing.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return Request{}, fmt.Errorf("saml: sign the message: %w", err)
	}
	signed, err := signing.SignEnveloped(message)
	if err != nil {
		return Request{}, fmt.Errorf("saml: sign the message: %w", err)
	}
	// The schema wants the signature right after the issuer.
	last := len(signed.Child) - 1
	signature, _ := signed.Child[last].(*etree.Element)
	signed.RemoveChildAt(last)
	signed.InsertChildAt(1, signature)
	doc := etree.NewDocument()
	doc.SetRoot(signed)
	text, err := doc.WriteToBytes()
	if err != nil {
		return Request{}, fmt.Errorf("saml: write the message: %w", err)
	}
	return Request{URL: to, Name: name, Message: base64.StdEncoding.EncodeToString(text)}, nil
}

// redirect puts a message into the query (SAML Bindings 2.0 §3.4.4.1).
func (sp *ServiceProvider) redirect(message *etree.Element, name, relayState, to string) (Request, error) {
	doc := etree.NewDocument()
	doc.SetRoot(message)
	text, err := doc.WriteToBytes()
	if err != nil {
		return Request{}, fmt.Errorf("saml: write the message: %w", err)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return Request{}, fmt.Errorf("saml: pack the message: %w", err)
	}
	// The order is that of the signature; a RelayState that there is none of
	// is left out of both.
	query := name + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes()))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	query += "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	sum := crypto.SHA256.New()
	sum.Write([]byte(query))
	signature, err := rsa.SignPKCS1v15(rand.Reader, sp.key, crypto.SHA256, sum.Sum(nil))
	if err != nil {
		return Request{}, fmt.Errorf("saml: sign the message: %w", err)
	}
	u, err := url.Parse(to)
	if err != nil {
		return Request{}, fmt.Errorf("saml: address of the provider: %w", err)
	}
	query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	return Request{URL: u.String(), Name: name}, nil
}
