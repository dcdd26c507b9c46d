package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// Page is one of the page structs of this package.
type Page interface {
	// frame returns what the layout around the page shows.
	frame() frame
}

// frame is what all pages share.
type frame struct {
	// Name is the page's template.
	Name string
	// Title is that of the document.
	Title string
	// Account is set on pages with navigation.
	Account *Account
	// Current is the path of the page in the navigation.
	Current string
}

// Account is the person at the browser, as pages show them.
type Account struct {
	Name, Email string
	// Owner shows the way to what only owners may see.
	Owner bool
}

// Link is a link with its text.
type Link struct{ Text, URL string }

// mainNav leads to what everybody has, organizationNav to what owners have.
var (
	mainNav         = []Link{{"Start", "/"}, {"Connections", "/connections"}, {"Teams", "/teams"}, {"Security", "/security"}}
	organizationNav = []Link{
		{"People", "/people"},
		{"Groups", "/groups"},
		{"Roles", "/roles"},
		{"Identity providers", "/providers"},
		{"Policies", "/policies"},
		{"Integrations", "/integrations"},
		{"Clients", "/clients"},
		{"Audit", "/audit"},
	}
)

// SignInPage asks who is there.
type SignInPage struct {
	// Step is the signed step that says where to go afterwards, "" for none.
	Step string
	// Email is what was typed before, or the hint of the client.
	Email string
	// Error is shown above the form, "" for none.
	Error string
	// Reauthenticate says that somebody signed in is asked again.
	Reauthenticate bool
	// Notice is shown above the form in a calm tone, "" for none.
	Notice string
	// Passkey asks for a passkey in place of both where its Options are not "".
	Passkey PasskeyAsk
	// Providers begin a sign-in at an identity provider.
	Providers []Link
	// Home is the identity provider of the domain that was typed, without a
	// URL for none.
	Home Link
	// Forgot says that people can have a link for a new password sent.
	Forgot bool
	// Message is what the organization says here, "" for nothing.
	Message string
}

// SetupPage creates the first owner.
type SetupPage struct {
	// Token is the one-time token of the link.
	Token string
	Name  string
	Email string
	Team  string
	// Errors holds a message by field: name, email, password, team.
	Errors map[string]string
	// MinPassword is the least number of characters of a password.
	MinPassword int
}

// ConsentPage asks whether a client may connect to a team.
type ConsentPage struct {
	// Action is the local path that the form posts to.
	Action string
	// Step is the signed request, handed back with the decision.
	Step   string
	Client ConsentClient
	Person Account
	// SignOutStep is the signed step with which "Not you?" comes back here.
	SignOutStep string
	// Teams are the teams to choose from. With none the page says whom to
	// ask.
	Teams []ConsentTeam
	// Fixed says that the client asked for one team's own resource, so that
	// there is nothing to choose.
	Fixed bool
	// OtherScopes says in words what is asked beside telemetry.
	OtherScopes []string
	// Until says how long access lasts.
	Until string
	// AskWhom are the people who can help somebody without a team.
	AskWhom []string
	// Error is shown above the form, "" for none.
	Error string
	// DeviceCode is the code that the asking device shows, "" where an app
	// asks through the browser.
	DeviceCode string
}

// DevicePage asks for the code that a device shows (RFC 8628 §3.3).
type DevicePage struct {
	// Action is the local path that the form posts to.
	Action string
	// Code is the code of a link, to be compared with the device's; "" asks
	// the person to type it.
	Code string
	// Typed is what was typed before.
	Typed       string
	Person      Account
	SignOutStep string
	// Error is shown above the form, "" for none.
	Error string
}

// DeviceDonePage sends the person back to their device.
type DeviceDonePage struct {
	// ClientName is "" where the form came a second time.
	ClientName string
	// Denied says that the person pressed Deny.
	Denied bool
}

