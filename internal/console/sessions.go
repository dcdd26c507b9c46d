package console

import (
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/web"
)

// maxSignIns is how many sign-ins a page tells of.
const maxSignIns = 20

// shownSignIns are sign-ins and refused attempts as pages show them.
func shownSignIns(events []audit.Event) []web.SignIn {
	var out []web.SignIn
	for _, ev := range events {
		out = append(out, web.SignIn{At: ev.At, Address: ev.Actor.Address, How: ev.Detail, Refused: ev.Kind == audit.SignInRefused})
	}
	return out
}
