// Package clientdoc finds out who a client is whose client_id is a URL: it
// fetches OAuth client ID metadata documents (draft-ietf-oauth-client-id-
// metadata-document-02, MCP 2026-07-28 "Client ID Metadata Documents") and
// the key sets that they name, and remembers them.
//
// The URLs come from strangers who want a server inside somebody's network to
// fetch them (server-side request forgery). So only https on port 443 and
// public addresses are spoken to, no redirect is followed, no proxy asked,
// and time, size, number and memory are bounded. What was refused, and why,
// is an audit event; strangers are told less.
//
// A document moves: memory while it is fresh by HTTP's rules, then the host
// (asked whether it changed), then for up to seven days the last good copy,
// then the copy that is built in for a well-known product, then a refusal.
package clientdoc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// ErrNoCopy is returned by Store.ClientDocument where none is stored.
var ErrNoCopy = errors.New("no copy of that client document")

// Store keeps the last good copies. Implementations are safe for concurrent
// use.
type Store interface {
	// ClientDocument returns the stored copy of a URL. Errors: ErrNoCopy.
	ClientDocument(ctx context.Context, url string) (Copy, error)
	// SaveClientDocument stores a copy with its events. Of the documents that
	// no stored client uses it keeps the newest few: strangers must have
	// nothing to fill.
	SaveClientDocument(ctx context.Context, c Copy, keep int, events ...audit.Event) error
	// RecordEvent stores an audit event that changes nothing else.
	RecordEvent(ctx context.Context, ev audit.Event) error
}

// maxUnused is how many documents are stored that no client uses yet: 16 MiB
// at worst.
const maxUnused = 256

// eventsPerMinute bounds how many refusals that cost us nothing are recorded:
// anybody can send URLs that are refused at sight.
const eventsPerMinute = 60

// Config is what Documents need.
type Config struct {
	Store Store
	Now   func() time.Time
	// Ports are the ports that may be connected to; nil means 443.
	Ports []uint16
	// Network is the way out; the zero value is the guarded one.
	Network Network
}

// Documents fetches and remembers client documents and their keys. It is safe
// for concurrent use.
type Documents struct {
	Config
	builtin   map[string]builtinDocument
	documents *cache[spec.ClientMetadata]
	keys      *cache[keySet]
	events    *rate.Limiter
}

// New returns Documents, or an error that names what Config lacks.
func New(c Config) (*Documents, error) {
	if c.Store == nil || c.Now == nil {
		return nil, errors.New("clientdoc: Config needs Store and Now")
	}
	if c.Ports == nil {
		c.Ports = []uint16{443}
	}
	d := &Documents{Config: c, events: perMinute(eventsPerMinute, eventsPerMinute)}
	var err error
	if d.builtin, err = readBuiltin(); err != nil {
		return nil, fmt.Errorf("clientdoc: %w", err)
	}
	f, b := &fetcher{http: newHTTPClient(c.Network, c.Ports), timeout: fetchTimeout, now: c.Now}, newBudget()
	d.documents = &cache[spec.ClientMetadata]{
		fetcher: f, budget: b, now: c.Now, parse: parseDocument, load: d.load, save: d.save, refused: d.recordRefusal,
		wellKnown: func(u string) bool { _, ok := d.builtin[u]; return ok },
	}
	d.keys = &cache[keySet]{
		fetcher: f, budget: b, now: c.Now, parse: parseKeySet, refused: d.recordRefusal,
		wellKnown: func(string) bool { return false },
	}
	return d, nil
}

// Source says where a document comes from.
type Source string

// The sources.
const (
	Fetched  Source = "fetched"
	LastGood Source = "last good copy"
	BuiltIn  Source = "built-in copy"
)

// Document is a client's metadata.
type Document struct {
	Metadata spec.ClientMetadata
	Source   Source
	// At is when the host last said so; for a built-in copy it is zero.
	At time.Time
}

