package web

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"image/color"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	ada  = Account{Name: "Ada Lovelace", Email: "ada@example.com"}
	boss = Account{Name: "Grace Hopper", Email: "grace@example.com", Owner: true}
	now  = time.Date(2026, 11, 23, 14, 20, 0, 0, time.UTC)
)

// ask is a question to a passkey, and levels are choices of a policy.
var (
	ask    = PasskeyAsk{Options: `{"challenge":"YQ","rpId":"\"><script>"}`, Ceremony: "Y2Vy.c3Vt"}
	levels = []PolicyLevel{
		{Value: "optional", Text: "Optional", Effect: "Each person decides."},
		{Value: "required", Text: "Required", Effect: "1 person of 2 has none."},
		{Value: "passkey", Text: "Passkey required", Effect: "2 people of 2 have none."},
	}
)

const mcpURL = "http://127.0.0.1:8080/mgmt/api/v1/mcp"

// pages are one of each kind and state that people meet, by golden file.
var pages = withExplore(withOrganization(map[string]Page{
	"signin":         SignInPage{},
	"signin_wrong":   SignInPage{Step: "c3RlcA.c3Vt", Email: "ada@example.com", Error: "The e-mail address or the password is not right."},
	"signin_again":   SignInPage{Step: "c3RlcA.c3Vt", Email: "ada@example.com", Reauthenticate: true},
	"signin_passkey": SignInPage{Step: "c3RlcA.c3Vt", Passkey: ask},
	"setup":          SetupPage{Token: "TOKEN", MinPassword: 15},
	"setup_errors": SetupPage{
		Token: "TOKEN", Name: "Ada Lovelace", Email: "ada@", Team: "Web Shop", MinPassword: 15,
		Errors: map[string]string{
			"email":    "\"ada@\" is not an e-mail address (write it like ada@example.com).",
			"password": "The password needs at least 15 characters; a few unrelated words in a row are good.",
		},
	},
	"consent_two_teams": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", SignOutStep: "b3V0.c3Vt", Person: ada,
		Client: ConsentClient{Name: "Cursor", Destination: "cursor: (an app on this computer)"},
		Teams: []ConsentTeam{
			{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Checked: true, Can: []ConsentPermission{
				{Scope: "logs:read", Text: "Read logs"}, {Scope: "traces:read", Text: "Read traces"}, {Scope: "metrics:read", Text: "Read metrics"}, {Scope: "alerts:read", Text: "Read alerts"},
			}},
			{Slug: "payments", Name: "Payments", Roles: []string{"viewer", "on-call"}, Can: []ConsentPermission{
				{Scope: "logs:read", Text: "Read logs"}, {Scope: "traces:read", Text: "Read traces"}, {Scope: "alerts:write", Text: "Change alerts", Withheld: true, Why: "needs the role operator or admin"},
			}},
		},
		OtherScopes: []string{"See your name", "See your e-mail address", "Stay connected until you disconnect it"},
		Until:       "Access ends every full hour; the assistant reconnects by itself until you disconnect it.",
	},
	"consent_one_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", SignOutStep: "b3V0.c3Vt", Person: ada,
		Client: ConsentClient{Name: "Visual Studio Code", Host: "vscode.dev", Destination: "vscode.dev"},
		Teams: []ConsentTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"viewer"}, Checked: true, Can: []ConsentPermission{
			{Scope: "logs:read", Text: "Read logs"}, {Scope: "alerts:write", Text: "Change alerts", Withheld: true, Why: "needs the role operator or admin"},
		}}},
		Until: "Access ends every full hour; the assistant reconnects by itself until you disconnect it.",
	},
	"consent_builtin": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada,
		Client: ConsentClient{Name: "Claude Code", Host: "claude.ai", BuiltIn: true, Destination: "this computer"},
		Teams:  []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Roles: []string{"viewer"}, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"consent_fixed_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Fixed: true,
		Client: ConsentClient{Name: "Claude", Host: "claude.ai", Destination: "claude.ai"},
		Teams:  []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Roles: []string{"viewer"}, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"consent_more": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Error: "Tick at least one thing that it may do, or press Deny.",
		Client: ConsentClient{Name: "Claude", Host: "claude.ai", Destination: "claude.ai"},
		Teams: []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Connected: true, Roles: []string{"operator"}, Can: []ConsentPermission{
			{Scope: "logs:read", Text: "Read logs", Allowed: true}, {Scope: "alerts:write", Text: "Change alerts", Unticked: true},
		}}},
	},
	"consent_no_team": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, AskWhom: []string{"Grace Hopper", "Mary Somerville"},
		Client: ConsentClient{Name: "Cursor", Destination: "cursor: (an app on this computer)"},
	},
	"consent_hostile": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: Account{Name: "<i>Ada</i>", Email: "ada@example.com"},
		Client: ConsentClient{
			Name:        "</h1><script>alert(1)</script>\u202etfosorciM\n" + strings.Repeat("x", 10_000),
			Destination: "evil.example\"><b>",
		},
		Teams: []ConsentTeam{{Slug: "web-shop", StepUp: "Demands <a passkey>.", Name: "\"><script>", Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"return":        ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/oauth/callback?code=abc&state=a%2Bb&iss=http%3A%2F%2F127.0.0.1%3A8080"},
	"return_denied": ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied", Denied: true},
	"problem": ProblemPage{
		Title: "Something went wrong", What: "Something went wrong on our side.",
		Next: "Try again. If it happens again, tell an administrator the request id below.", RequestID: "abcdefghijklmnopqrstuvwxyz",
	},
	"problem_links": ProblemPage{
		Title: "Not found", What: "There is no page at this address.", Next: "Check the address, or go on from the start page.",
		Links: []Link{{Text: "Start page", URL: "/"}},
	},
	"start": StartPage{
		Account: ada, MCPURL: mcpURL, LogsURL: "http://127.0.0.1:8080/v1/logs",
		Teams: []StartTeam{
			{Slug: "payments", Name: "Payments", Roles: []string{"viewer", "on-call"}},
			{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Admin: true},
		},
	},
	"start_owner": StartPage{
		Account: ada, Owner: true, MCPURL: mcpURL, LogsURL: "http://127.0.0.1:8080/v1/logs", Notice: "The team Web Shop is created.",
		Teams:    []StartTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"admin"}, Admin: true}},
		TeamName: "Web shop", TeamError: "A team with this slug exists already.",
		Engines: []Engine{{Name: "Logs"}, {Name: "Spans", Trouble: "the span engine at traces.internal:9471 does not answer"}, {Name: "Logs of shop"}},
	},
	"start_first_team": StartPage{Account: ada, Owner: true, MCPURL: mcpURL},
	"start_no_team":    StartPage{Account: ada, MCPURL: mcpURL, AskWhom: []string{"Grace Hopper (grace@example.com)"}},
	"connections": ConnectionsPage{
		Account: ada, Now: now, MCPURL: mcpURL, Notice: "Claude Code is disconnected. Its next request is refused.",
		Connections: []Connection{
			{
				ID: "aaaa", ClientName: "Cursor", Destination: "cursor: (an app on this computer)", Team: "Web Shop",
				Scopes: []string{"read logs", "read traces"}, Since: now.AddDate(0, 0, -12), LastUsed: now.Add(-3 * time.Minute),
				Ends: "When you disconnect it, or after 30 days without use",
			},
			{
				ID: "bbbb", ClientName: "Visual Studio Code", Host: "vscode.dev", Destination: "vscode.dev", Team: "Payments",
				Scopes: []string{"read logs"}, Since: now.AddDate(0, -1, 0), LastUsed: now.Add(-26 * time.Hour),
				Trouble: "An administrator has blocked this integration, so it gives nothing at present.",
			},
		},
	},
	"audit": AuditPage{
		Account: boss, Text: "grant.", Query: "text=grant.", Filtered: true, Older: "/audit?before=17&text=grant.",
		Entries: []AuditEntry{
			{At: now, Who: "ada@example.com", Address: "203.0.113.7", Kind: "grant.approved", Target: "grt_1", Team: "web-shop", Details: "<Cursor> (cl_1), scopes: logs:read"},
			{At: now.Add(-time.Hour), Who: "root", Kind: "grant.ended", Target: "grt_0", Details: "ended by an administrator"},
		},
	},
	"audit_empty":    AuditPage{Account: boss, From: "2026-11-24", To: "2026-11-23", Filtered: true, Errors: map[string]string{"to": "This day is before the first one."}},
	"device":         DevicePage{Action: "/device", Person: ada, SignOutStep: "b3V0.c3Vt"},
	"device_wrong":   DevicePage{Action: "/device", Person: ada, Typed: "\"><script>", Error: "No device is waiting for this code."},
	"device_compare": DevicePage{Action: "/device", Person: ada, Code: "WDJB-MJHT", SignOutStep: "b3V0.c3Vt"},
	"consent_device": ConsentPage{
		Action: "/device/consent", Step: "c3RlcA.c3Vt", Person: ada, DeviceCode: "WDJB-MJHT", Client: ConsentClient{Name: "Build server"},
		Teams: []ConsentTeam{{Slug: "web-shop", Name: "Web Shop", Roles: []string{"viewer"}, Checked: true, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"device_done":       DeviceDonePage{ClientName: "Build server"},
	"device_again":      DeviceDonePage{},
	"device_denied":     DeviceDonePage{ClientName: "Build server", Denied: true},
	"connections_empty": ConnectionsPage{Account: ada, Now: now, MCPURL: mcpURL},
	"connections_ended": ConnectionsPage{Account: ada, Now: now, MCPURL: mcpURL, Ended: []EndedConnection{
		{ClientName: "<Cursor>", Team: "Web Shop", At: now.Add(-2 * time.Hour), Why: "newer sign-ins of the same client took its place"},
	}},
	"consent_registered": ConsentPage{
		Action: "/consent", Step: "c3RlcA.c3Vt", Person: ada, Fixed: true,
		Client: ConsentClient{Name: "Portal", Registered: true, Destination: "portal.example"},
		Teams:  []ConsentTeam{{Slug: "payments", Name: "Payments", Checked: true, Can: []ConsentPermission{{Scope: "logs:read", Text: "Read logs"}}}},
	},
	"integrations": IntegrationsPage{
		Account: boss, Now: now, Notice: "Cursor is revoked: 3 people, 5 connections. Their next call is refused.",
		Integrations: []Integration{
			{
				ID: "aaaa", Name: "Claude Code", Host: "claude.ai", Destination: "this computer", Connections: 9, LastUsed: now.Add(-3 * time.Minute),
				People: []string{"Ada (ada@example.com)", "Bo (bo@example.com)", "Cy (cy@example.com)", "Di (di@example.com)", "Ed (ed@example.com)", "Flo (flo@example.com)", "Gus (gus@example.com)"},
			},
			{ID: "bbbb", Name: "Cursor", Destination: "cursor: (an app on this computer), www.cursor.com", Connections: 1, LastUsed: now.Add(-26 * time.Hour), People: []string{"Ada (ada@example.com)"}, Blocked: true},
			{ID: "cccc", Name: "Nightly report", Registered: true, Connections: 1, LastUsed: now.Add(-2 * time.Hour), Programs: []string{"Nightly report"}},
			{ID: "dddd", Name: "</h2><script>", Destination: "evil.example", Connections: 1, People: []string{"Ada (ada@example.com)"}, BlockedWith: []string{"evil.example"}},
			{ID: "eeee", Name: "evil.example", Whole: true, Blocked: true},
		},
	},
	"integrations_empty": IntegrationsPage{Account: boss, Now: now, Block: "https://10.0.0.1/x", BlockError: "Write a host, like example.com."},
	"integration_revoke": IntegrationPage{
		Account: boss, Back: "/integrations",
		Integration: Integration{
			ID: "bbbb", Name: "Cursor", Destination: "cursor: (an app on this computer)", Connections: 5,
			People: []string{"Ada (ada@example.com)", "Bo (bo@example.com)", "Cy (cy@example.com)"},
		},
	},
	"integration_block": IntegrationPage{
		Account: boss, Back: "/clients", Block: true,
		Integration: Integration{ID: "cccc", Name: "Nightly report", Registered: true, Connections: 1, Programs: []string{"Nightly report"}},
	},
	"clients": ClientsPage{
		Account: boss, Now: now, Form: ClientForm{Teams: []StartTeam{{Slug: "web-shop", Name: "Web Shop"}}},
		Clients: []RegisteredClient{
			{
				Integration: Integration{ID: "cccc", Name: "Nightly report", Registered: true, Connections: 1, LastUsed: now.Add(-2 * time.Hour), Programs: []string{"Nightly report"}},
				ClientID:    "reg_abc", Secret: true, IDTokenAlg: "ES256", Does: "by itself in Web Shop as viewer", Since: now.AddDate(0, 0, -12),
			},
			{
				Integration: Integration{ID: "ffff", Name: "Portal", Registered: true, Destination: "portal.example"},
				ClientID:    "reg_def", IDTokenAlg: "RS256", Does: "for the people who allow it", Since: now.AddDate(0, 0, -12),
				RedirectURIs: []string{"https://portal.example/cb", "http://127.0.0.1/cb"}, LogoutURIs: []string{"https://portal.example/bye"},
			},
		},
	},
	"clients_empty": ClientsPage{Account: boss, Now: now},
	"clients_errors": ClientsPage{Account: boss, Now: now, Form: ClientForm{
		Name: "\"><script>", Kind: ServiceClient, RedirectURIs: "https://a.example/\n</textarea><b>", LogoutURIs: "http://a.example/", IDTokenAlg: "RS256", Roles: "captain", Team: "web-shop",
		Teams: []StartTeam{{Slug: "web-shop", Name: "Web Shop"}}, Errors: map[string]string{
			"name": "A name is needed.", "redirect_uris": "It is wrong.", "logout_uris": "It must be https.", "id_token_alg": "There are two.", "team": "Choose the team.", "roles": "There is no such role.",
		},
	}},
	"clientadded":         ClientAddedPage{Account: boss, Name: "Portal", ClientID: "reg_def", Secret: "SECRET", TokenURL: "http://127.0.0.1:8080/oauth/token", MCPURL: mcpURL},
	"clientadded_public":  ClientAddedPage{Account: boss, Name: "Portal", ClientID: "reg_def", MCPURL: mcpURL},
	"clientadded_service": ClientAddedPage{Account: boss, Name: "Report", ClientID: "reg_ghi", Secret: "SECRET", Service: true, TokenURL: "http://127.0.0.1:8080/oauth/token", MCPURL: mcpURL},
	"signedout":           SignedOutPage{},
	"return_signed_out":   ReturnPage{ClientName: "Cursor", URL: "cursor://anysphere.cursor-mcp/bye?state=a", What: "You are signed out."},
	"continue":            ContinuePage{Action: "/consent", Step: "c3RlcA.c3Vt", ClientName: "Claude", Team: "Web Shop"},
	"formpost": FormPostPage{
		ClientName: "Portal", URL: "https://portal.example/cb?a=1&b='(2)", Source: "https://portal.example",
		Fields: []FormField{{"code", "abc"}, {"iss", "http://127.0.0.1:8080"}, {"state", `"><script>`}},
	},
	"formpost_denied": FormPostPage{
		ClientName: "Portal", URL: "https://portal.example/cb", Source: "https://portal.example", Denied: true,
		Fields: []FormField{{"error", "access_denied"}},
	},
	"second":          SecondPage{Step: "c3RlcA.c3Vt", SignOutStep: "c3RlcA.c3Vt", Person: ada, Code: true, RecoveryURL: "/login/second?step=a&way=recovery"},
	"second_passkey":  SecondPage{Person: ada, Passkey: ask, OtherPasskeyURL: "/login/enrol?kind=passkey", Why: "<Web Shop> asks for a passkey."},
	"second_both":     SecondPage{Person: ada, Passkey: ask, Code: true, RecoveryURL: "/login/second?way=recovery", Error: "The code is not right."},
	"second_recovery": SecondPage{Person: ada, Recovery: true, BackURL: "/login/second", Error: "The recovery code is not right, or was used before."},
	"enrolchoice":     EnrolChoicePage{Person: ada, SignOutStep: "c3RlcA.c3Vt", AppURL: "/login/enrol?kind=totp", PasskeyURL: "/login/enrol?kind=passkey"},
	"enrolchoice_passkey": EnrolChoicePage{
		Person: ada, OnlyPasskey: true, AppURL: "/login/enrol?kind=totp", NoPasskeys: "Browsers offer passkeys only at an address with a name.",
	},
	"enrolapp": EnrolAppPage{Step: "c3RlcA.c3Vt", Person: ada, Enrolment: "ZQ.c3Vt", Secret: "GEZD GNBV", QR: QR{Size: 9, Path: "M4 4h1v1h-1z"}, Cancel: "/security"},
	"enrolapp_wrong": EnrolAppPage{
		Person: ada, Enrolment: "ZQ.c3Vt", Secret: "GEZD GNBV", QR: QR{Size: 9, Path: "M4 4h1v1h-1z"}, Name: "<Telephone>", Error: "The code is not right.", NameError: "The name is too long.",
	},
	"enrolpasskey":        EnrolPasskeyPage{Step: "c3RlcA.c3Vt", Person: ada, Passkey: ask, Cancel: "/security"},
	"enrolpasskey_wrong":  EnrolPasskeyPage{Person: ada, Passkey: ask, Name: "Key", Error: "The passkey was not accepted.", NameError: "The name is too long."},
	"recoverycodes":       RecoveryCodesPage{Codes: []string{"0123-4567-89ab-cdef", "ghjk-mnpq-rstv-wxyz"}, Next: "/login/second", First: true},
	"recoverycodes_again": RecoveryCodesPage{Codes: []string{"0123-4567-89ab-cdef"}, Next: "/security"},
	"security":            SecurityPage{Account: ada, Now: now, AppURL: "/login/enrol?kind=totp", NoPasskeys: "Browsers offer passkeys only over https.", HasPassword: true, MinPassword: 15},
	"security_factors": SecurityPage{
		Account: ada, Now: now, Notice: "The passkey Laptop is removed.", RecoveryLeft: 9, AppURL: "/login/enrol?kind=totp", PasskeyURL: "/login/enrol?kind=passkey",
		Factors: []SecurityFactor{
			{ID: "fac_a", Name: "Telephone", Kind: "authenticator app", Added: now.AddDate(0, -1, 0), LastUse: now.Add(-time.Hour)},
			{ID: "fac_b", Name: "<Laptop>", Kind: "passkey", Added: now.AddDate(0, 0, -1), Trouble: "It may have been copied."},
		},
		RenameID: "fac_b", RenameError: "The name is too long.", HasPassword: true, PasswordError: "The password is too short.", MinPassword: 15,
	},
	"security_required": SecurityPage{
		Account: ada, Now: now, Demand: "Your organization requires a second factor.", AppURL: "/login/enrol?kind=totp",
		Factors: []SecurityFactor{{ID: "fac_a", Name: "Telephone", Kind: "authenticator app", Added: now, Needed: true}},
	},
	"confirm":       ConfirmPage{Account: ada, Heading: "Remove Telephone?", What: "You will sign in without it.", Action: "/security/factors/fac_a/remove", Button: "Remove", Fields: []FormField{{"sure", "yes"}}, Cancel: "/security"},
	"policies_none": PoliciesPage{Account: ada},
	"policies": PoliciesPage{Account: Account{Name: "Ada Lovelace", Email: "ada@example.com", Owner: true}, Notice: "Saved.", Policies: []Policy{
		{Current: "optional", Levels: levels},
		{Slug: "web-shop", Name: "Web <Shop>", Current: "passkey", Levels: levels, Floor: "The organization demands a second factor in any case.", Error: "Passkeys do not work here."},
	}},
	"logout":           LogoutPage{Action: "/oauth/logout/confirm", Step: "c3RlcA.c3Vt", ClientName: "Portal", Person: ada},
	"signin_providers": SignInPage{Step: "c3RlcA.c3Vt", Providers: []Link{{"Sign in with Okta", "/login/sso/okta?step=c3RlcA.c3Vt"}, {"Sign in with Keycloak", "/login/sso/keycloak?step=c3RlcA.c3Vt"}}},
	"signin_home": SignInPage{
		Email: "ada@example.com", Error: "The e-mail address or the password is not right.", Home: Link{"Okta", "/login/sso/okta?hint=ada%40example.com"},
		Providers: []Link{{"Sign in with Okta", "/login/sso/okta"}},
	},
	"home": HomePage{Provider: Link{"Okta", "/login/sso/okta?hint=ada%40example.com"}},
	"handover": HandOverPage{
		Title: "Going to Okta", URL: "https://okta.example/sso?a='(1)", Source: "https://okta.example", Fields: []FormField{{"SAMLRequest", "PHNhbWw+"}, {"RelayState", "abc"}},
	},
	"signedout_there": SignedOutPage{Provider: "Okta", There: true},
	"providers_empty": ProvidersPage{Account: ada},
	"providers": ProvidersPage{
		Account: ada, Notice: "Okta is added.", Teams: []Option{{"shop", "Web Shop"}}, Roles: []string{"viewer", "admin"}, BreakGlass: []string{"Ada Lovelace"},
		Providers: []ProviderItem{
			{
				Slug: "okta", Name: "Okta", Kind: "OpenID Connect", Enabled: true, CreateAccounts: true, At: "https://example.okta.com", Domains: []ProviderDomain{{"example.com", true}, {"example.org", false}},
				Copy: []CopyItem{{"Redirect URI", "https://oriel.example/login/sso/okta/callback"}}, Rules: []ProviderRule{{"<eng>", "shop", "viewer"}}, Ends: "3 sessions and 5 connections end at once.",
				Group: "leads", Error: "There is no such role.",
			},
			{Slug: "corp", Name: "Corp", Kind: "SAML 2.0", At: "https://corp.example/metadata", Domains: []ProviderDomain{{"corp.example", false}}, Copy: []CopyItem{{"Entity id", "https://oriel.example/login/sso/corp/metadata"}}},
		},
	},
	"providers_errors": ProvidersPage{
		Account: ada, New: NewProviderForm{Kind: "saml", Name: "Corp", Domains: "nonsense", Metadata: "<x>", AllowPrivate: true},
		Errors: map[string]string{"domains": "It is no domain.", "metadata": "It cannot be read."},
	},
	"signedout_provider": SignedOutPage{Provider: "Okta", ProviderURL: "https://okta.example/logout?client_id=1&id_token_hint=2"},
	"signedout_saml":     SignedOutPage{Provider: "Corp", ProviderAction: "/login/sso/corp/sign-out?step=c3RlcA.c3Vt"},
	"signedout_unsure":   SignedOutPage{Provider: "Corp", There: true, Unsure: true},
	"logout_anonymous":   LogoutPage{Action: "/oauth/logout/confirm", Step: "c3RlcA.c3Vt", Person: ada},
}))

