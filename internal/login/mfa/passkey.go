package mfa

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// ChallengeLifetime is how long a page that asks for a passkey may stay open.
const ChallengeLifetime = time.Hour

// relyingParty is this server as authenticators know it.
type relyingParty = webauthn.WebAuthn

// newRelyingParty returns nil where browsers offer no passkeys: at an IP
// address, which is no valid domain (WebAuthn §5.1.2, "effective domain"), and
// over plain http to another computer, which is no secure context.
func newRelyingParty(public *url.URL) (*relyingParty, error) {
	host := public.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || public.Scheme != "https" && host != "localhost" {
		return nil, nil
	}
	rp, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "Oriel " + host, RPOrigins: []string{public.Scheme + "://" + public.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			// The passkey alone is two factors: the device, and what unlocks it.
			UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("mfa: passkeys: %w", err)
	}
	return rp, nil
}

// Passkeys says whether passkeys work at this server's address; why says in a
// sentence or two what to do where they do not.
func (f *Factors) Passkeys() (ok bool, why string) {
	if f.relying != nil {
		return true, ""
	}
	if _, err := netip.ParseAddr(f.host); err == nil {
		why = fmt.Sprintf("Browsers offer passkeys only at an address with a name, and this server is reached at the IP address %s.", f.host)
		if a, _ := netip.ParseAddr(f.host); a.IsLoopback() {
			return false, why + " Start it with --public-url http://localhost and its port, and open it there."
		}
	} else {
		why = "Browsers offer passkeys only over https."
	}
	return false, why + " An administrator gives it an https address with a name (--public-url)."
}

// Ceremony is a question to an authenticator that waits for its answer. It is
// kept nowhere: the page hands it back, signed.
type Ceremony struct {
	Session webauthn.SessionData `json:"s"`
	// Person is who is asked, "" where the passkey says it.
	Person org.PersonID `json:"p,omitempty"`
}

func (c Ceremony) challenge(now time.Time) Challenge {
	return Challenge{Text: c.Session.Challenge, ExpiresAt: now.Add(ChallengeLifetime)}
}

// user is a person as package webauthn wants them. The handle is random and
// says nothing about the person (WebAuthn §14.6.1).
type user struct {
	person      org.Person
	credentials []webauthn.Credential
}

func (u user) WebAuthnID() []byte                         { return []byte(u.person.ID) }
func (u user) WebAuthnName() string                       { return u.person.Email }
func (u user) WebAuthnDisplayName() string                { return u.person.Name }
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

// stored is a passkey as it is kept.
type stored struct {
	Credential webauthn.Credential `json:"credential"`
	// ClonedAt is when its counter last went backwards.
	ClonedAt time.Time `json:"cloned_at,omitzero"`
}

func readStored(factor Factor) (stored, error) {
	var s stored
	if err := json.Unmarshal([]byte(factor.Credential), &s); err != nil {
		return s, fmt.Errorf("passkey %s: %w", factor.ID, err)
	}
	return s, nil
}

func (s stored) text() (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode passkey: %w", err)
	}
	return string(b), nil
}

// ClonedAt returns when the passkey's counter last went backwards, which is
// what a copy of it looks like; zero for never.
func (f Factor) ClonedAt() time.Time {
	if f.Kind != Passkey {
		return time.Time{}
	}
	s, err := readStored(f)
	if err != nil {
		return time.Time{}
	}
	return s.ClonedAt
}

func asUser(p org.Person, factors []Factor) (user, error) {
	u := user{person: p}
	for _, factor := range factors {
		if factor.Kind != Passkey {
			continue
		}
		s, err := readStored(factor)
		if err != nil {
			return u, err
		}
		u.credentials = append(u.credentials, s.Credential)
	}
	return u, nil
}

func pageOptions(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode options: %w", err)
	}
	return string(b), nil
}

// BeginPasskey asks a person's browser for a new passkey. options is the JSON
// form of WebAuthn §5.1.8. Errors: ErrNoPasskeys.
func (f *Factors) BeginPasskey(ctx context.Context, p org.Person) (options string, c Ceremony, err error) {
	if f.relying == nil {
		return "", Ceremony{}, ErrNoPasskeys
	}
	have, err := f.List(ctx, p.ID)
	if err != nil {
		return "", Ceremony{}, err
	}
	u, err := asUser(p, have)
	if err != nil {
		return "", Ceremony{}, err
	}
	creation, session, err := f.relying.BeginRegistration(u,
		webauthn.WithExclusions(webauthn.Credentials(u.credentials).CredentialDescriptors()))
	if err != nil {
		return "", Ceremony{}, fmt.Errorf("begin passkey: %w", err)
	}
	options, err = pageOptions(creation.Response)
	return options, Ceremony{Session: *session, Person: p.ID}, err
}

// ConfirmPasskey stores the passkey that a browser made. Recovery codes are
// returned with somebody's first factor. amr is how the person has proved who
// they are by it. Errors: ErrPasskey, ErrNoPasskeys, ErrExists, ErrTooMany,
// those of ParseName.
func (f *Factors) ConfirmPasskey(ctx context.Context, c Ceremony, p org.Person, response, name string, by audit.Actor) (codes, amr []string, err error) {
	if f.relying == nil {
		return nil, nil, ErrNoPasskeys
	}
	if name, err = ParseName(name, Passkey); err != nil {
		return nil, nil, err
	}
	if c.Person != p.ID {
		return nil, nil, ErrEnrolment
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(response))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPasskey, explained(err))
	}
	credential, err := f.relying.CreateCredential(user{person: p}, c.Session, parsed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPasskey, explained(err))
	}
	// No attestation is asked for, so there is nothing to look at again.
	credential.Attestation = webauthn.CredentialAttestation{}
	text, err := stored{Credential: *credential}.text()
	if err != nil {
		return nil, nil, err
	}
	now := f.Now()
	// The id of a credential is unique, so the challenge needs no mark of use.
	codes, err = f.add(ctx, Factor{
		ID: newID(), Person: p.ID, Kind: Passkey, Name: name, CreatedAt: now, LastUsedAt: now,
		CredentialID: base64.RawURLEncoding.EncodeToString(credential.ID), Credential: text,
	}, by)
	return codes, amrOf(credential), err
}

