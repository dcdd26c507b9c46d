package web

// HomePage sends somebody to the identity provider of their e-mail domain. It
// is a page rather than a redirect, because the answer to a form may not lead
// to another site (form-action), and goes on by itself.
type HomePage struct {
	// Provider has the provider's name and our address that leads there.
	Provider Link
}

// HandOverPage posts a form by itself: to an identity provider, or once more
// to us, so that our cookies come along. Without JavaScript it has a button.
type HandOverPage struct {
	Title string
	// URL must be known to be good, and Source be its source expression for
	// a policy: 'self' for our own.
	URL, Source string
	Fields      []FormField
}

func (p HomePage) frame() frame     { return frame{Name: "home", Title: "Going to " + p.Provider.Text} }
func (p HandOverPage) frame() frame { return frame{Name: "handover", Title: p.Title} }
func (p HandOverPage) policy() string {
	return "; script-src " + autoSubmitSource + "; form-action " + p.Source
}
