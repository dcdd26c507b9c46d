package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// isDocumentID says whether a client id wants to be a document's address.
// Plain http is one too, so that its owner learns what is wrong with it.
func isDocumentID(id string) bool {
	return spec.IsClientIDURL(id) || strings.HasPrefix(strings.ToLower(id), "http://")
}

// documentClient finds the client whose id is the address of its metadata
// (draft-ietf-oauth-client-id-metadata-document). A client that is blocked or
// not admitted is not asked for its document. Errors: *clientdoc.Error for a
// document that was refused.
func (s *Server) documentClient(ctx context.Context, id string) (grant.Client, error) {
	c := grant.Client{ID: grant.ClientID(id), Kind: grant.Document, CreatedAt: s.Now()}
	if u, err := url.Parse(id); err == nil {
		c.Metadata.Name = u.Hostname()
	}
	var err error
	if c.Blocked, err = s.Clients.ProductBlocked(ctx, c.Integrations()...); err != nil || c.Blocked || !s.Admission.Admits(c) {
		return c, err
	}
	doc, err := s.Documents.Client(ctx, id)
	if err != nil {
		return grant.Client{}, err
	}
	name := c.Metadata.Name
	if c.Metadata = doc.Metadata; c.Metadata.Name == "" {
		c.Metadata.Name = name
	}
	c.Blocked, err = s.Clients.ProductBlocked(ctx, c.Integrations()...)
	return c, err
}

// isBuiltIn says whether what is known of a client comes from the copy of its
// document that is built in, because its host could not be asked. The document
// was asked for a moment ago to read the request, so this comes from memory.
func (s *Server) isBuiltIn(ctx context.Context, c grant.Client) (bool, error) {
	if c.Kind != grant.Document {
		return false, nil
	}
	doc, err := s.Documents.Client(ctx, string(c.ID))
	if err != nil {
		return false, fmt.Errorf("where the document of %s comes from: %w", c.Key(), err)
	}
	return doc.Source == clientdoc.BuiltIn, nil
}

// documentPage is what a person sees whose app has a document that was
// refused; nil for other errors.
func documentPage(err error) error {
	refused, ok := errors.AsType[*clientdoc.Error](err)
	if !ok {
		return nil
	}
	return &web.Error{Status: documentStatus(refused), Public: refused.Public(), Next: refused.Next(), RetryAfter: refused.RetryAfter, Cause: err}
}

// documentError is what a client is told about its document. A host that
// cannot be reached is no reason to forget anything.
func documentError(e *clientdoc.Error) *spec.Error {
	if e.Permanent() {
		return spec.NewError(spec.InvalidClient, e.Public())
	}
	return spec.NewError(spec.TemporarilyUnavailable, e.Public()+" "+e.Next())
}

func documentStatus(e *clientdoc.Error) int {
	if e.Permanent() {
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

// notAdmitted answers a client that the organization does not let in, at a
// page: it names whom to ask.
func (s *Server) notAdmitted(r *http.Request, c grant.Client) error {
	if err := s.recordNotAdmitted(r, c); err != nil {
		return err
	}
	owners, err := s.askWhom(r)
	if err != nil {
		return err
	}
	next := "Ask an owner of this server to allow it."
	if len(owners) > 0 {
		next = "Ask an owner of this server to allow it: " + strings.Join(owners, ", ") + "."
	}
	return &web.Error{
		Status: http.StatusForbidden, Public: c.Name() + " is not among the apps that this organization lets connect.", Next: next,
	}
}

// errNotAdmitted refuses a client at the endpoints for clients. It is
// invalid_grant, not invalid_client: the client then drops its tokens, keeps
// its registration, and takes its person to the browser, where the page says
// whom to ask. Nothing is consumed, so once the client is allowed, its refresh
// token works again.
var errNotAdmitted = spec.NewError(spec.InvalidGrant, "this organization does not let the app connect: ask an owner of the server to allow it")

// refusalsPerMinute bounds the audit events that strangers can cause here.
const refusalsPerMinute = 60

func (s *Server) recordNotAdmitted(r *http.Request, c grant.Client) error {
	if !s.refusals.AllowN(s.Now(), 1) {
		return nil
	}
	return s.Desk.Store.RecordEvent(r.Context(), audit.Event{
		At: s.Now(), Actor: s.clientActor(r, c), Kind: audit.ClientRefused, Target: string(c.Key()),
		Detail: "admission policy " + s.Admission.Policy + ": " + c.Name(),
	})
}
