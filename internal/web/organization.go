package web

import (
	"fmt"
	"time"
)

// TeamNav is the team that a page is about.
type TeamNav struct {
	Slug, Name string
	// Current is the page in the team's navigation: members, roles, access.
	Current string
}

// Choice is a tick box.
type Choice struct {
	// ID is the element's, Field and Value are what is sent.
	ID, Field, Value string
	Label            string
	// About says what it means, Why why it cannot be chosen.
	About, Why        string
	Checked, Disabled bool
}

// TeamsPage lists the teams that somebody may see.
type TeamsPage struct {
	Account Account
	Teams   []TeamRow
	Notice  string
}

// TeamRow is a team in a list.
type TeamRow struct {
	Slug, Name string
	Members    int
	// Roles are those of the person at the browser, who may have none.
	Roles []string
}

// TeamPage shows a team's members.
type TeamPage struct {
	Account Account
	Nav     TeamNav
	Members []MemberRow
	// Admin shows what changes the team.
	Admin bool
	Now   time.Time
	// Connections are those of everybody to the team, for administrators.
	Connections []TeamConnection
	// Email, Roles and Errors are of the form that adds somebody; NewName is
	// of the one that renames the team.
	Email   string
	Roles   []Choice
	NewName string
	// Errors holds a message by field: email, roles, name.
	Errors map[string]string
	Notice string
}

// TeamConnection is somebody's connection to a team.
type TeamConnection struct {
	Connection
	// Person is whose it is.
	Person string
}

// MemberRow is a member in a list.
type MemberRow struct {
	ID, Name, Email string
	Roles           []string
	// Through names the groups that give some of the roles.
	Through []string
	// Disabled and Program say what kind of account it is.
	Disabled, Program bool
	// You says that it is the person at the browser.
	You bool
}

// MemberPage changes a member's roles.
type MemberPage struct {
	Account Account
	Nav     TeamNav
	Member  MemberRow
	Roles   []Choice
	// Groups says what comes through groups, which is changed there.
	Groups []GroupGives
	Direct bool
	Errors map[string]string
	Notice string
}

// GroupGives is what a group gives in a team.
type GroupGives struct {
	ID, Name         string
	TeamSlug, TeamNm string
	Roles            []string
}

// RoleRow is a role in a list.
type RoleRow struct {
	Name, Kind                        string
	Permissions                       []string
	DataScope, HiddenFields, LookBack string
	// URL leads to the role.
	URL string
}

// RolesPage lists roles: a team's, or without Nav those of the organization.
type RolesPage struct {
	Account Account
	Nav     *TeamNav
	Roles   []RoleRow
	// NewURL leads to the form for a new role, "" for those who may not.
	NewURL string
	Notice string
}

// Mistake is where a text went wrong.
type Mistake struct{ Before, At, After string }

// RolePage shows, makes or changes a role.
type RolePage struct {
	Account Account
	Nav     *TeamNav
	// Action is where the form posts to, "" for a role that cannot be changed
	// here.
	Action string
	Role   RoleRow
	New    bool
	// Why says why the role cannot be changed.
	Why         string
	Permissions []Choice
	// Errors holds a message by field: name, permissions, data_scope,
	// hidden_fields, look_back, preview; and role for all together.
	Errors  map[string]string
	Mistake *Mistake
	// Teams are those to preview a role of the organization in.
	Teams []Choice
	// Holders is how many people hold the role.
	Holders   int
	RemoveURL string
	Preview   *RolePreview
	Notice    string
}

// RolePreview is what a role would show.
type RolePreview struct {
	Team string
	// Visible and Hidden count the rows of the last hour, of those that the
	// person at the browser sees; -1 where they were not counted.
	Visible, Hidden int64
	Rows            []PreviewRow
	// Problem says why there is none, "" where there is.
	Problem string
}

// PreviewRow is a log record.
type PreviewRow struct {
	At                         time.Time
	Severity, Service, Message string
}

// GroupsPage lists the groups.
type GroupsPage struct {
	Account Account
	Groups  []GroupRow
	Name    string
	Errors  map[string]string
	Notice  string
}