// Client returns the document of a client_id. Errors: *Error for one that was
// refused; any other is our own fault.
func (d *Documents) Client(ctx context.Context, id string) (Document, error) {
	if err := d.checkURL(id); err != nil {
		if d.events.AllowN(d.Now(), 1) {
			d.recordRefusal(ctx, err)
		}
		return Document{}, err
	}
	r, err := d.documents.get(ctx, id, false)
	switch {
	case err != nil:
		return Document{}, err
	case r.err == nil:
		return Document{r.value, Fetched, r.copy.FetchedAt}, nil
	case r.copy.URL != "":
		return Document{r.value, LastGood, r.copy.FetchedAt}, nil
	}
	if b, ok := d.builtin[id]; ok && r.err.Reason != ReasonGone {
		return Document{b.metadata, BuiltIn, time.Time{}}, nil
	}
	return Document{}, r.err
}

// checkURL refuses client ids that are not even looked up.
func (d *Documents) checkURL(id string) *Error {
	_, err := spec.ParseClientIDURL(id)
	if err == nil {
		return nil
	}
	reason := ReasonURL
	if !strings.HasPrefix(id, "https://") {
		reason = ReasonScheme
	} else if u, parseErr := url.Parse(id); parseErr == nil {
		if _, ipErr := netip.ParseAddr(u.Hostname()); ipErr == nil || isNumericHost(u.Hostname()) {
			reason = ReasonAddress
		}
	}
	return &Error{URL: id, Reason: reason, Cause: err}
}

// isNumericHost recognises addresses in disguise, such as 2130706433 and
// 0x7f.1, which some resolvers read as 127.0.0.1.
func isNumericHost(host string) bool {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	last := labels[len(labels)-1]
	if rest, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(rest, "0123456789abcdef") == ""
	}
	return last == "localhost" || (last != "" && strings.Trim(last, "0123456789") == "")
}

// parseDocument finds the reason in what package spec refuses. Reading the
// few members again is cheap, and keeps spec free of our words.
func parseDocument(documentURL string, body []byte) (spec.ClientMetadata, error) {
	meta, err := spec.ParseClientDocument(documentURL, body)
	if err == nil {
		return meta, nil
	}
	refused := &Error{URL: documentURL, Reason: ReasonMetadata, Cause: err}
	var members map[string]json.RawMessage
	var id string
	switch e, _ := errors.AsType[*spec.Error](err); {
	case !json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")):
		refused.Reason = ReasonNotJSON
	case json.Unmarshal(body, &members) != nil:
		refused.Reason = ReasonNotJSON
	case json.Unmarshal(members["client_id"], &id) != nil || id != documentURL:
		refused.Reason = ReasonMismatch
	case members["client_secret"] != nil || members["client_secret_expires_at"] != nil:
		refused.Reason = ReasonSecret
	case e != nil && e.Code == spec.InvalidRedirectURI:
		refused.Reason = ReasonRedirectURIs
	}
	return spec.ClientMetadata{}, refused
}

func (d *Documents) load(ctx context.Context, u string) (*Copy, error) {
	c, err := d.Store.ClientDocument(ctx, u)
	if errors.Is(err, ErrNoCopy) {
		return nil, nil
	}
	return &c, err
}

// save stores a copy; a document that is new or has changed is an event.
func (d *Documents) save(ctx context.Context, have *Copy, c Copy) error {
	var events []audit.Event
	if have == nil || !bytes.Equal(have.Body, c.Body) {
		sum := sha256.Sum256(c.Body)
		events = append(events, audit.Event{
			At: d.Now(), Actor: audit.System(), Kind: audit.ClientDocumentFetched, Target: string(grant.ClientID(c.URL).Key()),
			Detail: clip(c.URL) + ", sha-256 " + hex.EncodeToString(sum[:]),
		})
	}
	return d.Store.SaveClientDocument(ctx, c, maxUnused, events...)
}

// recordRefusal records why a document was refused. That the record fails
// does not make the document any better, so the refusal stands.
func (d *Documents) recordRefusal(ctx context.Context, e *Error) {
	ev := audit.Event{
		At: d.Now(), Actor: audit.System(), Kind: audit.ClientDocumentRefused, Target: string(grant.ClientID(e.URL).Key()),
		Detail: fmt.Sprintf("%s: %s (%s)", e.Reason, clip(e.URL), clip(e.Cause.Error())),
	}
	if err := d.Store.RecordEvent(ctx, ev); err != nil {
		e.Cause = errors.Join(e.Cause, fmt.Errorf("record the refusal: %w", err))
	}
}
