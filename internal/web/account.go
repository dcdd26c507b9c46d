package web

import "time"

// AccountPage is where the holder of an account link chooses a password.
type AccountPage struct {
	// Token is the one-time token of the link.
	Token  string
	Person Account
	// New says that the person was invited, and has no password yet.
	New         bool
	MinPassword int
	// Error is about the password, "" for none.
	Error string
}

func (p AccountPage) frame() frame {
	return frame{Name: "account", Title: "Choose a password"}
}

// PeoplePage lists everybody who has an account.
type PeoplePage struct {
	Account Account
	Now     time.Time
	People  []PersonRow
	// Teams are those to put somebody new into.
	Teams []TeamRow
	// Name, Email, Team (a slug) and Roles are what was typed into the form that
	// invites somebody; Errors holds a message by field.
	Name, Email, Team, Roles string
	Errors                   map[string]string
	Notice                   string
}

// PersonRow is an account in a list.
type PersonRow struct {
	ID, Name, Email string
	// Invited says that a link waits for the person to choose a password.
	Owner, Disabled, Invited bool
	// You says that it is the person at the browser.
	You   bool
	Teams []string
	// LastSignIn is zero for never.
	LastSignIn time.Time
}

// PersonPage shows and changes an account.
type PersonPage struct {
	Account Account
	Now     time.Time
	Person  PersonRow
	// LastOwner says that nobody else who can sign in is an owner.
	LastOwner   bool
	HasPassword bool
	Teams       []TeamRow
	// Sessions is at how many browsers the person is signed in.
	Sessions    int
	Connections []Connection
	SignIns     []SignIn
	Notice      string
}

// SignIn is a sign-in or an attempt that was refused.
type SignIn struct {
	At           time.Time
	Address, How string
	Refused      bool
}

// AccountLinkPage shows a link with which somebody chooses a password, once.
type AccountLinkPage struct {
	Account         Account
	ID, Name, Email string
	// Invited says that the person is new.
	Invited bool
	// Sent says that the link was mailed: it is not shown then. Failed says
	// that it could not be.
	Sent, Failed bool
	URL          string
	Expires      time.Time
}

func (p PeoplePage) frame() frame {
	return frame{Name: "people", Title: "People", Account: &p.Account, Current: "/people"}
}

func (p PersonPage) frame() frame {
	return frame{Name: "person", Title: DisplayName(p.Person.Name), Account: &p.Account, Current: "/people"}
}

func (p AccountLinkPage) frame() frame {
	return frame{Name: "accountlink", Title: "Link for " + DisplayName(p.Name), Account: &p.Account, Current: "/people"}
}
