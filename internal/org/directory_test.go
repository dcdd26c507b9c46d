package org_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
)

var by = audit.Shell("test")

// recorder is the real store that also notes each change's audit event.
type recorder struct {
	*store.DB
	events []audit.Event
}

func (r *recorder) CreatePerson(ctx context.Context, p org.Person, hash string, ev audit.Event) error {
	r.events = append(r.events, ev)
	return r.DB.CreatePerson(ctx, p, hash, ev)
}

func (r *recorder) SetDisabled(ctx context.Context, id org.PersonID, at time.Time, ev audit.Event) error {
	r.events = append(r.events, ev)
	return r.DB.SetDisabled(ctx, id, at, ev)
}

func (r *recorder) SetMember(ctx context.Context, team org.TeamID, person org.PersonID, roles []string, ev audit.Event) error {
	r.events = append(r.events, ev)
	return r.DB.SetMember(ctx, team, person, roles, ev)
}

func (r *recorder) CreateKey(ctx context.Context, k org.IngestKey, hash string, ev audit.Event) error {
	r.events = append(r.events, ev)
	return r.DB.CreateKey(ctx, k, hash, ev)
}

func newDirectory(t *testing.T) (*org.Directory, *recorder) {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &recorder{DB: db}
	return org.NewDirectory(r, time.Now), r
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestPeople(t *testing.T) {
	d, r := newDirectory(t)
	ctx := t.Context()
	ada := must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: " Ada@Example.com ", Name: "  Ada\u0308  ", Password: "correct horse battery staple"}, by))
	if ada.Email != "ada@example.com" || ada.Name != "Ad\u00e4" || ada.Owner || !ada.Active() || !strings.HasPrefix(string(ada.ID), "per_") {
		t.Errorf("%+v", ada)
	}
	_, err := d.AddPerson(ctx, org.NewPerson{Email: "ADA@example.com", Name: "Another"}, by)
	wantErr(t, err, org.ErrEmailTaken)
	for why, n := range map[string]org.NewPerson{
		"no name":         {Email: "b@example.com", Name: "  "},
		"long name":       {Email: "b@example.com", Name: strings.Repeat("ä", 101)},
		"control":         {Email: "b@example.com", Name: "a\nb"},
		"turned about":    {Email: "b@example.com", Name: "a\u202eb"},
		"no address":      {Name: "B"},
		"simple password": {Email: "b@example.com", Name: "B", Password: "short"},
	} {
		if _, err := d.AddPerson(ctx, n, by); err == nil {
			t.Errorf("%s is accepted", why)
		}
	}
	found := must[org.Person](t)(d.PersonByEmail(ctx, "\tADA@EXAMPLE.COM"))
	if found.ID != ada.ID {
		t.Errorf("found %+v", found)
	}
	_, err = d.PersonByEmail(ctx, "nobody@example.com")
	wantErr(t, err, org.ErrPersonNotFound)
	if n := len(r.events); n != 2 || r.events[0].Kind != audit.PersonCreated || r.events[0].Actor != by || r.events[0].Target != string(ada.ID) || strings.Contains(r.events[0].Detail, "horse") {
		t.Errorf("events: %+v", r.events)
	}
}

func TestOwners(t *testing.T) {
	d, _ := newDirectory(t)
	ctx := t.Context()
	if has := must[bool](t)(d.HasOwner(ctx)); has {
		t.Error("an owner before the first")
	}
	must[org.Person](t)(d.AddFirstOwner(ctx, org.NewPerson{Email: "one@example.com", Name: "One"}, by))
	_, err := d.AddFirstOwner(ctx, org.NewPerson{Email: "two@example.com", Name: "Two"}, by)
	wantErr(t, err, org.ErrOwnerExists)
	// Also the last one can be disabled, and stays an owner: no link for
	// a new one opens to strangers.
	must[org.Person](t)(d.Disable(ctx, "one@example.com", by))
	if has := must[bool](t)(d.HasOwner(ctx)); !has {
		t.Error("a disabled owner is none")
	}
}

func TestDisableAndEnableAreRecordedOnceEach(t *testing.T) {
	d, r := newDirectory(t)
	ctx := t.Context()
	must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada"}, by))
	for range 2 {
		if p := must[org.Person](t)(d.Disable(ctx, "ada@example.com", by)); p.Active() {
			t.Error("still active")
		}
	}
	for range 2 {
		if p := must[org.Person](t)(d.Enable(ctx, "ada@example.com", by)); !p.Active() {
			t.Error("still disabled")
		}
	}
	var kinds []audit.Kind
	for _, ev := range r.events {
		kinds = append(kinds, ev.Kind)
	}
	if !slices.Equal(kinds, []audit.Kind{audit.PersonCreated, audit.PersonDisabled, audit.PersonEnabled}) {
		t.Errorf("events %v", kinds)
	}
}

