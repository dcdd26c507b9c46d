package sso_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/testkit"
)

const slo = "/login/sso/corp/slo"

// withSLO gives the provider an address to sign out at.
func withSLO(binding string) func(*sso.NewProvider) {
	return func(n *sso.NewProvider) {
		n.Settings.Metadata = strings.Replace(n.Settings.Metadata, "<SingleSignOnService",
			`<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:`+binding+`" Location="`+samlEntity+`/slo"/><SingleSignOnService`, 1)
	}
}

// connectedSAML is connected with a SAML provider: ada is signed in through
// its session s1.
func connectedSAML(t *testing.T, change ...func(*sso.NewProvider)) (*samlIDP, *testkit.Browser, *testkit.Client) {
	t.Helper()
	p := startSAML(t, change...)
	p.SetMember("shop", "ada@example.com", "viewer")
	b := p.Browser()
	return p, b, p.connect(p.Register(), b)
}

func (p *samlIDP) connect(c *testkit.Client, b *testkit.Browser) *testkit.Client {
	p.TB.Helper()
	page := b.Get(c.AuthorizeURL())
	res := p.signIn(b, "/login/sso/corp"+strings.TrimPrefix(page.Header.Get("Location"), "/login"))
	if res.Status != http.StatusSeeOther {
		p.TB.Fatalf("sign in: status %d\n%s", res.Status, res.Body)
	}
	back := c.Allow(b, b.Get(res.Header.Get("Location")), "shop")
	c.Redeem(back.Query().Get("code"))
	return c
}

// logoutRequest is a logout request of the provider.
func (p *samlIDP) logoutRequest(name, sessions string) string {
	at := p.Clock.Now().UTC().Format(time.RFC3339)
	return `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_` + rand.Text() + `" Version="2.0" IssueInstant="` + at +
		`" Destination="` + p.URL + slo + `"><saml:Issuer>` + samlEntity + `</saml:Issuer><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">` + name + `</saml:NameID>` + sessions + `</samlp:LogoutRequest>`
}

const (
	session1 = "<samlp:SessionIndex>s1</samlp:SessionIndex>"
	session9 = "<samlp:SessionIndex>s9</samlp:SessionIndex>"
)

// posted signs a message for the POST binding.
func (p *samlIDP) posted(message string) string {
	p.TB.Helper()
	doc := etree.NewDocument()
	p.Must(doc.ReadFromString(message))
	ctx, err := dsig.NewSigningContext(p.key, [][]byte{p.cert})
	p.Must(err)
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signed, err := ctx.SignEnveloped(doc.Root())
	p.Must(err)
	doc.SetRoot(signed)
	text, err := doc.WriteToBytes()
	p.Must(err)
	return base64.StdEncoding.EncodeToString(text)
}

// queried signs a message for the Redirect binding.
func (p *samlIDP) queried(name, message, relay string) string {
	p.TB.Helper()
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	p.Must(err)
	_, err = io.WriteString(w, message)
	p.Must(err)
	p.Must(w.Close())
	q := name + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes())) + "&RelayState=" + relay + "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	sum := sha256.Sum256([]byte(q))
	signature, err := p.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	p.Must(err)
	return q + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
}

