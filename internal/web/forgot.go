package web

// ForgotPage sends somebody a link for a new password.
type ForgotPage struct {
	Email string
	// Asked says that a letter is on its way, if the address is known.
	Asked bool
	// Error is about the address, "" for none.
	Error string
}

func (p ForgotPage) frame() frame { return frame{Name: "forgot", Title: "Forgot your password?"} }
