package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/scim"
	"github.com/orielhq/oriel/internal/testkit"
)

func TestMain(m *testing.M) { testkit.MainWithoutEngine(m) }

// provider is an identity provider with a token.
type provider struct {
	t     *testing.T
	s     *testkit.Server
	token string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	s := testkit.Start(t)
	s.AddPerson("owner@example.com", true)
	s.AddTeam("shop")
	_, secret, err := scim.AddToken(t.Context(), s.Admin.SCIM, "Okta", s.Clock.Now(), audit.Shell("test"))
	s.Must(err)
	return &provider{t, s, secret.Reveal()}
}

// object is a resource, an error or a list.
type object map[string]any

func (o object) text(name string) string { s, _ := o[name].(string); return s }

func (o object) list(name string) []any { l, _ := o[name].([]any); return l }

// do sends a request and checks the status of the answer.
func (p *provider) do(method, path, body string, want int, header ...string) object {
	p.t.Helper()
	res := p.raw(method, path, body, header...)
	if res.Status != want {
		p.t.Fatalf("%s %s: status %d, want %d\n%s", method, path, res.Status, want, res.Body)
	}
	if res.Body == "" {
		return nil
	}
	if typ := res.Header.Get("Content-Type"); !strings.HasPrefix(typ, "application/scim+json") {
		p.t.Errorf("%s %s: Content-Type %s", method, path, typ)
	}
	var o object
	p.s.Must(json.Unmarshal([]byte(res.Body), &o))
	if want >= 400 && (o.text("status") != fmt.Sprint(want) || o.text("detail") == "" || o.list("schemas")[0] != "urn:ietf:params:scim:api:messages:2.0:Error") {
		p.t.Errorf("%s %s: not an error of RFC 7644 §3.12: %s", method, path, res.Body)
	}
	return o
}

func (p *provider) raw(method, path, body string, header ...string) testkit.Response {
	p.t.Helper()
	header = append([]string{"Authorization", "Bearer " + p.token}, header...)
	if body != "" {
		header = append(header, "Content-Type", "application/scim+json; charset=utf-8")
	}
	return p.s.Do(method, "/scim/v2"+path, body, header...)
}

