package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Explanation says what a person may do in a team now, and why.
type Explanation struct {
	Person org.Person
	Team   org.Team
	// Refused says why nothing at all is possible, "" where something is.
	Refused string
	// Roles are those given, each with where it comes from.
	Roles []HeldRole
	// Permissions are all there are, given or not.
	Permissions []ExplainedPermission
	// Connections are what the person's clients in the team can do with that.
	Connections []ExplainedConnection
}

// HeldRole is a role that was given to a person.
type HeldRole struct {
	Role org.Role
	// Exists is false for a role that was given by name and is not there: it
	// gives nothing.
	Exists bool
	// Direct says that the person was given it alone; Groups that give it.
	Direct bool
	Groups []string
}

// From says where the role comes from.
func (h HeldRole) From() string {
	var from []string
	if h.Direct {
		from = append(from, "given directly")
	}
	for _, g := range h.Groups {
		from = append(from, "group "+g)
	}
	return strings.Join(from, ", ")
}

// ExplainedPermission is one permission and what it shows.
type ExplainedPermission struct {
	Permission org.Permission
	// Given says that some role gives it; By which.
	Given bool
	By    []HeldRole
	// WouldGive are the built-in roles that would give it.
	WouldGive []string
	// Reads says that it shows telemetry, so that the limits below matter.
	Reads bool
	// Restriction is what is in force for the person.
	Restriction telemetry.Restriction
	// Rows says in words which rows are seen.
	Rows string
	// NoRows are the roles that show no rows, because their data scope goes
	// by a field that is hidden.
	NoRows []string
}

// LookBack says in words how far back the permission looks.
func (p ExplainedPermission) LookBack() string {
	if p.Restriction.LookBack == 0 {
		return "as far as there is"
	}
	return "the last " + org.FormatLookBack(p.Restriction.LookBack)
}

// ExplainedConnection is a client and what its scopes leave.
type ExplainedConnection struct {
	Connection grant.Connection
	// Refused says why its calls are refused at present, "" where they are
	// not.
	Refused string
	// May is what its calls may do.
	May []org.Permission
	// NoScope is what the roles give and its scopes do not, NoRole the other
	// way round. Permissions that no client can use are in neither.
	NoScope, NoRole []org.Permission
}

// Explain looks up what a person may do in a team, with the words and the
// computation that calls are decided with.
func Explain(ctx context.Context, d *org.Directory, a *grant.Authority, person org.Person, team org.Team, now time.Time) (Explanation, error) {
	e := Explanation{Person: person, Team: team}
	m, err := d.Membership(ctx, person.ID, team.ID)
	if err != nil && !errors.Is(err, org.ErrNotMember) {
		return e, err
	}
	m.Team = team
	standing, err := d.Standing(ctx, m)
	if err != nil {
		return e, err
	}
	e.Roles = heldRoles(m, standing)
	switch {
	case !person.Active():
		e.Refused = "the account is disabled"
	case !standing.Member():
		e.Refused = "the person holds no role in the team"
	}
	for _, p := range org.Permissions() {
		e.Permissions = append(e.Permissions, explainPermission(p, e.Roles, standing))
	}
	connections, err := a.Connections(ctx, grant.ConnectionFilter{Person: person.ID, Team: team.ID})
	if err != nil {
		return e, err
	}
	demanded, err := d.MFA(ctx, team.ID)
	if err != nil {
		return e, fmt.Errorf("read policy: %w", err)
	}
	for _, c := range connections {
		s := grant.Standing{Grant: c.Grant, Person: person, Team: team, Roles: standing, Client: c.Client, MFA: demanded}
		out := ExplainedConnection{Connection: c}
		if err := s.Verdict(now, a.Lifetimes); err != nil {
			out.Refused = err.Error()
		}
		caller := &Caller{standing: &s, scopes: c.Grant.Scopes}
		for _, p := range org.Permissions() {
			_, usable := ScopeFor(p)
			switch {
			case !usable:
			case caller.May(p):
				out.May = append(out.May, p)
			case caller.HasPermission(p):
				out.NoScope = append(out.NoScope, p)
			case caller.HasScope(p):
				out.NoRole = append(out.NoRole, p)
			}
		}
		e.Connections = append(e.Connections, out)
	}
	return e, nil
}

