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

// ProvidersPage shows owners the identity providers.
type ProvidersPage struct {
	Account   Account
	Providers []ProviderItem
	// Teams and Roles are the choices of a mapping.
	Teams []Option
	Roles []string
	// New holds what was typed into the form for a new provider, and Errors
	// what is wrong with it, by field.
	New    NewProviderForm
	Errors map[string]string
	// BreakGlass are the owners who may use a password where a domain refuses
	// them.
	BreakGlass []string
	Notice     string
}

// Option is one of a selection.
type Option struct{ Value, Text string }

// NewProviderForm is what somebody typed about a new provider.
type NewProviderForm struct {
	// Kind is oidc or saml, "" for a form that nobody has filled in.
	Kind, Name, Domains                          string
	Issuer, ClientID                             string
	MetadataURL, Metadata                        string
	GroupClaim, SubjectClaim, EmailClaim, Scopes string
	CreateAccounts, TrustEmail, AllowPrivate     bool
}

// ProviderItem is an identity provider as the page shows it.
type ProviderItem struct {
	Slug, Name, Kind string
	Enabled          bool
	CreateAccounts   bool
	Domains          []ProviderDomain
	// At is its issuer or entity id.
	At string
	// Copy is what has to be entered at the provider.
	Copy  []CopyItem
	Rules []ProviderRule
	// Ends says what ends when it is switched off.
	Ends string
	// Group is what was typed into the form for a mapping, Error what is
	// wrong with it.
	Group, Error string
}

// ProviderDomain is an e-mail domain of a provider.
type ProviderDomain struct {
	Name    string
	SSOOnly bool
}

// CopyItem is a value to copy, with the name that providers give it.
type CopyItem struct{ Label, Value string }

// ProviderRule is a line of a mapping.
type ProviderRule struct{ Group, Team, Role string }

func (p HomePage) frame() frame     { return frame{Name: "home", Title: "Going to " + p.Provider.Text} }
func (p HandOverPage) frame() frame { return frame{Name: "handover", Title: p.Title} }
func (p ProvidersPage) frame() frame {
	return frame{Name: "providers", Title: "Identity providers", Account: &p.Account, Current: "/providers"}
}

func (p HandOverPage) policy() string {
	return "; script-src " + autoSubmitSource + "; form-action " + p.Source
}

// entry is a labelled input on a page that has several forms alike.
type entry struct {
	ID, Name, Label, Value, Hint string
	Required                     bool
	Error                        string
}

func newEntry(form, name, label, value, hint string, required bool, problem string) entry {
	return entry{form + "-" + name, name, label, value, hint, required, problem}
}

// providerForm is the form for a new provider of one kind.
type providerForm struct {
	Kind   string
	New    NewProviderForm
	Errors map[string]string
}

// newProviderForm fills in only the form that somebody used.
func newProviderForm(p ProvidersPage, kind string) providerForm {
	if p.New.Kind != kind {
		return providerForm{Kind: kind, New: NewProviderForm{CreateAccounts: true}}
	}
	return providerForm{kind, p.New, p.Errors}
}
