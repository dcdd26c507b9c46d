package sso_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestSignInThroughAProviderReachesTheTokens(t *testing.T) {
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	at := p.Clock.Now().Add(-10 * time.Minute).Truncate(time.Second)
	p.set("amr", []string{"pwd", "otp"})
	p.set("acr", "urn:example:loa2")
	p.set("auth_time", at.Unix())
	c := p.connect(p.Register(), p.Browser(), "shop", func(v url.Values) { v.Set("scope", "openid logs:read") })
	access, err := p.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(c.Access), p.URL)
	p.Must(err)
	if access.ACR != "urn:example:loa2" || !slices.Equal(access.AMR, []string{"pwd", "otp"}) || access.AuthTime != at.Unix() {
		t.Errorf("access token: acr %q, amr %q, auth_time %d", access.ACR, access.AMR, access.AuthTime)
	}
	var id struct {
		ACR      string   `json:"acr"`
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(c.IDToken, ".")[1])
	p.Must(err)
	p.Must(json.Unmarshal(payload, &id))
	if id.ACR != access.ACR || !slices.Equal(id.AMR, access.AMR) || id.AuthTime != at.Unix() {
		t.Errorf("id token: %+v", id)
	}
	if res := c.Call("tools/list", ""); res.Status != http.StatusOK {
		t.Errorf("call: status %d\n%s", res.Status, res.Body)
	}
}

func TestRFC7636_4_3_ChallengeAndNonceAreSent(t *testing.T) {
	p := start(t)
	q := p.begin(p.Browser(), "/login/sso/okta?hint=ada%40example.com")
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("nonce")) < 20 || len(q.Get("state")) < 20 ||
		q.Get("login_hint") != "ada@example.com" || q.Get("scope") != "openid profile email" || q.Get("response_type") != "code" {
		t.Errorf("request: %v", q)
	}
	// An address of elsewhere is none of the provider's business.
	if q := p.begin(p.Browser(), "/login/sso/okta?hint=eve%40evil.example"); q.Has("login_hint") {
		t.Errorf("login_hint: %v", q)
	}
}

// refused signs in and expects to be refused, without a session.
func (p *idp) refused(t *testing.T, words string) {
	t.Helper()
	b := p.Browser()
	res := p.signIn(b, "/login/sso/okta")
	if res.Status != http.StatusForbidden || !strings.Contains(res.Body, words) {
		t.Errorf("status %d, want 403 and %q\n%s", res.Status, words, res.Body)
	}
	if page := b.Get("/"); page.Status != http.StatusSeeOther {
		t.Errorf("there is a session")
	}
	if len(p.events(audit.SignInRefused)) == 0 {
		t.Error("no audit event")
	}
}