// heldRoles pairs the names that a person was given with the roles there are.
func heldRoles(m org.Member, standing org.Standing) []HeldRole {
	var out []HeldRole
	for _, name := range m.Roles {
		h := HeldRole{Role: org.Role{Name: name}, Direct: slices.Contains(m.Direct, name)}
		for _, g := range m.Through {
			if slices.Contains(g.Roles, name) {
				h.Groups = append(h.Groups, g.Group.Name)
			}
		}
		for _, r := range standing.Roles() {
			if r.Name == name {
				h.Role, h.Exists = r, true
			}
		}
		out = append(out, h)
	}
	return out
}

func explainPermission(p org.Permission, roles []HeldRole, standing org.Standing) ExplainedPermission {
	out := ExplainedPermission{Permission: p, Given: standing.May(p), Reads: p.ReadsTelemetry()}
	for _, r := range org.BuiltInRoles() {
		if slices.Contains(r.Permissions, p) {
			out.WouldGive = append(out.WouldGive, r.Name)
		}
	}
	for _, h := range roles {
		if h.Exists && slices.Contains(h.Role.Permissions, p) {
			out.By = append(out.By, h)
		}
	}
	out.Restriction, _ = Restrict(standing.Roles(), p)
	for _, h := range out.By {
		if h.Role.DataScope != nil && namesHidden(h.Role.DataScope, out.Restriction.Hidden) {
			out.NoRows = append(out.NoRows, h.Role.Name)
		}
	}
	switch f := out.Restriction.Filter; {
	case !out.Given:
		out.Rows = "none"
	case f == nil:
		out.Rows = "everything of the team"
	case f.Node() == nil:
		out.Rows = "none"
	default:
		out.Rows = "only where " + f.String()
	}
	return out
}

// namesHidden says whether a filter goes by a hidden field.
func namesHidden(f *telemetry.Filter, hidden []string) bool {
	return slices.ContainsFunc(f.Names(), func(name string) bool { return telemetry.Hides(hidden, name) })
}

// Preview returns a view of what a role shows with the permission p to
// somebody who tries it out, and one to compare it with: never more than the
// person holding the standing sees in the team. ok is false where that is
// nothing.
func Preview(standing org.Standing, tenant telemetry.TenantID, role org.Role, p org.Permission) (preview, all telemetry.View, ok bool) {
	own, ok := Restrict(standing.Roles(), p)
	if !ok {
		return telemetry.View{}, telemetry.View{}, false
	}
	try := telemetry.Restriction{Filter: telemetry.Intersection(own.Filter, role.DataScope), LookBack: own.LookBack}
	if role.LookBack > 0 && (own.LookBack == 0 || role.LookBack < own.LookBack) {
		try.LookBack = role.LookBack
	}
	try.Hidden = slices.Concat(own.Hidden, role.HiddenFields)
	slices.Sort(try.Hidden)
	try.Hidden = slices.Compact(try.Hidden)
	return telemetry.NewView(tenant, try), telemetry.NewView(tenant, own), true
}

// ErrBeyondOwn is wrapped by what Within returns.
var ErrBeyondOwn = errors.New("nobody can give more than they have")

// Within returns nil where a role gives no more than the standing has: each of
// its permissions, over rows, fields and ages that the standing sees too. It
// may refuse a role that gives less in a way that cannot be told from its
// text. The error says in words what goes beyond.
func Within(standing org.Standing, role org.Role) error {
	for _, p := range role.Permissions {
		own, ok := Restrict(standing.Roles(), p)
		if !ok {
			return fmt.Errorf("%w: the role %s gives %s, which you do not hold in this team", ErrBeyondOwn, role.Name, p)
		}
		if !p.ReadsTelemetry() {
			continue
		}
		gives, _ := Restrict([]org.Role{role}, p)
		switch {
		case own.Filter != nil && (gives.Filter == nil || own.Filter.String() != gives.Filter.String()):
			return fmt.Errorf("%w: you see %s only where %s, so the role %s must have that as its data scope", ErrBeyondOwn, p, own.Filter, role.Name)
		case own.LookBack != 0 && (gives.LookBack == 0 || gives.LookBack > own.LookBack):
			return fmt.Errorf("%w: you look back %s with %s, and the role %s further", ErrBeyondOwn, org.FormatLookBack(own.LookBack), p, role.Name)
		}
		for _, field := range own.Hidden {
			if !telemetry.Hides(gives.Hidden, field) {
				return fmt.Errorf("%w: the field %s is hidden from you, and not by the role %s", ErrBeyondOwn, field, role.Name)
			}
		}
	}
	return nil
}
