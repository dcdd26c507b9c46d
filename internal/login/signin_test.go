package login

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

type fakePeople map[string]org.Person

func (f fakePeople) PersonByEmail(_ context.Context, email string) (org.Person, error) {
	if p, ok := f[email]; ok {
		return p, nil
	}
	return org.Person{}, org.ErrPersonNotFound
}

func (f fakePeople) PasswordHash(_ context.Context, id org.PersonID) (string, error) {
	if id == "none" {
		return "", nil
	}
	return "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", nil
}

func (f fakePeople) SetPasswordHash(context.Context, org.PersonID, string, audit.Event) error {
	return nil
}

// TestEveryRefusalComputes: with no place to compute in, every sign-in waits
// for one, whoever it is for. So none is refused without the work, and their
// time tells nothing.
func TestEveryRefusalComputes(t *testing.T) {
	d := &Desk{Config: Config{People: fakePeople{
		"known@example.com":    {ID: "known"},
		"none@example.com":     {ID: "none"},
		"disabled@example.com": {ID: "disabled", DisabledAt: time.Unix(1, 0)},
	}}, computing: make(chan struct{}), dummyHash: "unused"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, email := range []string{"known@example.com", "none@example.com", "disabled@example.com", "unknown@example.com", "not an address"} {
		_, err := d.authenticate(ctx, email, "password")
		if e, ok := errors.AsType[*web.Error](err); !ok || e.Status != http.StatusServiceUnavailable || e.RetryAfter == 0 {
			t.Errorf("%s: %v", email, err)
		}
	}
}
