package web

import (
	"maps"
	"time"
)

// withOrganization adds the pages of owners and team administrators.
func withOrganization(pages map[string]Page) map[string]Page {
	nav := func(current string) TeamNav { return TeamNav{Slug: "web-shop", Name: "Web <Shop>", Current: current} }
	shop := nav("roles")
	roles := []Choice{
		{ID: "role-viewer", Field: "role", Value: "viewer", Label: "viewer", About: "May read logs.", Checked: true},
		{ID: "role-admin", Field: "role", Value: "admin", Label: "admin", About: "May administer the team.", Why: "You cannot give it: it goes beyond what you have.", Disabled: true},
	}
	grace := MemberRow{ID: "per_1", Name: "Grace <Hopper>", Email: "grace@example.com", Roles: []string{"viewer", "operator"}, Through: []string{"the group On call"}}
	gives := []GroupGives{{ID: "grp_1", Name: "On call", TeamSlug: "web-shop", TeamNm: "Web <Shop>", Roles: []string{"operator"}}}
	support := RoleRow{
		Name: "support", Kind: "team", Permissions: []string{"read logs", "read traces"}, DataScope: `service.name = "<cart>"`, HiddenFields: "user.email", LookBack: "7d", URL: "/teams/web-shop/roles/support",
	}
	permissions := []Choice{
		{ID: "permission-logs-Read", Field: "permission", Value: "logs:Read", Label: "Read logs", About: "logs:Read", Checked: true},
		{ID: "permission-team-Admin", Field: "permission", Value: "team:Admin", Label: "Administer the team", About: "team:Admin", Why: "– you do not hold it yourself.", Disabled: true},
	}
	maps.Copy(pages, map[string]Page{
		"teams":       TeamsPage{Account: ada, Teams: []TeamRow{{Slug: "web-shop", Name: "Web <Shop>", Members: 2, Roles: []string{"viewer"}}}},
		"teams_owner": TeamsPage{Account: boss, Teams: []TeamRow{{Slug: "web-shop", Name: "Web <Shop>", Members: 1}}, Notice: "Done."},
		"teams_none":  TeamsPage{Account: ada},
		"team":        TeamPage{Account: ada, Nav: nav("members"), Members: []MemberRow{grace, {ID: "per_2", Name: "Ada", Email: "ada@example.com", Roles: []string{"viewer"}, You: true}}},
		"team_admin": TeamPage{
			Account: ada, Nav: nav("members"), Admin: true, Now: now,
			Connections: []TeamConnection{
				{Connection{ID: "g1", ClientName: "Cursor", Destination: "cursor: (an app on this computer)", Scopes: []string{"read logs"}, Since: now, LastUsed: now}, "Grace <Hopper>"},
				{Connection{ID: "g2", ClientName: "VS <Code>", Host: "vscode.dev", Scopes: []string{"read logs", "read traces"}, Since: now, Trouble: "Blocked."}, "Ada"},
			},
			Members: []MemberRow{grace, {ID: "per_3", Name: "Nightly", Email: "x@services.invalid", Roles: []string{"viewer"}, Program: true, Disabled: true}}, Roles: roles, NewName: "Web <Shop>",
		},
		"team_errors":   TeamPage{Account: boss, Nav: nav("members"), Admin: true, Roles: roles, Email: "nobody@", NewName: "", Errors: map[string]string{"email": "No such address.", "roles": "Choose at least one role.", "name": "A name is needed."}},
		"member":        MemberPage{Account: boss, Nav: nav("members"), Member: grace, Roles: roles, Groups: gives, Direct: true, Errors: map[string]string{"roles": "Choose at least one role."}},
		"member_group":  MemberPage{Account: ada, Nav: nav("members"), Member: grace, Roles: roles, Groups: gives},
		"roles_team":    RolesPage{Account: ada, Nav: &shop, Roles: []RoleRow{{Name: "viewer", Kind: "built-in", Permissions: []string{"read logs"}}, support, {Name: "nothing", Kind: "team"}}, NewURL: "/teams/web-shop/new-role"},
		"roles":         RolesPage{Account: boss, Roles: []RoleRow{support}, NewURL: "/new-role", Notice: "The role support is saved."},
		"role_new":      RolePage{Account: boss, Action: "/new-role", New: true, Permissions: permissions, Teams: []Choice{{Value: "web-shop", Label: "Web <Shop>", Checked: true}}},
		"role_readonly": RolePage{Account: ada, Nav: &shop, Role: support, Why: "Administrators of the team can change this role."},
		"role_errors": RolePage{
			Account: ada, Nav: &shop, Action: "/teams/web-shop/roles/support", Role: support, Permissions: permissions, Holders: 2, RemoveURL: "/teams/web-shop/roles/support/remove",
			Errors: map[string]string{
				"role": "Nobody can give more than they have.", "permissions": "No.", "data_scope": "Expected a value, at character 16.", "hidden_fields": "No such name.", "look_back": "Not a look-back.",
			},
			Mistake: &Mistake{Before: "service.name = ", At: ")", After: " or x"},
		},
		"role_preview": RolePage{
			Account: ada, Nav: &shop, Action: "/teams/web-shop/roles/support", Role: support, Permissions: permissions, Holders: 1,
			Preview: &RolePreview{Team: "Web <Shop>", Visible: 12, Hidden: 340, Rows: []PreviewRow{{At: now, Severity: "ERROR", Service: "cart", Message: "<script>alert(1)</script>"}}},
		},
		"role_no_preview": RolePage{Account: ada, Nav: &shop, Action: "/teams/web-shop/new-role", New: true, Preview: &RolePreview{Team: "Web <Shop>", Problem: "You may not read the logs of this team."}},
		"groups":          GroupsPage{Account: boss, Groups: []GroupRow{{ID: "grp_1", Name: "On <call>", External: true, People: 1, Gives: gives}, {ID: "grp_2", Name: "Empty"}}, Name: "Empty", Errors: map[string]string{"name": "Taken."}},
		"groups_none":     GroupsPage{Account: boss},
		"group":           GroupPage{Account: boss, Group: GroupRow{ID: "grp_1", Name: "On <call>", External: true, People: 1, Gives: gives}, Members: []MemberRow{grace}, Teams: []TeamRow{{Slug: "bank", Name: "Bank"}, {Slug: "x", Name: "X"}}, NewName: "On <call>"},
		"group_empty":     GroupPage{Account: boss, Group: GroupRow{ID: "grp_1", Name: "On <call>"}, Email: "x", Errors: map[string]string{"email": "Not an address.", "name": "Taken."}},
		"groupteam":       GroupTeamPage{Account: boss, Group: GroupRow{ID: "grp_1", Name: "On call", People: 2}, Team: TeamRow{Slug: "web-shop", Name: "Web <Shop>"}, Roles: roles, People: 2, Connections: 1},
		"access": AccessPage{
			Account: ada, Nav: nav("access"), Person: grace, Roles: []AccessRole{{RoleRow: support, From: "given directly, group On call"}, {RoleRow: RoleRow{Name: "gone"}, From: "given directly", Missing: true}},
			Permissions: []AccessPermission{
				{Words: "Read logs", Name: "logs:Read", Given: true, From: []string{"support (given directly)"}, Rows: `only where service.name = "<cart>"`, Hidden: "user.email", LookBack: "the last 7d", NoRows: []string{"other"}},
				{Words: "Change alerts", Name: "alerts:Write", From: []string{"operator", "admin"}},
			},
			Connections: []AccessConnection{{ID: "g1", ClientName: "Cursor", Refused: "the integration has been blocked by an administrator", May: []string{"read logs"}, NoScope: []string{"read traces"}, NoRole: []string{"read metrics"}}, {ID: "g2", ClientName: "VS Code"}},
		},
		"access_none": AccessPage{Account: boss, Nav: nav(""), Person: grace, Refused: "the person holds no role in the team"},
		"security_browsers": SecurityPage{
			Account: boss, Now: now, AppURL: "/login/enrol?kind=totp", HasPassword: true, MinPassword: 15,
			Browsers: []BrowserSession{{Here: true, Since: now.Add(-time.Hour), LastUsed: now, How: "with a password"}, {Since: now.Add(-48 * time.Hour), LastUsed: now.Add(-time.Hour), How: "with a second factor"}},
			SignIns:  []SignIn{{At: now, Address: "192.0.2.1", How: "password"}, {At: now.Add(-time.Hour), How: "<wrong password>", Refused: true}},
		},
		"people": PeoplePage{
			Account: boss, Now: now, Teams: []TeamRow{{Slug: "web-shop", Name: "Web <Shop>"}}, Notice: "Done.",
			People: []PersonRow{
				{ID: "per_1", Name: "Grace <Hopper>", Email: "grace@example.com", Owner: true, You: true, Teams: []string{"Web <Shop>", "Bank"}, LastSignIn: now.Add(-time.Hour)},
				{ID: "per_2", Name: "Ada", Email: "ada@example.com", Invited: true},
				{ID: "per_3", Name: "Bob", Email: "bob@example.com", Disabled: true},
			},
		},
		"people_errors": PeoplePage{
			Account: boss, Now: now, Teams: []TeamRow{{Slug: "web-shop", Name: "Web <Shop>"}}, Name: "<", Email: "x", Team: "web-shop", Roles: "king",
			Errors: map[string]string{"name": "No.", "email": "Not an address.", "team": "Gone.", "roles": "No such role."},
		},
		"person": PersonPage{
			Account: boss, Now: now, Person: PersonRow{ID: "per_1", Name: "Grace <Hopper>", Email: "grace@example.com", Owner: true}, HasPassword: true, Sessions: 2, Notice: "Done.",
			Teams: []TeamRow{{Slug: "web-shop", Name: "Web <Shop>", Roles: []string{"viewer"}}},
			Connections: []Connection{
				{ID: "g1", ClientName: "Cursor", Destination: "cursor: (an app on this computer)", Team: "Web <Shop>", Scopes: []string{"read logs"}, Since: now, LastUsed: now},
				{ID: "g2", ClientName: "VS <Code>", Host: "vscode.dev", Team: "Bank", Scopes: []string{"read logs", "read traces"}, Since: now, Trouble: "Blocked."},
			},
			SignIns: []SignIn{{At: now, Address: "192.0.2.1", How: "password"}, {At: now.Add(-time.Hour), Address: "192.0.2.7", How: "<wrong password>", Refused: true}},
		},
		"person_disabled":    PersonPage{Account: boss, Now: now, Person: PersonRow{ID: "per_3", Name: "Bob", Email: "bob@example.com", Disabled: true}},
		"person_last":        PersonPage{Account: boss, Now: now, Person: PersonRow{ID: "per_1", Name: "Grace", Email: "grace@example.com", Owner: true, You: true}, HasPassword: true, Sessions: 1, LastOwner: true},
		"person_invited":     PersonPage{Account: boss, Now: now, Person: PersonRow{ID: "per_2", Name: "Ada", Email: "ada@example.com", Invited: true}},
		"accountlink":        AccountLinkPage{Account: boss, ID: "per_2", Name: "Ada <b>", Email: "ada@example.com", Invited: true, URL: "https://oriel.example.com/login/account?token=ABC", Expires: now},
		"accountlink_sent":   AccountLinkPage{Account: boss, ID: "per_2", Name: "Ada <b>", Email: "ada@example.com", Invited: true, Sent: true, Expires: now},
		"accountlink_failed": AccountLinkPage{Account: boss, ID: "per_2", Name: "Ada <b>", Email: "ada@example.com", Failed: true, URL: "https://oriel.example.com/login/account?token=ABC", Expires: now},
		"forgot":             ForgotPage{Email: "ada", Error: "The address is none."},
		"forgot_asked":       ForgotPage{Email: "ada@example.com", Asked: true},
		"signin_message":     SignInPage{Message: "Only for staff of Example & Co.\n<b>Questions?</b> Ask IT."},
		"signin_forgot":      SignInPage{Forgot: true},
		"accountlink_new":    AccountLinkPage{Account: boss, ID: "per_1", Name: "Grace", Email: "grace@example.com", URL: "https://oriel.example.com/login/account?token=ABC", Expires: now},
		"account":            AccountPage{Token: "dG9rZW4", Person: Account{Name: "Grace <Hopper>", Email: "grace@example.com"}, New: true, MinPassword: 15},
		"account_reset":      AccountPage{Token: "dG9rZW4", Person: Account{Name: "Grace <Hopper>", Email: "grace@example.com"}, MinPassword: 15, Error: "The password is too short."},
		"remove":             RemovePage{Account: boss, Section: "/teams", Title: "Remove Grace from Web <Shop>?", What: "The person keeps their account.", Ends: "This takes 1 person out of a team and ends 3 connections: the next call of each is refused.", Action: "/teams/web-shop/members/per_1/remove", Button: "Remove from the team", Back: "/teams/web-shop"},
	})
	return pages
}