// postSLO posts as another site does: without cookies.
func (p *samlIDP) postSLO(form url.Values) testkit.Response {
	return p.Do(http.MethodPost, slo, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site", "Origin", samlEntity)
}

// message reads what was sent to the provider with the Redirect binding.
func (p *samlIDP) message(location, name string, into any) url.Values {
	p.TB.Helper()
	u, err := url.Parse(location)
	p.Must(err)
	if u.Host != "saml.example" || u.Path != "/slo" || u.Query().Get("Signature") == "" {
		p.TB.Fatalf("sent to %q", location)
	}
	packed, err := base64.StdEncoding.DecodeString(u.Query().Get(name))
	p.Must(err)
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	p.Must(err)
	p.Must(xml.Unmarshal(text, into))
	return u.Query()
}

// The provider says that the person signed out: what ends is what ends with
// an OpenID Connect back-channel logout, and the provider is told.
func TestSAMLLogoutEndsSessionAndConnection(t *testing.T) {
	for name, c := range map[string]struct {
		sessions string
		redirect bool
	}{
		"POST":                     {sessions: session1},
		"Redirect":                 {sessions: session1, redirect: true},
		"all sessions":             {},
		"this session and another": {sessions: session9 + session1, redirect: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, b, client := connectedSAML(t, withSLO("HTTP-Redirect"))
			if res := client.Call("tools/list", ""); res.Status != http.StatusOK {
				t.Fatalf("before: status %d", res.Status)
			}
			var res testkit.Response
			if c.redirect {
				res = p.Browser().Get(slo + "?" + p.queried("SAMLRequest", p.logoutRequest("u-1", c.sessions), "back"))
			} else {
				res = p.postSLO(url.Values{"SAMLRequest": {p.posted(p.logoutRequest("u-1", c.sessions))}, "RelayState": {"back"}})
			}
			if res.Status != http.StatusSeeOther || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("status %d\n%s", res.Status, res.Body)
			}
			if res := client.Call("tools/list", ""); res.Status != http.StatusUnauthorized || !strings.Contains(res.Header.Get("WWW-Authenticate"), "invalid_token") {
				t.Errorf("next call: status %d, %q", res.Status, res.Header.Get("WWW-Authenticate"))
			}
			if res := client.Renew(client.Refresh); res.Status != http.StatusBadRequest || res.Member("error") != "invalid_grant" {
				t.Errorf("next refresh: status %d\n%s", res.Status, res.Body)
			}
			if b.Get("/").Status != http.StatusSeeOther {
				t.Error("the browser is still signed in")
			}
			ev, err := p.Admin.Events(t.Context(), audit.Filter{Kind: audit.ProviderLogout})
			if err != nil || len(ev) != 1 || !strings.Contains(ev[0].Detail, "1 sessions and 1 connections") {
				t.Errorf("audit: %+v, %v", ev, err)
			}
			var answer saml.LogoutResponse
			q := p.message(res.Header.Get("Location"), "SAMLResponse", &answer)
			if q.Get("RelayState") != "back" || answer.Status.StatusCode.Value != saml.StatusSuccess || answer.InResponseTo == "" {
				t.Errorf("answer: %+v, %v", answer, q)
			}
			p.signedIn = p.Clock.Now()
			p.connect(client, b)
			if res := client.Call("tools/list", ""); res.Status != http.StatusOK {
				t.Errorf("after a new sign-in: status %d", res.Status)
			}
		})
	}
}

// Other people, other sessions and sign-ins with a password go on; so does
// everything where the request does not hold.
func TestSAMLLogoutEndsNothingElse(t *testing.T) {
	p, b, c := connectedSAML(t, withSLO("HTTP-POST"))
	for name, message := range map[string]string{
		"another session": p.logoutRequest("u-1", session9),
		"another person":  p.logoutRequest("u-2", ""),
	} {
		res := p.postSLO(url.Values{"SAMLRequest": {p.posted(message)}})
		if res.Status != http.StatusOK || testkit.Field(res.Body, "SAMLResponse") == "" || !strings.Contains(res.Body, samlEntity+"/slo") {
			t.Errorf("%s: status %d\n%s", name, res.Status, res.Body)
		}
	}
	unsigned := p.logoutRequest("u-1", session1)
	for name, form := range map[string]url.Values{
		"SAML_LogoutUnsigned":    {"SAMLRequest": {base64.StdEncoding.EncodeToString([]byte(unsigned))}},
		"SAML_LogoutDestination": {"SAMLRequest": {p.posted(strings.Replace(unsigned, slo, acs, 1))}},
		"SAML_LogoutIssuer":      {"SAMLRequest": {p.posted(strings.Replace(unsigned, samlEntity, "https://other.example", 1))}},
		"SAML_LogoutNothing":     {},
	} {
		res := p.postSLO(form)
		if res.Status != http.StatusBadRequest || strings.Contains(res.Body, "SAMLResponse") {
			t.Errorf("%s: status %d\n%s", name, res.Status, res.Body)
		}
	}
	typed := p.Browser()
	p.Clock.Advance(time.Second)
	typed.TypePassword("/login", "ada@example.com")
	if b.Get("/").Status != http.StatusOK || c.Call("tools/list", "").Status != http.StatusOK {
		t.Error("something ended")
	}
	if res := p.postSLO(url.Values{"SAMLRequest": {p.posted(p.logoutRequest("u-1", session1))}}); res.Status != http.StatusOK {
		t.Fatalf("status %d", res.Status)
	}
	if c.Call("tools/list", "").Status != http.StatusUnauthorized || typed.Get("/").Status != http.StatusOK {
		t.Error("not exactly what came from the provider's session ended")
	}
}

