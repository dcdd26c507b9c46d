package sso_test

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/testkit"
)

const samlEntity = "https://saml.example"

// samlIDP is a SAML provider whose every answer a test can bend.
type samlIDP struct {
	*testkit.Server
	key  *rsa.PrivateKey
	cert []byte
	// nameID is an element; attributes are by name.
	nameID     string
	attributes map[string][]string
	class      string
	signedIn   time.Time
}

// samlKey is made once: it takes its time.
var samlKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// startSAML starts a server with the provider "corp" for example.com.
func startSAML(t *testing.T, change ...func(*sso.NewProvider)) *samlIDP {
	t.Helper()
	p := &samlIDP{Server: testkit.Start(t), nameID: `<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">u-1</saml:NameID>`}
	p.attributes = map[string][]string{"email": {"Ada@example.com"}, "displayName": {"Ada Lovelace"}}
	p.class = "http://schemas.microsoft.com/claims/multipleauthn"
	p.signedIn = p.Clock.Now().Add(-time.Minute).Truncate(time.Second)
	p.key = samlKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
	var err error
	p.cert, err = x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	p.Must(err)
	p.AddPerson("owner@elsewhere.example", true)
	p.AddPerson("ada@example.com", false)
	p.AddTeam("shop")
	p.provide(change...)
	return p
}

// provide adds the provider, in the place of any before it.
func (p *samlIDP) provide(change ...func(*sso.NewProvider)) {
	p.TB.Helper()
	if _, err := p.Admin.Providers.Remove(p.TB.Context(), "corp", audit.Shell("test")); err != nil && !errors.Is(err, sso.ErrNotFound) {
		p.TB.Fatal(err)
	}
	n := sso.NewProvider{Slug: "corp", Name: "Corp", Domains: []string{"example.com"}}
	n.Settings.Metadata = `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + samlEntity + `"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
		<KeyDescriptor><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` + base64.StdEncoding.EncodeToString(p.cert) + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
		<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + samlEntity + `/sso"/></IDPSSODescriptor></EntityDescriptor>`
	for _, c := range change {
		c(&n)
	}
	_, err := p.Admin.Providers.AddSAML(p.TB.Context(), n, audit.Shell("test"))
	p.Must(err)
}

// asked is what reached the provider.
type samlRequest struct {
	saml.AuthnRequest
	relay string
}

func (p *samlIDP) begin(b *testkit.Browser, at string) samlRequest {
	p.TB.Helper()
	res := b.Get(at)
	u, err := url.Parse(res.Header.Get("Location"))
	p.Must(err)
	if res.Status != http.StatusSeeOther || u.Host != "saml.example" {
		p.TB.Fatalf("begin: status %d, to %q\n%s", res.Status, u, res.Body)
	}
	packed, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	p.Must(err)
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	p.Must(err)
	r := samlRequest{relay: u.Query().Get("RelayState")}
	p.Must(xml.Unmarshal(text, &r.AuthnRequest))
	if len(r.relay) > 80 { // SAML Bindings 2.0 §3.4.3
		p.TB.Errorf("RelayState has %d bytes", len(r.relay))
	}
	return r
}

// answer is the form that the provider has the browser post.
func (p *samlIDP) answer(r samlRequest) url.Values {
	p.TB.Helper()
	at := func(d time.Duration) string { return p.Clock.Now().Add(d).UTC().Format(time.RFC3339) }
	var attributes strings.Builder
	for name, values := range p.attributes {
		attributes.WriteString(`<saml:Attribute Name="` + name + `">`)
		for _, v := range values {
			attributes.WriteString("<saml:AttributeValue>" + v + "</saml:AttributeValue>")
		}
		attributes.WriteString("</saml:Attribute>")
	}
	assertion := etree.NewDocument()
	p.Must(assertion.ReadFromString(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_` + rand.Text() + `" Version="2.0" IssueInstant="` + at(0) + `"><saml:Issuer>` + samlEntity +
		`</saml:Issuer><saml:Subject>` + p.nameID + `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData InResponseTo="` + r.ID + `" Recipient="` + p.URL +
		`/login/sso/corp/acs" NotOnOrAfter="` + at(5*time.Minute) + `"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="` + at(-time.Minute) + `" NotOnOrAfter="` + at(5*time.Minute) +
		`"><saml:AudienceRestriction><saml:Audience>` + p.URL + `/login/sso/corp/metadata</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="` + p.signedIn.UTC().Format(time.RFC3339) +
		`" SessionIndex="s1"><saml:AuthnContext><saml:AuthnContextClassRef>` + p.class + `</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>` + attributes.String() +
		`</saml:AttributeStatement></saml:Assertion>`))
	ctx, err := dsig.NewSigningContext(p.key, [][]byte{p.cert})
	p.Must(err)
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signed, err := ctx.SignEnveloped(assertion.Root())
	p.Must(err)
	doc := etree.NewDocument()
	p.Must(doc.ReadFromString(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_` + rand.Text() + `" Version="2.0" IssueInstant="` + at(0) + `" Destination="` + p.URL +
		`/login/sso/corp/acs" InResponseTo="` + r.ID + `"><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status></samlp:Response>`))
	doc.Root().AddChild(signed)
	text, err := doc.WriteToBytes()
	p.Must(err)
	return url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(text)}, "RelayState": {r.relay}}
}