// GroupRow is a group in a list.
type GroupRow struct {
	ID, Name string
	// External says that an identity provider knows the group.
	External bool
	People   int
	Gives    []GroupGives
}

// GroupPage shows and changes a group.
type GroupPage struct {
	Account Account
	Group   GroupRow
	Members []MemberRow
	// Teams are those that the group gives nothing in yet.
	Teams []TeamRow
	Email string
	// NewName is of the form that renames the group.
	NewName string
	// Errors holds a message by field: email, name.
	Errors map[string]string
	Notice string
}

// GroupTeamPage changes what a group gives in a team.
type GroupTeamPage struct {
	Account Account
	Group   GroupRow
	Team    TeamRow
	Roles   []Choice
	// People and Connections are those that taking everything away ends.
	People, Connections int
}

// AccessPage explains what somebody may do in a team.
type AccessPage struct {
	Account Account
	Nav     TeamNav
	Person  MemberRow
	// Refused says why nothing is possible, "" where something is.
	Refused     string
	Roles       []AccessRole
	Permissions []AccessPermission
	Connections []AccessConnection
}

// AccessRole is a role and where it comes from.
type AccessRole struct {
	RoleRow
	From string
	// Missing says that there is no such role.
	Missing bool
}

// AccessPermission is a permission, given or not.
type AccessPermission struct {
	Words, Name string
	Given       bool
	// From lists roles with where they come from, or those that would give
	// the permission.
	From []string
	// Rows, Hidden and LookBack say what is seen, "" where that means nothing.
	Rows, Hidden, LookBack string
	// NoRows are the roles that show nothing because their data scope goes by
	// a hidden field.
	NoRows []string
}

// AccessConnection is a client and what its scopes leave.
type AccessConnection struct {
	ID, ClientName       string
	Refused              string
	May, NoScope, NoRole []string
}

// RemovePage asks before something ends.
type RemovePage struct {
	Account Account
	// Section is the page in the main navigation.
	Section string
	// Title asks; What says what will happen, Ends in numbers.
	Title, What, Ends string
	// Action is where the form posts to, Button what it says, Back where it
	// is left alone.
	Action, Button, Back string
}

func (p TeamsPage) frame() frame {
	return frame{Name: "teams", Title: "Teams", Account: &p.Account, Current: "/teams"}
}

func (p TeamPage) frame() frame {
	return frame{Name: "team", Title: "Members of " + DisplayName(p.Nav.Name), Account: &p.Account, Current: "/teams"}
}

func (p MemberPage) frame() frame {
	return frame{Name: "member", Title: DisplayName(p.Member.Name) + " in " + DisplayName(p.Nav.Name), Account: &p.Account, Current: "/teams"}
}

func (p RolesPage) frame() frame {
	f := frame{Name: "roles", Title: "Roles", Account: &p.Account, Current: "/roles"}
	if p.Nav != nil {
		f.Title, f.Current = "Roles of "+DisplayName(p.Nav.Name), "/teams"
	}
	return f
}

func (p RolePage) frame() frame {
	f := frame{Name: "role", Title: "Role " + DisplayName(p.Role.Name), Account: &p.Account, Current: "/roles"}
	if p.New {
		f.Title = "New role"
	}
	if p.Nav != nil {
		f.Current = "/teams"
	}
	return f
}

func (p GroupsPage) frame() frame {
	return frame{Name: "groups", Title: "Groups", Account: &p.Account, Current: "/groups"}
}

func (p GroupPage) frame() frame {
	return frame{Name: "group", Title: "Group " + DisplayName(p.Group.Name), Account: &p.Account, Current: "/groups"}
}

func (p GroupTeamPage) frame() frame {
	return frame{Name: "groupteam", Title: DisplayName(p.Group.Name) + " in " + DisplayName(p.Team.Name), Account: &p.Account, Current: "/groups"}
}

func (p AccessPage) frame() frame {
	return frame{Name: "access", Title: "Access of " + DisplayName(p.Person.Name), Account: &p.Account, Current: "/teams"}
}

func (p RemovePage) frame() frame {
	return frame{Name: "remove", Title: DisplayName(p.Title), Account: &p.Account, Current: p.Section}
}

// countOf says how many there are.
func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
