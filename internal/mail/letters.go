package mail

import (
	"fmt"
	"time"
)

// A Letter is what to send.
type Letter struct{ Subject, Text string }

// Invitation asks somebody new to choose a password.
func Invitation(name, link string, until time.Time) Letter {
	return Letter{"You are invited to Oriel", fmt.Sprintf(`Hello %s,

you are invited to Oriel, with which your assistants can read your team's logs, traces and metrics.

Choose a password here:
%s

The link is good once, until %s UTC. Do not pass it on: whoever opens it gets your account.
If you did not expect this letter, you need not do anything.
`, name, link, until.UTC().Format("2 January 2006, 15:04"))}
}

// NewPassword lets somebody choose a new password.
func NewPassword(name, link string, until time.Time) Letter {
	return Letter{"Choose a new password for Oriel", fmt.Sprintf(`Hello %s,

you can choose a new password for Oriel here:
%s

The link is good once, until %s UTC. Do not pass it on: whoever opens it gets your account.
If you did not ask for it, you need not do anything: your password stays as it is.
`, name, link, until.UTC().Format("2 January 2006, 15:04"))}
}

// Changed tells somebody about a change of their account that they did not
// make, if they did not.
func Changed(name, what string) Letter {
	return Letter{"Your account at Oriel has changed", fmt.Sprintf(`Hello %s,

%s

If that was not you, tell an administrator of your organization at once.
`, name, what)}
}

// Test is for trying whether letters arrive.
func Test() Letter {
	return Letter{"A letter from Oriel", "This letter was sent to try whether letters from Oriel arrive. They do.\n"}
}
