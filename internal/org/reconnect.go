package org

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
)

// Reconnect says how often connections must come back, and how: for the whole
// organization, where it stands before the server's own settings, or for one
// team, which can only ask for more. What is not set is "" or 0.
type Reconnect struct {
	// Disconnect is hourly or off: whether access ends at every full hour.
	Disconnect string
	// Return is refresh or interactive: whether clients come back by
	// themselves after that, or only through the browser.
	Return string
	// SignInAge is the longest time since the person last proved who they are.
	SignInAge time.Duration
}

// What can be set.
const (
	DisconnectHourly  = "hourly"
	DisconnectOff     = "off"
	ReturnRefresh     = "refresh"
	ReturnInteractive = "interactive"
)

// Bounds of SignInAge: below an hour people would sign in all day, and above a
// year it means nothing.
const (
	minSignInAge = time.Hour
	maxSignInAge = 365 * 24 * time.Hour
)

// Check says what cannot be set, for a team or for the organization.
func (r Reconnect) Check(team bool) error {
	switch {
	case !slices.Contains([]string{"", DisconnectHourly, DisconnectOff}, r.Disconnect):
		return fmt.Errorf("disconnect %q: use %s or %s", r.Disconnect, DisconnectHourly, DisconnectOff)
	case !slices.Contains([]string{"", ReturnRefresh, ReturnInteractive}, r.Return):
		return fmt.Errorf("reconnect %q: use %s or %s", r.Return, ReturnRefresh, ReturnInteractive)
	case r.SignInAge != 0 && (r.SignInAge < minSignInAge || r.SignInAge > maxSignInAge):
		return fmt.Errorf("the age of a sign-in must be between %s and %d days", minSignInAge, int(maxSignInAge.Hours()/24))
	case team && (r.Disconnect == DisconnectOff || r.Return == ReturnRefresh):
		return errors.New("a team can only ask for more than the organization: leave it unset instead")
	}
	return nil
}

// String says what is set, for the audit.
func (r Reconnect) String() string {
	var parts []string
	if r.Disconnect != "" {
		parts = append(parts, "disconnect "+r.Disconnect)
	}
	if r.Return != "" {
		parts = append(parts, "reconnect "+r.Return)
	}
	if r.SignInAge > 0 {
		parts = append(parts, "sign-in at most "+FormatLookBack(r.SignInAge)+" old")
	}
	if len(parts) == 0 {
		return "nothing set"
	}
	return strings.Join(parts, ", ")
}

// Reconnect returns what is set for a team, or with "" for the organization.
func (d *Directory) Reconnect(ctx context.Context, team TeamID) (Reconnect, error) {
	r, err := d.store.Reconnect(ctx, team)
	if err != nil {
		return Reconnect{}, fmt.Errorf("read the reconnect policy: %w", err)
	}
	return r, nil
}

// SetReconnect sets it, for the team with the slug or, with "", for the whole
// organization. Connections whose sign-in is older than allowed are refused
// while that holds; they do not end. Tokens given out keep the end that they
// were given.
func (d *Directory) SetReconnect(ctx context.Context, slug string, r Reconnect, by audit.Actor) error {
	if err := r.Check(slug != ""); err != nil {
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
	if err := d.store.SetReconnect(ctx, team, r, d.event(by, audit.PolicySet, target, slug, "reconnect: "+r.String())); err != nil {
		return fmt.Errorf("set the policy: %w", err)
	}
	return nil
}