// ConsentClient is a client as the consent page shows it.
type ConsentClient struct {
	Name string
	// Host is the host that the client is known to belong to, "" for a
	// client that registered itself.
	Host string
	// BuiltIn says that the host could not be asked, and that what is known of
	// the client comes from Oriel's own copy of its document.
	BuiltIn bool
	// Registered says that an administrator registered the client.
	Registered bool
	// Destination is where the answer is sent: a host or an app.
	Destination string
}

// ConsentTeam is one choice on the consent page.
type ConsentTeam struct {
	Slug, Name string
	Checked    bool
	Roles      []string
	// Connected says that the person has allowed the client something in
	// this team already.
	Connected bool
	Can       []ConsentPermission
	// StepUp says that the team demands more than the sign-in had, "" where
	// it does not.
	StepUp string
	// Until says how long access lasts there, where that is not the same for
	// all teams.
	Until string
}

// ConsentPermission is something the client would be able to do. The form
// sends each that stays ticked as a field named by ConsentField.
type ConsentPermission struct {
	// Scope is the value that is sent.
	Scope string
	Text  string
	// Allowed says that the person has allowed it before.
	Allowed bool
	// Unticked says that the person took it out a moment ago.
	Unticked bool
	// Withheld says that the client asks for it and the person's roles do
	// not give it; Why says so in words.
	Withheld bool
	Why      string
}

// ConsentField is the form field for what the client may do in a team.
func ConsentField(slug string) string { return "may-" + slug }

// ReturnPage hands over to an app whose scheme only the operating system
// knows, and which therefore leaves the browser where it is.
type ReturnPage struct {
	ClientName string
	// URL must have been validated as a redirect URI of the client.
	URL template.URL
	// Denied says that the person pressed Deny.
	Denied bool
	// What says what happened, in place of the usual words.
	What string
}

// ProblemPage says what went wrong and what to do.
type ProblemPage struct {
	Title, What, Next string
	// RequestID is shown so that it can be found in the log; "" for none.
	RequestID string
	Links     []Link
}

// StartPage is what a signed-in person sees first.
type StartPage struct {
	Account Account
	Owner   bool
	Teams   []StartTeam
	// MCPURL is what assistants connect to.
	MCPURL string
	// LogsURL is where collectors send logs (OTLP over HTTP), "" hides it.
	LogsURL string
	// Engines are shown to owners: those of all teams, and those of teams that
	// have their own.
	Engines []Engine
	// AskWhom are the people who can help somebody without a team.
	AskWhom []string
	// TeamName and TeamError are what was typed into the form for a new team
	// and what is wrong with it.
	TeamName, TeamError string
	// Notice is shown at the top, "" for none.
	Notice string
}

// An Engine is where telemetry is kept.
type Engine struct {
	Name string
	// Trouble says why it does not serve, "" where it does.
	Trouble string
}

// StartTeam is one of the person's teams.
type StartTeam struct {
	Slug, Name string
	Roles      []string
	// Admin says that the person administers the team.
	Admin bool
}

// ConnectionsPage lists a person's connections.
type ConnectionsPage struct {
	Account     Account
	Connections []Connection
	// Ended are connections that ended lately without the person's doing.
	Ended []EndedConnection
	Now   time.Time
	// Notice is shown at the top, "" for none.
	Notice string
	MCPURL string
}

// Connection is a grant in use, as its person sees it.
type Connection struct {
	ID         string
	ClientName string
	// Host is the verified host of the client, "" for one that registered
	// itself; Destination is where answers are sent.
	Host, Destination string
	Team              string
	// Scopes says in words what the connection may do.
	Scopes          []string
	Since, LastUsed time.Time
	// Ends says when it ends.
	Ends string
	// Trouble says why it gives nothing at present, "" when it works.
	Trouble string
}

// EndedConnection is a connection that is over.
type EndedConnection struct {
	ClientName, Team string
	At               time.Time
	// Why says why it ended, as the rest of a sentence.
	Why string
}

