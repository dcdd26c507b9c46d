package scim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// User is a person as providers see them (RFC 7643 §4.1).
type User struct {
	ID org.PersonID
	// UserName is unique, and the e-mail address where no provider said
	// otherwise.
	UserName   string
	ExternalID string
	// Email is what the person signs in with and is known by.
	Email                 string
	Name                  string
	GivenName, FamilyName string
	Active                bool
	// Deleted hides the user from providers.
	Deleted           bool
	Created, Modified time.Time
}

// users are the people as a kind of resource.
type users struct{ *Server }

func (k users) list(ctx context.Context, f filter) ([]map[string]any, error) {
	for by, attribute := range map[UserKey]string{ByUserName: "username", ByExternalID: "externalid", ByID: "id"} {
		value, ok := only(f, attribute)
		if !ok {
			continue
		}
		u, err := k.Store.SCIMUser(ctx, by, value)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("find user: %w", err)
		}
		r, err := k.withGroups(ctx, u)
		return []map[string]any{r}, err
	}
	all, err := k.Store.SCIMUsers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	// A filter may ask for them, and they are returned by default (RFC 7643
	// §4.1.2).
	in, err := k.Store.GroupsOfAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	out := make([]map[string]any, len(all))
	for i, u := range all {
		out[i] = k.in(u, in[u.ID])
	}
	return out, nil
}

func (k users) get(ctx context.Context, id string) (map[string]any, error) {
	u, err := k.Store.SCIMUser(ctx, ByID, id)
	if err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	return k.withGroups(ctx, u)
}

// withGroups adds the groups that a user is in.
func (k users) withGroups(ctx context.Context, u User) (map[string]any, error) {
	in, err := k.Groups.GroupsOf(ctx, u.ID)
	if err != nil {
		return nil, fmt.Errorf("read groups of user %s: %w", u.ID, err)
	}
	return k.in(u, in), nil
}

// in is the user with groups. Without one there is no list of them: an empty
// one is the same as none (RFC 7643 §2.5).
func (k users) in(u User, groups []org.Group) map[string]any {
	r := k.resource(u)
	if len(groups) == 0 {
		return r
	}
	list := make([]any, len(groups))
	for i, g := range groups {
		list[i] = map[string]any{"value": string(g.ID), "display": g.Name, "$ref": k.PublicURL + Path + "/Groups/" + string(g.ID)}
	}
	r["groups"] = list
	return r
}

func (k users) create(ctx context.Context, resource map[string]any, by audit.Actor) (map[string]any, error) {
	now := k.Now()
	u := User{ID: org.NewPersonID(), Created: now, Modified: now}
	if err := u.take(resource); err != nil {
		return nil, err
	}
	ev := audit.Event{At: now, Actor: by, Kind: audit.PersonProvisioned, Target: string(u.ID), Detail: u.Email}
	u, err := k.Store.CreateSCIMUser(ctx, u, ev)
	if err != nil {
		return nil, fmt.Errorf("create user: %w", err)
	}
	return k.resource(u), nil
}

func (k users) change(ctx context.Context, id string, by audit.Actor, do func(map[string]any) (map[string]any, error)) (map[string]any, error) {
	now := k.Now()
	u, err := k.Store.ChangeSCIMUser(ctx, org.PersonID(id), func(u *User) ([]audit.Event, error) {
		before := *u
		wanted, err := do(k.resource(*u))
		if err != nil {
			return nil, err
		}
		if err := u.take(wanted); err != nil {
			return nil, err
		}
		u.Modified = now
		return before.changes(*u, now, by), nil
	})
	if err != nil {
		return nil, fmt.Errorf("change user: %w", err)
	}
	return k.resource(u), nil
}

// changes says what became of a user, for the audit.
func (u User) changes(now User, at time.Time, by audit.Actor) []audit.Event {
	event := func(kind audit.Kind, detail string) audit.Event {
		return audit.Event{At: at, Actor: by, Kind: kind, Target: string(u.ID), Detail: detail}
	}
	var out []audit.Event
	switch {
	case u.Active && !now.Active:
		out = append(out, event(audit.PersonDisabled, now.Email))
	case !u.Active && now.Active:
		out = append(out, event(audit.PersonEnabled, now.Email))
	}
	var what []string
	for _, f := range []struct{ name, before, after string }{
		{"email", u.Email, now.Email}, {"name", u.Name, now.Name}, {"userName", u.UserName, now.UserName}, {"externalId", u.ExternalID, now.ExternalID},
	} {
		if f.before != f.after {
			what = append(what, fmt.Sprintf("%s: %q, was %q", f.name, f.after, f.before))
		}
	}
	if len(what) > 0 {
		out = append(out, event(audit.PersonChanged, strings.Join(what, "; ")))
	}
	return out
}

