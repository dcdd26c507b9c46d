package org

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/orielhq/oriel/internal/audit"
)

// maxMessageRunes bounds the sign-in message.
const maxMessageRunes = 500

// ParseSignInMessage returns the text that the sign-in page shows, as people
// typed it: plain, with its line breaks.
func ParseSignInMessage(text string) (string, error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }):
		return "", errors.New("the message may hold letters, signs and line breaks only")
	case utf8.RuneCountInString(text) > maxMessageRunes:
		return "", fmt.Errorf("the message is longer than %d characters", maxMessageRunes)
	}
	return text, nil
}

// SignInMessage returns what the sign-in page shows, "" for nothing.
func (d *Directory) SignInMessage(ctx context.Context) (string, error) {
	text, err := d.store.SignInMessage(ctx)
	if err != nil {
		return "", fmt.Errorf("read the sign-in message: %w", err)
	}
	return text, nil
}

// SetSignInMessage changes it; "" removes it. Errors: that of
// ParseSignInMessage.
func (d *Directory) SetSignInMessage(ctx context.Context, text string, by audit.Actor) error {
	text, err := ParseSignInMessage(text)
	if err != nil {
		return err
	}
	detail := "sign-in message: " + strings.ReplaceAll(text, "\n", " / ")
	if text == "" {
		detail = "no sign-in message"
	}
	ev := audit.Event{At: d.now(), Actor: by, Kind: audit.PolicySet, Target: "organization", Detail: detail}
	if err := d.store.SetSignInMessage(ctx, text, ev); err != nil {
		return fmt.Errorf("set the sign-in message: %w", err)
	}
	return nil
}
