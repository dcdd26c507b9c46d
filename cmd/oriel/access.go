package main

import (
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/server"
)

type accessCommand struct {
	Explain accessExplain `cmd:"" help:"Say which role or group gives or withholds each permission, what it shows, and what connected clients can do."`
}

type accessExplain struct {
	adminFlags
	Email string `required:"" help:"E-mail address of the person." placeholder:"E"`
	Team  string `required:"" help:"Slug of the team." placeholder:"S"`
}

type jsonHeldRole struct {
	jsonRole
	Exists bool     `json:"exists"`
	Direct bool     `json:"direct"`
	Groups []string `json:"groups"`
}

type jsonPermission struct {
	Permission   string   `json:"permission"`
	Given        bool     `json:"given"`
	By           []string `json:"by"`
	WouldGive    []string `json:"would_give,omitempty"`
	Rows         string   `json:"rows,omitempty"`
	DataScope    string   `json:"data_scope,omitempty"`
	HiddenFields []string `json:"hidden_fields,omitempty"`
	LookBack     string   `json:"look_back,omitempty"`
	NoRows       []string `json:"roles_without_rows,omitempty"`
}

type jsonConnectionAccess struct {
	Grant   string   `json:"grant"`
	Client  string   `json:"client"`
	Scopes  string   `json:"scopes"`
	Refused string   `json:"refused,omitempty"`
	May     []string `json:"may"`
	NoScope []string `json:"withheld_by_scopes"`
	NoRole  []string `json:"withheld_by_roles"`
}

type jsonExplanation struct {
	Email       string                 `json:"email"`
	Team        string                 `json:"team"`
	Refused     string                 `json:"refused,omitempty"`
	Roles       []jsonHeldRole         `json:"roles"`
	Permissions []jsonPermission       `json:"permissions"`
	Connections []jsonConnectionAccess `json:"connections"`
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func toJSONExplanation(e access.Explanation) jsonExplanation {
	j := jsonExplanation{
		Email: e.Person.Email, Team: e.Team.Slug, Refused: e.Refused,
		Roles: []jsonHeldRole{}, Permissions: []jsonPermission{}, Connections: []jsonConnectionAccess{},
	}
	for _, h := range e.Roles {
		j.Roles = append(j.Roles, jsonHeldRole{jsonRole: toJSONRole(h.Role), Exists: h.Exists, Direct: h.Direct, Groups: append([]string{}, h.Groups...)})
	}
	for _, p := range e.Permissions {
		out := jsonPermission{Permission: string(p.Permission), Given: p.Given, By: []string{}}
		for _, h := range p.By {
			out.By = append(out.By, h.Role.Name+" ("+h.From()+")")
		}
		if !p.Given {
			out.WouldGive = p.WouldGive
		}
		if p.Given && p.Reads {
			out.Rows, out.HiddenFields, out.LookBack, out.NoRows = p.Rows, p.Restriction.Hidden, org.FormatLookBack(p.Restriction.LookBack), p.NoRows
			if p.Restriction.Filter != nil {
				out.DataScope = p.Restriction.Filter.String()
			}
		}
		j.Permissions = append(j.Permissions, out)
	}
	for _, c := range e.Connections {
		j.Connections = append(j.Connections, jsonConnectionAccess{
			Grant: string(c.Connection.Grant.ID), Client: c.Connection.Client.Name(), Scopes: c.Connection.Grant.Scopes.String(),
			Refused: c.Refused, May: texts(c.May), NoScope: texts(c.NoScope), NoRole: texts(c.NoRole),
		})
	}
	return j
}

// Run explains.
func (c *accessExplain) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		e, err := a.Explain(env.ctx, c.Email, c.Team)
		if err != nil {
			return err
		}
		return c.print(env, toJSONExplanation(e), explained(e))
	})
}

// explained is an explanation as text.
func explained(e access.Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s) in %s (%s)\n", e.Person.Name, e.Person.Email, e.Team.Name, e.Team.Slug)
	if e.Refused != "" {
		fmt.Fprintf(&b, "Everything is refused: %s.\n", e.Refused)
	}
	if len(e.Roles) > 0 {
		b.WriteString("\nRoles\n")
		for _, h := range e.Roles {
			what := permissionList(h.Role) + limits(h.Role)
			if !h.Exists {
				what = "there is no such role, so it gives nothing"
			}
			fmt.Fprintf(&b, "  %s, %s: %s\n", h.Role.Name, h.From(), what)
		}
	}
	b.WriteString("\nPermissions\n")
	for _, p := range e.Permissions {
		if !p.Given {
			fmt.Fprintf(&b, "  no   %s: no role gives it", p.Permission)
			if len(p.WouldGive) > 0 {
				fmt.Fprintf(&b, "; %s would", strings.Join(p.WouldGive, ", "))
			}
			b.WriteString("\n")
			continue
		}
		var by []string
		for _, h := range p.By {
			by = append(by, h.Role.Name+" ("+h.From()+")")
		}
		fmt.Fprintf(&b, "  yes  %s: from %s\n", p.Permission, strings.Join(by, ", "))
		if !p.Reads {
			continue
		}
		fmt.Fprintf(&b, "       rows: %s; back: %s", p.Rows, p.LookBack())
		if len(p.Restriction.Hidden) > 0 {
			fmt.Fprintf(&b, "; hidden: %s", strings.Join(p.Restriction.Hidden, ", "))
		}
		b.WriteString("\n")
		for _, name := range p.NoRows {
			fmt.Fprintf(&b, "       %s shows no rows: its data scope goes by a hidden field\n", name)
		}
	}
	b.WriteString("\nConnected clients\n")
	if len(e.Connections) == 0 {
		b.WriteString("  none\n")
	}
	for _, c := range e.Connections {
		fmt.Fprintf(&b, "  %q (%s)\n", c.Connection.Client.Name(), c.Connection.Grant.ID)
		if c.Refused != "" {
			fmt.Fprintf(&b, "    refused: %s\n", c.Refused)
		}
		for _, line := range []struct {
			what string
			list []org.Permission
		}{{"may", c.May}, {"not allowed to the client", c.NoScope}, {"allowed, but no role gives it", c.NoRole}} {
			if len(line.list) > 0 {
				fmt.Fprintf(&b, "    %s: %s\n", line.what, strings.Join(texts(line.list), ", "))
			}
		}
	}
	return b.String()
}
