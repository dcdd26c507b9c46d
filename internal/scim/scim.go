// Package scim is the door for identity providers: provisioning with SCIM 2.0
// (RFC 7643, RFC 7644) under /scim/v2. A provider creates, changes and
// disables people and groups with a token of its own; what it takes away ends
// with the next call of whoever used it.
//
// People are everybody who has an account, however it was made, so that a
// provider can take over people who were there before it.
package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Path is where provisioning is.
const Path = "/scim/v2"

// The schemas (RFC 7643 §8.7, RFC 7644 §8.2).
const (
	schemaUser  = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaGroup = "urn:ietf:params:scim:schemas:core:2.0:Group"

	messageError = "urn:ietf:params:scim:api:messages:2.0:Error"
	messageList  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	messagePatch = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	messageBulk  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	messageBulkR = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

const contentType = "application/scim+json"

// Limits of a page of a list.
const (
	defaultCount = 100
	maxCount     = 500
)

// bodyLimit bounds a request, in bytes: a group of 10,000 members fits.
const bodyLimit = 2 << 20

// Error is an answer that says what is wrong (RFC 7644 §3.12).
type Error struct {
	Status int
	// Type is the scimType, "" for none.
	Type   string
	Detail string
}

func (e *Error) Error() string { return e.Detail }

// Config is what a Server needs.
type Config struct {
	Site      *web.Site
	Store     Store
	Groups    Groups
	PublicURL string
	Now       func() time.Time
	Logger    *slog.Logger
}

// Server answers provisioning requests. It is safe for concurrent use.
type Server struct{ Config }

// New returns a server, or an error that names what Config lacks.
func New(c Config) (*Server, error) {
	if c.Site == nil || c.Store == nil || c.Groups == nil || c.PublicURL == "" || c.Now == nil || c.Logger == nil {
		return nil, errors.New("scim: Config needs Site, Store, Groups, PublicURL, Now and Logger")
	}
	c.Site = c.Site.WithBodyLimit(bodyLimit)
	return &Server{c}, nil
}

// Routes lists the endpoints.
func (s *Server) Routes() []web.Route {
	return []web.Route{{Pattern: Path + "/", Who: web.Anyone, Handler: s.Site.API(s.serve)}}
}

// request is a request of a provider that showed a good token.
type request struct {
	*http.Request
	by audit.Actor
}

// reply is an answer that is not an error.
type reply struct {
	status   int
	body     any
	version  string
	location string
}

// serve checks the token and answers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	by, err := s.authenticate(r)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="provisioning"`)
		}
		return s.fail(w, err)
	}
	rep, err := s.route(&request{r, by}, strings.TrimPrefix(r.URL.Path, Path))
	if err != nil {
		return s.fail(w, err)
	}
	return s.write(w, rep)
}

func (s *Server) write(w http.ResponseWriter, rep reply) error {
	if rep.version != "" {
		w.Header().Set("ETag", rep.version)
	}
	if rep.location != "" {
		w.Header().Set("Location", rep.location)
	}
	w.Header().Set("Cache-Control", "no-store")
	if rep.body == nil {
		w.WriteHeader(rep.status)
		return nil
	}
	b, err := json.Marshal(rep.body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", contentType+"; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(rep.status)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// errorBody is an error as RFC 7644 §3.12 has it: the status is text.
type errorBody struct {
	Schemas []string `json:"schemas"`
	Status  string   `json:"status"`
	Type    string   `json:"scimType,omitempty"`
	Detail  string   `json:"detail"`
}

func bodyOf(e *Error) errorBody {
	return errorBody{[]string{messageError}, strconv.Itoa(e.Status), e.Type, e.Detail}
}

func (s *Server) fail(w http.ResponseWriter, err error) error {
	e := asError(err)
	if werr := s.write(w, reply{status: e.Status, body: bodyOf(e)}); werr != nil {
		return werr
	}
	if e.Status >= http.StatusInternalServerError {
		return err // for the log; the answer has been given
	}
	return nil
}

// asError says how an error is answered.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if web.TooLarge(err) {
		return &Error{http.StatusRequestEntityTooLarge, "", fmt.Sprintf("the request is larger than %d bytes", bodyLimit)}
	}
	switch {
	case errors.Is(err, ErrTaken), errors.Is(err, org.ErrGroupNameTaken), errors.Is(err, org.ErrExternalIDTaken):
		return &Error{http.StatusConflict, "uniqueness", ErrTaken.Error()}
	case errors.Is(err, ErrNotFound), errors.Is(err, org.ErrGroupNotFound):
		return &Error{http.StatusNotFound, "", ErrNotFound.Error()}
	case errors.Is(err, ErrLastOwner):
		return &Error{http.StatusForbidden, "", ErrLastOwner.Error()}
	}
	return &Error{http.StatusInternalServerError, "", "something went wrong on our side; try again"}
}

