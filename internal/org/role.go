package org

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Permission is what a role lets its holder do in a team, as resource:Action.
type Permission string

// The permissions.
const (
	LogsRead         Permission = "logs:Read"
	SpansRead        Permission = "spans:Read"
	MetricsRead      Permission = "metrics:Read"
	AlertsRead       Permission = "alerts:Read"
	AlertsWrite      Permission = "alerts:Write"
	AnnotationsWrite Permission = "annotations:Write"
	TeamAdmin        Permission = "team:Admin"
)

// Permissions lists every permission, in the order in which people see them.
func Permissions() []Permission {
	return []Permission{LogsRead, SpansRead, MetricsRead, AlertsRead, AlertsWrite, AnnotationsWrite, TeamAdmin}
}

// ReadsTelemetry says whether the permission shows telemetry, so that data
// scopes, hidden fields and look-backs narrow it.
func (p Permission) ReadsTelemetry() bool {
	switch p {
	case LogsRead, SpansRead, MetricsRead, AlertsRead:
		return true
	}
	return false
}

// Words says what the permission lets somebody do, as in "may …".
func (p Permission) Words() string {
	switch p {
	case LogsRead:
		return "read logs"
	case SpansRead:
		return "read traces"
	case MetricsRead:
		return "read metrics"
	case AlertsRead:
		return "read alerts"
	case AlertsWrite:
		return "change alerts"
	case AnnotationsWrite:
		return "write annotations"
	case TeamAdmin:
		return "administer the team"
	}
	return string(p)
}

// ParsePermissions reads a comma-separated list of permissions.
func ParsePermissions(s string) ([]Permission, error) {
	var out []Permission
	for part := range strings.SplitSeq(s, ",") {
		p := Permission(strings.TrimSpace(part))
		if p == "" {
			continue
		}
		if !slices.Contains(Permissions(), p) {
			return nil, fmt.Errorf("%q is not a permission (there are %s)", p, joinPermissions(Permissions()))
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func joinPermissions(ps []Permission) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = string(p)
	}
	return strings.Join(s, ", ")
}

// A Role is a named set of permissions, with limits on what they show.
type Role struct {
	Name string
	// Team is where a custom role exists; "" for the built-in ones and those
	// of the organization, which exist everywhere.
	Team        TeamID
	Permissions []Permission
	// DataScope narrows what the role's reading permissions show; nil shows
	// the whole team's telemetry.
	DataScope *telemetry.Filter
	// HiddenFields are never shown nor compared with.
	HiddenFields []string
	// LookBack is the longest age of what is shown; 0 sets no bound.
	LookBack time.Duration
}

// BuiltIn says whether the role is one of BuiltInRoles.
func (r Role) BuiltIn() bool { return r.Team == "" && IsBuiltInRole(r.Name) }

// Kind says where the role comes from: built-in, organization or team.
func (r Role) Kind() string {
	switch {
	case r.BuiltIn():
		return "built-in"
	case r.Team == "":
		return "organization"
	}
	return "team"
}

// A RoleText is a role as somebody wrote it.
type RoleText struct {
	// Team is the slug of the team whose role it is; "" is the whole
	// organization.
	Team string
	Name string
	// Permissions are checked against the ones there are.
	Permissions []Permission
	// DataScope is a filter (telemetry.ParseFilter), "" for none.
	DataScope    string
	HiddenFields []string
	// LookBack is like 12h, 7d or 4w; "" for no bound.
	LookBack string
}

// A RoleError says which part of a role's text is wrong.
type RoleError struct {
	// Field is name, permissions, data_scope, hidden_fields or look_back.
	Field string
	Err   error
}

func (e *RoleError) Error() string {
	if e.Field == "data_scope" {
		return "data scope: " + e.Err.Error()
	}
	return e.Err.Error()
}

func (e *RoleError) Unwrap() error { return e.Err }

// Parse checks the text. Errors are *RoleError.
func (t RoleText) Parse() (Role, error) {
	fail := func(field string, err error) (Role, error) { return Role{}, &RoleError{field, err} }
	r := Role{Name: strings.TrimSpace(t.Name)}
	var err error
	if _, err = ParseRoleName(r.Name); err != nil {
		return fail("name", err)
	}
	if IsBuiltInRole(r.Name) {
		return fail("name", fmt.Errorf("%q is a built-in role and cannot be changed; choose another name", r.Name))
	}
	if r.Permissions, err = ParsePermissions(joinPermissions(t.Permissions)); err != nil {
		return fail("permissions", err)
	}
	if strings.TrimSpace(t.DataScope) != "" {
		if r.DataScope, err = telemetry.ParseFilter(t.DataScope); err != nil {
			return fail("data_scope", err)
		}
	}
	if r.HiddenFields, err = telemetry.ParseHiddenFields(t.HiddenFields); err != nil {
		return fail("hidden_fields", err)
	}
	if r.DataScope != nil {
		for _, name := range r.DataScope.Names() {
			if telemetry.Hides(r.HiddenFields, name) {
				return fail("hidden_fields", fmt.Errorf("%q cannot be hidden: the data scope of the role goes by it", name))
			}
		}
	}
	if r.LookBack, err = ParseLookBack(t.LookBack); err != nil {
		return fail("look_back", err)
	}
	return r, nil
}

// maxLookBack is longer than telemetry is kept.
const maxLookBack = 10 * 365 * 24 * time.Hour

var lookBackPattern = regexp.MustCompile(`^([1-9][0-9]{0,5})([mhdw])$`)

// ParseLookBack reads a longest age: a number and m, h, d or w. "" is no
// bound, 0.
func ParseLookBack(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	m := lookBackPattern.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a look-back (write a number and m, h, d or w, like 7d)", s)
	}
	n, err := strconv.Atoi(m[1])
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
	if err != nil || n > int(maxLookBack/unit) {
		return 0, fmt.Errorf("a look-back of %s is longer than 10 years; leave it out for no bound", s)
	}
	return time.Duration(n) * unit, nil
}

// FormatLookBack undoes ParseLookBack.
func FormatLookBack(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// BuiltInRoles returns the four roles that every team has, weakest first.
func BuiltInRoles() []Role {
	read := []Permission{LogsRead, SpansRead, MetricsRead, AlertsRead}
	with := func(ps []Permission, more ...Permission) []Permission { return append(slices.Clone(ps), more...) }
	analyst := with(read, AnnotationsWrite)
	operator := with(analyst, AlertsWrite)
	return []Role{
		{Name: "viewer", Permissions: read},
		{Name: "analyst", Permissions: analyst},
		{Name: "operator", Permissions: operator},
		{Name: "admin", Permissions: with(operator, TeamAdmin)},
	}
}

// IsBuiltInRole says whether every team has a role of that name.
func IsBuiltInRole(name string) bool {
	switch name {
	case "viewer", "analyst", "operator", "admin":
		return true
	}
	return false
}

// builtInRole returns the built-in role of that name.
func builtInRole(name string) (Role, bool) {
	for _, r := range BuiltInRoles() {
		if r.Name == name {
			return r, true
		}
	}
	return Role{}, false
}

var roleNamePattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?$`)

// ParseRoleName checks the name of a role.
func ParseRoleName(s string) (string, error) {
	if !roleNamePattern.MatchString(s) {
		return "", fmt.Errorf("%q is not a role name (use 1 to 40 lower-case letters, digits, hyphens and underscores)", s)
	}
	return s, nil
}