func TestIDTokensThatDoNotHold(t *testing.T) {
	p := start(t)
	now := p.Clock.Now()
	good := p.claims
	for name, change := range map[string]func(){
		"OIDC_3_1_3_7_Issuer":               func() { p.set("iss", "https://other.example") },
		"OIDC_3_1_3_7_Audience":             func() { p.set("aud", "another client") },
		"OIDC_3_1_3_7_AuthorizedParty":      func() { p.set("azp", "another client") },
		"OIDC_3_1_3_7_SeveralAudiences":     func() { p.set("aud", []string{clientID, "another client"}) },
		"OIDC_3_1_3_7_Expired":              func() { p.set("exp", now.Add(-time.Second).Unix()) },
		"OIDC_3_1_3_7_IssuedInTheFuture":    func() { p.set("iat", now.Add(time.Hour).Unix()) },
		"OIDC_3_1_3_7_Nonce":                func() { p.set("nonce", "another nonce") },
		"OIDC_3_1_3_7_NoNonce":              func() { p.set("nonce", nil) },
		"OIDC_3_1_3_6_AccessTokenHash":      func() { p.set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA") },
		"OIDC_2_NoSubject":                  func() { p.set("sub", nil) },
		"OIDC_2_AuthTimeIsNoNumber":         func() { p.set("auth_time", "yesterday") },
		"OIDC_2_SignedInInTheFuture":        func() { p.set("auth_time", now.Add(time.Hour).Unix()) },
		"RFC7515_4_1_1_AlgNone":             func() { p.sign = unsigned },
		"RFC8725_2_1_HMACWithTheSecret":     func() { p.sign = hmacWith([]byte(clientSecret)) },
		"RFC8725_2_1_HMACWithThePublic":     func() { p.sign = hmacWith(p.publicKey()) },
		"OIDC_10_1_SignedWithAnotherKey":    func() { p.sign = start(t).forge },
		"OIDC_3_1_3_7_NothingButASeparator": func() { p.sign = func([]byte) string { return ".." } },
	} {
		t.Run(name, func(t *testing.T) {
			p.claims, p.sign = map[string]any{}, nil
			for k, v := range good {
				p.claims[k] = v
			}
			change()
			p.refused(t, "could not be accepted")
		})
	}
	p.claims, p.sign = good, nil
	p.arrive(p.Browser())
}

func unsigned(payload []byte) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

func hmacWith(key []byte) func([]byte) string {
	return func(payload []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, nil)
		if err != nil {
			panic(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			panic(err)
		}
		text, err := jws.CompactSerialize()
		if err != nil {
			panic(err)
		}
		return text
	}
}

// publicKey is the published key as bytes, as an attacker knows it.
func (p *idp) publicKey() []byte {
	text, err := p.keys[0].Public().MarshalJSON()
	p.Must(err)
	return text
}

// forge signs with this provider's key, under a key id that the other one may
// have.
func (p *idp) forge(payload []byte) string {
	var claims map[string]any
	p.Must(json.Unmarshal(payload, &claims))
	return p.jws("JWT", claims)
}

func TestAnswersThatDoNotHold(t *testing.T) {
	p := start(t)
	for name, change := range map[string]func(url.Values){
		"RFC9207_2_4_AnotherIssuer": func(v url.Values) { v.Set("iss", "https://other.example") },
		"RFC9207_2_4_NoIssuer":      func(v url.Values) { v.Del("iss") },
		"RFC6749_4_1_2_NoCode":      func(v url.Values) { v.Del("code") },
		"RFC6749_4_1_2_AnotherCode": func(v url.Values) { v.Set("code", "another") },
		"RFC6749_3_1_Twice":         func(v url.Values) { v.Add("code", "another") },
		"RFC6749_4_1_2_1_Error":     func(v url.Values) { v.Set("error", "access_denied") },
	} {
		t.Run(name, func(t *testing.T) {
			b := p.Browser()
			v := p.answer(p.begin(b, "/login/sso/okta"))
			change(v)
			if res := b.Get(callback + v.Encode()); res.Status != http.StatusForbidden {
				t.Errorf("status %d", res.Status)
			}
			if b.Get("/").Status != http.StatusSeeOther {
				t.Error("there is a session")
			}
		})
	}
}

// An answer is good in the browser that asked for it, and there once: nobody
// can be made to go on as somebody else.
func TestRFC9700_4_7_StateIsBoundToTheBrowser(t *testing.T) {
	p := start(t)
	attacker, victim := p.Browser(), p.Browser()
	stolen := p.answer(p.begin(attacker, "/login/sso/okta"))
	p.begin(victim, "/login/sso/okta")
	if res := victim.Get(callback + stolen.Encode()); res.Status != http.StatusBadRequest {
		t.Errorf("another browser's answer: status %d", res.Status)
	}
	v := p.answer(p.begin(victim, "/login/sso/okta"))
	if res := victim.Get(callback + v.Encode()); res.Status != http.StatusSeeOther {
		t.Fatalf("own answer: status %d", res.Status)
	}
	if res := victim.Get(callback + v.Encode()); res.Status != http.StatusBadRequest {
		t.Errorf("the same answer again: status %d", res.Status)
	}
	p.Clock.Advance(31 * time.Minute)
	if res := attacker.Get(callback + stolen.Encode()); res.Status != http.StatusBadRequest {
		t.Errorf("an answer half an hour later: status %d", res.Status)
	}
}

// A sign-in that was begun with one provider is not finished by another
// (mix-up).
func TestRFC9700_4_4_AnotherProvidersCallback(t *testing.T) {
	p := start(t)
	n := sso.NewProvider{Slug: "other", Name: "Other", Domains: []string{"example.org"}, ClientSecret: sso.Secret(clientSecret)}
	n.Settings.Issuer, n.Settings.ClientID = issuer, clientID
	_, err := p.Admin.Providers.AddOIDC(t.Context(), n, audit.Shell("test"))
	p.Must(err)
	b := p.Browser()
	v := p.answer(p.begin(b, "/login/sso/okta"))
	if res := b.Get("/login/sso/other/callback?" + v.Encode()); res.Status != http.StatusBadRequest {
		t.Errorf("status %d", res.Status)
	}
}

// A code that an attacker got for a sign-in of theirs does not fit into
// another one: PKCE and nonce are of one flow.
func TestRFC9700_4_5_CodeInjection(t *testing.T) {
	p := start(t)
	attacker, victim := p.Browser(), p.Browser()
	stolen := p.answer(p.begin(victim, "/login/sso/okta"))
	v := p.answer(p.begin(attacker, "/login/sso/okta"))
	v.Set("code", stolen.Get("code"))
	if res := attacker.Get(callback + v.Encode()); res.Status != http.StatusForbidden {
		t.Errorf("status %d", res.Status)
	}
}

func TestOIDC_10_1_1_KeyRotation(t *testing.T) {
	p := start(t)
	p.arrive(p.Browser())
	fetched := p.web.Hits(issuer + "/jwks")
	p.Clock.Advance(time.Minute)
	p.addKey()
	p.arrive(p.Browser())
	if again := p.web.Hits(issuer+"/jwks") - fetched; again != 1 {
		t.Errorf("%d fetches for one new key", again)
	}
	// Tokens with made-up keys do not make us hammer the provider.
	p.published = 1
	p.addKeyUnpublished()
	for range 5 {
		p.refused(t, "could not be accepted")
	}
	if again := p.web.Hits(issuer+"/jwks") - fetched; again > 2 {
		t.Errorf("%d fetches within a moment", again)
	}
}

func (p *idp) addKeyUnpublished() {
	n := p.published
	p.addKey()
	p.published = n
}

func TestWhoIsLetIn(t *testing.T) {
	p := start(t)
	good := p.claims
	for name, c := range map[string]struct {
		settings func(*sso.NewProvider)
		claims   map[string]any
		words    string // of the refusal, "" for somebody who is let in
	}{
		"somebody known":                 {nil, nil, ""},
		"address not verified":           {nil, map[string]any{"email_verified": false}, "that it has verified"},
		"not said whether verified":      {nil, map[string]any{"email_verified": nil}, "that it has verified"},
		"verified as a text":             {nil, map[string]any{"email_verified": "true"}, ""},
		"trusted without saying so":      {func(n *sso.NewProvider) { n.Settings.TrustEmail = true }, map[string]any{"email_verified": nil}, ""},
		"no address":                     {nil, map[string]any{"email": nil}, "that it has verified"},
		"another domain":                 {nil, map[string]any{"email": "owner@elsewhere.example"}, "does not speak for"},
		"another domain, with accounts":  {createAccounts, map[string]any{"email": "new@elsewhere.example"}, "does not speak for"},
		"a subdomain":                    {createAccounts, map[string]any{"email": "new@sub.example.com"}, "does not speak for"},
		"an address that looks like it":  {createAccounts, map[string]any{"email": "new@evilexample.com"}, "does not speak for"},
		"nobody known":                   {nil, map[string]any{"email": "new@example.com"}, "no account here yet"},
		"nobody known, with accounts":    {createAccounts, map[string]any{"sub": "00u2", "email": "newer@example.com"}, ""},
		"another claim":                  {func(n *sso.NewProvider) { n.Settings.EmailClaim, n.Settings.TrustEmail = "upn", true }, map[string]any{"email": nil, "upn": "ada@example.com"}, ""},
		"another claim, not vouched for": {func(n *sso.NewProvider) { n.Settings.EmailClaim = "upn" }, map[string]any{"upn": "ada@example.com"}, "that it has verified"},
		"another subject claim":          {func(n *sso.NewProvider) { n.Settings.SubjectClaim = "oid" }, map[string]any{"oid": "1"}, ""},
		"a required claim":               {func(n *sso.NewProvider) { n.Settings.Require = []string{"hd=example.com"} }, map[string]any{"hd": "example.com"}, ""},
		"another value":                  {func(n *sso.NewProvider) { n.Settings.Require = []string{"hd=example.com"} }, map[string]any{"hd": "example.org"}, "does not belong to your organization"},
		"no required claim":              {func(n *sso.NewProvider) { n.Settings.Require = []string{"hd=example.com"} }, nil, "does not belong to your organization"},
		"no subject claim":               {func(n *sso.NewProvider) { n.Settings.SubjectClaim = "oid" }, nil, "could not be accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(outer testing.TB) { p.TB = outer }(p.TB)
			p.TB = t
			if c.settings != nil {
				p.provide(c.settings)
			} else {
				p.provide()
			}
			p.claims = maps.Clone(good)
			for k, v := range c.claims {
				p.set(k, v)
			}
			p.userinfo = map[string]any{"sub": p.claims["sub"]}
			if c.words != "" {
				p.refused(t, c.words)
				return
			}
			p.arrive(p.Browser())
		})
	}
}