// route finds what a path and a method ask for.
func (s *Server) route(r *request, path string) (reply, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	kind, id := parts[0], ""
	if len(parts) > 2 {
		return reply{}, errNoSuchEndpoint
	}
	if len(parts) == 2 {
		id = parts[1]
	}
	switch strings.ToLower(kind) {
	case "users":
		return s.resource(r, users{s}, id)
	case "groups":
		return s.resource(r, groups{s}, id)
	case "bulk":
		if id != "" {
			return reply{}, errNoSuchEndpoint
		}
		if r.Method != http.MethodPost {
			return reply{}, errMethod
		}
		return s.bulk(r)
	case "serviceproviderconfig", "resourcetypes", "schemas":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return reply{}, errMethod
		}
		if r.URL.Query().Has("filter") {
			return reply{}, &Error{http.StatusForbidden, "", "this endpoint takes no filter"} // RFC 7644 §4
		}
		return s.discovery(strings.ToLower(kind), id)
	}
	return reply{}, errNoSuchEndpoint
}

var (
	errNoSuchEndpoint = &Error{http.StatusNotFound, "", "there is no such endpoint; there are Users, Groups, Bulk, ServiceProviderConfig, ResourceTypes and Schemas"}
	errMethod         = &Error{http.StatusMethodNotAllowed, "", "this method is not possible here"}
)

// kind is a kind of resource: users or groups.
type kind interface {
	// list returns what a filter may match, all or fewer.
	list(ctx context.Context, f filter) ([]map[string]any, error)
	get(ctx context.Context, id string) (map[string]any, error)
	create(ctx context.Context, resource map[string]any, by audit.Actor) (map[string]any, error)
	// change replaces a resource with what do returns for it.
	change(ctx context.Context, id string, by audit.Actor, do func(map[string]any) (map[string]any, error)) (map[string]any, error)
	remove(ctx context.Context, id string, by audit.Actor, check func(map[string]any) error) error
}

func (s *Server) resource(r *request, k kind, id string) (reply, error) {
	ctx := r.Context()
	show, err := parseProjection(r.URL.Query())
	if err != nil {
		return reply{}, err
	}
	if id == "" {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			q := r.URL.Query()
			return s.search(ctx, k, searchRequest{Filter: q.Get("filter"), Start: q.Get("startIndex"), Count: q.Get("count")}, show)
		case http.MethodPost:
			body, err := readObject(r.Request)
			if err != nil {
				return reply{}, err
			}
			made, err := k.create(ctx, body, r.by)
			if err != nil {
				return reply{}, err
			}
			return reply{http.StatusCreated, show.of(made), version(made), location(made)}, nil
		}
		return reply{}, errMethod
	}
	matches := func(have map[string]any) error { return precondition(r.Request, have) }
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		have, err := k.get(ctx, id)
		if err != nil {
			return reply{}, err
		}
		if tag := r.Header.Get("If-None-Match"); tag != "" && (tag == "*" || hasTag(tag, version(have))) {
			return reply{status: http.StatusNotModified, version: version(have)}, nil
		}
		return reply{http.StatusOK, show.of(have), version(have), location(have)}, nil
	case http.MethodPut:
		body, err := readObject(r.Request)
		if err != nil {
			return reply{}, err
		}
		return s.changed(show)(k.change(ctx, id, r.by, func(have map[string]any) (map[string]any, error) {
			return body, matches(have)
		}))
	case http.MethodPatch:
		var p patch
		if err := readInto(r.Request, &p); err != nil {
			return reply{}, err
		}
		return s.changed(show)(k.change(ctx, id, r.by, func(have map[string]any) (map[string]any, error) {
			if err := matches(have); err != nil {
				return nil, err
			}
			return p.apply(have)
		}))
	case http.MethodDelete:
		if err := k.remove(ctx, id, r.by, matches); err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusNoContent}, nil
	}
	return reply{}, errMethod
}