// BeginAssertion asks for a passkey: one of the person's, or with nil any that
// the browser has for this server. Errors: ErrNoPasskeys, also for a person
// without any.
func (f *Factors) BeginAssertion(ctx context.Context, p *org.Person) (options string, c Ceremony, err error) {
	if f.relying == nil {
		return "", Ceremony{}, ErrNoPasskeys
	}
	var (
		assertion *protocol.CredentialAssertion
		session   *webauthn.SessionData
	)
	if p == nil {
		assertion, session, err = f.relying.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	} else {
		var have []Factor
		if have, err = f.List(ctx, p.ID); err != nil {
			return "", Ceremony{}, err
		}
		var u user
		if u, err = asUser(*p, have); err != nil {
			return "", Ceremony{}, err
		}
		if len(u.credentials) == 0 {
			return "", Ceremony{}, ErrNoPasskeys
		}
		c.Person = p.ID
		assertion, session, err = f.relying.BeginLogin(u, webauthn.WithUserVerification(protocol.VerificationRequired))
	}
	if err != nil {
		return "", Ceremony{}, fmt.Errorf("ask for a passkey: %w", err)
	}
	c.Session = *session
	options, err = pageOptions(assertion.Response)
	return options, c, err
}

// Asserted is a passkey that was proved.
type Asserted struct {
	Factor Factor
	// AMR is how the person proved who they are (RFC 8176 §2).
	AMR []string
}

// CheckPasskey takes the answer to BeginAssertion; it is good once. Errors:
// ErrPasskey, ErrPasskeyCloned, ErrNoPasskeys.
func (f *Factors) CheckPasskey(ctx context.Context, c Ceremony, response string, by audit.Actor) (Asserted, error) {
	if f.relying == nil {
		return Asserted{}, ErrNoPasskeys
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(response))
	if err != nil {
		return Asserted{}, fmt.Errorf("%w: %w", ErrPasskey, explained(err))
	}
	factor, err := f.Store.FactorByCredential(ctx, base64.RawURLEncoding.EncodeToString(parsed.RawID))
	if errors.Is(err, ErrNotFound) || err == nil && c.Person != "" && factor.Person != c.Person {
		return Asserted{}, fmt.Errorf("%w: it is not known here", ErrPasskey)
	}
	if err != nil {
		return Asserted{}, fmt.Errorf("look up passkey: %w", err)
	}
	have, err := readStored(factor)
	if err != nil {
		return Asserted{}, err
	}
	// Of this use only: what happened once is remembered beside it.
	have.Credential.Authenticator.CloneWarning = false
	owner := user{person: org.Person{ID: factor.Person}, credentials: []webauthn.Credential{have.Credential}}
	var proved *webauthn.Credential
	if c.Person == "" {
		proved, err = f.relying.ValidateDiscoverableLogin(func(_, handle []byte) (webauthn.User, error) {
			if org.PersonID(handle) != factor.Person {
				return nil, errors.New("the passkey belongs to somebody else")
			}
			return owner, nil
		}, c.Session, parsed)
	} else {
		// The session lists all of the person's passkeys; this one is among
		// them, or the signed ceremony was for another set.
		session := c.Session
		session.AllowedCredentialIDs = [][]byte{have.Credential.ID}
		proved, err = f.relying.ValidateLogin(owner, session, parsed)
	}
	if err != nil {
		return Asserted{}, fmt.Errorf("%w: %w", ErrPasskey, explained(err))
	}
	now := f.Now()
	next := stored{Credential: *proved, ClonedAt: have.ClonedAt}
	cloned := proved.Authenticator.CloneWarning
	used := now
	var events []audit.Event
	if cloned {
		// WebAuthn §7.2 step 22 leaves the answer to us.
		next.ClonedAt, used = now, time.Time{}
		events = append(events, f.event(by, audit.PasskeyCloned, factor.Person,
			fmt.Sprintf("%s: counter %d after %d", factor.Name, parsed.Response.AuthenticatorData.Counter, have.Credential.Authenticator.SignCount)))
	}
	text, err := next.text()
	if err != nil {
		return Asserted{}, err
	}
	if err := f.Store.TakeAssertion(ctx, factor.ID, text, c.challenge(now), used, events...); err != nil {
		return Asserted{}, fmt.Errorf("take passkey: %w", err)
	}
	if cloned {
		return Asserted{}, ErrPasskeyCloned
	}
	return Asserted{Factor: factor, AMR: amrOf(proved)}, nil
}

// amrOf says how a person proved who they are by a passkey: by a key that
// stays in one device or one that is copied between them, present, and, since
// verification is required, with what unlocks it (RFC 8176 §2).
func amrOf(c *webauthn.Credential) []string {
	key := org.AMRHardwareKey
	if c.Flags.BackupEligible {
		key = org.AMRSoftwareKey
	}
	return []string{key, "user", org.AMRMultiFactor}
}

// explained gives the log what package webauthn keeps beside its errors.
func explained(err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.DevInfo != "" {
		return fmt.Errorf("%w (%s)", err, e.DevInfo)
	}
	return err
}