const acs = "/login/sso/corp/acs"

func (p *samlIDP) signIn(b *testkit.Browser, at string) testkit.Response {
	p.TB.Helper()
	return b.Post(acs, p.answer(p.begin(b, at)))
}

func TestSAMLSignInReachesTheTokens(t *testing.T) {
	p := startSAML(t)
	_, err := p.Admin.Providers.Map(t.Context(), "corp", sso.Rule{Group: "CN=eng,OU=all", Team: "shop", Role: "viewer"}, audit.Shell("test"))
	p.Must(err)
	p.attributes["groups"] = []string{"CN=all", "CN=eng,OU=all"}
	c, b := p.Register(), p.Browser()
	page := b.Get(c.AuthorizeURL())
	res := p.signIn(b, "/login/sso/corp"+strings.TrimPrefix(page.Header.Get("Location"), "/login"))
	if res.Status != http.StatusSeeOther {
		t.Fatalf("sign in: status %d\n%s", res.Status, res.Body)
	}
	back := c.Allow(b, b.Get(res.Header.Get("Location")), "shop")
	c.Redeem(back.Query().Get("code"))
	claims, err := p.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(c.Access), p.URL)
	p.Must(err)
	if claims.ACR != p.class || !slices.Equal(claims.AMR, []string{"mfa"}) || claims.AuthTime != p.signedIn.Unix() {
		t.Errorf("acr %q, amr %q, auth_time %d", claims.ACR, claims.AMR, claims.AuthTime)
	}
}

