package sso

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso/saml"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// maxACSBytes bounds a form with a response.
const maxACSBytes = saml.MaxResponseBytes + 64<<10

// maxNameIDBytes is the longest persistent NameID (SAML Core 2.0 §8.3.7).
const maxNameIDBytes = 256

// serviceProvider is our side of a SAML provider.
func (s *Server) serviceProvider(p *Provider) (*saml.ServiceProvider, error) {
	key, err := s.Registry.secret(p)
	if err != nil {
		return nil, err
	}
	return saml.New(saml.Config{EntityID: s.EntityID(p.Slug), ACSURL: s.ACSURL(p.Slug), SLOURL: s.SLOURL(p.Slug), Key: key, Metadata: []byte(p.Settings.Metadata), Now: s.Now})
}

// requestID names the authentication request of a flow.
func (s *Server) requestID(f flow) string { return "_" + s.derive("saml request", f.ID) }

// metadata describes us to a SAML provider.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, SAML)
	if err != nil {
		return err
	}
	sp, err := s.serviceProvider(p)
	if err != nil {
		return err
	}
	text, err := sp.Metadata()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return nil
}

// startSAML sends the browser to a provider.
func (s *Server) startSAML(w http.ResponseWriter, r *http.Request, p *Provider, f flow) error {
	sp, err := s.serviceProvider(p)
	if err != nil {
		return err
	}
	s.begin(w, r, &f)
	request, err := sp.Request(s.requestID(f), f.ID, f.Reauthenticate)
	if err != nil {
		return err
	}
	return s.sendSAML(w, r, p, request, f.ID)
}

// sendSAML has the browser take a message to a provider.
func (s *Server) sendSAML(w http.ResponseWriter, r *http.Request, p *Provider, m saml.Request, relayState string) error {
	if m.Message == "" {
		http.Redirect(w, r, m.URL, http.StatusSeeOther)
		return nil
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return fmt.Errorf("address of %s: %w", p.Slug, err)
	}
	page := web.HandOverPage{
		Title: "Going to " + p.Name, URL: m.URL, Source: u.Scheme + "://" + u.Host,
		Fields: []web.FormField{{Name: m.Name, Value: m.Message}},
	}
	if relayState != "" {
		page.Fields = append(page.Fields, web.FormField{Name: "RelayState", Value: relayState})
	}
	return s.Site.Render(w, http.StatusOK, page)
}

// acs is the assertion consumer service (SAML Profiles 2.0 §4.1.4).
func (s *Server) acs(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r, SAML)
	if err != nil {
		return err
	}
	if err := web.ReadForm(r); err != nil {
		return err
	}
	message, relay := r.PostForm.Get("SAMLResponse"), r.PostForm.Get("RelayState")
	f, err := s.resume(r, p, relay)
	if err != nil && r.PostForm.Get("again") == "" && message != "" {
		// Our cookies do not come along with a form of another site
		// (SameSite). Once more, from a page of our own.
		return s.Site.Render(w, http.StatusOK, web.HandOverPage{
			Title: "Coming back from " + p.Name, URL: s.ACSURL(p.Slug), Source: "'self'",
			Fields: []web.FormField{{Name: "SAMLResponse", Value: message}, {Name: "RelayState", Value: relay}, {Name: "again", Value: "1"}},
		})
	}
	if err != nil {
		return &web.Error{
			Status: http.StatusBadRequest, Public: "This sign-in was not begun in this browser, or took too long.",
			Next: "Begin here, not at " + p.Name + ".", Cause: err, Links: signInLinks(),
		}
	}
	s.forget(w, r, f.ID)
	sp, err := s.serviceProvider(p)
	if err != nil {
		return err
	}
	a, err := sp.Read(message, s.requestID(f))
	if errors.Is(err, saml.ErrStatus) {
		return s.refuse(r, &RefusedError{
			Reason: "at " + p.Slug + ": " + clip(err.Error()), Public: p.Name + " did not sign you in.",
			Next: "Try again, or ask the administrator of " + p.Name + ".",
		})
	}
	if err != nil {
		return s.distrust(r, p, err)
	}
	now := s.Now()
	v := login.Vouched{Upstream: login.Upstream{
		Subject: a.Name.Value, SessionID: a.SessionIndex,
		NameFormat: a.Name.Format, NameQualifier: a.Name.NameQualifier, SPNameQualifier: a.Name.SPNameQualifier,
	}}
	if v.AuthTime, err = authTime(f, a.AuthnInstant.UTC(), true, now); err != nil {
		return s.distrust(r, p, err)
	}
	v.ACR, v.AMR = p.class(a.Class, nil)
	arrival := Arrival{
		Provider: p, Subject: p.samlSubject(a), Email: p.samlEmail(a),
		Name: first(a, nameAttributes), Groups: bounded(slices.Clone(p.samlGroups(a))),
	}
	if arrival.Subject == "" {
		return s.distrust(r, p, errors.New("the assertion names nobody who can be known again (a transient NameID, or the subject attribute is missing)"))
	}
	// SAML Profiles 2.0 §4.1.4.5: an assertion is good once.
	err = s.Registry.store.UseToken(r.Context(), hashOf("assertion", string(p.ID), a.ID), a.Expires, now)
	if errors.Is(err, ErrTokenUsed) {
		return s.distrust(r, p, err)
	}
	if err != nil {
		return fmt.Errorf("note assertion: %w", err)
	}
	return s.arrive(w, r, f, arrival, v)
}

