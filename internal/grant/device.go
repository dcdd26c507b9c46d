package grant

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// Limits of device authorizations (RFC 8628).
const (
	// DeviceLifetime is how long somebody may take to enter a user code.
	DeviceLifetime = 10 * time.Minute
	// DeviceInterval is how long a device waits between polls, and by how much
	// longer after slow_down (RFC 8628 §3.5).
	DeviceInterval = 5 * time.Second
	// pollTolerance forgives the jitter of networks: a poll may be early by so
	// much.
	pollTolerance = 500 * time.Millisecond
	// maxDeviceWait bounds the interval of a device that never slows down.
	maxDeviceWait = time.Minute
)

// DeviceCeiling bounds pending device authorizations: anybody may begin one.
// Where a bound is met the oldest undecided ones go, those of the same address
// first, so that a flood from one place pushes out only itself.
type DeviceCeiling struct{ Address, All int }

// deviceCeiling is 50 for an office behind one address, and in all about 7 MB
// with client ids of the greatest length.
func deviceCeiling() DeviceCeiling { return DeviceCeiling{Address: 50, All: 2000} }

// Errors of device authorizations, as the device is told (RFC 8628 §3.5).
var (
	ErrDevicePending  = errors.New("the person has not answered yet")
	ErrDeviceSlowDown = errors.New("the device asks too often; it must wait 5 seconds longer between requests from now on")
	ErrDeviceExpired  = errors.New("the device code has expired; start again")
	ErrDeviceDenied   = errors.New("the person denied the request")
	ErrDeviceUnknown  = errors.New("the device code is unknown, of another client, or was used")
	// ErrUserCodeUnknown is for the person: no device waits for this code.
	ErrUserCodeUnknown = errors.New("no device is waiting for this code")
)

// DeviceCode is what a device polls with. It prints as nothing; the store
// keeps its hash.
type DeviceCode string

// String hides the code from logs and formatted output.
func (DeviceCode) String() string { return "[device code]" }

// LogValue hides the code from structured logs.
func (DeviceCode) LogValue() slog.Value { return slog.StringValue("[device code]") }

// Reveal returns the code, for the one answer that hands it out.
func (c DeviceCode) Reveal() string { return string(c) }

func (c DeviceCode) hash() string {
	sum := sha256.Sum256([]byte(c))
	return hex.EncodeToString(sum[:])
}

// Device is a device authorization as the store keeps it.
type Device struct {
	// Hash is that of the device code, UserHash the MAC of the user code.
	Hash, UserHash string
	// Client is who asked. It is stored as a client only with a consent.
	Client   ClientID
	Resource string
	Scopes   spec.Scopes
	// Address is where the device asked from, as web.AddressKey has it.
	Address              string
	CreatedAt, ExpiresAt time.Time
	// Wait is the interval that polls must keep.
	Wait time.Duration
	// PolledAt, DeniedAt and RedeemedAt are zero until they happen.
	PolledAt, DeniedAt, RedeemedAt time.Time
	// Grant is "" until the person has agreed.
	Grant ID
}

// undecided says whether a person may still answer.
func (d *Device) undecided(now time.Time) bool {
	return d.Grant == "" && d.DeniedAt.IsZero() && now.Before(d.ExpiresAt)
}

// DeviceRequest asks for a device authorization (RFC 8628 §3.1).
type DeviceRequest struct {
	Client   ClientID
	Resource string
	Scopes   spec.Scopes
	Address  string
}

// DeviceAuthorization is what a device is told (RFC 8628 §3.2).
type DeviceAuthorization struct {
	Code      DeviceCode
	User      spec.UserCode
	ExpiresIn time.Duration
	Interval  time.Duration
}

// BeginDevice stores a device authorization and returns its two codes.
func (a *Authority) BeginDevice(ctx context.Context, r DeviceRequest) (DeviceAuthorization, error) {
	now := a.Now()
	out := DeviceAuthorization{
		Code: DeviceCode(rand.Text() + rand.Text()), User: spec.NewUserCode(), ExpiresIn: DeviceLifetime, Interval: DeviceInterval,
	}
	err := a.Store.AddDevice(ctx, Device{
		Hash: out.Code.hash(), UserHash: a.userHash(out.User), Client: r.Client, Resource: r.Resource, Scopes: r.Scopes,
		Address: r.Address, CreatedAt: now, ExpiresAt: now.Add(DeviceLifetime), Wait: DeviceInterval,
	}, deviceCeiling())
	if err != nil {
		return DeviceAuthorization{}, fmt.Errorf("begin device authorization: %w", err)
	}
	return out, nil
}

// userHash is keyed: all user codes could be hashed in minutes.
func (a *Authority) userHash(c spec.UserCode) string {
	mac := hmac.New(sha256.New, a.mint.userCodeKey)
	mac.Write([]byte(c.String()))
	return hex.EncodeToString(mac.Sum(nil))
}

// DeviceByUserCode returns the authorization that waits for a person's answer.
// Errors: ErrUserCodeUnknown.
func (a *Authority) DeviceByUserCode(ctx context.Context, c spec.UserCode) (Device, error) {
	d, err := a.Store.DeviceByUserHash(ctx, a.userHash(c))
	if err == nil && !d.undecided(a.Now()) {
		err = ErrUserCodeUnknown
	}
	if err != nil {
		return Device{}, fmt.Errorf("look up device: %w", err)
	}
	return d, nil
}

