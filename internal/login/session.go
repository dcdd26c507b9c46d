package login

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// Session is somebody signed in at a browser.
type Session struct {
	// Hash names the session without giving it away.
	Hash   string
	Person org.Person
	// AuthTime is when the person last proved who they are, AMR (RFC 8176)
	// and ACR how.
	AuthTime time.Time
	AMR      []string
	ACR      string
}

// AMRPassword is the authentication method reference of a password (RFC 8176
// §2), ACRPassword the class of a sign-in with nothing else. The other classes
// are in acrOf.
const (
	AMRPassword = "pwd"
	ACRPassword = "urn:oriel:acr:password"
)

// Classes lists the classes (acr) that sign-ins here can be of, the weakest
// first.
func (d *Desk) Classes() []string {
	classes := []string{ACRPassword, ACRMultiFactor}
	if ok, _ := d.Factors.Passkeys(); ok {
		classes = append(classes, ACRPasskey)
	}
	return classes
}

// canMeetHere says whether somebody could sign in with one of the classes
// without an identity provider; with none listed, anybody can.
func (d *Desk) canMeetHere(classes []string) bool {
	return len(classes) == 0 || slices.ContainsFunc(classes, func(c string) bool { return slices.Contains(d.Classes(), c) })
}

// sessionIDLength is that of a session id: 256 bits and a little more, in
// base 32.
const sessionIDLength = 52

func newSessionID() string { return rand.Text() + rand.Text() }

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// cookieName is that of the session cookie. Under https the prefix makes the
// browser refuse the cookie from a subdomain or without Secure (RFC 6265bis
// §4.1.3.2).
//
// The prefix needs Secure, and over http on a loopback address browsers
// disagree about that attribute: Chromium and Firefox take it there, Safari
// and HTTP libraries do not. There the cookie does without both.
func (d *Desk) cookieName() string {
	if d.Site.Secure() {
		return "__Host-oriel"
	}
	return "oriel"
}

// sessionHash returns the hash of the session that a request claims, "" for
// none.
func (d *Desk) sessionHash(r *http.Request) string {
	c, err := r.Cookie(d.cookieName())
	if err != nil || len(c.Value) != sessionIDLength {
		return ""
	}
	return hashOf(c.Value)
}

// Session returns who is signed in. It reads the store each time: a person
// who was disabled a moment ago has no session, and a sign-in that is less than
// the organization demands by now is none. Errors: ErrNoSession; any other is
// our own fault.
func (d *Desk) Session(r *http.Request) (Session, error) {
	s, p, err := d.anySession(r)
	if err != nil {
		return Session{}, err
	}
	if s.Partial || !s.Demanded.MetBy(s.AMR) {
		return Session{}, ErrNoSession
	}
	hash, now := s.Hash, d.Now()
	if now.Sub(s.LastUsed) >= touchInterval {
		if err := d.Store.TouchSession(r.Context(), hash, now); err != nil {
			return Session{}, fmt.Errorf("note use of session: %w", err)
		}
	}
	return Session{Hash: hash, Person: p, AuthTime: s.AuthTime, AMR: s.AMR, ACR: s.ACR}, nil
}

// anySession returns the session of the request, also one that lacks a factor.
// Whatever opens anything asks Session. Errors: ErrNoSession.
func (d *Desk) anySession(r *http.Request) (SessionState, org.Person, error) {
	hash := d.sessionHash(r)
	if hash == "" {
		return SessionState{}, org.Person{}, ErrNoSession
	}
	s, p, err := d.Store.SessionByHash(r.Context(), hash)
	if errors.Is(err, ErrNoSession) {
		return SessionState{}, org.Person{}, ErrNoSession
	}
	if err != nil {
		return SessionState{}, org.Person{}, fmt.Errorf("look up session: %w", err)
	}
	now := d.Now()
	if !p.Active() || !now.Before(s.ExpiresAt) || !now.Before(s.LastUsed.Add(SessionIdle)) {
		return SessionState{}, org.Person{}, ErrNoSession
	}
	return s, p, nil
}

// begin signs a person in under a new id, so that an id known before the
// sign-in is worth nothing after it (session fixation), and ends the session
// that the browser had. how says for the audit log by what the person proved
// who they are.
func (d *Desk) begin(w http.ResponseWriter, r *http.Request, p org.Person, proved proof, how string) error {
	now := d.Now()
	id := newSessionID()
	s := SessionState{
		Hash: hashOf(id), Person: p.ID, AuthTime: proved.at, AMR: proved.amr, ACR: acrOf(proved.amr),
		CreatedAt: now, LastUsed: now, ExpiresAt: now.Add(SessionAbsolute), Partial: proved.partial, Continues: proved.continues,
	}
	ev := audit.Event{At: now, Actor: d.actor(p.ID, r), Kind: audit.SignedIn, Target: string(p.ID), Detail: how}
	if proved.partial {
		s.ExpiresAt, ev.Kind = now.Add(partialLifetime), audit.SignInHalfway
	}
	if err := d.Store.CreateSession(r.Context(), s, d.sessionHash(r), ev); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	d.setCookie(w, id, int(s.ExpiresAt.Sub(now)/time.Second))
	return nil
}

// SignOut ends the session of the request, if it has one.
func (d *Desk) SignOut(w http.ResponseWriter, r *http.Request) error { return d.end(w, r) }

// end ends the session of the request, if it has one.
func (d *Desk) end(w http.ResponseWriter, r *http.Request) error {
	hash := d.sessionHash(r)
	if hash != "" {
		s, _, err := d.Store.SessionByHash(r.Context(), hash)
		if err == nil {
			ev := audit.Event{At: d.Now(), Actor: d.actor(s.Person, r), Kind: audit.SignedOut, Target: string(s.Person)}
			err = d.Store.EndSession(r.Context(), hash, ev)
		}
		if err != nil && !errors.Is(err, ErrNoSession) {
			return fmt.Errorf("end session: %w", err)
		}
	}
	d.setCookie(w, "", -1)
	return nil
}

func (d *Desk) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: d.Site.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
