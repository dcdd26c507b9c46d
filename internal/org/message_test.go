package org

import (
	"strings"
	"testing"
)

func TestParseSignInMessage(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "  Ask IT.  \r\nSecond line\n": "Ask IT.  \nSecond line", "<b>": "<b>", strings.Repeat("ä", 500): strings.Repeat("ä", 500),
	} {
		if got, err := ParseSignInMessage(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{strings.Repeat("ä", 501), "a\x00b", "tab\tbed", "right to left \u202e", "\xff"} {
		if got, err := ParseSignInMessage(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