// SignedOutPage says that the session is over.
type SignedOutPage struct {
	// Provider is the name of the identity provider where the person is still
	// signed in, ProviderURL where that ends, or ProviderAction the local path
	// to post to for it; "" for none.
	Provider, ProviderURL, ProviderAction string
	// There says that the person comes back from having signed out there.
	There bool
	// Unsure says that it is not certain whether they did.
	Unsure bool
}

func (p SignInPage) frame() frame { return frame{Name: "signin", Title: "Sign in"} }
func (p SetupPage) frame() frame  { return frame{Name: "setup", Title: "Create the owner account"} }

func (p ConsentPage) frame() frame {
	return frame{Name: "consent", Title: DisplayName(p.Client.Name) + " asks for access"}
}

func (p DevicePage) frame() frame { return frame{Name: "device", Title: "Connect a device"} }
func (p DeviceDonePage) frame() frame {
	if p.Denied {
		return frame{Name: "devicedone", Title: "Nothing was connected"}
	}
	return frame{Name: "devicedone", Title: "Your device is connected"}
}

func (p ReturnPage) frame() frame {
	return frame{Name: "return", Title: "Returning to " + DisplayName(p.ClientName)}
}
func (p ProblemPage) frame() frame { return frame{Name: "problem", Title: p.Title} }
func (p StartPage) frame() frame {
	return frame{Name: "start", Title: "Start", Account: &p.Account, Current: "/"}
}

func (p ConnectionsPage) frame() frame {
	return frame{Name: "connections", Title: "Connections", Account: &p.Account, Current: "/connections"}
}
func (p SignedOutPage) frame() frame { return frame{Name: "signedout", Title: "Signed out"} }

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css
var styleSheet []byte

//go:embed assets/passkey.js
var passkeyScript []byte

//go:embed assets/icon.svg
var icon []byte

// Pages holds the parsed templates and the assets. It is safe for concurrent
// use.
type Pages struct {
	templates map[string]*template.Template
	assets    map[string]asset // by path
}

type asset struct {
	body        []byte
	contentType string
}