func newPages(t testing.TB) *Pages {
	t.Helper()
	p, err := NewPages()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t *testing.T, p *Pages, page Page) string {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Render(w, http.StatusOK, page); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

func TestTemplatesFitTheirPages(t *testing.T) {
	p := newPages(t)
	seen := make(map[string]bool)
	for _, page := range pages {
		seen[page.frame().Name] = true
	}
	for name := range p.templates {
		if !seen[name] {
			t.Errorf("page %s has no golden file", name)
		}
	}
	for _, zero := range []Page{
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
		SecondPage{},
		EnrolChoicePage{},
		EnrolAppPage{},
		EnrolPasskeyPage{},
		RecoveryCodesPage{},
		SecurityPage{},
		ConfirmPage{},
		PoliciesPage{},
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
	} {
		render(t, p, zero)
	}
}

func TestGoldenPages(t *testing.T) {
	p := newPages(t)
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			got := render(t, p, page)
			// The style sheet's name is made from its content: a changed
			// colour is no changed page.
			for path := range p.assets {
				got = strings.ReplaceAll(got, path, "/assets/NAME"+filepath.Ext(path))
			}
			file := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page differs (-golden +got; -update writes it anew):\n%s", diff)
			}
		})
	}
}

// TestPagesAreAccessible holds what can be held without a browser.
func TestPagesAreAccessible(t *testing.T) {
	p := newPages(t)
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			doc, err := html.Parse(strings.NewReader(render(t, p, page)))
			if err != nil {
				t.Fatal(err)
			}
			ids := make(map[string]bool)
			for n := range elements(doc) {
				if id := attr(n, "id"); id != "" {
					if ids[id] {
						t.Errorf("id %q stands twice", id)
					}
					ids[id] = true
				}
			}
			labels, headings, last := make(map[string]bool), 0, 0
			for n := range elements(doc) {
				for _, ref := range []string{"for", "aria-describedby", "aria-labelledby"} {
					for _, id := range strings.Fields(attr(n, ref)) {
						if !ids[id] {
							t.Errorf("<%s %s=%q> points at nothing", n.Data, ref, id)
						}
					}
				}
				switch n.DataAtom {
				case atom.Html:
					if attr(n, "lang") != "en" {
						t.Error("<html> has no language")
					}
				case atom.Title:
					if !strings.HasSuffix(text(n), " · Oriel") || strings.HasPrefix(text(n), " ") && name != "zero" {
						t.Errorf("title %q", text(n))
					}
				case atom.Label:
					labels[attr(n, "for")] = true
				case atom.H1:
					headings++
					last = 1
				case atom.H2, atom.H3:
					level := int(n.Data[1] - '0')
					if level > last+1 {
						t.Errorf("<%s> %q follows a heading of level %d", n.Data, text(n), last)
					}
					last = level
				case atom.Script:
					if !allowsScript(page, n) {
						t.Error("a script that the page's policy does not name")
					}
				case atom.Iframe, atom.Style:
					t.Errorf("<%s> on a page", n.Data)
				case atom.Form:
					elsewhere := ""
					switch page := page.(type) {
					case FormPostPage:
						elsewhere = page.URL
					case HandOverPage:
						elsewhere = page.URL
					}
					// What searches changes nothing, and its address can be kept.
					search := attr(n, "method") == "get" && attr(n, "role") == "search"
					if attr(n, "method") != "post" && !search || !strings.HasPrefix(attr(n, "action"), "/") && (elsewhere == "" || attr(n, "action") != elsewhere) {
						t.Errorf("form to %q by %q", attr(n, "action"), attr(n, "method"))
					}
				case atom.A:
					if text(n) == "" {
						t.Error("a link without words")
					}
				}
				for _, a := range n.Attr {
					if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("<%s %s>: the policy blocks it", n.Data, a.Key)
					}
				}
			}
			if headings != 1 {
				t.Errorf("%d <h1>", headings)
			}
			for n := range elements(doc) {
				if n.DataAtom == atom.Textarea || n.DataAtom == atom.Select {
					if !labels[attr(n, "id")] {
						t.Errorf("<%s %q> has no label", n.Data, attr(n, "name"))
					}
				}
				if n.DataAtom == atom.Input && attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
					t.Errorf("input %q has no label", attr(n, "name"))
				}
			}
		})
	}
}

