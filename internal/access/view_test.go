package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

func filter(t testing.TB, text string) *telemetry.Filter {
	t.Helper()
	f, err := telemetry.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRestrict(t *testing.T) {
	const day = 24 * time.Hour
	checkout, cart := filter(t, "service.name = checkout"), filter(t, "service.name = cart")
	read, alerts := []org.Permission{org.LogsRead}, []org.Permission{org.AlertsRead}
	type want struct {
		Services string // that are seen, of checkout, cart, ledger and none at all
		Hidden   []string
		LookBack time.Duration
	}
	all := "checkout cart ledger -"
	for name, test := range map[string]struct {
		roles []org.Role
		want  *want // nil where the permission is missing
	}{
		"no role":            {nil, nil},
		"one scope":          {[]org.Role{{Permissions: read, DataScope: checkout}}, &want{Services: "checkout"}},
		"two scopes":         {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read, DataScope: cart}}, &want{Services: "checkout cart"}},
		"the same twice":     {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read, DataScope: checkout}}, &want{Services: "checkout"}},
		"one role unscoped":  {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: read}}, &want{Services: all}},
		"unscoped elsewhere": {[]org.Role{{Permissions: read, DataScope: checkout}, {Permissions: alerts}}, &want{Services: "checkout"}},
		"only elsewhere":     {[]org.Role{{Permissions: alerts}}, nil},

		"hidden by all":              {[]org.Role{{Permissions: read, HiddenFields: []string{"a", "b"}}, {Permissions: read, HiddenFields: []string{"b", "c"}}}, &want{Services: all, Hidden: []string{"b"}}},
		"shown by one without scope": {[]org.Role{{Permissions: read, DataScope: cart, HiddenFields: []string{"a"}}, {Permissions: read}}, &want{Services: all}},
		"shown on other rows only": {
			[]org.Role{{Permissions: read, DataScope: cart, HiddenFields: []string{"a"}}, {Permissions: read, DataScope: checkout}},
			&want{Services: "checkout cart", Hidden: []string{"a"}},
		},
		"hidden on all rows, shown on some": {
			[]org.Role{{Permissions: read, HiddenFields: []string{"a"}}, {Permissions: read, DataScope: checkout}}, &want{Services: all, Hidden: []string{"a"}},
		},
		"shown on the same rows": {
			[]org.Role{{Permissions: read, DataScope: cart, HiddenFields: []string{"a"}}, {Permissions: read, DataScope: cart}}, &want{Services: "cart"},
		},
		"a name above another": {
			[]org.Role{{Permissions: read, HiddenFields: []string{"user"}}, {Permissions: read, HiddenFields: []string{"user.email"}}},
			&want{Services: all, Hidden: []string{"user.email"}},
		},
		"hidden where the permission is not given": {[]org.Role{{Permissions: read}, {Permissions: alerts, HiddenFields: []string{"a"}}}, &want{Services: all}},
		"a scope by a field that another role hides": {
			[]org.Role{{Permissions: read, HiddenFields: []string{"service"}, DataScope: filter(t, "env = x")}, {Permissions: read, DataScope: checkout}}, &want{Hidden: []string{"service"}},
		},

		"the longest of roles without scope": {[]org.Role{{Permissions: read, LookBack: day}, {Permissions: read, LookBack: 7 * day}}, &want{Services: all, LookBack: 7 * day}},
		"no bound is the longest":            {[]org.Role{{Permissions: read, LookBack: day}, {Permissions: read}}, &want{Services: all}},
		"longer on other rows only": {
			[]org.Role{{Permissions: read, LookBack: day}, {Permissions: read, DataScope: cart, LookBack: 7 * day}}, &want{Services: all, LookBack: day},
		},
		"longer on all rows": {
			[]org.Role{{Permissions: read, LookBack: 7 * day}, {Permissions: read, DataScope: cart, LookBack: day}}, &want{Services: all, LookBack: 7 * day},
		},
		"shown by the role that looks back less": {
			[]org.Role{{Permissions: read, LookBack: day}, {Permissions: read, LookBack: 7 * day, HiddenFields: []string{"a"}}},
			&want{Services: all, LookBack: 7 * day, Hidden: []string{"a"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				r, ok := access.Restrict(test.roles, org.LogsRead)
				if ok != (test.want != nil) || ok != org.NewStanding(test.roles).May(org.LogsRead) {
					t.Fatalf("ok = %v", ok)
				}
				if ok {
					got := want{Hidden: r.Hidden, LookBack: r.LookBack}
					for _, s := range []string{"checkout", "cart", "ledger", ""} {
						if r.Filter == nil || r.Filter.Match(func(n string) string { return map[string]string{"service.name": s}[n] }) {
							if got.Services != "" {
								got.Services += " "
							}
							if s == "" {
								s = "-"
							}
							got.Services += s
						}
					}
					if d := cmp.Diff(*test.want, got); d != "" {
						t.Error(d)
					}
				}
				slices.Reverse(test.roles) // their order must not matter
			}
		})
	}
}

