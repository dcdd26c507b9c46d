package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// Providers is what the desk asks about the organization's identity
// providers. Implementations are safe for concurrent use.
type Providers interface {
	// Offers lists those that people can sign in through, by name.
	Offers(ctx context.Context) ([]Offer, error)
	// Home returns the one that the domain of an e-mail address belongs to.
	Home(ctx context.Context, email string) (Offer, bool, error)
	// PasswordRefused says whether an address must not sign in with a
	// password, or with anything else that the provider does not know of. It
	// takes the same time for every address.
	PasswordRefused(ctx context.Context, email string) (bool, error)
	// SignOutURL returns where the person of a session can sign out of the
	// provider too, "" where there is no such place: an address there to go to,
	// or a local path, which begins with a slash, to post to. It is asked
	// before the session ends.
	SignOutURL(ctx context.Context, sessionHash string) (provider, url string, err error)
}

// Offer is an identity provider as the sign-in page offers it.
type Offer struct {
	Name string
	// Path begins the sign-in; it takes the parameters step and hint.
	Path string
}

// Upstream says where a sign-in came from.
type Upstream struct {
	// Provider is the id of the identity provider, Subject who the person is
	// there, SessionID the provider's name for its session ("" for none).
	Provider, Subject, SessionID string
	// NameFormat, NameQualifier and SPNameQualifier belong to a Subject that
	// is a SAML NameID; "" where it had none.
	NameFormat, NameQualifier, SPNameQualifier string
	// SealedIDToken is the encrypted ID token, nil for none.
	SealedIDToken []byte
}

// Return is where somebody goes after having signed in.
type Return struct {
	// Path is a local path with its query.
	Path string
	// Reauthenticate says that somebody signed in must prove it again.
	Reauthenticate bool
	LoginHint      string
}

// OpenReturn reads the step of a sign-in page; "" leads to the start page.
// Errors: *web.Error.
func (d *Desk) OpenReturn(token string) (Return, error) {
	st, err := d.openReturn(token)
	return Return{st.Return, st.Reauthenticate, st.LoginHint}, err
}

// Vouched is somebody whom an identity provider has vouched for.
type Vouched struct {
	Person org.Person
	// AuthTime is when the person proved who they are there, AMR (RFC 8176)
	// and ACR how.
	AuthTime time.Time
	AMR      []string
	ACR      string
	Upstream Upstream
	// Detail names the provider in the audit log.
	Detail string
}

// BeginVouched signs somebody in on the word of an identity provider, under
// a new session id, as a password does, and sends the browser on to returnTo, a
// local path. Where the organization demands more than the provider vouched
// for, the way there leads past what is missing.
func (d *Desk) BeginVouched(w http.ResponseWriter, r *http.Request, v Vouched, returnTo string) error {
	if !isLocalPath(returnTo) {
		returnTo = "/"
	}
	now, id := d.Now(), newSessionID()
	s := SessionState{
		Hash: hashOf(id), Person: v.Person.ID, AuthTime: v.AuthTime, AMR: append([]string{}, v.AMR...), ACR: v.ACR,
		CreatedAt: now, LastUsed: now, ExpiresAt: now.Add(SessionAbsolute), Upstream: &v.Upstream,
	}
	ev := audit.Event{At: now, Actor: d.actor(v.Person.ID, r), Kind: audit.SignedIn, Target: string(v.Person.ID), Detail: v.Detail}
	st := returnStep{Return: returnTo}
	h, err := d.with(r.Context(), v.Person, proof{amr: s.AMR, at: s.AuthTime}, st)
	if err != nil {
		return err
	}
	// Factors of their own are asked for only where the provider's do not do.
	if !h.need.MetBy(s.AMR) {
		returnTo = secondURL(d.Steps.Sign(purposeReturn, st, returnLifetime))
		if h.missing() == aFactor && !org.MFARequired.MetBy(s.AMR) {
			s.Partial, s.ExpiresAt, ev.Kind = true, now.Add(partialLifetime), audit.SignInHalfway
		}
	}
	if err := d.Store.CreateSession(r.Context(), s, d.sessionHash(r), ev); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	d.setCookie(w, id, int(s.ExpiresAt.Sub(now)/time.Second))
	http.Redirect(w, r, returnTo, http.StatusSeeOther)
	return nil
}