// What links an account is the subject: an address may move on.
func TestAccountsAreLinkedBySubject(t *testing.T) {
	p := start(t, createAccounts)
	p.arrive(p.Browser())
	// The same person under a new address stays the same person.
	p.set("email", "ada.lovelace@example.com")
	b := p.Browser()
	p.arrive(b)
	if page := b.Get("/"); !strings.Contains(page.Body, "ada@example.com") {
		t.Errorf("somebody else:\n%s", page.Body)
	}
	// Somebody new who was given the old address is not.
	p.set("sub", "00u2")
	p.set("email", "ada@example.com")
	p.refused(t, "belongs to somebody else")
	// Until an owner says so.
	p.Must(p.Admin.Providers.Unlink(t.Context(), "okta", "ada@example.com", audit.Shell("test")))
	p.arrive(p.Browser())
	// A disabled person stays outside.
	_, err := p.Admin.Directory.Disable(t.Context(), "ada@example.com", audit.Shell("test"))
	p.Must(err)
	p.refused(t, "disabled")
}

func TestUserInfoFillsIn(t *testing.T) {
	p := start(t)
	p.set("email", nil)
	p.set("email_verified", nil)
	p.userinfo = map[string]any{"sub": "00u1", "email": "ada@example.com", "email_verified": true}
	p.arrive(p.Browser())
	p.userinfo["sub"] = "somebody else"
	p.refused(t, "could not be accepted") // OpenID Connect Core §5.3.2
}