// ApproveDevice stores a consent as a grant, whose tokens the device fetches
// with its next poll. Of the consent, ID, RedirectURI, Challenge and Nonce
// have no meaning here. The same person may send the same consent twice.
// Errors: ErrUserCodeUnknown.
func (a *Authority) ApproveDevice(ctx context.Context, code spec.UserCode, c Consent, by audit.Actor) error {
	now := a.Now()
	g := c.grant(now)
	ev := audit.Event{
		At: now, Actor: by, Kind: audit.DeviceApproved, Target: string(g.ID), Team: c.TeamSlug,
		Detail: fmt.Sprintf("%s (%s), scopes: %s", c.Client.Name(), g.Client, c.Scopes),
	}
	err := a.Store.ApproveDevice(ctx, a.userHash(code), g, c.Client, ev)
	if err != nil {
		return fmt.Errorf("approve device: %w", err)
	}
	return nil
}

// grant returns the grant that a consent gives from now on.
func (c Consent) grant(now time.Time) Grant {
	return Grant{
		ID: newID(), Person: c.Person, Client: c.Client.Key(), Team: c.Team, Resource: c.Resource, Scopes: c.Scopes,
		AuthTime: c.AuthTime, AMR: c.AMR, ACR: c.ACR, CreatedAt: now,
	}
}

// DenyDevice ends a device authorization that nobody has answered. Errors:
// ErrUserCodeUnknown.
func (a *Authority) DenyDevice(ctx context.Context, code spec.UserCode, client Client, by audit.Actor) error {
	now := a.Now()
	ev := audit.Event{At: now, Actor: by, Kind: audit.GrantDenied, Target: string(client.Key()), Detail: client.Name() + " on a device"}
	if err := a.Store.DenyDevice(ctx, a.userHash(code), now, ev); err != nil {
		return fmt.Errorf("deny device: %w", err)
	}
	return nil
}

// DeviceRedemption is a token request with a device code.
type DeviceRedemption struct {
	Code   DeviceCode
	Client ClientID
	// Resource is "" where the request had none.
	Resource string
	Address  string
	// Key is the thumbprint of the key that the request proved, "" for none.
	Key string
}

// RedeemDevice answers a poll (RFC 8628 §3.4). A code gives tokens once.
// Errors: ErrDevicePending, ErrDeviceSlowDown, ErrDeviceExpired,
// ErrDeviceDenied, ErrDeviceUnknown, ErrTarget, *EndedError; any other is our
// own fault.
func (a *Authority) RedeemDevice(ctx context.Context, r DeviceRedemption) (Tokens, error) {
	now := a.Now()
	var (
		standing Standing
		refused  error
	)
	err := a.Store.ChangeDevice(ctx, r.Code.hash(), func(d *Device, s *Standing) ([]audit.Event, error) {
		refused = nil
		switch {
		// RFC 8628 §3.4: the code is bound to the client that asked for it.
		case d.Client != r.Client, !d.RedeemedAt.IsZero():
			return nil, ErrDeviceUnknown
		case r.Resource != "" && r.Resource != d.Resource:
			return nil, ErrTarget
		case !d.DeniedAt.IsZero():
			return nil, ErrDeviceDenied
		case !now.Before(d.ExpiresAt):
			return nil, ErrDeviceExpired
		}
		early := !d.PolledAt.IsZero() && now.Before(d.PolledAt.Add(d.Wait-pollTolerance))
		d.PolledAt = now
		if early {
			// RFC 8628 §3.5: slow_down is for this and all later polls.
			d.Wait = min(d.Wait+DeviceInterval, maxDeviceWait)
			refused = ErrDeviceSlowDown
			return nil, nil
		}
		if s == nil {
			refused = ErrDevicePending
			return nil, nil
		}
		if err := s.mayContinue(now, a.Lifetimes); err != nil {
			return nil, err
		}
		d.RedeemedAt = now
		s.Grant.RedeemedAt, s.Grant.LastUsedAt, s.Grant.Generation = now, now, 1
		standing = *s
		return []audit.Event{{
			At: now, Actor: audit.Client(string(s.Grant.Client), r.Address), Kind: audit.GrantRedeemed, Target: string(s.Grant.ID), Team: s.Team.Slug,
			Detail: "by device code",
		}}, nil
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("redeem device code: %w", err)
	}
	return a.issue(&standing, "", r.Key, now)
}

// DeviceStore keeps device authorizations. Each change is one transaction
// with its audit events.
type DeviceStore interface {
	// AddDevice stores a device authorization, forgets those that expired
	// more than DeviceLifetime ago, and keeps to the ceiling.
	AddDevice(ctx context.Context, d Device, ceiling DeviceCeiling) error
	// DeviceByUserHash returns ErrUserCodeUnknown where there is none.
	DeviceByUserHash(ctx context.Context, userHash string) (Device, error)
	// ApproveDevice stores a grant for an authorization that nobody has
	// answered and that is alive at the grant's CreatedAt, and the client if
	// it is new. It changes nothing where the same person agreed before.
	// Errors: ErrUserCodeUnknown.
	ApproveDevice(ctx context.Context, userHash string, g Grant, c Client, ev audit.Event) error
	// DenyDevice denies one that nobody has answered. Errors:
	// ErrUserCodeUnknown.
	DenyDevice(ctx context.Context, userHash string, at time.Time, ev audit.Event) error
	// ChangeDevice calls change with an authorization and the standing of its
	// grant, nil before there is one, and stores what it did to PolledAt,
	// Wait, RedeemedAt and the grant, as Store.ChangeByCode does. Errors:
	// ErrDeviceUnknown.
	ChangeDevice(ctx context.Context, hash string, change func(*Device, *Standing) ([]audit.Event, error)) error
}