const transientNameID = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

// samlSubject names somebody for ever, "" where nothing does.
func (p *Provider) samlSubject(a saml.Assertion) string {
	subject := a.Name.Value
	if claim := p.Settings.SubjectClaim; claim != "" {
		subject = ""
		if values := a.Attributes[claim]; len(values) == 1 {
			subject = values[0]
		}
	} else if a.Name.Format == transientNameID {
		return ""
	}
	if len(subject) > maxNameIDBytes {
		return ""
	}
	return subject
}

// The usual names of attributes, those of Microsoft Entra ID among them.
var (
	emailAttributes = []string{"email", "mail", "urn:oid:0.9.2342.19200300.100.1.3", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"}
	nameAttributes  = []string{
		"displayName", "name", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname",
		"cn", "urn:oid:2.5.4.3",
	}
	groupAttributes = []string{DefaultGroupClaim, "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "http://schemas.xmlsoap.org/claims/Group"}
)

// first returns the first value of the first attribute that has one.
func first(a saml.Assertion, names []string) string {
	for _, name := range names {
		if values := a.Attributes[name]; len(values) > 0 && values[0] != "" && len(values[0]) <= maxClaimBytes {
			return values[0]
		}
	}
	return ""
}

// samlEmail returns the address. The provider speaks for its domains, and is
// believed for nobody else's; SAML has no word for a verified address.
func (p *Provider) samlEmail(a saml.Assertion) string {
	names := emailAttributes
	if p.Settings.EmailClaim != "" {
		names = []string{p.Settings.EmailClaim}
	}
	text := first(a, names)
	if text == "" && p.Settings.EmailClaim == "" && strings.Contains(a.Name.Value, "@") {
		text = a.Name.Value
	}
	email, err := org.ParseEmail(text)
	if err != nil {
		return ""
	}
	return email
}

func (p *Provider) samlGroups(a saml.Assertion) []string {
	if p.Settings.GroupClaim != "" {
		return a.Attributes[p.Settings.GroupClaim]
	}
	for _, name := range groupAttributes {
		if values := a.Attributes[name]; len(values) > 0 {
			return values
		}
	}
	return nil
}

// FetchMetadata gets a SAML provider's metadata as sign-ins would reach it.
func (s *Server) FetchMetadata(ctx context.Context, address string, private bool) (string, error) {
	return FetchMetadata(ctx, s.Network, address, private)
}

// FetchMetadata gets a SAML provider's metadata; private lets it be at a
// private address.
func FetchMetadata(ctx context.Context, network clientdoc.Network, address string, private bool) (string, error) {
	if err := checkEndpoint("metadata-url", address, private); err != nil {
		return "", err
	}
	o := clientdoc.ClientOptions{Private: private, Timeout: fetchTimeout, MaxBytes: maxMetadataBytes + 1}
	if u, err := url.Parse(address); err == nil {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			o.Ports = []uint16{uint16(port)}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("fetch metadata: %w", err)
	}
	res, err := network.Client(o).Do(req)
	if err != nil {
		return "", fmt.Errorf("fetch metadata: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing is left to lose
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("fetch metadata: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("fetch metadata: %s answered with status %d", address, res.StatusCode)
	}
	return string(text), nil
}