func TestTeamsMembersAndRoles(t *testing.T) {
	d, r := newDirectory(t)
	ctx := t.Context()
	must[org.Person](t)(d.AddPerson(ctx, org.NewPerson{Email: "ada@example.com", Name: "Ada"}, by))
	shop := must[org.Team](t)(d.AddTeam(ctx, "shop", "Web Shop", by))
	bank := must[org.Team](t)(d.AddTeam(ctx, "bank", "Bank", by))
	if shop.Tenant == 0 || shop.Tenant == bank.Tenant {
		t.Errorf("tenants %d and %d", shop.Tenant, bank.Tenant)
	}
	_, err := d.AddTeam(ctx, "shop", "Other", by)
	wantErr(t, err, org.ErrSlugTaken)
	if _, err := d.AddTeam(ctx, "Shop", "Other", by); err == nil {
		t.Error("a slug in capitals is accepted")
	}

	role := must[org.Role](t)(d.SetRole(ctx, "shop", "on-call", []org.Permission{org.LogsRead}, " service.name = cart ", by))
	if role.DataScope == nil || role.BuiltIn() {
		t.Errorf("role %+v", role)
	}
	if _, err := d.SetRole(ctx, "shop", "admin", nil, "", by); err == nil || !strings.Contains(err.Error(), "built-in") {
		t.Errorf("a built-in role was changed: %v", err)
	}
	if _, err := d.SetRole(ctx, "shop", "x", nil, "service.name =", by); err == nil || !strings.Contains(err.Error(), "data scope") {
		t.Errorf("a broken data scope: %v", err)
	}

	m := must[org.Member](t)(d.SetMember(ctx, "shop", "ada@example.com", []string{" viewer", "on-call", "viewer", ""}, by))
	if !slices.Equal(m.Roles, []string{"viewer", "on-call"}) {
		t.Errorf("roles %q", m.Roles)
	}
	// The role exists in the other team only.
	_, err = d.SetMember(ctx, "bank", "ada@example.com", []string{"on-call"}, by)
	wantErr(t, err, org.ErrRoleNotFound)
	if _, err := d.SetMember(ctx, "shop", "ada@example.com", []string{" "}, by); err == nil || !strings.Contains(err.Error(), "at least one role") {
		t.Errorf("no roles: %v", err)
	}
	_, err = d.SetMember(ctx, "nowhere", "ada@example.com", []string{"viewer"}, by)
	wantErr(t, err, org.ErrTeamNotFound)
	_, err = d.SetMember(ctx, "shop", "nobody@example.com", []string{"viewer"}, by)
	wantErr(t, err, org.ErrPersonNotFound)
	if last := r.events[len(r.events)-1]; last.Kind != audit.MemberSet || last.Team != "shop" || last.Detail != "ada@example.com: viewer, on-call" {
		t.Errorf("event %+v", last)
	}

	// The role changes for those who hold it, and its scope with it.
	must[org.Role](t)(d.SetRole(ctx, "shop", "on-call", []org.Permission{org.AlertsWrite}, "", by))
	members := must[[]org.Member](t)(d.Members(ctx, "shop"))
	if len(members) != 1 {
		t.Fatalf("members %+v", members)
	}
	standing := must[org.Standing](t)(d.Standing(ctx, members[0]))
	if !standing.May(org.AlertsWrite) || !standing.May(org.LogsRead) {
		t.Errorf("permissions %v", standing.Permissions())
	}

	if err := d.RemoveMember(ctx, "shop", "ada@example.com", by); err != nil {
		t.Fatal(err)
	}
	wantErr(t, d.RemoveMember(ctx, "shop", "ada@example.com", by), org.ErrNotMember)
	if left := must[[]org.Member](t)(d.Memberships(ctx, m.Person.ID)); len(left) != 0 {
		t.Errorf("still in %+v", left)
	}
}

func TestIngestKeys(t *testing.T) {
	d, r := newDirectory(t)
	ctx := t.Context()
	must[org.Team](t)(d.AddTeam(ctx, "shop", "Shop", by))
	k, secret, err := d.AddKey(ctx, "shop", " collector ", by)
	if err != nil || k.Name != "collector" || !secret.WellFormed() || !strings.HasPrefix(secret.Reveal(), "orl_ingest_") {
		t.Fatalf("%+v, %v", k, err)
	}
	if ev := r.events[len(r.events)-1]; strings.Contains(ev.Detail+ev.Target, secret.Reveal()) {
		t.Error("the audit holds the key")
	}
	_, _, err = d.AddKey(ctx, "shop", "collector", by)
	wantErr(t, err, org.ErrKeyNameTaken)
	_, _, err = d.AddKey(ctx, "nowhere", "collector", by)
	wantErr(t, err, org.ErrTeamNotFound)
	if _, _, err := d.AddKey(ctx, "shop", "", by); err == nil {
		t.Error("a key without a name")
	}
	if err := d.RevokeKey(ctx, k.ID, by); err != nil {
		t.Fatal(err)
	}
	wantErr(t, d.RevokeKey(ctx, k.ID, by), org.ErrKeyNotFound)
	// The name is free again, and the new key is another one.
	_, again, err := d.AddKey(ctx, "shop", "collector", by)
	if err != nil || again == secret {
		t.Errorf("again: %v", err)
	}
	if keys := must[[]org.IngestKey](t)(d.Keys(ctx, "shop")); len(keys) != 2 {
		t.Errorf("keys %+v", keys)
	}
	for _, junk := range []org.KeySecret{"", "orl_ingest_", secret + "A", "x" + secret, secret[:len(secret)-1]} {
		if junk.WellFormed() {
			t.Errorf("%q looks like a key", junk.Reveal())
		}
	}
	if secret.Hash() == again.Hash() || len(secret.Hash()) != 64 {
		t.Errorf("hashes %s, %s", secret.Hash(), again.Hash())
	}
}
