// Package spec holds what the OAuth, OpenID Connect and MCP standards say and that needs no state: error codes,
// scopes, PKCE, redirect URIs, resource URLs, metadata, registrations, client documents, requests and challenges.
//
// Everything a stranger sends is parsed here once, into types that can only be made by parsing: a RedirectURI, a
// Resource or a CodeChallenge in hand is proof that the rules were applied. The package does no I/O, knows no clock
// and no store, and imports nothing of ours. It never decides who a person is or what they may do.
//
// All functions are safe for concurrent use; all types are values that nobody changes after they were made.
package spec

import "log/slog"

// Secret is text that must not reach a log, an error or a page: codes, tokens, verifiers, client secrets. It prints
// as a placeholder under every fmt verb, in slog and in JSON; string(s) gives the text to whoever compares or hashes it.
type Secret string

const secretPlaceholder = "[secret]"

// String returns a placeholder, never the secret.
func (Secret) String() string { return secretPlaceholder }

// GoString returns a placeholder, never the secret.
func (Secret) GoString() string { return secretPlaceholder }

// LogValue returns a placeholder, never the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(secretPlaceholder) }

// MarshalText returns a placeholder, never the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(secretPlaceholder), nil }