func TestSAML_LogoutReplay(t *testing.T) {
	p, b, _ := connectedSAML(t, withSLO("HTTP-Redirect"))
	path := slo + "?" + p.queried("SAMLRequest", p.logoutRequest("u-1", ""), "back")
	if res := p.Browser().Get(path); res.Status != http.StatusSeeOther {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	p.signIn(b, "/login/sso/corp")
	if res := p.Browser().Get(path); res.Status != http.StatusBadRequest {
		t.Errorf("again: status %d", res.Status)
	}
	p.Restart()
	p.Clock.Advance(10*time.Minute - time.Second)
	if res := p.Browser().Get(path); res.Status != http.StatusBadRequest {
		t.Errorf("after a restart: status %d", res.Status)
	}
	if b.Get("/").Status != http.StatusOK {
		t.Error("the new session ended")
	}
}

// A provider without a place for an answer is obeyed all the same.
func TestSAMLLogoutWithoutAPlaceForTheAnswer(t *testing.T) {
	p, _, c := connectedSAML(t)
	res := p.postSLO(url.Values{"SAMLRequest": {p.posted(p.logoutRequest("u-1", session1))}})
	if res.Status != http.StatusOK || !strings.Contains(res.Body, "You are signed out") || c.Call("tools/list", "").Status != http.StatusUnauthorized {
		t.Errorf("status %d\n%s", res.Status, res.Body)
	}
}

// action is where the form leads that signs somebody out of the provider.
func action(page testkit.Response) string {
	_, rest, _ := strings.Cut(page.Body, `action="/login/sso/corp/sign-out?`)
	query, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return "/login/sso/corp/sign-out?" + query
}

// Signing out of Oriel, and of the provider too: it is asked with the name
// and the session that it gave, and what came from the session ends.
func TestSAMLSPInitiatedLogout(t *testing.T) {
	p := startSAML(t, withSLO("HTTP-Redirect"))
	p.SetMember("shop", "ada@example.com", "viewer")
	p.nameID = `<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" NameQualifier="corp" SPNameQualifier="oriel">u-1</saml:NameID>`
	b := p.Browser()
	c := p.connect(p.Register(), b)
	page := b.Post("/logout", url.Values{})
	if page.Status != http.StatusOK || !strings.Contains(page.Body, "still signed in at Corp") {
		t.Fatalf("status %d\n%s", page.Status, page.Body)
	}
	if strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action") {
		t.Errorf("the form's answer leads to another site: %q", page.Header.Get("Content-Security-Policy"))
	}
	if c.Call("tools/list", "").Status != http.StatusOK {
		t.Error("signed out here only, the connection goes on")
	}
	res := b.Post(action(page), url.Values{})
	if res.Status != http.StatusSeeOther {
		t.Fatalf("status %d\n%s", res.Status, res.Body)
	}
	if c.Call("tools/list", "").Status != http.StatusUnauthorized {
		t.Error("the connection goes on")
	}
	var sent saml.LogoutRequest
	q := p.message(res.Header.Get("Location"), "SAMLRequest", &sent)
	if sent.NameID.Value != "u-1" || sent.NameID.Format != "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" || sent.NameID.NameQualifier != "corp" ||
		sent.NameID.SPNameQualifier != "oriel" || sent.SessionIndex.Value != "s1" || sent.Issuer.Value != p.URL+"/login/sso/corp/metadata" {
		t.Errorf("request: %+v", sent)
	}
	relay := q.Get("RelayState")
	if len(relay) == 0 || len(relay) > 80 {
		t.Errorf("RelayState %q", relay)
	}
	answer := func(to, status string) string {
		return `<samlp:LogoutResponse xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a" Version="2.0" IssueInstant="` +
			p.Clock.Now().UTC().Format(time.RFC3339) + `" Destination="` + p.URL + slo + `" InResponseTo="` + to + `"><saml:Issuer>` + samlEntity +
			`</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:` + status + `"/></samlp:Status></samlp:LogoutResponse>`
	}
	for name, c := range map[string]struct {
		path  string
		want  int
		words string
	}{
		"the answer":       {p.queried("SAMLResponse", answer(sent.ID, "Success"), relay), http.StatusOK, "You have signed out of Corp, too"},
		"a refusal":        {p.queried("SAMLResponse", answer(sent.ID, "Responder"), relay), http.StatusOK, "did not sign you out everywhere"},
		"another request":  {p.queried("SAMLResponse", answer("_x", "Success"), relay), http.StatusBadRequest, "could not be accepted"},
		"another relay":    {p.queried("SAMLResponse", answer(sent.ID, "Success"), "else"), http.StatusBadRequest, "could not be accepted"},
		"not signed":       {strings.Split(p.queried("SAMLResponse", answer(sent.ID, "Success"), relay), "&Signature")[0], http.StatusBadRequest, "could not be accepted"},
		"as a request too": {p.queried("SAMLRequest", answer(sent.ID, "Success"), relay), http.StatusBadRequest, "could not be accepted"},
	} {
		if res := b.Get(slo + "?" + c.path); res.Status != c.want || !strings.Contains(res.Body, c.words) {
			t.Errorf("%s: status %d\n%s", name, res.Status, res.Body)
		}
	}
	ev, err := p.Admin.Events(t.Context(), audit.Filter{Kind: audit.ProviderLogout})
	if err != nil || len(ev) != 1 || !strings.Contains(ev[0].Detail, "0 sessions and 1 connections") || ev[0].Actor.Kind != audit.ByPerson {
		t.Errorf("audit: %+v, %v", ev, err)
	}
}