// NewPages parses the templates.
func NewPages() (*Pages, error) {
	p := &Pages{templates: make(map[string]*template.Template), assets: make(map[string]asset)}
	style := p.addAsset(styleSheet, ".css", "text/css; charset=utf-8")
	mark := p.addAsset(icon, ".svg", "image/svg+xml")
	script := p.addAsset(passkeyScript, ".js", "text/javascript; charset=utf-8")
	funcs := template.FuncMap{
		"passkeyjs":  func() string { return script },
		"stylesheet": func() string { return style },
		"icon":       func() string { return mark },
		"name":       DisplayName,
		"ago":        ago,
		"day":        func(t time.Time) string { return t.UTC().Format("2 January 2006") },
		"moment":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"stamp":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"join":       joinWords,
		"field": func(label, name, kind, value, auto, hint, problem string) formField {
			return formField{label, name, kind, value, auto, hint, problem}
		},
		"entry":           newEntry,
		"providerform":    newProviderForm,
		"mainnav":         func() []Link { return mainNav },
		"organizationnav": func() []Link { return organizationNav },
		"autosubmit":      autoSubmitScript,
		"formaction":      formAction,
		"problem":         func(errs map[string]string, field string) string { return errs[field] },
		"optional": func(label, name, value, hint, problem string) formField {
			return formField{Label: label, Name: name, Type: "text", Value: value, Autocomplete: "off", Hint: hint, Error: problem}
		},
		"instant":       instant,
		"stampexact":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"explorequery":  newExploreQuery,
		"exploreselect": newExploreSelect,
		"people":        func(n int) string { return countOf(n, "person", "people") },
		"plural":        countOf,
	}
	for _, page := range []Page{
		SignInPage{},
		SetupPage{},
		ConsentPage{},
		ReturnPage{},
		ProblemPage{},
		StartPage{},
		ConnectionsPage{},
		AuditPage{},
		SignedOutPage{},
		ContinuePage{},
		FormPostPage{},
		LogoutPage{},
		DevicePage{},
		DeviceDonePage{},
		SecondPage{},
		EnrolChoicePage{},
		EnrolAppPage{},
		EnrolPasskeyPage{},
		RecoveryCodesPage{},
		SecurityPage{},
		ConfirmPage{},
		PoliciesPage{},
		HomePage{},
		HandOverPage{},
		ProvidersPage{},
		IntegrationsPage{},
		IntegrationPage{},
		ClientsPage{},
		ClientAddedPage{},
		TeamsPage{},
		TeamPage{},
		MemberPage{},
		RolesPage{},
		RolePage{},
		GroupsPage{},
		GroupPage{},
		GroupTeamPage{},
		AccessPage{},
		RemovePage{},
		AccountPage{},
		PeoplePage{},
		PersonPage{},
		AccountLinkPage{},
		ForgotPage{},
		ExploreLogsPage{},
		ExploreTracesPage{},
		ExploreTracePage{},
		ExploreMetricsPage{},
	} {
		name := page.frame().Name
		t, err := template.New("layout.html").Option("missingkey=error").Funcs(funcs).
			ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse template of %s: %w", reflect.TypeOf(page).Name(), err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// formField is a labelled input with its hint and its error.
type formField struct{ Label, Name, Type, Value, Autocomplete, Hint, Error string }

func (p *Pages) addAsset(body []byte, ext, contentType string) string {
	sum := sha256.Sum256(body)
	path := "/assets/" + hex.EncodeToString(sum[:8]) + ext
	p.assets[path] = asset{body, contentType}
	return path
}

// Render executes a page's template and, if that went well, writes it.
func (p *Pages) Render(w http.ResponseWriter, status int, page Page) error {
	f := page.frame()
	var b bytes.Buffer
	err := p.templates[f.Name].Execute(&b, struct {
		Frame frame
		Page  Page
	}{f, page})
	if err != nil {
		return fmt.Errorf("render %s: %w", reflect.TypeOf(page).Name(), err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write %s: %w", reflect.TypeOf(page).Name(), err)
	}
	return nil
}

// AssetRoutes serves the style sheet and the icon under names made from their
// content, so that they can be kept for ever.
func (s *Site) AssetRoutes() []Route {
	return []Route{{Pattern: "GET /assets/{file}", Who: Anyone, Handler: s.Page(func(w http.ResponseWriter, r *http.Request) error {
		a, ok := s.Pages.assets[r.URL.Path]
		if !ok {
			return NotFound(w, r)
		}
		h := w.Header()
		h.Set("Content-Type", a.contentType)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		_, err := w.Write(a.body)
		return err
	})}}
}

// maxDisplayRunes is how much of a name that a stranger chose is shown.
const maxDisplayRunes = 60

// DisplayName makes a name that a stranger chose fit for one line of a page:
// without control and direction characters, cut.
func DisplayName(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxDisplayRunes {
		s = strings.TrimSpace(string(r[:maxDisplayRunes-1])) + "…"
	}
	if s == "" {
		return "Unnamed client"
	}
	return s
}

// ScopeInWords says what a scope lets a client do, "" for one that is not
// known.
func ScopeInWords(scope string) string {
	switch scope {
	case "logs:read":
		return "Read logs"
	case "traces:read":
		return "Read traces"
	case "metrics:read":
		return "Read metrics"
	case "alerts:read":
		return "Read alerts"
	case "alerts:write":
		return "Change alerts"
	case "openid":
		return "Know that it is you"
	case "profile":
		return "See your name"
	case "email":
		return "See your e-mail address"
	case "offline_access":
		return "Stay connected until you disconnect it"
	default:
		return ""
	}
}

// ago says how long before now t was, coarsely.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	unit := func(n int, one string) string {
		if n == 1 {
			return "1 " + one + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, one)
	}
	switch {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return unit(int(d.Minutes()), "minute")
	case d < 24*time.Hour:
		return unit(int(d.Hours()), "hour")
	default:
		return unit(int(d.Hours()/24), "day")
	}
}

// joinWords joins words as a sentence does.
func joinWords(last string, words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
}