func TestSAML_Replay(t *testing.T) {
	p := startSAML(t)
	b := p.Browser()
	form := p.answer(p.begin(b, "/login/sso/corp"))
	// The cookies as an attacker would have kept them.
	if res := b.Post(acs, form); res.Status != http.StatusSeeOther {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	form.Set("again", "1")
	if res := b.Post(acs, form); res.Status != http.StatusBadRequest {
		t.Errorf("again in this browser: status %d", res.Status)
	}
	if res := p.Browser().Post(acs, form); res.Status != http.StatusBadRequest {
		t.Errorf("in another browser: status %d", res.Status)
	}
}

// The cache itself, with the cookies of the flow put back.
func TestSAML_ReplayCache(t *testing.T) {
	p := startSAML(t)
	b := p.Browser()
	res := b.Get("/login/sso/corp")
	cookie := strings.Split(res.Header.Get("Set-Cookie"), ";")[0]
	u, err := url.Parse(res.Header.Get("Location"))
	p.Must(err)
	packed, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	p.Must(err)
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	p.Must(err)
	r := samlRequest{relay: u.Query().Get("RelayState")}
	p.Must(xml.Unmarshal(text, &r.AuthnRequest))
	form := p.answer(r).Encode()
	post := func() testkit.Response {
		return p.Do(http.MethodPost, acs, form, "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie)
	}
	if res := post(); res.Status != http.StatusSeeOther {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	if res := post(); res.Status != http.StatusForbidden {
		t.Errorf("again: status %d", res.Status)
	}
	p.Restart()
	if res := post(); res.Status != http.StatusForbidden {
		t.Errorf("after a restart: status %d", res.Status)
	}
	if ev, err := p.Admin.Events(t.Context(), audit.Filter{Kind: audit.SignInRefused}); err != nil || len(ev) != 2 || !strings.Contains(ev[0].Detail, "used before") {
		t.Errorf("audit: %+v, %v", ev, err)
	}
}

// The first post comes from another site, without cookies: a page of our own
// sends it once more, with them.
func TestSAMLResponseComesWithoutCookies(t *testing.T) {
	p := startSAML(t)
	b := p.Browser()
	form := p.answer(p.begin(b, "/login/sso/corp"))
	res := p.Do(http.MethodPost, acs, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site", "Origin", "https://saml.example")
	if res.Status != http.StatusOK || testkit.Field(res.Body, "SAMLResponse") != form.Get("SAMLResponse") || testkit.Field(res.Body, "RelayState") != form.Get("RelayState") {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	form.Set("again", testkit.Field(res.Body, "again"))
	if res := b.Post(acs, form); res.Status != http.StatusSeeOther {
		t.Errorf("with cookies: status %d\n%s", res.Status, res.Body)
	}
}

func TestSAML_AnotherBrowsersResponse(t *testing.T) {
	p := startSAML(t)
	attacker, victim := p.Browser(), p.Browser()
	mine := p.answer(p.begin(attacker, "/login/sso/corp"))
	theirs := p.begin(victim, "/login/sso/corp")
	// The response of the one with the RelayState of the other.
	mine.Set("RelayState", theirs.relay)
	if res := victim.Post(acs, mine); res.Status != http.StatusForbidden {
		t.Errorf("status %d", res.Status)
	}
	if victim.Get("/").Status != http.StatusSeeOther {
		t.Error("there is a session")
	}
}

func TestSAMLWhoIsLetIn(t *testing.T) {
	p := startSAML(t)
	nameID, attributes := p.nameID, p.attributes
	for name, c := range map[string]struct {
		settings func(*sso.NewProvider)
		change   func(*samlIDP)
		want     int
	}{
		"somebody known": {nil, func(*samlIDP) {}, http.StatusSeeOther},
		"address as NameID": {nil, func(p *samlIDP) {
			p.nameID = "<saml:NameID>ada@example.com</saml:NameID>"
			delete(p.attributes, "email")
		}, http.StatusSeeOther},
		"another domain": {createAccounts, func(p *samlIDP) { p.attributes["email"] = []string{"owner@elsewhere.example"} }, http.StatusForbidden},
		"nobody known":   {nil, func(p *samlIDP) { p.attributes["email"] = []string{"new@example.com"} }, http.StatusForbidden},
		"with accounts":  {createAccounts, func(p *samlIDP) { p.attributes["email"] = []string{"newer@example.com"} }, http.StatusSeeOther},
		"transient":      {nil, func(p *samlIDP) { p.nameID = strings.Replace(p.nameID, "persistent", "transient", 1) }, http.StatusForbidden},
		"transient, attribute": {func(n *sso.NewProvider) { n.Settings.SubjectClaim = "uid" }, func(p *samlIDP) {
			p.nameID = strings.Replace(p.nameID, "persistent", "transient", 1)
			p.attributes["uid"] = []string{"7"}
		}, http.StatusSeeOther},
		"attribute missing": {func(n *sso.NewProvider) { n.Settings.SubjectClaim = "uid" }, func(*samlIDP) {}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(outer testing.TB) { p.TB = outer }(p.TB)
			p.TB = t
			if c.settings != nil {
				p.provide(c.settings)
			} else {
				p.provide()
			}
			p.nameID, p.attributes = nameID, maps.Clone(attributes)
			c.change(p)
			if res := p.signIn(p.Browser(), "/login/sso/corp"); res.Status != c.want {
				t.Errorf("status %d, want %d\n%s", res.Status, c.want, res.Body)
			}
		})
	}
}

func TestSAMLForcesTheSignIn(t *testing.T) {
	p := startSAML(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	b, c := p.Browser(), p.Register()
	p.signIn(b, "/login/sso/corp")
	p.Clock.Advance(2 * time.Minute)
	page := b.Get(c.AuthorizeURL(func(v url.Values) { v.Set("prompt", "login") }))
	at := "/login/sso/corp" + strings.TrimPrefix(page.Header.Get("Location"), "/login")
	r := p.begin(b, at)
	if r.ForceAuthn == nil || !*r.ForceAuthn {
		t.Error("ForceAuthn is not set")
	}
	if res := b.Post(acs, p.answer(r)); res.Status != http.StatusForbidden {
		t.Errorf("an old sign-in: status %d", res.Status)
	}
	p.signedIn = p.Clock.Now()
	if res := p.signIn(b, at); res.Status != http.StatusSeeOther {
		t.Errorf("a new sign-in: status %d\n%s", res.Status, res.Body)
	}
}

func TestSAMLMetadataIsServed(t *testing.T) {
	p := startSAML(t)
	res := p.Browser().Get("/login/sso/corp/metadata")
	if res.Status != http.StatusOK || res.Header.Get("Content-Type") != "application/samlmetadata+xml" || !strings.Contains(res.Body, p.URL+acs) {
		t.Errorf("status %d\n%s", res.Status, res.Body)
	}
	if res := p.Browser().Get("/login/sso/corp/callback"); res.Status != http.StatusNotFound {
		t.Errorf("an address of the other kind: status %d", res.Status)
	}
}
