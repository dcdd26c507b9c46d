package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// TestVisitorSeesWhatACallerSees compares both for the same person, whatever
// their roles are.
func TestVisitorSeesWhatACallerSees(t *testing.T) {
	f := granttest.New(t)
	by := audit.System()
	_, err := f.Directory.SaveRole(t.Context(), org.RoleText{
		Team: "shop", Name: "carts", Permissions: []org.Permission{org.LogsRead, org.MetricsRead}, DataScope: "service.name = cart", HiddenFields: []string{"user.email"}, LookBack: "7d",
	}, by)
	f.Must(err)
	g, _ := newGate(t, f)
	visit := func(in access.SignIn) *access.Visitor {
		t.Helper()
		ada, err := f.Directory.Person(t.Context(), f.Ada.ID)
		f.Must(err)
		v, err := access.Visit(t.Context(), f.Directory, f.Authority.Lifetimes, ada, f.Shop, in, f.Now())
		f.Must(err)
		return v
	}
	now := access.SignIn{AMR: []string{"pwd"}, Time: f.Now()}
	for i, roles := range [][]string{{"viewer"}, {"carts"}, {"carts", "viewer"}, {"operator"}} {
		f.SetRoles(roles...)
		token := f.Connect("page-" + string(rune('a'+i))).Access
		caller, err := g.Check(t.Context(), token, f.Resources.Bare())
		f.Must(err)
		v := visit(now)
		if v.Refused() != "" {
			t.Fatalf("%v: refused: %s", roles, v.Refused())
		}
		for _, p := range org.Permissions() {
			if caller.HasScope(p) && v.May(p) != caller.May(p) {
				t.Errorf("%v: the visitor may %s: %t, the caller: %t", roles, p, v.May(p), caller.May(p))
			}
			if caller.HasScope(p) && !cmp.Equal(v.View(p), caller.View(p), cmp.AllowUnexported(telemetry.View{}), cmp.Comparer(func(a, b *telemetry.Filter) bool {
				return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
			})) {
				t.Errorf("%v: %s shows\n%+v, to the caller\n%+v", roles, p, v.View(p), caller.View(p))
			}
		}
	}

	refused := func(words string, in access.SignIn) {
		t.Helper()
		v := visit(in)
		if !strings.Contains(v.Refused(), words) || strings.Contains(v.Refused(), "connect") {
			t.Errorf("refused with %q, want %q", v.Refused(), words)
		}
		for _, p := range org.Permissions() {
			if _, sees := v.View(p).Tenant(); v.May(p) || sees {
				t.Errorf("refused because %s, and may %s", v.Refused(), p)
			}
		}
	}
	f.Must(f.Directory.SetReconnect(t.Context(), "shop", org.Reconnect{SignInAge: time.Hour}, by))
	refused("the sign-in is older", access.SignIn{AMR: now.AMR, Time: f.Now().Add(-2 * time.Hour)})
	f.Must(f.Directory.SetMFA(t.Context(), "shop", org.MFARequired, by))
	refused("second factor; sign in again", now)
	if v := visit(access.SignIn{AMR: []string{"pwd", "mfa"}, Time: f.Now()}); v.Refused() != "" {
		t.Errorf("refused with a second factor: %s", v.Refused())
	}
	f.Must(f.Directory.RemoveMember(t.Context(), "shop", f.Ada.Email, by))
	refused("no longer a member", now)
	_, err = f.Directory.Disable(t.Context(), f.Ada.Email, by)
	f.Must(err)
	refused("disabled", now)

	var none *access.Visitor
	if none.May(org.LogsRead) || (&access.Visitor{}).May(org.LogsRead) {
		t.Error("the zero visitor may read logs")
	}
}