func (s *Server) changed(show projection) func(map[string]any, error) (reply, error) {
	return func(now map[string]any, err error) (reply, error) {
		if err != nil {
			return reply{}, err
		}
		return reply{http.StatusOK, show.of(now), version(now), location(now)}, nil
	}
}

// precondition checks If-Match (RFC 7644 §3.14).
func precondition(r *http.Request, have map[string]any) error {
	tag := r.Header.Get("If-Match")
	if tag == "" || tag == "*" || hasTag(tag, version(have)) {
		return nil
	}
	return &Error{http.StatusPreconditionFailed, "", "the resource has changed since it was read; read it again"}
}

func hasTag(list, version string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(tag) == version {
			return true
		}
	}
	return false
}

func version(r map[string]any) string {
	m, _ := r["meta"].(map[string]any)
	v, _ := m["version"].(string)
	return v
}

func location(r map[string]any) string {
	m, _ := r["meta"].(map[string]any)
	v, _ := m["location"].(string)
	return v
}

// readObject reads a resource.
func readObject(r *http.Request) (map[string]any, error) {
	var m map[string]any
	if err := readInto(r, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, invalid("invalidSyntax", "the body must be a JSON object")
	}
	return m, nil
}

func readInto(r *http.Request, v any) error {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != contentType && typ != "application/json" {
		return &Error{http.StatusUnsupportedMediaType, "", "the body must be JSON (Content-Type: " + contentType + ")"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return invalid("invalidSyntax", "%s must not be a JSON %s", t.Field, t.Value)
		}
		return invalid("invalidSyntax", "the body is no JSON: %v", err)
	}
	return nil
}

// authenticate checks the provider's token (RFC 6750 §2.1).
func (s *Server) authenticate(r *http.Request) (audit.Actor, error) {
	unauthorized := &Error{http.StatusUnauthorized, "", "a provisioning token is needed: Authorization: Bearer … (an administrator makes one with oriel scim token add)"}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	secret := TokenSecret(strings.TrimSpace(token))
	if !strings.EqualFold(scheme, "Bearer") || !secret.WellFormed() {
		return audit.Actor{}, unauthorized
	}
	t, err := s.Store.UseSCIMToken(r.Context(), secret.Hash(), s.Now())
	if errors.Is(err, ErrTokenUnknown) {
		return audit.Actor{}, unauthorized
	}
	if err != nil {
		return audit.Actor{}, err
	}
	return audit.Actor{Kind: audit.ByProvider, ID: t.Name, Address: s.Site.ClientAddress(r).String()}, nil
}

// Store keeps what providers provision. Every change is one transaction with
// its audit events and, where it touches what somebody may do, its entry in
// the change feed.
type Store interface {
	TokenStore

	// SCIMUsers lists everybody who has an account, but for programs and for
	// those whom a provider deleted.
	SCIMUsers(ctx context.Context) ([]User, error)
	// GroupsOfAll says which groups people are in, each person's by name.
	GroupsOfAll(ctx context.Context) (map[org.PersonID][]org.Group, error)
	// SCIMUser finds one by its id, userName, externalId or email. Errors:
	// ErrNotFound.
	SCIMUser(ctx context.Context, by UserKey, value string) (User, error)
	// CreateSCIMUser adds a person, or brings one back whom a provider
	// deleted. Errors: ErrTaken.
	CreateSCIMUser(ctx context.Context, u User, ev audit.Event) (User, error)
	// ChangeSCIMUser calls change with a user and stores what it did to it.
	// An error of change is returned as it is and stores nothing. Where the
	// user is not active any more, their sessions and grants end. Errors:
	// ErrNotFound, ErrTaken, ErrLastOwner.
	ChangeSCIMUser(ctx context.Context, id org.PersonID, change func(*User) ([]audit.Event, error)) (User, error)
}

// UserKey is what a user can be found by.
type UserKey string

// What users can be found by.
const (
	ByID         UserKey = "id"
	ByUserName   UserKey = "userName"
	ByExternalID UserKey = "externalId"
)

// Errors of a Store. Their text is for providers.
var (
	ErrTaken          = errors.New("another user or group has this name or e-mail address already")
	ErrNotFound       = errors.New("there is no such resource")
	ErrLastOwner      = errors.New("this is the last owner of the organization, who cannot be disabled or deleted by a provider: make somebody else an owner first")
	ErrTokenNameTaken = errors.New("a working provisioning token has this name already")
	ErrTokenUnknown   = errors.New("the provisioning token is unknown or revoked")
)
