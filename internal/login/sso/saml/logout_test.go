package saml_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	crewjam "github.com/crewjam/saml"
	"github.com/google/go-cmp/cmp"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/orielhq/oriel/internal/login/sso/saml"
)

const idpSLO = "https://idp.example/slo"

// withLogout adds an address to sign out at to metadata.
func withLogout(document, binding string) string {
	return strings.Replace(document, "<SingleSignOnService", `<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:`+binding+
		`" Location="`+idpSLO+`" ResponseLocation="`+idpSLO+`/answers"/><SingleSignOnService`, 1)
}

// logoutRequest is one of the provider, each part replaceable.
func logoutRequest(pairs ...string) string {
	r := says{
		"id": "_logout", "version": "2.0", "destination": sloURL, "issued": at(0), "until": at(5 * time.Minute), "issuer": "<saml:Issuer>" + idpEntity + "</saml:Issuer>",
		"nameid":  `<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">ada-1</saml:NameID>`,
		"session": "<samlp:SessionIndex>s1</samlp:SessionIndex>",
	}.with(pairs...)
	return `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="` + r["id"] + `" Version="` + r["version"] +
		`" IssueInstant="` + r["issued"] + `" Destination="` + r["destination"] + `" NotOnOrAfter="` + r["until"] + `">` + r["issuer"] + r["nameid"] + r["session"] + `</samlp:LogoutRequest>`
}

func logoutResponse(pairs ...string) string {
	r := says{"id": "_answer", "destination": sloURL, "issued": at(0), "issuer": idpEntity, "inresponseto": requestID, "status": `<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/>`}.with(pairs...)
	return `<samlp:LogoutResponse xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="` + r["id"] + `" Version="2.0" IssueInstant="` + r["issued"] +
		`" Destination="` + r["destination"] + `" InResponseTo="` + r["inresponseto"] + `"><saml:Issuer>` + r["issuer"] + `</saml:Issuer><samlp:Status>` + r["status"] + `</samlp:Status></samlp:LogoutResponse>`
}

func posted(message string) url.Values {
	return url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString([]byte(message))}}
}

func pack(t testing.TB, message string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err == nil {
		_, err = io.WriteString(w, message)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

// query is a message in the Redirect binding without a signature.
func query(t testing.TB, name, message, relay, method string) string {
	t.Helper()
	return name + "=" + url.QueryEscape(pack(t, message)) + "&RelayState=" + url.QueryEscape(relay) + "&SigAlg=" + url.QueryEscape(method)
}

func signQuery(t testing.TB, by keyPair, q string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(q))
	var signature []byte
	var err error
	if key, ok := by.key.(*ecdsa.PrivateKey); ok {
		r, s, e := ecdsa.Sign(rand.Reader, key, sum[:])
		if err = e; err == nil {
			signature = slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)))
		}
	} else {
		signature, err = by.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
}

func (w *world) signedQuery(message string) string {
	w.Helper()
	return signQuery(w, w.idp, query(w, "SAMLRequest", message, "back", dsig.RSASHA256SignatureMethod))
}

func (w *world) logoutByPost(message string) (saml.Logout, error) {
	in, err := saml.FromForm(posted(message))
	if err != nil {
		return saml.Logout{}, err
	}
	return w.sp.ReadLogoutRequest(in)
}

func (w *world) logoutByQuery(raw string) (saml.Logout, error) {
	in, err := saml.FromQuery(raw)
	if err != nil {
		return saml.Logout{}, err
	}
	return w.sp.ReadLogoutRequest(in)
}

// refusesLogout expects the same of both bindings.
func (w *world) refusesLogout(message, words string) {
	w.Helper()
	for binding, read := range map[string]func() (saml.Logout, error){
		"POST":     func() (saml.Logout, error) { return w.logoutByPost(w.signed(message)) },
		"Redirect": func() (saml.Logout, error) { return w.logoutByQuery(w.signedQuery(message)) },
	} {
		got, err := read()
		if err == nil {
			w.Errorf("%s: accepted: %+v", binding, got)
		} else if !strings.Contains(err.Error(), words) {
			w.Errorf("%s: refused for another reason than %q: %v", binding, words, err)
		}
	}
}

func wantRefused(t *testing.T, name, words string, got saml.Logout, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted: %+v", name, got)
	} else if !strings.Contains(err.Error(), words) {
		t.Errorf("%s: refused for another reason than %q: %v", name, words, err)
	}
}