func TestSAMLSPInitiatedLogoutByPost(t *testing.T) {
	p, b, _ := connectedSAML(t, withSLO("HTTP-POST"))
	page := b.Post("/logout", url.Values{})
	res := b.Post(action(page), url.Values{})
	if res.Status != http.StatusOK || testkit.Field(res.Body, "SAMLRequest") == "" || testkit.Field(res.Body, "RelayState") == "" ||
		!strings.Contains(res.Header.Get("Content-Security-Policy"), "form-action "+samlEntity) {
		t.Errorf("status %d\n%s", res.Status, res.Body)
	}
	// The step is good for a while, and only here.
	p.Clock.Advance(11 * time.Minute)
	if res := b.Post(action(page), url.Values{}); res.Status != http.StatusBadRequest {
		t.Errorf("later: status %d", res.Status)
	}
	if res := b.Post("/login/sso/corp/sign-out", url.Values{}); res.Status != http.StatusBadRequest {
		t.Errorf("without a step: status %d", res.Status)
	}
}

func TestSAMLSignOutWithoutSingleLogout(t *testing.T) {
	_, b, _ := connectedSAML(t)
	if page := b.Post("/logout", url.Values{}); page.Status != http.StatusOK || strings.Contains(page.Body, "Corp") {
		t.Errorf("status %d\n%s", page.Status, page.Body)
	}
}
