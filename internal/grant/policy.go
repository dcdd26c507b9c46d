package grant

import (
	"time"

	"github.com/orielhq/oriel/internal/org"
)

// Policy is what the organization and a team ask of connections.
type Policy struct{ Organization, Team org.Reconnect }

// Under returns the lifetimes that hold under a policy: what the organization
// has set stands before the server's settings, and a team can only ask for
// more.
func (l Lifetimes) Under(p Policy) Lifetimes {
	switch p.Organization.Disconnect {
	case org.DisconnectHourly:
		l.Hourly = true
	case org.DisconnectOff:
		l.Hourly = false
	}
	switch p.Organization.Return {
	case org.ReturnInteractive:
		l.Interactive = true
	case org.ReturnRefresh:
		l.Interactive = false
	}
	l.Hourly = l.Hourly || p.Team.Disconnect == org.DisconnectHourly
	l.Interactive = l.Interactive || p.Team.Return == org.ReturnInteractive
	l.SignInAge = shorter(p.Organization.SignInAge, p.Team.SignInAge)
	return l
}

// shorter returns the shorter of two bounds; 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// SignInTooOld says whether somebody must prove again who they are.
func (l Lifetimes) SignInTooOld(authTime, now time.Time) bool {
	return l.SignInAge > 0 && now.After(authTime.Add(l.SignInAge))
}
