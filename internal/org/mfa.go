package org

import (
	"context"
	"fmt"
	"slices"

	"github.com/orielhq/oriel/internal/audit"
)

// MFA says how people must have signed in: for the whole organization, or for
// the telemetry of one team. The zero value is met by no sign-in.
type MFA string

// What can be demanded, the weakest first.
const (
	// MFAOptional leaves it to each person.
	MFAOptional MFA = "optional"
	// MFARequired demands a second factor of any kind.
	MFARequired MFA = "required"
	// MFAPasskey demands a passkey or security key.
	MFAPasskey MFA = "passkey"
)

// MFALevels lists what can be demanded, the weakest first.
func MFALevels() []MFA { return []MFA{MFAOptional, MFARequired, MFAPasskey} }

// ParseMFA reads a demand.
func ParseMFA(s string) (MFA, error) {
	if m := MFA(s); slices.Contains(MFALevels(), m) {
		return m, nil
	}
	return "", fmt.Errorf("%q is no policy for second factors (use optional, required or passkey)", s)
}

// Authentication method references (RFC 8176 §2) that demands are about.
const (
	AMRMultiFactor = "mfa"
	AMRHardwareKey = "hwk"
	AMRSoftwareKey = "swk"
)

// MetBy says whether a sign-in with these authentication method references
// (RFC 8176) is enough.
func (m MFA) MetBy(amr []string) bool {
	switch m {
	case MFAOptional:
		return true
	case MFARequired:
		return slices.Contains(amr, AMRMultiFactor)
	case MFAPasskey:
		return slices.Contains(amr, AMRMultiFactor) && (slices.Contains(amr, AMRHardwareKey) || slices.Contains(amr, AMRSoftwareKey))
	default:
		return false
	}
}

// Stricter returns the one of two demands that asks for more. What is not
// known asks for more than anything.
func (m MFA) Stricter(other MFA) MFA {
	for _, known := range MFALevels() {
		switch known {
		case m:
			return other
		case other:
			return m
		}
	}
	return m
}

// MFA returns what sign-ins must have had: for a team, what it and the
// organization demand together; with "", what the organization demands.
func (d *Directory) MFA(ctx context.Context, team TeamID) (MFA, error) {
	all, err := d.store.MFA(ctx, "")
	if err != nil || team == "" {
		return all, err
	}
	own, err := d.store.MFA(ctx, team)
	if err != nil {
		return "", err
	}
	return all.Stricter(own), nil
}

// OwnMFA returns what was set for a team, whatever the organization demands;
// with "", what the organization demands.
func (d *Directory) OwnMFA(ctx context.Context, team TeamID) (MFA, error) {
	return d.store.MFA(ctx, team)
}

// SetMFA sets what sign-ins must have had, for the team with the slug or, with
// "", for the whole organization. Grants whose sign-in had less are refused
// while it holds; they do not end.
func (d *Directory) SetMFA(ctx context.Context, slug string, m MFA, by audit.Actor) error {
	m, err := ParseMFA(string(m))
	if err != nil {
		return err
	}
	var team TeamID
	target := "organization"
	if slug != "" {
		t, err := d.Team(ctx, slug)
		if err != nil {
			return err
		}
		team, target = t.ID, string(t.ID)
	}
	if err := d.store.SetMFA(ctx, team, m, d.event(by, audit.PolicySet, target, slug, "second factor: "+string(m))); err != nil {
		return fmt.Errorf("set the policy: %w", err)
	}
	return nil
}