// roles returns a person's roles in the team shop.
func (p *idp) roles(email string) []string {
	members, err := p.Admin.Directory.Members(p.TB.Context(), "shop")
	p.Must(err)
	for _, m := range members {
		if m.Person.Email == email {
			return m.Roles
		}
	}
	return nil
}

func TestGroupsGiveAndTakeRoles(t *testing.T) {
	p := start(t)
	role := func(name string) {
		_, err := p.Admin.Directory.SetRole(t.Context(), "shop", name, nil, "", audit.Shell("test"))
		p.Must(err)
	}
	role("builder")
	for group, r := range map[string]string{"eng": "analyst", "leads": "operator", "all": "builder"} {
		_, err := p.Admin.Providers.Map(t.Context(), "okta", sso.Rule{Group: group, Team: "shop", Role: r}, audit.Shell("test"))
		p.Must(err)
	}
	step := func(what string, groups any, want ...string) {
		t.Helper()
		p.set("groups", groups)
		p.arrive(p.Browser())
		got := slices.Sorted(slices.Values(p.roles("ada@example.com")))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	step("two groups", []string{"eng", "leads", "unknown"}, "analyst", "operator")
	step("out of one", []string{"eng"}, "analyst")
	step("out of all", []string{})
	step("one, as a text", "eng", "analyst")
	// What an administrator sets is theirs, also where the mapping gave it.
	p.SetMember("shop", "ada@example.com", "analyst", "viewer")
	step("set by hand, and a group more", []string{"eng", "leads"}, "analyst", "operator", "viewer")
	step("set by hand, without groups", []string{}, "analyst", "viewer")
	// A mapping that is taken away takes what it gave at the next sign-in.
	step("a role of a mapping", []string{"all"}, "analyst", "builder", "viewer")
	p.Must(p.Admin.Providers.Unmap(t.Context(), "okta", sso.Rule{Group: "all", Team: "shop", Role: "builder"}, audit.Shell("test")))
	step("of a mapping that is gone", []string{"all"}, "analyst", "viewer")
	// Groups that do not fit into the token are not the same as none.
	step("groups that fit", []string{"eng", "leads"}, "analyst", "operator", "viewer")
	p.set("groups", nil)
	p.userinfo = map[string]any{"sub": "00u1"}
	p.set("_claim_names", map[string]string{"groups": "src1"})
	p.set("_claim_sources", map[string]any{"src1": map[string]string{"endpoint": "https://graph.example/groups"}})
	p.refused(t, "could not be accepted")
	p.set("_claim_names", nil)
	p.set("_claim_sources", nil)
	// A provider that is removed takes what it gave at once.
	step("a role once more", []string{"leads"}, "analyst", "operator", "viewer")
	_, err := p.Admin.Providers.Remove(t.Context(), "okta", audit.Shell("test"))
	p.Must(err)
	if got := p.roles("ada@example.com"); !slices.Equal(got, []string{"analyst", "viewer"}) {
		t.Errorf("after the provider: %q", got)
	}
}

func TestGroupLostEndsTheConnection(t *testing.T) {
	p := start(t)
	_, err := p.Admin.Providers.Map(t.Context(), "okta", sso.Rule{Group: "eng", Team: "shop", Role: "viewer"}, audit.Shell("test"))
	p.Must(err)
	p.set("groups", []string{"eng"})
	c := p.connect(p.Register(), p.Browser(), "shop")
	p.set("groups", []string{})
	p.arrive(p.Browser())
	if res := c.Call("tools/list", ""); res.Status != http.StatusUnauthorized {
		t.Errorf("status %d", res.Status)
	}
}

func TestReauthenticationMustBeSaidByTheProvider(t *testing.T) {
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	b := p.Browser()
	c := p.connect(p.Register(), b, "shop")
	p.Clock.Advance(2 * time.Minute)
	login := func(v url.Values) { v.Set("prompt", "login") }
	begin := func() url.Values {
		page := b.Get(c.AuthorizeURL(login))
		q := p.begin(b, "/login/sso/okta"+strings.TrimPrefix(page.Header.Get("Location"), "/login"))
		if q.Get("prompt") != "login" || q.Get("max_age") != "0" {
			t.Errorf("request: %v", q)
		}
		return q
	}
	for name, at := range map[string]any{"not said": nil, "an old one": p.Clock.Now().Add(-2 * time.Minute).Unix()} {
		p.set("auth_time", at)
		if res := b.Get(callback + p.answer(begin()).Encode()); res.Status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, res.Status)
		}
	}
	p.set("auth_time", p.Clock.Now().Unix())
	res := b.Get(callback + p.answer(begin()).Encode())
	if page := b.Get(res.Header.Get("Location")); page.Status != http.StatusOK {
		t.Errorf("after a new sign-in: status %d, to %q", page.Status, page.Header.Get("Location"))
	}
}

