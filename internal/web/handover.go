package web

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"html/template"
)

// ContinuePage goes on without asking: it posts itself to us, so that opening
// its address changes nothing. Without JavaScript it has a button.
type ContinuePage struct {
	// Action is the local path that the form posts to.
	Action string
	// Step is the signed request.
	Step       string
	ClientName string
	Team       string
}

// FormPostPage posts an answer to a client (OAuth 2.0 Form Post Response
// Mode). Without JavaScript it has a button.
type FormPostPage struct {
	ClientName string
	// URL must have been validated as an http or https redirect URI of the
	// client, and Source be its source expression for a policy.
	URL, Source string
	Fields      []FormField
	Denied      bool
}

// FormField is a hidden field of a form.
type FormField struct{ Name, Value string }

// LogoutPage asks whether to sign out, where a client would like that.
type LogoutPage struct {
	Action string
	// Step is the signed request.
	Step string
	// ClientName is who asks, "" where that is not known.
	ClientName string
	Person     Account
}

func (p ContinuePage) frame() frame {
	return frame{Name: "continue", Title: "Returning to " + DisplayName(p.ClientName)}
}

func (p FormPostPage) frame() frame {
	return frame{Name: "formpost", Title: "Returning to " + DisplayName(p.ClientName)}
}
func (p LogoutPage) frame() frame { return frame{Name: "logout", Title: "Sign out"} }

// policed is a page whose Content-Security-Policy is not the usual one.
type policed interface {
	// policy returns what comes after basePolicy.
	policy() string
}

// autoSubmit sends the page's only form as soon as somebody looks at the
// page: not while it is rendered ahead, and not for who came back to it.
const autoSubmit = `const go=()=>document.forms[0].submit();` +
	`if(performance.getEntriesByType("navigation")[0]?.type!=="back_forward"){` +
	`document.prerendering?document.addEventListener("prerenderingchange",go,{once:true}):go()}`

// autoSubmitSource lets exactly that script run (CSP Level 3 §2.3.1).
var autoSubmitSource = func() string {
	sum := sha256.Sum256([]byte(autoSubmit))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// autoSubmitScript is the element with the script.
func autoSubmitScript() template.HTML {
	return "<script>" + autoSubmit + "</script>"
}

// formAction is the attribute of a form that posts to a validated address,
// which stays as it is byte for byte.
func formAction(url string) template.HTMLAttr {
	return template.HTMLAttr(`action="` + html.EscapeString(url) + `"`) //nolint:gosec // escaped, and validated by spec.ParseRedirectURI
}

// The form of the consent page, and of pages like it, is answered with a
// redirect to a client, which may hop on to where no list could foresee:
// Chromium applies form-action to every hop.
func (ConsentPage) policy() string { return "" }
func (LogoutPage) policy() string  { return "" }

// So is the form that signs somebody out of a SAML provider.
func (SignedOutPage) policy() string { return "" }

func (ContinuePage) policy() string { return "; script-src " + autoSubmitSource }

func (p FormPostPage) policy() string {
	return "; script-src " + autoSubmitSource + "; form-action " + p.Source
}