func TestReadsSignedLogoutRequests(t *testing.T) {
	w := newWorld(t)
	want := saml.Logout{
		ID: "_logout", Expires: now.Add(11 * time.Minute), SessionIndexes: []string{"s1"},
		Name: saml.NameID{Value: "ada-1", Format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"},
	}
	check := func(name string, got saml.Logout, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got, err := w.logoutByPost(w.signed(logoutRequest()))
	check("POST", got, err)
	got, err = w.logoutByQuery(w.signedQuery(logoutRequest()))
	check("Redirect", got, err)
	// The signature is over the text as it stands: lower-case escapes (as of
	// Microsoft) and another order of the parameters are fine.
	lower := strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d", "%3A", "%3a").Replace(query(t, "SAMLRequest", logoutRequest(), "back", dsig.RSASHA256SignatureMethod))
	signed := signQuery(t, w.idp, lower)
	got, err = w.logoutByQuery(signed)
	check("escaped in lower case", got, err)
	parts := strings.Split(signed, "&")
	slices.Reverse(parts)
	got, err = w.logoutByQuery(strings.Join(parts, "&"))
	check("in another order", got, err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := newPair(t, key)
	w.sp = w.provider(metadata(w.idp, curve))
	got, err = w.logoutByQuery(signQuery(t, curve, query(t, "SAMLRequest", logoutRequest(), "", dsig.ECDSASHA256SignatureMethod)))
	check("elliptic curve", got, err)

	got, err = w.logoutByPost(w.signed(logoutRequest("session", "")))
	if err != nil || len(got.SessionIndexes) != 0 {
		t.Errorf("no session: %+v, %v", got, err)
	}
	got, err = w.logoutByPost(w.signed(logoutRequest("session", "<samlp:SessionIndex>a</samlp:SessionIndex><samlp:SessionIndex> b </samlp:SessionIndex>")))
	if err != nil || !slices.Equal(got.SessionIndexes, []string{"a", "b"}) {
		t.Errorf("two sessions: %+v, %v", got, err)
	}
}

// SAML Profiles 2.0 §4.4.4.1: a request must be signed.
func TestSAML_LogoutRequestUnsigned(t *testing.T) {
	w := newWorld(t)
	got, err := w.logoutByPost(logoutRequest())
	wantRefused(t, "POST", "not signed", got, err)
	got, err = w.logoutByQuery(query(t, "SAMLRequest", logoutRequest(), "", dsig.RSASHA256SignatureMethod))
	wantRefused(t, "Redirect", "not signed", got, err)
	got, err = w.logoutByQuery("SAMLRequest=" + url.QueryEscape(pack(t, logoutRequest())))
	wantRefused(t, "Redirect, nothing else", "not signed", got, err)
	got, err = w.logoutByQuery("SAMLRequest=" + url.QueryEscape(pack(t, w.signed(logoutRequest()))))
	wantRefused(t, "Redirect, signed as for POST", "not signed", got, err)
}

func TestSAML_LogoutRequestSignedBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	got, err := w.logoutByPost(sign(t, w.other, dsig.RSASHA256SignatureMethod, logoutRequest()))
	wantRefused(t, "POST", "does not hold", got, err)
	q := query(t, "SAMLRequest", logoutRequest(), "", dsig.RSASHA256SignatureMethod)
	got, err = w.logoutByQuery(signQuery(t, w.other, q))
	wantRefused(t, "Redirect", "does not hold", got, err)
}

func TestSAML_LogoutRequestTampered(t *testing.T) {
	w := newWorld(t)
	for name, message := range map[string]string{
		"name":    strings.Replace(w.signed(logoutRequest()), "ada-1", "ada-2", 1),
		"session": strings.Replace(w.signed(logoutRequest()), ">s1<", ">s2<", 1),
		"added":   strings.Replace(w.signed(logoutRequest()), "<samlp:SessionIndex>", "<samlp:SessionIndex>s3</samlp:SessionIndex><samlp:SessionIndex>", 1),
		"cut":     strings.Replace(w.signed(logoutRequest()), "<samlp:SessionIndex>s1</samlp:SessionIndex>", "", 1),
	} {
		got, err := w.logoutByPost(message)
		wantRefused(t, name, "does not hold", got, err)
	}
	good := w.signedQuery(logoutRequest())
	other := url.QueryEscape(pack(t, logoutRequest("nameid", "<saml:NameID>owner</saml:NameID>")))
	for name, raw := range map[string]string{
		"message":            "SAMLRequest=" + other + good[strings.Index(good, "&"):],
		"RelayState":         strings.Replace(good, "RelayState=back", "RelayState=else", 1),
		"RelayState removed": strings.Replace(good, "&RelayState=back", "", 1),
		"as a response":      strings.Replace(good, "SAMLRequest=", "SAMLResponse=", 1),
		"message twice":      good + "&SAMLRequest=" + other,
		"message before":     "SAMLRequest=" + other + "&" + good,
		"name escaped":       strings.Replace(good, "SAMLRequest=", "SAMLRequest=x&SAML%52equest=", 1),
		"signature twice":    good + "&Signature=AAAA",
		"RelayState twice":   good + "&RelayState=else",
		"both kinds":         good + "&SAMLResponse=" + other,
		"encoding":           good + "&SAMLEncoding=none",
	} {
		got, err := w.logoutByQuery(raw)
		wantRefused(t, name, "", got, err)
	}
}

func TestSAML_LogoutRequestIssuer(t *testing.T) {
	w := newWorld(t)
	w.refusesLogout(logoutRequest("issuer", "<saml:Issuer>https://other.example</saml:Issuer>"), "it is from")
	w.refusesLogout(logoutRequest("issuer", `<saml:Issuer Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">`+idpEntity+"</saml:Issuer>"), "it is from")
	w.refusesLogout(logoutRequest("issuer", `<saml:Issuer>`+idpEntity+"</saml:Issuer><saml:Issuer>https://other.example</saml:Issuer>"), "it is from")
	// Redirect only: where there is no issuer, the test's signature has no place.
	got, err := w.logoutByQuery(w.signedQuery(logoutRequest("issuer", "")))
	wantRefused(t, "none", "it is from", got, err)
}

func TestSAML_LogoutRequestDestination(t *testing.T) {
	w := newWorld(t)
	w.refusesLogout(logoutRequest("destination", acsURL), "its destination is")
	w.refusesLogout(logoutRequest("destination", ""), "its destination is")
	w.refusesLogout(logoutRequest("destination", "https://other.example/slo"), "its destination is")
}

func TestSAML_LogoutRequestTimes(t *testing.T) {
	w := newWorld(t)
	w.refusesLogout(logoutRequest("until", at(-61*time.Second)), "not valid on or after")
	w.refusesLogout(logoutRequest("until", "tomorrow"), "not valid on or after")
	w.refusesLogout(logoutRequest("issued", at(-11*time.Minute)), "issued at")
	w.refusesLogout(logoutRequest("issued", at(2*time.Minute)), "issued at")
	w.refusesLogout(logoutRequest("issued", ""), "IssueInstant")
	w.refusesLogout(logoutRequest("version", "1.1"), "version")
	if _, err := w.logoutByPost(w.signed(strings.Replace(logoutRequest(), ` NotOnOrAfter="`+at(5*time.Minute)+`"`, "", 1))); err != nil {
		t.Errorf("without NotOnOrAfter, which is optional: %v", err)
	}
}

func TestSAML_LogoutRequestNames(t *testing.T) {
	w := newWorld(t)
	w.refusesLogout(logoutRequest("nameid", ""), "not one NameID")
	w.refusesLogout(logoutRequest("nameid", "<saml:NameID> </saml:NameID>"), "not one NameID")
	w.refusesLogout(logoutRequest("nameid", "<saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID>"), "not one NameID")
	w.refusesLogout(logoutRequest("nameid", "<saml:EncryptedID/>"), "not one NameID")
	w.refusesLogout(logoutRequest("session", "<samlp:SessionIndex/>"), "SessionIndex is empty")
	w.refusesLogout(logoutRequest("session", strings.Repeat("<samlp:SessionIndex>x</samlp:SessionIndex>", 51)), "too many sessions")
}

func TestSAML_LogoutRequestCommentInjection(t *testing.T) {
	w := newWorld(t)
	got, err := w.logoutByPost(strings.Replace(w.signed(logoutRequest("nameid", "<saml:NameID>ada-1.evil</saml:NameID>")), "ada-1.evil", "ada-1<!---->.evil", 1))
	wantRefused(t, "POST", "comments", got, err)
	got, err = w.logoutByQuery(w.signedQuery(logoutRequest("nameid", "<saml:NameID>ada-1<!---->.evil</saml:NameID>")))
	wantRefused(t, "Redirect", "comments", got, err)
	got, err = w.logoutByQuery(w.signedQuery(logoutRequest("nameid", "<saml:NameID>ada-1<?x y?>.evil</saml:NameID>")))
	wantRefused(t, "instruction", "", got, err)
	got, err = w.logoutByQuery(w.signedQuery(`<!DOCTYPE x [<!ENTITY e "ada-1">]>` + strings.Replace(logoutRequest(), "ada-1", "&e;", 1)))
	wantRefused(t, "entity", "", got, err)
}

func TestSAML_LogoutRequestSignatureWrapping(t *testing.T) {
	w := newWorld(t)
	good := w.signed(logoutRequest())
	evil := logoutRequest("id", "_evil", "nameid", "<saml:NameID>owner</saml:NameID>")
	same := logoutRequest("nameid", "<saml:NameID>owner</saml:NameID>")
	signature := text(t, element(t, good).SelectElement("Signature"))
	into := func(outer, inner, before string) string { return strings.Replace(outer, before, inner+before, 1) }
	object := strings.Replace(signature, "</ds:Signature>", "<ds:Object>"+logoutRequest()+"</ds:Object></ds:Signature>", 1)
	extensions := func(inner string) string { return "<samlp:Extensions>" + inner + "</samlp:Extensions>" }
	for name, message := range map[string]string{
		"original inside":                 into(evil, good, "</samlp:LogoutRequest>"),
		"original in extensions":          into(evil, extensions(good), "<saml:NameID"),
		"forged inside":                   into(good, evil, "</samlp:LogoutRequest>"),
		"signature on the forged one":     into(evil, signature, "<saml:NameID"),
		"signature on the same id":        into(same, signature, "<saml:NameID"),
		"original in the signature":       into(evil, object, "<saml:NameID"),
		"original in it, the same id":     into(same, object, "<saml:NameID"),
		"signed assertion inside":         into(evil, extensions(w.signed(defaults().String())), "<saml:NameID"),
		"signature of an assertion":       into(logoutRequest("id", "_assertion"), text(t, element(t, w.signed(defaults().String())).SelectElement("Signature")), "<saml:NameID"),
		"two signatures":                  into(good, signature, "<saml:NameID"),
		"signature deeper":                into(evil, extensions(signature), "<saml:NameID"),
		"a response in place of it":       w.signed(logoutResponse()),
		"a sign-in response":              w.signed(response(defaults().String())),
		"renamed, with the old signature": strings.ReplaceAll(w.signed(logoutResponse()), "LogoutResponse", "LogoutRequest"),
	} {
		got, err := w.logoutByPost(message)
		wantRefused(t, name, "", got, err)
		// The query's signature makes none of it better where the document has
		// one of its own.
		if strings.Contains(message, "Signature") {
			got, err = w.logoutByQuery(w.signedQuery(message))
			wantRefused(t, name+" in a query", "", got, err)
		}
	}
}

func TestSAML_LogoutRequestAlgorithmConfusion(t *testing.T) {
	w := newWorld(t)
	got, err := w.logoutByPost(sign(t, w.idp, dsig.RSASHA1SignatureMethod, logoutRequest()))
	wantRefused(t, "SHA-1 by POST", "signature method", got, err)
	good := w.signed(logoutRequest())
	for _, method := range []string{"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1", "none", ""} {
		got, err = w.logoutByPost(strings.Replace(good, dsig.RSASHA256SignatureMethod, method, 1))
		wantRefused(t, "POST "+method, "signature method", got, err)
		got, err = w.logoutByQuery(signQuery(t, w.idp, query(t, "SAMLRequest", logoutRequest(), "", method)))
		wantRefused(t, "Redirect "+method, "signature method", got, err)
	}
	// With the certificate, which everybody has, as the key of a MAC.
	q := query(t, "SAMLRequest", logoutRequest(), "", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
	mac := hmac.New(sha256.New, w.idp.cert)
	mac.Write([]byte(q))
	got, err = w.logoutByQuery(q + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	wantRefused(t, "MAC", "signature method", got, err)
	// A method for another kind of key, or another hash.
	for _, method := range []string{dsig.ECDSASHA256SignatureMethod, dsig.RSASHA512SignatureMethod} {
		got, err = w.logoutByQuery(signQuery(t, w.idp, query(t, "SAMLRequest", logoutRequest(), "", method)))
		wantRefused(t, method, "does not hold", got, err)
	}
}

func TestSAML_LogoutTooMuch(t *testing.T) {
	w := newWorld(t)
	bomb := logoutRequest("session", strings.Repeat(" ", saml.MaxResponseBytes))
	got, err := w.logoutByQuery(w.signedQuery(bomb))
	wantRefused(t, "unpacked", "longer than", got, err)
	got, err = w.logoutByQuery("SAMLRequest=" + strings.Repeat("A", saml.MaxResponseBytes))
	wantRefused(t, "query", "longer than", got, err)
	got, err = w.logoutByPost(strings.Repeat(" ", saml.MaxResponseBytes))
	wantRefused(t, "form", "longer than", got, err)
	_, err = saml.FromForm(url.Values{"SAMLRequest": {"AAAA"}, "RelayState": {strings.Repeat("x", 1025)}})
	wantRefused(t, "RelayState", "longer than", saml.Logout{}, err)
	_, err = saml.FromForm(url.Values{"SAMLRequest": {"AAAA", "BBBB"}})
	wantRefused(t, "two", "twice", saml.Logout{}, err)
	_, err = saml.FromForm(url.Values{})
	wantRefused(t, "nothing", "not one", saml.Logout{}, err)
}

// What we send holds for another library, and what it would answer for us.
func TestLogoutRequestIsSigned(t *testing.T) {
	w := newWorld(t)
	name := saml.NameID{Value: "a<da>&1", Format: "f", NameQualifier: "q", SPNameQualifier: "s"}
	if _, err := w.sp.LogoutRequest("_abc", "", name, ""); err == nil || w.sp.CanLogout() {
		t.Error("a request for a provider without a place for it")
	}
	w.sp = w.provider(withLogout(metadata(w.idp), "HTTP-POST"))
	posted, err := w.sp.LogoutRequest("_abc", "relay", name, "s&1")
	if err != nil || posted.URL != idpSLO || posted.Name != "SAMLRequest" {
		t.Fatal(posted, err)
	}
	message, err := base64.StdEncoding.DecodeString(posted.Message)
	if err != nil {
		t.Fatal(err)
	}
	e := element(t, string(message))
	if got := e.ChildElements()[1].Tag; got != "Signature" {
		t.Errorf("after the issuer comes %s", got)
	}
	valid := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: certificates(t, w.spCert)})
	valid.Clock = dsig.NewFakeClockAt(now)
	if _, err := valid.Validate(e); err != nil {
		t.Errorf("%v\n%s", err, message)
	}
	var sent crewjam.LogoutRequest
	if err := xml.Unmarshal(message, &sent); err != nil {
		t.Fatal(err)
	}
	if sent.ID != "_abc" || sent.Issuer.Value != entityID || sent.Destination != idpSLO || sent.NameID.Value != name.Value || sent.NameID.Format != "f" ||
		sent.NameID.NameQualifier != "q" || sent.NameID.SPNameQualifier != "s" || sent.SessionIndex.Value != "s&1" || !sent.NotOnOrAfter.Equal(now.Add(5*time.Minute)) {
		t.Errorf("%+v\n%s", sent, message)
	}

	w.sp = w.provider(withLogout(metadata(w.idp), "HTTP-Redirect"))
	answer, err := w.sp.LogoutResponse("_def", "", "_logout")
	if err != nil || answer.Message != "" || answer.Name != "SAMLResponse" {
		t.Fatal(answer, err)
	}
	u, err := url.Parse(answer.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Path != "/slo/answers" || q.Has("RelayState") {
		t.Errorf("answer: %s", answer.URL)
	}
	covered, _, _ := strings.Cut(u.RawQuery, "&Signature=")
	sum := sha256.Sum256([]byte(covered))
	signature, err := base64.StdEncoding.DecodeString(q.Get("Signature"))
	if err != nil {
		t.Fatal(err)
	}
	public, _ := certificate(t, w.spCert).PublicKey.(*rsa.PublicKey)
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
}

func TestReadsLogoutResponses(t *testing.T) {
	w := newWorld(t)
	read := func(message, id string) error {
		in, err := saml.FromForm(url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(message))}})
		if err != nil {
			return err
		}
		return w.sp.ReadLogoutResponse(in, id)
	}
	if err := read(w.signed(logoutResponse()), requestID); err != nil {
		t.Errorf("POST: %v", err)
	}
	in, err := saml.FromQuery(signQuery(t, w.idp, query(t, "SAMLResponse", logoutResponse(), "back", dsig.RSASHA256SignatureMethod)))
	if err != nil || !in.Response || in.RelayState != "back" {
		t.Fatalf("%+v, %v", in, err)
	}
	if err := w.sp.ReadLogoutResponse(in, requestID); err != nil {
		t.Errorf("Redirect: %v", err)
	}
	failed := `<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"/>`
	partial := `<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:PartialLogout"/></samlp:StatusCode>`
	for _, status := range []string{failed, partial} {
		if err := read(w.signed(logoutResponse("status", status)), requestID); !errors.Is(err, saml.ErrStatus) {
			t.Errorf("%s: %v", status, err)
		}
	}
	for name, message := range map[string]string{
		"SAML_LogoutResponseUnsigned":          logoutResponse(),
		"SAML_LogoutResponseBySomebodyElse":    sign(t, w.other, dsig.RSASHA256SignatureMethod, logoutResponse()),
		"SAML_LogoutResponseToAnotherRequest":  w.signed(logoutResponse("inresponseto", "_other")),
		"SAML_LogoutResponseToNothing":         w.signed(logoutResponse("inresponseto", "")),
		"SAML_LogoutResponseIssuer":            w.signed(logoutResponse("issuer", "https://other.example")),
		"SAML_LogoutResponseDestination":       w.signed(logoutResponse("destination", acsURL)),
		"SAML_LogoutResponseTooOld":            w.signed(logoutResponse("issued", at(-11*time.Minute))),
		"SAML_LogoutResponseUnsignedNoSuccess": logoutResponse("status", failed),
		"SAML_LogoutResponseIsARequest":        w.signed(logoutRequest()),
	} {
		if err := read(message, requestID); err == nil || errors.Is(err, saml.ErrStatus) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := read(w.signed(logoutResponse("inresponseto", "")), ""); err == nil {
		t.Error("an answer to no request")
	}
}

func TestMetadataOfLogout(t *testing.T) {
	w := newWorld(t)
	document, err := w.sp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	var d crewjam.EntityDescriptor
	if err := xml.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	got := d.SPSSODescriptors[0].SingleLogoutServices
	if len(got) != 2 || got[0].Binding != crewjam.HTTPRedirectBinding || got[0].Location != sloURL || got[1].Binding != crewjam.HTTPPostBinding || got[1].Location != sloURL {
		t.Errorf("metadata:\n%s", document)
	}
	// The schema has the services before the formats and the consumers.
	if slo := bytes.Index(document, []byte("<SingleLogoutService")); slo < 0 || slo > bytes.Index(document, []byte("<NameIDFormat")) {
		t.Errorf("order:\n%s", document)
	}
	for name, bad := range map[string]string{
		"scheme":          strings.Replace(withLogout(metadata(w.idp), "HTTP-POST"), `Location="`+idpSLO+`"`, `Location="javascript:alert(1)"`, 1),
		"response scheme": strings.Replace(withLogout(metadata(w.idp), "HTTP-Redirect"), `ResponseLocation="https`, `ResponseLocation="ftp`, 1),
	} {
		if _, err := saml.CheckMetadata([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if w.provider(withLogout(metadata(w.idp), "SOAP")).CanLogout() {
		t.Error("a binding that is not ours counts")
	}
}

// Whatever is changed in a good request: nobody else is signed out, and no
// other session.
func FuzzReadLogoutRequest(f *testing.F) {
	w := newWorld(f)
	form, raw := w.signed(logoutRequest()), w.signedQuery(logoutRequest())
	evil := logoutRequest("id", "_evil", "nameid", "<saml:NameID>owner</saml:NameID>")
	f.Add(false, uint16(0), uint16(0), "")
	f.Add(false, uint16(strings.Index(form, "ada-1")), uint16(3), "<!-- -->")
	f.Add(false, uint16(0), uint16(0), evil)
	f.Add(false, uint16(strings.Index(form, "</samlp:LogoutRequest>")), uint16(0), evil)
	f.Add(true, uint16(0), uint16(0), "")
	f.Add(true, uint16(0), uint16(0), "SAMLRequest="+url.QueryEscape(pack(f, evil))+"&")
	f.Add(true, uint16(len(raw)), uint16(0), "&SAMLEncoding=x")
	f.Fuzz(func(t *testing.T, inQuery bool, from, cut uint16, put string) {
		m, read := form, w.logoutByPost
		if inQuery {
			m, read = raw, w.logoutByQuery
		}
		from = min(from, uint16(len(m)))
		rest := m[from:]
		got, err := read(m[:from] + put + rest[min(int(cut), len(rest)):])
		if err == nil && (got.ID != "_logout" || got.Name.Value != "ada-1" || !slices.Equal(got.SessionIndexes, []string{"s1"})) {
			t.Errorf("%+v", got)
		}
	})
}