// user creates a user as Okta does.
func (p *provider) user(email string) object {
	p.t.Helper()
	return p.do("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+email+`",
		"name":{"givenName":"Ada","familyName":"King"},"emails":[{"primary":true,"value":"`+email+`","type":"work"}],
		"displayName":"Ada King","locale":"en-US","externalId":"00u1","groups":[],"password":"1mz050nq","active":true}`, http.StatusCreated)
}

func (p *provider) patch(path, operations string, want int) object {
	p.t.Helper()
	return p.do("PATCH", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operations+`]}`, want)
}

// connected gives a provisioned person a password and a client that works.
func (p *provider) connected(email string) *testkit.Client {
	p.t.Helper()
	person, err := p.s.Admin.Directory.PersonByEmail(p.t.Context(), email)
	p.s.Must(err)
	p.s.SetPassword(person.ID)
	return p.s.Register().Connect(email, "shop")
}

func (p *provider) wantWorks(c *testkit.Client, want int) {
	p.t.Helper()
	p.s.Eventually(time.Second, fmt.Sprintf("status %d", want), func() bool {
		return c.Call("tools/list", "{}").Status == want
	})
}

func TestRFC7644_2_TokenIsNeeded(t *testing.T) {
	p := newProvider(t)
	for name, header := range map[string][]string{
		"none": nil, "of another kind": {"Authorization", "Basic b3duZXI6eA=="}, "unknown": {"Authorization", "Bearer orl_scim_" + strings.Repeat("A", 52)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/Users", "/Groups", "/ServiceProviderConfig", "/nothing"} {
				res := p.s.Do("GET", "/scim/v2"+path, "", header...)
				if res.Status != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: status %d, %v", path, res.Status, res.Header)
				}
			}
		})
	}
	tokens, err := p.s.Admin.SCIM.SCIMTokens(t.Context())
	p.s.Must(err)
	p.do("GET", "/Users", "", http.StatusOK)
	p.s.Must(scim.RevokeToken(t.Context(), p.s.Admin.SCIM, tokens[0].ID, p.s.Clock.Now(), audit.Shell("test")))
	p.do("GET", "/Users", "", http.StatusUnauthorized)
}

// The requests that Okta sends in the life of a user, by its documentation.
func TestOkta(t *testing.T) {
	p := newProvider(t)
	p.do("GET", `/Users?filter=userName%20eq%20%22ada%40example.com%22&startIndex=1&count=100`, "", http.StatusOK)
	ada := p.user("ada@example.com")
	at := "/Users/" + ada.text("id")
	if ada.text("userName") != "ada@example.com" || ada["active"] != true || ada.text("displayName") != "Ada King" {
		t.Errorf("created %v", ada)
	}
	if strings.Contains(fmt.Sprint(ada), "1mz050nq") {
		t.Error("a password comes back")
	}
	found := p.do("GET", `/Users?filter=userName%20eq%20%22ADA%40example.com%22`, "", http.StatusOK)
	if found["totalResults"] != 1.0 {
		t.Errorf("found %v", found)
	}
	p.do("POST", "/Users", `{"userName":"Ada@example.com","active":true}`, http.StatusConflict)

	// A group that is pushed, with the roles that an administrator gave it.
	group := p.do("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Engineers","members":[]}`, http.StatusCreated)
	groupAt := "/Groups/" + group.text("id")
	p.s.Must(p.s.Admin.Directory.SetGroupRoles(t.Context(), org.GroupID(group.text("id")), "shop", []string{"viewer"}, audit.Shell("test")))
	p.patch(groupAt, `{"op":"add","path":"members","value":[{"value":"`+ada.text("id")+`","display":"ada@example.com"}]}`, http.StatusOK)
	c := p.connected("ada@example.com")
	p.wantWorks(c, http.StatusOK)

	// Renaming the group is sent with its id as a value.
	p.patch(groupAt, `{"op":"replace","value":{"id":"`+group.text("id")+`","displayName":"Engineering"}}`, http.StatusOK)
	p.wantWorks(c, http.StatusOK)

	// Taken out of the group: the next call fails.
	p.patch(groupAt, `{"op":"remove","path":"members[value eq \"`+ada.text("id")+`\"]"}`, http.StatusOK)
	p.wantWorks(c, http.StatusUnauthorized)

	// Back in it, a new consent works; deactivated, nothing does.
	p.patch(groupAt, `{"op":"add","path":"members","value":[{"value":"`+ada.text("id")+`"}]}`, http.StatusOK)
	c = p.s.Register().Connect("ada@example.com", "shop")
	p.wantWorks(c, http.StatusOK)
	p.patch(at, `{"op":"replace","value":{"active":false}}`, http.StatusOK)
	p.wantWorks(c, http.StatusUnauthorized)
	if res := c.Renew(c.Refresh); res.Status != http.StatusBadRequest || !strings.Contains(res.Body, "invalid_grant") {
		t.Errorf("refresh: %d %s", res.Status, res.Body)
	}
	back := p.do("PUT", at, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"x","userName":"ada@example.com","name":{"givenName":"Ada","familyName":"Lovelace"},
		"emails":[{"primary":true,"value":"ada@example.com"}],"active":true}`, http.StatusOK)
	if back["active"] != true || back.text("displayName") != "Ada Lovelace" || back.text("id") != ada.text("id") {
		t.Errorf("after PUT %v", back)
	}
	p.do("DELETE", groupAt, "", http.StatusNoContent)
	p.do("GET", groupAt, "", http.StatusNotFound)
}

// The requests that Microsoft Entra ID sends, with their peculiarities.
func TestEntra(t *testing.T) {
	p := newProvider(t)
	ada := p.do("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
		"externalId":"0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef","userName":"Ada.King@contoso.example","active":true,"displayName":"Ada King",
		"emails":[{"primary":true,"type":"work","value":"ada@contoso.example"}],"meta":{"resourceType":"User"},
		"name":{"formatted":"Ada King","familyName":"King","givenName":"Ada"},"roles":[],
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Engines"}}`, http.StatusCreated)
	at := "/Users/" + ada.text("id")
	for name, filter := range map[string]string{
		"externalId": `externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"`, "userName": `userName eq "ada.king@CONTOSO.example"`,
		"e-mail": `emails[type eq "work"].value eq "ada@contoso.example"`, "and": `userName sw "ada" and active eq true`,
	} {
		got := p.do("GET", "/Users?filter="+strings.NewReplacer(" ", "%20", `"`, "%22", "[", "%5B", "]", "%5D").Replace(filter), "", http.StatusOK)
		if got["totalResults"] != 1.0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Operations in capitals, a boolean as text, members of the extension, and
	// an address of a kind that is not there yet.
	got := p.patch(at, `{"op":"Replace","path":"displayName","value":"Countess Lovelace"},
		{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"Poetry"},
		{"op":"Replace","path":"emails[type eq \"work\"].value","value":"lovelace@contoso.example"},
		{"op":"Replace","path":"name.familyName","value":"Lovelace"}`, http.StatusOK)
	if got.text("displayName") != "Countess Lovelace" || !strings.Contains(fmt.Sprint(got["emails"]), "lovelace@contoso.example") || !strings.Contains(fmt.Sprint(got["name"]), "Lovelace") {
		t.Errorf("after PATCH %v", got)
	}
	group := p.do("POST", "/Groups", `{"displayName":"Readers","externalId":"8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159"}`, http.StatusCreated)
	groupAt := "/Groups/" + group.text("id")
	p.s.Must(p.s.Admin.Directory.SetGroupRoles(t.Context(), org.GroupID(group.text("id")), "shop", []string{"viewer"}, audit.Shell("test")))
	p.patch(groupAt, `{"op":"Add","path":"members","value":[{"$ref":null,"value":"`+ada.text("id")+`"}]}`, http.StatusOK)
	without := p.do("GET", groupAt+"?excludedAttributes=members", "", http.StatusOK)
	if _, there := without["members"]; there || without.text("displayName") != "Readers" {
		t.Errorf("without members: %v", without)
	}
	c := p.connected("lovelace@contoso.example")
	p.wantWorks(c, http.StatusOK)
	// Members are removed by value, without a filter.
	p.patch(groupAt, `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"`+ada.text("id")+`"}]}`, http.StatusOK)
	p.wantWorks(c, http.StatusUnauthorized)
	p.patch(groupAt, `{"op":"Add","path":"members","value":[{"value":"`+ada.text("id")+`"}]}`, http.StatusOK)
	c = p.s.Register().Connect("lovelace@contoso.example", "shop")
	p.wantWorks(c, http.StatusOK)
	p.patch(at, `{"op":"Replace","path":"active","value":"False"}`, http.StatusOK)
	p.wantWorks(c, http.StatusUnauthorized)

	// Deleted: gone for the provider, and the address is free; what comes
	// under it is another account, without what the first had.
	p.do("DELETE", at, "", http.StatusNoContent)
	p.do("GET", at, "", http.StatusNotFound)
	p.patch(at, `{"op":"replace","path":"active","value":true}`, http.StatusNotFound)
	again := p.user("lovelace@contoso.example")
	if again.text("id") == ada.text("id") || len(again.list("groups")) != 0 {
		t.Errorf("the deleted account came back: %v", again)
	}
	people, err := p.s.Admin.Directory.People(t.Context())
	p.s.Must(err)
	for _, q := range people {
		if string(q.ID) == ada.text("id") {
			t.Error("the deleted account is listed")
		}
	}
}