// remove takes a user away: the account is disabled and is not shown to
// providers any more. What the audit says about the person stays.
func (k users) remove(ctx context.Context, id string, by audit.Actor, check func(map[string]any) error) error {
	_, err := k.Store.ChangeSCIMUser(ctx, org.PersonID(id), func(u *User) ([]audit.Event, error) {
		if err := check(k.resource(*u)); err != nil {
			return nil, err
		}
		u.Active, u.Deleted, u.Modified = false, true, k.Now()
		return []audit.Event{{At: k.Now(), Actor: by, Kind: audit.PersonDeprovisioned, Target: id, Detail: u.Email}}, nil
	})
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// resource is the user as JSON has it.
func (k users) resource(u User) map[string]any {
	name := map[string]any{"formatted": u.Name}
	if u.GivenName != "" {
		name["givenName"] = u.GivenName
	}
	if u.FamilyName != "" {
		name["familyName"] = u.FamilyName
	}
	r := map[string]any{
		"schemas": []any{schemaUser}, "id": string(u.ID), "userName": u.UserName, "displayName": u.Name, "name": name, "active": u.Active,
		"emails": []any{map[string]any{"value": u.Email, "type": "work", "primary": true}},
	}
	if u.ExternalID != "" {
		r["externalId"] = u.ExternalID
	}
	r["meta"] = meta("User", k.PublicURL+Path+"/Users/"+string(u.ID), u.Created, u.Modified, r)
	return r
}

// maxTextRunes bounds a name and an identifier of a provider.
const maxTextRunes = 254

// take reads a resource into the user. What is not kept is passed over
// (RFC 7644 §3.5.1): telephone numbers, addresses, titles, passwords.
func (u *User) take(r map[string]any) error {
	before := *u
	var err error
	text := func(v any, what string) string {
		s, ok := v.(string)
		if v != nil && !ok && err == nil {
			err = invalid("invalidValue", "%s must be text", what)
		}
		if len([]rune(s)) > maxTextRunes && err == nil {
			err = invalid("invalidValue", "%s is longer than %d characters", what, maxTextRunes)
		}
		return strings.TrimSpace(s)
	}
	u.UserName = text(member(r, "userName"), "userName")
	u.ExternalID = text(member(r, "externalId"), "externalId")
	name, _ := member(r, "name").(map[string]any)
	u.GivenName, u.FamilyName = text(member(name, "givenName"), "name.givenName"), text(member(name, "familyName"), "name.familyName")
	display, formatted := text(member(r, "displayName"), "displayName"), text(member(name, "formatted"), "name.formatted")
	if err != nil {
		return err
	}
	if u.UserName == "" {
		return invalid("invalidValue", "userName is required")
	}
	email := u.UserName
	if a := address(member(r, "emails")); a != "" {
		email = a
	}
	if u.Email, err = org.ParseEmail(email); err != nil {
		return invalid("invalidValue", "%v: send the address as userName or in emails", err)
	}
	// The one that changed wins: a provider that sets the family name alone
	// means the person to be called by it.
	whole := strings.TrimSpace(u.GivenName + " " + u.FamilyName)
	switch {
	case display != "" && display != before.Name:
		u.Name = display
	case formatted != "" && formatted != before.Name:
		u.Name = formatted
	case whole != "" && (u.GivenName != before.GivenName || u.FamilyName != before.FamilyName):
		u.Name = whole
	case u.Name == "":
		u.Name = u.UserName
	}
	if u.Name, err = org.ParsePersonName(u.Name); err != nil {
		return invalid("invalidValue", "%v", err)
	}
	active, err := truth(member(r, "active"), true)
	if err != nil {
		return err
	}
	u.Active = active
	return nil
}

// truth reads a boolean, which some providers send as text.
func truth(v any, otherwise bool) (bool, error) {
	switch v := v.(type) {
	case nil:
		return otherwise, nil
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, invalid("invalidValue", "active must be true or false")
}

// address returns the primary address of emails, else the one for work, else
// the first.
func address(v any) string {
	best, rank := "", 0
	for _, e := range values(v) {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		a, _ := member(m, "value").(string)
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		r := 1
		if t, _ := member(m, "type").(string); strings.EqualFold(t, "work") {
			r = 2
		}
		if primary, err := truth(member(m, "primary"), false); err == nil && primary {
			r = 3
		}
		if r > rank {
			best, rank = a, r
		}
	}
	return best
}
