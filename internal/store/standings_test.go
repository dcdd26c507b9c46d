package store_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
)

// What the writer remembers is never anything but what it would read: after
// every kind of write that a standing depends on, by itself or by another
// process, and after writes that failed.
func TestRememberedStandingsAreWhatWouldBeRead(t *testing.T) {
	f := granttest.New(t)
	ctx := t.Context()
	tokens := f.Connect("c")
	for _, who := range []string{"this process", "another process"} {
		db := f.DB
		if who == "another process" {
			db = f.Reopen()
		}
		people := org.NewDirectory(db, f.Now)
		authority := f.Authority.Config
		authority.Store = db
		other, err := grant.New(authority)
		f.Must(err)
		steps := []struct {
			name string
			do   func() error
		}{
			{"roles", func() error {
				_, err := people.SetMember(ctx, "shop", ada, []string{"analyst"}, audit.System())
				return err
			}},
			{"role", func() error {
				_, err := people.SetRole(ctx, "shop", "look", []org.Permission{org.LogsRead}, "", audit.System())
				return err
			}},
			{"custom role", func() error {
				_, err := people.SetMember(ctx, "shop", ada, []string{"look"}, audit.System())
				return err
			}},
			{"role's permissions", func() error {
				_, err := people.SetRole(ctx, "shop", "look", []org.Permission{org.MetricsRead}, "", audit.System())
				return err
			}},
			{"refresh", func() error {
				var err error
				tokens, err = other.Refresh(ctx, grant.RefreshRequest{Token: tokens.Refresh, Client: f.Client.ID})
				return err
			}},
			{"block", func() error { _, err := other.BlockClient(ctx, f.Client.Key(), true, audit.System()); return err }},
			{"unblock", func() error { _, err := other.BlockClient(ctx, f.Client.Key(), false, audit.System()); return err }},
			{"metadata", func() error {
				c := f.Consent(who)
				c.Client.Metadata.Name = "Renamed by " + who
				_, err := other.Approve(ctx, c, audit.System())
				return err
			}},
			{"a write that fails", func() error {
				if _, err := people.AddTeam(ctx, "shop", "Again", audit.System()); err == nil {
					return fmt.Errorf("a second team of one name")
				}
				return nil
			}},
			{"removed", func() error { return people.RemoveMember(ctx, "shop", ada, audit.System()) }},
		}
		for _, s := range steps {
			remembered(t, f.DB, tokens.Grant) // so that there is something to go stale
			f.Advance(1)
			if err := s.do(); err != nil {
				t.Fatalf("%s, by %s: %v", s.name, who, err)
			}
			read, err := f.DB.Standing(ctx, tokens.Grant)
			f.Must(err)
			if got := remembered(t, f.DB, tokens.Grant); !reflect.DeepEqual(got, read) {
				t.Errorf("after %s, by %s:\nremembered %+v\nread       %+v", s.name, who, got, read)
			}
		}
		f.SetRoles("viewer")
		tokens = f.Connect("after " + who)
	}
}

// A change that is refused leaves nothing of itself behind.
func TestRefusedChangeIsNotRemembered(t *testing.T) {
	f := granttest.New(t)
	tokens := f.Connect("c")
	_, err := f.Refresh(tokens.Refresh)
	f.Must(err)
	before := remembered(t, f.DB, tokens.Grant)
	refused := fmt.Errorf("refused")
	err = f.DB.ChangeGrant(t.Context(), tokens.Grant, func(s *grant.Standing) ([]audit.Event, error) {
		s.Grant.Generation += 7
		s.Grant.Superseded[0].Generation += 7
		s.Grant.Superseded = append(s.Grant.Superseded, grant.Rotation{Generation: 9, At: f.Now()})
		s.Grant.EndedAt = f.Now()
		return nil, refused
	})
	wantErr(t, err, refused)
	if after := remembered(t, f.DB, tokens.Grant); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

const ada = "ada@example.com"

// remembered returns the standing that a change would be given.
func remembered(t *testing.T, db *store.DB, id grant.ID) *grant.Standing {
	t.Helper()
	var got grant.Standing
	err := db.ChangeGrant(t.Context(), id, func(s *grant.Standing) ([]audit.Event, error) {
		got = *s
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &got
}
