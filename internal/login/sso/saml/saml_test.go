package saml_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	crewjam "github.com/crewjam/saml"
	"github.com/crewjam/saml/xmlenc"
	"github.com/google/go-cmp/cmp"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/orielhq/oriel/internal/login/sso/saml"
)

const (
	idpEntity = "https://idp.example/metadata"
	idpSSO    = "https://idp.example/sso"
	entityID  = "https://oriel.example/login/sso/corp/metadata"
	acsURL    = "https://oriel.example/login/sso/corp/acs"
	sloURL    = "https://oriel.example/login/sso/corp/slo"
	requestID = "_request"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// keyPair is a key with its certificate.
type keyPair struct {
	key  crypto.Signer
	cert []byte
}

func newPair(t testing.TB, key crypto.Signer) keyPair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		// It expired long ago: certificates in metadata only carry keys.
		NotBefore: now.AddDate(-10, 0, 0), NotAfter: now.AddDate(-5, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{key, der}
}

// RSA keys take their time to make.
var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 2)
	for i := range keys {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

var spKey = sync.OnceValue(func() []byte {
	key, err := saml.NewKey("Corp", now)
	if err != nil {
		panic(err)
	}
	return key
})

// world is an identity provider and our side of it.
type world struct {
	testing.TB
	idp, other keyPair
	sp         *saml.ServiceProvider
	spCert     []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, idp: newPair(t, rsaKeys()[0]), other: newPair(t, rsaKeys()[1])}
	w.sp = w.provider(metadata(w.idp))
	_, rest := pem.Decode(spKey())
	block, _ := pem.Decode(rest)
	w.spCert = block.Bytes
	return w
}

func (w *world) provider(document string) *saml.ServiceProvider {
	w.Helper()
	sp, err := saml.New(saml.Config{EntityID: entityID, ACSURL: acsURL, SLOURL: sloURL, Key: spKey(), Metadata: []byte(document), Now: func() time.Time { return now }})
	if err != nil {
		w.Fatal(err)
	}
	return sp
}

