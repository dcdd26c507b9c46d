package spec

import (
	"strings"
	"testing"
)

// Case 32 of the authorization cases.
func TestRFC6749_3_3_UnknownScopesAreDropped(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"logs:read":                            "logs:read",
		"offline_access logs:read":             "logs:read offline_access",
		"logs:read  logs:read mcp:* LOGS:READ": "logs:read",
		"admin":                                "",
		"openid profile email":                 "openid profile email",
		strings.Repeat("x", 4086) + " logs:reader": "", // cut inside the last word
		strings.Repeat("x ", 2048) + "logs:read":   "",
	} {
		if got := ParseScopes(in).String(); got != want {
			t.Errorf("ParseScopes(%.40q) = %q, want %q", in, got, want)
		}
	}
}

func TestScopeSets(t *testing.T) {
	if got := DefaultScopes().String(); got != "logs:read traces:read metrics:read alerts:read" {
		t.Errorf("default: %s", got)
	}
	if got := ResourceScopes().String(); got != "logs:read traces:read metrics:read alerts:read alerts:write" {
		t.Errorf("resource: %s", got)
	}
	if got := AllScopes().String(); got != ResourceScopes().String()+" openid profile email offline_access" {
		t.Errorf("all: %s", got)
	}
	var none Scopes
	switch {
	case none.Has(ScopeLogsRead), none.Contains(DefaultScopes()), !DefaultScopes().Contains(none), !none.IsEmpty():
		t.Error("the zero value is not empty")
	case AllScopes().Has("admin"):
		t.Error("an unknown scope is in the set")
	case AllScopes().Without(ResourceScopes()) != ParseScopes("openid profile email offline_access"):
		t.Error("Without")
	case DefaultScopes().Intersect(NewScopes(ScopeLogsRead, ScopeOpenID)) != NewScopes(ScopeLogsRead):
		t.Error("Intersect")
	}
	for in, want := range map[string]string{
		"":                     DefaultScopes().String(),
		"openid profile email": DefaultScopes().String() + " openid profile email",
		"logs:read openid":     "logs:read openid",
		"alerts:write":         "alerts:write",
	} {
		if got := ParseScopes(in).OrDefault().String(); got != want {
			t.Errorf("%q or default = %q", in, got)
		}
	}
}
