package main

import (
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type roleCommand struct {
	Set    roleSet    `cmd:"" help:"Create or replace a role of a team or of all; members who hold it have what it gives from their next call on."`
	List   roleList   `cmd:"" help:"List the roles that members of a team can have."`
	Remove roleRemove `cmd:"" help:"Remove a role that nobody holds."`
}

type jsonRole struct {
	Name    string `json:"name"`
	BuiltIn bool   `json:"built_in"`
	// Kind is built-in, organization or team.
	Kind         string           `json:"kind"`
	Permissions  []org.Permission `json:"permissions"`
	DataScope    string           `json:"data_scope,omitempty"`
	HiddenFields []string         `json:"hidden_fields,omitempty"`
	LookBack     string           `json:"look_back,omitempty"`
}

func toJSONRole(r org.Role) jsonRole {
	j := jsonRole{
		Name: r.Name, BuiltIn: r.BuiltIn(), Kind: r.Kind(), Permissions: r.Permissions,
		HiddenFields: r.HiddenFields, LookBack: org.FormatLookBack(r.LookBack),
	}
	if j.Permissions == nil {
		j.Permissions = []org.Permission{}
	}
	if r.DataScope != nil {
		j.DataScope = r.DataScope.String()
	}
	return j
}

type roleSet struct {
	adminFlags
	Team        string   `help:"Slug of the team; without it, a role that every team has." placeholder:"S"`
	Name        string   `required:"" help:"Name of the role." placeholder:"N"`
	Permissions string   `required:"" help:"Permissions, separated by commas, e.g. logs:Read,metrics:Read; an empty text for none." placeholder:"P"`
	DataScope   string   `help:"Which rows the role shows, by resource attributes, e.g. 'service.name in (checkout, cart) and deployment.environment.name = prod'. Default: all." placeholder:"F"`
	Hide        []string `help:"Fields that the role never shows nor compares with, separated by commas, e.g. user.email." placeholder:"FIELD"`
	LookBack    string   `help:"How far back the role looks, e.g. 7d. Default: as far as there is." placeholder:"D"`
}

// Run creates or replaces a role.
func (c *roleSet) Run(env *environment) error {
	permissions, err := org.ParsePermissions(c.Permissions)
	if err != nil {
		return err
	}
	return c.with(env, func(a *server.Admin) error {
		r, err := a.Directory.SaveRole(env.ctx, org.RoleText{
			Team: c.Team, Name: c.Name, Permissions: permissions, DataScope: c.DataScope, HiddenFields: c.Hide, LookBack: c.LookBack,
		}, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONRole(r), fmt.Sprintf("Role %s of %s gives %s%s.\n", r.Name, ofWhom(c.Team), permissionList(r), limits(r)))
	})
}

func permissionList(r org.Role) string {
	if len(r.Permissions) == 0 {
		return "nothing"
	}
	names := make([]string, len(r.Permissions))
	for i, p := range r.Permissions {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

func ofWhom(slug string) string {
	if slug == "" {
		return "the organization"
	}
	return "team " + slug
}

// limits says what a role does not show.
func limits(r org.Role) string {
	var s string
	if r.DataScope != nil {
		s += " where " + r.DataScope.String()
	}
	if len(r.HiddenFields) > 0 {
		s += " without " + strings.Join(r.HiddenFields, ", ")
	}
	if r.LookBack > 0 {
		s += " of the last " + org.FormatLookBack(r.LookBack)
	}
	return s
}

type roleRemove struct {
	adminFlags
	Team string `help:"Slug of the team; without it, a role of the organization." placeholder:"S"`
	Name string `required:"" help:"Name of the role." placeholder:"N"`
}

// Run removes a role.
func (c *roleRemove) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		if err := a.Directory.RemoveRole(env.ctx, c.Team, c.Name, operator()); err != nil {
			return err
		}
		return c.print(env, map[string]string{"name": c.Name, "removed": "true"}, fmt.Sprintf("Role %s of %s is removed.\n", c.Name, ofWhom(c.Team)))
	})
}

type roleList struct {
	adminFlags
	Team string `help:"Slug of the team; without it, the roles that every team has." placeholder:"S"`
}

// Run lists roles.
func (c *roleList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		roles, err := a.Directory.Roles(env.ctx, c.Team)
		if err != nil {
			return err
		}
		list, rows := make([]jsonRole, 0, len(roles)), make([][]string, 0, len(roles))
		for _, r := range roles {
			j := toJSONRole(r)
			list = append(list, j)
			rows = append(rows, []string{r.Name, r.Kind(), permissionList(r), j.DataScope, strings.Join(j.HiddenFields, ", "), j.LookBack})
		}
		return c.print(env, list, table("There are no roles.", []string{"NAME", "KIND", "PERMISSIONS", "DATA SCOPE", "HIDDEN FIELDS", "LOOK-BACK"}, rows))
	})
}