// allowsScript says whether a page's policy lets exactly this script run.
func allowsScript(page Page, script *html.Node) bool {
	h := make(http.Header)
	SecureHeaders(h, page)
	if src := attr(script, "src"); src != "" {
		return script.FirstChild == nil && strings.HasPrefix(src, "/assets/") && strings.Contains(h.Get("Content-Security-Policy"), "; script-src 'self';")
	}
	if script.FirstChild == nil || len(script.Attr) > 0 {
		return false
	}
	sum := sha256.Sum256([]byte(script.FirstChild.Data))
	return strings.Contains(h.Get("Content-Security-Policy"), "; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
}

// TestCase037_FormPostPolicy: the page that posts an answer lets it go to
// exactly one client.
func TestCase037_FormPostPolicy(t *testing.T) {
	h := make(http.Header)
	SecureHeaders(h, pages["formpost"])
	if csp := h.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; form-action https://portal.example") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %s", csp)
	}
	SecureHeaders(h, pages["continue"])
	if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "form-action") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %s", csp)
	}
}

// TestContractWords holds the words by which tests and people find things.
func TestContractWords(t *testing.T) {
	p := newPages(t)
	has := func(page, kind, want string) {
		t.Helper()
		doc, err := html.Parse(strings.NewReader(render(t, p, pages[page])))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n := range elements(doc) {
			if n.Data == kind {
				got = append(got, text(n))
			}
		}
		if !slices.Contains(got, want) {
			t.Errorf("%s: no <%s> says exactly %q, only %q", page, kind, want, got)
		}
	}
	has("signin", "label", "Email")
	has("signin", "label", "Password")
	has("signin", "button", "Sign in")
	has("signin_passkey", "button", "Sign in with a passkey")
	has("setup", "button", "Create account")
	has("consent_two_teams", "h1", "Cursor asks for access")
	has("consent_two_teams", "label", "Web Shop")
	has("consent_two_teams", "label", "Payments")
	has("consent_two_teams", "button", "Allow access")
	has("consent_two_teams", "button", "Deny")
	has("consent_two_teams", "label", "Read logs")
	has("consent_no_team", "button", "Deny")
	has("continue", "button", "Continue")
	has("formpost", "button", "Continue")
	has("logout", "button", "Sign out")
	has("connections", "h1", "Connections")
	has("second", "h1", "Enter the code from your authenticator app")
	has("second", "a", "Use a recovery code instead")
	has("security", "h1", "Security")
	has("policies", "h1", "Policies")
	has("connections", "button", "Disconnect")
	has("return", "a", "Open Cursor")
	if strings.Contains(render(t, p, pages["consent_no_team"]), "Allow access") {
		t.Error("access can be allowed without a team")
	}
}

