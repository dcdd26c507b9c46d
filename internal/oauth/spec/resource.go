package spec

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const (
	bareResourcePath   = "/mgmt/api/v1/mcp"
	teamResourcePrefix = "/mgmt/api/v1/teams/"
	teamResourceSuffix = "/mcp"

	// ResourceMetadataPath is the well-known prefix of protected resource metadata (RFC 9728 §3).
	ResourceMetadataPath = "/.well-known/oauth-protected-resource"

	// maxSlugBytes bounds a team's slug in a URL, as a DNS label does.
	maxSlugBytes = 63
)

// Patterns of the paths of resources, as http.ServeMux takes them.
const (
	BareResourcePattern = bareResourcePath
	TeamResourcePattern = teamResourcePrefix + "{slug}/mcp"
)

// PublicURL is the origin under which people and clients reach this server. It is also the issuer: one string,
// without a trailing slash, everywhere. The zero value is no origin.
type PublicURL struct{ origin string }

// ParsePublicURL accepts an https origin; http for loopback hosts, or for every host when allowPlainHTTP is set. A
// trailing slash, capital letters in the host and the scheme's default port are dropped; a path, query, fragment or
// user information is an error.
func ParsePublicURL(s string, allowPlainHTTP bool) (PublicURL, error) {
	u, err := parseURI(s)
	if err != nil {
		return PublicURL{}, fmt.Errorf("public URL %w", err)
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return PublicURL{}, errors.New("public URL must begin with https:// or http://")
	}
	if err := checkWebHost(u.Hostname()); err != nil {
		return PublicURL{}, fmt.Errorf("public URL %w", err)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery {
		return PublicURL{}, errors.New("public URL must be an origin, without path or query")
	}
	origin := originOf(u)
	if scheme == "http" && !allowPlainHTTP && !slices.Contains(loopbackHosts, strings.TrimSuffix(strings.ToLower(u.Host), ":"+u.Port())) {
		return PublicURL{}, errors.New("public URL must be https unless its host is localhost, 127.0.0.1 or [::1]")
	}
	return PublicURL{origin}, nil
}

// String returns the origin: scheme, host and a port that is not the default one.
func (p PublicURL) String() string { return p.origin }

// originOf normalises scheme, host and port.
func originOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if p := u.Port(); scheme == "https" && p == "443" || scheme == "http" && p == "80" {
		host = strings.TrimSuffix(host, ":"+p)
	}
	return scheme + "://" + host
}

// Resource is a URL that a token is for (RFC 8707). The zero value is no resource: its URL is empty and equals no
// audience. Values can be compared with ==.
type Resource struct {
	origin string
	slug   string
}

// URL returns the resource identifier, byte for byte as its metadata and the tokens for it show it.
func (r Resource) URL() string {
	if r.IsZero() {
		return ""
	}
	return r.origin + r.Path()
}

// Path returns the path on this server.
func (r Resource) Path() string {
	switch {
	case r.IsZero():
		return ""
	case r.slug == "":
		return bareResourcePath
	}
	return teamResourcePrefix + r.slug + teamResourceSuffix
}

// TeamSlug returns the team that the URL names, or "" for the bare resource, where the person picks one. Of the zero
// Resource it says "" as well: ask IsZero first where one can occur.
func (r Resource) TeamSlug() string { return r.slug }

// IsZero reports whether this is no resource.
func (r Resource) IsZero() bool { return r.origin == "" }

// MetadataURL returns where the resource's metadata is (RFC 9728 §3.1): the well-known prefix goes between the origin
// and the path.
func (r Resource) MetadataURL() string {
	if r.IsZero() {
		return ""
	}
	return r.origin + ResourceMetadataPath + r.Path()
}

// String returns URL.
func (r Resource) String() string { return r.URL() }

// Resources knows the resources of one server. The zero value knows none.
type Resources struct{ origin string }

// NewResources returns the resources under a public URL.
func NewResources(p PublicURL) Resources { return Resources(p) }

// Bare returns the resource that names no team.
func (rs Resources) Bare() Resource { return Resource{origin: rs.origin} }

// Team returns a team's own resource. The slug is checked for its form only: lower-case letters, digits and inner
// hyphens, at most 63 bytes. Whether there is such a team is for others to say.
func (rs Resources) Team(slug string) (Resource, error) {
	if !isSlug(slug) {
		return Resource{}, errors.New("the team's name in the URL is malformed")
	}
	if rs.origin == "" {
		return Resource{}, errors.New("no public URL is set")
	}
	return Resource{rs.origin, slug}, nil
}

// Parse returns the resource that the values of a resource parameter mean (RFC 8707 §2). Clients vary, so: no value
// or an empty one is the bare resource, and so is the origin, with or without slash; a trailing slash, capitals in
// scheme and host, and the default port are tolerated. Everything else is *Error with invalid_target: another origin, a path
// that is no resource, a query or fragment, and more than one value, since a token here is for one resource.
func (rs Resources) Parse(values []string) (Resource, error) {
	if rs.origin == "" {
		return Resource{}, NewError(InvalidTarget, "there is no resource here")
	}
	if len(values) > 1 {
		return Resource{}, NewError(InvalidTarget, "only one resource can be asked for at a time")
	}
	// RFC 6749 §3.1: a parameter without a value counts as omitted.
	if len(values) == 0 || values[0] == "" {
		return rs.Bare(), nil
	}
	u, err := parseURI(values[0])
	if err != nil {
		return Resource{}, Errorf(InvalidTarget, "resource %v", err)
	}
	if u.Opaque != "" || originOf(u) != rs.origin {
		return Resource{}, NewError(InvalidTarget, "resource is not on this server; ask for "+rs.Bare().URL())
	}
	if u.RawQuery != "" || u.ForceQuery {
		return Resource{}, NewError(InvalidTarget, "resource has a query; ask for "+rs.Bare().URL())
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if path == "" || path == bareResourcePath {
		return rs.Bare(), nil
	}
	if slug, ok := strings.CutPrefix(path, teamResourcePrefix); ok {
		if slug, ok = strings.CutSuffix(slug, teamResourceSuffix); ok && isSlug(slug) {
			return rs.Team(slug)
		}
	}
	return Resource{}, NewError(InvalidTarget, "resource is unknown; ask for "+rs.Bare().URL())
}

func isSlug(s string) bool {
	if s == "" || len(s) > maxSlugBytes || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
