package spec

import (
	"errors"
	"strings"
	"testing"
)

func TestRFC8628_6_1_UserCode(t *testing.T) {
	seen := make(map[UserCode]bool)
	for range 200 {
		c := NewUserCode()
		if s := c.String(); len(s) != 9 || s[4] != '-' || strings.Trim(s, userCodeAlphabet+"-") != "" {
			t.Fatalf("code %q", s)
		}
		if seen[c] {
			t.Fatalf("%s twice in 200", c)
		}
		seen[c] = true
	}
	for _, text := range []string{"WDJB-MJHT", "wdjbmjht", " wdjb mjht ", "W D J B – M.J_H-T", "wdjb\u00a0mjht"} {
		if c, err := ParseUserCode(text); err != nil || c.String() != "WDJB-MJHT" {
			t.Errorf("%q: %q, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "WDJB-MJH", "WDJB-MJHTT", "WDJA-MJHT", "WDJ1-MJHT", "WDJB/MJHT", "ẞDJB-MJHT", strings.Repeat("-", 65) + "WDJBMJHT"} {
		if c, err := ParseUserCode(text); !errors.Is(err, ErrUserCode) || c != (UserCode{}) {
			t.Errorf("%q: %q, %v", text, c, err)
		}
	}
}

// FuzzParseUserCode: what is accepted is eight letters of the alphabet, and its shown form means the same code.
func FuzzParseUserCode(f *testing.F) {
	for _, s := range []string{"WDJB-MJHT", "wdjbmjht", "w d j b m j h t", "AAAA-AAAA", "", "ſDJB-MJHT", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseUserCode(s)
		if err != nil {
			if c != (UserCode{}) {
				t.Errorf("%q: an error and a code", s)
			}
			return
		}
		if len(c.letters) != userCodeLetters || strings.Trim(c.letters, userCodeAlphabet) != "" {
			t.Errorf("%q: %q", s, c.letters)
		}
		if again, err := ParseUserCode(c.String()); err != nil || again != c {
			t.Errorf("%q: %q is read as %q, %v", s, c, again, err)
		}
	})
}
