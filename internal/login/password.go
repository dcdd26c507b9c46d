package login

import (
	"context"
	"fmt"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

// HasPassword says whether a person can sign in with a password.
func (d *Desk) HasPassword(ctx context.Context, id org.PersonID) (bool, error) {
	hash, err := d.People.PasswordHash(ctx, id)
	if err != nil {
		return false, fmt.Errorf("look up password of %s: %w", id, err)
	}
	return hash != "", nil
}

// ChangePassword replaces the password of somebody who has just proved who
// they are, and ends their sessions in other browsers: whoever knew the old
// one may have some.
func (d *Desk) ChangePassword(ctx context.Context, s Session, password org.Password, by audit.Actor) error {
	done, err := d.compute(ctx)
	if err != nil {
		return err
	}
	hash, err := password.Hash()
	done()
	if err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	ev := audit.Event{At: d.Now(), Actor: by, Kind: audit.PasswordChanged, Target: string(s.Person.ID)}
	if err := d.Store.ChangePassword(ctx, s.Person.ID, hash, s.Hash, ev); err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	d.tell(s.Person, "Your password was changed, and your other browsers were signed out.")
	return nil
}