func metadata(signing ...keyPair) string {
	var keys string
	for _, k := range signing {
		keys += `<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` +
			base64.StdEncoding.EncodeToString(k.cert) + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>`
	}
	return `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + idpEntity + `">
		<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` + keys + `
		<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="` + idpSSO + `/post"/>
		<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + idpSSO + `?tenant=1"/>
		</IDPSSODescriptor></EntityDescriptor>`
}

func at(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }

// says is what an assertion says, each part replaceable.
type says map[string]string

func defaults() says {
	return says{
		"id": "_assertion", "version": "2.0", "issuer": idpEntity, "nameid": "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">ada-1</saml:NameID>",
		"method": "urn:oasis:names:tc:SAML:2.0:cm:bearer", "recipient": acsURL, "inresponseto": requestID, "confirmuntil": at(5 * time.Minute), "confirmfrom": "",
		"from": at(-time.Minute), "until": at(5 * time.Minute),
		"audience":  "<saml:AudienceRestriction><saml:Audience>" + entityID + "</saml:Audience></saml:AudienceRestriction>",
		"statement": `<saml:AuthnStatement AuthnInstant="` + at(-time.Hour) + `" SessionIndex="s1"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`,
	}
}

func (s says) with(pairs ...string) says {
	for i := 0; i+1 < len(pairs); i += 2 {
		s[pairs[i]] = pairs[i+1]
	}
	return s
}

func (s says) String() string {
	from := ""
	if s["confirmfrom"] != "" {
		from = ` NotBefore="` + s["confirmfrom"] + `"`
	}
	return `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="` + s["id"] + `" Version="` + s["version"] + `" IssueInstant="` + at(0) + `">` +
		`<saml:Issuer>` + s["issuer"] + `</saml:Issuer><saml:Subject>` + s["nameid"] +
		`<saml:SubjectConfirmation Method="` + s["method"] + `"><saml:SubjectConfirmationData InResponseTo="` + s["inresponseto"] + `" Recipient="` + s["recipient"] +
		`" NotOnOrAfter="` + s["confirmuntil"] + `"` + from + `/></saml:SubjectConfirmation></saml:Subject>` +
		`<saml:Conditions NotBefore="` + s["from"] + `" NotOnOrAfter="` + s["until"] + `">` + s["audience"] + `</saml:Conditions>` + s["statement"] +
		`<saml:AttributeStatement><saml:Attribute Name="urn:oid:0.9.2342.19200300.100.1.3" FriendlyName="mail"><saml:AttributeValue>ada@example.com</saml:AttributeValue></saml:Attribute>` +
		`<saml:Attribute Name="groups"><saml:AttributeValue>eng</saml:AttributeValue><saml:AttributeValue>leads</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>`
}

// response puts something into a response.
func response(content string, pairs ...string) string {
	r := says{"id": "_response", "destination": acsURL, "inresponseto": requestID, "issued": at(0), "issuer": idpEntity, "status": "urn:oasis:names:tc:SAML:2.0:status:Success"}.with(pairs...)
	return `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="` + r["id"] + `" Version="2.0" IssueInstant="` + r["issued"] + `" Destination="` + r["destination"] +
		`" InResponseTo="` + r["inresponseto"] + `"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">` + r["issuer"] +
		`</saml:Issuer><samlp:Status><samlp:StatusCode Value="` + r["status"] + `"/></samlp:Status>` + content + `</samlp:Response>`
}

func element(t testing.TB, text string) *etree.Element {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	return doc.Root()
}

func text(t testing.TB, e *etree.Element) string {
	t.Helper()
	doc := etree.NewDocument()
	doc.SetRoot(e.Copy())
	s, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign puts an enveloped signature after the issuer.
func sign(t testing.TB, by keyPair, method, content string) string {
	t.Helper()
	ctx, err := dsig.NewSigningContext(by.key, [][]byte{by.cert})
	if err != nil {
		t.Fatal(err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := ctx.SetSignatureMethod(method); err != nil {
		t.Fatal(err)
	}
	signed, err := ctx.SignEnveloped(element(t, content))
	if err != nil {
		t.Fatal(err)
	}
	last := len(signed.Child) - 1
	signature := signed.Child[last]
	signed.RemoveChildAt(last)
	signed.InsertChildAt(1, signature)
	return text(t, signed)
}

func (w *world) signed(content string) string {
	return sign(w, w.idp, dsig.RSASHA256SignatureMethod, content)
}

// encrypted wraps an assertion for us.
func (w *world) encrypted(with xmlenc.Encrypter, content string) string {
	w.Helper()
	data, err := with.Encrypt(certificate(w, w.spCert), []byte(content), nil)
	if err != nil {
		w.Fatal(err)
	}
	e := etree.NewElement("saml:EncryptedAssertion")
	e.CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
	e.AddChild(data)
	return text(w, e)
}

func certificate(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificates(t testing.TB, der []byte) []*x509.Certificate {
	t.Helper()
	return []*x509.Certificate{certificate(t, der)}
}

func (w *world) read(message string) (saml.Assertion, error) {
	return w.sp.Read(base64.StdEncoding.EncodeToString([]byte(message)), requestID)
}

func (w *world) refuses(message, words string) {
	w.Helper()
	a, err := w.read(message)
	if err == nil {
		w.Errorf("accepted: %+v", a)
	} else if !strings.Contains(err.Error(), words) {
		w.Errorf("refused for another reason than %q: %v", words, err)
	}
}

func TestReadsWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	want := saml.Assertion{
		ID: "_assertion", Expires: now.Add(6 * time.Minute), Name: saml.NameID{Value: "ada-1", Format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"},
		SessionIndex: "s1", AuthnInstant: now.Add(-time.Hour), Class: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
		Attributes: map[string][]string{"urn:oid:0.9.2342.19200300.100.1.3": {"ada@example.com"}, "mail": {"ada@example.com"}, "groups": {"eng", "leads"}},
	}
	good := w.signed(defaults().String())
	for name, message := range map[string]string{
		"assertion signed":           response(good),
		"both signed":                w.signed(response(good)),
		"encrypted, AES-256-CBC":     response(w.encrypted(xmlenc.OAEP(), good)),
		"encrypted, response signed": w.signed(response(w.encrypted(xmlenc.OAEP(), good))),
		"signed with SHA-512":        response(sign(w, w.idp, dsig.RSASHA512SignatureMethod, defaults().String())),
		"a clock half a minute off":  response(w.signed(defaults().with("from", at(30*time.Second), "until", at(-30*time.Second), "confirmuntil", at(5*time.Minute)).String())),
	} {
		got, err := w.read(message)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A provider that changes its key has two for a while; elliptic curves are
// keys too.
func TestReadsWithAnyCertificateOfTheMetadata(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := newPair(t, key)
	w.sp = w.provider(metadata(w.idp, curve))
	for _, by := range []struct {
		pair   keyPair
		method string
	}{{w.idp, dsig.RSASHA256SignatureMethod}, {curve, dsig.ECDSASHA256SignatureMethod}} {
		if _, err := w.read(response(sign(w, by.pair, by.method, defaults().String()))); err != nil {
			t.Error(err)
		}
	}
}

func TestSAML_UnsignedAssertion(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(defaults().String()), "not signed")
	// A signature around it is not one of it.
	w.refuses(w.signed(response(defaults().String())), "not signed")
	w.refuses(response(w.encrypted(xmlenc.OAEP(), defaults().String())), "not signed")
}

func TestSAML_SignatureBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	// Its KeyInfo holds the certificate that it is good for.
	w.refuses(response(sign(w, w.other, dsig.RSASHA256SignatureMethod, defaults().String())), "does not hold")
	good := w.signed(defaults().String())
	w.refuses(sign(w, w.other, dsig.RSASHA256SignatureMethod, response(good)), "response: its signature does not hold")
	w.refuses(response(strings.Replace(good, "ada-1", "eve-1", 1)), "does not hold")
	w.refuses(response(strings.Replace(good, "ada@example.com", "eve@example.com", 1)), "does not hold")
}

func TestSAML_WrongAudience(t *testing.T) {
	w := newWorld(t)
	restrict := func(a string) string {
		return "<saml:AudienceRestriction><saml:Audience>" + a + "</saml:Audience></saml:AudienceRestriction>"
	}
	for _, audience := range []string{restrict("https://other.example"), restrict(entityID + "/x"), restrict(entityID) + restrict("https://other.example")} {
		w.refuses(response(w.signed(defaults().with("audience", audience).String())), "it is for")
	}
	w.refuses(response(w.signed(defaults().with("audience", "").String())), "for whom it is")
}

func TestSAML_WrongRecipient(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(w.signed(defaults().with("recipient", "https://other.example/acs").String())), "recipient")
	w.refuses(response(w.signed(defaults().with("method", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches").String())), "no bearer")
}

func TestSAML_WrongDestination(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	w.refuses(response(good, "destination", "https://other.example/acs"), "destination")
	w.refuses(w.signed(response(good, "destination", "https://other.example/acs")), "destination")
	w.refuses(w.signed(response(good, "destination", "")), "destination")
}

func TestSAML_InResponseTo(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	w.refuses(response(good, "inresponseto", "_another"), "answers the request")
	w.refuses(response(good, "inresponseto", ""), "answers the request")
	w.refuses(response(w.signed(defaults().with("inresponseto", "_another").String())), "answers the request")
	w.refuses(response(w.signed(defaults().with("inresponseto", "").String())), "answers the request")
	// Nobody asked: there is no request to answer.
	if _, err := w.sp.Read(base64.StdEncoding.EncodeToString([]byte(response(w.signed(defaults().with("inresponseto", "").String()), "inresponseto", ""))), ""); err == nil {
		t.Error("a response that nobody asked for is accepted")
	}
}

func TestSAML_Expired(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(w.signed(defaults().with("until", at(-2*time.Minute)).String())), "not valid on or after")
	w.refuses(response(w.signed(defaults().with("until", "").String())), "not valid on or after")
	w.refuses(response(w.signed(defaults().with("confirmuntil", at(-2*time.Minute)).String())), "had to use it before")
	w.refuses(response(w.signed(defaults().with("confirmuntil", "").String())), "had to use it before")
	w.refuses(response(w.signed(defaults().String()), "issued", at(-time.Hour)), "issued at")
	over := strings.Replace(defaults()["statement"], `SessionIndex="s1"`, `SessionIndex="s1" SessionNotOnOrAfter="`+at(-time.Hour)+`"`, 1)
	w.refuses(response(w.signed(defaults().with("statement", over).String())), "session at the provider is over")
}

func TestSAML_NotYetValid(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(w.signed(defaults().with("from", at(2*time.Minute)).String())), "not valid before")
	w.refuses(response(w.signed(defaults().String()), "issued", at(time.Hour)), "issued at")
	w.refuses(response(w.signed(defaults().with("confirmfrom", at(-time.Minute)).String())), "no NotBefore")
}

func TestSAML_WrongIssuer(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	w.refuses(response(w.signed(defaults().with("issuer", "https://other.example").String())), "it is from")
	w.refuses(response(good, "issuer", "https://other.example"), "it is from")
}

func TestSAML_Status(t *testing.T) {
	w := newWorld(t)
	_, err := w.read(response(w.signed(defaults().String()), "status", "urn:oasis:names:tc:SAML:2.0:status:Responder"))
	if !errors.Is(err, saml.ErrStatus) {
		t.Error(err)
	}
}

func TestSAML_NobodySignedIn(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(w.signed(defaults().with("statement", "").String())), "AuthnStatement")
	w.refuses(response(w.signed(defaults().with("nameid", "").String())), "NameID")
	w.refuses(response(w.signed(defaults().with("nameid", "<saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID>").String())), "NameID")
	w.refuses(response(w.signed(defaults().with("version", "1.1").String())), "version")
}

// Canonicalization drops comments, so that one put into a NameID breaks no
// signature; and parsers that stop at it read the first half.
func TestSAML_CommentInjection(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().with("nameid", "<saml:NameID>owner@example.com.evil.example</saml:NameID>").String())
	w.refuses(response(strings.Replace(good, "example.com.evil", "example.com<!-- -->.evil", 1)), "comments")
	w.refuses(response(strings.Replace(good, "example.com.evil", "example.com<?x y?>.evil", 1)), "instruction")
	// A section of character data is text like any other.
	a, err := w.read(response(strings.Replace(good, "example.com.evil", "example.com<![CDATA[.]]>evil", 1)))
	if err != nil || a.Name.Value != "owner@example.com.evil.example" {
		t.Errorf("%q, %v", a.Name.Value, err)
	}
}

func TestSAML_DocumentType(t *testing.T) {
	w := newWorld(t)
	w.refuses(`<!DOCTYPE x [<!ENTITY e "owner">]>`+response(w.signed(defaults().String())), "")
	w.refuses(response(strings.Replace(w.signed(defaults().String()), "ada-1", "&e;", 1)), "")
}

// XML signature wrapping: a signed assertion is moved to where the signature
// check finds it, and a forged one put where the reading looks.
func TestSAML_XMLSignatureWrapping(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	evil := defaults().with("id", "_evil", "nameid", "<saml:NameID>owner</saml:NameID>").String()
	same := defaults().with("nameid", "<saml:NameID>owner</saml:NameID>").String()
	signature := text(t, element(t, good).SelectElement("Signature"))
	bare := text(t, func() *etree.Element {
		e := element(t, good)
		e.RemoveChild(e.SelectElement("Signature"))
		return e
	}())
	into := func(outer, inner, before string) string { return strings.Replace(outer, before, inner+before, 1) }
	object := func(inner string) string {
		return strings.Replace(signature, "</ds:Signature>", "<ds:Object>"+inner+"</ds:Object></ds:Signature>", 1)
	}
	bothSigned := w.signed(response(good))
	for name, message := range map[string]string{
		"forged beside":                    response(evil + good),
		"forged after":                     response(good + evil),
		"forged around":                    response(into(evil, good, "</saml:Assertion>")),
		"forged inside":                    response(into(good, evil, "</saml:Assertion>")),
		"signature on the forged one":      response(into(evil, signature, "<saml:Subject>") + bare),
		"original in the forged signature": response(into(evil, object(bare), "<saml:Subject>")),
		"original in extensions":           response("<samlp:Extensions>" + good + "</samlp:Extensions>" + evil),
		"original in an unknown element":   response(`<x xmlns="urn:x">` + good + "</x>" + evil),
		"the same id twice":                response(same + good),
		"the same id, signature moved":     response(into(same, signature, "<saml:Subject>") + bare),
		"the same id inside":               response(into(same, good, "</saml:Assertion>")),
		"no namespace on the forged one":   response(strings.NewReplacer("saml:", "", "xmlns:saml", "xmlns:y").Replace(evil) + good),
		"forged response around":           response(evil + bothSigned),
		"signed response in the signature": response(evil + object(bothSigned)),
		"forged in a signed response":      strings.Replace(bothSigned, "<samlp:Status>", evil+"<samlp:Status>", 1),
		"encrypted and forged":             response(w.encrypted(xmlenc.OAEP(), good) + evil),
		"forged one encrypted":             response(w.encrypted(xmlenc.OAEP(), evil) + good),
		"two encrypted":                    response(w.encrypted(xmlenc.OAEP(), good) + w.encrypted(xmlenc.OAEP(), evil)),
		"wrapped within the encrypted one": response(w.encrypted(xmlenc.OAEP(), into(evil, good, "</saml:Assertion>"))),
		"id written otherwise":             response(strings.Replace(same, `ID="_assertion"`, `ID="_x" Id="_assertion"`, 1) + good),
		"two signatures":                   response(into(good, signature, "<saml:Subject>")),
	} {
		a, err := w.read(message)
		if err == nil {
			t.Errorf("%s: accepted as %q", name, a.Name.Value)
		}
	}
}

func TestSAML_RepeatedID(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	w.refuses(response(`<samlp:Extensions><x ID="_assertion"/></samlp:Extensions>`+good), "stands twice")
	w.refuses(response(`<samlp:Extensions><x id="_assertion"/></samlp:Extensions>`+good), "stands twice")
	w.refuses(response(good, "id", "_assertion"), "stands twice")
}

// The signature does not say how it is to be checked.
func TestSAML_AlgorithmConfusion(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	swap := func(from, to string) string {
		out := strings.Replace(good, from, to, 1)
		if out == good {
			t.Fatalf("%q is not in the signature", from)
		}
		return response(out)
	}
	w.refuses(swap(dsig.RSASHA256SignatureMethod, "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), "signature method")
	w.refuses(swap(dsig.RSASHA256SignatureMethod, "http://www.w3.org/2000/09/xmldsig#hmac-sha1"), "signature method")
	w.refuses(swap(dsig.RSASHA256SignatureMethod, "none"), "signature method")
	w.refuses(swap(dsig.RSASHA256SignatureMethod, ""), "signature method")
	w.refuses(swap("http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"), "digest method")
	w.refuses(swap("http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/TR/1999/REC-xpath-19991116"), "transforms")
	w.refuses(swap(`URI="#_assertion"`, `URI=""`), "about")
	w.refuses(swap(`URI="#_assertion"`, `URI="#_response"`), "about")
	// Really signed with what is too weak today.
	w.refuses(response(sign(w, w.idp, dsig.RSASHA1SignatureMethod, defaults().String())), "signature method")
}

func TestSAML_Encryption(t *testing.T) {
	w := newWorld(t)
	good := w.signed(defaults().String())
	w.refuses(response(w.encrypted(xmlenc.PKCS1v15(), good)), "cannot be decrypted")
	broken := element(t, w.encrypted(xmlenc.OAEP(), good))
	for _, value := range broken.FindElements("//CipherValue") {
		original := value.Text()
		for _, bent := range []string{"", "AAAA", original[:len(original)/2] + "AAAA" + original[len(original)/2+4:]} {
			value.SetText(bent)
			w.refuses(response(text(t, broken)), "")
		}
		value.SetText(original)
	}
	if _, err := w.read(response(text(t, broken))); err != nil {
		t.Errorf("put together again: %v", err)
	}
}

func TestSAML_TooMuch(t *testing.T) {
	w := newWorld(t)
	w.refuses(response(strings.Repeat("<a>", 60)+strings.Repeat("</a>", 60)), "too many")
	w.refuses(response(strings.Repeat("<a/>", 30_000)), "too many")
	w.refuses(strings.Repeat(" ", saml.MaxResponseBytes), "longer than")
}

func TestRequestIsSigned(t *testing.T) {
	w := newWorld(t)
	r, err := w.sp.Request("_abc", "relay state", true)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("tenant") != "1" || q.Get("RelayState") != "relay state" || r.Message != "" {
		t.Errorf("query %v", q)
	}
	// SAML Bindings 2.0 §3.4.4.1: the parameters as they stand in the URL.
	_, covered, _ := strings.Cut(u.RawQuery, "tenant=1&")
	covered, _, _ = strings.Cut(covered, "&Signature=")
	sum := sha256.Sum256([]byte(covered))
	signature, err := base64.StdEncoding.DecodeString(q.Get("Signature"))
	if err != nil {
		t.Fatal(err)
	}
	public, _ := certificate(t, w.spCert).PublicKey.(*rsa.PublicKey)
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
	packed, err := base64.StdEncoding.DecodeString(q.Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var sent crewjam.AuthnRequest
	if err := xml.Unmarshal(plain, &sent); err != nil {
		t.Fatal(err)
	}
	if sent.ID != "_abc" || sent.Issuer.Value != entityID || sent.AssertionConsumerServiceURL != acsURL || sent.ForceAuthn == nil || !*sent.ForceAuthn {
		t.Errorf("request: %s", plain)
	}
}

func TestPostedRequestIsSigned(t *testing.T) {
	w := newWorld(t)
	sp := w.provider(strings.Replace(metadata(w.idp), "HTTP-Redirect", "SOAP", 1))
	r, err := sp.Request("_abc", "relay", false)
	if err != nil {
		t.Fatal(err)
	}
	message, err := base64.StdEncoding.DecodeString(r.Message)
	if err != nil || r.URL != idpSSO+"/post" {
		t.Fatal(r.URL, err)
	}
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate(t, w.spCert)}})
	ctx.Clock = dsig.NewFakeClockAt(now)
	if _, err := ctx.Validate(element(t, string(message))); err != nil {
		t.Errorf("%v\n%s", err, message)
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	document, err := w.sp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	var d crewjam.EntityDescriptor
	if err := xml.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	s := d.SPSSODescriptors[0]
	if d.EntityID != entityID || len(s.AssertionConsumerServices) != 1 || s.AssertionConsumerServices[0].Location != acsURL ||
		s.AssertionConsumerServices[0].Binding != crewjam.HTTPPostBinding || !*s.AuthnRequestsSigned || !*s.WantAssertionsSigned || len(s.KeyDescriptors) != 2 {
		t.Errorf("metadata:\n%s", document)
	}
	for name, bad := range map[string]string{
		"empty":            "",
		"not XML":          "hello",
		"ours":             string(document),
		"no certificate":   metadata(),
		"no address":       strings.NewReplacer("HTTP-POST", "SOAP", "HTTP-Redirect", "SOAP").Replace(metadata(w.idp)),
		"another scheme":   strings.ReplaceAll(metadata(w.idp), "https://idp.example/sso", "javascript://idp.example/sso"),
		"broken":           strings.Replace(metadata(w.idp), "<X509Certificate>", "<X509Certificate>AAAA", 1),
		"a short RSA key":  metadata(shortKey(t)),
		"several entities": "<EntitiesDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\">" + metadata(w.idp) + "</EntitiesDescriptor>",
	} {
		if _, err := saml.CheckMetadata([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func shortKey(t testing.TB) keyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return newPair(t, key)
}

// Whatever is cut out of a good response, put into it or put around it: nobody
// is anybody whom the provider did not sign.
func FuzzRead(f *testing.F) {
	w := newWorld(f)
	good := w.signed(defaults().String())
	evil := defaults().with("id", "_evil", "nameid", "<saml:NameID>owner</saml:NameID>").String()
	messages := []string{response(good), w.signed(response(good)), response(w.encrypted(xmlenc.OAEP(), good))}
	f.Add(uint8(0), uint16(0), uint16(0), "")
	f.Add(uint8(0), uint16(strings.Index(messages[0], "<saml:Assertion")), uint16(0), evil)
	f.Add(uint8(0), uint16(strings.Index(messages[0], "</saml:Assertion>")), uint16(0), evil)
	f.Add(uint8(0), uint16(strings.Index(messages[0], "ada-1")), uint16(3), "<!-- -->")
	f.Add(uint8(1), uint16(strings.Index(messages[1], "<samlp:Status>")), uint16(0), evil)
	f.Add(uint8(2), uint16(strings.Index(messages[2], "CipherValue>")+20), uint16(4), "AAAA")
	f.Add(uint8(0), uint16(0), uint16(60_000), "<a/>")
	f.Fuzz(func(t *testing.T, which uint8, from, cut uint16, put string) {
		m := messages[int(which)%len(messages)]
		from = min(from, uint16(len(m)))
		rest := m[from:]
		a, err := w.read(m[:from] + put + rest[min(int(cut), len(rest)):])
		if err == nil && (a.Name.Value != "ada-1" || a.ID != "_assertion" || fmt.Sprint(a.Attributes["groups"]) != "[eng leads]") {
			t.Errorf("%+v", a)
		}
	})
}
