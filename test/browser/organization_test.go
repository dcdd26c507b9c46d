package browser

import (
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

// TestAdministerATeam is an administrator's way: a role with a preview of real
// logs, a member with that role, what they may do, and out again.
func TestAdministerATeam(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	o.SetMember("web-shop", email, "admin")
	o.AddPerson("grace@example.com", "Grace Hopper")
	o.Ready(30 * time.Second)
	key := o.IngestKey("web-shop")
	for i := range 5 {
		o.SendLogs(key,
			testenv.LogRecord{Service: "cart", Severity: "INFO", Body: "added to the cart", Time: time.Now().Add(-time.Duration(i) * time.Minute)},
			testenv.LogRecord{Service: "checkout", Severity: "ERROR", Body: "card declined", Time: time.Now().Add(-time.Duration(i) * time.Minute)})
	}

	b := testenv.NewBrowser(t)
	b.Open(o.URL + "/teams/web-shop/new-role")
	b.SignIn(email)
	b.ExpectHeading("New role of Web Shop")
	b.Fill("Name", "checkout")
	b.Choose("Read logs")
	b.Write("Data scope (optional)", "service.name = ")
	b.Press("Create role")
	b.ExpectText("at character 16")
	b.Write("Data scope (optional)", "service.name = checkout")
	b.Fill("Longest look-back (optional)", "7d")
	// What was sent can be found after about a second.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && !b.Has("the role shows 5 and hides"); {
		b.Press("Preview")
	}
	b.ExpectText("the role shows 5 and hides")
	b.ExpectText("card declined")
	b.Picture("role")
	b.Press("Create role")
	b.ExpectText("The role checkout is saved.")
	b.Picture("roles")

	b.Follow("Members")
	b.Fill("Email", "grace@example.com")
	b.Choose("checkout")
	b.Press("Add member")
	b.ExpectText("Grace Hopper is in Web Shop now, as checkout.")
	b.Picture("members")
	b.Follow("Your access")
	b.ExpectText("Administer the team")
	b.Picture("access")

	// Grace sees the team, and nothing to change it with.
	g := testenv.NewBrowser(t)
	g.Open(o.URL + "/teams/web-shop")
	g.SignIn("grace@example.com")
	g.ExpectText("Ada Lovelace")
	if g.Has("Add a member") {
		t.Error("a member is shown how to add one")
	}
	g.Follow("Your access")
	g.ExpectText(`only where service.name = "checkout"`)
	g.ExpectText("the last 7d")
	g.Picture("access-scoped")

	b.Follow("Members")
	b.Follow("Explain access")
	b.ExpectText("What Ada Lovelace may do")
	b.Follow("Members")
	b.Follow("Remove")
	b.ExpectText("No connection ends.")
	b.Picture("remove-member")
	calm(t, b)
	calm(t, g)
}

// TestGroups is an owner's way through groups and roles of the organization.
func TestGroups(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AdminInput(testenv.Password, "user", "add", "--email", email, "--name", name, "--owner", "--password-stdin")
	o.AddPerson("grace@example.com", "Grace Hopper")
	o.AddTeam("web-shop", "Web Shop")

	b := testenv.NewBrowser(t)
	b.Open(o.URL + "/groups")
	b.SignIn(email)
	b.ExpectText("There is no group yet.")
	b.Picture("groups-none")
	b.Fill("Group name", "On call")
	b.Press("Add group")
	b.ExpectHeading("On call")
	b.Fill("Email", "grace@example.com")
	b.Press("Put into the group")
	b.ExpectText("Grace Hopper is in the group now.")
	b.Follow("Web Shop")
	b.Choose("operator")
	b.Press("Save roles")
	b.ExpectText("The group gives operator in Web Shop.")
	b.Picture("group")
	b.Follow("Take out")
	b.ExpectText("This takes 1 person out of a team.")
	b.Press("Take out")
	b.ExpectText("Nobody is in the group.")
	b.Follow("Roles")
	b.Follow("New role")
	b.Fill("Name", "support")
	b.Choose("Read logs")
	b.Fill("Hidden fields (optional)", "user.email")
	b.Press("Create role")
	b.ExpectText("The role support is saved.")
	b.Follow("Teams")
	b.ExpectText("Web Shop")
	b.Picture("teams-owner")
	calm(t, b)
}
