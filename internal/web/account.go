package web

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