func TestReturnPageKeepsTheURL(t *testing.T) {
	page := pages["return"].(ReturnPage)
	doc, err := html.Parse(strings.NewReader(render(t, newPages(t), page)))
	if err != nil {
		t.Fatal(err)
	}
	var refresh, link string
	for n := range elements(doc) {
		if n.DataAtom == atom.Meta && attr(n, "http-equiv") == "refresh" {
			refresh = attr(n, "content")
		}
		if n.DataAtom == atom.A && strings.HasPrefix(text(n), "Open") {
			link = attr(n, "href")
		}
	}
	if want := "0; url=" + string(page.URL); refresh != want {
		t.Errorf("refresh %q, want %q", refresh, want)
	}
	if link != string(page.URL) {
		t.Errorf("link %q, want %q", link, page.URL)
	}
}

func TestDisplayName(t *testing.T) {
	for in, want := range map[string]string{
		"Cursor":                 "Cursor",
		"":                       "Unnamed client",
		"\u202e\u200b\n":         "Unnamed client",
		"  a\tb\r\n c ":          "a b c",
		"a\u202eb\u2066c\u0000d": "abcd",
		"bad\xff":                "bad\uFFFD",
		strings.Repeat("ä", 61):  strings.Repeat("ä", 59) + "…",
		strings.Repeat("ä", 60):  strings.Repeat("ä", 60),
	} {
		if got := DisplayName(in); got != want {
			t.Errorf("DisplayName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "1 day ago", 720 * time.Hour: "30 days ago",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "never" {
		t.Errorf("zero: %q", got)
	}
}

func elements(n *html.Node) func(func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		for d := range n.Descendants() {
			if d.Type == html.ElementNode && !yield(d) {
				return
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// TestQRCode: a code that is drawn is read back as it was, module by module,
// and stands free in its quiet zone.
func TestQRCode(t *testing.T) {
	text := "otpauth://totp/Oriel%20oriel.example.com:ada@example.com?secret=GEZDGNBVGY3TQOJQ"
	got, err := NewQR(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	dark := make(map[[2]int]bool)
	for run := range strings.SplitSeq(strings.TrimSuffix(got.Path, "z"), "z") {
		var x, y, n, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &n, &back); err != nil || n != back || n < 1 {
			t.Fatalf("run %q: %v", run, err)
		}
		for i := range n {
			dark[[2]int{x + i, y}] = true
		}
	}
	for y := range got.Size {
		for x := range got.Size {
			inside := x >= 4 && y >= 4 && x < got.Size-4 && y < got.Size-4
			if isDark := inside && want.At(x-4, y-4) == color.Black; dark[[2]int{x, y}] != isDark {
				t.Fatalf("module %d, %d: dark is %t", x, y, !isDark)
			}
		}
	}
}
