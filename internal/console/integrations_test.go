package console_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

func (h *house) alive(tokens grant.Tokens) bool {
	h.t.Helper()
	s, err := h.authority.Store.Standing(h.t.Context(), tokens.Grant)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Verdict(h.now, h.authority.Lifetimes) == nil
}

// at returns the address of an integration's page from the list.
func (b *browser) at(list, name, what string) string {
	b.t.Helper()
	a := b.get(list)
	for card := range strings.SplitSeq(a.body, `<li class="card`) {
		if !strings.Contains(card, "<bdi>"+name+"</bdi></h2>") {
			continue
		}
		if m := regexp.MustCompile(`"(/integrations/\w+/` + what + `)"`).FindStringSubmatch(card); m != nil {
			return m[1]
		}
	}
	b.t.Fatalf("%s: nothing to %s %s with\n%s", list, what, name, a.body)
	return ""
}

func TestIntegrations(t *testing.T) {
	h := newHouse(t)
	ada, bo, grace := h.addPerson("Ada", false), h.addPerson("Bo", false), h.addPerson("Grace", true)
	team := h.addTeam("web-shop", "Web Shop", ada, "viewer")
	h.addTeam("payments", "Payments", bo, "viewer")
	if _, err := h.directory.SetMember(t.Context(), "web-shop", bo.Email, []string{"viewer"}, audit.System()); err != nil {
		t.Fatal(err)
	}
	b := h.browser(grace)
	b.get("/integrations").expect(t, 200, "Nothing is connected, and nothing is blocked.")

	// Two registrations of one product, and a document of another.
	second := h.cursor()
	second.ID = "another registration"
	cursors := []grant.Tokens{h.connect(ada, team, h.cursor()), h.connect(ada, team, second), h.connect(bo, team, second)}
	code := h.connect(ada, team, h.client(grant.Document, "https://vscode.dev/oauth/client.json", "Visual Studio Code", "https://vscode.dev/redirect"))
	a := b.get("/integrations")
	a.expect(t, 200, "Ada (ada@example.com)", "Bo (bo@example.com)", "<dd>3</dd>", "just now", "registered itself",
		`<bdi>vscode.dev</bdi> <span class="badge good">verified`)
	if n := strings.Count(a.body, "Cursor</bdi></h2>"); n != 1 {
		t.Errorf("one product stands on the page %d times", n)
	}

	// What would end is said before it does.
	revoke := b.at("/integrations", "Cursor", "revoke")
	b.get(revoke).expect(t, 200, "2 people, 3 connections", "Revoke <bdi", "Nothing keeps people from connecting it again")
	if !h.alive(cursors[0]) {
		t.Fatal("opening the page ended something")
	}
	b.follow(b.post(revoke)).expect(t, 200, "Cursor is revoked: 2 people, 3 connections.")
	for i, tokens := range cursors {
		if h.alive(tokens) {
			t.Errorf("connection %d lives on", i)
		}
	}
	if !h.alive(code) {
		t.Error("the connection of another product ended")
	}
	b.get("/integrations").expectNot(t, "Cursor</bdi></h2>")
	b.post(revoke).expect(t, 303) // again changes nothing

	// Blocked is refused and not ended.
	block := b.at("/integrations", "Visual Studio Code", "block")
	b.get(block).expect(t, 200, "1 person, 1 connection", "When you unblock it")
	b.follow(b.post(block)).expect(t, 200, "Visual Studio Code is blocked.", "Its connections are refused")
	if h.alive(code) {
		t.Error("a blocked connection works")
	}
	b.follow(b.post(b.at("/integrations", "Visual Studio Code", "unblock"))).expect(t, 200, "is unblocked")
	if !h.alive(code) {
		t.Error("an unblocked connection does not work")
	}

	// A whole host, which says so at each product, and cannot be undone there.
	b.post("/integrations/block", "block", "https://10.0.0.1/x").expect(t, 422, "Write a host", `value="https://10.0.0.1/x"`)
	b.post("/integrations/block", "block", "nowhere").expect(t, 422, "Write a host")
	a = b.follow(b.post("/integrations/block", "block", " VSCode.dev "))
	a.expect(t, 200, "vscode.dev is blocked.", "together with everything that belongs to <bdi>vscode.dev</bdi>")
	if h.alive(code) {
		t.Error("a connection of a blocked host works")
	}
	b.follow(b.post(b.at("/integrations", "vscode.dev", "unblock"))).expect(t, 200, "vscode.dev is unblocked")
	if !h.alive(code) {
		t.Error("a connection of an unblocked host does not work")
	}

	// One that nobody has used.
	b.follow(b.post("/integrations/block", "block", "https://unseen.example/client.json")).expect(t, 200, "unseen.example", "nobody at present")

	// Nobody but an owner, by any way.
	for _, path := range []string{revoke, block} {
		h.browser(ada).post(path).expect(t, 403, "Only an owner")
	}
	h.browser(ada).get("/connections").expectNot(t, `href="/integrations"`, `href="/clients"`)
}

// credential reads a value that a page shows to be copied.
func (a answer) credential(t *testing.T, id string) string {
	t.Helper()
	m := regexp.MustCompile(`aria-labelledby="` + id + `"[^>]*><code>([^<]+)</code>`).FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no %s on the page:\n%s", id, a.body)
	}
	return html.UnescapeString(m[1])
}