func TestClassesAreTranslated(t *testing.T) {
	p := start(t, func(n *sso.NewProvider) {
		n.Settings.Classes = []sso.Class{{From: "gold", ACR: "urn:oriel:acr:passkey", AMR: []string{"hwk", "mfa"}}}
	})
	p.SetMember("shop", "ada@example.com", "viewer")
	for _, c := range []struct {
		acr, amr any
		wantACR  string
		wantAMR  []string
	}{
		{nil, nil, sso.ACR, nil},
		{"silver", "pwd", "silver", []string{"pwd"}},
		{"gold", []string{"pwd", "mfa"}, "urn:oriel:acr:passkey", []string{"pwd", "mfa", "hwk"}},
		{"phrh", nil, "phrh", []string{"mfa", "hwk"}},
		// Our own classes are not the provider's to give.
		{"urn:oriel:acr:passkey", nil, sso.ACR, nil},
	} {
		p.set("acr", c.acr)
		p.set("amr", c.amr)
		client := p.connect(p.Register(), p.Browser(), "shop")
		claims, err := p.Admin.Authority.Keys.VerifyAccess(grant.AccessToken(client.Access), p.URL)
		p.Must(err)
		if claims.ACR != c.wantACR || !slices.Equal(claims.AMR, c.wantAMR) {
			t.Errorf("%v, %v: acr %q, amr %q", c.acr, c.amr, claims.ACR, claims.AMR)
		}
	}
}

