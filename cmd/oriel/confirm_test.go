package main

import (
	"errors"
	"strings"
	"testing"
)

// The default is no: only a clear yes goes on.
func TestAsk(t *testing.T) {
	for typed, yes := range map[string]bool{
		"y\n": true, "Y\n": true, " yes \n": true, "YES": true,
		"": false, "\n": false, "n\n": false, "no\n": false, "yeah\n": false, "n\ny\n": false, strings.Repeat(" ", 2000) + "y\n": false,
	} {
		var shown strings.Builder
		err := ask(strings.NewReader(typed), &shown, "This ends 3 things.")
		if (err == nil) != yes || err != nil && !errors.Is(err, errNotConfirmed) {
			t.Errorf("%.20q: %v", typed, err)
		}
		if shown.String() != "This ends 3 things. Continue? [y/N] " {
			t.Errorf("asked %q", shown.String())
		}
	}
}

func TestConfirmWithoutATerminal(t *testing.T) {
	env := &environment{stdin: strings.NewReader("y\n"), stderr: new(strings.Builder)}
	if err := (confirmFlags{}).confirm(env, "This ends 3 things."); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("a pipe was taken for a person: %v", err)
	}
	if err := (confirmFlags{Yes: true}).confirm(env, ""); err != nil {
		t.Error(err)
	}
}