// People who were there before the provider are theirs to change.
func TestPeopleMadeByHand(t *testing.T) {
	p := newProvider(t)
	ada := p.s.AddPerson("ada@example.com", false)
	found := p.do("GET", `/Users?filter=userName+eq+%22ada@example.com%22`, "", http.StatusOK)
	if found["totalResults"] != 1.0 || object(found.list("Resources")[0].(map[string]any)).text("id") != string(ada.ID) {
		t.Fatalf("found %v", found)
	}
	p.do("POST", "/Users", `{"userName":"ada@example.com"}`, http.StatusConflict)
	p.do("POST", "/Users", `{"userName":"ada@example.com","emails":[{"value":"other@example.com"}]}`, http.StatusConflict)
	p.patch("/Users/"+string(ada.ID), `{"op":"replace","value":{"externalId":"x1","name.familyName":"King"}}`, http.StatusOK)
	if got := p.do("GET", `/Users?filter=externalId+eq+%22x1%22`, "", http.StatusOK); got["totalResults"] != 1.0 {
		t.Errorf("by externalId: %v", got)
	}
}

func TestLastOwnerStays(t *testing.T) {
	p := newProvider(t)
	owner, err := p.s.Admin.Directory.PersonByEmail(t.Context(), "owner@example.com")
	p.s.Must(err)
	at := "/Users/" + string(owner.ID)
	p.patch(at, `{"op":"replace","value":{"active":false}}`, http.StatusForbidden)
	p.do("DELETE", at, "", http.StatusForbidden)
	p.s.AddPerson("second@example.com", true)
	p.patch(at, `{"op":"replace","value":{"active":false}}`, http.StatusOK)
}