func TestSignInPageLeadsToTheProvider(t *testing.T) {
	p := start(t)
	b := p.Browser()
	page := b.Get("/login")
	if !strings.Contains(page.Body, `<a class="button" href="/login/sso/okta">Sign in with Okta</a>`) {
		t.Errorf("no button:\n%s", page.Body)
	}
	form := func(email, password string) url.Values { return url.Values{"email": {email}, "password": {password}} }
	for _, email := range []string{"ada@example.com", "Stranger@Example.com"} {
		res := b.Post("/login", form(email, ""))
		if res.Status != http.StatusOK || !strings.Contains(res.Body, `url=/login/sso/okta?hint=`) {
			t.Errorf("%s without a password: status %d\n%s", email, res.Status, res.Body)
		}
	}
	if res := b.Post("/login", form("owner@elsewhere.example", "")); res.Status != http.StatusUnprocessableEntity {
		t.Errorf("another domain without a password: status %d", res.Status)
	}
	// The domain has a provider, and takes passwords all the same.
	if res := p.Browser().Post("/login", form("ada@example.com", testkit.Password)); res.Status != http.StatusSeeOther {
		t.Errorf("password: status %d", res.Status)
	}
	// A provider that is switched off is not offered.
	_, _, err := p.Admin.Providers.SetEnabled(t.Context(), "okta", false, audit.Shell("test"))
	p.Must(err)
	if strings.Contains(b.Get("/login").Body, "Okta") || b.Get("/login/sso/okta").Status != http.StatusNotFound {
		t.Error("a provider that is switched off is offered")
	}
}

