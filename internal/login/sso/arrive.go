package sso

import (
	"fmt"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// RefusedError says why somebody whom a provider vouches for is not let in.
type RefusedError struct {
	// Person is whom it would have been, "" for nobody known.
	Person org.PersonID
	// Reason is for the audit log, Public and Next are shown.
	Reason       string
	Public, Next string
}

func (e *RefusedError) Error() string { return "sign-in refused: " + e.Reason }

// decide finds out who an arrival is and what the sign-in changes. Errors:
// *RefusedError; any other is our own fault.
func (a Arrival) decide(f Found) (Outcome, error) {
	var o Outcome
	p := a.Provider
	refuse := func(reason, public, next string) (Outcome, error) {
		return Outcome{}, &RefusedError{Person: o.Person.ID, Reason: "at " + p.Slug + ": " + reason, Public: public, Next: next}
	}
	const ask = "Ask an owner of your organization."
	switch {
	case f.Linked != nil:
		o.Person = *f.Linked
	case a.Email == "":
		return refuse("no e-mail address that can be relied on",
			p.Name+" did not give an e-mail address that it has verified.", ask)
	case !p.Owns(a.Email):
		// Whoever speaks for one domain must not open accounts of another.
		return refuse("the address is in none of the provider's domains",
			fmt.Sprintf("%s does not speak for addresses like %s here.", p.Name, a.Email), ask)
	case f.ByEmail != nil && f.Elsewhere:
		// An address that was given to somebody new must not open the
		// account of whoever had it before.
		o.Person = *f.ByEmail
		return refuse("the account is linked to another identity at the provider",
			"The account with your address belongs to somebody else at "+p.Name+".", ask)
	case f.ByEmail != nil && f.ByEmail.Service:
		o.Person = *f.ByEmail
		return refuse("the account is a program's", "Nobody can sign in with this account.", ask)
	case f.ByEmail != nil:
		o.Person, o.Link = *f.ByEmail, true
	case p.Settings.CreateAccounts:
		name := strings.TrimSpace(a.Name)
		person, err := org.MakePerson(a.Email, name, a.At)
		if err != nil {
			// A name that cannot be shown is no reason to stay outside.
			if person, err = org.MakePerson(a.Email, a.Email, a.At); err != nil {
				return refuse(err.Error(), "Your address cannot be used here.", ask)
			}
		}
		o.Person, o.Create, o.Link = person, true, true
	default:
		return refuse("there is no account", "You have no account here yet.", "Ask an owner of your organization to add "+a.Email+".")
	}
	if !o.Person.Active() {
		return refuse("the account is disabled", "Your account here is disabled.", ask)
	}
	actor := audit.Person(string(o.Person.ID), a.Address)
	if o.Link {
		o.Events = append(o.Events, audit.Event{
			At: a.At, Actor: actor, Kind: audit.IdentityLinked, Target: string(o.Person.ID), Detail: fmt.Sprintf("%s, subject %q", p.Slug, a.Subject),
		})
	}
	a.applyRules(&o, f, actor)
	return o, nil
}

// applyRules works out which roles the groups give, and takes those that they
// gave before and do not give any more. Roles that were set by hand are not
// among those given, and stay.
func (a Arrival) applyRules(o *Outcome, f Found, actor audit.Actor) {
	wanted := a.Provider.Wanted(a.Groups)
	roles := make(map[org.TeamID][]string)
	slugs := make(map[org.TeamID]string)
	for _, m := range f.Members {
		roles[m.Team.ID], slugs[m.Team.ID] = slices.Clone(m.Roles), m.Team.Slug
	}
	var changed []org.TeamID
	touch := func(t TeamRole) {
		slugs[t.Team] = t.Slug
		if !slices.Contains(changed, t.Team) {
			changed = append(changed, t.Team)
		}
	}
	for _, g := range f.Given {
		if slices.Contains(wanted, g) {
			continue
		}
		o.Take = append(o.Take, g)
		if i := slices.Index(roles[g.Team], g.Role); i >= 0 {
			roles[g.Team] = slices.Delete(roles[g.Team], i, i+1)
			touch(g)
		}
	}
	for _, w := range wanted {
		if slices.Contains(roles[w.Team], w.Role) {
			continue
		}
		roles[w.Team] = append(roles[w.Team], w.Role)
		touch(w)
		if !slices.Contains(f.Given, w) {
			o.Give = append(o.Give, w)
		}
	}
	for _, team := range changed {
		m := org.Member{Person: o.Person, Team: org.Team{ID: team, Slug: slugs[team]}, Roles: roles[team]}
		o.Set = append(o.Set, m)
		ev := audit.Event{At: a.At, Actor: audit.System(), Kind: audit.MemberSet, Target: string(o.Person.ID), Team: slugs[team]}
		ev.Detail = fmt.Sprintf("%s: %s (groups at %s)", o.Person.Email, strings.Join(m.Roles, ", "), a.Provider.Slug)
		if len(m.Roles) == 0 {
			ev.Kind, ev.Detail = audit.MemberRemoved, fmt.Sprintf("%s (groups at %s)", o.Person.Email, a.Provider.Slug)
		}
		o.Events = append(o.Events, ev)
	}
}
