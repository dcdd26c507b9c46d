package spec

import "strings"

// Scopes that a client can ask for.
const (
	ScopeLogsRead      = "logs:read"
	ScopeTracesRead    = "traces:read"
	ScopeMetricsRead   = "metrics:read"
	ScopeAlertsRead    = "alerts:read"
	ScopeAlertsWrite   = "alerts:write"
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopeOfflineAccess = "offline_access"
)

// scopeNames gives each scope its bit in Scopes and its place in printed lists. Append only: stored sets are text, but
// people compare lists.
var scopeNames = [...]string{
	ScopeLogsRead, ScopeTracesRead, ScopeMetricsRead, ScopeAlertsRead, ScopeAlertsWrite,
	ScopeOpenID, ScopeProfile, ScopeEmail, ScopeOfflineAccess,
}

// maxScopeBytes bounds how much of a scope parameter is read: all known scopes take about 100 bytes, SDKs send
// everything a server ever advertised, nobody needs more than this.
const maxScopeBytes = 4096

// Scopes is a set of known scopes in a fixed order. The zero value is the empty set; sets compare with ==.
type Scopes struct{ bits uint16 }

// NewScopes returns the set of the given scopes; unknown names are dropped.
func NewScopes(names ...string) Scopes {
	var s Scopes
	for _, n := range names {
		s.bits |= scopeBit(n)
	}
	return s
}

// ParseScopes reads a space-separated scope parameter (RFC 6749 §3.3). Unknown scopes and duplicates are dropped, since
// SDKs ask for whatever they once saw; so is all beyond the first 4 KiB.
func ParseScopes(s string) Scopes {
	if len(s) > maxScopeBytes {
		s = s[:maxScopeBytes]
		// The last word may be cut: a known scope must not come out of a longer unknown one.
		s = s[:strings.LastIndexByte(s, ' ')+1]
	}
	return NewScopes(strings.Fields(s)...)
}

// AllScopes returns every scope there is, as authorization server metadata lists them.
func AllScopes() Scopes { return Scopes{1<<len(scopeNames) - 1} }

// DefaultScopes returns what a client gets that asks for nothing we know: reading, no writing.
func DefaultScopes() Scopes {
	return NewScopes(ScopeLogsRead, ScopeTracesRead, ScopeMetricsRead, ScopeAlertsRead)
}

// ResourceScopes returns the scopes that the MCP resource itself understands, for its metadata and challenges. OpenID
// Connect's scopes are not among them, and offline_access SHOULD NOT be (MCP 2026-07-28, authorization).
func ResourceScopes() Scopes {
	return NewScopes(ScopeLogsRead, ScopeTracesRead, ScopeMetricsRead, ScopeAlertsRead, ScopeAlertsWrite)
}

// OrDefault returns what a request for these scopes is taken to mean: when it holds no scope of the resource, the
// default ones are added. Some clients ask only for "openid email profile", and a token that opens nothing helps nobody.
func (s Scopes) OrDefault() Scopes {
	if s.Intersect(ResourceScopes()).IsEmpty() {
		return s.Union(DefaultScopes())
	}
	return s
}

// Intersect returns the scopes that are in both sets.
func (s Scopes) Intersect(o Scopes) Scopes { return Scopes{s.bits & o.bits} }

// Union returns the scopes that are in either set.
func (s Scopes) Union(o Scopes) Scopes { return Scopes{s.bits | o.bits} }

// Without returns the scopes that are not in o.
func (s Scopes) Without(o Scopes) Scopes { return Scopes{s.bits &^ o.bits} }

// Contains reports whether all scopes of o are in s; the empty set is in every set.
func (s Scopes) Contains(o Scopes) bool { return o.bits&^s.bits == 0 }

// Has reports whether the named scope is in s; an unknown name never is.
func (s Scopes) Has(name string) bool { return s.bits&scopeBit(name) != 0 }

// IsEmpty reports whether there is no scope in s.
func (s Scopes) IsEmpty() bool { return s.bits == 0 }

// List returns the scopes in the fixed order, nil for the empty set.
func (s Scopes) List() []string {
	var names []string
	for i, n := range scopeNames {
		if s.bits&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String returns the scopes separated by spaces, as in a scope parameter.
func (s Scopes) String() string { return strings.Join(s.List(), " ") }

// MarshalText returns String.
func (s Scopes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseScopes.
func (s *Scopes) UnmarshalText(b []byte) error {
	*s = ParseScopes(string(b))
	return nil
}

func scopeBit(name string) uint16 {
	for i, n := range scopeNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}