func TestSSOOnly(t *testing.T) {
	p := start(t)
	by := audit.Shell("test")
	p.AddPerson("glass@example.com", true)
	inside := p.Browser()
	inside.TypePassword("/login", "ada@example.com")
	if err := p.Admin.Providers.SetSSOOnly(t.Context(), "example.com", true, by); err == nil {
		t.Fatal("nobody would be left to put things right")
	}
	if _, err := p.Admin.Providers.SetBreakGlass(t.Context(), "ada@example.com", true, by); err == nil {
		t.Error("break-glass for somebody who is no owner")
	}
	_, err := p.Admin.Providers.SetBreakGlass(t.Context(), "glass@example.com", true, by)
	p.Must(err)
	through := p.Browser()
	p.arrive(through)
	p.Must(p.Admin.Providers.SetSSOOnly(t.Context(), "example.com", true, by))
	// Whoever is left to put things right stays.
	if _, err := p.Admin.Providers.SetBreakGlass(t.Context(), "glass@example.com", false, by); !errors.Is(err, org.ErrLastBreakGlass) {
		t.Errorf("taking back the last break-glass owner: %v", err)
	}
	glass, err := p.Admin.Directory.PersonByEmail(t.Context(), "glass@example.com")
	p.Must(err)
	for _, change := range []org.AccountChange{org.DisableAccount, org.UnmakeOwner, org.DeleteAccount} {
		if _, err := p.Admin.Directory.ChangeAccount(t.Context(), glass.ID, change, by); !errors.Is(err, org.ErrLastBreakGlass) {
			t.Errorf("change %d of the last break-glass owner: %v", change, err)
		}
	}
	if inside.Get("/").Status != http.StatusSeeOther {
		t.Error("a session that began with a password lives on")
	}
	if through.Get("/").Status != http.StatusOK {
		t.Error("a session that began at the provider ended")
	}
	post := func(email, password string) testkit.Response {
		return p.Browser().Post("/login", url.Values{"email": {email}, "password": {password}})
	}
	// The same answer to everybody: the right password is worth nothing, and
	// nobody learns who exists or who may break the glass.
	want := post("stranger@example.com", "no such password")
	for email, password := range map[string]string{
		"ada@example.com": testkit.Password, "glass@example.com": "wrong password",
	} {
		got := post(email, password)
		if got.Status != want.Status || strings.ReplaceAll(strings.ReplaceAll(got.Body, email, "X"), url.QueryEscape(email), "X") !=
			strings.ReplaceAll(strings.ReplaceAll(want.Body, "stranger@example.com", "X"), url.QueryEscape("stranger@example.com"), "X") {
			t.Errorf("%s is answered differently: status %d\n%s", email, got.Status, got.Body)
		}
	}
	if want.Status != http.StatusUnauthorized || !strings.Contains(want.Body, "sign in with Okta") {
		t.Errorf("status %d\n%s", want.Status, want.Body)
	}
	if res := post("glass@example.com", testkit.Password); res.Status != http.StatusSeeOther {
		t.Errorf("break-glass owner: status %d", res.Status)
	}
	if res := post("owner@elsewhere.example", testkit.Password); res.Status != http.StatusSeeOther {
		t.Errorf("another domain: status %d", res.Status)
	}
	// Switching the provider off opens no other door.
	_, _, err = p.Admin.Providers.SetEnabled(t.Context(), "okta", false, by)
	p.Must(err)
	if res := post("ada@example.com", testkit.Password); res.Status != http.StatusUnauthorized {
		t.Errorf("provider off: status %d", res.Status)
	}
	p.Must(p.Admin.Providers.SetSSOOnly(t.Context(), "example.com", false, by))
	if res := post("ada@example.com", testkit.Password); res.Status != http.StatusSeeOther {
		t.Errorf("lifted: status %d", res.Status)
	}
	if _, err := p.Admin.Providers.SetBreakGlass(t.Context(), "glass@example.com", false, by); err != nil {
		t.Errorf("when nothing depends on it: %v", err)
	}
}

// The client secret is in the store only encrypted.
func TestSecretsAreSealed(t *testing.T) {
	p := start(t)
	all, err := p.Admin.Providers.Providers(t.Context())
	p.Must(err)
	if len(all) != 1 || strings.Contains(string(all[0].Sealed), clientSecret) || len(all[0].Sealed) < len(clientSecret) {
		t.Errorf("sealed: %q", all[0].Sealed)
	}
	p.Restart()
	p.arrive(p.Browser())
}