// RecordRefused notes that somebody whom an identity provider sent was not
// let in; person is "" for nobody known.
func (d *Desk) RecordRefused(r *http.Request, person org.PersonID, reason string) error {
	ev := audit.Event{
		At: d.Now(), Actor: audit.Actor{Kind: audit.ByPerson, Address: d.Site.ClientAddress(r).String()},
		Kind: audit.SignInRefused, Target: string(person), Detail: reason,
	}
	if err := d.Store.RecordEvent(r.Context(), ev); err != nil {
		return fmt.Errorf("record refused sign-in: %w", err)
	}
	return nil
}

// CanMeet says whether somebody could sign in here with one of the classes;
// with none listed, anybody can. What an identity provider gives is its own
// affair, so where there is one, any class might be met.
func (d *Desk) CanMeet(ctx context.Context, classes []string) (bool, error) {
	if here := d.canMeetHere(classes); here || d.Providers == nil {
		return here, nil
	}
	offers, err := d.Providers.Offers(ctx)
	if err != nil {
		return false, fmt.Errorf("list identity providers: %w", err)
	}
	return len(offers) > 0, nil
}

// offerURL is where an offer leads from a sign-in page.
func offerURL(o Offer, step, hint string) string {
	q := url.Values{}
	if step != "" {
		q.Set("step", step)
	}
	if hint != "" {
		q.Set("hint", hint)
	}
	if len(q) == 0 {
		return o.Path
	}
	return o.Path + "?" + q.Encode()
}

// addOffers puts the identity providers on a sign-in page.
func (d *Desk) addOffers(ctx context.Context, page *web.SignInPage) error {
	if d.Providers == nil {
		return nil
	}
	offers, err := d.Providers.Offers(ctx)
	if err != nil {
		return fmt.Errorf("list identity providers: %w", err)
	}
	for _, o := range offers {
		page.Providers = append(page.Providers, web.Link{Text: "Sign in with " + o.Name, URL: offerURL(o, page.Step, "")})
	}
	return nil
}

// home finds the identity provider of an address that somebody typed.
func (d *Desk) home(ctx context.Context, email string) (Offer, bool, error) {
	if d.Providers == nil || !strings.Contains(email, "@") {
		return Offer{}, false, nil
	}
	o, ok, err := d.Providers.Home(ctx, email)
	if err != nil {
		return Offer{}, false, fmt.Errorf("find the identity provider of a domain: %w", err)
	}
	return o, ok, nil
}

// passwordRefused asks whether an address must go to its identity provider.
func (d *Desk) passwordRefused(ctx context.Context, email string) (bool, error) {
	if d.Providers == nil {
		return false, nil
	}
	refused, err := d.Providers.PasswordRefused(ctx, email)
	if err != nil {
		return true, fmt.Errorf("read the sign-in policy: %w", err)
	}
	return refused, nil
}

// signOutURL returns where to sign out of the identity provider that a
// request's session came from.
func (d *Desk) signOutURL(r *http.Request) (provider, target string, err error) {
	hash := d.sessionHash(r)
	if d.Providers == nil || hash == "" {
		return "", "", nil
	}
	if _, err := d.Session(r); errors.Is(err, ErrNoSession) {
		return "", "", nil
	} else if err != nil {
		return "", "", err
	}
	provider, target, err = d.Providers.SignOutURL(r.Context(), hash)
	if err != nil {
		return "", "", fmt.Errorf("find where to sign out: %w", err)
	}
	return provider, target, nil
}
