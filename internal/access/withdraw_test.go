package access_test

import (
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/grant/granttest"
)

// TestWithdrawnKeyEndsTokens: another process withdraws the key, and a token
// that was remembered as verified is refused, a request under way ended.
func TestWithdrawnKeyEndsTokens(t *testing.T) {
	f := granttest.New(t)
	g, _ := newGate(t, f)
	run(t, g)
	tokens := f.Connect("c")
	caller, err := g.Check(t.Context(), tokens.Access, f.Resources.Bare())
	f.Must(err)
	watched, stop := g.Watch(t.Context(), caller)
	defer stop()

	shell, err := grant.OpenKeyring(t.Context(), f.Reopen(), f.Authority.Master, f.Now)
	f.Must(err)
	// A key that is only added ends nothing.
	_, err = shell.RotateNow(t.Context(), false, audit.System())
	f.Must(err)
	deadline := time.After(time.Second)
	for len(f.Authority.Keys.States()) < 2 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("the new key was not seen within a second")
		}
	}
	if watched.Err() != nil {
		t.Fatal("a new key ended a request")
	}
	for _, k := range shell.States() {
		if k.Signs {
			_, err = shell.Withdraw(t.Context(), k.ID, audit.System())
			f.Must(err)
		}
	}
	select {
	case <-watched.Done():
	case <-time.After(time.Second):
		t.Fatal("the request under way went on for a second")
	}
	_, err = g.Check(t.Context(), tokens.Access, f.Resources.Bare())
	wantRefused(t, err, "not from here")
	fresh, err := f.Refresh(tokens.Refresh)
	f.Must(err)
	if _, err := g.Check(t.Context(), fresh.Access, f.Resources.Bare()); err != nil {
		t.Errorf("after coming back: %v", err)
	}
}