// A provider at a private address is reached only where an administrator said
// that it is one.
func TestPrivateAddressesNeedLeave(t *testing.T) {
	by := audit.Shell("test")
	s := testkit.Start(t)
	n := sso.NewProvider{Slug: "home", Name: "Home", Domains: []string{"example.com"}}
	n.Settings.Issuer, n.Settings.ClientID = "http://127.0.0.1:1", "oriel"
	if _, err := s.Admin.Providers.AddOIDC(t.Context(), n, by); err == nil {
		t.Error("http without leave")
	}
	n.Settings.Issuer = "https://127.0.0.1:1"
	_, err := s.Admin.Providers.AddOIDC(t.Context(), n, by)
	s.Must(err)
	res := s.Browser().Get("/login/sso/home")
	if res.Status != http.StatusBadGateway || !strings.Contains(s.Log(), "not a public address") {
		t.Errorf("status %d\n%s", res.Status, s.Log())
	}
	n.Slug, n.Domains, n.Settings.AllowPrivate = "cellar", []string{"example.org"}, true
	_, err = s.Admin.Providers.AddOIDC(t.Context(), n, by)
	s.Must(err)
	if res = s.Browser().Get("/login/sso/cellar"); res.Status != http.StatusBadGateway || !strings.Contains(s.Log(), "connection refused") {
		t.Errorf("status %d\n%s", res.Status, s.Log())
	}
}

// A class that only a provider gives can be demanded (OpenID Connect Core
// §5.5.1.1), and must then have been given.
func TestOIDC_5_5_1_1_EssentialClassOfAProvider(t *testing.T) {
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	p.set("acr", "urn:example:loa2")
	demand := func(v url.Values) {
		v.Set("scope", "openid logs:read")
		v.Set("claims", `{"id_token":{"acr":{"essential":true,"values":["urn:example:loa2"]}}}`)
	}
	c := p.connect(p.Register(), p.Browser(), "shop", demand)
	if c.IDToken == "" {
		t.Error("no id token")
	}
	p.set("acr", "urn:example:loa1")
	b := p.Browser()
	page := b.Get(c.AuthorizeURL(demand))
	res := p.signIn(b, "/login/sso/okta"+strings.TrimPrefix(page.Header.Get("Location"), "/login"))
	res = b.Get(res.Header.Get("Location"))
	if !strings.Contains(res.Header.Get("Location")+res.Body, "unmet_authentication_requirements") {
		t.Errorf("status %d, to %q\n%s", res.Status, res.Header.Get("Location"), res.Body)
	}
}

// A provider that is down is not asked again by everybody who tries, and one
// that was up is believed in what it said.
func TestProviderThatDoesNotAnswer(t *testing.T) {
	p := start(t)
	const discovery = issuer + "/.well-known/openid-configuration"
	p.web.Handle(discovery, nil)
	for range 5 {
		if res := p.Browser().Get("/login/sso/okta"); res.Status != http.StatusBadGateway {
			t.Fatalf("status %d", res.Status)
		}
	}
	if n := p.web.Hits(discovery); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	p.web.JSON(discovery, p.discovery)
	p.Clock.Advance(6 * time.Second)
	p.arrive(p.Browser())
	p.web.Handle(discovery, nil)
	p.Clock.Advance(2 * time.Hour)
	p.arrive(p.Browser())
	p.arrive(p.Browser())
	if n := p.web.Hits(discovery); n != 3 {
		t.Errorf("it was asked %d times", n)
	}
	// Its keys cannot be had: nobody is let in, and it is left alone.
	p.web.Handle(issuer+"/jwks", nil)
	p.addKeyUnpublished()
	for range 3 {
		p.refused(t, "could not be accepted")
	}
	if n := p.web.Hits(issuer + "/jwks"); n != 2 {
		t.Errorf("its keys were asked for %d times", n)
	}
}