func TestAddClientPage(t *testing.T) {
	h := newHouse(t)
	grace := h.addPerson("Grace", true)
	h.addTeam("web-shop", "Web Shop", grace, "admin")
	b := h.browser(grace)
	b.get("/clients").expect(t, 200, "No client has been added.", "Web Shop</option>")

	a := b.post("/clients", "name", "Portal", "kind", "confidential", "redirect_uris", " https://portal.example/cb\r\n\r\nhttp://127.0.0.1/cb\r\n",
		"logout_uris", "https://portal.example/bye", "id_token_alg", "RS256")
	if cookies := a.Header.Values("Set-Cookie"); len(cookies) != 1 || !strings.Contains(cookies[0], "HttpOnly; SameSite=Strict") {
		t.Errorf("cookies %q", cookies)
	}
	carried := a.Cookies()[0]
	a = b.follow(a)
	a.expect(t, 200, "Portal</bdi> is added", "Copy the secret now")
	if cc := a.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("the page with the secret may be kept: %q", cc)
	}
	id, secret := a.credential(t, "id"), a.credential(t, "secret")
	stored, err := h.authority.Store.ClientByKey(t.Context(), grant.ClientID(id).Key())
	if err != nil {
		t.Fatal(err)
	}
	m := stored.Metadata
	if stored.Kind != grant.Registered || m.IsPublic() || len(m.RedirectURIs) != 2 || len(m.PostLogoutRedirectURIs) != 1 || m.IDTokenSigningAlg != "RS256" || len(secret) < 40 {
		t.Errorf("%+v, a secret of %d characters", stored, len(secret))
	}
	// Loaded again, it shows nothing and adds nothing; nor does the cookie that
	// carried the secret in another session, nor for long in this one.
	for _, again := range []answer{b.get("/clients/added"), h.browser(grace).do(http.MethodGet, "/clients/added", "", "Cookie", carried.Name+"="+carried.Value)} {
		if to := again.Header.Get("Location"); again.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/clients?notice=") && !strings.HasPrefix(to, "/login") {
			t.Errorf("again: status %d to %q", again.StatusCode, to)
		}
	}
	if strings.Contains(carried.Value, secret) || strings.Contains(carried.Value, id) {
		t.Error("the cookie can be read")
	}
	if all, err := h.authority.Store.Clients(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d clients, %v", len(all), err)
	}
	a = b.get("/clients")
	a.expect(t, 200, id, "https://portal.example/cb", "http://127.0.0.1/cb", "https://portal.example/bye", "RS256", "yes; it was shown once", "for the people who allow it")
	a.expectNot(t, secret)

	a = b.post("/clients", "name", "Phone", "kind", "public", "redirect_uris", "phone://cb", "id_token_alg", "ES256")
	a = b.follow(a)
	a.expect(t, 200, "I have copied it")
	a.expectNot(t, "secret")

	a = b.post("/clients", "name", "Nightly report", "kind", "service", "team", "web-shop", "roles", "viewer, analyst", "id_token_alg", "ES256")
	a = b.follow(a)
	a.expect(t, 200, "client_credentials", "/oauth/token")
	b.get("/clients").expect(t, 200, "by itself in Web Shop as viewer, analyst")
	stored, err = h.authority.Store.ClientByKey(t.Context(), grant.ClientID(a.credential(t, "id")).Key())
	if err != nil || stored.Service == "" {
		t.Errorf("%+v, %v", stored, err)
	}

	// Blocking and unblocking come back to this page.
	block := b.at("/clients", "Portal", "block")
	a = b.post(block)
	if to := a.Header.Get("Location"); !strings.HasPrefix(to, "/clients?") {
		t.Errorf("to %q", to)
	}
	b.follow(a).expect(t, 200, "Portal is blocked.")
	b.follow(b.post(b.at("/clients", "Portal", "unblock"))).expect(t, 200, "Portal is unblocked.")
}

func TestAddClientPageRefuses(t *testing.T) {
	h := newHouse(t)
	grace := h.addPerson("Grace", true)
	h.addTeam("web-shop", "Web Shop", grace, "admin")
	b := h.browser(grace)
	for _, c := range []struct {
		says   string
		fields []string
	}{
		{"A name is needed.", []string{"kind", "public", "redirect_uris", "https://a.example/"}},
		{"The name holds control characters.", []string{"name", "a\u202eb", "redirect_uris", "https://a.example/"}},
		{"At least one address is needed", []string{"name", "A", "redirect_uris", " \r\n "}},
		{"Redirect URI &#34;javascript:alert(1)&#34;:", []string{"name", "A", "redirect_uris", "https://a.example/\njavascript:alert(1)"}},
		{"Post-logout redirect URI &#34;http://a.example/&#34;:", []string{"name", "A", "redirect_uris", "https://a.example/", "logout_uris", "http://a.example/"}},
		{"is no algorithm for ID tokens", []string{"name", "A", "redirect_uris", "https://a.example/", "id_token_alg", "none"}},
		{"Choose the team that it acts in.", []string{"name", "A", "kind", "service", "roles", "viewer"}},
		{"There is no such team any more.", []string{"name", "A", "kind", "service", "roles", "viewer", "team", "nowhere"}},
		{"At least one role is needed", []string{"name", "A", "kind", "service", "team", "web-shop", "roles", " , "}},
		{"Role &#34;captain&#34;: no such role", []string{"name", "A", "kind", "service", "team", "web-shop", "roles", "captain"}},
	} {
		a := b.post("/clients", c.fields...)
		a.expect(t, http.StatusUnprocessableEntity, c.says, `aria-invalid="true"`)
		if i := strings.Index(a.body, c.says); i > 0 && !strings.Contains(a.body[:i], `-error" role="alert">`) {
			t.Errorf("%q stands beside no field", c.says)
		}
	}
	if all, err := h.authority.Store.Clients(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d clients, %v", len(all), err)
	}
	people, err := h.directory.People(t.Context())
	if err != nil || len(people) != 1 {
		t.Errorf("accounts of clients that were refused: %+v, %v", people, err)
	}
}