func TestRFC7644_3_14_Versions(t *testing.T) {
	p := newProvider(t)
	ada := p.user("ada@example.com")
	at := "/Users/" + ada.text("id")
	res := p.raw("GET", at, "")
	tag := res.Header.Get("ETag")
	if tag == "" || res.Header.Get("Location") == "" {
		t.Fatalf("headers %v", res.Header)
	}
	if res := p.raw("GET", at, "", "If-None-Match", tag); res.Status != http.StatusNotModified {
		t.Errorf("If-None-Match: status %d", res.Status)
	}
	put := func(name, tag string) int {
		return p.raw("PUT", at, `{"userName":"ada@example.com","displayName":"`+name+`"}`, "If-Match", tag).Status
	}
	if s := put("One", tag); s != http.StatusOK {
		t.Errorf("with the version: %d", s)
	}
	if s := put("Two", tag); s != http.StatusPreconditionFailed {
		t.Errorf("with an old version: %d", s)
	}
	if s := p.raw("DELETE", at, "", "If-Match", tag).Status; s != http.StatusPreconditionFailed {
		t.Errorf("delete with an old version: %d", s)
	}
}

func TestRFC7644_3_4_2_4_Pages(t *testing.T) {
	p := newProvider(t)
	for i := range 5 {
		p.user(fmt.Sprintf("p%d@example.com", i))
	}
	seen := make(map[string]bool)
	for start := 1; start <= 6; start += 2 {
		got := p.do("GET", fmt.Sprintf("/Users?startIndex=%d&count=2&attributes=userName", start), "", http.StatusOK)
		if got["totalResults"] != 6.0 || got["startIndex"] != float64(start) || got["itemsPerPage"] != 2.0 {
			t.Errorf("page at %d: %v", start, got)
		}
		for _, r := range got.list("Resources") {
			m := r.(map[string]any)
			if m["id"] == nil || m["emails"] != nil {
				t.Errorf("attributes: %v", m)
			}
			seen[m["userName"].(string)] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("seen %v", seen)
	}
	for query, want := range map[string]float64{"count=0": 0, "startIndex=100": 0, "startIndex=-3&count=1": 1, "count=-1": 0} {
		if got := p.do("GET", "/Users?"+query, "", http.StatusOK); got["itemsPerPage"] != want || got["Resources"] == nil {
			t.Errorf("%s: %v", query, got)
		}
	}
}

func TestRFC7644_3_7_Bulk(t *testing.T) {
	p := newProvider(t)
	got := p.do("POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[
		{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a@example.com"}},
		{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"G","members":[{"value":"bulkId:a"}]}},
		{"method":"PATCH","path":"/Users/bulkId:a","data":{"Operations":[{"op":"replace","path":"displayName","value":"Aaa"}]}},
		{"method":"POST","path":"/Users","bulkId":"b","data":{"userName":"a@example.com"}},
		{"method":"PATCH","path":"/Users/bulkId:later","data":{"Operations":[]}}]}`, http.StatusOK)
	var statuses []string
	for _, o := range got.list("Operations") {
		statuses = append(statuses, o.(map[string]any)["status"].(string))
	}
	if s := strings.Join(statuses, " "); s != "201 201 200 409 409" {
		t.Errorf("statuses %s: %v", s, got)
	}
	stopped := p.do("POST", "/Bulk", `{"failOnErrors":1,"Operations":[{"method":"DELETE","path":"/Users/none"},{"method":"POST","path":"/Users","bulkId":"c","data":{"userName":"c@example.com"}}]}`, http.StatusOK)
	if len(stopped.list("Operations")) != 1 {
		t.Errorf("went on after an error: %v", stopped)
	}
	p.do("POST", "/Bulk", `{"Operations":[`+strings.Repeat(`{"method":"DELETE","path":"/Users/x"},`, 100)+`{"method":"DELETE","path":"/Users/x"}]}`, http.StatusRequestEntityTooLarge)
	p.do("POST", "/Bulk", `{"Operations":[{"method":"DELETE","path":"/Bulk"}]}`, http.StatusOK)
}

func TestDiscovery(t *testing.T) {
	p := newProvider(t)
	for _, path := range []string{
		"/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", "/Schemas", "/Schemas/urn:ietf:params:scim:schemas:core:2.0:Group",
	} {
		if o := p.do("GET", path, "", http.StatusOK); len(o.list("schemas")) == 0 {
			t.Errorf("%s: %v", path, o)
		}
	}
	p.do("GET", "/Schemas/urn:none", "", http.StatusNotFound)
	p.do("GET", "/Schemas?filter=id+pr", "", http.StatusForbidden)
	p.do("POST", "/Schemas", "{}", http.StatusMethodNotAllowed)
}

func TestBadRequests(t *testing.T) {
	p := newProvider(t)
	ada := p.user("ada@example.com")
	at := "/Users/" + ada.text("id")
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		scimType           string
	}{
		"no JSON":            {"POST", "/Users", `{"userName":`, 400, "invalidSyntax"},
		"a list":             {"POST", "/Users", `[]`, 400, "invalidSyntax"},
		"no userName":        {"POST", "/Users", `{"active":true}`, 400, "invalidValue"},
		"no address":         {"POST", "/Users", `{"userName":"ada"}`, 400, "invalidValue"},
		"name not text":      {"POST", "/Users", `{"userName":"x@example.com","displayName":7}`, 400, "invalidValue"},
		"active not boolean": {"POST", "/Users", `{"userName":"x@example.com","active":"perhaps"}`, 400, "invalidValue"},
		"control characters": {"POST", "/Users", `{"userName":"x@example.com","displayName":"a\u0007b"}`, 400, "invalidValue"},
		"long name":          {"POST", "/Users", `{"userName":"x@example.com","displayName":"` + strings.Repeat("n", 300) + `"}`, 400, "invalidValue"},
		"bad filter":         {"GET", `/Users?filter=userName%20eq`, "", 400, "invalidFilter"},
		"bad count":          {"GET", `/Users?count=ten`, "", 400, "invalidValue"},
		"unknown op":         {"PATCH", at, `{"Operations":[{"op":"move","path":"active","value":true}]}`, 400, "invalidSyntax"},
		"no operations":      {"PATCH", at, `{"Operations":[]}`, 400, "invalidSyntax"},
		"bad path":           {"PATCH", at, `{"Operations":[{"op":"replace","path":"emails[type eq","value":"x"}]}`, 400, "invalidPath"},
		"read only":          {"PATCH", at, `{"Operations":[{"op":"replace","path":"groups","value":[]}]}`, 400, "mutability"},
		"no target":          {"PATCH", at, `{"Operations":[{"op":"remove"}]}`, 400, "noTarget"},
		"userName removed":   {"PATCH", at, `{"Operations":[{"op":"remove","path":"userName"}]}`, 400, "invalidValue"},
		"member is nobody":   {"POST", "/Groups", `{"displayName":"G","members":[{"value":"nobody"}]}`, 400, "invalidValue"},
		"group in group":     {"POST", "/Groups", `{"displayName":"G","members":[{"value":"x","type":"Group"}]}`, 400, "invalidValue"},
		"no such user":       {"GET", "/Users/none", "", 404, ""},
		"no such endpoint":   {"GET", "/Things", "", 404, ""},
		"too deep":           {"GET", at + "/more", "", 404, ""},
		"wrong method":       {"DELETE", "/Users", "", 405, ""},
		"too large":          {"POST", "/Users", `{"userName":"` + strings.Repeat("x", 3<<20) + `"}`, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			q := &provider{t, p.s, p.token}
			if got := q.do(c.method, c.path, c.body, c.status); got.text("scimType") != c.scimType {
				t.Errorf("scimType %q, want %q: %v", got.text("scimType"), c.scimType, got)
			}
		})
	}
	// Nothing of all that changed anything.
	if got := p.do("GET", "/Users", "", http.StatusOK); got["totalResults"] != 2.0 {
		t.Errorf("users %v", got)
	}
	if got := p.do("GET", "/Groups", "", http.StatusOK); got["totalResults"] != 0.0 {
		t.Errorf("groups %v", got)
	}
	if res := p.s.Do("POST", "/scim/v2/Users", `{"userName":"x@example.com"}`, "Authorization", "Bearer "+p.token, "Content-Type", "text/plain"); res.Status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", res.Status)
	}
}

// RFC 7643 §4.1.2: groups are returned by default, and a filter may ask for
// them (found by a library of another make: test/node/scim.mjs).
func TestRFC7643_4_1_2_GroupsInLists(t *testing.T) {
	p := newProvider(t)
	ada, alan := p.user("ada@example.com"), p.do("POST", "/Users", `{"userName":"alan@example.com"}`, http.StatusCreated)
	g := p.do("POST", "/Groups", `{"displayName":"Engineering","members":[{"value":"`+ada.text("id")+`"}]}`, http.StatusCreated)
	found := func(filter string) string {
		list := p.do("GET", "/Users?filter="+url.QueryEscape(filter), "", http.StatusOK).list("Resources")
		var ids []string
		for _, r := range list {
			ids = append(ids, object(r.(map[string]any)).text("userName"))
		}
		return strings.Join(ids, " ")
	}
	for filter, want := range map[string]string{
		`groups.value eq "` + g.text("id") + `"`: "ada@example.com",
		`groups.display eq "engineering"`:        "ada@example.com",
		`groups pr`:                              "ada@example.com",
		`not (groups pr) and userName sw "a"`:    "alan@example.com",
	} {
		if got := found(filter); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	if _, there := p.do("GET", "/Users/"+alan.text("id"), "", http.StatusOK)["groups"]; there {
		t.Error("an empty list of groups")
	}
}
