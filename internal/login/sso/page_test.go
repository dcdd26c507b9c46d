package sso_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/testkit"
)

// The page on which owners see and change the providers.
func TestProvidersPage(t *testing.T) {
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	owner, member := p.Browser(), p.Browser()
	owner.TypePassword("/login", "owner@elsewhere.example")
	p.arrive(member)

	page := owner.Get("/providers")
	for _, words := range []string{
		p.URL + "/login/sso/okta/callback", p.URL + "/login/sso/okta/backchannel", p.URL + "/login/sso/okta/signed-out",
		"1 browser session and 0 connections", "example.com", issuer,
	} {
		if !strings.Contains(page.Body, words) {
			t.Errorf("%q is not on the page", words)
		}
	}
	if page.Status != http.StatusOK || strings.Contains(page.Body, clientSecret) {
		t.Errorf("status %d", page.Status)
	}

	add := func(b *testkit.Browser, pairs ...string) testkit.Response {
		form := url.Values{
			"kind": {"oidc"}, "name": {"Key Cloak"}, "domains": {"example.org, example.net"}, "issuer": {"https://keycloak.example/realms/a"},
			"client_id": {"oriel"}, "client_secret": {"s"}, "create_accounts": {"1"}, "scopes": {"email groups"},
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return b.Post("/providers", form)
	}
	for _, c := range []struct{ field, value, words string }{
		{"domains", "example.com", "belongs to another"},
		{"domains", "no domain", "is not an e-mail domain"},
		{"domains", "", "at least one e-mail domain"},
		{"issuer", "http://keycloak.example", "must be https"},
		{"client_id", "", "client id is required"},
		{"name", "Okta", "slug exists already"},
		{"name", "", "needs a name"},
	} {
		res := add(owner, c.field, c.value)
		if res.Status != http.StatusUnprocessableEntity || !strings.Contains(res.Body, c.words) || !strings.Contains(res.Body, `id="oidc-`+c.field+`-error"`) {
			t.Errorf("%s %q: status %d, without %q beside the field", c.field, c.value, res.Status, c.words)
		}
	}
	if res := add(owner); res.Status != http.StatusSeeOther {
		t.Fatalf("add: status %d\n%s", res.Status, res.Body)
	}
	added, err := p.Admin.Providers.Provider(t.Context(), "key-cloak")
	p.Must(err)
	if len(added.Domains) != 2 || !added.Settings.CreateAccounts || strings.Join(added.Settings.Scopes, " ") != "email groups" {
		t.Errorf("added: %+v", added)
	}
	saml := startSAML(t)
	corp, err := saml.Admin.Providers.Provider(t.Context(), "corp")
	p.Must(err)
	if res := add(owner, "kind", "saml", "name", "Corp", "domains", "corp.example", "metadata", "<nonsense/>"); res.Status != http.StatusUnprocessableEntity || !strings.Contains(res.Body, "saml-metadata-error") {
		t.Errorf("SAML without metadata: status %d", res.Status)
	}
	if res := add(owner, "kind", "saml", "name", "Corp", "domains", "corp.example", "metadata", corp.Settings.Metadata); res.Status != http.StatusSeeOther {
		t.Errorf("SAML: status %d\n%s", res.Status, res.Body)
	}
	p.web.Handle("https://meta.example/saml", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(corp.Settings.Metadata)) })
	if res := add(owner, "kind", "saml", "name", "Corp 2", "domains", "corp2.example", "metadata_url", "https://meta.example/saml"); res.Status != http.StatusSeeOther {
		t.Errorf("SAML by address: status %d\n%s", res.Status, res.Body)
	}
	if res := add(owner, "kind", "saml", "name", "Corp 3", "domains", "corp3.example", "metadata_url", "https://meta.example/none"); res.Status != http.StatusUnprocessableEntity {
		t.Errorf("SAML by an address that is not there: status %d", res.Status)
	}
	if !strings.Contains(owner.Get("/providers").Body, p.URL+"/login/sso/corp/acs") {
		t.Error("the ACS URL is not on the page")
	}

	rule := url.Values{"group": {"eng"}, "team": {"shop"}, "role": {"analyst"}}
	if res := owner.Post("/providers/okta/map", rule); res.Status != http.StatusSeeOther {
		t.Errorf("map: status %d\n%s", res.Status, res.Body)
	}
	if res := owner.Post("/providers/okta/map", rule); res.Status != http.StatusUnprocessableEntity || !strings.Contains(res.Body, "group-okta-error") {
		t.Errorf("map again: status %d", res.Status)
	}
	okta, err := p.Admin.Providers.Provider(t.Context(), "okta")
	p.Must(err)
	if len(okta.Rules) != 1 || okta.Rules[0].Group != "eng" {
		t.Errorf("rules: %+v", okta.Rules)
	}
	if res := owner.Post("/providers/okta/unmap", rule); res.Status != http.StatusSeeOther {
		t.Errorf("unmap: status %d", res.Status)
	}
	if res := owner.Post("/providers/okta/disable", nil); res.Status != http.StatusSeeOther || member.Get("/").Status != http.StatusSeeOther {
		t.Errorf("disable: status %d", res.Status)
	}
	if res := owner.Post("/providers/okta/enable", nil); res.Status != http.StatusSeeOther {
		t.Errorf("enable: status %d", res.Status)
	}
	p.arrive(member)
	for _, path := range []string{"", "/okta/enable", "/okta/disable", "/okta/map", "/okta/unmap"} {
		if res := member.Post("/providers"+path, rule); res.Status != http.StatusForbidden {
			t.Errorf("%s by a member: status %d", path, res.Status)
		}
		if path == "" {
			continue
		}
		if res := owner.Post("/providers"+strings.Replace(path, "okta", "nobody", 1), rule); res.Status != http.StatusNotFound {
			t.Errorf("%s of nobody: status %d", path, res.Status)
		}
	}
	if res := member.Get("/providers"); res.Status != http.StatusForbidden {
		t.Errorf("page by a member: status %d", res.Status)
	}
	// Another site cannot do it in the owner's name.
	res := p.Do(http.MethodPost, "/providers", url.Values{"kind": {"oidc"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site")
	if res.Status != http.StatusForbidden {
		t.Errorf("cross-site: status %d", res.Status)
	}
}
