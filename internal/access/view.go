package access

import (
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Restrict combines what roles show with the permission p. ok is false where
// none of them gives it.
//
// Rows: what any of the roles shows. A field, or an age, is shown where the
// roles that show it show, between them, every row that is shown at all. So
// two roles together never show a value that neither shows alone, and a role
// without limits takes all limits away. A role whose data scope goes by a
// field that is hidden in the end shows no rows: the engine could not tell
// which.
func Restrict(roles []org.Role, p org.Permission) (r telemetry.Restriction, ok bool) {
	giving := slices.DeleteFunc(slices.Clone(roles), func(r org.Role) bool { return !slices.Contains(r.Permissions, p) })
	if len(giving) == 0 {
		return telemetry.Restriction{}, false
	}
	var far []org.Role // those that look back far enough
	r.LookBack, far = lookBack(giving)
	for _, role := range giving {
		for _, field := range role.HiddenFields {
			showing := slices.DeleteFunc(slices.Clone(far), func(r org.Role) bool { return telemetry.Hides(r.HiddenFields, field) })
			if !cover(showing, giving) && !slices.Contains(r.Hidden, field) {
				r.Hidden = append(r.Hidden, field)
			}
		}
	}
	slices.Sort(r.Hidden)
	var scopes []*telemetry.Filter
	for _, role := range giving {
		if role.DataScope == nil || !namesHidden(role.DataScope, r.Hidden) {
			scopes = append(scopes, role.DataScope)
		}
	}
	r.Filter = telemetry.Union(scopes...)
	return r, true
}

// lookBack returns the longest look-back of which the roles that have it show
// every row that is shown, and those roles.
func lookBack(roles []org.Role) (longest time.Duration, having []org.Role) {
	longer := func(a, b time.Duration) int { // 0 is the longest
		switch {
		case a == b:
			return 0
		case a == 0 || (b != 0 && a > b):
			return -1
		}
		return 1
	}
	sorted := slices.SortedStableFunc(slices.Values(roles), func(a, b org.Role) int { return longer(a.LookBack, b.LookBack) })
	for i, role := range sorted {
		if i+1 < len(sorted) && sorted[i+1].LookBack == role.LookBack {
			continue
		}
		if cover(sorted[:i+1], roles) {
			return role.LookBack, sorted[:i+1]
		}
	}
	return sorted[len(sorted)-1].LookBack, sorted // not reached: all cover all
}

// cover says whether some of the roles certainly show every row that all do.
func cover(some, all []org.Role) bool {
	if slices.ContainsFunc(some, func(r org.Role) bool { return r.DataScope == nil }) {
		return true
	}
	for _, role := range all {
		if role.DataScope == nil || !slices.ContainsFunc(some, func(r org.Role) bool { return r.DataScope.String() == role.DataScope.String() }) {
			return false
		}
	}
	return true
}
