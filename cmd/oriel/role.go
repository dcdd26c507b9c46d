package main

import (
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type roleCommand struct {
	Set  roleSet  `cmd:"" help:"Create or replace a role of a team; members who hold it have what it gives from their next call on."`
	List roleList `cmd:"" help:"List the roles that members of a team can have."`
}

type jsonRole struct {
	Name        string           `json:"name"`
	BuiltIn     bool             `json:"built_in"`
	Permissions []org.Permission `json:"permissions"`
	DataScope   string           `json:"data_scope,omitempty"`
}

func toJSONRole(r org.Role) jsonRole {
	j := jsonRole{Name: r.Name, BuiltIn: r.BuiltIn(), Permissions: r.Permissions}
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
	Team        string `required:"" help:"Slug of the team." placeholder:"S"`
	Name        string `required:"" help:"Name of the role." placeholder:"N"`
	Permissions string `required:"" help:"Permissions, separated by commas, e.g. logs:Read,metrics:Read; an empty text for none." placeholder:"P"`
	DataScope   string `help:"Which rows the role shows, by resource attributes, e.g. 'service.name in (checkout, cart) and deployment.environment.name = prod'. Default: all." placeholder:"F"`
}

// Run creates or replaces a role.
func (c *roleSet) Run(env *environment) error {
	permissions, err := org.ParsePermissions(c.Permissions)
	if err != nil {
		return err
	}
	return c.with(env, func(a *server.Admin) error {
		r, err := a.Directory.SetRole(env.ctx, c.Team, c.Name, permissions, c.DataScope, operator())
		if err != nil {
			return err
		}
		return c.print(env, toJSONRole(r), fmt.Sprintf("Role %s of team %s gives %s%s.\n", r.Name, c.Team, permissionList(r), scopeNote(r)))
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

func scopeNote(r org.Role) string {
	if r.DataScope == nil {
		return ""
	}
	return " where " + r.DataScope.String()
}

type roleList struct {
	adminFlags
	Team string `help:"Slug of the team; without it, the built-in roles." placeholder:"S"`
}

// Run lists roles.
func (c *roleList) Run(env *environment) error {
	show := func(roles []org.Role) error {
		list, rows := make([]jsonRole, 0, len(roles)), make([][]string, 0, len(roles))
		for _, r := range roles {
			kind := "built in"
			if !r.BuiltIn() {
				kind = "custom"
			}
			j := toJSONRole(r)
			list = append(list, j)
			rows = append(rows, []string{r.Name, kind, permissionList(r), j.DataScope})
		}
		return c.print(env, list, table("There are no roles.", []string{"NAME", "KIND", "PERMISSIONS", "DATA SCOPE"}, rows))
	}
	if c.Team == "" {
		return show(org.BuiltInRoles())
	}
	return c.with(env, func(a *server.Admin) error {
		roles, err := a.Directory.Roles(env.ctx, c.Team)
		if err != nil {
			return err
		}
		return show(roles)
	})
}
