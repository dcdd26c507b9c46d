package grant

import (
	"errors"
	"testing"
)

func FuzzRefreshToken(f *testing.F) {
	m := newMinter(MasterKey{1})
	token, err := m.refreshToken(newID(), 3)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(token))
	f.Add(string(token[:len(token)-1]))
	f.Add("orl_rt_")
	f.Fuzz(func(t *testing.T, s string) {
		id, generation, err := m.open(RefreshToken(s))
		if err != nil {
			if !errors.Is(err, ErrTokenUnknown) {
				t.Fatalf("error %v", err)
			}
			return
		}
		// Only what this server would write itself opens.
		again, err := m.refreshToken(id, generation)
		if err != nil || string(again) != s {
			t.Fatalf("%q opened but is written %q (%v)", s, again, err)
		}
	})
}
