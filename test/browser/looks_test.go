package browser

import (
	"regexp"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// TestOwnerLooks takes an owner through the pages of a running server that has
// something on each: axe-core looks at all of them, and the documentation
// shows them.
func TestOwnerLooks(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AdminInput(testenv.Password, "user", "add", "--email", email, "--name", name, "--owner", "--password-stdin")
	o.AddPerson("grace@example.com", "Grace Hopper")
	o.AddPerson("mary@example.com", "Mary Somerville")
	for slug, team := range map[string]string{"web-shop": "Web Shop", "payments": "Payments"} {
		o.AddTeam(slug, team)
		o.SetMember(slug, email, "admin")
	}
	o.SetMember("web-shop", "grace@example.com", "analyst")
	idp := o.StartOIDC(t, "corp")
	o.AdminInput(testenv.IDPSecret+"\n", "provider", "add-oidc", "--slug", "corp", "--name", "Corporate login", "--domain", "corp.example",
		"--issuer", idp.Issuer, "--client-id", "oriel", "--client-secret-stdin", "--allow-private", "--create-accounts")
	o.Admin("provider", "map", "--provider", "corp", "--group", "engineering", "--team", "web-shop", "--role", "analyst")
	key := o.IngestKey("web-shop")
	for i := range 5 {
		at := time.Now().Add(-time.Duration(i) * time.Minute)
		o.SendLogs(key,
			testenv.LogRecord{Service: "cart", Severity: "INFO", Body: "added to the cart", Time: at},
			testenv.LogRecord{Service: "checkout", Severity: "ERROR", Body: "card declined", Time: at})
	}
	o.AddClient(t, "Portal", portalRedirect)
	c := o.Register(t, "Cursor")
	o.Register(t, "Lamp").SignIn(t, testenv.NewBrowser(t), o.MCPURL("web-shop"), "grace@example.com", "")

	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL(), "scope", "openid logs:read traces:read alerts:write"))
	b.Accessible(t, "sign-in")
	b.SignIn(email)
	b.Choose("Web Shop")
	b.Accessible(t, "consent")
	b.Press("Allow access")
	c.Redeem(t, c.Answer(t).Get("code"))
	see := func(path, heading, shot string) {
		t.Helper()
		b.Open(o.URL + path)
		b.ExpectHeading(heading)
		b.Look(t, shot)
	}

	b.Open(o.URL)
	b.Accessible(t, "start")
	b.Open(o.URL + "/connections")
	b.Accessible(t, "connections")
	see("/teams", "Teams", "teams")
	see("/teams/web-shop", "Web Shop", "members")
	b.Open(o.URL + "/teams/web-shop/new-role")
	b.Fill("Name", "checkout")
	b.Choose("Read logs")
	b.Write("Data scope (optional)", "service.name = ")
	b.Press("Create role")
	b.ExpectText("at character 16")
	b.Look(t, "role-mistake")
	b.Write("Data scope (optional)", "service.name = checkout")
	b.Fill("Longest look-back (optional)", "7d")
	// What was sent can be found after about a second.
	for deadline := time.Now().Add(testenv.ShortWait); time.Now().Before(deadline) && !b.Has("the role shows 5 and hides"); {
		b.Press("Preview")
	}
	b.ExpectText("card declined")
	b.Look(t, "role")
	b.Press("Create role")
	b.Accessible(t, "roles of a team")
	b.Open(o.URL + "/teams/web-shop/access")
	b.Look(t, "access")
	b.Open(o.URL + "/roles")
	b.Look(t, "roles")

	b.Open(o.URL + "/groups")
	b.Fill("Group name", "On call")
	b.Press("Add group")
	b.Fill("Email", "mary@example.com")
	b.Press("Put into the group")
	b.Follow("Web Shop")
	b.Choose("operator")
	b.Press("Save roles")
	b.Look(t, "group")
	see("/groups", "Groups", "groups")
	see("/providers", "Identity providers", "providers")
	see("/policies", "Policies", "policies")
	see("/people", "People", "people")
	see("/integrations", "Integrations", "integrations")
	see("/clients", "Clients", "clients")

	b.Open(o.URL + "/security")
	b.Follow("Add an authenticator app")
	b.Look(t, "authenticator-app")
	secret := regexp.MustCompile(`Key:\s*((?:[A-Z2-7]{4} ?){8})`).FindStringSubmatch(b.Text())
	if secret == nil {
		t.Fatalf("no key on the page:\n%s", b.Text())
	}
	b.Fill("Name", "Telephone")
	b.Fill("Code", codeOf(t, secret[1], time.Now()))
	b.Press("Confirm")
	b.Look(t, "recovery-codes")
	see("/security", "Security", "security")
	b.Open(o.URL + "/audit")
	b.Accessible(t, "everything in the audit")
	b.Resize(1100)
	if n := b.CutOff(".scroll"); n > 0 {
		t.Errorf("%d pixels of the audit table are cut off in a window of 1100", n)
	}
	b.Resize(390)
	b.Picture("audit-telephone")
	b.Resize(1280)
	see("/audit?email=ada%40example.com", "Audit", "audit")
	b.Press("Sign out")
	b.Open(o.URL + "/security")
	b.SignIn(email)
	b.ExpectHeading("Enter the code from your authenticator app")
	b.Look(t, "second-step")
	calm(t, b)
}