// However roles are combined: a value is shown only if a role alone shows it.
func TestRolesTogetherShowNothingThatNoneShows(t *testing.T) {
	fields := []string{"service", "env", "user", "user.email"}
	scopes := []string{"", "service = a", "service = b", "service != a", "env = x", "env != x and service = a"}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	shows := func(r telemetry.Restriction, row map[string]string, age time.Duration, field string) bool {
		return (r.Filter == nil || r.Filter.Match(func(n string) string { return row[n] })) && (r.LookBack == 0 || age <= r.LookBack) && !telemetry.Hides(r.Hidden, field)
	}
	for range 5000 {
		var roles []org.Role
		for range 1 + random.IntN(3) {
			role := org.Role{Permissions: []org.Permission{org.LogsRead}, LookBack: time.Duration(random.IntN(3)) * time.Hour}
			if s := pick(scopes); s != "" {
				role.DataScope = filter(t, s)
			}
			for range random.IntN(3) {
				role.HiddenFields = append(role.HiddenFields, pick(fields))
			}
			roles = append(roles, role)
		}
		together, _ := access.Restrict(roles, org.LogsRead)
		for range 20 {
			row := map[string]string{"service": pick([]string{"", "a", "b", "c"}), "env": pick([]string{"", "x", "y"})}
			age, field := time.Duration(random.IntN(200))*time.Minute, pick(fields)
			if !shows(together, row, age, field) {
				continue
			}
			if !slices.ContainsFunc(roles, func(r org.Role) bool {
				return shows(telemetry.Restriction{Filter: r.DataScope, LookBack: r.LookBack, Hidden: r.HiddenFields}, row, age, field)
			}) {
				t.Fatalf("%s of %v, %s old, is shown by %s", field, row, age, fmt.Sprint(roles))
			}
		}
	}
}

func TestRolesOfTheOrganizationTakeHoldOnTheNextCall(t *testing.T) {
	f := granttest.New(t)
	gate, _ := newGate(t, f)
	token := f.Connect("c").Access
	save := func(text org.RoleText) {
		t.Helper()
		_, err := f.Directory.SaveRole(t.Context(), text, audit.System())
		f.Must(err)
	}
	text := org.RoleText{Name: "everywhere", Permissions: []org.Permission{org.LogsRead}, DataScope: "env = prod", HiddenFields: []string{"user.email"}, LookBack: "7d"}
	save(text)
	f.SetRoles("everywhere")
	view := func() telemetry.View {
		t.Helper()
		c, err := gate.Check(t.Context(), token, f.Resources.Bare())
		f.Must(err)
		return c.View(org.LogsRead)
	}
	if v := view(); v.Filter() == nil || v.LookBack() != 7*24*time.Hour || !slices.Equal(v.Hidden(), []string{"user.email"}) {
		t.Errorf("%+v", v)
	}
	text.HiddenFields, text.LookBack = nil, "12h"
	save(text)
	if v := view(); v.LookBack() != 12*time.Hour || len(v.Hidden()) != 0 {
		t.Errorf("the change did not take hold: %+v", v)
	}
}
